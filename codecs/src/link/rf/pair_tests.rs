//! A spacecraft and a ground over a radio that loses, damages and reorders, for several passes.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec,
    vec::Vec,
};
use bytes::Bytes;
use ed25519_dalek::SigningKey;

use super::{
    PARTS_APID, SIGNED_APID,
    line::{Heard, Line},
    rebuild::Rebuilder,
    say::{Speaker, SpeakerConfig},
    signed::{Ignored, Listener, Statement},
    split::Splitter,
};
use crate::{
    ids::{
        Channel, Codec, KeyPrefix, Origin, RangeSet, SeqRange, SpacecraftId, StoreEpoch, UnitKey,
    },
    link::{
        custody::Durability,
        sender::{NO_DEADLINE, UnitInfo},
        uplink::{UplinkCounter, UplinkKey, object::UplinkObject},
        wire::Message,
    },
    packet::space::{PacketView, SequenceCount},
    time::Tai,
};

const ORIGIN: Origin = Origin([7; 16]);
const KEY: [u8; 32] = [9; 32];
const SECOND: u64 = 1_000_000_000;
const PASS_S: u64 = 400;
const ORBIT_S: u64 = 5_600;

fn key(sequence: u64) -> UnitKey {
    let prefix = KeyPrefix {
        origin: ORIGIN,
        epoch: StoreEpoch(3),
        spacecraft: SpacecraftId(7),
        channel: Channel::stream(1 + (sequence % 3) as u32),
    };
    UnitKey { prefix, sequence: sequence / 3 }
}

fn unit(sequence: u64) -> Bytes {
    let length = 200 + (sequence * 37 % 3_000) as usize;
    (0..length).map(|at| (at as u64 * 31 + sequence) as u8).collect()
}

fn info(sequence: u64) -> UnitInfo {
    let (priority, length) = ((sequence % 5) as u8, unit(sequence).len() as u32);
    UnitInfo { codec: Codec::Squeezed, priority, length, annotated: false, due: NO_DEADLINE }
}

struct World {
    line: Line,
    listener: Listener,
    splitter: Splitter,
    rebuilder: Rebuilder,
    speaker: Speaker,
    archive: BTreeMap<UnitKey, Bytes>,
    reclaimable: BTreeSet<UnitKey>,
    sent: BTreeMap<UnitKey, u32>,
    random: u64,
}

impl World {
    fn new(rate_bps: u64, seed: u64) -> Self {
        let public = SigningKey::from_bytes(&KEY).verifying_key().to_bytes();
        let config = SpeakerConfig {
            domain: "orbit".into(),
            ledger: 5,
            origin: ORIGIN,
            class: Durability::Local,
            rate_bps,
            repeat_ns: 60 * SECOND,
            time_ns: 120 * SECOND,
        };
        Self {
            line: Line::new(ORIGIN, Durability::Local, ORBIT_S * SECOND / 2),
            listener: Listener::new("orbit", &public, ORIGIN, 0).unwrap(),
            splitter: Splitter::new(PARTS_APID, 500).unwrap(),
            rebuilder: Rebuilder::new(),
            speaker: Speaker::new(config, 0),
            archive: BTreeMap::new(),
            reclaimable: BTreeSet::new(),
            sent: BTreeMap::new(),
            random: seed,
        }
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
        (self.random >> 33).is_multiple_of(one_in)
    }

