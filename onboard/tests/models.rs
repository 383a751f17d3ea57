//! Models in processes of their own, in slots: killed, stopped, starved, updated and taken back,
//! while the pipeline goes on.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use codecs::{
    ids::{Channel, SpacecraftId},
    link::uplink::{UplinkCounter, UplinkKey},
    package::{MANIFEST_FILE, Manifest, Piece, SIGNATURE_FILE, Signature, Trust, pack, sign},
    time::Tai,
};
use codecs_quic::Monotonic;
use onboard::{
    config::{Config, LEAST, Models},
    models::{Budget, Governed, ModelOrder, Slot, Suspension, Task},
    pipeline::Pipeline,
    score::{ChannelId, Method, Score, TelemetryScorer, TelemetrySettings},
    shell::models::{self, Answer, Keeper, Loader, Supervised},
};
use onboard_model::{
    Backend, LoadOptions, Package, Runtime,
    shell::{Guest, GuestSettings},
};
use rustix::process::{Pid, Signal, kill_process};

/// How long any state may take to come about; only a failure meets it.
const PATIENCE: Duration = Duration::from_secs(60);
const KEY: [u8; 32] = [9; 32];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("model/packages").join(name)
}

fn package(name: &str) -> Package {
    let trust = Trust::nobody().danger_accept_development_key();
    Package::open(&folder(name), &trust).unwrap()
}

/// Whether a library is there, or a printed reason why the test ends here.
fn library() -> bool {
    Runtime::find(None).inspect_err(|error| println!("skipped: {error}")).is_ok()
}

fn settings() -> Models {
    Models {
        server: Some(env!("CARGO_BIN_EXE_onboard").into()),
        danger_accept_development_key: true,
        ..Models::default()
    }
}

fn child(config: &Models, package: &Package) -> Governed {
    let (loader, clock) = (Loader::new(config), Monotonic::start());
    let session = loader.load(package, false).unwrap();
    let runner = Supervised::loaded(package.clone(), loader, clock, session);
    Governed::new(Task::Telemetry, Box::new(runner), config.budget())
}

/// A channel whose windows always have a shape.
struct Stream {
    scorer: TelemetryScorer,
    channel: ChannelId,
    second: i64,
}

impl Stream {
    fn new(model: Governed) -> Self {
        let mut scorer = TelemetryScorer::new(None, TelemetrySettings::default()).unwrap();
        scorer.set_model(Some(model));
        let channel = scorer.watch("channel").unwrap();
        Self { scorer, channel, second: 0 }
    }

    fn next(&mut self) -> Score {
        loop {
            self.second += 1;
            let value = (self.second as f64 / 7.0).sin() * 100.0;
            let time = Tai(self.second * 1_000_000_000);
            if let Some(score) = self.scorer.push(self.channel, time, value) {
                return score;
            }
        }
    }

    fn model(&mut self) -> &mut Governed {
        self.scorer.model().unwrap()
    }

    fn signal(&mut self, signal: Signal) {
        let process = self.model().runner().process().expect("it runs in a process of its own");
        kill_process(Pid::from_raw(process.cast_signed()).unwrap(), signal).unwrap();
    }

    /// Judges on until the model does it again.
    fn await_model(&mut self) -> u32 {
        let end = Instant::now() + PATIENCE;
        for without in 0.. {
            if self.next().method == Method::Model {
                return without;
            }
            assert!(Instant::now() < end, "the model never came back");
        }
        unreachable!()
    }
}

#[test]
fn a_killed_model_costs_its_windows_and_comes_back() {
    if !library() {
        return;
    }
    let mut stream = Stream::new(child(&settings(), &package("telemetry-anomaly")));
    for kills in 1..=2u64 {
        assert_eq!(stream.next().method, Method::Model);
        stream.signal(Signal::KILL);
        let score = stream.next();
        assert_eq!(score.method, Method::Statistics, "this window");
        let without = stream.await_model();
        assert!(without > 0, "it is started again without anyone waiting for it");
        let counts = stream.model().counts();
        assert_eq!((counts.failures, stream.model().runner().restarts()), (kills, kills));
        assert!(counts.unasked >= u64::from(without) - 1, "{counts:?}");
    }
    assert!(stream.model().runner().rss_bytes().unwrap() > 1 << 20);
    assert!(stream.model().counts().cpu_ns > 0);
}

