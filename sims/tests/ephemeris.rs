//! States beside elements: an ephemeris of our own gives the passes that its elements give.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use codecs::time::Tai;
use serde_json::Value;

const ELEMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../missions/sky-7/elements.json");

fn run(command: &str, orbit: &Path, hours: u32, extra: &[&str]) -> Output {
    let to = format!("2026-11-23T{:02}:00:00Z", 9 + hours);
    Command::new(env!("CARGO_BIN_EXE_orbitsim"))
        .args([command, "--elements", orbit.to_str().unwrap()])
        .args(["--from", "2026-11-23T09:00:00Z", "--to", &to])
        .args(extra)
        .output()
        .unwrap()
}

fn passes(orbit: &Path, hours: u32) -> Vec<Value> {
    let station = ["--station", "Svalbard,78.23,15.40,450", "--json"];
    let output = run("passes", orbit, hours, &station);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn an_ephemeris_has_the_passes_of_its_elements() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sky-7.oem");
    let expected = passes(Path::new(ELEMENTS), 12);
    assert!(expected.len() > 4);
    for frame in ["teme", "itrf"] {
        // A little more than is asked for.
        let extra = ["--frame", frame, "--step", "120"];
        let output = run("ephemeris", Path::new(ELEMENTS), 13, &extra);
        assert!(output.status.success());
        fs::write(&file, &output.stdout).unwrap();
        let found = passes(&file, 12);
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(&expected) {
            for key in ["rise", "culmination", "set"] {
                let time = |of: &Value| Tai::from_rfc3339(of[key].as_str().unwrap()).unwrap();
                assert!(time(a).since(time(b)).abs() <= 10_000_000, "{frame} {key}: {a} {b}");
            }
            for (key, off) in [("max_elevation_deg", 1e-4), ("range_km", 1e-3), ("sunlight", 1e-6)]
            {
                let number = |of: &Value| of[key].as_f64().unwrap();
                assert!((number(a) - number(b)).abs() <= off, "{frame} {key}: {a} {b}");
            }
            assert_eq!(a["uncertainty_s"], Value::Null, "nobody says how good it is");
        }
    }
}

#[test]
fn an_ephemeris_that_ends_early_cuts_the_search_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sky-7.oem");
    let expected = passes(Path::new(ELEMENTS), 12);
    fs::write(&file, run("ephemeris", Path::new(ELEMENTS), 3, &[]).stdout).unwrap();
    let found = passes(&file, 12);
    assert!(!found.is_empty() && found.len() < expected.len());
    assert_eq!(found[0]["rise"], expected[0]["rise"]);
    let station = ["--station", "Svalbard,78.23,15.40,450"];
    let talk = String::from_utf8(run("passes", &file, 12, &station).stderr).unwrap();
    assert!(talk.contains("SKY-7 covers 2026-11-23T09:00:00.000Z to 2026-11-23T12:00"), "{talk}");
    let broken = fs::read_to_string(&file).unwrap().replace("ITRF", "MOD");
    fs::write(&file, broken).unwrap();
    let output = run("passes", &file, 12, &station);
    let talk = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(talk.contains("sky-7.oem") && talk.contains("line 9: REF_FRAME is MOD"), "{talk}");
}
