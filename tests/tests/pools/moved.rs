//! One mission, three stations: the same task moves from the embedded pool to Triton to an
//! OpenAI-compatible server by the station's `[[pool]]` alone.

use crate::doubles::{Doubles, KEY};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use codecs::{
    ids::{Channel, Codec, KeyPrefix, Origin, SpacecraftId, StoreEpoch, UnitKey},
    product::{Product, ProductKind},
    tensor::{DType, Tensor},
    time::Tai,
};
use groundstation::{
    archive::{Archived, record::Position},
    config::Config,
    pool::task::Contracts,
    process::Process,
    publish::{Feed, JobState},
    router::log::{Line, State},
    shell::{clock::StationClock, mission, work::dispatcher},
};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tests::process::{DEADLINE, root, runtime_is_there};

/// The mission: what is asked, and when. No pool, no vendor, no model stands in it.
const MISSION: &str = "mission = \"moved\"\n\
    [[product]]\nkind = \"tile\"\nname = \"Imager tile\"\n\
    [[task]]\nname = \"tile-screen/1\"\nabout = \"Share of light in each cell of a tile.\"\n\
    tolerance = 0.001\n\
    [[task.input]]\nname = \"tile\"\ndatatype = \"UINT8\"\nshape = [0, 4, 64, 64]\n\
    [[task.output]]\nname = \"mask\"\ndatatype = \"FP32\"\nshape = [0, 1, 16, 16]\n\
    range = [0.0, 1.0]\n\
    [[task.output]]\nname = \"fraction\"\ndatatype = \"FP32\"\nshape = [0, 1]\nrange = [0.0, 1.0]\n\
    [[rule]]\non = \"product:tile\"\ntask = \"tile-screen/1\"\ndeadline_s = 120\n";

/// Everything of a station file but its pools.
const STATION: &str = "mission = \"../mission.toml\"\n[station]\nname = \"T\"\n\
    latitude_deg = 48.0\nlongitude_deg = 11.0\n\
    [identity]\nauthority = \"a\"\ncertificate = \"s\"\nkey = \"k\"\n";

/// A tile as it stands in the archive.
fn tile() -> Archived {
    let product = Product {
        kind: ProductKind::Tile,
        id: 7,
        captured: Tai(1_795_392_037_000_000_000),
        latitude: 78.2,
        longitude: 15.4,
        attitude: None,
        footprint: None,
        score: 0.25,
        truth: None,
        bands: 4,
        bits: 8,
        max_error: 0,
        width: 64,
        height: 64,
        source_bytes: 4 * 64 * 64,
        mask_width: 0,
        mask_height: 0,
        mask: Bytes::new(),
        regions: Vec::new(),
        features: Vec::new(),
        pixels: (0..4 * 64 * 64).map(|at| (at % 251) as u8).collect::<Vec<u8>>().into(),
    };
    let prefix = KeyPrefix {
        origin: Origin([1; 16]),
        epoch: StoreEpoch(1),
        spacecraft: SpacecraftId(7),
        channel: Channel::stream(1),
    };
    Archived {
        key: UnitKey { prefix, sequence: 0 },
        codec: Codec::Product,
        received: product.captured,
        annotation: None,
        bytes: product.encode().into(),
        position: Position { segment: 0, offset: 4096 },
        replayed: false,
    }
}

