//! The live state: events in, views out.

use super::craft::Craft;
use super::disk::{Disk, DiskView};
use super::event::{AlarmState, Event, JobState, Outcome};
use super::history::{Keyed, Lost, Revision, unix_ms};
use super::latency::Latency;
use super::packets::PacketIdentities;
use super::view::{
    AlarmView, Conserved, Counts, Cursor, DoorView, InsightView, JobView, LinkSampleView,
    ProductView, RadioView, Snapshot,
};
use bytes::Bytes;
use codecs::ids::{KeyPrefix, SpacecraftId};
use codecs::time::Tai;
use std::collections::BTreeMap;

/// Spacecraft shown; what is told of further ones is counted in `not_shown`.
pub(super) const SPACECRAFT_MAX: usize = 64;
/// Alarms kept.
const ALARMS_MAX: usize = 256;
/// Products kept, with their thumbnails.
pub(super) const PRODUCTS_MAX: usize = 96;
/// Largest thumbnail kept; a larger one is shown as none.
pub(super) const THUMBNAIL_BYTES_MAX: usize = 128 * 1024;
/// Jobs kept.
const JOBS_MAX: usize = 128;
/// Counters of units told apart in the law of conservation; further ones count together.
pub const CONSERVED_MAX: usize = 256;
/// Outcomes and reasons told apart for each of them.
const OUTCOMES_MAX: usize = 16;
/// Reasons told apart in a counter; further ones count as `other`.
const REASONS_MAX: usize = 32;

/// What is live. No clock, no IO: see [`super::Feed`] for the shared handle.
#[derive(Debug)]
pub struct Live {
    revision: Revision,
    crafts: BTreeMap<SpacecraftId, Craft>,
    disk: Disk,
    alarms: Keyed<AlarmView>,
    products: Keyed<(ProductView, Bytes)>,
    jobs: Keyed<JobView>,
    doors: BTreeMap<String, DoorView>,
    radios: BTreeMap<u16, RadioView>,
    packets: PacketIdentities,
    counts: Counts,
    conserved: Conserved,
    insight: Latency,
    insight_in_contact: Latency,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            revision: 0,
            crafts: BTreeMap::new(),
            disk: Disk::default(),
            alarms: Keyed::new(ALARMS_MAX),
            products: Keyed::new(PRODUCTS_MAX),
            jobs: Keyed::new(JOBS_MAX),
            doors: BTreeMap::new(),
            radios: BTreeMap::new(),
            packets: PacketIdentities::default(),
            counts: Counts::default(),
            conserved: Conserved::new(),
            insight: Latency::default(),
            insight_in_contact: Latency::default(),
        }
    }
}

