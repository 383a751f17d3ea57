//! Triage: what each thing is worth, and what goes down of a tile.
//!
//! The value decides twice: what goes first when there is contact, and what is given up last when
//! the store is full. Housekeeping stands above every product, so that it always has its share.

use bytes::Bytes;
use codecs::{
    product::{Product, ProductKind},
    time::Tai,
};

use crate::score::{Tile, TileScore};

/// Events of the flight process itself.
pub const RECORDS: u8 = 230;
/// Realtime frames.
pub const REALTIME: u8 = 220;
/// Telemetry that a score calls anomalous.
pub const ANOMALOUS: u8 = 200;
/// Recorded housekeeping.
pub const HOUSEKEEPING: u8 = 140;
/// Reports of how much is still on board: out of date soon, and small.
pub const BACKLOG: u8 = 145;
/// Summaries of tiles that stay.
pub const SUMMARY: u8 = 110;
/// Tiles, from all cloud to none.
pub const TILES: std::ops::RangeInclusive<u8> = 70..=100;
/// High-rate telemetry.
pub const BULK: u8 = 60;

/// Bytes of a tile packet's data before the pixels.
const TILE_HEADER_BYTES: usize = 20;
const THUMBNAIL_SIDE: u16 = 8;

/// A tile as the imager's packet tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct TilePacket {
    /// Number that the imager gave it.
    pub id: u32,
    /// Latitude of its centre, degrees.
    pub latitude: f32,
    /// Longitude of its centre, degrees.
    pub longitude: f32,
    /// True cloud fraction in percent, where the source knows it; for scoring the scorer only.
    pub truth: Option<u8>,
    /// The pixels.
    pub tile: Tile,
}

/// Reads the data field of a tile packet, behind its time; none where it contradicts itself.
pub fn read_tile(data: &Bytes) -> Option<TilePacket> {
    let header = data.first_chunk::<TILE_HEADER_BYTES>()?;
    let [i0, i1, i2, i3, w0, w1, h0, h1, bands, bits, rest @ ..] = *header;
    let [a0, a1, a2, a3, o0, o1, o2, o3, truth, _] = rest;
    let (width, height) = (u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1]));
    let pixels = data.slice(TILE_HEADER_BYTES..);
    let size = usize::from(width) * usize::from(height) * usize::from(bands);
    if bits != 8 || size == 0 || pixels.len() != size {
        return None;
    }
    Some(TilePacket {
        id: u32::from_be_bytes([i0, i1, i2, i3]),
        latitude: f32::from_be_bytes([a0, a1, a2, a3]),
        longitude: f32::from_be_bytes([o0, o1, o2, o3]),
        truth: (truth <= 100).then_some(truth),
        tile: Tile { width, height, bands, pixels },
    })
}

/// What becomes of a tile.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What goes down.
    pub product: Product,
    /// Its value.
    pub priority: u8,
    /// Whether the tile itself is left out.
    pub left_out: bool,
}

/// Decides on a tile by its cloud fraction.
pub fn judge(
    packet: TilePacket,
    score: TileScore,
    captured: Tai,
    source_bytes: usize,
    cloudy_above: f32,
) -> Verdict {
    let cloudy = score.fraction > cloudy_above;
    let Tile { width, height, bands, pixels } = packet.tile;
    let (kind, width, height, pixels) = match cloudy {
        false => (ProductKind::Tile, width, height, pixels),
        true => {
            let (sides, pixels) = thumbnail(width, height, bands, &pixels);
            (ProductKind::Summary, sides.0, sides.1, pixels)
        }
    };
    let product = Product {
        kind,
        id: packet.id,
        captured,
        latitude: packet.latitude,
        longitude: packet.longitude,
        score: score.fraction,
        truth: packet.truth,
        bands,
        width,
        height,
        source_bytes: source_bytes as u32,
        mask_width: score.mask_width,
        mask_height: score.mask_height,
        mask: score.mask,
        pixels,
    };
    let span = f32::from(TILES.end() - TILES.start());
    let clear = TILES.start() + (span * (1.0 - score.fraction.clamp(0.0, 1.0))) as u8;
    Verdict { product, priority: if cloudy { SUMMARY } else { clear }, left_out: cloudy }
}

