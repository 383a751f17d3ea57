//! Configurations that come up: two slots beside the file on the command line, a trial that counts
//! its starts, and the way back.
//!
//! ```text
//! put ─► waiting ─► start (counted first) ─► flying ─► progress and a receipt, or by command ─► permanent
//!                        └ too many ───────────┴─ failed, no contact, by command ─► the one before
//! ```
//!
//! The file on the command line is never written to: what is damaged or can't be read leads there.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use codecs::package::Digest;
use serde::{Deserialize, Serialize};

use crate::models::{
    Files, Slot,
    files::{Fault, read_journal, replace, write_journal},
};

/// Longest configuration that is taken, bytes.
pub const CONFIG_BYTES_MAX: usize = 256 << 10;
/// Starts that a permanent configuration has to go on in, as a multiple of a trial's: a supply that
/// comes and goes must not cost it its place.
const PATIENCE: u32 = 10;
/// Longest reason that is kept, bytes.
const REASON_BYTES_MAX: usize = 400;

/// A configuration in a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// SHA-256 of its text.
    pub digest: Digest,
    /// CRC-32C of its text, as housekeeping tells it.
    pub crc: u32,
    /// Who put it there: an uplink's key, or the command line.
    pub by: String,
    /// Whether it has proved itself.
    #[serde(default)]
    pub proven: bool,
}

/// How the last trial went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The configuration on trial.
    pub held: Held,
    /// Whether it is permanent now; otherwise the one before was taken again.
    pub confirmed: bool,
    /// Why.
    pub reason: String,
    /// Whether the ground's record of it is in the store.
    #[serde(default)]
    pub told: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    slot: Slot,
    /// Starts that were begun with it.
    starts: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Journal {
    generation: u64,
    slots: BTreeMap<Slot, Held>,
    /// What is flown without a trial; the file on the command line where it is none.
    permanent: Option<Slot>,
    /// Starts that were begun with it since one of them went on.
    #[serde(default)]
    permanent_starts: u32,
    trial: Option<Waiting>,
    verdict: Option<Verdict>,
}

/// What a start flies with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// The file on the command line.
    File,
    /// What a slot holds.
    Slot {
        /// Which.
        slot: Slot,
        /// Its text.
        text: Bytes,
        /// Which start of its trial this is; none where it is permanent.
        start: Option<u32>,
    },
}

/// Why an order about configurations was not carried out; nothing has changed then, but where the
/// folder failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrialError {
    /// The folder failed.
    #[error("the configurations' folder: {0}")]
    Fault(#[from] Fault),
    /// Longer than any that is taken.
    #[error("{0} bytes are more than a configuration may have ({CONFIG_BYTES_MAX})")]
    Length(usize),
    /// One is being tried.
    #[error("a configuration is flying on trial: send config confirm or config rollback first")]
    Flying,
    /// Nothing is on trial.
    #[error("no configuration is flying on trial")]
    NoTrial,
    /// Nothing came up yet, or all of it was left.
    #[error("the configuration on the command line is in force: there is none before it")]
    NoneBefore,
}

/// What a person is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct View<'a> {
    /// `file`, or the letter of the slot that the flight began with.
    pub flying: String,
    /// `file`, or the letter of the slot that is permanent.
    pub permanent: String,
    /// The slot on trial, or waiting for it.
    pub trial: Option<String>,
    /// Starts that the trial had.
    pub starts: u32,
    /// How many it may have.
    pub starts_max: u32,
    /// What each slot holds.
    pub slots: &'a BTreeMap<Slot, Held>,
    /// How the last trial went.
    pub verdict: Option<&'a Verdict>,
    /// Files of the folder that are damaged, in words.
    pub damage: &'a [String],
}

/// The slots, in one folder.
pub struct Trials<F> {
    files: F,
    journal: Journal,
    starts_max: u32,
    /// What the last start began with: none before a start, and whether it was on trial.
    flying: Option<(Option<Slot>, bool)>,
    notices: Vec<String>,
    /// What was found damaged when the folder was opened.
    damage: Vec<String>,
}

fn name(slot: Slot) -> String {
    format!("{}.toml", slot.letter())
}

fn word(slot: Option<Slot>) -> String {
    slot.map_or_else(|| "file".into(), |slot| slot.letter().into())
}

