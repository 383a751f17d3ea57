//! What a mission's telemetry means: packets to parameters to judgements.
//!
//! ```text
//! text (errors with their line), task ─► file (TOML) ─► definition ─► plan (decodes) ─► limits (judges)
//! ```
//!
//! The definition is a model of containers, parameters, types, calibrators and limits, as XTCE
//! (CCSDS 660.0-B-2) has it; the TOML file is one way to fill it.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod text;
pub mod task;
mod file;
pub mod definition;
pub mod plan;
pub mod limits;

pub use definition::{Definition, ParameterId};
pub use file::DefinitionError;
pub use limits::{Level, Monitor, Transition};
pub use plan::{Plans, Raw, Sample};
