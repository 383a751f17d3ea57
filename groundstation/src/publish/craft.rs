//! State of one spacecraft.

use super::event::{Level, Limits, Mission, Quality};
use super::history::{ChannelRow, Lost, Revision, Series, Stamped, unix_ms};
use super::view::{
    BacklogView, ChannelView, CustodyView, LinkSampleView, LinkView, ParameterView, SpacecraftView,
};
use crate::receipt::SessionId;
use codecs::ids::{Channel, KeyPrefix, Origin, RangeSet, SeqRange, SpacecraftId, UnitKey};
use codecs::time::Tai;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Channels shown a spacecraft.
pub(super) const CHANNELS_MAX: usize = 64;
/// Parameters shown a spacecraft.
pub(super) const PARAMETERS_MAX: usize = 1024;
/// Link samples kept: ten minutes at one a second.
pub(super) const LINK_SAMPLES_MAX: usize = 600;
/// Open sessions told apart a spacecraft; beyond them the oldest no longer is.
const LINKS_MAX: usize = 16;
/// Contacts remembered, so that waiting for one can be taken out of a latency.
const CONTACTS_MAX: usize = 64;
/// Key prefixes whose sequences are followed a spacecraft.
pub(super) const PREFIXES_MAX: usize = 128;
/// Ranges followed a prefix; a unit that would need one more is not followed.
pub(super) const RANGES_MAX: usize = 4096;

/// Sequences of one counter that are here or left out on purpose.
#[derive(Clone, Debug, Default)]
struct Sequences {
    here: RangeSet,
    voided: RangeSet,
    lowest: Option<u64>,
    highest: u64,
}

impl Sequences {
    /// Holes between the first and the newest sequence that was seen.
    fn awaited(&self) -> u64 {
        let Some(lowest) = self.lowest else { return 0 };
        let mut accounted = self.here.clone();
        accounted.extend(&self.voided);
        let span = SeqRange { first: lowest, last: self.highest };
        accounted.missing_from(span).iter().map(|range| range.count()).sum()
    }
}

/// What a store says that it holds.
#[derive(Clone, Debug, Default)]
struct Store {
    units: u64,
    /// 0 where it did not say.
    bytes: u64,
    /// As it said at its last hello, less what is here since.
    held: BTreeMap<KeyPrefix, RangeSet>,
}

impl Store {
    /// Units of these are here, or given up.
    fn settle(&mut self, prefix: &KeyPrefix, range: SeqRange, bytes: u64) {
        let Some(held) = self.held.get_mut(prefix) else { return };
        let before = held.count();
        held.remove(range);
        let settled = before - held.count();
        if settled > 0 {
            self.units = self.units.saturating_sub(settled);
            self.bytes = if self.units == 0 { 0 } else { self.bytes.saturating_sub(bytes) };
        }
    }
}

/// Everything about one spacecraft.
#[derive(Clone, Debug)]
pub struct Craft {
    id: SpacecraftId,
    name: String,
    /// Open sessions: its own, and those of edges that hear it.
    links: BTreeMap<SessionId, LinkView>,
    /// The one that closed last, while none is open.
    last: Option<LinkView>,
    samples: VecDeque<Stamped<LinkSampleView>>,
    /// Openings and closings in order; an open one ends at the end of time.
    contacts: VecDeque<(Tai, Option<Tai>)>,
    /// By origin: its own, and those of edges that hear it.
    stores: BTreeMap<Origin, Store>,
    custody: CustodyView,
    sequences: BTreeMap<KeyPrefix, Sequences>,
    channel_names: BTreeMap<Channel, String>,
    channels: BTreeMap<String, ChannelRow>,
    parameters: BTreeMap<Arc<str>, Series>,
}

impl Craft {
    /// A spacecraft of which nothing is known yet.
    pub fn new(id: SpacecraftId) -> Self {
        Self {
            id,
            name: format!("spacecraft {}", id.0),
            links: BTreeMap::new(),
            last: None,
            samples: VecDeque::new(),
            contacts: VecDeque::new(),
            stores: BTreeMap::new(),
            custody: CustodyView::default(),
            sequences: BTreeMap::new(),
            channel_names: BTreeMap::new(),
            channels: BTreeMap::new(),
            parameters: BTreeMap::new(),
        }
    }

