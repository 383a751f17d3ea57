//! Uplink: objects, what is kept of them on either side, and both machines.

use crate::input::{Input, pieces};
use bytes::Bytes;
use codecs::fec::crc::Crc32c;
use codecs::ids::{Channel, SpacecraftId, StoreEpoch};
use codecs::link::uplink::executor::{
    Action, COUNTERS_MAX, Executor, Note, Received, UNDER_WAY_MAX,
};
use codecs::link::uplink::object::{HEADER_BYTES, UplinkObject, UplinkReader};
use codecs::link::uplink::queue::{CraftStore, ENDED_MAX, Request, Standing, UplinkQueue};
use codecs::link::uplink::record::OutcomeRecord;
use codecs::link::uplink::window::{MAX_NOTE_BYTES, Window};
use codecs::link::uplink::{ContentKind, Outcome, UplinkCounter, UplinkKey, WINDOW};
use codecs::time::Tai;
use std::collections::{BTreeMap, BTreeSet};

/// Uplink objects: the same however the stream is cut, and one encoding.
pub fn object(data: &[u8]) {
    let mut input = Input(data);
    let (flags, cut) = (input.byte(), input.byte());
    let mut bytes = input.rest().to_vec();
    if flags & 1 == 0 && bytes.len() >= HEADER_BYTES {
        // Magic, version, zeros, length and checks, which the fuzzer need not find.
        let domain = usize::from(bytes[7] % 32).min(bytes.len() - HEADER_BYTES);
        bytes[7] = domain as u8;
        bytes[..5].copy_from_slice(b"GTU1\x01");
        bytes[18..20].fill(0);
        let body = &bytes[HEADER_BYTES + domain..];
        let (length, body_check) = (body.len() as u32, check(&[body]));
        bytes[20..24].copy_from_slice(&length.to_be_bytes());
        bytes[56..60].copy_from_slice(&body_check.to_be_bytes());
        let header = check(&[&bytes[..60], &bytes[HEADER_BYTES..HEADER_BYTES + domain]]);
        bytes[60..64].copy_from_slice(&header.to_be_bytes());
    }
    let whole = UplinkObject::decode(&bytes);
    let mut reader = UplinkReader::new();
    let pushed = pieces(&bytes, cut).try_for_each(|piece| reader.push(piece));
    let pieced = pushed.and_then(|()| reader.finish());
    // How much is in excess depends on how much came at once.
    assert_eq!(whole.is_ok(), pieced.is_ok());
    if let Ok(object) = whole {
        assert_eq!(object.encode(), bytes, "there is one encoding");
        assert_eq!(Ok(object), pieced);
    }
}

fn check(parts: &[&[u8]]) -> u32 {
    let mut check = Crc32c::new();
    parts.iter().for_each(|part| check.update(part));
    check.finish()
}

/// Notes of a spacecraft: what is read encodes to the same meaning.
pub fn note(data: &[u8]) {
    if let Some(window) = Window::decode(data) {
        let bytes = window.encode();
        assert!(bytes.len() <= MAX_NOTE_BYTES && window.begun().count() <= WINDOW as usize);
        assert_eq!(Window::decode(&bytes).map(|window| window.encode()), Some(bytes));
    }
}

/// Records of outcomes: what is read is written and read again.
pub fn record(data: &[u8]) {
    if let Some(record) = OutcomeRecord::from_json(data) {
        assert_eq!(OutcomeRecord::from_json(record.to_json().as_bytes()), Some(record));
    }
}

fn any_object(input: &mut Input) -> UplinkObject {
    let [flags, kind, spread] = [input.byte(), input.byte(), input.byte()];
    let sequence = match flags % 8 {
        0 => input.long(),
        1 => u64::from(input.word()),
        _ => u64::from(input.byte()),
    };
    let counter = UplinkCounter {
        domain: "d".into(),
        ledger: u64::from(spread),
        spacecraft: SpacecraftId(if flags & 0x40 == 0 { 7 } else { 8 }),
        channel: Channel::stream(1),
    };
    UplinkObject {
        key: UplinkKey { counter, sequence },
        kind: kind % 6,
        priority: 1,
        created: Tai(0),
        expires: (flags & 0x80 != 0).then(|| Tai(i64::from(input.byte()))),
        body: Bytes::copy_from_slice(input.take(4)),
    }
}

