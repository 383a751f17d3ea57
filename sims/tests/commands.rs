//! The command line: one document on standard output, talk on standard error, exit codes.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

const ORBITSIM: &str = env!("CARGO_BIN_EXE_orbitsim");

fn run(program: &Path, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).env("NO_COLOR", "1").output().unwrap()
}

fn passes(extra: &[&str]) -> Output {
    let elements = concat!(env!("CARGO_MANIFEST_DIR"), "/../missions/sky-7/elements.json");
    let mut arguments =
        vec!["passes", "--elements", elements, "--station", "Svalbard,78.23,15.40,450"];
    arguments.extend(["--from", "2026-11-23T09:00:00Z", "--to", "2026-11-24T09:00:00Z"]);
    arguments.extend(extra);
    run(Path::new(ORBITSIM), &arguments)
}

#[test]
fn passes_come_as_a_table_or_as_one_document() {
    let table = passes(&[]);
    assert!(table.status.success());
    let document = passes(&["--json", "--min-elevation", "40"]);
    let rows: serde_json::Value = serde_json::from_slice(&document.stdout).unwrap();
    let rows = rows.as_array().unwrap();
    assert!(
        rows.len() > 2 && rows.len() < String::from_utf8(table.stdout).unwrap().lines().count()
    );
    assert!(rows.iter().all(|row| row["max_elevation_deg"].as_f64().unwrap() > 40.0));
}

#[test]
fn passes_of_two_stations_come_as_values_and_as_a_calendar() {
    let extra = ["--station", "Kiruna, north,67.86,20.96,400"];
    assert_eq!(passes(&extra).status.code(), Some(2), "five fields are no station");
    let extra = ["--station", "Kiruna,67.86,20.96,400"];
    let values = passes(&[&extra[..], &["--csv"]].concat());
    let values = String::from_utf8(values.stdout).unwrap();
    let columns = values.lines().next().unwrap().split(',').count();
    assert!(values.lines().all(|line| line.split(',').count() == columns));
    let of = |station: &str| values.lines().filter(|line| line.contains(station)).count();
    assert!(of(",Svalbard,") > 5 && of(",Kiruna,") > 5);
    let calendar = String::from_utf8(passes(&[&extra[..], &["--ics"]].concat()).stdout).unwrap();
    assert_eq!(calendar.matches("BEGIN:VEVENT\r\n").count(), values.lines().count() - 1);
    assert!(calendar.split("\r\n").all(|line| line.len() <= 75));
    says(passes(&["--csv", "--json"]), 2, "cannot be used");
}

#[test]
fn a_station_at_the_pole_hears_every_turn_also_from_below_the_horizon() {
    let rows = |mask: &str| {
        let extra = ["--station", "Pole,90,0,2800", "--min-elevation", mask, "--json"];
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&passes(&extra).stdout).unwrap();
        rows.into_iter().filter(|row| row["station"] == "Pole").collect::<Vec<_>>()
    };
    let (high, low) = (rows("5"), rows("-3"));
    // Fifteen turns a day, each over the pole.
    assert!((14..=16).contains(&high.len()) && high.len() == low.len());
    for (high, low) in high.iter().zip(&low) {
        assert!(low["duration_s"].as_f64().unwrap() > 60.0 + high["duration_s"].as_f64().unwrap());
        assert!((0.0..360.0).contains(&low["rise_azimuth_deg"].as_f64().unwrap()));
    }
    says(passes(&["--min-elevation", "-91"]), 1, "not at least -90 and below 90");
}

#[test]
fn a_horizon_of_hills_takes_from_the_passes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hills.csv");
    let seconds = |extra: &[&str]| {
        let rows: serde_json::Value =
            serde_json::from_slice(&passes(&[extra, &["--json"]].concat()).stdout).unwrap();
        rows.as_array().unwrap().iter().map(|row| row["duration_s"].as_f64().unwrap()).sum::<f64>()
    };
    fs::write(&file, "# south is a mountain\n90,0\n91,50\n269,50\n270,0\n").unwrap();
    let horizon = ["--horizon", file.to_str().unwrap()];
    assert!(seconds(&horizon) < 0.9 * seconds(&[]));
    fs::write(&file, "90,0\n91\n").unwrap();
    says(passes(&horizon), 1, "hills.csv, line 2");
    fs::write(&file, "90,0\n400,1\n").unwrap();
    says(passes(&horizon), 1, "azimuth is 0 to 360");
}

