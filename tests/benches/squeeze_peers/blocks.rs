//! Blocks of packets: what each codec makes of a recording, what a block's size costs in time, and
//! what a lost frame takes with it.

use crate::figures::{Contender, Figures, measure as rounds};
use tests::peers::packets::{PacketCodec, all};
use tests::recordings::packets::Recording;

/// Bytes that a frame of 1,115 bytes, usual for such missions, leaves for packets.
pub const FRAME_BYTES: usize = 1105;

/// What a codec made of a recording in blocks of so many packets.
pub struct BlocksRow {
    pub recording: &'static str,
    pub block_packets: usize,
    /// How long a block holds its first packet back, at the recording's own rate.
    pub held_back_s: Option<f64>,
    /// Share of the packets that is lost, over the share of the frames that is.
    pub loss: f64,
    pub figures: Figures,
}

/// All codecs on a recording in blocks of so many packets.
pub fn measure(recording: &Recording, block_packets: usize) -> Vec<BlocksRow> {
    let Recording { name, length, interval_s, ref data } = *recording;
    let blocks: Vec<&[u8]> = data.chunks(block_packets * length).collect();
    let codecs = all();
    let contenders: Vec<Contender<'_>> =
        codecs.iter().map(|codec| contender(codec, &blocks, length)).collect();
    let row = |figures: Figures| BlocksRow {
        recording: name,
        block_packets,
        held_back_s: interval_s.map(|interval| interval * (block_packets - 1) as f64),
        loss: loss(&figures.pieces, &blocks),
        figures,
    };
    rounds(&contenders, data.len()).into_iter().map(row).collect()
}

fn contender<'a>(codec: &'a PacketCodec, blocks: &'a [&'a [u8]], length: usize) -> Contender<'a> {
    let pack = move || blocks.iter().map(|block| (codec.pack)(block, length)).collect();
    let unpack = move |packed: &[Vec<u8>]| {
        for (packed, block) in packed.iter().zip(blocks) {
            assert!((codec.unpack)(packed, length) == *block, "{} lost something", codec.name);
        }
    };
    Contender { name: codec.name, pack: Box::new(pack), unpack: Box::new(unpack) }
}

/// In how many frames a packet's block has a piece, on average over packets and over where frames
/// begin: while few are lost, losing any of them is so many times as likely as losing one.
fn loss(pieces: &[usize], blocks: &[&[u8]]) -> f64 {
    // Blocks stand behind one another, as packets do in frames.
    let frames = |piece: &usize| (piece + FRAME_BYTES - 1) as f64 / FRAME_BYTES as f64;
    let packets = |block: &&[u8]| block.len() as f64;
    let touched: f64 = pieces.iter().zip(blocks).map(|(p, block)| frames(p) * packets(block)).sum();
    touched / blocks.iter().map(packets).sum::<f64>()
}
