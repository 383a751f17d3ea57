//! What can't be read any more is told, and costs nothing else.

use crate::station::{Station, flip, recording, said, talk};
use serde_json::json;

#[test]
fn a_damaged_record_is_told_and_everything_else_is_written() {
    let frames = recording(0, 300);
    let station = Station::with(&frames);
    // The fifth record: 4,096 bytes of header, records of 112 and 223 bytes padded to 16.
    flip(&station.segment(0), 4_096 + 4 * 336 + 150);
    let out = station.path("out");
    let export = ["export", out.to_str().unwrap(), "--send", "frames"];
    let told = station.json(&export, 1);
    assert_eq!((&told["complete"], &told["damaged"]["count"]), (&false.into(), &1.into()));
    let place = &told["damaged"]["places"][0];
    assert_eq!(
        (&place["segment"], &place["unit"]["sequence"]),
        (&"0000000000.segment".into(), &4.into())
    );
    let kept = frames.iter().filter(|unit| unit.key.sequence != 4);
    let kept: Vec<u8> = kept.flat_map(|unit| unit.bytes.to_vec()).collect();
    assert!(std::fs::read(out.join("frames-7-vc00.bin")).unwrap() == kept);

    let to = format!("file:{}", station.path("replayed.bin").display());
    let replay = ["replay", "--speed", "max", "--send", "frames", "--to", &to];
    let told = station.json(&replay, 1);
    assert_eq!((&told["complete"], &told["damaged"]["count"]), (&false.into(), &1.into()));
    assert!(std::fs::read(station.path("replayed.bin")).unwrap() == kept);
    // It came: nobody is to send it again.
    let told = station.json(&["gaps"], 1);
    let counter = &told["counters"][0];
    assert_eq!(counter["custody"], json!([]));
    assert_eq!(counter["damaged"], json!([{ "first": 4, "last": 4 }]));
    for arguments in [&replay[..], &["gaps"]] {
        let ended = station.run(arguments);
        let text = said(&ended);
        assert!(text.contains("0000000000.segment at 5440: a record does not hold, unit 4 of"));
        assert!(text.contains("`groundstation audit`"), "{text}");
    }
    // Damage of another spacecraft or channel is no damage of this choice.
    let other = ["export", out.to_str().unwrap(), "--send", "frames", "--vc", "1"];
    assert_eq!(station.json(&other, 0)["damaged"]["count"], 0);
}

#[test]
fn a_removed_segment_is_told() {
    let frames = recording(0, 2_000);
    let station = Station::with(&frames);
    let segments = (0..).take_while(|number| station.segment(*number).exists()).count() as u64;
    assert!(segments >= 4, "{segments}");
    // One in the middle is named by the next, the newest by its index.
    for number in [1, segments - 1] {
        std::fs::remove_file(station.segment(number)).unwrap();
    }
    let out = station.path("out");
    let told = station.json(&["export", out.to_str().unwrap(), "--send", "frames"], 1);
    let gone: Vec<_> = told["damaged"]["places"]
        .as_array()
        .unwrap()
        .iter()
        .map(|place| place["what"].as_str().unwrap())
        .collect();
    assert_eq!(gone, ["the segment is missing"; 2], "{told}");
    let told = station.json(&["gaps"], 1);
    assert_eq!(told["counters"][0]["custody"], json!([]), "they came");
    assert_eq!(told["counters"][0]["damaged"].as_array().unwrap().len(), 2);
}

#[test]
fn an_archive_that_is_gone_is_no_empty_one() {
    let station = Station::with(&recording(0, 20));
    let out = station.path("out");
    let file = format!("file:{}", station.path("replayed.bin").display());
    let commands = [
        &["gaps"][..],
        &["export", out.to_str().unwrap()],
        &["replay", "--speed", "max", "--to", &file],
    ];
    // As a station notes its ledger when it runs.
    std::fs::write(station.path("archive.ledgers"), "0000000000000009 0\n").unwrap();
    for arguments in commands {
        assert_eq!(station.run(arguments).status.code(), Some(0), "{arguments:?}");
    }
    std::fs::remove_dir_all(&out).unwrap();
    std::fs::remove_file(station.path("replayed.bin")).unwrap();
    std::fs::remove_dir_all(station.path("archive")).unwrap();
    for there in [false, true] {
        if there {
            std::fs::create_dir(station.path("archive")).unwrap();
        }
        for arguments in commands {
            let ended = station.run(arguments);
            assert_eq!(ended.status.code(), Some(1), "{arguments:?}");
            let text = talk(&ended);
            assert!(text.contains("ledger 0000000000000009 was kept there"), "{text}");
            assert!(text.contains("groundstation restore"), "{text}");
        }
    }
    std::fs::remove_file(station.path("archive.ledgers")).unwrap();
    for arguments in commands {
        let ended = station.run(arguments);
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}");
        assert!(talk(&ended).contains("nothing was archived there yet"), "{}", talk(&ended));
    }
    assert!(!out.exists() && !station.path("replayed.bin").exists(), "nothing was made");
}

#[test]
fn what_retention_let_go_is_neither_damage_nor_a_gap() {
    let station = Station::with(&recording(0, 2_000));
    station.retain(200 << 10);
    assert!(!station.segment(0).exists());
    let told = station.json(&["gaps"], 0);
    let counter = &told["counters"][0];
    assert_eq!((&counter["custody"], &counter["damaged"]), (&json!([]), &json!([])));
    assert_eq!(counter["let_go"][0]["first"], 0);
    let text = said(&station.run(&["gaps"]));
    assert!(text.contains("let go: archived, and deleted by retention"), "{text}");
    let out = station.path("out");
    station.json(&["export", out.to_str().unwrap()], 0);
}