    /// Takes names, units and limits from the mission definition.
    pub fn describe(&mut self, mission: Mission, revision: Revision) {
        self.name = mission.name;
        for (channel, name) in mission.channels {
            if let Some(row) = self.channels.get_mut(&channel_id(channel)) {
                row.name.clone_from(&name);
            }
            if self.channel_names.len() < CHANNELS_MAX {
                self.channel_names.insert(channel, name);
            }
        }
        for info in mission.parameters {
            if let Some(series) = self.series(info.name, info.unit, revision) {
                series.limits = info.limits.filter(|limits| *limits != Limits::default());
                series.revision = revision;
            }
        }
    }

    /// A session opened; with the first of them the contact begins.
    pub fn opened(&mut self, session: SessionId, peer: String, rtt_ms: f64, at: Tai) {
        if self.links.is_empty() {
            if self.contacts.len() == CONTACTS_MAX {
                self.contacts.pop_front();
            }
            self.contacts.push_back((at, None));
        }
        if self.links.len() == LINKS_MAX {
            self.links.pop_first();
        }
        self.last = None;
        let link = LinkView {
            open: true,
            sessions: 1,
            peer,
            opened_ms: unix_ms(at),
            closed_ms: None,
            reason: None,
            rtt_ms: finite(rtt_ms),
            rate_bps: None,
            bytes: 0,
            quick_looks: 0,
            quick_look_ms: None,
        };
        self.links.insert(session, link);
    }

    /// A live frame was heard.
    pub fn quick_look(&mut self, at: Tai) {
        if let Some(link) = self.links.values_mut().next_back() {
            link.quick_looks += 1;
            link.quick_look_ms = link.quick_look_ms.max(Some(unix_ms(at)));
        }
    }

    /// A session was measured.
    pub fn sampled(
        &mut self,
        session: SessionId,
        sample: LinkSampleView,
        bytes: u64,
        revision: Revision,
    ) {
        let Some(link) = self.links.get_mut(&session) else { return };
        link.rtt_ms = finite(sample.rtt_ms);
        link.rate_bps = Some(finite(sample.rate_bps));
        link.bytes = bytes;
        // Of all sessions together, so that the curve does not jump from one to the other.
        let Some(LinkView { rtt_ms, rate_bps, .. }) = self.link() else { return };
        let item = LinkSampleView { t: sample.t, rtt_ms, rate_bps: rate_bps.unwrap_or(0.0) };
        if self.samples.len() == LINK_SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(Stamped { revision, item });
    }

    /// A session closed; with the last of them the contact ends.
    pub fn closed(&mut self, session: SessionId, reason: String, at: Tai) {
        let Some(mut link) = self.links.remove(&session) else { return };
        if self.links.is_empty() {
            self.close_contact(at);
            link.open = false;
            link.sessions = 0;
            link.closed_ms = Some(unix_ms(at));
            link.reason = Some(reason);
            link.rate_bps = None;
            self.last = Some(link);
        }
    }

    /// All open sessions as one, told by the newest of them; else the one that closed last.
    fn link(&self) -> Option<LinkView> {
        let Some(newest) = self.links.values().next_back() else { return self.last.clone() };
        let mut link = newest.clone();
        let others = self.links.values().rev().skip(1);
        for LinkView { rtt_ms, rate_bps, bytes, quick_looks, quick_look_ms, opened_ms, .. } in
            others
        {
            link.sessions += 1;
            link.opened_ms = link.opened_ms.min(*opened_ms);
            link.rtt_ms = link.rtt_ms.min(*rtt_ms);
            link.rate_bps = match (link.rate_bps, *rate_bps) {
                (Some(one), Some(other)) => Some(one + other),
                (one, other) => one.or(other),
            };
            link.bytes += bytes;
            link.quick_looks += quick_looks;
            link.quick_look_ms = link.quick_look_ms.max(*quick_look_ms);
        }
        Some(link)
    }

    fn close_contact(&mut self, at: Tai) {
        if let Some((_, end @ None)) = self.contacts.back_mut() {
            *end = Some(at);
        }
    }

