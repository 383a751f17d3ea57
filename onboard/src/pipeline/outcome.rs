//! What comes out of the pipeline.

use bytes::Bytes;
use codecs::{
    ids::{Channel, Codec, SpacecraftId},
    time::Tai,
};
use serde_json::Value;

use crate::store::NewUnit;

/// What the store shall do.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Number and keep it.
    Keep {
        /// The unit.
        unit: NewUnit,
        /// Packets, frames or tiles that are lost with it: none for a copy or a record.
        packets: u64,
    },
    /// Number it and say in a void that triage left it out.
    LeaveOut {
        /// Its channel.
        channel: Channel,
        /// Packets, or the tile, that it was.
        packets: u64,
        /// Bytes that it had.
        bytes: u64,
        /// When it was taken.
        captured: Tai,
    },
    /// All of it in one commit, with a small value that says how far a file was taken.
    Together {
        /// What was made of a piece of the file.
        made: Vec<Outcome>,
        /// Slot of the value.
        slot: u32,
        /// The value.
        note: Bytes,
    },
}

/// When something was taken, for how long it is worth something, and how many packets it is.
#[derive(Clone, Copy)]
pub(super) struct Due {
    pub captured: Tai,
    pub deadline_s: u32,
    pub packets: u64,
}

/// What the pipeline did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PipelineCounts {
    /// Packets, frames and tiles of the sources that were taken.
    pub taken: u64,
    /// Packets that the flight made of itself.
    pub own: u64,
    /// Tiles scored.
    pub tiles: u64,
    /// Tiles that go down as a summary, stay on board, or are dropped.
    pub left_out: u64,
    /// Blocks of telemetry that stay on board or are dropped.
    pub blocks_left_out: u64,
    /// Anomalies told.
    pub anomalies: u64,
    /// Blocks made.
    pub blocks: u64,
    /// Frames made or passed on.
    pub frames: u64,
    /// Times that a model was suspended.
    pub suspensions: u32,
}

/// The unit that tells something to the ground; `said` is an object with an `event`.
pub fn record(spacecraft: SpacecraftId, mut said: Value, at: Tai, priority: u8) -> NewUnit {
    if let Value::Object(fields) = &mut said {
        fields.insert("time".into(), at.to_rfc3339().into());
        fields.insert("time_ns".into(), at.0.into());
    }
    let bytes = said.to_string().into_bytes().into();
    let (channel, codec) = (Channel::RECORDS, Codec::Record);
    NewUnit { spacecraft, channel, codec, priority, captured: at, deadline_s: 0, bytes }
}