#[test]
fn a_hang_is_cut_by_the_budget_of_a_run_and_sits_out_the_orbit() {
    if !library() {
        return;
    }
    let config = Models { run_ms: 100, orbit_s: 2, ..settings() };
    let mut stream = Stream::new(child(&config, &package("telemetry-anomaly")));
    assert_eq!(stream.next().method, Method::Model);
    stream.signal(Signal::STOP);
    assert_eq!(stream.next().method, Method::Statistics);
    let suspension = stream.model().suspended().cloned();
    assert!(matches!(suspension, Some(Suspension::Overrun(_))), "{suspension:?}");
    let counts = stream.model().counts();
    assert_eq!((counts.overruns, counts.failures), (1, 1));
    assert!(counts.longest_ns >= 100_000_000);
    // The next orbit gives it another chance.
    stream.await_model();
    assert!(stream.model().is_in_service());
}

#[test]
fn an_orbits_share_of_processor_suspends_the_model_and_never_the_stream() {
    if !library() {
        return;
    }
    let config = Models { orbit_s: 1_000_000, ..settings() };
    let package = package("telemetry-anomaly");
    let loader = Loader::new(&config);
    let session = loader.load(&package, false).unwrap();
    let runner = Supervised::loaded(package, loader, Monotonic::start(), session);
    let budget = Budget { orbit_cpu_ns: 1, ..config.budget() };
    let mut stream = Stream::new(Governed::new(Task::Telemetry, Box::new(runner), budget));
    assert_eq!(stream.next().method, Method::Model, "the one that uses it up");
    assert!((0..20).all(|_| stream.next().method == Method::Statistics));
    assert_eq!((stream.model().counts().overruns, stream.model().counts().unasked), (1, 20));
}

#[test]
fn a_model_that_wants_more_memory_than_its_share_ends_alone() {
    if !library() {
        return;
    }
    let config = Models { memory_mib: 2, ..settings() };
    let error = Loader::new(&config).load(&package("cloud-screen"), false).map(drop).unwrap_err();
    println!("with 2 MiB: {error:#}");
    let enough = Models { memory_mib: 64, ..settings() };
    assert!(Loader::new(&enough).load(&package("cloud-screen"), false).is_ok());
}

#[test]
fn whatever_a_child_does_ends_in_an_error_in_words() {
    let guest = |script: &str| {
        let command = ["/bin/sh", "-c", script, "sh"].map(PathBuf::from).to_vec();
        let time = Duration::from_millis(200);
        let settings = GuestSettings {
            command,
            runtime: None,
            memory_bytes: 1 << 28,
            load_time: time,
            run_time: time,
            idle: false,
        };
        let loaded = Guest::new(settings).load(b"model", &LoadOptions::default());
        loaded.map(drop).unwrap_err().to_string()
    };
    for (script, says) in [
        ("exec sleep 600", "no answer within 200 ms"),
        ("exit 3", "exit status: 3"),
        ("kill -9 $$", "signal: 9"),
        ("exec cat <&0 >/dev/null", "no answer within 200 ms"),
        ("echo 'this is no message at all' >&0; exec sleep 600", "no message begins like this"),
        ("printf 'GTM1\\002\\0\\0\\0\\377\\377\\377\\377' >&0; exec sleep 600", "4294967295 bytes"),
        ("printf 'GTM1\\003\\0\\0\\0\\0\\0\\0\\001x' >&0; exec sleep 600", "contradicts itself"),
        ("printf 'GTM1\\005\\0\\0\\0\\0\\0\\0\\006\\0\\0\\0\\002no' >&0; exec sleep 600", "no"),
    ] {
        let text = guest(script);
        assert!(text.contains(says), "{script}: {text}");
    }
    let missing = GuestSettings {
        command: vec!["/nowhere/onboard".into()],
        runtime: None,
        memory_bytes: 1,
        load_time: PATIENCE,
        run_time: PATIENCE,
        idle: false,
    };
    let error = Guest::new(missing).load(b"", &LoadOptions::default()).map(drop).unwrap_err();
    assert!(error.to_string().contains("/nowhere/onboard"), "{error}");
}

/// The telemetry package as another version, signed with the station's key.
fn bundle(version: &str, change: impl Fn(&mut Manifest)) -> Bytes {
    let mut manifest = package("telemetry-anomaly").manifest().clone();
    manifest.version = version.into();
    change(&mut manifest);
    let json = manifest.to_json().into_bytes();
    let signature = Signature::list_to_json(&[sign(&json, &KEY)]);
    let mut files =
        vec![(MANIFEST_FILE.to_owned(), json), (SIGNATURE_FILE.to_owned(), signature.into())];
    for name in manifest.files.keys() {
        let file = std::fs::read(folder("telemetry-anomaly").join(name)).unwrap();
        files.push((name.clone(), file));
    }
    let slices: Vec<(&str, &[u8])> = files.iter().map(|(name, file)| (&**name, &**file)).collect();
    pack(&slices).unwrap().into()
}

