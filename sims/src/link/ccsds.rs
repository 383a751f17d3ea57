//! Codes of telemetry (CCSDS 131.0-B-6) on BPSK and QPSK: what each needs and how it fails.
//!
//! Curves are of Eb/N0 with ideal synchronisation. Concatenated and turbo codes: CCSDS 130.1-G-3,
//! figures 6-8 and 7-6. LDPC: measured with this project's own decoder (see [`LDPC`]). Reed-Solomon,
//! the convolutional code and no code: their formulas.

use super::modcod::{Modcod, Modulation};
use super::waterfall::Waterfall;

/// Share of lost frames at which a code is said to work.
pub const THRESHOLD: f64 = 1e-4;

/// A code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Code {
    /// Its name on BPSK and on QPSK.
    pub names: [&'static str; 2],
    /// Bits of the user, and bits sent for them, a frame.
    pub bits: (u32, u32),
    /// How it fails.
    pub waterfall: Waterfall,
}

macro_rules! code {
    ($name:literal, $bits:expr, $waterfall:expr) => {
        Code {
            names: [concat!("BPSK ", $name), concat!("QPSK ", $name)],
            bits: $bits,
            waterfall: $waterfall,
        }
    };
}

use Waterfall::{Convolutional, Points, ReedSolomon, Uncoded};

/// A frame of five interleaved words of Reed-Solomon: what codes without a frame of their own are
/// reckoned over.
const FRAME: u32 = 8_920;

/// The codes, from none to the strongest.
#[rustfmt::skip]
pub const CODES: [Code; 22] = [
    code!("uncoded", (FRAME, FRAME), Uncoded(FRAME)),
    code!("RS(255,239) I=5", (5 * 1_912, 5 * 2_040), ReedSolomon(8, 5)),
    code!("RS(255,223) I=5", (5 * 1_784, 5 * 2_040), ReedSolomon(16, 5)),
    code!("convolutional 1/2", (FRAME, 2 * FRAME), Convolutional(FRAME)),
    code!("RS(255,223) I=1 + convolutional 1/2", (1_784, 2 * 2_040), Points(RS_CONV_1, 1)),
    code!("RS(255,223) I=4 + convolutional 1/2", (4 * 1_784, 8 * 2_040), Points(RS_CONV_4, 4)),
    code!("RS(255,223) I=5 + convolutional 1/2", (5 * 1_784, 10 * 2_040), Points(RS_CONV_5, 5)),
    code!("turbo 1/2 k=1784", (1_784, 3_576), Points(TURBO_2, 1)),
    code!("turbo 1/3 k=1784", (1_784, 5_364), Points(TURBO_3, 1)),
    code!("turbo 1/4 k=1784", (1_784, 7_152), Points(TURBO_4, 1)),
    code!("turbo 1/6 k=1784", (1_784, 10_728), Points(TURBO_6, 1)),
    code!("LDPC 7/8 k=7136", (7_136, 8_160), Points(LDPC[0], 1)),
    code!("LDPC 4/5 k=1024", (1_024, 1_280), Points(LDPC[3], 1)),
    code!("LDPC 2/3 k=1024", (1_024, 1_536), Points(LDPC[2], 1)),
    code!("LDPC 1/2 k=1024", (1_024, 2_048), Points(LDPC[1], 1)),
    code!("LDPC 4/5 k=4096", (4_096, 5_120), Points(LDPC[6], 1)),
    code!("LDPC 2/3 k=4096", (4_096, 6_144), Points(LDPC[5], 1)),
    code!("LDPC 1/2 k=4096", (4_096, 8_192), Points(LDPC[4], 1)),
    code!("LDPC 4/5 k=16384", (16_384, 20_480), Points(LDPC[9], 1)),
    code!("LDPC 2/3 k=16384", (16_384, 24_576), Points(LDPC[8], 1)),
    code!("LDPC 1/2 k=16384", (16_384, 32_768), Points(LDPC[7], 1)),
    code!("RS(255,223) I=1", (1_784, 2_040), ReedSolomon(16, 1)),
];

