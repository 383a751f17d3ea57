//! One contact out of many.

use crate::station::{Station, recording, said, talk};
use codecs::time::Tai;
use groundstation::archive::Incoming;

/// An hour after the first.
fn later(units: &[Incoming]) -> Vec<Incoming> {
    let later = |unit: &Incoming| Incoming {
        received: Tai(unit.received.0 + 3_600_000_000_000),
        ..unit.clone()
    };
    units.iter().map(later).collect()
}

#[test]
fn a_contact_is_listed_replayed_and_exported_by_its_name() {
    let mut frames = recording(0, 400);
    let second = later(&frames.split_off(100));
    let mut all = [frames.clone(), second.clone()].concat();
    // Lost in the first contact.
    all.remove(50);
    let station = Station::with(&all);
    let told = station.json(&["gaps"], 0);
    let contacts = told["spacecraft"][0]["contacts"].as_array().unwrap();
    assert_eq!(contacts.len(), 2, "{told}");
    let name = |at: usize| contacts[at]["id"].as_str().unwrap().to_string();
    let listed = said(&station.run(&["gaps"]));
    assert!(listed.contains(&format!("  {} to ", name(0))), "{listed}");
    for (at, custody) in [(0, 1), (1, 0)] {
        let told = station.json(&["gaps", "--contact", &name(at)], 0);
        assert_eq!(told["counters"][0]["custody"].as_array().unwrap().len(), custody, "{told}");
    }

    // Without parts of a second too.
    let whole = format!("{}Z", name(1).split('.').next().unwrap());
    for contact in [name(1), whole] {
        let file = station.path("replayed.bin");
        let to = format!("file:{}", file.display());
        let replay = ["replay", "--speed", "max", "--send", "frames", "--to", &to];
        station.json(&[&replay[..], &["--contact", &contact]].concat(), 0);
        let wanted: Vec<u8> = second.iter().flat_map(|unit| unit.bytes.to_vec()).collect();
        assert!(std::fs::read(&file).unwrap() == wanted);
        std::fs::remove_file(&file).unwrap();
    }
    let out = station.path("out");
    let export = ["export", out.to_str().unwrap(), "--send", "frames", "--contact", &name(0)];
    assert_eq!(station.json(&export, 0)["files"][0]["count"], 99);
    for (contact, what) in [
        ("7:2026-01-01T00:00:00Z", "no contact 7:2026-01-01T00:00:00.000Z; the latest are 7:"),
        (
            "8:2026-01-01T00:00:00Z",
            "spacecraft 8: neither mission, station file nor archive knows it",
        ),
    ] {
        for arguments in [&["gaps"][..], &["export", out.to_str().unwrap()]] {
            let ended = station.run(&[arguments, &["--contact", contact]].concat());
            assert_eq!(ended.status.code(), Some(1));
            assert!(talk(&ended).contains(what), "{}", talk(&ended));
        }
    }
    assert_eq!(station.run(&["gaps", "--contact", "yesterday"]).status.code(), Some(2));
}
