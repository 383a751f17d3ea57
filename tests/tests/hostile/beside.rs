//! An honest peer beside a hostile one: what it still gets through, what the station's memory
//! reaches, and that each refusal is counted.
//!
//! The honest peer offers a steady rate, as a spacecraft in contact does. Windows with and without
//! the attack alternate, and the medians of what was receipted in them are compared, so that
//! whatever else the machine does meets both. `HOSTILE_SECONDS` makes the windows that long
//! together and the bound the one that is meant; short windows on a busy machine only show that
//! the peer is not starved.

use super::client::{Client, Station, client_config, object, object_of};
use codecs::{
    ids::{Channel, SpacecraftId},
    link::{ALPN, wire::Message},
};
use quinn::{ClientConfig, Connection, Endpoint};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::pki_types::PrivateKeyDer;
use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// Pairs of windows.
const PAIRS: u32 = 5;
/// A window where nothing else is asked for.
const WINDOW: Duration = Duration::from_millis(300);
/// The honest peer's objects: 14 units of about 500 bytes each, so 11 Mbit/s.
const OBJECT_EVERY: Duration = Duration::from_millis(5);
const OBJECT_UNITS: u64 = 14;
const HONEST_STREAM: u32 = 1;

/// Turns the attack on and off, and ends everyone.
#[derive(Clone, Default)]
pub struct Switch(Arc<(AtomicBool, AtomicBool)>);

impl Switch {
    fn turn(&self, on: bool) {
        self.0.0.store(on, Ordering::Relaxed);
    }

    fn end(&self) {
        self.0.1.store(true, Ordering::Relaxed);
    }

    /// Waits until the attack is on; false at the end.
    pub async fn on(&self) -> bool {
        loop {
            if self.0.1.load(Ordering::Relaxed) {
                return false;
            }
            if self.0.0.load(Ordering::Relaxed) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// What an attacker has.
pub struct Attacker {
    pub station: SocketAddr,
    /// As spacecraft 8.
    pub enrolled: ClientConfig,
    /// With a certificate that the station's authority did not sign.
    pub stranger: ClientConfig,
}

impl Attacker {
    fn of(station: &Station) -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let own = CertificateParams::new(vec!["a".to_string()]).unwrap().self_signed(&key).unwrap();
        let mut stranger = station.identity("b");
        stranger.chain = vec![own.der().clone()];
        stranger.key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Self {
            station: station.quic,
            enrolled: client_config(station, Some(station.identity("b")), ALPN),
            stranger: client_config(station, Some(stranger), ALPN),
        }
    }

    /// An open session of spacecraft 8.
    pub async fn session(&self) -> Client {
        let mut endpoint = Endpoint::client("127.0.0.2:0".parse().unwrap()).unwrap();
        endpoint.set_default_client_config(self.enrolled.clone());
        let mut client = Client::connect_from(endpoint, self.station).await.unwrap();
        client.hello(1).await;
        client
    }
}

fn on_a_thread<F: Future<Output = ()>>(
    run: impl FnOnce() -> F + Send + 'static,
) -> thread::JoinHandle<()> {
    thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run());
    })
}

/// Delivers at a steady rate and counts what is receipted.
async fn deliver(config: ClientConfig, to: SocketAddr, receipted: Arc<AtomicU64>, switch: Switch) {
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.set_default_client_config(config);
    let mut client = Client::connect_from(endpoint, to).await.unwrap();
    client.hello(1).await;
    let connection = client.connection.clone();
    let sends = async {
        let mut tick = tokio::time::interval(OBJECT_EVERY);
        let mut first = 0;
        while !switch.0.1.load(Ordering::Relaxed) {
            tick.tick().await;
            let bytes = object(HONEST_STREAM, first, OBJECT_UNITS, |_| {});
            first += OBJECT_UNITS;
            let mut stream = connection.open_uni().await.expect("the honest session stays open");
            stream.write_all(&bytes).await.expect("its objects are taken");
            stream.finish().unwrap();
        }
    };
    let reads = async {
        loop {
            match client.message().await.expect("the honest session stays open") {
                Message::Receipts { entries, .. } => {
                    let ours =
                        entries.iter().filter(|e| e.channel == Channel::stream(HONEST_STREAM));
                    let units = ours.flat_map(|e| &e.ranges).map(|range| range.count()).sum();
                    receipted.fetch_add(units, Ordering::Relaxed);
                }
                Message::Refusals { reason, .. } => {
                    panic!("an honest unit was refused: {reason:?}")
                }
                _ => {}
            }
        }
    };
    tokio::select! {
        () = sends => {}
        () = reads => {}
    }
}

