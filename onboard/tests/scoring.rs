//! Scoring with the committed packages: by their models where a runtime library is found, and on
//! without them when they fail.

use std::{path::Path, sync::Arc, time::Instant};

use codecs::{tensor::Tensor, time::Tai};
use onboard::score::{
    Method, Score, TelemetryScorer, TelemetrySettings, Tile, TileScorer, features::Window, tiles,
};
use onboard_model::{
    Backend, BackendError, LoadOptions, LoadedModel, Package, Runtime, Session, Trust,
};

fn package(name: &str) -> Package {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("model/packages").join(name);
    Package::open(&folder, &Trust::nobody().danger_accept_development_key()).unwrap()
}

/// A session, or a printed reason why the test ends here.
fn session(name: &str) -> Option<Session> {
    let runtime = Runtime::find(None).inspect_err(|error| println!("skipped: {error}")).ok()?;
    Some(runtime.load(&package(name)).unwrap())
}

/// The same noise every time, -1 to 1.
fn noise(index: i64) -> f64 {
    let mut x = (index as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    for shift in [30, 27, 31] {
        x = (x ^ (x >> shift)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn scores(session: Session, samples: i64, value: impl Fn(i64) -> f64) -> Vec<Score> {
    let mut scorer = TelemetryScorer::new(Some(session), TelemetrySettings::default()).unwrap();
    let channel = scorer.watch("channel").unwrap();
    let at = |index: i64| Tai(index * 1_000_000_000);
    (0..samples).filter_map(|index| scorer.push(channel, at(index), value(index))).collect()
}

fn wave(index: i64) -> f64 {
    (index as f64 / 90.0).sin()
}

fn faulty(index: i64) -> bool {
    (2000..2200).contains(&index)
}

#[test]
fn quiet_channels_stay_quiet() {
    type Channel = fn(i64) -> f64;
    let quiet: [(&str, Channel); 8] = [
        ("orbit", |i| 20.0 + 15.0 * (i as f64 / 900.0).sin() + 0.1 * noise(i)),
        ("coarse orbit", |i| (20.0 + 15.0 * (i as f64 / 900.0).sin()).round()),
        ("fast wave", |i| (i as f64 / 9.0).sin() + 0.02 * noise(i)),
        ("noise", |i| 8.0 + 0.01 * noise(i)),
        ("wave", |i| 20.0 + 5.0 * wave(i) + 0.05 * noise(i)),
        ("ramp", |i| 0.01 * i as f64 + 0.02 * noise(i)),
        ("constant", |_| 3.3),
        ("coarse wave", |i| (8.0 * wave(i)).round()),
    ];
    for (name, value) in quiet {
        let Some(session) = session("telemetry-anomaly") else { return };
        let all = scores(session, 4000, value);
        let alarms = all.iter().filter(|score| score.anomalous).count();
        assert_eq!(alarms, 0, "{name}: of {} windows", all.len());
    }
}

#[test]
fn faults_are_seen_when_they_happen() {
    type Channel = fn(i64) -> f64;
    let channels: [(&str, Channel); 5] = [
        ("level", |i| 8.0 + 0.01 * noise(i) - if faulty(i) { 1.0 } else { 0.0 }),
        ("spikes", |i| {
            wave(i) + 0.01 * noise(i) + if faulty(i) && i % 23 == 0 { 3.0 } else { 0.0 }
        }),
        ("rattle", |i| {
            wave(i) + 0.01 * noise(i) + if faulty(i) { 0.3 * (i as f64).sin() } else { 0.0 }
        }),
        ("louder", |i| wave(i) + if faulty(i) { 0.5 } else { 0.01 } * noise(i)),
        ("stuck", |i| wave(if faulty(i) { 2000 } else { i }) + 0.01 * noise(i)),
    ];
    for (name, value) in channels {
        let Some(session) = session("telemetry-anomaly") else { return };
        let all = scores(session, 4000, value);
        let (during, quiet): (Vec<Score>, Vec<Score>) = all.into_iter().partition(|score| {
            let second = score.time.0 / 1_000_000_000;
            (2000..2200 + 64).contains(&second)
        });
        let alarms = |scores: &[Score]| scores.iter().filter(|score| score.anomalous).count();
        assert!(alarms(&during) > 0, "{name}: {during:?}");
        assert_eq!(alarms(&quiet), 0, "{name}: outside of the fault");
    }
}

#[test]
fn tiles_get_the_mask_of_the_model() {
    let Some(session) = session("cloud-screen") else { return };
    let mut scorer = TileScorer::new(Some(session)).unwrap();
    for vector in package("cloud-screen").vectors() {
        let pixels = vector.inputs[0].data.clone();
        let tile = Tile { width: 64, height: 64, bands: 4, pixels };
        let score = scorer.score(&tile).unwrap();
        let wanted = vector.outputs[1].to_f32().unwrap()[0];
        assert!((score.fraction - wanted).abs() < 1e-3, "{}", vector.name);
        assert_eq!((score.mask.len(), score.method), (256, Method::Model));
        let statistics = TileScorer::new(None).unwrap().score(&tile).unwrap();
        assert_eq!(statistics.method, Method::Statistics);
        assert!((statistics.fraction - wanted).abs() < 0.15, "{}", vector.name);
    }
    let small = Tile { width: 8, height: 4, bands: 4, pixels: vec![0; 128].into() };
    assert_eq!(scorer.score(&small).unwrap().method, Method::Statistics, "not the model's size");
    assert_eq!(scorer.method(), Method::Model, "which is no failure of the model");
}

#[test]
fn a_model_of_another_task_is_no_scorer() {
    let Some(wrong) = session("cloud-screen") else { return };
    let error = TelemetryScorer::new(Some(wrong), TelemetrySettings::default()).err();
    let text = error.map(|error| error.to_string()).unwrap_or_default();
    assert!(text.contains("cloud-screen") && text.contains("telemetry-triage/1"), "{text}");
}

/// A model that reproduces its known answers and then fails for ever.
struct Failing(Package);

impl Backend for Failing {
    fn describe(&self) -> String {
        "a double".into()
    }

    fn load(&self, _: &[u8], _: &LoadOptions) -> Result<Box<dyn LoadedModel>, BackendError> {
        struct Loaded(Vec<Vec<Tensor>>);
        impl LoadedModel for Loaded {
            fn run(&mut self, _: &[Tensor]) -> Result<Vec<Tensor>, BackendError> {
                self.0.pop().ok_or_else(|| BackendError("bit flip".into()))
            }
        }
        let answers = self.0.vectors().iter().rev().map(|vector| vector.outputs.clone());
        Ok(Box::new(Loaded(answers.collect())))
    }
}

#[test]
fn a_failing_model_is_suspended_and_statistics_go_on() {
    let package = package("cloud-screen");
    let runtime = Runtime::with_backend(Arc::new(Failing(package.clone())));
    let mut scorer = TileScorer::new(Some(runtime.load(&package).unwrap())).unwrap();
    let pixels = package.vectors()[0].inputs[0].data.clone();
    let tile = Tile { width: 64, height: 64, bands: tiles::BANDS, pixels };
    for attempt in 0..5 {
        assert_eq!(scorer.method() == Method::Model, attempt < 3);
        assert_eq!(scorer.score(&tile).unwrap().method, Method::Statistics);
    }
    let text = scorer.take_suspension().unwrap();
    assert!(text.contains("cloud-screen") && text.contains("bit flip"), "{text}");
    assert_eq!(scorer.take_suspension(), None, "told once");
}

#[test]
fn scoring_keeps_up() {
    let mut window = Window::new(64);
    (0..64).for_each(|index| window.push(Tai(index * 1_000_000_000), noise(index)));
    let started = Instant::now();
    let mut sum = 0.0;
    for _ in 0..1000 {
        sum += window.features()[0];
    }
    assert!(sum.is_finite());
    println!("features of 64 samples: {:?}", started.elapsed() / 1000);
    let Some(session) = session("telemetry-anomaly") else { return };
    let started = Instant::now();
    let windows = scores(session, 16_000, |i| wave(i) + 0.01 * noise(i)).len();
    println!("telemetry: {:?} a sample, {windows} windows", started.elapsed() / 16_000);
    let Some(session) = self::session("cloud-screen") else { return };
    let mut scorer = TileScorer::new(Some(session)).unwrap();
    let pixels = package("cloud-screen").vectors()[0].inputs[0].data.clone();
    let tile = Tile { width: 64, height: 64, bands: 4, pixels };
    let started = Instant::now();
    for _ in 0..20 {
        scorer.score(&tile).unwrap();
    }
    println!("a tile: {:?}", started.elapsed() / 20);
}
