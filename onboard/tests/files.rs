//! Sources through the real process's loop: each tile once, whatever stops it, and whatever is not
//! taken is counted or put aside by name.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use codecs::{
    ids::{Channel, Origin, StoreEpoch},
    product::Product,
};
use onboard::{
    config::Config,
    shell,
    store::{Disk, Limits, Store},
};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};

const ORIGIN: Origin = Origin([3; 16]);
const PATIENCE: Duration = Duration::from_secs(60);
/// Tiles of eight pixels that an image of 61 by 37 makes.
const TILES: usize = 8 * 5;

fn config(folder: &Path, sources: &str) -> Config {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let parameters = CertificateParams::new(vec!["sky-7".into()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    std::fs::write(folder.join("identity.crt"), certificate.pem()).unwrap();
    std::fs::write(folder.join("identity.key"), key.serialize_pem()).unwrap();
    let pin = "00".repeat(32);
    // Nobody listens at the station's address: everything stays in the store.
    let text = format!(
        "[spacecraft]\nid = 7\nname = \"SKY-7\"\n\
         [identity]\ncertificate = \"identity.crt\"\nkey = \"identity.key\"\n\
         ground_pins = [\"sha256:{pin}\"]\norigin = \"{ORIGIN}\"\n\
         [ground]\naddress = \"127.0.0.1:1\"\nserver_name = \"station\"\n\
         [store]\ndir = \"store\"\ncommit_ms = 1\n{sources}"
    );
    Config::parse("onboard.toml", &text, folder).unwrap()
}

fn image(name: &str, folder: &Path) {
    let samples: Vec<u8> = (0..61 * 37 * 2u32).map(|at| (at * 7 % 90) as u8).collect();
    let scenes = folder.join("scenes");
    std::fs::create_dir_all(&scenes).unwrap();
    let sidecar = r#"{"width": 61, "height": 37, "bands": 2, "time_ns": 1800000000000000000}"#;
    std::fs::write(scenes.join(format!("{name}.json")), sidecar).unwrap();
    std::fs::write(scenes.join(format!("{name}.raw")), samples).unwrap();
}

/// Flies until `met`, then stops cleanly, or, dropped in mid-flight, as a killed process does.
async fn fly(config: Config, clean: bool, met: impl FnMut() -> bool) -> Option<shell::Done> {
    fly_told(config, clean, met, |_| {}).await
}

/// The same; `told` is told what the flight says.
async fn fly_told(
    config: Config,
    clean: bool,
    mut met: impl FnMut() -> bool,
    told: impl Fn(&shell::Said),
) -> Option<shell::Done> {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async {
        let _ = stopped.await;
    };
    let mut running = Box::pin(shell::run(config, stopped, told));
    let end = Instant::now() + PATIENCE;
    while !met() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}");
        tokio::select! {
            ended = &mut running => panic!("ended early: {ended:?}"),
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
    if !clean {
        return None;
    }
    stop.send(()).unwrap();
    Some(running.await.unwrap())
}

/// Identifiers of the products in the store.
fn products(folder: &Path) -> Vec<u32> {
    let disk = Disk::read_only(&folder.join("store")).unwrap();
    let limits = Limits {
        capacity_bytes: u64::MAX,
        segment_bytes: 4 << 20,
        least_class: 1,
        evict_bytes: 0,
        evict_on_full: false,
    };
    let mut store = Store::open(disk, limits, ORIGIN, StoreEpoch(0)).unwrap();
    let keys: Vec<_> = store.unreceipted().map(|of| of.key).collect();
    let products = keys.into_iter().filter(|key| key.prefix.channel == Channel::stream(2));
    products.map(|key| Product::decode(&store.take(key).unwrap()).unwrap().id).collect()
}

fn held(folder: &Path) -> u64 {
    onboard::cli::store_report(&folder.join("store")).map_or(0, |report| report.units_held)
}

const SCENES: &str =
    "[[source]]\nfiles = \"scenes\"\ntile_side = 8\nlook_ms = 10\nname = \"imager\"\n";

#[tokio::test]
async fn every_tile_of_an_image_is_stored_once_over_any_number_of_stops() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    image("a", dir);
    // A rate that leaves room to be stopped in the middle.
    let slow = format!("{SCENES}packets_per_s = 60\nburst_packets = 1\n");
    let mut stops = 0;
    let done = dir.join("scenes/done/a.raw");
    while !done.exists() && stops < 100 {
        let before = held(dir);
        fly(config(dir, &slow), false, || held(dir) > before + 4 || done.exists()).await;
        // The connection's task ends with its runtime, as threads do with a process.
        tokio::task::yield_now().await;
        stops += 1;
    }
    assert!(stops > 2, "stopped {stops} times");
    let ids = products(dir);
    assert_eq!(ids.len(), TILES, "no tile twice");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), TILES, "and none missing");
    assert!(dir.join("scenes/done/a.json").exists());
}

