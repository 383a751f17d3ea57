//! Tiles: what the imager's packet tells, and what goes down of one.

use bytes::Bytes;
use codecs::{
    product::{HIDDEN_FROM, MAX_BOXES, MAX_PIXEL_BYTES, Product, ProductKind, Region},
    time::Tai,
};

use crate::score::{Tile, TileScore, tiles::CELL};

/// Bytes of a tile packet's data before the pixels, or before its place.
const TILE_HEADER_BYTES: usize = 20;
/// Bytes of a place: attitude, then four corners.
const PLACE_BYTES: usize = 48;
/// In a tile packet's last header byte: a place follows.
const HAS_PLACE: u8 = 1;
const THUMBNAIL_SIDE: u16 = 8;
/// A cell of a mask from here on belongs to a region.
const REGION_FROM: u8 = 128;
/// Regions that a summary names, the largest first.
const REGIONS_MAX: usize = 16;

/// Where the instrument looked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Quaternion x, y, z, w from Earth-fixed axes to the instrument, where it is known.
    pub attitude: Option<[f32; 4]>,
    /// Latitude and longitude of the four corners in turn, degrees.
    pub footprint: [[f32; 2]; 4],
}

/// What a sample means: reflectance = sample * gain + offset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reflectance {
    gain: f32,
    offset: f32,
}

impl Reflectance {
    /// A gain above 0 and at most 1, an offset of -1 to 1; else none.
    pub fn new(gain: f32, offset: f32) -> Option<Self> {
        let sane = gain > 0.0 && gain <= 1.0 && (-1.0..=1.0).contains(&offset);
        sane.then_some(Self { gain, offset })
    }

    /// As scoring takes it: 255 for a reflectance of 1, and for what is brighter.
    fn to_byte(self, sample: u16) -> u8 {
        ((f32::from(sample) * self.gain + self.offset).clamp(0.0, 1.0) * 255.0).round() as u8
    }
}

/// A tile as the imager's packet, or the cut of an image, tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct TilePacket {
    /// Number that the imager gave it.
    pub id: u32,
    /// Latitude of its centre, degrees; NaN where unknown.
    pub latitude: f32,
    /// Longitude of its centre, degrees; NaN where unknown.
    pub longitude: f32,
    /// Where the instrument looked, if it said.
    pub place: Option<Place>,
    /// True cloud fraction in percent, where the source knows it; for scoring the scorer only.
    pub truth: Option<u8>,
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// Number of bands.
    pub bands: u8,
    /// Bits of a sample, 1 to 16.
    pub bits: u8,
    /// What a sample means; where nothing says it, the largest one is a reflectance of 1.
    pub reflectance: Option<Reflectance>,
    /// `bands * height * width` samples, band after band, big-endian; two bytes each where `bits`
    /// is above 8.
    pub pixels: Bytes,
}

/// Reads the data field of a tile packet, behind its time; none where it contradicts itself.
///
/// ```text
///  0 4 identifier     8 1 bands     10 4 latitude, f32    18 1 truth in percent, else 255
///  4 2 width          9 1 bits      14 4 longitude, f32   19 1 bit 0: a place follows
///  6 2 height                       20 - place: 16 bytes quaternion, 32 bytes corners; pixels
/// ```
pub fn read_tile(data: &Bytes) -> Option<TilePacket> {
    let header = data.first_chunk::<TILE_HEADER_BYTES>()?;
    let [i0, i1, i2, i3, w0, w1, h0, h1, bands, bits, rest @ ..] = *header;
    let [a0, a1, a2, a3, o0, o1, o2, o3, truth, flags] = rest;
    let place = (flags & HAS_PLACE != 0).then(|| data.get(TILE_HEADER_BYTES..).and_then(place));
    let pixels_at = TILE_HEADER_BYTES + if place.is_some() { PLACE_BYTES } else { 0 };
    let packet = TilePacket {
        id: u32::from_be_bytes([i0, i1, i2, i3]),
        latitude: f32::from_be_bytes([a0, a1, a2, a3]),
        longitude: f32::from_be_bytes([o0, o1, o2, o3]),
        place: match place {
            Some(place) => Some(place?),
            None => None,
        },
        truth: (truth <= 100).then_some(truth),
        width: u16::from_be_bytes([w0, w1]),
        height: u16::from_be_bytes([h0, h1]),
        bands,
        bits,
        reflectance: None,
        pixels: data.slice(pixels_at..),
    };
    packet.is_whole().then_some(packet)
}

