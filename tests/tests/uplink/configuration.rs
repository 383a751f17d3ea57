//! A whole configuration by uplink, with the real programs: on trial, permanent once it has proved
//! itself, and left by the spacecraft itself where it can't reach the ground or does not start.

use super::world::{World, text};
use serde_json::Value;

/// Slots beside the file, and how long a trial lasts.
fn keep_slots(world: &World, trial_s: u32) -> String {
    let path = world.path("enrolled/a/onboard.toml");
    let said = std::fs::read_to_string(&path).unwrap();
    let slots = format!("[config]\nslots = \"slots\"\nprogress_s = 1\ntrial_s = {trial_s}\n");
    std::fs::write(&path, format!("{said}\n{slots}")).unwrap();
    said
}

fn shown(world: &World) -> Value {
    let key = world.send("command", "config show", &[]);
    let [outcome, _, detail] = world.outcome(&key);
    assert_eq!(outcome, "done", "{detail}");
    serde_json::from_str(&detail).unwrap_or_else(|error| panic!("{error}: {detail}"))
}

fn put(world: &World, next: &str) -> String {
    let [outcome, _, detail] = world.outcome(&world.send("configuration", next, &[]));
    assert_eq!(outcome, "done", "{detail}");
    let order = world.send("command", "config try", &[]);
    assert_eq!(world.outcome(&order)[0], "done");
    detail
}

#[test]
fn a_configuration_that_cannot_reach_the_ground_is_left_and_the_ground_is_told_why() {
    let world = World::start();
    let said = keep_slots(&world, 3);
    let mut craft = world.craft();
    let pin = said.find("sha256:").unwrap() + "sha256:".len();
    let wrong_pin = format!("{}{}{}", &said[..pin], "0".repeat(64), &said[pin + 64..]);
    let unreachable = said.replacen("address = \"127.0.0.1:", "address = \"127.0.0.1:1\" # ", 1);
    // What no look can find: the port is somebody's once it starts.
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = format!("udp = \"{}\"", taken.local_addr().unwrap());
    let no_start = said.replacen("unix = \"s\"", &port, 1);
    let cases =
        [(wrong_pin, "no receipt"), (unreachable, "no receipt"), (no_start, "free address")];
    for (next, why) in cases {
        assert_ne!(next, said);
        let detail = put(&world, &next);
        assert!(detail.contains("on trial from the next start"), "{detail}");
        craft.expect("starting again");
        // On trial it flies by itself; what follows is the one before.
        if why == "no receipt" {
            craft.expect("ready");
            craft.expect("starting again");
        }
        craft.expect("ready");
        let shown = shown(&world);
        assert_eq!((&shown["flying"], &shown["permanent"]), (&"file".into(), &"file".into()));
        assert_eq!(shown["verdict"]["confirmed"], false);
        let reason = shown["verdict"]["reason"].as_str().unwrap();
        assert!(reason.contains(why), "{reason}");
        assert_eq!(shown["trial"], Value::Null);
    }
    // The record of it has come, and a person is told.
    let snapshot = tests::process::get(world.http(), "/api/v1/snapshot").to_string();
    assert!(snapshot.contains("the configuration on trial was left"), "{snapshot}");
}

#[test]
fn a_configuration_that_proves_itself_stays_over_kills_and_what_is_wrong_is_refused() {
    let world = World::start();
    let said = keep_slots(&world, 600);
    let mut craft = world.craft();
    let next = format!("{said}\n[squeeze]\nblock_packets = 32\n");
    put(&world, &next);
    craft.expect("starting again");
    craft.expect("ready");
    while shown(&world)["verdict"]["confirmed"] != true {}
    drop(craft);
    let _craft = world.craft();
    let flown = shown(&world);
    assert_eq!((&flown["flying"], &flown["permanent"]), (&"a".into(), &"a".into()), "{flown}");
    // Checked as `onboard check` does it, and of this spacecraft.
    let origin = said.find("origin = \"").unwrap() + "origin = \"".len();
    let stranger = format!("{}{}{}", &said[..origin], "0".repeat(32), &said[origin + 32..]);
    let wrong = [
        (format!("{said}\n[squeeze]\nblock_packet = 3\n"), "did you mean"),
        (format!("{said}\n[squeeze]\nblock_packets = 0\n"), "block_packets"),
        (said.replace("\"identity.crt\"", "\"other.crt\""), "other.crt"),
        (stranger, "this store is"),
        (said.replacen("unix = \"s\"", "unix = \"no/such/folder/s\"", 1), "make it first"),
        (said.replacen("unix = \"s\"", "serial = \"no-line\"", 1), "is not there"),
        (format!("{said}\n[health]\nwatchdog = \"/dev/null\"\n"), "name a watchdog"),
    ];
    for (next, why) in wrong {
        let [outcome, _, detail] = world.outcome(&world.send("configuration", &next, &[]));
        assert_eq!(outcome, "failed", "{detail}");
        assert!(detail.contains(why), "{detail}");
    }
    // By command back to the file, and the command line shows the same.
    let order = world.send("command", "config rollback", &[]);
    assert_eq!(world.outcome(&order)[0], "done");
    while shown(&world)["flying"] != "file" {}
    let config = text(&world.path("enrolled/a/onboard.toml"));
    let show = ["config", "show", "--json", "--config", &config];
    let output = std::process::Command::new(tests::process::binary("onboard")).args(show).output();
    let view: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    assert_eq!(
        (&view["permanent"], &view["verdict"]["confirmed"]),
        (&"file".into(), &false.into())
    );
}
