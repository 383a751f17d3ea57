//! A budget in words: every line with its value, how it came about, and where its formula stands.

use super::receiver::FrontEnd;
use super::{BOLTZMANN_DBW, Budget, Link};
use crate::link::antenna::decibels;
use crate::link::modcod::Modcod;
use crate::link::weather::path::Sky;
use serde::Serialize;

/// What a line is in the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Counts with its sign.
    Term,
    /// The sum so far.
    Sum,
    /// Stands beside the sum.
    Beside,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// What it is.
    pub name: &'static str,
    /// With its sign: losses are negative.
    pub value: f64,
    /// Of the value.
    pub unit: &'static str,
    /// What it is in the sum.
    pub part: Part,
    /// How it came about.
    pub how: String,
    /// Where its formula stands.
    pub source: &'static str,
}

/// What one MODCOD makes of an Es/N0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Margin {
    /// Its name.
    pub modcod: &'static str,
    /// What it needs, dB.
    pub needed_es_n0_db: f64,
    /// The same a bit, dB.
    pub needed_eb_n0_db: f64,
    /// What is left, dB.
    pub margin_db: f64,
    /// For the user, bits a second.
    pub rate_bps: f64,
    /// Share of frames lost.
    pub frame_error: f64,
}

impl Link {
    /// The lines of a budget, in the order of the signal.
    pub fn explain(&self, budget: &Budget, sky: Sky) -> Vec<Line> {
        let mut lines = Lines(Vec::new());
        self.sending(budget, &mut lines);
        self.air_lines(budget, sky, &mut lines);
        self.receiving(budget, &mut lines);
        if let (Some((flux, limit, width)), Some(source)) = (budget.flux, self.flux_limit) {
            let how = format!(
                "limit {limit:.1} dBW/m² in {:.0} kHz at {:.1}°, margin {:.1} dB",
                width / 1e3,
                budget.elevation_deg,
                limit - flux
            );
            lines.beside("flux at the ground", flux, "dBW/m²", how, source.source);
        }
        lines.0
    }

    /// What each of some MODCODs makes of a budget.
    pub fn margins(&self, budget: &Budget, of: &[Modcod]) -> Vec<Margin> {
        let margin = |modcod: &Modcod| Margin {
            modcod: modcod.name,
            needed_es_n0_db: modcod.es_n0_db,
            needed_eb_n0_db: modcod.eb_n0_db(),
            margin_db: budget.es_n0_db - modcod.es_n0_db,
            rate_bps: modcod.rate_bps(self.signal.symbol_rate_baud, self.signal.pilots),
            frame_error: modcod.frame_error(budget.es_n0_db),
        };
        of.iter().map(margin).collect()
    }

    fn sending(&self, budget: &Budget, lines: &mut Lines) {
        const STATED: &str = "stated";
        let frequency = self.transmitter.frequency_ghz;
        if let (Some((power, feed)), Some(towards)) = (budget.power_feed, budget.towards) {
            let watts = 10f64.powf(power / 10.0);
            lines.term("transmitter power", power, "dBW", format!("{watts:.3} W"), STATED);
            lines.term("feed loss", -feed, "dB", "amplifier to antenna".into(), STATED);
            let how = format!("towards the station, {:.1}° from the nadir", towards.nadir_deg);
            lines.term("antenna gain", towards.gain_dbi, "dBi", how, "4πAη/λ², or as stated");
            let how = "parabola of the main lobe, or as stated".into();
            lines.term("pointing loss", -towards.pointing_db, "dB", how, "12 (θ/θ3dB)²");
        } else {
            lines.term("EIRP stated", budget.eirp_dbw, "dBW", "power and antenna".into(), STATED);
        }
        lines.sum("EIRP", budget.eirp_dbw, "dBW");
        let how = format!("{:.1} km at {frequency} GHz", budget.range_km);
        lines.term("free space", -budget.free_space_db, "dB", how, "ITU-R P.525-4");
        let how = format!("{}, at worst", described(self));
        lines.term("polarisation", -budget.polarisation_db, "dB", how, "overlap of ellipses");
    }

