//! The real binary over a radio, against a ground made of the link's own machines: nothing that the
//! ground has receipted goes again, nothing is lost, whatever the uplink carries.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, ErrorKind},
    net::{SocketAddr, UdpSocket},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use codecs::{
    frame::{
        aos::AosConfig,
        cadu::{CaduDecoder, Coding, Frame},
        cltu::bch,
        extract::{Event, Extractor, FrameConfig},
        tc::{self, TcHeader, TcType},
    },
    ids::{Channel, KeyPrefix, Origin, SeqRange, UnitKey},
    link::{
        custody::Durability,
        rf::{
            SIGNED_APID,
            rebuild::Rebuilder,
            say::{Speaker, SpeakerConfig},
        },
        void::{Void, VoidReason},
    },
    packet::space::{PacketView, SequenceCount},
    time::Tai,
};
use onboard::{pipeline::TELEMETRY, store::StoreReport};

const ORIGIN: Origin = Origin([3; 16]);
const PATIENCE: Duration = Duration::from_secs(100);
const FRAME_BYTES: usize = 892;
/// Ed25519, RFC 8032 §7.1, test 1.
const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
const SECRET: [u8; 32] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
    0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];

/// A station: what it hears it archives, and says so as fast as its uplink allows.
struct Ground {
    socket: UdpSocket,
    up: SocketAddr,
    cadus: CaduDecoder,
    packets: Extractor,
    rebuilder: Rebuilder,
    speaker: Speaker,
    archive: BTreeMap<UnitKey, Bytes>,
    /// Each unit as often as it came, since this was last emptied.
    came: Vec<UnitKey>,
    start: Instant,
}

impl Ground {
    fn new(uplink_bps: u64) -> Self {
        let coding: Coding = "rs:223:i4:dual,randomized:131071".parse().unwrap();
        let frames = FrameConfig::Aos(AosConfig::new(FRAME_BYTES));
        let speaker = SpeakerConfig {
            domain: "orbit".into(),
            ledger: 9,
            origin: ORIGIN,
            class: Durability::Local,
            rate_bps: uplink_bps,
            repeat_ns: 5_000_000_000,
            time_ns: 20_000_000_000,
        };
        // Free when it is asked for; the flight takes it at once.
        let up = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        Self {
            socket,
            up,
            cadus: CaduDecoder::new(&coding, FRAME_BYTES, coding.marker()).unwrap(),
            packets: Extractor::new(frames),
            rebuilder: Rebuilder::new(),
            speaker: Speaker::new(speaker, 0),
            archive: BTreeMap::new(),
            came: Vec::new(),
            start: Instant::now(),
        }
    }

    /// Hears one CADU, or nothing for a moment; whether there was one.
    fn hear(&mut self) -> bool {
        let mut cadu = [0; 2048];
        let length = match self.socket.recv(&mut cadu) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return false;
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(length, 4 + 4 * 255, "one CADU a datagram");
        let Self { cadus, packets, rebuilder, speaker, archive, came, .. } = self;
        cadus.push(&cadu[..length], &mut |frame: Frame| {
            packets.push(&frame.bytes, &mut |event| {
                let Event::Packet { bytes, .. } = event else { return };
                let view = PacketView::parse(&bytes).unwrap();
                let Some(rebuilt) = rebuilder.push(&view) else { return };
                let key = rebuilt.of.key(ORIGIN);
                let held = archive.entry(key).or_insert_with(|| rebuilt.bytes.clone());
                assert_eq!(*held, rebuilt.bytes, "one key, other bytes: {key:?}");
                came.push(key);
                let range = SeqRange { first: key.sequence, last: key.sequence };
                speaker.durable(key.prefix, range);
            });
        });
        true
    }

    fn speak(&mut self) {
        let now = self.start.elapsed().as_nanos() as u64;
        let time = Tai(1_800_000_000_000_000_000 + now as i64);
        while let Some(statement) = self.speaker.poll(now, time) {
            let packet = statement.packet(&SECRET, SIGNED_APID, SequenceCount(0)).unwrap();
            let header = TcHeader { kind: TcType::Bd, scid: 71, vcid: 0, count: 0 };
            let frame = tc::build(&header, None, &packet, true).unwrap();
            self.socket.send_to(&bch::encode(&frame, None).unwrap(), self.up).ok();
        }
    }

    fn until(&mut self, what: &str, flight: &mut Flight, mut met: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !met(self) {
            assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
            assert_eq!(flight.child.try_wait().unwrap(), None, "{what}: the flight ended");
            let until = Instant::now() + Duration::from_millis(50);
            while Instant::now() < until {
                self.hear();
                self.speak();
            }
        }
    }

    /// What the flight sent before it was killed.
    fn drain(&mut self) {
        while self.hear() {}
        self.came.clear();
    }
}

struct Flight {
    child: Child,
    folder: PathBuf,
}

impl Flight {
    fn start(folder: &Path, ground: &Ground, rate_bps: u64) -> Self {
        Self::start_with(folder, ground, rate_bps, "")
    }

