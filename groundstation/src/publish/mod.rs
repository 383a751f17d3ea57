//! What is live: the pipeline tells [`Event`]s, [`Live`] keeps bounded state, the page reads it.
//!
//! ```text
//! event ─► packets, latency, history, view ─► craft, disk ─► live ─► feed (shared handle)
//! ```
//!
//! [`Live`] has no clock and does no IO. Every history has a named bound; what is beyond it is
//! forgotten here and still in the archive.

mod event;
mod packets;
mod latency;
mod history;
pub mod view;
mod craft;
mod disk;
mod live;
mod feed;
pub mod memory;

pub use disk::{DiskState, DiskView, Look, WriteTrouble};
pub use event::{
    AlarmState, Decision, Event, JobState, Level, Limits, Mission, Outcome, PacketIdentity,
    ParameterInfo, Quality, Score,
};
pub use feed::Feed;
pub use latency::{Latency, Quantiles};
pub use live::{CONSERVED_MAX, Live};
pub use packets::PacketIdentities;
pub use view::{Conserved, Cursor, DoorView, RadioView, Snapshot};

#[cfg(test)]
mod tests;
