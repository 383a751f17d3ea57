//! Telemetry made small for the downlink, and whole again on the ground.
//!
//! ```text
//! columns (self-contained blocks of packets of one APID and length)
//! rice (samples as the standard codes them)   image (tiles of several bands)
//! pocketplus (packet by packet, as the standard codes them; patented, off by default)
//! ```

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

#[cfg(feature = "zstd")]
pub mod columns;
#[cfg(feature = "zstd")]
mod modes;
mod bits;
pub mod rice;
pub mod image;
#[cfg(feature = "pocketplus")]
pub mod pocketplus;
