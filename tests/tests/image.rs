//! The flight image boots. Needs QEMU, a kernel (tools/fetch-kernel) and the static binary
//! (tools/build-static); says so and passes where one is missing, unless
//! `GROUNDTRACK_REQUIRE_IMAGE=1`.

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use codecs::time::Tai;
use serde_json::Value;
use sims::orbit::elements;
use sims::spacecraft::faults::Faults;
use sims::spacecraft::{STEPS_PER_S, Spacecraft};
use tests::process::{DEADLINE, Daemon, binary, get, root};

/// Enough that every kind of unit is among them.
const UNITS_MIN: u64 = 40;
const MISSION: &str = "missions/sky-7/mission.toml";
const CONFIG: &str = "missions/sky-7/flight.toml";

/// What the image needs and this machine lacks, in words.
fn missing() -> Option<String> {
    let image = root().join("target/image");
    if Command::new("qemu-system-x86_64").arg("--version").output().is_err() {
        return Some(
            "qemu-system-x86_64 is not installed (apt-get install qemu-system-x86)".into(),
        );
    }
    let parts = [
        (image.join("kernel/vmlinuz"), "run tools/fetch-kernel"),
        (image.join("onboard"), "run tools/build-static"),
        (binary("onboard"), "run cargo build --workspace --bins"),
    ];
    let absent = parts.into_iter().find(|(path, _)| !path.exists());
    absent.map(|(path, help)| format!("{} is not there ({help})", path.display()))
}

/// True if the test can run; a required test that can't is a failure.
fn ready() -> bool {
    let Some(reason) = missing() else { return true };
    let required = std::env::var("GROUNDTRACK_REQUIRE_IMAGE").is_ok_and(|value| value == "1");
    assert!(!required, "GROUNDTRACK_REQUIRE_IMAGE=1, but {reason}");
    eprintln!("skipped: {reason}");
    false
}

fn onboard(arguments: &[&str]) -> Output {
    command("onboard", arguments)
}