    fn start_with(folder: &Path, ground: &Ground, rate_bps: u64, more: &str) -> Self {
        let (to, up) = (ground.socket.local_addr().unwrap(), ground.up);
        let text = format!(
            "[spacecraft]\nid = 7\nname = \"SKY-7\"\n\
             [identity]\norigin = \"{ORIGIN}\"\ndomain = \"orbit\"\ndomain_keys = [\"{PUBLIC}\"]\n\
             [downlink.rf]\nto = \"udp:{to}\"\nfrom = \"udp:{up}\"\nrate_bps = {rate_bps}\n\
             scid = 71\nagain_s = 4\n\
             [source]\nunix = \"s\"\n\
             [store]\ndir = \"store\"\ncapacity_bytes = 8388608\nsegment_bytes = 1048576\n\
             [squeeze]\nblock_packets = 4\nflush_ms = 100\nlevel = \"fast\"\n{more}"
        );
        let config = folder.join("onboard.toml");
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_onboard"))
            .args(["run", "--ready-json", "--config"])
            .arg(&config)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains(&format!("udp:{to}")), "{line}");
        Self { child, folder: folder.into() }
    }

    fn feed(&self, packets: std::ops::Range<u16>, bytes: usize) {
        let socket = UnixDatagram::unbound().unwrap();
        for count in packets {
            let time = Tai(1_800_000_000_000_000_000 + i64::from(count) * 10_000_000);
            let mut packet = vec![0x08, 120, 0xc0, 0];
            packet[2..4].copy_from_slice(&(0xc000 | count).to_be_bytes());
            packet.extend_from_slice(&(bytes as u16 + 6).to_be_bytes());
            packet.extend_from_slice(&time.to_cuc43());
            let mut noise = u64::from(count) + 1;
            packet.extend((0..bytes).map(|_| {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                noise as u8
            }));
            socket.send_to(&packet, self.folder.join("s")).unwrap();
        }
    }

    /// The store as a power cut would leave it now.
    fn report(&self) -> Option<StoreReport> {
        onboard::cli::store_report(&self.folder.join("store")).ok()
    }

    fn kill(mut self) -> StoreReport {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.report().unwrap()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keys(
    report: &StoreReport,
    of: impl Fn(&onboard::store::CounterReport) -> &Vec<[u64; 2]>,
) -> BTreeSet<(u64, u64)> {
    let counters = report.keys.iter();
    counters
        .flat_map(|counter| {
            let ranges = of(counter).iter();
            ranges.flat_map(|[first, last]| (*first..=*last).map(|at| (counter.channel, at)))
        })
        .collect()
}

fn name(key: &UnitKey) -> (u64, u64) {
    (key.prefix.channel.0, key.sequence)
}

fn a_kill_in_the_middle(uplink_bps: u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut ground = Ground::new(uplink_bps);
    let mut flight = Flight::start(folder.path(), &ground, 128_000);
    flight.feed(0..160, 300);
    let path = folder.path().join("store");
    let receipted = || onboard::cli::store_report(&path).map_or(0, |of| of.units_receipted);
    ground.until("the first receipts", &mut flight, |_| receipted() >= 4);
    flight.feed(160..240, 300);
    ground.until("more units", &mut flight, |ground| ground.archive.len() >= 42);
    let killed = flight.kill();
    assert!(killed.units_receipted >= 4 && killed.units_held > 0, "{killed:?}");
    let receipted_before = keys(&killed, |of| &of.receipted);
    ground.drain();

    let mut flight = Flight::start(folder.path(), &ground, 128_000);
    flight.feed(240..280, 300);
    ground.until("a receipt for everything", &mut flight, |_| {
        let report = onboard::cli::store_report(&path).unwrap();
        report.units_held == 0 && report.units_numbered >= 70
    });
    for key in &ground.came {
        assert!(!receipted_before.contains(&name(key)), "receipted, and sent again: {key:?}");
    }
    let report = flight.kill();
    let archived: BTreeSet<_> = ground.archive.keys().map(name).collect();
    for counter in &report.keys {
        for sequence in 0..counter.next {
            assert!(archived.contains(&(counter.channel, sequence)), "{} {sequence}", counter.name);
        }
    }
    assert_eq!(report.units_voided, 0);
}

#[test]
fn at_16_kbit_s_nothing_receipted_goes_again_and_nothing_is_lost() {
    a_kill_in_the_middle(16_000);
}

#[test]
fn at_1_kbit_s_nothing_receipted_goes_again_and_nothing_is_lost() {
    a_kill_in_the_middle(1_000);
}

#[test]
fn without_an_uplink_all_is_kept_until_space_is_needed_and_voids_say_what_went() {
    let folder = tempfile::tempdir().unwrap();
    let mut ground = Ground::new(0);
    let mut flight = Flight::start(folder.path(), &ground, 4_000_000);
    flight.feed(0..160, 300);
    // No receipt ever comes, so each goes again after its time.
    let path = folder.path().join("store");
    ground.until("every unit twice", &mut flight, |ground| {
        let mut times = BTreeMap::<_, u32>::new();
        ground.came.iter().for_each(|key| *times.entry(key).or_default() += 1);
        times.len() >= 40 && times.values().all(|times| *times >= 2)
    });
    let report = onboard::cli::store_report(&path).unwrap();
    assert_eq!((report.units_receipted, report.units_voided), (0, 0));
    assert_eq!(report.units_held, report.units_numbered, "all is kept");

    // More than the store holds, while nobody listens.
    for slice in 0..10 {
        flight.feed(200 + slice * 60..260 + slice * 60, 16_000);
        ground.until("the slice on disk", &mut flight, |_| {
            let report = onboard::cli::store_report(&path).unwrap();
            report.units_numbered >= 40 + 15 * (u64::from(slice) + 1)
        });
    }
    let killed = flight.kill();
    assert!(killed.units_voided > 0 && killed.units_receipted == 0, "{killed:?}");
    ground.drain();

    // Whoever listens in the end has each unit, or a void that names it.
    let mut flight = Flight::start(folder.path(), &ground, 16_000_000);
    let prefix = |ground: &Ground| ground.archive.keys().next().unwrap().prefix;
    let all = |ground: &Ground| {
        let held = onboard::cli::store_report(&path).unwrap();
        let held = keys(&held, |of| &of.held);
        let archived: BTreeSet<_> = ground.archive.keys().map(name).collect();
        held.is_subset(&archived)
    };
    ground.until("all that is held", &mut flight, all);
    let report = flight.kill();
    let epoch = prefix(&ground).epoch;
    let mut accounted: BTreeSet<_> = ground.archive.keys().map(name).collect();
    let prefix = KeyPrefix { channel: Channel::VOIDS, ..prefix(&ground) };
    let first = UnitKey { prefix, sequence: 0 };
    let last = UnitKey { prefix, sequence: u64::MAX };
    let mut evicted = 0;
    for (_, void) in ground.archive.range(first..=last) {
        let void = Void::decode(void).unwrap();
        assert_eq!(void.reason, VoidReason::Evicted);
        for entry in void.entries {
            assert_eq!(entry.epoch, epoch);
            evicted += entry.range.count();
            let range = entry.range.first..=entry.range.last;
            accounted.extend(range.map(|sequence| (entry.channel.0, sequence)));
        }
    }
    assert!(evicted > 0);
    for counter in &report.keys {
        for sequence in 0..counter.next {
            let key = (counter.channel, sequence);
            assert!(accounted.contains(&key), "{} {sequence}: lost in silence", counter.name);
        }
    }
}

#[test]
fn the_policy_goes_by_a_plan_only_after_a_ground_told_the_time() {
    let folder = tempfile::tempdir().unwrap();
    // The ground's time is 08:00; the rule drops telemetry in a contact, which a void tells.
    let plan = "[[contact]]\nrise = \"2027-01-15T07:00:00Z\"\nset = \"2027-01-15T09:00:00Z\"\n\
                bearer = \"rf\"\n";
    std::fs::write(folder.path().join("contacts.toml"), plan).unwrap();
    let policy = "[[rule]]\nname = \"in contact\"\nclass = \"telemetry\"\ncontact_min_s = 60\n\
                  action = \"drop\"\n";
    std::fs::write(folder.path().join("policy.toml"), policy).unwrap();
    let more = "[downlink]\nplan = \"contacts.toml\"\n[triage]\npolicy = \"policy.toml\"\n";
    let mut ground = Ground::new(16_000);
    let mut flight = Flight::start_with(folder.path(), &ground, 128_000, more);
    let path = folder.path().join("store");
    let report = || onboard::cli::store_report(&path).unwrap();
    let telemetry = |report: &StoreReport| {
        let of = |of: &&onboard::store::CounterReport| of.channel == TELEMETRY.0;
        report.keys.iter().find(of).map_or((0, 0), |of| {
            (of.next, of.voided.iter().map(|[first, last]| last - first + 1).sum())
        })
    };
    flight.feed(0..40, 300);
    let deadline = Instant::now() + PATIENCE;
    let first = || flight.report().map_or(0, |report| telemetry(&report).0);
    while first() < 10 {
        assert!(Instant::now() < deadline, "the first blocks");
        std::thread::yield_now();
    }
    assert_eq!(telemetry(&report()).1, 0, "no contact is believed without time");
    // Time is the first thing that is said.
    ground.until("a receipt", &mut flight, |_| report().units_receipted > 0);
    flight.feed(40..80, 300);
    ground.until("the rule", &mut flight, |_| telemetry(&report()).1 >= 10);
    let (numbered, left_out) = telemetry(&flight.kill());
    let flight = Flight::start_with(folder.path(), &ground, 128_000, more);
    flight.feed(80..120, 300);
    while telemetry(&report()).0 < numbered + 10 {
        assert!(Instant::now() < deadline, "{:?}", report());
        std::thread::yield_now();
    }
    assert_eq!(telemetry(&report()).1, left_out, "a new start knows no time");
}
