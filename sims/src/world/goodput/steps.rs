//! A link whose rate and delay are known at every time: steps, and outages between them.

use codecs::time::Tai;

use super::START;
use crate::link::{Geometry, LIGHT_KM_S, Sky};

/// What holds from a time until the next step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Start, ns since the start of the run.
    pub from_ns: u64,
    /// Rate, bit/s; 0 is an outage.
    pub rate_bps: f64,
    /// Delay one way, ns.
    pub delay_ns: i64,
}

/// Steps in order of time.
#[derive(Clone, Debug)]
pub struct Steps(Vec<Step>);

impl Steps {
    /// Orders the steps.
    pub fn new(mut steps: Vec<Step>) -> Self {
        steps.sort_by_key(|step| step.from_ns);
        Self(steps)
    }

    /// One rate and delay for ever.
    pub fn constant(rate_bps: f64, delay_ns: i64) -> Self {
        Self(vec![Step { from_ns: 0, rate_bps, delay_ns }])
    }

    /// The steps.
    pub fn all(&self) -> &[Step] {
        &self.0
    }

    /// The highest rate, bit/s.
    pub fn rate_max_bps(&self) -> f64 {
        self.0.iter().map(|step| step.rate_bps).fold(0.0, f64::max)
    }

    /// Bytes that the link carries between two times, packets' headers included.
    pub fn bytes(&self, from_ns: u64, until_ns: u64) -> f64 {
        let ends = self.0.iter().skip(1).map(|step| step.from_ns).chain([u64::MAX]);
        let spans = self.0.iter().zip(ends).map(|(step, end)| {
            let span = end.min(until_ns).saturating_sub(step.from_ns.max(from_ns));
            span as f64 * step.rate_bps
        });
        spans.sum::<f64>() / 8e9
    }
}

impl Geometry for Steps {
    fn sky(&self, at: Tai) -> Option<Sky> {
        let since = u64::try_from(at.since(START)).ok()?;
        let begun = self.0.partition_point(|step| step.from_ns <= since);
        let step = self.0.get(begun.checked_sub(1)?).filter(|step| step.rate_bps > 0.0)?;
        let range_km = step.delay_ns as f64 / 1e9 * LIGHT_KM_S;
        Some(Sky { range_km, rate_share: step.rate_bps / self.rate_max_bps() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_is_the_integral_and_an_outage_is_out_of_sight() {
        let step = |from_ns, rate_bps| Step { from_ns, rate_bps, delay_ns: 1_000_000 };
        let steps = Steps::new(vec![step(0, 8e9), step(20, 0.0), step(30, 4e9)]);
        assert_eq!(steps.bytes(10, 50), 10.0 + 20.0 * 0.5);
        assert_eq!(steps.sky(START.plus(25)), None);
        assert_eq!(steps.sky(START.plus(30)).map(|sky| sky.rate_share), Some(0.5));
    }
}
