use super::*;
use crate::fec::kernels::viterbi::Kernel;
use alloc::vec::Vec;
use proptest::prelude::*;
use std::path::PathBuf;
use std::{eprintln, fs};

/// Numbers that look random and are the same every time (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.roll() as u8).collect()
    }

    /// Normally distributed, by the sum of twelve (tails end at six deviations).
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| (self.roll() >> 11) as f64 / (1_u64 << 53) as f64).sum::<f64>() - 6.0
    }

    /// BPSK through noise at this ratio of energy per *bit* to noise density.
    fn channel(&mut self, symbols: &[bool], rate: f64, ebn0_db: f64) -> Vec<i8> {
        let ratio = 10_f64.powf(ebn0_db / 10.0) * rate;
        let deviation = (0.5 / ratio).sqrt();
        symbols
            .iter()
            .map(|symbol| {
                let sent = if *symbol { -1.0 } else { 1.0 };
                ((sent + deviation * self.normal()) * 64.0).round().clamp(-127.0, 127.0) as i8
            })
            .collect()
    }
}

fn encode(code: Code, bytes: &[u8]) -> Vec<bool> {
    let mut symbols = Vec::new();
    Encoder::new(code).bytes(bytes, |symbol| symbols.push(symbol));
    symbols
}

fn clean(symbols: &[bool]) -> Vec<i8> {
    symbols.iter().map(|symbol| if *symbol { -64 } else { 64 }).collect()
}

