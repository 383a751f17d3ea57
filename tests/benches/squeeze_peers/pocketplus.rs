//! POCKET+, packet by packet: what it makes of a recording, and what a lost frame takes with it.

use crate::blocks::{BlocksRow, FRAME_BYTES};
use crate::figures::{Contender, measure as rounds};
use codecs::squeeze::pocketplus::{PocketConfig, PocketDecoder, PocketEncoder};
use tests::recordings::packets::Recording;

const CODECS: [(&str, u8); 3] = [("POCKET+ R=1", 1), ("POCKET+ R=2", 2), ("POCKET+ R=7", 7)];
/// One frame in so many is lost: enough between two for a decoder to find its step again.
const FRAMES_APART: usize = 24;

/// Its rows, at no packets held back.
pub fn measure(recording: &Recording) -> Vec<BlocksRow> {
    let Recording { name, length, interval_s, ref data } = *recording;
    let contenders = CODECS.map(|(name, robustness)| {
        let config = PocketConfig::new(length, robustness);
        let unpack = move |coded: &[Vec<u8>]| restore(config, coded, data);
        Contender { name, pack: Box::new(move || code(config, data)), unpack: Box::new(unpack) }
    });
    let row = |(figures, (_, robustness))| BlocksRow {
        recording: name,
        block_packets: 1,
        held_back_s: interval_s.map(|_| 0.0),
        loss: loss(PocketConfig::new(length, robustness), data),
        figures,
    };
    rounds(&contenders, data.len()).into_iter().zip(CODECS).map(row).collect()
}

fn code(config: PocketConfig, data: &[u8]) -> Vec<Vec<u8>> {
    let mut encoder = PocketEncoder::new(config).expect("a configuration");
    let coded = data.chunks_exact(config.packet_bytes).map(|packet| {
        let mut coded = Vec::new();
        encoder.encode(packet, &mut coded).expect("a packet");
        coded
    });
    coded.collect()
}

fn restore(config: PocketConfig, coded: &[Vec<u8>], data: &[u8]) {
    let mut decoder = PocketDecoder::new(config.packet_bytes).expect("a length");
    let mut restored = Vec::new();
    for (coded, packet) in coded.iter().zip(data.chunks_exact(config.packet_bytes)) {
        restored.clear();
        decoder.decode(coded, &mut restored).expect("a packet of ours");
        assert!(restored == packet, "POCKET+ lost something");
    }
}

/// Share of the packets that is lost over the share of frames that is, over where frames are lost:
/// packets with a piece in a lost frame, and those that can't be restored without them.
fn loss(config: PocketConfig, data: &[u8]) -> f64 {
    let coded = code(config, data);
    // Packets stand behind one another in frames.
    let ends: Vec<usize> = coded
        .iter()
        .scan(0, |end, coded| {
            *end += coded.len();
            Some(*end)
        })
        .collect();
    let frames = ends.last().map_or(0, |end| end.div_ceil(FRAME_BYTES));
    let (mut missing, mut lost_frames) = (0, 0);
    for first in 0..FRAMES_APART {
        let is_lost = |frame: usize| frame % FRAMES_APART == first;
        lost_frames += (0..frames).filter(|frame| is_lost(*frame)).count();
        let mut decoder = PocketDecoder::new(config.packet_bytes).expect("a length");
        let mut restored = Vec::new();
        for (coded, end) in coded.iter().zip(&ends) {
            let mut pieces = (end - coded.len()) / FRAME_BYTES..=(end - 1) / FRAME_BYTES;
            restored.clear();
            if pieces.any(is_lost) {
                decoder.lost(1);
                missing += 1;
            } else if decoder.decode(coded, &mut restored).is_err() {
                missing += 1;
            }
        }
    }
    (missing as f64 / coded.len() as f64) / (lost_frames as f64 / frames as f64)
}
