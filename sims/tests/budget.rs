//! `orbitsim budget`: moments, passes and years of the links that come with the project.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn budget(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orbitsim"));
    command.arg("budget").args(arguments).current_dir(ROOT).output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&text(&budget(&[arguments, &["--json"]].concat()))).unwrap()
}

const X_BAND: &str = "missions/links/x-band.toml";
const OVER: [&str; 4] =
    ["--elements", "missions/sky-7/elements.json", "--pass", "2026-11-23T09:00:00Z"];

#[test]
fn every_link_that_comes_along_is_explained() {
    for (file, height) in
        [("x-band", "550"), ("s-band", "600"), ("ka-band", "35786"), ("ka-leo", "550")]
    {
        let file = format!("missions/links/{file}.toml");
        let output = text(&budget(&[&file, "--elevation", "20", "--height", height]));
        for line in ["= EIRP", "free space", "P.676-13", "= C/N0", "= Es/N0", "MODCOD"] {
            assert!(output.contains(line), "{file}: no '{line}' in\n{output}");
        }
    }
}

#[test]
fn a_moment_adds_up_in_every_format() {
    let moment = [X_BAND, "--elevation", "10", "--height", "550", "--exceeded", "0.1"];
    let document = json(&moment);
    let lines = document["lines"].as_array().unwrap();
    let mut sum = 0.0;
    for line in lines {
        let value = line["value"].as_f64().unwrap();
        match line["part"].as_str().unwrap() {
            "term" => sum += value,
            "sum" => assert!((sum - value).abs() < 1e-9, "{line}"),
            _ => {}
        }
    }
    assert!((document["es_n0_db"].as_f64().unwrap() - sum).abs() < 1e-9);
    let values = text(&budget(&[&moment[..], &["--csv"]].concat()));
    assert_eq!(values.lines().count(), lines.len() + 1);
    // The satellite's distance may be given instead of its height.
    let range = document["range_km"].to_string();
    let same = json(&[X_BAND, "--elevation", "10", "--range", &range, "--exceeded", "0.1"]);
    assert_eq!(same["es_n0_db"], document["es_n0_db"]);
}

#[test]
fn a_pass_steps_up_and_down_and_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("pass.svg");
    let plot = ["--plot", picture.to_str().unwrap(), "--exceeded", "1"];
    let document = json(&[&[X_BAND], &OVER[..], &plot[..]].concat());
    let rows = document["rows"].as_array().unwrap();
    let rate = |row: &serde_json::Value| row["rate_bps"].as_f64().unwrap();
    let best = rows.iter().map(rate).fold(0.0, f64::max);
    // Locked only after a while, more overhead than low.
    assert_eq!(rate(&rows[0]), 0.0);
    assert!(rate(&rows[1]) > 0.0 && rate(&rows[1]) < best && rate(rows.last().unwrap()) < best);
    // Nothing is sent that a clear sky with the margin would not carry.
    assert!(rows.iter().all(|row| {
        let clear = row["clear_es_n0_db"].as_f64().unwrap();
        clear - row["needed_es_n0_db"].as_f64().unwrap() >= 1.5 || row["modcod"] == "QPSK 1/4"
    }));
    let bits = document["totals"]["bits"].as_f64().unwrap();
    assert!(bits > 0.0 && bits <= document["totals"]["best_bits"].as_f64().unwrap() * 1.01);
    let svg = fs::read_to_string(picture).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("Es/N0, dB") && svg.contains("SKY-7"));
    let values = text(&budget(&[&[X_BAND], &OVER[..], &["--csv"]].concat()));
    assert_eq!(values.lines().count(), rows.len() + 1);
}

#[test]
fn a_flight_through_rain_is_the_same_for_the_same_seed() {
    let fly =
        |seed: &str| json(&[&["missions/links/ka-leo.toml"], &OVER[..], &["--fly", seed]].concat());
    let first = fly("7");
    assert_eq!(first, fly("7"));
    assert_ne!(first["rows"], fly("8")["rows"]);
    // It rains: less comes than a clear sky would bring, and most of what this one allows.
    let clear = json(&[&["missions/links/ka-leo.toml"], &OVER[..]].concat());
    let bits = |of: &serde_json::Value, key: &str| of["totals"][key].as_f64().unwrap();
    assert!(bits(&first, "bits") < 0.9 * bits(&clear, "bits"));
    assert!(bits(&first, "bits") > 0.8 * bits(&first, "best_bits"));
}

