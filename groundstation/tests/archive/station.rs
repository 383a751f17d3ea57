//! A station that holds frames and does not run.

use bytes::Bytes;
use codecs::{
    frame::aos::{AosBuilder, AosConfig},
    ids::{Apid, Channel, Codec, KeyPrefix, Origin, SpacecraftId, StoreEpoch, UnitKey},
    packet::space::{PacketHeader, SequenceCount, build},
    time::Tai,
};
use groundstation::{
    archive::{Archive, Incoming, Now, Settings, Verdict, retain::Retain, segment::file_name},
    catalogue::Entry,
    shell::disk::Folder,
};
use serde_json::Value;
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

const MISSION: &str = "mission = 'test'\ndomain = 'test'\n[[spacecraft]]\nid = 7\nname = 'A'\n\
    [[spacecraft.frames]]\nkind = 'aos'\nscid = 71\nlength = 223\nfecf = true\n";
const LEDGER: u64 = 9;
const SETTINGS: Settings = Settings { segment_bytes: 64 << 10 };

/// A station in a temporary folder.
pub struct Station {
    dir: tempfile::TempDir,
}

impl Station {
    /// A station without an archive.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mission = dir.path().join("mission.toml");
        std::fs::write(&mission, MISSION).unwrap();
        let station = Self { dir };
        let root = station.path("");
        let made = Command::new(env!("CARGO_BIN_EXE_groundstation"))
            .args(["init", root.to_str().unwrap(), "--mission", mission.to_str().unwrap()])
            .args(["--station", "Test,48,11,500", "--spacecraft", "7:A"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", talk(&made));
        station
    }

    /// A station that archived these units in segments of 64 KiB, and stopped in order.
    pub fn with(units: &[Incoming]) -> Self {
        let station = Self::new();
        station.archive(units);
        station
    }

    /// Starts, archives these units, which are new, and stops in order.
    pub fn archive(&self, units: &[Incoming]) {
        let (folder, _lock) = Folder::claim(&self.path("archive")).unwrap();
        let (mut archive, _) = Archive::open(folder, SETTINGS, LEDGER).unwrap();
        let now = Now { mono_ms: 0, tai: Tai(0) };
        for units in units.chunks(20) {
            for unit in units {
                assert_eq!(archive.offer(unit, now).unwrap(), Verdict::Accepted);
            }
            archive.commit(now).unwrap();
        }
        archive.seal(Tai(0));
    }

    /// Copies segments to where the station's object store has them, as after an upload.
    pub fn store(&self, numbers: &[u64]) {
        let config = self.path("station.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("{text}\n[archive.object_store]\ndir = 'store'\n"))
            .unwrap();
        let store = self.path(&format!("store/test/{LEDGER:016x}"));
        std::fs::create_dir_all(&store).unwrap();
        let mut lines = String::new();
        for number in numbers {
            let segment = self.segment(*number);
            let bytes = std::fs::copy(&segment, store.join(segment.file_name().unwrap())).unwrap();
            lines.push_str(&Entry::Stored { segment: *number, bytes }.line());
        }
        std::fs::write(self.path("archive/catalogue.jsonl"), lines).unwrap();
    }

    /// Lets go of all but so many bytes of segments.
    pub fn retain(&self, bytes: u64) {
        let (folder, _lock) = Folder::claim(&self.path("archive")).unwrap();
        let (mut archive, _) = Archive::open(folder, SETTINGS, LEDGER).unwrap();
        let policy = Retain { bytes: Some(bytes), ..Retain::default() };
        assert!(!archive.retain(&policy, |_| true, Tai(0)).unwrap().is_empty());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("station").join(name)
    }

    /// A file of the archive.
    pub fn segment(&self, number: u64) -> PathBuf {
        self.path("archive").join(file_name(number))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_groundstation"));
        command.args(arguments).args(["--config", self.path("station.toml").to_str().unwrap()]);
        command
    }

    /// Runs a command of the station.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command whose output goes to a file or device.
    pub fn run_into(&self, arguments: &[&str], stdout: File) -> Output {
        self.command(arguments).stdout(Stdio::from(stdout)).output().unwrap()
    }

    /// What a command says in JSON, having ended with `code`.
    pub fn json(&self, arguments: &[&str], code: i32) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", talk(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// Flips a bit.
pub fn flip(path: &Path, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    byte[0] ^= 4;
    file.write_all_at(&byte, offset).unwrap();
}

/// What a command says on stderr.
pub fn talk(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a command says on stdout.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Frames of a virtual channel, a tenth of a second apart, with `packets` in them.
pub fn recording(vc: u8, packets: u16) -> Vec<Incoming> {
    let config = AosConfig::new(223).with_fecf(true);
    let mut builder = AosBuilder::new(config, 71, vc, 0).unwrap();
    let mut frames: Vec<Bytes> = Vec::new();
    for count in 0..packets {
        let header = PacketHeader::telemetry(Apid(100), SequenceCount(count));
        let packet = build(&header, &[count as u8; 60]).unwrap();
        builder.push(&packet, &mut |frame| frames.push(frame)).unwrap();
    }
    builder.flush(&mut |frame| frames.push(frame));
    let prefix = KeyPrefix {
        origin: Origin([5; 16]),
        epoch: StoreEpoch(1),
        spacecraft: SpacecraftId(7),
        channel: Channel::virtual_channel(1, 71, vc, 0),
    };
    let unit = |(sequence, bytes): (usize, Bytes)| Incoming {
        key: UnitKey { prefix, sequence: sequence as u64 },
        codec: Codec::AosFrame,
        received: Tai(1_900_000_000_000_000_000 + sequence as i64 * 100_000_000),
        annotation: None,
        bytes,
    };
    frames.into_iter().enumerate().map(unit).collect()
}
