//! What goes out of a real station over real sockets: whole, in order, at each consumer's pace.

mod station;

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
    let door = station.until("new", |door| door["dropped"]["slow"].as_u64() > Some(0)).await;
    assert_eq!(door["open"], 1, "{door}");
    let got = read_frames(&mut all, rounds * count);
    let expected = frames.iter().cycle().map(Bytes::as_ref);
    assert!(got.iter().map(Vec::as_slice).eq(expected.take(rounds * count)));
    // The other one goes on with what is new once it reads.
    let mut frame = [0; FRAME_BYTES];
    new.read_exact(&mut frame).unwrap();
    assert!(frames.contains(&Bytes::copy_from_slice(&frame)));
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
