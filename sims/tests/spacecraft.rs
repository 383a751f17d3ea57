//! The spacecraft as a whole: the same seed gives the same bytes, and physics holds.

use codecs::mission::definition::{Definition, Entry};
use codecs::mission::limits::{Level, Monitor};
use codecs::time::Tai;
use onboard::score::{TelemetryScorer, TelemetrySettings};
use sims::demo::scene::{self, Scene};
use sims::orbit::{ElementSet, elements};
use sims::spacecraft::faults::{Fault, FaultKind, Faults};
use sims::spacecraft::recorder::Recorder;
use sims::spacecraft::thermal::Node;
use sims::spacecraft::{STEPS_PER_S, Spacecraft};
use std::collections::BTreeMap;

const MINUTE_NS: i64 = 60_000_000_000;

fn orbit() -> ElementSet {
    let text = include_str!("../../missions/sky-7/elements.json");
    elements::read(text).unwrap().remove(0)
}

fn start() -> Tai {
    Tai::from_rfc3339("2026-11-23T06:00:00Z").unwrap()
}

fn craft(seed: u64, faults: Vec<Fault>) -> Spacecraft {
    Spacecraft::new(orbit(), start(), seed, Faults::new(faults), Vec::new()).unwrap()
}

fn fly(craft: &mut Spacecraft, seconds: u64) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for _ in 0..seconds * STEPS_PER_S {
        craft.step(&mut packets).unwrap();
    }
    packets
}

fn apid(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[0], packet[1]]) & 0x7ff
}

#[test]
fn one_seed_gives_one_stream_of_bytes() {
    let first = fly(&mut craft(7, Vec::new()), 20);
    assert_eq!(first, fly(&mut craft(7, Vec::new()), 20));
    assert_ne!(first, fly(&mut craft(8, Vec::new()), 20));
}

#[test]
fn every_kind_of_packet_keeps_its_rate_and_length() {
    let packets = fly(&mut craft(7, Vec::new()), 60);
    let mut counts: BTreeMap<u16, (usize, usize)> = BTreeMap::new();
    for packet in &packets {
        let entry = counts.entry(apid(packet)).or_insert((0, packet.len()));
        entry.0 += 1;
        assert_eq!(entry.1, packet.len(), "lengths of APID {}", apid(packet));
        let length = usize::from(u16::from_be_bytes([packet[4], packet[5]])) + 7;
        assert_eq!(length, packet.len());
    }
    assert_eq!(counts[&100].0, 60);
    assert_eq!(counts[&101].0, 30);
    assert_eq!(counts[&102].0, 300);
    assert_eq!(counts[&103].0, 60);
    assert_eq!(counts[&120].0, 1200);
}

#[test]
fn a_tile_says_where_the_imager_looked() {
    let packets = fly(&mut craft(7, Vec::new()), 400);
    let tiles = packets.iter().filter(|packet| apid(packet) == 300);
    let mut seen = 0;
    for packet in tiles {
        let tile = onboard::triage::read_tile(&packet[13..].to_vec().into()).unwrap();
        let place = tile.place.unwrap();
        let [x, y, z, w] = place.attitude.unwrap().map(f64::from);
        assert!((x * x + y * y + z * z + w * w - 1.0).abs() < 1e-6);
        // The body's third axis in the earth's: where the imager looks.
        let look = [2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)];
        let (sin_lat, cos_lat) = f64::from(tile.latitude).to_radians().sin_cos();
        let (sin_lon, cos_lon) = f64::from(tile.longitude).to_radians().sin_cos();
        let up = [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat];
        let off = |sign: f64| {
            let along: f64 = look.iter().zip(up).map(|(of, up)| sign * of * up).sum();
            along.clamp(-1.0, 1.0).acos().to_degrees()
        };
        assert!(off(-1.0) < 13.0, "{} degrees off the nadir", off(-1.0));
        let middle: f32 = place.footprint.iter().map(|corner| corner[0]).sum::<f32>() / 4.0;
        assert!((middle - tile.latitude).abs() < 1e-3, "{middle} {}", tile.latitude);
        seen += 1;
    }
    assert!(seen > 20);
}

