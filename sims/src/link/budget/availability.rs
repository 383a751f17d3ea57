//! How much of a year a link holds: the weather's share at each elevation, over a satellite's passes.

use super::Link;
use crate::link::modcod::Modcod;
use crate::link::weather::path::{PERCENT, Sky};
use serde::Serialize;

/// Time that a satellite spends at an elevation and a distance, relative to the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stay {
    /// Degrees.
    pub elevation_deg: f64,
    /// Kilometres.
    pub range_km: f64,
    /// Seconds, or any other unit: only shares count.
    pub weight: f64,
}

/// How often one MODCOD can be received.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Availability {
    /// Its name.
    pub modcod: &'static str,
    /// Bits a second.
    pub rate_bps: f64,
    /// Share of the time in contact, percent.
    pub percent: f64,
}

impl Link {
    /// Share of an average year, percent, in which Es/N0 at a place in the sky is at least so much.
    ///
    /// Between 50 % and a clear sky, P.618 has no say: what only a clear sky carries is available
    /// for half of the year.
    pub fn available_percent(&self, elevation_deg: f64, range_km: f64, es_n0_db: f64) -> f64 {
        let reached = |sky| self.budget(elevation_deg, range_km, sky).es_n0_db >= es_n0_db;
        let (rare, often) = (*PERCENT.start(), *PERCENT.end());
        if reached(Sky::Exceeded(rare)) {
            return 100.0 - rare;
        }
        if !reached(Sky::Exceeded(often)) {
            return if reached(Sky::Clear) { 100.0 - often } else { 0.0 };
        }
        // Es/N0 falls as the share shrinks: bisection over its logarithm.
        let (mut low, mut high) = (rare.ln(), often.ln());
        for _ in 0..40 {
            let middle = (low + high) / 2.0;
            if reached(Sky::Exceeded(middle.exp())) {
                high = middle;
            } else {
                low = middle;
            }
        }
        100.0 - high.exp()
    }

    /// The same for MODCODs with a margin, over all that a satellite does in the sky.
    pub fn availability(
        &self,
        stays: &[Stay],
        modcods: &[Modcod],
        margin_db: f64,
    ) -> Vec<Availability> {
        let whole: f64 = stays.iter().map(|stay| stay.weight).sum();
        let of = |modcod: &Modcod| {
            let held = stays.iter().map(|stay| {
                let Stay { elevation_deg, range_km, weight } = *stay;
                weight
                    * self.available_percent(elevation_deg, range_km, modcod.es_n0_db + margin_db)
            });
            Availability {
                modcod: modcod.name,
                rate_bps: modcod.rate_bps(self.signal.symbol_rate_baud, self.signal.pilots),
                percent: held.sum::<f64>() / whole,
            }
        };
        modcods.iter().map(of).collect()
    }
}

/// Mean bits a second of a link that always uses the highest step it can: each step adds what it has
/// over the one below, for as long as it holds.
pub fn mean_rate_bps(ladder: &[Availability]) -> f64 {
    let mut below = 0.0;
    let mut mean = 0.0;
    for step in ladder {
        mean += (step.rate_bps - below) * step.percent / 100.0;
        below = step.rate_bps;
    }
    mean
}

#[cfg(test)]
mod tests {
    use super::super::tests::x_band;
    use super::*;
    use crate::link::modcod::{DVB_S2, Ladder};

    #[test]
    fn the_share_undoes_the_weather() {
        let link = x_band();
        for percent in [0.01, 0.1, 1.0, 5.0, 20.0] {
            let es_n0 = link.budget(20.0, 1_200.0, Sky::Exceeded(percent)).es_n0_db;
            let available = link.available_percent(20.0, 1_200.0, es_n0);
            assert!((available - (100.0 - percent)).abs() < 1e-3, "{percent}: {available}");
        }
        assert_eq!(link.available_percent(20.0, 1_200.0, 99.0), 0.0);
        assert_eq!(link.available_percent(20.0, 1_200.0, -99.0), 99.999);
    }

    #[test]
    fn sturdier_codes_are_there_more_often() {
        let link = x_band();
        let stay = |elevation_deg, range_km| Stay { elevation_deg, range_km, weight: 1.0 };
        let stays = [stay(5.0, 2_200.0), stay(20.0, 1_200.0), stay(70.0, 560.0)];
        let ladder = Ladder::new(&DVB_S2).unwrap();
        let shares = link.availability(&stays, ladder.steps(), 1.0);
        assert!(shares.windows(2).all(|two| two[0].percent >= two[1].percent));
        let mean = mean_rate_bps(&shares);
        assert!(mean > 0.0 && mean < shares.last().unwrap().rate_bps);
        // A link that always holds one step has that step's rate.
        let always = [Availability { modcod: "one", rate_bps: 5e6, percent: 100.0 }];
        assert!((mean_rate_bps(&always) - 5e6).abs() < 1e-6);
    }
}
