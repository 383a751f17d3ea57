//! The real binary, killed again and again while it takes files: every tile and every packet is
//! stored once, in order, and nothing of a longer file before it.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use codecs::{
    ids::{Channel, Origin, StoreEpoch},
    product::Product,
    squeeze::columns::unsqueeze,
    time::Tai,
};
use onboard::store::{Disk, Limits, Store};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};

const PATIENCE: Duration = Duration::from_secs(120);
/// Fewest kills that must have hit a file on its way.
const KILLS_MIN: u32 = 10;
/// Tiles of eight pixels that an image of 61 by 37 makes.
const TILES: usize = 8 * 5;
/// Packets of each file: the second is shorter and comes under the name of the first.
const PACKETS: [u32; 2] = [12_000, 5_000];

struct Flight(Child);

impl Drop for Flight {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn config(folder: &Path) {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let certificate = CertificateParams::new(vec!["sky-7".into()]).unwrap().self_signed(&key);
    std::fs::write(folder.join("identity.crt"), certificate.unwrap().pem()).unwrap();
    std::fs::write(folder.join("identity.key"), key.serialize_pem()).unwrap();
    let (pin, origin) = ("00".repeat(32), "03".repeat(16));
    let text = format!(
        "[spacecraft]\nid = 7\nname = \"SKY-7\"\n\
         [identity]\ncertificate = \"identity.crt\"\nkey = \"identity.key\"\n\
         ground_pins = [\"sha256:{pin}\"]\norigin = \"{origin}\"\n\
         [ground]\naddress = \"127.0.0.1:1\"\nserver_name = \"station\"\n\
         [[source]]\nfiles = \"scenes\"\ntile_side = 8\nlook_ms = 10\n\
         packets_per_s = 80\nburst_packets = 1\n\
         [[source]]\npackets = \"packets\"\nlook_ms = 10\nbytes_per_s = 200000\n\
         [store]\ndir = \"store\"\ncommit_ms = 1\n[squeeze]\nlevel = \"fast\"\n"
    );
    std::fs::write(folder.join("onboard.toml"), text).unwrap();
}

fn start(folder: &Path) -> Flight {
    let mut child = Command::new(env!("CARGO_BIN_EXE_onboard"))
        .args(["run", "--ready-json", "--config"])
        .arg(folder.join("onboard.toml"))
        .env("RUST_LOG", "error")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("ready"), "{line}");
    Flight(child)
}

/// Puts a file in place whole.
fn place(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::create_dir_all(folder).unwrap();
    let part = folder.join(format!("{name}.part"));
    std::fs::write(&part, bytes).unwrap();
    std::fs::rename(part, folder.join(name)).unwrap();
}

/// Packets that say their number, of one file.
fn packets(file: usize) -> Vec<u8> {
    let packet = |number: u32| {
        let mut packet = vec![0x08, 120, 0xc0 | (number >> 8) as u8 & 0x3f, number as u8, 0, 30];
        packet.extend_from_slice(&Tai(1_800_000_000_000_000_000).to_cuc43());
        packet.extend_from_slice(&(number + 1_000_000 * file as u32).to_be_bytes());
        packet.extend_from_slice(&[number.wrapping_mul(31) as u8; 20]);
        packet
    };
    (0..PACKETS[file]).flat_map(packet).collect()
}

/// What the store holds: identifiers of tiles, numbers of packets, in the order of their units.
fn stored(folder: &Path) -> (Vec<u32>, Vec<u32>) {
    let disk = Disk::read_only(&folder.join("store")).unwrap();
    let limits = Limits {
        capacity_bytes: u64::MAX,
        segment_bytes: 4 << 20,
        least_class: 1,
        evict_bytes: 0,
        evict_on_full: false,
    };
    let mut store = Store::open(disk, limits, Origin([3; 16]), StoreEpoch(0)).unwrap();
    let mut keys: Vec<_> = store.unreceipted().map(|of| of.key).collect();
    keys.sort_by_key(|key| key.sequence);
    let (mut tiles, mut numbers) = (Vec::new(), Vec::new());
    for key in keys {
        let unit = store.take(key).unwrap();
        if key.prefix.channel == Channel::stream(2) {
            tiles.push(Product::decode(&unit).unwrap().id);
        } else if key.prefix.channel == Channel::stream(1) {
            let block = unsqueeze(&unit, 1 << 20).unwrap();
            let number = |packet: Bytes| u32::from_be_bytes(*packet[13..].first_chunk().unwrap());
            numbers.extend(block.packets().map(number));
        }
    }
    (tiles, numbers)
}

fn held(folder: &Path) -> u64 {
    onboard::cli::store_report(&folder.join("store")).map_or(0, |report| report.units_numbered)
}

#[test]
fn every_tile_and_every_packet_is_stored_once_over_kills_and_no_tail_of_a_longer_file() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    config(dir);
    let samples: Vec<u8> = (0..61 * 37 * 2u32).map(|at| (at * 7 % 90) as u8).collect();
    let sidecar = r#"{"width": 61, "height": 37, "bands": 2, "time_ns": 1800000000000000000}"#;
    let (scenes, files) = (dir.join("scenes"), dir.join("packets"));
    place(&scenes, "a.json", sidecar.as_bytes());
    place(&scenes, "a.raw", &samples);
    place(&files, "x.bin", &packets(0));
    let end = Instant::now() + PATIENCE;
    let (mut kills, mut second) = (0, false);
    while !second || files.join("x.bin").exists() || scenes.join("a.raw").exists() {
        let flight = start(dir);
        let before = held(dir);
        // Some are killed at once, some after a few commits, wherever those stand.
        let wanted = before + u64::from(kills % 5);
        while held(dir) < wanted && (files.join("x.bin").exists() || scenes.join("a.raw").exists())
        {
            assert!(Instant::now() < end, "not within {PATIENCE:?}");
        }
        drop(flight);
        kills += 1;
        if !second && !files.join("x.bin").exists() {
            place(&files, "x.bin", &packets(1));
            second = true;
        }
        assert!(Instant::now() < end, "not within {PATIENCE:?}, {kills} kills");
    }
    assert!(kills >= KILLS_MIN, "{kills} kills");
    let (tiles, numbers) = stored(dir);
    assert_eq!(tiles.len(), TILES, "no tile twice");
    assert_eq!(tiles.iter().collect::<BTreeSet<_>>().len(), TILES, "and none missing");
    let wanted: Vec<u32> =
        (0..PACKETS[0]).chain((0..PACKETS[1]).map(|number| 1_000_000 + number)).collect();
    assert_eq!(numbers.len(), wanted.len());
    assert!(numbers == wanted, "each once, in order");
    println!("{kills} kills");
}
