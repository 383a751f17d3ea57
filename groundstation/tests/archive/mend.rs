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
    for number in [1, 2] {
        assert!(text.contains(&format!("000000000{number}.segment at 0: the segment is missing")));
    }
    let whose =
        format!("VC 0 (v1 scid 71 map 0), spacecraft 7, origin {} epoch 1:", "05".repeat(16));
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
fn an_object_store_without_a_ledger_is_told() {
    let station = Station::with(&recording(0, 20));
    station.store(&[]);
    std::fs::remove_dir_all(station.path("store/test")).unwrap();
    let ended = station.run(&["restore"]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(talk(&ended).contains("no segment of any ledger"), "{}", talk(&ended));
}
