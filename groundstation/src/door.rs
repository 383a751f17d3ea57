//! Doors: what goes out of the station, to whom, in which form.
//!
//! ```text
//! archived unit ─► select ─► order (frames) ─► deframe (packets) ─► framing ─► outbox, rotation
//!    spec (what the station file says)              retry, pace, tempo: when the next may go
//! ```
//!
//! Each way out follows the archive on a thread of its own, so that a slow consumer delays no one:
//! what it did not take in time it gets from disk, or, where it asked for that, it is dropped and
//! counted. Everything here is without IO; `shell/doors` has the sockets and files.

pub mod spec;
pub mod order;
pub mod select;
pub mod framing;
pub mod outbox;
pub mod retry;
pub mod pace;
pub mod rotation;
pub mod tempo;
