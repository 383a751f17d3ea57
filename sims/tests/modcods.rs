//! Modulations and codings against an independent table, where the recordings are.

mod data;

use codecs::fec::ldpc::{Code, Decoder, Rate, Size};
use sims::link::ccsds;
use sims::link::modcod::DVB_S2;
use sims::rng::Random;

/// The number behind a key of a small YAML file.
fn number(text: &str, key: &str) -> f64 {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(key));
    line.unwrap_or_else(|| panic!("no {key} in {text}")).trim().parse().unwrap()
}

#[test]
fn every_modcod_needs_what_the_table_says() {
    let Some(folder) = data::orbit("spacelink-modcod/perf") else { return };
    let mut worst = 0.0f64;
    for modcod in DVB_S2 {
        let name = modcod.name.replace(' ', "_").replace('/', "-");
        let text = std::fs::read_to_string(folder.join(format!("DVBS2_{name}.per.yaml"))).unwrap();
        assert_eq!(number(&text, "error_rate:"), 1e-7);
        worst = worst.max((modcod.eb_n0_db() - number(&text, "ebn0:")).abs());
    }
    println!("{} modcods, worst {worst:.3} dB of Eb/N0", DVB_S2.len());
    // That table has two digits.
    assert!(worst < 0.0101);
}

#[test]
fn every_modcod_carries_what_its_codes_leave() {
    let Some(file) = data::orbit("spacelink-modcod/modes/dvbs2_modes.yaml") else { return };
    let text = std::fs::read_to_string(file).unwrap();
    let mut count = 0;
    for mode in text.split("- id: DVBS2_").skip(1) {
        let name = mode.lines().next().unwrap().trim().replace('_', " ");
        let modcod = DVB_S2.iter().find(|modcod| modcod.name == name).unwrap();
        let rates =
            mode.lines().filter_map(|line| line.trim().strip_prefix("rate: \"")).map(|rate| {
                let (a, b) = rate.trim_end_matches('"').split_once('/').unwrap();
                a.parse::<f64>().unwrap() / b.parse::<f64>().unwrap()
            });
        let bits = number(mode, "bits_per_symbol:") * rates.product::<f64>();
        assert!((bits - modcod.bits_per_symbol).abs() < 1e-5, "{name}: {bits}");
        count += 1;
    }
    assert_eq!(count, DVB_S2.len());
}

#[test]
fn curves_of_ccsds_are_those_of_the_table() {
    let Some(folder) = data::orbit("spacelink-modcod/perf") else { return };
    for (name, ours) in [
        ("RS255223_I1_CONV7-12.wer", ccsds::RS_CONV_1),
        ("RS255223_I4_CONV7-12.wer", ccsds::RS_CONV_4),
        ("RS255223_I5_CONV7-12.wer", ccsds::RS_CONV_5),
        ("TURBO1784-12_BPSK.fer", ccsds::TURBO_2),
        ("TURBO1784-13_BPSK.fer", ccsds::TURBO_3),
        ("TURBO1784-14_BPSK.fer", ccsds::TURBO_4),
        ("TURBO1784-16_BPSK.fer", ccsds::TURBO_6),
    ] {
        let file = folder.join(format!("CCSDS_TM_{name}.yaml"));
        let text = std::fs::read_to_string(file).unwrap();
        let points = text.lines().filter_map(|line| line.trim().strip_prefix("- [")).map(|line| {
            let (x, y) = line.trim_end_matches(']').split_once(',').unwrap();
            (x.trim().parse::<f64>().unwrap(), y.trim().parse::<f64>().unwrap())
        });
        let theirs: Vec<_> = points.collect();
        assert_eq!(theirs.len(), ours.len(), "{name}");
        for (a, b) in theirs.iter().zip(ours) {
            assert!((a.0 - b.0).abs() < 1e-9 && (a.1 / b.1 - 1.0).abs() < 1e-9, "{name}: {a:?}");
        }
    }
}

#[test]
fn ccsds_codes_carry_what_the_modes_say() {
    let Some(file) = data::orbit("spacelink-modcod/modes/ccsds_tm_modes.yaml") else { return };
    let text = std::fs::read_to_string(file).unwrap();
    let all = ccsds::all();
    let mut held = 0;
    for mode in text.split("- id: CCSDS_TM_").skip(1) {
        let id = mode.lines().next().unwrap().trim();
        let (code, modulation) = id.rsplit_once('_').unwrap();
        let code = match code.split_once("_I") {
            Some((_, depth)) => {
                let depth = depth.split('_').next().unwrap();
                format!("RS(255,223) I={depth} + convolutional 1/2")
            }
            None => format!("turbo 1/{} k=1784", code.chars().last().unwrap()),
        };
        let Some(ours) = all.iter().find(|of| of.name == format!("{modulation} {code}")) else {
            continue;
        };
        let rates =
            mode.lines().filter_map(|line| line.trim().strip_prefix("rate: \"")).map(|rate| {
                let (a, b) = rate.trim_end_matches('"').split_once('/').unwrap();
                a.parse::<f64>().unwrap() / b.parse::<f64>().unwrap()
            });
        let bits = number(mode, "bits_per_symbol:") * rates.product::<f64>();
        assert!((bits - ours.bits_per_symbol).abs() < 1e-9, "{id}: {bits}");
        held += 1;
    }
    assert_eq!(held, 14);
}

/// Words of a code lost of some sent with noise, as the table of LDPC codes was measured.
fn words_lost(code: Code, eb_n0_db: f64, words: u32) -> f64 {
    let mut decoder = Decoder::new(code);
    let rate = code.info_bits() as f64 / code.symbols() as f64;
    let deviation = (0.5 / (rate * 10f64.powf(eb_n0_db / 10.0))).sqrt();
    let mut random = Random::new(19, "ldpc");
    let mut info = vec![0; code.info_bits() / 8];
    let mut lost = 0;
    for _ in 0..words {
        // Zeros are a codeword, and as good as any.
        let symbols: Vec<i8> = (0..code.symbols())
            .map(|_| {
                (24.0 * (1.0 + deviation * random.normal())).round().clamp(-127.0, 127.0) as i8
            })
            .collect();
        let decoded = decoder.decode(&symbols, 50, &mut info);
        lost += u32::from(!decoded.converged || info.iter().any(|byte| *byte != 0));
    }
    f64::from(lost) / f64::from(words)
}

#[test]
fn ldpc_codes_lose_what_the_curves_say() {
    let sizes = [Size::K1024, Size::K4096, Size::K16384];
    let rates = [Rate::Half, Rate::TwoThirds, Rate::FourFifths];
    let family = sizes.iter().flat_map(|size| rates.map(|rate| Code::Ar4ja(rate, *size)));
    for (code, curve) in std::iter::once(Code::C2).chain(family).zip(ccsds::LDPC) {
        // Halfway down the curve, where a few words tell.
        let (eb_n0_db, expected) =
            *curve.iter().find(|point| (0.2..0.8).contains(&point.1)).unwrap();
        let words = 60_000 / code.symbols() as u32 + 8;
        let lost = words_lost(code, eb_n0_db, words);
        let spread = (expected * (1.0 - expected) / f64::from(words)).sqrt();
        assert!((lost - expected).abs() < 4.0 * spread + 0.02, "{code:?}: {lost}, not {expected}");
    }
}
