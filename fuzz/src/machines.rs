//! The machines of custody in any state, fed anything: what a peer says, and what a shell does.

use crate::input::Input;
use codecs::ids::{Channel, Codec, KeyPrefix, Origin, SeqRange, SpacecraftId, StoreEpoch, UnitKey};
use codecs::link::custody::{Durability, KeyRanges, NEVER_MS, RefusalReason};
use codecs::link::hello::{HELLO_RANGES_MAX, STATES_MAX};
use codecs::link::receiver::{Receiver, ReceiverConfig, ReceiverEvent};
use codecs::link::sender::{NO_DEADLINE, Sender, SenderConfig, SenderEvent, UnitInfo};
use codecs::link::wire::{ChannelState, Limits, Message};
use codecs::time::Tai;
use std::collections::{BTreeMap, BTreeSet};

const ORIGIN: Origin = Origin([7; 16]);

fn prefix(number: u8) -> KeyPrefix {
    KeyPrefix {
        origin: ORIGIN,
        epoch: StoreEpoch(u64::from(number >> 6)),
        spacecraft: SpacecraftId(7),
        channel: Channel::stream(u32::from(number % 4)),
    }
}

fn range(input: &mut Input) -> SeqRange {
    let (first, length) = (input.byte(), input.byte());
    let last = if length == 255 { u64::MAX } else { u64::from(first) + u64::from(length % 16) };
    SeqRange { first: first.into(), last }
}

fn entries(input: &mut Input) -> Vec<KeyRanges> {
    let of = input.byte();
    Vec::from([KeyRanges::new(prefix(of), Vec::from([range(input)]))])
}

/// A message of a ledger's, most of them in turn.
fn heard(input: &mut Input) -> Message {
    let (ledger, class) =
        (u64::from(input.byte() % 3), input.choose(&[Durability::Local, Durability::ObjectStore]));
    match input.byte() % 8 {
        0 | 1 => Message::Welcome {
            ledger,
            time: Tai(1),
            limits: Limits {
                object_bytes_max: u32::from(input.word()) * 64,
                unit_bytes_max: u32::from(input.word()),
                objects_max: u16::from(input.byte()),
            },
            domain: "d".into(),
            more: input.byte().is_multiple_of(8),
            durable: entries(input),
        },
        2 | 3 => Message::Receipts { ledger, class, entries: entries(input) },
        4 => Message::Refusals {
            reason: RefusalReason::Full,
            retry_after_ms: if class == Durability::Local { NEVER_MS } else { input.word().into() },
            entries: entries(input),
        },
        5 => Message::Asks { entries: entries(input) },
        6 => Message::Goodbye { text: "bye".into() },
        _ => Message::Hello { session: 1, more: false, channels: Vec::new() },
    }
}

/// A store's machine: no unit is freed without a receipt of the class asked for, none is on two
/// streams at once, and what is held is counted.
pub fn sender(data: &[u8]) {
    let mut input = Input(data);
    let least = input.choose(&[Durability::Local, Durability::ObjectStore]);
    let config = SenderConfig {
        origin: ORIGIN,
        objects_max: 4,
        reclaimable_from: least,
        housekeeping_percent: 20,
    };
    let mut sender = Sender::new(config);
    let mut held: BTreeSet<UnitKey> = BTreeSet::new();
    let mut streams: BTreeMap<u64, (KeyPrefix, Option<SeqRange>)> = BTreeMap::new();
    let mut now = 0u64;
    let mut next = [0u64; 4];
    while !input.0.is_empty() {
        match input.byte() % 12 {
            0..=2 => {
                let of = input.byte();
                let prefix = prefix(of & 0x3F);
                let at = &mut next[usize::from(of % 4)];
                *at += u64::from(of & 0x20 != 0);
                let key = UnitKey { prefix, sequence: *at };
                *at += 1;
                let info = UnitInfo {
                    codec: if of & 0x04 == 0 { Codec::Squeezed } else { Codec::Product },
                    priority: input.byte() % 3,
                    length: u32::from(input.word()),
                    annotated: of & 0x10 != 0,
                    due: if of & 0x08 == 0 { NO_DEADLINE } else { Tai(i64::from(input.byte())) },
                };
                let offered = sender.offer(key, info);
                assert_eq!(offered, held.insert(key), "a unit is taken once");
            }
            3 => {
                sender.connected(input.long());
                streams.clear();
            }
            4 => {
                sender.disconnected();
                streams.clear();
            }
            5 | 6 => {
                let message = heard(&mut input);
                // What a ledger asks for goes again, though an older stream of it may still run.
                if let Message::Asks { entries } = &message {
                    let asked: Vec<_> = entries.iter().map(|entry| entry.prefix(ORIGIN)).collect();
                    streams.values_mut().for_each(|(of, on_it)| {
                        *on_it = on_it.filter(|_| !asked.contains(of));
                    });
                }
                if sender.control_bytes(&message.encode(), now).is_err() {
                    sender.disconnected();
                    streams.clear();
                }
            }
            7 => {
                let length = usize::from(input.byte());
                if sender.control_bytes(input.take(length), now).is_err() {
                    sender.disconnected();
                    streams.clear();
                }
            }
            8 => {
                if let Some(plan) = sender.poll_object(Tai(5)) {
                    assert!(sender.is_open());
                    let whole = (plan.range.first..=plan.range.last).all(|sequence| {
                        let key = UnitKey { prefix: plan.prefix, sequence };
                        let elsewhere = streams.values().any(|(of, range)| {
                            *of == plan.prefix
                                && range.is_some_and(|range| range.contains(sequence))
                        });
                        held.contains(&key) && !elsewhere
                    });
                    assert!(whole, "units that are held, and on no other stream");
                    assert_eq!(u64::from(plan.header.count), plan.range.count());
                    streams.insert(plan.id, (plan.prefix, Some(plan.range)));
                }
            }
            9 => {
                if let Some(id) = streams.keys().next().copied() {
                    let done = input.byte() % 2 == 0;
                    if done {
                        sender.object_done(id)
                    } else {
                        sender.object_failed(id)
                    }
                    streams.remove(&id);
                }
            }
            10 => {
                if let Some(key) = held.first().copied() {
                    let id = sender.withdraw(key);
                    held.remove(&key);
                    // Its stream is reset by the shell.
                    if let Some(id) = id {
                        sender.object_failed(id);
                        streams.remove(&id);
                    }
                }
            }
            _ => {
                now += u64::from(input.byte()) * 1_000_000_000;
                sender.handle_timeout(now);
                assert!(sender.timeout().is_none_or(|due| due > now), "what is due is done");
            }
        }
        while sender.poll_control().is_some() {}
        while let Some(event) = sender.poll_event() {
            if let SenderEvent::Reclaimable { prefix, ranges, class, .. } = event {
                assert!(class >= least, "freed below the class that was asked for");
                for range in ranges {
                    held.retain(|key| key.prefix != prefix || !range.contains(key.sequence));
                    // A stream whose units are safe may go on; they are on no other.
                }
            }
        }
        assert_eq!(sender.backlog().units, held.len() as u64);
    }
}

