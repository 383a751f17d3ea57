//! What the pipeline tells the page: one enum, so that a new teller needs no new plumbing.

use super::disk::{Look, WriteTrouble};
use super::view::{DoorView, RadioView};
use crate::receipt::SessionId;
use bytes::Bytes;
use codecs::ids::{
    Apid, Channel, Codec, KeyPrefix, Origin, RangeSet, SeqRange, SpacecraftId, UnitKey,
};
use codecs::time::Tai;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Something happened that an operator may want to see.
///
/// Times of reception and publication are the station's own clock (simulated in a demo);
/// `time` and `captured` are the spacecraft's.
#[derive(Clone, Debug)]
pub enum Event {
    /// What the mission definition says, once per spacecraft at start; names what follows.
    Mission(Mission),
    /// A session of the spacecraft was admitted.
    LinkOpened {
        /// Which spacecraft.
        spacecraft: SpacecraftId,
        /// The daemon's number of the session: a spacecraft may be heard through several at once.
        session: SessionId,
        /// Address of the peer, as the operator knows it.
        peer: String,
        /// Round trip as the transport estimates it, in milliseconds.
        rtt_ms: f64,
        /// When the session was admitted.
        at: Tai,
    },
    /// What the link does now; about once a second while it is open.
    LinkSample {
        /// Which spacecraft.
        spacecraft: SpacecraftId,
        /// Which session.
        session: SessionId,
        /// Smoothed round trip in milliseconds.
        rtt_ms: f64,
        /// Received rate since the last sample, in bits a second.
        rate_bps: f64,
        /// Bytes received on this session so far.
        bytes: u64,
        /// When it was measured.
        at: Tai,
    },
    /// The session ended, with the reason in words.
    LinkClosed {
        /// Which spacecraft.
        spacecraft: SpacecraftId,
        /// Which session.
        session: SessionId,
        /// Why, for people.
        reason: String,
        /// When it ended.
        at: Tai,
    },
    /// A frame was heard live, without custody; the same frame comes again as a unit.
    QuickLook {
        /// Which spacecraft, as the sender says.
        spacecraft: SpacecraftId,
        /// Earth receive time.
        at: Tai,
    },
    /// Live frames that were not looked at.
    QuickLookDropped {
        /// The short word for it.
        reason: &'static str,
        /// How many.
        count: u64,
    },
    /// A write of the archive did not reach the disk, or does again.
    DiskWrote {
        /// Why not.
        trouble: Option<WriteTrouble>,
        /// When.
        at: Tai,
    },
    /// Someone looked at the archive's folder.
    DiskLooked {
        /// What was found.
        look: Look,
        /// Less room than this is nearly none.
        least_bytes: u64,
        /// When.
        at: Tai,
    },
    /// Datagrams on the QUIC port that belong to no connection and begin none.
    DatagramsDropped {
        /// The short word for it.
        reason: &'static str,
        /// How many.
        count: u64,
    },
    /// What a store says, unit by unit, that it holds and this station does not.
    OnBoard {
        /// Which spacecraft.
        spacecraft: SpacecraftId,
        /// Whose store: its own, or that of an edge.
        origin: Origin,
        /// Which units.
        held: BTreeMap<KeyPrefix, RangeSet>,
    },
    /// What the spacecraft says is still on board and not receipted.
    Backlog {
        /// Which spacecraft.
        spacecraft: SpacecraftId,
        /// Whose store.
        origin: Origin,
        /// Units not yet receipted.
        units: u64,
        /// Their bytes; 0 where the spacecraft did not say.
        bytes: u64,
    },
    /// One step of the conservation law: everything received ends in exactly one other outcome.
    Custody {
        /// Whose counter; none where no object of an admitted one told.
        prefix: Option<KeyPrefix>,
        /// What became of it.
        outcome: Outcome,
        /// How many units.
        count: u64,
    },
    /// Someone was turned away before any unit of theirs was judged.
    PeerRejected {
        /// The short word for it.
        reason: &'static str,
    },
    /// Segments of the archive met a fate after their commits.
    Segments {
        /// The short word for it.
        fate: &'static str,
        /// How many.
        count: u64,
    },
    /// A unit is in the archive.
    Unit {
        /// Its name.
        key: UnitKey,
        /// Format of its inside.
        codec: Codec,
        /// Its length in bytes.
        bytes: u64,
        /// Earth receive time.
        received: Tai,
        /// Whether it was read back from the archive after a start.
        replayed: bool,
    },
    /// Sequences that were left out on purpose, as a void says; they are not awaited.
    Voided {
        /// Whose counter.
        prefix: KeyPrefix,
        /// Which sequences.
        range: SeqRange,
        /// Why, in the spacecraft's words.
        reason: String,
    },
    /// Units are synced, and the session that brought them is told.
    Receipted {
        /// Whose counter.
        prefix: KeyPrefix,
        /// How many units, duplicates included.
        count: u64,
    },
    /// Units are synced, and the session that brought them is gone: the next welcome of their store
    /// says that they are held.
    LeftToWelcome {
        /// Whose counter.
        prefix: KeyPrefix,
        /// How many units, duplicates included.
        count: u64,
    },
    /// A transfer frame was judged.
    Frame {
        /// Which spacecraft.
        spacecraft: SpacecraftId,
        /// Virtual channel.
        vc: u8,
        /// How it arrived.
        quality: Quality,
        /// Frames lost between the one before and this one, by the frame counter.
        gap: u64,
        /// It was told as lost by an earlier event, and came late.
        found: bool,
        /// Earth receive time.
        at: Tai,
    },
    /// A space packet came out; told for every copy, counted once by identity.
    Packet(PacketIdentity),
    /// A parameter has a value; told once a packet identity.
    Parameter {
        /// Which spacecraft.
        spacecraft: SpacecraftId,
        /// Name in the mission definition.
        name: Arc<str>,
        /// Engineering unit; empty where it has none.
        unit: Arc<str>,
        /// Onboard time of the value.
        time: Tai,
        /// Engineering value.
        value: f64,
        /// Text of an enumeration.
        text: Option<Arc<str>>,
        /// Judgement of the limits.
        level: Level,
    },
    /// An alarm was raised or cleared; the same `id` replaces what was told before.
    Alarm {
        /// Stable identity: derived from packet identity and parameter, so a replay repeats it.
        id: String,
        /// Which spacecraft.
        spacecraft: SpacecraftId,
        /// Parameter or part it is about.
        parameter: String,
        /// One plain sentence.
        message: String,
        /// How bad.
        level: Level,
        /// Onboard time of the transition.
        time: Tai,
        /// Raised or cleared.
        state: AlarmState,
    },
    /// A payload product or its summary arrived; the same `id` replaces what was told before.
    Product {
        /// Stable identity.
        id: String,
        /// Which spacecraft.
        spacecraft: SpacecraftId,
        /// Kind in the mission definition.
        kind: String,
        /// When it was captured.
        time: Tai,
        /// Latitude in degrees.
        lat: f64,
        /// Longitude in degrees.
        lon: f64,
        /// What the onboard model gave (cloud fraction 0 to 1), and what that number is.
        score: Option<Score>,
        /// What was decided on board.
        decision: Decision,
        /// Thumbnail as PNG; empty where there is none.
        thumbnail_png: Bytes,
        /// Bytes that the sensor made.
        source_bytes: u64,
        /// Bytes that came down.
        sent_bytes: u64,
    },
    /// Heavy work changed its state; the same `id` replaces what was told before.
    Job {
        /// Stable identity.
        id: String,
        /// Task contract, such as `cloud-mask/1`.
        task: String,
        /// Pool that has it; empty while none does.
        pool: String,
        /// Where it stands.
        state: JobState,
        /// Time in the queue, in milliseconds.
        queue_ms: f64,
        /// Time running, in milliseconds.
        run_ms: f64,
        /// Price in the station's currency; 0 where the pool is free.
        cost: f64,
        /// Result or reason, in a few words.
        result: String,
        /// Trace, 32 hexadecimal digits: the same from frame to insight.
        trace: String,
        /// When this state was reached.
        time: Tai,
    },
    /// What a door did; replaces what was told of it before.
    Door(DoorView),
    /// A door is no longer part of the station.
    DoorClosed {
        /// Which.
        name: String,
    },
    /// What came of what a radio sent; replaces what was told of it before.
    Radio(RadioView),
    /// One captured thing became insight; never told for replayed units.
    Insight {
        /// Which spacecraft.
        spacecraft: SpacecraftId,
        /// When the sensor measured it.
        captured: Tai,
        /// When it was published here.
        published: Tai,
    },
}