    /// What a store says that it holds, and how much that is.
    pub fn backlog(&mut self, origin: Origin, units: u64, bytes: u64) {
        if let Some(store) = self.store(origin) {
            (store.units, store.bytes) = (units, bytes);
        }
    }

    /// What a store says, unit by unit, that it holds and is not here.
    pub fn on_board(&mut self, origin: Origin, held: BTreeMap<KeyPrefix, RangeSet>) {
        if let Some(store) = self.store(origin) {
            let units = held.values().map(RangeSet::count).sum();
            *store = Store { units, bytes: 0, held };
        }
    }

    fn store(&mut self, origin: Origin) -> Option<&mut Store> {
        let room = self.stores.len() < LINKS_MAX || self.stores.contains_key(&origin);
        room.then(|| self.stores.entry(origin).or_default())
    }

    /// Of all stores together.
    fn backlog_view(&self) -> Option<BacklogView> {
        let said = |store: &Store| store.bytes > 0 || store.units == 0;
        let bytes = self.stores.values().all(said);
        let bytes = bytes.then(|| self.stores.values().map(|store| store.bytes).sum());
        let units = self.stores.values().map(|store| store.units).sum();
        (!self.stores.is_empty()).then_some(BacklogView { units, bytes })
    }

    /// A unit is here; false where a bound on names was met.
    pub fn unit(&mut self, key: UnitKey, bytes: u64, at: Tai, live: bool, rev: Revision) -> bool {
        if live {
            self.custody.archived += 1;
            self.custody.archived_bytes += bytes;
        }
        self.custody.newest_ms = self.custody.newest_ms.max(Some(unix_ms(at)));
        if let Some(store) = self.stores.get_mut(&key.prefix.origin) {
            let one = SeqRange { first: key.sequence, last: key.sequence };
            store.settle(&key.prefix, one, bytes);
        }
        self.follow(key.prefix, |sequences| {
            sequences.lowest = Some(sequences.lowest.unwrap_or(u64::MAX).min(key.sequence));
            sequences.highest = sequences.highest.max(key.sequence);
            if sequences.here.len() < RANGES_MAX || sequences.here.touches(key.sequence) {
                sequences.here.insert_one(key.sequence);
            }
        });
        // A frame's own channel is drawn by frame quality, which says more.
        if key.prefix.channel.as_virtual_channel().is_some() {
            return true;
        }
        self.row(key.prefix.channel)
            .map(|row| row.record(Quality::Good, Lost::default(), at, rev))
            .is_some()
    }

    /// Sequences that will not come.
    pub fn voided(&mut self, prefix: KeyPrefix, range: SeqRange) {
        if let Some(store) = self.stores.get_mut(&prefix.origin) {
            store.settle(&prefix, range, 0);
        }
        let mut grown = 0;
        self.follow(prefix, |sequences| {
            if sequences.voided.len() < RANGES_MAX {
                let before = sequences.voided.count();
                sequences.voided.insert(range);
                grown = sequences.voided.count().saturating_sub(before);
            }
        });
        self.custody.voided = self.custody.voided.saturating_add(grown);
    }

    fn follow(&mut self, prefix: KeyPrefix, change: impl FnOnce(&mut Sequences)) {
        let room = self.sequences.len() < PREFIXES_MAX || self.sequences.contains_key(&prefix);
        if room {
            change(self.sequences.entry(prefix).or_default());
        }
    }

    /// Units became receipted.
    pub fn receipted(&mut self, count: u64) {
        self.custody.receipted += count;
    }

    /// Units are held whose session is gone.
    pub fn left_to_welcome(&mut self, count: u64) {
        self.custody.left_to_welcome += count;
    }

    /// A frame was judged; false where a bound on names was met.
    pub fn frame(&mut self, vc: u8, quality: Quality, lost: Lost, at: Tai, rev: Revision) -> bool {
        // The mission may name the channel under any spacecraft identifier it maps to this one.
        let named =
            self.channel_names.keys().copied().find(|channel| {
                channel.as_virtual_channel().is_some_and(|(_, _, vcid, _)| vcid == vc)
            });
        let channel = named.unwrap_or(Channel::virtual_channel(0, 0, vc, 0));
        self.row(channel).map(|row| row.record(quality, lost, at, rev)).is_some()
    }

