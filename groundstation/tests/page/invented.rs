//! Invented events for the page's test: a pass with a fade, a fault and clouds.

use crate::orbit;
use bytes::Bytes;
use codecs::ids::{
    Apid, Channel, Codec, KeyPrefix, Origin, SeqRange, SpacecraftId, StoreEpoch, UnitKey,
};
use codecs::time::Tai;
use groundstation::publish::{
    AlarmState, Decision, Event, JobState, Level, Limits, Mission, Outcome, PacketIdentity,
    ParameterInfo, Quality, Score,
};

const CRAFT: SpacecraftId = SpacecraftId(7);
const SESSION: groundstation::receipt::SessionId = groundstation::archive::Owner(1);

struct Wave {
    name: &'static str,
    unit: &'static str,
    middle: f64,
    swing: f64,
    period_s: f64,
    limits: Option<[Option<f64>; 4]>,
}

const fn wave(
    name: &'static str,
    unit: &'static str,
    (middle, swing, period_s): (f64, f64, f64),
    limits: Option<[Option<f64>; 4]>,
) -> Wave {
    Wave { name, unit, middle, swing, period_s, limits }
}

const WAVES: [Wave; 12] = [
    wave(
        "EPS_BATTERY_VOLTAGE",
        "V",
        (7.7, 0.3, 90.0),
        Some([Some(6.6), Some(7.0), Some(8.3), Some(8.5)]),
    ),
    wave("EPS_SOLAR_CURRENT", "A", (1.4, 0.2, 60.0), None),
    wave(
        "PAYLOAD_DETECTOR_TEMPERATURE",
        "°C",
        (26.8, 0.9, 75.0),
        Some([None, None, Some(27.5), Some(29.0)]),
    ),
    wave(
        "WHEEL_3_SPEED",
        "rpm",
        (2_300.0, 240.0, 45.0),
        Some([None, None, Some(2_450.0), Some(2_520.0)]),
    ),
    wave("WHEEL_1_SPEED", "rpm", (1_900.0, 80.0, 50.0), None),
    wave("ADCS_RATE_X", "°/s", (0.0, 0.02, 20.0), Some([Some(-0.5), None, None, Some(0.5)])),
    wave("ADCS_RATE_Y", "°/s", (0.01, 0.03, 25.0), None),
    wave("MAG_FIELD_X", "nT", (-12_400.0, 9_000.0, 120.0), None),
    wave("NAV_ALTITUDE", "m", (520_400.0, 900.0, 400.0), None),
    wave(
        "THERMAL_PANEL_PLUS_X",
        "°C",
        (-8.0, 14.0, 300.0),
        Some([Some(-40.0), Some(-30.0), Some(55.0), Some(70.0)]),
    ),
    wave(
        "THERMAL_BATTERY",
        "°C",
        (14.0, 1.0, 200.0),
        Some([Some(0.0), Some(5.0), Some(35.0), Some(45.0)]),
    ),
    wave("COM_TRANSMITTER_POWER", "W", (2.0, 0.05, 30.0), None),
];

fn stream(number: u32) -> KeyPrefix {
    prefix(Channel::stream(number))
}

fn prefix(channel: Channel) -> KeyPrefix {
    KeyPrefix { origin: Origin([7; 16]), epoch: StoreEpoch(1), spacecraft: CRAFT, channel }
}

/// What is told before the pass.
pub fn mission() -> Event {
    let parameters = WAVES.iter().map(|wave| ParameterInfo {
        name: wave.name.into(),
        unit: wave.unit.into(),
        limits: wave.limits.map(|[red_low, yellow_low, yellow_high, red_high]| Limits {
            red_low,
            yellow_low,
            yellow_high,
            red_high,
        }),
    });
    Event::Mission(Mission {
        spacecraft: CRAFT,
        name: "SKY-7".into(),
        channels: vec![
            (Channel::virtual_channel(1, 71, 0, 0), "housekeeping".into()),
            (Channel::virtual_channel(1, 71, 1, 0), "payload A".into()),
            (Channel::stream(1), "recorded telemetry".into()),
            (Channel::stream(2), "products".into()),
        ],
        parameters: parameters.collect(),
    })
}

/// The link opens.
pub fn opened(at: Tai) -> Event {
    let peer = "127.0.0.1:50312".into();
    Event::LinkOpened { spacecraft: CRAFT, session: SESSION, peer, rtt_ms: 18.0, at }
}

