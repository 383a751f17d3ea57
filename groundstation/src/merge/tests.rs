mod late;

use super::*;
use crate::archive::record::Position;
use crate::deframe::Deframer;
use crate::header::Formats;
use bytes::Bytes;
use codecs::frame::aos::{AosBuilder, AosConfig};
use codecs::frame::tm::{TmBuilder, TmConfig};
use codecs::ids::{Apid, Codec, UnitKey};
use codecs::link::object::TimeSource;
use codecs::mission::Definition;
use codecs::mission::definition::MERGE_WINDOW_NS_DEFAULT;
use codecs::packet::space::{PacketHeader, SequenceCount, build};
use proptest::prelude::*;
use std::collections::BTreeSet;

const MISSION: &str = "mission = 'm'\n[[spacecraft]]\nid = 7\nname = 'A'\n\
    [[spacecraft.frames]]\nkind = 'aos'\nscid = 71\nlength = 128\nfecf = true\n\
    [[spacecraft.frames]]\nkind = 'tm'\nscid = 72\nlength = 128\nfecf = true\n";
const CRAFT: SpacecraftId = SpacecraftId(7);
/// Between two frames: a wrap of TM's count takes 2.56 seconds.
const FRAME_NS: i64 = 10_000_000;
/// The second antenna's clock is off, and it stands elsewhere.
const SKEW_NS: i64 = 37_000_000;

fn packet(count: u16) -> Vec<u8> {
    let header = PacketHeader::telemetry(Apid(100), SequenceCount(count));
    build(&header, &vec![count as u8; 30 + usize::from(count) * 37 % 200]).unwrap()
}

fn recording(codec: Codec, packets: u16) -> Vec<Bytes> {
    let mut frames = vec![];
    let mut sink = |frame| frames.push(frame);
    if codec == Codec::TmFrame {
        let config = TmConfig::new(128).with_fecf(true);
        let mut builder = TmBuilder::new(config, 72, 0, 200).unwrap();
        (0..packets).for_each(|count| builder.push(&packet(count), &mut sink).unwrap());
        builder.flush(&mut sink);
    } else {
        let config = AosConfig::new(128).with_fecf(true);
        let mut builder = AosBuilder::new(config, 71, 0, (1 << 24) - 100).unwrap();
        (0..packets).for_each(|count| builder.push(&packet(count), &mut sink).unwrap());
        builder.flush(&mut sink);
    }
    frames
}

/// A reception of the frame that was sent as the `at`th.
fn reception(codec: Codec, site: u8, sequence: u64, at: usize, frame: Bytes) -> Archived {
    let channel = match codec {
        Codec::TmFrame => Channel::virtual_channel(0, 72, 0, 0),
        _ => Channel::virtual_channel(1, 71, 0, 0),
    };
    let prefix =
        KeyPrefix { origin: Origin([site; 16]), epoch: StoreEpoch(1), spacecraft: CRAFT, channel };
    let received = Tai(at as i64 * FRAME_NS + i64::from(site) * SKEW_NS);
    let (quality, antenna) = (Quality::Good, site.into());
    Archived {
        key: UnitKey { prefix, sequence },
        codec,
        received,
        annotation: Some(Annotation {
            received,
            source: TimeSource::Measured,
            quality,
            antenna,
            corrected_symbols: 0,
        }),
        bytes: frame,
        position: Position { segment: 0, offset: 0 },
        replayed: false,
    }
}

/// What one antenna heard, numbered in the order of hearing.
fn heard(codec: Codec, site: u8, frames: &[Bytes], lost: &BTreeSet<usize>) -> Vec<Archived> {
    let kept = frames.iter().enumerate().filter(|(at, _)| !lost.contains(at));
    let number = |(sequence, (at, frame)): (usize, (usize, &Bytes))| {
        reception(codec, site, sequence as u64, at, frame.clone())
    };
    kept.enumerate().map(number).collect()
}

struct Station {
    formats: Formats,
    merge: Merge,
    deframer: Deframer,
}

impl Station {
    fn new() -> Self {
        let definition = Definition::from_toml(MISSION).unwrap();
        Self {
            formats: Formats::new(&definition),
            merge: Merge::new(MERGE_WINDOW_NS_DEFAULT),
            deframer: Deframer::new(&definition),
        }
    }

    fn take(&mut self, unit: &Archived) -> (Place, Vec<Bytes>) {
        let head = self.formats.read(CRAFT, unit.codec, &unit.bytes).unwrap();
        let place = self.merge.place(unit, &head);
        let deframed = self.deframer.take(CRAFT, &place, unit.codec, &unit.bytes);
        let whole = deframed.packets.into_iter().filter(|(_, erred)| !erred);
        (place, whole.map(|(packet, _)| packet).collect())
    }

