//! What a stream of packets tells of itself, application by application: packets lost, repeated
//! and damaged, and groups that came whole or not.
//!
//! A tracker reports and never drops: a packet out of sequence may be late, a group with a member
//! missing may still be worth having, and a CRC may fail because the application sends none.

use super::pus::{Layout, TmSecondary};
use super::space::{Grouping, IDLE_APID, PacketView, SequenceCount};
use crate::fec::crc::{CRC16_BYTES, crc16_holds};
use crate::ids::Apid;
use alloc::collections::BTreeMap;
use alloc::{vec, vec::Vec};

/// Applications that eleven bits tell apart.
const APIDS: usize = 1 << 11;

/// Counters kept apart by destination, over all applications. At the bound the one that was silent
/// for longest is forgotten.
pub const MAX_DESTINATIONS: usize = 2048;

/// What is known of an application's CRC-16 (over the whole packet, in its last two bytes).
/// Nothing on the air says it, and of three recorded missions one sends none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CrcPolicy {
    /// There may be none: don't look.
    #[default]
    None,
    /// It should be there: say where it fails, and go by the packet all the same.
    Check,
    /// It is there: a packet that fails is not to be used, and its count is not believed.
    Required,
}

/// What a packet's CRC says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crc {
    /// Nothing: the application's policy is [`CrcPolicy::None`].
    Unchecked,
    /// It holds.
    Holds,
    /// It fails.
    Fails,
}

/// How a packet's count follows the one before, modulo 16,384.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The first packet that was seen.
    Start,
    /// It follows.
    Next,
    /// So many are missing between.
    Lost(u16),
    /// The same count again: the packet came twice, or the counter stands still.
    Repeated,
    /// More than half a turn on, so rather so many back: late, or the counter started anew.
    Back(u16),
    /// Not believed, for the packet fails its required CRC.
    Unknown,
}

/// Why a group is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Break {
    /// It began with another packet than its first.
    NoFirst,
    /// Another group, or a packet of its own, came before its last.
    NoLast,
    /// Counts are missing inside.
    Missing,
}

/// A group that ended with this packet, or that this packet shows to have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Packets of it that came.
    pub packets: u32,
    /// Bytes of their data.
    pub bytes: u64,
    /// Packets of it whose CRC fails.
    pub erred: u32,
    /// What is wrong with it; `None` where it is whole.
    pub broken: Option<Break>,
}

/// A counter: an application's, or one of several that it keeps for its destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream {
    /// The application.
    pub apid: Apid,
    /// The destination of PUS-C, where counters are kept apart by it.
    pub destination: Option<u16>,
}

/// What a packet tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whose count it carries.
    pub stream: Stream,
    /// How it follows.
    pub step: Step,
    /// Its CRC.
    pub crc: Crc,
    /// Whether it may be used: false where its CRC is required and fails.
    pub usable: bool,
    /// A group that it ended.
    pub group: Option<Group>,
}

/// Counts of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets, unusable ones included.
    pub packets: u64,
    /// Packets missing by the counts.
    pub lost: u64,
    /// Packets with the count of the one before.
    pub repeated: u64,
    /// Steps back.
    pub back: u64,
    /// Packets whose CRC fails.
    pub crc_failed: u64,
    /// Groups of more than one packet that came whole.
    pub groups_whole: u64,
    /// Groups of which something is missing.
    pub groups_broken: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    tally: Tally,
    last: Option<(SequenceCount, Grouping)>,
    open: Option<Group>,
    seen: u64,
}

/// Follows the packets of one direction of a spacecraft; its memory is fixed.
#[derive(Clone, Debug)]
pub struct Tracker {
    policies: Vec<CrcPolicy>,
    by_apid: Vec<State>,
    layout: Option<Layout>,
    by_destination: BTreeMap<(u16, u16), State>,
    taken: u64,
}

impl Tracker {
    /// Follows every application, and checks no CRC.
    pub fn new() -> Self {
        Self {
            policies: vec![CrcPolicy::None; APIDS],
            by_apid: vec![State::default(); APIDS],
            layout: None,
            by_destination: BTreeMap::new(),
            taken: 0,
        }
    }

    /// The same with a policy for every application.
    pub fn with_crc(mut self, policy: CrcPolicy) -> Self {
        self.policies.fill(policy);
        self
    }

    /// The same with a policy for one application.
    pub fn with_crc_of(mut self, apid: Apid, policy: CrcPolicy) -> Self {
        if let Some(slot) = self.policies.get_mut(usize::from(apid.0)) {
            *slot = policy;
        }
        self
    }

    /// The same with counters apart by destination, read from secondary headers of this layout
    /// (ECSS-E-ST-70-41C §7.4.3.1). Packets without one are counted by application.
    pub const fn with_destinations(mut self, layout: Layout) -> Self {
        self.layout = Some(layout);
        self
    }

    /// Takes the next packet; `None` for an idle one, which has neither count nor CRC.
    pub fn take(&mut self, packet: &PacketView<'_>) -> Option<Verdict> {
        let apid = packet.apid();
        if apid == IDLE_APID {
            return None;
        }
        self.taken += 1;
        let policy = self.policies.get(usize::from(apid.0)).copied().unwrap_or_default();
        let crc = match policy {
            CrcPolicy::None => Crc::Unchecked,
            _ if packet.data().len() < CRC16_BYTES => Crc::Fails,
            _ if crc16_holds(packet.bytes()) => Crc::Holds,
            _ => Crc::Fails,
        };
        let usable = crc != Crc::Fails || policy != CrcPolicy::Required;
        let destination = self.destination(packet);
        let stream = Stream { apid, destination };
        let taken = self.taken;
        let state = self.state(stream)?;
        state.seen = taken;
        state.tally.packets += 1;
        state.tally.crc_failed += u64::from(crc == Crc::Fails);
        if !usable {
            // Its header may lie too. If it does not, the next count shows the packet missing.
            return Some(Verdict { stream, step: Step::Unknown, crc, usable, group: None });
        }
        let (step, group) = state.follow(packet, crc);
        Some(Verdict { stream, step, crc, usable, group })
    }