/// Flies the mission with a station of these pools; the recorded outcome of its one job.
pub async fn outcome(dir: &Path, name: &str, pools: &str) -> Line {
    let folder = dir.join(name);
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(dir.join("mission.toml"), MISSION).unwrap();
    std::fs::write(folder.join("key"), KEY).unwrap();
    let file = folder.join("station.toml");
    std::fs::write(&file, format!("{STATION}{pools}")).unwrap();
    let config = Config::load(&file).unwrap();
    let definition = mission::load(&config.path(&config.mission)).unwrap();
    let feed = Feed::default();
    let clock = StationClock::new(0.0);
    let (mut submit, _look) = dispatcher(&config, &definition, feed.clone(), clock).unwrap();
    let asked = Process::new(Arc::new(definition)).take(&tile(), clock.tai()).work;
    assert_eq!(asked.len(), 1, "one rule, one product, one job");
    // From a thread, as from the one that interprets; what submits stays until it is dropped.
    let submit = tokio::task::spawn_blocking(move || {
        asked.into_iter().for_each(&mut submit);
        submit
    });
    let submit = submit.await.unwrap();
    let until = Instant::now() + DEADLINE;
    while !feed.snapshot().jobs.iter().any(|job| job.state == JobState::Done) {
        let jobs = feed.snapshot().jobs;
        let failed = jobs.iter().any(|job| job.state == JobState::Failed);
        assert!(!failed && Instant::now() < until, "{name}: {jobs:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(submit);
    let log = std::fs::read_to_string(folder.join("jobs.log")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Line>(line).unwrap());
    let mut ended: Vec<_> = lines.filter(|line| line.state != State::Accepted).collect();
    assert_eq!(ended.len(), 1, "{name}: {log}");
    ended.remove(0)
}

/// The answer out of a recorded outcome, held against the mission's contract.
pub fn answer(line: &Line) -> Vec<Tensor> {
    assert_eq!((line.state, &*line.task), (State::Done, "tile-screen/1"), "{line:?}");
    let definition = codecs::mission::Definition::from_toml(MISSION).unwrap();
    let tensors: Vec<_> = line
        .outputs
        .iter()
        .map(|output| {
            let data = STANDARD.decode(&output.data).unwrap();
            let dtype = DType::from_name(&output.datatype).unwrap();
            Tensor::new(&output.name, dtype, output.shape.clone(), data.into()).unwrap()
        })
        .collect();
    let contracts = Contracts::with(&definition.tasks);
    let contract = contracts.of(&line.task).unwrap();
    assert_eq!(contract.check_outputs(&tensors, 1), Ok(()));
    tensors
}

/// Values of an answer by the name of the output.
pub fn values(line: &Line, name: &str) -> Vec<f32> {
    let answer = answer(line);
    answer.iter().find(|tensor| tensor.name == name).unwrap().to_f32().unwrap()
}

/// The same values, but for how they are added up.
pub fn assert_same(one: &Line, other: &Line) {
    for name in ["mask", "fraction"] {
        let (one, other) = (values(one, name), values(other, name));
        assert_eq!(one.len(), other.len());
        let apart = one.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-5, "{name} differs by {apart}");
    }
}

/// Rows of a station file for an OpenAI-compatible server.
pub fn openai(doubles: &Doubles, more: &str) -> String {
    format!(
        "[[pool]]\nname = \"words\"\nkind = \"openai\"\nurl = \"{}/v1\"\ncredentials = \"key\"\n{more}\
         tasks = {{ \"tile-screen/1\" = \"screen\" }}\n",
        doubles.url
    )
}

/// Rows of a station file for a server of the Open Inference Protocol.
pub fn oip(kind: &str, url: &str) -> String {
    format!(
        "[[pool]]\nname = \"far\"\nkind = \"{kind}\"\nurl = \"{url}\"\n\
         tasks = {{ \"tile-screen/1\" = \"screen\" }}\n"
    )
}

#[tokio::test]
async fn one_mission_moves_from_the_embedded_pool_to_triton_to_an_openai_server() {
    let dir = tempfile::tempdir().unwrap();
    let doubles = Doubles::start().await;
    let triton = outcome(dir.path(), "triton", &oip("oip-rest", &doubles.url)).await;
    let words = outcome(dir.path(), "openai", &openai(&doubles, "")).await;
    assert_same(&triton, &words);
    assert_eq!([&*triton.pool, &*words.pool], ["far", "words"]);
    assert_eq!([&*triton.model, &*words.model], ["screen 1", "screen"]);
    assert_eq!(triton.key, words.key, "the same job wherever it runs");
    assert_eq!(triton.trace, words.trace);
    assert_eq!((words.tokens_in, words.tokens_out), (Some(42), Some(7)));
    let told = doubles.last().body;
    assert_eq!(told["response_format"]["json_schema"]["name"], "tile_screen_1");
    if runtime_is_there() {
        let package = root().join("onboard/model/packages/cloud-screen");
        let row = format!(
            "[[pool]]\nname = \"here\"\nkind = \"embedded\"\npackages = [{package:?}]\n\
             danger_accept_development_key = true\n\
             tasks = {{ \"tile-screen/1\" = \"cloud-screen\" }}\n"
        );
        let here = outcome(dir.path(), "embedded", &row).await;
        assert_eq!((&*here.pool, &here.key), ("here", &triton.key));
        assert_eq!(answer(&here).len(), 2, "another model, held to the same contract");
    }
    let mission = std::fs::read_to_string(dir.path().join("mission.toml")).unwrap();
    assert_eq!(mission, MISSION);
    assert!(!mission.contains("pool"), "a mission names no pool");
}

#[tokio::test]
async fn every_dialect_of_words_answers_a_task_of_tensors() {
    let dir = tempfile::tempdir().unwrap();
    let doubles = Doubles::start().await;
    let schema = outcome(dir.path(), "schema", &openai(&doubles, "")).await;
    for (name, more) in [
        ("whole", "stream = false\n"),
        ("tool", "structured = \"tool\"\n"),
        ("words", "structured = \"words\"\n"),
    ] {
        let line = outcome(dir.path(), name, &openai(&doubles, more)).await;
        assert_same(&schema, &line);
    }
}
