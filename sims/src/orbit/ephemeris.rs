//! States that were computed elsewhere, and the ones between them.

use codecs::time::Tai;

use super::{elements::State, frames::ToTeme, vector::Vector};

/// The frame of an ephemeris.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// True equator, mean equinox: SGP4's.
    Teme,
    /// The turning earth's: ITRF of any year, WGS-84.
    Earth,
    /// Mean equator and equinox of J2000, GCRF, ICRF.
    J2000,
}

/// How states between two are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// A polynomial through places and velocities.
    Hermite,
    /// One through places, and one through velocities.
    Lagrange,
    /// A straight line.
    Linear,
}

/// Highest degree of a polynomial.
pub const MAX_DEGREE: usize = 25;

/// States without a break.
#[derive(Clone, Debug)]
pub struct Arc {
    /// Of its states.
    pub frame: Frame,
    /// Between them.
    pub interpolation: Interpolation,
    /// Of the polynomials.
    pub degree: usize,
    /// From when on the states are to be used.
    pub from: Tai,
    /// Until when.
    pub to: Tai,
    /// Rising in time.
    pub states: Vec<(Tai, State)>,
}

impl Arc {
    /// States that a polynomial goes through.
    pub fn needs(interpolation: Interpolation, degree: usize) -> usize {
        match interpolation {
            Interpolation::Hermite => degree / 2 + 1,
            Interpolation::Lagrange => degree + 1,
            Interpolation::Linear => 2,
        }
        .max(2)
    }

    /// The state at an instant, in the arc's frame; none outside of it.
    fn at(&self, at: Tai) -> Option<State> {
        let after = self.states.partition_point(|(time, _)| *time < at);
        if let Some((time, state)) = self.states.get(after)
            && *time == at
        {
            return Some(*state);
        }
        if after == 0 || after == self.states.len() {
            return None;
        }
        let count = Self::needs(self.interpolation, self.degree).min(self.states.len());
        let first = after.saturating_sub(count.div_ceil(2)).min(self.states.len() - count);
        let near = self.states.get(first..first + count)?;
        // Centred and scaled, so that high powers stay small.
        let (start, end) = (near.first()?.0, near.last()?.0);
        let unit = end.since(start) as f64 / 2e9;
        let place = |time: Tai| time.since(start) as f64 / 1e9 / unit - 1.0;
        let x = place(at);
        let nodes: Vec<f64> = near.iter().map(|(time, _)| place(*time)).collect();
        let pick = |of: fn(&State) -> Vector, axis: usize| -> Vec<f64> {
            near.iter().map(|(_, state)| of(state)[axis]).collect()
        };
        let mut state = State { position_km: [0.0; 3], velocity_km_s: [0.0; 3] };
        for axis in 0..3 {
            let places = pick(|of| of.position_km, axis);
            let rates = pick(|of| of.velocity_km_s, axis);
            (state.position_km[axis], state.velocity_km_s[axis]) = match self.interpolation {
                Interpolation::Hermite => {
                    let rates: Vec<f64> = rates.iter().map(|rate| rate * unit).collect();
                    let (place, rate) = hermite(&nodes, &places, &rates, x);
                    (place, rate / unit)
                }
                _ => (newton(&nodes, &places, x).0, newton(&nodes, &rates, x).0),
            };
        }
        Some(state)
    }
}

/// Newton's polynomial through values at nodes: its value and its slope.
fn newton(nodes: &[f64], values: &[f64], x: f64) -> (f64, f64) {
    let mut table = values.to_vec();
    for order in 1..nodes.len() {
        for at in (order..nodes.len()).rev() {
            table[at] = (table[at] - table[at - 1]) / (nodes[at] - nodes[at - order]);
        }
    }
    horner(nodes, &table, x)
}

/// The same through values and slopes: each node counts twice.
fn hermite(nodes: &[f64], values: &[f64], slopes: &[f64], x: f64) -> (f64, f64) {
    let twice: Vec<f64> = nodes.iter().flat_map(|node| [*node; 2]).collect();
    let mut table: Vec<f64> = values.iter().flat_map(|value| [*value; 2]).collect();
    for order in 1..twice.len() {
        for at in (order..twice.len()).rev() {
            table[at] = match twice[at] - twice[at - order] {
                0.0 => slopes[at / 2],
                width => (table[at] - table[at - 1]) / width,
            };
        }
    }
    horner(&twice, &table, x)
}

fn horner(nodes: &[f64], table: &[f64], x: f64) -> (f64, f64) {
    let (mut value, mut slope) = (0.0, 0.0);
    for (node, term) in nodes.iter().zip(table).rev() {
        slope = slope * (x - node) + value;
        value = value * (x - node) + term;
    }
    (value, slope)
}