#[tokio::test]
async fn what_is_no_image_is_put_aside_with_its_reason_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    image("b", dir);
    let scenes = dir.join("scenes");
    std::fs::write(scenes.join("a.tif"), "no image").unwrap();
    std::fs::write(scenes.join("c.png.part"), "not yet").unwrap();
    let packets = dir.join("packets");
    std::fs::create_dir_all(&packets).unwrap();
    let packet = |count: u8| {
        let mut packet = vec![0x08, 120, 0xc0, count, 0, 22];
        packet.extend_from_slice(&codecs::time::Tai(1_800_000_000_000_000_000).to_cuc43());
        packet.extend_from_slice(&[count; 16]);
        packet
    };
    let file: Vec<u8> = (0..200).flat_map(packet).collect();
    std::fs::write(packets.join("x.bin"), [&b"torn"[..], &file].concat()).unwrap();
    let sources =
        format!("{SCENES}[[source]]\npackets = \"packets\"\nlook_ms = 10\nname = \"p\"\n");
    let done = [scenes.join("done/b.raw"), packets.join("rejected/x.bin")];
    let all = || done.iter().all(|path| path.exists());
    let told = fly(config(dir, &sources), true, all).await.unwrap();
    let reason = std::fs::read_to_string(scenes.join("rejected/a.tif.reason")).unwrap();
    assert!(!reason.trim().is_empty() && scenes.join("rejected/a.tif").exists());
    assert!(scenes.join("c.png.part").exists(), "left alone");
    let [imager, packets] = told.sources.as_slice() else { panic!("{:?}", told.sources) };
    assert_eq!((imager.taken, imager.files, imager.files_rejected), (TILES as u64, 1, 1));
    assert_eq!((packets.taken, packets.files, packets.files_in_part), (200, 0, 1));
    assert_eq!(packets.dropped["bytes of no packet"], 4);
    assert_eq!(products(dir).len(), TILES);
}

/// Somebody tidies up below a flight, or puts a file where a folder was.
#[tokio::test]
async fn folders_that_go_away_are_made_again_and_what_cannot_be_put_away_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let packets = dir.join("packets");
    // An idle packet behind it is dropped, and its bytes are not among those taken.
    let content = [&PACKET[..], &[0x0f, 0xff, 0xc0, 0, 0, 0, 0]].concat();
    let put = |name: &str| std::fs::write(packets.join(name), &content).unwrap();
    let mut step = 0;
    let config = config(dir, "[[source]]\npackets = \"packets\"\nlook_ms = 10\nname = \"p\"\n");
    let done = fly(config, true, || {
        let away = |name: &str| packets.join("done").join(name).exists();
        step = match step {
            0 if packets.join("done").exists() => {
                std::fs::remove_dir(packets.join("done")).unwrap();
                std::fs::remove_dir(packets.join("rejected")).unwrap();
                put("a");
                1
            }
            1 if away("a") => {
                std::fs::remove_dir(packets.join("rejected")).unwrap();
                std::fs::write(packets.join("rejected"), "in the way").unwrap();
                put("b");
                2
            }
            // It is in the store, and stays where it is.
            2 if records(dir).iter().any(|of| of["event"] == "file not put away") => {
                std::fs::remove_file(packets.join("rejected")).unwrap();
                put("c");
                3
            }
            step => step,
        };
        step == 3 && away("c")
    });
    let done = done.await.unwrap();
    assert!(packets.join("b").exists() && !packets.join("done/b").exists());
    assert_eq!((done.packets, done.sources[0].files), (3, 3), "each once: {done:?}");
    assert_eq!(done.sources[0].bytes, 3 * PACKET.len() as u64);
}

