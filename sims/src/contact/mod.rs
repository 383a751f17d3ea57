//! Contacts: when a satellite rises, culminates and sets over a station.
//!
//! Between two neighbouring extremes the elevation is monotonic, so that each stretch crosses a
//! mask at most once: extremes first, by the sign of the elevation's rate on a grid and bisection,
//! then crossings by bisection. Everything ends within [`TOLERANCE_NS`].

pub mod sweep;
pub mod between;

use crate::orbit::{ElementSet, ElementsError, Station};
use codecs::time::Tai;

/// Bracket at which bisection stops: a tenth of the 10 ms that a pass is promised to.
pub const TOLERANCE_NS: i64 = 1_000_000;
/// Grid of the search: no low orbit has two extremes within it.
const STEP_NS: i64 = 30_000_000_000;
/// Half the base of the difference that gives the rate.
const RATE_NS: i64 = 250_000_000;

/// One contact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pass {
    /// First instant above the mask.
    pub rise: Tai,
    /// Instant of the greatest elevation.
    pub culmination: Tai,
    /// Last instant above the mask.
    pub set: Tai,
    /// Elevation at culmination.
    pub max_elevation_deg: f64,
    /// Whether the interval searched cuts it: `rise` or `set` is then the interval's edge.
    pub clipped: bool,
}

/// Every contact above a mask between two instants, in order.
pub fn passes(
    satellite: &ElementSet,
    station: &Station,
    from: Tai,
    to: Tai,
    min_elevation_deg: f64,
) -> Result<Vec<Pass>, ElementsError> {
    search(|at| Ok(station.look_at(satellite, at)?.elevation_deg), from, to, min_elevation_deg)
}

/// The search itself over any elevation as a function of time.
pub fn search<E>(
    elevation: impl Fn(Tai) -> Result<f64, E>,
    from: Tai,
    to: Tai,
    mask_deg: f64,
) -> Result<Vec<Pass>, E> {
    let rate = |at: Tai| -> Result<f64, E> {
        Ok(elevation(at.plus(RATE_NS))? - elevation(at.plus(-RATE_NS))?)
    };
    let mut found = Vec::new();
    let mut open: Option<Pass> = None;
    let mut before = (from, elevation(from)?);
    if before.1 > mask_deg {
        open = Some(Pass {
            rise: from,
            culmination: from,
            set: from,
            max_elevation_deg: before.1,
            clipped: true,
        });
    }
    let mut at = from;
    let mut rising = rate(from)? > 0.0;
    while at < to {
        let next = at.plus(STEP_NS).min(to);
        let rising_next = rate(next)? > 0.0;
        // The ends of the monotonic stretches in this step.
        let mut ends = vec![next];
        if rising_next != rising {
            ends.insert(0, bisect(at, next, |middle| Ok((rate(middle)? > 0.0) == rising))?);
        }
        for end in ends {
            let height = elevation(end)?;
            match (&mut open, before.1 > mask_deg, height > mask_deg) {
                (None, false, true) => {
                    let rise = bisect(before.0, end, |t| Ok(elevation(t)? <= mask_deg))?;
                    open = Some(Pass {
                        rise,
                        culmination: end,
                        set: end,
                        max_elevation_deg: height,
                        clipped: false,
                    });
                }
                (Some(pass), true, true) if height > pass.max_elevation_deg => {
                    (pass.culmination, pass.max_elevation_deg) = (end, height);
                }
                (Some(pass), true, false) => {
                    pass.set = bisect(before.0, end, |t| Ok(elevation(t)? > mask_deg))?;
                    found.extend(open.take());
                }
                _ => {}
            }
            before = (end, height);
        }
        (at, rising) = (next, rising_next);
    }
    found.extend(open.map(|pass| Pass { set: to, clipped: true, ..pass }));
    Ok(found)
}

/// Last instant, to the tolerance, at which `holds` is still true; it is true at `low`.
fn bisect<E>(low: Tai, high: Tai, holds: impl Fn(Tai) -> Result<bool, E>) -> Result<Tai, E> {
    let (mut low, mut high) = (low, high);
    while high.since(low) > TOLERANCE_NS {
        let middle = low.plus(high.since(low) / 2);
        if holds(middle)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(low.plus(high.since(low) / 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// A sky in which elevation is 60 sin(2π t / 100 min) degrees.
    fn sine(at: Tai) -> Result<f64, Infallible> {
        Ok(60.0 * (at.0 as f64 / 6e12 * std::f64::consts::TAU).sin())
    }

    #[test]
    fn a_sine_rises_culminates_and_sets_where_it_should() {
        let minutes = |minutes: f64| Tai((minutes * 60e9) as i64);
        let found = search(sine, minutes(-10.0), minutes(190.0), 30.0).unwrap();
        assert_eq!(found.len(), 2);
        for (pass, start) in found.iter().zip([0.0, 100.0]) {
            let off = |at: Tai, expected: f64| at.since(minutes(start + expected)).abs();
            // asin(30/60) is a twelfth of a turn.
            assert!(off(pass.rise, 100.0 / 12.0) <= TOLERANCE_NS);
            assert!(off(pass.set, 500.0 / 12.0) <= TOLERANCE_NS);
            assert!(off(pass.culmination, 25.0) <= TOLERANCE_NS);
            assert!((pass.max_elevation_deg - 60.0).abs() < 1e-9);
            assert!(!pass.clipped);
        }
    }

    #[test]
    fn passes_cut_by_the_interval_say_so() {
        let minutes = |minutes: i64| Tai(minutes * 60_000_000_000);
        let found = search(sine, minutes(20), minutes(24), 30.0).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].clipped);
        assert_eq!((found[0].rise, found[0].set), (minutes(20), minutes(24)));
        assert_eq!(search(sine, minutes(60), minutes(90), 30.0).unwrap(), []);
    }
}
