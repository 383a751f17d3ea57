//! Contacts between satellites: when nothing of the earth stands between two, and they are near
//! enough.
//!
//! Two satellites see each other over a sphere exactly where their distance is below the sum of
//! both distances to the horizon. The earth grown by the height that a line must keep becomes a
//! sphere when its axis is stretched, so that one number says how much is left: below zero there is
//! no contact. It changes by less than `RATE_KM_S`, so that most minutes of most pairs need one
//! look.

use codecs::time::Tai;

use super::sweep::{Cubic, Grid, STEP_S, Track};
use crate::orbit::{
    earth::{EQUATOR_KM, FLATTENING},
    elements::State,
    vector::{Vector, dot, norm, sub},
};

/// What the margin changes by at most: two satellites at a low perigee, towards each other.
const RATE_KM_S: f64 = 26.0;
/// Parts of a step: no margin has two extremes within ten seconds that matter.
const PARTS: usize = 6;
/// Where a search for an instant ends, seconds.
const TOLERANCE_S: f64 = 1e-4;

/// What a link between satellites needs.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// Least height of the line above the ellipsoid, km: the air below it bends and damps.
    pub grazing_km: f64,
    /// Greatest distance, km; infinite where the earth alone decides.
    pub range_km_max: f64,
}

/// A contact of two satellites.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sight {
    /// First instant.
    pub from: Tai,
    /// Last instant.
    pub to: Tai,
    /// When they are nearest within it.
    pub nearest: Tai,
    /// Their distance then, km.
    pub range_km_min: f64,
    /// Greatest distance, at either end, km.
    pub range_km_max: f64,
    /// Greatest change of the distance, km/s, positive away.
    pub range_rate_km_s: f64,
    /// Whether the interval searched cuts it.
    pub clipped: bool,
}

impl Needs {
    /// Kilometres that are left before contact ends; below zero there is none.
    pub fn margin_km(&self, a: Vector, b: Vector) -> f64 {
        let (equator, pole) =
            (EQUATOR_KM + self.grazing_km, EQUATOR_KM * (1.0 - FLATTENING) + self.grazing_km);
        let stretch = equator / pole;
        let line = sub(a, b);
        let range_km = norm(line);
        let stretched = |of: Vector| [of[0], of[1], of[2] * stretch];
        let horizon = |of: Vector| {
            let of = stretched(of);
            let square = dot(of, of) - equator * equator;
            // Below that height nothing is seen.
            if square < 0.0 { -square.abs().sqrt() - EQUATOR_KM } else { square.sqrt() }
        };
        let sight = horizon(a) + horizon(b) - norm(stretched(line));
        sight.min(self.range_km_max - range_km)
    }
}

/// Every contact of two satellites, in order. Both tracks are of this grid.
pub fn sights(a: &Track, b: &Track, grid: &Grid, needs: &Needs) -> Vec<Sight> {
    let (pa, pb) = (a.places(), b.places());
    let count = pa[0].len().min(pb[0].len());
    let at = |of: [&[f64]; 3], step: usize| of.map(|axis| axis[step]);
    let far = -RATE_KM_S * STEP_S / 2.0;
    let mut search = Search { a, b, grid, needs, open: None, found: Vec::new() };
    let mut before = needs.margin_km(at(pa, 0), at(pb, 0));
    for step in 0..count.saturating_sub(1) {
        let after = needs.margin_km(at(pa, step + 1), at(pb, step + 1));
        // Not above either end, and too far below both to come up between: also where one of them
        // has no orbit, and no margin.
        if before > far || after > far {
            search.step(step);
        }
        before = after;
    }
    search.end()
}

/// A moment of a pair within a step.
#[derive(Clone, Copy)]
struct Moment {
    seconds: f64,
    margin_km: f64,
}

struct Search<'a> {
    a: &'a Track,
    b: &'a Track,
    grid: &'a Grid,
    needs: &'a Needs,
    open: Option<Sight>,
    found: Vec<Sight>,
}

/// Both ways within a step.
struct Ways([Cubic; 2]);

impl Ways {
    fn states(&self, seconds: f64) -> [State; 2] {
        [self.0[0].state(seconds), self.0[1].state(seconds)]
    }