const MISSION: &str = r#"
mission = "test"
domain = "test"
[[spacecraft]]
id = 7
name = "SKY-7"
[[packet]]
apid = 101
name = "THERMAL"
time = "cuc:4:3"
[[packet.parameter]]
name = "TEMPERATURE"
type = "u16"
"#;

/// A flight's models and pipeline, without its sockets.
struct Flight {
    dir: tempfile::TempDir,
    keeper: Keeper,
    pipeline: Pipeline,
    clock: Monotonic,
    second: i64,
}

impl Flight {
    fn start(dir: tempfile::TempDir) -> Self {
        let at = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(at("mission.toml"), MISSION).unwrap();
        let text = format!(
            r#"{LEAST}
[models]
slots = "{}"
telemetry = "{}"
mission = "{}"
server = "{}"
trusted_keys = ["{}"]
danger_accept_development_key = true
"#,
            at("slots"),
            folder("telemetry-anomaly").display(),
            at("mission.toml"),
            env!("CARGO_BIN_EXE_onboard"),
            sign(b"", &KEY).key,
        );
        let config = Config::parse("onboard.toml", &text, dir.path()).unwrap();
        let clock = Monotonic::start();
        let (keeper, scorers) = models::load(&config.models, clock).unwrap();
        println!("notices: {:?}", scorers.notices);
        let pipeline = Pipeline::new(&config, 0, scorers.watch, scorers.tiles).unwrap();
        Self { dir, keeper, pipeline, clock, second: 1_800_000_000 }
    }

    fn again(self) -> Self {
        let Self { dir, keeper, pipeline, .. } = self;
        drop((keeper, pipeline));
        Self::start(dir)
    }

    fn order(&mut self, text: &str) -> Result<String, String> {
        let order = ModelOrder::parse(text).unwrap();
        match self.keeper.order(&order, None, &mut self.pipeline) {
            Answer::Now(answer) => answer,
            Answer::Later => panic!("{text}: nothing but an installation takes its time"),
        }
    }

    fn send(&mut self, bundle: &Bytes) -> Result<String, String> {
        let pieces = Piece::cut(bundle, 4000);
        let mut said = pieces.iter().map(|piece| self.keeper.piece(piece)).collect::<Vec<_>>();
        said.pop().unwrap()
    }

    fn install(&mut self, sequence: u64) -> Result<String, String> {
        let counter = UplinkCounter {
            domain: "test".into(),
            ledger: 1,
            spacecraft: SpacecraftId(7),
            channel: Channel::stream(1),
        };
        let key = UplinkKey { counter, sequence };
        let order = ModelOrder::Install(Task::Telemetry);
        match self.keeper.order(&order, Some(&key), &mut self.pipeline) {
            Answer::Now(answer) => answer,
            Answer::Later => {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let proven = runtime.block_on(async {
                    tokio::time::timeout(PATIENCE, self.keeper.proven()).await.unwrap()
                });
                let (whose, answer) = self.keeper.install(proven);
                assert_eq!(whose, key);
                answer
            }
        }
    }

    /// Telemetry until one more window was judged.
    fn fly(&mut self) {
        for _ in 0..16 {
            self.second += 1;
            let value = (30_000.0 + 20_000.0 * (self.second as f64 / 7.0).sin()) as u16;
            let mut packet = vec![0x08, 101, 0xc0, 0, 0, 8];
            packet.extend_from_slice(&Tai(self.second * 1_000_000_000).to_cuc43());
            packet.extend_from_slice(&value.to_be_bytes());
            self.pipeline.datagram(packet.into(), self.clock.now_ns()).unwrap();
        }
        self.keeper.tend(&mut self.pipeline, self.clock.now_ns());
    }

    fn status(&mut self) -> serde_json::Value {
        self.keeper.status(&mut self.pipeline)["telemetry"].clone()
    }

    /// Flies on until the status says so.
    fn until(&mut self, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let end = Instant::now() + PATIENCE;
        loop {
            self.fly();
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < end, "it never came to that: {status}");
        }
    }

    fn records(&mut self) -> Vec<String> {
        let outcomes = std::iter::from_fn(|| self.pipeline.poll());
        let units = outcomes.filter_map(|outcome| match outcome {
            onboard::pipeline::Outcome::Keep { unit, .. } if unit.channel == Channel::RECORDS => {
                Some(String::from_utf8_lossy(&unit.bytes).into_owned())
            }
            _ => None,
        });
        units.collect()
    }
}

