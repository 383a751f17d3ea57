//! Segments that were moved away, and moved back when their units had come again meanwhile.

use crate::station::{Station, recording, said};
use codecs::{
    ids::{Channel, Codec, KeyPrefix, SeqRange, UnitKey},
    link::{
        object::{Annotation, Quality, TimeSource},
        void::{Void, VoidRange, VoidReason},
    },
    time::Tai,
};
use groundstation::archive::Incoming;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The same units as an antenna heard them, so that they are of the merged view.
fn heard(units: &[Incoming]) -> Vec<Incoming> {
    let heard = |unit: &Incoming| {
        let received = unit.received;
        let annotation = Annotation {
            received,
            source: TimeSource::Measured,
            quality: Quality::Good,
            antenna: 1,
            corrected_symbols: 0,
        };
        Incoming { annotation: Some(annotation.encode()), ..unit.clone() }
    };
    units.iter().map(heard).collect()
}

/// Moves segments and their indexes out of the archive; where they are now.
fn take_away(station: &Station, numbers: &[u64]) -> Vec<(PathBuf, PathBuf)> {
    let away = station.path("away");
    std::fs::create_dir_all(&away).unwrap();
    let files = numbers.iter().flat_map(|number| {
        let segment = station.segment(*number);
        [segment.with_extension("index"), segment]
    });
    let moved = files.map(|file| {
        let to = away.join(file.file_name().unwrap());
        std::fs::rename(&file, &to).unwrap();
        (file, to)
    });
    moved.collect()
}

fn bring_back(files: Vec<(PathBuf, PathBuf)>) {
    files.into_iter().for_each(|(file, from)| std::fs::rename(from, file).unwrap());
}

/// Exports frames into a folder.
fn export(station: &Station, folder: &str) {
    let folder = station.path(folder);
    station.json(&["export", folder.to_str().unwrap(), "--send", "frames"], 0);
}

/// What `gaps` tells of each kind: custody, damaged or lost, left out, of antennas.
fn kinds(gaps: &Value) -> [Value; 4] {
    let of_counters = |kind: &str| -> Vec<Value> {
        let counters = gaps["counters"].as_array().unwrap().iter();
        let ranges = counters.flat_map(|counter| counter[kind].as_array().unwrap().clone());
        ranges.map(|range| json!([range["first"], range["last"]])).collect()
    };
    let channels = gaps["channels"].as_array().unwrap().iter();
    let reception: Vec<Value> = channels
        .flat_map(|channel| {
            ["reception", "set_back"].map(|kind| channel[kind].as_array().unwrap().clone())
        })
        .flatten()
        .collect();
    let [custody, damaged, left_out] = ["custody", "damaged", "left_out"].map(of_counters);
    [json!(custody), json!(damaged), json!(left_out), json!(reception)]
}

/// Units that an archive has in these segments, as its indexes say.
fn units_in(station: &Station, numbers: &[u64], units: &[Incoming]) -> Vec<Incoming> {
    use groundstation::archive::index::Index;
    let indexes: Vec<Index> = numbers
        .iter()
        .map(|number| {
            let file = station.segment(*number).with_extension("index");
            Index::decode(&std::fs::read(file).unwrap(), *number).unwrap()
        })
        .collect();
    let in_any = |unit: &&Incoming| indexes.iter().any(|index| index.find(&unit.key).is_some());
    units.iter().filter(in_any).cloned().collect()
}

#[test]
fn units_that_came_again_while_their_segment_was_away_are_read_once() {
    let units = recording(0, 1_500);
    for units in [heard(&units), units] {
        let station = Station::with(&units);
        let whole = station.json(&["gaps"], 0);
        export(&station, "out");
        let frames = std::fs::read(station.path("out/frames-7-vc00.bin")).unwrap();
        let gone = units_in(&station, &[1, 2], &units);
        let away = take_away(&station, &[1, 2]);
        // Most of it comes again, a minute and a half later by the station's clock.
        let mut again = gone[..gone.len() - 3].to_vec();
        if again[0].annotation.is_none() {
            again.iter_mut().for_each(|unit| unit.received.0 += 90_000_000_000);
        }
        station.archive(&again);
        bring_back(away);
        station.archive(&[]);

        let audit = station.json(&["audit"], 0);
        let (found, lost) = (audit["taken_again"].as_u64(), audit["lost"].as_array().unwrap());
        assert_eq!((found, lost.len()), (Some(again.len() as u64), 0), "{audit}");
        assert_eq!((&audit["duplicates"], &audit["advice"]), (&json!(0), &json!([])));
        let told = said(&station.run(&["audit"]));
        assert!(told.contains("stand twice, alike: each is read once"), "{told}");

        let gaps = station.json(&["gaps"], 0);
        assert_eq!(kinds(&gaps), [json!([]), json!([]), json!([]), json!([])], "{gaps}");
        assert_eq!(gaps, whole);
        export(&station, "again");
        let read = std::fs::read(station.path("again/frames-7-vc00.bin")).unwrap();
        assert!(read == frames, "{} bytes, {} before", read.len(), frames.len());
        let to = format!("file:{}", station.path("replayed").display());
        station.json(&["replay", "--speed", "max", "--send", "frames", "--to", &to], 0);
        assert!(std::fs::read(station.path("replayed")).unwrap() == frames);
    }
}

