//! Uplink over live sessions: the queue with its log on disk, and the streams that carry it.

pub mod command;
pub mod operators;
mod log;

pub use log::UPLINK_LOG;

use super::clock::StationClock;
use crate::budget::UPLINK_STREAMS_MAX as STREAMS_MAX;
use crate::{
    admit::{Action, Principal},
    archive::Archived,
    receipt::SessionId,
    uplink::{Entry, Row},
};
use anyhow::Context as _;
use codecs::{
    ids::{Codec, SpacecraftId, StoreEpoch},
    link::{
        uplink::{
            UplinkKey,
            object::UplinkObject,
            queue::{CraftStore, Request, SubmitError, UplinkQueue},
            record::OutcomeRecord,
        },
        wire::ChannelState,
    },
    time::Tai,
};
use log::UplinkLog;
use quinn::{Connection, SendStream};
use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet};

/// A session looks for what has expired or is due at least this often.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Why an object was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The queue does not take it.
    #[error(transparent)]
    Queue(#[from] SubmitError),
    /// It could not be made durable; it will not be sent.
    #[error("the uplink log could not be written, and nothing was sent: {0}")]
    Log(#[from] std::io::Error),
}

/// The station's uplink; shared by the API, the sessions and the thread that reads records.
pub struct Uplink {
    queue: Mutex<UplinkQueue>,
    /// Held over a number's way to the disk, so that entries stand in order.
    log: Mutex<UplinkLog>,
    clock: StationClock,
    /// Counts what sessions should look at.
    changed: watch::Sender<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Uplink {
    /// Opens the log in the archive's folder and recalls what has no outcome yet.
    pub fn open(folder: &Path, domain: &str, clock: StationClock) -> anyhow::Result<Arc<Self>> {
        let path = folder.join(UPLINK_LOG);
        let fresh = super::random().context("the system gives no random bytes")?;
        let (log, queue) = UplinkLog::open(&path, domain, u64::from_be_bytes(fresh))
            .with_context(|| format!("uplink log {}", path.display()))?;
        let (queue, log) = (Mutex::new(queue), Mutex::new(log));
        let changed = watch::Sender::new(0);
        Ok(Arc::new(Self { queue, log, clock, changed }))
    }

    /// The time that expiries are measured by.
    pub fn now(&self) -> Tai {
        self.clock.tai()
    }

    /// Numbers an object and makes it durable; blocks for the sync.
    pub fn submit(&self, request: Request) -> Result<Row, SendError> {
        let mut log = lock(&self.log);
        let object = lock(&self.queue).submit(request, self.clock.tai())?;
        let key = object.key.clone();
        let synced = log.append(&Entry::Object(object));
        let mut queue = lock(&self.queue);
        if let Err(error) = synced {
            queue.abandon(&key);
            return Err(error.into());
        }
        queue.numbered(&key);
        let row = queue.objects().find(|queued| queued.object.key == key).map(Row::of);
        drop(queue);
        self.changed.send_modify(|count| *count += 1);
        row.ok_or_else(|| std::io::Error::other("the object is gone").into())
    }

    /// Every object, in order of its key.
    pub fn list(&self) -> Vec<Row> {
        let mut queue = lock(&self.queue);
        queue.expire(self.clock.tai());
        queue.objects().map(Row::of).collect()
    }

    /// Looks at an archived unit: the record of an outcome ends its object.
    pub fn observe(&self, unit: &Archived) {
        if unit.codec != Codec::Record {
            return;
        }
        let Some(record) = OutcomeRecord::from_json(&unit.bytes) else { return };
        // Its store may speak for its own spacecraft only.
        if record.key.counter.spacecraft != unit.key.prefix.spacecraft {
            return;
        }
        let mut log = lock(&self.log);
        let mut queue = lock(&self.queue);
        if !queue.answered(&record) {
            return;
        }
        let ended = queue.objects().find(|queued| queued.object.key == record.key);
        let bytes = ended.map_or(0, |queued| queued.bytes as u32);
        drop(queue);
        tracing::info!(key = %record.key, outcome = record.outcome.name(), "uplink answered");
        // The archive holds the record as well: a failure costs nothing but reading it again.
        if let Err(error) = log.append(&Entry::Outcome { bytes, record }) {
            tracing::warn!(%error, "the uplink log could not be written");
        }
    }

    /// Sends over a session for as long as its connection lives; `store` is what its hello says of
    /// the store behind it.
    pub fn attend(
        self: &Arc<Self>,
        id: SessionId,
        principal: &Principal,
        store: CraftStore,
        connection: &Connection,
    ) {
        // Who carries for a spacecraft is not the spacecraft, and would execute nothing.
        let is_spacecraft = principal.actions.contains(&Action::Deliver)
            && !principal.actions.contains(&Action::Carry);
        if is_spacecraft {
            let (uplink, connection) = (Arc::clone(self), connection.clone());
            let principal = principal.clone();
            tokio::spawn(async move {
                uplink.send_all(id, &principal, store, &connection).await;
                lock(&uplink.queue).disconnected(id.0);
                // The session that took over may have waited for this.
                uplink.changed.send_modify(|count| *count += 1);
            });
        }
    }

    async fn send_all(
        self: &Arc<Self>,
        id: SessionId,
        principal: &Principal,
        store: CraftStore,
        connection: &Connection,
    ) {
        let mut changed = self.changed.subscribe();
        let mut streams = JoinSet::new();
        let reaches = |spacecraft| principal.spacecraft.contains(&spacecraft);
        loop {
            self.forget(store, reaches).await;
            while streams.len() < STREAMS_MAX {
                let (now, tai) = (self.clock.mono_ns(), self.clock.tai());
                let next = lock(&self.queue).poll_object(id.0, store, reaches, now, tai);
                let Some(object) = next else { break };
                let (uplink, connection) = (Arc::clone(self), connection.clone());
                let name = principal.name.clone();
                streams.spawn(async move {
                    let key = object.key.clone();
                    if uplink.bind(&key, store).await {
                        tracing::info!(%key, principal = %name, "uplink sent");
                        send(connection, object).await;
                    }
                    key
                });
            }
            let due = lock(&self.queue).timeout(id.0).0;
            let due = due.map(|at| tokio::time::Instant::from(self.clock.instant(at)));
            let wake = tokio::time::Instant::now() + LOOK_EVERY;
            tokio::select! {
                _ = connection.closed() => return,
                Some(Ok(key)) = streams.join_next() => {
                    // A stream that was stopped is like one that is not answered: it goes again
                    // when it is time, or on the next session.
                    lock(&self.queue).object_done(&key, id.0, self.clock.mono_ns());
                }
                told = changed.changed() => if told.is_err() { return },
                () = tokio::time::sleep_until(due.map_or(wake, |due| due.min(wake))) => {}
            }
        }
    }

    /// The next object that fits so many bytes, for a spacecraft that is spoken to by radio and has
    /// this store. It goes again like one of a session, until its record is held.
    pub async fn for_radio(
        self: &Arc<Self>,
        spacecraft: SpacecraftId,
        store: StoreEpoch,
        bytes_max: usize,
    ) -> Option<UplinkObject> {
        let (store, reaches) = (Some(store), |of| of == spacecraft);
        self.forget(store, reaches).await;
        let (now, tai) = (self.clock.mono_ns(), self.clock.tai());
        let session = radio_session(spacecraft);
        let next =
            lock(&self.queue).poll_object_within(session, store, reaches, bytes_max, now, tai);
        let object = next?;
        if self.bind(&object.key, store).await {
            return Some(object);
        }
        lock(&self.queue).object_failed(&object.key, session);
        None
    }

    /// An object was said by radio, or was too late for it.
    pub fn said_by_radio(&self, key: &UplinkKey) {
        let session = radio_session(key.counter.spacecraft);
        lock(&self.queue).object_done(key, session, self.clock.mono_ns());
        tracing::info!(%key, "uplink said by radio");
    }

    /// Nobody radiates what is said: what is not answered goes by whatever way there is.
    pub fn radio_lost(&self, spacecraft: SpacecraftId) {
        lock(&self.queue).disconnected(radio_session(spacecraft));
        self.changed.send_modify(|count| *count += 1);
    }

    /// When an object of a radio is due again.
    pub fn radio_due(&self, spacecraft: SpacecraftId) -> Option<u64> {
        lock(&self.queue).timeout(radio_session(spacecraft)).0
    }

    /// Tells of what is to be looked at.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Ends what went to a store that these spacecraft no longer have, and tells the operator.
    async fn forget(self: &Arc<Self>, store: CraftStore, reaches: impl Fn(SpacecraftId) -> bool) {
        loop {
            let at = self.clock.tai();
            let Some(key) = lock(&self.queue).poll_forgotten(store, &reaches, at) else { return };
            tracing::warn!(
                %key,
                "uplink unknown: the spacecraft has another store than the one that this was sent \
                 to; whether it was executed is not known, and it is not sent again"
            );
            // Where this fails, the next start finds it out again.
            let bytes = {
                let queue = lock(&self.queue);
                let ended = queue.objects().find(|queued| queued.object.key == key);
                ended.map_or(0, |queued| queued.bytes as u32)
            };
            self.keep(Entry::Forgotten { key, bytes, at }).await;
        }
    }

    /// Makes durable which store an object goes to; whether it may go.
    async fn bind(self: &Arc<Self>, key: &UplinkKey, store: CraftStore) -> bool {
        if !lock(&self.queue).is_new(key) {
            return true;
        }
        let kept = self.keep(Entry::Went(key.clone(), store)).await;
        if kept {
            lock(&self.queue).went(key, store);
        }
        kept
    }

    /// Appends an entry, off the thread of the sockets; whether it is synced.
    async fn keep(self: &Arc<Self>, entry: Entry) -> bool {
        let uplink = Arc::clone(self);
        let kept = tokio::task::spawn_blocking(move || lock(&uplink.log).append(&entry)).await;
        match kept {
            Ok(Ok(())) => true,
            failed => {
                tracing::error!(?failed, "the uplink log could not be written");
                false
            }
        }
    }
}

/// Sessions count from 1, and radios from the other end.
fn radio_session(spacecraft: SpacecraftId) -> u64 {
    u64::MAX - u64::from(spacecraft.0)
}

/// The store that a hello names: all its counters are of one formatting.
pub fn craft_store(channels: &[ChannelState]) -> CraftStore {
    let mut named = channels.iter().map(|channel| channel.held.epoch);
    let first = named.next()?;
    named.all(|epoch| epoch == first).then_some(first)
}

async fn send(connection: Connection, object: UplinkObject) {
    let bytes = bytes::Bytes::from(object.encode());
    let sent = async {
        let mut stream: SendStream = connection.open_uni().await?;
        let _ = stream.set_priority(object.priority.into());
        stream.write_chunk(bytes).await?;
        let _ = stream.finish();
        let _ = stream.stopped().await;
        Ok::<_, anyhow::Error>(())
    };
    if let Err(error) = sent.await {
        tracing::info!(key = %object.key, "uplink stream: {error:#}");
    }
}