/// Averages over equal blocks, at most [`THUMBNAIL_SIDE`] a side.
fn thumbnail(width: u16, height: u16, bands: u8, pixels: &[u8]) -> ((u16, u16), Bytes) {
    let sides = (width.min(THUMBNAIL_SIDE), height.min(THUMBNAIL_SIDE));
    let (width, height) = (usize::from(width), usize::from(height));
    let (across, down) = (usize::from(sides.0), usize::from(sides.1));
    let mut small = Vec::with_capacity(across * down * usize::from(bands));
    for band in pixels.chunks_exact(width * height) {
        for row in 0..down {
            for column in 0..across {
                let rows = row * height / down..(row + 1) * height / down;
                let columns = column * width / across..(column + 1) * width / across;
                let count = (rows.len() * columns.len()).max(1);
                let lines = rows.filter_map(|y| band.get(y * width..)?.get(columns.clone()));
                let sum: usize = lines.flatten().map(|pixel| usize::from(*pixel)).sum();
                small.push((sum / count) as u8);
            }
        }
    }
    (sides, small.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::Method;

    fn packet(width: u16, height: u16) -> Vec<u8> {
        let mut data = vec![0, 0, 0, 9];
        data.extend_from_slice(&width.to_be_bytes());
        data.extend_from_slice(&height.to_be_bytes());
        data.extend_from_slice(&[4, 8]);
        data.extend_from_slice(&78.0f32.to_be_bytes());
        data.extend_from_slice(&15.0f32.to_be_bytes());
        data.extend_from_slice(&[40, 0]);
        data.extend((0..4 * usize::from(width) * usize::from(height)).map(|at| (at / 4096) as u8));
        data
    }

    fn score(fraction: f32) -> TileScore {
        let mask = Bytes::from(vec![0; 256]);
        TileScore { fraction, mask, mask_width: 16, mask_height: 16, method: Method::Statistics }
    }

    #[test]
    fn clear_tiles_go_whole_and_cloudy_ones_as_a_summary() {
        let tile = read_tile(&packet(64, 64).into()).unwrap();
        assert_eq!((tile.id, tile.truth), (9, Some(40)));
        let clear = judge(tile.clone(), score(0.2), Tai(1), 16_000, 0.7);
        assert!(!clear.left_out && clear.product.pixels.len() == 16_384);
        let clearer = judge(tile.clone(), score(0.0), Tai(1), 16_000, 0.7);
        assert!(clearer.priority > clear.priority);
        let cloudy = judge(tile, score(0.9), Tai(1), 16_000, 0.7);
        assert!(cloudy.left_out && cloudy.priority > clearer.priority);
        let product = &cloudy.product;
        assert_eq!((product.kind, product.width, product.height), (ProductKind::Summary, 8, 8));
        assert_eq!(product.pixels.len(), 256);
        assert_eq!(product.pixels[64 * 3 + 5], 3, "bands stay apart");
        assert_eq!(Product::decode(&product.encode().into()).unwrap(), *product);
    }

    #[test]
    fn a_tile_that_lies_is_no_tile() {
        let good = packet(8, 8);
        for cut in 0..good.len() {
            assert_eq!(read_tile(&good[..cut].to_vec().into()), None);
        }
        let mut deep = good.clone();
        deep[9] = 12;
        assert_eq!(read_tile(&deep.into()), None);
    }

    #[test]
    fn thumbnails_of_odd_sizes_hold() {
        let (sides, pixels) = thumbnail(5, 13, 2, &[9; 130]);
        assert_eq!((sides, pixels.len()), ((5, 8), 80));
        assert!(pixels.iter().all(|pixel| *pixel == 9));
    }
}