fn place(bytes: &[u8]) -> Option<Place> {
    let (words, _) = bytes.first_chunk::<PLACE_BYTES>()?.as_chunks::<4>();
    let number = |at: usize| words.get(at).map_or(f32::NAN, |word| f32::from_be_bytes(*word));
    let attitude: [f32; 4] = std::array::from_fn(number);
    let footprint = std::array::from_fn(|corner| [number(4 + 2 * corner), number(5 + 2 * corner)]);
    let whole = attitude.iter().chain(footprint.iter().flatten()).all(|number| number.is_finite());
    whole.then_some(Place { attitude: Some(attitude), footprint })
}

impl TilePacket {
    fn sample_bytes(&self) -> usize {
        if self.bits > 8 { 2 } else { 1 }
    }

    /// Whether the pixels are as many as the sides say, each within its bits, and not more than a
    /// product holds.
    pub fn is_whole(&self) -> bool {
        let plane = usize::from(self.width) * usize::from(self.height);
        let size = plane.saturating_mul(usize::from(self.bands) * self.sample_bytes());
        let within = || match self.bits {
            1..=7 => self.pixels.iter().all(|sample| sample >> self.bits == 0),
            9..=15 => self.deep().all(|sample| sample >> self.bits == 0),
            _ => true,
        };
        (1..=16).contains(&self.bits)
            && (1..=MAX_PIXEL_BYTES).contains(&size)
            && self.pixels.len() == size
            && within()
    }

    fn deep(&self) -> impl Iterator<Item = u16> + '_ {
        self.pixels.as_chunks().0.iter().map(|sample| u16::from_be_bytes(*sample))
    }

    /// The tile as scoring takes it: samples of 8 bits, sides filled up to whole cells with what
    /// stands at the edge.
    ///
    /// Products of 16 bits seldom use them all: a reflectance of 1 is 10 000 in Sentinel-2's. By
    /// their highest bits alone every cloud would be black.
    pub fn scored(&self) -> Tile {
        let shallow: Bytes = match (self.bits, self.reflectance) {
            (9.., Some(of)) => self.deep().map(|sample| of.to_byte(sample)).collect(),
            (_, Some(of)) => self.pixels.iter().map(|of_8| of.to_byte((*of_8).into())).collect(),
            (8, None) => self.pixels.clone(),
            (..8, None) => self.pixels.iter().map(|sample| sample << (8 - self.bits)).collect(),
            (9.., None) => self.deep().map(|sample| (sample >> (self.bits - 8)) as u8).collect(),
        };
        let cell = CELL as u16;
        let up = |side: u16| side.checked_next_multiple_of(cell).unwrap_or(side);
        let (width, height) = (up(self.width), up(self.height));
        if (width, height) == (self.width, self.height) {
            return Tile { width, height, bands: self.bands, pixels: shallow };
        }
        let (across, down) = (usize::from(self.width), usize::from(self.height));
        let mut pixels =
            Vec::with_capacity(usize::from(width) * usize::from(height) * usize::from(self.bands));
        for band in shallow.chunks_exact(across * down) {
            for row in 0..usize::from(height) {
                let row = band.chunks_exact(across).nth(row.min(down - 1)).unwrap_or_default();
                pixels.extend_from_slice(row);
                let edge = row.last().copied().unwrap_or_default();
                pixels.resize(pixels.len() + usize::from(width - self.width), edge);
            }
        }
        Tile { width, height, bands: self.bands, pixels: pixels.into() }
    }

    /// What is left of it without the cells that the mask hides: parts, where it hides any and has
    /// a cell for each pixel, else all.
    pub fn visible(&self, score: &TileScore) -> ProductKind {
        let cells = [(self.width, score.mask_width), (self.height, score.mask_height)];
        let cells_of = |side: u16| side.div_ceil(CELL as u16);
        let covers = cells.iter().all(|(side, cells)| cells_of(*side) == u16::from(*cells));
        match covers && score.mask.iter().any(|of| *of >= HIDDEN_FROM) {
            true => ProductKind::Parts,
            false => ProductKind::Tile,
        }
    }

    /// What goes down of it: all, the cells that its mask does not hide, or what stands for it.
    pub fn product(
        self,
        kind: ProductKind,
        score: TileScore,
        captured: Tai,
        source_bytes: usize,
        max_error: u16,
    ) -> Product {
        let features = features(&self);
        // The mask of parts says where the boxes would be.
        let regions = match kind {
            ProductKind::Parts => Vec::new(),
            _ => regions(&score, self.width, self.height),
        };
        let mask = match kind {
            ProductKind::Parts => score.mask.iter().map(|of| yes_or_no(*of)).collect(),
            _ => score.mask,
        };
        let (width, height, pixels) = match kind {
            ProductKind::Tile | ProductKind::Parts => (self.width, self.height, self.pixels),
            ProductKind::Summary => thumbnail(&self),
        };
        let lossy = kind != ProductKind::Summary;
        Product {
            kind,
            id: self.id,
            captured,
            latitude: self.latitude,
            longitude: self.longitude,
            attitude: self.place.and_then(|place| place.attitude),
            footprint: self.place.map(|place| place.footprint),
            score: score.fraction,
            truth: self.truth,
            bands: self.bands,
            bits: self.bits,
            max_error: if lossy { max_error } else { 0 },
            width,
            height,
            source_bytes: source_bytes as u32,
            mask_width: score.mask_width,
            mask_height: score.mask_height,
            mask,
            regions,
            features,
            pixels,
        }
    }
}

