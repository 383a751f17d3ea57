//! The ground's end of the radio bearer: units out of the packets that frames carry, and what is
//! said up.
//!
//! ```text
//! frames ─► merged view ─► deframe ─► parts ─► hear ─► admitted, archived as the spacecraft's own
//! modem ◄─ CLTUs ◄─ TC frames ◄─ signed packets ◄─ say ◄─ durable ─────────────┘
//! ```
//!
//! `docs/link-protocol.md` gives every byte, `docs/rf.md` says how it is set up.

pub mod config;
pub mod hear;
pub mod say;

use codecs::link::{MAX_UNIT_BYTES, rf::rebuild::BYTES_MAX};

/// How often it is looked at what is lost, to ask for it.
pub const LOSSES_EVERY: Duration = Duration::from_secs(10);
/// Units that came whole and wait for the archive; who is at the bound waits.
pub const HEARD_MAX: usize = 8;
/// What a radio may take of memory: parts, and its share of whole units.
pub const RADIO_BYTES_MAX: usize = BYTES_MAX + HEARD_MAX * MAX_UNIT_BYTES;

use std::time::Duration;

pub use config::{Radio, RfConfig};
pub use hear::{Ear, Heard};
