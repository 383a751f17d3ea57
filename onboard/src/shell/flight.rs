//! A flight: everything wired together from start to clean stop.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use codecs::{
    ids::{SpacecraftId, StoreEpoch},
    time::Tai,
};
use codecs_quic::{FromLink, LinkCounts, Monotonic};
use serde::Serialize;
use serde_json::json;
use tokio::sync::{Mutex, watch};

use super::{
    bearers::{self, Bearers, Changes},
    contact::Contacts,
    held::{Held, change},
    mind::Mind,
    models,
    sources::{SourceReport, Sources},
    uplink::Uplink,
};
use crate::{
    config::Config,
    downlink::Bearer,
    downlink::radio::RadioCounts,
    pipeline::{Outcome, Pipeline},
    realtime,
    store::{Committed, Disk, RETRY_NS, Schedule, Store, StoreError, Stored},
    triage,
};

/// The store as the tasks share it.
type SharedStore = Arc<Mutex<Held>>;

/// Bytes pending in the store that are not left to wait for company.
const COMMIT_BYTES: u64 = 256 << 10;
/// Outcomes that may wait for a store that can't write before the source waits too.
const OUTCOMES_MAX: usize = 64;

/// Said once packets are taken.
#[derive(Clone, Debug, Serialize)]
pub struct Ready {
    /// Always `ready`.
    pub event: &'static str,
    /// Where packets are taken.
    pub source: String,
    /// The station's address.
    pub ground: String,
    /// Sequences that the store had given out before.
    pub units_numbered: u64,
    /// Why statistics stand in for a model, one sentence each.
    pub notices: Vec<String>,
}

/// What is told while it flies.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Said {
    /// Packets are taken.
    Ready(Ready),
    /// A command that takes its time was begun.
    Holding {
        /// Always `holding`.
        event: &'static str,
        /// Which.
        key: String,
    },
}

/// Said at a clean stop.
#[derive(Clone, Debug, Serialize)]
pub struct Done {
    /// Always `done`.
    pub event: &'static str,
    /// Packets or frames taken.
    pub packets: u64,
    /// Their bytes.
    pub source_bytes: u64,
    /// Datagrams dropped, by reason.
    pub malformed: std::collections::BTreeMap<String, u64>,
    /// What each source brought.
    pub sources: Vec<SourceReport>,
    /// Tiles scored.
    pub tiles: u64,
    /// Tiles left out but for a summary.
    pub tiles_left_out: u64,
    /// Blocks of telemetry left out.
    pub blocks_left_out: u64,
    /// How often each rule of the policy decided; `usual` where none fitted.
    pub decisions: std::collections::BTreeMap<String, u64>,
    /// Anomalies told.
    pub anomalies: u64,
    /// Sequences given out by the store, over all its boots.
    pub units_numbered: u64,
    /// Different units handed to the link since the start.
    pub units_sent: u64,
    /// Units handed to streams, repeats included.
    pub units_written: u64,
    /// Units receipted since the start.
    pub units_receipted: u64,
    /// Units refused, repeats included.
    pub units_refused: u64,
    /// Some units could not be written before the stop: they are lost.
    pub unstored: bool,
    /// Units on board without a receipt.
    pub backlog_units: u64,
    /// Their bytes.
    pub backlog_bytes: u64,
    /// Bytes of objects handed to streams, repeats included.
    pub downlink_bytes: u64,
    /// Bytes of UDP payload sent.
    pub udp_bytes: u64,
    /// Connections made.
    pub connections: u64,
    /// Live frames sent beside their units.
    pub quick_looks: u64,
    /// What the radio did, where there is one.
    pub radio: Option<RadioCounts>,
    /// What each model did and cost, by task.
    pub models: serde_json::Value,
}

