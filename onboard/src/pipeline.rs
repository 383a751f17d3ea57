//! The pipeline: one datagram in, units and deliberate drops out, in the order of the files here.
//!
//! One mutation, then drain: after every call take what [`Pipeline::poll`] gives until it says
//! `None`, then sleep until [`Pipeline::timeout`]. Times are monotonic nanoseconds.

mod outcome;
mod replay;
mod watch;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use codecs::{
    ids::{Channel, Codec, SpacecraftId},
    link::{object::Quality, quicklook::QuickLook},
    product::ProductKind,
    time::Tai,
};
use serde_json::{Value, json};

use crate::{
    config::{Config, FrameKind},
    downlink::Reach,
    realtime::Framing,
    score::{Judge, Method, TelemetryScorer, Tile, TileScore, TileScorer},
    source::{Clock, Malformed, Packet, SourceCounts, parse},
    squeeze::{Block, Squeezer},
    store::{KEPT, NewUnit},
    triage::{self, Action, Case, Class, Decision, Original, Policy, TilePacket},
    uplink,
};

use outcome::Due;
pub use outcome::{Outcome, PipelineCounts, record};
pub use watch::{Latch, Watch};

/// Stream of recorded telemetry.
pub const TELEMETRY: Channel = Channel::stream(1);
/// Stream of products.
pub const PRODUCTS: Channel = Channel::stream(2);

/// Everything between the source and the store.
pub struct Pipeline {
    spacecraft: SpacecraftId,
    policy: Policy,
    /// Whether the policy is the usual one, which a ground may set the cloud fraction of.
    usual: bool,
    decisions: BTreeMap<String, u64>,
    contact_s: u64,
    imager_apid: u16,
    bulk_apids: Vec<u16>,
    replay: Option<(FrameKind, usize, bool)>,
    clock: Clock,
    counts: SourceCounts,
    done: PipelineCounts,
    watch: Option<Watch>,
    tiles: TileScorer,
    framing: Framing,
    squeezer: Squeezer,
    /// How long a block may wait: in contact, between contacts.
    flush_ns: [u64; 2],
    look: Option<Bytes>,
    out: VecDeque<Outcome>,
}

impl Pipeline {
    /// A pipeline whose realtime frames go on counting behind `framed` earlier ones.
    pub fn new(
        config: &Config,
        framed: u64,
        watch: Option<Watch>,
        tiles: TileScorer,
    ) -> anyhow::Result<Self> {
        let fecf = config.replay.as_ref().is_some_and(|replay| replay.fecf);
        let squeeze = &config.squeeze;
        let triage = &config.triage;
        let policy = match &triage.rules {
            Some(policy) => policy.clone(),
            None => Policy::usual(triage.cloudy_above, &triage.bulk_apids),
        };
        let flush_ns = [squeeze.flush_ms, squeeze.flush_away_ms].map(|ms| ms * 1_000_000);
        Ok(Self {
            spacecraft: SpacecraftId(config.spacecraft.id),
            policy,
            usual: triage.rules.is_none(),
            decisions: BTreeMap::new(),
            contact_s: 0,
            imager_apid: triage.imager_apid,
            bulk_apids: triage.bulk_apids.clone(),
            replay: config.replay_frame()?.map(|(kind, length)| (kind, length, fecf)),
            clock: Clock::default(),
            counts: SourceCounts::default(),
            done: PipelineCounts::default(),
            watch,
            tiles,
            framing: Framing::new(&config.realtime, framed)?,
            squeezer: Squeezer::new(squeeze.block_packets, flush_ns[0], squeeze.level),
            flush_ns,
            look: None,
            out: VecDeque::new(),
        })
    }

    /// Onboard time at `now_ns`.
    pub fn time(&self, now_ns: u64) -> Tai {
        self.clock.at(now_ns)
    }

    /// Takes the ground's time where no packet has said any.
    pub fn trust(&mut self, time: Tai, now_ns: u64) {
        self.clock.trust(time, now_ns);
    }

    /// The scorers, for whoever looks after their models.
    pub fn scorers(&mut self) -> (Option<&mut TelemetryScorer>, &mut TileScorer) {
        (self.watch.as_mut().map(|watch| &mut watch.scorer), &mut self.tiles)
    }

    /// Puts a policy in force that the ground set; what it was, in words, where it can't be.
    pub fn set_policy(&mut self, set: &uplink::Policy) -> Result<(), String> {
        if let Some(fraction) = set.triage.cloudy_above {
            if !self.usual {
                return Err(
                    "a policy file is in force, which cloudy_above means nothing to: send \
                            [[triage.rule]] instead"
                        .into(),
                );
            }
            self.policy = Policy::usual(fraction, &self.bulk_apids);
        }
        if let Some(rules) = &set.triage.rules {
            let housekeeping_percent = self.policy.housekeeping_percent;
            self.policy = Policy { housekeeping_percent, rules: rules.clone() };
            self.usual = false;
        }
        Ok(())
    }

