//! The demonstration: the real programs, a real orbit, real sockets, and a reckoning at the end.
//!
//! ```text
//! scene ─► shell (files, processes, feed, pass) ─► reckoning
//! ```
//!
//! `scene` and `reckoning` decide; `shell` acts.

pub mod scene;
pub mod shell;
pub mod reckoning;
