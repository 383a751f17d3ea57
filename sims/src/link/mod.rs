//! The radio link as packets feel it: delay, rate, a finite queue, losses, and the horizon.
//!
//! ```text
//! offer ─► visible? ─► queue (rate) ─► losses ─► deliver at (range / c + ground)
//! ```

pub mod antenna;
pub mod weather;
pub mod waterfall;
pub mod modcod;
pub mod ccsds;
pub mod control;
pub mod budget;
pub mod geometry;
pub mod loss;
pub mod noise;

use codecs::time::Tai;
pub use geometry::{Fixed, Geometry, Sky, Track};
pub use loss::{GilbertElliott, LossSettings};

/// Speed of light, km/s.
pub const LIGHT_KM_S: f64 = 299_792.458;
/// What a datagram costs on the link beside its payload: IPv4 and UDP headers.
const OVERHEAD_BYTES: usize = 28;

/// How one direction of a link behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkSettings {
    /// Rate at the shortest range, bits a second.
    pub rate_bps: f64,
    /// Time spent in modems and cables beside the flight.
    pub ground_delay_ns: i64,
    /// Longest wait in the queue; what would wait longer is dropped.
    pub queue_ns: i64,
    /// How packets are lost.
    pub loss: LossSettings,
    /// Seed of the losses.
    pub seed: u64,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It arrives then.
    DeliverAt(Tai),
    /// It doesn't.
    Dropped(Reason),
}

/// Why a packet didn't arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The satellite is below the horizon.
    Invisible,
    /// The queue is longer than its bound.
    QueueFull,
    /// Noise ate it.
    Lost,
}

/// One direction of a link: no clock, no sockets, the same seed gives the same fates.
#[derive(Clone, Debug)]
pub struct LinkModel<G> {
    settings: LinkSettings,
    geometry: G,
    loss: GilbertElliott,
    busy_until: Tai,
    last_delivery: Tai,
}

impl<G: Geometry> LinkModel<G> {
    /// An idle link.
    pub fn new(settings: LinkSettings, geometry: G) -> Self {
        let loss = GilbertElliott::new(settings.loss, settings.seed);
        Self { settings, geometry, loss, busy_until: Tai(i64::MIN), last_delivery: Tai(i64::MIN) }
    }

    /// Decides about a packet of `length` payload bytes offered at `now`; calls come in the order
    /// of time.
    pub fn offer(&mut self, now: Tai, length: usize) -> Verdict {
        let Some(sky) = self.geometry.sky(now) else {
            return Verdict::Dropped(Reason::Invisible);
        };
        let free = self.busy_until.max(now);
        if free.since(now) > self.settings.queue_ns {
            return Verdict::Dropped(Reason::QueueFull);
        }
        let bits = 8.0 * (length + OVERHEAD_BYTES) as f64;
        let rate = self.settings.rate_bps * sky.rate_share;
        self.busy_until = free.plus((bits / rate * 1e9) as i64);
        // A lost packet took its time on the air all the same.
        if self.loss.loses() {
            return Verdict::Dropped(Reason::Lost);
        }
        let flight_ns = (sky.range_km / LIGHT_KM_S * 1e9) as i64;
        let arrival = self.busy_until.plus(flight_ns + self.settings.ground_delay_ns);
        self.last_delivery = self.last_delivery.max(arrival);
        Verdict::DeliverAt(self.last_delivery)
    }

    /// Rate at an instant, bits a second; 0 below the horizon.
    pub fn rate_bps(&self, at: Tai) -> f64 {
        self.geometry.sky(at).map_or(0.0, |sky| self.settings.rate_bps * sky.rate_share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn settings(loss: LossSettings) -> LinkSettings {
        LinkSettings {
            rate_bps: 1e6,
            ground_delay_ns: 2_000_000,
            queue_ns: SECOND / 10,
            loss,
            seed: 3,
        }
    }

    #[test]
    fn delay_is_serialisation_flight_and_ground() {
        let mut link = LinkModel::new(settings(LossSettings::NONE), Fixed { range_km: 2997.92458 });
        // 972 + 28 bytes at 1 Mb/s: 8 ms; 10 ms of flight; 2 ms on the ground.
        assert_eq!(link.offer(Tai(0), 972), Verdict::DeliverAt(Tai(20_000_000)));
        // The next one waits for the first.
        assert_eq!(link.offer(Tai(0), 972), Verdict::DeliverAt(Tai(28_000_000)));
    }

    #[test]
    fn the_queue_has_an_end() {
        let mut link = LinkModel::new(settings(LossSettings::NONE), Fixed { range_km: 0.0 });
        let fates: Vec<Verdict> = (0..20).map(|_| link.offer(Tai(0), 972)).collect();
        let dropped = fates.iter().filter(|fate| **fate == Verdict::Dropped(Reason::QueueFull));
        // 100 ms hold 12.5 packets of 8 ms; the one that starts within the bound still goes.
        assert_eq!(dropped.count(), 20 - 13);
        assert!(matches!(link.offer(Tai(SECOND), 972), Verdict::DeliverAt(_)));
    }

    #[test]
    fn nothing_passes_below_the_horizon() {
        let track = Track::new(Tai(0), SECOND, vec![None, Some((1000.0, 10.0)), None]);
        let mut link = LinkModel::new(settings(LossSettings::NONE), track);
        let invisible = Verdict::Dropped(Reason::Invisible);
        assert_eq!(link.offer(Tai(-1), 10), invisible);
        assert_eq!(link.offer(Tai(SECOND / 2), 10), invisible);
        assert!(matches!(link.offer(Tai(SECOND), 10), Verdict::DeliverAt(_)));
        assert_eq!(link.offer(Tai(9 * SECOND), 10), invisible);
    }

    #[test]
    fn the_same_seed_gives_the_same_fates() {
        let loss = LossSettings { mean: 0.1, burst_packets: 4.0 };
        let fates = |seed| {
            let mut link =
                LinkModel::new(LinkSettings { seed, ..settings(loss) }, Fixed { range_km: 500.0 });
            (0..500).map(|n| link.offer(Tai(n * SECOND), 100)).collect::<Vec<_>>()
        };
        assert_eq!(fates(1), fates(1));
        assert_ne!(fates(1), fates(2));
    }
}