/// One orbit and a little more.
#[test]
fn the_battery_drains_in_eclipse_energy_adds_up_and_nothing_freezes() {
    let mut craft = craft(7, Vec::new());
    let before = craft.parts().power.ledger;
    let (mut dark, mut light, mut lowest) = (0, 0, 1.0f64);
    let mut packets = Vec::new();
    for _ in 0..100 * 60 {
        let charge = craft.parts().power.charge;
        for _ in 0..STEPS_PER_S {
            craft.step(&mut packets).unwrap();
        }
        packets.clear();
        let thermal = &craft.parts().thermal;
        assert!((0.0..40.0).contains(&thermal.of(Node::Battery)), "{thermal:?}");
        assert!((-10.0..50.0).contains(&thermal.of(Node::Electronics)), "{thermal:?}");
        assert!((-90.0..90.0).contains(&thermal.of(Node::Array)), "{thermal:?}");
        assert!(craft.parts().attitude.angles_rad.iter().all(|angle| angle.abs() < 0.25));
        let power = &craft.parts().power;
        if power.string_a.iter().all(|current| *current == 0.0) {
            dark += 1;
            assert!(power.charge < charge && power.current_a < 0.0);
        } else {
            light += 1;
        }
        lowest = lowest.min(power.charge);
    }
    println!("{dark} s dark, {light} s lit, least charge {lowest:.2}");
    assert!((1500..2300).contains(&dark), "an orbit at 550 km is dark for about 35 minutes");
    assert!(lowest > 0.5 && craft.parts().power.charge > 0.7);
    let after = craft.parts().power.ledger;
    let solar = after.solar_j - before.solar_j;
    let used = (after.load_j - before.load_j)
        + (after.stored_j - before.stored_j)
        + (after.heat_j - before.heat_j);
    assert!((solar - used).abs() < 1e-6 * solar, "{solar} J came in, {used} J went somewhere");
}

#[test]
fn an_empty_battery_ends_everything_until_it_has_charge_again() {
    let fault = |kind| Fault {
        kind,
        start: start(),
        end: Some(start().plus(150 * MINUTE_NS)),
        ramp_s: 0.0,
        severity: 1.0,
    };
    let mut faults: Vec<Fault> =
        (0..3).map(|string| fault(FaultKind::SolarString { string })).collect();
    faults.extend([fault(FaultKind::BatteryCell), fault(FaultKind::HeaterOn)]);
    let mut craft = craft(7, faults);
    let before = craft.parts().power.ledger;
    let (mut silent_s, mut boots) = (0, 0);
    let mut packets = Vec::new();
    let mut was_silent = false;
    for second in 0..200 * 60 {
        for _ in 0..STEPS_PER_S {
            craft.step(&mut packets).unwrap();
        }
        let power = &craft.parts().power;
        assert!((0.0..=1.0).contains(&power.charge));
        assert!(
            !power.cut || (power.load_w == 0.0 && power.current_a >= 0.0),
            "{second}: {power:?}"
        );
        let silent = packets.is_empty();
        silent_s += u32::from(silent);
        boots += u32::from(was_silent && !silent);
        was_silent = silent;
        packets.clear();
    }
    assert!(silent_s > 600, "without a string it goes dark: {silent_s} s");
    assert_eq!(boots, 1, "and comes back with the sun on its strings");
    // Not one joule came from nowhere.
    let after = craft.parts().power.ledger;
    let solar = after.solar_j - before.solar_j;
    let used = (after.load_j - before.load_j)
        + (after.stored_j - before.stored_j)
        + (after.heat_j - before.heat_j);
    assert!((solar - used).abs() < 1e-6 * used.abs().max(solar), "{solar} J in, {used} J out");
    let stored = after.stored_j - before.stored_j;
    assert!(stored > -5.2 * 3600.0 * 8.3, "{stored} J out of the cells");
}

#[test]
fn faults_show_in_what_they_break() {
    let fault = |kind, ramp_s| Fault {
        kind,
        start: start().plus(MINUTE_NS),
        end: None,
        ramp_s,
        severity: 1.0,
    };
    let mut broken = craft(
        7,
        vec![
            fault(FaultKind::WheelBearing { wheel: 2 }, 6.0),
            fault(FaultKind::SolarString { string: 1 }, 0.0),
            fault(FaultKind::StuckThermistor, 0.0),
            fault(FaultKind::BatteryCell, 0.0),
        ],
    );
    let mut whole = craft(7, Vec::new());
    fly(&mut broken, 59);
    fly(&mut whole, 59);
    assert_eq!(fly(&mut broken, 1), fly(&mut whole, 1), "before their start faults don't show");
    let shown = broken.parts().thermal.shown_c[Node::Battery as usize];
    fly(&mut broken, 15);
    fly(&mut whole, 15);
    let (bad, good) = (broken.parts(), whole.parts());
    assert!(bad.wheels.wheels[2].current_a.abs() > 4.0 * good.wheels.wheels[2].current_a.abs());
    assert!(bad.wheels.wheels[2].vibration_g > 0.12 && good.wheels.wheels[2].vibration_g < 0.06);
    assert_eq!(bad.power.string_a[1], 0.0);
    assert_eq!(bad.thermal.shown_c[Node::Battery as usize], shown);
    assert_ne!(bad.power.current_a, good.power.current_a);
}

