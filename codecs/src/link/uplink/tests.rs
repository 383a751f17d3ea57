//! Both sides, alone and against each other through loss, repeats, reordering and crashes.

mod pair;

use alloc::{format, string::String, vec::Vec};
use bytes::Bytes;
use proptest::prelude::*;

use super::{
    executor::{Action, COUNTERS_MAX, Executor, Note, Received, UNDER_WAY_MAX},
    object::{HEADER_BYTES, UplinkError, UplinkObject, UplinkReader},
    queue::{ENDED_MAX, REPEAT_NS, Request, Standing, SubmitError, UplinkQueue},
    record::{MAX_DETAIL_BYTES, OutcomeRecord},
    window::{AHEAD_MAX, MAX_NOTE_BYTES, Mark, Place, Window},
    *,
};
use crate::time::Tai;

const CRAFT: SpacecraftId = SpacecraftId(7);

fn key(sequence: u64) -> UplinkKey {
    let (domain, ledger) = (String::from("demo"), 0xFEED);
    let channel = ContentKind::Command.channel();
    UplinkKey { counter: UplinkCounter { domain, ledger, spacecraft: CRAFT, channel }, sequence }
}

fn object(sequence: u64, expires: Option<Tai>) -> UplinkObject {
    UplinkObject {
        key: key(sequence),
        kind: ContentKind::Command as u8,
        priority: 3,
        created: Tai(5),
        expires,
        body: Bytes::from_static(b"ping"),
    }
}

fn request(priority: u8, expires: Option<Tai>) -> Request {
    let body = Bytes::from_static(b"ping");
    Request { spacecraft: CRAFT, kind: ContentKind::Command, priority, expires, body }
}

fn executor() -> Executor {
    Executor::restore(CRAFT, [])
}

/// Does everything asked for, as if nothing ever failed; the notes and records made durable.
fn drain(executor: &mut Executor, now: Option<Tai>) -> (Vec<Note>, Vec<(u64, Outcome)>) {
    let (mut notes, mut told) = (Vec::new(), Vec::new());
    while let Some(action) = executor.poll_action() {
        match action {
            Action::Begin { key, note } => {
                notes.push(note);
                executor.begun(&key, now);
            }
            Action::Execute { key, .. } => executor.executed(&key, Outcome::Done),
            Action::Conclude { key, note, outcome } => {
                notes.push(note);
                told.push((key.sequence, outcome));
                executor.concluded(&key);
            }
            Action::Tell { key, outcome } => told.push((key.sequence, outcome)),
        }
    }
    (notes, told)
}

#[test]
fn an_object_has_these_bytes() {
    let bytes = object(0x0102, Some(Tai(9))).encode();
    assert_eq!(&bytes[..8], b"GTU1\x01\x01\x03\x04");
    assert_eq!(&bytes[8..24], &[0, 0, 0, 0, 0, 0, 0xFE, 0xED, 0, 7, 0, 0, 0, 0, 0, 4]);
    assert_eq!(&bytes[24..40], &[0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2]);
    assert_eq!(&bytes[40..56], &[0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 9]);
    assert_eq!(&bytes[HEADER_BYTES..], b"demoping");
}

proptest! {
    #[test]
    fn objects_come_back_however_the_stream_is_cut(
        body in prop::collection::vec(any::<u8>(), 0..300),
        domain in "[a-zé]{0,40}",
        expires in prop::option::of(0i64..1000),
        kind: u8,
        chunk in 1usize..200,
    ) {
        let mut sent = object(7, expires.map(Tai));
        sent.key.counter.domain = domain;
        sent.kind = kind;
        sent.body = body.into();
        let bytes = sent.encode();
        let mut reader = UplinkReader::new();
        for part in bytes.chunks(chunk) {
            reader.push(part).unwrap();
        }
        prop_assert_eq!(reader.finish(), Ok(sent));
        let mut longer = bytes.clone();
        longer.push(0);
        prop_assert_eq!(UplinkObject::decode(&longer), Err(UplinkError::Excess(1)));
        for end in 0..bytes.len() {
            prop_assert_eq!(UplinkObject::decode(&bytes[..end]), Err(UplinkError::Short(end)));
        }
    }

    #[test]
    fn every_flipped_bit_is_seen(bit in 0usize..8 * (HEADER_BYTES + 8)) {
        let mut bytes = object(7, None).encode();
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(UplinkObject::decode(&bytes).is_err());
    }

    #[test]
    fn notes_come_back_and_garbage_never_panics(
        marks in prop::collection::vec((0u64..3000, 0usize..4), 0..60),
        garbage in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let outcomes =
            [None, Some(Outcome::Done), Some(Outcome::Unknown), Some(Outcome::Refused(Refusal::Malformed))];
        let mut window = Window::new(key(0).counter);
        for (sequence, outcome) in marks {
            window.mark(sequence, outcomes[outcome].map_or(Mark::Begun, Mark::Ended));
        }
        let bytes = window.encode();
        prop_assert!(bytes.len() <= MAX_NOTE_BYTES);
        for end in 0..bytes.len() {
            prop_assert_eq!(Window::decode(&bytes[..end]), None);
        }
        prop_assert_eq!(Window::decode(&bytes), Some(window));
        let _ = Window::decode(&garbage);
        let _ = UplinkObject::decode(&garbage);
    }
}