    /// Says how many seconds of the contact are left; 0 between contacts.
    pub fn set_contact(&mut self, left_s: u64) {
        self.contact_s = left_s;
    }

    /// Says who may be reached: blocks wait for company between contacts, and frames that nobody
    /// would see live are not made.
    pub fn set_reach(&mut self, reach: Reach, now_ns: u64) {
        self.framing.set_live(reach != Reach::Nobody);
        let [near_ns, away_ns] = self.flush_ns;
        let flush_ns = if reach == Reach::Station { near_ns } else { away_ns };
        self.squeezer.set_flush(flush_ns, now_ns);
    }

    /// How often each rule decided; `usual` where none fitted.
    pub fn decisions(&self) -> &BTreeMap<String, u64> {
        &self.decisions
    }

    /// Share of what a contact sends that housekeeping has.
    pub fn housekeeping_percent(&self) -> u8 {
        self.policy.housekeeping_percent
    }

    /// What came in.
    pub fn source(&self) -> &SourceCounts {
        &self.counts
    }

    /// What was done with it.
    pub fn counts(&self) -> PipelineCounts {
        self.done
    }

    /// Takes a datagram of the source. An error says why it was dropped, and how often that has
    /// happened, whenever that is worth a line.
    pub fn datagram(&mut self, bytes: Bytes, now_ns: u64) -> Result<(), (Malformed, u64)> {
        match self.offer(bytes, now_ns) {
            Err((reason, Some(count))) => Err((reason, count)),
            _ => Ok(()),
        }
    }

    /// The same, where the caller counts too: the count stands beside the reason where it is worth
    /// a line.
    pub fn offer(&mut self, bytes: Bytes, now_ns: u64) -> Result<(), (Malformed, Option<u64>)> {
        let length = bytes.len();
        let taken = match self.replay {
            Some((kind, length, fecf)) => self.frame(bytes, kind, length, fecf, now_ns),
            None => parse(bytes).and_then(|packet| self.packet(packet, now_ns)),
        };
        match taken {
            Ok(()) => {
                self.counts.took(length);
                Ok(())
            }
            Err(reason) => Err((reason, self.counts.dropped(reason))),
        }
    }

    /// Ties everything that was made since `before` outcomes waited to a small value: the store
    /// takes all of it in one commit.
    pub fn tie(&mut self, before: usize, slot: u32, note: Bytes) {
        let made = self.out.drain(before.min(self.out.len())..).collect();
        self.out.push_back(Outcome::Together { made, slot, note });
    }

    /// Takes a packet that the flight software made of itself. It is not scored: its counts are
    /// nothing unusual, however they grow.
    pub fn own(&mut self, packet: Packet, now_ns: u64) -> Result<(), Malformed> {
        let captured = packet.time.unwrap_or_else(|| self.clock.at(now_ns));
        self.recorded(packet, captured, 0.0, now_ns)
    }

    fn recorded(
        &mut self,
        packet: Packet,
        captured: Tai,
        score: f32,
        now_ns: u64,
    ) -> Result<(), Malformed> {
        let Packet { apid, bytes, .. } = packet;
        for frame in self.framing.push(apid, &bytes, now_ns) {
            self.realtime(frame, captured);
        }
        let closed = self.squeezer.push(apid, bytes, captured, score, now_ns);
        self.blocks(closed.map_err(|_| Malformed::Length)?, now_ns);
        Ok(())
    }

    fn packet(&mut self, packet: Packet, now_ns: u64) -> Result<(), Malformed> {
        let captured = packet.time.unwrap_or_else(|| self.clock.at(now_ns));
        if packet.apid.0 == self.imager_apid {
            self.tile(&packet, captured, now_ns)?;
        } else {
            let score = self.score(&packet.bytes, captured);
            self.recorded(packet.clone(), captured, score, now_ns)?;
        }
        if let Some(time) = packet.time {
            self.clock.see(time, now_ns);
        }
        Ok(())
    }

    fn score(&mut self, packet: &[u8], captured: Tai) -> f32 {
        let Some(watch) = &mut self.watch else { return 0.0 };
        let (score, anomalies) = watch.score(packet, captured);
        let suspended = watch.scorer.take_suspension();
        for (parameter, score) in anomalies {
            self.done.anomalies += 1;
            let by = method(score.method);
            let why = score.judge.map_or("", Judge::words);
            let record = json!({
                "event": "anomaly",
                "message": format!("{parameter} is unusual {why}: score {:.2} by {by}", score.score),
                // What makes it an alarm on the ground; no model alone calls anything red.
                "level": "yellow",
                "parameter": parameter,
                "value": score.value,
                "score": score.score,
                "by_shape": score.shape,
                "by_level": score.level,
                "judge": score.judge,
                "method": by,
            });
            self.record(record, score.time, triage::ANOMALOUS);
        }
        if let Some(reason) = suspended {
            self.suspended("telemetry", &reason, captured);
        }
        score
    }