/// A ledger's machine: bounded whatever a peer says, and receipts tell what was receipted.
pub fn receiver(data: &[u8]) {
    let mut input = Input(data);
    let limits = Limits { object_bytes_max: 1 << 20, unit_bytes_max: 1 << 20, objects_max: 8 };
    let config = ReceiverConfig { ledger: 5, domain: "d".into(), limits, commit_ns: 10 };
    let mut receiver = Receiver::new(config, ORIGIN);
    let mut receipted: BTreeMap<KeyPrefix, Vec<SeqRange>> = BTreeMap::new();
    let mut now = 0;
    while !input.0.is_empty() {
        let said = match input.byte() % 8 {
            0 | 1 => {
                let more = input.byte() % 2 == 0;
                let state = ChannelState {
                    next: input.long(),
                    held: entries(&mut input).remove(0),
                    receipted: Vec::from([range(&mut input)]),
                    ledger: 5,
                    class: Durability::Local,
                };
                Message::Hello { session: 1, more, channels: Vec::from([state]) }.encode().to_vec()
            }
            2 => {
                let length = usize::from(input.byte());
                input.take(length).to_vec()
            }
            3 => heard(&mut input).encode().to_vec(),
            4 => {
                let (of, range) = (prefix(input.byte()), range(&mut input));
                let class = input.choose(&[Durability::Local, Durability::ObjectStore]);
                receiver.receipt_in(class, of, range, now);
                receipted.entry(of).or_default().push(range);
                Vec::new()
            }
            5 => {
                let of = prefix(input.byte());
                receiver.ask(of, Vec::from([range(&mut input)]));
                receiver.refuse(of, range(&mut input), RefusalReason::Full, 1);
                Vec::new()
            }
            6 => {
                receiver.set_rtt(input.word().into());
                now += u64::from(input.word());
                receiver.handle_timeout(now);
                assert!(receiver.timeout().is_none_or(|due| due > now));
                Vec::new()
            }
            _ => Message::Goodbye { text: "bye".into() }.encode().to_vec(),
        };
        let ended = receiver.control_bytes(&said).is_err();
        while let Some(event) = receiver.poll_event() {
            if let ReceiverEvent::Hello { channels, .. } = event {
                let ranges: usize =
                    channels.iter().map(|of| of.held.ranges.len() + of.receipted.len()).sum();
                assert!(channels.len() <= STATES_MAX && ranges <= HELLO_RANGES_MAX);
                receiver.welcome(Tai(1), channels.into_iter().map(|of| of.held).collect());
            }
        }
        while let Some(bytes) = receiver.poll_control() {
            let Message::Receipts { entries, .. } = decoded(&bytes) else { continue };
            for entry in entries {
                let asked = &receipted[&entry.prefix(ORIGIN)];
                let known = |of: &SeqRange| asked.iter().any(|range| range.contains(of.first));
                assert!(entry.ranges.iter().all(known), "a receipt that no one gave");
            }
        }
        if ended {
            return;
        }
    }
}

fn decoded(bytes: &[u8]) -> Message {
    Message::decode(&bytes[4..]).expect("what a machine writes is a message")
}