    /// One second of a pass: eight units down, whatever the uplink carries up.
    fn second(&mut self, now_ns: u64) {
        let mut air: Vec<Vec<u8>> = Vec::new();
        for _ in 0..8 {
            let Some((key, info)) = self.line.poll(now_ns) else { break };
            assert!(!self.reclaimable.contains(&key), "receipted, and sent again");
            *self.sent.entry(key).or_default() += 1;
            let at = key.sequence * 3 + (key.prefix.channel.as_stream().unwrap() as u64 + 2) % 3;
            let (codec, priority) = (info.codec, info.priority);
            self.splitter
                .split(key, codec, priority, &unit(at), &mut |packet| air.push(packet))
                .unwrap();
        }
        for at in 1..air.len() {
            if self.chance(4) {
                air.swap(at, at - 1);
            }
        }
        for mut packet in air {
            if self.chance(12) {
                continue;
            }
            if self.chance(30) {
                let at = 6 + self.random as usize % (packet.len() - 6);
                packet[at] ^= 1 << (self.random % 8);
            }
            let copies = 1 + u8::from(self.chance(10));
            for _ in 0..copies {
                let Some(rebuilt) = self.rebuilder.push(&PacketView::parse(&packet).unwrap())
                else {
                    continue;
                };
                let key = rebuilt.of.key(ORIGIN);
                let held = self.archive.entry(key).or_insert_with(|| rebuilt.bytes.clone());
                assert_eq!(*held, rebuilt.bytes, "one key, other bytes");
                let range = SeqRange { first: key.sequence, last: key.sequence };
                self.speaker.durable(key.prefix, range);
            }
        }
        while let Some(statement) = self.speaker.poll(now_ns, Tai(now_ns as i64 + 1)) {
            let packet = statement.packet(&KEY, SIGNED_APID, SequenceCount(0)).unwrap();
            if self.chance(6) {
                continue;
            }
            let heard = self.listener.hear(&PacketView::parse(&packet).unwrap()).unwrap();
            assert!(self.listener.hear(&PacketView::parse(&packet).unwrap()).is_err());
            for heard in self.line.hear(heard) {
                let Heard::Receipt { prefix, ranges, .. } = heard else { continue };
                for range in ranges.ranges() {
                    for sequence in range.first..=range.last {
                        let key = UnitKey { prefix, sequence };
                        assert!(self.archive.contains_key(&key), "receipted, and not held");
                        self.reclaimable.insert(key);
                    }
                }
            }
        }
    }

    fn passes(&mut self, units: u64, passes: u64) {
        for sequence in 0..units {
            assert!(self.line.offer(key(sequence), info(sequence)));
        }
        for pass in 0..passes {
            for second in 0..PASS_S {
                self.second((pass * ORBIT_S + second) * SECOND);
            }
        }
    }
}

#[test]
fn with_an_uplink_everything_is_archived_once_and_receipted() {
    for (rate, passes) in [(1_000, 8), (16_000, 8)] {
        for seed in 0..5 {
            let mut world = World::new(rate, seed);
            world.passes(2_000, passes);
            assert!(world.line.is_empty(), "{} left at {rate} bit/s", world.line.len());
            assert_eq!((world.archive.len(), world.reclaimable.len()), (2_000, 2_000));
            assert!((0..2_000).all(|at| world.archive[&key(at)] == unit(at)));
            assert!(world.rebuilder.counts().refused["damaged"] > 0);
        }
    }
}

#[test]
fn without_an_uplink_everything_is_kept_and_new_goes_before_old() {
    let mut world = World::new(0, 1);
    world.passes(4_000, 1);
    // 3,200 fit the pass: no unit went twice while another had not gone.
    assert_eq!((world.sent.len(), world.sent.values().max()), (3_200, Some(&1)));
    assert_eq!((world.line.len(), world.reclaimable.len()), (4_000, 0));
    let mut world = World::new(0, 1);
    world.passes(4_000, 4);
    assert_eq!((world.sent.len(), world.line.len()), (4_000, 4_000));
    let (least, most) = (world.sent.values().min(), world.sent.values().max());
    assert!(most.unwrap() - least.unwrap() <= 1, "{least:?} to {most:?}");
    assert!(world.archive.len() > 3_900);
}

