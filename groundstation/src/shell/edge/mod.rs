//! `groundstation edge`: puts the parts together, and takes them apart in order.

mod drops;
mod files;
mod inputs;
mod keeper;
mod options;
mod radiate;
mod reading;
mod told;

pub use options::EdgeArgs;

use super::{clock::StationClock, mission};
use crate::{
    commands::say,
    edge::{
        config::{EdgeConfig, Input},
        finished::{FileIdentity, how},
        label::Labeller,
        spool::Spool,
        taken,
        tally::{LinkTally, SpoolEver, SpoolNow, SpoolRun, SpoolTally, Tally},
    },
};
use anyhow::Context as _;
use codecs::{ids::StoreEpoch, link::custody::Durability, mission::Definition, time::Tai};
use codecs_quic::{
    Client, FromLink, LinkCounts, LinkTime, Monotonic, Peer, PlannedLink, TransportOptions,
};
use codecs_store::{Disk, Store};
use files::FinishedFiles;
use inputs::{FromInput, Heard, Hub, Phase};
use keeper::{Keeper, SharedSpool};
use radiate::Uplink;
use serde_json::json;
use std::{process::ExitCode, sync::Arc, time::Duration};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{Mutex, mpsc, watch},
    time::MissedTickBehavior,
};
use told::Told;

/// Memory that the spool's index takes a unit, as measured with a million.
const INDEX_BYTES: u64 = 110;

