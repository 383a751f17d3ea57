//! Peers that lie, break off, stall or have no business here, each against the real daemon: the
//! outcome is a counted rejection or a clear error, honest traffic goes on, nothing accepted is
//! lost.

mod beside;
mod certificates;
mod client;
mod floods;
mod kills;
mod lifecycle;
mod limits;
mod memory;
mod quicklook;
mod reload;
mod service;
mod starts;

use client::{Client, SOON, Station, object, prefix, unit};
use codecs::{
    ids::{Channel, SeqRange, SpacecraftId},
    link::{
        MAX_UNIT_BYTES,
        custody::{Durability, KeyRanges, NEVER_MS, RefusalReason},
        object::HEADER_BYTES,
        wire::{ChannelState, Message},
    },
};
use std::{net::UdpSocket, process::Command};
use tests::process::binary;

fn range(first: u64, last: u64) -> SeqRange {
    SeqRange { first, last }
}

/// Still serves an honest peer, and everything balances.
async fn still_serves(station: &Station, first: u64) {
    let mut honest = station.honest().await;
    honest.object(object(9, first, 3, |_| {})).await;
    honest.receipted(9, range(first, first + 2)).await;
    let counts = station.counts();
    let sum = |name: &str| counts[name].as_u64().unwrap();
    let rejected: u64 =
        counts["rejected"].as_object().unwrap().values().map(|v| v.as_u64().unwrap()).sum();
    let ended = sum("archived") + sum("duplicate") + sum("conflict") + rejected;
    assert_eq!(sum("received"), ended, "{counts}");
}

#[tokio::test]
async fn a_kill_between_receipts_loses_nothing_and_keeps_one_copy() {
    let station = Station::start();
    let mut client = station.honest().await;
    for first in (0..400).step_by(20) {
        client.object(object(1, first, 20, |_| {})).await;
    }
    client.receipted(1, range(0, 399)).await;
    let station = station.kill_and_restart();
    let origin = station.identity("a").origin;
    let mut client = Client::connect(&station, Some(station.identity("a"))).await.unwrap();
    let durable = client.hello(2).await;
    let durable: Vec<_> = durable.iter().map(|keys| (keys.prefix(origin), &keys.ranges)).collect();
    assert_eq!(durable, [(prefix(origin, 1), &vec![range(0, 399)])]);
    // A peer that forgot sends it all again: duplicates, receipted, archived once.
    client.object(object(1, 380, 40, |_| {})).await;
    client.receipted(1, range(380, 419)).await;
    station.counted("/duplicate", 20).await;
    let audit = station.audit();
    assert_eq!((audit["units"].as_u64(), audit["duplicates"].as_u64()), (Some(420), Some(0)));
    assert_eq!(audit["keys"][0]["ranges"], serde_json::json!([[0, 419]]));
}

