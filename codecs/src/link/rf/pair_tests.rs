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
    signed::Listener,
    split::Splitter,
};
use crate::{
    ids::{Channel, Codec, KeyPrefix, Origin, SeqRange, SpacecraftId, StoreEpoch, UnitKey},
    link::{
        custody::Durability,
        sender::{NO_DEADLINE, UnitInfo},
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