/// Everything of one second of the pass; `second` counts from its rise.
pub fn second(second: i64, middle: Tai) -> Vec<Event> {
    let after = orbit::rise() + second as f64;
    let at = middle.plus((after * 1e9) as i64);
    let mut events = Vec::new();
    link(&mut events, second, after, at);
    frames(&mut events, second, at);
    parameters(&mut events, second, at);
    if second % 7 == 3 {
        product(&mut events, second, after, at);
    }
    faults(&mut events, second, at);
    events
}

fn link(events: &mut Vec<Event>, second: i64, after: f64, at: Tai) {
    let wobble = 0.9 + 0.05 * (second as f64 / 3.0).sin();
    let fade = if (70..78).contains(&second) { 0.15 } else { 1.0 };
    events.push(Event::LinkSample {
        spacecraft: CRAFT,
        session: SESSION,
        rtt_ms: orbit::round_trip(after) * 1.04,
        rate_bps: orbit::rate(after) * wobble * fade,
        bytes: 4_100_000 * second as u64,
        at,
    });
    let left = (1_400 - 3 * second).max(0) as u64;
    let origin = stream(1).origin;
    let bytes = left * 240_000;
    events.push(Event::Backlog { spacecraft: CRAFT, origin, units: left, bytes });
    for (prefix, step) in [(stream(1), 4u64), (stream(2), 1)] {
        let base = second as u64 * step;
        let lost = (70..74).contains(&second) || (second == 118 && step > 1);
        for sequence in (base..base + step).filter(|_| !lost) {
            events.push(Event::Unit {
                key: UnitKey { prefix, sequence },
                codec: Codec::Squeezed,
                bytes: 9_000,
                received: at,
                replayed: false,
            });
        }
        let count = if lost { 0 } else { step };
        for outcome in [Outcome::Received, Outcome::Archived] {
            events.push(Event::Custody { prefix: None, outcome, count });
        }
        events.push(Event::Receipted { prefix, count });
    }
    if second == 80 {
        for (prefix, first, last) in [(stream(1), 280, 290), (stream(2), 70, 73)] {
            for sequence in first..=last {
                events.push(Event::Unit {
                    key: UnitKey { prefix, sequence },
                    codec: Codec::Squeezed,
                    bytes: 9_000,
                    received: at,
                    replayed: false,
                });
            }
        }
        events.push(Event::Custody { prefix: None, outcome: Outcome::Received, count: 5 });
        events.push(Event::Custody { prefix: None, outcome: Outcome::Duplicate, count: 3 });
        events.push(Event::Custody {
            prefix: None,
            outcome: Outcome::Rejected("frame_length"),
            count: 2,
        });
    }
    if second == 60 {
        let range = SeqRange { first: 40, last: 61 };
        let reason = "cloudy".to_owned();
        events.push(Event::Voided { prefix: stream(3), range, reason });
    }
}

fn frames(events: &mut Vec<Event>, second: i64, at: Tai) {
    for (vc, share) in [(0, 8), (1, 14)] {
        for part in 0..share {
            let burst = (70..76).contains(&second);
            if burst && part % 3 != 0 {
                continue;
            }
            let quality = match second {
                69 | 76..=77 => Quality::Erred,
                110..=125 if part % 3 == 0 => Quality::Corrected,
                _ => Quality::Good,
            };
            let gap = if burst && part == 0 { 5 } else { 0 };
            let at = at.plus(part * 1_000_000_000 / share);
            let found = false;
            events.push(Event::Frame { spacecraft: CRAFT, vc, quality, gap, found, at });
        }
    }
}

