//! The radio link as packets feel it: delay, rate, a finite queue, losses, and the horizon.
//!
//! ```text
//! antenna + weather ─► budget ─► control (MODCOD) ─┐
//!                fade, shadow (over time) ─────────┴► radio (rate, lock, frame errors)
//! offer ─► visible? ─► queue (rate) ─► frames, bursts ─► deliver at (range / c + ground), late, twice
//! ```

pub mod antenna;
pub mod weather;
pub mod waterfall;
pub mod modcod;
pub mod ccsds;
pub mod control;
pub mod budget;
pub mod geometry;
pub mod fade;
pub mod shadow;
pub mod radio;
pub mod loss;
pub mod disturbance;
pub mod noise;
pub mod netem;

use crate::rng::Random;
use codecs::time::Tai;
use disturbance::Disturbing;
pub use disturbance::{Disturbances, Handover};
pub use geometry::{Fixed, Frames, Geometry, Sky, Track};
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
    /// The satellite is below the horizon, the receiver has no lock, or the path is in a gap.
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
    disturbing: Option<Disturbing>,
    framing: Framing,
    busy_until: Tai,
    last_delivery: Tai,
    copy: Option<Tai>,
    overhead_bytes: usize,
    lost_at: Option<Tai>,
}

/// The frame of the code that is being filled.
#[derive(Clone, Debug)]
struct Framing {
    left_bits: f64,
    lost: bool,
    random: Random,
}

impl Framing {
    /// Puts a packet into frames: whether any of them is lost.
    fn loses(&mut self, mut bits: f64, frames: Frames) -> bool {
        let mut lost = false;
        while bits > 0.0 {
            if self.left_bits <= 0.0 {
                self.left_bits = frames.bits.max(1.0);
                self.lost = self.random.chance(frames.error);
            }
            lost |= self.lost;
            let taken = bits.min(self.left_bits);
            self.left_bits -= taken;
            bits -= taken;
        }
        lost
    }
}

impl<G: Geometry> LinkModel<G> {
    /// An idle link.
    pub fn new(settings: LinkSettings, geometry: G) -> Self {
        let loss = GilbertElliott::new(settings.loss, settings.seed);
        let framing =
            Framing { left_bits: 0.0, lost: false, random: Random::new(settings.seed, "frames") };
        let never = Tai(i64::MIN);
        Self {
            settings,
            geometry,
            loss,
            disturbing: None,
            framing,
            busy_until: never,
            last_delivery: never,
            copy: None,
            overhead_bytes: OVERHEAD_BYTES,
            lost_at: None,
        }
    }

    /// Carries what modems send, which has no headers of IP and UDP.
    pub fn without_overhead(self) -> Self {
        Self { overhead_bytes: 0, ..self }
    }

    /// Adds gaps, late packets and second copies.
    pub fn with_disturbances(self, of: Disturbances) -> Self {
        Self { disturbing: Some(Disturbing::new(of, self.settings.seed)), ..self }
    }

    /// Decides about a packet of `length` payload bytes offered at `now`; calls come in the order
    /// of time. Where disturbances make a second copy, [`copy`](Self::copy) tells of it.
    pub fn offer(&mut self, now: Tai, length: usize) -> Verdict {
        (self.copy, self.lost_at) = (None, None);
        if self.sky(now).is_none() {
            return Verdict::Dropped(Reason::Invisible);
        }
        let free = self.busy_until.max(now);
        if free.since(now) > self.settings.queue_ns {
            return Verdict::Dropped(Reason::QueueFull);
        }
        // It leaves when the queue before it is sent: by then the link may be another, or gone.
        let Some(sky) = self.sky(free) else {
            return Verdict::Dropped(Reason::Invisible);
        };
        let bits = 8.0 * (length + self.overhead_bytes) as f64;
        let rate = self.settings.rate_bps * sky.rate_share;
        self.busy_until = free.plus((bits / rate * 1e9) as i64);
        // A lost packet took its time on the air all the same.
        let burst = self.loss.loses();
        let frames = self.geometry.frames(free);
        let flight_ns = (sky.range_km / LIGHT_KM_S * 1e9) as i64;
        let arrival = self.busy_until.plus(flight_ns + self.settings.ground_delay_ns);
        if frames.is_some_and(|frames| self.framing.loses(bits, frames)) || burst {
            self.lost_at = Some(arrival);
            return Verdict::Dropped(Reason::Lost);
        }
        let at = match self.disturbing.as_mut().and_then(Disturbing::late_ns) {
            Some(late_ns) => arrival.plus(late_ns),
            None => {
                self.last_delivery = self.last_delivery.max(arrival);
                self.last_delivery
            }
        };
        let copy_ns = self.disturbing.as_mut().and_then(Disturbing::copy_ns);
        self.copy = copy_ns.map(|later_ns| at.plus(later_ns));
        Verdict::DeliverAt(at)
    }