/// CCSDS 130.1-G-3 figure 6-8: share of words lost, interleaving 1, 4 and 5.
#[rustfmt::skip]
pub const RS_CONV_1: &[(f64, f64)] = &[
    (1.4, 9.672_8e-1), (1.6, 7.922_5e-1), (1.8, 5.183_9e-1), (2.0, 2.313_6e-1), (2.2, 7.782_6e-2),
    (2.4, 1.602_7e-2), (2.6, 2.680_9e-3), (2.8, 3.436_5e-4), (3.0, 3.699_2e-5),
];
/// The same with interleaving 4.
#[rustfmt::skip]
pub const RS_CONV_4: &[(f64, f64)] = &[
    (1.4, 1.0), (1.6, 9.356_3e-1), (1.8, 5.227_2e-1), (2.0, 1.314_3e-1), (2.2, 6.804_8e-3),
    (2.4, 1.215_1e-4), (2.5, 1.308_0e-5),
];
/// The same with interleaving 5.
#[rustfmt::skip]
pub const RS_CONV_5: &[(f64, f64)] = &[
    (1.4, 1.0), (1.5, 9.835_0e-1), (1.6, 9.356_3e-1), (1.8, 6.173_1e-1), (2.0, 9.742_0e-2),
    (2.1, 2.892_7e-2), (2.2, 5.128_7e-3), (2.25, 2.386_2e-3), (2.3, 8.229_6e-4), (2.4, 7.018_3e-5),
    (2.6, 7.998_2e-7),
];
/// CCSDS 130.1-G-3 figure 7-6: share of frames lost, rate 1/2.
#[rustfmt::skip]
pub const TURBO_2: &[(f64, f64)] = &[
    (0.6, 7.384_8e-1), (0.7, 5.222_4e-1), (0.8, 3.588_1e-1), (0.9, 2.260_6e-1), (1.0, 8.973_8e-2),
    (1.1, 2.707_7e-2), (1.2, 8.781_6e-3), (1.3, 2.574_3e-3), (1.4, 3.460_9e-4), (1.5, 6.300_5e-5),
];
/// Rate 1/3.
#[rustfmt::skip]
pub const TURBO_3: &[(f64, f64)] = &[
    (0.0, 7.601_1e-1), (0.1, 5.947_0e-1), (0.2, 2.501_0e-1), (0.3, 1.287_4e-1), (0.4, 6.255_2e-2),
    (0.5, 1.833_7e-2), (0.6, 3.338_2e-3), (0.7, 8.348_9e-4), (0.8, 1.090_5e-4),
];
/// Rate 1/4.
#[rustfmt::skip]
pub const TURBO_4: &[(f64, f64)] = &[
    (0.2, 5.736_2e-2), (0.3, 1.029_3e-2), (0.4, 3.290_3e-3), (0.5, 5.493_0e-4), (0.6, 8.170_1e-5),
];
/// Rate 1/6.
#[rustfmt::skip]
pub const TURBO_6: &[(f64, f64)] = &[
    (-0.1, 5.336_7e-2), (0.0, 1.610_3e-2), (0.1, 2.767_0e-3), (0.2, 5.336_7e-4), (0.3, 8.531_7e-5),
];

/// LDPC codes as this project's decoder has them (`codecs::fec::ldpc`: layered min-sum on 8-bit
/// symbols, 50 iterations): share of words lost, 100 lost words a point, from 3 on at the last. C2
/// first, then AR4JA of 1,024, 4,096 and 16,384 bits, each of rate 1/2, 2/3 and 4/5.
#[rustfmt::skip]
pub const LDPC: [&[(f64, f64)]; 10] = [
    &[(3.3, 8.403e-1), (3.4, 6.250e-1), (3.5, 3.185e-1), (3.6, 1.026e-1), (3.7, 2.033e-2),
      (3.8, 1.842e-3), (3.9, 7.417e-5)],
    &[(0.6, 9.091e-1), (0.8, 7.463e-1), (1.0, 4.673e-1), (1.2, 1.901e-1), (1.4, 4.394e-2),
      (1.6, 7.424e-3), (1.8, 6.674e-4), (2.0, 2.658e-5)],
    &[(1.2, 1.000), (1.4, 9.009e-1), (1.6, 7.042e-1), (1.8, 4.098e-1), (2.0, 1.894e-1),
      (2.2, 4.000e-2), (2.4, 8.536e-3), (2.6, 8.950e-4), (2.8, 6.747e-5)],
    &[(2.0, 1.000), (2.2, 9.524e-1), (2.4, 8.772e-1), (2.6, 5.917e-1), (2.8, 3.968e-1),
      (3.0, 1.610e-1), (3.2, 3.510e-2), (3.4, 8.181e-3), (3.6, 1.117e-3), (3.8, 1.111e-4),
      (4.0, 7.225e-6)],
    &[(0.6, 9.901e-1), (0.8, 8.197e-1), (1.0, 2.469e-1), (1.2, 1.317e-2), (1.4, 1.259e-4)],
    &[(1.4, 9.901e-1), (1.6, 7.143e-1), (1.8, 2.123e-1), (2.0, 9.672e-3), (2.2, 8.515e-5)],
    &[(2.3, 9.804e-1), (2.5, 7.519e-1), (2.7, 2.882e-1), (2.9, 1.772e-2), (3.1, 3.939e-4)],
    &[(0.7, 1.000), (0.8, 9.259e-1), (0.9, 6.289e-1), (1.0, 7.610e-2), (1.1, 1.571e-3)],
    &[(1.5, 1.000), (1.6, 8.772e-1), (1.7, 2.618e-1), (1.8, 1.818e-2), (1.9, 1.329e-4)],
    &[(2.4, 1.000), (2.5, 8.772e-1), (2.6, 3.731e-1), (2.7, 3.830e-2), (2.8, 6.168e-4)],
];

