//! Measures the error-correcting codes: bit and frame errors through white noise, and speed.
//!
//! ```text
//! cargo run --release -p codecs --example coding_campaign -- viterbi [MEGABITS]
//! cargo run --release -p codecs --example coding_campaign -- ldpc [CODEWORDS]
//! cargo run --release -p codecs --example coding_campaign -- margin [CODEWORDS]
//! ```
//!
//! `margin` asks what eight bits and the minimum cost: it decodes the same noise with ours and with
//! a sum-product decoder in floating point that is given the channel's exact likelihoods, and
//! says how many decibels lie between the two at the same rate of codeword errors.

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

/// Layered sum-product in floating point: what belief propagation can do, at any price.
struct SumProduct {
    rows: Vec<Vec<usize>>,
    beliefs: Vec<f64>,
    messages: Vec<Vec<f64>>,
    fill: usize,
}

impl SumProduct {
    fn new(code: ldpc::Code) -> Self {
        let matrix = ldpc::Matrix::of(code);
        let rows: Vec<Vec<usize>> = matrix
            .rows
            .iter()
            .flat_map(|row| {
                let columns = |place| row.iter().map(|entry| matrix.at(entry, place)).collect();
                (0..matrix.z).map(columns).collect::<Vec<_>>()
            })
            .collect();
        Self {
            messages: rows.iter().map(|row| vec![0.0; row.len()]).collect(),
            beliefs: vec![0.0; matrix.columns * matrix.z],
            fill: code.fill_bits(),
            rows,
        }
    }

    /// Whether this many iterations find a codeword, and it is the one that was sent.
    fn decode(&mut self, likelihoods: &[f64], iterations: usize, sent: &[bool]) -> bool {
        self.messages.iter_mut().for_each(|row| row.fill(0.0));
        self.beliefs.fill(0.0);
        let (fill, beliefs) = self.beliefs.split_at_mut(self.fill);
        fill.fill(40.0);
        beliefs.iter_mut().zip(likelihoods).for_each(|(belief, channel)| *belief = *channel);
        for _ in 0..iterations {
            self.iterate();
            let mut rows = self.rows.iter();
            if rows.all(|row| row.iter().filter(|at| self.beliefs[**at] < 0.0).count() % 2 == 0) {
                let found = self.beliefs.iter().skip(self.fill);
                return found.zip(sent).all(|(belief, sent)| (*belief < 0.0) == *sent);
            }
        }
        false
    }

    fn iterate(&mut self) {
        let (mut tanhs, mut ahead) = (Vec::new(), Vec::new());
        for (row, messages) in self.rows.iter().zip(&mut self.messages) {
            tanhs.clear();
            ahead.clear();
            let mut product = 1.0;
            for (at, message) in row.iter().zip(&*messages) {
                self.beliefs[*at] -= message;
                ahead.push(product);
                let tanh = (self.beliefs[*at] / 2.0).tanh();
                tanhs.push(tanh);
                product *= tanh;
            }
            let mut product = 1.0;
            for (index, at) in row.iter().enumerate().rev() {
                let others = (ahead[index] * product).clamp(-1.0 + 1e-15, 1.0 - 1e-15);
                product *= tanhs[index];
                messages[index] = 2.0 * others.atanh();
                self.beliefs[*at] += messages[index];
            }
        }
    }
}

/// Where between two points a rate is met, its logarithm taken as a straight line.
fn at_rate(points: &[(f64, f64)], rate: f64) -> Option<f64> {
    points.windows(2).find_map(|pair| {
        let &[(low_db, more), (high_db, less)] = pair else { return None };
        (more >= rate && rate >= less && less > 0.0)
            .then(|| low_db + (high_db - low_db) * (more / rate).ln() / (more / less).ln())
    })
}

