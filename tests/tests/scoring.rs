//! Scores on the generated spacecraft: how often a healthy channel is called unusual, whether
//! labelled faults are seen, and how near the cloud screen comes to the truth.

use std::{collections::BTreeMap, path::Path};

use codecs::{mission::Definition, time::Tai};
use onboard::score::{
    Method, Score, TelemetryScorer, TelemetrySettings, Tile, TileScorer, tiles::BANDS,
};
use onboard_model::{Package, Runtime, Session, Trust};
use sims::{
    orbit::elements,
    spacecraft::{
        STEPS_PER_S, Spacecraft,
        faults::{Fault, FaultKind, Faults},
        imager,
    },
};

/// A session, or a printed reason why the test goes on with statistics.
fn session(name: &str) -> Option<Session> {
    let runtime =
        Runtime::find(None).inspect_err(|error| println!("without the model: {error}")).ok()?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../onboard/model/packages");
    let trust = Trust::nobody().danger_accept_development_key();
    Some(runtime.load(&Package::open(&folder.join(name), &trust).unwrap()).unwrap())
}

fn start() -> Tai {
    Tai::from_rfc3339("2026-11-23T06:00:00Z").unwrap()
}

/// Every judgement of a flight, by parameter.
fn fly(seconds: u64, faults: Vec<Fault>) -> BTreeMap<String, Vec<Score>> {
    let orbit = elements::read(include_str!("../../missions/sky-7/elements.json")).unwrap();
    let orbit = orbit.into_iter().next().unwrap();
    let mut craft = Spacecraft::new(orbit, start(), 7, Faults::new(faults), Vec::new()).unwrap();
    let mission = include_str!("../../missions/sky-7/mission.toml");
    let definition = Definition::from_toml(mission).unwrap();
    let plans = definition.plans();
    let session = session("telemetry-anomaly");
    let mut scorer = TelemetryScorer::new(session, TelemetrySettings::default()).unwrap();
    let mut scores = BTreeMap::<String, Vec<Score>>::new();
    let mut packets = Vec::new();
    for _ in 0..seconds * STEPS_PER_S {
        craft.step(&mut packets).unwrap();
        for packet in packets.drain(..) {
            // Tiles and events are no telemetry channels.
            let _ = plans.decode(&packet, &mut |sample| {
                if sample.text.is_some() {
                    return;
                }
                let name = &definition.parameter(sample.parameter).unwrap().name;
                let channel = scorer.watch(name).unwrap();
                if let Some(score) = scorer.push(channel, sample.time, sample.value) {
                    scores.entry(name.to_string()).or_default().push(score);
                }
            });
        }
    }
    assert_eq!(scorer.take_suspension(), None);
    scores
}

fn alarms<'a>(scores: impl IntoIterator<Item = &'a Score>) -> usize {
    scores.into_iter().filter(|score| score.anomalous).count()
}

#[test]
fn a_healthy_spacecraft_is_seldom_called_unusual() {
    let scores = fly(1800, Vec::new());
    let (mut told, mut all) = (0, 0);
    for (name, scores) in &scores {
        let count = alarms(scores);
        if count > 0 {
            println!("{name}: {count} of {} windows", scores.len());
        }
        (told, all) = (told + count, all + scores.len());
    }
    println!("{told} of {all} windows of {} channels", scores.len());
    assert!(told * 100 < all, "{told} of {all}: more than one in a hundred");
}

#[test]
fn labelled_faults_are_seen_where_they_are() {
    let at = start().plus(900_000_000_000);
    // A stuck thermistor is not among them: neither judge sees a slow temperature stand still.
    for (kind, expected) in [
        (FaultKind::WheelBearing { wheel: 1 }, "ADCS_WHEEL_2_VIBRATION"),
        (FaultKind::BatteryCell, "EPS_BATTERY_CURRENT"),
        (FaultKind::SolarString { string: 1 }, "EPS_STRING_2_CURRENT"),
    ] {
        let fault = Fault { kind, start: at, end: None, ramp_s: 5.0, severity: 1.0 };
        let scores = fly(1200, vec![fault]);
        let (after, before): (Vec<&Score>, Vec<&Score>) =
            scores[expected].iter().partition(|score| score.time >= at);
        println!(
            "{kind:?}: {expected} told in {} of {} windows before and {} of {} after",
            alarms(before.iter().copied()),
            before.len(),
            alarms(after.iter().copied()),
            after.len()
        );
        assert_eq!(alarms(before), 0, "{kind:?}");
        assert!(alarms(after) > 0, "{kind:?} is not seen in {expected}");
    }
}

#[test]
fn the_cloud_screen_on_the_imagers_own_tiles() {
    let mut scorer = TileScorer::new(session("cloud-screen")).unwrap();
    let method = scorer.method();
    let (mut error, mut right, count) = (0.0, 0, 200);
    for index in 0..count {
        let place = f64::from(index);
        let tile = imager::render(7, place * 0.37 - 37.0, place * 1.3, 1_700_000_000);
        let side = imager::EDGE as u16;
        let pixels = tile.pixels.into();
        let score =
            scorer.score(&Tile { width: side, height: side, bands: BANDS, pixels }).unwrap();
        assert_eq!(score.method, method);
        let truth = f32::from(tile.cloud_percent) / 100.0;
        error += (score.fraction - truth).abs() / count as f32;
        right += usize::from((score.fraction > 0.7) == (truth > 0.7));
    }
    println!("{method:?}: mean error {error:.4}, {right} of {count} decisions right");
    let bound = if method == Method::Model { 0.02 } else { 0.08 };
    assert!(error < bound, "{error}");
    assert!(right * 100 >= count as usize * 90, "{right} of {count}");
}
