//! The kernel's netem as a link: what `tc` is told, what is said where it can't be, and where this
//! kernel has it, what packets feel.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use codecs::time::Tai;
use rustix::process::{Pid, Signal, kill_process};
use sims::link::{
    Disturbances, Fixed, LinkModel, LinkSettings, LossSettings,
    netem::{Direction, Setting},
};

const ORBITSIM: &str = env!("CARGO_BIN_EXE_orbitsim");

fn netem(arguments: &[&str], path: Option<&Path>) -> Output {
    let mut command = Command::new(ORBITSIM);
    command.arg("netem").args(arguments).env("NO_COLOR", "1");
    if let Some(path) = path {
        command.env("PATH", path);
    }
    command.output().unwrap()
}

/// A folder with programs in the place of iproute2's: `ip` knows one Ethernet interface, and `tc`
/// writes down what it is told and then does as `then` says.
fn programs(then: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let ip = "#!/bin/sh\necho '[{\"link_type\": \"ether\"}]'\n".to_owned();
    let told = folder.path().join("told");
    let tc = format!("#!/bin/sh\necho \"$@\" >> {}\n{then}\n", told.display());
    for (name, text) in [("ip", ip), ("tc", tc)] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

fn says(output: &Output, code: i32, words: &str) {
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{talk}");
    assert!(talk.contains(words), "{talk}");
}

#[test]
fn a_steady_link_is_one_command_an_interface() {
    let link = ["--down", "a", "--up", "b", "--rate", "1M", "--delay", "100", "--script"];
    let output = netem(&link, None);
    assert!(output.status.success());
    let script = String::from_utf8(output.stdout).unwrap();
    let commands: Vec<&str> = script.lines().filter(|line| line.starts_with("tc ")).collect();
    let netem = "handle 6e: netem";
    assert_eq!(
        commands,
        [
            format!(
                "tc qdisc replace dev a root {netem} limit 26 delay 100000us rate 1000000bit -14"
            ),
            format!(
                "tc qdisc replace dev b root {netem} limit 293 delay 100000us rate 1000000bit -14"
            ),
        ]
    );
    assert!(script.contains("trap 'tc qdisc del dev a root; tc qdisc del dev b root' EXIT"));
    assert!(Command::new("sh").args(["-n", "-c", &script]).status().unwrap().success());
}

#[test]
fn a_pass_opens_after_the_lock_changes_and_closes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let file = |name: &str| root.join(name).to_str().unwrap().to_owned();
    let (link, elements) =
        (file("missions/links/x-band.toml"), file("missions/sky-7/elements.json"));
    let pass = ["--elements", &elements, "--pass", "2026-11-23T09:00:00Z", "--dry-run"];
    let output =
        netem(&[&["--down", "a", "--header", "0", "--link", &link], &pass[..]].concat(), None);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let script = String::from_utf8(output.stdout).unwrap();
    let commands: Vec<&str> = script.lines().filter(|line| line.starts_with("tc ")).collect();
    let closed = "tc qdisc replace dev a root handle 6e: netem limit 10 loss 100%";
    assert_eq!((commands[0], commands[commands.len() - 1]), (closed, closed));
    let number = |line: &str, behind: &str, unit: &str| -> u64 {
        let word = line.split(behind).nth(1).unwrap().split(unit).next().unwrap();
        word.parse().unwrap()
    };
    let open: Vec<&str> = commands.iter().copied().filter(|line| *line != closed).collect();
    let delays: Vec<u64> = open.iter().map(|line| number(line, "delay ", "us")).collect();
    let rates: Vec<u64> = open.iter().map(|line| number(line, "rate ", "bit")).collect();
    // Nearer until the culmination, and farther after it; fastest about there.
    let nearest = delays.iter().enumerate().min_by_key(|(_, delay)| **delay).unwrap().0;
    assert!(delays[..nearest].is_sorted_by(|a, b| a >= b) && delays[nearest..].is_sorted());
    assert!(rates[nearest] > 2 * rates[0] && open.len() > 100, "{} {}", rates[0], rates[nearest]);
    let times = script.lines().filter_map(|line| line.strip_prefix("at "));
    let times: Vec<u64> = times.map(|of| of.parse().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a < b) && (200_000..900_000).contains(times.last().unwrap()));
}

