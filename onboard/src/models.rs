//! Models on board: which package does which task, how it got there, and what it may cost.
//!
//! ```text
//! piece ─► upload ─► slots (A, B; journal) ─► package ─► governed ─► score
//!            files ──┘   thresholds           shadow ───┘   └ budget
//! ```
//!
//! What is kept is kept by [`files::Files`], so that a test can cut the power at every write. The
//! process that runs a model is in `shell`.

pub mod task;
pub mod files;
pub mod journal;
pub mod upload;
pub mod thresholds;
pub mod slots;
pub mod order;
pub mod budget;
pub mod governed;
#[cfg(test)]
pub(crate) mod forgetful;
#[cfg(test)]
mod tests;

pub use budget::{Budget, Suspension};
pub use files::Files;
pub use governed::Governed;
pub use order::ModelOrder;
pub use slots::{SlotError, Slots};
pub use task::{Slot, Task};
pub use thresholds::Thresholds;
