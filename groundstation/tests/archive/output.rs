//! Standard output that can't be written, and disks without room.

use crate::station::{Station, recording, said, talk};
use std::{
    fs::File,
    io::pipe,
    process::{Command, Output},
};

#[test]
fn a_result_that_could_not_be_printed_is_no_success() {
    let station = Station::with(&recording(0, 40));
    let out = station.path("out");
    for arguments in [
        &["audit"][..],
        &["audit", "--json"],
        &["gaps"],
        &["gaps", "--json"],
        &["check"],
        &["export", out.to_str().unwrap()],
        &["replay", "--speed", "max", "--to", "file:/dev/null"],
    ] {
        let ended = station.run_into(arguments, File::create("/dev/full").unwrap());
        let said = talk(&ended);
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("can't write to stdout"), "{arguments:?}: {said}");
        let _ = std::fs::remove_dir_all(&out);
        // The reader of a pipe had enough: its business.
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let ended = station.run_into(arguments, File::from(std::os::fd::OwnedFd::from(writer)));
        assert_eq!((ended.status.code(), talk(&ended).contains("stdout")), (Some(0), false));
        let _ = std::fs::remove_dir_all(&out);
    }
    for arguments in ["--help", "--version"] {
        let mut help = Command::new(env!("CARGO_BIN_EXE_groundstation"));
        let full = File::create("/dev/full").unwrap();
        assert_eq!(help.arg(arguments).stdout(full).status().unwrap().code(), Some(1));
    }
}

#[test]
fn no_command_writes_into_what_the_station_keeps() {
    let station = Station::with(&recording(0, 40));
    let segment = station.segment(0);
    for file in [&station.path("station.toml"), &station.path("identity/station.key"), &segment] {
        let before = std::fs::read(file).ok();
        let to = format!("file:{}", file.display());
        let ended = station.run(&["replay", "--speed", "max", "--to", &to]);
        let said = talk(&ended);
        assert_eq!(ended.status.code(), Some(1), "{to}: {said}");
        assert!(said.contains("name another f"), "{said}");
        assert_eq!(std::fs::read(file).ok(), before, "{to}");
    }
    let ended = station.run(&["export", segment.parent().unwrap().to_str().unwrap()]);
    assert_eq!(ended.status.code(), Some(1), "{}", talk(&ended));
    assert!(talk(&ended).contains("lies in the archive"), "{}", talk(&ended));
}

/// Runs a command that may write files of so many blocks of 512 bytes at most.
fn on_a_small_disk(station: &Station, blocks: u32, arguments: &[&str]) -> Output {
    let config = station.path("station.toml");
    // Ignored, so that the write fails instead of the process.
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    Command::new("/bin/sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_groundstation")])
        .args(arguments)
        .args(["--config", config.to_str().unwrap()])
        .output()
        .unwrap()
}

#[test]
fn an_export_that_finds_no_room_leaves_nothing() {
    let mut units = recording(0, 40);
    units.extend(recording(1, 2_000));
    let station = Station::with(&units);
    let out = station.path("out");
    let arguments = ["export", out.to_str().unwrap(), "--send", "frames", "--index"];
    let failed = on_a_small_disk(&station, 100, &arguments);
    assert_eq!((failed.status.code(), said(&failed).as_str()), (Some(1), ""));
    let why = talk(&failed);
    assert!(why.contains("nothing of it is left in") && why.contains("too large"), "{why}");
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0);
    // The same folder again, with room; and nothing is overwritten.
    station.json(&arguments, 0);
    let mut names: Vec<_> =
        std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let vcs = ["frames-7-vc00.bin", "frames-7-vc00.jsonl"];
    assert_eq!(names, [vcs, ["frames-7-vc01.bin", "frames-7-vc01.jsonl"]].concat());
    assert_eq!(station.run(&arguments).status.code(), Some(1));
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 4);
}

#[test]
fn a_replay_that_finds_no_room_leaves_whole_frames() {
    let units = recording(0, 5_000);
    let station = Station::with(&units);
    let file = station.path("replayed.bin");
    let to = format!("file:{}", file.display());
    let arguments = ["replay", "--speed", "max", "--send", "frames", "--to", &to, "--json"];
    let failed = on_a_small_disk(&station, 601, &arguments);
    assert_eq!(failed.status.code(), Some(1), "{}", talk(&failed));
    let told: serde_json::Value = serde_json::from_slice(&failed.stdout).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(
        (bytes.len() as u64, &told["complete"]),
        (told["bytes"].as_u64().unwrap(), &false.into())
    );
    assert!(!bytes.is_empty() && bytes.len().is_multiple_of(223), "{}", bytes.len());
    let wanted: Vec<u8> = units.iter().flat_map(|unit| unit.bytes.to_vec()).collect();
    assert!(wanted.starts_with(&bytes));
}
