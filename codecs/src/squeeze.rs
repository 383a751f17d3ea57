//! Telemetry made small for the downlink, and whole again on the ground.
//!
//! ```text
//! columns (self-contained blocks of packets of one APID and length)
//! ```

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod columns;
mod modes;
