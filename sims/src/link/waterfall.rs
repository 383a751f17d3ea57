//! How the share of lost frames falls with Eb/N0: measured points, or the code's own formula.

use super::weather::quantile::exceedance;

/// Losses are told down to this; below it, no simulation of a day sees one.
const LEAST: f64 = 1e-12;

/// The fall of one code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Waterfall {
    /// DVB-S2: the standard gives one point, one frame in ten million. Around it a decade each tenth
    /// of a decibel is assumed, which is as steep as codes of 64,800 bits are.
    QuasiErrorFree,
    /// Points of Eb/N0 in dB and share of words lost, rising and falling; so many words a frame.
    Points(&'static [(f64, f64)], u32),
    /// No code at all over a frame of so many bits.
    Uncoded(u32),
    /// Reed-Solomon alone: hard decisions, 255 symbols, so many corrected, so many words a frame.
    ReedSolomon(u32, u32),
    /// The convolutional code of rate 1/2 and 7 bits alone, soft decisions, a frame of so many bits.
    Convolutional(u32),
}

impl Waterfall {
    /// DVB-S2's share of lost frames by the distance from what a MODCOD needs, dB.
    pub fn below(margin_db: f64) -> f64 {
        10f64.powf(-7.0 - 10.0 * margin_db).clamp(LEAST, 1.0)
    }

    /// Share of frames lost at an Eb/N0.
    pub fn frame_error(&self, eb_n0_db: f64) -> f64 {
        let eb_n0 = 10f64.powf(eb_n0_db / 10.0);
        let lost = match *self {
            Self::QuasiErrorFree => Self::below(eb_n0_db),
            Self::Points(points, words) => any(interpolated(points, eb_n0_db), words),
            Self::Uncoded(bits) => any(exceedance((2.0 * eb_n0).sqrt()), bits),
            Self::ReedSolomon(corrected, words) => any(hard_words(eb_n0, corrected), words),
            Self::Convolutional(bits) => {
                // Events may begin at each bit; the first terms of the union bound: weights
                // of the code's shortest wrong paths and how many there are of each.
                const EVENTS: [(f64, f64); 6] = [
                    (10.0, 11.0),
                    (12.0, 38.0),
                    (14.0, 193.0),
                    (16.0, 1_331.0),
                    (18.0, 7_275.0),
                    (20.0, 40_406.0),
                ];
                let event =
                    |(weight, count): &(f64, f64)| count * exceedance((weight * eb_n0).sqrt());
                any(EVENTS.iter().map(event).sum::<f64>().min(1.0), bits)
            }
        };
        lost.clamp(LEAST, 1.0)
    }

    /// Eb/N0 at which so many frames are lost, dB.
    pub fn needed_db(&self, frame_error: f64) -> f64 {
        let (mut low, mut high) = (-10.0, 20.0);
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            if self.frame_error(middle) > frame_error {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }
}

/// Chance of at least one of `count` that each happen with `one`.
fn any(one: f64, count: u32) -> f64 {
    -(f64::from(count) * (-one.min(1.0 - 1e-15)).ln_1p()).exp_m1()
}

/// Straight between points on paper with a logarithmic scale, and straight on beyond them.
fn interpolated(points: &[(f64, f64)], eb_n0_db: f64) -> f64 {
    let after = points.partition_point(|point| point.0 <= eb_n0_db);
    let high = after.clamp(1, points.len() - 1);
    let [low, high] = [high - 1, high].map(|at| (points[at].0, points[at].1.log10()));
    let slope = (high.1 - low.1) / (high.0 - low.0);
    10f64.powf(low.1 + slope * (eb_n0_db - low.0)).min(1.0)
}

/// Chance that a word of Reed-Solomon (255, 255 - 2E) has more wrong symbols than it corrects, after
/// hard decisions on BPSK or QPSK.
fn hard_words(eb_n0: f64, corrected: u32) -> f64 {
    const SYMBOLS: u32 = 255;
    let rate = f64::from(SYMBOLS - 2 * corrected) / f64::from(SYMBOLS);
    let symbol = any(exceedance((2.0 * eb_n0 * rate).sqrt()), 8);
    let (log_wrong, log_right) = (symbol.ln(), (-symbol).ln_1p());
    // Binomial terms by their logarithms, from none wrong on.
    let mut log_ways = 0.0;
    let (mut good, mut bad) = (0.0, 0.0);
    for wrong in 0..=SYMBOLS {
        let term =
            (log_ways + f64::from(wrong) * log_wrong + f64::from(SYMBOLS - wrong) * log_right)
                .exp();
        if wrong <= corrected {
            good += term
        } else {
            bad += term
        }
        log_ways += (f64::from(SYMBOLS - wrong) / f64::from(wrong + 1)).ln();
    }
    // The smaller one is the one with digits.
    if bad < 0.5 { bad } else { 1.0 - good }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_fall_with_energy_and_needs_undo_them() {
        const POINTS: &[(f64, f64)] = &[(1.0, 0.5), (1.5, 1e-2), (2.0, 1e-4)];
        for fall in [
            Waterfall::QuasiErrorFree,
            Waterfall::Points(POINTS, 5),
            Waterfall::Uncoded(8_920),
            Waterfall::ReedSolomon(16, 5),
            Waterfall::Convolutional(8_920),
        ] {
            let mut before = 1.0;
            for step in -20..140 {
                let now = fall.frame_error(f64::from(step) / 10.0);
                assert!((0.0..=1.0).contains(&now) && now <= before, "{fall:?}");
                before = now;
            }
            let needed = fall.needed_db(1e-5);
            assert!((fall.frame_error(needed) / 1e-5 - 1.0).abs() < 1e-3, "{fall:?}");
        }
    }

    #[test]
    fn bits_without_a_code_are_the_error_function() {
        // Half of erfc(sqrt(Eb/N0)): 7.7267e-4 at 7 dB, 3.8721e-6 at 10 dB.
        assert!((Waterfall::Uncoded(1).frame_error(7.0) / 7.726_748e-4 - 1.0).abs() < 1e-6);
        assert!((Waterfall::Uncoded(1).frame_error(10.0) / 3.872_108e-6 - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_decibel_is_ten_decades_of_dvb() {
        assert_eq!(Waterfall::below(0.0), 1e-7);
        assert!((Waterfall::below(-0.5) - 0.01).abs() < 1e-12);
        assert_eq!(Waterfall::below(-1.0), 1.0);
        assert_eq!(Waterfall::below(3.0), LEAST);
    }
}