impl Live {
    /// Takes one event.
    pub fn apply(&mut self, event: Event) {
        self.revision += 1;
        let revision = self.revision;
        match event {
            Event::Mission(mission) => {
                self.with(mission.spacecraft, |craft| craft.describe(mission, revision));
            }
            Event::LinkOpened { spacecraft, session, peer, rtt_ms, at } => {
                self.with(spacecraft, |craft| craft.opened(session, peer, rtt_ms, at));
            }
            Event::LinkSample { spacecraft, session, rtt_ms, rate_bps, bytes, at } => {
                let sample = LinkSampleView { t: unix_ms(at), rtt_ms, rate_bps };
                self.with(spacecraft, |craft| craft.sampled(session, sample, bytes, revision));
            }
            Event::LinkClosed { spacecraft, session, reason, at } => {
                self.with(spacecraft, |craft| craft.closed(session, reason, at));
            }
            Event::QuickLook { spacecraft, at } => {
                self.counts.quick_looks += 1;
                self.with(spacecraft, |craft| craft.quick_look(at));
            }
            Event::QuickLookDropped { reason, count } => {
                *self.counts.quick_looks_dropped.entry(reason).or_default() += count;
            }
            Event::DiskWrote { trouble, at } => self.disk.wrote(trouble, at),
            Event::DiskLooked { look, least_bytes, at } => {
                self.disk.looked(look, least_bytes, at);
            }
            Event::DatagramsDropped { reason, count } => {
                *self.counts.datagrams_dropped.entry(reason).or_default() += count;
            }
            Event::OnBoard { spacecraft, origin, held } => {
                self.with(spacecraft, |craft| craft.on_board(origin, held));
            }
            Event::Backlog { spacecraft, origin, units, bytes } => {
                self.with(spacecraft, |craft| craft.backlog(origin, units, bytes));
            }
            Event::Custody { prefix, outcome, count } => self.custody(prefix, outcome, count),
            Event::PeerRejected { reason } => {
                *self.counts.peers_rejected.entry(reason).or_default() += 1;
            }
            Event::Segments { fate, count } => {
                *self.counts.segments.entry(fate).or_default() += count;
            }
            Event::Unit { key, bytes, received, replayed, .. } => {
                self.counts.replayed += u64::from(replayed);
                let spacecraft = key.prefix.spacecraft;
                let shown = self.with(spacecraft, |craft| {
                    craft.unit(key, bytes, received, !replayed, revision)
                });
                self.counts.not_shown += u64::from(shown == Some(false));
            }
            Event::Voided { prefix, range, .. } => {
                self.with(prefix.spacecraft, |craft| craft.voided(prefix, range));
            }
            Event::Receipted { prefix, count } => {
                self.counts.receipted += count;
                self.with(prefix.spacecraft, |craft| craft.receipted(count));
            }
            Event::LeftToWelcome { prefix, count } => {
                self.counts.left_to_welcome += count;
                self.with(prefix.spacecraft, |craft| craft.left_to_welcome(count));
            }
            Event::Frame { spacecraft, vc, quality, gap, found, at } => {
                let lost = Lost { gap, found };
                let shown =
                    self.with(spacecraft, |craft| craft.frame(vc, quality, lost, at, revision));
                self.counts.not_shown += u64::from(shown == Some(false));
            }
            Event::Packet(identity) => {
                if self.packets.insert(identity) {
                    self.counts.packets += 1;
                } else {
                    self.counts.packet_copies += 1;
                }
            }
            Event::Parameter { spacecraft, name, unit, time, value, text, level } => {
                self.counts.parameters += 1;
                let shown = self.with(spacecraft, |craft| {
                    craft
                        .series(name, unit, revision)
                        .map(|series| series.record(time, value, text, level, revision))
                        .is_some()
                });
                self.counts.not_shown += u64::from(shown == Some(false));
            }
            Event::Door(door) => {
                // As many as the station file has, which bounds them.
                self.doors.insert(door.name.clone(), door);
            }
            Event::DoorClosed { name } => {
                self.doors.remove(&name);
            }
            Event::Radio(radio) => {
                // As many as the station file has as well.
                self.radios.insert(radio.spacecraft, radio);
            }
            Event::Insight { spacecraft, captured, published } => {
                self.insight(spacecraft, captured, published);
            }
            event @ (Event::Alarm { .. } | Event::Product { .. } | Event::Job { .. }) => {
                self.keyed(event);
            }
        }
    }

    /// Changes one spacecraft; none where there is no room for another.
    fn with<R>(&mut self, id: SpacecraftId, change: impl FnOnce(&mut Craft) -> R) -> Option<R> {
        if self.crafts.len() >= SPACECRAFT_MAX && !self.crafts.contains_key(&id) {
            self.counts.not_shown += 1;
            return None;
        }
        Some(change(self.crafts.entry(id).or_insert_with(|| Craft::new(id))))
    }

    fn custody(&mut self, prefix: Option<KeyPrefix>, outcome: Outcome, count: u64) {
        let known = prefix.is_some() && self.conserved.contains_key(&prefix);
        let counters = self.conserved.keys().flatten().count();
        let whose = prefix.filter(|_| known || counters < CONSERVED_MAX);
        let of = self.conserved.entry(whose).or_default();
        let kinds = of.len();
        let (kind, mut reason) = outcome.names();
        if !of.contains_key(&(kind, reason)) && kinds >= OUTCOMES_MAX {
            reason = "other";
        }
        *of.entry((kind, reason)).or_default() += count;
        let counts = &mut self.counts;
        match outcome {
            Outcome::Received => counts.received += count,
            Outcome::Archived => counts.archived += count,
            Outcome::Duplicate => counts.duplicate += count,
            Outcome::Conflict => counts.conflict += count,
            Outcome::Rejected(reason) => add(&mut counts.rejected, reason, count),
            Outcome::Shed(reason) => add(&mut counts.shed, reason, count),
        }
    }

    fn insight(&mut self, spacecraft: SpacecraftId, captured: Tai, published: Tai) {
        self.insight.record(published.since(captured));
        let in_contact = self.crafts.get(&spacecraft).map(|c| c.in_contact(captured, published));
        self.insight_in_contact.record(in_contact.unwrap_or(0));
    }

