//! Models on board: which package does which task, how it got there, and what it may cost.
//!
//! ```text
//! piece ─► upload ─► slots (A, B; journal) ─► package ─► governed ─► score
//!            files ──┘                        shadow ───┘   └ budget
//! ```
//!
//! What is kept is kept by [`files::Files`], so that a test can cut the power at every write. The
//! process that runs a model is in `shell`.

pub mod task;
pub mod files;
pub mod journal;
pub mod upload;
pub mod slots;
pub mod order;
#[cfg(test)]
mod forgetful;
#[cfg(test)]
mod tests;

pub use files::Files;
pub use order::ModelOrder;
pub use slots::{SlotError, Slots};
pub use task::{Slot, Task};
