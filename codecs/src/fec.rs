//! Error detection and correction, in the order in which a receiver meets it.
//!
//! ```text
//! reed_solomon (blocks of codewords) ─► crc (frames, packets, stored units)
//! kernels: what both do with wide registers
//! ```

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod field;
mod kernels;
pub mod reed_solomon;
pub mod crc;
