//! Doors that open, change and close at a reload, in the middle of a pass.

use super::{
    accept, read_frames,
    station::{Craft, Station, recording},
};
use serde_json::Value;
use std::{
    io::Read as _,
    net::{TcpListener, TcpStream},
    process::{Command, Output},
};
use tests::process::{DEADLINE, binary, get};

fn reload(station: &Station, change: impl FnOnce(String) -> String) -> Output {
    let path = station.path("station.toml");
    let said = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, change(said)).unwrap();
    let config = path.to_str().unwrap();
    let mut command = Command::new(binary("groundstation"));
    command.args(["reload", "--json", "--config", config]).output().unwrap()
}

fn doors(station: &Station) -> Vec<String> {
    let snapshot = get(&station.http, "/api/v1/snapshot");
    let doors = snapshot["doors"].as_array().unwrap();
    doors.iter().map(|door| door["name"].as_str().unwrap().into()).collect()
}

#[tokio::test]
async fn doors_open_change_and_close_in_a_pass_and_the_others_do_not_notice() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let door =
        |name: &str, to: &str| format!("[[door]]\nname = '{name}'\nto = '{to}'\nsend = 'frames'\n");
    let kept = door("kept", &format!("tcp-client:{}", listener.local_addr().unwrap()));
    let gone = door("gone", "tcp-server:127.0.0.1:0");
    let file = door("file", "file:frames.bin");
    let station = Station::start(&format!("{kept}{gone}{file}"));
    let mut whole = accept(&listener);
    let mut until = TcpStream::connect(station.address("gone")).unwrap();
    until.set_read_timeout(Some(DEADLINE)).unwrap();
    station.until("gone", |door| door["open"] == 1).await;
    let (frames, _) = recording(0, 300);
    let half = frames.len() / 2;
    let mut craft = Craft::connect(&station).await;
    craft.deliver(0, 0, &frames[..half], 20).await;

    // A mistake changes nothing: this address is taken.
    let taken = door("new", &format!("tcp-server:{}", listener.local_addr().unwrap()));
    let before = std::fs::read_to_string(station.path("station.toml")).unwrap();
    let refused = reload(&station, |said| said.replace(&gone, &taken));
    assert!(!refused.status.success());
    let why = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(why.contains("door new: can't listen"), "{why}");
    assert_eq!(doors(&station), ["file", "gone", "kept"]);

    let new = door("new", "tcp-server:127.0.0.1:0");
    let changed = file.replace("frames.bin'", "frames.bin'\nvirtual_channels = [0]");
    let done = reload(&station, |_| before.replace(&gone, &new).replace(&file, &changed));
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(said, serde_json::json!({ "changed": ["door"], "restart": [] }));
    assert_eq!(doors(&station), ["file", "kept", "new"]);
    // Who was served by the door that is gone has everything that was archived till then.
    let mut rest = Vec::new();
    until.read_to_end(&mut rest).unwrap();
    assert!(rest == frames[..half].concat());

    let mut late = TcpStream::connect(station.address("new")).unwrap();
    station.until("new", |door| door["open"] == 1).await;
    // The same connection delivers on, and the same connection hands out.
    craft.deliver(0, half as u64, &frames[half..], 20).await;
    assert!(read_frames(&mut late, frames.len() - half).concat() == frames[half..].concat());
    assert!(read_frames(&mut whole, frames.len()).concat() == frames.concat());
    assert_eq!(station.door("kept")["connects"], 1);
    // The file goes on where the door before it ended.
    let (path, whole) = (station.path("frames.bin"), frames.concat());
    let written = || std::fs::metadata(&path).is_ok_and(|file| file.len() >= whole.len() as u64);
    station.until("file", |_| written()).await;
    let Station { daemon, dir, .. } = station;
    daemon.terminate();
    assert!(daemon.end().success());
    assert!(std::fs::read(path).unwrap() == whole);
    drop(dir);
}
