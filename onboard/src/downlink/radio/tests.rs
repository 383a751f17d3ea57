use codecs::{
    frame::{
        cadu::CaduDecoder,
        cltu::bch,
        tc::{self, TcHeader, TcType},
    },
    ids::{Channel, Codec, KeyPrefix, SeqRange, SpacecraftId, StoreEpoch},
    link::{
        custody::KeyRanges,
        rf::{
            PARTS_APID, SIGNED_APID,
            rebuild::{Rebuilder, Rebuilt},
        },
        sender::NO_DEADLINE,
        wire::Message,
    },
    time::Tai,
};

use super::*;
use crate::downlink::Phase;

mod contacts;

const ORIGIN: Origin = Origin([7; 16]);
const SECOND: u64 = 1_000_000_000;
/// Ed25519, RFC 8032 §7.1, test 1 and 2: secret and public.
const KEYS: [(&str, &str); 2] = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    ),
];

fn bytes(hex: &str) -> [u8; 32] {
    std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
}

fn config(kind: FrameKind) -> RadioConfig {
    RadioConfig {
        origin: ORIGIN,
        reclaimable_from: Durability::Local,
        again_ns: 60 * SECOND,
        housekeeping_percent: 0,
        apid: PARTS_APID,
        part_bytes: 300,
        kind,
        frame_bytes: 446,
        fecf: true,
        scid: 71,
        vc: 2,
        first_count: 9,
        coding: "rs:223:i2:dual,randomized:131071".parse().unwrap(),
        rate_bps: 8_000,
        idle: false,
        up_coding: CltuCoding::Bch { randomized: false },
        up_apid: SIGNED_APID,
        up_segments: false,
        domain: "orbit".into(),
        keys: KEYS.map(|(_, public)| bytes(public)).to_vec(),
    }
}

fn prefix() -> KeyPrefix {
    let (epoch, spacecraft) = (StoreEpoch(3), SpacecraftId(7));
    KeyPrefix { origin: ORIGIN, epoch, spacecraft, channel: Channel::stream(1) }
}

fn key(sequence: u64) -> UnitKey {
    UnitKey { prefix: prefix(), sequence }
}

fn info(bytes: &[u8]) -> UnitInfo {
    let length = bytes.len() as u32;
    UnitInfo { codec: Codec::Product, priority: 9, length, annotated: false, due: NO_DEADLINE }
}

fn unit(sequence: u64) -> Vec<u8> {
    (0..100 + sequence as usize * 700).map(|at| at as u8 ^ sequence as u8).collect()
}

fn sending() -> Stand {
    Stand { phase: Phase::Send, rate_bps: 0 }
}

/// Everything that leaves until `now_ns`, each with its time.
fn fly(radio: &mut Radio, now_ns: &mut u64, until_ns: u64) -> Vec<(u64, Vec<u8>)> {
    let mut air = Vec::new();
    loop {
        while let Some(action) = radio.poll(*now_ns) {
            match action {
                Action::Send(cadu) => air.push((*now_ns, cadu)),
                Action::Take(key, info) => radio.unit(key, info, &unit(key.sequence)),
            }
        }
        match radio.timeout().filter(|at| *at <= until_ns) {
            Some(at) => *now_ns = at,
            None => {
                *now_ns = until_ns;
                return air;
            }
        }
    }
}

fn ground(config: &RadioConfig, air: &[(u64, Vec<u8>)]) -> Vec<Rebuilt> {
    let RadioConfig { coding, frame_bytes, fecf, .. } = config;
    let frames = match config.kind {
        FrameKind::Aos => FrameConfig::Aos(AosConfig::new(*frame_bytes).with_fecf(*fecf)),
        FrameKind::Tm => FrameConfig::Tm(TmConfig::new(*frame_bytes).with_fecf(*fecf)),
    };
    let mut cadus = CaduDecoder::new(coding, *frame_bytes, coding.marker()).unwrap();
    let (mut packets, mut rebuilder) = (Extractor::new(frames), Rebuilder::new());
    let mut rebuilt = Vec::new();
    let mut frame = |frame: codecs::frame::cadu::Frame| {
        packets.push(&frame.bytes, &mut |event| {
            if let Event::Packet { bytes, .. } = event {
                rebuilt.extend(rebuilder.push(&PacketView::parse(&bytes).unwrap()));
            }
        });
    };
    for (_, cadu) in air {
        cadus.push(cadu, &mut frame);
    }
    cadus.finish(&mut frame);
    rebuilt
}

