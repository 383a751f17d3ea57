//! The keeper: brings what was heard into the spool, and commits together what came together.

use super::inputs::Hub;
use crate::edge::{
    finished::how,
    intake::Reception,
    label::Labeller,
    progress::Progress,
    recorded::Stamp,
    spool::{Spool, change},
    taken::{FileMark, Taken, slot_of},
};
use codecs::{ids::Channel, time::Tai};
use codecs_quic::Change;
use codecs_store::{Disk, RETRY_NS, Schedule, StoreError};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use tokio::sync::{Mutex, mpsc};

/// The spool as the tasks share it.
pub type SharedSpool = Arc<Mutex<Spool<Disk>>>;

/// Bytes pending in the store that are not left to wait for company.
const COMMIT_BYTES: u64 = 1 << 20;
/// Attempts at a clean stop.
const LAST_ATTEMPTS: u32 = 10;

/// A unit on its way into the spool.
struct Waiting {
    input: usize,
    came: Stamp,
    heard: Reception,
    read: Option<FileMark>,
}

/// How far numbering came.
#[derive(PartialEq, Eq)]
enum Numbered {
    /// Nothing waits, but for files that wait for room.
    All,
    /// The store must commit first.
    UpToACommit,
}

/// What became of one unit.
#[derive(PartialEq, Eq)]
enum Done {
    /// It is numbered, or was left out.
    Behind,
    /// The store must commit first.
    CommitFirst,
    /// It waits until others go.
    NoRoom,
}

/// See the module.
pub struct Keeper {
    spool: SharedSpool,
    to_link: mpsc::UnboundedSender<Change>,
    labeller: Labeller,
    hub: Arc<Hub>,
    waiting: VecDeque<Waiting>,
    /// Of files and standard input, which wait where live inputs push others out.
    of_files: VecDeque<Waiting>,
    /// Files that are read, by input.
    files: BTreeMap<usize, Progress>,
    /// Notes of files as the spool was opened with.
    noted: BTreeMap<u32, Taken>,
    schedule: Schedule,
    /// Units given up since the start.
    voided: u64,
}

impl Keeper {
    /// Nothing waits yet.
    pub fn new(
        spool: SharedSpool,
        to_link: mpsc::UnboundedSender<Change>,
        labeller: Labeller,
        hub: Arc<Hub>,
        noted: BTreeMap<u32, Taken>,
        commit_ns: u64,
    ) -> Self {
        Self {
            spool,
            to_link,
            labeller,
            hub,
            waiting: VecDeque::new(),
            of_files: VecDeque::new(),
            files: BTreeMap::new(),
            noted,
            schedule: Schedule::new(commit_ns, COMMIT_BYTES),
            voided: 0,
        }
    }

    /// When it must be called again.
    pub fn timeout(&self) -> Option<u64> {
        self.schedule.timeout()
    }

    /// Whether the store can't write, so that inputs must wait.
    pub fn is_stuck(&self) -> bool {
        self.schedule.trouble().is_some()
    }