    fn air_lines(&self, budget: &Budget, sky: Sky, lines: &mut Lines) {
        let (oxygen, vapour) = self.air.zenith_db();
        let climate = self.air.climate();
        let losses = &budget.losses;
        let how = format!(
            "oxygen {oxygen:.3} and vapour {vapour:.3} dB at the zenith, {:.1} g/m³, at {:.1}°",
            climate.air.vapour_g_m3, budget.elevation_deg
        );
        let source = if budget.elevation_deg >= 5.0 {
            "ITU-R P.676-13 annex 2"
        } else {
            "ITU-R P.676-13 annex 1"
        };
        lines.term("gases", -losses.gas_db, "dB", how, source);
        let share = match sky {
            Sky::Clear => "none: clear sky".to_owned(),
            Sky::Exceeded(percent) => format!("exceeded for {percent} % of a year"),
            Sky::Fade { .. } => "as simulated".to_owned(),
        };
        let how = format!(
            "{share}; R0.01 {:.1} mm/h, up to {:.2} km",
            climate.rain_001_mm_h, climate.rain_height_km
        );
        lines.term("rain", -losses.rain_db, "dB", how, "ITU-R P.618-14 §2.2.1.1, P.838-3");
        let liquid = match sky {
            Sky::Exceeded(percent) => climate.cloud.exceeded_kg_m2(percent.max(1.0)),
            _ => 0.0,
        };
        let how = format!("{liquid:.3} kg/m² of liquid water");
        lines.term("clouds", -losses.cloud_db, "dB", how, "ITU-R P.840-9");
        let how = format!(
            "{:.2} dB by itself, σ {:.3} dB, Nwet {:.1}",
            losses.scintillation_db,
            self.air.scintillation(budget.elevation_deg).deviation_db(),
            climate.wet_refractivity
        );
        let source = "ITU-R P.618-14 §2.4.1, §2.5";
        lines.term("scintillation", -losses.added_by_scintillation_db(), "dB", how, source);
    }

    fn receiving(&self, budget: &Budget, lines: &mut Lines) {
        let merit = &budget.merit;
        let how = format!("{}° off the axis", self.receiver.pointing_error_deg);
        lines.term("station pointing", -budget.pointing_db, "dB", how, "12 (θ/θ3dB)²");
        let isotropic = budget.eirp_dbw
            - budget.free_space_db
            - budget.polarisation_db
            - budget.losses.total_db()
            - budget.pointing_db;
        lines.sum("level at an isotropic antenna", isotropic, "dBW");
        if let FrontEnd::Parts { receiver_k, spillover_k, .. } = self.receiver.front_end {
            let gain = merit.gain_dbi.unwrap_or(0.0);
            let how = format!("{} m", self.receiver.dish().diameter_m);
            lines.beside("station gain", gain, "dBi", how, "4πAη/λ²");
            let antenna_k = merit.antenna_k.unwrap_or(0.0);
            let how = format!(
                "sky {:.1} K of {:.2} dB absorbed, ground {spillover_k:.1} K",
                antenna_k - spillover_k,
                budget.losses.absorbed_db()
            );
            lines.beside("antenna noise", antenna_k, "K", how, "ITU-R P.618-14 §3");
            let system = merit.system_k.unwrap_or(0.0);
            let how = format!(
                "through {:.2} dB of feed, amplifier {receiver_k:.1} K",
                merit.feed_loss_db
            );
            lines.beside("system noise", system, "K", how, "Friis, feed at 290 K");
        }
        let how = match (self.receiver.front_end, merit.system_k) {
            (FrontEnd::Parts { .. }, _) => "gain less feed less noise".to_owned(),
            (_, Some(system)) => format!("stated for a clear zenith; {system:.1} K now"),
            (_, None) => "stated, taken as constant: no `system_noise_k`".to_owned(),
        };
        lines.term("G/T", merit.g_over_t_db_k, "dB/K", how, "gain over system noise");
        let how = "1.380649e-23 J/K".into();
        lines.term("Boltzmann", -BOLTZMANN_DBW, "dBW/K/Hz", how, "SI");
        lines.sum("C/N0", budget.c_n0_dbhz, "dBHz");
        let baud = self.signal.symbol_rate_baud;
        let how = format!(
            "{:.3} Mbaud, {:.2} MHz wide",
            baud / 1e6,
            baud * (1.0 + self.signal.roll_off) / 1e6
        );
        lines.term("symbol rate", -decibels(baud), "dBHz", how, "Es/N0 = C/N0 / Rs");
        let lost = self.signal.implementation_db;
        lines.term("implementation", -lost, "dB", "real modems".into(), "stated");
        lines.sum("Es/N0", budget.es_n0_db, "dB");
        if self.signal.pilots {
            let how = "cost rate, not energy: see the rates".into();
            let share = super::super::modcod::DVB_S2[0].share_without_pilots();
            lines.beside("pilots (QPSK)", decibels(share), "dB", how, "EN 302 307-1 §5.5.3");
        }
    }
}

