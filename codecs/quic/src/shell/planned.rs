//! What a contact plan says of a link, as the controller of the QUIC library's congestion.
//!
//! The law is [`LinkAware`]; here it meets the library's events, and CUBIC, which decides wherever
//! nothing is planned and wherever the plan is refuted.

use std::{
    any::Any,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use codecs::link::congestion::{Bounds, LinkAware, Rule, Series};
use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;

/// CUBIC's answer to a loss, by which it begins below what it is given.
const CUBIC_BETA: f64 = 0.7;

/// What is planned for a link, on the clock that began at `zero`. Clones share it.
#[derive(Clone, Debug)]
pub struct PlannedLink {
    zero: Instant,
    told: Arc<Told>,
}

#[derive(Debug, Default)]
struct Told {
    version: AtomicU64,
    series: Mutex<Arc<Series>>,
}

impl Default for PlannedLink {
    fn default() -> Self {
        Self::new(Instant::now())
    }
}

impl PlannedLink {
    /// Nothing is planned yet; steps count from `zero`.
    pub fn new(zero: Instant) -> Self {
        Self { zero, told: Arc::default() }
    }

    /// What never changes.
    pub fn constant(series: Series) -> Self {
        let link = Self::default();
        link.set(series);
        link
    }

    /// Says what is planned from now on, in nanoseconds since `zero`.
    pub fn set(&self, series: Series) {
        let mut told = self.told.series.lock().unwrap_or_else(PoisonError::into_inner);
        if **told != series {
            *told = Arc::new(series);
            self.told.version.fetch_add(1, Ordering::Release);
        }
    }

    /// The highest rate that is planned, bit/s; 0 where none is.
    pub fn peak_bps(&self) -> u64 {
        self.get().steps().iter().map(|step| step.rate_bps).max().unwrap_or(0)
    }

    fn since(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.zero))
    }

    fn get(&self) -> Arc<Series> {
        self.told.series.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn nanos(of: std::time::Duration) -> u64 {
    u64::try_from(of.as_nanos()).unwrap_or(u64::MAX)
}

/// Makes a controller for each connection.
#[derive(Debug)]
pub struct PlannedConfig {
    /// What is planned.
    pub link: PlannedLink,
    /// Bounds of a connection.
    pub bounds: Bounds,
}

impl ControllerFactory for PlannedConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Planned::new(self.link.clone(), self.bounds, now, current_mtu))
    }
}

#[derive(Clone)]
struct Planned {
    link: PlannedLink,
    version: u64,
    law: LinkAware,
    /// Who decides, as of the last event.
    rule: Rule,
    usual: Usual,
    mtu: u16,
    /// Bytes that the acknowledgement at hand has named so far.
    named: u64,
}

/// CUBIC, which is told only of what it decides about.
struct Usual(Box<dyn Controller>);

impl Clone for Usual {
    fn clone(&self) -> Self {
        Self(self.0.clone_box())
    }
}

impl Usual {
    fn new(now: Instant, mtu: u16) -> Self {
        Self(Arc::new(CubicConfig::default()).build(now, mtu))
    }

    /// In congestion avoidance from this window on, as after a loss.
    fn after(window: u64, now: Instant, mtu: u16) -> Self {
        let mut config = CubicConfig::default();
        config.initial_window((window as f64 / CUBIC_BETA) as u64);
        let mut cubic = Arc::new(config).build(now, mtu);
        cubic.on_congestion_event(now, now, false, 0);
        Self(cubic)
    }
}

impl Planned {
    fn new(link: PlannedLink, bounds: Bounds, now: Instant, mtu: u16) -> Self {
        let law = LinkAware::new(bounds, mtu.into());
        let usual = Usual::new(now, mtu);
        let version = u64::MAX;
        let mut planned = Self { link, version, law, rule: Rule::Usual, usual, mtu, named: 0 };
        planned.hear(now);
        planned
    }

    /// Looks whether another plan was told; the time on the plan's clock.
    fn hear(&mut self, now: Instant) -> u64 {
        let now_ns = self.link.since(now);
        let version = self.link.told.version.load(Ordering::Acquire);
        if version != self.version {
            self.version = version;
            self.law.plan(self.link.get(), now_ns);
            self.follow(now);
        }
        now_ns
    }

