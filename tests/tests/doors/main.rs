//! What goes out of a real station over real sockets: whole, in order, at each consumer's pace.

mod cosmos;
mod file;
mod reload;
mod station;
mod yamcs;

use bytes::Bytes;
use serde_json::Value;
use station::{Craft, FRAME_BYTES, Station, recording};
use std::{
    collections::BTreeSet,
    io::Read,
    net::{Shutdown, TcpListener, TcpStream, UdpSocket},
    process::Command,
};
use tests::process::{DEADLINE, binary};

/// Reads `count` frames of one length.
fn read_frames(stream: &mut TcpStream, count: usize) -> Vec<Vec<u8>> {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let read = |_| {
        let mut frame = vec![0; FRAME_BYTES];
        stream.read_exact(&mut frame).expect("the door sends on");
        frame
    };
    (0..count).map(read).collect()
}

/// Reads packets by their own length, as COSMOS does.
fn read_packets(stream: &mut impl Read, count: usize) -> Vec<Vec<u8>> {
    let read = |_| {
        let mut packet = vec![0; 6];
        stream.read_exact(&mut packet).expect("the door sends on");
        let length = usize::from(u16::from_be_bytes([packet[4], packet[5]])) + 1;
        packet.resize(6 + length, 0);
        stream.read_exact(&mut packet[6..]).expect("the packet is whole");
        packet
    };
    (0..count).map(read).collect()
}

fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().expect("the door connects").0
}

#[tokio::test]
async fn every_frame_and_packet_leaves_by_every_door() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(DEADLINE)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let station = Station::start(&format!(
        "[[door]]\nname = 'datagrams'\nto = 'udp:{}'\nsend = 'frames'\n\
         [[door]]\nname = 'cosmos'\nto = 'tcp-server:127.0.0.1:0'\nsend = 'packets'\n\
         apids = [100, 102]\n\
         [[door]]\nname = 'frames'\nto = 'tcp-client:{}'\nsend = 'frames'\n\
         framing = 'length32'\nvirtual_channels = [1]\n\
         [[door]]\nname = 'file'\nto = 'file:packets.bin'\nsend = 'packets'\n",
        udp.local_addr().unwrap(),
        listener.local_addr().unwrap(),
    ));
    let mut cosmos = TcpStream::connect(station.address("cosmos")).unwrap();
    cosmos.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut framed = accept(&listener);
    framed.set_read_timeout(Some(DEADLINE)).unwrap();
    station.until("cosmos", |door| door["open"] == 1).await;
    let (frames, packets) = recording(1, 150);
    let mut craft = Craft::connect(&station).await;
    craft.deliver(1, 0, &frames, 17).await;

    let mut datagram = [0; 2_000];
    for (at, frame) in frames.iter().enumerate() {
        let length = udp.recv(&mut datagram).expect("a datagram a frame");
        assert!(datagram[..length] == frame[..], "frame {at}");
    }
    let chosen: Vec<Vec<u8>> =
        packets.iter().enumerate().filter(|(at, _)| at % 3 != 1).map(|(_, p)| p.clone()).collect();
    assert!(read_packets(&mut cosmos, chosen.len()) == chosen);
    for (at, frame) in frames.iter().enumerate() {
        let mut length = [0; 4];
        framed.read_exact(&mut length).unwrap();
        let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
        framed.read_exact(&mut bytes).unwrap();
        assert!(bytes == frame[..], "frame {at}");
    }
    station.until("file", |door| door["sent"] == packets.len()).await;
    let door = station.door("datagrams");
    assert_eq!((&door["sent"], &door["open"]), (&frames.len().into(), &1.into()), "{door}");
    let file = station.path("packets.bin");
    let Station { daemon, dir, .. } = station;
    daemon.terminate();
    assert!(daemon.end().success());
    assert!(std::fs::read(file).unwrap() == packets.concat(), "a stop closes the file in order");
    drop(dir);
}

