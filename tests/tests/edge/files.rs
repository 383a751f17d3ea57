//! Files as inputs: a full spool makes them wait, and no kill costs or doubles a unit of one.

use super::{await_spool, site::*};
use codecs::time::Tai;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::Command,
};
use tests::process::binary;

/// More than the spool holds, by about half.
const FRAMES: u16 = 30_000;

/// A site whose spool holds a fraction of a file; the edge's status, and the input.
fn site(file: &str) -> (Site, PathBuf, Vec<String>) {
    let site = Site::new();
    let config = site.path("station/enrolled/antenna-1/edge.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("[spool]"), "{text}");
    let spool = "[spool]\nspool_bytes = 33554432\nsegment_bytes = 4194304\n";
    let text = text.replacen("[spool]\n", spool, 1);
    let status = site.path("status.json");
    let told = format!("\n[status]\ninterval_s = 1\nfile = {:?}\n", site.text("status.json"));
    std::fs::write(&config, text + &told).unwrap();
    let input = cadu_input(&format!("file:{}", site.text(file)));
    (site, status, input)
}

fn nobody() -> String {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Waits until the file waits; what the status then says.
fn await_full(status: &Path) -> Value {
    let mut told = Value::Null;
    await_that("the file waits", || {
        told =
            serde_json::from_slice(&std::fs::read(status).unwrap_or_default()).unwrap_or_default();
        let (numbered, durable) =
            (&told["spool"]["ever"]["units_numbered"], &told["spool"]["ever"]["units_durable"]);
        told["inputs"][0]["waits"] == true && numbered == durable
    });
    told
}

/// Every frame that the archive gives out, receptions of the same frame apart.
fn exported(site: &Site) -> Vec<Vec<u8>> {
    let out = site.path("exported");
    let config = site.text("station/station.toml");
    done(&["export", "--config", &config, "--send", "frames", out.to_str().unwrap()]);
    let files = std::fs::read_dir(out).unwrap().map(|file| file.unwrap().path());
    let bytes: Vec<u8> = files.flat_map(|file| std::fs::read(file).unwrap()).collect();
    bytes.chunks(FRAME_BYTES).map(<[u8]>::to_vec).collect()
}

/// The claim of custody for an input that can wait: with the station down and the spool full
/// nothing is given up, a kill there changes nothing, and all of it goes down in the end.
#[test]
fn a_file_waits_for_room_and_goes_on_after_a_kill_where_it_was() {
    let (site, status, input) = site("pass.cadu");
    let sent = frames(FRAMES);
    std::fs::write(site.path("pass.cadu"), cadus(&sent, &[])).unwrap();
    let nobody = nobody();
    let (edge, _) = site.edge("antenna-1", &nobody, &refs(&input));
    let told = await_full(&status);
    let kept = told["spool"]["ever"]["units_durable"].as_u64().unwrap();
    assert_eq!(told["spool"]["run"]["units_voided"], 0, "{told}");
    assert!((3_000..u64::from(FRAMES) - 3_000).contains(&kept), "{told}");
    drop(edge);
    // Killed, and no more is taken of it while there is no room.
    std::fs::remove_file(&status).unwrap();
    let (edge, ready) = site.edge("antenna-1", &nobody, &refs(&input));
    assert_eq!(ready["units_numbered"], kept);
    let told = await_full(&status);
    assert_eq!(told["spool"]["ever"]["units_durable"], kept, "{told}");
    assert_eq!(told["inputs"][0]["kept_before"], kept, "{told}");
    drop(edge);
    // A clean stop while it waits loses nothing either.
    std::fs::remove_file(&status).unwrap();
    let (mut edge, _) = site.edge("antenna-1", &nobody, &refs(&input));
    await_full(&status);
    edge.terminate();
    let told = edge.expect("done");
    assert!(edge.end().success(), "{told}");
    let station = site.station();
    // Killed in the midst of it, again and again, wherever that falls.
    for part in 1..4 {
        let (edge, _) = site.edge("antenna-1", &station.quic, &refs(&input));
        station.await_units(kept + 1_500 * part);
        drop(edge);
    }
    let arguments = [&refs(&input)[..], &["--until-done"]].concat();
    let (mut edge, _) = site.edge("antenna-1", &station.quic, &arguments);
    let told = edge.expect("done");
    assert!(edge.end().success(), "{told}");
    assert_eq!(told["spool"]["ever"]["units_numbered"], FRAMES, "none twice, none missing: {told}");
    // What it grows by later goes on, and only that.
    let more = frames(FRAMES + 100);
    std::fs::write(site.path("pass.cadu"), cadus(&more, &[])).unwrap();
    let (mut edge, _) = site.edge("antenna-1", &station.quic, &arguments);
    let told = edge.expect("done");
    assert!(edge.end().success(), "{told}");
    assert_eq!(told["spool"]["run"]["units_numbered"], 100, "{told}");
    station.stop();
    assert_eq!(site.audit(), (u64::from(FRAMES) + 100, 0));
    let wanted: BTreeSet<&Vec<u8>> = more.iter().collect();
    assert_eq!(exported(&site).iter().collect::<BTreeSet<_>>(), wanted);
}

/// Live input beside a file that waits: it is taken, and pushes out what is worth least.
#[test]
fn a_file_that_waits_does_not_hold_up_a_socket() {
    let (site, status, _) = site("pass.cadu");
    std::fs::write(site.path("pass.cadu"), cadus(&frames(FRAMES), &[])).unwrap();
    let config = site.path("station/enrolled/antenna-1/edge.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let inputs = format!(
        "[[input]]\nfrom = {:?}\ncarries = \"cadus\"\nframe = \"aos:892\"\ncoding = {CODING:?}\n\
         [[input]]\nfrom = \"udp:127.0.0.1:0\"\nframe = \"aos:892\"\n",
        format!("file:{}", site.text("pass.cadu")),
    );
    std::fs::write(&config, text + &inputs).unwrap();
    let (_edge, ready) = site.edge("antenna-1", &nobody(), &[]);
    let kept = await_full(&status)["spool"]["ever"]["units_durable"].as_u64().unwrap();
    let to = ready["inputs"][1].as_str().unwrap().strip_prefix("udp:").unwrap().to_owned();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    frames(30).iter().for_each(|frame| assert_eq!(socket.send_to(frame, &to).unwrap(), 892));
    await_spool(&status, |durable| durable >= kept + 30);
    let told: Value = serde_json::from_slice(&std::fs::read(&status).unwrap()).unwrap();
    assert_eq!(told["inputs"][1]["undetermined"], 30, "{told}");
    assert!(told["spool"]["run"]["units_voided"].as_u64() > Some(0), "{told}");
}

#[test]
fn a_pipe_waits_for_room_as_well() {
    let (site, _, _) = site("pass.cadu");
    std::fs::write(site.path("pass.cadu"), cadus(&frames(FRAMES), &[])).unwrap();
    let station = site.station();
    let config = site.text("station/enrolled/antenna-1/edge.toml");
    let input = cadu_input("-");
    let mut cat = Command::new("cat")
        .arg(site.path("pass.cadu"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let output = Command::new(binary("groundstation"))
        .args(["edge", "--json", "--config", &config, "--station", &station.quic, "--until-done"])
        .args(refs(&input))
        .stdin(cat.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(cat.wait().unwrap().success());
    let said = String::from_utf8_lossy(&output.stdout);
    let told: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert!(output.status.success(), "{told}");
    assert_eq!(told["spool"]["run"]["units_voided"], 0, "{told}");
    station.stop();
    assert_eq!(site.audit(), (u64::from(FRAMES), 0));
}

/// Wrong options are mended by right ones: neither reading stands in the other's way.
#[test]
fn a_file_that_gave_nothing_does_not_count_as_read() {
    let site = Site::new();
    let station = site.station();
    let (bare, coded) = (site.path("pass.frames"), site.path("pass.cadu"));
    std::fs::write(&bare, frames(100).concat()).unwrap();
    std::fs::write(&coded, cadus(&frames(200), &[])).unwrap();
    let bare = format!("file:{}", bare.display());
    let coded = cadu_input(&format!("file:{}", coded.display()));
    let read = |input: &[&str]| {
        let arguments = [input, &["--until-done"]].concat();
        let (mut edge, _) = site.edge("antenna-1", &station.quic, &arguments);
        let done = edge.expect("done");
        let numbered = done["spool"]["run"]["units_numbered"].as_u64().unwrap();
        (edge.end().code(), done["inputs"][0]["passed_over"] == true, numbered)
    };
    let packets = ["--from", &bare, "--carries", "packets"];
    let whole = ["--from", &bare, "--frame", "aos:892"];
    let wrong_marker = [&refs(&coded)[..], &["--asm", "DEADBEEF"]].concat();
    for (wrong, right, units) in
        [(&packets[..], &whole[..], 100), (&wrong_marker, &refs(&coded), 200)]
    {
        assert_eq!(read(wrong), (Some(1), false, 0));
        assert_eq!(read(right), (Some(0), false, units));
        // Read otherwise it is another reading, of which the right one is not forgotten.
        assert_eq!(read(wrong), (Some(1), false, 0));
        assert_eq!(read(right), (Some(0), true, 0));
    }
    station.stop();
    assert_eq!(site.audit(), (300, 0));
}

/// The index of an export: when each frame was heard, and what that rests on where it was not
/// measured.
fn heard(site: &Site) -> Vec<(String, Option<String>)> {
    let out = site.path("indexed");
    let config = site.text("station/station.toml");
    let out_text = out.to_str().unwrap();
    done(&["export", "--config", &config, "--send", "frames", "--index", out_text]);
    let files = std::fs::read_dir(out).unwrap().map(|file| file.unwrap().path());
    let index = files.filter(|path| path.extension().is_some_and(|of| of == "jsonl"));
    let lines: Vec<String> = index.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| line[key].as_str().map(str::to_owned);
        (text("received").unwrap(), text("source"))
    };
    lines.iter().flat_map(|text| text.lines().map(line).collect::<Vec<_>>()).collect()
}

/// A recording has the time at which it was heard, where that is said; where not, the archive tells
/// that its time is that of the reading, and so does the log.
#[test]
fn a_recording_has_the_time_that_is_stated_or_is_told_to_have_none() {
    for stated in [Some("2026-11-20T10:00:00Z"), Some("file"), None] {
        let site = Site::new();
        let station = site.station();
        let pass = site.path("pass.bin");
        std::fs::write(&pass, frames(200).concat()).unwrap();
        let written = std::fs::metadata(&pass).unwrap().modified().unwrap();
        let from = format!("file:{}", pass.display());
        let config = site.text("station/enrolled/antenna-1/edge.toml");
        let mut arguments = vec!["edge", "--config", &config, "--station", &station.quic];
        arguments.extend(["--until-done", "--from", &from, "--frame", "aos:892"]);
        // A frame each 100 ms.
        let rate = (FRAME_BYTES * 8 * 10).to_string();
        if let Some(stated) = stated {
            arguments.extend(["--received", stated, "--rate", &rate]);
        }
        let output = Command::new(binary("groundstation")).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert_eq!(
            said.matches("the time at which they are read").count(),
            usize::from(stated.is_none())
        );
        station.stop();
        let heard = heard(&site);
        assert_eq!(heard.len(), 200);
        let source = if stated.is_some() { "stated" } else { "reading" };
        assert!(heard.iter().all(|(_, of)| of.as_deref() == Some(source)), "{:?}", heard[0]);
        let times: Vec<_> = heard.iter().map(|(at, _)| Tai::from_rfc3339(at).unwrap()).collect();
        let since_first = |at: usize| times[at].since(times[0]) / 1_000_000;
        let begun = match stated {
            None => continue,
            Some("file") => {
                let written = written.duration_since(std::time::UNIX_EPOCH).unwrap();
                let written = Tai::from_unix(written.as_secs() as i64, written.subsec_nanos());
                written.plus(-20_000_000_000)
            }
            Some(time) => Tai::from_rfc3339(time).unwrap(),
        };
        // The index has milliseconds, and a unit the time of its last bit, to 16 bytes.
        let first_ms = times[0].since(begun) / 1_000_000;
        assert!((99..=104).contains(&first_ms), "{stated:?}: {first_ms}");
        for at in [1, 99, 199] {
            let off = since_first(at) - 100 * at as i64;
            assert!(off.abs() <= 4, "{stated:?}: frame {at} is {off} ms off");
        }
    }
}