fn parameters(events: &mut Vec<Event>, second: i64, at: Tai) {
    for (index, wave) in WAVES.iter().enumerate() {
        let noise = ((second * 7919 + index as i64 * 104_729) % 1000) as f64 / 1000.0 - 0.5;
        let turn = (second as f64 / wave.period_s + index as f64 * 0.21) * std::f64::consts::TAU;
        let mut value = wave.middle + wave.swing * (turn.sin() + noise * 0.12);
        if wave.name == "WHEEL_3_SPEED" && second > 120 {
            value += 120.0 + noise * 180.0;
        }
        let level =
            wave.limits.map_or(Level::Normal, |[red_low, yellow_low, yellow_high, red_high]| {
                if red_high.is_some_and(|edge| value > edge)
                    || red_low.is_some_and(|edge| value < edge)
                {
                    Level::Red
                } else if yellow_high.is_some_and(|edge| value > edge)
                    || yellow_low.is_some_and(|edge| value < edge)
                {
                    Level::Yellow
                } else {
                    Level::Normal
                }
            });
        events.push(Event::Parameter {
            spacecraft: CRAFT,
            name: wave.name.into(),
            unit: wave.unit.into(),
            time: at,
            value,
            text: None,
            level,
        });
    }
    let text = if second < 40 { "eclipse" } else { "sun" };
    events.push(Event::Parameter {
        spacecraft: CRAFT,
        name: "EPS_ILLUMINATION".into(),
        unit: "".into(),
        time: at,
        value: f64::from(u8::from(second >= 40)),
        text: Some(text.into()),
        level: Level::Normal,
    });
    for count in 0..28 {
        events.push(Event::Packet(PacketIdentity {
            spacecraft: CRAFT,
            apid: Apid(100),
            time: at.plus(count),
            sequence_count: (second * 28 + count) as u16,
        }));
    }
    let captured = at.plus(-900_000_000 - (second % 5) * 80_000_000);
    events.push(Event::Insight { spacecraft: CRAFT, captured, published: at });
}

fn product(events: &mut Vec<Event>, second: i64, after: f64, at: Tai) {
    let cloud = 0.5 + 0.5 * (second as f64 * 0.9).sin();
    let (lat, lon) = orbit::below(after);
    let summary = cloud > 0.7;
    events.push(Event::Product {
        id: format!("tile-{second}"),
        spacecraft: CRAFT,
        kind: "tile".into(),
        time: at,
        lat,
        lon,
        score: Some(Score { label: "cloud".into(), value: cloud }),
        decision: if summary { Decision::Summary } else { Decision::Sent },
        thumbnail_png: picture(cloud, second),
        source_bytes: 16_412,
        sent_bytes: if summary { 212 } else { 9_870 },
    });
    let (state, run_ms) = match second {
        0..=150 => (JobState::Done, 38.0 + cloud * 9.0),
        151..=160 => (JobState::Running, 12.0),
        _ => (JobState::Queued, 0.0),
    };
    if !summary {
        events.push(Event::Job {
            id: format!("job-{second}"),
            task: "cloud-mask/1".into(),
            pool: if state == JobState::Queued { String::new() } else { "embedded".into() },
            state,
            queue_ms: 3.1,
            run_ms,
            cost: 0.0,
            result: format!("cloud {:.0} %", cloud * 100.0),
            trace: format!("{:032x}", 0x7a11 + second as u128),
            time: at,
        });
    }
}

fn faults(events: &mut Vec<Event>, second: i64, at: Tai) {
    let mut alarm = |id: &str, parameter: &str, message: &str, level, state| {
        events.push(Event::Alarm {
            id: id.into(),
            spacecraft: CRAFT,
            parameter: parameter.into(),
            message: message.into(),
            level,
            time: at,
            state,
        });
    };
    let wheel = "Wheel 3 speed above 2,520 rpm; onboard anomaly score 0.97";
    match second {
        50 => alarm("a1", "EPS", "Battery voltage below 7.0 V", Level::Yellow, AlarmState::Raised),
        88 => alarm("a1", "EPS", "Battery voltage below 7.0 V", Level::Yellow, AlarmState::Cleared),
        130 => alarm("a2", "WHEEL_3_SPEED", wheel, Level::Red, AlarmState::Raised),
        141 => alarm(
            "a3",
            "PAYLOAD_DETECTOR_TEMPERATURE",
            "Detector temperature above 27.5 °C",
            Level::Yellow,
            AlarmState::Raised,
        ),
        _ => {}
    }
}

/// A tile of land with clouds over it.
fn picture(cloud: f64, seed: i64) -> Bytes {
    const SIDE: u32 = 64;
    let mut pixels = Vec::new();
    for y in 0..SIDE {
        for x in 0..SIDE {
            let (u, v) = (f64::from(x) / 9.0 + seed as f64, f64::from(y) / 11.0);
            let field = 0.5 + 0.25 * ((u + 0.6 * v.sin()).sin() + (v * 1.3 + u * 0.4).cos());
            let white = ((field - 1.0 + cloud) * 3.0).clamp(0.0, 1.0);
            let land = 40.0 + 25.0 * (u * 0.5 + v).sin();
            for tint in [0.8, 1.0, 0.7] {
                pixels.push((land * tint * (1.0 - white) + 235.0 * white) as u8);
            }
        }
    }
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, SIDE, SIDE);
    encoder.set_color(png::ColorType::Rgb);
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&pixels))
        .expect("a picture in memory");
    file.into()
}
