//! A whole flight in one process against a ground double: real sockets, real QUIC, real disk.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use codecs::{
    ids::{Origin, SeqRange, UnitKey},
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
    units: Arc<Mutex<BTreeMap<UnitKey, Bytes>>>,
    repeats: Arc<AtomicU64>,
    receipting: Arc<AtomicBool>,
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
            units: Arc::default(),
            repeats: Arc::default(),
            receipting: Arc::new(AtomicBool::new(true)),
            pin: format!("sha256:{pin}"),
        };
        let serving = ground.clone();
        tokio::spawn(async move {
            while let Some(incoming) = serving.endpoint.accept().await {
                let peer = serving.clone();
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.await {
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
                    receiver.welcome(Tai(1), Vec::new());
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
        let socket = UnixDatagram::unbound().unwrap();
        for count in packets {
            let time = Tai(1_800_000_000_000_000_000 + i64::from(count) * 10_000_000);
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

#[tokio::test]
async fn a_store_in_use_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let ground = Ground::start();
    let flight = Flight::start(folder.path(), &ground, &ground.pin).await;
    let second = onboard::store::Disk::open(&folder.path().join("store")).unwrap_err();
    assert!(second.to_string().contains("another process"), "{second:#}");
    flight.stop().await;
}