fn median(mut of: Vec<u64>) -> u64 {
    of.sort_unstable();
    of[of.len() / 2]
}

/// Runs an attack beside an honest peer and holds what every attack must leave whole.
pub fn beside<F: Future<Output = ()>>(
    name: &str,
    attack: impl FnOnce(Attacker, Switch) -> F + Send + 'static,
    refused: &[&str],
) {
    let seconds: Option<f64> = std::env::var("HOSTILE_SECONDS").ok().map(|s| s.parse().unwrap());
    let window = seconds.map_or(WINDOW, |s| Duration::from_secs_f64(s / f64::from(2 * PAIRS)));
    let station = Station::start();
    let budget = station.budget();
    let (switch, receipted) = (Switch::default(), Arc::new(AtomicU64::new(0)));
    let honest = {
        let config = client_config(&station, Some(station.identity("a")), ALPN);
        let (to, receipted, switch) = (station.quic, Arc::clone(&receipted), switch.clone());
        on_a_thread(move || deliver(config, to, receipted, switch))
    };
    let hostile = {
        let (attacker, switch) = (Attacker::of(&station), switch.clone());
        on_a_thread(move || attack(attacker, switch))
    };
    while receipted.load(Ordering::Relaxed) == 0 {
        assert!(!honest.is_finished(), "the honest peer gave up before it began");
        thread::sleep(Duration::from_millis(5));
    }
    let (mut quiet, mut under) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        for (on, goodput) in [(false, &mut quiet), (true, &mut under)] {
            switch.turn(on);
            // What was under way belongs to the window before.
            thread::sleep(window / 4);
            let before = receipted.load(Ordering::Relaxed);
            thread::sleep(window);
            goodput.push(receipted.load(Ordering::Relaxed) - before);
        }
    }
    let (_, highest) = station.memory();
    let counts = station.counts();
    switch.end();
    honest.join().expect("the honest peer was not hindered");
    hostile.join().expect("the attack went on to its end");
    let ratio = median(under.clone()) as f64 / median(quiet.clone()) as f64;
    println!(
        "{name}: {ratio:.2} of the honest goodput (units a window: quiet {quiet:?}, attacked \
         {under:?}), memory {:.1} of {:.1} MiB, turned away {}, rejected {}, datagrams {}, live {}",
        highest as f64 / f64::from(1 << 20),
        budget as f64 / f64::from(1 << 20),
        counts["peers_rejected"],
        counts["rejected"],
        counts["datagrams_dropped"],
        counts["quick_looks_dropped"],
    );
    assert!(highest <= budget, "{highest} of {budget}");
    for pointer in refused {
        let count = counts.pointer(pointer).and_then(|count| count.as_u64()).unwrap_or(0);
        assert!(count > 0, "{pointer} is not counted: {counts}");
    }
    let bound = if seconds.is_some() { 0.9 } else { 0.5 };
    assert!(ratio >= bound, "{ratio:.2}");
}

