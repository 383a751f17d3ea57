//! The edge with the real programs: modem, `groundstation edge`, QUIC, `groundstation run`, and
//! what is in the archive afterwards.

mod antennas;
mod files;
mod radio;
mod site;

use codecs::ids::Apid;
use codecs::packet::space::{PacketHeader, SequenceCount, build};
use serde_json::Value;
use site::*;
use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::{Command, Stdio},
};
use tests::process::binary;

#[test]
fn a_file_of_coded_units_is_archived_whole_and_the_edge_then_ends() {
    let site = Site::new();
    let station = site.station();
    let pass = site.path("pass.cadu");
    std::fs::write(&pass, cadus(&frames(300), &[7, 8])).unwrap();
    let input = cadu_input(&format!("file:{}", pass.display()));
    let arguments = [&refs(&input)[..], &["--until-done"]].concat();
    let (mut edge, _) = site.edge("antenna-1", &station.quic, &arguments);
    let done = edge.expect("done");
    assert!(edge.end().success(), "{done}");
    let heard = &done["inputs"][0];
    assert_eq!((&heard["good"], &heard["erred"]), (&298.into(), &2.into()), "{done}");
    assert_eq!(heard["unidentified"], 2, "their first codewords failed as well");
    assert_eq!(done["spool"]["now"]["backlog_units"], 0, "{done}");
    station.await_units(300);
    // A start does not hear it once more, unless that is asked for or the file is another.
    let again = |more: &[&str]| {
        let (mut edge, _) = site.edge("antenna-1", &station.quic, &[&arguments, more].concat());
        let done = edge.expect("done");
        assert!(edge.end().success(), "{done}");
        assert_eq!(done["spool"]["ever"]["units_numbered"], done["spool"]["ever"]["units_durable"]);
        (done["inputs"][0]["passed_over"] == true, done["spool"]["run"]["units_numbered"].clone())
    };
    assert_eq!(again(&[]), (true, 0.into()));
    assert_eq!(again(&["--again"]), (false, 300.into()));
    std::fs::write(&pass, cadus(&frames(310), &[])).unwrap();
    assert_eq!(again(&[]), (false, 310.into()));
    assert_eq!(again(&[]), (true, 0.into()));
    station.await_units(910);
    station.stop();
    assert_eq!(site.audit(), (910, 0));
}

/// What is noted as read outlives a kill at that very moment.
#[test]
fn a_file_counts_as_read_only_once_its_units_are_kept() {
    let site = Site::new();
    let pass = site.path("pass.cadu");
    std::fs::write(&pass, cadus(&frames(3_000), &[])).unwrap();
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let input = cadu_input(&format!("file:{}", pass.display()));
    let noted = site.path("station/enrolled/antenna-1/spool.read");
    let (edge, ready) = site.edge("antenna-1", &nobody, &refs(&input));
    assert_eq!(ready["units_numbered"], 0);
    await_that("the file is noted", || noted.exists());
    drop(edge);
    let (_edge, ready) = site.edge("antenna-1", &nobody, &refs(&input));
    assert_eq!(ready["units_numbered"], 3_000);
}

