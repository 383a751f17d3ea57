//! The archive's life after the commit, on a real daemon: the object store, a disk that is gone, a
//! folder that was emptied.

use super::{
    Station,
    client::{Client, SOON, object, prefix},
    range,
};
use codecs::{
    ids::{Channel, RangeSet, SeqRange},
    link::{
        custody::{Durability, KeyRanges},
        wire::{ChannelState, Message},
    },
};
use std::{path::Path, process::Command};
use tests::process::binary;

/// A station that seals each second into a folder beside it.
fn station() -> (Station, tempfile::TempDir) {
    let bucket = tempfile::tempdir().unwrap();
    let station = Station::start_keeping(&format!(
        "seal_s = 1\n[archive.object_store]\ndir = {:?}\n",
        bucket.path()
    ));
    (station, bucket)
}

/// Reads until these sequences are receipted with a class.
async fn receipted_as(client: &mut Client, class: Durability, range: SeqRange) {
    let mut waiting: RangeSet = [range].into_iter().collect();
    while !waiting.is_empty() {
        match client.message().await {
            Ok(Message::Receipts { entries, class: of, .. }) if of == class => {
                let entries = entries.iter().filter(|keys| keys.channel == Channel::stream(1));
                entries.flat_map(|keys| &keys.ranges).for_each(|range| waiting.remove(*range));
            }
            Ok(_) => {}
            Err(error) => panic!("{error}, waiting for {waiting:?}"),
        }
    }
}

fn audit(station: &Path) -> (bool, serde_json::Value, String) {
    let config = station.join("station.toml");
    let out = Command::new(binary("groundstation"))
        .args(["audit", "--json", "--config", config.to_str().unwrap()])
        .output()
        .unwrap();
    let report = serde_json::from_slice(&out.stdout).unwrap_or_default();
    (out.status.success(), report, String::from_utf8_lossy(&out.stderr).into())
}

#[tokio::test]
async fn a_disk_that_is_gone_costs_what_neither_bucket_nor_store_has() {
    let (station, bucket) = station();
    let mut client = station.honest().await;
    client.object(object(1, 0, 10, |_| {})).await;
    receipted_as(&mut client, Durability::Local, range(0, 9)).await;
    receipted_as(&mut client, Durability::ObjectStore, range(0, 9)).await;
    assert!(bucket.path().join("test").is_dir());
    station.counted("/segments/stored", 1).await;
    station.counted("/segments/sealed-by-age", 1).await;
    // Told again at the next hello: what was stored while no one listened counts as well.
    drop(client);
    let mut client = station.honest().await;
    receipted_as(&mut client, Durability::ObjectStore, range(0, 9)).await;
    // These are receipted, and the disk goes before they are stored anywhere else.
    client.object(object(1, 10, 10, |_| {})).await;
    let ledger = client.receipted(1, range(10, 19)).await;
    drop(client);
    let Station { dir, daemon, .. } = station;
    drop(daemon);
    let root = dir.path().join("station");
    std::fs::remove_dir_all(root.join("archive")).unwrap();
    let stored = bucket.path().join("test").join(format!("{ledger:016x}"));
    let second = stored.join("0000000001.segment");
    let _ = std::fs::remove_file(second);
    // Not by mistake.
    let (clean, _, error) = audit(&root);
    assert!(!clean && error.contains("gone") && error.contains(&format!("{ledger:016x}")));
    let config = root.join("station.toml");
    let out = Command::new(binary("groundstation"))
        .args(["run", "--config", config.to_str().unwrap()])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{error}");
    assert!(error.contains("--new-ledger"), "{error}");
    let station = Station::run_with(dir, &["--new-ledger"], &[]);
    let mut client = Client::connect(&station, Some(station.identity("a"))).await.unwrap();
    let prefix = prefix(station.identity("a").origin, 1);
    let state = ChannelState {
        next: 20,
        held: KeyRanges::new(prefix, Vec::new()),
        receipted: vec![range(0, 19)],
        ledger,
        class: Durability::Local,
    };
    let hello = Message::Hello { session: 9, more: false, channels: vec![state] };
    client.send.write_all(&hello.encode()).await.unwrap();
    let (mut durable, asked) = (Vec::new(), loop_asked(&mut client).await);
    durable.extend(asked.0);
    assert_eq!(durable[0].ranges, [range(0, 9)], "the bucket holds them");
    assert_eq!(asked.1[0].ranges, [range(10, 19)]);
    // One half is still on board.
    client.object(object(1, 10, 5, |_| {})).await;
    client.receipted(1, range(10, 14)).await;
    client.object(object(1, 3, 1, |_| {})).await;
    client.receipted(1, range(3, 3)).await;
    drop(client);
    let (clean, report, _) = audit(&station.path(""));
    assert!(!clean);
    assert_eq!(report["lost"][0]["ranges"], serde_json::json!([[15, 19]]), "{report}");
    assert_eq!(report["let_go"][0]["ranges"], serde_json::json!([[0, 9]]), "{report}");
    assert_eq!((report["units"].as_u64(), report["duplicates"].as_u64()), (Some(5), Some(0)));
}

/// The welcome's ranges and the first ask.
async fn loop_asked(client: &mut Client) -> (Vec<KeyRanges>, Vec<KeyRanges>) {
    let mut all = Vec::new();
    loop {
        match client.message().await {
            Ok(Message::Welcome { durable, .. }) => all.extend(durable),
            Ok(Message::Asks { entries }) => return (all, entries),
            Ok(_) => {}
            Err(error) => panic!("{error}, waiting for an ask"),
        }
    }
}

#[tokio::test]
async fn contacts_are_noted_with_their_units() {
    let station = Station::start();
    let mut client = station.honest().await;
    client.object(object(1, 0, 4, |_| {})).await;
    client.receipted(1, range(0, 3)).await;
    client.connection.close(0u32.into(), b"set");
    let noted = async {
        loop {
            let links = groundstation::shell::catalogue::links(&station.path("archive")).unwrap();
            if let Some(closed) = links.first().and_then(|link| link.closed.clone()) {
                return (links, closed);
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let (links, closed) = tokio::time::timeout(SOON, noted).await.unwrap();
    assert_eq!((links.len(), links[0].opened.spacecraft), (1, 7));
    assert_eq!(links[0].opened.session, 1);
    assert!(closed.units == 4 && closed.bytes > 800 && closed.at >= links[0].opened.at);
}

#[tokio::test]
async fn an_index_is_repaired_only_where_no_daemon_writes() {
    let (station, _bucket) = station();
    let mut client = station.honest().await;
    client.object(object(1, 0, 4, |_| {})).await;
    receipted_as(&mut client, Durability::ObjectStore, range(0, 3)).await;
    drop(client);
    let config = station.path("station.toml");
    let repair = || {
        Command::new(binary("groundstation"))
            .args(["audit", "--repair", "--json", "--config", config.to_str().unwrap()])
            .output()
            .unwrap()
    };
    let out = repair();
    let error = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && error.contains("in use"), "{error}");
    station.daemon.terminate();
    let Station { dir, mut daemon, .. } = station;
    daemon.expect("done");
    assert!(daemon.end().success());
    let index = dir.path().join("station/archive/0000000000.index");
    let whole = std::fs::read(&index).unwrap();
    std::fs::write(&index, b"damaged").unwrap();
    assert!(repair().status.success());
    assert_eq!(std::fs::read(&index).unwrap(), whole);
}