/// By radio as over a connection: housekeeping has its share beside products that are worth more,
/// and no more of it than was never sent.
#[test]
fn housekeeping_has_its_share_beside_products_worth_more() {
    let mut line = Line::new(ORIGIN, Durability::Local, 50 * SECOND).with_housekeeping(20);
    let of = |codec, priority, length| UnitInfo { codec, priority, length, ..info(0) };
    for at in 0..1_000 {
        line.offer(key(at * 3), of(Codec::Product, 200, 1_000));
        line.offer(key(at * 3 + 1), of(Codec::Squeezed, 10, 100));
    }
    let (mut housekeeping, mut all) = (0, 0);
    for _ in 0..800 {
        let (key, info) = line.poll(0).unwrap();
        line.goes(key, info.length.into());
        all += info.length;
        housekeeping += if info.codec == Codec::Squeezed { info.length } else { 0 };
        assert!(housekeeping * 5 + 1_000 >= all, "{housekeeping} of {all}");
        assert!(housekeeping * 5 <= all + 1_000, "no more than that: {housekeeping} of {all}");
    }
    // All of it was sent once: what is left are products, however much is owed.
    let mut line = Line::new(ORIGIN, Durability::Local, SECOND).with_housekeeping(50);
    line.offer(key(1), of(Codec::Squeezed, 10, 100));
    for at in 0..10 {
        line.offer(key(at * 3), of(Codec::Product, 200, 1_000));
    }
    let mut next = |at| {
        let (key, info) = line.poll(at).unwrap();
        line.goes(key, info.length.into());
        info.codec
    };
    let order: Vec<Codec> = (0..11).map(|at| next(at * 2 * SECOND)).collect();
    assert_eq!(order.iter().position(|codec| *codec == Codec::Squeezed), Some(1));
    assert_eq!(order.iter().filter(|codec| **codec == Codec::Product).count(), 10);
}

/// What the ground lost comes again from what is still on board: asks go in turn with receipts,
/// with ever longer pauses, and end once the ground has no use for them.
#[test]
fn what_the_ground_lost_is_asked_for_until_it_is_back() {
    let mut world = World::new(1_000, 3);
    let prefix = key(0).prefix;
    let sequences = |count: u64| (0..count).map(|at| SeqRange { first: at * 3, last: at * 3 + 1 });
    world.speaker.lost(&[(prefix, sequences(120).collect())].into(), 0);
    for at in 0..400 {
        world.speaker.durable(prefix, SeqRange { first: at * 2, last: at * 2 });
    }
    let (mut asked, mut rounds, mut kinds) = (RangeSet::new(), Vec::new(), Vec::new());
    for second in 0..1_000 {
        while let Some(statement) =
            world.speaker.poll(second * SECOND, Tai((second * SECOND) as i64))
        {
            for heard in world.line.hear(statement) {
                kinds.push(matches!(heard, Heard::Asked { .. }));
                let Heard::Asked { ranges, .. } = heard else { continue };
                asked.extend(&ranges);
                if ranges.contains(119 * 3) {
                    rounds.push(second);
                }
            }
        }
    }
    assert_eq!(asked, sequences(120).collect());
    let receipts = kinds.iter().take(8).filter(|asked| !**asked).count();
    assert!((3..=5).contains(&receipts), "both from the start: {kinds:?}");
    let pauses: Vec<u64> = rounds.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.len() >= 3 && pauses.is_sorted() && pauses[0] >= 60, "{pauses:?}");
    // Some are back; the others are asked for when their time comes.
    let due = world.speaker.timeout();
    world.speaker.lost(&[(prefix, sequences(2).collect())].into(), 1_000 * SECOND);
    assert_eq!(world.speaker.timeout(), due);
    world.speaker.lost(&[(prefix, sequences(3).collect())].into(), 1_000 * SECOND);
    let mut said = Vec::new();
    while let Some(statement) = world.speaker.poll(1_000 * SECOND, Tai(0)) {
        said.extend(world.line.hear(statement));
    }
    let wanted = Heard::Asked { prefix, ranges: sequences(3).collect() };
    assert!(said.contains(&wanted), "{said:?}");
    world.speaker.lost(&BTreeMap::new(), 1_001 * SECOND);
    for second in 1_001..9_000 {
        while let Some(statement) = world.speaker.poll(second * SECOND, Tai(0)) {
            let heard = world.line.hear(statement);
            assert!(!heard.iter().any(|of| matches!(of, Heard::Asked { .. })));
        }
    }
}

