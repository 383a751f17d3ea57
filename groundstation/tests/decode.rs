//! `groundstation decode` as a user runs it.

use codecs::frame::aos::{AosBuilder, AosConfig};
use codecs::frame::cadu::{CaduEncoder, Coding};
use codecs::ids::Apid;
use codecs::packet::space::{PacketHeader, SequenceCount, build};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn decode(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_groundstation"));
    command.current_dir(folder).arg("decode").args(args).output().unwrap()
}

fn talk(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Packets of two applications, the frames that carry them on two channels, end to end.
struct Pass {
    packets: Vec<Vec<u8>>,
    frames: Vec<Vec<u8>>,
}

fn pass(length: usize) -> Pass {
    let config = AosConfig::new(length).with_fecf(true);
    let mut channels = [1, 2].map(|vc| AosBuilder::new(config.clone(), 71, vc, 0).unwrap());
    let (mut packets, mut frames) = (Vec::new(), Vec::new());
    for count in 0..120u16 {
        let place = usize::from(count % 2);
        let header = PacketHeader::telemetry(Apid(100 + count % 2), SequenceCount(count / 2));
        let packet = build(&header, &vec![count as u8; 30 + usize::from(count) % 50]).unwrap();
        channels[place].push(&packet, &mut |frame| frames.push(frame.to_vec())).unwrap();
        packets.push(packet);
    }
    for channel in &mut channels {
        channel.flush(&mut |frame| frames.push(frame.to_vec()));
    }
    Pass { packets, frames }
}

impl Pass {
    fn of(&self, apid: u16) -> Vec<u8> {
        let own = self.packets.iter().filter(|packet| packet[1] == apid as u8);
        own.flatten().copied().collect()
    }
}

fn bare(folder: &Path, pass: &Pass) -> PathBuf {
    let path = folder.join("pass.aos");
    std::fs::write(&path, pass.frames.concat()).unwrap();
    path
}

#[test]
fn packets_of_one_application_come_out_as_they_went_in() {
    let (folder, pass) = (tempfile::tempdir().unwrap(), pass(120));
    bare(folder.path(), &pass);
    let frame = ["--frame", "aos:120", "--fecf", "pass.aos"];
    for (select, expected) in
        [(&["--apid", "100"][..], pass.of(100)), (&["--vc", "2"], pass.of(101))]
    {
        let args = [&frame[..], select, &["--out", "packets", "--force"]].concat();
        let output = decode(folder.path(), &args);
        assert!(output.status.success(), "{}", talk(&output));
        assert!(talk(&output).contains("60 packets"), "{}", talk(&output));
        assert!(std::fs::read(folder.path().join("packets")).unwrap() == expected);
    }
}

#[test]
fn marked_and_coded_units_become_frames_again() {
    let (folder, pass) = (tempfile::tempdir().unwrap(), pass(223));
    let coding: Coding = "conv:1/2,rs:223:i1:dual,randomized:255".parse().unwrap();
    let mut encoder = CaduEncoder::new(&coding, 223, coding.marker()).unwrap();
    let mut stream = Vec::new();
    pass.frames.iter().for_each(|frame| encoder.push(frame, &mut stream).unwrap());
    encoder.finish(&mut stream);
    stream[300] ^= 0x10;
    let soft: Vec<u8> = stream
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |n| if byte >> n & 1 == 1 { 0xF0 } else { 0x10 }))
        .collect();
    std::fs::write(folder.path().join("pass.packed"), &stream).unwrap();
    std::fs::write(folder.path().join("pass.soft"), &soft).unwrap();
    let known = ["--frame", "aos:223", "--fecf", "--coding", "conv:1/2,rs:223:i1:dual,randomized"];
    for args in [
        [&known[..], &["pass.packed"]].concat(),
        [&known[..], &["--symbols", "soft", "pass.soft"]].concat(),
        vec!["--guess", "pass.packed"],
        vec!["--guess", "pass.soft"],
    ] {
        let args = [&args[..], &["--what", "frames", "--out", "frames", "--force"]].concat();
        let output = decode(folder.path(), &args);
        assert!(output.status.success(), "{args:?}: {}", talk(&output));
        let frames = std::fs::read(folder.path().join("frames")).unwrap();
        assert!(frames == pass.frames.concat(), "{args:?}: {}", talk(&output));
    }
}

