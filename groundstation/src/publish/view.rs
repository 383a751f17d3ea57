//! What the page reads: JSON shapes, times in milliseconds of UTC since 1970.
//!
//! One shape serves both the snapshot and the changes: a change holds every small number again and
//! only those items of a history that are new or different. Keys and times make it idempotent.

use super::disk::DiskView;
use super::event::{AlarmState, Decision, JobState, Level, Limits};
use super::history::Revision;
use super::latency::Quantiles;
use codecs::ids::KeyPrefix;
use serde::Serialize;
use std::collections::BTreeMap;

/// Where a reader stands; the default has seen nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub(super) Option<Revision>);

/// Everything live, or what changed of it.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// Whether this is everything; otherwise it is to be merged into what the reader has.
    pub full: bool,
    /// Counts changes.
    pub revision: Revision,
    /// Spacecraft by number.
    pub spacecraft: Vec<SpacecraftView>,
    /// Alarms by identity.
    pub alarms: Vec<AlarmView>,
    /// Products by identity.
    pub products: Vec<ProductView>,
    /// Heavy work by identity.
    pub jobs: Vec<JobView>,
    /// Doors by name.
    pub doors: Vec<DoorView>,
    /// Radios by spacecraft.
    pub radios: Vec<RadioView>,
    /// The disk of the archive.
    pub disk: DiskView,
    /// Sums since the start of the daemon.
    pub counts: Counts,
    /// The same law by counter of units; for metrics, since a page has no use for it.
    #[serde(skip)]
    pub conserved: Conserved,
    /// From capture to publication.
    pub capture_to_insight_ms: InsightView,
}

/// Units by counter, outcome and reason; none is everything beyond the bound on counters.
pub type Conserved = BTreeMap<Option<KeyPrefix>, BTreeMap<(&'static str, &'static str), u64>>;

/// Sums since the start of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Units that came in.
    pub received: u64,
    /// Units new in the archive.
    pub archived: u64,
    /// Units that came again with the same bytes.
    pub duplicate: u64,
    /// Units that came again with other bytes.
    pub conflict: u64,
    /// Units not accepted, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Peers turned away before any unit of theirs was judged, by reason.
    pub peers_rejected: BTreeMap<&'static str, u64>,
    /// Segments sealed by age, stored elsewhere, let go; and what failed of it.
    pub segments: BTreeMap<&'static str, u64>,
    /// Units dropped under pressure, by reason.
    pub shed: BTreeMap<&'static str, u64>,
    /// Frames heard live, without custody.
    pub quick_looks: u64,
    /// Live frames not looked at, by reason.
    pub quick_looks_dropped: BTreeMap<&'static str, u64>,
    /// Datagrams on the QUIC port that belong to no connection and begin none, by reason.
    pub datagrams_dropped: BTreeMap<&'static str, u64>,
    /// Units read back from the archive at start.
    pub replayed: u64,
    /// Units receipted to the session that brought them, duplicates included.
    pub receipted: u64,
    /// Units whose session was gone when they were synced, duplicates included: the next welcome
    /// of their store says that they are held. With `receipted`, all that is archived or duplicate.
    pub left_to_welcome: u64,
    /// Packets, counted once by identity.
    pub packets: u64,
    /// Copies of packets that had come before.
    pub packet_copies: u64,
    /// Parameter values.
    pub parameters: u64,
    /// Alarms raised.
    pub alarms: u64,
    /// Products and summaries.
    pub products: u64,
    /// Jobs with a result.
    pub jobs_done: u64,
    /// Jobs that ended without one.
    pub jobs_failed: u64,
    /// Changes not shown because a bound on names was met.
    pub not_shown: u64,
}

impl Counts {
    /// Received units whose end is not yet told: 0 at every quiet moment.
    pub fn in_flight(&self) -> i64 {
        let ended = self.archived
            + self.duplicate
            + self.conflict
            + self.rejected.values().sum::<u64>()
            + self.shed.values().sum::<u64>();
        self.received as i64 - ended as i64
    }
}

