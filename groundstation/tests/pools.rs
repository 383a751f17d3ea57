//! The embedded pool as it is: a child process, killed and started again, and what work sees of it.

use codecs::mission::Definition;
use codecs::tensor::{DType, Tensor};
use codecs::time::Tai;
use groundstation::config::Config;
use groundstation::pool::embedded::{self, ChildState, Embedded};
use groundstation::pool::oip_rest::OipRest;
use groundstation::pool::{Cause, Handling, Input, Pool, Request, Trace};
use groundstation::process::Work;
use groundstation::publish::{Feed, JobState};
use groundstation::shell::clock::StationClock;
use groundstation::shell::work::dispatcher;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

const TASK: &str = "cloud-mask/1";

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../onboard/model/packages/cloud-screen")
}

/// Whether ONNX Runtime is beside the executables; prints why not.
fn runtime_is_there() -> bool {
    match onboard_model::Runtime::find(None) {
        Ok(_) => true,
        Err(error) => {
            println!("skipped: {error}");
            false
        }
    }
}

fn tile() -> Tensor {
    let pixels = (0..4 * 64 * 64).map(|at| (at % 251) as u8).collect::<Vec<u8>>();
    Tensor::new("tile", DType::U8, vec![1, 4, 64, 64], pixels.into()).unwrap()
}

fn request() -> Request {
    Request {
        task: TASK.into(),
        input: Input::Tensors(vec![tile()]),
        deadline: Tai(60_000_000_000),
        time_left: Duration::from_secs(60),
        priority: 1,
        handling: Handling::default(),
        budget: None,
        idempotency_key: "request".into(),
        trace: Trace::of("request"),
        outputs_elements: None,
    }
}

fn child(package: PathBuf, runtime: Option<PathBuf>) -> embedded::Config {
    embedded::Config {
        name: "embedded".into(),
        executable: env!("CARGO_BIN_EXE_groundstation").into(),
        packages: vec![package],
        runtime,
        danger_accept_development_key: true,
        workers: 2,
        tasks: BTreeMap::from([(TASK.into(), "cloud-screen".into())]),
    }
}

/// Waits until the child listens; gives its process id and its trouble.
async fn up(pool: &Embedded) -> (u32, Option<String>) {
    let mut state = pool.state();
    let found = state.wait_for(|state| matches!(state, ChildState::Up { .. }));
    let found = tokio::time::timeout(Duration::from_secs(60), found).await;
    match found.expect("the child does not listen").unwrap().clone() {
        ChildState::Up { pid, trouble, .. } => (pid, trouble),
        ChildState::Down(why) => panic!("{why}"),
    }
}

fn signal(pid: u32, signal: &str) {
    let status = Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn a_killed_child_comes_back_and_answers() {
    if !runtime_is_there() {
        return;
    }
    let pool = Embedded::start(child(package(), None));
    let (first, trouble) = up(&pool).await;
    assert_eq!(trouble, None);
    let answer = pool.infer(&request()).await.unwrap();
    assert_eq!(answer.output.tensors().len(), 2);
    let mut state = pool.state();
    signal(first, "-KILL");
    state.wait_for(|state| matches!(state, ChildState::Down(_))).await.unwrap();
    let (second, _) = up(&pool).await;
    assert_ne!(first, second);
    assert_eq!(pool.infer(&request()).await.unwrap(), answer);
}

/// Tiles that differ, as one tensor.
fn tiles(numbers: std::ops::Range<u8>) -> Request {
    let count = u64::from(numbers.end - numbers.start);
    let pixels = numbers.flat_map(|number| {
        (0..4 * 64 * 64u32).map(move |at| (at % (251 - u32::from(number))) as u8)
    });
    let pixels: Vec<u8> = pixels.collect();
    let tensor = Tensor::new("tile", DType::U8, vec![count, 4, 64, 64], pixels.into()).unwrap();
    Request { input: Input::Tensors(vec![tensor]), ..request() }
}

#[tokio::test]
async fn large_inputs_lie_in_shared_memory_and_are_answered_like_small_ones() {
    if !runtime_is_there() {
        return;
    }
    let pool = Embedded::start(child(package(), None));
    up(&pool).await;
    assert!(matches!(*pool.state().borrow(), ChildState::Up { shares: true, .. }));
    // Several at once, so that slots are used side by side and again.
    let large: Vec<Request> = (0..12).map(|at| tiles(at..at + 4)).collect();
    let answers = futures_util::future::join_all(large.iter().map(|asked| pool.infer(asked))).await;
    for (at, answer) in (0..12).zip(answers) {
        let whole = answer.unwrap().output.tensors()[1].to_f32().unwrap();
        for (number, seen) in (at..at + 4).zip(whole) {
            let alone = pool.infer(&tiles(number..number + 1)).await.unwrap();
            let alone = alone.output.tensors()[1].to_f32().unwrap()[0];
            assert!((seen - alone).abs() < 1e-5, "tile {number}: {seen} and {alone}");
        }
    }
}

#[tokio::test]
async fn without_a_runtime_the_pool_says_what_is_missing() {
    let pool = Embedded::start(child(package(), Some("/nowhere/libonnxruntime.so".into())));
    let (_, trouble) = up(&pool).await;
    assert!(trouble.unwrap().contains("inference is unavailable"));
    let error = pool.infer(&request()).await.unwrap_err();
    assert_eq!(error.cause, Cause::Unavailable);
    assert!(error.said.contains("/nowhere/libonnxruntime.so"), "{error}");
}

#[tokio::test]
async fn a_corrupt_package_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(package()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let model = dir.path().join("model.onnx");
    let mut bytes = std::fs::read(&model).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&model, bytes).unwrap();
    let pool = Embedded::start(child(dir.path().to_owned(), None));
    let trouble = up(&pool).await.1.unwrap();
    assert!(trouble.contains("model.onnx") && trouble.contains("SHA-256"), "{trouble}");
}