#[cfg(feature = "mission")]
proptest! {
    #[test]
    fn records_come_back(detail in "\\PC{0,60}|[\\x00-\\x1f\"\\\\]{0,9}", sequence: u64, time: i64) {
        for byte in 0..=255 {
            let Some(outcome) = Outcome::from_byte(byte) else { continue };
            let record =
                OutcomeRecord { key: key(sequence), outcome, detail: detail.clone(), time: Tai(time) };
            prop_assert_eq!(OutcomeRecord::from_json(record.to_json().as_bytes()), Some(record));
        }
    }
}

#[cfg(feature = "mission")]
#[test]
fn a_detail_is_cut_at_a_character() {
    let record = |detail: &str| OutcomeRecord {
        key: key(1),
        outcome: Outcome::Failed,
        detail: detail.into(),
        time: Tai(1),
    };
    let long = record(&"é".repeat(MAX_DETAIL_BYTES));
    let read = OutcomeRecord::from_json(long.to_json().as_bytes()).unwrap();
    assert_eq!(read.detail.len(), MAX_DETAIL_BYTES);
    let other = record("x").to_json().replace("\"uplink\"", "\"boot\"");
    assert_eq!(OutcomeRecord::from_json(other.as_bytes()), None);
}

#[test]
fn outcomes_are_known_by_byte_and_by_name() {
    for byte in 0..=255 {
        let Some(outcome) = Outcome::from_byte(byte) else { continue };
        assert_eq!(outcome.byte(), byte);
        assert_eq!(Outcome::named(outcome.name(), outcome.reason()), Some(outcome));
        assert!(byte > 1, "0 and 1 are marks of a note");
    }
    assert_eq!(Outcome::from_byte(Refusal::Forbidden as u8).unwrap().reason(), "forbidden");
    for (kind, name) in ContentKind::ALL {
        assert_eq!((ContentKind::from_byte(kind as u8), kind.name()), (Some(kind), name));
    }
}

#[test]
fn a_repeat_is_told_again_and_never_executed_again() {
    let mut craft = executor();
    assert_eq!(craft.receive(object(0, None), None), Received::Taken);
    assert_eq!(craft.receive(object(0, None), None), Received::UnderWay);
    assert_eq!(drain(&mut craft, None).1, [(0, Outcome::Done)]);
    assert_eq!(craft.receive(object(0, None), None), Received::Repeated);
    assert_eq!(craft.poll_action(), Some(Action::Tell { key: key(0), outcome: Outcome::Done }));
    assert_eq!((craft.poll_action(), craft.under_way()), (None, 0));
}

#[test]
fn what_a_crash_left_begun_is_unknown_for_ever() {
    let mut craft = executor();
    craft.receive(object(4, None), None);
    let Some(Action::Begin { note, .. }) = craft.poll_action() else { panic!("begin") };
    let mut again = Executor::restore(CRAFT, [note]);
    let (notes, told) = drain(&mut again, None);
    assert_eq!(told, [(4, Outcome::Unknown)]);
    let mut later = Executor::restore(CRAFT, notes);
    assert_eq!(later.poll_action(), None);
    assert_eq!(later.receive(object(4, None), None), Received::Repeated);
    assert_eq!(drain(&mut later, None).1, [(4, Outcome::Unknown)]);
}

#[test]
fn an_expiry_needs_trusted_time_and_is_kept() {
    let mut craft = executor();
    let refused = Outcome::Refused(Refusal::NoTrustedTime);
    assert_eq!(craft.receive(object(0, Some(Tai(10))), None), Received::Declined(refused));
    let late = craft.receive(object(1, Some(Tai(10))), Some(Tai(10)));
    assert_eq!(late, Received::Declined(Outcome::Expired));
    assert_eq!(drain(&mut craft, None).1, [(0, refused), (1, Outcome::Expired)]);
    // In time when it came, too late once its note was durable.
    assert_eq!(craft.receive(object(2, Some(Tai(10))), Some(Tai(9))), Received::Taken);
    assert_eq!(drain(&mut craft, Some(Tai(10))).1, [(2, Outcome::Expired)]);
    // The same object, once the time is known, is answered as before.
    let repeat = craft.receive(object(0, Some(Tai(10))), Some(Tai(1)));
    assert_eq!(
        (repeat, drain(&mut craft, None).1),
        (Received::Repeated, Vec::from([(0, refused)]))
    );
}