fn cltu(signer: usize, counter: u64, message: Option<Message>) -> Vec<u8> {
    let (domain, issued) = ("orbit".into(), Tai(5));
    let statement = Statement { domain, ledger: 4, origin: ORIGIN, counter, issued, message };
    let secret = bytes(KEYS[signer].0);
    let packet = statement.packet(&secret, SIGNED_APID, SequenceCount(0)).unwrap();
    let header = TcHeader { kind: TcType::Bd, scid: 71, vcid: 0, count: 0 };
    bch::encode(&tc::build(&header, None, &packet, true).unwrap(), None).unwrap()
}

fn receipt(range: SeqRange) -> Message {
    let keys = KeyRanges::new(prefix(), vec![range]);
    Message::Receipts { ledger: 4, class: Durability::Local, entries: vec![keys] }
}

#[test]
fn units_arrive_whole_in_either_frame_at_the_pace_of_the_radio() {
    for kind in [FrameKind::Aos, FrameKind::Tm] {
        let config = config(kind);
        let mut radio = Radio::new(&config, &[]).unwrap();
        radio.set_stand(sending());
        for sequence in 0..6 {
            radio.offer(key(sequence), info(&unit(sequence)));
        }
        let mut now = 0;
        let air = fly(&mut radio, &mut now, 50 * SECOND);
        let rebuilt = ground(&config, &air);
        assert_eq!(rebuilt.len(), 6, "{kind:?}");
        for of in &rebuilt {
            assert_eq!(of.bytes, unit(of.of.key(ORIGIN).sequence));
        }
        let counts = radio.counts();
        assert_eq!((counts.units, counts.frames), (6, air.len() as u64));
        // 514 bytes of a CADU at 8 kbit/s take 0.514 s; each waits for the one before.
        let paced = air.windows(2).all(|of| of[1].0 - of[0].0 >= 514_000_000 - LATE_NS);
        assert!(paced && air.len() >= 26, "{} frames", air.len());
        assert!(air[25].0 >= 25 * 514_000_000 - LATE_NS);
    }
}

/// What a rebuilder gives out, in order, and the packets' counts as they came.
fn order(config: &RadioConfig, air: &[(u64, Vec<u8>)]) -> Vec<u64> {
    ground(config, air).iter().map(|of| of.of.key(ORIGIN).sequence).collect()
}

#[test]
fn a_more_urgent_unit_goes_in_the_middle_of_a_long_one_and_both_arrive() {
    for kind in [FrameKind::Aos, FrameKind::Tm] {
        let config = config(kind);
        let mut radio = Radio::new(&config, &[]).unwrap();
        radio.set_stand(sending());
        let of = |priority, sequence| UnitInfo { priority, ..info(&unit(sequence)) };
        radio.offer(key(30), of(9, 30));
        let mut now = 0;
        let mut air = fly(&mut radio, &mut now, 5 * SECOND);
        // Each worth more than the one before; one that is worth the same waits.
        for (sequence, priority) in [(3, 10), (4, 9)] {
            radio.offer(key(sequence), of(priority, sequence));
        }
        air.extend(fly(&mut radio, &mut now, 7 * SECOND));
        radio.offer(key(2), of(11, 2));
        air.extend(fly(&mut radio, &mut now, 55 * SECOND));
        assert_eq!(order(&config, &air), [2, 3, 30, 4], "{kind:?}");
        assert!(
            ground(&config, &air).iter().all(|of| of.bytes == unit(of.of.key(ORIGIN).sequence))
        );
        assert_eq!((radio.counts().units, radio.counts().interrupted), (4, 2));
    }
}