#[tokio::test]
async fn what_was_receipted_and_is_gone_is_asked_for() {
    let station = Station::start();
    let mut client = station.honest().await;
    client.object(object(1, 0, 4, |_| {})).await;
    let ledger = client.receipted(1, range(0, 3)).await;
    // Ten units were receipted by this very ledger, says the store; another ledger's are its own.
    let origin = station.identity("a").origin;
    let channel = |stream, ledger| ChannelState {
        next: 10,
        held: KeyRanges::new(prefix(origin, stream), Vec::new()),
        receipted: vec![range(0, 9)],
        ledger,
        class: Durability::Local,
    };
    let channels = vec![channel(1, ledger), channel(2, ledger ^ 1)];
    let hello = Message::Hello { session: 2, more: false, channels };
    let mut client = Client::connect(&station, Some(station.identity("a"))).await.unwrap();
    client.send.write_all(&hello.encode()).await.unwrap();
    let asked = loop {
        match client.message().await.unwrap() {
            Message::Asks { entries } => break entries,
            Message::Welcome { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(asked, [KeyRanges::new(prefix(origin, 1), vec![range(4, 9)])]);
    client.object(object(1, 4, 6, |_| {})).await;
    client.receipted(1, range(4, 9)).await;
    assert_eq!(station.audit()["keys"][0]["ranges"], serde_json::json!([[0, 9]]));
}

#[tokio::test]
async fn other_bytes_under_a_held_key_are_refused_for_ever() {
    let station = Station::start();
    let mut client = station.honest().await;
    client.object(object(1, 0, 1, |_| {})).await;
    client.receipted(1, range(0, 0)).await;
    // The bytes of unit 50, said to be unit 0.
    client.object(object(1, 50, 1, |header| header.first = 0)).await;
    let (reason, retry, entries) = client.refused().await;
    assert_eq!((reason, retry), (RefusalReason::Conflict, NEVER_MS));
    assert_eq!(entries[0].ranges, [range(0, 0)]);
    station.counted("/conflict", 1).await;
    assert_eq!(station.audit()["conflicts"], 1);
    still_serves(&station, 0).await;
}

#[tokio::test]
async fn a_lying_unit_count_is_rejected_and_its_whole_units_kept() {
    let station = Station::start();
    let mut client = station.honest().await;
    // So many that the header alone contradicts itself.
    client.object(object(1, 0, 3, |header| header.count = u32::MAX - 9)).await;
    assert_eq!(client.refused().await.0, RefusalReason::Malformed);
    station.counted("/rejected/malformed", 1).await;
    // One too many: the three that came are kept, the fourth is refused.
    client.object(object(2, 0, 3, |header| header.count = 4)).await;
    let (reason, _, entries) = client.refused_and_receipted(2, range(0, 2)).await;
    assert_eq!(reason, RefusalReason::Malformed);
    assert_eq!(entries[0].ranges, [range(3, 3)]);
    station.counted("/rejected/truncated", 1).await;
    // One too few: what follows the last unit is excess.
    client.object(object(3, 0, 3, |header| header.count = 2)).await;
    client.receipted(3, range(0, 1)).await;
    station.counted("/rejected/excess", 1).await;
    still_serves(&station, 0).await;
}

#[tokio::test]
async fn a_truncated_object_keeps_its_whole_units() {
    let station = Station::start();
    let mut client = station.honest().await;
    let whole = object(1, 0, 5, |_| {});
    client.object(whole.slice(..whole.len() - 10)).await;
    let (reason, _, entries) = client.refused_and_receipted(1, range(0, 3)).await;
    assert_eq!(reason, RefusalReason::Malformed);
    assert_eq!(entries[0].ranges, [range(4, 4)]);
    station.counted("/rejected/truncated", 1).await;
    client.object(whole.slice(..HEADER_BYTES / 2)).await;
    station.counted("/rejected/malformed-header", 1).await;
    still_serves(&station, 0).await;
}

#[tokio::test]
async fn lengths_above_the_bounds_are_refused_before_their_bytes() {
    let station = Station::start();
    let mut client = station.honest().await;
    client.object(object(1, 0, 1, |header| header.length = u32::MAX)).await;
    station.counted("/rejected/too-large", 1).await;
    let length = (MAX_UNIT_BYTES as u32 + 1).to_be_bytes();
    // Two units, so that the header alone does not give it away.
    let mut lie = object(1, 0, 2, |header| header.length = 2_000_000).to_vec();
    lie[HEADER_BYTES..HEADER_BYTES + 4].copy_from_slice(&length);
    client.object(lie.into()).await;
    assert_eq!(client.refused().await.0, RefusalReason::Malformed);
    station.counted("/rejected/unit-length", 1).await;
    still_serves(&station, 0).await;
}

#[tokio::test]
async fn bytes_that_rotted_on_board_are_not_archived_under_their_key() {
    let station = Station::start();
    let mut client = station.honest().await;
    let mut rotten = object(1, 0, 3, |_| {}).to_vec();
    let second = HEADER_BYTES + 8 + unit(0).len() + 8;
    rotten[second + 5] ^= 1;
    client.object(rotten.into()).await;
    let (reason, _, entries) = client.refused().await;
    assert_eq!((reason, entries[0].ranges[0]), (RefusalReason::Malformed, range(1, 1)));
    station.counted("/rejected/damaged", 1).await;
    client.object(object(1, 1, 1, |_| {})).await;
    client.receipted(1, range(1, 1)).await;
}

#[tokio::test]
async fn spacecraft_that_are_unknown_or_anothers_are_refused() {
    let station = Station::start();
    let mut client = station.honest().await;
    client.object(object(1, 0, 1, |header| header.spacecraft = SpacecraftId(99))).await;
    let (reason, retry, _) = client.refused().await;
    assert_eq!((reason, retry), (RefusalReason::Forbidden, NEVER_MS));
    station.counted("/rejected/unknown-spacecraft", 1).await;
    client.object(object(1, 0, 1, |header| header.spacecraft = SpacecraftId(8))).await;
    assert_eq!(client.refused().await.0, RefusalReason::Forbidden);
    station.counted("/rejected/forbidden", 1).await;
    still_serves(&station, 0).await;
    let audit = station.audit();
    assert!(audit["keys"].as_array().unwrap().iter().all(|key| key["spacecraft"] == 7));
}

#[tokio::test]
async fn a_stalled_object_hinders_no_other_and_is_stopped() {
    let station = Station::start();
    let mut client = station.honest().await;
    let whole = object(1, 0, 2, |_| {});
    let mut stalled = client.connection.open_uni().await.unwrap();
    stalled.write_all(&whole[..whole.len() - 20]).await.unwrap();
    // Its first unit is whole, and safe.
    client.receipted(1, range(0, 0)).await;
    client.object(object(2, 0, 10, |_| {})).await;
    client.receipted(2, range(0, 9)).await;
    let stopped = tokio::time::timeout(SOON, stalled.stopped()).await;
    assert!(stopped.expect("the stream is stopped").unwrap().is_some());
    station.counted("/rejected/stalled", 1).await;
    still_serves(&station, 0).await;
}

#[tokio::test]
async fn garbage_on_the_port_disturbs_no_one() {
    let station = Station::start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in 0..1_400usize {
        let garbage: Vec<u8> = (0..length).map(|at| (at * length + 3) as u8).collect();
        socket.send_to(&garbage, station.quic).unwrap();
        // Long headers with unknown versions, and short headers.
        let mut packet = garbage;
        if let Some(first) = packet.first_mut() {
            *first = if length % 2 == 0 { 0xC3 } else { 0x43 };
        }
        socket.send_to(&packet, station.quic).unwrap();
        // Version 2, with ids of no length.
        let other = [0xC3, 0, 0, 0, 2, 0, 0];
        socket.send_to(&other, station.quic).unwrap();
    }
    // The system drops some of so many; of each kind enough came through.
    for reason in ["unknown-connection", "version", "malformed"] {
        station.counted(&format!("/datagrams_dropped/{reason}"), 100).await;
    }
    still_serves(&station, 0).await;
}

#[tokio::test]
async fn an_honest_session_leaves_no_datagram_uncounted_or_unclaimed() {
    let station = Station::start();
    let mut client = station.honest().await;
    client.object(object(1, 0, 400, |_| {})).await;
    client.receipted(1, range(0, 399)).await;
    client.connection.close(0u32.into(), b"done");
    client.endpoint.wait_idle().await;
    // One of another's is counted after all of those, and alone.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(&[0x43; 100], station.quic).unwrap();
    station.counted("/datagrams_dropped/unknown-connection", 1).await;
    let dropped = &station.counts()["datagrams_dropped"];
    assert_eq!(dropped, &serde_json::json!({ "unknown-connection": 1 }));
}

#[tokio::test]
async fn control_messages_out_of_turn_end_the_connection() {
    let station = Station::start();
    let honest = Client::connect(&station, Some(station.identity("a"))).await.unwrap();
    let mut garbage = honest;
    garbage.send.write_all(&[0xFF; 64]).await.unwrap();
    assert!(garbage.closed().await.contains("control message"), "{}", garbage.closed().await);
    // The control stream shows only once something is written on it.
    let early = Client::connect(&station, Some(station.identity("a"))).await.unwrap();
    early.object(object(1, 0, 1, |_| {})).await;
    assert!(early.closed().await.contains("before the hello"), "{}", early.closed().await);
    let mut twice = station.honest().await;
    let hello = Message::Hello { session: 2, more: false, channels: Vec::new() };
    twice.send.write_all(&hello.encode()).await.unwrap();
    assert!(twice.closed().await.contains("out of turn"), "{}", twice.closed().await);
    still_serves(&station, 0).await;
}

#[tokio::test]
async fn a_new_session_of_an_origin_closes_the_older() {
    let station = Station::start();
    let older = station.honest().await;
    let mut newer = station.honest().await;
    assert!(older.closed().await.contains("newer session"), "{}", older.closed().await);
    newer.object(object(1, 0, 4, |_| {})).await;
    newer.receipted(1, range(0, 3)).await;
}

#[tokio::test]
async fn a_peer_whose_address_changes_keeps_its_session_and_its_object() {
    let station = Station::start();
    let mut client = station.honest().await;
    let whole = object(1, 0, 8, |_| {});
    let mut stream = client.connection.open_uni().await.unwrap();
    stream.write_all(&whole[..whole.len() - 10]).await.unwrap();
    client.receipted(1, range(6, 6)).await;
    // A new port, as after a router forgot the old one.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let moved = socket.local_addr().unwrap();
    client.endpoint.rebind(socket).unwrap();
    stream.write_all(&whole[whole.len() - 10..]).await.unwrap();
    stream.finish().unwrap();
    client.receipted(1, range(7, 7)).await;
    // The page follows it.
    let shown = async {
        loop {
            let snapshot = tests::process::get(&station.http, "/api/v1/snapshot");
            let crafts = snapshot["spacecraft"].as_array().unwrap().clone();
            let link = crafts.iter().find(|craft| craft["id"] == 7).unwrap()["link"].clone();
            if link["peer"] == moved.to_string() && link["open"] == true {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, shown).await.expect("the page shows the new address");
    client.object(object(1, 8, 4, |_| {})).await;
    client.receipted(1, range(8, 11)).await;
    assert_eq!(station.counts()["peers_rejected"], serde_json::json!({}));
}

#[tokio::test]
async fn an_occupied_port_is_named_with_its_key() {
    let station = Station::start();
    let text = std::fs::read_to_string(station.path("station.toml")).unwrap();
    let taken = [("quic", station.quic.to_string()), ("http", station.http.clone())];
    for (key, address) in taken {
        let free = format!("{key} = \"127.0.0.1:0\"");
        let config = station.path("second.toml");
        let text = text
            .replace(&free, &format!("{key} = \"{address}\""))
            .replace("dir = \"archive\"", "dir = \"second\"");
        std::fs::write(&config, text).unwrap();
        let out = Command::new(binary("groundstation"))
            .args(["run", "--config", config.to_str().unwrap()])
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{error}");
        let port = address.rsplit(':').next().unwrap();
        assert!(error.contains(&format!("port {port}, config key listen.{key}")), "{error}");
    }
    // The archive has one writer.
    let config = station.path("third.toml");
    std::fs::write(&config, text).unwrap();
    let out = Command::new(binary("groundstation"))
        .args(["run", "--config", config.to_str().unwrap()])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&out.stderr);
    assert!(error.contains("in use by another daemon") && error.contains("archive.dir"), "{error}");
}

#[tokio::test]
async fn a_clean_stop_says_goodbye_and_seals_the_archive() {
    let station = Station::start();
    let mut client = station.honest().await;
    client.object(object(1, 0, 4, |_| {})).await;
    client.receipted(1, range(0, 3)).await;
    station.daemon.terminate();
    let farewell = loop {
        match client.message().await {
            Ok(Message::Goodbye { text }) => break text,
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert!(farewell.contains("stops"), "{farewell}");
    let Station { dir, mut daemon, .. } = station;
    daemon.expect("done");
    assert!(daemon.end().success());
    let config = dir.path().join("station/station.toml");
    let out = Command::new(binary("groundstation"))
        .args(["audit", "--json", "--config", config.to_str().unwrap()])
        .output()
        .unwrap();
    let audit: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((audit["units"].as_u64(), &audit["torn"]), (Some(4), &serde_json::json!([])));
    assert_eq!(audit["keys"][0]["channel"], Channel::stream(1).0);
}