impl<F: Files> Trials<F> {
    /// Opens the folder as a start finds it.
    ///
    /// # Errors
    /// It can't be read.
    pub fn open(mut files: F, starts_max: u32) -> Result<Self, Fault> {
        let (journal, spoilt) = read_journal(&mut files, |of: &Journal| of.generation)?;
        let mut damage = Vec::new();
        match (spoilt.as_slice(), &journal) {
            ([], _) => {}
            ([one], Some(_)) => damage.push(format!(
                "{one} of [config] slots is damaged: the other one is followed, which may be the \
                 older"
            )),
            (all, _) => damage.push(format!(
                "{} of [config] slots: damaged, and with that nobody knows what the slots hold; \
                 send the configuration again, or apply it with `onboard config apply`",
                all.join(" and ")
            )),
        }
        let journal = journal.unwrap_or_default();
        let mut trials = Self { files, journal, starts_max, flying: None, notices: vec![], damage };
        for slot in trials.journal.slots.keys().copied().collect::<Vec<_>>() {
            if let Err(why) = trials.read(slot) {
                trials.damage.push(format!(
                    "{why} in [config] slots: send the configuration again, or apply it with \
                     `onboard config apply`"
                ));
            }
        }
        trials.notices.clone_from(&trials.damage);
        Ok(trials)
    }

    /// What a person should know of the folder's state. Told once.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Keeps a configuration that was checked, for a trial at the next start.
    ///
    /// # Errors
    /// Another one is flying on trial, it is too long, or the folder failed.
    pub fn put(&mut self, text: &[u8], by: &str) -> Result<Slot, TrialError> {
        if text.len() > CONFIG_BYTES_MAX {
            return Err(TrialError::Length(text.len()));
        }
        if self.is_trial() {
            return Err(TrialError::Flying);
        }
        // What flies now and what is flown next without a trial must both stay.
        let slot = self.journal.permanent.map_or(Slot::A, Slot::other);
        // First out of the journal, then replaced: a cut leaves no slot that seems damaged.
        if self.journal.trial.is_some() || self.journal.slots.contains_key(&slot) {
            self.change(|journal| {
                journal.trial = None;
                journal.slots.remove(&slot);
            })?;
        }
        replace(&mut self.files, &name(slot), text)?;
        let (digest, crc) = (Digest::of(text), codecs::fec::crc::crc32c(text));
        let held = Held { digest, crc, by: by.into(), proven: false };
        self.change(|journal| {
            journal.slots.insert(slot, held);
            journal.trial = Some(Waiting { slot, starts: 0 });
        })?;
        Ok(slot)
    }

    /// Chooses what to fly with. A start on trial is counted, durably, before it is begun; where it
    /// can't be counted, or was counted too often, the one before is flown.
    pub fn start(&mut self) -> Chosen {
        if let Some(chosen) = self.start_trial() {
            return chosen;
        }
        self.leave_what_never_starts();
        let permanent = self.journal.permanent;
        if let Some(slot) = permanent {
            match self.read(slot) {
                Ok(text) => {
                    self.flying = Some((Some(slot), false));
                    return Chosen::Slot { slot, text, start: None };
                }
                Err(why) => {
                    self.notices.push(format!("{why}: the file on the command line is flown"));
                }
            }
        }
        self.flying = Some((None, false));
        Chosen::File
    }

    /// A configuration that proved itself in a process that was running may still end every start:
    /// counted as a trial's are, with ten times the patience, it is left for the one before.
    fn leave_what_never_starts(&mut self) {
        if self.journal.permanent.is_none() {
            return;
        }
        let starts = self.journal.permanent_starts;
        if starts >= self.starts_max.saturating_mul(PATIENCE) {
            self.give_up(&format!("none of {starts} starts went on"));
        }
        // One that can't be counted is flown all the same.
        let counted = self.change(|journal| journal.permanent_starts += 1);
        if let Err(fault) = counted {
            self.notices.push(format!("a start was not counted: {fault}"));
        }
    }

    /// What flies without a trial went on for long enough.
    ///
    /// # Errors
    /// The folder failed.
    pub fn went_on(&mut self) -> Result<(), Fault> {
        if self.journal.permanent_starts == 0 {
            return Ok(());
        }
        self.change(|journal| journal.permanent_starts = 0)
    }

