//! Congestion control for a link whose rate is known beforehand.
//!
//! ```text
//! contact plan ─► series ─► window = scale × (bytes of one round trip + headroom)
//!                             ▲ path (shortest round trip)      ▲ scale (delivery against plan)
//! ```
//!
//! A contact is a scheduled link of its own: what is lost on it is noise, and what it carries is
//! predicted. So the window is what the plan's rate carried during the last round trip, plus a
//! short queue that keeps the link busy. Where delivery disagrees, a factor within bounds corrects
//! the rate; where that is not enough, or others use the link, the caller's usual controller
//! decides until its queue stays empty for long enough to try the plan again. `docs/congestion.md`
//! has the figures.

mod path;
mod scale;
mod series;

use alloc::sync::Arc;

use self::{
    path::Path,
    scale::{Finding, Scale, Shown},
};
pub use scale::{SCALE_MAX, SCALE_MIN};
pub use series::{STEPS_MAX, Series, Step};

/// Part of a round trip that may stand in the queue, as a divisor.
const HEADROOM: u64 = 8;
/// Beside it what timers and hosts are late by, ns.
const HEADROOM_NS: u64 = 2_000_000;
/// How long a peer may wait with an acknowledgement, ns (RFC 9000 §18.2).
const ACK_DELAY_NS: u64 = 25_000_000;
/// Least window, packets.
const PACKETS_MIN: u64 = 4;
/// Round trips of an interval, behind the one in which a change takes effect.
const INTERVAL_TRIPS: u64 = 3;
/// Least packets of an interval.
const INTERVAL_PACKETS: u64 = 64;
/// How often the queue is let run empty, so that the shortest round trip shows: ns and round trips.
const DIP_EVERY: (u64, u64) = (10_000_000_000, 32);
/// Most of the window that a dip takes beside the headroom, as a divisor, and the part of all time
/// that it may cost.
const DIP: (u64, u64) = (4, 2_000);
/// Least time without an acknowledgement that is a silence.
const SILENCE_NS: u64 = 50_000_000;
/// Shortest time without the plan after it was refuted: ns and round trips.
const DOUBT: (u64, u64) = (1_000_000_000, 8);
/// How often that time doubles.
const DOUBT_DOUBLINGS: u32 = 6;
/// Round trips from the first measured one on in which it shows whether others are there.
const OPENING_TRIPS: u64 = 3;
/// Intervals that agree in a row and end the doubt.
const GOOD_MIN: u32 = 16;

/// Who decides about the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The usual controller: nothing is planned, or the plan is refuted.
    Usual,
    /// The plan: so many bytes.
    Planned(u64),
    /// The usual controller, but no less than this: the link is far faster than planned.
    AtLeast(u64),
}

/// Bounds of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most bytes under way, whatever is planned.
    pub window_max: u64,
    /// Packets that the peer acknowledges together.
    pub ack_packets: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Interval {
    start_ns: u64,
    arrived: u64,
    lost: u64,
    /// Shortest round trip seen, ns.
    shortest_ns: Option<u64>,
    in_flight: u64,
    starved: bool,
    marked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Planned,
    Faster,
    /// Until then at least.
    Doubt(u64),
}

/// The state of one connection: no clock, no sockets. Times are nanoseconds of the caller's clock.
#[derive(Clone, Debug)]
pub struct LinkAware {
    bounds: Bounds,
    series: Arc<Series>,
    packet_bytes: u64,
    path: Path,
    scale: Scale,
    mode: Mode,
    doublings: u32,
    good: u32,
    planned: Step,
    rule: Rule,
    dip_ns: u64,
    dips: bool,
    interval: Interval,
    /// Where the interval begins to count.
    settled_ns: u64,
    /// The last acknowledgement.
    heard_ns: u64,
    opening: Opening,
    /// The plan is in doubt for what came of what was sent by it.
    pressed: bool,
}

/// The first round trips by a plan: what is on the link before much of ours is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Opening {
    /// Nothing was measured yet.
    #[default]
    Unseen,
    /// Until then.
    Until(u64),
    /// It was looked.
    Over,
}