/// The spacecraft's machine in any state: nothing is executed twice, begun too late, told twice
/// over, or kept beyond the bounds, whatever comes, crashes included.
pub fn executor(data: &[u8]) {
    let mut input = Input(data);
    let mut craft = Executor::restore(SpacecraftId(7), []);
    let mut notes: BTreeMap<u32, Note> = BTreeMap::new();
    let mut executed = BTreeSet::new();
    let mut told: BTreeMap<UplinkKey, Outcome> = BTreeMap::new();
    // What the machine was not answered yet.
    let (mut to_begin, mut to_execute, mut to_conclude) = (Vec::new(), Vec::new(), Vec::new());
    let mut time = None;
    while !input.0.is_empty() {
        match input.byte() % 8 {
            0 | 1 => {
                let object = any_object(&mut input);
                let late =
                    object.expires.is_some_and(|expires| time.is_none_or(|now| now >= expires));
                let received = craft.receive(object, time);
                assert!(received != Received::Taken || !late, "begun without time, or too late");
            }
            2 => match craft.poll_action() {
                None => {}
                Some(Action::Begin { key, note }) => {
                    assert!(note.bytes.len() <= MAX_NOTE_BYTES);
                    notes.insert(note.slot, note);
                    to_begin.push(key);
                }
                Some(Action::Execute { key, .. }) => {
                    assert!(executed.insert(key.clone()), "{key} was executed twice");
                    to_execute.push(key);
                }
                Some(Action::Conclude { key, note, outcome }) => {
                    notes.insert(note.slot, note);
                    let before = told.insert(key.clone(), outcome);
                    assert!(before.is_none(), "{key} was concluded twice");
                    to_conclude.push(key);
                }
                Some(Action::Tell { key, outcome }) => {
                    if let Some(before) = told.get(&key)
                        && !matches!(outcome, Outcome::Refused(_))
                    {
                        assert_eq!(*before, outcome, "{key}");
                    }
                }
            },
            3 => to_begin.drain(..).for_each(|key| craft.begun(&key, time)),
            4 => to_execute.drain(..).for_each(|key| craft.executed(&key, Outcome::Done)),
            5 => to_conclude.drain(..).for_each(|key| craft.concluded(&key)),
            6 => time = Some(Tai(i64::from(input.byte()))),
            _ => {
                (to_begin, to_execute, to_conclude) = (Vec::new(), Vec::new(), Vec::new());
                craft = Executor::restore(SpacecraftId(7), notes.values().cloned());
                time = None;
            }
        }
        assert!(craft.counters() <= COUNTERS_MAX);
    }
    let mut fresh = Executor::restore(SpacecraftId(7), notes.into_values());
    let mut cut = 0;
    while let Some(action) = fresh.poll_action() {
        assert!(matches!(action, Action::Conclude { outcome: Outcome::Unknown, .. }));
        cut += 1;
    }
    assert!(cut <= UNDER_WAY_MAX * (1 + data.len()));
}

/// The ground's machine in any state: an object that ended by a record stays as it is, what
/// expired is not sent, and everything stays within its bounds.
pub fn queue(data: &[u8]) {
    let mut input = Input(data);
    let mut queue = UplinkQueue::new("d", 1);
    let (mut keys, mut time, mut mono) = (Vec::<UplinkKey>::new(), Tai(0), 0u64);
    let mut ended: BTreeMap<UplinkKey, Outcome> = BTreeMap::new();
    let mut went: BTreeMap<UplinkKey, CraftStore> = BTreeMap::new();
    while !input.0.is_empty() {
        let (op, value) = (input.byte(), input.byte());
        let key = keys.get(usize::from(value) % keys.len().max(1)).cloned();
        let session = u64::from(value % 3);
        match (op % 9, key) {
            (0 | 1, _) => {
                let request = Request {
                    spacecraft: SpacecraftId(u16::from(value % 2)),
                    kind: ContentKind::ALL[usize::from(value) % 4].0,
                    priority: value,
                    expires: (op & 0x80 != 0).then(|| time.plus(i64::from(value))),
                    body: Bytes::from_static(b"body"),
                };
                if let Ok(object) = queue.submit(request, time) {
                    keys.push(object.key);
                }
            }
            (2, Some(key)) => queue.numbered(&key),
            (3, _) => {
                let reaches = |of: SpacecraftId| of.0 == 1 || op & 0x80 == 0;
                let store = (value & 4 == 0).then_some(StoreEpoch(u64::from(value >> 6)));
                while let Some(key) = queue.poll_forgotten(store, reaches, time) {
                    assert!(went.get(&key).is_some_and(|went| *went != store), "forgotten nowhere");
                }
                let next = queue.poll_object(session, store, reaches, mono, time);
                if let Some(object) = next {
                    let first = *went.entry(object.key.clone()).or_insert(store);
                    assert_eq!(first, store, "sent to two stores");
                    queue.went(&object.key, store);
                    assert!(object.expires.is_none_or(|expires| expires > time), "sent too late");
                    assert!(!ended.contains_key(&object.key), "sent after its answer");
                }
            }
            (4, Some(key)) => queue.object_done(&key, session, mono),
            (5, Some(key)) => queue.object_failed(&key, session),
            (6, Some(key)) => {
                let outcome = if op & 0x80 == 0 { Outcome::Done } else { Outcome::Unknown };
                let (detail, time) = (String::new(), Tai(1));
                let record = OutcomeRecord { key: key.clone(), outcome, detail, time };
                let listed = queue.objects().any(|queued| queued.object.key == key);
                if queue.answered(&record) && listed {
                    assert!(ended.insert(key, outcome).is_none(), "two outcomes");
                }
            }
            (7, _) => queue.disconnected(session),
            (8, _) => {
                time = time.plus(i64::from(value));
                mono += u64::from(value) << 32;
            }
            _ => {}
        }
        let _ = queue.timeout(session);
        for queued in queue.objects() {
            if let Some(outcome) = ended.get(&queued.object.key) {
                assert_eq!(queued.standing, Standing::Ended(*outcome, true));
            }
        }
        let over = queue.objects().filter(|of| matches!(of.standing, Standing::Ended(..)));
        assert!(over.count() <= ENDED_MAX);
    }
}
