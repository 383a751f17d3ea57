//! Error detection and correction, in the order in which a receiver meets it.
//!
//! ```text
//! convolutional ─► ldpc ─► reed_solomon (blocks of codewords) ─► crc (frames, packets, units)
//! kernels: what they do with wide registers
//! ```

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod field;
pub mod kernels;
pub mod convolutional;
pub mod ldpc;
pub mod reed_solomon;
pub mod crc;
