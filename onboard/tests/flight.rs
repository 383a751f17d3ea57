//! A whole flight in one process against a ground double: real sockets, real QUIC, real disk.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use codecs::{
    ids::{Channel, Origin, SeqRange, UnitKey},
    link::{
        ALPN,
        object::ObjectReader,
        receiver::{Receiver, ReceiverConfig, ReceiverEvent},
        wire::Limits,
    },
    time::Tai,
};
use onboard::{config::Config, shell};
use rcgen::PublicKeyData;
use rustls::pki_types::PrivateKeyDer;
use sha2::{Digest, Sha256};
use tokio::{net::UnixDatagram, sync::oneshot};

const ORIGIN: Origin = Origin([3; 16]);
const PATIENCE: Duration = Duration::from_secs(30);

/// A station that keeps everything in memory and receipts when it is told to.
#[derive(Clone)]
struct Ground {
    endpoint: quinn::Endpoint,
    connections: Arc<Mutex<Vec<quinn::Connection>>>,
    units: Arc<Mutex<BTreeMap<UnitKey, Bytes>>>,
    repeats: Arc<AtomicU64>,
    receipting: Arc<AtomicBool>,
    /// What its clock says.
    time: Arc<AtomicI64>,
    pin: String,
}

impl Ground {
    fn start() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["station".into()]).unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let digest = Sha256::digest(key.subject_public_key_info());
        let pin: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
        let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        let address = "127.0.0.1:0".parse().unwrap();
        let endpoint = quinn::Endpoint::server(config, address).unwrap();
        let ground = Self {
            endpoint,
            connections: Arc::default(),
            units: Arc::default(),
            repeats: Arc::default(),
            receipting: Arc::new(AtomicBool::new(true)),
            time: Arc::new(AtomicI64::new(1)),
            pin: format!("sha256:{pin}"),
        };
        let serving = ground.clone();
        tokio::spawn(async move {
            while let Some(incoming) = serving.endpoint.accept().await {
                let peer = serving.clone();
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.await {
                        peer.connections.lock().unwrap().push(connection.clone());
                        peer.serve(connection).await;
                    }
                });
            }
        });
        ground
    }

    async fn serve(self, connection: quinn::Connection) {
        let Ok((mut send, mut receive)) = connection.accept_bi().await else { return };
        let limits = Limits { object_bytes_max: 2 << 20, unit_bytes_max: 1 << 20, objects_max: 64 };
        let config =
            ReceiverConfig { ledger: 9, domain: "test".into(), limits, commit_ns: 1_000_000 };
        let mut receiver = Receiver::new(config, ORIGIN);
        let start = Instant::now();
        let mut buffer = vec![0; 4096];
        let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
        loop {
            while let Some(event) = receiver.poll_event() {
                if let ReceiverEvent::Hello { .. } = event {
                    receiver.welcome(Tai(self.time.load(Ordering::Relaxed)), Vec::new());
                }
            }
            let now = start.elapsed().as_nanos() as u64;
            receiver.handle_timeout(now);
            while let Some(bytes) = receiver.poll_control() {
                if send.write_chunk(bytes).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                read = receive.read(&mut buffer) => match read {
                    Ok(Some(length)) => receiver.control_bytes(&buffer[..length]).unwrap(),
                    _ => return,
                },
                Ok(stream) = connection.accept_uni() => {
                    tokio::spawn(read_object(stream, arrived.clone()));
                }
                Some((key, bytes)) = arrivals.recv() => self.arrived(&mut receiver, key, bytes, now),
                () = tokio::time::sleep(Duration::from_millis(2)), if receiver.timeout().is_some() => {}
            }
        }
    }

    fn arrived(&self, receiver: &mut Receiver, key: UnitKey, bytes: Bytes, now: u64) {
        let mut units = self.units.lock().unwrap();
        if let Some(before) = units.insert(key, bytes.clone()) {
            assert_eq!(before, bytes, "the same key with other bytes: {key:?}");
            self.repeats.fetch_add(1, Ordering::Relaxed);
        }
        if self.receipting.load(Ordering::Relaxed) {
            let range = SeqRange { first: key.sequence, last: key.sequence };
            receiver.receipt(key.prefix, range, now);
        }
    }

    /// Ends the contact; the next one has another clock.
    fn step_to(&self, time: Tai) {
        self.time.store(time.0, Ordering::Relaxed);
        for connection in self.connections.lock().unwrap().drain(..) {
            connection.close(0u32.into(), b"set");
        }
    }

    /// Numbers of the recorded packets that came, each as often as it came.
    fn packets(&self) -> Vec<u16> {
        let units = self.units.lock().unwrap();
        let blocks = units.iter().filter(|of| of.0.prefix.channel == Channel::stream(1));
        let mut numbers = Vec::new();
        for (_, block) in blocks {
            let block = codecs::squeeze::columns::unsqueeze(block, 1 << 20).unwrap();
            // The flight's own packets are counted apart.
            let ours = block.packets().filter(|of| of[1] == 120);
            numbers.extend(ours.map(|of| u16::from_be_bytes([of[2] & 0x3f, of[3]])));
        }
        numbers.sort_unstable();
        numbers
    }

    fn count(&self) -> usize {
        self.units.lock().unwrap().len()
    }
}

