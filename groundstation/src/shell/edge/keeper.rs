//! The keeper: brings what was heard into the spool, and commits together what came together.

use super::inputs::Hub;
use crate::edge::{
    intake::Reception,
    label::Labeller,
    spool::{Spool, change},
};
use codecs::{ids::Channel, link::object::Annotation, time::Tai};
use codecs_quic::Change;
use codecs_store::{Disk, StoreError};
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::{Mutex, mpsc};

/// The spool as the tasks share it.
pub type SharedSpool = Arc<Mutex<Spool<Disk>>>;

/// Bytes pending in the store that are not left to wait for company.
const COMMIT_BYTES: u64 = 1 << 20;
/// How long a store that could not write is left alone.
const RETRY_NS: u64 = 200_000_000;
/// Attempts at a clean stop.
const LAST_ATTEMPTS: u32 = 10;

/// A unit on its way into the spool.
struct Waiting {
    input: usize,
    received: Tai,
    heard: Reception,
}

/// See the module.
pub struct Keeper {
    spool: SharedSpool,
    to_link: mpsc::UnboundedSender<Change>,
    labeller: Labeller,
    hub: Arc<Hub>,
    waiting: VecDeque<Waiting>,
    commit_ns: u64,
    due_ns: Option<u64>,
    /// What the store says while it can't write.
    trouble: Option<StoreError>,
    /// Units given up since the start.
    voided: u64,
}

impl Keeper {
    /// Nothing waits yet; voids of what the last run found lost wait for the first commit.
    pub fn new(
        spool: SharedSpool,
        to_link: mpsc::UnboundedSender<Change>,
        labeller: Labeller,
        hub: Arc<Hub>,
        commit_ns: u64,
    ) -> Self {
        Self {
            spool,
            to_link,
            labeller,
            hub,
            waiting: VecDeque::new(),
            commit_ns,
            due_ns: Some(0),
            trouble: None,
            voided: 0,
        }
    }

    /// When it must be called again.
    pub fn timeout(&self) -> Option<u64> {
        self.due_ns
    }

    /// Whether the store can't write, so that inputs must wait.
    pub fn is_stuck(&self) -> bool {
        self.trouble.is_some()
    }

    /// Whether nothing waits to be numbered.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Units given up since the start.
    pub fn voided(&self) -> u64 {
        self.voided
    }

    /// The store has something to write.
    pub fn dirty(&mut self, now_ns: u64) {
        self.due_ns = self.due_ns.or(Some(now_ns.saturating_add(self.commit_ns)));
    }

    /// Takes what was heard.
    pub fn take(&mut self, input: usize, received: Tai, units: Vec<Reception>) {
        self.waiting.extend(units.into_iter().map(|heard| Waiting { input, received, heard }));
    }

    /// Numbers what waits, and commits when it is time. An error is a unit that no store can keep.
    pub async fn keep(&mut self, now: Tai, now_ns: u64) {
        if self.trouble.is_some() && self.due_ns.is_some_and(|due| due > now_ns) {
            return;
        }
        while !self.waiting.is_empty() {
            if !self.number(now_ns).await {
                self.commit(now, now_ns).await;
                if self.trouble.is_some() {
                    return;
                }
            }
        }
        if self.due_ns.is_some_and(|due| due <= now_ns) {
            self.commit(now, now_ns).await;
        }
    }

    /// Numbers units until none waits, or the store must commit first (`false`).
    async fn number(&mut self, now_ns: u64) -> bool {
        let mut spool = self.spool.lock().await;
        while let Some(Waiting { input, received, heard }) = self.waiting.front() {
            let of = &self.hub.inputs[*input];
            let label = self.labeller.label(heard, &of.carrying, &of.assumed);
            let annotation = Annotation {
                received: *received,
                quality: label.quality,
                antenna: of.antenna,
                corrected_symbols: heard.corrected_symbols,
            };
            match spool.take(&label, &annotation, of.priority, &heard.bytes) {
                Ok(_) => {
                    let unidentified = label.channel == Channel::UNIDENTIFIED;
                    let symbols = heard.corrected_symbols;
                    self.hub.tally(*input).heard(label.quality, symbols, unidentified);
                }
                Err(StoreError::Pending(_)) => return false,
                // Nothing that an intake hands out is as long as that.
                Err(error) => tracing::error!(input = of.name, "a unit was not kept: {error}"),
            }
            self.waiting.pop_front();
        }
        let due = match spool.store().pending_bytes() {
            0 => return true,
            bytes if bytes >= COMMIT_BYTES => now_ns,
            _ => now_ns.saturating_add(self.commit_ns),
        };
        self.due_ns = Some(self.due_ns.map_or(due, |before| before.min(due)));
        true
    }

    async fn commit(&mut self, now: Tai, now_ns: u64) {
        let mut spool = self.spool.clone().lock_owned().await;
        let committed = tokio::task::spawn_blocking(move || spool.store().commit(now)).await;
        match committed {
            Ok(Ok(committed)) => {
                if let Some(trouble) = &committed.trouble {
                    tracing::warn!("the spool could not be cleaned: {trouble}");
                }
                let before = self.voided;
                self.voided += committed.evicted.len() as u64;
                // The voids tell each one; the log tells the first and each doubling.
                if self.voided.checked_ilog2() != before.checked_ilog2() {
                    let units = self.voided;
                    tracing::warn!(units, "the spool is full: gave up the oldest");
                }
                if self.trouble.take().is_some() {
                    tracing::info!("the spool writes again");
                }
                self.due_ns = None;
                if !committed.stored.is_empty() || !committed.evicted.is_empty() {
                    // Without a link the edge is stopping; the spool keeps it.
                    let _ = self.to_link.send(change(committed));
                }
            }
            Ok(Err(error)) => {
                if self.trouble.as_ref() != Some(&error) {
                    tracing::error!("{error}");
                    self.trouble = Some(error);
                }
                self.due_ns = Some(now_ns.saturating_add(RETRY_NS));
            }
            // A panic inside a commit leaves a store that nothing is known about.
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// Writes everything that is left, for as long as a clean stop may take; whether all of it
    /// is kept.
    pub async fn finish(&mut self, now: Tai, now_ns: u64) -> bool {
        for attempt in 0..LAST_ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(std::time::Duration::from_nanos(RETRY_NS)).await;
            }
            (self.due_ns, self.trouble) = (Some(now_ns), None);
            self.keep(now, now_ns).await;
            if self.is_idle() && self.trouble.is_none() {
                return true;
            }
        }
        tracing::error!(units = self.waiting.len(), "stopping with units that could not be kept");
        false
    }
}
