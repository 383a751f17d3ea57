//! A door to a file: each frame in it once, whatever happens to the station.

use crate::station::{Craft, FRAME_BYTES, Station, recording};
use bytes::Bytes;
use serde_json::Value;
use std::{path::Path, time::Duration};
use tests::process::DEADLINE;

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let reached = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, reached).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn length(path: &Path) -> usize {
    std::fs::metadata(path).map_or(0, |known| known.len() as usize)
}

/// The door's cursor.
fn cursor(station: &Station) -> Value {
    let text = std::fs::read(station.path("doors/file.json")).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Every frame of every file of the folder, sorted.
fn frames_in(folder: &Path) -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut frames: Vec<Vec<u8>> = files
        .flat_map(|file| {
            let bytes = std::fs::read(&file).unwrap();
            assert_eq!(bytes.len() % FRAME_BYTES, 0, "{}", file.display());
            bytes.chunks_exact(FRAME_BYTES).map(<[u8]>::to_vec).collect::<Vec<_>>()
        })
        .collect();
    frames.sort();
    frames
}

/// Each frame is there once.
fn assert_once<'a>(folder: &Path, frames: impl IntoIterator<Item = &'a Bytes>) {
    let (found, expected) = (frames_in(folder), sorted(frames));
    let lost = expected.iter().filter(|frame| found.binary_search(frame).is_err()).count();
    let twice = found.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert_eq!((lost, twice, found.len()), (0, 0, expected.len()), "lost, twice, in all");
}

fn sorted<'a>(frames: impl IntoIterator<Item = &'a Bytes>) -> Vec<Vec<u8>> {
    let mut frames: Vec<Vec<u8>> = frames.into_iter().map(|frame| frame.to_vec()).collect();
    frames.sort();
    frames
}

#[tokio::test]
async fn a_channel_that_is_waited_for_costs_the_others_nothing_at_a_kill() {
    let station = Station::start(
        "[[door]]\nname = 'file'\nto = 'file:out/frames.bin'\nsend = 'frames'\n\
         patience_ms = 600000\n",
    );
    let out = station.path("out");
    let file = out.join("frames.bin");
    let (held, _) = recording(0, 60);
    let (others, _) = recording(1, 200);
    let mut craft = Craft::connect(&station).await;
    // The first one of its channel is still on its way.
    craft.deliver(0, 1, &held[1..], 5).await;
    craft.deliver(1, 0, &others, 20).await;
    let written = others.len() * FRAME_BYTES;
    until("noted", || cursor(&station)["file"]["bytes"] == written).await;
    assert_eq!(cursor(&station)["held"].as_array().unwrap().len(), held.len() - 1);
    drop(craft);
    let station = station.restart(true);
    let mut craft = Craft::connect(&station).await;
    craft.deliver(0, 0, &held[..1], 1).await;
    until("written", || length(&file) >= written + held.len() * FRAME_BYTES).await;
    drop(craft);
    station.daemon.terminate();
    assert!(station.daemon.end().success());
    assert_once(&out, others.iter().chain(&held));
}

#[tokio::test]
async fn kills_and_closed_files_cost_no_frame_and_double_none() {
    let mut station = Station::start(
        "[[door]]\nname = 'file'\nto = 'file:out/frames.bin'\nsend = 'frames'\n\
         rotate_bytes = 30000\npatience_ms = 300\n",
    );
    let out = station.path("out");
    let (first, _) = recording(0, 1_200);
    let (second, _) = recording(1, 1_200);
    let rounds = 6;
    let share = first.len().min(second.len()) / rounds;
    for round in 0..rounds {
        let mut craft = Craft::connect(&station).await;
        let (from, to) = (round * share, (round + 1) * share);
        // Of one channel the last come first, and wait.
        let middle = from + share / 2;
        craft.deliver(0, middle as u64, &first[middle..to], 7).await;
        craft.deliver(1, from as u64, &second[from..to], 11).await;
        craft.deliver(0, from as u64, &first[from..middle], 7).await;
        drop(craft);
        station = station.restart(round + 1 < rounds);
    }
    until("written", || frames_in(&out).len() >= 2 * rounds * share).await;
    station.daemon.terminate();
    assert!(station.daemon.end().success());
    let files = std::fs::read_dir(&out).unwrap().count();
    assert!(files > 5, "{files} files");
    assert_once(&out, first[..rounds * share].iter().chain(&second[..rounds * share]));
}

#[tokio::test]
async fn what_a_file_does_not_take_is_not_sent() {
    let station =
        Station::start("[[door]]\nname = 'file'\nto = 'file:link.bin'\nsend = 'frames'\n");
    let (frames, _) = recording(0, 100);
    let mut craft = Craft::connect(&station).await;
    craft.deliver(0, 0, &frames, 9).await;
    let door = station.until("file", |door| door["error"].is_string()).await;
    assert_eq!(door["sent"], 0, "{door}");
    std::fs::create_dir(station.path("away")).unwrap();
    let door = station.until("file", |door| door["sent"] == frames.len()).await;
    assert!(door["error"].is_null(), "{door}");
    assert!(std::fs::read(station.path("away/frames.bin")).unwrap() == frames.concat());
}
