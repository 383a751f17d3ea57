//! Which configuration is flown: the file on the command line, or one that came up.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use codecs::{
    ids::{SpacecraftId, UnitKey},
    link::uplink::UplinkKey,
    time::Tai,
};
use codecs_quic::Monotonic;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{check::flyable, models::Folder};
use crate::{
    config::{
        Config, ConfigSlots,
        trial::{Chosen, Proof, TrialError, Trials, Verdict},
    },
    pipeline::record,
    store::{Disk, State, Store},
    triage,
    uplink::ConfigOrder,
};

/// Characters of a verdict's reason that an outcome's detail has room for.
const REASON_CHARS: usize = 160;

/// A configuration that came up and was checked on a thread of its own.
pub struct Checked {
    key: UplinkKey,
    text: String,
    found: Result<Vec<String>, String>,
}

/// How the configuration stands, for housekeeping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// 0 the file on the command line, 1 and 2 the slots.
    pub from: u8,
    /// 0 nothing, 1 waits for its trial, 2 flies on trial, 3 the last was confirmed, 4 the last
    /// was rolled back.
    pub trial: u8,
}

/// What is flown, what is on trial, and what is checked.
pub struct Configs {
    /// The file on the command line; paths in all configurations start at its folder.
    file: PathBuf,
    settings: ConfigSlots,
    trials: Option<Trials<Folder>>,
    /// What flies: successors must be of the same spacecraft and store.
    running: Option<Config>,
    proof: Option<Proof>,
    /// Records that wait for a commit, or for a receipt.
    trial_record: Option<UnitKey>,
    verdict_record: Option<UnitKey>,
    checking: bool,
    tell: UnboundedSender<Checked>,
    told: UnboundedReceiver<Checked>,
    again: Option<String>,
    /// What is not as it should be with the slots and the file.
    notices: Vec<String>,
}

impl Configs {
    /// One configuration for good, as tests have it.
    pub fn fixed() -> Self {
        let (tell, told) = unbounded_channel();
        Self {
            file: PathBuf::new(),
            settings: ConfigSlots::default(),
            trials: None,
            running: None,
            proof: None,
            trial_record: None,
            verdict_record: None,
            checking: false,
            tell,
            told,
            again: None,
            notices: Vec::new(),
        }
    }

    /// Opens the slots that a file names. A file that can't be read whole still leads to its slots.
    ///
    /// # Errors
    /// Its text is not even TOML, or the folder of slots can't be used.
    pub fn open(file: &Path) -> anyhow::Result<Self> {
        let settings = settings(file)?;
        let trials = match &settings.slots {
            None => None,
            Some(dir) => {
                let folder = Folder::open(dir).context("[config] slots")?;
                let trials = Trials::open(folder, settings.starts_max);
                Some(trials.context("[config] slots")?)
            }
        };
        Ok(Self { file: file.into(), settings, trials, ..Self::fixed() })
    }

    /// What a start flies with. One that can't be read is left for the one before.
    ///
    /// # Errors
    /// Not even the file on the command line can be flown with.
    pub fn start(&mut self) -> anyhow::Result<Config> {
        (self.again, self.proof) = (None, None);
        (self.trial_record, self.verdict_record) = (None, None);
        loop {
            let chosen = match &mut self.trials {
                Some(trials) => trials.start(),
                None => Chosen::File,
            };
            if let Some(trials) = &mut self.trials {
                self.notices.append(&mut trials.take_notices());
            }
            let Chosen::Slot { slot, text, start } = chosen else {
                let config = Config::load(&self.file)?;
                self.running = Some(config.clone());
                return Ok(config);
            };
            let label = format!("{} in slot {}", self.file.display(), slot.letter());
            let text = String::from_utf8_lossy(&text);
            match (Config::parse(&label, &text, folder(&self.file)), start) {
                (Ok(config), _) => {
                    if let Some(start) = start {
                        tracing::warn!(start, "flying {label} on trial");
                    }
                    self.running = Some(config.clone());
                    return Ok(config);
                }
                (Err(error), Some(_)) => self.give_up(&format!("{error:#}")),
                // It was proven: what it names is gone. Without it there is still the file.
                (Err(error), None) => {
                    let why = format!("{error:#}: the file on the command line is flown");
                    self.notices.push(why);
                    let config = Config::load(&self.file)?;
                    self.running = Some(config.clone());
                    return Ok(config);
                }
            }
        }
    }

    /// What is not as it should be with the slots, since the last call.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Whether what flies is on trial.
    pub fn is_trial(&self) -> bool {
        self.trials.as_ref().is_some_and(Trials::is_trial)
    }

    /// What flew on trial failed.
    pub fn give_up(&mut self, reason: &str) {
        tracing::error!("the configuration on trial is left: {reason}");
        if let Some(trials) = &mut self.trials
            && let Err(error) = trials.roll_back(reason)
        {
            tracing::error!("{error}");
        }
    }

