//! What sensors hand to the flight software.

use crate::input::Input;
use ::onboard::config::{Config, LEAST};
use ::onboard::pipeline::{Outcome, Pipeline};
use ::onboard::score::{TileScore, TileScorer};
use ::onboard::source::parse;
use ::onboard::store::KEPT;
use ::onboard::triage::read_tile;
use bytes::Bytes;
use codecs::product::{Product, ProductKind};
use codecs::time::Tai;
use std::path::Path;

/// Small blocks, so that inputs close some.
const BLOCKS: &str = "[squeeze]\nblock_packets = 3\nlevel = \"fast\"\n";

/// A tile packet's data: what is read adds up, and a product of it comes back.
pub fn imager(data: &[u8]) {
    let Some(tile) = read_tile(&Bytes::copy_from_slice(data)) else { return };
    assert!(tile.is_whole());
    let scored = tile.scored();
    let sides = usize::from(scored.width) * usize::from(scored.height);
    assert_eq!(scored.pixels.len(), sides * usize::from(tile.bands));
    if tile.pixels.len() > 4096 {
        return;
    }
    let score = match TileScorer::new(None).map(|mut scorer| scorer.score(&scored)) {
        Ok(Ok(score)) => score,
        _ => TileScore::unknown(),
    };
    for kind in [ProductKind::Tile, ProductKind::Summary] {
        let product = tile.clone().product(kind, score.clone(), Tai(1), data.len(), 0);
        let bytes = Bytes::from(product.encode());
        let back = Product::decode(&bytes).expect("a product of ours");
        assert_eq!((&back.pixels, &back.mask), (&product.pixels, &product.mask));
        assert!(kind == ProductKind::Summary || back.pixels == tile.pixels);
    }
}

/// Datagrams of a source: each is taken or counted, and each tile kept, summed up or voided.
pub fn sensors(data: &[u8]) {
    let mut input = Input(data);
    let piece = 1 + usize::from(input.byte());
    let text = format!("{LEAST}{BLOCKS}");
    let config = Config::parse("onboard.toml", &text, Path::new("")).expect("a file of ours");
    let tiles = TileScorer::new(None).expect("statistics");
    let mut pipeline = Pipeline::new(&config, 0, None, tiles).expect("a pipeline");
    let (mut given, mut taken) = (0, 0);
    for (at, datagram) in input.0.chunks(piece).enumerate() {
        given += 1;
        let bytes = Bytes::copy_from_slice(datagram);
        let whole = parse(bytes.clone()).is_ok();
        let before = pipeline.source().taken;
        let _ = pipeline.datagram(bytes, at as u64 * 1_000_000_000);
        taken = pipeline.source().taken;
        assert!(whole || taken == before, "what is no packet is not taken");
    }
    pipeline.finish(u64::MAX / 2);
    let malformed: u64 = pipeline.source().malformed.values().sum();
    assert_eq!(taken + malformed, given, "nothing is dropped uncounted");
    let mut products = 0;
    while let Some(outcome) = pipeline.poll() {
        match outcome {
            Outcome::Keep { unit, .. } if unit.codec == codecs::ids::Codec::Product => {
                products += u64::from(unit.priority > KEPT);
                assert!(Product::decode(&unit.bytes).is_ok());
            }
            Outcome::Keep { .. } | Outcome::LeaveOut { .. } | Outcome::Together { .. } => {}
        }
    }
    assert_eq!(products, pipeline.counts().tiles, "a tile or its summary");
}
