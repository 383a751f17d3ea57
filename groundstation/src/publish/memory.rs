//! What the live state may take at the most.

use super::{
    craft::{CHANNELS_MAX, LINK_SAMPLES_MAX, PARAMETERS_MAX, PREFIXES_MAX, RANGES_MAX},
    history::{FRAME_BUCKETS_MAX, PARAMETER_POINTS_MAX},
    live::{PRODUCTS_MAX, SPACECRAFT_MAX, THUMBNAIL_BYTES_MAX},
};

/// Of a point, sample or column with its revision; queues grow by doubling.
const POINT_BYTES: u64 = 2 * 64;
/// Of a range in a set that is two thirds full.
const RANGE_BYTES: u64 = 48;

/// Bytes of the histories of so many spacecraft, all of whose parameters and channels speak.
pub fn histories_bytes(spacecraft: usize, parameters: usize) -> u64 {
    let parameters = parameters.min(PARAMETERS_MAX);
    let points =
        parameters * PARAMETER_POINTS_MAX + CHANNELS_MAX * FRAME_BUCKETS_MAX + LINK_SAMPLES_MAX;
    spacecraft.min(SPACECRAFT_MAX) as u64 * points as u64 * POINT_BYTES
}

/// Bytes of the sequences followed of so many spacecraft, each with as many holes as are followed.
pub fn sequences_bytes(spacecraft: usize) -> u64 {
    let ranges = spacecraft.min(SPACECRAFT_MAX) * PREFIXES_MAX * RANGES_MAX;
    ranges as u64 * RANGE_BYTES
}

/// Bytes of the pictures kept.
pub const fn pictures_bytes() -> u64 {
    (PRODUCTS_MAX * THUMBNAIL_BYTES_MAX) as u64
}
