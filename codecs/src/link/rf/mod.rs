//! Custody where there is no connection: units in space packets down, signed packets up.
//!
//! ```text
//! store ─► line ─► split ─► packets ─► frames ··· radio ··· frames ─► packets ─► rebuild ─► ledger
//! store ◄─ line ◄─ signed ◄────────── TC frames ········· TC frames ◄──────── signed ◄── say
//! ```
//!
//! `docs/link-protocol.md` gives every byte. Frames are [`crate::frame`]'s, bearers the caller's.

pub mod part;
pub mod split;
pub mod rebuild;
pub mod signed;
pub mod line;
pub mod say;

use crate::ids::Apid;

/// Application whose packets carry parts, where nothing else is configured.
pub const PARTS_APID: Apid = Apid(0x7D0);
/// Application whose packets carry what a domain signed, where nothing else is configured.
pub const SIGNED_APID: Apid = Apid(0x7D1);

#[cfg(test)]
mod pair_tests;
