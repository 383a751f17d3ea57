//! Measures the error-correcting codes: bit and frame errors through white noise, and speed.
//!
//! ```text
//! cargo run --release -p codecs --example coding_campaign -- viterbi [MEGABITS]
//! cargo run --release -p codecs --example coding_campaign -- ldpc [CODEWORDS]
//! ```

use codecs::fec::convolutional::{Code, Decoder, Encoder, Rate};
use codecs::fec::kernels;
use codecs::fec::kernels::viterbi::Kernel;
use codecs::fec::ldpc;
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

fn ldpc(codewords: usize) {
    use ldpc::{Rate, Size};
    println!("code | Eb/N0 dB | codeword errors | bit error rate | mean iterations (at most 50)");
    let points: [(ldpc::Code, &[f64]); 12] = [
        (ldpc::Code::Tc128, &[3.0, 4.0, 5.0]),
        (ldpc::Code::Tc512, &[2.5, 3.0, 3.5]),
        (ldpc::Code::C2, &[3.6, 3.8, 4.0]),
        (ldpc::Code::Ar4ja(Rate::Half, Size::K1024), &[1.0, 1.4, 1.8]),
        (ldpc::Code::Ar4ja(Rate::TwoThirds, Size::K1024), &[1.8, 2.2, 2.6]),
        (ldpc::Code::Ar4ja(Rate::FourFifths, Size::K1024), &[2.6, 3.0, 3.4]),
        (ldpc::Code::Ar4ja(Rate::Half, Size::K4096), &[0.9, 1.1, 1.3]),
        (ldpc::Code::Ar4ja(Rate::TwoThirds, Size::K4096), &[1.7, 1.9, 2.1]),
        (ldpc::Code::Ar4ja(Rate::FourFifths, Size::K4096), &[2.6, 2.8, 3.0]),
        (ldpc::Code::Ar4ja(Rate::Half, Size::K16384), &[0.8, 0.9, 1.0]),
        (ldpc::Code::Ar4ja(Rate::TwoThirds, Size::K16384), &[1.6, 1.7, 1.8]),
        (ldpc::Code::Ar4ja(Rate::FourFifths, Size::K16384), &[2.5, 2.6, 2.7]),
    ];
    for (code, ratios) in points {
        let mut encoder = ldpc::Encoder::new(code);
        let mut decoder = ldpc::Decoder::new(code);
        let value = code.info_bits() as f64 / code.symbols() as f64;
        // As many bits for each code, so that short ones get more codewords.
        let count = (codewords * 7136 / code.info_bits()).max(20);
        for ebn0_db in ratios {
            let mut dice = Dice(4);
            let (mut failed, mut wrong, mut iterations) = (0, 0, 0);
            for _ in 0..count {
                let info: Vec<u8> = (0..code.info_bits() / 8).map(|_| dice.roll() as u8).collect();
                let mut symbols = Vec::with_capacity(code.symbols());
                encoder.encode(&info, |symbol| symbols.push(symbol));
                let soft = dice.channel(&symbols, value, *ebn0_db, 24.0);
                let mut out = vec![0; info.len()];
                iterations += decoder.decode(&soft, 50, &mut out).iterations;
                failed += u32::from(out != info);
                wrong += out.iter().zip(&info).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
            }
            println!(
                "{code:?} | {ebn0_db} | {failed} of {count} | {:.2e} | {:.1}",
                f64::from(wrong) / (count * code.info_bits()) as f64,
                f64::from(iterations) / count as f64
            );
        }
    }
    println!("code | kernel | Mbit/s of information at 10 iterations, none early (best of 7)");
    let codes = [ldpc::Code::C2, ldpc::Code::Ar4ja(Rate::Half, Size::K1024), ldpc::Code::ALL[9]];
    for code in codes {
        // Noise that never converges: all ten iterations run.
        let mut dice = Dice(5);
        let soft: Vec<i8> = (0..code.symbols()).map(|_| dice.roll() as i8 / 4).collect();
        for kernel in kernels::ldpc::Kernel::all() {
            let mut decoder = ldpc::Decoder::on(kernel, code);
            let mut out = vec![0; code.info_bits() / 8];
            let best = (0..7)
                .map(|_| {
                    let start = Instant::now();
                    for _ in 0..10 {
                        assert_eq!(decoder.decode(&soft, 10, &mut out).iterations, 10);
                    }
                    start.elapsed().as_secs_f64()
                })
                .fold(f64::INFINITY, f64::min);
            let bits = code.info_bits() as f64 * 10.0;
            println!("{code:?} | {} | {:.0}", kernel.name(), bits * 1e-6 / best);
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let amount = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    match arguments.first().map(String::as_str) {
        Some("viterbi") => viterbi(amount),
        Some("ldpc") => ldpc(amount),
        _ => {
            eprintln!("name what to measure: viterbi [MEGABITS], ldpc [CODEWORDS]");
            std::process::exit(2);
        }
    }
}
