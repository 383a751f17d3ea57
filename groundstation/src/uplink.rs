//! Uplink on the ground: its log, and what an operator is shown.
//!
//! ```text
//! entry  0  4 length of what follows the check    type 1  an uplink object, as on the wire
//!        4  4 CRC-32C of what follows             type 2  length of its content u32, then the
//!        8  1 type                                        outcome's record as JSON
//!        9  - by type                             type 3  next sequence u64, then the counter
//!                                                 type 4  id of this log u64
//!                                                 type 5  store named u8, its epoch u64, then
//!                                                         the key: it goes there, nowhere else
//!                                                 type 6  time i64, length of its content u32,
//!                                                         then the key: its store is gone
//!                                                 keys and counters are objects without content
//! ```
//!
//! Only ever appended; a start writes it anew without what is forgotten. An object is announced
//! only after its entry is synced, and sent only after it is synced where to.
//!
//! The log is the ledger that numbers uplink, and its id stands in every key. It is not in the
//! object store, and must not be: a copy that lags gives numbers again that a spacecraft has
//! executed. A log that is lost or damaged is followed by one with another id, so that no number
//! ever names two things.

use codecs::{
    fec::crc::crc32c,
    ids::StoreEpoch,
    link::uplink::{
        ContentKind, Outcome, UplinkCounter, UplinkKey,
        object::{MAX_UPLINK_BYTES, UplinkObject},
        queue::{CraftStore, Queued, Standing, UplinkQueue},
        record::OutcomeRecord,
    },
    time::Tai,
};
use serde::Serialize;

const OBJECT: u8 = 1;
const OUTCOME: u8 = 2;
const NEXT: u8 = 3;
const ID: u8 = 4;
const WENT: u8 = 5;
const FORGOTTEN: u8 = 6;

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An object was numbered.
    Object(UplinkObject),
    /// An object has its outcome.
    Outcome {
        /// Bytes that its content had.
        bytes: u32,
        /// What the spacecraft said.
        record: OutcomeRecord,
    },
    /// How far a counter had come.
    Next(UplinkCounter, u64),
    /// The log's own id.
    Id(u64),
    /// An object goes to this store on board, and to no other.
    Went(UplinkKey, CraftStore),
    /// The store that an object went to is gone.
    Forgotten {
        /// Which object.
        key: UplinkKey,
        /// Bytes that its content had.
        bytes: u32,
        /// When that was seen.
        at: Tai,
    },
}

