//! Tiles of a sensor: what each codec makes of them, lossless and with a bounded error.

use crate::figures::{Contender, Figures, measure as rounds};
use tests::peers::{
    aec,
    samples::{SampleCodec, all},
};
use tests::recordings::scenes::Scenes;

/// What a codec made of a sensor's scenes.
pub struct TilesRow {
    pub scenes: &'static str,
    pub max_error: u16,
    pub figures: Figures,
}

/// All codecs that can keep this bound on a sensor's scenes.
pub fn measure(scenes: &Scenes, max_error: u16) -> Vec<TilesRow> {
    let codecs = all(max_error);
    let contenders: Vec<Contender<'_>> =
        codecs.iter().map(|codec| contender(codec, scenes)).collect();
    let mut found = rounds(&contenders, scenes.bytes());
    if max_error == 0 && aec::is_there() {
        found.push(libaec(scenes));
    }
    let row = |figures| TilesRow { scenes: scenes.name, max_error, figures };
    found.into_iter().map(row).collect()
}

fn contender<'a>(codec: &'a SampleCodec, scenes: &'a Scenes) -> Contender<'a> {
    let pack = move || scenes.tiles.iter().flat_map(|tile| (codec.pack)(tile)).collect();
    let unpack = move |packed: &[Vec<u8>]| {
        // Every tile of a sensor is cut into as many pieces.
        let pieces = packed.len() / scenes.tiles.len();
        for (packed, tile) in packed.chunks_exact(pieces).zip(&scenes.tiles) {
            (codec.check)(tile, packed);
        }
    };
    Contender { name: codec.name, pack: Box::new(pack), unpack: Box::new(unpack) }
}

fn libaec(scenes: &Scenes) -> Figures {
    let bits = scenes.tiles[0].shape.bits;
    let bands: Vec<&[u8]> =
        scenes.tiles.iter().flat_map(|tile| tile.bands.iter().map(Vec::as_slice)).collect();
    let pieces: Vec<usize> = bands.iter().map(|band| aec::size(bits, band)).collect();
    let (encode_mb_s, decode_mb_s) = aec::speeds(bits, &bands.concat());
    let ratio = scenes.bytes() as f64 / pieces.iter().sum::<usize>() as f64;
    Figures { name: "libaec, CCSDS 121", ratio, pieces, encode_mb_s, decode_mb_s }
}