async fn read_object(
    mut stream: quinn::RecvStream,
    arrived: tokio::sync::mpsc::UnboundedSender<(UnitKey, Bytes)>,
) {
    let mut reader = ObjectReader::new();
    while let Ok(Some(chunk)) = stream.read_chunk(usize::MAX, true).await {
        reader.push(chunk.bytes);
        reader.poll_header().unwrap();
        let Some(header) = reader.header().copied() else { continue };
        while let Some(unit) = reader.poll_unit().unwrap() {
            assert!(unit.intact);
            let key = UnitKey { prefix: header.prefix(ORIGIN), sequence: unit.sequence };
            let _ = arrived.send((key, unit.bytes));
        }
    }
}

struct Flight {
    stop: oneshot::Sender<()>,
    running: std::pin::Pin<Box<dyn Future<Output = anyhow::Result<shell::Done>>>>,
    folder: PathBuf,
}

impl Flight {
    async fn start(folder: &Path, ground: &Ground, pin: &str) -> Self {
        Self::start_with(folder, ground, pin, "").await
    }

    async fn start_with(folder: &Path, ground: &Ground, pin: &str, extra: &str) -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["sky-7".into()]).unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        std::fs::write(folder.join("identity.crt"), certificate.pem()).unwrap();
        std::fs::write(folder.join("identity.key"), key.serialize_pem()).unwrap();
        let address = ground.endpoint.local_addr().unwrap();
        let text = format!(
            "[spacecraft]\nid = 7\nname = \"SKY-7\"\n\
             [identity]\ncertificate = \"identity.crt\"\nkey = \"identity.key\"\n\
             ground_pins = [\"{pin}\"]\norigin = \"{ORIGIN}\"\n\
             [ground]\naddress = \"{address}\"\nserver_name = \"station\"\n\
             [source]\nunix = \"s\"\n[store]\ndir = \"store\"\n\
             [squeeze]\nblock_packets = 4\nflush_ms = 100\n"
        );
        let text = format!("{text}{extra}");
        let config = Config::parse("onboard.toml", &text, folder).unwrap();
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let mut running: std::pin::Pin<Box<dyn Future<Output = _>>> =
            Box::pin(shell::run(config, stopped, |_| {}));
        // The socket is there as soon as the flight waits for packets.
        let socket = folder.join("s");
        while !socket.exists() {
            tokio::select! {
                ended = &mut running => panic!("ended early: {ended:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
        Self { stop, running, folder: folder.into() }
    }

    async fn feed(&mut self, packets: std::ops::Range<u16>) {
        self.feed_at(Tai(1_800_000_000_000_000_000), packets).await;
    }

    /// Packets whose own clock says `base`.
    async fn feed_at(&mut self, base: Tai, packets: std::ops::Range<u16>) {
        let socket = UnixDatagram::unbound().unwrap();
        for count in packets {
            let time = base.plus(i64::from(count) * 10_000_000);
            let mut packet = vec![0x08, 120, 0xc0, 0];
            packet[2..4].copy_from_slice(&(0xc000 | count).to_be_bytes());
            packet.extend_from_slice(&22u16.to_be_bytes());
            packet.extend_from_slice(&time.to_cuc43());
            packet.extend_from_slice(&[count as u8; 16]);
            let path = self.folder.join("s");
            tokio::select! {
                sent = socket.send_to(&packet, &path) => { sent.unwrap(); }
                ended = &mut self.running => panic!("ended early: {ended:?}"),
            }
        }
    }

    async fn until(&mut self, what: &str, met: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !met() {
            assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
            tokio::select! {
                ended = &mut self.running => panic!("ended early: {ended:?}"),
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
        }
    }

    async fn stop(self) -> shell::Done {
        self.stop.send(()).unwrap();
        self.running.await.unwrap()
    }
}

fn receipted(folder: &Path) -> u64 {
    onboard::cli::store_report(&folder.join("store")).map_or(0, |report| report.units_receipted)
}

#[tokio::test]
async fn a_pass_brings_every_unit_down_and_its_receipts_back() {
    let folder = tempfile::tempdir().unwrap();
    let ground = Ground::start();
    let mut flight = Flight::start(folder.path(), &ground, &ground.pin).await;
    flight.feed(0..40).await;
    let path = folder.path().to_path_buf();
    flight.until("ten receipts on disk", || receipted(&path) >= 10).await;
    let done = flight.stop().await;
    assert_eq!((done.packets, done.connections), (40, 1));
    assert!(done.units_sent >= 10 && done.units_receipted >= 10, "{done:?}");
    let report = onboard::cli::store_report(&folder.path().join("store")).unwrap();
    assert_eq!(report.units_numbered, report.units_held + report.units_receipted);
    assert_eq!(ground.repeats.load(Ordering::Relaxed), 0);
    assert!(!folder.path().join("s").exists(), "the socket goes with the flight");
}

#[tokio::test]
async fn what_was_not_receipted_goes_again_after_a_cut_and_after_a_boot() {
    let folder = tempfile::tempdir().unwrap();
    let ground = Ground::start();
    ground.receipting.store(false, Ordering::Relaxed);
    let mut flight = Flight::start(folder.path(), &ground, &ground.pin).await;
    flight.feed(0..40).await;
    flight.until("ten units", || ground.count() >= 10).await;
    // The station goes away and comes back: the same port, nothing receipted.
    let connections = ground.endpoint.open_connections();
    assert_eq!(connections, 1);
    ground.endpoint.close(0u32.into(), b"gone");
    let done = flight.stop().await;
    assert_eq!(done.units_receipted, 0);
    assert!(done.backlog_units >= 10);

    let again = Ground::start();
    let mut flight = Flight::start(folder.path(), &again, &again.pin).await;
    flight.until("everything again", || again.count() as u64 >= done.backlog_units).await;
    let path = folder.path().to_path_buf();
    flight.until("its receipts", || receipted(&path) >= done.backlog_units).await;
    let second = flight.stop().await;
    assert!(second.units_receipted >= done.backlog_units);
    let first = ground.units.lock().unwrap();
    let later = again.units.lock().unwrap();
    for (key, bytes) in first.iter() {
        assert_eq!(later.get(key), Some(bytes), "the same bytes under {key:?} after a boot");
    }
}

#[tokio::test]
async fn a_station_with_another_key_gets_nothing_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let ground = Ground::start();
    let (rest, last) = ground.pin.split_at(ground.pin.len() - 1);
    let wrong = format!("{rest}{}", if last == "0" { "1" } else { "0" });
    let mut flight = Flight::start(folder.path(), &ground, &wrong).await;
    flight.feed(0..40).await;
    let path = folder.path().join("store");
    let held = || onboard::cli::store_report(&path).map_or(0, |report| report.units_held);
    flight.until("ten units on disk", || held() >= 10).await;
    let done = flight.stop().await;
    assert_eq!((done.connections, done.units_sent, ground.count()), (0, 0, 0));
    assert!(done.backlog_units >= 10);
}

/// The flight reads no wall clock: what it knows of time it has from packets and from the ground,
/// and here both jump, in contact, over 129 years and back.
#[tokio::test]
async fn clocks_that_jump_to_1970_and_2099_and_back_lose_nothing_and_stop_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ground = Ground::start();
    let plan = "[[contact]]\nrise = \"2027-01-15T08:00:00Z\"\nset = \"2027-01-15T08:10:00Z\"\n";
    std::fs::write(folder.path().join("contacts.toml"), plan).unwrap();
    let extra = "[downlink]\nplan = \"contacts.toml\"\nsleep = true\n[health]\nevery_s = 1\n";
    let time = |text: &str| Tai::from_rfc3339(text).unwrap();
    let now = time("2027-01-15T08:01:00Z");
    ground.time.store(now.0, Ordering::Relaxed);
    let mut flight = Flight::start_with(folder.path(), &ground, &ground.pin, extra).await;
    let jumps = [
        (now, now),
        (time("1970-01-01T00:00:10Z"), now),
        (now, time("1970-01-01T00:00:20Z")),
        (time("2099-12-31T23:59:59Z"), time("2099-12-31T23:59:59Z")),
        (now.plus(5_000_000_000), now.plus(5_000_000_000)),
    ];
    for (turn, (told, captured)) in jumps.into_iter().enumerate() {
        ground.step_to(told);
        let first = turn as u16 * 40;
        flight.feed_at(captured, first..first + 40).await;
        let whole = first as usize + 40;
        flight.until("its packets", || ground.packets().len() >= whole).await;
    }
    let done = flight.stop().await;
    assert_eq!(ground.packets(), (0..200).collect::<Vec<u16>>(), "each once");
    assert!(done.connections >= 4, "{done:?}");
    assert_eq!(done.sources[0].taken, 200);
}

#[tokio::test]
async fn a_store_in_use_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let ground = Ground::start();
    let flight = Flight::start(folder.path(), &ground, &ground.pin).await;
    let second = onboard::store::Disk::open(&folder.path().join("store")).unwrap_err();
    assert!(second.to_string().contains("another process"), "{second:#}");
    flight.stop().await;
}

/// Tests above step what the flight hears of time; this holds that there is nothing else to step.
#[test]
fn nothing_that_flies_reads_the_wall_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders: Vec<PathBuf> =
        ["onboard/src", "codecs/src", "codecs/store/src", "codecs/quic/src"]
            .map(|of| root.join(of))
            .into();
    let (mut read, mut found) = (0, Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|of| of == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                read += 1;
                let clocks = ["SystemTime::now", "UnixTime::now", "ClockId::Realtime", "UTC_CLOCK"];
                if clocks.iter().any(|clock| text.contains(clock)) {
                    found.push(path);
                }
            }
        }
    }
    assert!(read > 100, "{read} files");
    assert_eq!(found, Vec::<PathBuf>::new());
}
