//! A configuration on trial with the real binary: applied and shown by command, left after kills.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use serde_json::Value;

struct Flight(Child);

impl Drop for Flight {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder with a configuration whose station answers nobody.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let certificate = CertificateParams::new(vec!["sky-7".into()]).unwrap().self_signed(&key);
    std::fs::write(at("identity.crt"), certificate.unwrap().pem()).unwrap();
    std::fs::write(at("identity.key"), key.serialize_pem()).unwrap();
    let least = onboard::config::LEAST.replace("127.0.0.1:7117", "127.0.0.1:1");
    let slots = "[config]\nslots = \"slots\"\nstarts_max = 2\ntrial_s = 3600\n";
    std::fs::write(at("onboard.toml"), format!("{least}{slots}")).unwrap();
    let next = format!("{least}[squeeze]\nblock_packets = 9\n");
    std::fs::write(at("next.toml"), next).unwrap();
    folder
}

fn config(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onboard"));
    command.arg("config").args(words).args(["--config", "onboard.toml"]).current_dir(folder);
    command.output().unwrap()
}

fn shown(folder: &Path) -> Value {
    serde_json::from_slice(&config(folder, &["show", "--json"]).stdout).unwrap()
}

fn start(folder: &Path) -> Flight {
    let mut child = Command::new(env!("CARGO_BIN_EXE_onboard"))
        .args(["run", "--ready-json", "--config"])
        .arg(folder.join("onboard.toml"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("ready"), "{line}");
    Flight(child)
}

#[test]
fn a_flight_that_is_killed_on_trial_too_often_goes_back_to_what_flew_before() {
    let folder = folder();
    let dir = folder.path();
    let applied = config(dir, &["apply", "next.toml"]);
    assert!(applied.status.success(), "{applied:?}");
    for starts in 1..=2 {
        let flight = start(dir);
        let view = shown(dir);
        assert_eq!((&view["trial"], &view["starts"]), (&"a".into(), &starts.into()), "{view}");
        let refused = config(dir, &["rollback"]);
        assert!(String::from_utf8_lossy(&refused.stderr).contains("orders by uplink"));
        drop(flight);
    }
    let _flight = start(dir);
    let view = shown(dir);
    assert_eq!((&view["trial"], &view["permanent"]), (&Value::Null, &"file".into()));
    let reason = view["verdict"]["reason"].as_str().unwrap();
    assert!(reason.contains("2 starts"), "{reason}");
}

#[test]
fn a_file_that_is_spoilt_still_leads_to_the_configuration_that_was_proven() {
    let folder = folder();
    let dir = folder.path();
    assert!(config(dir, &["apply", "next.toml"]).status.success());
    assert!(config(dir, &["confirm"]).status.success());
    let said = std::fs::read_to_string(dir.join("onboard.toml")).unwrap();
    std::fs::write(dir.join("onboard.toml"), said.replace("server_name", "sever_name")).unwrap();
    drop(start(dir));
    assert!(config(dir, &["rollback"]).status.success());
    let run = ["run", "--config", "onboard.toml"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_onboard"));
    let ended = command.args(run).current_dir(dir).output().unwrap();
    assert!(String::from_utf8_lossy(&ended.stderr).contains("did you mean"), "{ended:?}");
    // What is wrong is refused before it is kept.
    std::fs::write(dir.join("onboard.toml"), said).unwrap();
    std::fs::write(dir.join("next.toml"), "[spacecraft]\nid = 8\n").unwrap();
    let refused = config(dir, &["apply", "next.toml"]);
    assert!(!refused.status.success() && shown(dir)["slots"].as_object().unwrap().is_empty());
}

/// Checked before it is kept, as `onboard check` does it, with the real binary.
#[test]
fn what_names_no_place_that_opens_is_refused_with_everything_that_is_wrong() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let good = std::fs::read_to_string(at("onboard.toml")).unwrap();
    let next = good.replace("unix = \"sensors.sock\"", "serial = \"no-line\"");
    std::fs::write(at("next.toml"), next + "[health]\nwatchdog = \"identity.key\"\n").unwrap();
    let mut check = Command::new(env!("CARGO_BIN_EXE_onboard"));
    check.args(["check", "--config", "next.toml"]).current_dir(folder.path());
    for refused in [check.output().unwrap(), config(folder.path(), &["apply", "next.toml"])] {
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains("no-line is not there") && said.contains("is no device"), "{said}");
    }
    assert!(!at("slots").join("a").exists() && !at("store").exists());
    let mut check = Command::new(env!("CARGO_BIN_EXE_onboard"));
    check.args(["check", "--config", "onboard.toml"]).current_dir(folder.path());
    let checked = check.output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert!(!at("store").exists() && !at("sensors.sock").exists(), "a check leaves no trace");
}

/// As under `| head`, which has read enough.
#[test]
fn nobody_reading_is_no_failure_and_a_full_disk_is_one() {
    let folder = folder();
    let show = |out: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onboard"));
        command.args(["config", "show", "--config", "onboard.toml"]).current_dir(folder.path());
        command.stdout(out).output().unwrap()
    };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let unheard = show(writer.into());
    assert!(unheard.status.success() && unheard.stderr.is_empty(), "{unheard:?}");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let full = show(full.into());
    assert_eq!(full.status.code(), Some(1), "{full:?}");
}
