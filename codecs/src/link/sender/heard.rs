//! What a ledger says, and what it makes of the units in line.

use alloc::vec::Vec;

use super::{Phase, Sender, SenderError, SenderEvent, State};
use crate::{
    ids::{KeyPrefix, SeqRange},
    link::{
        custody::{Durability, KeyRanges, NEVER_MS},
        wire::Message,
    },
};

impl Sender {
    /// Takes bytes of the control stream. After an error the connection must be closed.
    pub fn control_bytes(&mut self, bytes: &[u8], now: u64) -> Result<(), SenderError> {
        self.reader.push(bytes);
        while let Some(message) = self.reader.next_message()? {
            self.control_message(message, now)?;
        }
        Ok(())
    }

    fn control_message(&mut self, message: Message, now: u64) -> Result<(), SenderError> {
        match message {
            Message::Welcome { ledger, time, limits, domain, more, durable } => {
                // One welcome, in pages of one ledger.
                let first = *self.greeted_by.get_or_insert(ledger);
                if self.phase != Phase::Greeting || first != ledger {
                    return Err(SenderError::OutOfTurn("welcome"));
                }
                self.limits = limits;
                self.receipts(ledger, Durability::Local, durable);
                if !more {
                    self.welcomed(ledger);
                    self.events.push_back(SenderEvent::Welcomed { ledger, time, domain });
                }
            }
            Message::Receipts { ledger, class, entries } => self.receipts(ledger, class, entries),
            Message::Refusals { reason, retry_after_ms, entries } => {
                let until = match retry_after_ms {
                    NEVER_MS => u64::MAX,
                    millis => now.saturating_add(u64::from(millis) * 1_000_000),
                };
                for entry in entries {
                    let prefix = entry.prefix(self.config.origin);
                    for range in &entry.ranges {
                        self.postpone(prefix, *range, until);
                    }
                    self.events.push_back(SenderEvent::Refused {
                        prefix,
                        ranges: entry.ranges,
                        reason,
                        final_here: until == u64::MAX,
                    });
                }
            }
            Message::Asks { entries } => {
                for entry in entries {
                    let prefix = entry.prefix(self.config.origin);
                    entry.ranges.iter().for_each(|range| self.asked(prefix, *range));
                    self.events.push_back(SenderEvent::Asked { prefix, ranges: entry.ranges });
                }
            }
            Message::ContactPlan { contacts } => {
                // Before the welcome it ends nothing.
                self.heard_out |= self.phase == Phase::Open;
                // A ledger without a plan says nothing against another's.
                if !contacts.is_empty() {
                    self.events.push_back(SenderEvent::Planned(contacts));
                }
            }
            Message::Goodbye { text } => self.events.push_back(SenderEvent::Farewell(text)),
            Message::Hello { .. } => return Err(SenderError::OutOfTurn("hello")),
            Message::Uplink { .. } => return Err(SenderError::OutOfTurn("uplink")),
        }
        Ok(())
    }

    /// The welcome is whole. What another ledger holds, or refused, is new to this one.
    fn welcomed(&mut self, ledger: u64) {
        self.phase = Phase::Open;
        let another = core::mem::replace(&mut self.ledger, ledger) != ledger;
        self.release(|state| match state {
            State::Held(by) => by != ledger,
            State::Waiting(_) => another,
            _ => false,
        });
    }

    /// What the ledger lost goes again, whether it had been receipted or only sent.
    fn asked(&mut self, prefix: KeyPrefix, range: SeqRange) {
        let Some(queue) = self.queues.get_mut(&prefix) else { return };
        queue.receipts.remove(range);
        for (sequence, unit) in queue.units.range_mut(range.first..=range.last) {
            if matches!(unit.state, State::Sent | State::Held(_)) {
                unit.state = State::Ready;
                self.ready.lane(unit.info.lane()).insert(unit.place(prefix, *sequence));
            }
        }
    }

    fn receipts(&mut self, ledger: u64, class: Durability, entries: Vec<KeyRanges>) {
        for entry in entries {
            let prefix = entry.prefix(self.config.origin);
            // A receipt for what was never numbered here is not ours to believe.
            let Some(queue) = self.queues.get_mut(&prefix) else { continue };
            let Some(highest) = queue.next.checked_sub(1) else { continue };
            let offered = entry.ranges.into_iter();
            let ranges: Vec<SeqRange> = offered
                .filter_map(|range| SeqRange::new(range.first, range.last.min(highest)))
                .collect();
            if ranges.is_empty() {
                continue;
            }
            ranges.iter().for_each(|range| queue.receipts.insert(ledger, class, *range));
            let event = if class >= self.config.reclaimable_from {
                ranges.iter().for_each(|range| self.drop_range(prefix, *range));
                SenderEvent::Reclaimable { prefix, ranges, ledger, class }
            } else {
                ranges.iter().for_each(|range| self.hold(prefix, *range, ledger));
                SenderEvent::Held { prefix, ranges, ledger, class }
            };
            self.events.push_back(event);
        }
    }

    /// Safe enough not to be sent again, not safe enough to be erased.
    fn hold(&mut self, prefix: KeyPrefix, range: SeqRange, ledger: u64) {
        self.leave_line(prefix, range, |_| State::Held(ledger));
    }
}
