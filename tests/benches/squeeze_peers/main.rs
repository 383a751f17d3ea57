//! Squeezed blocks and tiles beside other compressors, on recorded data in one run, on one core.
//!
//! ```text
//! recorded packets ─► blocks ─┐
//! recorded scenes ─► tiles ───┴► figures (interleaved rounds) ─► tables, JSON
//! ```
//!
//! `cargo bench -p tests --bench squeeze_peers [-- --json]` prints, for each number of packets a
//! block, what each codec makes of it: ratio (headers counted), megabytes a CPU-second each way.
//! Every codec gets the packets of one block and no more, so that rows of one block size are of
//! equal latency: a block of n packets holds its first one back for n - 1 more, in seconds at the
//! recording's own rate. A lost frame takes every block that it has a piece of, so that a share of
//! lost frames loses a larger share of packets: `loss` says how many times larger, and the table at
//! equal loss lets each codec choose its block size under such a bound. All is decoded here and
//! compared with what went in.
//!
//! Beside them, where they can be had: libaec through its command `aec`, JPEG-LS with
//! `--features jpeg-ls` (builds CharLS: needs cmake and a C++ compiler), JPEG XL with
//! `--features jpeg-xl`, and POCKET+ with `--features pocketplus`, packet by packet, so that it
//! holds none back (patented by ESA, whose licence its use needs: docs/standards.md).

mod blocks;
#[cfg(feature = "pocketplus")]
mod pocketplus;
mod tiles;
mod figures;
mod tables;

use tests::recordings::{packets, scenes};

/// Packets of a block: from live to leisurely.
const BLOCK_PACKETS: [usize; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
/// Largest errors of a sample: lossless, and what a radiometric product may bear.
const MAX_ERRORS: [u16; 4] = [0, 1, 2, 4];

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let mut found = tables::Found::default();
    for recording in packets::all() {
        #[cfg(feature = "pocketplus")]
        found.blocks.extend(pocketplus::measure(&recording));
        for packets in BLOCK_PACKETS {
            found.blocks.extend(blocks::measure(&recording, packets));
        }
    }
    for scenes in scenes::all() {
        for max_error in MAX_ERRORS {
            found.tiles.extend(tiles::measure(&scenes, max_error));
        }
    }
    found.print(json);
}