impl LinkAware {
    /// A connection of which nothing is planned yet.
    pub fn new(bounds: Bounds, packet_bytes: u64) -> Self {
        Self {
            bounds,
            series: Arc::new(Series::default()),
            packet_bytes,
            path: Path::default(),
            scale: Scale::new(1.0),
            mode: Mode::Planned,
            doublings: 0,
            good: 0,
            planned: Step::default(),
            rule: Rule::Usual,
            dip_ns: 0,
            dips: false,
            interval: Interval::default(),
            settled_ns: 0,
            heard_ns: 0,
            opening: Opening::default(),
            pressed: false,
        }
    }

    /// Takes what is planned in the place of what was. A plan that says the same of now goes on
    /// with what is known of the link.
    pub fn plan(&mut self, series: Arc<Series>, now_ns: u64) {
        let (before, after) = (self.series.at(now_ns), series.at(now_ns));
        if (before.rate_bps, before.rtt_ns) != (after.rate_bps, after.rtt_ns) {
            self.fresh();
        }
        self.series = series;
        self.refresh(now_ns);
    }

    /// Takes the bytes of the largest packet.
    pub fn set_packet_bytes(&mut self, bytes: u64) {
        self.packet_bytes = bytes;
    }

    /// Who decides, as of the last event.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Factor on the planned rate, [`SCALE_MIN`] to [`SCALE_MAX`].
    pub fn scale(&self) -> f64 {
        self.scale.factor()
    }

    /// Something was sent, and so much is under way.
    pub fn sent(&mut self, now_ns: u64) {
        self.refresh(now_ns);
    }

    /// A packet arrived that was sent so long ago.
    pub fn arrived(&mut self, now_ns: u64, rtt_ns: u64, bytes: u64) {
        self.path.measured(rtt_ns, now_ns);
        self.open(now_ns, rtt_ns);
        if now_ns >= self.settled_ns {
            let interval = &mut self.interval;
            interval.arrived = interval.arrived.saturating_add(bytes);
            let shortest = interval.shortest_ns.map_or(rtt_ns, |of| of.min(rtt_ns));
            interval.shortest_ns = Some(shortest);
        }
    }

    /// The last of the packets that one acknowledgement named has been told; `in_flight` bytes were
    /// under way before it, and `starved` says that there was nothing more to send.
    pub fn acknowledged(&mut self, now_ns: u64, in_flight: u64, starved: bool) {
        let silence = now_ns.saturating_sub(self.heard_ns);
        self.heard_ns = now_ns;
        if self.path.shortest_ns(now_ns).is_some_and(|trip| silence > trip.max(SILENCE_NS)) {
            // What arrives over a silence says nothing of a rate.
            self.begin(now_ns);
        }
        self.interval.in_flight = self.interval.in_flight.max(in_flight);
        self.interval.starved |= starved;
        self.refresh(now_ns);
        self.judge(now_ns);
    }

    /// Bytes were lost; `persistent` says that nothing arrived for several round trips. No bytes
    /// are a mark of a queue that is too long.
    pub fn lost(&mut self, now_ns: u64, bytes: u64, persistent: bool) {
        if now_ns >= self.settled_ns {
            self.interval.lost = self.interval.lost.saturating_add(bytes);
            self.interval.marked |= bytes == 0;
        }
        if persistent && matches!(self.mode, Mode::Planned | Mode::Faster) {
            let found = self.scale.silence();
            self.follow(found, now_ns);
            self.begin(now_ns);
        }
        self.refresh(now_ns);
    }

    /// Looks whether a round trip of the first ones is longer than the plan can be wrong: then the
    /// queue is full already, of what others sent.
    fn open(&mut self, now_ns: u64, rtt_ns: u64) {
        if self.planned.rate_bps == 0 || self.planned.rtt_ns == 0 {
            return;
        }
        let others = self.path.is_beyond(rtt_ns);
        match self.opening {
            Opening::Unseen => {
                let trips = rtt_ns.saturating_mul(OPENING_TRIPS);
                self.opening = Opening::Until(now_ns.saturating_add(trips));
                if others && self.mode == Mode::Planned {
                    self.doubt(now_ns, false);
                }
            }
            Opening::Until(end_ns) if now_ns <= end_ns => {
                // The first was late for another reason: a host that was busy.
                if !others && self.is_refuted() && !self.pressed {
                    self.mode = Mode::Planned;
                    self.doublings = 0;
                }
            }
            _ => self.opening = Opening::Over,
        }
    }

