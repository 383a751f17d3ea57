//! Under a service manager: ready, alive, reloading, stopping, each told when it is so.

use super::client::Station;
use std::{os::unix::net::UnixDatagram, process::Command, time::Duration};
use tests::process::{binary, root};

/// Reads until a state is told that begins like this.
fn told(manager: &UnixDatagram, wanted: &str) -> String {
    let mut bytes = [0; 512];
    loop {
        let length = manager.recv(&mut bytes).unwrap_or_else(|error| panic!("{wanted}: {error}"));
        let state = String::from_utf8_lossy(&bytes[..length]).into_owned();
        if state.starts_with(wanted) {
            return state;
        }
    }
}

#[tokio::test]
async fn a_service_manager_sees_every_state() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "100000")];
    let station = Station::start_in(&environment);
    told(&manager, "READY=1");
    // A client is served as soon as that was said.
    station.honest().await;
    for _ in 0..3 {
        told(&manager, "WATCHDOG=1");
    }
    station.daemon.hang_up();
    let reloading = told(&manager, "RELOADING=1");
    assert!(reloading.contains("\nMONOTONIC_USEC="), "{reloading}");
    told(&manager, "READY=1");
    station.daemon.terminate();
    told(&manager, "STOPPING=1");
    let Station { mut daemon, .. } = station;
    daemon.expect("done");
    assert!(daemon.end().success());
}

#[tokio::test]
async fn the_unit_file_runs_commands_that_exist() {
    let unit = root().join("groundstation/systemd/groundstation.service");
    let unit = std::fs::read_to_string(unit).unwrap();
    let station = Station::start();
    let run = |key: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("/usr/local/bin/groundstation"));
        let here =
            |word: &str| word.replace("/var/lib/groundtrack", station.path("").to_str().unwrap());
        let out = Command::new(binary("groundstation")).args(words.map(here)).output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    assert_eq!(run("ExecReload=").0, Some(0));
    // There is one already: the command is understood, and the archive is not shared.
    let (code, error) = run("ExecStart=");
    assert!(code == Some(1) && error.contains("in use by another daemon"), "{error}");
}
