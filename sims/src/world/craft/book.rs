//! What is seen of a spacecraft's units from outside.

use std::collections::BTreeMap;

use codecs::{ids::UnitKey, link::sender::Plan, time::Tai};
use onboard::store::Committed;

use super::sources::Sources;
use crate::world::answer::LatencySample;

/// Where units are on their way, which the spacecraft itself does not remember.
#[derive(Debug, Default)]
pub struct Book {
    under_way: BTreeMap<UnitKey, Entry>,
    /// Ways that are over, in order of archiving.
    pub samples: Vec<LatencySample>,
    /// What of the sensors' bytes is where.
    pub sources: Sources,
    bytes: u64,
}

#[derive(Debug)]
struct Entry {
    captured: Tai,
    stored_ns: u64,
    /// The first and the last time that it was handed on.
    sent_ns: Option<(u64, u64)>,
    bytes: u32,
}

impl Entry {
    fn sent(&mut self, now_ns: u64) {
        let first_ns = self.sent_ns.map_or(now_ns, |(first_ns, _)| first_ns);
        self.sent_ns = Some((first_ns, now_ns));
    }
}

impl Book {
    pub(super) fn stored(&mut self, committed: &Committed, now_ns: u64) {
        for unit in &committed.stored {
            self.under_way.entry(unit.key).or_insert(Entry {
                captured: unit.captured,
                stored_ns: now_ns,
                sent_ns: None,
                bytes: unit.length,
            });
        }
    }

    pub(super) fn taken(&mut self, key: UnitKey, now_ns: u64) {
        if let Some(entry) = self.under_way.get_mut(&key) {
            entry.sent(now_ns);
        }
    }

    pub(super) fn sent(&mut self, plan: &Plan, now_ns: u64) {
        let key = |sequence| UnitKey { prefix: plan.prefix, sequence };
        for (_, entry) in self.under_way.range_mut(key(plan.range.first)..=key(plan.range.last)) {
            entry.sent(now_ns);
        }
    }

    /// A unit is in the archive.
    pub fn archived(&mut self, key: UnitKey, start: Tai, now_ns: u64) {
        self.sources.archived(&key);
        let Some(entry) = self.under_way.remove(&key) else { return };
        let seconds = |ns: u64| ns as f64 / 1e9;
        // A clock that steps may say that something was captured in the future, and one that
        // nobody has told the time yet that it was long ago.
        let captured_s = entry.captured.since(start) as f64 / 1e9;
        let known = (0.0..seconds(entry.stored_ns)).contains(&captured_s);
        let captured_s = if known { captured_s } else { seconds(entry.stored_ns) };
        let (sent_ns, last_ns) = entry.sent_ns.unwrap_or((now_ns, now_ns));
        self.bytes += u64::from(entry.bytes);
        self.samples.push(LatencySample {
            captured_s,
            stored_s: seconds(entry.stored_ns),
            sent_s: seconds(sent_ns),
            last_sent_s: seconds(last_ns),
            archived_s: seconds(now_ns),
            bytes: entry.bytes,
            channel: key.prefix.channel.0,
        });
    }

    /// Bytes of units archived.
    pub fn delivered_bytes(&self) -> u64 {
        self.bytes
    }
}
