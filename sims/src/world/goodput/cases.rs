//! The links that goodput is measured on.

use codecs::link::{
    congestion::{self, Series},
    profile::{DEEP, GEO, LEO, LUNAR, Profile},
};

use super::{
    Flow, Law, Link, START, Way,
    steps::{Step, Steps},
};
use crate::{
    link::{
        LIGHT_KM_S, LossSettings,
        modcod::{DVB_S2, Ladder},
    },
    world::bulk::Bulk,
};

const SECOND: u64 = 1_000_000_000;
/// Bytes of an object, as spacecraft send them.
pub const OBJECT: usize = 2 << 20;

/// A regime of rate and delay.
#[derive(Clone, Copy, Debug)]
pub struct Regime {
    /// Name in tables.
    pub name: &'static str,
    /// Settings of the transport.
    pub profile: Profile,
    /// Rate to the station and back, bit/s.
    pub rates_bps: [f64; 2],
    /// Round trip, ns.
    pub rtt_ns: u64,
    /// Objects that are sent.
    pub objects: u64,
}

/// Low orbit, 50 Mbit/s at 30 ms.
pub const LEO_50: Regime = Regime {
    name: "LEO 50 Mbit/s, 30 ms",
    profile: LEO,
    rates_bps: [50e6, 5e6],
    rtt_ns: 30_000_000,
    objects: 90,
};

/// A geostationary relay, 50 and 2 Mbit/s at 600 ms.
pub const GEO_50: Regime = Regime {
    name: "GEO 50/2 Mbit/s, 600 ms",
    profile: GEO,
    rates_bps: [50e6, 2e6],
    rtt_ns: 600_000_000,
    objects: 360,
};

/// The Moon, 10 and 1 Mbit/s at 2.6 s.
pub const MOON_10: Regime = Regime {
    name: "Moon 10/1 Mbit/s, 2.6 s",
    profile: LUNAR,
    rates_bps: [10e6, 1e6],
    rtt_ns: 2_600_000_000,
    objects: 360,
};

/// Mars, 1 and 0.1 Mbit/s at ten minutes.
pub const MARS_1: Regime = Regime {
    name: "Mars 1/0.1 Mbit/s, 600 s",
    profile: DEEP,
    rates_bps: [1e6, 0.1e6],
    rtt_ns: 600 * SECOND,
    objects: 900,
};

/// 100 MB over a fast relay with a thin return.
pub const GEO_250: Regime = Regime {
    name: "GEO 250/3 Mbit/s, 600 ms",
    profile: GEO,
    rates_bps: [250e6, 3e6],
    rtt_ns: 600_000_000,
    objects: 48,
};

/// Losses that constant links are measured with, and their names.
pub const LOSSES: [(&str, LossSettings); 4] = [
    ("none", LossSettings::NONE),
    ("0.1 %", LossSettings { mean: 1e-3, burst_packets: 1.0 }),
    ("1 %", LossSettings { mean: 1e-2, burst_packets: 1.0 }),
    ("1 % in bursts of 10", LossSettings { mean: 1e-2, burst_packets: 10.0 }),
];

impl Regime {
    /// The link with a queue of one round trip, and a plan that says so.
    pub fn link(&self, loss: LossSettings) -> Link {
        let delay_ns = (self.rtt_ns / 2) as i64;
        let way =
            |rate, loss| Way::stepped(Steps::constant(rate, delay_ns), self.rtt_ns as i64, loss);
        let [up, down] = self.rates_bps;
        Link {
            profile: self.profile,
            start: START,
            up: way(up, loss),
            down: way(down, LossSettings::NONE),
            plan: Series::constant(up as u64, self.rtt_ns),
            // CUBIC on a lossy link to the Moon would take a day: what was acknowledged until then
            // counts.
            until_ns: 4 * self.ideal_ns() + 8 * self.rtt_ns,
        }
    }

    /// One flow of all objects.
    pub fn flow(&self, law: Law) -> Flow {
        Flow { law, from_ns: 0, bulk: self.bulk(self.objects) }
    }

    /// So many objects.
    pub fn bulk(&self, objects: u64) -> Bulk {
        Bulk { object_bytes: OBJECT, objects_max: self.profile.objects_max, objects }
    }

    /// How long the objects take at the link's rate, ns.
    pub fn ideal_ns(&self) -> u64 {
        let bits = 8.0 * OBJECT as f64 * self.objects as f64;
        (bits / self.rates_bps[0] * 1e9) as u64
    }
}

/// A plan that is wrong by a factor, of a link with one rate.
pub fn mispredicted(link: &Link, factor: f64) -> Link {
    let steps = link
        .plan
        .steps()
        .iter()
        .map(|step| congestion::Step { rate_bps: (step.rate_bps as f64 * factor) as u64, ..*step });
    Link { plan: Series::new(steps.collect()), ..link.clone() }
}