fn command(name: &str, arguments: &[&str]) -> Output {
    Command::new(binary(name))
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("the binary was there a moment ago")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The last line of standard output, which must be a JSON document.
fn last_document(output: &Output) -> Value {
    let out = text(&output.stdout);
    let line = out.lines().last().unwrap_or_default();
    serde_json::from_str(line)
        .unwrap_or_else(|error| panic!("{error}: {out}\n{}", text(&output.stderr)))
}

/// Writes an identity of the right form that no station knows; `groundstation init` writes real
/// ones.
fn strangers_identity(folder: &Path) -> String {
    let table = format!(
        "[identity]\ncertificate = \"identity.crt\"\nkey = \"identity.key\"\n\
         ground_pins = [\"sha256:{}\"]\norigin = \"{}\"\n",
        "00".repeat(32),
        "00".repeat(16)
    );
    let files =
        [("onboard-identity.toml", table.as_str()), ("identity.crt", ""), ("identity.key", "")];
    for (name, content) in files {
        std::fs::write(folder.join(name), content).expect("a writable folder");
    }
    folder.to_str().expect("a path in UTF-8").into()
}

#[test]
fn the_machine_comes_up_and_powers_off() {
    if !ready() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = folder.path().join("image");
    let image = image.to_str().expect("a path in UTF-8");
    let identity = strangers_identity(folder.path());
    let command = ["image", "build", "--out", image, "--config", CONFIG, "--identity", &identity];
    let built = onboard(&command);
    assert!(built.status.success(), "{}", text(&built.stderr));
    let booted = onboard(&["image", "boot", "--image", image, "--self-test"]);
    assert!(booted.status.success(), "{}", text(&booted.stderr));
    let done = last_document(&booted);
    assert_eq!(done["guest"]["status"], "clean", "{done}");
    eprintln!("{done}");
}

#[test]
fn a_dynamic_binary_is_refused() {
    if !ready() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = folder.path().join("image");
    let image = image.to_str().expect("a path in UTF-8");
    let dynamic = binary("onboard");
    let dynamic = dynamic.to_str().expect("a path in UTF-8");
    let identity = strangers_identity(folder.path());
    let mut command = vec!["image", "build", "--out", image, "--config", CONFIG];
    let unsure = onboard(&command);
    assert!(text(&unsure.stderr).contains("identity"), "{}", text(&unsure.stderr));
    command.extend(["--identity", &identity, "--binary", dynamic]);
    let built = onboard(&command);
    assert_eq!(built.status.code(), Some(1));
    assert!(text(&built.stderr).contains("dynamically linked"), "{}", text(&built.stderr));
    assert!(!Path::new(image).exists());
}

/// Packets of the simulated spacecraft, second by second.
struct Sensors {
    craft: Spacecraft,
    socket: UdpSocket,
}

impl Sensors {
    fn new(address: &str) -> Self {
        let text = std::fs::read_to_string(root().join("missions/sky-7/elements.json"))
            .expect("the mission has elements");
        let orbit = elements::read(&text).expect("they parse").remove(0);
        // Over lit ground, so that the imager takes tiles.
        let start = Tai::from_rfc3339("2026-11-23T09:08:00Z").expect("a time");
        let craft = Spacecraft::new(orbit, start, 7, Faults::default(), Vec::new())
            .expect("the elements propagate");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.connect(address).expect("an address on loopback");
        Self { craft, socket }
    }

    /// Sends a second's packets. What a full buffer drops was never taken, so it is not missed.
    fn second(&mut self) {
        let mut packets = Vec::new();
        for _ in 0..STEPS_PER_S {
            self.craft.step(&mut packets).expect("the elements propagate");
        }
        for packet in packets {
            let _ = self.socket.send(&packet);
        }
    }
}

/// A station that trusts SKY-7 and takes free ports.
fn make_station(folder: &str) {
    let made = command(
        "groundstation",
        &[
            &["init", folder, "--mission", MISSION, "--spacecraft", "7:SKY-7"][..],
            &["--station", "Svalbard,78.23,15.40,450"],
            &["--quic", "127.0.0.1:0", "--http", "127.0.0.1:0"],
        ]
        .concat(),
    );
    assert!(made.status.success(), "{}", text(&made.stderr));
}

#[test]
fn the_image_sends_its_pass() {
    if !ready() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (station, image, config) = (place("station"), place("image"), place("flight.toml"));
    make_station(&station);
    let station_file = format!("{station}/station.toml");
    let mut ground = Daemon::start("groundstation", &["run", "--config", &station_file]);
    let listening = ground.expect("ready");
    let quic = listening["quic"].as_str().expect("an address");
    let http = listening["http"].as_str().expect("an address");
    let port = quic.rsplit(':').next().expect("an address has a port");

    let flight = std::fs::read_to_string(root().join(CONFIG)).expect("the mission has it");
    let flight = flight.replace("10.0.2.2:7117", &format!("10.0.2.2:{port}"));
    std::fs::write(&config, flight).expect("a writable folder");
    std::fs::copy(root().join(MISSION), place("mission.toml")).expect("the same");
    let identity = format!("{station}/enrolled/sky-7");
    let build = ["image", "build", "--out", &image, "--config", &config, "--identity", &identity];
    let built = onboard(&build);
    assert!(built.status.success(), "{}", text(&built.stderr));

    let mut guest = Daemon::start("onboard", &["image", "boot", "--image", &image]);
    let ready = guest.expect("ready");
    let mut sensors = Sensors::new(ready["sensors"].as_str().expect("an address"));
    let begun = Instant::now();
    let counts = loop {
        sensors.second();
        let counts = get(http, "/api/v1/snapshot")["counts"].take();
        if counts["receipted"].as_u64() >= Some(UNITS_MIN) && counts["products"].as_u64() > Some(0)
        {
            break counts;
        }
        assert!(begun.elapsed() < DEADLINE, "not enough came within {DEADLINE:?}: {counts}");
        // The pace of the input, faster than life; the loop ends on the state awaited.
        std::thread::park_timeout(Duration::from_millis(200));
    };
    let receipted = counts["receipted"].as_u64().expect("it was compared");

    guest.terminate();
    let done = guest.expect("done");
    assert!(guest.end().success());
    assert_eq!(done["guest"]["status"], "clean", "{done}");
    ground.terminate();
    ground.expect("done");
    assert!(ground.end().success());

    let audit = command("groundstation", &["audit", "--json", "--config", &station_file]);
    assert!(audit.status.success(), "{}{}", text(&audit.stdout), text(&audit.stderr));
    let audit: Value = serde_json::from_slice(&audit.stdout).expect("one document");
    let units = audit["units"].as_u64().expect("the audit counts units");
    assert!(units >= receipted, "{receipted} units were receipted, {units} are on disk: {audit}");
    let sent = done["flight"]["units_sent"].as_u64().expect("the flight process counts units");
    assert!(sent >= receipted, "{done}");
    let keys = audit["keys"].as_array().expect("the audit lists keys");
    assert!(keys.iter().all(|key| key["spacecraft"] == 7), "{audit}");
    // Realtime frames, squeezed telemetry and products.
    assert!(keys.len() >= 3, "{audit}");
    eprintln!("{done}\n{units} units on disk, {receipted} receipted before the stop was asked for");
}

/// Loading a library into a static glibc binary crashes it, so it must not even try.
#[test]
fn the_static_binary_does_not_load_a_runtime() {
    let binary = root().join("target/image/onboard");
    if !ready() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (station, config) = (place("station"), place("onboard.toml"));
    make_station(&station);
    let enrolled = format!("{station}/enrolled/sky-7");
    let flight = std::fs::read_to_string(root().join(CONFIG)).expect("the mission has it");
    let identity = std::fs::read_to_string(format!("{enrolled}/onboard-identity.toml"));
    let identity = identity
        .expect("enrolment wrote it")
        .replace("\"identity.", "\"station/enrolled/sky-7/identity.")
        .replace("\"golden.", "\"station/enrolled/sky-7/golden.");
    let packages = root().join("onboard/model/packages");
    let models = format!(
        "[models]\ndanger_accept_development_key = true\ntelemetry = \"{0}/telemetry-anomaly\"\n\
         tiles = \"{0}/cloud-screen\"\n",
        packages.display()
    );
    let flight =
        flight.replace("[models]\n", &models).replace("mission.toml", "station/mission.toml");
    std::fs::write(&config, format!("{flight}\n{identity}")).expect("a writable folder");
    // The real runtime where `make setup` has put it; any library would do for a crash.
    let real = tests::process::binary("libonnxruntime.so");
    let library = if real.exists() { real } else { "/lib/x86_64-linux-gnu/libm.so.6".into() };
    let checked = Command::new(binary)
        .args(["check", "--config", &config])
        .env("ORT_DYLIB_PATH", &library)
        .output()
        .expect("it is executable");
    let said = text(&checked.stdout);
    assert!(checked.status.success(), "{:?} {said}{}", checked.status, text(&checked.stderr));
    assert!(said.contains("tiles are scored by statistics"), "{said}");
    assert!(said.contains("static"), "{said}");
}