#[test]
fn a_model_goes_up_is_tried_beside_the_other_takes_over_and_is_taken_back() {
    if !library() {
        return;
    }
    let mut flight = Flight::start(tempfile::tempdir().unwrap());
    let first = flight.until(|status| status["counts"]["runs"].as_u64() > Some(0));
    assert_eq!((&first["slot"], &first["suspended"]), (&"a".into(), &serde_json::Value::Null));

    let said = flight.send(&bundle("9.0.0", |_| {})).unwrap();
    assert!(said.contains("waits to be installed"), "{said}");
    let said = flight.install(0).unwrap();
    assert!(said.contains("slot b: telemetry-anomaly 9.0.0"), "{said}");
    flight.order("shadow telemetry on").unwrap();
    let trial = flight.until(|status| status["shadow"]["judged"].as_u64() > Some(20));
    assert_eq!(trial["shadow"]["judged"], trial["shadow"]["agreed"], "the same weights agree");
    assert_eq!(trial["slot"], "a");

    let said = flight.order("promote telemetry").unwrap();
    assert!(said.contains("9.0.0 is in charge"), "{said}");
    flight.until(|status| status["version"] == "9.0.0" && status["counts"]["runs"] != 0);
    let set = flight.order("threshold telemetry stream_threshold 0.95").unwrap();
    assert!(set.contains("in force"), "{set}");
    let wrong = flight.order("threshold telemetry stream_threshold 7").unwrap_err();
    assert!(wrong.contains("0.5 to 0.9999"), "{wrong}");
    // It is all there after a restart.
    let mut flight = flight.again();
    assert_eq!(flight.status()["version"], "9.0.0");
    let list = flight.order("list").unwrap();
    assert!(list.contains("\"stream_threshold\":0.95"), "{list}");
    flight.order("rollback telemetry").unwrap();
    let back = flight.until(|status| status["counts"]["runs"].as_u64() > Some(0));
    assert_eq!(back["slot"], "a");
}

#[test]
fn health_rolls_back_to_the_other_slot_and_then_to_statistics() {
    if !library() {
        return;
    }
    let mut flight = Flight::start(tempfile::tempdir().unwrap());
    flight.send(&bundle("9.0.0", |_| {})).unwrap();
    flight.install(0).unwrap();
    flight.order("promote telemetry").unwrap();
    flight.until(|status| status["version"] == "9.0.0" && status["counts"]["runs"] != 0);
    // A file that rots is found by the periodic check.
    let file = flight.dir.path().join("slots/telemetry.b");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[2000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let due = flight.keeper.timeout();
    flight.keeper.tend(&mut flight.pipeline, due);
    let status = flight.until(|status| status["slot"] == "a" && status["counts"]["runs"] != 0);
    assert_ne!(status["version"], "9.0.0");
    let told = flight.records().join("\n");
    assert!(told.contains("model rolled back") && told.contains("damaged"), "{told}");
}

#[test]
fn a_package_that_fails_its_known_answers_gets_no_slot() {
    if !library() {
        return;
    }
    let mut flight = Flight::start(tempfile::tempdir().unwrap());
    let spoilt = |manifest: &mut Manifest| {
        // The graph has no such output: it cannot be what its manifest says.
        manifest.outputs[0].name = "other".into();
    };
    let said = flight.send(&bundle("9.0.0", spoilt));
    let said = said.and_then(|_| flight.install(0)).unwrap_err();
    println!("{said}");
    assert_eq!(flight.status()["slot"], "a");
    assert!(flight.install(1).is_err());
}

#[test]
fn without_a_library_the_slots_keep_their_models_and_statistics_judge() {
    if Runtime::find(None).is_ok() {
        println!("skipped: a library is here");
        return;
    }
    let mut flight = Flight::start(tempfile::tempdir().unwrap());
    flight.fly();
    assert_eq!(flight.status(), serde_json::Value::Null);
    flight.send(&bundle("9.0.0", |_| {})).unwrap();
    let said = flight.install(0).unwrap_err();
    assert!(said.contains("inference is unavailable"), "{said}");
    let list = flight.order("list").unwrap();
    assert!(list.contains("\"active\"") && !list.contains("\"failed\":\""), "{list}");
    // Later, with a library, it goes on where it was.
    let mut flight = flight.again();
    assert!(flight.order("list").unwrap().contains("\"active\""));
}

#[test]
fn two_flights_never_share_slots() {
    let dir = tempfile::tempdir().unwrap();
    let open = models::Folder::open(dir.path()).unwrap();
    let config = Models { slots: Some(dir.path().into()), ..settings() };
    let error = models::load(&config, Monotonic::start()).map(drop).unwrap_err();
    assert!(format!("{error:#}").contains("another process"), "{error:#}");
    drop(open);
    assert!(models::load(&config, Monotonic::start()).is_ok());
    assert_ne!(Slot::A, Slot::A.other());
}