/// The two ends' polarisations in words.
fn described(link: &Link) -> String {
    use crate::link::antenna::Polarisation::{Circular, Linear};
    let word = |of| match of {
        Circular { axial_ratio_db } => format!("circular, axial ratio {axial_ratio_db} dB"),
        Linear { tilt_deg } => format!("linear at {tilt_deg}°"),
    };
    let (sent, taken) = (word(link.transmitter.polarisation), word(link.receiver.polarisation));
    format!("{sent}, to {taken}")
}

/// Lines being written.
struct Lines(Vec<Line>);

impl Lines {
    fn push(
        &mut self,
        (name, value, unit): (&'static str, f64, &'static str),
        part: Part,
        how: String,
        source: &'static str,
    ) {
        // No line says minus nothing.
        let value = if value == 0.0 { 0.0 } else { value };
        self.0.push(Line { name, value, unit, part, how, source });
    }

    fn term(
        &mut self,
        name: &'static str,
        value: f64,
        unit: &'static str,
        how: String,
        source: &'static str,
    ) {
        self.push((name, value, unit), Part::Term, how, source);
    }

    fn sum(&mut self, name: &'static str, value: f64, unit: &'static str) {
        self.push((name, value, unit), Part::Sum, String::new(), "");
    }

    fn beside(
        &mut self,
        name: &'static str,
        value: f64,
        unit: &'static str,
        how: String,
        source: &'static str,
    ) {
        self.push((name, value, unit), Part::Beside, how, source);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::x_band;
    use super::*;

    #[test]
    fn every_sum_is_the_sum_of_the_lines_above() {
        let link = x_band();
        for sky in
            [Sky::Clear, Sky::Exceeded(0.1), Sky::Fade { wet_db: 3.0, scintillation_db: -0.2 }]
        {
            for elevation in [1.0, 7.0, 60.0] {
                let budget = link.budget(elevation, 1_500.0, sky);
                let lines = link.explain(&budget, sky);
                let mut sum = 0.0;
                for line in &lines {
                    match line.part {
                        Part::Term => sum += line.value,
                        Part::Sum => assert!((sum - line.value).abs() < 1e-9, "{line:?}: {sum}"),
                        Part::Beside => {}
                    }
                    assert!(line.value.is_finite());
                }
                assert_eq!(lines.iter().filter(|line| line.part == Part::Sum).count(), 4);
            }
        }
    }

    #[test]
    fn margins_are_what_is_left() {
        let link = x_band();
        let budget = link.budget(30.0, 1_000.0, Sky::Clear);
        let margins = link.margins(&budget, &crate::link::modcod::DVB_S2);
        for margin in margins {
            assert_eq!(margin.margin_db, budget.es_n0_db - margin.needed_es_n0_db);
            assert!((margin.frame_error > 1e-6) == (margin.margin_db < -0.1), "{margin:?}");
        }
    }
}
