//! A server that speaks S3 as the object store: segments go there, are believed only when they were
//! read back, and bring a station back whose disk is gone.

use serde_json::Value;
use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};
use tests::process::{DEADLINE, Daemon, binary, root};

/// The server, killed when dropped.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts one with an empty bucket; none where none is installed.
    fn start() -> Option<Self> {
        let dir = std::env::var_os("GROUNDTRACK_S3")
            .map_or_else(|| root().join("target/s3"), PathBuf::from);
        let program = dir.join("bin/moto_server");
        if !program.exists() {
            println!(
                "skipped: no S3 server; run tools/install-s3 target/s3, or set GROUNDTRACK_S3"
            );
            return None;
        }
        // Free when it was asked for; the server can't take 0 and tell.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, address: format!("127.0.0.1:{port}") };
        until("the server listens", || TcpStream::connect(&server.address).is_ok());
        assert!(server.ask("PUT", "/segments").starts_with("HTTP/1.1 200"));
        Some(server)
    }

    fn ask(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let host = &self.address;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Content-Length: 0\r\n\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is() {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().into()
}

/// A station whose segments go to the server, with a spacecraft that erases nothing before.
fn made(dir: &Path, server: &Server) -> PathBuf {
    let (station, mission) = (dir.join("station"), dir.join("mission.toml"));
    let said = "mission = \"test\"\ndomain = \"test\"\nreclaimable = \"object-store\"\n\
                [[spacecraft]]\nid = 7\nname = \"A\"\n";
    std::fs::write(&mission, said).unwrap();
    let made = Command::new(binary("groundstation"))
        .args(["init", &text(&station), "--mission", &text(&mission)])
        .args(["--station", "Test,48,11,500", "--spacecraft", "7:A"])
        .args(["--quic", "127.0.0.1:0", "--http", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let config = station.join("station.toml");
    let said = std::fs::read_to_string(&config).unwrap();
    let store = format!(
        "[archive.object_store]\nurl = \"s3://segments/of/test\"\nendpoint = \"http://{}\"\n\
         region = \"us-east-1\"\ncredentials = \"s3.toml\"\ndanger_http = true\n",
        server.address
    );
    let said = said.replacen("[archive]", "[archive]\nseal_s = 1", 1);
    std::fs::write(&config, format!("{said}\n{store}")).unwrap();
    let secret = "access_key_id = \"any\"\nsecret_access_key = \"secret\"\n";
    std::fs::write(station.join("s3.toml"), secret).unwrap();
    station
}

fn run(station: &Path) -> (Daemon, Value) {
    let config = text(&station.join("station.toml"));
    let mut daemon = Daemon::start("groundstation", &["run", "--config", &config]);
    let ready = daemon.expect("ready");
    (daemon, ready)
}

fn command(station: &Path, arguments: &[&str]) -> Output {
    let config = text(&station.join("station.toml"));
    let mut command = Command::new(binary("groundstation"));
    command.args(arguments).args(["--config", &config]).output().unwrap()
}

/// Flies once: takes up the link, brings down what is there, and stops.
fn fly(station: &Path, ready: &Value) -> Value {
    let folder = station.join("enrolled/a");
    let identity = std::fs::read_to_string(folder.join("onboard-identity.toml")).unwrap();
    let quic = ready["quic"].as_str().unwrap();
    let config = folder.join("onboard.toml");
    let said = format!(
        "[spacecraft]\nid = 7\nname = \"A\"\n[ground]\naddress = \"{quic}\"\n\
         server_name = \"station\"\n[source]\nunix = \"s\"\n\
         [store]\ndir = \"store\"\nreclaimable = \"object-store\"\n{identity}"
    );
    std::fs::write(&config, said).unwrap();
    let arguments = ["run", "--ready-json", "--config", &text(&config)];
    let mut craft = Daemon::start("onboard", &arguments);
    craft.expect("ready");
    let sent = command(
        station,
        &["uplink", "send", "--spacecraft", "7", "--kind", "command", "--text", "ping", "--json"],
    );
    assert!(sent.status.success(), "{sent:?}");
    let sent: Value = serde_json::from_slice(&sent.stdout).unwrap();
    until("the record of a command is here", || {
        let listed = command(station, &["uplink", "list", "--json"]);
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        let rows = listed["objects"].as_array().unwrap();
        rows.iter().any(|row| row["key"] == sent["key"] && row["outcome"] == "done")
    });
    craft.terminate();
    craft.expect("done")
}

#[test]
fn segments_in_an_s3_store_free_the_spacecraft_and_bring_a_lost_station_back() {
    let Some(server) = Server::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let station = made(dir.path(), &server);
    let (daemon, ready) = run(&station);
    // Units are settled on board only once a segment with them is verified in the store.
    let mut settled = 0;
    until("a receipt of the store's class", || {
        settled += fly(&station, &ready)["units_receipted"].as_u64().unwrap();
        settled > 0
    });
    drop(daemon);
    let ledger = ready["ledger"].as_str().unwrap().to_string();
    std::fs::remove_dir_all(station.join("archive")).unwrap();
    let audit = command(&station, &["audit"]);
    assert!(!audit.status.success(), "an emptied folder is told");
    let restored = command(&station, &["restore"]);
    assert!(restored.status.success(), "{restored:?}");
    assert!(String::from_utf8_lossy(&restored.stdout).contains(&ledger), "{restored:?}");
    let audit = command(&station, &["audit", "--json"]);
    assert!(audit.status.success(), "{audit:?}");
    let audit: Value = serde_json::from_slice(&audit.stdout).unwrap();
    let units = audit["units"].as_u64().unwrap();
    assert!(units >= settled, "{settled} were called safe: {audit}");
    let (_daemon, again) = run(&station);
    assert_eq!(again["ledger"], ledger.as_str());
    // What was not stored comes again from the spacecraft, and the ledger goes on.
    fly(&station, &again);
    until("the same ledger stores on", || {
        let audit = command(&station, &["audit", "--json"]);
        let audit: Value = serde_json::from_slice(&audit.stdout).unwrap();
        audit["units"].as_u64().unwrap() > units
    });
}