    fn row(&mut self, channel: Channel) -> Option<&mut ChannelRow> {
        let id = channel_id(channel);
        if !self.channels.contains_key(&id) {
            if self.channels.len() >= CHANNELS_MAX {
                return None;
            }
            let own = match channel {
                Channel::VOIDS => "left out on purpose",
                Channel::RECORDS => "onboard events",
                Channel::UNIDENTIFIED => "frames without a name",
                _ => "",
            };
            let name = self.channel_names.get(&channel).cloned().unwrap_or(own.to_owned());
            self.channels.insert(id.clone(), ChannelRow::new(name));
        }
        self.channels.get_mut(&id)
    }

    /// The history of a parameter; none where a bound on names was met.
    pub fn series(
        &mut self,
        name: Arc<str>,
        unit: Arc<str>,
        revision: Revision,
    ) -> Option<&mut Series> {
        let room = self.parameters.len() < PARAMETERS_MAX || self.parameters.contains_key(&name);
        room.then(|| {
            self.parameters.entry(name).or_insert_with(|| {
                let mut series = Series::new(unit, None);
                series.revision = revision;
                series
            })
        })
    }

    /// Time between two instants in which there was contact, in nanoseconds.
    pub fn in_contact(&self, from: Tai, until: Tai) -> i64 {
        let overlap = |(opened, closed): &(Tai, Option<Tai>)| {
            let end = closed.unwrap_or(until).min(until);
            end.since((*opened).max(from)).max(0)
        };
        self.contacts.iter().map(overlap).sum()
    }

    /// What the page shows of it: histories only from after `revision`.
    pub fn view(&self, revision: Revision) -> SpacecraftView {
        let channels = self.channels.iter().map(|(id, row)| ChannelView {
            id: id.clone(),
            label: channel_label(id),
            name: row.name.clone(),
            total: row.total,
            missing: row.missing,
            buckets: row.since(revision),
        });
        let changed = self.parameters.iter().filter(|(_, series)| series.revision > revision);
        let parameters = changed.map(|(name, series)| parameter(name, series, revision));
        let samples = self.samples.iter().filter(|sample| sample.revision > revision);
        let awaited = self.sequences.values().map(Sequences::awaited).sum();
        SpacecraftView {
            id: self.id.0,
            name: self.name.clone(),
            link: self.link(),
            link_samples: samples.map(|sample| sample.item).collect(),
            backlog: self.backlog_view(),
            custody: CustodyView { awaited, ..self.custody },
            channels: channels.collect(),
            parameters: parameters.collect(),
        }
    }
}

fn parameter(name: &str, series: &Series, revision: Revision) -> ParameterView {
    let latest = series.latest.as_ref();
    ParameterView {
        name: name.to_owned(),
        unit: series.unit.to_string(),
        limits: series.limits,
        t: latest.map(|latest| unix_ms(latest.0)),
        value: latest.map(|latest| latest.1).filter(|value| value.is_finite()),
        text: latest.and_then(|latest| latest.2.as_ref()).map(|text| text.to_string()),
        level: latest.map(|latest: &(_, _, _, Level)| latest.3),
        points: series.since(revision),
    }
}

fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}

/// Sorts as rows stand: virtual channels by number, then streams, then the reserved ones.
fn channel_id(channel: Channel) -> String {
    if let Some((_, _, vcid, _)) = channel.as_virtual_channel() {
        return format!("a:vc:{vcid:02}");
    }
    match channel.as_stream() {
        Some(number) => format!("b:stream:{number}"),
        None => format!("c:{channel}"),
    }
}

fn channel_label(id: &str) -> String {
    let mut parts = id.splitn(3, ':').skip(1);
    match (parts.next(), parts.next()) {
        (Some("vc"), Some(number)) => {
            format!("VC {}", number.trim_start_matches('0').parse().unwrap_or(0u8))
        }
        (Some("stream"), Some(number)) => format!("stream {number}"),
        (Some(other), _) => other.to_owned(),
        _ => id.to_owned(),
    }
}
