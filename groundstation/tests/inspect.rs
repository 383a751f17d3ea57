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

/// Forty whole frames.
fn many(folder: &Path) -> PathBuf {
    let mut builder = AosBuilder::new(AosConfig::new(100).with_fecf(true), 71, 0, 9).unwrap();
    let mut bytes = Vec::new();
    for count in 0..40 {
        let header = PacketHeader::telemetry(Apid(100), SequenceCount(count));
        let packet = build(&header, &[count as u8; 84]).unwrap();
        builder.push(&packet, &mut |frame| bytes.extend_from_slice(&frame)).unwrap();
    }
    assert_eq!(builder.pending(), 0, "whole frames");
    let path = folder.join("many.aos100");
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
    for frame in ["spp:100", "aos", "tc:100", "aos:5", "aos:99999999"] {
        let output = inspect(&["--frame", frame], Path::new("x"));
        assert_eq!(output.status.code(), Some(2), "{frame}");
        assert!(talk(&output).contains("--frame"), "{}", talk(&output));
    }
    assert_eq!(inspect(&[], Path::new("x")).status.code(), Some(2), "--frame is required");
    let both = inspect(&["--guess", "--frame", "aos:100"], Path::new("x"));
    assert_eq!(both.status.code(), Some(2), "{}", talk(&both));
}

#[test]
fn what_does_not_go_together_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let file = recording(folder.path(), 0);
    for (frame, flag) in [("tm:100", "--ocf"), ("aos:100", "--no-segments"), ("tc", "--wide-scid")]
    {
        let output = inspect(&["--frame", frame, flag], &file);
        assert_eq!(output.status.code(), Some(2));
        assert!(talk(&output).contains(&format!("{flag} says nothing of")), "{}", talk(&output));
    }
    for (args, says) in [
        (&["--frame", "aos:100", "--coding", "none,rs:223"][..], "part 1 is not known"),
        (&["--frame", "aos:100", "--coding", "randomized:255,rs:223"], "part 2 is not known"),
        (&["--frame", "aos:100", "--coding", "cltu:bch"], "say --frame tc"),
        (&["--frame", "tc", "--coding", "rs:223:i1:dual"], "say --coding cltu:bch"),
        (&["--frame", "aos:100", "--coding", "ldpc:c2"], "a codeword carries 892 bytes"),
        (&["--frame", "aos:100", "--insert-zone", "2000"], "--insert-zone 2000 leaves no room"),
        (&["--frame", "aos:100", "--insert-zone", "92"], "fill the frame"),
        (&["--frame", "aos:100", "--service", "2:bits", "--service", "2:units"], "channel 2 twice"),
        (&["--frame", "aos:100", "--packet-crc=3000"], "3000 is no application"),
    ] {
        let output = inspect(args, &file);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", talk(&output));
        assert!(talk(&output).contains(says), "{args:?}: {}", talk(&output));
    }
}

#[test]
fn a_recording_tells_what_it_is_with_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let file = many(folder.path());
    let output = inspect(&["--guess"], &file);
    assert!(output.status.success(), "{}", talk(&output));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.starts_with("guess            --frame aos:100 --fecf\n"), "{table}");
    assert!(table.contains("frames whose CRC-16 holds") && table.contains("40 of 40"), "{table}");

    let output = inspect(&["--guess", "--json"], &file);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["guesses"][0]["arguments"], "--frame aos:100 --fecf");
    assert_eq!((&found["frames"], &found["gaps"]), (&40.into(), &0.into()));

    let noise: Vec<u8> =
        (0..30_000u32).map(|n| (n.wrapping_mul(n ^ 0x9E37_79B9) >> 13) as u8).collect();
    let other = folder.path().join("noise");
    std::fs::write(&other, noise).unwrap();
    let output = inspect(&["--guess", "--json"], &other);
    assert_eq!(output.status.code(), Some(1));
    assert!(talk(&output).contains("nothing fits") && talk(&output).contains("--asm"));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["guesses"], serde_json::json!([]));
}

#[test]
fn a_pipe_is_as_good_as_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = many(folder.path());
    for args in [&["--guess"][..], &["--frame", "aos:100", "--fecf"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_groundstation"));
        command.arg("inspect").args(args).args(["--json", "-"]);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let bytes = std::fs::read(&file).unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), &bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&found["frames"], &found["packets"]), (&40.into(), &40.into()), "{args:?}");
    }
}

#[test]
fn what_is_no_recording_of_frames_is_not_taken_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let guess = |name: &str, bytes: &[u8]| {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let output = inspect(&["--guess"], &file);
        assert_eq!(output.status.code(), Some(1), "{name}");
        talk(&output)
    };
    let text = include_str!("inspect.rs").repeat(5);
    assert!(guess("text", text.as_bytes()).contains("nothing fits"));
    assert!(guess("two bytes", b"hi").contains("nothing fits"));
    let packets: Vec<u8> = (0..200u16)
        .flat_map(|count| {
            let header = PacketHeader::telemetry(Apid(9), SequenceCount(count));
            build(&header, &[count as u8; 65]).unwrap()
        })
        .collect();
    let told = guess("packets", &packets);
    assert!(told.contains("space packets end to end, 200 of them"), "{told}");
}