/// A cell of a mask that only says what is hidden: it is written as a bit.
fn yes_or_no(cell: u8) -> u8 {
    if cell >= HIDDEN_FROM { u8::MAX } else { 0 }
}

/// Mean and deviation of each band in turn.
fn features(tile: &TilePacket) -> Vec<f32> {
    let plane = usize::from(tile.width) * usize::from(tile.height);
    let samples: Vec<u16> = match tile.bits {
        9.. => tile.deep().collect(),
        _ => tile.pixels.iter().map(|sample| u16::from(*sample)).collect(),
    };
    let of = |band: &[u16]| {
        let count = band.len().max(1) as f64;
        let mean = band.iter().map(|sample| f64::from(*sample)).sum::<f64>() / count;
        let spread = band.iter().map(|sample| (f64::from(*sample) - mean).powi(2)).sum::<f64>();
        [mean as f32, (spread / count).sqrt() as f32]
    };
    samples.chunks_exact(plane.max(1)).flat_map(of).collect()
}

/// Boxes around the cells of the mask that hang together, the largest first.
fn regions(score: &TileScore, width: u16, height: u16) -> Vec<Region> {
    let (across, down) = (usize::from(score.mask_width), usize::from(score.mask_height));
    let is_in = |cell: usize| score.mask.get(cell).is_some_and(|of| *of >= REGION_FROM);
    let mut seen = vec![false; across * down];
    let mut found: Vec<(usize, Region)> = Vec::new();
    let mut open = Vec::new();
    for start in 0..across * down {
        if seen[start] || !is_in(start) {
            continue;
        }
        seen[start] = true;
        open.push(start);
        let (mut left, mut top, mut right, mut bottom) = (across, down, 0, 0);
        let (mut cells, mut sum) = (0usize, 0usize);
        while let Some(cell) = open.pop() {
            let (column, row) = (cell % across, cell / across);
            (left, right) = (left.min(column), right.max(column));
            (top, bottom) = (top.min(row), bottom.max(row));
            cells += 1;
            sum += usize::from(score.mask.get(cell).copied().unwrap_or_default());
            let beside = [
                (column > 0).then(|| cell - 1),
                (column + 1 < across).then(|| cell + 1),
                (row > 0).then(|| cell - across),
                (row + 1 < down).then(|| cell + across),
            ];
            for next in beside.into_iter().flatten().filter(|next| is_in(*next)) {
                if !std::mem::replace(&mut seen[next], true) {
                    open.push(next);
                }
            }
        }
        // Sides are at most 255 cells of CELL pixels.
        let pixel = |cell: usize| (cell * CELL) as u16;
        let (left, top) = (pixel(left), pixel(top));
        let region = Region {
            left,
            top,
            width: pixel(right + 1).min(width).saturating_sub(left),
            height: pixel(bottom + 1).min(height).saturating_sub(top),
            score: (sum / cells) as u8,
        };
        found.push((cells, region));
    }
    found.sort_by_key(|(cells, _)| std::cmp::Reverse(*cells));
    found.truncate(REGIONS_MAX.min(MAX_BOXES));
    found.into_iter().map(|(_, region)| region).collect()
}

