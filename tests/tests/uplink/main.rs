//! Uplink with the real programs: queued, sent, executed once, answered, over kills of either side.

mod configuration;
mod said;
mod simulated;
mod world;

use serde_json::Value;
use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use tests::process::{DEADLINE, Daemon, binary};
use world::{World, text};

/// Waits for a state.
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is() {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether a whole segment is anywhere in a folder.
fn stored(folder: &Path) -> bool {
    let mut entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.any(|path| match path.is_dir() {
        true => stored(&path),
        false => path.extension().is_some_and(|name| name == "segment"),
    })
}

#[test]
fn what_an_operator_sends_is_done_once_and_answered() {
    let world = World::start();
    let craft = world.craft();
    let ping = world.send("command", "ping", &["--expires", "10m"]);
    let echo = world.send("command", "echo Grüße \"up\"", &[]);
    let set = world.send("configuration", "[triage]\ncloudy_above = 0.5", &[]);
    let unknown = world.send("command", "self-destruct", &[]);
    assert_eq!(world.outcome(&ping), ["done", "", "pong"]);
    assert_eq!(world.outcome(&echo), ["done", "", "Grüße \"up\""]);
    assert_eq!(world.outcome(&set), ["done", "", "in force"]);
    assert_eq!(world.outcome(&unknown)[..2], ["refused", "unsupported"]);
    assert_eq!(world.row(&ping)["by"], "spacecraft");
    // A quiet moment: nothing is under way once the spacecraft is gone and its records are in.
    drop(craft);
    let counters = world.conserved();
    let records = counters.iter().find(|(of, _)| of.ends_with("channel=\"records\""));
    assert!(records.is_some_and(|(_, of)| of["\"archived\""] >= 4), "{counters:?}");
    for (counter, mut outcomes) in counters {
        let received = outcomes.remove("\"received\"").unwrap();
        assert_eq!(received, outcomes.values().sum::<u64>(), "{counter}: {outcomes:?}");
    }
    let refused = world.run(&["send", "--spacecraft", "9", "--kind", "command", "--text", "ping"]);
    assert!(!refused.status.success(), "an operator's row names its spacecraft");
}

/// A tile of 4 bands of 8 x 8 pixels as the imager's packet has it.
fn tile() -> Vec<u8> {
    let mut data = vec![0, 0, 0, 5, 0, 8, 0, 8, 4, 8];
    data.resize(18, 0);
    data.extend([255, 0]);
    data.resize(20 + 4 * 64, 30);
    let mut packet = vec![0x08 | 1, 44, 0xC0, 0];
    packet.extend(((7 + data.len() - 1) as u16).to_be_bytes());
    packet.extend(codecs::time::Tai(1_800_000_000_000_000_000).to_cuc43());
    packet.extend(data);
    packet
}

#[test]
fn what_a_policy_keeps_on_board_is_told_and_comes_down_when_it_is_asked_for() {
    let world = World::start();
    let folder = world.path("enrolled/a");
    let rule = "[[rule]]\nname = \"all\"\nclass = \"tile\"\naction = \"keep\"\n";
    std::fs::write(folder.join("triage.toml"), rule).unwrap();
    let config = folder.join("onboard.toml");
    let said = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{said}\n[triage]\npolicy = \"triage.toml\"\n")).unwrap();
    let _craft = world.craft();
    let sensor = std::os::unix::net::UnixDatagram::unbound().unwrap();
    sensor.send_to(&tile(), folder.join("s")).unwrap();
    let products = || {
        let config = text(&world.path("station.toml"));
        let mut command = Command::new(binary("groundstation"));
        let output = command.args(["gaps", "--json", "--config", &config]).output().unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let counters = told["counters"].as_array().cloned().unwrap_or_default();
        let products = onboard::pipeline::PRODUCTS.0;
        counters.into_iter().find(|of| of["channel"] == products).unwrap_or_default()
    };
    until("the void is in", || products()["left_out"][0]["reason"] == "kept");
    let asked = world.send("command", "send products 0", &[]);
    assert_eq!(world.outcome(&asked), ["done", "", "1 of 1 held"]);
    until("the tile is in", || products()["left_out"].as_array().is_some_and(Vec::is_empty));
}

