//! The life of segments beside ingest: sealed by age, let go by retention.
//!
//! ```text
//! open ─► sealed (size, age, stop) ─► stored (object store) ─► let go (retention)
//! ```

use crate::archive::{Now, retain::Retain, storage::Storage, volume::Volume};
use crate::publish::Event;
use codecs::ids::{KeyPrefix, SeqRange};
use std::collections::BTreeSet;

/// Retention looks again after this long, also when no segment was sealed.
const RETAIN_EVERY_MS: u64 = 60_000;

/// When segments are sealed and let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Milliseconds after which a segment that holds units is sealed; `None` for never.
    pub seal_ms: Option<u64>,
    /// What may be deleted.
    pub retain: Retain,
}

/// What a turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Segments sealed because of their age.
    pub sealed: u64,
    /// Segments that retention deleted.
    pub let_go: u64,
    /// Retention that failed; it is tried again.
    pub failures: u64,
}

impl Kept {
    /// As events for the page and the metrics.
    pub fn events(&self) -> Vec<Event> {
        let fates = [
            ("sealed-by-age", self.sealed),
            ("let-go", self.let_go),
            ("retention-failed", self.failures),
        ];
        let told = fates.into_iter().filter(|(_, count)| *count > 0);
        told.map(|(fate, count)| Event::Segments { fate, count }).collect()
    }
}

/// Applies a policy as time goes on.
#[derive(Debug, Default)]
pub struct Keeper {
    policy: Policy,
    stored: BTreeSet<u64>,
    retain_at_ms: u64,
}

impl Keeper {
    /// A keeper that has done nothing yet.
    pub fn new(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// A segment is verified in the object store.
    pub fn stored(&mut self, segment: u64) {
        self.stored.insert(segment);
        // It may be what retention waits for.
        self.retain_at_ms = 0;
    }

    /// When it wants its next [`turn`](Self::turn): monotonic milliseconds.
    pub fn due_ms<S: Storage>(&self, volume: &Volume<S>) -> Option<u64> {
        let seal = self.policy.seal_ms.and_then(|age_ms| volume.seal_due_ms(age_ms));
        let retain = self.policy.retain.is_set().then_some(self.retain_at_ms);
        [seal, retain].into_iter().flatten().min()
    }

    /// Does what is due, with nothing in the volume waiting for a sync. `lose` hears of what turns
    /// out to be lost.
    pub fn turn<S: Storage>(
        &mut self,
        volume: &mut Volume<S>,
        lose: impl FnMut(KeyPrefix, SeqRange),
        now: Now,
    ) -> Kept {
        let mut kept = Kept::default();
        if self.policy.seal_ms.is_some_and(|age_ms| volume.seal_aged(now, age_ms)) {
            kept.sealed += 1;
            self.retain_at_ms = 0;
        }
        if !self.policy.retain.is_set() || now.mono_ms < self.retain_at_ms {
            return kept;
        }
        self.retain_at_ms = now.mono_ms + RETAIN_EVERY_MS;
        let stored = &self.stored;
        let is_stored = |number| stored.contains(&number);
        match volume.retain(&self.policy.retain, is_stored, lose, now.tai) {
            Ok(gone) => {
                kept.let_go += gone.len() as u64;
                for number in gone {
                    self.stored.remove(&number);
                    tracing::info!(segment = number, "let go by retention");
                }
            }
            Err(error) => {
                kept.failures += 1;
                tracing::warn!(%error, "retention failed; it is tried again");
            }
        }
        kept
    }
}
