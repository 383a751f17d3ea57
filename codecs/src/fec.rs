//! Error detection and correction, in the order in which a receiver meets it.
//!
//! ```text
//! convolutional ─► ldpc ─► crc (frames, packets, stored units)
//! ```

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod kernels;
pub mod convolutional;
pub mod ldpc;
pub mod crc;