    /// Ends all groups in progress: what the stream leaves unfinished is broken.
    pub fn finish(&mut self, sink: &mut impl FnMut(Stream, Group)) {
        let by_apid = (0u16..)
            .zip(&mut self.by_apid)
            .map(|(apid, state)| (Stream { apid: Apid(apid), destination: None }, state));
        let by_destination = self.by_destination.iter_mut().map(|((apid, to), state)| {
            (Stream { apid: Apid(*apid), destination: Some(*to) }, state)
        });
        for (stream, state) in by_apid.chain(by_destination) {
            if let Some(open) = state.open.take() {
                sink(stream, state.end(open, Some(Break::NoLast)));
            }
        }
    }

    /// The streams that were seen, and their counts.
    pub fn tallies(&self) -> impl Iterator<Item = (Stream, Tally)> + '_ {
        let by_apid = (0u16..)
            .zip(&self.by_apid)
            .map(|(apid, state)| (Stream { apid: Apid(apid), destination: None }, state.tally));
        let by_destination = self.by_destination.iter().map(|((apid, to), state)| {
            (Stream { apid: Apid(*apid), destination: Some(*to) }, state.tally)
        });
        by_apid.chain(by_destination).filter(|(_, tally)| tally.packets > 0)
    }

    fn destination(&self, packet: &PacketView<'_>) -> Option<u16> {
        let layout = self.layout.as_ref()?;
        // Time packets carry no such header, whatever their flag says.
        if !packet.has_secondary_header() || packet.header().command || packet.apid().0 == 0 {
            return None;
        }
        TmSecondary::read(packet.data(), layout).ok()?.0.destination
    }

    fn state(&mut self, stream: Stream) -> Option<&mut State> {
        let Some(destination) = stream.destination else {
            return self.by_apid.get_mut(usize::from(stream.apid.0));
        };
        let key = (stream.apid.0, destination);
        if self.by_destination.len() >= MAX_DESTINATIONS && !self.by_destination.contains_key(&key)
        {
            let silent = self.by_destination.iter().min_by_key(|(_, state)| state.seen);
            if let Some(silent) = silent.map(|(key, _)| *key) {
                self.by_destination.remove(&silent);
            }
        }
        Some(self.by_destination.entry(key).or_default())
    }
}

impl Default for Tracker {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn follow(&mut self, packet: &PacketView<'_>, crc: Crc) -> (Step, Option<Group>) {
        let (count, grouping) = (packet.sequence_count(), packet.header().grouping);
        let last = self.last.replace((count, grouping));
        let step = match last {
            None => Step::Start,
            Some((last, _)) => step(last, count),
        };
        let tally = &mut self.tally;
        match step {
            Step::Lost(lost) => tally.lost += u64::from(lost),
            Step::Repeated => tally.repeated += 1,
            Step::Back(_) => tally.back += 1,
            Step::Start | Step::Next | Step::Unknown => {}
        }
        // A packet that came twice is one member; where a counter stands still, its flags go on.
        if step == Step::Repeated && last.is_some_and(|(_, before)| before == grouping) {
            return (step, None);
        }
        if matches!(step, Step::Lost(_) | Step::Back(_))
            && let Some(open) = &mut self.open
        {
            open.broken = open.broken.or(Some(Break::Missing));
        }
        (step, self.group(grouping, packet.data().len(), crc))
    }

    /// Moves the group on by one packet; hands back the one that it ends.
    fn group(&mut self, grouping: Grouping, bytes: usize, crc: Crc) -> Option<Group> {
        let one = |broken| Group {
            packets: 1,
            bytes: bytes as u64,
            erred: u32::from(crc == Crc::Fails),
            broken,
        };
        let open = self.open.take();
        let grown = |open: Option<Group>| match open {
            None => one(Some(Break::NoFirst)),
            Some(open) => Group {
                packets: open.packets.saturating_add(1),
                bytes: open.bytes.saturating_add(bytes as u64),
                erred: open.erred.saturating_add(u32::from(crc == Crc::Fails)),
                broken: open.broken,
            },
        };
        match grouping {
            Grouping::Unsegmented => open.map(|open| self.end(open, Some(Break::NoLast))),
            Grouping::First => {
                self.open = Some(one(None));
                open.map(|open| self.end(open, Some(Break::NoLast)))
            }
            Grouping::Continuation => {
                self.open = Some(grown(open));
                None
            }
            Grouping::Last => Some(self.end(grown(open), None)),
        }
    }

    fn end(&mut self, group: Group, broken: Option<Break>) -> Group {
        let group = Group { broken: group.broken.or(broken), ..group };
        match group.broken {
            None => self.tally.groups_whole += 1,
            Some(_) => self.tally.groups_broken += 1,
        }
        group
    }
}

fn step(last: SequenceCount, count: SequenceCount) -> Step {
    const HALF: u16 = SequenceCount::MODULUS / 2;
    match count.lost_since(last) {
        0 => Step::Next,
        _ if count == last => Step::Repeated,
        lost if lost < HALF => Step::Lost(lost),
        lost => Step::Back(SequenceCount::MODULUS - 1 - lost),
    }
}

#[cfg(test)]
mod tests;
