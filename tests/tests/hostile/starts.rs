//! What `run` refuses at its start, `check` refuses before, in the same words.

use super::client::Station;
use std::{
    net::{TcpListener, UdpSocket},
    os::unix::fs::symlink,
};
use tests::process::binary;

/// The last word of a command that must fail.
fn refused(station: &Stopped, command: &str) -> String {
    let out = std::process::Command::new(binary("groundstation"))
        .args([command, "--config", station.config().to_str().unwrap()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{command}: {said}");
    let last = said.lines().rev().find(|line| line.starts_with("groundstation: "));
    last.unwrap_or_else(|| panic!("{command}: {said}")).to_string()
}

/// A station that ran once and was stopped.
struct Stopped(tempfile::TempDir);

impl Stopped {
    fn new() -> Self {
        let Station { dir, mut daemon, .. } = Station::start();
        daemon.terminate();
        daemon.expect("done");
        assert!(daemon.end().success());
        Self(dir)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join("station").join(name)
    }

    fn config(&self) -> std::path::PathBuf {
        self.path("station.toml")
    }

    fn is_good(&self) -> bool {
        let mut check = std::process::Command::new(binary("groundstation"));
        check.arg("check").arg("--config").arg(self.config()).output().unwrap().status.success()
    }
}

/// Both refuse a station with this change of its file, and name the culprit; then it is put back.
fn both_refuse(station: &Stopped, from: &str, to: &str, culprit: &str) {
    let text = std::fs::read_to_string(station.config()).unwrap();
    let changed = text.replacen(from, to, 1);
    assert_ne!(text, changed, "{from}");
    std::fs::write(station.config(), changed).unwrap();
    both_say(station, culprit);
    std::fs::write(station.config(), text).unwrap();
}

fn both_say(station: &Stopped, culprit: &str) {
    let (check, run) = (refused(station, "check"), refused(station, "run"));
    assert_eq!(check, run);
    assert!(check.contains(culprit), "{culprit}: {check}");
}

#[test]
fn a_file_that_run_refuses_is_refused_by_check_in_the_same_words() {
    let station = Stopped::new();
    assert!(station.is_good());
    let (quic, http) = ("quic = \"127.0.0.1:0\"", "http = \"127.0.0.1:0\"");
    // An address for examples (RFC 5737), which no machine has.
    both_refuse(&station, quic, "quic = \"192.0.2.1:0\"", "an address of this machine");
    both_refuse(&station, http, "http = \"192.0.2.1:7180\"", "config key listen.http");
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = |key: &str, at: std::net::SocketAddr| format!("{key} = \"{at}\"");
    both_refuse(&station, quic, &taken("quic", udp.local_addr().unwrap()), "stop what uses it");
    both_refuse(&station, http, &taken("http", tcp.local_addr().unwrap()), "stop what uses it");
    let door = "[[door]]\nname = \"d\"\nto = \"tcp-server:192.0.2.1:2950\"\nsend = \"packets\"\n";
    both_refuse(&station, "[[principal]]", &format!("{door}[[principal]]"), "door d");
    both_refuse(&station, "spacecraft = [7]", "spacecraft = [9]", "this mission does not have");
    let rows = [
        "[[operator]]\nname = \"o\"\ntoken = \"o.token\"\nspacecraft = [71]\n\
         actions = [\"command\"]\n",
        "[[door]]\nname = \"o\"\nto = \"file:out.bin\"\nsend = \"packets\"\n\
         spacecraft = [7, 71]\n",
    ];
    for row in rows {
        let culprit = "spacecraft 71, which this mission does not have; did you mean ";
        both_refuse(&station, "[[principal]]", &format!("{row}[[principal]]"), culprit);
    }
    let door = |to: &str| {
        let door = format!("[[door]]\nname = \"f\"\nto = \"file:{to}\"\nsend = \"packets\"\n");
        format!("{door}[[principal]]")
    };
    for (to, culprit) in [
        ("operators", "it is a folder"),
        ("doors/f.json", "is a door's cursor"),
        ("jobs.log", "is the log of jobs"),
    ] {
        both_refuse(&station, "[[principal]]", &door(to), culprit);
    }
    let token = |path: &str| format!("token = {path:?}");
    for (path, culprit) in [("station.toml", "station file"), ("identity/station.key", "key")] {
        both_refuse(&station, &token("operators/local.token"), &token(path), culprit);
    }
    std::fs::write(station.path("file"), b"").unwrap();
    both_refuse(&station, "dir = \"archive\"", "dir = \"file/archive\"", "is no folder");
    both_refuse(&station, "dir = \"archive\"", "dir = \"/proc/archive\"", "can't be written to");
    std::fs::create_dir(station.path("archive/store")).unwrap();
    symlink(station.path("archive/store"), station.path("elsewhere")).unwrap();
    for store in ["archive", "archive/store", "elsewhere"] {
        let section = format!("dir = \"archive\"\nobject_store = {{ dir = {store:?} }}\n");
        both_refuse(&station, "dir = \"archive\"\n", &section, "lies in the archive");
    }
    std::fs::write(station.path("operators/local.token"), "short").unwrap();
    both_say(&station, "has 5 characters");
    std::fs::remove_file(station.path("operators/local.token")).unwrap();
    assert!(station.is_good(), "every spoiler is gone");
}

#[test]
fn an_emptied_archive_is_refused_by_check_in_the_words_of_run() {
    let station = Stopped::new();
    std::fs::remove_dir_all(station.path("archive")).unwrap();
    // First it is gone, then `run` has made it: empty, as under a disk that is not mounted.
    both_say(&station, "--new-ledger");
    assert!(station.path("archive").is_dir());
    both_say(&station, "is empty, and ledger");
    // A station that never ran has nothing to miss.
    std::fs::remove_file(station.path("archive.ledgers")).unwrap();
    assert!(station.is_good());
}

#[test]
fn beside_its_own_daemon_a_station_is_good_and_another_s_ports_are_not() {
    let station = Station::start();
    let other = Station::start();
    let (quic, http) = (station.quic.to_string(), station.http.clone());
    let with = |quic: &str, http: &str| {
        station.configure(|text| {
            let line = |key: &str| text.lines().find(|line| line.starts_with(key)).unwrap();
            text.replace(line("quic = "), &format!("quic = {quic:?}"))
                .replace(line("http = "), &format!("http = {http:?}"))
        });
        station.command(&["check", "--json"])
    };
    let (good, said) = with(&quic, &http);
    assert!(good && said.contains("taken, by this station itself"), "{said}");
    let (good, said) = with(&other.quic.to_string(), &http);
    assert!(!good && said.contains("listen.quic"), "{said}");
    let (good, said) = with(&quic, &other.http);
    assert!(!good && said.contains("listen.http"), "{said}");
}