#[test]
fn it_is_taken_away_again_when_it_is_stopped() {
    let folder = programs("");
    let mut child = Command::new(ORBITSIM)
        .args(["netem", "--down", "a", "--rate", "1M"])
        .env("PATH", format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    let mut lines = said.lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("\"ready\"")));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert!(lines.any(|line| line.contains("\"done\"")));
    assert!(child.wait().unwrap().success());
    let told = fs::read_to_string(folder.path().join("told")).unwrap();
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[0], "-json qdisc show dev a root");
    assert!(told[1].starts_with("qdisc replace dev a root handle 6e: netem limit"), "{told:?}");
    assert_eq!(told[2], "qdisc del dev a root");
}

#[test]
fn what_is_missing_is_said_with_what_to_do() {
    let link = ["--down", "a"];
    let refused = |words: &str| {
        let folder =
            programs(&format!("case \"$*\" in *replace*) echo '{words}' >&2; exit 2;; esac"));
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        (netem(&link, Some(Path::new(&path))), folder)
    };
    let (output, folder) = refused("RTNETLINK answers: Operation not permitted");
    says(&output, 1, "CAP_NET_ADMIN");
    assert!(fs::read_to_string(folder.path().join("told")).unwrap().ends_with("del dev a root\n"));
    says(&refused("Error: Specified qdisc kind is unknown.").0, 1, "orbitsim relay");
    let empty = tempfile::tempdir().unwrap();
    says(&netem(&link, Some(empty.path())), 1, "install iproute2");
    let own = "case \"$*\" in *show*) echo '[{\"kind\": \"tbf\", \"handle\": \"8001:\"}]';; esac";
    let folder = programs(own);
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    says(&netem(&link, Some(Path::new(&path))), 1, "tc qdisc del dev a root");
    assert_eq!(fs::read_to_string(folder.path().join("told")).unwrap().lines().count(), 1);
    says(&netem(&["--rate", "1M"], None), 2, "--down");
    says(&netem(&["--down", "a; rm -rf /"], None), 2, "no name of an interface");
}

#[test]
fn tc_can_read_what_it_is_told() {
    let settings = LinkSettings {
        rate_bps: 1e6,
        ground_delay_ns: 0,
        queue_ns: 1_000_000,
        loss: LossSettings { mean: 0.01, burst_packets: 3.0 },
        seed: 1,
    };
    let late = Disturbances { late_share: 0.1, late_ns: 9_000_000, ..Disturbances::default() };
    let twice = Disturbances { twice_share: 0.1, ..Disturbances::default() };
    let mut commands = Setting::Closed.commands("lo", 14);
    for of in [late, twice] {
        let link = LinkModel::new(settings, Fixed { range_km: 900.0 }).with_disturbances(of);
        commands.extend(link.netem(Tai(0), Direction::Down).unwrap().commands("lo", 14));
    }
    assert_eq!(commands.len(), 4);
    for command in commands {
        let ran = Command::new("unshare").args(["-rn", "tc"]).args(&command).output();
        let Ok(output) = ran.as_ref().inspect_err(|why| println!("skipped: no unshare: {why}"))
        else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("unshare") {
            println!("skipped: no tc, or no namespaces: {said}");
            return;
        }
        // 1 is tc's own word on its arguments, 2 the kernel's on netem.
        assert_ne!(output.status.code(), Some(1), "{command:?}: {said}");
    }
}

/// Sends datagrams over the loopback of a namespace of its own, there and back, under netem.
#[test]
fn packets_feel_it_where_this_kernel_has_netem() {
    let probe = ["unshare", "-rn", "tc", "qdisc", "add", "dev", "lo", "root", "netem"];
    let probed = Command::new(probe[0]).args(&probe[1..]).output();
    if !probed.as_ref().is_ok_and(|of| of.status.success()) {
        let why = probed.map(|of| String::from_utf8_lossy(&of.stderr).trim().to_owned());
        println!("skipped: no netem in a namespace here: {why:?}");
        return;
    }
    let script = format!(
        "ip link set lo up && {ORBITSIM} netem --down lo --rate 1M --delay 40 > said & \
         until grep -q ready said; do sleep 0.1; done; ping -q -c 5 -i 0.2 127.0.0.1; \
         tc qdisc show dev lo; kill -INT $!; wait $!; tc qdisc show dev lo"
    );
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["-rn", "sh", "-c", &script])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let least = said.split("= ").nth(1).and_then(|of| of.split('/').next()?.parse::<f64>().ok());
    // Twice 40 ms, and 98 bytes twice at 1 Mbit/s.
    assert!(least.is_some_and(|of| (80.0..100.0).contains(&of)), "{said}");
    assert_eq!(said.matches("netem").count(), 1, "it is away at the end: {said}");
}
