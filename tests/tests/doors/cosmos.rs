//! COSMOS's own interface behind a door, with the parameters that the document gives.
//!
//! OpenC3 is not open source and only ever a process of its own; see `tools/install-cosmos`.

use super::station::{Craft, Station, recording};
use std::{
    path::PathBuf,
    process::{Command, Stdio},
};
use tests::process::root;

/// More than one read of a socket brings.
const PACKETS: u16 = 1_500;

/// Python with OpenC3, or why it is not to be had.
fn installed() -> Option<PathBuf> {
    let dir = std::env::var_os("GROUNDTRACK_COSMOS")
        .map_or_else(|| root().join("target/cosmos"), PathBuf::from);
    let python = dir.join("bin/python");
    if python.exists() {
        return Some(python);
    }
    println!(
        "skipped: no COSMOS; run tools/install-cosmos target/cosmos, or set GROUNDTRACK_COSMOS"
    );
    None
}

/// Parameters of the interface in `docs/doors.md`, with the host and port of a door here.
fn parameters(port: u16) -> Vec<String> {
    let document = include_str!("../../../docs/doors.md");
    let line = document.lines().find(|line| line.starts_with("INTERFACE ")).unwrap();
    let mut words: Vec<String> = line.split(' ').skip(3).map(str::to_owned).collect();
    let place = [words[0].as_str(), words[2].as_str()];
    assert_eq!(place, ["host.docker.internal", "2950"], "{line}");
    (words[0], words[2]) = ("127.0.0.1".into(), port.to_string());
    words
}

#[tokio::test]
async fn a_real_cosmos_interface_reads_every_packet_of_a_door_whole_and_in_order() {
    let Some(python) = installed() else { return };
    let station = Station::start(
        "[[door]]\nname = 'cosmos'\nto = 'tcp-server:127.0.0.1:0'\nsend = 'packets'\n",
    );
    let cosmos = Command::new(python)
        .args(["-c", include_str!("cosmos.py"), &PACKETS.to_string()])
        .args(parameters(station.address("cosmos").port()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let read = std::thread::spawn(|| cosmos.wait_with_output().unwrap());
    station.until("cosmos", |door| door["open"] == 1).await;
    let (frames, packets) = recording(5, PACKETS);
    let mut craft = Craft::connect(&station).await;
    craft.deliver(5, 0, &frames, 40).await;
    station.until("cosmos", |door| door["sent"] == packets.len()).await;
    let output = read.join().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    // Beside the packets it writes its own log.
    let got: Vec<&str> = said.lines().filter(|line| !line.starts_with('{')).collect();
    let hex = |packet: &Vec<u8>| packet.iter().map(|byte| format!("{byte:02x}")).collect();
    let sent: Vec<String> = packets.iter().map(hex).collect();
    assert_eq!(got.len(), sent.len());
    assert!(got == sent, "what it read is not what was sent");
}
