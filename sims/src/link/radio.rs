//! A link over a pass as its budget has it: rate by MODCOD, frame errors by Es/N0, lock, fades.

use super::budget::file::Described;
use super::control::{Chooser, Seen};
use super::disturbance::{Disturbances, Handover};
use super::fade::{CloudState, RainFade, RainState, Scintillating};
use super::geometry::{Frames, Geometry, Sky, Track};
use super::modcod::Modcod;
use super::shadow::{Shadowing, Surroundings};
use super::weather::cloud;
use super::weather::path::Sky as Air;
use super::{LIGHT_KM_S, LinkSettings, LossSettings};
use codecs::time::Tai;
use std::sync::Arc;
use thiserror::Error;

/// Distance of two moments where nothing is faster, and where the end moves through shadows, ns.
const STEP_NS: i64 = 100_000_000;
/// Moments of one pass at most: a day in tenths of a second.
const MAX_MOMENTS: i64 = 1_000_000;
/// Clouds change slowly: they are reckoned this often, ns.
const CLOUD_STEP_NS: i64 = 1_000_000_000;
/// Water in clouds while it rains at most, kg/m²: more of it is rain already (P.1853-1).
const CLOUD_IN_RAIN_KG_M2: f64 = 1.0;
/// How far below what the sturdiest MODCOD needs a receiver keeps its lock, dB.
const LOCK_KEPT_DB: f64 = 3.0;

/// What is simulated of the air.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Nothing but gases: what a planner knows beforehand.
    Clear,
    /// Rain, scintillation and shadows as the file has them, from a seed.
    Seeded(u64),
}

/// One moment of a link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Degrees.
    pub elevation_deg: f64,
    /// Kilometres.
    pub range_km: f64,
    /// Es/N0 under a clear sky, dB.
    pub clear_db: f64,
    /// Es/N0 at the receiver, dB.
    pub es_n0_db: f64,
    /// Rain's part of the fade, dB.
    pub rain_db: f64,
    /// That of clouds, dB.
    pub cloud_db: f64,
    /// Whether the receiver has lock.
    pub locked: bool,
    /// What is sent with.
    pub modcod: Modcod,
    /// Bits a second for the user.
    pub rate_bps: f64,
    /// Frames of its code.
    pub frames: Frames,
}

/// A pass, moment by moment.
#[derive(Clone, Debug)]
pub struct RadioLink {
    start: Tai,
    step_ns: i64,
    moments: Vec<Moment>,
    peak_bps: f64,
    changes: u64,
}

/// What holds from an instant until the next step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Planned {
    /// Its first instant.
    pub from: Tai,
    /// Bits a second for the user; 0 without lock.
    pub rate_bps: f64,
    /// Flight one way, ns.
    pub delay_ns: i64,
}

/// Why a pass can't be flown.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum RadioError {
    /// More moments than fit.
    #[error("a pass of {seconds} s in steps of {step_ms} ms has more than {MAX_MOMENTS} moments")]
    TooLong {
        /// How long it is.
        seconds: i64,
        /// Steps, ms.
        step_ms: i64,
    },
    /// None at all.
    #[error("a track without a sample is no pass")]
    Empty,
}

impl RadioLink {
    /// Flies a link over a track.
    pub fn fly(of: &Described, track: &Track, weather: Weather) -> Result<Self, RadioError> {
        let (start, end) = track.span();
        let shadow = of.channel.shadowing.map(|of| of.coherence_ms * 1e6);
        let step_ns = shadow.map_or(STEP_NS, |ns| (ns as i64).clamp(1, STEP_NS));
        let span_ns = end.since(start);
        let count = span_ns / step_ns + 1;
        if count > MAX_MOMENTS {
            let (seconds, step_ms) = (span_ns / 1_000_000_000, step_ns / 1_000_000);
            return Err(RadioError::TooLong { seconds, step_ms });
        }
        let mut flight = Flight::new(of, weather);
        let mut moments = Vec::with_capacity(count as usize);
        for at in 0..count {
            let now = start.plus(at * step_ns);
            let Some((range_km, elevation_deg)) = track.look(now) else { break };
            moments.push(flight.moment(now, start, range_km, elevation_deg, step_ns));
        }
        if moments.is_empty() {
            return Err(RadioError::Empty);
        }
        let peak_bps = moments.iter().map(|moment| moment.rate_bps).fold(1.0, f64::max);
        Ok(Self { start, step_ns, moments, peak_bps, changes: flight.chooser.changes() })
    }

