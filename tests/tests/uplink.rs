//! Uplink with the real programs: queued, sent, executed once, answered, over kills of either side.

use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};
use tests::process::{DEADLINE, Daemon, binary};

struct World {
    dir: tempfile::TempDir,
    http: String,
    /// None only while it is down.
    station: Option<Daemon>,
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().into()
}

impl World {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (root, mission) = (dir.path().join("station"), dir.path().join("mission.toml"));
        let said = "mission = \"test\"\ndomain = \"test\"\n[[spacecraft]]\nid = 7\nname = \"A\"\n";
        std::fs::write(&mission, said).unwrap();
        let made = Command::new(binary("groundstation"))
            .args(["init", &text(&root), "--mission", &text(&mission)])
            .args(["--station", "Test,48,11,500", "--spacecraft", "7:A"])
            .args(["--quic", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let config = root.join("station.toml");
        let mut station = Daemon::start("groundstation", &["run", "--config", &text(&config)]);
        let ready = station.expect("ready");
        let address = |name: &str| ready[name].as_str().unwrap().to_string();
        let (quic, http) = (address("quic"), address("http"));
        // The same port after a restart.
        let said = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, said.replacen("127.0.0.1:0", &quic, 1)).unwrap();
        let enrolled = root.join("enrolled/a");
        let identity = std::fs::read_to_string(enrolled.join("onboard-identity.toml")).unwrap();
        let onboard = format!(
            "[spacecraft]\nid = 7\nname = \"A\"\n[ground]\naddress = \"{quic}\"\n\
             server_name = \"station\"\n[source]\nunix = \"s\"\n[store]\ndir = \"store\"\n{identity}"
        );
        std::fs::write(enrolled.join("onboard.toml"), onboard).unwrap();
        Self { dir, http, station: Some(station) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("station").join(name)
    }

    fn craft(&self) -> Daemon {
        let config = text(&self.path("enrolled/a/onboard.toml"));
        let mut craft = Daemon::start("onboard", &["run", "--ready-json", "--config", &config]);
        craft.expect("ready");
        craft
    }

    /// Kills the station without warning and starts it again.
    fn restart_station(&mut self) {
        let config = text(&self.path("station.toml"));
        // Dropping kills and waits: lock and port are free.
        self.station = None;
        let mut station = Daemon::start("groundstation", &["run", "--config", &config]);
        station.expect("ready");
        self.station = Some(station);
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let config = text(&self.path("station.toml"));
        let mut command = Command::new(binary("groundstation"));
        command.arg("uplink").args(arguments).args(["--json", "--config", &config]);
        command.output().unwrap()
    }

    fn send(&self, kind: &str, content: &str, more: &[&str]) -> String {
        let fixed = ["send", "--spacecraft", "7", "--kind", kind, "--text", content];
        let sent = self.run(&[&fixed[..], more].concat());
        assert!(sent.status.success(), "{sent:?}");
        let row: Value = serde_json::from_slice(&sent.stdout).unwrap();
        row["key"].as_str().unwrap().into()
    }

    fn row(&self, key: &str) -> Value {
        let listed = self.run(&["list"]);
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        let rows = listed["objects"].as_array().unwrap();
        rows.iter().find(|row| row["key"] == key).expect("it is listed").clone()
    }

    /// Units by counter and outcome, as the station exports them.
    fn conserved(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        write!(stream, "GET /metrics HTTP/1.0\r\nHost: {}\r\n\r\n", self.http).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let mut counters: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        let lines = text.lines();
        for line in lines.filter_map(|line| line.strip_prefix("groundtrack_custody_units_total{")) {
            let (labels, count) = line.rsplit_once("} ").unwrap();
            let (counter, outcome) = labels.split_once(",outcome=").unwrap();
            let of = counters.entry(counter.into()).or_default();
            of.insert(outcome.into(), count.parse().unwrap());
        }
        counters
    }

    /// Waits for the outcome: its name, its reason and its detail.
    fn outcome(&self, key: &str) -> [String; 3] {
        let end = Instant::now() + DEADLINE;
        loop {
            let row = self.row(key);
            if row["state"] == "ended" {
                let text = |name: &str| row[name].as_str().unwrap_or_default().to_string();
                return [text("outcome"), text("reason"), text("detail")];
            }
            assert!(Instant::now() < end, "no outcome: {row}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn what_an_operator_sends_is_done_once_and_answered() {
    let world = World::start();
    let craft = world.craft();
    let ping = world.send("command", "ping", &["--expires", "10m"]);
    let echo = world.send("command", "echo Grüße \"up\"", &[]);
    let set = world.send("configuration", "[triage]\ncloudy_above = 0.5", &[]);
    let unknown = world.send("command", "self-destruct", &[]);
    assert_eq!(world.outcome(&ping), ["done", "", "pong"]);
    assert_eq!(world.outcome(&echo), ["done", "", "Grüße \"up\""]);
    assert_eq!(world.outcome(&set), ["done", "", "in force"]);
    assert_eq!(world.outcome(&unknown)[..2], ["refused", "unsupported"]);
    assert_eq!(world.row(&ping)["by"], "spacecraft");
    // A quiet moment: nothing is under way once the spacecraft is gone and its records are in.
    drop(craft);
    let counters = world.conserved();
    let records = counters.iter().find(|(of, _)| of.ends_with("channel=\"records\""));
    assert!(records.is_some_and(|(_, of)| of["\"archived\""] >= 4), "{counters:?}");
    for (counter, mut outcomes) in counters {
        let received = outcomes.remove("\"received\"").unwrap();
        assert_eq!(received, outcomes.values().sum::<u64>(), "{counter}: {outcomes:?}");
    }
    let refused = world.run(&["send", "--spacecraft", "9", "--kind", "command", "--text", "ping"]);
    assert!(!refused.status.success(), "an operator's row names its spacecraft");
}

/// An edge hears the spacecraft and carries for it, and would execute nothing: what is sent waits
/// for the spacecraft itself.
#[test]
fn an_edge_that_carries_for_a_spacecraft_gets_none_of_its_uplink() {
    let world = World::start();
    let config = text(&world.path("station.toml"));
    let done = |arguments: &[&str]| {
        let all = [arguments, &["--config", &config]].concat();
        let output = Command::new(binary("groundstation")).args(&all).output().unwrap();
        assert!(output.status.success(), "{all:?}: {output:?}");
    };
    done(&["enroll", "edge", "antenna-1"]);
    done(&["reload"]);
    let file = text(&world.path("enrolled/antenna-1/edge.toml"));
    let input = ["--from", "udp:127.0.0.1:0", "--carries", "packets"];
    let arguments = [&["edge", "--json", "--config", &file][..], &input].concat();
    let mut edge = Daemon::start("groundstation", &arguments);
    edge.expect("ready");
    let sessions = || {
        let snapshot = tests::process::get(&world.http, "/api/v1/snapshot");
        let crafts = snapshot["spacecraft"].as_array().unwrap().clone();
        crafts.iter().find(|craft| craft["id"] == 7).unwrap()["link"]["sessions"].clone()
    };
    let until = |wanted: u64| {
        let end = Instant::now() + DEADLINE;
        while sessions() != wanted {
            assert!(Instant::now() < end, "{wanted} sessions: {}", sessions());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until(1);
    let echo = world.send("command", "echo for the spacecraft", &[]);
    let craft = world.craft();
    assert_eq!(world.outcome(&echo), ["done", "", "for the spacecraft"]);
    assert_eq!(world.row(&echo)["attempts"], 1, "the edge got none of it");
    // And the link is up for as long as either hears the spacecraft.
    until(2);
    drop(craft);
    until(1);
    edge.terminate();
    edge.expect("done");
    until(0);
}

#[test]
fn a_spacecraft_killed_between_begun_and_done_says_unknown_and_never_tries_again() {
    let world = World::start();
    let mut craft = world.craft();
    let cut = world.send("command", "hold 600", &[]);
    assert_eq!(craft.expect("holding")["key"].as_str().unwrap(), cut);
    drop(craft);
    let mut craft = world.craft();
    assert_eq!(world.outcome(&cut), ["unknown", "", ""]);
    // What it begins next is another object.
    let next = world.send("command", "hold 0", &[]);
    assert_eq!(craft.expect("holding")["key"].as_str().unwrap(), next);
    assert_eq!(world.outcome(&next)[0], "done");
}

#[test]
fn what_waits_for_a_contact_outlives_the_station_and_what_expires_is_not_sent() {
    let mut world = World::start();
    let late = world.send("command", "ping", &["--expires", "1s"]);
    let kept = world.send("command", "echo kept", &["--priority", "9"]);
    world.restart_station();
    assert_eq!(world.outcome(&late)[0], "expired");
    let craft = world.craft();
    assert_eq!(world.outcome(&kept), ["done", "", "kept"]);
    drop(craft);
    // Answered is answered: another start of both sends nothing and changes nothing.
    world.restart_station();
    let _craft = world.craft();
    let ping = world.send("command", "ping", &[]);
    assert_eq!(world.outcome(&ping)[0], "done");
    let row = world.row(&kept);
    assert_eq!((&row["outcome"], &row["attempts"]), (&"done".into(), &0.into()));
    assert_eq!(world.row(&late)["outcome"], "expired");
}