impl Entry {
    /// The bytes to append.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; 8];
        match self {
            Self::Object(object) => {
                out.push(OBJECT);
                out.extend_from_slice(&object.encode());
            }
            Self::Outcome { bytes, record } => {
                out.push(OUTCOME);
                out.extend_from_slice(&bytes.to_be_bytes());
                out.extend_from_slice(record.to_json().as_bytes());
            }
            Self::Next(counter, next) => {
                out.push(NEXT);
                out.extend_from_slice(&next.to_be_bytes());
                let key = UplinkKey { counter: counter.clone(), sequence: 0 };
                out.extend_from_slice(&empty(key).encode());
            }
            Self::Id(id) => {
                out.push(ID);
                out.extend_from_slice(&id.to_be_bytes());
            }
            Self::Went(key, store) => {
                out.extend_from_slice(&[WENT, u8::from(store.is_some())]);
                out.extend_from_slice(&store.map_or(0, |store| store.0).to_be_bytes());
                out.extend_from_slice(&empty(key.clone()).encode());
            }
            Self::Forgotten { key, bytes, at } => {
                out.push(FORGOTTEN);
                out.extend_from_slice(&at.0.to_be_bytes());
                out.extend_from_slice(&bytes.to_be_bytes());
                out.extend_from_slice(&empty(key.clone()).encode());
            }
        }
        let length = (out.len() - 8) as u32;
        let check = crc32c(&out[8..]);
        out[..4].copy_from_slice(&length.to_be_bytes());
        out[4..8].copy_from_slice(&check.to_be_bytes());
        out
    }

    /// Reads the entry at the front and says how many bytes it takes; none where none stands there.
    fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (check, rest) = rest.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let body = rest.get(..length).filter(|_| length <= MAX_UPLINK_BYTES + 16)?;
        if crc32c(body) != u32::from_be_bytes(*check) {
            return None;
        }
        let (kind, payload) = body.split_first()?;
        let entry = match *kind {
            OBJECT => Self::Object(UplinkObject::decode(payload).ok()?),
            OUTCOME => {
                let (bytes, record) = payload.split_first_chunk::<4>()?;
                let bytes = u32::from_be_bytes(*bytes);
                Self::Outcome { bytes, record: OutcomeRecord::from_json(record)? }
            }
            NEXT => {
                let (next, counter) = payload.split_first_chunk::<8>()?;
                let counter = UplinkObject::decode(counter).ok()?.key.counter;
                Self::Next(counter, u64::from_be_bytes(*next))
            }
            ID => Self::Id(u64::from_be_bytes(payload.try_into().ok()?)),
            WENT => {
                let (named, rest) = payload.split_first()?;
                let (store, key) = rest.split_first_chunk::<8>()?;
                let store = StoreEpoch(u64::from_be_bytes(*store));
                let key = UplinkObject::decode(key).ok()?.key;
                Self::Went(key, (*named == 1).then_some(store))
            }
            FORGOTTEN => {
                let (at, rest) = payload.split_first_chunk::<8>()?;
                let (bytes, key) = rest.split_first_chunk::<4>()?;
                let (at, bytes) = (Tai(i64::from_be_bytes(*at)), u32::from_be_bytes(*bytes));
                Self::Forgotten { key: UplinkObject::decode(key).ok()?.key, bytes, at }
            }
            _ => return None,
        };
        Some((entry, 8 + length))
    }
}

/// A key in the form that everything has here.
fn empty(key: UplinkKey) -> UplinkObject {
    UplinkObject {
        key,
        kind: ContentKind::Command as u8,
        priority: 0,
        created: Tai(0),
        expires: None,
        body: bytes::Bytes::new(),
    }
}

/// What a log says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Its entries, in order.
    pub entries: Vec<Entry>,
    /// Bytes that are no entry: a cut at the end, or damage.
    pub unread: u64,
    /// Entries stand behind some of those: they were synced once, and no crash cut them.
    pub damaged: bool,
}

/// Reads a log; behind damage it goes on at the next whole entry.
pub fn read(log: &[u8]) -> Read {
    let mut read = Read::default();
    let mut rest = log;
    while !rest.is_empty() {
        match Entry::decode(rest) {
            Some((entry, length)) => {
                read.entries.push(entry);
                read.damaged = read.unread > 0;
                rest = rest.get(length..).unwrap_or_default();
            }
            None => {
                read.unread += 1;
                rest = rest.get(1..).unwrap_or_default();
            }
        }
    }
    read
}

impl Read {
    /// The id that numbers are given under from now on: the log's own, or `fresh` where the log is
    /// new, or lacks something that may have been a number.
    pub fn id(&self, fresh: u64) -> u64 {
        let own = self.entries.iter().find_map(|entry| match entry {
            Entry::Id(id) => Some(*id),
            _ => None,
        });
        own.filter(|_| self.unread == 0).unwrap_or(fresh)
    }
}

/// A queue that remembers what a log says, and numbers under `id`.
pub fn recall(domain: &str, id: u64, read: Read) -> UplinkQueue {
    let mut queue = UplinkQueue::new(domain, id);
    for entry in read.entries {
        match entry {
            Entry::Object(object) => queue.recall(object),
            Entry::Next(counter, next) => queue.recall_next(counter, next),
            Entry::Outcome { bytes, record } => queue.recall_outcome(&record, bytes as usize),
            Entry::Went(key, store) => queue.recall_went(&key, store),
            Entry::Forgotten { key, bytes, at } => {
                queue.recall_forgotten(&key, bytes as usize, at);
            }
            Entry::Id(_) => {}
        }
    }
    if read.damaged {
        // The entry that is lost may have said that it went.
        let new = queue.objects().filter(|of| of.went.is_none());
        let new: Vec<_> = new.map(|of| (of.object.clone(), of.bytes)).collect();
        new.iter().for_each(|(object, bytes)| {
            queue.recall_forgotten(&object.key, *bytes, object.created);
        });
    }
    queue
}