#[test]
fn at_most_so_many_units_wait_in_their_middle() {
    let config = config(FrameKind::Aos);
    let mut radio = Radio::new(&config, &[]).unwrap();
    radio.set_stand(sending());
    let mut now = 0;
    let mut air = Vec::new();
    for sequence in 10..20 {
        radio.offer(key(sequence), UnitInfo { priority: sequence as u8, ..info(&unit(sequence)) });
        let until = now + 2 * SECOND;
        air.extend(fly(&mut radio, &mut now, until));
        assert!(radio.going.len() <= PAUSED_MAX + 1);
    }
    assert_eq!(radio.counts().interrupted, PAUSED_MAX as u64);
    let until = now + 10 * SECOND;
    air.extend(fly(&mut radio, &mut now, until));
    // A receipt ends one that waits in its middle, too.
    radio.uplink(&cltu(0, 10, Some(receipt(SeqRange { first: 11, last: 11 }))));
    radio.withdraw(key(12));
    let until = now + 200 * SECOND;
    air.extend(fly(&mut radio, &mut now, until));
    let order = order(&config, &air);
    assert_eq!(order[0], 14, "to its end, at the bound: {order:?}");
    assert!(!order.contains(&11) && !order.contains(&12), "{order:?}");
    assert!([10, 13, 14, 15, 16, 17, 18, 19].iter().all(|of| order.contains(of)), "{order:?}");
}

#[test]
fn housekeeping_takes_its_share_from_the_middle_of_a_product() {
    let config = RadioConfig { housekeeping_percent: 20, ..config(FrameKind::Aos) };
    let mut radio = Radio::new(&config, &[]).unwrap();
    radio.set_stand(sending());
    radio.offer(key(30), UnitInfo { priority: 200, ..info(&unit(30)) });
    let mut now = 0;
    let mut air = fly(&mut radio, &mut now, 2 * SECOND);
    for sequence in [1, 2] {
        let info = UnitInfo { codec: Codec::Squeezed, priority: 3, ..info(&unit(sequence)) };
        radio.offer(key(sequence), info);
    }
    air.extend(fly(&mut radio, &mut now, 55 * SECOND));
    // A fifth of 21,100 bytes is more than the 2,300 that wait: they need not wait for its end.
    assert_eq!(order(&config, &air), [1, 2, 30]);
    assert_eq!(radio.counts().interrupted, 2);
}

#[test]
fn out_of_contact_nothing_leaves_and_near_the_set_nothing_is_begun() {
    let mut radio = Radio::new(&config(FrameKind::Aos), &[]).unwrap();
    radio.offer(key(3), info(&unit(3)));
    radio.offer(key(4), info(&unit(4)));
    radio.set_stand(Stand { phase: Phase::Sleep, rate_bps: 0 });
    let mut now = 0;
    assert!(fly(&mut radio, &mut now, SECOND).is_empty());
    radio.set_stand(sending());
    let mut air = fly(&mut radio, &mut now, 2 * SECOND);
    assert!(!air.is_empty());
    // The contact ends in the middle of a unit; its rest goes in the next.
    radio.set_stand(Stand { phase: Phase::Wait, rate_bps: 0 });
    assert!(fly(&mut radio, &mut now, 9 * SECOND).is_empty());
    radio.set_stand(Stand { phase: Phase::Drain, rate_bps: 0 });
    air.extend(fly(&mut radio, &mut now, 30 * SECOND));
    let rebuilt = ground(&config(FrameKind::Aos), &air);
    assert_eq!(rebuilt.len(), 1, "the unit under way, and no other");
    assert_eq!(radio.counts().units, 1);
}

#[test]
fn a_slower_contact_slows_the_radio_and_idle_frames_fill_it() {
    let config = RadioConfig { idle: true, ..config(FrameKind::Tm) };
    let mut radio = Radio::new(&config, &[]).unwrap();
    radio.set_stand(Stand { phase: Phase::Send, rate_bps: 4_112 });
    radio.offer(key(0), info(&unit(0)));
    let mut now = 0;
    let air = fly(&mut radio, &mut now, 10 * SECOND);
    // 514 bytes at 4,112 bit/s are a second.
    assert_eq!(air.len(), 11);
    assert_eq!(radio.counts().idle_frames, 10);
    assert_eq!(ground(&config, &air).len(), 1);
}