    /// Its moments, and when each is.
    pub fn moments(&self) -> impl Iterator<Item = (Tai, &Moment)> {
        let at = |index: usize| self.start.plus(index as i64 * self.step_ns);
        self.moments.iter().enumerate().map(move |(index, moment)| (at(index), moment))
    }

    /// The greatest rate, bits a second: what [`LinkSettings::rate_bps`] is to be.
    pub fn peak_bps(&self) -> f64 {
        self.peak_bps
    }

    /// How often reports changed the MODCOD.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The moment that an instant belongs to; none outside the pass.
    pub fn moment(&self, at: Tai) -> Option<&Moment> {
        let index = usize::try_from(at.since(self.start).div_euclid(self.step_ns)).ok()?;
        self.moments.get(index)
    }

    /// Rate and delay as steps, for whoever paces by them: a new one where the rate changes, or the
    /// delay by more than this many ns. A pass flown under [`Weather::Clear`] gives what can be known
    /// beforehand.
    pub fn plan(&self, delay_change_ns: i64) -> Vec<Planned> {
        let mut steps: Vec<Planned> = Vec::new();
        for (from, moment) in self.moments() {
            let rate_bps = if moment.locked { moment.rate_bps } else { 0.0 };
            let delay_ns = (moment.range_km / LIGHT_KM_S * 1e9) as i64;
            let same = steps.last().is_some_and(|last| {
                last.rate_bps == rate_bps && (last.delay_ns - delay_ns).abs() <= delay_change_ns
            });
            if !same {
                steps.push(Planned { from, rate_bps, delay_ns });
            }
        }
        let end = self.start.plus(self.moments.len() as i64 * self.step_ns);
        steps.push(Planned { from: end, rate_bps: 0.0, delay_ns: 0 });
        steps
    }

    /// Bits that frames without error carry over the pass.
    pub fn capacity_bits(&self) -> f64 {
        self.bits(self.start, self.start.plus(self.moments.len() as i64 * self.step_ns))
    }

    /// Bits that frames without error carry between two times.
    pub fn bits(&self, from: Tai, until: Tai) -> f64 {
        let carried = |(at, moment): (Tai, &Moment)| {
            let span_ns = at.plus(self.step_ns).min(until).since(at.max(from)).max(0);
            let rate_bps = if moment.locked { moment.rate_bps } else { 0.0 };
            rate_bps * (1.0 - moment.frames.error) * span_ns as f64 / 1e9
        };
        self.moments().map(carried).sum()
    }
}

impl Geometry for RadioLink {
    fn sky(&self, at: Tai) -> Option<Sky> {
        let moment = self.moment(at).filter(|moment| moment.locked)?;
        let into = at.since(self.start).rem_euclid(self.step_ns);
        let next = self.moment(at.plus(self.step_ns)).unwrap_or(moment);
        let part = into as f64 / self.step_ns as f64;
        let range_km = moment.range_km + (next.range_km - moment.range_km) * part;
        Some(Sky { range_km, rate_share: moment.rate_bps / self.peak_bps })
    }

    fn frames(&self, at: Tai) -> Option<Frames> {
        self.moment(at).map(|moment| moment.frames)
    }
}

/// Either direction of a radio link: forth by its budget, back at one rate while there is lock.
#[derive(Clone, Debug)]
pub enum Way {
    /// From the satellite.
    Forth(Arc<RadioLink>),
    /// To it.
    Back(Arc<RadioLink>),
}

impl Way {
    /// The pass that it is a direction of.
    pub fn link(&self) -> &Arc<RadioLink> {
        match self {
            Self::Forth(link) | Self::Back(link) => link,
        }
    }
}