#[test]
fn every_kind_of_fault_shows_where_the_truth_says_and_not_before() {
    let definition = Definition::from_toml(scene::MISSION).unwrap();
    let plans = definition.plans();
    let values = |packets: &[Vec<u8>]| {
        let mut seen: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for packet in packets.iter().filter(|packet| apid(packet) != 300) {
            let decoded = plans.decode(packet, &mut |sample| {
                let name = &definition.parameters[sample.parameter.0 as usize].name;
                seen.entry(name.to_string()).or_default().push(sample.value);
            });
            decoded.unwrap();
        }
        seen
    };
    let minutes = 6;
    let mut whole = craft(7, Vec::new());
    let before = fly(&mut whole, 60);
    let good = values(&fly(&mut whole, 60 * minutes));
    let fault = |name: &str, begins| {
        let kind = FaultKind::named(name, 1).or_else(|| FaultKind::named(name, 0)).unwrap();
        Fault { kind, start: begins, end: None, ramp_s: 0.0, severity: 1.0 }
    };
    let begins = start().plus(MINUTE_NS);
    // A heater that nothing asks for is not missed while the battery is warm.
    for name in FaultKind::NAMES.into_iter().filter(|name| *name != "heater-off") {
        let fault = fault(name, begins);
        let kind = fault.kind;
        let mut broken = craft(7, vec![fault]);
        assert_eq!(fly(&mut broken, 60), before, "{name}: before its start nothing shows");
        let bad = values(&fly(&mut broken, 60 * minutes));
        let differs = |parameter: &&String| bad.get(*parameter) != good.get(*parameter);
        let shown: Vec<&String> = good.keys().filter(differs).collect();
        println!("{name}: {shown:?}");
        assert!(shown.iter().any(|parameter| kind.shows_in(parameter)), "{name}: {shown:?}");
    }
    let mut dead = craft(7, vec![fault("heater-on", start()), fault("heater-off", begins)]);
    let on = |packets: &[Vec<u8>]| values(packets)["EPS_BATTERY_HEATER"].clone();
    assert!(on(&fly(&mut dead, 60)).iter().all(|on| *on == 1.0));
    assert!(on(&fly(&mut dead, 60)).iter().all(|on| *on == 0.0));
}

#[test]
fn the_imager_rests_while_the_recorder_is_full() {
    let tiles = |packets: &[Vec<u8>]| packets.iter().filter(|packet| apid(packet) == 300).count();
    let mut bounded = craft(7, Vec::new()).with_recorder(Recorder::new(200e3, 1e6));
    let mut endless = craft(7, Vec::new());
    let (some, all) = (tiles(&fly(&mut bounded, 900)), tiles(&fly(&mut endless, 900)));
    println!("{some} tiles of {all}");
    assert!(some > 0 && 2 * some < all);
    assert!(bounded.recorder().unwrap().is_full());
    bounded.recorder().unwrap().hold(0.0);
    assert!(tiles(&fly(&mut bounded, 60)) > 0, "room makes it work again");
}

