//! `orbitsim plan`: what it prints can be flown, and what it writes is read by those who fly it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use codecs::time::Tai;
use serde_json::Value;

const NETWORK: &str = r#"
[defaults]
rate_bps = 100_000_000

[[station]]
name = "Svalbard"
latitude_deg = 78.23
longitude_deg = 15.40
height_m = 450
[[station.antenna]]
name = "SG-1"
mount = "az-el"
rates_deg_s = [2, 2]
setup_s = 90
teardown_s = 40
[[station.antenna]]
name = "SG-2"
mount = "xy-north"
rates_deg_s = [3, 3]
setup_s = 60
teardown_s = 30
spacecraft = ["SKY-1", "SKY-7"]

[[station]]
name = "Kiruna"
latitude_deg = 67.86
longitude_deg = 20.96
height_m = 400
[[station.antenna]]
name = "1"
setup_s = 60

[[spacecraft]]
name = "SKY-7"
value = 5
need_bytes_day = 30_000_000_000
bearer = "rf"
"#;

/// Seven satellites of one kind, some minutes apart.
fn elements() -> String {
    let one =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../missions/sky-7/elements.json"))
            .unwrap();
    let one: Value = serde_json::from_str(&one).unwrap();
    let all: Vec<Value> = (1..=7)
        .map(|at| {
            let mut set = one.clone();
            set["OBJECT_NAME"] = format!("SKY-{at}").into();
            set["MEAN_ANOMALY"] = (142.5 + 8.0 * f64::from(at - 7)).into();
            set["RA_OF_ASC_NODE"] = (255.6 + 3.0 * f64::from(at - 7)).into();
            set
        })
        .collect();
    serde_json::to_string(&all).unwrap()
}

fn run(folder: &Path, command: &str, extra: &[&str]) -> Output {
    let elements = folder.join("elements.json");
    Command::new(env!("CARGO_BIN_EXE_orbitsim"))
        .args([command, "--elements", elements.to_str().unwrap()])
        .args(["--from", "2026-11-23T09:00:00Z", "--to", "2026-11-24T09:00:00Z"])
        .args(extra)
        .output()
        .unwrap()
}

fn stage(network: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("elements.json"), elements()).unwrap();
    fs::write(folder.path().join("network.toml"), network).unwrap();
    folder
}

fn plan(folder: &Path, extra: &[&str]) -> Output {
    let network = folder.join("network.toml");
    run(folder, "plan", &[&["--network", network.to_str().unwrap()], extra].concat())
}