#[tokio::test]
async fn a_consumer_that_breaks_off_and_a_killed_station_cost_no_frame() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let station = Station::start(&format!(
        "[[door]]\nname = 'main'\nto = 'tcp-client:{}'\nsend = 'frames'\n\
         [[door]]\nname = 'file'\nto = 'file:frames.bin'\nsend = 'frames'\n",
        listener.local_addr().unwrap(),
    ));
    let (frames, _) = recording(0, 4_000);
    let all: BTreeSet<Vec<u8>> = frames.iter().map(|frame| frame.to_vec()).collect();
    let mut craft = Craft::connect(&station).await;
    let half = frames.len() / 2;
    let mut consumer = accept(&listener);
    craft.deliver(0, 0, &frames[..half], 50).await;
    let mut got: BTreeSet<Vec<u8>> = read_frames(&mut consumer, 100).into_iter().collect();
    // It breaks off in order: what its system has confirmed it still reads.
    consumer.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    consumer.read_to_end(&mut rest).unwrap();
    got.extend(rest.chunks_exact(FRAME_BYTES).map(<[u8]>::to_vec));
    drop(consumer);
    let mut consumer = accept(&listener);
    craft.deliver(0, half as u64, &frames[half..half + 100], 50).await;
    read_until(&mut consumer, &mut got, half + 100);
    drop(craft);
    let station = station.restart(true);
    let mut consumer = accept(&listener);
    let mut craft = Craft::connect(&station).await;
    craft.deliver(0, half as u64 + 100, &frames[half + 100..], 50).await;
    read_until(&mut consumer, &mut got, all.len());
    assert!(got == all);
    // The file went on where it was known to end: nothing is missing in it, nothing is twice.
    let expected = frames.concat();
    let file = station.path("frames.bin");
    let whole = async {
        while std::fs::read(&file).unwrap().len() < expected.len() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, whole).await.unwrap();
    assert!(std::fs::read(&file).unwrap() == expected);
}

fn read_until(stream: &mut TcpStream, got: &mut BTreeSet<Vec<u8>>, count: usize) {
    while got.len() < count {
        got.extend(read_frames(stream, 1));
    }
}

#[tokio::test]
async fn a_consumer_that_stands_still_slows_nobody_and_gets_everything() {
    let station = Station::start(
        "[[door]]\nname = 'all'\nto = 'tcp-server:127.0.0.1:0'\nsend = 'frames'\n\
         [[door]]\nname = 'new'\nto = 'tcp-server:127.0.0.1:0'\nsend = 'frames'\n\
         when_slow = 'drop'\n",
    );
    let mut all = TcpStream::connect(station.address("all")).unwrap();
    let mut new = TcpStream::connect(station.address("new")).unwrap();
    new.set_read_timeout(Some(DEADLINE)).unwrap();
    station.until("all", |door| door["open"] == 1).await;
    station.until("new", |door| door["open"] == 1).await;
    // 35 MB: more than sockets and queues hold together.
    let (frames, _) = recording(0, 1_000);
    let rounds = 150;
    let mut craft = Craft::connect(&station).await;
    let count = frames.len();
    for round in 0..rounds {
        craft.deliver(0, (round * count) as u64, &frames, count).await;
    }
    let got = read_frames(&mut all, rounds * count);
    let expected = frames.iter().cycle().map(Bytes::as_ref);
    assert!(got.iter().map(Vec::as_slice).eq(expected.take(rounds * count)));
    // The other one gets what its connection held; then it goes on with what is new.
    let reader = std::thread::spawn(move || {
        let mut frame = [0; FRAME_BYTES];
        let mut read = 0u64;
        while new.read_exact(&mut frame).is_ok() {
            read += 1;
        }
        read
    });
    let total = (rounds * count) as u64;
    let known = |door: &Value| {
        let dropped = door["dropped"]["slow"].as_u64().unwrap_or(0);
        (dropped, dropped + door["sent"].as_u64().unwrap())
    };
    let door = station.until("new", |door| known(door).1 == total).await;
    assert!(known(&door).0 > 0, "{door}");
    let sent = door["sent"].as_u64().unwrap();
    drop(craft);
    station.daemon.terminate();
    assert!(station.daemon.end().success());
    assert_eq!(reader.join().unwrap(), sent, "what was not dropped arrived");
}