/// Flies until `stop` resolves; `say` is told what a person who watches may want to know.
pub async fn run(
    config: Config,
    stop: impl Future<Output = ()>,
    say: impl Fn(&Said),
) -> anyhow::Result<Done> {
    let clock = Monotonic::start();
    let peer = bearers::peer(&config)?;
    let (mut models, scorers) = models::load(&config.models, clock)?;
    let mut sources = Sources::open(&config, clock).await?;
    let mut epoch = [0; 8];
    rustix::rand::getrandom(&mut epoch, rustix::rand::GetRandomFlags::empty())?;
    let disk = Disk::open(&config.store.dir)?;
    let epoch = StoreEpoch(u64::from_be_bytes(epoch));
    let mut store = Store::open(disk, config.limits(), config.origin()?, epoch)?;
    let framed =
        store.next_of(SpacecraftId(config.spacecraft.id), realtime::channel(&config.realtime));
    let known = &config.models;
    let known = u8::from(known.telemetry.is_some()) | u8::from(known.tiles.is_some()) << 1;
    let mut mind = Mind::new(&config, &mut store, known);
    let mut pipeline = Pipeline::new(&config, framed, scorers.watch, scorers.tiles)?;
    let said = Ready {
        event: "ready",
        source: sources.describe(),
        ground: bearers::describe(&config),
        units_numbered: store.report().units_numbered,
        notices: scorers.notices,
    };
    for notice in &said.notices {
        tracing::warn!("{notice}");
        let record = json!({ "event": "statistics only", "reason": notice });
        pipeline.record(record, Tai(0), triage::RECORDS);
    }

    sources.recall(&store);
    let mut uplink = Uplink::recall(SpacecraftId(config.spacecraft.id), &store, &mut pipeline);
    let mut contacts = Contacts::recall(&config, &store);
    let held = Held {
        store,
        spacecraft: SpacecraftId(config.spacecraft.id),
        housekeeping_percent: pipeline.housekeeping_percent(),
    };
    let store: SharedStore = Arc::new(Mutex::new(held));
    let (time, time_seen) = watch::channel(Tai(0));
    let (looks, newest) = watch::channel(Bytes::new());
    let feeds = (clock, time_seen, newest);
    let mut bearers = Bearers::start(&config, peer, &store, &contacts, feeds).await?;
    let commit_ns = config.store.commit_ms * 1_000_000;
    let mut keeper = Keeper::new(store.clone(), bearers.changes(), commit_ns);
    tracing::info!(source = said.source, ground = said.ground, "flying");
    say(&Said::Ready(said));

    tokio::pin!(stop);
    loop {
        let now = clock.now_ns();
        contacts.tend(&mut pipeline, now);
        pipeline.handle_timeout(now);
        models.tend(&mut pipeline, now);
        sources.handle_timeout(&mut pipeline, now);
        if mind.is_due(now) {
            let (held, reports) = (store.lock().await, sources.reports());
            mind.tell(&held.store, &mut pipeline, &reports, keeper.evicted, now);
        }
        if !uplink.is_idle(now)
            && uplink.keep(&mut store.lock().await.store, &mut pipeline, &mut models, now)
        {
            keeper.hurry(now);
        }
        uplink.take_said().iter().for_each(&say);
        keeper.offer(uplink.take_asked());
        if let Some(look) = pipeline.take_look() {
            looks.send_replace(look);
        }
        let commits = keeper.commits;
        keeper.keep(&mut pipeline, now).await?;
        if !keeper.is_failing() {
            mind.progress(clock.now_ns());
        }
        if keeper.is_settled(&pipeline) {
            sources.settled(&mut pipeline, now);
        }
        if keeper.commits > commits && uplink.committed(now) {
            continue;
        }
        time.send_replace(pipeline.time(now).plus(-(now as i64)));
        // A source that must wait for the store is not due.
        let looked = if keeper.is_stuck() { None } else { sources.timeout() };
        let due = [
            pipeline.timeout(),
            keeper.timeout(),
            uplink.timeout(),
            looked,
            mind.timeout(),
            Some(models.timeout()),
            Some(contacts.timeout()),
        ];
        let due = due.into_iter().flatten().min();
        tokio::select! {
            () = &mut stop => break,
            turn = sources.next(), if !keeper.is_stuck() => {
                sources.take(turn, &mut pipeline, clock.now_ns());
            }
            Some(heard) = bearers.heard.recv() => {
                let now = clock.now_ns();
                let (time, change) = contacts.hear(heard, &mut store.lock().await.store, now);
                if let Some(time) = time {
                    pipeline.trust(time, now);
                    uplink.trust(time, now);
                }
                keeper.changes.send(&change);
                keeper.dirty(now);
            }
            Some(told) = bearers.told.recv() => {
                let now = clock.now_ns();
                contacts.heard(Bearer::Quic, now);
                match told {
                    FromLink::Time(time) => {
                        pipeline.trust(time, now);
                        uplink.trust(time, now);
                        contacts.trust(time, now);
                    }
                    FromLink::Planned(plan) => {
                        contacts.plan(plan, &mut store.lock().await.store, now);
                        keeper.hurry(now);
                    }
                    FromLink::Uplink(object) => uplink.receive(*object, now),
                    FromLink::Dirty => keeper.dirty(now),
                    FromLink::Backlog(left) => {
                        let (units, bytes) = (left.units, left.bytes);
                        let record = json!({ "event": "backlog", "units": units, "bytes": bytes });
                        pipeline.record(record, pipeline.time(now), triage::BACKLOG);
                    }
                }
            }
            proven = models.proven() => {
                let (key, answer) = models.install(proven);
                uplink.executed(key, answer);
            }
            () = until(clock, due) => {}
        }
    }
    tracing::info!("stopping");
    pipeline.finish(clock.now_ns());
    keeper.finish(&mut pipeline, clock.now_ns()).await;
    let (link, radio) = bearers.stop().await?;
    // Receipts that came with the last words.
    let unstored = !keeper.finish(&mut pipeline, clock.now_ns()).await;
    let store = store.lock().await;
    let (models, sources) = (models.status(&mut pipeline), sources.reports());
    let done = done(&pipeline, &store.store, link);
    let units_receipted = done.units_receipted + contacts.receipted();
    Ok(Done { unstored, models, sources, units_receipted, radio, ..done })
}

