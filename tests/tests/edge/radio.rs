//! Units over a radio: a transmitter as the spacecraft, the real edge and station, and what is in
//! the archive under the spacecraft's key.

use super::site::*;
use codecs::{
    frame::{
        aos::{AosBuilder, AosConfig},
        cadu::{CaduEncoder, Coding},
        cltu::bch,
        tc::{TcConfig, TcFrame, TcType},
    },
    ids::{Apid, Channel, Codec, KeyPrefix, Origin, RangeSet, SpacecraftId, StoreEpoch, UnitKey},
    link::{
        custody::Durability,
        rf::{PARTS_APID, signed::Listener, split::Splitter},
        wire::Message,
    },
    packet::space::{PacketHeader, PacketView, SequenceCount, build},
};
use groundstation::{
    archive::{read::replay, record::Position, twice::Twice},
    shell::disk::Folder,
};
use serde_json::Value;
use std::{
    collections::BTreeMap, net::UdpSocket, os::unix::net::UnixDatagram, path::PathBuf,
    process::Command, time::Duration,
};
use tests::process::{Daemon, binary};

/// The spacecraft's store, as it was enrolled.
fn store(site: &Site) -> Origin {
    let file = site.path("station/enrolled/sky-7/onboard-identity.toml");
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("origin = ")).unwrap();
    Origin::from_hex(line.trim_matches('"')).unwrap()
}

fn key(origin: Origin, sequence: u64) -> UnitKey {
    let (epoch, channel) = (StoreEpoch(9), Channel::stream(2));
    let prefix = KeyPrefix { origin, epoch, spacecraft: SpacecraftId(7), channel };
    UnitKey { prefix, sequence }
}

/// A unit on board: longer than a frame, and like no other.
fn unit(sequence: u64) -> Vec<u8> {
    (0..300 + sequence * 97 % 3_000).map(|at| (at * 7 + sequence) as u8).collect()
}

/// The spacecraft's transmitter, from its store to the modem at the antenna.
struct Transmitter {
    origin: Origin,
    splitter: Splitter,
    builder: AosBuilder,
    encoder: CaduEncoder,
    socket: UdpSocket,
}

impl Transmitter {
    fn of(site: &Site) -> Self {
        let coding: Coding = CODING.parse().unwrap();
        Self {
            origin: store(site),
            splitter: Splitter::new(PARTS_APID, 700).unwrap(),
            builder: AosBuilder::new(AosConfig::new(FRAME_BYTES), 71, 0, 0).unwrap(),
            encoder: CaduEncoder::new(&coding, FRAME_BYTES, coding.marker()).unwrap(),
            socket: UdpSocket::bind("127.0.0.1:0").unwrap(),
        }
    }

    /// Sends other bytes under the key of a unit.
    fn forge(&mut self, to: &str, sequence: u64) {
        let forged = unit(sequence + 1);
        let mut packets = Vec::new();
        let sink = &mut |packet| packets.push(packet);
        self.splitter.split(key(self.origin, sequence), Codec::Product, 3, &forged, sink).unwrap();
        self.air(to, &packets, |_| false);
    }

    /// Sends units; frames of the numbers given, by their count in this pass, are not heard.
    fn send(&mut self, to: &str, units: impl Iterator<Item = u64>, lost: impl Fn(usize) -> bool) {
        let mut packets = Vec::new();
        for sequence in units {
            let (key, unit) = (key(self.origin, sequence), unit(sequence));
            let sink = &mut |packet| packets.push(packet);
            self.splitter.split(key, Codec::Product, 3, &unit, sink).unwrap();
        }
        self.air(to, &packets, lost);
    }

    fn air(&mut self, to: &str, packets: &[Vec<u8>], lost: impl Fn(usize) -> bool) {
        let mut frames = Vec::new();
        let mut sink = |frame| frames.push(frame);
        packets.iter().for_each(|packet| self.builder.push(packet, &mut sink).unwrap());
        self.builder.flush(&mut sink);
        for (at, frame) in frames.iter().enumerate() {
            let mut cadu = Vec::new();
            self.encoder.push(frame, &mut cadu).unwrap();
            if !lost(at) {
                self.socket.send_to(&cadu, to).unwrap();
            }
        }
    }
}

/// The spacecraft's receiver behind the uplink modem.
struct Receiver {
    modem: UdpSocket,
    listener: Listener,
    /// The class that receipts must have.
    class: Durability,
    receipted: RangeSet,
    times: usize,
}

