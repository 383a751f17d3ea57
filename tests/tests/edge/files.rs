//! Files as inputs: a full spool makes them wait, and no kill costs or doubles a unit of one.

use super::{await_spool, site::*};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::Command,
};
use tests::process::binary;

/// More than the spool holds, by about half.
const FRAMES: u16 = 30_000;

/// A site whose spool holds a fraction of a file; the edge's status, and the input.
fn site(file: &str) -> (Site, PathBuf, Vec<String>) {
    let site = Site::new();
    let config = site.path("station/enrolled/antenna-1/edge.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("[spool]"), "{text}");
    let spool = "[spool]\nspool_bytes = 33554432\nsegment_bytes = 4194304\n";
    let text = text.replacen("[spool]\n", spool, 1);
    let status = site.path("status.json");
    let told = format!("\n[status]\ninterval_s = 1\nfile = {:?}\n", site.text("status.json"));
    std::fs::write(&config, text + &told).unwrap();
    let input = cadu_input(&format!("file:{}", site.text(file)));
    (site, status, input)
}

fn nobody() -> String {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Waits until the file waits; what the status then says.
fn await_full(status: &Path) -> Value {
    let mut told = Value::Null;
    await_that("the file waits", || {
        told =
            serde_json::from_slice(&std::fs::read(status).unwrap_or_default()).unwrap_or_default();
        let (numbered, durable) =
            (&told["spool"]["ever"]["units_numbered"], &told["spool"]["ever"]["units_durable"]);
        told["inputs"][0]["waits"] == true && numbered == durable
    });
    told
}

/// Every frame that the archive gives out, receptions of the same frame apart.
fn exported(site: &Site) -> Vec<Vec<u8>> {
    let out = site.path("exported");
    let config = site.text("station/station.toml");
    done(&["export", "--config", &config, "--send", "frames", out.to_str().unwrap()]);
    let files = std::fs::read_dir(out).unwrap().map(|file| file.unwrap().path());
    let bytes: Vec<u8> = files.flat_map(|file| std::fs::read(file).unwrap()).collect();
    bytes.chunks(FRAME_BYTES).map(<[u8]>::to_vec).collect()
}

/// The claim of custody for an input that can wait: with the station down and the spool full
/// nothing is given up, a kill there changes nothing, and all of it goes down in the end.
#[test]
fn a_file_waits_for_room_and_goes_on_after_a_kill_where_it_was() {
    let (site, status, input) = site("pass.cadu");
    let sent = frames(FRAMES);
    std::fs::write(site.path("pass.cadu"), cadus(&sent, &[])).unwrap();
    let nobody = nobody();
    let (edge, _) = site.edge("antenna-1", &nobody, &refs(&input));
    let told = await_full(&status);
    let kept = told["spool"]["ever"]["units_durable"].as_u64().unwrap();
    assert_eq!(told["spool"]["run"]["units_voided"], 0, "{told}");
    assert!((3_000..u64::from(FRAMES) - 3_000).contains(&kept), "{told}");
    drop(edge);
    // Killed, and no more is taken of it while there is no room.
    std::fs::remove_file(&status).unwrap();
    let (edge, ready) = site.edge("antenna-1", &nobody, &refs(&input));
    assert_eq!(ready["units_numbered"], kept);
    let told = await_full(&status);
    assert_eq!(told["spool"]["ever"]["units_durable"], kept, "{told}");
    assert_eq!(told["inputs"][0]["kept_before"], kept, "{told}");
    drop(edge);
    // A clean stop while it waits loses nothing either.
    std::fs::remove_file(&status).unwrap();
    let (mut edge, _) = site.edge("antenna-1", &nobody, &refs(&input));
    await_full(&status);
    edge.terminate();
    let told = edge.expect("done");
    assert!(edge.end().success(), "{told}");
    let station = site.station();
    // Killed in the midst of it, again and again, wherever that falls.
    for part in 1..4 {
        let (edge, _) = site.edge("antenna-1", &station.quic, &refs(&input));
        station.await_units(kept + 1_500 * part);
        drop(edge);
    }
    let arguments = [&refs(&input)[..], &["--until-done"]].concat();
    let (mut edge, _) = site.edge("antenna-1", &station.quic, &arguments);
    let told = edge.expect("done");
    assert!(edge.end().success(), "{told}");
    assert_eq!(told["spool"]["ever"]["units_numbered"], FRAMES, "none twice, none missing: {told}");
    // What it grows by later goes on, and only that.
    let more = frames(FRAMES + 100);
    std::fs::write(site.path("pass.cadu"), cadus(&more, &[])).unwrap();
    let (mut edge, _) = site.edge("antenna-1", &station.quic, &arguments);
    let told = edge.expect("done");
    assert!(edge.end().success(), "{told}");
    assert_eq!(told["spool"]["run"]["units_numbered"], 100, "{told}");
    station.stop();
    assert_eq!(site.audit(), (u64::from(FRAMES) + 100, 0));
    let wanted: BTreeSet<&Vec<u8>> = more.iter().collect();
    assert_eq!(exported(&site).iter().collect::<BTreeSet<_>>(), wanted);
}

/// Live input beside a file that waits: it is taken, and pushes out what is worth least.
#[test]
fn a_file_that_waits_does_not_hold_up_a_socket() {
    let (site, status, _) = site("pass.cadu");
    std::fs::write(site.path("pass.cadu"), cadus(&frames(FRAMES), &[])).unwrap();
    let config = site.path("station/enrolled/antenna-1/edge.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let inputs = format!(
        "[[input]]\nfrom = {:?}\ncarries = \"cadus\"\nframe = \"aos:892\"\ncoding = {CODING:?}\n\
         [[input]]\nfrom = \"udp:127.0.0.1:0\"\nframe = \"aos:892\"\n",
        format!("file:{}", site.text("pass.cadu")),
    );
    std::fs::write(&config, text + &inputs).unwrap();
    let (_edge, ready) = site.edge("antenna-1", &nobody(), &[]);
    let kept = await_full(&status)["spool"]["ever"]["units_durable"].as_u64().unwrap();
    let to = ready["inputs"][1].as_str().unwrap().strip_prefix("udp:").unwrap().to_owned();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    frames(30).iter().for_each(|frame| assert_eq!(socket.send_to(frame, &to).unwrap(), 892));
    await_spool(&status, |durable| durable >= kept + 30);
    let told: Value = serde_json::from_slice(&std::fs::read(&status).unwrap()).unwrap();
    assert_eq!(told["inputs"][1]["undetermined"], 30, "{told}");
    assert!(told["spool"]["run"]["units_voided"].as_u64() > Some(0), "{told}");
}

#[test]
fn a_pipe_waits_for_room_as_well() {
    let (site, _, _) = site("pass.cadu");
    std::fs::write(site.path("pass.cadu"), cadus(&frames(FRAMES), &[])).unwrap();
    let station = site.station();
    let config = site.text("station/enrolled/antenna-1/edge.toml");
    let input = cadu_input("-");
    let mut cat = Command::new("cat")
        .arg(site.path("pass.cadu"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let output = Command::new(binary("groundstation"))
        .args(["edge", "--json", "--config", &config, "--station", &station.quic, "--until-done"])
        .args(refs(&input))
        .stdin(cat.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(cat.wait().unwrap().success());
    let said = String::from_utf8_lossy(&output.stdout);
    let told: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert!(output.status.success(), "{told}");
    assert_eq!(told["spool"]["run"]["units_voided"], 0, "{told}");
    station.stop();
    assert_eq!(site.audit(), (u64::from(FRAMES), 0));
}