fn done(pipeline: &Pipeline, store: &Store<Disk>, link: LinkCounts) -> Done {
    let (source, counts) = (pipeline.source(), pipeline.counts());
    let (backlog_units, backlog_bytes) = store.backlog();
    Done {
        event: "done",
        packets: source.taken,
        source_bytes: source.bytes,
        malformed: source.malformed.clone(),
        tiles: counts.tiles,
        tiles_left_out: counts.left_out,
        blocks_left_out: counts.blocks_left_out,
        decisions: pipeline.decisions().clone(),
        anomalies: counts.anomalies,
        units_numbered: store.report().units_numbered,
        units_sent: store.units_sent(),
        units_written: link.units_written,
        units_receipted: link.receipted,
        units_refused: link.refused,
        sources: Vec::new(),
        unstored: false,
        backlog_units,
        backlog_bytes,
        downlink_bytes: link.object_bytes,
        udp_bytes: link.udp_bytes,
        connections: link.connections,
        quick_looks: link.quick_looks,
        radio: None,
        models: serde_json::Value::Null,
    }
}

async fn until(clock: Monotonic, due_ns: Option<u64>) {
    match due_ns {
        Some(due) => tokio::time::sleep_until(clock.instant(due)).await,
        None => std::future::pending().await,
    }
}

/// Brings an outcome into the store; not where the store must commit first.
fn put(store: &mut Store<Disk>, outcome: &Outcome, spacecraft: SpacecraftId) -> bool {
    match outcome {
        Outcome::Keep(unit) => match store.append(unit.clone()) {
            Ok(_) => {}
            Err(StoreError::Pending(_)) => return false,
            Err(error) => tracing::error!("a unit was not stored: {error}"),
        },
        Outcome::LeaveOut { channel, bytes, captured } => {
            store.drop_next(spacecraft, *channel, *bytes, *captured);
        }
        Outcome::Together { made, slot, note } => {
            let lengths = made.iter().filter_map(|outcome| match outcome {
                Outcome::Keep(unit) => Some(unit.bytes.len()),
                _ => None,
            });
            if !store.fits(lengths) {
                return false;
            }
            // What fits an empty commit whole is bounded where it is made.
            let put = made.iter().all(|outcome| put(store, outcome, spacecraft));
            if !put || !store.note(*slot, note.clone()) {
                tracing::error!("a piece of a file and its progress do not fit one commit");
            }
        }
    }
    true
}

/// Brings outcomes into the store and commits them together, off the thread of the sockets.
struct Keeper {
    store: SharedStore,
    changes: Changes,
    schedule: Schedule,
    stuck: bool,
    /// Units given up since the start.
    evicted: u64,
    /// Commits that succeeded.
    commits: u64,
}

impl Keeper {
    fn new(store: SharedStore, changes: Changes, commit_ns: u64) -> Self {
        let schedule = Schedule::new(commit_ns, COMMIT_BYTES);
        Self { store, changes, schedule, stuck: false, evicted: 0, commits: 0 }
    }