/// Runs until a signal, or until everything is receipted.
pub fn run(args: &EdgeArgs) -> anyhow::Result<ExitCode> {
    let config = args.load()?;
    let definition = Arc::new(mission::load(&config.path(&config.mission))?);
    let inputs = config.inputs(&definition).map_err(|wrong| args.wrong(&wrong))?;
    let peer = peer(&config).map_err(|error| error.context(args.file()))?;
    let reclaim = config.reclaim(definition.reclaimable).map_err(|wrong| args.wrong(&wrong))?;
    config.uplink().map_err(|wrong| args.wrong(&wrong))?;
    if args.check {
        return check(args, &config, &inputs, reclaim);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .context("no runtime")?;
    // Dropping it would wait for whatever blocks, such as a resolver.
    let done = runtime.block_on(edge(args, &config, definition, inputs, peer, reclaim));
    runtime.shutdown_background();
    done
}

fn peer(config: &EdgeConfig) -> anyhow::Result<Peer> {
    let wrong = anyhow::Error::msg;
    let (station, identity) = (&config.station, &config.identity);
    Ok(Peer {
        address: station.address.clone(),
        server_name: station.server_name.clone(),
        profile: config.profile().map_err(wrong)?,
        options: TransportOptions { mtu_max: station.mtu_max, ..TransportOptions::default() },
        tls: codecs_quic::client_config(
            &config.path(&identity.certificate),
            &config.path(&identity.key),
            config.pins().map_err(wrong)?,
        )?,
        planned: PlannedLink::constant(station.leg()),
        golden: None,
    })
}

/// Opens what a start opens, and lets it go.
fn check(
    args: &EdgeArgs,
    config: &EdgeConfig,
    inputs: &[Input],
    reclaim: Durability,
) -> anyhow::Result<ExitCode> {
    let dir = config.path(&config.spool.dir);
    // Opening it claims it: a second edge on one spool is told now, not in a pass.
    match inputs {
        [] => refuse_idle(args, inputs, &mut open_spool(config, reclaim)?)?,
        _ => drop(Disk::open(&dir).context("spool.dir")?),
    }
    inputs.iter().try_for_each(inputs::try_open)?;
    if let Some(address) = config.status.http {
        told::listen(address)?;
    }
    let units = config.spool.spool_bytes >> 10;
    let index_bytes = units * INDEX_BYTES;
    if args.json {
        let told = |input: &Input| {
            json!({
                "name": input.name,
                "from": input.place.to_string(),
                "antenna": input.antenna,
                "rate_bps": input.recorded.map(|recorded| recorded.rate_bps()),
            })
        };
        say(&json!({
            "good": true,
            "inputs": inputs.iter().map(told).collect::<Vec<_>>(),
            "station": config.station.address,
            "spool": {
                "dir": dir.display().to_string(),
                "bytes_max": config.spool.spool_bytes,
                "index_bytes_of_units_of_1_kib": index_bytes,
                "reclaim": reclaim.name(),
            },
        })
        .to_string());
        return Ok(ExitCode::SUCCESS);
    }
    for input in inputs {
        let heard = input.recorded.map_or(String::new(), |recorded| format!(", {recorded}"));
        say(&format!("input {}: {}, antenna {}{heard}", input.name, input.place, input.antenna));
    }
    say(&format!(
        "spool {}: at most {} bytes on disk; units go once receipted as {}; its index takes about \
         {INDEX_BYTES} bytes of memory a unit, so {} MB where units are 1 KiB",
        dir.display(),
        config.spool.spool_bytes,
        reclaim.name(),
        index_bytes >> 20,
    ));
    say(&format!("{}: good", args.file()));
    Ok(ExitCode::SUCCESS)
}

fn open_spool(config: &EdgeConfig, reclaim: Durability) -> anyhow::Result<Spool<Disk>> {
    let dir = config.path(&config.spool.dir);
    let disk = Disk::open(&dir).context("spool.dir")?;
    let fresh = super::random().context("the system gives no random bytes")?;
    let epoch = StoreEpoch(u64::from_be_bytes(fresh));
    let origin = config.origin().map_err(anyhow::Error::msg)?;
    let store = Store::open(disk, config.limits(reclaim), origin, epoch)
        .with_context(|| format!("spool {}", dir.display()))?;
    Ok(Spool::new(store))
}

/// Refuses an edge that would hear nothing and has nothing to send.
fn refuse_idle(args: &EdgeArgs, inputs: &[Input], spool: &mut Spool<Disk>) -> anyhow::Result<()> {
    if inputs.is_empty() && spool.is_empty() {
        return Err(args.wrong(
            "no [[input]], and the spool holds nothing: add an input, or --from on the command \
             line",
        ));
    }
    Ok(())
}

async fn edge(
    args: &EdgeArgs,
    config: &EdgeConfig,
    definition: Arc<Definition>,
    inputs: Vec<Input>,
    peer: Peer,
    reclaim: Durability,
) -> anyhow::Result<ExitCode> {
    // Before anyone is told that it runs: a stop may come at once.
    let signals = Signals::new()?;
    let clock = StationClock::new(config.clock.simulated_offset_s);
    let mut spool = open_spool(config, reclaim)?;
    refuse_idle(args, &inputs, &mut spool)?;
    if inputs.is_empty() {
        tracing::warn!("no input: nothing is heard, and what the spool holds is sent");
    }
    let (epoch, noted) = (spool.epoch(), taken::known(spool.store().notes()));
    let finished = FinishedFiles::open(&config.path(&config.spool.dir), epoch);
    let hub = Arc::new(Hub::new(inputs, clock, args.again));
    let (phase, phases) = watch::channel(Phase::Run);
    let (from_inputs, places) = inputs::start(&hub, &phases, &finished, &noted)?;
    let (to_link, commits) = mpsc::unbounded_channel();
    let (told, from_link) = mpsc::unbounded_channel();
    let (zero, zero_seen) = watch::channel(Tai(0));
    let (stop, stopped) = watch::channel(false);
    let mono = Monotonic::start();
    let time = LinkTime { clock: mono, zero: zero_seen };
    let spool: SharedSpool = Arc::new(Mutex::new(spool));
    let client = {
        let opened = spool.lock().await;
        Client::new(peer, spool.clone(), &opened, time, told)
    };
    let counts = client.counts();
    let link = tokio::spawn(client.run(commits, stopped));
    let commit_ns = config.spool.commit_ms * 1_000_000;
    let labeller = Labeller::new(definition);
    let keeper = Keeper::new(spool.clone(), to_link, labeller, hub.clone(), noted, commit_ns);
    let (told, http) = Told::start(&config.status, |path| config.path(path)).await?;
    let uplink = config.uplink().map_err(anyhow::Error::msg)?;
    let uplink = uplink.map(|(to, rate_bps)| Uplink::start(to, rate_bps, mono));
    let numbered = spool.lock().await.store().report().units_numbered;
    let ready = json!({
        "event": "ready",
        "inputs": places,
        "station": config.station.address,
        "http": http.map(|address| address.to_string()),
        "units_numbered": numbered,
    });
    match args.json {
        true => say(&ready.to_string()),
        false => tracing::info!(inputs = places.join(", "), station = config.station.address, "up"),
    }
    let mut run = Run {
        until_done: args.until_done,
        clock,
        mono,
        zero,
        spool_bytes_max: config.spool.spool_bytes,
        started: clock.tai().to_rfc3339(),
        numbered_before: numbered,
        ended: vec![false; hub.inputs.len()],
        finished,
        read_whole: Vec::new(),
        barren: false,
        hub,
        spool,
        keeper,
        phase,
        counts,
        uplink,
        told,
        signals,
    };
    run.until_end(from_inputs, from_link, Duration::from_secs(config.status.interval_s)).await?;
    let (kept, settled) = run.close(stop, link).await?;
    let tally = run.tally("done").await;
    run.told.tell(&tally);
    match args.json {
        true => say(&serde_json::to_string(&tally)?),
        false => tracing::info!("{}", tally.line()),
    }
    anyhow::ensure!(kept, "units heard before the stop could not be written and are lost");
    let done = settled && !run.barren;
    Ok(if done || !args.until_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The edge between its start and its end.
struct Run {
    until_done: bool,
    clock: StationClock,
    mono: Monotonic,
    zero: watch::Sender<Tai>,
    spool_bytes_max: u64,
    /// When, for people.
    started: String,
    /// Units that were numbered by then.
    numbered_before: u64,
    /// By input.
    ended: Vec<bool>,
    finished: FinishedFiles,
    /// Files that were read to their end and are not noted yet, with their inputs.
    read_whole: Vec<(FileIdentity, usize)>,
    /// Whether a file or pipe gave no unit.
    barren: bool,
    hub: Arc<Hub>,
    spool: SharedSpool,
    keeper: Keeper,
    phase: watch::Sender<Phase>,
    counts: watch::Receiver<LinkCounts>,
    /// What radiates, where something does.
    uplink: Option<Uplink>,
    told: Told,
    signals: Signals,
}

/// Signals that ask for a stop, each as often as it comes.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt()).context("SIGINT")? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Run {
    async fn until_end(
        &mut self,
        mut from_inputs: Heard,
        mut from_link: mpsc::UnboundedReceiver<FromLink>,
        interval: Duration,
    ) -> anyhow::Result<()> {
        let quiet = interval.is_zero();
        let mut status = tokio::time::interval(interval.max(Duration::from_secs(1)));
        status.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut listened = self.counts.clone();
        loop {
            let (now, now_ns) = (self.clock.tai(), self.mono.now_ns());
            self.zero.send_replace(now.plus(-(now_ns as i64)));
            self.keeper.keep(now, now_ns).await;
            self.note_files();
            if self.is_over(&from_inputs.live).await {
                break;
            }
            let due = self.keeper.timeout();
            tokio::select! {
                () = self.signals.next() => self.asked_to_stop(),
                Some(message) = from_inputs.live.recv(), if self.keeper.takes_live() => {
                    self.heard(message).await;
                }
                Some(message) = from_inputs.files.recv(), if self.takes_files() => {
                    self.heard(message).await;
                }
                told = from_link.recv() => match told.context("the link ended")? {
                    FromLink::Dirty => self.keeper.dirty(self.mono.now_ns()),
                    FromLink::Uplink(object) => {
                        if !self.uplink.as_ref().is_some_and(|uplink| uplink.take(&object)) {
                            let key = &object.key;
                            tracing::warn!(%key, "what goes up is for no modem of this edge");
                        }
                    }
                    FromLink::Time(_) | FromLink::Backlog(_) | FromLink::Planned(_) => {}
                },
                () = until(self.mono, due) => {}
                Ok(()) = listened.changed(), if self.is_listening() => {}
                _ = status.tick(), if !quiet => {
                    let tally = self.tally("status").await;
                    tracing::info!("{}", tally.line());
                    self.told.tell(&tally);
                }
            }
        }
        // Of a store that could not write until now: the last attempts are for these too.
        for mut from in [from_inputs.live, from_inputs.files] {
            from.close();
            while let Ok(message) = from.try_recv() {
                if matches!(message, FromInput::Heard { .. }) {
                    self.heard(message).await;
                }
            }
        }
        Ok(())
    }

    async fn heard(&mut self, message: FromInput) {
        match message {
            // A file goes on at the next start where it stops now.
            FromInput::Heard { input, .. } if self.is_stopping() && self.keeper.is_file(input) => {}
            FromInput::Heard { input, units, read } => {
                self.keeper.take(input, units, read);
            }
            FromInput::Begun { input, file, resumed } => {
                self.finished.forget(file, how(&self.hub.inputs[input].carrying));
                if resumed.is_some() {
                    let name = &self.hub.inputs[input].name;
                    tracing::info!(input = name, "goes on where the last start came to");
                }
                self.keeper.begin_file(input, file, resumed);
            }
            FromInput::Ended { input, whole, barren } => {
                self.barren |= barren;
                if let Some(file) = whole {
                    self.read_whole.push((file, input));
                    self.keeper.end_file(input, self.mono.now_ns());
                }
                self.ended[input] = true;
                self.hub.tally(input).ended = true;
                tracing::info!(input = self.hub.inputs[input].name, "ended");
            }
        }
    }

    fn is_stopping(&self) -> bool {
        *self.phase.borrow() == Phase::Stop
    }

    /// Notes files whose units are all synced: before, a kill would lose what was only read.
    fn note_files(&mut self) {
        let Self { read_whole, finished, keeper, hub, .. } = self;
        read_whole.retain(|(file, input)| {
            let whole = keeper.is_whole(*input);
            if whole {
                finished.note(*file, how(&hub.inputs[*input].carrying));
            }
            !whole
        });
    }

    /// Whether files may give more. While the keeper is not ready, streams wait and datagrams pile
    /// up in the socket, where the system counts what it drops. At a stop files end at once.
    fn takes_files(&self) -> bool {
        self.keeper.takes_files() || self.is_stopping()
    }

    /// The first request lets files end where everything shall be receipted; the next does not.
    fn asked_to_stop(&self) {
        let before = *self.phase.borrow();
        let next = match before {
            Phase::Run if self.until_done => Phase::Drain,
            _ => Phase::Stop,
        };
        tracing::info!(phase = ?next, "stopping");
        self.phase.send_replace(next);
    }

    async fn is_over(&self, from_live: &mpsc::Receiver<FromInput>) -> bool {
        if self.is_stopping() {
            // A thread that reads standard input can't be woken.
            let gone = self.ended.iter().zip(&self.hub.inputs);
            let gone = gone
                .filter(|(_, input)| input.place != crate::edge::config::Place::Stdin)
                .all(|(ended, _)| *ended);
            return self.keeper.is_stuck()
                || (gone && from_live.is_empty() && self.keeper.takes_live());
        }
        // A station that lost what it had receipted says so when it greets; until then what is
        // receipted may yet be asked for.
        self.until_done
            && self.ended.iter().all(|ended| *ended)
            && self.keeper.is_idle()
            && self.counts.borrow().heard_out
            && self.spool.lock().await.is_settled()
    }

    /// Whether all is over but for what the station may ask for.
    fn is_listening(&self) -> bool {
        self.until_done && self.ended.iter().all(|ended| *ended) && !self.counts.borrow().heard_out
    }

    /// Writes what is left and says goodbye; whether all of it is kept, and all receipted.
    async fn close(
        &mut self,
        stop: watch::Sender<bool>,
        link: tokio::task::JoinHandle<LinkCounts>,
    ) -> anyhow::Result<(bool, bool)> {
        self.keeper.leave_files();
        let kept = self.keeper.finish(self.clock.tai(), self.mono.now_ns()).await;
        stop.send_replace(true);
        link.await.context("the link")?;
        // Receipts that came with the last words.
        let kept = self.keeper.finish(self.clock.tai(), self.mono.now_ns()).await && kept;
        self.note_files();
        let spool = self.spool.lock().await;
        Ok((kept, spool.is_settled() && spool.stuck() == 0))
    }

    async fn tally(&self, event: &'static str) -> Tally {
        let counts = *self.counts.borrow();
        let mut spool = self.spool.lock().await;
        let (stuck, refused) = (spool.stuck(), spool.refusals().clone());
        let store = spool.store();
        let (backlog_units, backlog_bytes) = store.backlog();
        let numbered: u64 = store.counters().map(|(_, counter)| counter.next).sum();
        let now = SpoolNow {
            backlog_units,
            backlog_bytes,
            units_stuck: stuck,
            bytes: store.used_bytes(),
            bytes_max: self.spool_bytes_max,
            stuck: self.keeper.is_stuck(),
        };
        let run = SpoolRun {
            units_numbered: numbered.saturating_sub(self.numbered_before),
            units_receipted: counts.receipted,
            units_voided: self.keeper.voided(),
        };
        let ever = SpoolEver {
            units_numbered: numbered,
            units_durable: store.counters().map(|(_, counter)| counter.durable_next).sum(),
        };
        let spool = SpoolTally { now, run, ever };
        let link = LinkTally::from(counts);
        let (started, inputs) = (self.started.clone(), self.hub.tallies());
        let uplink = self.uplink.as_ref().map(Uplink::tally);
        Tally { event, started, inputs, spool, link, refused, uplink }
    }
}

async fn until(clock: Monotonic, due_ns: Option<u64>) {
    match due_ns {
        Some(due) => tokio::time::sleep_until(clock.instant(due)).await,
        None => std::future::pending().await,
    }
}