#[test]
fn what_is_outside_the_window_is_refused_without_a_trace() {
    let mut craft = executor();
    craft.receive(object(5000, None), None);
    drain(&mut craft, None);
    let outside = Received::Declined(Outcome::Refused(Refusal::OutsideWindow));
    assert_eq!(craft.receive(object(5000 - WINDOW, None), None), outside);
    assert_eq!(craft.receive(object(5001 + AHEAD_MAX, None), None), outside);
    assert_eq!(drain(&mut craft, None).0, [], "nothing to note");
    assert_eq!(craft.receive(object(5001 - WINDOW, None), None), Received::Taken);
    let mut window = Window::new(key(0).counter);
    (0..2 * WINDOW).for_each(|at| window.mark(at, Mark::Ended(Outcome::Done)));
    assert_eq!(window.place(WINDOW), Place::Known(Mark::Ended(Outcome::Done)));
    assert_eq!(window.place(WINDOW - 1), Place::Outside);
    assert_eq!(Window::decode(&window.encode()), Some(window));
}

#[test]
fn what_is_not_ours_unknown_or_too_much_is_not_begun() {
    let mut craft = executor();
    let mut foreign = object(0, None);
    foreign.key.counter.spacecraft = SpacecraftId(8);
    assert_eq!(craft.receive(foreign, None), Received::NotOurs);
    let strange = UplinkObject { kind: 99, ..object(0, None) };
    let unsupported = Outcome::Refused(Refusal::Unsupported);
    assert_eq!(craft.receive(strange, None), Received::Declined(unsupported));
    drain(&mut craft, None);
    for sequence in 1..=UNDER_WAY_MAX as u64 {
        assert_eq!(craft.receive(object(sequence, None), None), Received::Taken);
    }
    assert_eq!(craft.receive(object(99, None), None), Received::Busy);
    assert_eq!(drain(&mut craft, None).1.len(), UNDER_WAY_MAX);
    for ledger in 0..COUNTERS_MAX as u64 + 3 {
        let mut other = object(0, None);
        other.key.counter.ledger = ledger;
        craft.receive(other, None);
        drain(&mut craft, None);
    }
    assert_eq!(craft.counters(), COUNTERS_MAX);
}

#[test]
fn a_damaged_note_moves_no_other_note() {
    let mut craft = executor();
    let mut notes = Vec::new();
    for ledger in 0..3 {
        let mut other = object(0, None);
        other.key.counter.ledger = ledger;
        craft.receive(other, None);
        notes.extend(drain(&mut craft, None).0.pop());
    }
    notes[1].bytes.clear();
    let mut again = Executor::restore(CRAFT, notes);
    let mut new = object(0, None);
    new.key.counter.ledger = 77;
    again.receive(new, None);
    let Some(Action::Begin { note, .. }) = again.poll_action() else { panic!("begin") };
    assert_eq!(note.slot, 3);
}

#[test]
fn the_queue_sends_the_most_urgent_first_and_repeats_in_later_contacts() {
    let mut queue = UplinkQueue::new("demo", 1);
    let keys: Vec<UplinkKey> = [(1, 1), (9, 2), (1, 0)]
        .into_iter()
        .map(|(priority, at)| queue.submit(request(priority, None), Tai(at)).unwrap().key)
        .collect();
    assert_eq!(queue.objects().count(), 0, "not announced before it is durable");
    let all = |_| true;
    assert_eq!(queue.poll_object(1, None, all, 0, Tai(5)), None);
    keys.iter().for_each(|key| queue.numbered(key));
    assert_eq!(queue.poll_object(1, None, |of| of != CRAFT, 0, Tai(5)), None, "it is not reached");
    let order: Vec<u64> = core::iter::from_fn(|| queue.poll_object(1, None, all, 0, Tai(5)))
        .map(|object| object.key.sequence)
        .collect();
    assert_eq!(order, [1, 2, 0]);
    queue.object_done(&keys[0], 1, 0);
    queue.object_failed(&keys[1], 1);
    assert_eq!(queue.poll_object(1, None, all, 0, Tai(5)).unwrap().key, keys[1]);
    assert_eq!(queue.poll_object(1, None, all, REPEAT_NS - 1, Tai(5)), None);
    assert_eq!(queue.timeout(1), (Some(REPEAT_NS), None));
    assert_eq!(queue.poll_object(1, None, all, REPEAT_NS, Tai(5)).unwrap().key, keys[0]);
    queue.disconnected(1);
    let record = |key: &UplinkKey, outcome| OutcomeRecord {
        key: key.clone(),
        outcome,
        detail: String::new(),
        time: Tai(8),
    };
    assert!(queue.answered(&record(&keys[1], Outcome::Done)));
    assert!(!queue.answered(&record(&keys[1], Outcome::Done)), "the same record again");
    assert!(!queue.answered(&record(&keys[1], Outcome::Failed)), "the first stands");
    assert!(!queue.answered(&record(&key(0), Outcome::Done)), "another ledger's");
    assert_eq!(queue.strays(), 2);
    let again = core::iter::from_fn(|| queue.poll_object(2, None, all, 0, Tai(5))).count();
    assert_eq!(again, 2, "everything that has no outcome goes again");
}