    /// Whether nothing waits to be numbered.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.of_files.is_empty()
    }

    /// Whether live inputs may give more.
    pub fn takes_live(&self) -> bool {
        self.waiting.is_empty() && !self.is_stuck()
    }

    /// Whether files may.
    pub fn takes_files(&self) -> bool {
        self.of_files.is_empty() && !self.is_stuck()
    }

    /// Whether an input is a file that a later start goes on with.
    pub fn is_file(&self, input: usize) -> bool {
        self.files.contains_key(&input)
    }

    /// Whether all of a file is kept, and noted as whole.
    pub fn is_whole(&self, input: usize) -> bool {
        self.files.get(&input).is_none_or(Progress::is_whole)
    }

    /// Units given up since the start.
    pub fn voided(&self) -> u64 {
        self.voided
    }

    /// The store has something to write.
    pub fn dirty(&mut self, now_ns: u64) {
        self.schedule.dirty(now_ns);
    }

    /// Takes what was heard.
    pub fn take(&mut self, input: usize, units: Vec<(Stamp, Reception)>, read: Option<FileMark>) {
        let ends = self.hub.inputs[input].place.ends();
        let waiting = if ends { &mut self.of_files } else { &mut self.waiting };
        waiting.extend(units.into_iter().map(|(came, heard)| Waiting { input, came, heard, read }));
    }

    /// A file is read from its start, of which the spool may have some.
    pub fn begin_file(
        &mut self,
        input: usize,
        (device, inode): (u64, u64),
        resumed: Option<Taken>,
    ) {
        let busy: Vec<u32> = self.files.values().filter_map(Progress::slot).collect();
        let key = (device, inode, how(&self.hub.inputs[input].carrying));
        let slot = slot_of(&self.noted, key, &busy);
        if slot.is_none() {
            let name = &self.hub.inputs[input].name;
            tracing::warn!(input = name, "too many files: after a kill it is read from its start");
        }
        let stamp = self.noted.values().map(|of| of.stamp).max().map_or(0, |last| last + 1);
        let progress = match (slot, resumed) {
            (Some(slot), Some(taken)) => Progress::resumed(slot, taken, stamp),
            _ => Progress::fresh(slot, key, stamp),
        };
        self.files.insert(input, progress);
    }

    /// A file was read to its end.
    pub fn end_file(&mut self, input: usize, now_ns: u64) {
        if let Some(progress) = self.files.get_mut(&input) {
            progress.end();
            self.dirty(now_ns);
        }
    }

    /// Lets go what of files waits: a later start reads it.
    pub fn leave_files(&mut self) {
        let files = &self.files;
        self.of_files.retain(|of| !files.contains_key(&of.input));
    }

    /// Numbers what waits, and commits when it is time. An error is a unit that no store can keep.
    pub async fn keep(&mut self, now: Tai, now_ns: u64) {
        if self.schedule.rests(now_ns) {
            return;
        }
        while self.number(now_ns).await == Numbered::UpToACommit {
            self.commit(now, now_ns).await;
            if self.is_stuck() {
                return;
            }
        }
        if self.schedule.is_due(now_ns) {
            self.commit(now, now_ns).await;
        }
    }

    /// Numbers units until none waits but those of files for which there is no room, or the store
    /// must commit first.
    async fn number(&mut self, now_ns: u64) -> Numbered {
        let mut spool = self.spool.clone().lock_owned().await;
        for of_files in [false, true] {
            let mut waiting =
                std::mem::take(if of_files { &mut self.of_files } else { &mut self.waiting });
            let mut done = Done::Behind;
            while done == Done::Behind
                && let Some(unit) = waiting.front()
            {
                done = self.number_one(&mut spool, unit);
                if done == Done::Behind {
                    waiting.pop_front();
                }
            }
            *(if of_files { &mut self.of_files } else { &mut self.waiting }) = waiting;
            if done == Done::CommitFirst {
                return Numbered::UpToACommit;
            }
        }
        match spool.store().pending_bytes() {
            0 => {}
            bytes => self.schedule.pending(bytes, now_ns),
        }
        Numbered::All
    }

    fn number_one(&mut self, spool: &mut Spool<Disk>, unit: &Waiting) -> Done {
        let Waiting { input, came, heard, read } = unit;
        let of = &self.hub.inputs[*input];
        // What passes is labelled as well: which channels have numbers of their own goes by order.
        let (label, annotation) = self.labeller.heard(heard, of, *came);
        let mut progress = self.files.get_mut(input);
        if progress.as_mut().is_some_and(|progress| progress.passes()) {
            self.hub.tally(*input).kept_before += 1;
            return Done::Behind;
        }
        if of.place.ends() {
            let waits = !spool.has_room(heard.bytes.len());
            let before = std::mem::replace(&mut self.hub.tally(*input).waits, waits);
            if waits {
                if !before {
                    tracing::warn!(input = of.name, "the spool is full: it waits for receipts");
                }
                return Done::NoRoom;
            }
        }
        match spool.take(&label, &annotation, of.priority, &heard.bytes) {
            Ok(_) => {
                let unidentified = label.channel == Channel::UNIDENTIFIED;
                let symbols = heard.corrected_symbols;
                self.hub.tally(*input).heard(label.quality, symbols, unidentified);
            }
            Err(StoreError::Pending(_)) => return Done::CommitFirst,
            // Nothing that an intake hands out is as long as that.
            Err(error) => tracing::error!(input = of.name, "a unit was not kept: {error}"),
        }
        if let (Some(progress), Some(read)) = (progress, read) {
            progress.took(*read);
        }
        Done::Behind
    }

    async fn commit(&mut self, now: Tai, now_ns: u64) {
        let mut spool = self.spool.clone().lock_owned().await;
        for (slot, note) in self.files.values_mut().filter_map(Progress::note) {
            spool.store().note(slot, note.into());
        }
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
                if self.schedule.committed() {
                    tracing::info!("the spool writes again");
                }
                self.files.values_mut().for_each(Progress::committed);
                if self.files.values().any(Progress::wants_commit) {
                    self.schedule.hurry(now_ns);
                }
                if !committed.stored.is_empty() || !committed.evicted.is_empty() {
                    // Without a link the edge is stopping; the spool keeps it.
                    let _ = self.to_link.send(change(committed));
                }
            }
            Ok(Err(error)) => {
                if let Some(news) = self.schedule.failed(error, now_ns) {
                    tracing::error!("{news}");
                }
            }
            // A panic inside a commit leaves a store that nothing is known about.
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// Writes everything that is left, for as long as a clean stop may take; whether all of it
    /// is kept.
    pub async fn finish(&mut self, now: Tai, now_ns: u64) -> bool {
        for attempt in 0..LAST_ATTEMPTS {
            if attempt > 1 {
                tokio::time::sleep(std::time::Duration::from_nanos(RETRY_NS)).await;
            }
            self.schedule.insist(now_ns);
            self.keep(now, now_ns).await;
            let ended = !self.files.values().any(Progress::wants_commit);
            if self.is_idle() && ended && !self.is_stuck() {
                return true;
            }
        }
        let units = self.waiting.len() + self.of_files.len();
        tracing::error!(units, "stopping with units that could not be kept");
        false
    }
}
