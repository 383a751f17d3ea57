//! Squeezed blocks beside other compressors, on recorded packets in one run, on one core.
//!
//! ```text
//! recordings ─► peers (and ours) ─► figures (interleaved rounds, table, JSON)
//! ```
//!
//! `cargo bench -p tests --bench squeeze_peers [-- --json]` prints, for each number of packets a
//! block, what each codec makes of it: ratio (headers counted), megabytes a CPU-second each way.
//! Every codec gets the packets of one block and no more, so that rows of one block size are of
//! equal latency: a block of n packets holds its first one back for n - 1 more. All are lossless,
//! and proved so here. `libaec` is measured where its command `aec` is on the path, by ratio
//! only: a process a block would time the system.

mod recordings;
mod peers;
mod figures;

/// Packets of a block: from live to leisurely.
const BLOCK_PACKETS: [usize; 6] = [8, 16, 32, 64, 128, 512];

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let mut rows = Vec::new();
    for recording in recordings::all() {
        for packets in BLOCK_PACKETS {
            rows.extend(figures::measure(&recording, packets));
        }
    }
    figures::print(&rows, json);
}