    /// Why the flight is to begin again, where it is.
    pub fn again(&self) -> Option<&str> {
        self.again.as_deref()
    }

    /// The flight has its store: it tells the ground of a trial, and how the last one went.
    pub fn flying(&mut self, store: &mut Store<Disk>, craft: SpacecraftId, clock: Monotonic) {
        let Some(trials) = &self.trials else { return };
        if trials.is_trial() {
            self.proof = Some(Proof::begin(&self.settings, clock.now_ns()));
            let view =
                json!({ "event": "configuration on trial", "configurations": trials.view() });
            self.trial_record = tell(store, craft, view, Tai(0));
        } else if trials.flying().is_some() {
            self.proof = Some(Proof::of_permanent(&self.settings, clock.now_ns()));
        }
        self.tell_verdict(store, craft, Tai(0));
    }

    /// Puts the verdict's record into the store; whether a commit is wanted.
    fn tell_verdict(&mut self, store: &mut Store<Disk>, craft: SpacecraftId, time: Tai) -> bool {
        let untold = self.trials.as_ref().and_then(|trials| trials.untold());
        let Some(verdict) = untold.filter(|_| self.verdict_record.is_none()) else { return false };
        self.verdict_record = tell(store, craft, told_of(verdict), time);
        self.verdict_record.is_some()
    }

    /// When the trial is judged next.
    pub fn timeout(&self) -> Option<u64> {
        self.proof.as_ref().map(Proof::timeout)
    }

    /// Whether a trial is under way that must be looked after.
    pub fn is_due(&self) -> bool {
        let untold = self.trials.as_ref().is_some_and(|trials| trials.untold().is_some());
        self.proof.is_some() || (untold && self.verdict_record.is_none())
    }

    /// Looks after the trial: its proof, its limit, its verdict. Whether a commit is wanted.
    pub fn tend(
        &mut self,
        store: &mut Store<Disk>,
        craft: SpacecraftId,
        (writes, time): (bool, Tai),
        now_ns: u64,
    ) -> bool {
        if let (Some(proof), Some(trials)) = (&mut self.proof, &mut self.trials) {
            proof.progress(writes, now_ns);
            let record = self.trial_record.filter(|_| proof.wants_receipt());
            if record.is_some_and(|key| is_receipted(store, key)) {
                proof.receipted();
            }
            match proof.judge(now_ns) {
                None => {}
                Some(judged) if !trials.is_trial() => {
                    if let (Ok(()), Err(fault)) = (judged, trials.went_on()) {
                        tracing::error!("[config] slots: {fault}");
                    }
                    self.proof = None;
                }
                Some(Ok(())) => {
                    let confirmed = trials.confirm("progress, and a receipt of the ground");
                    match confirmed {
                        Ok(()) => tracing::info!("the configuration on trial is permanent"),
                        Err(error) => tracing::error!("{error}"),
                    }
                    self.proof = None;
                }
                Some(Err(why)) => {
                    self.proof = None;
                    self.give_up(why);
                    self.again = Some(why.into());
                }
            }
        }
        self.tell_verdict(store, craft, time)
    }

    /// A commit succeeded: records that were staged before it are durable.
    pub fn committed(&mut self) {
        if self.verdict_record.take().is_some()
            && let Some(trials) = &mut self.trials
            && let Err(fault) = trials.told()
        {
            tracing::error!("[config] slots: {fault}");
        }
    }

    /// Carries out an order.
    pub fn order(&mut self, order: ConfigOrder) -> Result<String, String> {
        let trials = self.trials.as_mut().ok_or_else(no_slots)?;
        let words = |error: TrialError| error.to_string();
        match order {
            ConfigOrder::Show => Ok(brief(trials).to_string()),
            ConfigOrder::Try if trials.is_waiting() => {
                self.again = Some("a configuration waits for its trial".into());
                Ok("starting again with it".into())
            }
            ConfigOrder::Try => Err("no configuration waits for its trial: send one first".into()),
            ConfigOrder::Confirm => {
                trials.confirm("by command").map_err(words)?;
                self.proof = None;
                Ok("permanent".into())
            }
            ConfigOrder::RollBack => {
                if !trials.roll_back("by command").map_err(words)? {
                    return Ok("what waited for its trial is left".into());
                }
                self.proof = None;
                self.again = Some("rolled back by command".into());
                Ok("starting again with the one before".into())
            }
        }
    }

    /// Begins to check a configuration that came up, on a thread of its own: models are loaded.
    ///
    /// # Errors
    /// It can't be kept here, or another one is being checked.
    pub fn check(&mut self, key: &UplinkKey, text: String) -> Result<(), String> {
        let trials = self.trials.as_ref().ok_or_else(no_slots)?;
        if trials.is_trial() {
            return Err(TrialError::Flying.to_string());
        }
        if self.checking {
            return Err("another configuration is being checked: send this again".into());
        }
        let (file, running) = (self.file.clone(), self.running.clone());
        let (tell, key) = (self.tell.clone(), key.clone());
        let check = move || {
            let found = check(&file, &text, running.as_ref()).map_err(|why| format!("{why:#}"));
            let _ = tell.send(Checked { key, text, found });
        };
        std::thread::Builder::new().spawn(check).map_err(|error| error.to_string())?;
        self.checking = true;
        Ok(())
    }