/// One satellite's states.
#[derive(Clone, Debug)]
pub struct Ephemeris {
    name: String,
    arcs: Vec<Arc>,
}

/// A state and the frame it is in: [`Frame::Teme`] or [`Frame::Earth`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placed {
    /// Whether it is seen from the turning earth.
    pub earth_fixed: bool,
    /// Where and how fast.
    pub state: State,
}

impl Ephemeris {
    /// From arcs; the later one counts where two overlap.
    pub fn new(name: impl Into<String>, arcs: Vec<Arc>) -> Self {
        Self { name: name.into(), arcs }
    }

    /// The satellite's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its arcs.
    pub fn arcs(&self) -> &[Arc] {
        &self.arcs
    }

    /// Where it tells nothing between its first and last instant, in order.
    pub fn gaps(&self) -> Vec<(Tai, Tai)> {
        let mut spans: Vec<(Tai, Tai)> = self.arcs.iter().map(|arc| (arc.from, arc.to)).collect();
        spans.sort_unstable();
        let mut gaps = Vec::new();
        let mut until: Option<Tai> = None;
        for (from, to) in spans {
            gaps.extend(until.filter(|until| *until < from).map(|until| (until, from)));
            until = until.max(Some(to));
        }
        gaps
    }

    /// First and last instant; there may be gaps between.
    pub fn interval(&self) -> Option<(Tai, Tai)> {
        let from = self.arcs.iter().map(|arc| arc.from).min()?;
        Some((from, self.arcs.iter().map(|arc| arc.to).max()?))
    }

    /// The state at an instant; none where no arc is to be used.
    pub fn at(&self, at: Tai) -> Option<Placed> {
        let arc = self.arcs.iter().rev().find(|arc| (arc.from..=arc.to).contains(&at))?;
        let state = arc.at(at)?;
        Some(match arc.frame {
            Frame::Teme => Placed { earth_fixed: false, state },
            Frame::Earth => Placed { earth_fixed: true, state },
            Frame::J2000 => {
                let to = ToTeme::at(at);
                let [position_km, velocity_km_s] =
                    [state.position_km, state.velocity_km_s].map(|of| to.apply(of));
                Placed { earth_fixed: false, state: State { position_km, velocity_km_s } }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orbit::vector::{norm, sub};

    /// A circle of 7,000 km in 98 minutes.
    fn circle(seconds: f64) -> State {
        let rate = std::f64::consts::TAU / 5_880.0;
        let (sin, cos) = (rate * seconds).sin_cos();
        State {
            position_km: [7_000.0 * cos, 7_000.0 * sin, 0.0],
            velocity_km_s: [-7_000.0 * rate * sin, 7_000.0 * rate * cos, 0.0],
        }
    }

    fn arc(interpolation: Interpolation, degree: usize, step_s: i64) -> Arc {
        let time = |at: i64| Tai(at * step_s * 1_000_000_000);
        let states: Vec<_> = (0..40).map(|at| (time(at), circle((at * step_s) as f64))).collect();
        let (from, to) = (time(0), time(39));
        Arc { frame: Frame::Teme, interpolation, degree, from, to, states }
    }

    #[test]
    fn states_between_states_are_on_the_circle() {
        for (interpolation, degree, step_s, metres) in [
            (Interpolation::Hermite, 7, 180, 0.05),
            (Interpolation::Hermite, 3, 60, 0.5),
            (Interpolation::Lagrange, 7, 180, 3.0),
            (Interpolation::Lagrange, 9, 60, 0.001),
            (Interpolation::Linear, 1, 1, 1.1),
        ] {
            let ephemeris = Ephemeris::new("C", vec![arc(interpolation, degree, step_s)]);
            let mut worst = 0.0f64;
            for part in 0..=390 {
                let seconds = (part * step_s) as f64 / 10.0;
                let found = ephemeris.at(Tai((seconds * 1e9) as i64)).unwrap().state;
                let off = norm(sub(found.position_km, circle(seconds).position_km)) * 1e3;
                // At the ends a polynomial has nodes on one side only.
                if (40..350).contains(&part) {
                    worst = worst.max(off);
                }
                assert!(off < 40.0 * metres, "{interpolation:?} {part}: {off} m");
            }
            assert!(worst < metres, "{interpolation:?} {degree} {step_s}: {worst} m");
        }
    }

    #[test]
    fn nothing_is_told_beyond_the_ends() {
        let ephemeris = Ephemeris::new("C", vec![arc(Interpolation::Hermite, 7, 60)]);
        assert_eq!(ephemeris.at(Tai(-1)), None);
        assert!(ephemeris.at(Tai(0)).is_some());
        let (_, last) = ephemeris.interval().unwrap();
        assert!(ephemeris.at(last).is_some());
        assert_eq!(ephemeris.at(last.plus(1)), None);
    }
}