impl Geometry for Way {
    fn sky(&self, at: Tai) -> Option<Sky> {
        match self {
            Self::Forth(link) => link.sky(at),
            Self::Back(link) => link.sky(at).map(|sky| Sky { rate_share: 1.0, ..sky }),
        }
    }

    fn frames(&self, at: Tai) -> Option<Frames> {
        match self {
            Self::Forth(link) => link.frames(at),
            Self::Back(_) => None,
        }
    }
}

impl Described {
    /// How packets fare forth and back on a link that was flown.
    pub fn settings(&self, flown: &RadioLink, seed: u64) -> [LinkSettings; 2] {
        let channel = &self.channel;
        let forth = LinkSettings {
            rate_bps: flown.peak_bps(),
            ground_delay_ns: (channel.ground_delay_ms * 1e6) as i64,
            queue_ns: (channel.queue_ms * 1e6) as i64,
            loss: LossSettings { mean: channel.loss_share, burst_packets: channel.burst_packets },
            seed,
        };
        let back = LinkSettings {
            rate_bps: channel.return_rate_bps.unwrap_or(flown.peak_bps()),
            loss: LossSettings { mean: channel.return_loss_share, ..forth.loss },
            seed: seed ^ 0x5555,
            ..forth
        };
        [forth, back]
    }

    /// What else happens to packets of a pass that rises then.
    pub fn disturbances(&self, rise: Tai) -> Disturbances {
        let channel = &self.channel;
        let after = |seconds: f64| rise.plus((seconds * 1e9) as i64);
        let outages = channel.outages_s.iter().map(|(from, to)| (after(*from), after(*to)));
        let handover = channel.handover_every_s.map(|seconds| Handover {
            first: after(seconds),
            every_ns: (seconds * 1e9) as i64,
            gap_ns: (channel.handover_gap_ms * 1e6) as i64,
        });
        Disturbances {
            outages: outages.collect(),
            handover,
            late_share: channel.reorder_share,
            late_ns: (channel.reorder_ms * 1e6) as i64,
            twice_share: channel.duplicate_share,
        }
    }
}

/// Clouds under way, and the water that they held when last looked at.
struct Clouds {
    state: CloudState,
    looked: Option<Tai>,
    liquid_kg_m2: f64,
}

/// A pass under way.
struct Flight<'a> {
    of: &'a Described,
    chooser: Chooser,
    rain: Option<RainState>,
    /// Rain's distribution by whole degrees of elevation, as far as it was asked for.
    fits: Vec<Option<Option<RainFade>>>,
    clouds: Option<Clouds>,
    scintillation: Option<Scintillating>,
    shadowing: Option<Shadowing>,
    /// Since when the carrier has been there, ns.
    carrier_since: Option<i64>,
}

impl<'a> Flight<'a> {
    fn new(of: &'a Described, weather: Weather) -> Self {
        let channel = &of.channel;
        let seed = match weather {
            Weather::Clear => None,
            Weather::Seeded(seed) => Some(seed),
        };
        let rain = seed.filter(|_| channel.rain && channel.rain_at_rise_percent != Some(0.0));
        let rain = rain.map(|seed| match channel.rain_at_rise_percent {
            Some(percent) => RainState::starting_at(seed, percent),
            None => RainState::new(seed),
        });
        let shadowing = seed.zip(channel.shadowing).map(|(seed, table)| {
            let of = Surroundings {
                open_s: table.open_s,
                shadow_s: table.shadow_s,
                rice_db: table.rice_db,
                mean_db: table.shadow_mean_db,
                sigma_db: table.shadow_sigma_db,
                coherence_s: table.coherence_ms / 1e3,
            };
            Shadowing::new(of, seed)
        });
        Self {
            of,
            chooser: Chooser::new(of.control.clone()),
            rain,
            fits: vec![None; 92],
            clouds: seed.filter(|_| channel.clouds).map(|seed| Clouds {
                state: CloudState::new(seed),
                looked: None,
                liquid_kg_m2: 0.0,
            }),
            scintillation: seed.filter(|_| channel.scintillation).map(Scintillating::new),
            shadowing,
            carrier_since: None,
        }
    }