/// A door: what went out of it since the start of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DoorView {
    /// Its name.
    pub name: String,
    /// Where it leads.
    pub to: String,
    /// `frames` or `packets`.
    pub sends: String,
    /// Connections that are up; 1 for a socket or file that is open.
    pub open: u64,
    /// Connections made.
    pub connects: u64,
    /// Frames or packets handed out; those that a broken connection lost count again.
    pub sent: u64,
    /// Bytes of those in their form.
    pub sent_bytes: u64,
    /// What was chosen and did not go out, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// What went wrong last, where something does.
    pub error: Option<String>,
}

/// A spacecraft's radio: what came of what it sent since the start of the daemon, what was read
/// back then included.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RadioView {
    /// The mission's number of the spacecraft.
    pub spacecraft: u16,
    /// Parts of units.
    pub parts: u64,
    /// Of them, those that were held already.
    pub parts_repeated: u64,
    /// Units rebuilt whole.
    pub rebuilt: u64,
    /// Parts and units that led to nothing, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Units newly durable in the class that makes them reclaimable on board, or again.
    pub durable: u64,
    /// The modem of its way up, where something was said.
    pub to: Option<String>,
    /// Statements that went up.
    pub statements: u64,
    /// Bytes of their units for the air.
    pub statement_bytes: u64,
    /// Ranges and statements that found no room; their units come again.
    pub unsaid: u64,
    /// What went wrong last on the way up, where something does.
    pub error: Option<String>,
}

/// Quantiles of capture to insight.
#[derive(Clone, Debug, Serialize)]
pub struct InsightView {
    /// How many were measured.
    pub count: u64,
    /// As it was.
    #[serde(flatten)]
    pub all: Quantiles,
    /// Without the time in which there was no contact.
    pub contact_wait_excluded: Quantiles,
}

/// One spacecraft.
#[derive(Clone, Debug, Serialize)]
pub struct SpacecraftView {
    /// The mission's number.
    pub id: u16,
    /// Its name.
    pub name: String,
    /// The session, where there is or was one.
    pub link: Option<LinkView>,
    /// Samples of the link, oldest first.
    pub link_samples: Vec<LinkSampleView>,
    /// What the spacecraft says it still holds.
    pub backlog: Option<BacklogView>,
    /// Units of it.
    pub custody: CustodyView,
    /// Channels in order.
    pub channels: Vec<ChannelView>,
    /// Parameters by name.
    pub parameters: Vec<ParameterView>,
}

/// The link of a spacecraft: all its open sessions, or the one that closed last.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LinkView {
    /// Whether any session is open.
    pub open: bool,
    /// How many are: the spacecraft's own, and those of edges that hear it.
    pub sessions: u32,
    /// Address of the peer, the newest of several.
    pub peer: String,
    /// When it opened, the first of them.
    pub opened_ms: i64,
    /// When it closed.
    pub closed_ms: Option<i64>,
    /// Why it closed.
    pub reason: Option<String>,
    /// Smoothed round trip, the shortest.
    pub rtt_ms: f64,
    /// Received rate, once measured, all together.
    pub rate_bps: Option<f64>,
    /// Bytes received by those that are open.
    pub bytes: u64,
    /// Frames heard live, without custody.
    pub quick_looks: u64,
    /// Earth receive time of the latest of them.
    pub quick_look_ms: Option<i64>,
}

/// One sample of a link.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LinkSampleView {
    /// When.
    pub t: i64,
    /// Round trip.
    pub rtt_ms: f64,
    /// Received rate.
    pub rate_bps: f64,
}

/// What is still on board.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BacklogView {
    /// Units that its stores hold, its own and those of edges, and this station does not.
    pub units: u64,
    /// Their bytes, where each store said so.
    pub bytes: Option<u64>,
}