const PACKET: [u8; 15] = [0x08, 120, 0xc0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/// Records in the store.
fn records(folder: &Path) -> Vec<serde_json::Value> {
    let disk = Disk::read_only(&folder.join("store")).unwrap();
    let limits = Limits {
        capacity_bytes: u64::MAX,
        segment_bytes: 4 << 20,
        least_class: 1,
        evict_bytes: 0,
        evict_on_full: false,
    };
    let mut store = Store::open(disk, limits, ORIGIN, StoreEpoch(0)).unwrap();
    let keys: Vec<_> = store.unreceipted().map(|of| of.key).collect();
    let records = keys.into_iter().filter(|key| key.prefix.channel == Channel::RECORDS);
    records.map(|key| serde_json::from_slice(&store.take(key).unwrap()).unwrap()).collect()
}

#[tokio::test]
async fn packet_files_that_are_garbage_or_cut_are_put_aside_and_told_and_what_is_good_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("packets");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("a-garbage.bin"), [0xff; 5000]).unwrap();
    std::fs::write(dir.join("b-cut.bin"), &PACKET.repeat(10)[..142]).unwrap();
    std::fs::write(dir.join("c-empty.bin"), "").unwrap();
    std::fs::write(dir.join("d-good.bin"), PACKET.repeat(10)).unwrap();
    // Deleting is for what was taken whole.
    let source =
        "[source]\npackets = \"packets\"\nlook_ms = 10\nname = \"p\"\nfinished = \"delete\"\n";
    let last = dir.join("d-good.bin");
    let told = fly(config(folder.path(), source), true, || !last.exists()).await.unwrap();
    let [packets] = told.sources.as_slice() else { panic!("{:?}", told.sources) };
    assert_eq!((packets.files, packets.files_in_part, packets.files_rejected), (1, 1, 2));
    assert_eq!((packets.taken, packets.dropped["bytes of no packet"]), (19, 7));
    let cases = [
        ("a-garbage.bin", "file rejected", "at byte 0: 5000 bytes of no packet"),
        ("b-cut.bin", "file taken in part", "at byte 135: a packet of 15 bytes by its header"),
        ("c-empty.bin", "file rejected", "the file is empty"),
    ];
    let records = records(folder.path());
    for (name, event, why) in cases {
        assert!(dir.join("rejected").join(name).exists(), "{name}");
        let reason = dir.join("rejected").join(format!("{name}.reason"));
        let reason = std::fs::read_to_string(reason).unwrap();
        assert!(reason.contains(why), "{reason}");
        let record = records.iter().find(|of| of["file"] == name && of["event"] == event);
        assert!(record.unwrap()["reason"].as_str().unwrap().contains(why), "{records:?}");
    }
}

#[tokio::test]
async fn what_waits_in_a_socket_at_a_stop_is_taken_and_what_the_system_dropped_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[[source]]\nudp = \"127.0.0.1:0\"\nname = \"udp\"\n\
                [[source]]\nunix = \"s\"\nname = \"unix\"\n";
    let from = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let near = std::os::unix::net::UnixDatagram::unbound().unwrap();
    near.set_nonblocking(true).unwrap();
    let heard = std::sync::Mutex::new(String::new());
    let (mut sent, mut sent_near) = (0u64, 0u64);
    // Nothing is read while this runs, which is the last thing before the stop.
    let met = || {
        let places = heard.lock().unwrap().clone();
        let Some((udp, unix)) = places.split_once(", ") else { return false };
        let big = [&[0x08, 120, 0xc0, 0, 0x03, 0xff][..], &[9; 1024]].concat();
        while sent < 20_000 {
            from.send_to(&big, udp).unwrap();
            sent += 1;
        }
        while near.send_to(&PACKET, unix).is_ok() {
            sent_near += 1;
        }
        true
    };
    let told = fly_told(config(folder.path(), text), true, met, |said| {
        if let shell::Said::Ready(ready) = said {
            heard.lock().unwrap().clone_from(&ready.source);
        }
    });
    let told = told.await.unwrap();
    let [udp, unix] = told.sources.as_slice() else { panic!("{:?}", told.sources) };
    let dropped = udp.dropped["datagrams that the system had no room for"];
    assert!(udp.taken > 100 && dropped > 0, "{udp:?}");
    assert_eq!(udp.taken + dropped, sent, "each is taken or counted");
    assert!(sent_near > 1);
    assert_eq!(unix.taken, sent_near, "what waited is taken");
    let lost = records(folder.path()).into_iter().find(|of| of["event"] == "datagrams lost");
    let lost = lost.unwrap();
    assert_eq!((&lost["source"], &lost["count"]), (&"udp".into(), &dropped.into()), "{lost}");
}

