//! `groundstation inspect` as a user runs it.

use codecs::frame::aos::{AosBuilder, AosConfig};
use codecs::ids::Apid;
use codecs::packet::space::{PacketHeader, SequenceCount, build};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn inspect(args: &[&str], file: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_groundstation"));
    command.arg("inspect").args(args).arg(file).output().unwrap()
}

fn talk(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Three frames of 100 bytes with a CRC, the middle one erred, and `extra` bytes behind them.
fn recording(folder: &Path, extra: usize) -> PathBuf {
    let mut builder = AosBuilder::new(AosConfig::new(100).with_fecf(true), 71, 0, 9).unwrap();
    let mut bytes = Vec::new();
    for count in 0..3 {
        let header = PacketHeader::telemetry(Apid(100), SequenceCount(count));
        let packet = build(&header, &[7; 79]).unwrap();
        builder.push(&packet, &mut |frame| bytes.extend_from_slice(&frame)).unwrap();
    }
    builder.flush(&mut |frame| bytes.extend_from_slice(&frame));
    bytes[150] ^= 4;
    bytes.resize(bytes.len() + extra, 0);
    let path = folder.join("pass.aos100");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn one_document_on_stdout() {
    let folder = tempfile::tempdir().unwrap();
    let file = recording(folder.path(), 0);
    let output = inspect(&["--frame", "aos:100", "--fecf", "--json"], &file);
    assert!(output.status.success(), "{}", talk(&output));
    assert_eq!(talk(&output), "");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = [
        ("frames", 3),
        ("erred_frames", 1),
        ("gaps", 0),
        ("packets", 4),
        ("idle_packets", 1),
        ("spanning_packets", 2),
        ("truncated_packets", 0),
        ("apids", 2),
        ("trailing_bytes", 0),
    ];
    for (key, value) in expected {
        assert_eq!(found[key], value, "{key}");
    }
    assert_eq!(found["virtual_channels"], serde_json::json!({ "0": 3 }));
    let pointers = serde_json::json!({ "start": 3, "no_start": 0, "idle": 0 });
    assert_eq!(found["first_header_pointer"], pointers);
}

#[test]
fn a_cut_file_is_counted_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let file = recording(folder.path(), 42);
    let output = inspect(&["--frame", "aos:100", "--fecf"], &file);
    assert_eq!(output.status.code(), Some(1));
    assert!(talk(&output).contains("42 bytes after the last whole frame"), "{}", talk(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("3 of aos:100"));
}

#[test]
fn what_is_no_such_recording_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = recording(folder.path(), 0);
    let wrong_kind = inspect(&["--frame", "tm:100"], &file);
    assert_eq!(wrong_kind.status.code(), Some(1));
    assert!(talk(&wrong_kind).contains("no frame is tm:100"), "{}", talk(&wrong_kind));

    let missing = inspect(&["--frame", "aos:100"], &folder.path().join("absent"));
    assert_eq!(missing.status.code(), Some(1));
    assert!(talk(&missing).contains("absent: No such file"), "{}", talk(&missing));
    let is_folder = inspect(&["--frame", "aos:100"], folder.path());
    assert_eq!(is_folder.status.code(), Some(1));
    assert!(talk(&is_folder).contains("it is a folder"), "{}", talk(&is_folder));

    let empty = folder.path().join("empty");
    std::fs::write(&empty, []).unwrap();
    let empty = inspect(&["--frame", "aos:100"], &empty);
    assert_eq!((empty.status.code(), talk(&empty).contains("is empty")), (Some(1), true));
}

#[test]
fn wrong_usage_exits_with_2_and_an_example() {
    for frame in ["uslp:100", "aos", "aos:5", "aos:99999999"] {
        let output = inspect(&["--frame", frame], Path::new("x"));
        assert_eq!(output.status.code(), Some(2), "{frame}");
        assert!(talk(&output).contains("--frame"), "{}", talk(&output));
    }
    assert_eq!(inspect(&[], Path::new("x")).status.code(), Some(2), "--frame is required");
}