impl Code {
    /// The code on a modulation of one or two bits.
    pub fn on(&self, modulation: Modulation) -> Modcod {
        let (info, sent) = self.bits;
        let bits_per_symbol = f64::from(modulation.bits()) * f64::from(info) / f64::from(sent);
        Modcod {
            name: self.names[usize::from(modulation != Modulation::Bpsk)],
            bits_per_symbol,
            es_n0_db: self.waterfall.needed_db(THRESHOLD) + 10.0 * bits_per_symbol.log10(),
            modulation,
            frame_bits: f64::from(info),
            waterfall: self.waterfall,
        }
    }
}

/// Every code on BPSK and on QPSK.
pub fn all() -> Vec<Modcod> {
    let on = |modulation| CODES.iter().map(move |code| code.on(modulation));
    on(Modulation::Bpsk).chain(on(Modulation::Qpsk)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(name: &str) -> Modcod {
        all().into_iter().find(|modcod| modcod.name == name).unwrap()
    }

    #[test]
    fn a_bit_needs_the_same_on_one_and_on_two() {
        for code in CODES {
            let [one, two] = [Modulation::Bpsk, Modulation::Qpsk].map(|on| code.on(on));
            assert!((one.eb_n0_db() - two.eb_n0_db()).abs() < 1e-9, "{}", one.name);
            // Twice the bits a symbol is 3 dB more energy a symbol.
            assert!((two.es_n0_db - one.es_n0_db - 3.010_3).abs() < 1e-4, "{}", one.name);
            assert!((two.frame_error(two.es_n0_db) / THRESHOLD - 1.0).abs() < 1e-3);
        }
    }

    #[test]
    fn codes_need_what_the_book_shows() {
        // Thresholds read off CCSDS 130.1-G-3's figures for one frame in ten thousand.
        for (name, eb_n0_db) in [
            ("BPSK turbo 1/2 k=1784", 1.47),
            ("BPSK turbo 1/6 k=1784", 0.29),
            ("BPSK RS(255,223) I=1 + convolutional 1/2", 2.91),
        ] {
            assert!((find(name).eb_n0_db() - eb_n0_db).abs() < 0.03, "{name}");
        }
        // Sent alone, they need more, and nothing at all needs most.
        let needs = |name| find(name).eb_n0_db();
        assert!(needs("BPSK uncoded") > 11.0);
        assert!(needs("BPSK RS(255,239) I=5") > needs("BPSK RS(255,223) I=5"));
        assert!(
            needs("BPSK convolutional 1/2")
                > needs("BPSK RS(255,223) I=5 + convolutional 1/2") + 2.0
        );
    }

    #[test]
    fn no_code_beats_shannon() {
        for modcod in all().iter().chain(&super::super::modcod::DVB_S2) {
            let capacity = (1.0 + 10f64.powf(modcod.es_n0_db / 10.0)).log2();
            assert!(modcod.bits_per_symbol < capacity, "{}", modcod.name);
        }
    }
}
