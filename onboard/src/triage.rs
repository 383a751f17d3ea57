//! Triage: what each thing is worth, and what goes down of it.
//!
//! ```text
//! tile, block ─► case (class, score, age, contact left) ─► policy: first rule that fits
//!   ─► first | summary | compressed | keep | drop ─► value, deadline ─► store
//! ```
//!
//! The value decides twice: what goes first when there is contact, and what is given up last when
//! the store is full. What does not go down says so in a void.

pub mod policy;
pub mod tile;

pub use policy::{Action, Case, Class, Decision, Original, Policy, Rule};
pub use tile::{Place, Reflectance, TilePacket, read_tile};

/// Events of the flight process itself.
pub const RECORDS: u8 = 230;
/// Realtime frames.
pub const REALTIME: u8 = 220;
/// What a policy sends first, where its rule says no value.
pub const FIRST: u8 = 210;
/// Telemetry that a score calls anomalous.
pub const ANOMALOUS: u8 = 200;
/// Recorded housekeeping.
pub const HOUSEKEEPING: u8 = 140;
/// Reports of how much is still on board: out of date soon, and small.
pub const BACKLOG: u8 = 145;
/// Summaries of tiles that stay.
pub const SUMMARY: u8 = 110;
/// Tiles without a cloud.
pub const CLEAR: u8 = 100;
/// Tiles that are all cloud, where they go down nevertheless.
pub const OVERCAST: u8 = 70;
/// High-rate telemetry.
pub const BULK: u8 = 60;