/// A line whose sender was cut in the middle of a packet, and goes on with the next.
#[tokio::test]
async fn behind_a_cut_packet_a_line_gives_the_next_ones_without_waiting_for_a_false_length() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let folder = tempfile::tempdir().unwrap();
    let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&far).unwrap();
    unlockpt(&far).unwrap();
    let device = ptsname(&far, Vec::new()).unwrap().into_string().unwrap();
    let text = format!(
        "[source]\nserial = \"{device}\"\nname = \"line\"\ngive_up_ms = 100\n\
         [squeeze]\nblock_packets = 1\n"
    );
    // Its header says 32 KiB.
    let cut = [0x08, 120, 0xc0, 0, 0x7f, 0xff, 1, 2, 3, 4];
    let mut line = Some([&PACKET.repeat(3)[..], &cut, &PACKET.repeat(4)].concat());
    let told = fly(config(folder.path(), &text), true, || {
        if folder.path().join("store").exists()
            && let Some(bytes) = line.take()
        {
            rustix::io::write(&far, &bytes).unwrap();
        }
        held(folder.path()) >= 7
    });
    let told = told.await.unwrap();
    let [line] = told.sources.as_slice() else { panic!("{:?}", told.sources) };
    assert_eq!((line.taken, line.dropped["bytes of no packet"]), (7, 10), "{line:?}");
}

#[tokio::test]
async fn a_flood_is_cut_to_its_limit_and_starves_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    image("a", dir);
    let sources = format!(
        "[[source]]\nunix = \"flood\"\npackets_per_s = 10\nburst_packets = 5\n\
         [[source]]\nudp = \"127.0.0.1:0\"\nname = \"still\"\nquiet_after_s = 1\n{SCENES}"
    );
    let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
    socket.set_nonblocking(true).unwrap();
    let (done, flood) = (dir.join("scenes/done/a.raw"), dir.join("flood"));
    let begun = Instant::now();
    let told = fly(config(dir, &sources), true, || {
        let packet = [0x08, 120, 0xc0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        (0..200).for_each(|_| drop(socket.send_to(&packet, &flood)));
        done.exists() && begun.elapsed() > Duration::from_millis(1500)
    })
    .await
    .unwrap();
    let [flood, still, imager] = told.sources.as_slice() else { panic!("{:?}", told.sources) };
    assert_eq!(imager.taken, TILES as u64);
    let seconds = begun.elapsed().as_secs_f64();
    assert!(flood.taken as f64 <= 5.0 + 10.0 * seconds, "{flood:?} in {seconds} s");
    assert!(flood.dropped["more packets than the source's packets_per_s"] > flood.taken);
    assert!(still.quiet && still.silences == 1, "{still:?}");
}

/// A sidecar that nobody has written yet stands for a disk that does not answer: opening it waits.
#[tokio::test]
async fn while_a_file_is_being_read_packets_are_taken_and_stored() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    image("a", dir);
    let (sidecar, store) = (dir.join("scenes/a.json"), dir.join("store"));
    let said = std::fs::read(&sidecar).unwrap();
    std::fs::remove_file(&sidecar).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &sidecar, fifo, mode, 0).unwrap();
    let sources = format!("[[source]]\nunix = \"s\"\n{SCENES}[squeeze]\nblock_packets = 1\n");
    let (socket, done) = (std::os::unix::net::UnixDatagram::unbound().unwrap(), dir.join("s"));
    socket.set_nonblocking(true).unwrap();
    let (mut writer, mut is_written) = (None, false);
    let told = fly(config(dir, &sources), true, || {
        let packet = [0x08, 120, 0xc0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        // Whoever can open it to write, without waiting, has found its reader.
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
        match writer.take() {
            // Once: a reader that is slow would find the words twice, which are no sidecar.
            None if is_written => {}
            None => writer = rustix::fs::open(&sidecar, flags, rustix::fs::Mode::empty()).ok(),
            waiting if held(dir) < 50 => {
                drop(socket.send_to(&packet, &done));
                writer = waiting;
            }
            Some(ended) => {
                is_written = true;
                assert_eq!(rustix::io::write(&ended, &said).unwrap(), said.len());
            }
        }
        dir.join("scenes/done/a.raw").exists()
    })
    .await
    .unwrap();
    assert!(store.exists());
    let [packets, imager] = told.sources.as_slice() else { panic!("{:?}", told.sources) };
    assert!(packets.taken >= 50 && imager.taken == TILES as u64, "{told:?}");
}