#[tokio::test]
async fn two_antennas_are_one_spacecraft() {
    let station = Station::start(
        "[[door]]\nname = 'packets'\nto = 'file:packets.bin'\nsend = 'packets'\n\
         [[door]]\nname = 'second'\nto = 'file:second.bin'\nsend = 'frames'\nantenna = 2\n",
    );
    let (frames, packets) = recording(2, 400);
    let mut craft = Craft::connect(&station).await;
    // Each lost what the other heard, and both lost one frame.
    let first = |at: usize| at % 5 != 3 && at != 100;
    let second = |at: usize| at % 7 != 1 && at % 35 != 33 && at != 100;
    let either = |at: usize| first(at) || second(at);
    craft.deliver_heard(2, 1, &frames, first).await;
    craft.deliver_heard(2, 2, &frames, second).await;
    let lost: Vec<usize> = (0..frames.len()).filter(|at| !either(*at)).collect();
    let own: Vec<u8> = frames
        .iter()
        .enumerate()
        .filter(|(at, _)| second(*at))
        .flat_map(|(_, f)| f.to_vec())
        .collect();
    station.until("second", |door| door["sent_bytes"] == own.len()).await;
    let (said, _) = command(&station, &["gaps"], 0);
    let channel = &said["channels"][0];
    let heard = frames.len() - lost.len();
    let copies = (0..frames.len()).filter(|at| first(*at) && second(*at)).count();
    assert_eq!((&channel["frames"], &channel["copies"]), (&heard.into(), &copies.into()), "{said}");
    assert_eq!(channel["merged"], true);
    let gaps = channel["reception"].as_array().unwrap();
    let counted: u64 = gaps.iter().map(|gap| gap["lost"].as_u64().unwrap()).sum();
    assert_eq!(counted, lost.len() as u64, "{said}");
    assert!(
        said["counters"].as_array().unwrap().iter().all(|c| c["custody"] == serde_json::json!([]))
    );
    // The same from the archive, in order: what the door could not know when it sent.
    let file = station.path("replayed.bin");
    let to = format!("file:{}", file.display());
    let (said, _) = command(&station, &["replay", "--speed", "max", "--to", &to], 0);
    let replayed = std::fs::read(&file).unwrap();
    let mut live = read_all(&station.path("packets.bin"), said["sent"].as_u64().unwrap()).await;
    let mut again = read_packets(&mut replayed.as_slice(), said["sent"].as_u64().unwrap() as usize);
    live.sort();
    again.sort();
    assert!(live == again, "each packet once, live and replayed");
    let mut distinct = again.clone();
    distinct.dedup();
    assert_eq!(distinct.len(), again.len());
    // Every packet that no lost frame held a part of.
    let missing = packets.iter().filter(|packet| !again.contains(packet)).count();
    assert!(missing > 0 && missing <= 3 * lost.len(), "{missing} of {}", packets.len());
    assert!(std::fs::read(station.path("second.bin")).unwrap() == own);
}

