//! Two attacks on what the transport must buffer: streams full of holes, and live frames as fast as
//! they go.

use super::{
    beside::{Attacker, Switch, beside},
    client::{Client, object_of},
};
use codecs::{
    ids::{Channel, Codec, SpacecraftId},
    link::{object::Quality, quicklook::QuickLook},
    time::Tai,
};
use quinn::{
    Endpoint, SendStream, TransportConfig,
    congestion::NewRenoConfig,
    udp::{Transmit, UdpSockRef, UdpSocketState},
};
use std::{
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{io::Interest, net::UdpSocket};

/// Datagrams from which on they carry objects, rather than the handshake's end or acknowledgements.
const CARRIES_BYTES: usize = 600;
/// Each way, so that the round trip is one that gets its whole share of credit.
const DELAY: Duration = Duration::from_millis(60);
/// What it may have under way by its own account: several times its credit.
const WINDOW_BYTES: u64 = 64 << 20;
/// Datagrams before the one that is of use.
const TRAIN: usize = 40;
/// Streams with holes at once.
const STREAMS: usize = 64;

/// A path to the station that is long, and loses every second large datagram once that is on: what
/// comes behind each must be buffered, and the longer the path the more credit there is for it.
async fn path(station: SocketAddr, on: Arc<AtomicBool>) -> SocketAddr {
    let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let back = Arc::new(UdpSocket::bind("127.0.0.2:0").await.unwrap());
    let at = front.local_addr().unwrap();
    let (client, sent) = (Arc::new(Mutex::new(at)), AtomicU64::new(0));
    let (up, down) = ((front.clone(), back.clone()), (back, front));
    let known = Arc::clone(&client);
    tokio::spawn(carry(up, move |length, from| {
        *known.lock().unwrap() = from;
        let large = length > CARRIES_BYTES && on.load(Ordering::Relaxed);
        let lost = large && sent.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        (!lost).then_some(station)
    }));
    tokio::spawn(carry(down, move |_, _| Some(*client.lock().unwrap())));
    at
}

/// The same, and each of those that come through is the last of a train: the system hands the
/// station the train as one, and what of it waits keeps all of it.
async fn path_of_trains(station: SocketAddr, on: Arc<AtomicBool>) -> SocketAddr {
    let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let back = Arc::new(UdpSocket::bind("127.0.0.2:0").await.unwrap());
    let at = front.local_addr().unwrap();
    let client = Arc::new(Mutex::new(at));
    let (from, to, known) = (Arc::clone(&front), Arc::clone(&back), Arc::clone(&client));
    tokio::spawn(async move {
        let state = Arc::new(UdpSocketState::new(UdpSockRef::from(&*to)).unwrap());
        let (mut datagram, mut sent) = (vec![0; 1 << 16], 0u64);
        loop {
            let Ok((length, sender)) = from.recv_from(&mut datagram).await else { continue };
            *known.lock().unwrap() = sender;
            let large = length > CARRIES_BYTES && on.load(Ordering::Relaxed);
            sent += u64::from(large);
            if large && sent.is_multiple_of(2) {
                continue;
            }
            // Of no connection, by their first byte and the zeros behind it.
            let mut train = vec![0; if large { TRAIN * length } else { 0 }];
            train.iter_mut().step_by(length).for_each(|first| *first = 0x40);
            train.extend_from_slice(&datagram[..length]);
            let (state, to) = (Arc::clone(&state), Arc::clone(&to));
            tokio::spawn(async move {
                tokio::time::sleep(DELAY).await;
                let transmit = Transmit {
                    destination: station,
                    ecn: None,
                    contents: &train,
                    segment_size: large.then_some(length),
                    src_ip: None,
                };
                let send = || state.try_send(UdpSockRef::from(&*to), &transmit);
                while to.writable().await.is_ok()
                    && let Err(error) = to.try_io(Interest::WRITABLE, send)
                {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                }
            });
        }
    });
    tokio::spawn(carry((back, front), move |_, _| Some(*client.lock().unwrap())));
    at
}

/// Carries datagrams one way, each after the path's delay, to where `judge` says.
async fn carry(
    (from, to): (Arc<UdpSocket>, Arc<UdpSocket>),
    judge: impl Fn(usize, SocketAddr) -> Option<SocketAddr>,
) {
    let mut datagram = vec![0; 1 << 16];
    // A refusal of an earlier datagram is no end.
    loop {
        let Ok((length, sender)) = from.recv_from(&mut datagram).await else { continue };
        let Some(target) = judge(length, sender) else { continue };
        let (bytes, to) = (datagram[..length].to_vec(), Arc::clone(&to));
        tokio::spawn(async move {
            tokio::time::sleep(DELAY).await;
            let _ = to.send_to(&bytes, target).await;
        });
    }
}

/// A session of spacecraft 8 whose stream data has holes that are never filled: it takes nothing
/// for lost, and knows no congestion.
async fn holed(attacker: &Attacker, trains: bool) -> Client {
    let on = Arc::new(AtomicBool::new(false));
    let station = match trains {
        true => path_of_trains(attacker.station, Arc::clone(&on)).await,
        false => path(attacker.station, Arc::clone(&on)).await,
    };
    let mut transport = TransportConfig::default();
    let mut window = NewRenoConfig::default();
    window.initial_window(WINDOW_BYTES);
    transport
        .packet_threshold(1 << 20)
        .time_threshold(1_000.0)
        .send_window(WINDOW_BYTES)
        .congestion_controller_factory(Arc::new(window));
    let mut client = attacker.enrolled.clone();
    client.transport_config(Arc::new(transport));
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.set_default_client_config(client);
    let mut client = Client::connect_from(endpoint, station).await.unwrap();
    client.hello(1).await;
    on.store(true, Ordering::Relaxed);
    client
}

#[test]
fn streams_full_of_holes() {
    full_of_holes("streams full of holes", false);
}

#[test]
fn pieces_that_keep_whole_trains_of_datagrams() {
    full_of_holes("pieces that keep whole trains", true);
}

fn full_of_holes(name: &str, trains: bool) {
    beside(
        name,
        async move |attacker: Attacker, switch: Switch| {
            let whole = object_of(8, 1, 0, 3_000, |_| {});
            let mut client = holed(&attacker, trains).await;
            let mut streams: Vec<(SendStream, usize)> = Vec::new();
            while switch.on().await {
                // What is never taken for lost counts as under way, up to its own window.
                let spent = client.connection.stats().udp_tx.bytes > WINDOW_BYTES * 3 / 4;
                if (spent && streams.is_empty()) || client.connection.close_reason().is_some() {
                    client.connection.close(0u32.into(), b"");
                    client = holed(&attacker, trains).await;
                    streams.clear();
                }
                let opened = tokio::time::timeout(Duration::ZERO, client.connection.open_uni());
                if streams.len() < STREAMS
                    && let Ok(Ok(stream)) = opened.await
                {
                    streams.push((stream, 0));
                    continue;
                }
                let mut stopped = Vec::new();
                for (number, (stream, at)) in streams.iter_mut().enumerate() {
                    // As far as the credit goes; the station stops those that fall silent.
                    let rest = &whole[*at..];
                    let write = stream.write(&rest[..rest.len().min(64 << 10)]);
                    match tokio::time::timeout(Duration::ZERO, write).await {
                        Ok(Ok(written)) => *at += written,
                        Ok(Err(_)) => stopped.push(number),
                        Err(_) => {}
                    }
                }
                for number in stopped.into_iter().rev() {
                    streams.swap_remove(number);
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        },
        &["/rejected/stalled"],
    );
}

#[test]
fn a_flood_of_live_frames() {
    beside(
        "a flood of live frames",
        async |attacker: Attacker, switch: Switch| {
            let client = attacker.session().await;
            let look = QuickLook {
                codec: Codec::AosFrame,
                quality: Quality::Good,
                received: Tai(1),
                channel: Channel::stream(1),
                spacecraft: SpacecraftId(8),
                frame: &[0x55; 1_000],
            };
            let look = bytes::Bytes::from(look.encode().unwrap());
            while switch.on().await {
                // As fast as the path takes them: each waits for room.
                for _ in 0..64 {
                    client.connection.send_datagram_wait(look.clone()).await.unwrap();
                }
            }
        },
        &["/quick_looks_dropped/too-many"],
    );
}
