//! Units over a radio: a transmitter as the spacecraft, the real edge and station, and what is in
//! the archive under the spacecraft's key.

use super::site::*;
use codecs::{
    frame::{
        aos::{AosBuilder, AosConfig},
        cadu::{CaduEncoder, Coding},
    },
    ids::{Channel, Codec, KeyPrefix, Origin, SpacecraftId, StoreEpoch, UnitKey},
    link::rf::{PARTS_APID, split::Splitter},
};
use groundstation::{
    archive::{read::replay, record::Position},
    shell::disk::Folder,
};
use serde_json::Value;
use std::{collections::BTreeMap, net::UdpSocket};
use tests::process::Daemon;

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

    /// Sends units; frames of the numbers given, by their count in this pass, are not heard.
    fn send(&mut self, to: &str, units: impl Iterator<Item = u64>, lost: impl Fn(usize) -> bool) {
        let (mut packets, mut frames) = (Vec::new(), Vec::new());
        for sequence in units {
            let (key, unit) = (key(self.origin, sequence), unit(sequence));
            let sink = &mut |packet| packets.push(packet);
            self.splitter.split(key, Codec::Product, 3, &unit, sink).unwrap();
        }
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

/// Units under the spacecraft's own key, as the archive has them; each only once.
fn archived_units(site: &Site) -> BTreeMap<UnitKey, Vec<u8>> {
    let (mut units, origin) = (BTreeMap::new(), store(site));
    let mut folder = Folder::at(&site.path("station/archive"));
    let at = |segment| Position { segment, offset: 0 };
    // A daemon may be writing behind what is read: then the next look sees more.
    let _ = replay(&mut folder, at(0), at(u64::MAX), |unit| {
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

fn rebuilt(station: &Station) -> u64 {
    metric(&station.http, "groundtrack_rf_units_rebuilt_total")
}

fn durable(station: &Station) -> u64 {
    metric(&station.http, "groundtrack_rf_units_durable_total")
}

#[test]
fn units_over_radio_outlive_losses_and_kills_and_stand_once_under_the_spacecraft_s_key() {
    let site = Site::new();
    with_radio(&site, "");
    let station = site.station();
    let (edge, modem) = antenna(&site, &station.quic);
    let mut sky = Transmitter::of(&site);
    // Frames of their own for the last one: what is before it is heard when it is.
    sky.send(&modem, 0..60, |at| at % 7 == 3);
    sky.send(&modem, 60..61, |_| false);
    await_that("the first pass", || durable(&station) >= 20);
    // Both are killed while the second pass comes.
    sky.send(&modem, 0..60, |at| at % 5 == 1);
    let before = durable(&station);
    drop(station);
    drop(edge);
    let station = site.station();
    // Read back from the archive: what was said durable is so.
    await_that("what was durable", || durable(&station) >= before);
    let (_edge, modem) = antenna(&site, &station.quic);
    sky.send(&modem, 0..61, |_| false);
    await_that("all units", || archived_units(&site).len() >= 61);
    station.stop();
    let units = archived_units(&site);
    let wanted = (0..61).map(|sequence| (key(store(&site), sequence), unit(sequence)));
    assert!(units == wanted.collect(), "{:?}", units.keys().collect::<Vec<_>>());
    assert_eq!(site.audit().1, 0);
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
    assert_eq!(rebuilt(&station), 0);
    station.stop();
    assert!(archived_units(&site).is_empty());
}