    fn start_trial(&mut self) -> Option<Chosen> {
        let Waiting { slot, starts } = self.journal.trial.clone()?;
        let text = match self.read(slot) {
            Ok(text) => text,
            Err(why) => {
                self.give_up(&why);
                return None;
            }
        };
        if starts >= self.starts_max {
            self.give_up(&format!("it did not prove itself in {starts} starts"));
            return None;
        }
        let start = starts + 1;
        let counted = self.change(|journal| journal.trial = Some(Waiting { slot, starts: start }));
        if let Err(fault) = counted {
            self.notices.push(format!("the trial waits: its start can't be counted: {fault}"));
            return None;
        }
        self.flying = Some((Some(slot), true));
        Some(Chosen::Slot { slot, text, start: Some(start) })
    }

    fn read(&mut self, slot: Slot) -> Result<Bytes, String> {
        let label = name(slot);
        let found = self.files.read(&label, CONFIG_BYTES_MAX).map_err(|fault| fault.to_string())?;
        let held = self.journal.slots.get(&slot).map(|held| held.digest);
        let whole = found.filter(|text| held == Some(Digest::of(text)));
        whole.ok_or_else(|| format!("{label} is damaged or gone"))
    }

    /// Whether what flies is on trial.
    pub fn is_trial(&self) -> bool {
        self.flying.is_some_and(|of| of.1) && self.journal.trial.is_some()
    }

    /// Whether one waits for the next start.
    pub fn is_waiting(&self) -> bool {
        self.journal.trial.is_some() && !self.is_trial()
    }

    /// The slot that the flight began with; none for the file on the command line.
    pub fn flying(&self) -> Option<Slot> {
        self.flying.and_then(|of| of.0)
    }

    /// Makes what flies on trial permanent.
    ///
    /// # Errors
    /// Nothing flies on trial, or the folder failed: then it is still on trial.
    pub fn confirm(&mut self, reason: &str) -> Result<(), TrialError> {
        if !self.is_trial() {
            return Err(TrialError::NoTrial);
        }
        self.confirm_waiting(reason)
    }

    /// Makes what is on trial permanent, whether it flies or waits.
    ///
    /// # Errors
    /// Nothing is on trial, or the folder failed.
    pub fn confirm_waiting(&mut self, reason: &str) -> Result<(), TrialError> {
        if self.journal.trial.is_none() {
            return Err(TrialError::NoTrial);
        }
        self.change(|journal| {
            let Some(Waiting { slot, .. }) = journal.trial.take() else { return };
            journal.permanent = Some(slot);
            journal.permanent_starts = 0;
            if let Some(held) = journal.slots.get_mut(&slot) {
                held.proven = true;
                let held = held.clone();
                journal.verdict = Some(verdict(held, true, reason));
            }
        })?;
        self.flying = self.flying.map(|of| (of.0, false));
        Ok(())
    }

    /// Takes the configuration before: of a trial, flying or waiting, the permanent one; without a
    /// trial the one that was permanent before, or the file on the command line. Whether what flies
    /// must end for that.
    ///
    /// # Errors
    /// There is none before, or the folder failed.
    pub fn roll_back(&mut self, reason: &str) -> Result<bool, TrialError> {
        let flying = self.flying();
        if self.journal.trial.is_none() && self.journal.permanent.is_none() {
            return Err(TrialError::NoneBefore);
        }
        self.change(|journal| {
            let left = match journal.trial.take() {
                Some(Waiting { slot, .. }) => slot,
                None => {
                    let Some(slot) = journal.permanent else { return };
                    let other = slot.other();
                    let proven = journal.slots.get(&other).is_some_and(|held| held.proven);
                    journal.permanent = proven.then_some(other);
                    journal.permanent_starts = 0;
                    slot
                }
            };
            if let Some(held) = journal.slots.remove(&left) {
                journal.verdict = Some(verdict(held, false, reason));
            }
        })?;
        self.flying = self.flying.map(|of| (of.0, false));
        Ok(flying != self.journal.permanent)
    }