/// What a unit or parameter is called, for the page; from the mission definition.
#[derive(Clone, Debug)]
pub struct Mission {
    /// Which spacecraft.
    pub spacecraft: SpacecraftId,
    /// Its name, such as `SKY-7`.
    pub name: String,
    /// Names of channels.
    pub channels: Vec<(Channel, String)>,
    /// Parameters with limits.
    pub parameters: Vec<ParameterInfo>,
}

/// Static facts about a parameter.
#[derive(Clone, Debug)]
pub struct ParameterInfo {
    /// Name in the mission definition.
    pub name: Arc<str>,
    /// Engineering unit; empty where it has none.
    pub unit: Arc<str>,
    /// Limits, where it has any.
    pub limits: Option<Limits>,
}

/// Limits in engineering values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Red below.
    pub red_low: Option<f64>,
    /// Yellow below.
    pub yellow_low: Option<f64>,
    /// Yellow above.
    pub yellow_high: Option<f64>,
    /// Red above.
    pub red_high: Option<f64>,
}

/// Identity of a space packet: the same packet may come down in a frame and in a squeezed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketIdentity {
    /// Which spacecraft.
    pub spacecraft: SpacecraftId,
    /// Application process.
    pub apid: Apid,
    /// Onboard time of its secondary header.
    pub time: Tai,
    /// Sequence count of its primary header.
    pub sequence_count: u16,
}