#[test]
fn the_mission_file_describes_every_packet_to_its_last_bit() {
    let definition = Definition::from_toml(scene::MISSION).unwrap();
    let plans = definition.plans();
    let lengths: BTreeMap<u16, usize> = definition
        .containers
        .iter()
        .map(|container| {
            let bits: u32 = container
                .entries
                .iter()
                .map(|entry| match *entry {
                    Entry::Skip { bits } => bits,
                    Entry::Parameter(id) => definition.type_of(id).unwrap().encoding.bits(),
                })
                .sum();
            (container.apid.0, 6 + 7 + bits as usize / 8)
        })
        .collect();
    let mut seen = BTreeMap::new();
    for packet in fly(&mut craft(7, Vec::new()), 100) {
        let apid = apid(&packet);
        if apid == 300 {
            continue;
        }
        assert_eq!(packet.len(), lengths[&apid], "length of APID {apid}");
        let decoded = plans.decode(&packet, &mut |sample| {
            let name = definition.parameters[sample.parameter.0 as usize].name.clone();
            seen.insert(name, (sample.value, sample.text.map(str::to_owned)));
        });
        assert_eq!(decoded.unwrap().missing, 0);
    }
    assert_eq!(seen.len(), definition.parameters.len());
    let value = |name: &str| seen[name].0;
    assert!((7.0..8.4).contains(&value("EPS_BATTERY_VOLTAGE")));
    assert!((540_000.0..590_000.0).contains(&value("NAV_ALTITUDE")));
    assert!((1900.0..2100.0).contains(&value("ADCS_WHEEL_1_SPEED")));
    assert!(value("GYRO_RATE_Y").abs() < 0.5);
    let field = ["X", "Y", "Z"].map(|axis| value(&format!("ADCS_FIELD_{axis}")));
    let strength = field.iter().map(|value| value * value).sum::<f64>().sqrt();
    assert!((15.0..60.0).contains(&strength), "{strength} uT");
    assert!(seen["EPS_LIGHT"].1.is_some() && seen["EVENT_CODE"].1.is_some());
}

#[test]
fn the_demonstration_raises_an_alarm_within_25_seconds_and_none_before() {
    let scene = Scene::new().unwrap();
    let rise = scene.pass.rise;
    let before = rise.plus(-2 * MINUTE_NS);
    let mut craft =
        Spacecraft::new(scene::orbit().unwrap(), before, 7, scene.faults(), Vec::new()).unwrap();
    let definition = Definition::from_toml(scene::MISSION).unwrap();
    let plans = definition.plans();
    let mut monitor = Monitor::new(&definition);
    let mut raised = Vec::new();
    for packet in fly(&mut craft, 120 + 25) {
        if apid(&packet) == 300 {
            continue;
        }
        let told = plans.decode(&packet, &mut |sample| {
            if let Some(change) = monitor.check(sample.parameter, sample.time, sample.value)
                && change.to != Level::Normal
            {
                let name = &definition.parameters[sample.parameter.0 as usize].name;
                raised.push((name.clone(), sample.time.since(rise) as f64 / 1e9, change.to));
            }
        });
        told.unwrap();
    }
    println!("{raised:?}");
    assert!(raised.iter().all(|(name, at, _)| name.starts_with("ADCS_WHEEL_3") && *at > 0.0));
    assert!(raised.iter().any(|(.., level)| *level == Level::Red));
}

/// What the flight process does with the demonstration's packets where no model can run.
#[test]
fn statistics_alone_tell_the_broken_bearing_and_nothing_else() {
    let scene = Scene::new().unwrap();
    let rise = scene.pass.rise;
    let before = rise.plus(-10 * MINUTE_NS);
    let mut craft =
        Spacecraft::new(scene::orbit().unwrap(), before, 7, scene.faults(), Vec::new()).unwrap();
    let definition = Definition::from_toml(scene::MISSION).unwrap();
    let plans = definition.plans();
    let mut scorer = TelemetryScorer::new(None, TelemetrySettings::default()).unwrap();
    let watched: BTreeMap<_, _> = scene::WATCHED
        .iter()
        .map(|name| (definition.parameter_named(name).unwrap(), scorer.watch(name).unwrap()))
        .collect();
    let mut told = Vec::new();
    for packet in fly(&mut craft, 10 * 60 + 25) {
        if apid(&packet) == 300 {
            continue;
        }
        let decoded = plans.decode(&packet, &mut |sample| {
            let Some(channel) = watched.get(&sample.parameter) else { return };
            let score = scorer.push(*channel, sample.time, sample.value);
            if score.is_some_and(|score| score.anomalous) {
                let name = &definition.parameter(sample.parameter).unwrap().name;
                told.push((name.clone(), sample.time.since(rise) as f64 / 1e9));
            }
        });
        decoded.unwrap();
    }
    println!("{told:?}");
    assert!(!told.is_empty());
    assert!(told.iter().all(|(name, at)| name.contains("WHEEL_3") && *at > 0.0), "{told:?}");
}
