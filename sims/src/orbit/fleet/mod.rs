//! Many states at once: SGP4 and SDP4 on as many lanes as the processor has.
//!
//! ```text
//! mean elements ─► terms ─┬► near (SGP4) ──────────────┬► state (Kepler, periodic terms) ─► TEME
//!                         └► deep (SDP4) ◄ resonance ──┘
//! ```
//!
//! [`Propagator`] is one satellite at many instants, [`Fleet`] many satellites at one. Both agree
//! with the `sgp4` crate within a metre and are several times faster; every step is rounded as
//! IEEE 754 says, so that each width of register gives the same bits.

mod lanes;
mod terms;
mod near;
mod deep;
mod resonance;
#[cfg(test)]
mod tests;

use pulp::{Arch, Simd, WithSimd};

pub use self::terms::{MeanElements, NoOrbit};
use self::{
    deep::{Deep, Pulled},
    lanes::{Block, Lanes, WIDTH},
    near::{Kepler, LaneState},
    resonance::Resonance,
    terms::Terms,
};

/// Positions and velocities in TEME, one array a coordinate. What has no orbit at its instant
/// (decayed, or open) is not a number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct States {
    /// Kilometres.
    pub position_km: [Vec<f64>; 3],
    /// Kilometres a second.
    pub velocity_km_s: [Vec<f64>; 3],
}

impl States {
    /// How many states.
    pub fn len(&self) -> usize {
        self.position_km[0].len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn resize(&mut self, count: usize) {
        for part in self.position_km.iter_mut().chain(&mut self.velocity_km_s) {
            part.resize(count, f64::NAN);
        }
    }

    /// The first of these states to these places.
    fn scatter(&mut self, from: &Self, places: &[usize]) {
        let to = self.position_km.iter_mut().zip(&from.position_km);
        for (to, from) in to.chain(self.velocity_km_s.iter_mut().zip(&from.velocity_km_s)) {
            for (place, number) in places.iter().zip(from) {
                if let Some(to) = to.get_mut(*place) {
                    *to = *number;
                }
            }
        }
    }

    #[inline(always)]
    fn put<S: Simd>(&mut self, simd: S, at: usize, state: &LaneState<S>) {
        let mut axis = 0;
        while axis < 3 {
            let to = self.position_km[axis].get_mut(at..).unwrap_or_default();
            simd.partial_store_f64s(to, state.position_km[axis].of);
            let to = self.velocity_km_s[axis].get_mut(at..).unwrap_or_default();
            simd.partial_store_f64s(to, state.velocity_km_s[axis].of);
            axis += 1;
        }
    }
}

/// One satellite, ready for many instants.
#[derive(Clone, Debug)]
pub struct Propagator {
    terms: Terms<f64>,
    kepler: Kepler,
    deep: Option<Box<Deep<f64>>>,
    resonance: Option<Resonance>,
}

impl Propagator {
    /// Prepares an orbit. `epoch_days` are days of UTC from 1949-12-31T00:00 to the epoch and
    /// `sidereal` is the sidereal angle then, radians; orbits below 225 minutes need neither.
    pub fn new(of: &MeanElements, epoch_days: f64, sidereal: f64) -> Result<Self, NoOrbit> {
        let prepared = terms::prepare(of)?;
        let mut this = Self {
            terms: prepared.terms,
            kepler: Kepler::up_to(of.eccentricity),
            deep: None,
            resonance: None,
        };
        if prepared.deep {
            let (deep, resonance) = deep::prepare(of, &prepared, epoch_days, sidereal);
            (this.deep, this.resonance) = (Some(Box::new(deep)), resonance);
        }
        Ok(this)
    }

    /// Whether the period is 225 minutes or more, so that Moon and Sun count.
    pub fn is_deep(&self) -> bool {
        self.deep.is_some()
    }

    /// States at `minutes` since the epoch, in their order.
    pub fn states(&mut self, minutes: &[f64], out: &mut States) {
        self.reach(minutes);
        out.resize(minutes.len());
        Arch::new().dispatch(Track { of: self, minutes, out });
    }

    fn reach(&mut self, minutes: &[f64]) {
        if let Some(resonance) = &mut self.resonance {
            let far = |worst: fn(f64, f64) -> f64| minutes.iter().copied().fold(0.0, worst);
            resonance.reach(far(f64::min));
            resonance.reach(far(f64::max));
        }
    }
}

struct Track<'a> {
    of: &'a Propagator,
    minutes: &'a [f64],
    out: &'a mut States,
}

impl WithSimd for Track<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { of, minutes, out } = self;
        let terms = of.terms.lanes(simd);
        let chunks = minutes.chunks(S::F64_LANES).enumerate();
        let Some(deep) = &of.deep else {
            for (at, chunk) in chunks {
                let t = Lanes::new(simd, simd.partial_load_f64s(chunk));
                let state = near::state(&near::secular(&terms, t), of.kepler);
                out.put(simd, at * S::F64_LANES, &state);
            }
            return;
        };
        let own = deep.lanes(simd);
        for (at, chunk) in chunks {
            let t = Lanes::new(simd, simd.partial_load_f64s(chunk));
            let resonance = |lane: usize| Some((of.resonance.as_ref()?, *chunk.get(lane)?));
            let pulled = pulled(simd, of.resonance.as_ref(), of.terms.motion, resonance);
            let state = near::state(&deep::secular(&terms, &own, pulled, t), of.kepler);
            out.put(simd, at * S::F64_LANES, &state);
        }
    }
}