#[test]
fn a_year_holds_the_sturdy_longer_than_the_fast() {
    for document in [
        json(&[
            "missions/links/ka-band.toml",
            "--elevation",
            "35",
            "--height",
            "35786",
            "--availability",
        ]),
        json(&[&[X_BAND], &OVER[..], &["--availability"]].concat()),
    ] {
        let rows = document["modcods"].as_array().unwrap();
        let share = |name: &str| {
            let row = rows.iter().find(|row| row["modcod"] == name).unwrap();
            row["percent"].as_f64().unwrap()
        };
        assert!(share("QPSK 1/4") > 99.0 && share("QPSK 1/4") > share("32APSK 9/10"));
        assert!(document["mean_rate_bps"].as_f64().unwrap() > 1e6);
    }
}

#[test]
fn mistakes_are_told_by_line_or_by_argument() {
    let folder = tempfile::tempdir().unwrap();
    let good = fs::read_to_string(Path::new(ROOT).join(X_BAND)).unwrap();
    let file = folder.path().join("link.toml");
    let name = file.to_str().unwrap();
    for (from, to, words) in [
        ("antenna_gain_dbi", "antena_gain_dbi", ":8: unknown key `antena_gain_dbi`; did you mean"),
        ("power_w = 1.0", "power_w = -1", ":6: `power_w` is -1; it goes from"),
        ("power_w = 1.0", "", "give `power_w` and an antenna, or `eirp_dbw`"),
        ("power_w = 1.0", "power_w = nan", ":6: `power_w` is NaN"),
        ("power_w = 1.0", "power_w = 1.0\neirp_dbw = 3", ":7: `eirp_dbw` is power and antenna"),
        ("frequency_ghz = 8.2", "frequency_ghz = 100", "it goes from 1 to 55"),
        ("latitude_deg = 78.23", "latitude_deg = 98", "`latitude_deg` is 98"),
        ("receiver_noise_k = 60.0", "", "give the amplifier's noise, or `g_over_t_db_k`"),
        ("choose = \"variable\"", "choose = \"fixed\"", "say which by `fixed"),
        ("choose = \"variable\"", "choose = \"varable\"", "did you mean `variable`"),
        (
            "margin_db = 1.5",
            "modcods = [\"QPSK 1/8\"]",
            "knows no 'QPSK 1/8'; did you mean 'QPSK 1/",
        ),
        ("margin_db = 1.5", "modcods = []", "name at least one"),
        ("lock_ms = 800", "outages_s = [[5, 3]]", "ending after it begins"),
        ("rain_001_mm_h = 12.0", "cloud_sigma = 0.5", "comes with its two others"),
    ] {
        assert!(good.contains(from), "{from}");
        fs::write(&file, good.replacen(from, to, 1)).unwrap();
        let output = budget(&[name, "--elevation", "10", "--height", "550"]);
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{to}: {talk}");
        assert!(talk.contains(words) && talk.contains(name), "{to}: {talk}");
    }
    for (arguments, code, words) in [
        (&[X_BAND][..], 1, "say where the satellite is"),
        (&[X_BAND, "--elevation", "10"], 1, "how far is the satellite"),
        (&[X_BAND, "--elevation", "-3", "--height", "550"], 1, "not within 0 and 90"),
        (&[X_BAND, "--elevation", "10", "--height", "550", "--exceeded", "80"], 1, "no share"),
        (&["absent.toml", "--elevation", "10", "--height", "550"], 1, "absent.toml"),
        (&[X_BAND, "--pass", "2026-11-23T09:00:00Z"], 2, "--elements"),
    ] {
        let output = budget(arguments);
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{talk}");
        assert!(talk.contains(words), "{talk}");
    }
    let lost = [&[X_BAND], &OVER[..], &["--satellite", "SKY-8"]].concat();
    let talk = String::from_utf8_lossy(&budget(&lost).stderr).into_owned();
    assert!(talk.contains("did you mean 'SKY-7'"), "{talk}");
}