#[test]
fn a_child_ends_when_its_parent_does() {
    let (own, other) = UnixStream::pair().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_groundstation"))
        .args(["pools", "serve", "--child", "--package"])
        .arg(package())
        .stdin(OwnedFd::from(other))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("\"event\":\"ready\""), "{line}");
    drop(own);
    assert!(child.wait().unwrap().success());
}

/// A station file with one embedded pool, in a folder of its own.
fn station(dir: &Path, runtime: &str) -> Config {
    let package = package();
    let text = format!(
        "mission = \"mission.toml\"\n[station]\nname = \"T\"\nlatitude_deg = 48.0\n\
         longitude_deg = 11.0\n[identity]\nauthority = \"a\"\ncertificate = \"s\"\nkey = \"k\"\n\
         [[pool]]\nname = \"embedded\"\nkind = \"embedded\"\npackages = [{package:?}]\n\
         danger_accept_development_key = true\n{runtime}"
    );
    let file = dir.join("station.toml");
    std::fs::write(&file, text).unwrap();
    Config::load(&file).unwrap()
}

/// Awaits a job's state in the feed.
async fn state_of(feed: &Feed, key: &str, wanted: JobState) -> String {
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        let jobs = feed.snapshot().jobs;
        let job = jobs.iter().find(|job| job.id == key);
        match job {
            Some(job) if job.state == wanted => return job.result.clone(),
            _ => assert!(Instant::now() < until, "job {key} is {job:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Starts a dispatcher; work goes to it from a thread, as it does from the one that interprets.
fn start(config: &Config, feed: &Feed) -> Sender<Work> {
    let (mut submit, _look) =
        dispatcher(config, &Definition::default(), feed.clone(), StationClock::new(0.0)).unwrap();
    let (sender, work) = channel();
    std::thread::spawn(move || work.into_iter().for_each(&mut submit));
    sender
}

fn work(key: &str, deadline_s: f64) -> Work {
    Work {
        key: key.into(),
        task: TASK.into(),
        input: Input::Tensors(vec![tile()]),
        unit: None,
        about: key.into(),
        handling: Handling::default(),
        budget: None,
        deadline_s,
        priority: 1,
    }
}

/// The child of this process that serves pools.
fn serving_child() -> Option<u32> {
    let own = std::process::id().to_string();
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let (state, parent) = (fields.next()?, fields.next()?);
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let serves = line.windows(5).any(|word| word == b"serve");
        (parent == own && state != "Z" && serves).then_some(pid)
    })
}

#[tokio::test]
async fn a_job_in_a_child_that_is_killed_is_done_once() {
    if !runtime_is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let feed = Feed::default();
    let submit = start(&station(dir.path(), ""), &feed);
    submit.send(work("first", 120.0)).unwrap();
    state_of(&feed, "first", JobState::Done).await;
    // A child that stands still has the job for certain when it dies.
    let pid = serving_child().unwrap();
    signal(pid, "-STOP");
    submit.send(work("second", 120.0)).unwrap();
    state_of(&feed, "second", JobState::Running).await;
    signal(pid, "-KILL");
    let result = state_of(&feed, "second", JobState::Done).await;
    assert!(result.starts_with("cloud "), "{result}");
    submit.send(work("second", 120.0)).unwrap();
    submit.send(work("third", 120.0)).unwrap();
    state_of(&feed, "third", JobState::Done).await;
    drop(submit);
    let log = std::fs::read_to_string(dir.path().join("jobs.log")).unwrap();
    let done: Vec<_> = log.lines().filter(|line| line.contains("\"state\":\"done\"")).collect();
    assert_eq!(done.len(), 3, "{log}");
    assert_eq!(feed.snapshot().counts.jobs_done, 3);
}

#[tokio::test]
async fn without_a_runtime_a_job_waits_and_then_says_why_it_failed() {
    let dir = tempfile::tempdir().unwrap();
    let feed = Feed::default();
    let submit = start(&station(dir.path(), "runtime = \"missing.so\"\n"), &feed);
    submit.send(work("job", 4.0)).unwrap();
    state_of(&feed, "job", JobState::Waiting).await;
    let reason = state_of(&feed, "job", JobState::Failed).await;
    assert!(reason.contains("deadline passed"), "{reason}");
    assert!(reason.contains("inference is unavailable"), "{reason}");
}

/// A real MLServer with a runtime that doubles its input; see `tools/install-mlserver`.
#[tokio::test]
async fn a_real_mlserver_answers() {
    let Some(venv) = std::env::var_os("GROUNDTRACK_MLSERVER").map(PathBuf::from) else {
        println!("skipped: no MLServer; run tools/install-mlserver and set GROUNDTRACK_MLSERVER");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let free = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let (http, grpc, metrics) = (free(), free(), free());
    let settings = format!(
        "{{\"host\":\"127.0.0.1\",\"http_port\":{http},\"grpc_port\":{grpc},\
         \"metrics_port\":{metrics},\"parallel_workers\":0,\"debug\":false}}"
    );
    let runtime = "import numpy as np\nfrom mlserver import MLModel\n\
        from mlserver.codecs import NumpyCodec\n\
        from mlserver.types import InferenceRequest, InferenceResponse\n\
        class Screen(MLModel):\n    async def predict(self, payload: InferenceRequest):\n\
        \x20       tile = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)\n\
        \x20       mask = tile.mean(1, keepdims=True).reshape(-1, 1, 16, 4, 16, 4)\n\
        \x20       mask = (mask.mean((3, 5)) / 255).astype(np.float32)\n\
        \x20       parts = {\"mask\": mask, \"fraction\": mask.mean((2, 3))}\n\
        \x20       out = [NumpyCodec.encode_output(k, v) for k, v in parts.items()]\n\
        \x20       return InferenceResponse(model_name=self.name, outputs=out)\n";
    let model = "{\"name\":\"screen\",\"implementation\":\"screen.Screen\"}";
    for (name, text) in [
        ("settings.json", settings.as_str()),
        ("screen.py", runtime),
        ("model-settings.json", model),
    ] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let started = Instant::now();
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let mut server = Command::new(venv.join("bin/mlserver"))
        .args(["start", "."])
        .current_dir(dir.path())
        .env("PYTHONPATH", dir.path())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let models = BTreeMap::from([(TASK.to_owned(), "screen".to_owned())]);
    let pool = OipRest::new("mlserver", &format!("http://127.0.0.1:{http}"), models, None).unwrap();
    while pool.ready().await.is_err() {
        let text = std::fs::read_to_string(dir.path().join("log")).unwrap();
        assert!(server.try_wait().unwrap().is_none(), "MLServer ended: {text}");
        assert!(started.elapsed() < Duration::from_secs(120), "MLServer is not ready: {text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let ready = started.elapsed();
    let answer = pool.infer(&request()).await.unwrap();
    let contract = groundstation::pool::task::Contracts::default().of(TASK).unwrap().clone();
    assert_eq!(contract.check_outputs(answer.output.tensors(), 1), Ok(()));
    let begin = Instant::now();
    const ASKED: u32 = 50;
    for _ in 0..ASKED {
        pool.infer(&request()).await.unwrap();
    }
    let each = begin.elapsed() / ASKED;
    println!("MLServer: ready after {ready:.1?}, {each:.1?} a tile of 16 kB as JSON");
    let unknown = Request { task: "tea/1".into(), ..request() };
    assert_eq!(pool.infer(&unknown).await.unwrap_err().cause, Cause::BadRequest);
    server.kill().unwrap();
    server.wait().unwrap();
}