/// A pass over a station.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Height of the orbit, km.
    pub height_km: f64,
    /// Elevation at culmination, degrees.
    pub highest_deg: f64,
    /// Elevation at rise and set, degrees.
    pub mask_deg: f64,
    /// Symbols a second.
    pub symbols_s: f64,
    /// Es/N0 at the shortest range overhead, dB.
    pub es_n0_db: f64,
    /// Between Es/N0 and what a modcod needs, dB.
    pub margin_db: f64,
    /// From the rise until the receiver has locked, ns.
    pub lock_ns: u64,
    /// Modems and cables, one way, ns.
    pub ground_ns: i64,
}

/// An X-band downlink of an Earth observer.
pub const X_BAND: Pass = Pass {
    height_km: 550.0,
    highest_deg: 70.0,
    mask_deg: 5.0,
    symbols_s: 10e6,
    es_n0_db: 16.5,
    margin_db: 1.0,
    lock_ns: 3 * SECOND,
    ground_ns: 4_000_000,
};

/// What comes between the plan and the pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Fades: begin and length, s, and depth, dB. The modem goes down its ladder, which no plan
    /// knows.
    pub fades: &'static [(f64, f64, f64)],
}

/// Three fades of some seconds.
pub const SHOWERS: Weather =
    Weather { fades: &[(120.0, 20.0, 1.5), (250.0, 12.0, 3.0), (400.0, 25.0, 2.0)] };

impl Pass {
    /// Seconds from rise to set and the elevation and range over them, every second.
    fn looks(&self) -> Vec<(f64, f64)> {
        const EARTH_KM: f64 = 6_371.0;
        const GM: f64 = 398_600.441_8;
        let radius = EARTH_KM + self.height_km;
        let rate = (GM / radius.powi(3)).sqrt();
        let angle = |elevation: f64| {
            let elevation = elevation.to_radians();
            (EARTH_KM / radius * elevation.cos()).acos() - elevation
        };
        // A great circle that passes the station at the angle of the culmination.
        let nearest = angle(self.highest_deg);
        let half = (angle(self.mask_deg).cos() / nearest.cos()).acos() / rate;
        (0..=(2.0 * half) as u64)
            .map(|second| {
                let along = rate * (second as f64 - half);
                let central = (nearest.cos() * along.cos()).acos();
                let range = (EARTH_KM.powi(2) + radius.powi(2)
                    - 2.0 * EARTH_KM * radius * central.cos())
                .sqrt();
                let sine =
                    (radius.powi(2) - EARTH_KM.powi(2) - range.powi(2)) / (2.0 * EARTH_KM * range);
                (range, sine.asin().to_degrees())
            })
            .collect()
    }

    /// The link over the pass, with the plan made from the clear sky.
    pub fn link(&self, weather: Weather, loss: LossSettings) -> Link {
        let looks = self.looks();
        let ladder = Ladder::new(&DVB_S2);
        let rate = |range: f64, fade: f64| {
            let es_n0 = self.es_n0_db - 20.0 * (range / self.height_km).log10() - fade;
            let ladder = ladder.as_ref()?;
            let step = ladder.steps().get(ladder.highest(es_n0 - self.margin_db)?)?;
            Some(step.bits_per_symbol * self.symbols_s)
        };
        let delay = |range: f64| (range / LIGHT_KM_S * 1e9) as i64 + self.ground_ns;
        let at = |second: usize| (second as u64 * SECOND).max(self.lock_ns);
        let mut air = vec![];
        let mut plan = vec![];
        for (second, (range, _)) in looks.iter().enumerate() {
            let faded = |(from, length, depth): &(f64, f64, f64)| {
                // A fade comes and goes over a quarter of its length.
                let (since, quarter) = (second as f64 - from, length / 4.0);
                let edge = since.min(length - since) / quarter;
                depth * edge.clamp(0.0, 1.0)
            };
            let fade: f64 = weather.fades.iter().map(faded).sum();
            let (rate_bps, delay_ns) = (rate(*range, fade).unwrap_or(0.0), delay(*range));
            air.push(Step { from_ns: at(second), rate_bps, delay_ns });
            plan.push(congestion::Step {
                from_ns: at(second),
                rate_bps: rate(*range, 0.0).unwrap_or(0.0) as u64,
                rtt_ns: 2 * delay_ns.unsigned_abs(),
            });
        }
        let set = looks.len() as u64 * SECOND;
        air.push(Step { from_ns: set, rate_bps: 0.0, delay_ns: 0 });
        let longest = 2 * air.iter().map(|step| step.delay_ns).max().unwrap_or(0);
        let back = air.iter().map(|step| Step { rate_bps: step.rate_bps.min(2e6), ..*step });
        Link {
            profile: LEO,
            start: START,
            down: Way::stepped(Steps::new(back.collect()), longest, LossSettings::NONE),
            up: Way::stepped(Steps::new(air), longest, loss),
            plan: Series::new(plan),
            until_ns: set,
        }
    }

    /// More than the pass can take.
    pub fn flow(&self, law: Law) -> Flow {
        let bulk = Bulk { object_bytes: OBJECT, objects_max: LEO.objects_max, objects: 1 << 20 };
        Flow { law, from_ns: self.lock_ns, bulk }
    }
}