    fn keyed(&mut self, event: Event) {
        let revision = self.revision;
        match event {
            Event::Alarm { id, spacecraft, parameter, message, level, time, state } => {
                let known = self.alarms.get(&id);
                let raised_ms = known.map_or(unix_ms(time), |known| known.raised_ms);
                let cleared_ms = (state == AlarmState::Cleared).then(|| unix_ms(time));
                self.counts.alarms += u64::from(known.is_none() && state == AlarmState::Raised);
                let spacecraft = spacecraft.0;
                let alarm = AlarmView {
                    id: id.clone(),
                    spacecraft,
                    parameter,
                    message,
                    level,
                    state,
                    raised_ms,
                    cleared_ms,
                };
                self.alarms.put(&id, alarm, revision);
            }
            Event::Product {
                id,
                spacecraft,
                kind,
                time,
                lat,
                lon,
                score,
                decision,
                thumbnail_png,
                source_bytes,
                sent_bytes,
            } => {
                let fits = !thumbnail_png.is_empty() && thumbnail_png.len() <= THUMBNAIL_BYTES_MAX;
                let product = ProductView {
                    id: id.clone(),
                    spacecraft: spacecraft.0,
                    kind,
                    t: unix_ms(time),
                    lat,
                    lon,
                    score: score.as_ref().map(|score| score.value),
                    score_label: score.map(|score| score.label),
                    decision,
                    thumbnail: fits,
                    source_bytes,
                    sent_bytes,
                };
                let thumbnail = if fits { thumbnail_png } else { Bytes::new() };
                let before = self.products.put(&id, (product, thumbnail), revision);
                self.counts.products += u64::from(before.is_none());
            }
            Event::Job { id, task, pool, state, queue_ms, run_ms, cost, result, trace, time } => {
                let t = unix_ms(time);
                let job = JobView {
                    id: id.clone(),
                    task,
                    pool,
                    state,
                    queue_ms,
                    run_ms,
                    cost,
                    result,
                    trace,
                    t,
                };
                let before = self.jobs.put(&id, job, revision).map(|job| job.state);
                if before != Some(state) {
                    self.counts.jobs_done += u64::from(state == JobState::Done);
                    self.counts.jobs_failed += u64::from(state == JobState::Failed);
                }
            }
            _ => {}
        }
    }

    /// Everything.
    pub fn snapshot(&self) -> Snapshot {
        self.view(None)
    }

    /// What changed after the cursor, and the cursor after it; none where nothing did.
    ///
    /// A default cursor gets everything.
    pub fn delta(&self, cursor: Cursor) -> Option<(Snapshot, Cursor)> {
        let changed = cursor.0.is_none_or(|seen| self.revision > seen);
        changed.then(|| (self.view(cursor.0), Cursor(Some(self.revision))))
    }

    /// The disk of the archive.
    pub fn disk(&self) -> DiskView {
        self.disk.view()
    }

    /// Thumbnail of a product, as PNG.
    pub fn thumbnail(&self, product: &str) -> Option<Bytes> {
        let (_, thumbnail) = self.products.get(product)?;
        (!thumbnail.is_empty()).then(|| thumbnail.clone())
    }

    fn view(&self, seen: Option<Revision>) -> Snapshot {
        let since = seen.unwrap_or(0);
        Snapshot {
            full: seen.is_none(),
            revision: self.revision,
            spacecraft: self.crafts.values().map(|craft| craft.view(since)).collect(),
            alarms: self.alarms.since(since).cloned().collect(),
            products: self.products.since(since).map(|(product, _)| product.clone()).collect(),
            jobs: self.jobs.since(since).cloned().collect(),
            doors: self.doors.values().cloned().collect(),
            radios: self.radios.values().cloned().collect(),
            disk: self.disk.view(),
            counts: self.counts.clone(),
            conserved: if seen.is_none() { self.conserved.clone() } else { Default::default() },
            capture_to_insight_ms: InsightView {
                count: self.insight.total(),
                all: self.insight.quantiles(),
                contact_wait_excluded: self.insight_in_contact.quantiles(),
            },
        }
    }
}

fn add(counters: &mut BTreeMap<&'static str, u64>, reason: &'static str, count: u64) {
    let room = counters.len() < REASONS_MAX || counters.contains_key(reason);
    *counters.entry(if room { reason } else { "other" }).or_default() += count;
}
