//! The edge: at the antenna, between a modem and the station.
//!
//! ```text
//! config ─► intake (bytes ─► receptions), recorded (when) ─► label (whose, which channel) ─► spool ─► link client
//!             └ kiss                           taken, progress (of files) ────┘  └ tally
//! modem ◄─ radiate (units for the air, paced) ◄─────────────────────────────── link client
//! ```
//!
//! An edge numbers what it hears under an origin of its own, syncs it to a spool, and only then
//! sends it. Custody is as on board: the spool is the spacecraft's store, the client the
//! spacecraft's client. Sockets, files and clock are in `shell::edge`.

pub mod config;
pub mod kiss;
pub mod intake;
pub mod recorded;
pub mod label;
pub mod spool;
pub mod taken;
pub mod progress;
pub mod finished;
pub mod radiate;
pub mod tally;
