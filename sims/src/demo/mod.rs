//! The demonstration: the real programs, a real orbit, real sockets, and a reckoning at the end.
//!
//! ```text
//! scene ─► shell (files, processes, feed, pass, orders) ─► reckoning ─► summary
//! ```
//!
//! `scene`, `orders`, `reckoning` and `summary` decide; `shell` acts.

pub mod scene;
pub mod orders;
pub mod shell;
pub mod reckoning;
pub mod summary;
