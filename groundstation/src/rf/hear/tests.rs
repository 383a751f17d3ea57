use super::*;
use crate::{
    admit::{Action, KeyHash, Principal},
    archive::record::Position,
    process::Process,
    rf::{RfConfig, hear::applications},
};
use codecs::{
    frame::aos::{AosBuilder, AosConfig},
    ids::{Channel, Codec, KeyPrefix, StoreEpoch, UnitKey},
    link::{
        object::TimeSource,
        rf::{PARTS_APID, split::Splitter},
    },
    mission::Definition,
    time::Tai,
};
use proptest::prelude::*;
use std::sync::Arc;

const MISSION: &str = "mission = 'm'\n[[spacecraft]]\nid = 7\nname = 'A'\n\
    [[spacecraft.frames]]\nkind = 'aos'\nscid = 71\nlength = 256\nfecf = true\n";
const CRAFT: SpacecraftId = SpacecraftId(7);
const STORE: Origin = Origin([1; 16]);
const FRAME_NS: i64 = 10_000_000;
/// The second antenna's clock is off, and it stands elsewhere.
const SKEW_NS: i64 = 37_000_000;

fn site(antenna: u16) -> Origin {
    Origin([100 + antenna as u8; 16])
}

/// The spacecraft with two keys, and a row for each antenna that may do as told.
fn table(antennas: &[&[Action]]) -> Table {
    let row = |number: u8, origin, actions: &[Action]| {
        let principal = Principal {
            name: format!("p{number}"),
            origin,
            spacecraft: [CRAFT].into(),
            actions: actions.iter().copied().collect(),
        };
        (KeyHash([number; 32]), principal)
    };
    let own = [row(1, STORE, &[Action::Deliver]), row(2, STORE, &[Action::Deliver])];
    let sites = antennas.iter().enumerate();
    let sites = sites.map(|(at, actions)| row(10 + at as u8, site(at as u16), actions));
    own.into_iter().chain(sites).collect()
}

fn carriers() -> Table {
    table(&[&[Action::Deliver, Action::Carry], &[Action::Deliver, Action::Carry]])
}

fn key(sequence: u64) -> UnitKey {
    let (epoch, channel) = (StoreEpoch(9), Channel::stream(2));
    UnitKey { prefix: KeyPrefix { origin: STORE, epoch, spacecraft: CRAFT, channel }, sequence }
}

/// Units on board: each is as long as its sequence says, and different.
fn bytes(sequence: u64) -> Vec<u8> {
    (0..sequence * 211 % 900).map(|at| (at * 7 + sequence) as u8).collect()
}

/// A transmitter, which numbers its frames over all passes.
struct Sky {
    splitter: Splitter,
    builder: AosBuilder,
}

impl Sky {
    fn new() -> Self {
        let config = AosConfig::new(256).with_fecf(true);
        let builder = AosBuilder::new(config, 71, 0, 0).unwrap();
        Self { splitter: Splitter::new(PARTS_APID, 200).unwrap(), builder }
    }

    /// The frames of a pass in which these units go down.
    fn pass(&mut self, units: impl IntoIterator<Item = u64>) -> Vec<Bytes> {
        let (mut packets, mut frames) = (Vec::new(), Vec::new());
        for sequence in units {
            let sink = &mut |packet| packets.push(packet);
            self.splitter.split(key(sequence), Codec::Product, 3, &bytes(sequence), sink).unwrap();
        }
        let mut sink = |frame| frames.push(frame);
        packets.iter().for_each(|packet| self.builder.push(packet, &mut sink).unwrap());
        self.builder.flush(&mut sink);
        frames
    }
}

/// A station: what its archive has of frames, and what was rebuilt of them.
struct Ground {
    process: Process,
    ear: Ear,
    archive: Vec<Archived>,
    rebuilt: BTreeMap<UnitKey, Bytes>,
    table: Table,
}

fn radio() -> Radio {
    let radio: RfConfig = toml::from_str("spacecraft = 7").unwrap();
    radio.check().unwrap()
}

impl Ground {
    fn new(table: Table) -> Self {
        let definition = Arc::new(Definition::from_toml(MISSION).unwrap());
        let process = Process::new(definition).hearing(applications(&[radio()]));
        let ear = Ear::new(&[radio()]);
        Self { process, ear, archive: Vec::new(), rebuilt: BTreeMap::new(), table }
    }

    fn take(&mut self, frame: &Archived) {
        let outcome = self.process.take(frame, Tai(0));
        assert!(outcome.work.is_empty());
        self.ear.hear(frame, &outcome.parts, &self.table, &mut |heard| {
            assert_eq!(heard.unit.codec, Codec::Product);
            assert_eq!(heard.replayed, frame.replayed);
            let held = self.rebuilt.insert(heard.unit.key, heard.unit.bytes.clone());
            assert!(held.is_none_or(|held| held == heard.unit.bytes), "one key, one unit");
        });
    }