fn says(output: Output, code: i32, words: &str) {
    let talk = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{talk}");
    assert!(talk.contains(words), "{talk}");
    assert!(output.stdout.is_empty());
}

#[test]
fn mistakes_have_exit_codes_and_say_what_to_do() {
    let orbitsim = Path::new(ORBITSIM);
    says(passes(&["--min-elevation", "high"]), 2, "min-elevation");
    says(passes(&["--to", "2027-11-24T09:00:00Z"]), 2, "--to");
    let absent = ["passes", "--elements", "/absent", "--station", "S,1,2,3"];
    let times = ["--from", "2026-11-23T00:00:00Z", "--to", "2026-11-23T01:00:00Z"];
    says(run(orbitsim, &[&absent[..], &times[..]].concat()), 1, "/absent");
    says(run(orbitsim, &["demo", "--replay", "x"]), 2, "--frame");
    says(run(orbitsim, &["demo", "--seconds", "30", "--kill-ground", "30"]), 2, "--kill-ground");
    says(run(orbitsim, &["demo", "--seconds", "30", "--kill-pool", "31"]), 2, "--kill-pool");
    says(run(orbitsim, &["relay", "--to", "127.0.0.1:9", "--rate", "fast"]), 2, "no rate");
    says(run(orbitsim, &["relay", "--to", "127.0.0.1:9", "--link", "x.toml"]), 2, "--elements");
}

#[test]
fn a_demonstration_without_its_programs_says_how_to_build_them() {
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("orbitsim");
    fs::copy(ORBITSIM, &alone).unwrap();
    let output = run(&alone, &["demo", "--headless"]);
    let talk = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{talk}");
    assert!(talk.contains("not beside orbitsim") && talk.contains("make build"), "{talk}");
}

#[test]
fn an_occupied_page_port_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("orbitsim");
    fs::copy(ORBITSIM, &alone).unwrap();
    // Programs that are never reached.
    fs::write(folder.path().join("groundstation"), "").unwrap();
    fs::write(folder.path().join("onboard"), "").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let stage = folder.path().join("stage");
    let output =
        run(&alone, &["demo", "--headless", "--http", &port, "--dir", stage.to_str().unwrap()]);
    assert!(!stage.exists(), "a demonstration that never began leaves nothing");
    let talk = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{talk}");
    assert!(talk.contains(&format!("port {port} is occupied")), "{talk}");
}

/// Two days of finals2000A with a UT1 of our own, a second off the table built in.
#[test]
fn earth_orientation_of_a_file_turns_the_earth() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("finals2000A.daily");
    let row = |mjd: u32, ut1: f64| {
        format!(
            "26112{} {mjd}.00 P  0.100000 0.000052  0.300000 0.000038  P{ut1:10.7} 0.0000079\n",
            mjd - 61_364
        )
    };
    let table = |ut1: f64| (61_366..61_370).map(|mjd| row(mjd, ut1)).collect::<String>();
    let rise = |eop: &[&str]| {
        let rows: serde_json::Value =
            serde_json::from_slice(&passes(&[eop, &["--json"]].concat()).stdout).unwrap();
        codecs::time::Tai::from_rfc3339(rows[0]["rise"].as_str().unwrap()).unwrap()
    };
    let path = file.to_str().unwrap();
    fs::write(&file, table(-0.0826)).unwrap();
    let near = rise(&["--eop", path]);
    assert!(near.since(rise(&[])).abs() < 20_000_000, "the table built in says nearly the same");
    fs::write(&file, table(0.9174)).unwrap();
    let shift = rise(&["--eop", path]).since(near).abs();
    // The station goes 95 m east in a second at 78 degrees north.
    assert!((1_000_000..100_000_000).contains(&shift), "{shift} ns");
    fs::write(&file, table(0.9174).replace("61368.00", "61399.00")).unwrap();
    says(passes(&["--eop", path]), 1, "line 3: MJD 61399 does not follow 61367");
    fs::write(&file, table(0.1).replace("6136", "6036")).unwrap();
    let talk = String::from_utf8(passes(&["--eop", path]).stderr).unwrap();
    assert!(talk.contains("covers MJD 60366 to 60369"), "{talk}");
}

