//! A flight: everything wired together from start to clean stop.

use std::sync::Arc;

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
    bearers::{self, Bearers},
    configs::Configs,
    contact::Contacts,
    held::Held,
    keeper::{Keeper, SharedStore},
    mind::{Mind, Others},
    models,
    sources::{SourceReport, Sources},
    uplink::Uplink,
};
use crate::{
    config::Config,
    downlink::Bearer,
    downlink::radio::RadioCounts,
    health::ChargeHealth,
    pipeline::{Account, Pipeline},
    realtime,
    store::{Disk, Store},
    triage,
};

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
    /// What is not as it should be, one sentence each: a model that statistics stand in for, damage
    /// in the store, a watchdog that is not there.
    pub notices: Vec<String>,
}

/// What is told while it flies.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Said {
    /// Packets are taken.
    Ready(Ready),
    /// The flight ends to begin again with another configuration.
    Again {
        /// Always `starting again`.
        event: &'static str,
        /// Why.
        reason: String,
    },
    /// The store can't write, and the flight goes on as far as memory reaches.
    Unstored {
        /// Always `store can't write`.
        event: &'static str,
        /// Why.
        reason: String,
    },
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
    /// What keeps the store from writing, in words.
    pub trouble: Option<String>,
    /// Where every packet is.
    pub account: Account,
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

/// Flies with one configuration until `stop` resolves.
pub async fn run(
    config: Config,
    stop: impl Future<Output = ()>,
    say: impl Fn(&Said),
) -> anyhow::Result<Done> {
    fly(config, &mut Configs::fixed(), stop, say).await
}

/// Flies until `stop` resolves, or another configuration is to be flown ([`Configs::again`]); `say`
/// is told what a person who watches may want to know.
pub async fn fly(
    config: Config,
    configs: &mut Configs,
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
    let scoring = scorers.notices.into_iter().map(|of| ("statistics only", of));
    let damaged = store.damage().notices().into_iter().map(|of| ("store damaged", of));
    let unwatched = mind.take_trouble().map(|of| ("no watchdog", of));
    let slots = configs.take_notices().into_iter().map(|of| ("configurations damaged", of));
    let notices: Vec<_> = scoring.chain(damaged).chain(unwatched).chain(slots).collect();
    let said = Ready {
        event: "ready",
        source: sources.describe(),
        ground: bearers::describe(&config),
        units_numbered: store.report().units_numbered,
        notices: notices.iter().map(|(_, notice)| notice.clone()).collect(),
    };
    for (event, notice) in notices {
        tracing::warn!("{notice}");
        let record = json!({ "event": event, "reason": notice });
        pipeline.record(record, Tai(0), triage::RECORDS);
    }

    let craft = SpacecraftId(config.spacecraft.id);
    configs.flying(&mut store, craft, clock);
    sources.recall(&store);
    let mut uplink = Uplink::recall(SpacecraftId(config.spacecraft.id), &store, &mut pipeline);
    let mut contacts = Contacts::recall(&config, &store).since(clock.zero());
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
            let (held, reports, standing) =
                (store.lock().await, sources.reports(), configs.standing());
            let charge = ChargeHealth {
                suspended: models.suspended(&mut pipeline),
                suspensions: pipeline.counts().suspensions,
                from: standing.from,
                trial: standing.trial,
            };
            let link = contacts.link(now);
            let others = Others { sources: &reports, evicted: keeper.evicted(), link, charge };
            mind.tell(&held.store, &mut pipeline, others, now);
        }
        if !uplink.is_idle(now) && {
            let (store, asked) = (&mut store.lock().await.store, (&mut models, &mut *configs));
            uplink.keep(store, &mut pipeline, asked, now)
        } {
            keeper.hurry(now);
        }
        if configs.is_due() {
            let fit = (!keeper.is_failing(), pipeline.time(now));
            if configs.tend(&mut store.lock().await.store, craft, fit, now) {
                keeper.hurry(now);
            }
        }
        uplink.take_said().iter().for_each(&say);
        keeper.offer(uplink.take_asked());
        if let Some(look) = pipeline.take_look() {
            looks.send_replace(look);
        }
        let commits = keeper.commits();
        keeper.keep(&mut pipeline, now).await?;
        if let Some(reason) = keeper.take_news() {
            // It is read on the ground once the store writes again.
            let record = json!({ "event": "store could not write", "reason": reason });
            pipeline.record(record, pipeline.time(now), triage::RECORDS);
            say(&Said::Unstored { event: "store can't write", reason });
        }
        if !keeper.is_failing() {
            mind.progress(clock.now_ns());
        }
        if keeper.is_settled(&pipeline) {
            sources.settled(&mut pipeline, now);
        }
        if keeper.commits() > commits {
            configs.committed();
            if uplink.committed(now) {
                continue;
            }
        }
        // An order to start again has its outcome in the store first, where that writes.
        let settled = uplink.is_idle(now) && keeper.is_settled(&pipeline);
        if configs.again().is_some() && (settled || keeper.is_troubled()) {
            break;
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
            configs.timeout(),
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
                let (time, change, objects) =
                    contacts.hear(heard, &mut store.lock().await.store, now);
                if let Some(time) = time {
                    pipeline.trust(time, now);
                    uplink.trust(time, now);
                }
                objects.into_iter().for_each(|object| uplink.receive(object, now));
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
                        contacts.welcomed(time, now);
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
            checked = configs.checked() => {
                let (key, answer) = configs.keep(checked);
                uplink.executed(key, answer);
            }
            () = until(clock, due) => {}
        }
    }
    tracing::info!("stopping");
    while !keeper.is_stuck() && sources.take_last(&mut pipeline, clock.now_ns()) {
        keeper.keep(&mut pipeline, clock.now_ns()).await?;
    }
    pipeline.finish(clock.now_ns());
    keeper.finish(&mut pipeline, clock.now_ns()).await;
    let (link, radio) = bearers.stop().await?;
    // Receipts that came with the last words.
    let unstored = !keeper.finish(&mut pipeline, clock.now_ns()).await;
    let (account, trouble) = keeper.account(&pipeline);
    let store = store.lock().await;
    let (models, sources) = (models.status(&mut pipeline), sources.reports());
    let done = done(&pipeline, &store.store, link);
    let units_receipted = done.units_receipted + contacts.receipted();
    Ok(Done { unstored, trouble, account, models, sources, units_receipted, radio, ..done })
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
        trouble: None,
        account: Account::default(),
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