    fn timeout(&self) -> Option<u64> {
        self.schedule.timeout()
    }

    /// Whether the source must wait.
    fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// Whether everything that was made is durable.
    fn is_settled(&self, pipeline: &Pipeline) -> bool {
        pipeline.is_idle() && self.timeout().is_none() && self.schedule.trouble().is_none()
    }

    /// Whether the medium fails: what a new start may mend, as a full disk is not.
    fn is_failing(&self) -> bool {
        matches!(self.schedule.trouble(), Some(StoreError::Medium(_)))
    }

    /// Someone waits for the next commit.
    fn hurry(&mut self, now_ns: u64) {
        self.schedule.hurry(now_ns);
    }

    /// Offers units to the link that the store held back.
    fn offer(&mut self, stored: Vec<Stored>) {
        if !stored.is_empty() {
            self.changes.send(&change(Committed { stored, ..Committed::default() }));
        }
    }

    fn dirty(&mut self, now_ns: u64) {
        self.schedule.dirty(now_ns);
    }

    /// Moves outcomes into the store and commits when it is time.
    async fn keep(&mut self, pipeline: &mut Pipeline, now_ns: u64) -> anyhow::Result<()> {
        if !self.schedule.rests(now_ns) {
            while !pipeline.is_idle() {
                if self.accept(pipeline, now_ns).await? {
                    continue;
                }
                self.commit(pipeline.time(now_ns), now_ns).await;
                if self.schedule.trouble().is_some() {
                    break;
                }
            }
            if self.schedule.is_due(now_ns) {
                self.commit(pipeline.time(now_ns), now_ns).await;
            }
        }
        self.stuck = self.schedule.trouble().is_some() && pipeline.waiting() > OUTCOMES_MAX;
        Ok(())
    }

    /// Takes outcomes until none is left, or the store must commit first (`false`).
    async fn accept(&mut self, pipeline: &mut Pipeline, now_ns: u64) -> anyhow::Result<bool> {
        let mut store = self.store.lock().await;
        while let Some(outcome) = pipeline.poll() {
            if !put(&mut store.store, &outcome, pipeline.spacecraft()) {
                pipeline.unpoll(outcome);
                return Ok(false);
            }
        }
        self.schedule.pending(store.store.pending_bytes(), now_ns);
        Ok(true)
    }

    async fn commit(&mut self, time: Tai, now_ns: u64) {
        let mut store = self.store.clone().lock_owned().await;
        let committed = tokio::task::spawn_blocking(move || store.store.commit(time)).await;
        match committed {
            Ok(Ok(committed)) => {
                self.commits += 1;
                if let Some(trouble) = &committed.trouble {
                    tracing::warn!("the store could not be cleaned: {trouble}");
                }
                let before = self.evicted;
                self.evicted += committed.evicted.len() as u64;
                // The voids tell each one; the log tells the first and each doubling.
                if self.evicted.checked_ilog2() != before.checked_ilog2() {
                    let units = self.evicted;
                    tracing::warn!(units, "the store is full: gave up what is worth least");
                }
                if self.schedule.committed() {
                    tracing::info!("the store writes again");
                }
                if !committed.stored.is_empty() || !committed.evicted.is_empty() {
                    self.changes.send(&change(committed));
                }
            }
            Ok(Err(error)) => {
                if let Some(news) = self.schedule.failed(error, now_ns) {
                    tracing::error!("{news}");
                }
            }
            Err(panic) => {
                // A panic inside a commit leaves a store that nothing is known about.
                std::panic::resume_unwind(panic.into_panic());
            }
        }
    }

    /// Writes everything that is left, for as long as a clean stop may take; whether all of it
    /// is stored.
    async fn finish(&mut self, pipeline: &mut Pipeline, now_ns: u64) -> bool {
        for _ in 0..10 {
            self.schedule.insist(now_ns);
            if let Err(error) = self.keep(pipeline, now_ns).await {
                tracing::error!("{error:#}");
            }
            if pipeline.is_idle() && self.schedule.trouble().is_none() {
                return true;
            }
            tokio::time::sleep(Duration::from_nanos(RETRY_NS)).await;
        }
        tracing::error!("stopping with units that could not be stored");
        false
    }
}
