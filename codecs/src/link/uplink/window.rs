//! What a spacecraft remembers of one counter: the newest 1,024 sequences, as one small note.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use super::{MAX_DOMAIN_BYTES, Outcome, UplinkCounter, WINDOW};
use crate::ids::{Channel, SpacecraftId};

const VERSION: u8 = 1;
const HEADER: usize = 30;
/// Longest note, bytes.
pub const MAX_NOTE_BYTES: usize = HEADER + MAX_DOMAIN_BYTES + WINDOW as usize;
/// A sequence this far beyond the highest is no command, it is a defect.
pub const AHEAD_MAX: u64 = 1 << 20;

/// Where an object stands on board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// `begun` is synced or on its way to the disk.
    Begun,
    /// It has its outcome.
    Ended(Outcome),
}

/// Place of a sequence in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Never seen.
    New,
    /// Seen.
    Known(Mark),
    /// Older than the window, or too far beyond it.
    Outside,
}

/// Marks of one counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    counter: UplinkCounter,
    highest: Option<u64>,
    marks: BTreeMap<u64, Mark>,
}

impl Window {
    /// A window that has seen nothing.
    pub const fn new(counter: UplinkCounter) -> Self {
        Self { counter, highest: None, marks: BTreeMap::new() }
    }

    /// Whose.
    pub fn counter(&self) -> &UplinkCounter {
        &self.counter
    }

    /// Where a sequence stands.
    pub fn place(&self, sequence: u64) -> Place {
        if let Some(mark) = self.marks.get(&sequence) {
            return Place::Known(*mark);
        }
        match self.highest {
            Some(highest) if sequence.saturating_add(WINDOW) <= highest => Place::Outside,
            Some(highest) if sequence > highest.saturating_add(AHEAD_MAX) => Place::Outside,
            _ => Place::New,
        }
    }

    /// Marks a sequence; what falls out of the window is forgotten.
    pub fn mark(&mut self, sequence: u64, mark: Mark) {
        let highest = self.highest.map_or(sequence, |highest| highest.max(sequence));
        self.highest = Some(highest);
        if let Some(oldest) = highest.checked_sub(WINDOW - 1) {
            self.marks = self.marks.split_off(&oldest);
            if sequence < oldest {
                return;
            }
        }
        self.marks.insert(sequence, mark);
    }

    /// Sequences that were begun and have no outcome.
    pub fn begun(&self) -> impl Iterator<Item = u64> + '_ {
        let begun = self.marks.iter().filter(|(_, mark)| **mark == Mark::Begun);
        begun.map(|(sequence, _)| *sequence)
    }

    /// Writes the note: 30 bytes, the domain, a byte a sequence from the lowest known on.
    pub fn encode(&self) -> Vec<u8> {
        let domain = self.counter.domain.as_bytes();
        let lowest = self.marks.keys().next().copied();
        let highest = self.highest.unwrap_or_default();
        let count = lowest.map_or(0, |lowest| highest - lowest + 1);
        let mut out = Vec::with_capacity(HEADER + domain.len() + count as usize);
        out.extend_from_slice(&[VERSION, domain.len() as u8]);
        out.extend_from_slice(&self.counter.spacecraft.0.to_be_bytes());
        out.extend_from_slice(&self.counter.ledger.to_be_bytes());
        out.extend_from_slice(&self.counter.channel.0.to_be_bytes());
        out.extend_from_slice(&highest.to_be_bytes());
        out.extend_from_slice(&(count as u16).to_be_bytes());
        out.extend_from_slice(domain);
        for sequence in lowest.into_iter().flat_map(|lowest| lowest..=highest) {
            out.push(match self.marks.get(&sequence) {
                None => 0,
                Some(Mark::Begun) => 1,
                Some(Mark::Ended(outcome)) => outcome.byte(),
            });
        }
        out
    }

    /// Reads a note; none where it contradicts itself.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let long = |at: usize| {
            let field = header.get(at..).and_then(|rest| rest.first_chunk()).copied();
            u64::from_be_bytes(field.unwrap_or_default())
        };
        let [version, domain, s0, s1, .., c0, c1] = *header;
        let (domain, states) = rest.split_at_checked(domain.into())?;
        let (highest, count) = (long(20), u16::from_be_bytes([c0, c1]));
        let lowest = match u64::from(count) {
            0 => highest,
            count => highest.checked_sub(count - 1)?,
        };
        if version != VERSION || u64::from(count) > WINDOW || states.len() != usize::from(count) {
            return None;
        }
        // A note begins with the lowest that is known and ends with the highest.
        let empty = states.is_empty() && highest != 0;
        if empty || states.first() == Some(&0) || states.last() == Some(&0) {
            return None;
        }
        let mut marks = BTreeMap::new();
        for (sequence, state) in (lowest..=highest).zip(states) {
            match state {
                0 => continue,
                1 => marks.insert(sequence, Mark::Begun),
                byte => marks.insert(sequence, Mark::Ended(Outcome::from_byte(*byte)?)),
            };
        }
        let counter = UplinkCounter {
            domain: String::from(core::str::from_utf8(domain).ok()?),
            ledger: long(4),
            spacecraft: SpacecraftId(u16::from_be_bytes([s0, s1])),
            channel: Channel(long(12)),
        };
        Some(Self { counter, highest: (count > 0).then_some(highest), marks })
    }
}