/// Reads packets of a file once it holds so many.
async fn read_all(path: &std::path::Path, count: u64) -> Vec<Vec<u8>> {
    let whole = async {
        loop {
            let bytes = std::fs::read(path).unwrap_or_default();
            let (mut rest, mut packets) = (bytes.as_slice(), 0);
            while let Some(length) = rest.get(4..6) {
                let length = usize::from(u16::from_be_bytes([length[0], length[1]])) + 7;
                let Some(after) = rest.get(length..) else { break };
                (rest, packets) = (after, packets + 1);
            }
            if packets >= count {
                return read_packets(&mut bytes.as_slice(), packets as usize);
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, whole).await.expect("the file grows")
}

/// Runs a command beside the station; what it says, having ended with `code`.
fn command(station: &Station, arguments: &[&str], code: i32) -> (Value, String) {
    let config = station.path("station.toml");
    let output = Command::new(binary("groundstation"))
        .args(arguments)
        .args(["--config", config.to_str().unwrap(), "--json"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    (serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
}

#[tokio::test]
async fn an_archive_replays_and_exports_beside_the_running_station() {
    let station = Station::start("");
    let (frames, packets) = recording(3, 150);
    let mut craft = Craft::connect(&station).await;
    craft.deliver(3, 0, &frames, 13).await;

    let file = station.path("replayed.bin");
    let to = format!("file:{}", file.display());
    let fast = ["replay", "--speed", "max", "--to", &to];
    let (said, _) = command(&station, &fast, 0);
    assert_eq!((&said["sent"], &said["complete"]), (&150.into(), &true.into()), "{said}");
    assert!(std::fs::read(&file).unwrap() == packets.concat());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("tcp-client:{}", listener.local_addr().unwrap());
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        accept(&listener).read_to_end(&mut all).map(|_| all).unwrap()
    });
    let at_pace = ["replay", "--speed", "1000", "--to", &to, "--send", "frames", "--vc", "3"];
    let (said, _) = command(&station, &at_pace, 0);
    assert_eq!(said["sent"], frames.len(), "{said}");
    assert!(reader.join().unwrap() == frames.concat());

    let out = station.path("out");
    let out = out.to_str().unwrap();
    let export = ["export", out, "--send", "packets", "--index"];
    let (said, _) = command(&station, &export, 0);
    for (at, apid) in [100u16, 101, 102].into_iter().enumerate() {
        let own: Vec<_> = packets.iter().skip(at).step_by(3).cloned().collect();
        let name = format!("{out}/packets-7-apid{apid:04}");
        assert!(std::fs::read(format!("{name}.bin")).unwrap() == own.concat());
        let index = std::fs::read_to_string(format!("{name}.jsonl")).unwrap();
        let lines: Vec<Value> =
            index.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), own.len());
        let (second, told) = (&lines[1], &said["files"][at]);
        assert_eq!((&second["offset"], &second["count"]), (&own[0].len().into(), &1.into()));
        assert_eq!((&told["apid"], &told["count"]), (&apid.into(), &own.len().into()), "{told}");
    }
    let (_, said) = command(&station, &export, 1);
    assert!(said.contains("nothing is overwritten"), "{said}");
    let frames_only = ["export", out, "--send", "frames", "--vc", "3"];
    command(&station, &frames_only, 0);
    assert!(std::fs::read(format!("{out}/frames-7-vc03.bin")).unwrap() == frames.concat());
    let (said, _) = command(&station, &["export", out, "--until", "2000-01-01"], 0);
    assert_eq!(said["files"], serde_json::json!([]));
}

/// A question that can't be meant is told as such, and not answered with nothing.
#[tokio::test]
async fn what_can_not_be_meant_is_refused_by_every_reader() {
    let station = Station::start("");
    let mut craft = Craft::connect(&station).await;
    let (frames, _) = recording(1, 30);
    craft.deliver(1, 0, &frames, 10).await;
    let (listed, _) = command(&station, &["uplink", "list"], 0);
    assert_eq!(listed["objects"], serde_json::json!([]));
    let plain = Command::new(binary("groundstation"))
        .args(["uplink", "list", "--config", station.path("station.toml").to_str().unwrap()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&plain.stderr);
    assert!(plain.stdout.is_empty() && said.contains("nothing is queued"), "{said}");
    let out = station.path("none");
    let out = out.to_str().unwrap();
    let file = format!("file:{out}");
    let strange: [&[&str]; 4] = [
        &["export", out, "--spacecraft", "9"],
        &["replay", "--to", &file, "--spacecraft", "7", "--spacecraft", "9"],
        &["export", out, "--contact", "9:2026-11-26T12:00:00Z"],
        &["gaps", "--contact", "9:2026-11-26T12:00:00Z"],
    ];
    for question in strange {
        let (_, said) = command(&station, question, 1);
        assert!(said.contains("spacecraft 9: neither mission"), "{question:?}: {said}");
        assert!(said.contains("they know 7"), "{said}");
    }
    let span = ["--from", "2026-11-26T14:00:00Z", "--until", "2026-11-26T13:00:00Z"];
    let readers: [&[&str]; 2] = [&["export", out], &["replay", "--to", &file]];
    for reader in readers {
        let (_, said) = command(&station, &[reader, &span[..]].concat(), 2);
        assert!(said.contains("is after --until 2026-11-26T13:00:00"), "{said}");
    }
    assert!(!std::path::Path::new(out).exists(), "nothing is made for it");
}

/// A folder in which no archive ever was is not one that is proven.
#[test]
fn an_audit_of_what_never_was_an_archive_fails_in_words() {
    let station = Station::start("");
    let text = std::fs::read_to_string(station.path("station.toml")).unwrap();
    let text = text.replacen("dir = \"archive\"", "dir = \"other\"", 1);
    std::fs::write(station.path("other.toml"), text).unwrap();
    std::fs::create_dir(station.path("other")).unwrap();
    let output = Command::new(binary("groundstation"))
        .args(["audit", "--config", station.path("other.toml").to_str().unwrap()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("nothing was ever archived there"), "{said}");
}

#[test]
fn a_bench_in_a_folder_that_can_not_be_written_says_what_to_do() {
    let output = Command::new(binary("groundstation"))
        .args(["bench", "ingest", "--dir", "/proc/self"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("--dir /proc/self: name a folder"), "{said}");
}