#[test]
fn a_bench_without_its_peers_says_what_it_left_out() {
    let small = ["bench", "--rounds", "1", "--satellites", "2", "--stations", "1", "--json"];
    let bench = |python: &str| {
        let output = run(Path::new(ORBITSIM), &[&small[..], &["--python", python]].concat());
        assert!(output.status.success());
        let talk = String::from_utf8(output.stderr).unwrap();
        (serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap(), talk)
    };
    let (figures, talk) = bench("/absent/python3");
    assert!(talk.contains("skipped: /absent/python3 is not there"), "{talk}");
    assert_eq!(figures["skipped"].as_array().unwrap().len(), 1);
    assert!(figures["orbits"].as_array().unwrap().len() >= 6);
    let (figures, talk) = bench("true");
    assert!(talk.contains("skipped: true: "), "{talk}");
    assert_eq!(figures["skipped"].as_array().unwrap().len(), 1);
}

#[test]
fn a_flight_writes_packets_and_truth_and_a_detector_is_scored_against_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let elements = concat!(env!("CARGO_MANIFEST_DIR"), "/../missions/sky-7/elements.json");
    let fault = "[[fault]]\nkind = \"gyro-bias\"\npart = 1\nstart_s = 30\n";
    fs::write(file("faults.toml"), fault).unwrap();
    let fly = |packets: &str| {
        let (packets, labels, faults) = (file(packets), file("labels"), file("faults.toml"));
        let mut arguments = vec!["telemetry", "--elements", elements, "--no-tiles", "--hours"];
        arguments.extend(["0.02", "--from", "2026-11-23T09:00:00Z", "--faults", &faults]);
        arguments.extend(["--packets", &packets, "--labels", &labels]);
        run(Path::new(ORBITSIM), &arguments)
    };
    assert!(fly("first").status.success() && fly("second").status.success());
    let packets = fs::read(file("first")).unwrap();
    assert!(packets == fs::read(file("second")).unwrap(), "the same seed gives the same bytes");
    // A gyro packet of 25 octets twenty times a second, and the rest.
    assert!(packets.len() > 72 * 20 * 25, "{}", packets.len());
    let told = "{\"time\": \"2026-11-23T09:00:40Z\", \"parameter\": \"GYRO_RATE_Y\", \"x\": 1}\n\
                {\"time\": \"2026-11-23T09:00:10Z\", \"parameter\": \"GYRO_RATE_X\"}\n";
    fs::write(file("told"), told).unwrap();
    let (labels, told) = (file("labels"), file("told"));
    let span = ["--from", "2026-11-23T09:00:00Z", "--to", "2026-11-23T09:01:12Z"];
    let score = [&["score", "--labels", &labels, "--told", &told, "--json"], &span[..]].concat();
    let scored = run(Path::new(ORBITSIM), &score);
    let scored: serde_json::Value = serde_json::from_slice(&scored.stdout).unwrap();
    assert_eq!(scored["faults"][0]["told_after_s"], 10.0);
    assert_eq!((&scored["recall"], &scored["false_alarms"]), (&1.0.into(), &1.into()));
    let before = ["--from", "2026-11-23T09:00:00Z", "--to", "2026-11-23T09:00:20Z"];
    let score = [&["score", "--labels", &labels, "--told", &told], &before[..]].concat();
    let talk = String::from_utf8(run(Path::new(ORBITSIM), &score).stdout).unwrap();
    assert!(talk.contains("1 left out: not there") && talk.contains("0 of 0 faults"), "{talk}");
    fs::write(&told, "{\"time\": \"2026-11-23T09:00:40Z\", \"parameter\": \"gyro_rate_w\"}\n")
        .unwrap();
    says(
        run(Path::new(ORBITSIM), &score),
        1,
        "told:1: unknown parameter \"gyro_rate_w\"; did you mean GYRO_RATE_",
    );
    fs::write(file("faults.toml"), fault.replace("30", "72")).unwrap();
    says(fly("late"), 1, "faults.toml:1: gyro-bias: start_s = 72, and the flight ends after 72 s");
    assert!(!Path::new(&file("late")).exists(), "a flight that is refused writes nothing");
    fs::write(file("faults.toml"), fault.replace("gyro-bias", "gremlin")).unwrap();
    says(fly("third"), 1, "faults.toml:1: no fault \"gremlin\"");
}
