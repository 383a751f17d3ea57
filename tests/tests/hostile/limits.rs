//! What each peer may take, and what becomes of one that wants more.

use super::{
    client::{Client, Station, endpoint_on, object},
    range, still_serves,
};
use codecs::link::ALPN;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::pki_types::PrivateKeyDer;
use std::time::{Duration, Instant};

/// Adds a line to a section of the station file and puts it in force.
fn limit(station: &Station, section: &str, line: &str) {
    station.configure(|text| match text.contains(section) {
        true => text.replacen(section, &format!("{section}\n{line}"), 1),
        false => format!("{text}\n{section}\n{line}\n"),
    });
    let (done, said) = station.command(&["reload"]);
    assert!(done, "{said}");
}

#[tokio::test]
async fn two_processes_with_one_identity_are_slowed_and_one_of_them_gets_through() {
    let station = Station::start();
    let mut newest = station.honest().await;
    let mut first = 0;
    // Each takes over from the one before, until that was too often.
    let refused = loop {
        let mut newcomer = Client::connect(&station, Some(station.identity("a"))).await.unwrap();
        newcomer.say_hello(1).await;
        let speaks = async {
            // The one that is there is alive.
            loop {
                newest.object(object(1, first, 1, |_| {})).await;
                first += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            _ = speaks => unreachable!(),
            message = newcomer.message() => if message.is_err() { break newcomer },
        }
        newest = newcomer;
        assert!(first < 10_000, "every newcomer took over");
    };
    let told = refused.closed().await;
    assert!(told.contains("another session of this origin is alive"), "{told}");
    station.counted("/peers_rejected/crowded", 1).await;
    newest.object(object(2, 0, 1, |_| {})).await;
    newest.receipted(2, range(0, 0)).await;
}

#[tokio::test]
async fn a_storm_of_wrong_certificates_costs_little_and_hinders_no_one() {
    let station = Station::start();
    limit(&station, "[limits]", "address_handshakes_per_s = 1");
    limit(&station, "[listen]", "connections_max = 8");
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let certificate =
        CertificateParams::new(vec!["a".to_string()]).unwrap().self_signed(&key).unwrap();
    let identity = || super::client::Identity {
        chain: vec![certificate.der().clone()],
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        origin: codecs::ids::Origin([0; 16]),
    };
    let storm = endpoint_on("127.0.0.2:0", &station, Some(identity()), ALPN);
    let started = Instant::now();
    let attempts: Vec<_> =
        (0..200).map(|_| storm.connect(station.quic, "station").unwrap()).collect();
    station.counted("/peers_rejected/too-often", 100).await;
    still_serves(&station, 0).await;
    let refused = station.counts()["peers_rejected"]["unknown-authority"].as_u64().unwrap();
    let most = 8 + started.elapsed().as_secs() + 1;
    assert!(refused <= most, "{refused} handshakes were paid for, at most {most} should be");
    drop(attempts);
}

#[tokio::test]
async fn a_key_has_so_many_connections_and_no_more() {
    let station = Station::start();
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(Client::connect(&station, Some(station.identity("a"))).await.unwrap());
    }
    let fifth = Client::connect(&station, Some(station.identity("a"))).await.unwrap();
    assert!(fifth.closed().await.contains("too many connections"), "{}", fifth.closed().await);
    station.counted("/peers_rejected/too-many-of-key", 1).await;
    // Another's places are its own; and a place that is left is free again.
    let mut other = Client::connect(&station, Some(station.identity("b"))).await.unwrap();
    other.hello(1).await;
    drop(idle);
    still_serves(&station, 0).await;
}

#[tokio::test]
async fn a_session_is_read_no_faster_than_its_row_says() {
    let station = Station::start();
    limit(&station, "name = \"a\"", "rate_bps = 2_000_000");
    let mut client = station.honest().await;
    let started = Instant::now();
    // 1.8 Mbit, of which a tenth of a second's worth may come at once.
    for first in (0..500).step_by(50) {
        client.object(object(1, first, 50, |_| {})).await;
    }
    client.receipted(1, range(499, 499)).await;
    let took = started.elapsed();
    assert!(took > Duration::from_millis(700), "{took:?}");
}

#[tokio::test]
async fn a_budget_that_can_not_be_split_is_refused_with_what_would_do() {
    let station = Station::start();
    station.configure(|text| format!("{text}\n[limits]\nreceive_bytes = 1_000_000\n"));
    for command in ["check", "reload"] {
        let (done, said) = station.command(&[command]);
        assert!(!done && said.contains("limits.receive_bytes"), "{said}");
        assert!(said.contains("at least 17301504 are needed"), "{said}");
    }
}