#[test]
fn lines_say_where_each_packet_was() {
    let (folder, mut pass) = (tempfile::tempdir().unwrap(), pass(120));
    pass.frames[5][60] ^= 1;
    bare(folder.path(), &pass);
    let args = ["--frame", "aos:120", "--fecf", "pass.aos", "--lines", "--out", "-"];
    let output = decode(folder.path(), &args);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() < 120 && talk(&output).contains("from erred frames"), "{}", talk(&output));
    assert_eq!((&lines[0]["apid"], &lines[0]["vc"]), (&100.into(), &1.into()));
    let hex: String = pass.packets[0].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(lines[0]["hex"], hex);

    let output = decode(folder.path(), &[&args[..], &["--erred"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 120, "everything, some of it marked");
    assert!(text.contains("\"erred\":true"));
}

#[test]
fn nothing_is_overwritten_or_left_half_written() {
    let (folder, pass) = (tempfile::tempdir().unwrap(), pass(120));
    bare(folder.path(), &pass);
    std::fs::write(folder.path().join("kept"), "mine").unwrap();
    let frame = ["--frame", "aos:120", "--fecf", "pass.aos"];
    let output = decode(folder.path(), &[&frame[..], &["--out", "kept"]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(talk(&output).contains("kept exists") && talk(&output).contains("--force"));
    assert_eq!(std::fs::read(folder.path().join("kept")).unwrap(), b"mine");

    for out in [&["--out", "none"][..], &["--out", "kept", "--force"]] {
        let output = decode(folder.path(), &[&["--frame", "tm:119", "pass.aos"], out].concat());
        assert_eq!(output.status.code(), Some(1));
        assert!(talk(&output).contains("nothing written"), "{}", talk(&output));
    }
    assert!(!folder.path().join("none").exists(), "nothing is no output");
    assert_eq!(std::fs::read(folder.path().join("kept")).unwrap(), b"mine", "and replaces none");

    // The recording can't be its own output, by whatever name.
    let before = std::fs::read(folder.path().join("pass.aos")).unwrap();
    std::os::unix::fs::symlink("pass.aos", folder.path().join("other")).unwrap();
    for out in ["pass.aos", "other"] {
        let output = decode(folder.path(), &[&frame[..], &["--out", out, "--force"]].concat());
        assert_eq!(output.status.code(), Some(1));
        assert!(talk(&output).contains("the recording itself"), "{}", talk(&output));
    }
    assert_eq!(std::fs::read(folder.path().join("pass.aos")).unwrap(), before);
    let partial =
        |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().contains("partial");
    let entries = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap);
    assert_eq!(entries.filter(partial).count(), 0, "nothing is left behind");

    let output = decode(folder.path(), &[&frame[..], &["--out", "absent/file"]].concat());
    assert!(talk(&output).contains("can't write absent/file"), "{}", talk(&output));
    let full = decode(folder.path(), &[&frame[..], &["--out", "/dev/full"]].concat());
    assert_eq!(full.status.code(), Some(1));
    assert!(talk(&full).contains("can't write /dev/full"), "{}", talk(&full));
    // Nobody listens to the talk: the packets come all the same.
    let mut deaf = Command::new(env!("CARGO_BIN_EXE_groundstation"));
    deaf.current_dir(folder.path()).arg("decode").args(frame).args(["--out", "-"]);
    deaf.stderr(std::fs::File::create("/dev/full").unwrap());
    let deaf = deaf.output().unwrap();
    assert!(deaf.status.success());
    assert_eq!(deaf.stdout.len(), pass.packets.concat().len());
}

#[test]
fn commands_come_out_of_their_units() {
    use codecs::frame::{cltu, tc};
    let folder = tempfile::tempdir().unwrap();
    let (mut stream, mut frames) = (vec![0xAA; 9], Vec::new());
    for n in 0..5u8 {
        let kind = tc::TcType::Bd;
        let header = tc::TcHeader { kind, scid: 123, vcid: 1, count: 0 };
        let packet =
            build(&PacketHeader::telemetry(Apid(9), SequenceCount(n.into())), &[n; 30]).unwrap();
        let segment = Some(tc::SegmentHeader { segment: tc::Segment::Unsegmented, map: 0 });
        let frame = tc::build(&header, segment, &packet, true).unwrap();
        stream.extend(cltu::encode(&frame, None).unwrap());
        stream.extend([0xAA; 9]);
        frames.extend(frame);
    }
    std::fs::write(folder.path().join("uplink"), &stream).unwrap();
    std::fs::write(folder.path().join("frames"), &frames).unwrap();
    let known = ["--frame", "tc", "--fecf", "--coding", "cltu:bch", "uplink"];
    for args in [&known[..], &["--guess", "uplink"], &["--frame", "tc", "--fecf", "frames"]] {
        let output = decode(folder.path(), &[args, &["--lines", "--out", "-"]].concat());
        assert!(output.status.success(), "{args:?}: {}", talk(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.matches("\"apid\":9").count(), 5, "{args:?}: {text}");
    }
}
