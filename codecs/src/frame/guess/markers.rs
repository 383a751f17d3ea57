//! Which marker stands in a stream, and how far apart.

use super::Evidence;
use crate::sync::marker::{Event, MAX_BLOCK_BYTES, Marker, MarkerConfig, Synchronizer};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Markers that are looked for, the longest first: a short one may stand in a long one.
const KNOWN: [Marker; 4] = [Marker::LONG, Marker::TELEMETRY, Marker::EMBEDDED, Marker::VOYAGER];

/// Wrong bits that a marker may have.
const ERRORS: u32 = 1;

/// A marker and its blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) marker: Marker,
    pub(super) block_bytes: usize,
    pub(super) evidence: Evidence,
}

/// The marker that stands at equal distances most often.
pub(super) fn find(stream: &[u8], marker: Option<Marker>) -> Option<Found> {
    let known = KNOWN.into_iter().chain(marker);
    known.filter_map(|marker| periodic(stream, marker)).max_by_key(|found| found.evidence.fits)
}

fn periodic(stream: &[u8], marker: Marker) -> Option<Found> {
    let places = marker.places(stream, ERRORS);
    let mut distances = BTreeMap::<u64, usize>::new();
    for (place, next) in places.iter().zip(places.iter().skip(1)) {
        *distances.entry(next - place).or_default() += 1;
    }
    let bits = u64::from(marker.bits());
    let whole = |distance: &u64| *distance > bits && (*distance - bits).is_multiple_of(8);
    let (distance, fits) = distances
        .iter()
        .filter(|(distance, _)| whole(distance))
        .max_by_key(|(distance, count)| (**count, core::cmp::Reverse(**distance)))?;
    let block_bytes = usize::try_from((distance - bits) / 8).ok()?;
    let evidence =
        Evidence::new("markers that stand one block after another", *fits, places.len() - 1);
    let fitting = evidence.at_least(50) && (1..=MAX_BLOCK_BYTES).contains(&block_bytes);
    fitting.then_some(Found { marker, block_bytes, evidence })
}

/// The first blocks of a stream.
pub(super) fn blocks(stream: &[u8], found: &Found, most: usize) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    let config = MarkerConfig::new(found.marker, found.block_bytes);
    let Ok(mut synchronizer) = Synchronizer::new(config) else { return blocks };
    let mut take = |event: Event<'_>| {
        if let Event::Block(found) = event
            && blocks.len() < most
        {
            let mut block = alloc::vec![0; found.length()];
            found.copy_to(&mut block);
            blocks.push(block);
        }
    };
    synchronizer.push(stream, &mut take);
    synchronizer.finish(&mut take);
    blocks
}
