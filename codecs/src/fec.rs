//! Error detection and correction, in the order in which a receiver meets it.
//!
//! ```text
//! crc (frames, packets, stored units)
//! ```

pub mod crc;
