//! A congestion controller that knows what a contact plan says of the link.
//!
//! A contact is a scheduled link whose rate is predicted: noise on it is no sign of too much. So
//! the window does not fall below what the plan's rate fills in the shortest round trip; beyond
//! that CUBIC finds out. Where the plan is wrong, and too much of what it allows is lost, CUBIC
//! alone decides until the plan says another rate. Without a plan nothing changes.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;

/// One byte of so many lost is too much for a link of the planned rate.
const LOST_MAX: u64 = 4;
/// Least bytes that this is judged by.
const JUDGED_MIN: u64 = 64 << 10;

/// The rate of the contact that lasts now, bit/s; 0 where none is known. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct PlannedRate(Arc<AtomicU64>);

impl PlannedRate {
    /// Says what the plan says now.
    pub fn set(&self, bps: u64) {
        self.0.store(bps, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Makes a controller for each connection.
#[derive(Debug)]
pub struct PlannedConfig {
    /// What the plan says.
    pub rate: PlannedRate,
    /// Most bytes that a plan may have under way.
    pub window_max: u64,
}

impl ControllerFactory for PlannedConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let cubic = Arc::new(CubicConfig::default()).build(now, current_mtu);
        Box::new(Planned { cubic, trial: Trial::new(self.rate.clone(), self.window_max) })
    }
}

/// What the plan is worth on this connection.
#[derive(Clone, Debug)]
struct Trial {
    rate: PlannedRate,
    window_max: u64,
    /// Shortest round trip, ns; 0 before one was measured.
    rtt_ns: u64,
    arrived: u64,
    lost: u64,
    /// A rate that lost too much.
    refuted_bps: u64,
}

impl Trial {
    fn new(rate: PlannedRate, window_max: u64) -> Self {
        Self { rate, window_max, rtt_ns: 0, arrived: 0, lost: 0, refuted_bps: 0 }
    }

    /// Bytes that the plan's rate fills.
    fn floor(&self) -> u64 {
        let bps = self.rate.get();
        if bps == self.refuted_bps {
            return 0;
        }
        let bytes = u128::from(bps) * u128::from(self.rtt_ns) / 8_000_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX).min(self.window_max)
    }

    fn arrived(&mut self, bytes: u64, rtt_ns: u64) {
        self.rtt_ns = rtt_ns;
        self.arrived += bytes;
        self.judge();
    }

    fn lost(&mut self, bytes: u64, persistent: bool) {
        self.lost += bytes;
        if persistent {
            self.refuted_bps = self.rate.get();
        }
        self.judge();
    }

    fn judge(&mut self) {
        let all = self.arrived + self.lost;
        if all < JUDGED_MIN.max(2 * self.floor()) {
            return;
        }
        if self.lost * LOST_MAX > all {
            self.refuted_bps = self.rate.get();
        }
        (self.arrived, self.lost) = (0, 0);
    }
}

struct Planned {
    cubic: Box<dyn Controller>,
    trial: Trial,
}

impl Controller for Planned {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.cubic.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.trial.arrived(bytes, u64::try_from(rtt.min().as_nanos()).unwrap_or(u64::MAX));
        self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, acked: Option<u64>) {
        self.cubic.on_end_acks(now, in_flight, app_limited, acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.trial.lost(lost_bytes, is_persistent_congestion);
        self.cubic.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.cubic.window().max(self.trial.floor())
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.cubic.metrics();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { cubic: self.cubic.clone_box(), trial: self.trial.clone() })
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const WINDOW: u64 = 16 << 20;

    fn controller(rate: &PlannedRate) -> Planned {
        let now = Instant::now();
        let cubic = Arc::new(CubicConfig::default()).build(now, 1_200);
        Planned { cubic, trial: Trial::new(rate.clone(), WINDOW) }
    }

    #[test]
    fn noise_does_not_take_the_window_below_the_plan_and_a_wrong_plan_does() {
        let rate = PlannedRate::default();
        let mut planned = controller(&rate);
        let now = Instant::now();
        let usual = planned.window();
        planned.trial.arrived(1_200, SECOND / 20);
        assert_eq!(planned.window(), usual, "nothing is planned");
        rate.set(40_000_000);
        assert_eq!(planned.window(), 250_000, "50 ms at 40 Mbit/s");
        // One in a hundred is lost, for long.
        for _ in 0..1_000 {
            planned.trial.arrived(120_000, SECOND / 20);
            planned.on_congestion_event(now, now, false, 1_200);
        }
        assert!(planned.cubic.window() < 10_000 && planned.window() == 250_000);
        // One in two is lost: the link is not what the plan says.
        for _ in 0..400 {
            planned.trial.arrived(1_200, SECOND / 20);
            planned.on_congestion_event(now, now, false, 1_200);
        }
        assert_eq!(planned.window(), planned.cubic.window());
        // The next contact is another one.
        rate.set(8_000_000);
        assert_eq!(planned.window(), 50_000);
        planned.on_congestion_event(now, now, true, 1_200);
        assert_eq!(planned.window(), planned.cubic.window());
    }

    #[test]
    fn a_plan_is_bounded_and_says_nothing_before_a_round_trip_was_measured() {
        let rate = PlannedRate::default();
        let mut planned = controller(&rate);
        rate.set(u64::MAX);
        assert_eq!(planned.window(), planned.cubic.window());
        planned.trial.arrived(1, u64::MAX);
        assert_eq!(planned.window(), WINDOW);
        rate.set(0);
        assert_eq!(planned.window(), planned.cubic.window());
        assert_eq!(planned.initial_window(), planned.cubic.initial_window());
    }
}
