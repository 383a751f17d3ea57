//! What the packets of a recording tell, application by application.

use codecs::frame::VirtualChannel;
use codecs::frame::extract::{Event, MAX_CHANNELS};
use codecs::ids::Apid;
use codecs::packet::Protocol;
use codecs::packet::space::{IDLE_APID, PacketView};
use codecs::packet::track::{CrcPolicy, Tally, Tracker};
use serde::Serialize;
use std::collections::BTreeMap;
use std::str::FromStr;

/// Which packets end in a CRC-16.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacketCrc {
    /// All of them.
    All,
    /// Those of these applications.
    Of(Vec<Apid>),
}

impl FromStr for PacketCrc {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let apid = |text: &str| {
            let apid = text.trim().parse().ok().filter(|apid| *apid < IDLE_APID.0);
            apid.map(Apid).ok_or_else(|| format!("{text} is no application (0 to 2046)"))
        };
        Ok(Self::Of(text.split(',').map(apid).collect::<Result<_, _>>()?))
    }
}

/// Follows every channel by itself: a replay may repeat on one what another sent before.
pub(super) struct Applications {
    plain: Tracker,
    checks_crc: bool,
    channels: BTreeMap<VirtualChannel, Tracker>,
}

/// An application on a channel, in the document of `--json`.
#[derive(Debug, Serialize)]
pub struct Application {
    scid: u16,
    vc: u8,
    map: u8,
    apid: u16,
    packets: u64,
    lost: u64,
    repeated: u64,
    /// Steps back of the sequence count.
    back: u64,
    crc_failed: u64,
    groups_whole: u64,
    groups_broken: u64,
}

impl Applications {
    pub(super) fn new(crc: Option<&PacketCrc>) -> Self {
        let tracker = Tracker::new();
        let plain = match crc {
            None => tracker,
            Some(PacketCrc::All) => tracker.with_crc(CrcPolicy::Check),
            Some(PacketCrc::Of(apids)) => apids
                .iter()
                .fold(tracker, |tracker, apid| tracker.with_crc_of(*apid, CrcPolicy::Check)),
        };
        Self { plain, checks_crc: crc.is_some(), channels: BTreeMap::new() }
    }

    pub(super) const fn checks_crc(&self) -> bool {
        self.checks_crc
    }

    pub(super) fn take(&mut self, event: &Event) {
        let Event::Packet { channel, protocol: Protocol::Space, bytes, .. } = event else { return };
        // Frames that are none can name any channel: what comes after as many is not followed.
        if self.channels.len() >= MAX_CHANNELS && !self.channels.contains_key(channel) {
            return;
        }
        let tracker = self.channels.entry(*channel).or_insert_with(|| self.plain.clone());
        if let Ok(packet) = PacketView::parse(bytes) {
            tracker.take(&packet);
        }
    }

    pub(super) fn finish(mut self) -> Vec<Application> {
        let mut applications = Vec::new();
        for (channel, tracker) in &mut self.channels {
            tracker.finish(&mut |_, _| {});
            let rows = tracker.tallies();
            applications
                .extend(rows.map(|(stream, tally)| Application::new(channel, stream.apid, tally)));
        }
        applications
    }
}

impl Application {
    const fn new(channel: &VirtualChannel, apid: Apid, tally: Tally) -> Self {
        Self {
            scid: channel.scid,
            vc: channel.vcid,
            map: channel.map,
            apid: apid.0,
            packets: tally.packets,
            lost: tally.lost,
            repeated: tally.repeated,
            back: tally.back,
            crc_failed: tally.crc_failed,
            groups_whole: tally.groups_whole,
            groups_broken: tally.groups_broken,
        }
    }
}

/// The sum of a count over all applications.
fn sum(applications: &[Application], of: impl Fn(&Application) -> u64) -> u64 {
    applications.iter().map(of).sum()
}

/// The row that tells of sequence counts.
pub(super) fn sequence(applications: &[Application]) -> String {
    format!(
        "{} lost, {} repeated, {} steps back",
        sum(applications, |one| one.lost),
        sum(applications, |one| one.repeated),
        sum(applications, |one| one.back)
    )
}

/// Packets whose CRC fails.
pub(super) fn crc_failed(applications: &[Application]) -> u64 {
    sum(applications, |one| one.crc_failed)
}

/// The row that tells of groups.
pub(super) fn groups(applications: &[Application]) -> String {
    format!(
        "{} whole, {} broken",
        sum(applications, |one| one.groups_whole),
        sum(applications, |one| one.groups_broken)
    )
}