/// A log that says of a queue what [`recall`] needs, and no more.
pub fn rewrite(queue: &UplinkQueue, id: u64) -> Vec<u8> {
    let mut out = Entry::Id(id).encode();
    for (counter, next) in queue.counters() {
        out.extend(Entry::Next(counter.clone(), next).encode());
    }
    for queued in queue.objects() {
        let key = &queued.object.key;
        out.extend(Entry::Object(queued.object.clone()).encode());
        if let Some(store) = queued.went {
            out.extend(Entry::Went(key.clone(), store).encode());
        }
        if let (Standing::Ended(Outcome::Unknown, false), Some(at)) =
            (queued.standing, queued.ended)
        {
            let (key, bytes) = (key.clone(), queued.bytes as u32);
            out.extend(Entry::Forgotten { key, bytes, at }.encode());
        }
        if let Standing::Ended(outcome, true) = queued.standing {
            let record = OutcomeRecord {
                key: key.clone(),
                outcome,
                detail: queued.detail.clone(),
                time: queued.ended.unwrap_or(Tai(0)),
            };
            out.extend(Entry::Outcome { bytes: queued.bytes as u32, record }.encode());
        }
    }
    out
}

/// An object as an operator is shown it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its whole key.
    pub key: String,
    /// Spacecraft.
    pub spacecraft: u16,
    /// Kind of content.
    pub kind: &'static str,
    /// Number within spacecraft and kind.
    pub sequence: u64,
    /// Higher first.
    pub priority: u8,
    /// Bytes of content.
    pub bytes: usize,
    /// When it was numbered.
    pub created: String,
    /// Until when it may be begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// `queued`, `sent` or `ended`.
    pub state: &'static str,
    /// Times that it was sent since the station started.
    pub attempts: u32,
    /// What became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'static str>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: &'static str,
    /// What the spacecraft said, or the ground's own verdict.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Who says so: `spacecraft` or `ground`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<&'static str>,
    /// When it ended, by who says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

