//! Power cuts at every edge of the contacts that a plan gives: what a store holds gets down, whole
//! and receipted, whenever the flight dies.

use std::collections::BTreeSet;

use codecs::link::wire::PlannedContact;

use super::*;
use crate::downlink::{Bearer, Contact, Downlink};

const UNITS: u64 = 24;
/// Rise and set of contacts, seconds.
const CONTACTS: [(u64, u64); 4] = [(100, 140), (300, 340), (500, 540), (700, 900)];
const STEP: u64 = SECOND / 4;

fn at(ns: u64) -> Tai {
    Tai(ns as i64)
}

/// Fast enough that the last contacts carry all of it once more.
fn flown(first_count: u32) -> RadioConfig {
    RadioConfig { rate_bps: 24_000, first_count, ..config(FrameKind::Aos) }
}

fn plan() -> Vec<Contact> {
    let contact = |(rise, set): (u64, u64)| Contact {
        planned: PlannedContact {
            rise: at(rise * SECOND),
            set: at(set * SECOND),
            rate_bps: 0,
            rtt_ns: 0,
        },
        station: "north".into(),
        bearer: None,
    };
    CONTACTS.map(contact).to_vec()
}

fn statement(counter: u64, issued: Tai, message: Option<Message>) -> Vec<u8> {
    let domain = "orbit".into();
    let said = Statement { domain, ledger: 4, origin: ORIGIN, counter, issued, message };
    let packet = said.packet(&bytes(KEYS[0].0), SIGNED_APID, SequenceCount(0)).unwrap();
    let header = TcHeader { kind: TcType::Bd, scid: 71, vcid: 0, count: 0 };
    bch::encode(&tc::build(&header, None, &packet, true).unwrap(), None).unwrap()
}

/// The flight, what its store keeps over a cut, and a ground that is there in contacts only.
struct World {
    radio: Radio,
    machine: Downlink,
    /// Without a receipt on board.
    held: BTreeSet<u64>,
    counters: Bytes,
    cadus: CaduDecoder,
    packets: Extractor,
    rebuilder: Rebuilder,
    archive: BTreeMap<u64, Vec<u8>>,
    counter: u64,
    /// When something left, by second.
    sent: BTreeSet<u64>,
}

impl World {
    fn new() -> Self {
        let config = flown(0);
        let marker = config.coding.marker();
        let frames = FrameConfig::Aos(AosConfig::new(config.frame_bytes).with_fecf(true));
        let mut world = Self {
            radio: Radio::new(&config, &[]).unwrap(),
            machine: Downlink::default(),
            held: (0..UNITS).collect(),
            counters: Bytes::new(),
            cadus: CaduDecoder::new(&config.coding, config.frame_bytes, marker).unwrap(),
            packets: Extractor::new(frames),
            rebuilder: Rebuilder::new(),
            archive: BTreeMap::new(),
            counter: 0,
            sent: BTreeSet::new(),
        };
        world.boot(0);
        world
    }

    /// What a start finds: the plan's file, the store's units and counters, and no time.
    fn boot(&mut self, now: u64) {
        self.radio = Radio::new(&flown(now as u32), &self.counters).unwrap();
        self.machine = Downlink::new(plan());
        let held = |sequence: &u64| {
            let info = UnitInfo { priority: (*sequence % 5) as u8, ..info(&unit(*sequence)) };
            HeldUnit { key: key(*sequence), info, fresh: true }
        };
        self.radio.take_up(|| self.held.iter().map(held));
    }

    fn step(&mut self, now: u64) {
        self.radio.set_stand(self.machine.stand(Bearer::Rf, now));
        let contact =
            CONTACTS.iter().any(|(rise, set)| (rise * SECOND..set * SECOND).contains(&now));
        let mut frames = Vec::new();
        while let Some(action) = self.radio.poll(now) {
            match action {
                Action::Send(cadu) => {
                    self.sent.insert(now / SECOND);
                    if contact {
                        self.cadus.push(&cadu, &mut |frame| frames.push(frame));
                    }
                }
                Action::Take(key, info) => self.radio.unit(key, info, &unit(key.sequence)),
            }
        }
        let (packets, rebuilder) = (&mut self.packets, &mut self.rebuilder);
        let mut whole = Vec::new();
        for frame in frames {
            packets.push(&frame.bytes, &mut |event| {
                if let Event::Packet { bytes, .. } = event {
                    whole.extend(rebuilder.push(&PacketView::parse(&bytes).unwrap()));
                }
            });
        }
        for of in whole {
            self.archive.insert(of.of.key(ORIGIN).sequence, of.bytes.to_vec());
        }
        if contact && now.is_multiple_of(4 * SECOND) {
            self.say(now);
        }
    }

    /// Time and receipts of all that is archived; what they lead to is one commit on board.
    fn say(&mut self, now: u64) {
        let range = |of: (&u64, &Vec<u8>)| SeqRange { first: *of.0, last: *of.0 };
        let ranges = self.archive.iter().map(range).collect::<codecs::ids::RangeSet>();
        let entries = vec![KeyRanges::new(prefix(), ranges.ranges().to_vec())];
        let receipts = Message::Receipts { ledger: 4, class: Durability::Local, entries };
        for message in [None, Some(receipts)] {
            self.counter += 1;
            for heard in self.radio.uplink(&statement(self.counter, at(now), message)) {
                self.machine.heard(Bearer::Rf, now);
                match heard {
                    Heard::Time(time) => self.machine.trust(time, now),
                    Heard::Receipt { ranges, .. } => {
                        self.held.retain(|sequence| !ranges.contains(*sequence));
                    }
                    other => panic!("{other:?}"),
                }
            }
            self.counters = self.radio.counters();
        }
    }

    fn fly(mut self, cuts: &[u64]) -> Self {
        let mut now = 0;
        while now < 950 * SECOND {
            if cuts.contains(&now) {
                self.boot(now);
            }
            self.step(now);
            now += STEP;
        }
        self
    }
}

#[test]
fn a_cut_at_any_edge_of_a_contact_loses_no_unit() {
    let edges = CONTACTS.iter().flat_map(|(rise, set)| {
        // Before the wait, in it, at the rise, in the middle, in the drain, at the set, behind it.
        let at = [rise - 40, rise - 10, *rise, rise + 17, set - 1, *set, set + 1, set + 20];
        at.map(|second| second * SECOND)
    });
    let edges: Vec<u64> = edges.collect();
    let each = edges.iter().map(std::slice::from_ref);
    for cuts in each.chain([&[][..], &edges]) {
        let world = World::new().fly(cuts);
        assert!(world.held.is_empty(), "{cuts:?}: {:?} have no receipt", world.held);
        let wanted: BTreeMap<u64, Vec<u8>> = (0..UNITS).map(|at| (at, unit(at))).collect();
        assert!(world.archive == wanted, "{cuts:?}");
        assert!(world.radio.counts().ignored.is_empty(), "{:?}", world.radio.counts());
    }
}

/// Once a ground told the time, the plan is kept to: nothing leaves between contacts.
#[test]
fn nothing_leaves_between_contacts_that_are_believed() {
    let world = World::new().fly(&[]);
    let silent = |second: &u64| {
        CONTACTS.windows(2).any(|of| {
            let ([(_, set), (rise, _)], margin) = ([of[0], of[1]], 4);
            (set + margin..rise - margin).contains(second)
        })
    };
    let wrong: Vec<&u64> = world.sent.iter().filter(|second| silent(second)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    // Without a time it keeps trying, also before the first rise.
    assert!(world.sent.contains(&10));
}
