//! `orbitsim links`: contacts between satellites, as documents and with their mistakes.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use codecs::time::Tai;
use serde_json::Value;

fn run(folder: &Path, extra: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_orbitsim"))
        .current_dir(folder)
        .args(["links", "--elements", "ring.json"])
        .args(["--from", "2026-11-23T09:00:00Z", "--to", "2026-11-23T15:00:00Z"])
        .args(extra)
        .output()
        .unwrap()
}

/// Five satellites a fifth of a turn apart, and one that goes the other way.
fn stage() -> tempfile::TempDir {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../missions/sky-7/elements.json");
    let one: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let satellite = |name: &str, anomaly: f64, inclination: f64| {
        let mut set = one.clone();
        set["OBJECT_NAME"] = name.into();
        set["MEAN_ANOMALY"] = anomaly.into();
        set["INCLINATION"] = inclination.into();
        set
    };
    let ring: Vec<Value> =
        (0..5).map(|at| satellite(&format!("RING-{at}"), 72.0 * f64::from(at), 97.5)).collect();
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, of: &[Value]| {
        fs::write(folder.path().join(name), serde_json::to_string(of).unwrap()).unwrap();
    };
    put("ring.json", &ring);
    put("relay.json", &[satellite("RELAY", 10.0, 53.0)]);
    folder
}

fn rows(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn contacts_between_satellites_come_in_every_form() {
    let folder = stage();
    // The earth stands between neighbours of a ring of five.
    assert_eq!(rows(&run(folder.path(), &["--json"])).len(), 0);
    let far = rows(&run(folder.path(), &["--relays", "relay.json", "--json"]));
    let near = ["--relays", "relay.json", "--range-km-max", "3000"];
    let near = |form: &str| run(folder.path(), &[&near[..], &[form]].concat());
    let found = rows(&near("--json"));
    assert!(far.len() > 5 && found.len() > 5, "{} {}", far.len(), found.len());
    for of in &found {
        assert_eq!(of["b"], "RELAY");
        let km = |key: &str| of[key].as_f64().unwrap();
        assert!(km("range_km_min") <= km("range_km_max") && km("range_km_max") < 3000.001);
        let time = |of: &Value, key: &str| Tai::from_rfc3339(of[key].as_str().unwrap()).unwrap();
        assert!(time(of, "from") <= time(of, "nearest") && time(of, "nearest") <= time(of, "to"));
        let wider = |wide: &&Value| {
            wide["a"] == of["a"]
                && time(wide, "from") <= time(of, "from")
                && time(of, "to") <= time(wide, "to")
        };
        assert!(far.iter().any(|wide| wider(&wide)), "{of}");
    }
    let values = String::from_utf8(near("--csv").stdout).unwrap();
    assert_eq!(values.lines().count(), found.len() + 1);
    let calendar = String::from_utf8(near("--ics").stdout).unwrap();
    assert_eq!(calendar.matches("BEGIN:VEVENT\r\n").count(), found.len());
}

#[test]
fn mistakes_are_told() {
    let folder = stage();
    for (extra, words) in [
        (&["--range-km-max", "0"][..], "--range-km-max 0 is not above 0"),
        (&["--grazing-km", "-500"], "--grazing-km -500 is not within"),
        (&["--to", "2026-11-23T08:00:00Z"], "--to"),
    ] {
        let output = run(folder.path(), extra);
        assert!(!output.status.success());
        let talk = String::from_utf8(output.stderr).unwrap();
        assert!(talk.contains(words), "{talk}");
    }
    fs::copy(folder.path().join("relay.json"), folder.path().join("ring.json")).unwrap();
    let output = run(folder.path(), &[]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("one satellite sees no other"));
}
