//! The real binary minding itself: it tells of itself, pets by progress, and keeps its memory.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use codecs::{
    ids::{Channel, Origin, StoreEpoch},
    squeeze::columns::unsqueeze,
};
use onboard::store::{Disk, Limits, Store};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};

const PATIENCE: Duration = Duration::from_secs(60);

struct Flight(Child, BufReader<ChildStdout>);

impl Drop for Flight {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path, health: &str) -> Flight {
    start_said(folder, health).0
}

/// The same, with what it said once it took packets.
fn start_said(folder: &Path, health: &str) -> (Flight, String) {
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
         [source]\nunix = \"s\"\n\
         [store]\ndir = \"store\"\ncapacity_bytes = 16777216\nsegment_bytes = 1048576\n\
         [squeeze]\nblock_packets = 2\nlevel = \"fast\"\n[health]\n{health}"
    );
    let config = folder.join("onboard.toml");
    std::fs::write(&config, text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_onboard"))
        .args(["run", "--ready-json", "--config"])
        .arg(&config)
        .env("NOTIFY_SOCKET", folder.join("notify"))
        .env("WATCHDOG_USEC", "400000")
        .env("RUST_BACKTRACE", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut line, mut said) = (String::new(), BufReader::new(child.stdout.take().unwrap()));
    said.read_line(&mut line).unwrap();
    assert!(line.contains("ready"), "{line}");
    (Flight(child, said), line)
}

fn data_bytes(flight: &Flight, file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/{file}", flight.0.id())).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line[name.len()..].split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_watchdog_is_petted_while_it_makes_progress_and_not_when_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let notify = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    notify.set_read_timeout(Some(PATIENCE)).unwrap();
    let flight = start(folder.path(), "");
    let mut buffer = [0; 64];
    let mut heard = Vec::new();
    while heard.iter().filter(|of: &&String| *of == "WATCHDOG=1").count() < 5 {
        let length = notify.recv(&mut buffer).expect("it is petted");
        heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    assert_eq!(heard[0], "READY=1");
    // A process that stands, threads and all, pets no more.
    let pid = rustix::process::Pid::from_child(&flight.0);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    notify.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let silent = (0..50).any(|_| notify.recv(&mut buffer).is_err());
    assert!(silent, "a stopped process is silent");
}

/// A pipe in a device's place: bytes come while the loop makes progress.
#[test]
fn a_watchdog_device_is_fed_while_the_flight_goes_on_and_starves_when_it_stands() {
    use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
    let folder = tempfile::tempdir().unwrap();
    let device = folder.path().join("watchdog");
    mknodat(CWD, &device, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let pipe = open(&device, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
    let flight = start(folder.path(), "watchdog = \"watchdog\"\n");
    let fed = |wanted: usize| {
        let (mut buffer, mut fed, end) = ([0; 16], 0, Instant::now() + PATIENCE);
        while fed < wanted && Instant::now() < end {
            fed += rustix::io::read(&pipe, &mut buffer).unwrap_or(0);
            std::thread::yield_now();
        }
        fed
    };
    assert!(fed(3) >= 3, "within {PATIENCE:?}");
    let pid = rustix::process::Pid::from_child(&flight.0);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    // What was written before is read; a loop that stands writes nothing behind it.
    let (begun, mut buffer) = (Instant::now(), [0; 16]);
    let mut late = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        let read = rustix::io::read(&pipe, &mut buffer).unwrap_or(0);
        late += if begun.elapsed() > Duration::from_millis(500) { read } else { 0 };
        std::thread::yield_now();
    }
    assert_eq!(late, 0);
}

/// Whether a block of the process's own housekeeping is stored.
fn tells_of_itself(store: &Path) -> bool {
    !own_packets(store).is_empty()
}

/// The process's own housekeeping in the store.
fn own_packets(store: &Path) -> Vec<Vec<u8>> {
    let disk = Disk::read_only(store).unwrap();
    let limits = Limits {
        capacity_bytes: u64::MAX,
        segment_bytes: 4 << 20,
        least_class: 1,
        evict_bytes: 0,
        evict_on_full: false,
    };
    let Ok(mut store) = Store::open(disk, limits, Origin([3; 16]), StoreEpoch(0)) else {
        return Vec::new();
    };
    let keys: Vec<_> = store.unreceipted().map(|of| of.key).collect();
    let recorded = keys.into_iter().filter(|key| key.prefix.channel == Channel::stream(1));
    let mut own = Vec::new();
    for block in recorded.filter_map(|key| store.take(key).ok()) {
        let Ok(block) = unsqueeze(&block, 4 << 20) else { continue };
        own.extend(block.packets().filter(|of| of[..2] == [0x08, 90]).map(|of| of.to_vec()));
    }
    own
}

fn until(what: &str, mut met: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !met() {
        assert!(Instant::now() < end, "{what} within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn damage_in_the_store_is_told_at_the_next_start_and_in_housekeeping() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let (flight, said) = start_said(folder.path(), "every_s = 1\n");
    assert!(said.contains("\"notices\":[]"), "{said}");
    let socket = UnixDatagram::unbound().unwrap();
    until("ten blocks", || {
        let _ = socket
            .send_to(&[0x08, 120, 0xc0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8], folder.path().join("s"));
        onboard::cli::store_report(&store).is_ok_and(|of| of.units_held > 10)
    });
    drop(flight);
    let segment = store.join("0000000000000000.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    // One bit of a medium that begins to fail, far from the tail that a cut may tear.
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let (flight, said) = start_said(folder.path(), "every_s = 1\n");
    assert!(said.contains("segment 0000000000000000 of the store is damaged"), "{said}");
    // Counters of damage end the packet, four of them, the segments first.
    until("a packet that counts it", || {
        own_packets(&store).iter().any(|of| of[of.len() - 16..][..4] == 1u32.to_be_bytes())
    });
    let report = onboard::cli::store_report(&store).unwrap();
    assert_eq!(report.damage.segments, 1);
    let in_use = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onboard"));
        let told = command.arg("store").arg("--json").arg(&store).output().unwrap().stdout;
        serde_json::from_slice::<serde_json::Value>(&told).unwrap()["in_use"].clone()
    };
    assert_eq!(in_use(), true);
    drop(flight);
    assert_eq!(in_use(), false);
}

/// A packet that nothing makes smaller.
fn noise(random: &mut u64, size: u16) -> Vec<u8> {
    let [high, low] = (size - 1).to_be_bytes();
    let mut packet = vec![0x08, 120, 0xc0, 0, high, low];
    packet.extend((0..size).map(|_| {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*random >> 33) as u8
    }));
    packet
}

#[test]
fn a_store_that_goes_away_is_told_ends_the_petting_and_every_packet_is_accounted_for() {
    let folder = tempfile::tempdir().unwrap();
    let notify = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    notify.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut flight = start(folder.path(), "every_s = 1\n");
    let (socket, mut random) = (UnixDatagram::unbound().unwrap(), 1);
    let (store, to) = (folder.path().join("store"), folder.path().join("s"));
    until("some units", || {
        let _ = socket.send_to(&noise(&mut random, 1000), &to);
        onboard::cli::store_report(&store).is_ok_and(|of| of.units_held > 10)
    });
    std::fs::remove_dir_all(&store).unwrap();
    socket.set_nonblocking(true).unwrap();
    let told = AtomicBool::new(false);
    let mut line = String::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !told.load(Ordering::Relaxed) {
                let _ = socket.send_to(&noise(&mut random, 30_000), &to);
                std::thread::yield_now();
            }
        });
        flight.1.read_line(&mut line).unwrap();
        told.store(true, Ordering::Relaxed);
    });
    assert!(line.contains("store can't write"), "{line}");
    let silent = (0..500).any(|_| notify.recv(&mut [0; 64]).is_err());
    assert!(silent, "nobody pets for a flight that can't store");

    let pid = rustix::process::Pid::from_child(&flight.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let last = flight.1.by_ref().lines().map_while(Result::ok).last().unwrap();
    assert_eq!(flight.0.wait().unwrap().code(), Some(1), "{last}");
    let done: serde_json::Value = serde_json::from_str(&last).unwrap();
    let of = |key: &str| done["account"][key].as_u64().unwrap();
    assert!(done["unstored"] == true && !done["trouble"].is_null(), "{done}");
    assert!(of("lost") > 0 && of("units_lost") > 0 && of("stored") > 10, "{done}");
    assert_eq!(of("taken"), done["packets"].as_u64().unwrap());
    let sum = of("stored") + of("left_out") + of("lost") + of("again");
    assert_eq!(of("taken") + of("own"), sum, "{done}");
}