    fn moment(
        &mut self,
        now: Tai,
        start: Tai,
        range_km: f64,
        elevation_deg: f64,
        step_ns: i64,
    ) -> Moment {
        let link = &self.of.link;
        let since_s = now.since(start) as f64 / 1e9;
        let clear = link.budget(elevation_deg, range_km, Air::Clear);
        let rain_db = self.rain_db(elevation_deg, step_ns);
        let unsteady = self.scintillation.as_ref().map_or(0.0, |tones| {
            link.air.scintillation(elevation_deg).deviation_db() * tones.at(since_s)
        });
        let cloud_db = self.cloud_db(now, elevation_deg, rain_db > 0.0);
        let air = Air::Fade { wet_db: rain_db + cloud_db, scintillation_db: unsteady };
        let faded = link.budget(elevation_deg, range_km, air);
        let shadow_db = self.shadowing.as_mut().map_or(0.0, |end| end.gain_db(since_s));
        let es_n0_db = faded.es_n0_db + shadow_db;
        let locked = self.lock(now, elevation_deg, es_n0_db);
        let modcod = self.chooser.choose(Seen {
            now_ns: now.0,
            elevation_deg,
            clear_db: clear.es_n0_db,
            received_db: locked.then_some(es_n0_db),
            flight_ns: (range_km / LIGHT_KM_S * 1e9) as i64,
        });
        let signal = &link.signal;
        Moment {
            elevation_deg,
            range_km,
            clear_db: clear.es_n0_db,
            es_n0_db,
            rain_db,
            cloud_db,
            locked,
            modcod,
            rate_bps: modcod.rate_bps(signal.symbol_rate_baud, signal.pilots),
            frames: Frames { bits: modcod.frame_bits, error: modcod.frame_error(es_n0_db) },
        }
    }

    /// Rain now; straight between whole degrees.
    fn rain_db(&mut self, elevation_deg: f64, step_ns: i64) -> f64 {
        let Some(rain) = &mut self.rain else { return 0.0 };
        rain.advance(step_ns as f64 / 1e9);
        let value = rain.value();
        let at = elevation_deg.clamp(0.0, 90.0);
        let (low, part) = (at as usize, at.fract());
        let mut of = |degrees: usize| {
            let air = &self.of.link.air;
            let fit = self.fits[degrees]
                .get_or_insert_with(|| RainFade::fit(air, (degrees as f64).clamp(1.0, 90.0)));
            fit.as_ref().map_or(0.0, |fit| fit.at_db(value))
        };
        of(low) * (1.0 - part) + of(low + 1) * part
    }

    fn cloud_db(&mut self, now: Tai, elevation_deg: f64, it_rains: bool) -> f64 {
        let Some(clouds) = &mut self.clouds else { return 0.0 };
        let air = &self.of.link.air;
        let since_ns = clouds.looked.map(|looked| now.since(looked));
        if since_ns.is_none_or(|since| since >= CLOUD_STEP_NS) {
            clouds.state.advance(since_ns.unwrap_or(0) as f64 / 1e9);
            clouds.liquid_kg_m2 = clouds.state.liquid_kg_m2(&air.climate().cloud);
            clouds.looked = Some(now);
        }
        let most = if it_rains { CLOUD_IN_RAIN_KG_M2 } else { f64::MAX };
        let liquid = clouds.liquid_kg_m2.min(most);
        cloud::attenuation_db(air.beam().frequency_ghz, elevation_deg.max(5.0), liquid)
    }

    /// Whether the receiver has lock: the carrier strong enough for as long as it takes.
    fn lock(&mut self, now: Tai, elevation_deg: f64, es_n0_db: f64) -> bool {
        let sturdiest = self.of.ladder.steps()[0].es_n0_db;
        let there = elevation_deg >= self.of.min_elevation_deg - 1e-6
            && es_n0_db >= sturdiest - LOCK_KEPT_DB;
        if !there {
            self.carrier_since = None;
            return false;
        }
        let since = *self.carrier_since.get_or_insert(now.0);
        now.0 - since >= (self.of.channel.lock_ms * 1e6) as i64
    }
}

#[cfg(test)]
mod tests;
