//! Uplink on the ground: its log, and what an operator is shown.
//!
//! ```text
//! entry  0  4 length of what follows the check    type 1  an uplink object, as on the wire
//!        4  4 CRC-32C of what follows             type 2  length of its content u32, then the
//!        8  1 type                                        outcome's record as JSON
//!        9  - by type                             type 3  next sequence u64, then an object of the
//!                                                         counter without content
//! ```
//!
//! Only ever appended; a start writes it anew without what is forgotten. An object is announced and
//! sent only after its entry is synced, so that a number never names two things.

use codecs::{
    fec::crc::crc32c,
    link::uplink::{
        ContentKind, UplinkCounter, UplinkKey,
        object::{MAX_UPLINK_BYTES, UplinkObject},
        queue::{Queued, Standing, UplinkQueue},
        record::OutcomeRecord,
    },
    time::Tai,
};
use serde::Serialize;

const OBJECT: u8 = 1;
const OUTCOME: u8 = 2;
const NEXT: u8 = 3;
/// Bytes of an entry before its payload.
const ENTRY_BYTES: usize = 9;
/// The shortest entry that takes a number: an object's, without domain and content.
const NUMBER_BYTES: usize = ENTRY_BYTES + codecs::link::uplink::object::HEADER_BYTES;

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
                out.extend_from_slice(&empty(counter.clone()).encode());
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
            _ => return None,
        };
        Some((entry, 8 + length))
    }
}

fn empty(counter: UplinkCounter) -> UplinkObject {
    UplinkObject {
        key: UplinkKey { counter, sequence: 0 },
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
}

/// Reads a log; behind damage it goes on at the next whole entry.
pub fn read(log: &[u8]) -> Read {
    let mut read = Read::default();
    let mut rest = log;
    while !rest.is_empty() {
        match Entry::decode(rest) {
            Some((entry, length)) => {
                read.entries.push(entry);
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

/// A queue that remembers what a log says.
pub fn recall(domain: &str, ledger: u64, read: Read) -> UplinkQueue {
    let mut queue = UplinkQueue::new(domain, ledger);
    for entry in read.entries {
        match entry {
            Entry::Object(object) => queue.recall(object),
            Entry::Next(counter, next) => queue.recall_next(counter, next),
            Entry::Outcome { bytes, record } => queue.recall_outcome(&record, bytes as usize),
        }
    }
    if read.unread > 0 {
        // Numbers that stood in what can't be read are passed over rather than given twice.
        let passed = read.unread / NUMBER_BYTES as u64 + 1;
        let counters: Vec<_> =
            queue.counters().map(|(counter, next)| (counter.clone(), next + passed)).collect();
        counters.into_iter().for_each(|(counter, next)| queue.recall_next(counter, next));
    }
    queue
}

/// A log that says of a queue what [`recall`] needs, and no more.
pub fn rewrite(queue: &UplinkQueue) -> Vec<u8> {
    let mut out = Vec::new();
    for (counter, next) in queue.counters() {
        out.extend(Entry::Next(counter.clone(), next).encode());
    }
    for queued in queue.objects() {
        out.extend(Entry::Object(queued.object.clone()).encode());
        if let Standing::Ended(outcome, true) = queued.standing {
            let record = OutcomeRecord {
                key: queued.object.key.clone(),
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
        queue.objects().map(Row::of).collect()
    }

    #[test]
    fn a_log_brings_the_queue_back_and_so_does_a_log_written_anew() {
        let (queue, entries) = log();
        let read = read(&bytes(&entries));
        assert_eq!(read, Read { entries, unread: 0 });
        let again = recall("demo", 9, read);
        assert_eq!(rows(&again), rows(&queue));
        assert_eq!(
            (again.objects().next().unwrap().bytes, rows(&again)[0].outcome),
            (4, Some("done"))
        );
        let anew = recall("demo", 9, super::read(&rewrite(&again)));
        assert_eq!(rows(&anew), rows(&queue));
        assert!(anew.counters().eq(queue.counters()));
    }

    #[test]
    fn whatever_is_cut_or_flipped_no_number_is_given_twice() {
        let (queue, entries) = log();
        let whole = bytes(&entries);
        let next = |queue: &UplinkQueue| queue.counters().next().map_or(0, |(_, next)| next);
        assert_eq!(next(&queue), 3);
        let objects = bytes(&entries[..3]).len();
        for end in 0..objects {
            let read = read(&whole[..end]);
            let complete = read.entries.len() as u64;
            assert!(next(&recall("demo", 9, read)) >= complete);
        }
        let first = entries[0].encode().len();
        for bit in first * 8..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = read(&flipped);
            assert!(read.unread > 0 && read.entries.len() >= 2, "bit {bit}");
            assert!(next(&recall("demo", 9, read)) >= 3, "bit {bit}");
        }
    }
}
