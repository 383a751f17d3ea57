//! Recorded packets in the blocks that are flown: what the codec alone is worth.

use tests::peers::packets::{PacketCodec, all};
use tests::recordings::packets;

/// Packets of a block, as the flight process's configuration has them.
pub const BLOCK_PACKETS: usize = 64;
/// Ours, as flown.
pub const OURS: &str = "ours, dense";

/// One recording.
pub struct Row {
    pub recording: &'static str,
    pub packets: usize,
    /// Bytes as they were recorded, by the best other codec (which), by ours.
    pub raw: usize,
    pub other: (&'static str, usize),
    pub ours: usize,
}

/// The recordings that are there.
pub fn measure() -> Vec<Row> {
    let codecs = all();
    let row = |recording: packets::Recording| {
        let size = |codec: &PacketCodec| -> usize {
            let blocks = recording.data.chunks(BLOCK_PACKETS * recording.length);
            blocks.map(|block| (codec.pack)(block, recording.length).len()).sum()
        };
        let others = codecs.iter().filter(|codec| !codec.ours && !codec.name.starts_with("pco"));
        let ours = codecs.iter().find(|codec| codec.name == OURS).map_or(0, size);
        let other = others.map(|codec| (codec.name, size(codec))).min_by_key(|(_, size)| *size);
        Row {
            recording: recording.name,
            packets: recording.data.len() / recording.length,
            raw: recording.data.len(),
            other: other.unwrap_or_default(),
            ours,
        }
    };
    packets::all().into_iter().map(row).collect()
}