/// What an onboard model said about a product.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// What was scored, such as `cloud`.
    pub label: String,
    /// Between 0 and 1.
    pub value: f64,
}

/// Where a received unit ended (the conservation law of the archive).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It came in; every received unit also gets one of the others.
    Received,
    /// New, and synced to the archive.
    Archived,
    /// The same key with the same bytes as before.
    Duplicate,
    /// The same key with other bytes: kept aside, never receipted.
    Conflict,
    /// Not accepted, for a reason of [`Outcome::Rejected`]'s short word.
    Rejected(&'static str),
    /// Dropped under pressure, with the short word for it.
    Shed(&'static str),
}

impl Outcome {
    /// Its word and its reason, for labels; the reason may be empty.
    pub const fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::Received => ("received", ""),
            Self::Archived => ("archived", ""),
            Self::Duplicate => ("duplicate", ""),
            Self::Conflict => ("conflict", ""),
            Self::Rejected(reason) => ("rejected", reason),
            Self::Shed(reason) => ("shed", reason),
        }
    }
}

/// How a frame arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    /// As sent.
    Good,
    /// Errors were corrected.
    Corrected,
    /// Damaged beyond correction.
    Erred,
}

/// Judgement of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Within limits, or without any.
    Normal,
    /// Outside the yellow limits.
    Yellow,
    /// Outside the red limits.
    Red,
}

/// Whether an alarm stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlarmState {
    /// It stands.
    Raised,
    /// It stood, and is over.
    Cleared,
}

/// What the spacecraft decided to do with a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The whole product came down.
    Sent,
    /// Only a summary came down; the whole was voided on purpose.
    Summary,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// In the queue of a pool.
    Queued,
    /// A pool works on it.
    Running,
    /// It has a result.
    Done,
    /// It ended without one; `result` says why.
    Failed,
    /// No pool can take it now; it is kept and tried again.
    Waiting,
}
