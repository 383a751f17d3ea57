//! Telemetry made small for the downlink, and whole again on the ground.
//!
//! ```text
//! columns (self-contained blocks of packets of one APID and length)
//! ```

pub mod columns;
mod modes;