#[test]
fn at_its_expiry_an_object_is_not_sent_any_more_and_a_record_still_beats_that() {
    let mut queue = UplinkQueue::new("demo", 1);
    let in_vain = queue.submit(request(1, Some(Tai(10))), Tai(0)).unwrap().key;
    let key = queue.submit(request(1, Some(Tai(10))), Tai(1)).unwrap().key;
    [&in_vain, &key].into_iter().for_each(|key| queue.numbered(key));
    assert!(queue.poll_object(1, None, |_| true, 0, Tai(9)).is_some());
    assert_eq!(queue.timeout(1), (None, Some(Tai(10))));
    assert_eq!(queue.poll_object(1, None, |_| true, 0, Tai(10)), None);
    let standing = |queue: &UplinkQueue| -> Vec<Standing> {
        queue.objects().map(|queued| queued.standing).collect()
    };
    assert_eq!(standing(&queue), [Standing::Ended(Outcome::Expired, false); 2]);
    let details: Vec<String> = queue.objects().map(|queued| queued.detail.clone()).collect();
    assert!(
        details[0].contains("not answered") && details[1].contains("never sent"),
        "{details:?}"
    );
    let record =
        OutcomeRecord { key: in_vain, outcome: Outcome::Done, detail: "pong".into(), time: Tai(9) };
    assert!(queue.answered(&record));
    assert_eq!(standing(&queue)[0], Standing::Ended(Outcome::Done, true));
    assert_eq!(queue.submit(request(1, Some(Tai(10))), Tai(10)), Err(SubmitError::Expired));
}

#[test]
fn the_queue_is_bounded_and_its_numbers_outlive_it() {
    let mut queue = UplinkQueue::new("demo", 1);
    let mut keys = Vec::new();
    for at in 0..WINDOW as i64 {
        let key = queue.submit(request(1, None), Tai(at)).unwrap().key;
        queue.numbered(&key);
        keys.push(key);
    }
    assert_eq!(queue.submit(request(1, None), Tai(0)), Err(SubmitError::WindowFull(7)));
    for key in keys.into_iter().take(2) {
        let (outcome, detail) = (Outcome::Done, String::new());
        queue.answered(&OutcomeRecord { key, outcome, detail, time: Tai(1) });
    }
    let last = queue.submit(request(1, None), Tai(0)).unwrap();
    assert_eq!(last.key.sequence, WINDOW);
    queue.abandon(&last.key);
    assert_eq!(queue.submit(request(1, None), Tai(0)).unwrap().key.sequence, WINDOW + 1);
    let long = Request { body: alloc::vec![0; MAX_BODY_BYTES + 1].into(), ..request(1, None) };
    assert_eq!(queue.submit(long, Tai(0)), Err(SubmitError::TooLong(MAX_BODY_BYTES + 1)));

    let mut again = UplinkQueue::new("demo", 1);
    again.recall(last);
    again.recall_next(key(0).counter, 55);
    assert_eq!(again.submit(request(1, None), Tai(0)).unwrap().key.sequence, WINDOW + 1);
    let counters: Vec<String> =
        again.counters().map(|(of, next)| format!("{} {next}", of.ledger)).collect();
    assert_eq!(counters, [format!("1 {}", WINDOW + 2), format!("{} 55", 0xFEED)]);

    let mut ended = UplinkQueue::new("demo", 1);
    for at in 0..ENDED_MAX as i64 + 5 {
        let key = ended.submit(request(1, Some(Tai(at + 1))), Tai(at)).unwrap().key;
        ended.numbered(&key);
        ended.expire(Tai(at + 1));
    }
    assert_eq!(ended.objects().count(), ENDED_MAX);
}
