//! Live frames in datagrams: shown, counted, kept nowhere, and no way past the table.

use super::{
    client::{Client, Station, object},
    range, still_serves,
};
use codecs::{
    ids::{Apid, Channel, Codec, SpacecraftId},
    link::{object::Quality, quicklook::QuickLook},
    packet::space::{PacketHeader, SequenceCount, build},
    time::Tai,
};

fn look(spacecraft: u16, at: i64) -> bytes::Bytes {
    let look = QuickLook {
        codec: Codec::AosFrame,
        quality: Quality::Good,
        received: Tai(at),
        channel: Channel::stream(1),
        spacecraft: SpacecraftId(spacecraft),
        frame: &[0x55; 1_000],
    };
    look.encode().unwrap().into()
}

#[tokio::test]
async fn live_frames_are_shown_and_never_archived() {
    let station = Station::start();
    let mut client = station.honest().await;
    let at = Tai::from_rfc3339("2026-11-26T12:00:00Z").unwrap();
    // Loss is no fault of theirs: they are repeated until enough came through.
    for _ in 0..20 {
        client.connection.send_datagram(look(7, at.0)).unwrap();
    }
    station.counted("/quick_looks", 1).await;
    client.object(object(1, 0, 4, |_| {})).await;
    client.receipted(1, range(0, 3)).await;
    let snapshot = tests::process::get(&station.http, "/api/v1/snapshot");
    let crafts = snapshot["spacecraft"].as_array().unwrap();
    let link = &crafts.iter().find(|craft| craft["id"] == 7).unwrap()["link"];
    assert_eq!(link["quick_look_ms"].as_i64(), Some(at.to_unix_nanos() / 1_000_000));
    assert_eq!(snapshot["counts"]["received"], 4, "no live frame is a unit");
    assert_eq!(station.audit()["units"], 4);
}

#[tokio::test]
async fn live_frames_that_are_wrong_are_dropped_and_counted() {
    let station = Station::start();
    let early = Client::connect(&station, Some(station.identity("b"))).await.unwrap();
    let client = station.honest().await;
    let send = |connection: &quinn::Connection, bytes: bytes::Bytes| {
        connection.send_datagram(bytes).unwrap();
    };
    send(&client.connection, look(8, 1));
    station.counted("/quick_looks_dropped/forbidden", 1).await;
    send(&client.connection, look(99, 1));
    station.counted("/quick_looks_dropped/forbidden", 2).await;
    send(&client.connection, look(7, 1).slice(..24));
    station.counted("/quick_looks_dropped/malformed", 1).await;
    // The control stream shows only once something is written on it: then there is a session to
    // be, and none is open yet.
    let mut early = early;
    early.send.write_all(&[0]).await.unwrap();
    send(&early.connection, look(8, 1));
    station.counted("/quick_looks_dropped/before-hello", 1).await;
    for _ in 0..4_000 {
        send(&client.connection, look(7, 1));
        tokio::task::yield_now().await;
    }
    station.counted("/quick_looks", 400).await;
    still_serves(&station, 0).await;
}

#[tokio::test]
async fn a_spacecraft_shows_its_newest_frames_and_stores_every_one() {
    let station = Station::start();
    let folder = station.path("enrolled/a");
    let identity = std::fs::read_to_string(folder.join("onboard-identity.toml")).unwrap();
    let config = folder.join("onboard.toml");
    let text = format!(
        "[spacecraft]\nid = 7\nname = \"A\"\n[ground]\naddress = \"{}\"\n\
         server_name = \"station\"\n[source]\nunix = \"s\"\n[store]\ndir = \"store\"\n\
         [realtime]\nflush_ms = 20\n{identity}",
        station.quic
    );
    std::fs::write(&config, text).unwrap();
    let arguments = ["run", "--ready-json", "--config", config.to_str().unwrap()];
    let mut craft = tests::process::Daemon::start("onboard", &arguments);
    craft.expect("ready");
    let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
    let until = std::time::Instant::now() + tests::process::DEADLINE;
    let looks = || station.counts()["quick_looks"].as_u64().unwrap();
    let mut count = 0u16;
    // A packet of housekeeping at a time, until some frames were seen live.
    while looks() < 3 {
        assert!(std::time::Instant::now() < until, "{}", station.counts());
        let header = PacketHeader::telemetry(Apid(100), SequenceCount(count));
        socket.send_to(&build(&header, &[7; 40]).unwrap(), folder.join("s")).unwrap();
        count = (count + 1) % 0x4000;
    }
    let seen = looks();
    // Each of them comes again as a unit, at its own time, and no live one is a unit.
    station.counted("/archived", seen).await;
    craft.terminate();
    let done = craft.expect("done");
    let number = |name: &str| done[name].as_u64().unwrap();
    assert!(number("quick_looks") >= seen && number("units_numbered") >= seen, "{done}");
    assert!(number("units_receipted") <= station.audit()["units"].as_u64().unwrap(), "{done}");
    let counts = station.counts();
    assert_eq!(counts["received"], counts["archived"], "no live frame is a unit");
    assert_eq!(counts["quick_looks_dropped"], serde_json::json!({}), "all are looked at");
}
