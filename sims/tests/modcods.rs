//! Modulations and codings against an independent table, where the recordings are.

mod data;

use sims::link::modcod::DVB_S2;

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