#[test]
fn a_receipt_stops_a_unit_in_the_middle_and_is_heard_once() {
    let mut radio = Radio::new(&config(FrameKind::Aos), &[]).unwrap();
    radio.set_stand(sending());
    radio.offer(key(5), info(&unit(5)));
    let mut now = 0;
    let before = fly(&mut radio, &mut now, 2 * SECOND).len();
    assert!((2..6).contains(&before), "{before} of 12 frames");
    let said = cltu(0, 10, Some(receipt(SeqRange { first: 0, last: 9 })));
    let heard = radio.uplink(&said);
    assert!(matches!(&heard[..], [Heard::Receipt { ledger: 4, .. }]), "{heard:?}");
    let after = fly(&mut radio, &mut now, 500 * SECOND).len();
    assert!(after <= 2, "what was in frames already: {after}");
    assert!(radio.uplink(&said).is_empty(), "a replay");
    assert_eq!(radio.counts().ignored.get("counter"), Some(&1));
    // Another boot remembers, whichever key signed.
    let mut again = Radio::new(&config(FrameKind::Aos), &radio.counters()).unwrap();
    assert!(again.uplink(&said).is_empty());
    assert_eq!(again.uplink(&cltu(1, 3, None)), [Heard::Time(Tai(5))]);
    assert!(again.uplink(&cltu(1, 3, None)).is_empty());
    assert_eq!(again.uplink(&cltu(0, 11, None)), [Heard::Time(Tai(5))]);
}

#[test]
fn a_key_that_comes_back_is_remembered_and_garbage_is_not_believed() {
    let both = config(FrameKind::Aos);
    let mut radio = Radio::new(&both, &[]).unwrap();
    assert_eq!(radio.uplink(&cltu(0, 10, None)).len(), 1);
    let second = RadioConfig { keys: vec![both.keys[1]], ..both.clone() };
    let mut rolled = Radio::new(&second, &radio.counters()).unwrap();
    assert!(rolled.uplink(&cltu(0, 11, None)).is_empty(), "no longer believed");
    assert_eq!(rolled.counts().ignored.get("signature"), Some(&1));
    let mut back = Radio::new(&both, &rolled.counters()).unwrap();
    assert!(back.uplink(&cltu(0, 10, None)).is_empty(), "heard before");
    let said = cltu(0, 12, None);
    for bit in 0..said.len() * 8 {
        let mut damaged = said.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let mut radio = Radio::new(&both, &back.counters()).unwrap();
        let heard = radio.uplink(&damaged);
        // Some bits the code corrects; nothing but the statement comes of any.
        assert!(heard.is_empty() || heard == [Heard::Time(Tai(5))]);
    }
    for end in 1..back.counters().len() {
        let _ = read_counters(&back.counters()[..end]);
    }
    assert_eq!(read_counters(&[2]), None);
}

#[test]
fn a_line_that_is_full_lets_new_units_in_and_sends_old_ones_in_turn() {
    let config = RadioConfig { rate_bps: u64::MAX, ..config(FrameKind::Aos) };
    let mut radio = Radio::new(&config, &[]).unwrap();
    radio.set_stand(sending());
    let count = LINE_UNITS_MAX as u64 + 500;
    let small = info(&[0; 1]);
    let mut sent = BTreeMap::<UnitKey, u32>::new();
    let first = |radio: &mut Radio, sent: &mut BTreeMap<UnitKey, u32>| {
        while let Some(action) = radio.poll(0) {
            if let Action::Take(key, info) = action {
                *sent.entry(key).or_default() += 1;
                radio.unit(key, info, &[0; 1]);
            }
        }
    };
    for sequence in 0..LINE_UNITS_MAX as u64 {
        radio.offer(key(sequence), small);
    }
    first(&mut radio, &mut sent);
    assert_eq!(sent.len(), LINE_UNITS_MAX);
    // All of them wait for receipts that never come; what is new goes nevertheless.
    for sequence in LINE_UNITS_MAX as u64..count {
        radio.offer(key(sequence), small);
    }
    first(&mut radio, &mut sent);
    assert_eq!(sent.len() as u64, count);
    // And what made room is not forgotten: line after line, each goes as often as the others.
    for turn in 0..4 {
        let held = || (0..count).map(|at| HeldUnit { key: key(at), info: small, fresh: false });
        let mut radio = Radio::new(&config, &[]).unwrap();
        radio.again = (turn > 0).then(|| key((turn * LINE_UNITS_MAX as u64 - 1) % count));
        radio.set_stand(sending());
        radio.take_up(held);
        first(&mut radio, &mut sent);
        assert!(radio.wants());
    }
    let (least, most) = (sent.values().min().unwrap(), sent.values().max().unwrap());
    assert!(most - least <= 1, "{least} to {most}");
}
