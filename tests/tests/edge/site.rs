//! A station with its edges, as an operator has them, and what its antennas hear.

use codecs::frame::{
    aos::{AosBuilder, AosConfig},
    cadu::{CaduEncoder, Coding},
};
use codecs::ids::Apid;
use codecs::packet::space::{PacketHeader, SequenceCount, build};
use serde_json::Value;
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tests::process::{DEADLINE, Daemon, binary};

pub const FRAME_BYTES: usize = 892;
pub const CODING: &str = "rs:223:i4:dual,randomized:255";

pub const MISSION: &str = r#"
mission = "sky"
domain = "sky"
[[spacecraft]]
id = 7
name = "SKY-7"
[[spacecraft.frames]]
kind = "aos"
scid = 71
length = 892
"#;

/// A station's folder with one edge enrolled.
pub struct Site {
    pub folder: tempfile::TempDir,
}

impl Site {
    pub fn new() -> Self {
        Self::of(MISSION)
    }

    pub fn of(mission: &str) -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::write(site.path("mission.toml"), mission).unwrap();
        let mission = site.text("mission.toml");
        let station = site.text("station");
        done(&[
            "init",
            &station,
            "--mission",
            &mission,
            "--station",
            "Test,0,0,0",
            "--spacecraft",
            "7:SKY-7",
            "--quic",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
        ]);
        site.enroll("antenna-1", 1);
        site
    }

    pub fn enroll(&self, name: &str, antenna: u32) {
        let (config, antenna) = (self.text("station/station.toml"), antenna.to_string());
        done(&["enroll", "edge", name, "--config", &config, "--antenna", &antenna]);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub fn station(&self) -> Station {
        self.station_with(&[])
    }

    /// A station with the arguments given beside its file.
    pub fn station_with(&self, arguments: &[&str]) -> Station {
        let config = self.text("station/station.toml");
        let fixed = ["run", "--config", &config];
        let mut daemon = Daemon::start("groundstation", &[&fixed[..], arguments].concat());
        let ready = daemon.expect("ready");
        let at = |key: &str| ready[key].as_str().unwrap().to_owned();
        Station { quic: at("quic"), http: at("http"), daemon }
    }

    /// An edge with the arguments given beside its file.
    pub fn edge(&self, name: &str, station: &str, arguments: &[&str]) -> (Daemon, Value) {
        let config = self.text(&format!("station/enrolled/{name}/edge.toml"));
        let fixed = ["edge", "--json", "--config", &config, "--station", station];
        let mut daemon = Daemon::start("groundstation", &[&fixed[..], arguments].concat());
        let ready = daemon.expect("ready");
        (daemon, ready)
    }

    /// Units, and of them those that stand twice, once the station has stopped.
    pub fn audit(&self) -> (u64, u64) {
        let config = self.text("station/station.toml");
        let output = Command::new(binary("groundstation"))
            .args(["audit", "--json", "--config", &config])
            .output()
            .unwrap();
        let audit: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(output.status.success(), "{audit}");
        (audit["units"].as_u64().unwrap(), audit["duplicates"].as_u64().unwrap())
    }
}

pub struct Station {
    pub quic: String,
    pub http: String,
    pub daemon: Daemon,
}

impl Station {
    pub fn stop(mut self) {
        self.daemon.terminate();
        self.daemon.expect("done");
        assert!(self.daemon.end().success());
    }

    /// Waits until the station counts as many units.
    pub fn await_units(&self, wanted: u64) {
        await_that(&format!("{wanted} units archived"), || archived(&self.http) >= wanted);
    }
}

pub fn archived(http: &str) -> u64 {
    metric(http, "groundtrack_units_archived_total")
}

/// The sum of a metric over its labels.
pub fn metric(http: &str, name: &str) -> u64 {
    let mut stream = TcpStream::connect(http).unwrap();
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {http}\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let value = |line: &str| line.rsplit(' ').next().and_then(|of| of.parse::<f64>().ok());
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines.filter_map(value).sum::<f64>() as u64
}

pub fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn done(arguments: &[&str]) {
    let output = Command::new(binary("groundstation"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Frames of one packet each, all different.
pub fn frames(count: u16) -> Vec<Vec<u8>> {
    let mut builder = AosBuilder::new(AosConfig::new(FRAME_BYTES), 71, 0, 0).unwrap();
    let mut frames = Vec::new();
    for number in 0..count {
        let header = PacketHeader::telemetry(Apid(100), SequenceCount(number));
        let packet = build(&header, &vec![number as u8; FRAME_BYTES - 8 - 6]).unwrap();
        builder.push(&packet, &mut |frame| frames.push(frame.to_vec())).unwrap();
    }
    assert_eq!(frames.len(), usize::from(count));
    frames
}

/// The same as coded units, those of the numbers given spoiled beyond correction.
pub fn cadus(frames: &[Vec<u8>], spoiled: &[usize]) -> Vec<u8> {
    let coding: Coding = CODING.parse().unwrap();
    let mut encoder = CaduEncoder::new(&coding, FRAME_BYTES, coding.marker()).unwrap();
    let mut stream = Vec::new();
    for (number, frame) in frames.iter().enumerate() {
        let begin = stream.len();
        encoder.push(frame, &mut stream).unwrap();
        if spoiled.contains(&number) {
            // Not one constant: that is a codeword, and would be no error at all.
            let symbols = stream[begin + 4..].iter_mut().step_by(2).enumerate();
            symbols.for_each(|(at, byte)| *byte ^= at as u8 | 1);
        }
    }
    encoder.finish(&mut stream);
    stream
}

pub fn cadu_input(from: &str) -> Vec<String> {
    ["--from", from, "--carries", "cadus", "--frame", "aos:892", "--coding", CODING]
        .map(String::from)
        .to_vec()
}

pub fn refs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}
