//! `groundstation bench faults`, short: what it counts, and that it leaves nothing behind. Never how
//! long anything took.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

fn bench(dir: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_groundstation"));
    command.args(["bench", "faults", "--rounds", "1", "--rate", "0.5", "--json", "--dir"]);
    command.arg(dir).args(more);
    command
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}

#[test]
fn beside_pools_in_trouble_every_unit_is_receipted_and_every_job_ends_once() {
    let dir = tempfile::tempdir().unwrap();
    let short = ["--seconds", "0.5", "--fault", "dead,errors"];
    let output = bench(dir.path(), &short).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = document["faults"].as_array().unwrap();
    let names: Vec<&Value> = rows.iter().map(|row| &row["fault"]).collect();
    assert_eq!(names, ["dead", "errors"]);
    for row in rows {
        for (run, with) in [("healthy", false), ("faulty", true)] {
            let figures = &row[run];
            let count = |of: &Value| of.as_u64().unwrap();
            let jobs = &figures["jobs"];
            // A second to warm up and half a second, twenty tiles a second.
            assert_eq!(figures["tiles"], 30, "{row}");
            assert!(count(&figures["objects"]) > 30, "{row}");
            assert_eq!(figures["unreceipted"], 0, "{row}");
            assert_eq!((&jobs["known"], &jobs["open"]), (&30.into(), &0.into()), "{row}");
            assert_eq!(jobs["repeated"], 0, "{row}");
            assert_eq!(count(&jobs["done"]) + count(&jobs["failed"]), 30, "{row}");
            let questions = &figures["questions"];
            if with && row["fault"] == "dead" {
                assert_eq!((&jobs["done"], &questions["asked"]), (&0.into(), &0.into()), "{row}");
            }
            if with && row["fault"] == "errors" {
                assert!(count(&questions["in_vain"]) > 0, "the fault was met: {row}");
            }
        }
    }
    assert!(is_empty(dir.path()), "what it wrote is removed again");
}

#[test]
fn a_stop_ends_the_daemon_and_removes_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = bench(dir.path(), &["--seconds", "5", "--fault", "dead"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(120);
    let running = || {
        let station = std::fs::read_dir(dir.path()).ok()?.next()?.ok()?.path();
        let text = std::fs::read_to_string(station.join("archive/running.json")).ok()?;
        serde_json::from_str::<Value>(&text).ok()
    };
    let address = loop {
        if let Some(document) = running() {
            break document["http"].as_str().unwrap().to_owned();
        }
        assert!(bench.try_wait().unwrap().is_none(), "it ended early");
        assert!(Instant::now() < until, "no daemon runs");
        std::thread::sleep(Duration::from_millis(5));
    };
    TcpStream::connect(&address).expect("the daemon listens");
    let pid = Pid::from_raw(bench.id().cast_signed()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let output = bench.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("stopped before its end"), "{said}");
    assert!(TcpStream::connect(&address).is_err(), "the daemon ended with it");
    assert!(is_empty(dir.path()), "what it wrote is removed again");
}

#[test]
fn what_can_not_be_measured_is_said_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    for (more, code, wanted) in [
        (["--fault", "killed"], 2, "name a model package with --package"),
        (["--fault", "tired"], 2, "busy-told"),
        (["--seconds", "0"], 1, "--seconds: from 0.1 to 60"),
        (["--tiles", "1000"], 1, "--tiles: from 1 to 100 a second"),
    ] {
        let output = bench(dir.path(), &more).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(wanted), "{said}");
    }
    assert!(is_empty(dir.path()));
}
