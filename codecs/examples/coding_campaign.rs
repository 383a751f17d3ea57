//! Measures the error-correcting codes: bit and frame errors through white noise, and speed.
//!
//! ```text
//! cargo run --release -p codecs --example coding_campaign -- viterbi [MEGABITS]
//! ```

use codecs::fec::convolutional::{Code, Decoder, Encoder, Rate};
use codecs::fec::kernels::viterbi::Kernel;
use std::time::Instant;

/// Numbers that look random and are the same every time (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn unit(&mut self) -> f64 {
        ((self.roll() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Box and Muller's two normal variates.
    fn normals(&mut self) -> [f64; 2] {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * self.unit()).sin_cos();
        [radius * sine, radius * cosine]
    }

    /// BPSK through noise, a noiseless symbol at ±`amplitude`.
    fn channel(&mut self, symbols: &[bool], rate: f64, ebn0_db: f64, amplitude: f64) -> Vec<i8> {
        let deviation = (0.5 / (10_f64.powf(ebn0_db / 10.0) * rate)).sqrt();
        let mut soft = Vec::with_capacity(symbols.len() + 1);
        for pair in symbols.chunks(2) {
            for (symbol, noise) in pair.iter().zip(self.normals()) {
                let sent = if *symbol { -1.0 } else { 1.0 };
                let level = ((sent + deviation * noise) * amplitude).round();
                soft.push(level.clamp(-127.0, 127.0) as i8);
            }
        }
        soft
    }
}

fn viterbi(megabits: usize) {
    let bytes: Vec<u8> = {
        let mut dice = Dice(1);
        (0..megabits * 125_000).map(|_| dice.roll() as u8).collect()
    };
    println!("rate | Eb/N0 dB | bit error rate");
    let points: [(Rate, &[f64]); 5] = [
        (Rate::Half, &[2.0, 2.5, 3.0, 3.5, 4.0]),
        (Rate::TwoThirds, &[3.0, 3.5, 4.0]),
        (Rate::ThreeQuarters, &[3.5, 4.0, 4.5]),
        (Rate::FiveSixths, &[4.0, 4.5, 5.0]),
        (Rate::SevenEighths, &[4.5, 5.0, 5.5]),
    ];
    for (rate, ratios) in points {
        let code = Code::standard(rate);
        let mut symbols = Vec::new();
        Encoder::new(code).bytes(&bytes, |symbol| symbols.push(symbol));
        for ebn0_db in ratios {
            let value = rate.bits() as f64 / rate.symbols() as f64;
            let soft = Dice(2).channel(&symbols, value, *ebn0_db, 64.0);
            let (mut out, mut decoder) = (Vec::new(), Decoder::new(code));
            decoder.push(&soft, &mut out);
            decoder.finish(&mut out);
            let wrong: u32 = out.iter().zip(&bytes).map(|(a, b)| (a ^ b).count_ones()).sum();
            println!("{rate:?} | {ebn0_db} | {:.2e}", f64::from(wrong) / (bytes.len() * 8) as f64);
        }
    }
    println!("rate | kernel | Mbit/s decoded (best of 7)");
    for rate in [Rate::Half, Rate::SevenEighths] {
        let code = Code::standard(rate);
        let mut symbols = Vec::new();
        Encoder::new(code).bytes(bytes.get(..125_000).unwrap_or(&bytes), |s| symbols.push(s));
        let value = rate.bits() as f64 / rate.symbols() as f64;
        let soft = Dice(3).channel(&symbols, value, 5.0, 64.0);
        for kernel in Kernel::all() {
            let mut decoder = Decoder::on(kernel, code);
            let mut out = Vec::with_capacity(200_000);
            let best = (0..7)
                .map(|_| {
                    out.clear();
                    let start = Instant::now();
                    decoder.push(&soft, &mut out);
                    decoder.finish(&mut out);
                    start.elapsed().as_secs_f64()
                })
                .fold(f64::INFINITY, f64::min);
            println!("{rate:?} | {} | {:.0}", kernel.name(), out.len() as f64 * 8e-6 / best);
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let amount = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    match arguments.first().map(String::as_str) {
        Some("viterbi") => viterbi(amount),
        _ => {
            eprintln!("name what to measure: viterbi [MEGABITS]");
            std::process::exit(2);
        }
    }
}