    /// When the packet that was just offered comes a second time, if it does.
    pub fn copy(&self) -> Option<Tai> {
        self.copy
    }

    /// When what noise took of the packet that was just offered arrives all the same: a modem hands
    /// on what it heard.
    pub fn lost_at(&self) -> Option<Tai> {
        self.lost_at
    }

    /// Rate at an instant, bits a second; 0 below the horizon.
    pub fn rate_bps(&self, at: Tai) -> f64 {
        self.sky(at).map_or(0.0, |sky| self.settings.rate_bps * sky.rate_share)
    }

    /// The other end, where anything passes.
    fn sky(&self, at: Tai) -> Option<Sky> {
        if self.disturbing.as_ref().is_some_and(|disturbing| !disturbing.passes(at)) {
            return None;
        }
        self.geometry.sky(at).filter(|sky| sky.rate_share > 0.0)
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
    fn noise_takes_whole_frames() {
        struct Noisy;
        impl Geometry for Noisy {
            fn sky(&self, _: Tai) -> Option<Sky> {
                Some(Sky { range_km: 0.0, rate_share: 1.0 })
            }
            fn frames(&self, _: Tai) -> Option<Frames> {
                Some(Frames { bits: 32_000.0, error: 0.05 })
            }
        }
        let mut link = LinkModel::new(settings(LossSettings::NONE), Noisy);
        const PACKETS: i64 = 100_000;
        let lost: Vec<bool> = (0..PACKETS)
            .map(|n| link.offer(Tai(n * SECOND), 972) == Verdict::Dropped(Reason::Lost))
            .collect();
        // Packets of 8,000 bits fill frames of 32,000: four go down together.
        let share = lost.iter().filter(|lost| **lost).count() as f64 / PACKETS as f64;
        assert!((share / 0.05 - 1.0).abs() < 0.06, "{share}");
        assert!(lost.chunks(4).all(|four| four.iter().all(|lost| *lost == four[0])));
    }

    #[test]
    fn late_packets_are_overtaken_and_copies_are_told() {
        let of = Disturbances {
            late_share: 0.2,
            late_ns: 50_000_000,
            twice_share: 0.1,
            outages: vec![(Tai(0), Tai(SECOND))],
            ..Disturbances::default()
        };
        let mut link = LinkModel::new(settings(LossSettings::NONE), Fixed { range_km: 300.0 })
            .with_disturbances(of);
        assert_eq!(link.offer(Tai(SECOND / 2), 100), Verdict::Dropped(Reason::Invisible));
        assert_eq!(link.rate_bps(Tai(SECOND / 2)), 0.0);
        let (mut overtaken, mut last, mut copies) = (0, Tai(0), 0);
        for n in 0..10_000i64 {
            let Verdict::DeliverAt(at) = link.offer(Tai(SECOND + n * 5_000_000), 100) else {
                panic!("{n}");
            };
            overtaken += i32::from(at < last);
            last = last.max(at);
            copies += i32::from(link.copy().is_some_and(|copy| copy >= at));
        }
        assert!(overtaken > 1_000, "{overtaken}");
        assert!((900..1_100).contains(&copies), "{copies}");
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
