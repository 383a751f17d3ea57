//! Receptions that are delivered long after they were made, in any order of the sites.

use super::*;
use crate::gaps::{Gaps, ReceptionGap};

/// Frames that were sent one after the other, and who heard them.
#[derive(Clone, Debug)]
struct Stretch {
    /// Sent before it while nobody listened.
    unheard: u64,
    frames: u64,
    /// A bit for each site.
    sites: u8,
    /// The site of that number misses every so manieth frame.
    holes: [u64; SITES],
    /// When each site delivers it.
    delivered: [u16; SITES],
}

const SITES: usize = 3;

fn stretch(unheard: u64, frames: std::ops::Range<u64>) -> impl Strategy<Value = Stretch> {
    let holes = prop::array::uniform3(3u64..60);
    let delivered = prop::array::uniform3(any::<u16>());
    (0..unheard, frames, 1u8..8, holes, delivered).prop_map(
        |(unheard, frames, sites, holes, delivered)| Stretch {
            unheard,
            frames,
            sites,
            holes,
            delivered,
        },
    )
}

/// What came, in the order of coming, each with the number of its frame in the order of sending.
fn receptions(
    codec: Codec,
    first: u64,
    stretches: &[Stretch],
    in_order: bool,
) -> Vec<(u64, Archived)> {
    let frame = recording(codec, 1).swap_remove(0);
    let (mut sent, mut sequences, mut chunks) = (first, [0u64; SITES], vec![]);
    let mut earliest = [0u16; SITES];
    for stretch in stretches {
        sent += stretch.unheard;
        for site in (0..SITES).filter(|site| stretch.sites & 1 << site != 0) {
            let mut chunk = vec![];
            let range = sent..sent + stretch.frames;
            for at in range.filter(|at| at % stretch.holes[site] != 1) {
                let sequence = sequences[site];
                sequences[site] += 1;
                let number = (at - first) as usize;
                let unit = reception(codec, site as u8, sequence, number, frame.clone());
                chunk.push((at, unit));
            }
            let mut delivered = stretch.delivered[site];
            if in_order {
                delivered = delivered.max(earliest[site]);
                earliest[site] = delivered;
            }
            chunks.push((delivered, chunk));
        }
        sent += stretch.frames;
    }
    chunks.sort_by_key(|(delivered, _)| *delivered);
    chunks.into_iter().flat_map(|(_, chunk)| chunk).collect()
}

/// Every frame one place, copies known as such, and no hole where there is none.
fn check(codec: Codec, units: &[(u64, Archived)]) -> Result<(), TestCaseError> {
    let formats = Formats::new(&Definition::from_toml(MISSION).unwrap());
    let mut merge = Merge::new(MERGE_WINDOW_NS_DEFAULT);
    let (mut seen, mut apart) = (BTreeSet::new(), None);
    for (at, unit) in units {
        let head = formats.read(CRAFT, codec, &unit.bytes).unwrap();
        let place = merge.place(unit, &Head { count: at % head.modulus, ..head });
        let wanted = if seen.insert(*at) { Standing::First } else { Standing::Copy };
        prop_assert_eq!(place.standing, wanted, "{} of {}", at, unit.key.prefix.origin);
        let apart = *apart.get_or_insert(place.number - at);
        prop_assert_eq!(place.number, at + apart, "{} of {}", at, unit.key.prefix.origin);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn late_aos_frames_find_the_place_that_they_were_sent_in(
        first in prop_oneof![Just(1_000u64), Just((1 << 24) - 700)],
        stretches in prop::collection::vec(stretch(3_000, 1..400), 1..12),
        in_order: bool,
    ) {
        check(Codec::AosFrame, &receptions(Codec::AosFrame, first, &stretches, in_order))?;
    }

    /// Whose count starts again within the time that a site heard nothing.
    #[test]
    fn late_tm_frames_find_the_place_that_they_were_sent_in(
        stretches in prop::collection::vec(stretch(900, 60..500), 1..12),
        in_order: bool,
    ) {
        check(Codec::TmFrame, &receptions(Codec::TmFrame, 1_000, &stretches, in_order))?;
    }
}

/// The first pass was heard by one antenna, the second by another, the third by both; what the
/// second heard comes when the third pass is over.
#[test]
fn a_late_second_antenna_is_merged_and_leaves_no_gap() {
    let frame = recording(Codec::AosFrame, 1).swap_remove(0);
    let counted = |count: u32| {
        let mut made = vec![];
        let mut builder =
            AosBuilder::new(AosConfig::new(128).with_fecf(true), 71, 0, count).unwrap();
        builder.push(&packet(1), &mut |frame| made.push(frame)).unwrap();
        builder.flush(&mut |frame| made.push(frame));
        made.swap_remove(0)
    };
    assert_eq!(counted((1 << 24) - 100).len(), frame.len());
    let pass = |site: u8, sequence: u64, from: u32, frames: u32, sent: usize| {
        (0..frames).map(move |at| {
            let bytes = counted(from + at);
            reception(Codec::AosFrame, site, sequence + u64::from(at), sent + at as usize, bytes)
        })
    };
    let units = pass(1, 0, 1_000, 100, 0)
        .chain(pass(1, 100, 5_000, 1_000, 800))
        .chain(pass(2, 0, 3_000, 100, 400))
        .chain(pass(2, 100, 5_000, 1_000, 800));
    let mut gaps = Gaps::new(&Definition::from_toml(MISSION).unwrap());
    units.for_each(|unit| gaps.take(&unit));
    let report = gaps.report(gaps.heard());
    let [channel] = &report.channels[..] else { panic!("{report:?}") };
    assert_eq!((channel.frames, channel.copies), (1_200, 1_000));
    assert_eq!(channel.set_back, []);
    let lost = channel.reception.iter().map(|gap: &ReceptionGap| gap.lost);
    assert_eq!(lost.collect::<Vec<_>>(), [1_900, 1_900]);
}

/// A counter that was set back while two antennas heard it, live or late.
#[test]
fn a_count_that_was_set_back_is_merged_as_well() {
    let frame = recording(Codec::AosFrame, 1).swap_remove(0);
    let formats = Formats::new(&Definition::from_toml(MISSION).unwrap());
    let head = formats.read(CRAFT, Codec::AosFrame, &frame).unwrap();
    let count = |at: usize| if at < 300 { 5_000 + at as u64 } else { at as u64 - 300 };
    let unit =
        |site: u8, at: usize| (at, reception(Codec::AosFrame, site, at as u64, at, frame.clone()));
    let live = (0..600).flat_map(|at| [unit(1, at), unit(2, at)]);
    let late = (0..600).map(|at| unit(1, at)).chain((0..600).map(|at| unit(2, at)));
    for units in [live.collect::<Vec<_>>(), late.collect()] {
        let mut merge = Merge::new(MERGE_WINDOW_NS_DEFAULT);
        let mut numbers = BTreeMap::new();
        for (at, unit) in units {
            let place = merge.place(&unit, &Head { count: count(at), ..head });
            let first = *numbers.entry(at).or_insert(place.number);
            assert_eq!(place.number, first, "{at}");
        }
        assert!(numbers.values().is_sorted());
        assert_eq!(numbers.values().collect::<BTreeSet<_>>().len(), 600);
    }
}
