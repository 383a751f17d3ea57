//! What an audit says of damage leads to its mend.

use crate::station::{Station, flip, recording, said, talk};

#[test]
fn each_removed_segment_and_whose_units_are_missing_is_told() {
    let station = Station::with(&recording(0, 2_000));
    for number in [1, 2] {
        std::fs::remove_file(station.segment(number)).unwrap();
    }
    let ended = station.run(&["audit"]);
    assert_eq!(ended.status.code(), Some(1));
    let text = said(&ended);
    let run = "0000000001.segment to 0000000002.segment: 2 segments are missing";
    assert!(text.contains(run), "{text}");
    let whose = format!(
        "VC 0 (v1 scid 71 map 0), spacecraft 7, origin {} epoch {:016x}:",
        "05".repeat(16),
        1
    );
    assert!(text.contains(&format!("missing: {whose}")), "{text}");
}

#[test]
fn a_flipped_byte_is_mended_from_the_object_store_as_audit_advises() {
    let station = Station::with(&recording(0, 2_000));
    station.store(&[0, 1]);
    for number in [1, 2] {
        flip(&station.segment(number), 9_000);
    }
    let ended = station.run(&["audit"]);
    assert_eq!(ended.status.code(), Some(1));
    let text = said(&ended);
    assert!(text.contains("to do: the object store holds 0000000001.segment: with the"), "{text}");
    assert!(text.contains("to do: no object store is known to hold 0000000002.segment"), "{text}");
    let told = station.json(&["audit"], 1);
    assert_eq!(told["advice"].as_array().unwrap().len(), 2, "{told}");
    flip(&station.segment(2), 9_000);

    std::fs::rename(station.segment(1), station.path("aside.segment")).unwrap();
    let restored = station.run(&["restore"]);
    assert!(restored.status.success(), "{}", talk(&restored));
    assert!(said(&restored).contains("1 segments brought"), "{}", said(&restored));
    assert_eq!(station.json(&["audit"], 0)["advice"], serde_json::json!([]));
    let again = station.run(&["restore"]);
    assert!(again.status.success());
    assert!(said(&again).contains("nothing to restore"), "{}", said(&again));
}

#[test]
fn a_run_of_missing_segments_is_mended_as_audit_advises_though_the_catalogue_is_gone() {
    let station = Station::with(&recording(0, 2_000));
    station.store(&[0, 1, 2]);
    for number in [0, 1] {
        std::fs::remove_file(station.segment(number)).unwrap();
        std::fs::remove_file(station.segment(number).with_extension("index")).unwrap();
    }
    std::fs::remove_file(station.path("archive/catalogue.jsonl")).unwrap();
    let ended = station.run(&["audit"]);
    assert_eq!(ended.status.code(), Some(1));
    let (text, run) = (said(&ended), "0000000000.segment to 0000000001.segment");
    assert!(text.contains(&format!("{run}: 2 segments are missing")), "{text}");
    assert!(text.contains(&format!("to do: the object store holds {run}")), "{text}");

    std::fs::rename(station.path("store"), station.path("unmounted")).unwrap();
    let text = said(&station.run(&["audit"]));
    assert!(text.contains(&format!("did not answer, and may hold {run}: try")), "{text}");
    std::fs::rename(station.path("unmounted"), station.path("store")).unwrap();

    let restored = station.run(&["restore"]);
    assert!(said(&restored).contains("2 segments brought"), "{}", talk(&restored));
    // The indexes went with the segments, and came with them.
    assert_eq!(station.json(&["audit"], 0)["advice"], serde_json::json!([]));
}

#[test]
fn an_object_store_without_a_ledger_is_told() {
    let station = Station::with(&recording(0, 20));
    station.store(&[]);
    std::fs::remove_dir_all(station.path("store/test")).unwrap();
    let ended = station.run(&["restore"]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(talk(&ended).contains("no segment of any ledger"), "{}", talk(&ended));
}