    /// Takes over who decides now.
    fn follow(&mut self, now: Instant) {
        let before = std::mem::replace(&mut self.rule, self.law.rule());
        match (before, self.rule) {
            // Others were pressed already: what is left to find is found without another rush.
            (Rule::Planned(_), Rule::Usual) if self.law.has_pressed() => {
                self.usual = Usual::after(0, now, self.mtu);
            }
            (Rule::Planned(_), Rule::Usual) => self.usual = Usual::new(now, self.mtu),
            (Rule::Planned(window), Rule::AtLeast(_)) => {
                self.usual = Usual::after(window, now, self.mtu);
            }
            _ => {}
        }
    }

    fn is_usual(&self) -> bool {
        !matches!(self.rule, Rule::Planned(_))
    }
}

impl Controller for Planned {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        let now_ns = self.hear(now);
        self.law.sent(now_ns);
        self.follow(now);
        self.usual.0.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        let now_ns = self.hear(now);
        self.law.arrived(now_ns, nanos(now.saturating_duration_since(sent)), bytes);
        self.named = self.named.saturating_add(bytes);
        if self.is_usual() {
            self.usual.0.on_ack(now, sent, bytes, app_limited, rtt);
        }
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, acked: Option<u64>) {
        let now_ns = self.hear(now);
        let before = in_flight.saturating_add(std::mem::take(&mut self.named));
        self.law.acknowledged(now_ns, before, app_limited);
        self.follow(now);
        if self.is_usual() {
            self.usual.0.on_end_acks(now, in_flight, app_limited, acked);
        }
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        let now_ns = self.hear(now);
        if self.is_usual() {
            self.usual.0.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
        }
        self.law.lost(now_ns, lost_bytes, is_persistent_congestion);
        self.follow(now);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu;
        self.law.set_packet_bytes(new_mtu.into());
        self.usual.0.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        match self.rule {
            Rule::Usual => self.usual.0.window(),
            Rule::Planned(window) => window,
            Rule::AtLeast(window) => self.usual.0.window().max(window),
        }
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.usual.0.metrics();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.usual.0.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const BOUNDS: Bounds = Bounds { window_max: 16 << 20, ack_packets: 2 };
    const MTU: u16 = 1_200;
    const TRIP: Duration = Duration::from_millis(50);

    fn controller(zero: Instant) -> (PlannedLink, Planned) {
        let link = PlannedLink::new(zero);
        (link.clone(), Planned::new(link, BOUNDS, zero, MTU))
    }

    #[test]
    fn the_plan_decides_from_when_it_is_told_until_the_contact_is_over() {
        let mut now = Instant::now();
        let (link, mut planned) = controller(now);
        let usual = planned.window();
        assert_eq!(usual, planned.initial_window());
        link.set(Series::constant(40_000_000, 50_000_000));
        now += TRIP;
        planned.on_sent(now, 1_200, 0);
        let full = planned.window();
        assert!((250_000..300_000).contains(&full), "{full}");
        // What is noise to the plan is none to CUBIC.
        for _ in 0..100 {
            now += Duration::from_millis(1);
            planned.on_congestion_event(now, now, false, 1_200);
        }
        assert_eq!(planned.window(), full);
        link.set(Series::default());
        planned.on_sent(now, 1_200, 1);
        assert!(planned.window() < full, "the contact is over");
    }

    #[test]
    fn without_a_plan_it_is_cubic() {
        let now = Instant::now();
        let (_, mut planned) = controller(now);
        let mut cubic = Arc::new(CubicConfig::default()).build(now, MTU);
        for step in 1..200 {
            let now = now + TRIP * step;
            for of in [&mut planned as &mut dyn Controller, &mut *cubic] {
                of.on_sent(now, 1_200, step.into());
                if step % 7 == 0 {
                    of.on_congestion_event(now, now - TRIP, step % 49 == 0, 1_200);
                }
                of.on_mtu_update(if step < 20 { 1_200 } else { 1_452 });
                of.on_end_acks(now, 0, false, Some(step.into()));
            }
            assert_eq!(planned.window(), cubic.window());
        }
    }

    #[test]
    fn what_is_planned_has_bounds() {
        let now = Instant::now();
        let (link, mut planned) = controller(now);
        for (rate, rtt) in [(u64::MAX, u64::MAX), (u64::MAX, 1), (1, u64::MAX), (0, 0), (1, 1)] {
            link.set(Series::constant(rate, rtt));
            planned.on_sent(now, 1_200, 0);
            assert!((2_400..=BOUNDS.window_max).contains(&planned.window()), "{rate} {rtt}");
        }
    }
}
