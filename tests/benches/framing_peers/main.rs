//! Framing beside other libraries, on the same bytes in one run, on one core.
//!
//! ```text
//! path (units to packets) ─ block (Reed-Solomon) ─ plain (CRC, packets) ─ inner (Viterbi, LDPC)
//!    └────────────────────────────► figures (interleaved rounds, table, JSON)
//! ```
//!
//! `cargo bench -p tests --bench framing_peers [-- --json]` prints `what | ours | peer | ratio`,
//! or one JSON document. `ccsds` decodes in threads of its own; to give it no more than ours, hold
//! the process to one core: `taskset -c 0 cargo bench …` (the output says how many it had).

mod path;
mod block;
mod plain;
mod inner;
mod figures;

use figures::Table;

fn main() {
    let mut table = Table::default();
    path::measure(&mut table);
    block::measure(&mut table);
    plain::measure(&mut table);
    inner::measure(&mut table);
    table.print(std::env::args().any(|argument| argument == "--json"));
}