/// What resonance makes of the motion, lane by lane; all lanes are of the first one's kind.
#[inline(always)]
fn pulled<'a, S: Simd>(
    simd: S,
    first: Option<&Resonance>,
    motion: f64,
    lane: impl Fn(usize) -> Option<(&'a Resonance, f64)>,
) -> Pulled<S> {
    let Some(first) = first else { return Pulled::No };
    let (mut longitudes, mut motions) = ([0.0; WIDTH], [motion; WIDTH]);
    let lanes = longitudes.iter_mut().zip(&mut motions).take(S::F64_LANES).enumerate();
    for (at, (longitude, motion)) in lanes {
        if let Some((resonance, minutes)) = lane(at) {
            (*longitude, *motion) = resonance.at(minutes);
        }
    }
    let (longitude, motion) = (Lanes::load(simd, &longitudes, 0), Lanes::load(simd, &motions, 0));
    if first.daily() {
        Pulled::Day { longitude, motion }
    } else {
        Pulled::HalfDay { longitude, motion }
    }
}

/// Satellites of one kind side by side, each with its place in the fleet. The last satellite fills
/// a block up.
#[derive(Clone, Debug)]
struct Blocks {
    terms: Terms<Block>,
    kepler: Kepler,
    deep: Option<Box<Deep<Block>>>,
    /// None, or one a lane.
    resonances: Vec<Resonance>,
    places: Vec<usize>,
    /// The first place where all others follow it, and a whole block of them.
    first: Option<usize>,
}

/// Many satellites, ready for one instant after another.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    blocks: Vec<Blocks>,
    count: usize,
}

impl Fleet {
    /// Lays satellites of a kind side by side.
    pub fn new(of: &[Propagator]) -> Self {
        let mut order: Vec<usize> = (0..of.len()).collect();
        let kind = |one: &Propagator| {
            (one.is_deep(), one.resonance.as_ref().map(Resonance::daily), one.kepler)
        };
        order.sort_by_key(|place| of.get(*place).map(kind));
        let same = |a: &usize, b: &usize| of.get(*a).map(kind) == of.get(*b).map(kind);
        let blocks = order
            .chunk_by(same)
            .flat_map(|alike| alike.chunks(WIDTH))
            .filter_map(|places| Blocks::new(of, places))
            .collect();
        Self { blocks, count: of.len() }
    }

    /// How many satellites.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// States at `minutes` since each satellite's own epoch, in the order that the fleet was given
    /// in; a satellite without a time has no state.
    pub fn states(&mut self, minutes: &[f64], out: &mut States) {
        out.resize(self.count);
        for block in &mut self.blocks {
            for (resonance, place) in block.resonances.iter_mut().zip(&block.places) {
                resonance.reach(minutes.get(*place).copied().unwrap_or_default());
            }
        }
        Arch::new().dispatch(Sweep { of: self, minutes, out });
    }
}

impl Blocks {
    fn new(of: &[Propagator], places: &[usize]) -> Option<Self> {
        let lanes: Vec<&Propagator> = places.iter().filter_map(|place| of.get(*place)).collect();
        let last = lanes.last()?;
        let lane = |at: usize| *lanes.get(at).unwrap_or(last);
        let none = [f64::NAN; WIDTH];
        let terms = blocks(&lanes, |one| one.terms.list());
        let terms = Terms::from_list(&mut terms.into_iter(), none);
        let deep = last.deep.is_some().then(|| {
            let list = |one: &Propagator| one.deep.as_ref().map(|of| of.list());
            let deep = blocks(&lanes, |one| list(one).unwrap_or_default());
            Box::new(Deep::from_list(&mut deep.into_iter(), none))
        });
        let resonances = (0..WIDTH).filter_map(|at| lane(at).resonance.clone()).collect();
        let whole = places.len() == WIDTH && places.windows(2).all(|two| two[1] == two[0] + 1);
        let first = places.first().copied().filter(|_| whole);
        Some(Self { terms, kepler: last.kepler, deep, resonances, places: places.to_vec(), first })
    }
}

/// Turns lists of satellites into blocks of numbers.
fn blocks(of: &[&Propagator], list: impl Fn(&Propagator) -> Vec<f64>) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (lane, one) in of.iter().enumerate() {
        let numbers = list(one);
        blocks.resize(numbers.len(), [f64::NAN; WIDTH]);
        for (block, number) in blocks.iter_mut().zip(numbers) {
            // The lanes behind are the last satellite's.
            block.iter_mut().skip(lane).for_each(|to| *to = number);
        }
    }
    blocks
}

struct Sweep<'a> {
    of: &'a Fleet,
    minutes: &'a [f64],
    out: &'a mut States,
}

impl WithSimd for Sweep<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut side = States::default();
        side.resize(WIDTH);
        for block in &self.of.blocks {
            let mut times = [f64::NAN; WIDTH];
            for (time, place) in times.iter_mut().zip(&block.places) {
                *time = self.minutes.get(*place).copied().unwrap_or(f64::NAN);
            }
            for group in 0..WIDTH / S::F64_LANES {
                let t = Lanes::load(simd, &times, group);
                let terms = block.terms.lanes(simd, group);
                let instant = match &block.deep {
                    None => near::secular(&terms, t),
                    Some(deep) => {
                        let first = group * S::F64_LANES;
                        let lane = |at: usize| {
                            Some((block.resonances.get(first + at)?, *times.get(first + at)?))
                        };
                        let pulled = pulled(simd, block.resonances.first(), f64::NAN, lane);
                        deep::secular(&terms, &deep.lanes(simd, group), pulled, t)
                    }
                };
                let state = near::state(&instant, block.kepler);
                match block.first {
                    Some(first) => self.out.put(simd, first + group * S::F64_LANES, &state),
                    None => side.put(simd, group * S::F64_LANES, &state),
                }
            }
            if block.first.is_none() {
                self.out.scatter(&side, &block.places);
            }
        }
    }
}