impl Receiver {
    /// Believes the key that enrolment handed to the spacecraft.
    fn of(site: &Site) -> Self {
        let file = site.path("station/enrolled/sky-7/onboard-identity.toml");
        let text = std::fs::read_to_string(file).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("domain_keys = ")).unwrap();
        let digits = line.trim_matches(['[', ']', '"']).as_bytes();
        let key: Vec<u8> = digits
            .chunks(2)
            .map(|of| u8::from_str_radix(str::from_utf8(of).unwrap(), 16).unwrap())
            .collect();
        let listener = Listener::new("sky", &key.try_into().unwrap(), store(site), 0).unwrap();
        let modem = UdpSocket::bind("127.0.0.1:0").unwrap();
        modem.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let class = Durability::Local;
        Self { modem, listener, class, receipted: RangeSet::new(), times: 0 }
    }

    /// Hears what has come by now: each unit one frame, each frame one statement to be believed.
    fn hear(&mut self) {
        let mut datagram = [0; 4096];
        while let Ok(length) = self.modem.recv(&mut datagram) {
            let unit = bch::decode(&datagram[..length], bch::Mode::Detect, None).unwrap();
            let frame = unit.frames().next().unwrap();
            let frame = TcFrame::parse(frame, &TcConfig::new(true, true)).unwrap();
            assert!(frame.fecf_holds());
            let (header, segment) = (frame.header(), frame.segment().unwrap());
            assert_eq!((header.kind, header.scid, header.vcid), (TcType::Bd, 71, 2));
            assert_eq!(segment.map, 4);
            let packet = PacketView::parse(frame.data()).unwrap();
            match self.listener.hear(&packet).unwrap().message {
                None => self.times += 1,
                Some(Message::Receipts { entries, class, .. }) => {
                    assert_eq!(class, self.class);
                    let wanted = key(Origin([0; 16]), 0).prefix;
                    for of in entries {
                        assert_eq!((of.epoch, of.channel), (wanted.epoch, wanted.channel));
                        self.receipted.extend(&of.ranges.into_iter().collect());
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Units under the spacecraft's own key, as the archive has them; each only once.
fn archived_units(site: &Site) -> BTreeMap<UnitKey, Vec<u8>> {
    let (mut units, origin) = (BTreeMap::new(), store(site));
    let mut folder = Folder::at(&site.path("station/archive"));
    let at = |segment| Position { segment, offset: 0 };
    // A daemon may be writing behind what is read: then the next look sees more.
    let _ = replay(&mut folder, &Twice::NOTHING, at(0), at(u64::MAX), |unit| {
        if unit.key.prefix.origin == origin {
            let heard = unit.annotation.expect("when and where it was heard");
            assert_eq!(heard.antenna, 1);
            assert!(units.insert(unit.key, unit.bytes.to_vec()).is_none(), "{:?} twice", unit.key);
        }
        Ok(())
    });
    units
}

fn with_radio(site: &Site, section: &str) {
    let file = site.path("station/station.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text + "\n[[rf]]\nspacecraft = 7\n" + section).unwrap();
}

/// An edge that hears coded units as datagrams, and where.
fn antenna(site: &Site, station: &str) -> (Daemon, String) {
    let input = cadu_input("udp:127.0.0.1:0");
    let (edge, ready): (Daemon, Value) = site.edge("antenna-1", station, &refs(&input));
    let place = ready["inputs"][0].as_str().unwrap();
    (edge, place.split_once(':').unwrap().1.to_string())
}

/// An uplink of so many bits a second to the receiver.
fn uplink(receiver: &Receiver, bps: u64) -> String {
    let to = receiver.modem.local_addr().unwrap();
    format!(
        "uplink_bps = {bps}\nto = \"udp:{to}\"\nscid = 71\nvc = 2\nmap = 4\nrepeat_s = 1\n\
         time_s = 1\n"
    )
}

#[test]
fn units_over_radio_outlive_losses_and_kills_and_stand_once_under_the_spacecraft_s_key() {
    let site = Site::new();
    let mut receiver = Receiver::of(&site);
    with_radio(&site, &uplink(&receiver, 16_000));
    let station = site.station();
    let (edge, modem) = antenna(&site, &station.quic);
    let mut sky = Transmitter::of(&site);
    sky.send(&modem, 0..60, |at| at % 7 == 3);
    // A frame behind the last: what is before it is heard when it is.
    sky.send(&modem, 60..61, |_| false);
    await_that("receipts of the first pass", || {
        receiver.hear();
        receiver.receipted.count() >= 20
    });
    // Both are killed while the second pass comes.
    sky.send(&modem, 0..60, |at| at % 5 == 1);
    drop(station);
    drop(edge);
    receiver.hear();
    let held = archived_units(&site);
    let is_held = |sequence| held.contains_key(&key(store(&site), sequence));
    let sequences = receiver.receipted.ranges().iter().flat_map(|of| of.first..=of.last);
    let missing: Vec<u64> = sequences.filter(|sequence| !is_held(*sequence)).collect();
    assert!(missing.is_empty(), "receipted and not held: {missing:?}");

    let station = site.station();
    let (_edge, modem) = antenna(&site, &station.quic);
    sky.send(&modem, 0..61, |_| false);
    // The receiver would not believe a counter of the life before.
    await_that("receipts of all units", || {
        receiver.hear();
        receiver.receipted.count() == 61
    });
    assert!(receiver.times > 0 && receiver.listener.ignored().is_empty());
    // Told once a second.
    for name in ["rebuilt", "durable"] {
        let name = format!("groundtrack_rf_units_{name}_total");
        await_that(&name, || metric(&station.http, &name) >= 61);
    }
    station.stop();
    let units = archived_units(&site);
    let wanted = (0..61).map(|sequence| (key(store(&site), sequence), unit(sequence)));
    assert!(units == wanted.collect(), "{:?}", units.keys().collect::<Vec<_>>());
    assert_eq!(site.audit().1, 0);
}

/// Where the mission asks for the object store, being synced is not said.
#[test]
fn a_receipt_waits_for_the_class_that_the_mission_asks_for() {
    let mission = MISSION.replacen("domain", "reclaimable = \"object-store\"\ndomain", 1);
    let site = Site::of(&mission);
    let mut receiver = Receiver { class: Durability::ObjectStore, ..Receiver::of(&site) };
    with_radio(&site, &uplink(&receiver, 16_000));
    std::fs::create_dir(site.path("elsewhere")).unwrap();
    let file = site.path("station/station.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let archive =
        format!("[archive]\nseal_s = 1\nobject_store = {{ dir = {:?} }}\n", site.text("elsewhere"));
    std::fs::write(&file, text.replacen("[archive]\n", &archive, 1)).unwrap();
    let station = site.station();
    let (_edge, modem) = antenna(&site, &station.quic);
    let mut sky = Transmitter::of(&site);
    sky.send(&modem, 0..10, |_| false);
    await_that("receipts", || {
        receiver.hear();
        receiver.receipted.count() == 10
    });
    // Sent again: held, and stored long since.
    receiver.receipted = RangeSet::new();
    sky.send(&modem, 0..10, |_| false);
    await_that("receipts once more", || {
        receiver.hear();
        receiver.receipted.count() == 10
    });
    station.stop();
    assert_eq!(archived_units(&site).len(), 10);
    let stored = std::fs::read_dir(site.path("elsewhere")).unwrap().count();
    assert!(stored > 0);
}

#[test]
fn an_uplink_of_nothing_says_nothing() {
    let site = Site::new();
    let mut receiver = Receiver::of(&site);
    with_radio(&site, &uplink(&receiver, 0));
    let station = site.station();
    let (_edge, modem) = antenna(&site, &station.quic);
    let mut sky = Transmitter::of(&site);
    sky.send(&modem, 0..10, |_| false);
    await_that("durable units", || {
        metric(&station.http, "groundtrack_rf_units_durable_total") >= 10
    });
    station.stop();
    receiver.hear();
    assert_eq!((receiver.receipted.count(), receiver.times), (0, 0));
    assert_eq!(archived_units(&site).len(), 10);
}

#[test]
fn an_edge_that_may_not_carry_brings_frames_and_no_units() {
    let site = Site::new();
    with_radio(&site, "");
    let file = site.path("station/station.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let mine = store(&site);
    let text = text.replace("\"deliver\", \"carry\"", "\"deliver\"");
    let text = text.replace("[[rf]]\n", &format!("[[rf]]\norigin = \"{mine}\"\n"));
    std::fs::write(&file, text).unwrap();
    let station = site.station();
    let (_edge, modem) = antenna(&site, &station.quic);
    Transmitter::of(&site).send(&modem, 0..5, |_| false);
    await_that("refused parts", || metric(&station.http, "groundtrack_rf_refused_total") >= 5);
    assert_eq!(metric(&station.http, "groundtrack_rf_units_rebuilt_total"), 0);
    station.stop();
    assert!(archived_units(&site).is_empty());
}

/// The real flight software with a radio.
struct Flight {
    folder: PathBuf,
    sensor: UnixDatagram,
}

impl Flight {
    /// With its modem at an edge, and its ear at `up`.
    fn of(site: &Site, modem: &str, up: &str) -> Self {
        let folder = site.path("station/enrolled/sky-7");
        let identity = std::fs::read_to_string(folder.join("onboard-identity.toml")).unwrap();
        let flight = format!(
            "[spacecraft]\nid = 7\nname = \"SKY-7\"\n[source]\nunix = \"s\"\n[store]\n\
             dir = \"store\"\n[squeeze]\nblock_packets = 4\nflush_ms = 100\n[downlink]\n\
             bearer = \"rf\"\n[downlink.rf]\nto = \"udp:{modem}\"\nfrom = \"udp:{up}\"\n\
             rate_bps = 500000\nscid = 71\nagain_s = 2\nidle = true\ncoding = {CODING:?}\n{identity}"
        );
        std::fs::write(folder.join("onboard.toml"), flight).unwrap();
        Self { folder, sensor: UnixDatagram::unbound().unwrap() }
    }

    fn fly(&self) -> Daemon {
        let config = self.folder.join("onboard.toml");
        let arguments = ["run", "--ready-json", "--config", config.to_str().unwrap()];
        let mut craft = Daemon::start("onboard", &arguments);
        craft.expect("ready");
        craft
    }

    /// Points the transmitter at another modem, from the next start on.
    fn aim(&self, modem: &str) {
        let config = self.folder.join("onboard.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let line = text.lines().find(|line| line.starts_with("to = ")).unwrap().to_owned();
        std::fs::write(&config, text.replace(&line, &format!("to = \"udp:{modem}\""))).unwrap();
    }

    fn feed(&self, from: u16) {
        for count in from..from + 20 {
            let header = PacketHeader::telemetry(Apid(200), SequenceCount(count));
            let packet = build(&header, &[count as u8; 60]).unwrap();
            self.sensor.send_to(&packet, self.folder.join("s")).unwrap();
        }
    }

    fn is(&self, state: fn(&onboard::store::StoreReport) -> bool) -> bool {
        onboard::cli::store_report(&self.folder.join("store")).is_ok_and(|report| state(&report))
    }
}

/// Whoever transmits in the spacecraft's place is told, and what is held stays what it was: live,
/// and when a start reads all of it back.
#[test]
fn other_bytes_under_a_held_key_are_told_and_kept_aside_over_restarts() {
    let site = Site::new();
    with_radio(&site, "");
    let station = site.station();
    let (_edge, modem) = antenna(&site, &station.quic);
    let mut sky = Transmitter::of(&site);
    sky.send(&modem, 0..10, |_| false);
    let durable = "groundtrack_rf_units_durable_total";
    await_that("units", || metric(&station.http, durable) >= 10);
    sky.forge(&modem, 4);
    sky.send(&modem, 10..12, |_| false);
    let conflicts = |station: &Station| {
        metric(&station.http, "groundtrack_rf_refused_total{spacecraft=\"7\",reason=\"conflict\"}")
    };
    await_that("a conflict that is told", || conflicts(&station) == 1);
    station.stop();
    let station = site.station();
    await_that("the same after a start", || {
        conflicts(&station) == 1 && metric(&station.http, durable) >= 12
    });
    station.stop();
    let units = archived_units(&site);
    assert_eq!(units[&key(store(&site), 4)], unit(4));
    let files = std::fs::read_dir(site.path("station/archive")).unwrap();
    let aside = files
        .filter(|of| of.as_ref().unwrap().path().extension().is_some_and(|of| of == "conflict"));
    assert_eq!(aside.count(), 1);
}

/// A disk of the ground's is lost after its receipts went up: what is still on board is asked for
/// by radio and comes again, through another antenna.
#[test]
fn what_the_ground_lost_is_asked_for_by_radio_and_comes_again() {
    let site = Site::new();
    site.enroll("antenna-2", 1);
    let up = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    with_radio(
        &site,
        &format!("uplink_bps = 16000\nto = \"udp:{up}\"\nscid = 71\nrepeat_s = 1\ntime_s = 1\n"),
    );
    let station = site.station();
    let (edge, modem) = antenna(&site, &station.quic);
    let flight = Flight::of(&site, &modem, &up.to_string());
    let craft = flight.fly();
    flight.feed(0);
    await_that("receipts", || flight.is(|of| of.units_receipted >= 5 && of.units_held == 0));
    let receipted = archived_units(&site);
    station.stop();
    // Another segment, which knows what the first one held.
    let station = site.station();
    drop(edge);
    let (edge, modem) = antenna(&site, &station.quic);
    drop(craft);
    flight.aim(&modem);
    let craft = flight.fly();
    flight.feed(20);
    await_that("receipts of the second part", || {
        flight.is(|of| of.units_receipted >= 10 && of.units_held == 0)
    });
    station.stop();
    drop((edge, craft));
    let segments = std::fs::read_dir(site.path("station/archive")).unwrap();
    let mut segments: Vec<_> = segments.map(|of| of.unwrap().path()).collect();
    segments.retain(|of| of.extension().is_some_and(|of| of == "segment"));
    let first = segments.iter().min().unwrap();
    std::fs::remove_file(first).unwrap();
    let _ = std::fs::remove_file(first.with_extension("index"));
    // The first antenna stays off: only the spacecraft has these units.
    let station = site.station();
    let input = cadu_input("udp:127.0.0.1:0");
    let (_edge, ready) = site.edge("antenna-2", &station.quic, &refs(&input));
    flight.aim(ready["inputs"][0].as_str().unwrap().split_once(':').unwrap().1);
    let craft = flight.fly();
    await_that("all of it again", || {
        let held = archived_units(&site);
        receipted.iter().all(|(key, bytes)| held.get(key) == Some(bytes))
    });
    await_that("new receipts", || flight.is(|of| of.units_held == 0));
    drop(craft);
    station.stop();
}

/// Both ends as they fly: what the flight software sends by radio comes back as receipts by radio,
/// through the edge, since the station is not at the antenna.
#[test]
fn the_flight_software_hears_by_radio_that_its_units_are_held() {
    let site = Site::new();
    let up = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    with_radio(
        &site,
        "uplink_bps = 16000\nto = \"edge:antenna-1\"\nscid = 71\nrepeat_s = 1\ntime_s = 1\n",
    );
    let file = site.path("station/enrolled/antenna-1/edge.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}\n[uplink]\nto = \"udp:{up}\"\nrate_bps = 16000\n"))
        .unwrap();
    let station = site.station();
    let (edge, modem) = antenna(&site, &station.quic);
    let flight = Flight::of(&site, &modem, &up.to_string());
    let craft = flight.fly();
    flight.feed(0);
    await_that("receipts by radio", || {
        flight.is(|report| report.units_receipted >= 5 && report.units_held == 0)
    });
    // A power cut on board, another of the edge: what is new goes on, what is held stays so.
    drop(craft);
    drop(edge);
    let (_edge, again) = antenna(&site, &station.quic);
    flight.aim(&again);
    let craft = flight.fly();
    flight.feed(20);
    await_that("receipts of the second flight", || {
        flight.is(|report| report.units_receipted >= 10 && report.units_held == 0)
    });
    // An order goes the same way, and its outcome comes back as a unit.
    let config = site.text("station/station.toml");
    let order = ["uplink", "send", "--spacecraft", "7", "--kind", "command", "--text", "echo sky"];
    done(&[&order[..], &["--config", &config]].concat());
    await_that("the outcome of an order", || {
        let output = Command::new(binary("groundstation"))
            .args(["uplink", "list", "--json", "--config", &config])
            .output()
            .unwrap();
        let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
        let row = &listed["objects"][0];
        row["outcome"] == "done" && row["detail"] == "sky"
    });
    drop(craft);
    station.stop();
    let report = onboard::cli::store_report(&flight.folder.join("store")).unwrap();
    let held = archived_units(&site).len() as u64;
    assert!(held >= report.units_receipted, "{held} of {}", report.units_receipted);
    assert_eq!(site.audit().1, 0);
}