/// Units of one spacecraft.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CustodyView {
    /// New in the archive since the start.
    pub archived: u64,
    /// Their bytes.
    pub archived_bytes: u64,
    /// Receipted since the start to the session that brought them, duplicates included.
    pub receipted: u64,
    /// Held since the start, and left to the next welcome to say so.
    pub left_to_welcome: u64,
    /// Holes below the newest unit of each channel: on their way, or asked for.
    pub awaited: u64,
    /// Left out on purpose.
    pub voided: u64,
    /// When the newest unit came in.
    pub newest_ms: Option<i64>,
}

/// One row of the frame panel.
#[derive(Clone, Debug, Serialize)]
pub struct ChannelView {
    /// Stable name, such as `vc:0` or `stream:1`.
    pub id: String,
    /// For people, such as `VC 0`.
    pub label: String,
    /// What the mission calls it.
    pub name: String,
    /// Frames or units since the start.
    pub total: u64,
    /// Frames lost by the frame counter since the start, and not delivered late since.
    pub missing: u64,
    /// Columns.
    pub buckets: Vec<FrameBucket>,
}

/// Start, good, corrected, erred, missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FrameBucket(pub i64, pub u32, pub u32, pub u32, pub u32);

/// One parameter.
#[derive(Clone, Debug, Serialize)]
pub struct ParameterView {
    /// Name in the mission definition.
    pub name: String,
    /// Engineering unit; empty where it has none.
    pub unit: String,
    /// Limits.
    pub limits: Option<Limits>,
    /// Onboard time of the newest value.
    pub t: Option<i64>,
    /// Newest value; none where it is no number.
    pub value: Option<f64>,
    /// Its text, where it is an enumeration.
    pub text: Option<String>,
    /// Its judgement.
    pub level: Option<Level>,
    /// History.
    pub points: Vec<ParameterPoint>,
}

/// Start, lowest, highest, last value, worst judgement (0 normal, 1 yellow, 2 red).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ParameterPoint(pub i64, pub f64, pub f64, pub f64, pub u8);

/// One alarm.
#[derive(Clone, Debug, Serialize)]
pub struct AlarmView {
    /// Identity.
    pub id: String,
    /// Spacecraft by number.
    pub spacecraft: u16,
    /// Parameter or part.
    pub parameter: String,
    /// One plain sentence.
    pub message: String,
    /// How bad.
    pub level: Level,
    /// Whether it stands.
    pub state: AlarmState,
    /// When it was raised.
    pub raised_ms: i64,
    /// When it was cleared.
    pub cleared_ms: Option<i64>,
}

/// One product.
#[derive(Clone, Debug, Serialize)]
pub struct ProductView {
    /// Identity.
    pub id: String,
    /// Spacecraft by number.
    pub spacecraft: u16,
    /// Kind in the mission definition.
    pub kind: String,
    /// When it was captured.
    pub t: i64,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// What was scored.
    pub score_label: Option<String>,
    /// Between 0 and 1.
    pub score: Option<f64>,
    /// What was decided on board.
    pub decision: Decision,
    /// Whether there is a thumbnail to be fetched.
    pub thumbnail: bool,
    /// Bytes that the sensor made.
    pub source_bytes: u64,
    /// Bytes that came down.
    pub sent_bytes: u64,
}

/// One job.
#[derive(Clone, Debug, Serialize)]
pub struct JobView {
    /// Identity.
    pub id: String,
    /// Task contract.
    pub task: String,
    /// Pool that has it.
    pub pool: String,
    /// Where it stands.
    pub state: JobState,
    /// Time in the queue.
    pub queue_ms: f64,
    /// Time running.
    pub run_ms: f64,
    /// Price.
    pub cost: f64,
    /// Result or reason.
    pub result: String,
    /// Trace, 32 hexadecimal digits: the same from frame to insight.
    pub trace: String,
    /// When it reached this state.
    pub t: i64,
}