fn document(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn time(of: &Value, key: &str) -> Tai {
    Tai::from_rfc3339(of[key].as_str().unwrap()).unwrap()
}

/// Every contact lies in a pass that `passes` finds, antennas work on one at a time from set-up to
/// tear-down, spacecraft hear one antenna at a time, and an antenna hears only its own.
#[test]
fn a_plan_is_without_conflict_and_within_the_passes() {
    let folder = stage(NETWORK);
    let plan = document(&plan(folder.path(), &["--json"]));
    let sites = ["Svalbard,78.23,15.40,450", "Kiruna,67.86,20.96,400"];
    let sites = ["--station", sites[0], "--station", sites[1], "--json"];
    let passes = document(&run(folder.path(), "passes", &sites));
    let contacts = plan["contacts"].as_array().unwrap();
    assert!(contacts.len() > 30, "{} contacts", contacts.len());
    let mut lanes: BTreeMap<String, Vec<[Tai; 2]>> = BTreeMap::new();
    for of in contacts {
        let within = |pass: &&Value| {
            let same = |key: &str| pass[key] == of[key];
            let (early, late) =
                (time(pass, "rise").plus(-5_000_000), time(pass, "set").plus(5_000_000));
            same("satellite")
                && same("station")
                && early <= time(of, "rise")
                && time(of, "set") <= late
        };
        assert!(passes.as_array().unwrap().iter().any(|pass| within(&pass)), "no pass for {of}");
        let antenna = format!("antenna {} {}", of["station"], of["antenna"]);
        lanes.entry(antenna).or_default().push(["setup", "end"].map(|key| time(of, key)));
        let satellite = format!("satellite {}", of["satellite"]);
        lanes.entry(satellite).or_default().push(["rise", "set"].map(|key| time(of, key)));
        if of["antenna"] == "SG-2" {
            assert!(["SKY-1", "SKY-7"].contains(&of["satellite"].as_str().unwrap()));
        }
    }
    assert_eq!(lanes.len(), 3 + 7);
    for (lane, mut work) in lanes {
        work.sort();
        for two in work.windows(2) {
            assert!(two[0][1] <= two[1][0], "{lane}: {two:?}");
        }
    }
    let sky = plan["spacecraft"].as_array().unwrap().iter().find(|of| of["name"] == "SKY-7");
    assert_eq!(sky.unwrap()["met"], true, "the one that is worth most gets what it needs");
    let gap = plan["gap"].as_f64().unwrap();
    assert!((0.0..0.05).contains(&gap), "{gap}");
    assert!(plan["worth"].as_f64() <= plan["bound"].as_f64());
}

/// One command's output flies: the flight software takes its file, the station the other.
#[test]
fn what_is_written_is_read_by_those_who_fly_it() {
    let folder = stage(NETWORK);
    let out = folder.path().join("plans");
    let contacts = document(&plan(folder.path(), &["--json", "--out", out.to_str().unwrap()]));
    let mine: Vec<&Value> = contacts["contacts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|of| of["satellite"] == "SKY-7")
        .collect();
    let flight = "[spacecraft]\nid = 7\nname = \"SKY-7\"\n[source]\nudp = \"127.0.0.1:0\"\n\
        [store]\ndir = \"store\"\ncapacity_bytes = 16777216\nsegment_bytes = 1048576\n\
        [identity]\norigin = \"000102030405060708090a0b0c0d0e0f\"\n\
        [downlink]\nplan = \"plans/SKY-7.toml\"\n\
        [downlink.rf]\nto = \"udp:127.0.0.1:9\"\nrate_bps = 16000\nscid = 7\n";
    let path = folder.path().join("flight.toml");
    fs::write(&path, flight).unwrap();
    let config = onboard::config::Config::load(&path).unwrap();
    let planned = &config.downlink.contacts;
    assert_eq!(planned.len(), mine.len());
    for (onboard, printed) in planned.iter().zip(&mine) {
        assert_eq!(onboard.planned.rise, time(printed, "rise"));
        assert_eq!(onboard.planned.set, time(printed, "set"));
        assert_eq!(onboard.planned.rate_bps, 100_000_000);
        assert_eq!(onboard.bearer, Some(onboard::downlink::Bearer::Rf));
    }
    let file = out.join("SKY-7.json");
    groundstation::shell::plan::check(&file).unwrap();
    let page: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(page["satellite"], "SKY-7");
    assert_eq!(page["contacts"].as_array().unwrap().len(), mine.len());
    assert!(page["contacts"][0]["rtt_ms"].as_f64().unwrap() > 2.0);
    assert!(page["track"].as_array().unwrap().len() > 1000);
    assert!(out.join("SKY-1.toml").exists());
}

/// While a mount turns about, nobody listens: neither file has a contact then.
#[test]
fn nothing_is_told_of_what_a_mount_cannot_follow() {
    let slow = NETWORK.replace("[2, 2]", "[0.9, 0.9]").replace("[3, 3]", "[0.9, 0.9]");
    let folder = stage(&slow);
    let out = folder.path().join("plans");
    let plan = document(&plan(folder.path(), &["--json", "--out", out.to_str().unwrap()]));
    let sum = |key: &str, name: &str| -> f64 {
        let all = plan["contacts"].as_array().unwrap();
        all.iter().filter(|of| of["satellite"] == name).map(|of| of[key].as_f64().unwrap()).sum()
    };
    let names = (1..=7).map(|at| format!("SKY-{at}"));
    let cut: Vec<String> = names.filter(|name| sum("keyhole_s", name) > 1.0).collect();
    assert!(!cut.is_empty(), "no pass goes through a keyhole");
    for name in cut {
        let flight: toml::Table =
            toml::from_str(&fs::read_to_string(out.join(format!("{name}.toml"))).unwrap()).unwrap();
        let flight = serde_json::to_value(&flight["contact"]).unwrap();
        let page = fs::read_to_string(out.join(format!("{name}.json"))).unwrap();
        let page: Value = serde_json::from_str(&page).unwrap();
        for told in [&flight, &page["contacts"]] {
            let lengths = told.as_array().unwrap().iter().map(|of| {
                let length = time(of, "set").since(time(of, "rise"));
                assert!(length > 0, "{of}");
                length as f64 / 1e9
            });
            // Times are told in milliseconds.
            let (told, usable) = (lengths.sum::<f64>(), sum("usable_s", &name));
            assert!((told - usable).abs() < 0.05, "{name}: {told} s told, {usable} s of use");
        }
    }
}

#[test]
fn forms_hold_the_same_contacts() {
    let folder = stage(NETWORK);
    let text = |form: &str| String::from_utf8(plan(folder.path(), &[form]).stdout).unwrap();
    let rows = text("--csv");
    let count = rows.lines().count() - 1;
    let columns = rows.lines().next().unwrap().split(',').count();
    assert!(rows.lines().all(|line| line.split(',').count() == columns));
    assert_eq!(text("--ics").matches("BEGIN:VEVENT\r\n").count(), count);
    let json: Value = serde_json::from_str(&text("--json")).unwrap();
    assert_eq!(json["contacts"].as_array().unwrap().len(), count);
    assert_eq!(text("--csv"), rows, "the same orbits give the same plan");
}

#[test]
fn a_station_alone_needs_no_file() {
    let folder = stage(NETWORK);
    let plan = document(&run(folder.path(), "plan", &["--json", "--station", "S,78.23,15.40,450"]));
    assert!(plan["contacts"].as_array().unwrap().len() > 10);
    assert!(plan["gap"].as_f64().unwrap() < 0.01, "one antenna is planned exactly");
}

#[test]
fn mistakes_say_where_and_what_to_do() {
    let says = |network: &str, extra: &[&str], code: i32, words: &str| {
        let folder = stage(network);
        let output = plan(folder.path(), extra);
        let talk = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{talk}");
        assert!(talk.contains(words), "{talk}");
        assert!(output.stdout.is_empty());
    };
    says(&NETWORK.replace("teardown_s", "teardown"), &[], 1, "did you mean `teardown_s`");
    says(&NETWORK.replace("78.23", "-91"), &[], 1, "station Svalbard: latitude_deg = -91");
    let other = NETWORK.replace("name = \"SKY-7\"", "name = \"SKY-9\"");
    says(&other, &[], 1, "names spacecraft SKY-9, of which there is no orbit");
    says("", &[], 1, "no [[station]]");
    says(NETWORK, &["--station", "Kiruna,1,2,3"], 1, "there is one of that name");
    says(NETWORK, &["--json", "--csv"], 2, "cannot be used");
    let folder = stage(NETWORK);
    let twice = elements().replace("SKY-1", "SKY-2");
    fs::write(folder.path().join("elements.json"), twice).unwrap();
    let output = plan(folder.path(), &[]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("2 orbits of SKY-2"));
}