fn margin(codewords: usize) {
    use ldpc::{Code, Rate, Size};
    /// Errors that are enough for a point.
    const ENOUGH: u32 = 100;
    const RATE: f64 = 1e-2;
    let half = |size| Code::Ar4ja(Rate::Half, size);
    let points: [(Code, &[f64]); 7] = [
        (Code::C2, &[3.6, 3.7, 3.8, 3.9, 4.0]),
        (half(Size::K1024), &[1.4, 1.6, 1.8, 2.0, 2.2, 2.4, 2.6]),
        (half(Size::K4096), &[1.0, 1.1, 1.2, 1.3, 1.5, 1.7, 1.9]),
        (Code::Ar4ja(Rate::TwoThirds, Size::K1024), &[2.2, 2.4, 2.6, 2.8, 3.0, 3.2]),
        (Code::Ar4ja(Rate::FourFifths, Size::K1024), &[3.0, 3.2, 3.4, 3.6, 3.8, 4.0]),
        (Code::Tc512, &[2.4, 2.8, 3.2, 3.6]),
        (Code::Tc128, &[3.6, 4.0, 4.4, 4.8]),
    ];
    println!(
        "code | Eb/N0 dB | codeword errors of ours at 10, at 50 iterations, of sum-product at 50"
    );
    for (code, ratios) in points {
        let mut encoder = ldpc::Encoder::new(code);
        let mut ours = ldpc::Decoder::new(code);
        let mut reference = SumProduct::new(code);
        let value = code.info_bits() as f64 / code.symbols() as f64;
        let count = (codewords * 7136 / code.info_bits()).min(codewords * 10);
        let mut curves = [const { Vec::new() }; 3];
        for ebn0_db in ratios {
            let mut dice = Dice(6);
            let variance = 0.5 / (10_f64.powf(ebn0_db / 10.0) * value);
            let (mut failed, mut sent_words) = ([0_u32; 3], [0_u32; 3]);
            let (mut symbols, mut out) = (Vec::new(), vec![0; code.info_bits() / 8]);
            // Each decoder stops where its point is sure; those that go on see the same noise.
            for _ in 0..count {
                if failed.iter().all(|failed| *failed >= ENOUGH) {
                    break;
                }
                let info: Vec<u8> = (0..out.len()).map(|_| dice.roll() as u8).collect();
                symbols.clear();
                encoder.encode(&info, |symbol| symbols.push(symbol));
                let received: Vec<f64> = symbols
                    .chunks(2)
                    .flat_map(|pair| {
                        let noise = dice.normals().map(|noise| noise * variance.sqrt());
                        let sent = pair.iter().map(|symbol| if *symbol { -1.0 } else { 1.0 });
                        sent.zip(noise).map(|(sent, noise)| sent + noise).collect::<Vec<_>>()
                    })
                    .collect();
                let soft: Vec<i8> =
                    received.iter().map(|level| (level * 24.0).round() as i8).collect();
                for (decoder, iterations) in [10, 50].into_iter().enumerate() {
                    if failed[decoder] < ENOUGH {
                        let decoded = ours.decode(&soft, iterations, &mut out);
                        failed[decoder] += u32::from(!decoded.converged || out != info);
                        sent_words[decoder] += 1;
                    }
                }
                if failed[2] < ENOUGH {
                    let likelihoods: Vec<f64> =
                        received.iter().map(|level| 2.0 * level / variance).collect();
                    let parity = code.symbols() - code.tail_symbols();
                    let symbols = symbols.get(..parity).unwrap_or(&symbols);
                    let likelihoods = likelihoods.get(..parity).unwrap_or(&likelihoods);
                    failed[2] += u32::from(!reference.decode(likelihoods, 50, symbols));
                    sent_words[2] += 1;
                }
            }
            let rates: [f64; 3] =
                std::array::from_fn(|at| f64::from(failed[at]) / f64::from(sent_words[at]));
            curves.iter_mut().zip(rates).for_each(|(curve, rate)| curve.push((*ebn0_db, rate)));
            let cells = (0..3).map(|at| format!("{:.1e} ({})", rates[at], failed[at]));
            println!("{code:?} | {ebn0_db} | {}", cells.collect::<Vec<_>>().join(" | "));
        }
        let met = curves.map(|curve| at_rate(&curve, RATE));
        let [ten, fifty, reference] = met.map(|db| db.unwrap_or(f64::NAN));
        println!(
            "{code:?} at {RATE:e}: ours {ten:.2} and {fifty:.2} dB, sum-product {reference:.2} dB: \
             {:.2} and {:.2} dB apart",
            ten - reference,
            fifty - reference
        );
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let amount = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    match arguments.first().map(String::as_str) {
        Some("viterbi") => viterbi(amount),
        Some("ldpc") => ldpc(amount),
        Some("margin") => margin(amount),
        _ => {
            eprintln!(
                "name what to measure: viterbi [MEGABITS], ldpc [CODEWORDS], margin [CODEWORDS]"
            );
            std::process::exit(2);
        }
    }
}
