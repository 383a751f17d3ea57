//! A replay into a file.

use crate::station::{Station, recording, talk};

#[test]
fn a_replay_counts_what_the_file_took_and_gives_up_on_one_that_takes_nothing() {
    let frames = recording(0, 300);
    let station = Station::with(&frames);
    let replay = |to: &str, code: i32| {
        let to = format!("file:{to}");
        let arguments = ["replay", "--speed", "max", "--send", "frames", "--to", &to, "--json"];
        let ended = station.run(&arguments);
        assert_eq!(ended.status.code(), Some(code), "{}", talk(&ended));
        let told: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap_or_default();
        (told, talk(&ended))
    };
    let (told, _) = replay(station.path("replayed.bin").to_str().unwrap(), 0);
    let bytes: usize = frames.iter().map(|unit| unit.bytes.len()).sum();
    assert_eq!((&told["sent"], &told["bytes"]), (&frames.len().into(), &bytes.into()));
    let (told, said) = replay("/dev/full", 1);
    assert_eq!((&told["complete"], &told["sent"]), (&false.into(), &0.into()));
    assert!(said.contains("/dev/full: No space left"), "{said}");
    let (_, said) = replay("/nowhere/replayed.bin", 1);
    assert!(said.contains("can't write to /nowhere/replayed.bin"), "{said}");
}