    /// What the distance changes by, km/s.
    fn range_rate_km_s(&self, seconds: f64) -> f64 {
        let [a, b] = self.states(seconds);
        let line = sub(b.position_km, a.position_km);
        dot(line, sub(b.velocity_km_s, a.velocity_km_s)) / norm(line).max(1e-9)
    }

    /// Where between moments the distance is least, and near where it changes fastest.
    fn turns(&self, moments: &[Moment]) -> Vec<f64> {
        let rates: Vec<(f64, f64)> =
            moments.iter().map(|of| (of.seconds, self.range_rate_km_s(of.seconds))).collect();
        let mut turns = Vec::new();
        for two in rates.windows(2) {
            let [mut low, mut high] = [two[0], two[1]].map(|of| of.0);
            if !(two[0].1 < 0.0 && two[1].1 >= 0.0) {
                continue;
            }
            while high - low > TOLERANCE_S {
                let middle = 0.5 * (low + high);
                if self.range_rate_km_s(middle) < 0.0 { low = middle } else { high = middle }
            }
            turns.push(0.5 * (low + high));
        }
        for three in rates.windows(3) {
            let [(_, a), (seconds, b), (end, c)] = [three[0], three[1], three[2]];
            if (b - a) * (c - b) < 0.0 {
                let shift = 0.5 * (c - a) / (2.0 * b - a - c);
                turns.push(seconds + shift * (end - seconds));
            }
        }
        turns
    }
}