/// An edge hears the spacecraft and carries for it, and would execute nothing: what is sent waits
/// for the spacecraft itself.
#[test]
fn an_edge_that_carries_for_a_spacecraft_gets_none_of_its_uplink() {
    let world = World::start();
    let config = text(&world.path("station.toml"));
    let done = |arguments: &[&str]| {
        let all = [arguments, &["--config", &config]].concat();
        let output = Command::new(binary("groundstation")).args(&all).output().unwrap();
        assert!(output.status.success(), "{all:?}: {output:?}");
    };
    done(&["enroll", "edge", "antenna-1"]);
    done(&["reload"]);
    let file = text(&world.path("enrolled/antenna-1/edge.toml"));
    let input = ["--from", "udp:127.0.0.1:0", "--carries", "packets"];
    let arguments = [&["edge", "--json", "--config", &file][..], &input].concat();
    let mut edge = Daemon::start("groundstation", &arguments);
    edge.expect("ready");
    let sessions = || {
        let snapshot = tests::process::get(world.http(), "/api/v1/snapshot");
        let crafts = snapshot["spacecraft"].as_array().unwrap().clone();
        crafts.iter().find(|craft| craft["id"] == 7).unwrap()["link"]["sessions"].clone()
    };
    let until = |wanted: u64| {
        let end = Instant::now() + DEADLINE;
        while sessions() != wanted {
            assert!(Instant::now() < end, "{wanted} sessions: {}", sessions());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until(1);
    let echo = world.send("command", "echo for the spacecraft", &[]);
    let craft = world.craft();
    assert_eq!(world.outcome(&echo), ["done", "", "for the spacecraft"]);
    assert_eq!(world.row(&echo)["attempts"], 1, "the edge got none of it");
    // And the link is up for as long as either hears the spacecraft.
    until(2);
    drop(craft);
    until(1);
    edge.terminate();
    edge.expect("done");
    until(0);
}

#[test]
fn a_spacecraft_whose_key_the_station_refuses_comes_back_under_its_golden_one() {
    let world = World::start();
    let _craft = world.craft();
    let before = world.send("command", "echo usual", &[]);
    assert_eq!(world.outcome(&before)[2], "usual");
    // The usual key's row goes, in mid-contact, and nobody on board touches a file.
    let path = world.path("station.toml");
    let said = std::fs::read_to_string(&path).unwrap();
    let (head, row) = said.split_once("[[principal]]\nname = \"a\"").unwrap();
    let after = &row[row.find("\n[").unwrap()..];
    std::fs::write(&path, format!("{head}{after}")).unwrap();
    let reloaded =
        Command::new(binary("groundstation")).args(["reload", "--config", &text(&path)]).output();
    assert!(reloaded.unwrap().status.success());
    let after = world.send("command", "echo golden", &[]);
    assert_eq!(world.outcome(&after), ["done", "", "golden"]);
}

#[test]
fn a_spacecraft_killed_between_begun_and_done_says_unknown_and_never_tries_again() {
    let world = World::start();
    let mut craft = world.craft();
    let cut = world.send("command", "hold 600", &[]);
    assert_eq!(craft.expect("holding")["key"].as_str().unwrap(), cut);
    drop(craft);
    let mut craft = world.craft();
    assert_eq!(world.outcome(&cut), ["unknown", "", ""]);
    // What it begins next is another object.
    let next = world.send("command", "hold 0", &[]);
    assert_eq!(craft.expect("holding")["key"].as_str().unwrap(), next);
    assert_eq!(world.outcome(&next)[0], "done");
}

#[test]
fn a_station_that_was_restored_gives_no_number_again() {
    let mut world = World::start();
    let bucket = world.dir.path().join("bucket");
    std::fs::create_dir(&bucket).unwrap();
    world.store_in(&bucket);
    world.restart_station();
    let craft = world.craft();
    let before = world.send("command", "echo before", &[]);
    assert_eq!(world.outcome(&before), ["done", "", "before"]);
    let waiting = world.send("command", "hold 600", &[]);
    until("a segment is stored", || stored(&bucket));
    // The disk is gone; the spacecraft still remembers what it did.
    world.station = None;
    std::fs::remove_dir_all(world.path("archive")).unwrap();
    let config = text(&world.path("station.toml"));
    let restored =
        Command::new(binary("groundstation")).args(["restore", "--config", &config]).output();
    let restored = restored.unwrap();
    assert!(restored.status.success(), "{restored:?}");
    assert!(String::from_utf8_lossy(&restored.stdout).contains("uplink"), "{restored:?}");
    world.restart_station();
    let after = world.send("command", "echo after", &[]);
    assert_eq!(world.outcome(&after), ["done", "", "after"], "executed, not taken for a repeat");
    assert!(![before, waiting].contains(&after));
    drop(craft);
}

#[test]
fn a_spacecraft_that_lost_its_store_is_not_asked_again_and_the_operator_is_told() {
    let mut world = World::start();
    let mut craft = world.craft();
    let cut = world.send("command", "hold 600", &[]);
    assert_eq!(craft.expect("holding")["key"].as_str().unwrap(), cut);
    drop(craft);
    std::fs::remove_dir_all(world.path("enrolled/a/store")).unwrap();
    // The station does not forget where it sent it.
    world.restart_station();
    let waits = world.send("command", "echo later", &[]);
    let mut craft = world.craft();
    let [outcome, _, detail] = world.outcome(&cut);
    assert_eq!(outcome, "unknown");
    assert!(detail.contains("not sent again"), "{detail}");
    assert_eq!(world.row(&cut)["by"], "ground");
    assert_eq!(world.outcome(&waits), ["done", "", "later"], "it never went to the lost store");
    // The first that it begins is another one.
    let next = world.send("command", "hold 0", &[]);
    assert_eq!(craft.expect("holding")["key"].as_str().unwrap(), next);
    drop(craft);
    world.restart_station();
    assert_eq!(world.outcome(&cut)[0], "unknown");
}

#[test]
fn what_waits_for_a_contact_outlives_the_station_and_what_expires_is_not_sent() {
    let mut world = World::start();
    let late = world.send("command", "ping", &["--expires", "1s"]);
    let kept = world.send("command", "echo kept", &["--priority", "9"]);
    world.restart_station();
    assert_eq!(world.outcome(&late)[0], "expired");
    let craft = world.craft();
    assert_eq!(world.outcome(&kept), ["done", "", "kept"]);
    drop(craft);
    // Answered is answered: another start of both sends nothing and changes nothing.
    world.restart_station();
    let _craft = world.craft();
    let ping = world.send("command", "ping", &[]);
    assert_eq!(world.outcome(&ping)[0], "done");
    let row = world.row(&kept);
    assert_eq!((&row["outcome"], &row["attempts"]), (&"done".into(), &0.into()));
    assert_eq!(world.row(&late)["outcome"], "expired");
}