impl Row {
    /// Shows an object.
    pub fn of(queued: &Queued) -> Self {
        let object = &queued.object;
        let (state, outcome, by) = match queued.standing {
            Standing::Recording | Standing::Queued => ("queued", None, None),
            Standing::UnderWay(_) | Standing::Sent(..) => ("sent", None, None),
            Standing::Ended(outcome, true) => ("ended", Some(outcome), Some("spacecraft")),
            Standing::Ended(outcome, false) => ("ended", Some(outcome), Some("ground")),
        };
        Self {
            key: object.key.to_string(),
            spacecraft: object.key.counter.spacecraft.0,
            kind: ContentKind::from_byte(object.kind).map_or("unknown", ContentKind::name),
            sequence: object.key.sequence,
            priority: object.priority,
            bytes: queued.bytes,
            created: object.created.to_rfc3339(),
            expires: object.expires.map(Tai::to_rfc3339),
            state,
            attempts: queued.attempts,
            outcome: outcome.map(|outcome| outcome.name()),
            reason: outcome.map_or("", |outcome| outcome.reason()),
            detail: queued.detail.clone(),
            by,
            ended: queued.ended.map(Tai::to_rfc3339),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::{
        ids::SpacecraftId,
        link::uplink::{Outcome, queue::Request},
    };

    fn request(body: &'static [u8]) -> Request {
        Request {
            spacecraft: SpacecraftId(7),
            kind: ContentKind::Command,
            priority: 1,
            expires: None,
            body: body.into(),
        }
    }

    /// Three objects, the first of them answered.
    fn log() -> (UplinkQueue, Vec<Entry>) {
        let mut queue = UplinkQueue::new("demo", 9);
        let mut entries = Vec::new();
        for at in 0..3 {
            let object = queue.submit(request(b"ping"), Tai(at)).unwrap();
            queue.numbered(&object.key);
            entries.push(Entry::Object(object));
        }
        let Entry::Object(first) = &entries[0] else { panic!("an object") };
        let (key, outcome) = (first.key.clone(), Outcome::Done);
        let record = OutcomeRecord { key, outcome, detail: "pong".into(), time: Tai(4) };
        queue.answered(&record);
        entries.push(Entry::Outcome { bytes: 4, record });
        (queue, entries)
    }

    fn bytes(entries: &[Entry]) -> Vec<u8> {
        entries.iter().flat_map(Entry::encode).collect()
    }

    fn rows(queue: &UplinkQueue) -> Vec<Row> {
        // Attempts are of one run.
        queue.objects().map(|of| Row { attempts: 0, ..Row::of(of) }).collect()
    }

    #[test]
    fn a_log_brings_the_queue_back_and_so_does_a_log_written_anew() {
        let (mut queue, mut entries) = log();
        let store = Some(StoreEpoch(5));
        let sent = queue.poll_object(1, store, |_| true, 0, Tai(9)).unwrap().key;
        queue.went(&sent, store);
        queue.disconnected(1);
        assert_eq!(queue.poll_forgotten(None, |_| true, Tai(9)), Some(sent.clone()));
        entries.push(Entry::Went(sent.clone(), store));
        entries.push(Entry::Forgotten { key: sent, bytes: 4, at: Tai(9) });
        let read = read(&bytes(&entries));
        assert_eq!(read, Read { entries, ..Read::default() });
        let again = recall("demo", 9, read);
        assert_eq!(rows(&again), rows(&queue));
        assert_eq!(
            (again.objects().next().unwrap().bytes, rows(&again)[0].outcome),
            (4, Some("done"))
        );
        let forgotten = &rows(&again)[1];
        assert_eq!((forgotten.outcome, forgotten.by), (Some("unknown"), Some("ground")));
        let went = |queue: &UplinkQueue| queue.objects().map(|of| of.went).collect::<Vec<_>>();
        assert_eq!(went(&again), [None, Some(store), None]);
        let anew = super::read(&rewrite(&again, 9));
        assert_eq!(anew.id(1), 9);
        let anew = recall("demo", 9, anew);
        assert_eq!((rows(&anew), went(&anew)), (rows(&queue), went(&queue)));
        assert!(anew.counters().eq(queue.counters()));
    }

    #[test]
    fn whatever_is_lost_cut_or_flipped_no_number_is_given_twice() {
        let (queue, mut entries) = log();
        entries.insert(0, Entry::Id(9));
        let whole = bytes(&entries);
        let given: Vec<UplinkKey> = queue.objects().map(|of| of.object.key.clone()).collect();
        // What the next object is called after this log.
        let next = |log: &[u8]| {
            let read = read(log);
            let id = read.id(77);
            recall("demo", id, read).submit(request(b"ping"), Tai(9)).unwrap().key
        };
        assert_eq!(next(&whole).sequence, 3);
        assert_eq!(next(&[]).counter.ledger, 77, "a lost log is another ledger");
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = read(&flipped);
            assert!(read.unread > 0 && read.entries.len() >= 3, "bit {bit}");
            let again = recall("demo", 9, read);
            let last = bit / 8 >= whole.len() - entries[4].encode().len();
            let waits = again.objects().any(|of| of.standing == Standing::Queued);
            assert_eq!(waits, last, "bit {bit}: what may have been sent is not sent again");
            assert!(!given.contains(&next(&flipped)), "bit {bit}");
        }
        // A crash cuts what was not synced, and what was not synced was never announced.
        let mut end = 0;
        for (at, entry) in entries.iter().enumerate() {
            let synced = entry.encode().len();
            for cut in end..=end + synced {
                let announced = &given[..at.saturating_sub(1).min(given.len())];
                assert!(!announced.contains(&next(&whole[..cut])), "cut at {cut}");
            }
            end += synced;
        }
    }
}