    /// Packets in order, each once, as who publishes tells them apart; and how many frames.
    fn packets(&mut self, units: &[Archived]) -> (Vec<Bytes>, usize) {
        let (mut got, mut seen, mut frames) = (vec![], BTreeSet::new(), 0);
        for unit in units {
            let (place, packets) = self.take(unit);
            frames += usize::from(place.standing == Standing::First);
            got.extend(packets.into_iter().filter(|packet| seen.insert(packet.clone())));
        }
        (got, frames)
    }
}

/// What a single antenna would have given that heard what either did.
fn union(codec: Codec, frames: &[Bytes], lost: &BTreeSet<usize>) -> (Vec<Bytes>, usize) {
    Station::new().packets(&heard(codec, 9, frames, lost))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any interleaving of two receptions, each with losses and in its own order, gives exactly
    /// the packets of their union, once; in order, where the first reception had them in order.
    #[test]
    fn two_receptions_give_the_packets_of_their_union(
        tm: bool,
        runs in prop::collection::vec((any::<bool>(), 1usize..80), 1..40),
        lost_a in prop::collection::btree_set(0usize..600, 0..120),
        lost_b in prop::collection::btree_set(0usize..600, 0..120),
    ) {
        let codec = if tm { Codec::TmFrame } else { Codec::AosFrame };
        let frames = recording(codec, 500);
        prop_assert!(frames.len() > 500);
        let (a, b) = (heard(codec, 1, &frames, &lost_a), heard(codec, 2, &frames, &lost_b));
        let (mut from_a, mut from_b) = (a.iter(), b.iter());
        let mut mixed: Vec<Archived> = vec![];
        for (first, run) in runs {
            let side = if first { &mut from_a } else { &mut from_b };
            mixed.extend(side.take(run).cloned());
        }
        mixed.extend(from_a.chain(from_b).cloned());
        let (mut got, count) = Station::new().packets(&mixed);
        let both: BTreeSet<usize> = lost_a.intersection(&lost_b).copied().collect();
        let (mut wanted, distinct) = union(codec, &frames, &both);
        prop_assert_eq!(count, distinct, "each frame counts once");
        if lost_a.is_empty() && lost_b.is_empty() {
            prop_assert!(got == wanted, "nothing was late");
        }
        got.sort();
        wanted.sort();
        prop_assert_eq!(got.len(), wanted.len());
        prop_assert!(got == wanted);
    }
}

#[test]
fn a_day_late_reception_fills_what_the_first_lost() {
    for codec in [Codec::TmFrame, Codec::AosFrame] {
        let frames = recording(codec, 900);
        let lost: BTreeSet<usize> = (40..700).step_by(7).chain(300..600).collect();
        let a = heard(codec, 1, &frames, &lost);
        let b = heard(codec, 2, &frames, &BTreeSet::new());
        let late: Vec<Archived> = a.into_iter().chain(b).collect();
        let (mut got, count) = Station::new().packets(&late);
        let (mut wanted, distinct) = union(codec, &frames, &BTreeSet::new());
        got.sort();
        wanted.sort();
        assert_eq!((count, got.len()), (distinct, wanted.len()), "{codec:?}");
        assert!(got == wanted, "{codec:?}");
    }
}

#[test]
fn objects_of_one_site_that_overtake_each_other_keep_their_places() {
    // Runs longer than the counter's wrap, as a site's object streams interleave.
    let frames = recording(Codec::TmFrame, 1_200);
    let units = heard(Codec::TmFrame, 1, &frames, &BTreeSet::new());
    let mut mixed = vec![];
    for at in 0..400 {
        for run in [2, 0, 1] {
            mixed.extend(units.get(run * 400 + at).cloned());
        }
    }
    mixed.extend(units.into_iter().skip(1_200));
    let (mut got, count) = Station::new().packets(&mixed);
    let (mut wanted, distinct) = union(Codec::TmFrame, &frames, &BTreeSet::new());
    got.sort();
    wanted.sort();
    assert_eq!((count, got.len()), (distinct, wanted.len()));
    assert!(got == wanted);
}

#[test]
fn runs_of_a_counter_that_was_set_back_twice_are_whole_whatever_came_first() {
    // Three starts of a transmitter, each at a count of its own; what a station that lost its disk
    // asks for comes as objects that overtake each other.
    let run = |first: u32, at: u16| {
        let mut frames = vec![];
        let config = AosConfig::new(128).with_fecf(true);
        let mut builder = AosBuilder::new(config, 71, 0, first).unwrap();
        let mut sink = |frame| frames.push(frame);
        (at..at + 200).for_each(|count| builder.push(&packet(count), &mut sink).unwrap());
        builder.flush(&mut sink);
        frames
    };
    let runs = [run(3_000_000, 0), run(12_000_000, 200), run(9_000_000, 400)];
    let begins = [0, runs[0].len(), runs[0].len() + runs[1].len()];
    let frames: Vec<Bytes> = runs.concat();
    let units = heard(Codec::AosFrame, 1, &frames, &BTreeSet::new());
    let middle = begins[2] + runs[2].len() / 2;
    let parts = [0..begins[1], middle..units.len(), begins[1]..begins[2], begins[2]..middle];
    let mixed: Vec<Archived> = parts.into_iter().flat_map(|of| units[of].to_vec()).collect();
    let (got, count) = Station::new().packets(&mixed);
    assert_eq!((count, got.len()), (frames.len(), 600), "the packet over the seam too");
}