#[test]
fn a_thousand_slow_streams() {
    beside(
        "a thousand slow streams",
        async |attacker: Attacker, switch: Switch| {
            let client = attacker.session().await;
            let whole = object_of(8, 1, 0, 20, |_| {});
            let mut streams = Vec::new();
            let mut at = 0;
            while switch.on().await {
                // As many as are granted; the station grants no more than it said.
                let more = tokio::time::timeout(Duration::ZERO, client.connection.open_uni());
                if streams.len() < 1_000
                    && let Ok(Ok(stream)) = more.await
                {
                    streams.push(stream);
                    continue;
                }
                for stream in &mut streams {
                    // Stopped for its silence, at times; then another takes its place.
                    let _ = stream.write_all(&whole[at % whole.len()..][..1]).await;
                }
                at += 1;
                streams.retain(|stream| stream.id().index() + 512 > at as u64);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        },
        &[],
    );
}

#[test]
fn streams_that_are_opened_and_reset() {
    beside(
        "streams that are opened and reset",
        async |attacker: Attacker, switch: Switch| {
            let client = attacker.session().await;
            let whole = object_of(8, 1, 0, 4, |_| {});
            while switch.on().await {
                for _ in 0..16 {
                    let opened = client.connection.open_uni();
                    let Ok(opened) = tokio::time::timeout(Duration::from_millis(50), opened).await
                    else {
                        break;
                    };
                    let mut stream = opened.expect("resets are no fault");
                    stream.write_all(&whole[..whole.len() / 2]).await.unwrap();
                    stream.reset(7u32.into()).unwrap();
                }
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
        },
        &[],
    );
}

#[test]
fn headers_and_lengths_that_lie() {
    beside(
        "headers and lengths that lie",
        async |attacker: Attacker, switch: Switch| {
            let mut client = attacker.session().await;
            let connection = client.connection.clone();
            let lies = async {
                let mut round = 0;
                while switch.on().await {
                    lie(&connection, round).await;
                    round += 1;
                    tokio::time::sleep(Duration::from_millis(4)).await;
                }
            };
            let reads = async { while client.message().await.is_ok() {} };
            tokio::select! {
                () = lies => {}
                () = reads => panic!("lies about objects end no session"),
            }
        },
        &[
            "/rejected/malformed",
            "/rejected/malformed-header",
            "/rejected/too-large",
            "/rejected/truncated",
            "/rejected/forbidden",
            "/rejected/unknown-spacecraft",
        ],
    );
}

/// An object whose header says one thing too much.
async fn lie(connection: &Connection, round: u64) {
    let bytes = object_of(8, 2, round, 4, |header| match round % 9 {
        0 => header.length = 0,
        1 => header.length = u32::MAX,
        2 => header.count = 0,
        3 => header.count = u32::MAX,
        4 => header.count += 1,
        // Frames of A under the certificate of B.
        5 => header.spacecraft = SpacecraftId(7),
        6 => header.spacecraft = SpacecraftId(u16::MAX),
        7 => header.first = 1 << 62,
        _ => header.first = u64::MAX,
    });
    let Ok(mut stream) = connection.open_uni().await else { return };
    let cut = if round.is_multiple_of(5) { 63 } else { bytes.len() };
    let _ = stream.write_all(&bytes[..cut]).await;
    let _ = stream.finish();
}

#[test]
fn datagrams_of_garbage() {
    beside(
        "datagrams of garbage",
        async |attacker: Attacker, switch: Switch| {
            let socket = UdpSocket::bind("127.0.0.2:0").unwrap();
            let mut seed = 1u64;
            while switch.on().await {
                for _ in 0..32 {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let mut packet: Vec<u8> =
                        (0..1_200u64).map(|at| (seed >> (at % 57)) as u8).collect();
                    // Short headers, long ones, and some that are no QUIC at all.
                    packet[0] = [0x43, 0xc3, 0x00, 0xff][(seed >> 60) as usize % 4];
                    let _ = socket.send_to(&packet, attacker.station);
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        },
        &["/datagrams_dropped/unknown-connection", "/datagrams_dropped/version"],
    );
}

#[test]
fn a_flood_of_handshakes() {
    beside(
        "a flood of handshakes",
        async |attacker: Attacker, switch: Switch| {
            let mut endpoint = Endpoint::client("127.0.0.2:0".parse().unwrap()).unwrap();
            endpoint.set_default_client_config(attacker.stranger.clone());
            // One goes on until it is refused, however slow the machine is.
            let mut patience = Duration::from_secs(2);
            while switch.on().await {
                // First packets of which most are left alone at once, and some go on.
                let mut begun = Vec::new();
                for _ in 0..4 {
                    begun.push(endpoint.connect(attacker.station, "station").unwrap());
                }
                let ended = tokio::time::timeout(patience, begun.pop().unwrap()).await;
                if let Ok(Ok(connection)) = ended {
                    // The client believes itself connected until the station has its certificate.
                    let _ = tokio::time::timeout(patience, connection.closed()).await;
                }
                patience = Duration::from_millis(8);
            }
        },
        &["/peers_rejected/unknown-authority", "/peers_rejected/too-often"],
    );
}
