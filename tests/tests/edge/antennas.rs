//! One spacecraft: by two antennas, and by two access points of one channel.

use super::site::{MISSION, Site, await_that, cadu_input, cadus, frames, metric, refs};
use codecs::{
    frame::uslp::{self, Content, Count, Fecf, Rule, UslpHeader},
    ids::Apid,
    packet::space::{PacketHeader, SequenceCount, build},
};
use std::{io::Write as _, net::TcpStream};

/// Two antennas hear one pass; one of them is a day late, and nothing stands twice under one key.
#[test]
fn two_edges_of_which_one_is_late_are_both_archived() {
    let site = Site::new();
    site.enroll("antenna-2", 2);
    let station = site.station();
    let frames = frames(60);
    let heard = |name: &str, frames: &[Vec<u8>]| {
        let pass = site.path(name);
        std::fs::write(&pass, cadus(frames, &[])).unwrap();
        let input = cadu_input(&format!("file:{}", pass.display()));
        let arguments = [&refs(&input)[..], &["--until-done"]].concat();
        let (mut edge, _) = site.edge(name, &station.quic, &arguments);
        let done = edge.expect("done");
        assert!(edge.end().success(), "{done}");
    };
    // Each missed what the other heard.
    heard("antenna-1", &frames[..40]);
    let packets = || metric(&station.http, "groundtrack_packets_total");
    await_that("the first antenna's packets", || packets() == 40);
    heard("antenna-2", &frames[20..]);
    station.await_units(80);
    await_that("each packet once", || packets() == 60);
    station.stop();
    assert_eq!(site.audit(), (80, 0));
}

/// Two antennas hear one spacecraft at the same time: both receptions are kept, and each packet is
/// told once, as long as one of the two heard it.
#[test]
fn two_edges_that_hear_one_pass_at_once_are_one_spacecraft() {
    let site = Site::new();
    site.enroll("antenna-2", 2);
    let station = site.station();
    let listening = |name: &str| {
        let input = cadu_input("tcp-listen:127.0.0.1:0");
        let (edge, ready) = site.edge(name, &station.quic, &refs(&input));
        let place = ready["inputs"][0].as_str().unwrap().split_once(':').unwrap().1;
        (edge, TcpStream::connect(place).unwrap())
    };
    let mut antennas = ["antenna-1", "antenna-2"].map(listening);
    let frames = frames(60);
    // One misses every fifth frame, the other every seventh; both miss those at 4 and 39.
    let missed = |antenna: usize, at: usize| at % [5, 7][antenna] == 4;
    for (at, frame) in frames.iter().enumerate() {
        for (antenna, (_, modem)) in antennas.iter_mut().enumerate() {
            if !missed(antenna, at) {
                modem.write_all(&cadus(std::slice::from_ref(frame), &[])).unwrap();
            }
        }
    }
    let heard = |antenna: usize| (0..60).filter(|at| !missed(antenna, *at)).count() as u64;
    let kept = heard(0) + heard(1);
    station.await_units(kept);
    let packets = || metric(&station.http, "groundtrack_packets_total");
    await_that("each packet that someone heard", || packets() == 58);
    for (edge, modem) in antennas {
        drop(modem);
        edge.terminate();
        assert!(edge.end().success());
    }
    station.stop();
    assert_eq!(site.audit(), (kept, 0));
}

const USLP_BYTES: usize = 120;

/// Frames of one USLP virtual channel in which two access points take turns, each with packets that
/// span several of its frames; and how many packets there are.
fn interleaved(turns: usize) -> (Vec<u8>, usize) {
    let packets = |apid: u16, length: usize| -> Vec<(usize, Vec<u8>)> {
        let header = |count| PacketHeader::telemetry(Apid(apid), SequenceCount(count));
        let packet = |count: u16| build(&header(count), &vec![count as u8; length]).unwrap();
        let mut at = 0;
        let place = |packet: Vec<u8>| {
            at += packet.len();
            (at - packet.len(), packet)
        };
        (0..(turns * USLP_BYTES / length) as u16).map(packet).map(place).collect()
    };
    let sources = [packets(100, 250), packets(101, 333)];
    let streams = sources
        .each_ref()
        .map(|source| source.iter().flat_map(|(_, packet)| packet.clone()).collect::<Vec<u8>>());
    // Header with a count of four bytes, header of the data field, and the check.
    let zone = USLP_BYTES - 7 - 4 - 3 - 2;
    let (mut out, mut whole) = (Vec::new(), 0);
    for turn in 0..turns {
        for (map, stream) in streams.iter().enumerate() {
            let span = turn * zone..(turn + 1) * zone;
            let first = sources[map].iter().find(|(at, _)| span.contains(at));
            let header = UslpHeader {
                scid: 71,
                vcid: 2,
                map: map as u8 + 1,
                count: Count { value: (2 * turn + map) as u64, bytes: 4 },
                ..UslpHeader::default()
            };
            let content = Content {
                insert_zone: &[],
                rule: Rule::Packets(first.map(|(at, _)| (at - span.start) as u16)),
                upid: 0,
                zone: &stream[span],
                ocf: None,
                fecf: Fecf::Crc16,
            };
            let frame = uslp::build(&header, &content).unwrap();
            assert_eq!(frame.len(), USLP_BYTES);
            out.extend(frame);
        }
    }
    for source in &sources {
        whole += source.iter().filter(|(at, packet)| at + packet.len() <= turns * zone).count();
    }
    (out, whole)
}

#[test]
fn packets_of_two_access_points_come_out_of_their_interleaved_frames() {
    let site = Site::of(
        &MISSION
            .replace("\"aos\"", "\"uslp\"")
            .replace("length = 892", "length = 120\nfecf = true"),
    );
    let station = site.station();
    let (frames, packets) = interleaved(60);
    std::fs::write(site.path("pass.uslp"), frames).unwrap();
    let from = format!("file:{}", site.text("pass.uslp"));
    let arguments = ["--from", &from, "--frame", "uslp:120", "--until-done"];
    let (mut edge, _) = site.edge("antenna-1", &station.quic, &arguments);
    let done = edge.expect("done");
    assert!(edge.end().success(), "{done}");
    assert_eq!(done["inputs"][0]["good"], 120, "{done}");
    station.await_units(120);
    await_that("every packet", || {
        metric(&station.http, "groundtrack_packets_total") >= packets as u64
    });
    assert_eq!(metric(&station.http, "groundtrack_packets_total"), packets as u64);
    station.stop();
    let config = site.text("station/station.toml");
    let output = std::process::Command::new(tests::process::binary("groundstation"))
        .args(["gaps", "--json", "--config", &config])
        .output()
        .unwrap();
    let gaps: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let channels = gaps["channels"].as_array().unwrap();
    assert!(
        channels.iter().all(|of| of["reception"].as_array().is_none_or(Vec::is_empty)),
        "{gaps}"
    );
}