#[test]
fn the_better_reception_counts() {
    let order =
        [Rank::Good, Rank::Corrected(0), Rank::Corrected(3), Rank::Undetermined, Rank::Erred];
    assert!(order.is_sorted());
    let frames = recording(Codec::AosFrame, 30);
    let mut station = Station::new();
    let mut erred = frames[3].to_vec();
    erred[60] ^= 1;
    let mut got = vec![];
    for (at, frame) in frames.iter().enumerate() {
        let bytes = if at == 3 { Bytes::from(erred.clone()) } else { frame.clone() };
        got.extend(station.take(&reception(Codec::AosFrame, 1, at as u64, at, bytes)).1);
    }
    let before = got.len();
    // The other antenna heard it well: its packets, and nothing that was not there before twice.
    let (place, late) = station.take(&reception(Codec::AosFrame, 2, 0, 3, frames[3].clone()));
    assert_eq!(place.standing, Standing::Better { than: Rank::Erred });
    got.extend(late);
    got.sort();
    got.dedup();
    let (wanted, _) = union(Codec::AosFrame, &frames, &BTreeSet::new());
    assert!(before < wanted.len());
    assert_eq!(got.len(), wanted.len());
    let (place, late) = station.take(&reception(Codec::AosFrame, 3, 0, 3, frames[3].clone()));
    assert_eq!((place.standing, late.len()), (Standing::Copy, 0));
}

#[test]
fn an_erred_count_moves_nobody() {
    let frames = recording(Codec::TmFrame, 300);
    let mut station = Station::new();
    let mut got = 0;
    for (at, frame) in frames.iter().enumerate() {
        let mut bytes = frame.to_vec();
        if at % 50 == 20 {
            // The top bit of the count.
            bytes[3] ^= 0x80;
        }
        let unit = reception(Codec::TmFrame, 1, at as u64, at, bytes.into());
        let (place, packets) = station.take(&unit);
        assert_eq!(place.standing == Standing::Stray, at % 50 == 20, "{at}");
        got += packets.len();
    }
    let lost: BTreeSet<usize> = (20..frames.len()).step_by(50).collect();
    assert_eq!(got, union(Codec::TmFrame, &frames, &lost).0.len());
}

#[test]
fn the_same_count_at_another_time_is_another_frame() {
    let frames = recording(Codec::TmFrame, 20);
    let mut station = Station::new();
    let first = station.take(&reception(Codec::TmFrame, 1, 0, 0, frames[0].clone())).0;
    // Another pass: the counter has come round, and another antenna hears it.
    let other = station.take(&reception(Codec::TmFrame, 2, 0, 60_000, frames[0].clone())).0;
    assert_eq!((first.standing, other.standing), (Standing::First, Standing::First));
    assert!(other.number > first.number);
    assert!((other.number - first.number).is_multiple_of(256));
    // One that no antenna heard, but the spacecraft's store holds, is not merged.
    let mut own = reception(Codec::TmFrame, 1, 5, 0, frames[0].clone());
    own.annotation = None;
    assert!(matches!(station.take(&own).0.view, View::Store(_)));
}

#[test]
fn memory_is_bounded() {
    let frames = recording(Codec::TmFrame, 10);
    let mut merge = Merge::new(MERGE_WINDOW_NS_DEFAULT);
    let formats = Formats::new(&Definition::from_toml(MISSION).unwrap());
    let head = formats.read(CRAFT, Codec::TmFrame, &frames[0]).unwrap();
    for at in 0..(3 * FRAMES_MAX) as u64 {
        let site = (at % 40) as u8;
        let unit = reception(Codec::TmFrame, site, at / 40, at as usize, frames[0].clone());
        merge.place(&unit, &Head { count: at % 256, ..head });
        assert!(merge.frames <= FRAMES_MAX);
    }
    for heard in merge.channels.values() {
        assert!(heard.sites.len() <= SITES_MAX && heard.frames.len() == merge.frames);
        assert!(heard.counts.len() <= heard.frames.len());
        for site in heard.sites.values() {
            assert!(site.places.len() <= PLACES_MAX && site.times.len() <= 2 * FRAMES_MAX);
            assert!(site.numbers.len() <= site.times.len());
        }
    }
}