/// The station is down, the edge is killed with SIGKILL, and comes back before the station does.
#[test]
fn what_an_edge_took_outlives_its_own_death_and_the_station_s() {
    let site = Site::new();
    // A port on which no station is yet.
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let modem = TcpListener::bind("127.0.0.1:0").unwrap();
    let input = cadu_input(&format!("tcp:{}", modem.local_addr().unwrap()));
    let status = site.path("status.json");
    let file = site.path("station/enrolled/antenna-1/edge.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let told = format!("\n[status]\ninterval_s = 1\nfile = {:?}\n", status.display().to_string());
    std::fs::write(&file, text + &told).unwrap();

    let stream = cadus(&frames(400), &[]);
    let (first, second) = stream.split_at(stream.len() / 2 / 1024 * 1024);
    let (edge, _) = site.edge("antenna-1", &free, &refs(&input));
    let (mut connection, _) = modem.accept().unwrap();
    connection.write_all(first).unwrap();
    let kept = await_spool(&status, |kept| kept >= 190);
    // Killed: what it said it kept must be there, the rest of the stream comes again.
    drop(edge);

    let (edge, ready) = site.edge("antenna-1", &free, &refs(&input));
    let numbered = ready["units_numbered"].as_u64().unwrap();
    assert!(numbered >= kept, "{kept} were kept, {numbered} are numbered");
    let (mut connection, _) = modem.accept().unwrap();
    connection.write_all(second).unwrap();
    drop(connection);
    let kept = await_spool(&status, |kept| kept >= numbered + 190);
    drop(edge);

    let station = site.station();
    let arguments = [&refs(&input)[..], &["--until-done"]].concat();
    let (mut edge, ready) = site.edge("antenna-1", &station.quic, &arguments);
    let numbered = ready["units_numbered"].as_u64().unwrap();
    assert!(numbered >= kept);
    edge.terminate();
    let done = edge.expect("done");
    assert!(edge.end().success(), "{done}");
    station.stop();
    assert_eq!(site.audit(), (numbered, 0));
}

/// More than the link keeps track of at a time waits in the spool, and all of it goes down.
#[test]
fn a_long_outage_s_backlog_goes_down_whole() {
    let site = Site::new();
    let file = site.path("station/enrolled/antenna-1/edge.toml");
    let packet = build(&PacketHeader::telemetry(Apid(5), SequenceCount(1)), &[7; 20]).unwrap();
    let pass = site.path("packets.bin");
    std::fs::write(&pass, packet.repeat(140_000)).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let input = format!(
        "\n[status]\ninterval_s = 1\nfile = {:?}\n[[input]]\nfrom = {:?}\n\
         carries = \"packets\"\n",
        site.text("status.json"),
        format!("file:{}", pass.display()),
    );
    std::fs::write(&file, text.clone() + &input).unwrap();
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (edge, _) = site.edge("antenna-1", &nobody, &[]);
    await_spool(&site.path("status.json"), |kept| kept == 140_000);
    drop(edge);
    // Without an input: the spool alone is brought to the station.
    std::fs::write(&file, text).unwrap();
    let station = site.station();
    let (mut edge, ready) = site.edge("antenna-1", &station.quic, &["--until-done"]);
    assert_eq!(ready["units_numbered"], 140_000);
    assert_eq!(ready["inputs"].as_array().map(Vec::len), Some(0));
    let done = edge.expect("done");
    assert!(edge.end().success(), "{done}");
    station.stop();
    assert_eq!(site.audit(), (140_000, 0));
}

/// What was receipted is still in the spool: a station that lost it asks, and an edge that was about
/// to end, having nothing left to send, hears that first.
#[test]
fn an_edge_ends_only_once_the_station_has_said_what_it_asks_for() {
    let site = Site::new();
    let config = site.text("station/enrolled/antenna-1/edge.toml");
    let idle = |arguments: &[&str]| {
        let fixed = ["edge", "--config", &config, "--station", "127.0.0.1:7117"];
        let output = Command::new(binary("groundstation")).args(fixed).args(arguments).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for arguments in [&["--until-done"][..], &["--check"], &[]] {
        let said = idle(arguments);
        assert!(said.contains("no [[input]], and the spool holds nothing: add an input"), "{said}");
    }
    let station = site.station();
    let pass = site.path("pass.cadu");
    std::fs::write(&pass, cadus(&frames(300), &[])).unwrap();
    let input = cadu_input(&format!("file:{}", pass.display()));
    let arguments = [&refs(&input)[..], &["--until-done"]].concat();
    let (mut edge, _) = site.edge("antenna-1", &station.quic, &arguments);
    let done = edge.expect("done");
    assert!(edge.end().success(), "{done}");
    station.stop();
    assert_eq!(site.audit(), (300, 0));

    std::fs::remove_dir_all(site.path("station/archive")).unwrap();
    let station = site.station_with(&["--new-ledger"]);
    let (mut edge, _) = site.edge("antenna-1", &station.quic, &["--until-done"]);
    let done = edge.expect("done");
    assert!(edge.end().success(), "{done}");
    assert_eq!(done["spool"]["run"]["units_receipted"], 300, "{done}");
    station.stop();
    assert_eq!(site.audit(), (300, 0));
}

/// Waits until the status file tells enough units kept; how many it tells.
fn await_spool(status: &Path, mut enough: impl FnMut(u64) -> bool) -> u64 {
    let mut kept = 0;
    await_that("units in the spool", || {
        let told = std::fs::read(status).unwrap_or_default();
        let told: Value = serde_json::from_slice(&told).unwrap_or_default();
        kept = told["spool"]["ever"]["units_durable"].as_u64().unwrap_or(0);
        enough(kept)
    });
    kept
}

/// A data frame of port 0; the sequence flags of a packet look like a delimiter.
fn kiss(unit: &[u8]) -> Vec<u8> {
    let escaped = unit.iter().flat_map(|byte| match byte {
        0xC0 => vec![0xDB, 0xDC],
        0xDB => vec![0xDB, 0xDD],
        byte => vec![*byte],
    });
    [0xC0, 0x00].into_iter().chain(escaped).chain([0xC0]).collect()
}

#[test]
fn datagrams_connections_and_kiss_reach_one_archive() {
    let site = Site::new();
    let station = site.station();
    let file = site.path("station/enrolled/antenna-1/edge.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let inputs = r#"
[status]
interval_s = 1
file = "status.json"
[[input]]
name = "datagrams"
from = "udp:127.0.0.1:0"
frame = "aos:892"
[[input]]
name = "connections"
from = "tcp-listen:127.0.0.1:0"
frame = "aos:892"
antenna = 2
[[input]]
name = "tnc"
from = "kiss-listen:127.0.0.1:0"
carries = "packets"
stream = 9
"#;
    std::fs::write(&file, text + inputs).unwrap();
    let (mut edge, ready) = site.edge("antenna-1", &station.quic, &["--until-done"]);
    let at = |input: usize| -> SocketAddr {
        let place = ready["inputs"][input].as_str().unwrap();
        place.split_once(':').unwrap().1.parse().unwrap()
    };
    let frames = frames(30);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    frames[..10].iter().for_each(|frame| {
        socket.send_to(frame, at(0)).unwrap();
    });
    socket.send_to(&frames[0][1..], at(0)).unwrap();
    let mut connection = TcpStream::connect(at(1)).unwrap();
    frames[10..].iter().for_each(|frame| connection.write_all(frame).unwrap());
    drop(connection);
    let packet = build(&PacketHeader::telemetry(Apid(5), SequenceCount(1)), b"hello").unwrap();
    let mut tnc = TcpStream::connect(at(2)).unwrap();
    tnc.write_all(&kiss(&packet)).unwrap();
    station.await_units(31);
    // While its connection lives: what was sent on it is told.
    let status = site.path("station/enrolled/antenna-1/status.json");
    await_that("bytes of the open connection", || {
        let told: Value =
            serde_json::from_slice(&std::fs::read(&status).unwrap_or_default()).unwrap_or_default();
        told["link"]["up"] == true && told["link"]["udp_bytes"].as_u64() > Some(10_000)
    });
    edge.terminate();
    let done = edge.expect("done");
    assert!(edge.end().success(), "{done}");
    let told: Vec<_> = done["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|input| {
            (input["undetermined"].as_u64().unwrap(), input["malformed"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(told, [(10, 1), (20, 0), (1, 0)], "{done}");
    station.stop();
    assert_eq!(site.audit(), (31, 0));
}

/// What a start would refuse is told by `--check`, and in JSON where that is asked for.
#[test]
fn a_check_opens_what_a_start_opens() {
    let site = Site::new();
    let config = site.text("station/enrolled/antenna-1/edge.toml");
    let run = |arguments: &[&str]| {
        let fixed = ["edge", "--config", &config, "--station", "127.0.0.1:7117"];
        Command::new(binary("groundstation")).args(fixed).args(arguments).output().unwrap()
    };
    let last = |output: &std::process::Output| {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        said.lines().rev().find(|line| line.starts_with("groundstation: ")).unwrap().to_owned()
    };
    let missing = format!("file:{}", site.text("missing.cadu"));
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = format!("udp:{}", taken.local_addr().unwrap());
    let wrong = [
        (cadu_input(&missing), "No such file"),
        (cadu_input(&taken), "in use"),
        (cadu_input("udp:192.0.2.1:5000"), "assign requested address"),
        (["--from", "-", "--frame", "aos:893"].map(String::from).to_vec(), "aos:892"),
    ];
    for (input, culprit) in wrong {
        let check = last(&run(&[&refs(&input)[..], &["--check"]].concat()));
        assert_eq!(check, last(&run(&refs(&input))));
        assert!(check.contains(culprit), "{culprit}: {check}");
    }
    let input = cadu_input("udp:127.0.0.1:0");
    let good = run(&[&refs(&input)[..], &["--check", "--json"]].concat());
    let document: Value = serde_json::from_slice(&good.stdout).unwrap();
    assert!(good.status.success() && document["good"] == true, "{document}");
    assert_eq!(document["spool"]["reclaim"], "local", "what the mission says");
    assert_eq!(document["inputs"][0]["antenna"], 1);
}

/// Kills of both ends over a radio link, both ends as they fly: no unit and no frame that anyone
/// counts as safe is missing, and what came while no edge listened goes again.
#[test]
fn a_pass_over_radio_outlives_the_edge_and_the_station() {
    let output = Command::new(binary("orbitsim"))
        .args(["demo", "--link", "rf", "--headless", "--json", "--seconds", "20"])
        .args(["--kill-ground", "6", "--kill-edge", "12"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |pointer: &str| {
        report.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{report}"))
    };
    assert_eq!(number("/missing"), 0, "{report}");
    let known = number("/units_receipted") + number("/units_unheard");
    assert_eq!(number("/units_archived"), known, "{report}");
    // What the flight software says of itself goes on until the end.
    assert!(number("/units_held") < 10, "{report}");
    assert_eq!(number("/radio/frames_missing"), 0, "{report}");
    assert_eq!(number("/radio/frames_archived"), number("/radio/frames_heard"), "{report}");
    let known = number("/radio/frames_heard") + number("/radio/frames_lost");
    assert!(known <= number("/radio/frames_sent"), "{report}");
    // Each frame's quality is in the archive, whatever the edge had told when it was killed.
    let qualities = ["/radio/good", "/radio/corrected", "/radio/erred"];
    assert_eq!(
        qualities.map(number).iter().sum::<u64>(),
        number("/radio/frames_archived"),
        "{report}"
    );
    for key in ["/radio/good", "/radio/corrected", "/radio/erred", "/radio/statements"] {
        assert!(number(key) > 0, "{key} in {report}");
    }
    for key in ["/packets", "/parameters", "/orders/done", "/files_taken", "/uptime_s"] {
        assert!(number(key) > 0, "{key} in {report}");
    }
}

/// Real audio through a real terminal node controller: gen_packets makes the sound, direwolf hears
/// it and serves KISS.
#[test]
fn frames_that_direwolf_hears_reach_the_archive() {
    for tool in ["gen_packets", "direwolf"] {
        let found = Command::new(tool).arg("-u").stdin(Stdio::null()).output();
        if found.is_err() {
            println!("skipped: no {tool}; apt-get install direwolf brings it");
            return;
        }
    }
    let site = Site::new();
    let station = site.station();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = site.path("direwolf.conf");
    let text = format!("ADEVICE stdin null\nMYCALL N0CALL\nAGWPORT 0\nKISSPORT {port}\n");
    std::fs::write(&config, text).unwrap();

    // One message of text, and one whose information is a space packet.
    // The end of the line goes on the air with it, so it is the packet's last byte.
    let header = PacketHeader::telemetry(Apid(5), SequenceCount(1));
    let packet = build(&header, b"from orbit\n").unwrap();
    let (_, shown) = packet.split_last().unwrap();
    let hex: String = shown.iter().map(|byte| format!("<0x{byte:02x}>")).collect();
    let messages = format!("N0CALL>APRS:plain text\nN0CALL>SKY7:{hex}\n");
    std::fs::write(site.path("messages.txt"), messages).unwrap();
    let wave = site.path("sound.wav");
    let made = Command::new("gen_packets")
        .args(["-r", "44100", "-o"])
        .args([&wave, &site.path("messages.txt")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));

    let mut direwolf = Command::new("direwolf")
        .args(["-t", "0", "-r", "44100", "-c"])
        .arg(&config)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut sound = direwolf.stdin.take().unwrap();
    let place = format!("kiss:127.0.0.1:{port}");
    let input = ["--from", &place, "--carries", "ax25", "--stream", "9", "--until-done"];
    let (mut edge, _) = site.edge("antenna-1", &station.quic, &input);
    // Sound that is heard before the edge is there would be gone.
    await_that("the edge connected to direwolf", || kiss_clients(port) > 0);
    let samples = std::fs::read(&wave).unwrap();
    let _ = sound.write_all(&samples[44..]);
    // Silence, so that the last message is not left waiting in a buffer.
    let _ = sound.write_all(&vec![0; 2 * 44_100]);
    station.await_units(2);
    edge.terminate();
    let done = edge.expect("done");
    assert!(edge.end().success(), "{done}");
    drop(sound);
    let _ = direwolf.kill();
    let _ = direwolf.wait();
    assert_eq!(done["inputs"][0]["undetermined"], 2, "{done}");
    await_that("the space packet in the second message decoded", || {
        metric(&station.http, "groundtrack_packets_total") == 1
    });
    station.stop();
    assert_eq!(site.audit(), (2, 0));
}

/// Established connections to a port of this machine, as the system tells.
fn kiss_clients(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let local = format!(":{port:04X}");
    let established = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|of| of.ends_with(&local)) && fields.nth(1) == Some("01")
    };
    table.lines().filter(established).count()
}