/// What is to be done on board comes up by radio: in turn with receipts, not once it is too late,
/// and in the domain's own name only.
#[test]
fn an_object_is_said_once_in_turn_and_not_when_it_is_late() {
    let mut world = World::new(1_000, 3);
    let object = |sequence, domain: &str, expires| UplinkObject {
        key: UplinkKey {
            counter: UplinkCounter {
                domain: domain.into(),
                ledger: 9,
                spacecraft: SpacecraftId(7),
                channel: Channel::stream(1),
            },
            sequence,
        },
        kind: 1,
        priority: 100,
        created: Tai(0),
        expires,
        body: vec![1; 600].into(),
    };
    let prefix = key(0).prefix;
    (0..200).for_each(|at| world.speaker.durable(prefix, SeqRange { first: at * 2, last: at * 2 }));
    let (mut said, mut kinds, mut next) = (Vec::new(), Vec::new(), 0);
    for second in 0..300 {
        if world.speaker.takes_object() && next < 4 {
            // The third is late before its turn comes.
            let expires = (next == 2).then_some(Tai(0));
            world.speaker.say_object(object(next, "orbit", expires));
            next += 1;
        }
        let Some(statement) = world.speaker.poll(second * SECOND, Tai((second * SECOND) as i64))
        else {
            continue;
        };
        let packet = statement.packet(&KEY, SIGNED_APID, SequenceCount(0)).unwrap();
        let heard = world.listener.hear(&PacketView::parse(&packet).unwrap()).unwrap();
        for heard in world.line.hear(heard) {
            kinds.push(matches!(heard, Heard::Uplink(_)));
            if let Heard::Uplink(object) = heard {
                said.push(object.key.sequence);
            }
        }
    }
    assert_eq!(said, [0, 1, 3]);
    assert!(kinds.windows(2).all(|pair| pair != [true, true]), "{kinds:?}");
    // Another domain's object in a statement of this one.
    let foreign = object(5, "moon", None);
    assert!(foreign.encode().len() < world.speaker.object_bytes_max());
    let statement = Statement {
        domain: "orbit".into(),
        ledger: 5,
        origin: ORIGIN,
        counter: u64::MAX,
        issued: Tai(0),
        message: Some(Message::Uplink { object: foreign }),
    };
    let packet = statement.packet(&KEY, SIGNED_APID, SequenceCount(0)).unwrap();
    let heard = world.listener.hear(&PacketView::parse(&packet).unwrap());
    assert_eq!(heard, Err(Ignored::Malformed));
    assert_eq!(World::new(0, 0).speaker.object_bytes_max(), 0);
}

#[test]
fn a_thin_uplink_is_never_overrun_and_says_a_receipt_three_times() {
    let mut world = World::new(1_000, 0);
    let prefix = key(0).prefix;
    for at in 0..200 {
        world.speaker.durable(prefix, SeqRange { first: at * 2, last: at * 2 });
    }
    let (mut bytes, mut said) = (0, vec![0; 400]);
    for second in 0..1_000 {
        while let Some(statement) =
            world.speaker.poll(second * SECOND, Tai((second * SECOND) as i64))
        {
            bytes += statement.packet(&KEY, SIGNED_APID, SequenceCount(0)).unwrap().len();
            for heard in world.line.hear(statement) {
                let Heard::Receipt { ranges, .. } = heard else { continue };
                ranges.ranges().iter().for_each(|range| said[range.first as usize] += 1);
            }
        }
        assert!(bytes as u64 <= 125 * (second + 10), "{bytes} bytes after {second} s");
    }
    assert!(said.iter().step_by(2).all(|times| *times == 3));
}