#[test]
fn what_came_again_with_other_bytes_is_told_and_the_first_is_read() {
    let units = recording(0, 1_500);
    let station = Station::with(&units);
    let mut again = units_in(&station, &[1], &units);
    let away = take_away(&station, &[1]);
    again[4].bytes = again[5].bytes.clone();
    station.archive(&again);
    bring_back(away);
    let audit = station.json(&["audit"], 1);
    let sequence = again[4].key.sequence;
    assert_eq!(audit["differing"][0]["ranges"], json!([[sequence, sequence]]), "{audit}");
    assert_eq!(audit["taken_again"], again.len() - 1);
    let advice = audit["advice"].as_array().unwrap();
    assert!(advice[0].as_str().unwrap().contains("other bytes"), "{advice:?}");
    export(&station, "out");
    let read = std::fs::read(station.path("out/frames-7-vc00.bin")).unwrap();
    let wanted: Vec<u8> = units.iter().flat_map(|unit| unit.bytes.to_vec()).collect();
    assert!(read == wanted);
}

#[test]
fn what_went_with_a_segment_stays_of_one_kind() {
    let units = recording(0, 1_500);
    for units in [heard(&units), units] {
        // Towards the end five were left out on purpose and three never came; the void that says
        // so is in a segment in the middle.
        let end = units.len() - 1;
        let (five, three) = (end - 20..end - 15, end - 15..end - 12);
        let range = SeqRange { first: five.start as u64, last: five.end as u64 - 1 };
        let KeyPrefix { epoch, spacecraft, channel, .. } = units[0].key.prefix;
        let (from, to) = (Tai(0), Tai(1));
        let entry = VoidRange { epoch, spacecraft, channel, range, bytes: 5_000, from, to };
        let void = Void { reason: VoidReason::Triage, decided: Tai(2), entries: vec![entry] };
        let prefix = KeyPrefix { channel: Channel::VOIDS, ..units[0].key.prefix };
        let record = Incoming {
            key: UnitKey { prefix, sequence: 0 },
            codec: Codec::Void,
            received: units[end / 2].received,
            annotation: None,
            bytes: void.encode().into(),
        };
        let came = |at: &usize| !five.contains(at) && !three.contains(at);
        let mut all: Vec<Incoming> = (0..end).filter(came).map(|at| units[at].clone()).collect();
        all.insert(end / 2, record.clone());
        let station = Station::with(&all);
        let middle = (0..9).find(|number| {
            let index = station.segment(*number).with_extension("index");
            index.exists()
                && !units_in(&station, &[*number], std::slice::from_ref(&record)).is_empty()
        });
        let middle = middle.unwrap();
        let gone = units_in(&station, &[middle], &all);
        let of_channel = |unit: &&Incoming| unit.key.prefix.channel == channel;
        let gone: Vec<_> = gone.iter().filter(of_channel).map(|unit| unit.key.sequence).collect();
        let span = json!([gone[0], gone[gone.len() - 1]]);
        assert!(station.segment(middle + 1).exists() && gone[0] > 0);
        take_away(&station, &[middle]);
        // Before a start knows of it, after one, and when a further segment says so.
        let custody = json!([[three.start, three.end - 1]]);
        for step in ["before a start", "after it", "behind a new segment"] {
            match step {
                "after it" => station.archive(&[]),
                "behind a new segment" => station.archive(&units[end..]),
                _ => {}
            }
            let gaps = station.json(&["gaps"], 1);
            let [missed, damaged, left_out, reception] = kinds(&gaps);
            assert_eq!(missed, custody, "{step}");
            assert_eq!(damaged, json!([span.clone(), [0, 0]]), "{step}");
            assert_eq!(left_out, json!([[range.first, range.last]]), "{step}");
            assert_eq!(reception, json!([]), "{step}");
            assert!(said(&station.run(&["gaps"])).contains("why is not known"), "{step}");
        }
    }
}