    /// The same for a start, which goes on even where the folder fails: what can't be written down
    /// is found out anew at the next one.
    fn give_up(&mut self, reason: &str) {
        if let Err(error) = self.roll_back(reason) {
            self.notices.push(format!("a roll-back was not written down: {error}"));
            // In memory it holds all the same.
            self.journal.trial = None;
        }
    }

    /// How the last trial went, where the ground's record of it is not in the store yet.
    pub fn untold(&self) -> Option<&Verdict> {
        self.journal.verdict.as_ref().filter(|of| !of.told)
    }

    /// How the last trial went.
    pub fn verdict(&self) -> Option<&Verdict> {
        self.journal.verdict.as_ref()
    }

    /// The record of the verdict is durable.
    ///
    /// # Errors
    /// The folder failed: it is told again.
    pub fn told(&mut self) -> Result<(), Fault> {
        self.change(|journal| {
            if let Some(verdict) = &mut journal.verdict {
                verdict.told = true;
            }
        })
    }

    /// What a person is shown.
    pub fn view(&self) -> View<'_> {
        let trial = self.journal.trial.as_ref();
        View {
            flying: word(self.flying()),
            permanent: word(self.journal.permanent),
            trial: trial.map(|of| of.slot.letter().into()),
            starts: trial.map_or(0, |of| of.starts),
            starts_max: self.starts_max,
            slots: &self.journal.slots,
            verdict: self.verdict(),
            damage: &self.damage,
        }
    }

    /// Changes the journal on the medium, then in memory.
    fn change(&mut self, change: impl FnOnce(&mut Journal)) -> Result<(), Fault> {
        let mut next = self.journal.clone();
        change(&mut next);
        next.generation += 1;
        write_journal(&mut self.files, next.generation, &next)?;
        self.journal = next;
        Ok(())
    }
}

fn verdict(held: Held, confirmed: bool, reason: &str) -> Verdict {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = reason.get(..end).unwrap_or_default().into();
    Verdict { held, confirmed, reason, told: false }
}

/// What a flight on trial must show: that its store goes on writing, and that the ground gave a
/// receipt for something that it made.
#[derive(Clone, Copy, Debug)]
pub struct Proof {
    progress_ns: u64,
    limit_ns: u64,
    /// Since when it went on without a failure.
    since_ns: Option<u64>,
    receipted: bool,
}

impl Proof {
    /// A proof that begins at `now_ns`.
    pub fn begin(settings: &super::ConfigSlots, now_ns: u64) -> Self {
        let second = 1_000_000_000;
        Self {
            progress_ns: settings.progress_s.saturating_mul(second),
            limit_ns: now_ns.saturating_add(settings.trial_s.saturating_mul(second)),
            since_ns: None,
            receipted: false,
        }
    }

    /// What a permanent configuration must show: that its store goes on writing.
    pub fn of_permanent(settings: &super::ConfigSlots, now_ns: u64) -> Self {
        Self { receipted: true, ..Self::begin(settings, now_ns) }
    }

    /// The flight's loop went round; whether the store writes.
    pub fn progress(&mut self, writes: bool, now_ns: u64) {
        self.since_ns = if writes { self.since_ns.or(Some(now_ns)) } else { None };
    }

    /// Whether a receipt is still wanted.
    pub fn wants_receipt(&self) -> bool {
        !self.receipted
    }

    /// A unit that this flight made has its receipt.
    pub fn receipted(&mut self) {
        self.receipted = true;
    }

    /// When to judge next.
    pub fn timeout(&self) -> u64 {
        let steady = self.since_ns.filter(|_| self.receipted);
        steady.map_or(self.limit_ns, |since| {
            self.limit_ns.min(since.saturating_add(self.progress_ns))
        })
    }

    /// Whether it has proved itself, or why it never will; none while both may be.
    pub fn judge(&self, now_ns: u64) -> Option<Result<(), &'static str>> {
        let steady = |since: u64| since.saturating_add(self.progress_ns) <= now_ns;
        match (self.receipted, self.since_ns) {
            (true, Some(since)) if steady(since) => Some(Ok(())),
            _ if now_ns < self.limit_ns => None,
            (false, _) => Some(Err("no receipt of the ground within its trial")),
            (true, _) => Some(Err("its store did not go on writing")),
        }
    }
}
