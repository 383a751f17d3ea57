//! The relay with real sockets: both directions, delay, loss, and a server that restarts.

use codecs::time::Tai;
use sims::link::budget::file;
use sims::link::radio::{RadioLink, Way, Weather};
use sims::link::{Disturbances, Fixed, LIGHT_KM_S, LinkModel, LinkSettings, LossSettings, Track};
use sims::relay::{Relay, SimulatedClock, Totals};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(20);
const DELAY_MS: f64 = 30.0;

fn link(loss: f64, seed: u64) -> LinkModel<Fixed> {
    let settings = LinkSettings {
        rate_bps: 50e6,
        ground_delay_ns: 0,
        queue_ns: 1_000_000_000,
        loss: LossSettings { mean: loss, burst_packets: 2.0 },
        seed,
    };
    LinkModel::new(settings, Fixed { range_km: DELAY_MS / 1000.0 * LIGHT_KM_S })
}

async fn start(to: SocketAddr, loss: f64) -> (SocketAddr, Arc<Totals>) {
    let clock = SimulatedClock { start: Tai(0), at: Instant::now() };
    let relay = Relay::bind("127.0.0.1:0".parse().unwrap(), to).await.unwrap();
    let (address, totals) = (relay.address().unwrap(), relay.totals());
    tokio::spawn(relay.run(clock, link(loss, 1), link(0.0, 2)));
    (address, totals)
}

async fn until(state: impl Fn() -> bool) {
    let reached = async {
        while !state() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap();
}

async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 2048];
    let (length, from) = timeout(PATIENCE, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
    (buffer[..length].to_vec(), from)
}

#[tokio::test]
async fn datagrams_go_both_ways_with_the_delay_of_the_link() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (address, totals) = start(server.local_addr().unwrap(), 0.0).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let begun = Instant::now();
    client.send_to(b"down", address).await.unwrap();
    let (bytes, from) = receive(&server).await;
    assert_eq!(bytes, b"down");
    server.send_to(b"up", from).await.unwrap();
    let (bytes, from) = receive(&client).await;
    assert_eq!((&bytes[..], from), (&b"up"[..], address));
    assert!(begun.elapsed() >= Duration::from_millis(2 * DELAY_MS as u64));
    assert_eq!(totals.down.bytes.load(Ordering::Relaxed), 4);
    assert_eq!(totals.up.bytes.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn clients_are_told_apart() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (address, _) = start(server.local_addr().unwrap(), 0.0).await;
    for name in [b"one", b"two"] {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.send_to(name, address).await.unwrap();
        let (bytes, from) = receive(&server).await;
        server.send_to(&bytes, from).await.unwrap();
        assert_eq!(receive(&client).await.0, name);
    }
}

#[tokio::test]
async fn losses_are_counted_and_the_rest_arrives() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (address, totals) = start(server.local_addr().unwrap(), 0.3).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for number in 0..100u8 {
        client.send_to(&[number], address).await.unwrap();
    }
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    until(|| read(&totals.down.lost) + read(&totals.down.delivered) == 100).await;
    let (lost, delivered) = (read(&totals.down.lost), read(&totals.down.delivered));
    assert!(lost > 5 && delivered > 30, "{lost} lost, {delivered} delivered");
    let mut seen = Vec::new();
    for _ in 0..delivered {
        seen.push(receive(&server).await.0[0]);
    }
    assert!(seen.is_sorted(), "a link of one path keeps the order");
}

#[tokio::test]
async fn a_server_that_dies_and_returns_is_found_again() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = server.local_addr().unwrap();
    let (address, totals) = start(to, 0.0).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    drop(server);
    client.send_to(b"into the dark", address).await.unwrap();
    // Handed to the kernel, where nobody listens, it is gone.
    until(|| totals.down.delivered.load(Ordering::Relaxed) == 1).await;
    let server = UdpSocket::bind(to).await.unwrap();
    client.send_to(b"hello again", address).await.unwrap();
    let (bytes, from) = receive(&server).await;
    assert_eq!(bytes, b"hello again");
    server.send_to(b"welcome", from).await.unwrap();
    assert_eq!(receive(&client).await.0, b"welcome");
}

#[tokio::test]
async fn a_link_that_doubles_packets_delivers_both() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let clock = SimulatedClock { start: Tai(0), at: Instant::now() };
    let relay =
        Relay::bind("127.0.0.1:0".parse().unwrap(), server.local_addr().unwrap()).await.unwrap();
    let (address, totals) = (relay.address().unwrap(), relay.totals());
    let twice = Disturbances { twice_share: 1.0, ..Disturbances::default() };
    tokio::spawn(relay.run(clock, link(0.0, 1).with_disturbances(twice), link(0.0, 2)));
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(b"echo", address).await.unwrap();
    for _ in 0..2 {
        assert_eq!(receive(&server).await.0, b"echo");
    }
    until(|| totals.down.delivered.load(Ordering::Relaxed) == 2).await;
}

#[tokio::test]
async fn a_budget_over_a_pass_can_stand_between_two_programs() {
    let text = include_str!("../../missions/links/x-band.toml");
    let described = file::read("x-band.toml", text).unwrap();
    let elements = include_str!("../../missions/sky-7/elements.json");
    let satellite = sims::orbit::elements::read(elements).unwrap().remove(0);
    let from = Tai::from_rfc3339("2026-11-23T09:00:00Z").unwrap();
    let to = from.plus(7_200_000_000_000);
    let pass = sims::contact::passes(&satellite, &described.station, from, to, 5.0).unwrap()[0];
    let track = Track::of_pass(&satellite, &described.station, &pass).unwrap();
    let flown = Arc::new(RadioLink::fly(&described, &track, Weather::Seeded(3)).unwrap());
    let [forth, back] = described.settings(&flown, 3);
    let down = LinkModel::new(forth, Way::Forth(flown.clone()));
    let up = LinkModel::new(back, Way::Back(flown));
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // Culmination is now: no lock to wait for.
    let clock = SimulatedClock { start: pass.culmination, at: Instant::now() };
    let relay =
        Relay::bind("127.0.0.1:0".parse().unwrap(), server.local_addr().unwrap()).await.unwrap();
    let address = relay.address().unwrap();
    tokio::spawn(relay.run(clock, down, up));
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(b"down", address).await.unwrap();
    let (bytes, from) = receive(&server).await;
    assert_eq!(bytes, b"down");
    server.send_to(b"up", from).await.unwrap();
    assert_eq!(receive(&client).await.0, b"up");
}