    fn suspended(&mut self, model: &str, reason: &str, at: Tai) {
        self.done.suspensions += 1;
        let record = json!({ "event": "model suspended", "model": model, "reason": reason });
        self.record(record, at, triage::RECORDS);
    }

    fn tile(&mut self, packet: &Packet, captured: Tai, now_ns: u64) -> Result<(), Malformed> {
        let data = packet.bytes.slice_ref(packet.data());
        let tile = triage::read_tile(&data).ok_or(Malformed::Tile)?;
        self.image(tile, packet.apid.0, captured, packet.bytes.len(), now_ns);
        Ok(())
    }

    /// Scores a tile and does with it what the policy says. `source_bytes` is what it stands for.
    pub fn image(
        &mut self,
        tile: TilePacket,
        apid: u16,
        captured: Tai,
        source_bytes: usize,
        now_ns: u64,
    ) {
        let score = self.score_tiles(std::slice::from_ref(&tile), captured).pop();
        let score = score.unwrap_or_else(TileScore::unknown);
        self.scored_image(tile, score, apid, captured, source_bytes, now_ns);
    }

    /// Scores tiles that wait at the same time, in as few questions to the model as it allows.
    pub fn score_tiles(&mut self, tiles: &[TilePacket], at: Tai) -> Vec<TileScore> {
        let tiles: Vec<Tile> = tiles.iter().map(TilePacket::scored).collect();
        let scores = self.tiles.score_all(&tiles).into_iter();
        // What nothing here can score counts as clear: it may be worth something.
        let scores = scores.map(|score| score.unwrap_or_else(|_| TileScore::unknown())).collect();
        if let Some(reason) = self.tiles.take_suspension() {
            self.suspended("tiles", &reason, at);
        }
        scores
    }

    /// Does with a tile that was scored what the policy says.
    pub fn scored_image(
        &mut self,
        tile: TilePacket,
        score: TileScore,
        apid: u16,
        captured: Tai,
        source_bytes: usize,
        now_ns: u64,
    ) {
        self.done.tiles += 1;
        let fraction = score.fraction;
        let decision = self.decide(Class::Tile, apid, fraction, captured, now_ns);
        let Decision { action, deadline_s, max_error, original, .. } = decision;
        let priority = |bytes| decision.priority(bytes);
        let written = |tile: TilePacket, score, kind, max_error| {
            Bytes::from(tile.product(kind, score, captured, source_bytes, max_error).encode())
        };
        let make = |tile, score, kind| written(tile, score, kind, max_error);
        // What stays on board is as it was taken: nothing else has it.
        let behind = |tile: &TilePacket, score: &TileScore| {
            (original == Original::Keep)
                .then(|| written(tile.clone(), score.clone(), ProductKind::Tile, 0))
        };
        // Values are worked out before the pipeline is changed.
        let (mut outcomes, mut left_out) = (Vec::new(), true);
        match action {
            Action::First | Action::Compressed => {
                left_out = false;
                let product = make(tile, score, ProductKind::Tile);
                outcomes.push((Some(product.clone()), priority(product.len())));
            }
            Action::Parts => {
                let kind = tile.visible(&score);
                left_out = kind == ProductKind::Parts;
                if left_out {
                    outcomes.push((behind(&tile, &score), KEPT));
                }
                let visible = make(tile, score, kind);
                outcomes.push((Some(visible.clone()), priority(visible.len())));
            }
            Action::Summary => {
                outcomes.push((behind(&tile, &score), KEPT));
                let summary = make(tile, score, ProductKind::Summary);
                outcomes.push((Some(summary.clone()), priority(summary.len())));
            }
            Action::Keep => outcomes.push((Some(make(tile, score, ProductKind::Tile)), KEPT)),
            Action::Drop => outcomes.push((None, KEPT)),
        }
        self.done.left_out += u64::from(left_out);
        for (product, priority) in outcomes {
            match product {
                Some(bytes) => {
                    let due = Due { captured, deadline_s };
                    self.keep_due(PRODUCTS, Codec::Product, priority, due, bytes);
                }
                None => {
                    let bytes = source_bytes as u64;
                    self.out.push_back(Outcome::LeaveOut { channel: PRODUCTS, bytes, captured });
                }
            }
        }
    }