impl Search<'_> {
    fn moment(&self, ways: &Ways, seconds: f64) -> Moment {
        let [a, b] = ways.states(seconds);
        Moment { seconds, margin_km: self.needs.margin_km(a.position_km, b.position_km) }
    }

    fn time(&self, step: usize, seconds: f64) -> Tai {
        self.grid.at(step).plus((seconds * 1e9).round() as i64)
    }

    fn step(&mut self, step: usize) {
        let (from, to) = self.grid.interval();
        let length = (to.since(self.grid.at(step)) as f64 / 1e9).min(STEP_S);
        let ways = Ways([Cubic::new(self.a, step), Cubic::new(self.b, step)]);
        // One part beyond each end, so that an extreme at a border is seen by both sides.
        let part = STEP_S / PARTS as f64;
        let moments: Vec<Moment> =
            (0..=PARTS + 2).map(|at| self.moment(&ways, (at as f64 - 1.0) * part)).collect();
        let mut points = Vec::with_capacity(PARTS + 3);
        for (at, moment) in moments.iter().enumerate() {
            let within = (0.0..=length).contains(&moment.seconds);
            if within {
                points.push(*moment);
            }
            if let (Some(before), Some(after)) =
                (at.checked_sub(1).and_then(|at| moments.get(at)), moments.get(at + 1))
            {
                points.extend(
                    self.extreme(&ways, before, moment, after)
                        .filter(|of| (0.0..=length).contains(&of.seconds)),
                );
            }
        }
        points.push(self.moment(&ways, length));
        if points.iter().any(|of| of.margin_km > 0.0) {
            let seconds = ways.turns(&moments);
            let within = seconds.into_iter().filter(|of| (0.0..=length).contains(of));
            points.extend(within.map(|seconds| self.moment(&ways, seconds)));
        }
        points.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        if self.grid.at(step) == from && points.first().is_some_and(|of| of.margin_km > 0.0) {
            self.begin(step, 0.0, true);
        }
        for two in points.windows(2) {
            let [before, after] = [two[0], two[1]];
            let up = after.margin_km > 0.0;
            if self.open.is_some() != up {
                let seconds = match before.margin_km > 0.0 {
                    // A step was skipped, or a satellite has no orbit here: no crossing to find.
                    same if same == up => before.seconds,
                    _ => self.crossing(&ways, before, after),
                };
                if up { self.begin(step, seconds, false) } else { self.close(step, seconds, &ways) }
            }
            if up {
                self.note(step, after.seconds, &ways);
            }
        }
    }

    /// The top or bottom of a parabola through three moments, where it may lie on the other side of
    /// zero than all of them.
    fn extreme(&self, ways: &Ways, a: &Moment, b: &Moment, c: &Moment) -> Option<Moment> {
        let (left, right) = (b.margin_km - a.margin_km, c.margin_km - b.margin_km);
        let peak = left >= 0.0 && right <= 0.0 && b.margin_km <= 0.0;
        let dip = left <= 0.0 && right >= 0.0 && b.margin_km > 0.0;
        if !(peak || dip) || left == right {
            return None;
        }
        let shift = 0.5 * (left + right) / (left - right);
        let seconds = b.seconds + shift * (c.seconds - b.seconds);
        seconds.is_finite().then(|| self.moment(ways, seconds))
    }

    /// Where the margin is zero between two moments on both sides of it (Illinois).
    fn crossing(&self, ways: &Ways, a: Moment, b: Moment) -> f64 {
        let (mut low, mut at_low, mut last) = (a.margin_km, a.seconds, b);
        for _ in 0..60 {
            let high = last.margin_km;
            let next = last.seconds - high * (last.seconds - at_low) / (high - low);
            if !next.is_finite() {
                break;
            }
            let moment = self.moment(ways, next);
            let done = (next - last.seconds).abs() < TOLERANCE_S;
            if (moment.margin_km > 0.0) == (high > 0.0) {
                low *= 0.5;
            } else {
                (low, at_low) = (high, last.seconds);
            }
            last = moment;
            if done {
                break;
            }
        }
        last.seconds
    }

    fn begin(&mut self, step: usize, seconds: f64, clipped: bool) {
        let from = self.time(step, seconds);
        self.open = Some(Sight {
            from,
            to: from,
            nearest: from,
            range_km_min: f64::INFINITY,
            range_km_max: 0.0,
            range_rate_km_s: 0.0,
            clipped,
        });
        let ways = Ways([Cubic::new(self.a, step), Cubic::new(self.b, step)]);
        self.note(step, seconds, &ways);
    }

    /// Takes the distance of a moment of the contact.
    fn note(&mut self, step: usize, seconds: f64, ways: &Ways) {
        let [a, b] = ways.states(seconds);
        let at = self.time(step, seconds);
        let range_km = norm(sub(b.position_km, a.position_km));
        let rate = ways.range_rate_km_s(seconds);
        let Some(open) = &mut self.open else { return };
        if range_km < open.range_km_min {
            (open.range_km_min, open.nearest) = (range_km, at);
        }
        open.range_km_max = open.range_km_max.max(range_km);
        if rate.abs() > open.range_rate_km_s.abs() {
            open.range_rate_km_s = rate;
        }
    }

    fn close(&mut self, step: usize, seconds: f64, ways: &Ways) {
        self.note(step, seconds, ways);
        let to = self.time(step, seconds);
        self.found.extend(self.open.take().map(|open| Sight { to, ..open }));
    }

    fn end(mut self) -> Vec<Sight> {
        let (_, to) = self.grid.interval();
        self.found.extend(self.open.take().map(|open| Sight { to, clipped: true, ..open }));
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orbit::{
        ElementSet,
        earth::{Geodetic, earth_fixed},
        fleet::MeanElements,
    };
    use proptest::prelude::*;

    fn epoch() -> Tai {
        Tai::from_unix(1_790_000_000, 0)
    }

    fn set(height_km: f64, angles: [f64; 4], eccentricity: f64) -> ElementSet {
        let [inclination, node, argument, anomaly] = angles;
        let axis = 1.0 + height_km / 6_378.135;
        let motion = 0.074_366_916_133_173_42 / (axis * axis.sqrt());
        let mean =
            MeanElements { inclination, node, eccentricity, argument, anomaly, motion, drag: 0.0 };
        ElementSet::from_mean("S", epoch(), &mean).unwrap()
    }

    /// The slow way: along the line, where it is lowest.
    fn sees(a: &ElementSet, b: &ElementSet, at: Tai, needs: &Needs) -> bool {
        let place = |of: &ElementSet| earth_fixed(of.propagate(at).unwrap(), at).position_km;
        let (a, b) = (place(a), place(b));
        let line = sub(b, a);
        let height = |part: f64| {
            let point = [0, 1, 2].map(|axis| a[axis] + part * line[axis]);
            Geodetic::from_fixed(point).height_m / 1e3
        };
        let lowest = (0..=200).map(|at| height(f64::from(at) / 200.0)).fold(f64::MAX, f64::min);
        lowest > needs.grazing_km && norm(line) < needs.range_km_max
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        /// Looked at every half minute by brute force, contact is where the search says.
        #[test]
        fn brute_force_sees_the_same(
            heights in [450.0f64..1500.0, 450.0f64..20_000.0],
            angles in prop::array::uniform2(prop::array::uniform4(0.0f64..3.1)),
            grazing_km in 0.0f64..200.0,
            limit in prop_oneof![Just(f64::INFINITY), 300.0f64..6000.0],
            retrograde in any::<bool>(),
        ) {
            let needs = Needs { grazing_km, range_km_max: limit };
            let a = set(heights[0], angles[0], 0.001);
            let mut angles = angles[1];
            if retrograde {
                angles[0] = std::f64::consts::PI - angles[0];
            }
            let b = set(heights[1], angles, 0.001);
            let hours = 5;
            let grid = Grid::new(epoch(), epoch().plus(hours * 3_600_000_000_000));
            let tracks = [&a, &b].map(|of| Track::new(of, &grid));
            let found = sights(&tracks[0], &tracks[1], &grid, &needs);
            for two in found.windows(2) {
                prop_assert!(two[0].to < two[1].from);
            }
            for second in (0..hours * 3600).step_by(31) {
                let at = epoch().plus(second * 1_000_000_000);
                let near = |edge: Tai| edge.since(at).abs() < 1_500_000_000;
                if found.iter().any(|of| near(of.from) || near(of.to)) {
                    continue;
                }
                let inside = found.iter().any(|of| of.from < at && at < of.to);
                let seen = sees(&a, &b, at, &needs);
                let margin = tracks.each_ref().map(|of| of.state_at(&grid, at).unwrap().position_km);
                let margin = needs.margin_km(margin[0], margin[1]);
                // Samples of the line miss its lowest point by some metres.
                prop_assert!(inside == seen || margin.abs() < 0.1, "{second} s: {inside} {margin} km");
            }
        }
    }

    #[test]
    fn neighbours_in_one_ring_never_part_and_opposites_never_meet() {
        let at = |anomaly: f64| set(1_200.0, [1.5, 0.3, 0.0, anomaly], 0.0001);
        let grid = Grid::new(epoch(), epoch().plus(86_400_000_000_000));
        let needs = Needs { grazing_km: 80.0, range_km_max: f64::INFINITY };
        let of = |b: f64| {
            let tracks = [at(0.0), at(b)].map(|of| Track::new(&of, &grid));
            sights(&tracks[0], &tracks[1], &grid, &needs)
        };
        let [always] = of(0.3)[..] else { panic!("one contact") };
        assert!(always.clipped);
        assert_eq!((always.from, always.to), grid.interval());
        let apart = 2.0 * (6_378.1 + 1_200.0) * 0.15f64.sin();
        assert!((always.range_km_min - apart).abs() < 20.0, "{always:?}");
        assert!(always.range_rate_km_s.abs() < 0.02);
        assert_eq!(of(3.1), []);
    }

    #[test]
    fn two_that_race_past_each_other_meet_for_seconds() {
        // Same ring, other way round: they meet twice a turn at 15 km/s.
        let a = set(700.0, [1.0, 0.0, 0.0, 0.0], 0.0);
        let b = set(702.0, [std::f64::consts::PI - 1.0, std::f64::consts::PI, 0.0, 0.0], 0.0);
        let grid = Grid::new(epoch(), epoch().plus(6 * 3_600_000_000_000));
        let tracks = [a, b].map(|of| Track::new(&of, &grid));
        let needs = Needs { grazing_km: 80.0, range_km_max: 60.0 };
        let found = sights(&tracks[0], &tracks[1], &grid, &needs);
        assert!(found.len() >= 5, "{found:?}");
        for of in found {
            let seconds = of.to.since(of.from) as f64 / 1e9;
            assert!(seconds < 9.0 && of.range_km_min < 60.0, "{of:?}");
            let range_km = |at: Tai| {
                let [a, b] = tracks.each_ref().map(|of| of.state_at(&grid, at).unwrap());
                norm(sub(a.position_km, b.position_km))
            };
            let half = of.to.since(of.from) / 2;
            let least =
                (-1_000..=1_000).map(|part| range_km(of.from.plus(half + half * part / 1_000)));
            let least = least.fold(f64::INFINITY, f64::min);
            assert!((of.range_km_min - least).abs() < 0.01, "{of:?} {least}");
        }
    }
}