#[test]
fn under_flood_the_process_stays_within_its_memory_and_tells_of_itself() {
    let folder = tempfile::tempdir().unwrap();
    let limit = 96 << 20;
    let flight = start(folder.path(), &format!("every_s = 1\nmemory_bytes_max = {limit}\n"));
    assert_eq!(data_bytes(&flight, "limits", "Max data size"), limit);
    let socket = UnixDatagram::unbound().unwrap();
    socket.set_nonblocking(true).unwrap();
    let to = folder.path().join("s");
    let store = folder.path().join("store");
    let mut random = 1u64;
    let end = Instant::now() + PATIENCE;
    let mut most = 0;
    loop {
        let mut packet = vec![0x08, 120, 0xc0, 0, 0x0f, 0xff];
        for _ in 0..512 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            packet.extend_from_slice(&random.to_be_bytes());
        }
        (0..100).for_each(|_| drop(socket.send_to(&packet, &to)));
        most = most.max(1024 * data_bytes(&flight, "status", "VmData:"));
        assert!(most <= limit, "{most} bytes");
        let report = onboard::cli::store_report(&store).ok();
        if report.is_some_and(|of| of.bytes > 2 << 20) && tells_of_itself(&store) {
            break;
        }
        assert!(Instant::now() < end, "two segments within {PATIENCE:?}");
    }
    println!("most {most} bytes of data, of {limit}");
}

/// With a backtrace asked for, which allocates where nothing is left to allocate.
#[test]
fn a_flight_without_memory_ends_with_a_code_of_its_own_instead_of_hanging() {
    use rustix::process::{Resource, Rlimit, prlimit};
    let folder = tempfile::tempdir().unwrap();
    let mut flight = start(folder.path(), "");
    let socket = UnixDatagram::unbound().unwrap();
    socket.set_nonblocking(true).unwrap();
    // What it has by now is all that it gets.
    let now = 1024 * data_bytes(&flight, "status", "VmData:");
    let limit = Rlimit { current: Some(now), maximum: Some(now) };
    prlimit(Some(rustix::process::Pid::from_child(&flight.0)), Resource::Data, limit).unwrap();
    let (mut code, mut random) = (None, 1u64);
    until("its end", || {
        for size in [1_000u16, 8_000, 30_000] {
            let _ = socket.send_to(&noise(&mut random, size), folder.path().join("s"));
        }
        code = flight.0.try_wait().unwrap();
        code.is_some()
    });
    assert_eq!(code.unwrap().code(), Some(onboard::shell::sys::memory::MEMORY_EXIT), "{code:?}");
}
