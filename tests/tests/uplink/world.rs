//! A station and its spacecraft as real programs.

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

/// A station and what its spacecraft needs, in one folder.
pub struct World {
    pub dir: tempfile::TempDir,
    http: String,
    /// None only while it is down.
    pub station: Option<Daemon>,
}

pub fn text(path: &Path) -> String {
    path.to_str().unwrap().into()
}

impl World {
    pub fn start() -> Self {
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

    /// Address of the page.
    pub fn http(&self) -> &str {
        &self.http
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("station").join(name)
    }

    pub fn craft(&self) -> Daemon {
        let config = text(&self.path("enrolled/a/onboard.toml"));
        let mut craft = Daemon::start("onboard", &["run", "--ready-json", "--config", &config]);
        craft.expect("ready");
        craft
    }

    /// Kills the station without warning and starts it again.
    pub fn restart_station(&mut self) {
        let config = text(&self.path("station.toml"));
        // Dropping kills and waits: lock and port are free.
        self.station = None;
        let mut station = Daemon::start("groundstation", &["run", "--config", &config]);
        station.expect("ready");
        self.station = Some(station);
    }

    /// Stores segments in a folder, from the next start of the station on.
    pub fn store_in(&self, bucket: &Path) {
        let path = self.path("station.toml");
        let said = std::fs::read_to_string(&path).unwrap();
        let sealing = said.replacen("[archive]", "[archive]\nseal_s = 1", 1);
        assert_ne!(said, sealing);
        let store = format!("{sealing}\n[archive.object_store]\ndir = {:?}\n", text(bucket));
        std::fs::write(&path, store).unwrap();
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        let config = text(&self.path("station.toml"));
        let mut command = Command::new(binary("groundstation"));
        command.arg("uplink").args(arguments).args(["--json", "--config", &config]);
        command.output().unwrap()
    }

    pub fn send(&self, kind: &str, content: &str, more: &[&str]) -> String {
        let fixed = ["send", "--spacecraft", "7", "--kind", kind, "--text", content];
        let sent = self.run(&[&fixed[..], more].concat());
        assert!(sent.status.success(), "{sent:?}");
        let row: Value = serde_json::from_slice(&sent.stdout).unwrap();
        row["key"].as_str().unwrap().into()
    }

    pub fn row(&self, key: &str) -> Value {
        let listed = self.run(&["list"]);
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        let rows = listed["objects"].as_array().unwrap();
        rows.iter().find(|row| row["key"] == key).expect("it is listed").clone()
    }

    /// Units by counter and outcome, as the station exports them.
    pub fn conserved(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
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
    pub fn outcome(&self, key: &str) -> [String; 3] {
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
