//! Where the other end is while packets fly: range, and the share of the rate it allows.

use crate::contact::Pass;
use crate::orbit::{ElementSet, ElementsError, Station};
use codecs::time::Tai;

/// The other end at an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sky {
    /// Distance, km.
    pub range_km: f64,
    /// Rate as a share of the rate at the shortest range, 0 to 1.
    pub rate_share: f64,
}

/// Frames of a code at an instant: what noise loses is lost by the frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frames {
    /// Bits of the user in one.
    pub bits: f64,
    /// Share of them lost, 0 to 1.
    pub error: f64,
}

/// Tells where the other end is.
pub trait Geometry {
    /// The other end, or nothing while it is below the horizon or has no lock.
    fn sky(&self, at: Tai) -> Option<Sky>;

    /// How the frames fare that packets go in; none where noise takes nothing.
    fn frames(&self, _: Tai) -> Option<Frames> {
        None
    }
}

/// An end that never moves.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    /// Distance, km.
    pub range_km: f64,
}

impl Geometry for Fixed {
    fn sky(&self, _: Tai) -> Option<Sky> {
        Some(Sky { range_km: self.range_km, rate_share: 1.0 })
    }
}

/// Range and elevation sampled over a pass.
///
/// Power falls with the square of the range, and so does the rate that a constant margin carries:
/// no modulation steps, no weather yet.
#[derive(Clone, Debug)]
pub struct Track {
    start: Tai,
    step_ns: i64,
    /// Range in km and elevation in degrees, or nothing below the horizon.
    samples: Vec<Option<(f64, f64)>>,
    /// Where the rate is full.
    full_km: f64,
}

impl Track {
    /// From samples at equal steps.
    pub fn new(start: Tai, step_ns: i64, samples: Vec<Option<(f64, f64)>>) -> Self {
        let ranges = samples.iter().flatten().map(|sample| sample.0);
        let full_km = ranges.fold(f64::INFINITY, f64::min);
        Self { start, step_ns, samples, full_km }
    }

    /// The rate is full at a range other than the pass's shortest: that of the best of passes.
    pub fn full_at(self, full_km: f64) -> Self {
        Self { full_km, ..self }
    }

    /// A pass, sampled every second.
    pub fn of_pass(
        satellite: &ElementSet,
        station: &Station,
        pass: &Pass,
    ) -> Result<Self, ElementsError> {
        const STEP_NS: i64 = 1_000_000_000;
        let count = pass.set.since(pass.rise) / STEP_NS + 1;
        let samples = (0..=count)
            .map(|index| {
                let look = station.look_at(satellite, pass.rise.plus(index * STEP_NS))?;
                Ok(Some((look.range_km, look.elevation_deg)))
            })
            .collect::<Result<_, ElementsError>>()?;
        Ok(Self::new(pass.rise, STEP_NS, samples))
    }

    /// First and last instant.
    pub fn span(&self) -> (Tai, Tai) {
        let steps = self.samples.len().saturating_sub(1) as i64;
        (self.start, self.start.plus(steps.saturating_mul(self.step_ns)))
    }

    /// Range in km and elevation in degrees, interpolated; nothing outside the pass.
    pub fn look(&self, at: Tai) -> Option<(f64, f64)> {
        let since = at.since(self.start);
        let index = usize::try_from(since.div_euclid(self.step_ns)).ok()?;
        let (range, elevation) = (*self.samples.get(index)?)?;
        let Some(Some(next)) = self.samples.get(index + 1) else {
            return Some((range, elevation));
        };
        let part = since.rem_euclid(self.step_ns) as f64 / self.step_ns as f64;
        Some((range + (next.0 - range) * part, elevation + (next.1 - elevation) * part))
    }
}

impl Geometry for Track {
    fn sky(&self, at: Tai) -> Option<Sky> {
        let (range_km, _) = self.look(at)?;
        let ratio = self.full_km / range_km;
        Some(Sky { range_km, rate_share: (ratio * ratio).clamp(0.0, 1.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_as_far_is_a_quarter_of_the_rate() {
        let track = Track::new(Tai(0), 10, vec![Some((1000.0, 20.0)), Some((500.0, 60.0))]);
        assert_eq!(track.sky(Tai(0)), Some(Sky { range_km: 1000.0, rate_share: 0.25 }));
        assert_eq!(track.sky(Tai(10)), Some(Sky { range_km: 500.0, rate_share: 1.0 }));
        assert_eq!(track.look(Tai(5)), Some((750.0, 40.0)));
        assert_eq!(track.look(Tai(-1)), None);
        assert_eq!(track.look(Tai(20)), None);
        let low = track.full_at(250.0);
        assert_eq!(low.sky(Tai(10)), Some(Sky { range_km: 500.0, rate_share: 0.25 }));
    }
}