    /// Another link, as far as can be known.
    fn fresh(&mut self) {
        self.scale = Scale::new(1.0);
        self.mode = Mode::Planned;
        (self.doublings, self.good) = (0, 0);
        self.pressed = false;
    }

    fn refresh(&mut self, now_ns: u64) {
        let planned = self.series.at(now_ns);
        if self.planned.rate_bps == 0 && planned.rate_bps > 0 {
            self.fresh();
            self.path.forget();
            self.opening = Opening::Unseen;
            self.begin(now_ns);
            (self.dip_ns, self.dips) = (now_ns, false);
        }
        self.planned = planned;
        self.path.plan(planned.rtt_ns, self.packets_ns(2));
        self.rule = match (self.window(now_ns), self.mode) {
            (Some(window), Mode::Planned) => Rule::Planned(window),
            (Some(window), Mode::Faster) => Rule::AtLeast(window),
            (None, _) | (_, Mode::Doubt(_)) => Rule::Usual,
        };
    }

    /// How long some packets take on the link, ns.
    fn packets_ns(&self, packets: u32) -> u64 {
        let bytes = u64::from(packets).saturating_mul(self.packet_bytes);
        let rate = u128::from(self.planned.rate_bps.max(1));
        u64::try_from(u128::from(bytes) * 8_000_000_000 / rate).unwrap_or(u64::MAX)
    }

    /// Whether the plan is in doubt.
    pub fn is_refuted(&self) -> bool {
        matches!(self.mode, Mode::Doubt(_))
    }

    /// Whether it is so for what came of what was sent by it: others on the link were pressed.
    pub fn has_pressed(&self) -> bool {
        self.is_refuted() && self.pressed
    }

    /// How long what one acknowledgement names takes on the link, ns: it is on its way no more, and
    /// under way still.
    fn unnamed_ns(&self, shortest_ns: u64) -> u64 {
        self.packets_ns(self.bounds.ack_packets).min(shortest_ns.max(ACK_DELAY_NS))
    }

    /// Queue that the window allows, ns beside a round trip of `shortest_ns`.
    fn headroom_ns(&self, shortest_ns: u64) -> u64 {
        let queue = (shortest_ns / HEADROOM).saturating_add(HEADROOM_NS);
        queue.saturating_add(self.unnamed_ns(shortest_ns))
    }