    fn decide(
        &mut self,
        class: Class,
        apid: u16,
        score: f32,
        captured: Tai,
        now_ns: u64,
    ) -> Decision<'_> {
        let age_s = self.clock.at(now_ns).since(captured).max(0) as u64 / 1_000_000_000;
        let case = Case { class, apid, score, age_s, contact_s: self.contact_s };
        let decision = self.policy.decide(&case);
        let rule = decision.rule.unwrap_or(triage::policy::USUAL);
        match self.decisions.get_mut(rule) {
            Some(count) => *count += 1,
            None => {
                self.decisions.insert(rule.to_owned(), 1);
            }
        }
        decision
    }

    fn realtime(&mut self, frame: Bytes, captured: Tai) {
        self.done.frames += 1;
        // No antenna heard it: the time is the one on board.
        let look = QuickLook {
            codec: Codec::AosFrame,
            quality: Quality::Good,
            received: captured,
            channel: self.framing.channel(),
            spacecraft: self.spacecraft,
            frame: &frame,
        };
        self.look = look.encode().map(Bytes::from);
        self.keep(self.framing.channel(), Codec::AosFrame, triage::REALTIME, captured, frame);
    }

    fn blocks(&mut self, blocks: Vec<Block>, now_ns: u64) {
        for block in blocks {
            self.done.blocks += 1;
            let Block { apid, source_bytes, captured, score, bytes, .. } = block;
            let decision = self.decide(Class::Telemetry, apid.0, score, captured, now_ns);
            let (action, deadline_s) = (decision.action, decision.deadline_s);
            let priority = decision.priority(bytes.len());
            let due = Due { captured, deadline_s };
            match action {
                Action::Drop => {
                    self.done.blocks_left_out += 1;
                    let bytes = source_bytes as u64;
                    self.out.push_back(Outcome::LeaveOut { channel: TELEMETRY, bytes, captured });
                }
                Action::Keep => {
                    self.done.blocks_left_out += 1;
                    self.keep_due(TELEMETRY, Codec::Squeezed, KEPT, due, bytes);
                }
                Action::First | Action::Compressed | Action::Parts | Action::Summary => {
                    self.keep_due(TELEMETRY, Codec::Squeezed, priority, due, bytes);
                }
            }
        }
    }

    /// Tells something to the ground; `said` is an object with an `event`.
    pub fn record(&mut self, said: Value, at: Tai, priority: u8) {
        self.out.push_back(Outcome::Keep(record(self.spacecraft, said, at, priority)));
    }

    fn keep(&mut self, channel: Channel, codec: Codec, priority: u8, captured: Tai, bytes: Bytes) {
        self.keep_due(channel, codec, priority, Due { captured, deadline_s: 0 }, bytes);
    }

    fn keep_due(&mut self, channel: Channel, codec: Codec, priority: u8, due: Due, bytes: Bytes) {
        let spacecraft = self.spacecraft;
        let Due { captured, deadline_s } = due;
        let unit = NewUnit { spacecraft, channel, codec, priority, captured, deadline_s, bytes };
        self.out.push_back(Outcome::Keep(unit));
    }

    /// The newest realtime frame since the last call, as a datagram: beside its unit, not instead.
    pub fn take_look(&mut self) -> Option<Bytes> {
        self.look.take()
    }

    /// What the store shall do next.
    pub fn poll(&mut self) -> Option<Outcome> {
        self.out.pop_front()
    }

    /// Puts an outcome back that the store had no room to take.
    pub fn unpoll(&mut self, outcome: Outcome) {
        self.out.push_front(outcome);
    }

    /// The spacecraft.
    pub fn spacecraft(&self) -> SpacecraftId {
        self.spacecraft
    }

    /// How many outcomes wait.
    pub fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Whether no outcome waits.
    pub fn is_idle(&self) -> bool {
        self.out.is_empty()
    }

    /// When a frame or a block is due.
    pub fn timeout(&self) -> Option<u64> {
        self.framing.timeout().into_iter().chain(self.squeezer.timeout()).min()
    }

    /// Closes what is due by `now_ns`.
    pub fn handle_timeout(&mut self, now_ns: u64) {
        self.close(now_ns, now_ns);
    }

    /// Closes everything, at a clean stop.
    pub fn finish(&mut self, now_ns: u64) {
        self.close(u64::MAX, now_ns);
    }

    fn close(&mut self, due_ns: u64, now_ns: u64) {
        let captured = self.clock.at(now_ns);
        for frame in self.framing.flush(due_ns) {
            self.realtime(frame, captured);
        }
        match self.squeezer.flush(due_ns) {
            Ok(blocks) => self.blocks(blocks, now_ns),
            Err(error) => {
                let reason = error.to_string();
                let record = json!({ "event": "squeeze failed", "reason": reason });
                self.record(record, captured, triage::RECORDS);
            }
        }
    }
}

fn method(method: Method) -> &'static str {
    match method {
        Method::Model => "model",
        Method::Statistics => "statistics",
    }
}

#[cfg(test)]
mod tests;