fn decode(code: Code, symbols: &[i8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut decoder = Decoder::new(code);
    decoder.push(symbols, &mut out);
    decoder.finish(&mut out);
    out
}

fn bit_errors(ours: &[u8], theirs: &[u8]) -> u32 {
    ours.iter().zip(theirs).map(|(ours, theirs)| (ours ^ theirs).count_ones()).sum()
}

fn codes() -> Vec<Code> {
    Rate::ALL
        .into_iter()
        .flat_map(|rate| {
            let code = Code::standard(rate);
            [code, code.with_inverter(!code.inverted), code.with_c2_first(true)]
        })
        .collect()
}

fn value(rate: Rate) -> f64 {
    rate.bits() as f64 / rate.symbols() as f64
}

#[test]
fn impulse_response_is_the_connection_vectors() {
    // 131.0-B-6 §3.3.1: a 1 among zeros shows G1 and G2, newest tap first.
    let code = Code::BASIC.with_inverter(false);
    let symbols = encode(code, &[0x80]);
    let spell = |which: usize| {
        symbols
            .iter()
            .skip(which)
            .step_by(2)
            .take(7)
            .fold(0, |word, symbol| word * 2 + u8::from(*symbol))
    };
    assert_eq!(spell(0), 0o171);
    assert_eq!(spell(1), 0o133);
    // The inverter: zeros give alternating symbols.
    assert!(encode(Code::BASIC, &[0; 2]).chunks(2).all(|pair| pair == [false, true]));
}

#[test]
fn punctured_symbols_leave_in_the_standard_order() {
    // 131.0-B-6 §3.4: the transmitted sequences of the table of puncturing patterns.
    let sequences: [(Rate, &[(usize, usize)]); 5] = [
        (Rate::Half, &[(0, 1), (0, 2)]),
        (Rate::TwoThirds, &[(0, 1), (0, 2), (1, 2)]),
        (Rate::ThreeQuarters, &[(0, 1), (0, 2), (1, 2), (2, 1)]),
        (Rate::FiveSixths, &[(0, 1), (0, 2), (1, 2), (2, 1), (3, 2), (4, 1)]),
        (Rate::SevenEighths, &[(0, 1), (0, 2), (1, 2), (2, 2), (3, 2), (4, 1), (5, 2), (6, 1)]),
    ];
    let bytes = Dice(1).bytes(70);
    let all = encode(Code::BASIC.with_inverter(false), &bytes);
    for (rate, sequence) in sequences {
        let sent = encode(Code::standard(rate).with_inverter(false), &bytes);
        for (pattern, sent) in sent.chunks_exact(rate.symbols()).enumerate() {
            let expected: Vec<bool> = sequence
                .iter()
                .map(|(bit, which)| all[(pattern * rate.bits() + bit) * 2 + which - 1])
                .collect();
            assert_eq!(sent, expected);
        }
    }
}

#[test]
fn voyager_bits_encode_and_decode_to_each_other() {
    let folder = std::env::var_os("GROUNDTRACK_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let folder = folder.join("cadu");
    let (Ok(bits), Ok(symbols)) = (
        fs::read(folder.join("Voyager1__viterbi_decoder_out.u8")),
        fs::read(folder.join("Voyager1__convolutional_encoder_out.u8")),
    ) else {
        eprintln!("skipped: no recordings at {}", folder.display());
        return;
    };
    assert_eq!(symbols.len(), bits.len() * 2);
    let soft: Vec<i8> = symbols.iter().map(|symbol| if *symbol == 1 { -64 } else { 64 }).collect();
    let candidates: Vec<Code> = Code::variants(Rate::Half).collect();
    let found = sync::search(&candidates, &soft).expect("one hypothesis stands out");
    assert_eq!(found.code, Code::BASIC.with_c2_first(true));
    eprintln!("Voyager 1: {found:?}");
    // Encode: the register's content before the recording is unknown for six bits.
    let mut encoder = Encoder::new(found.code);
    let mut ours = Vec::new();
    for bit in &bits {
        encoder.bit(*bit == 1, |symbol| ours.push(u8::from(symbol)));
    }
    assert_eq!(found.offset, 0);
    assert_eq!(ours[12..], symbols[12..]);
    // Decode.
    let mut out = Vec::new();
    let mut decoder = Decoder::new(found.code);
    decoder.push(&soft, &mut out);
    assert_eq!(decoder.finish(&mut out), bits.len() % 8);
    let decoded: Vec<u8> =
        out.iter().flat_map(|byte| (0..8).rev().map(move |place| (byte >> place) & 1)).collect();
    assert_eq!(decoded[..bits.len()], bits[..]);
}

#[test]
fn every_code_decodes_its_own_symbols() {
    for code in codes() {
        let bytes = Dice(2).bytes(1000);
        assert_eq!(decode(code, &clean(&encode(code, &bytes))), bytes, "{code:?}");
    }
}

#[test]
fn pieces_of_any_size_decode_as_one() {
    for code in codes() {
        let bytes = Dice(3).bytes(900);
        let symbols = Dice(4).channel(&encode(code, &bytes), value(code.rate), 5.0);
        let whole = decode(code, &symbols);
        let mut dice = Dice(5);
        let (mut out, mut rest) = (Vec::new(), &symbols[..]);
        let mut decoder = Decoder::new(code);
        while !rest.is_empty() {
            let take = (dice.roll() as usize % 37).min(rest.len());
            decoder.push(&rest[..take], &mut out);
            rest = &rest[take..];
        }
        decoder.finish(&mut out);
        assert_eq!(out, whole, "{code:?}");
    }
}

#[test]
fn complement_in_complement_out() {
    for rate in Rate::ALL {
        let code = Code::standard(rate);
        let bytes = Dice(6).bytes(600);
        let symbols: Vec<i8> = clean(&encode(code, &bytes)).iter().map(|symbol| -symbol).collect();
        let decoded = decode(code, &symbols);
        // The register began with zeros, not ones: the first bits may differ.
        let same = decoded.iter().zip(&bytes).skip(2).all(|(ours, sent)| *ours == !sent);
        assert!(same, "{code:?} is not transparent");
    }
}

#[test]
fn bit_errors_keep_to_theory() {
    // The union bound over the weight spectrum of the code (Odenwalder's table: information
    // errors on all paths of weights 10, 12, ... 26). It is an upper bound, tight at 3 dB and up.
    const WEIGHTS: [f64; 9] =
        [36.0, 211.0, 1404.0, 11633.0, 77433.0, 502690.0, 3322763.0, 21292910.0, 134365911.0];
    let tail = |x: f64| {
        // Of the normal distribution; good to 1e-3 relative beyond 3.
        (-x * x / 2.0).exp()
            / ((2.0 * core::f64::consts::PI).sqrt())
            / (0.661 * x + 0.339 * (x * x + 5.51).sqrt())
    };
    let bytes = Dice(7).bytes(12_500);
    let symbols = encode(Code::BASIC, &bytes);
    for (ebn0_db, least) in [(2.5, 0.3), (3.0, 0.35)] {
        let ratio = 10_f64.powf(ebn0_db / 10.0);
        let bound: f64 = WEIGHTS
            .iter()
            .enumerate()
            .map(|(index, weight)| weight * tail((10.0 + 2.0 * index as f64).sqrt() * ratio.sqrt()))
            .sum();
        let decoded = decode(Code::BASIC, &Dice(8).channel(&symbols, 0.5, ebn0_db));
        let measured = f64::from(bit_errors(&decoded, &bytes)) / (bytes.len() * 8) as f64;
        eprintln!("{ebn0_db} dB: measured {measured:.2e}, bound {bound:.2e}");
        assert!(measured < bound * 1.3 && measured > bound * least * 0.3);
    }
}

#[test]
fn the_right_place_is_found_in_noise() {
    for (rate, ebn0_db) in Rate::ALL.into_iter().zip([2.5, 3.5, 4.0, 5.0, 5.5]) {
        let candidates: Vec<Code> = Code::variants(rate).collect();
        for code in candidates.iter().copied() {
            let bytes = Dice(9).bytes(rate.bits() * 300);
            let symbols = Dice(10).channel(&encode(code, &bytes), value(rate), ebn0_db);
            for cut in [0, 1, rate.symbols() - 1] {
                let found = sync::search(&candidates, &symbols[cut..]);
                let found = found.unwrap_or_else(|| panic!("{code:?} cut {cut}: none stands out"));
                eprintln!("{found:?}");
                let expected = (rate.symbols() - cut) % rate.symbols();
                assert_eq!((found.code, found.offset), (code, expected), "{found:?}");
            }
        }
    }
}

#[test]
fn a_slip_is_noticed_and_healed() {
    let code = Code::standard(Rate::ThreeQuarters);
    let bytes = Dice(11).bytes(40_000);
    let mut symbols = Dice(12).channel(&encode(code, &bytes), 0.75, 6.0);
    symbols.remove(symbols.len() / 2);
    let (mut out, mut events) = (Vec::new(), Vec::new());
    let mut sync = Synchroniser::new([code]);
    for piece in symbols.chunks(999) {
        sync.push(piece, &mut out, |event| events.push(event));
    }
    sync.finish(&mut out);
    let [sync::Event::Locked(first), sync::Event::Lost, sync::Event::Locked(second)] = events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!((first.offset, first.code), (0, code));
    assert_ne!(second.growth, first.growth);
    assert_eq!(out[..19_000], bytes[..19_000]);
    let end = &bytes[bytes.len() - 12_000..bytes.len() - 100];
    // Behind the slip the stream begins at any bit: look for the end at all eight shifts.
    let found = (0..8).any(|shift| {
        let shifted: Vec<u8> = out
            .windows(2)
            .map(|pair| (u16::from_be_bytes([pair[0], pair[1]]) >> shift) as u8)
            .collect();
        shifted.windows(end.len()).any(|window| window == end)
    });
    assert!(found);
}

#[test]
fn noise_alone_never_locks() {
    for rate in Rate::ALL {
        let noise: Vec<i8> = Dice(13).bytes(20_000).into_iter().map(|byte| byte as i8).collect();
        let candidates: Vec<Code> = Code::variants(rate).collect();
        assert_eq!(sync::search(&candidates, &noise), None, "{rate:?}");
    }
}

#[test]
fn the_inverter_shows_only_where_its_pattern_is_no_code_sequence() {
    for rate in Rate::ALL {
        let code = Code::standard(rate);
        let symbols = clean(&encode(code, &Dice(14).bytes(500)));
        let mut other = Decoder::new(code.with_inverter(!code.inverted));
        // Six bits of an unknown start cost a few symbols; a real contradiction costs thousands.
        let blind = other.measure(&symbols).0 < 100;
        assert_eq!(blind, matches!(rate, Rate::ThreeQuarters | Rate::FiveSixths), "{rate:?}");
    }
}

proptest! {
    #[test]
    fn kernels_equal_the_portable_twin(
        seed in any::<u64>(),
        steps in 1_usize..300,
        start in any::<u64>(),
        loud in any::<bool>(),
    ) {
        let mut dice = Dice(seed);
        let mut from = Metrics::unknown();
        let mut warm = Dice(start);
        from.0.iter_mut().for_each(|metric| *metric = warm.roll() as u8 % 121);
        let costs: Vec<StepCosts> = (0..steps)
            .map(|_| {
                let roll = dice.roll();
                let [(a, b), (c, d)] = [0, 8].map(|shift| {
                    let symbol = (roll >> shift) as i8;
                    let loudest = if symbol < 0 { i8::MIN } else { i8::MAX };
                    trellis::symbol_costs(if loud { loudest } else { symbol })
                });
                [a + c, a + d, b + c, b + d]
            })
            .collect();
        let mut expected = (from.clone(), alloc::vec![0; steps]);
        let growth = trellis::portable(&mut expected.0, &costs, &mut expected.1);
        for kernel in Kernel::all() {
            let mut got = (from.clone(), alloc::vec![0; steps]);
            let grown = trellis::advance(kernel, &mut got.0, &costs, &mut got.1);
            prop_assert_eq!(grown, growth, "{}", kernel.name());
            prop_assert_eq!(&got, &expected, "{}", kernel.name());
        }
    }

    #[test]
    fn any_symbols_are_taken_without_panic(
        symbols in prop::collection::vec(any::<i8>(), 0..9000),
        rate in 0_usize..5,
    ) {
        let code = Code::standard(Rate::ALL[rate]);
        let bits = symbols.len() * code.rate.bits() / code.rate.symbols();
        let decoded = decode(code, &symbols);
        prop_assert!(decoded.len().abs_diff(bits / 8) <= 1);
    }

    #[test]
    fn scattered_errors_are_corrected(seed in any::<u64>(), inverted in any::<bool>()) {
        // One wrong symbol in twenty, far enough apart for the free distance of 10.
        let code = Code::BASIC.with_inverter(inverted);
        let bytes = Dice(seed).bytes(100);
        let mut symbols = clean(&encode(code, &bytes));
        let length = symbols.len() - 40;
        symbols[..length].iter_mut().skip(seed as usize % 20).step_by(20).for_each(|s| *s = -*s);
        let decoded = decode(code, &symbols);
        prop_assert_eq!(&decoded[..98], &bytes[..98]);
    }
}