    /// Bytes at the planned rate.
    fn bytes_of(&self, ns: u64) -> u64 {
        let bytes = u128::from(ns) * u128::from(self.planned.rate_bps) / 8_000_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    fn window(&mut self, now_ns: u64) -> Option<u64> {
        let shortest = self.path.shortest_ns(now_ns)?;
        if self.planned.rate_bps == 0 {
            return None;
        }
        // What was sent in the last round trip at the rate of its time: a step down is met by the
        // acknowledgements that stay away, a step up is used at once.
        let trip = self.series.bytes(now_ns.saturating_sub(shortest), now_ns);
        let (less, beside) = match self.dip(now_ns, shortest) {
            Some(less) => (less, self.unnamed_ns(shortest)),
            None => (0.0, self.headroom_ns(shortest)),
        };
        let bytes = trip.saturating_sub((trip as f64 * less) as u64);
        let bytes = bytes.saturating_add(self.bytes_of(beside));
        let bytes = (bytes as f64 * self.scale.factor()) as u64;
        let least = PACKETS_MIN.saturating_mul(self.packet_bytes).min(self.bounds.window_max);
        Some(bytes.clamp(least, self.bounds.window_max))
    }

    /// The part that the window is short of while the queue is let run empty.
    fn dip(&mut self, now_ns: u64, shortest_ns: u64) -> Option<f64> {
        let (least, trips) = DIP_EVERY;
        let every = shortest_ns.saturating_mul(trips).max(least);
        let since = now_ns.saturating_sub(self.dip_ns);
        if since <= every {
            return None;
        }
        if since - every > shortest_ns {
            (self.dip_ns, self.dips) = (now_ns, false);
            return None;
        }
        if !core::mem::replace(&mut self.dips, true) {
            // What arrives less of it says nothing of the link.
            self.begin(now_ns.saturating_add(shortest_ns));
        }
        let (part, cost) = DIP;
        Some((every as f64 / (cost as f64 * shortest_ns as f64)).min(1.0 / part as f64))
    }

    /// Begins an interval, once what changed has had its effect.
    fn begin(&mut self, now_ns: u64) {
        let settle = self.path.shortest_ns(now_ns).unwrap_or(0);
        self.settled_ns = now_ns.saturating_add(settle.saturating_add(settle / HEADROOM));
        self.interval = Interval { start_ns: self.settled_ns, ..Interval::default() };
    }

    fn judge(&mut self, now_ns: u64) {
        let Some(shortest) = self.path.shortest_ns(now_ns) else { return };
        let Interval { start_ns, arrived, lost, in_flight, starved, marked, .. } = self.interval;
        let span = now_ns.saturating_sub(start_ns);
        let all = arrived.saturating_add(lost);
        let enough = INTERVAL_PACKETS.saturating_mul(self.packet_bytes);
        if span < shortest.saturating_mul(INTERVAL_TRIPS) || all < enough {
            return;
        }
        let Some(seen) = self.interval.shortest_ns else { return };
        // It passed the link about one round trip before its acknowledgement came.
        let (from, until) = (start_ns.saturating_sub(shortest), now_ns.saturating_sub(shortest));
        let predicted = self.series.bytes(from, until).max(1);
        let headroom = self.headroom_ns(shortest);
        let window = match self.rule {
            Rule::Usual => 0,
            Rule::Planned(window) | Rule::AtLeast(window) => window,
        };
        let shown = Shown {
            delivered: arrived as f64 / predicted as f64,
            lost: lost as f64 / all.max(1) as f64,
            queue: seen.saturating_sub(shortest) as f64 / headroom as f64,
            filled: in_flight >= window / 10 * 8,
            marked,
        };
        if self.planned.rate_bps > 0 {
            match self.mode {
                Mode::Doubt(until) if now_ns >= until && shown.queue < 0.5 => {
                    self.scale = Scale::new(shown.delivered.min(1.0));
                    self.mode = Mode::Planned;
                }
                Mode::Doubt(_) => {}
                Mode::Planned | Mode::Faster if starved => {}
                Mode::Planned | Mode::Faster => {
                    let found = self.scale.judge(shown);
                    self.follow(found, now_ns);
                }
            }
        }
        self.begin(now_ns);
        self.refresh(now_ns);
    }

    fn follow(&mut self, found: Finding, now_ns: u64) {
        match found {
            Finding::Holds => {
                if self.mode == Mode::Faster && self.scale.factor() < SCALE_MAX {
                    self.mode = Mode::Planned;
                }
                self.good = self.good.saturating_add(1);
                if self.good >= GOOD_MIN {
                    self.doublings = 0;
                }
            }
            Finding::Faster => self.mode = Mode::Faster,
            Finding::Refuted => self.doubt(now_ns, true),
        }
    }

    fn doubt(&mut self, now_ns: u64, pressed: bool) {
        let (least, trips) = DOUBT;
        let shortest = self.path.shortest_ns(now_ns).unwrap_or(0);
        let wait = shortest.saturating_mul(trips).max(least) << self.doublings;
        self.mode = Mode::Doubt(now_ns.saturating_add(wait));
        self.doublings = (self.doublings + 1).min(DOUBT_DOUBLINGS);
        self.good = 0;
        self.pressed = pressed;
    }
}

#[cfg(test)]
mod tests;