    /// Waits for one that is being checked; for ever where none is. Safe to give up on.
    pub async fn checked(&mut self) -> Checked {
        match self.told.recv().await {
            Some(checked) => checked,
            None => std::future::pending().await,
        }
    }

    /// Keeps one that was checked: whose order that was, and what came of it.
    pub fn keep(&mut self, checked: Checked) -> (UplinkKey, Result<String, String>) {
        self.checking = false;
        let Checked { key, text, found } = checked;
        let kept = found.and_then(|notices| {
            let trials = self.trials.as_mut().ok_or_else(no_slots)?;
            let slot = trials.put(text.as_bytes(), &key.to_string());
            let slot = slot.map_err(|error| error.to_string())?;
            let crc = codecs::fec::crc::crc32c(text.as_bytes());
            let notices = notices.join("; ");
            let letter = slot.letter();
            Ok(format!("slot {letter}, {crc:#010x}: on trial from the next start {notices}"))
        });
        (key, kept.map(|said| said.trim_end().to_owned()))
    }

    /// How the configuration stands.
    pub fn standing(&self) -> Standing {
        let Some(trials) = &self.trials else { return Standing::default() };
        let trial = match trials.verdict() {
            _ if trials.is_trial() => 2,
            _ if trials.is_waiting() => 1,
            Some(verdict) if verdict.confirmed => 3,
            Some(_) => 4,
            None => 0,
        };
        Standing { from: trials.flying().map_or(0, |slot| slot as u8 + 1), trial }
    }
}

/// The view in the room that an outcome's detail has.
fn brief(trials: &Trials<Folder>) -> Value {
    let view = trials.view();
    let slots = view.slots.iter().map(|(slot, held)| (slot.letter().to_string(), held.crc.into()));
    let verdict = view.verdict.map(|of| {
        let reason: String = of.reason.chars().take(REASON_CHARS).collect();
        json!({ "configuration": of.held.crc, "confirmed": of.confirmed, "reason": reason })
    });
    json!({
        "flying": view.flying,
        "permanent": view.permanent,
        "trial": view.trial,
        "starts": view.starts,
        "slots": slots.collect::<serde_json::Map<_, _>>(),
        "verdict": verdict,
    })
}

fn no_slots() -> String {
    "this flight takes no configuration up: name a folder as [config] slots in its file".into()
}

fn told_of(verdict: &Verdict) -> Value {
    let event =
        if verdict.confirmed { "configuration confirmed" } else { "configuration rolled back" };
    let Verdict { held, reason, .. } = verdict;
    json!({
        "event": event,
        "configuration": held.crc,
        "sha256": held.digest,
        "by": held.by,
        "reason": reason,
    })
}

fn tell(store: &mut Store<Disk>, craft: SpacecraftId, said: Value, time: Tai) -> Option<UnitKey> {
    let told = store.append(record(craft, said, time, triage::RECORDS));
    told.inspect_err(|error| tracing::error!("a record was not stored: {error}")).ok()
}

fn is_receipted(store: &Store<Disk>, key: UnitKey) -> bool {
    let held = store.state(key);
    let mut counters = store.counters().filter(|of| of.0 == key.prefix);
    held == Some(State::Reclaimable)
        || counters.any(|(_, counter)| counter.receipted(key.sequence, 0))
}

fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

/// Where slots are, of a file that may be wrong elsewhere.
///
/// # Errors
/// It is no TOML, or names no slots and can't be flown with either.
pub fn settings(file: &Path) -> anyhow::Result<ConfigSlots> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("{}: can't read the configuration", file.display()))?;
    let config = match Config::parse(&file.display().to_string(), &text, folder(file)) {
        Ok(config) => return Ok(config.config),
        Err(error) => error,
    };
    let table = toml::from_str::<toml::Table>(&text).ok();
    let section =
        table.and_then(|mut table| table.remove("config")).and_then(|of| of.try_into().ok());
    let Some(mut settings) = section else { return Err(config) };
    let ConfigSlots { slots, .. } = &mut settings;
    *slots = slots.take().map(|dir| folder(file).join(dir));
    tracing::error!("{config:#}: only a configuration that its slots hold can be flown");
    Ok(settings)
}

/// Reads and tries a configuration as a flight would; `running` is the one that it would follow.
///
/// # Errors
/// It can't be read, names another spacecraft or store, or would not start.
pub fn check(file: &Path, text: &str, running: Option<&Config>) -> anyhow::Result<Vec<String>> {
    let config = Config::parse("the configuration", text, folder(file))?;
    if let Some(running) = running {
        config.check_successor_of(running)?;
    }
    flyable(&config, running)
}