    /// An antenna hears a frame that was sent as the `at`th.
    fn hear(&mut self, antenna: u16, at: usize, frame: &Bytes, quality: Quality) {
        let channel = Channel::virtual_channel(1, 71, 0, 0);
        let origin = site(antenna);
        let prefix = KeyPrefix { origin, epoch: StoreEpoch(1), spacecraft: CRAFT, channel };
        let sequence = self.archive.iter().filter(|of| of.key.prefix.origin == origin).count();
        let received = Tai(at as i64 * FRAME_NS + i64::from(antenna) * SKEW_NS);
        let frame = Archived {
            key: UnitKey { prefix, sequence: sequence as u64 },
            codec: Codec::AosFrame,
            received,
            annotation: Some(Annotation {
                received,
                source: TimeSource::Measured,
                quality,
                antenna,
                corrected_symbols: 0,
            }),
            bytes: frame.clone(),
            position: Position { segment: 0, offset: 0 },
            replayed: false,
        };
        self.take(&frame);
        self.archive.push(frame);
    }

    /// Killed and started again: only the archive is left.
    fn restart(&mut self) {
        let mut anew = Self::new(self.table.clone());
        for frame in std::mem::take(&mut self.archive) {
            anew.take(&Archived { replayed: true, ..frame.clone() });
            anew.archive.push(frame);
        }
        *self = anew;
    }

    fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.ear.counts().next().unwrap().1.refused
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Two antennas that each lose much, hear late and in another order, passes that repeat, and a
    /// restart anywhere: whatever is rebuilt is exactly what was on board, and all of it is once
    /// the losses end.
    #[test]
    fn every_unit_is_rebuilt_as_it_was_whatever_is_lost(
        fates in prop::collection::vec((any::<u8>(), any::<u8>()), 3 * 60),
        restarts in prop::collection::vec(0..150usize, 0..3),
    ) {
        let (mut sky, mut ground) = (Sky::new(), Ground::new(carriers()));
        let mut sent = 0;
        for pass in 0..4 {
            let frames = sky.pass(0..20);
            let mut order: Vec<(usize, u16)> = Vec::new();
            for at in 0..frames.len() {
                order.extend([(at, 0), (at, 1)]);
            }
            // What a queue on the way let overtake.
            for (at, fate) in fates.iter().enumerate().take(order.len().saturating_sub(6)) {
                if pass < 3 && fate.1 % 4 == 0 {
                    order.swap(at, at + usize::from(fate.0 % 6));
                }
            }
            for (at, antenna) in order {
                let fate = fates[(sent + at) % fates.len()];
                let lost = if antenna == 0 { fate.0 < 100 } else { fate.1 < 100 };
                if pass < 3 && lost {
                    continue;
                }
                let time = pass * 10_000 + at;
                ground.hear(antenna, time, &frames[at], Quality::Good);
                if restarts.contains(&ground.archive.len()) {
                    ground.restart();
                }
            }
            sent += frames.len();
        }
        for sequence in 0..20 {
            prop_assert_eq!(&ground.rebuilt[&key(sequence)][..], &bytes(sequence)[..]);
        }
        prop_assert_eq!(ground.rebuilt.len(), 20);
    }
}

#[test]
fn parts_of_two_antennas_make_one_unit_and_a_restart_keeps_them() {
    let (mut sky, mut ground) = (Sky::new(), Ground::new(carriers()));
    let frames = sky.pass([4]);
    assert!(frames.len() > 2, "{}", frames.len());
    for (at, frame) in frames.iter().enumerate().skip(1) {
        ground.hear(0, at, frame, Quality::Good);
    }
    assert!(ground.rebuilt.is_empty());
    ground.restart();
    ground.hear(1, 0, &frames[0], Quality::Good);
    assert_eq!(ground.rebuilt[&key(4)], bytes(4));
}

#[test]
fn who_may_not_carry_brings_no_part_and_an_unknown_store_has_no_units() {
    let (frames, deliver) = (Sky::new().pass(0..6), &[Action::Deliver][..]);
    let hear = |table: Table| {
        let mut ground = Ground::new(table);
        frames.iter().enumerate().for_each(|(at, of)| ground.hear(0, at, of, Quality::Good));
        (ground.rebuilt.len(), ground.refused())
    };
    // Six units: 0, 211, 422, 633, 844 and 155 bytes in parts of 200.
    let parts = 1 + 2 + 3 + 4 + 5 + 1;
    assert_eq!(hear(carriers()), (6, BTreeMap::new()));
    assert_eq!(hear(table(&[&[]])), (0, [("not-carried", parts)].into()));
    // Whoever delivers without carrying could be the spacecraft: then nothing tells whose it is.
    assert_eq!(hear(table(&[deliver])), (0, [("ambiguous-store", parts)].into()));
    let alone = [(KeyHash([3; 32]), principal_of_no_one())].into_iter().collect();
    assert_eq!(hear(alone), (0, [("not-enrolled", parts)].into()));
}

fn principal_of_no_one() -> Principal {
    let (spacecraft, actions) = ([SpacecraftId(8)].into(), [Action::Deliver].into());
    Principal { name: "other".into(), origin: Origin([8; 16]), spacecraft, actions }
}

/// The check of each part says what a frame's does not: what is whole of an erred frame counts.
#[test]
fn what_is_whole_in_an_erred_frame_is_taken() {
    let (mut sky, mut ground) = (Sky::new(), Ground::new(carriers()));
    let (before, frames) = (sky.pass([1]), sky.pass([2]));
    before.iter().enumerate().for_each(|(at, of)| ground.hear(0, at, of, Quality::Good));
    frames.iter().enumerate().for_each(|(at, of)| {
        ground.hear(0, before.len() + at, of, Quality::Erred);
    });
    assert_eq!(ground.rebuilt.len(), 2);
    assert_eq!(ground.rebuilt[&key(2)], bytes(2));
}