/// Averages over equal blocks, at most [`THUMBNAIL_SIDE`] a side.
fn thumbnail(tile: &TilePacket) -> (u16, u16, Bytes) {
    let sides = (tile.width.min(THUMBNAIL_SIDE), tile.height.min(THUMBNAIL_SIDE));
    let (width, height) = (usize::from(tile.width), usize::from(tile.height));
    let (across, down) = (usize::from(sides.0), usize::from(sides.1));
    let size = tile.sample_bytes();
    let at =
        |band: &[u8], pixel: usize| match band.get(pixel * size..).and_then(<[u8]>::first_chunk) {
            Some(sample) if size == 2 => usize::from(u16::from_be_bytes(*sample)),
            _ => usize::from(band.get(pixel * size).copied().unwrap_or_default()),
        };
    let mut small = Vec::with_capacity(across * down * usize::from(tile.bands) * size);
    for band in tile.pixels.chunks_exact((width * height * size).max(1)) {
        for row in 0..down {
            for column in 0..across {
                let rows = row * height / down..(row + 1) * height / down;
                let columns = column * width / across..(column + 1) * width / across;
                let count = (rows.len() * columns.len()).max(1);
                let pixels = rows.flat_map(|y| columns.clone().map(move |x| y * width + x));
                let mean = pixels.map(|pixel| at(band, pixel)).sum::<usize>() / count;
                match size {
                    2 => small.extend_from_slice(&(mean as u16).to_be_bytes()),
                    _ => small.push(mean as u8),
                }
            }
        }
    }
    (sides.0, sides.1, small.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::Method;

    fn packet(width: u16, height: u16, place: bool) -> Vec<u8> {
        let mut data = vec![0, 0, 0, 9];
        data.extend_from_slice(&width.to_be_bytes());
        data.extend_from_slice(&height.to_be_bytes());
        data.extend_from_slice(&[4, 8]);
        data.extend_from_slice(&78.0f32.to_be_bytes());
        data.extend_from_slice(&15.0f32.to_be_bytes());
        data.extend_from_slice(&[40, place.into()]);
        if place {
            (0..12u8).for_each(|at| data.extend_from_slice(&f32::from(at).to_be_bytes()));
        }
        data.extend((0..4 * usize::from(width) * usize::from(height)).map(|at| (at / 4096) as u8));
        data
    }

    fn score(mask: Vec<u8>, width: u8, height: u8) -> TileScore {
        TileScore {
            fraction: 0.5,
            mask: mask.into(),
            mask_width: width,
            mask_height: height,
            method: Method::Statistics,
        }
    }

    #[test]
    fn a_summary_holds_what_a_person_on_the_ground_decides_by() {
        let tile = read_tile(&packet(64, 64, true).into()).unwrap();
        assert_eq!((tile.id, tile.truth), (9, Some(40)));
        let mut mask = vec![0; 256];
        for cell in [17, 18, 34, 255] {
            mask[cell] = 200;
        }
        let whole = tile.clone();
        let score = score(mask, 16, 16);
        let summary = tile.product(ProductKind::Summary, score.clone(), Tai(1), 16_000, 3);
        assert_eq!((summary.width, summary.height, summary.max_error), (8, 8, 0));
        assert_eq!(summary.pixels.len(), 256);
        assert_eq!(summary.pixels[64 * 3 + 5], 3, "bands stay apart");
        let region = |left, top, width, height| Region { left, top, width, height, score: 200 };
        assert_eq!(summary.regions, [region(4, 4, 8, 8), region(60, 60, 4, 4)]);
        assert_eq!(summary.features, [0.0, 0.0, 1.0, 0.0, 2.0, 0.0, 3.0, 0.0]);
        assert_eq!(summary.attitude, Some([0.0, 1.0, 2.0, 3.0]));
        assert_eq!(summary.footprint.unwrap()[3], [10.0, 11.0]);
        assert_eq!(Product::decode(&summary.encode().into()).unwrap(), summary);
        let product = whole.clone().product(ProductKind::Tile, score, Tai(1), 16_000, 3);
        assert_eq!((product.pixels, product.max_error), (whole.pixels, 3));
    }

    #[test]
    fn a_tile_that_lies_is_no_tile() {
        for place in [false, true] {
            let good = packet(8, 8, place);
            assert!(read_tile(&good.clone().into()).is_some());
            for cut in 0..good.len() {
                assert_eq!(read_tile(&good[..cut].to_vec().into()), None);
            }
            for bits in [0, 7, 12, 17, 255] {
                let mut other = good.clone();
                other[9] = bits;
                let last = other.len() - 1;
                other[last] = 255;
                assert_eq!(read_tile(&other.into()), None, "{bits} bits");
            }
        }
        let mut nowhere = packet(8, 8, true);
        nowhere[20..24].copy_from_slice(&f32::NAN.to_be_bytes());
        assert_eq!(read_tile(&nowhere.into()), None);
        let mut flat = packet(0, 8, false);
        flat.truncate(20);
        assert_eq!(read_tile(&flat.into()), None);
    }

    #[test]
    fn odd_sides_and_deep_samples_are_scored_by_what_they_show() {
        let pixels = [0x0fff_u16, 0x0100, 0x0000, 0x0800, 0x0fff, 0x0010];
        let tile = TilePacket {
            id: 1,
            latitude: f32::NAN,
            longitude: f32::NAN,
            place: None,
            truth: None,
            width: 3,
            height: 2,
            bands: 1,
            bits: 12,
            reflectance: None,
            pixels: pixels.iter().flat_map(|sample| sample.to_be_bytes()).collect(),
        };
        assert!(tile.is_whole());
        let scored = tile.scored();
        assert_eq!((scored.width, scored.height), (4, 4));
        let low = [128, 255, 1, 1];
        let rows = [[255, 16, 0, 0], low, low, low].concat();
        assert_eq!(scored.pixels, rows);
        let summary = tile.product(ProductKind::Summary, score(vec![255], 1, 1), Tai(0), 12, 0);
        assert_eq!((summary.width, summary.height, summary.bits), (3, 2, 12));
        assert_eq!(summary.regions[0].width, 3, "no wider than the tile");
        assert_eq!(summary.samples(), pixels);
    }

    #[test]
    fn reflectances_of_sixteen_bits_are_seen_as_they_were_meant() {
        let samples = |of: u16| (0..4 * 64).flat_map(|_| of.to_be_bytes()).collect::<Vec<u8>>();
        let tile = |of: u16, reflectance| TilePacket {
            width: 8,
            height: 8,
            bits: 16,
            reflectance,
            pixels: samples(of).into(),
            ..read_tile(&packet(8, 8, false).into()).unwrap()
        };
        let scored = |of, reflectance| tile(of, reflectance).scored().pixels[0];
        // Sentinel-2, processing baseline 04.00 and later.
        let sentinel = Reflectance::new(1e-4, -0.1);
        assert!(sentinel.is_some());
        let seen = [900, 1000, 6020, 11_000, 65_535].map(|of| scored(of, sentinel));
        assert_eq!(seen, [0, 0, 128, 255, 255]);
        assert_eq!(scored(6000, None), 23, "by its highest bits");
        let wrong = [(0.0, 0.0), (-1e-4, 0.0), (f32::NAN, 0.0), (2.0, 0.0), (1e-4, f32::INFINITY)];
        assert!(wrong.iter().all(|(gain, offset)| Reflectance::new(*gain, *offset).is_none()));
        let mut scorer = crate::score::TileScorer::new(None).unwrap();
        let cloud = |reflectance| scorer.score(&tile(7000, reflectance).scored()).unwrap().fraction;
        assert_eq!([sentinel, None].map(cloud), [1.0, 0.0]);
    }

    #[test]
    fn parts_are_what_the_mask_leaves() {
        let tile = read_tile(&packet(64, 62, false).into()).unwrap();
        let mut mask = vec![100; 256];
        assert_eq!(tile.visible(&score(mask.clone(), 16, 16)), ProductKind::Tile);
        mask[..128].fill(140);
        assert_eq!(tile.visible(&score(mask.clone(), 16, 15)), ProductKind::Tile, "no such mask");
        let score = score(mask, 16, 16);
        assert_eq!(tile.visible(&score), ProductKind::Parts);
        assert_eq!(tile.visible(&TileScore::unknown()), ProductKind::Tile);
        let parts = tile.clone().product(ProductKind::Parts, score, Tai(1), 16_000, 0);
        assert!(parts.regions.is_empty());
        let back = Product::decode(&parts.encode().into()).unwrap();
        let (plane, visible) = (64 * 62, 32 * 64);
        for band in 0..4 {
            let of = |pixels: &Bytes| pixels.slice(band * plane + visible..(band + 1) * plane);
            assert_eq!(of(&back.pixels), of(&tile.pixels));
        }
    }
}
