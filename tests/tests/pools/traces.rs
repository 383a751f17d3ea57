//! One trace from a unit to its insight, as a collector sees it.

use crate::{
    doubles::{Doubles, KEY},
    python,
};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use codecs::{
    ids::{Channel, Codec, KeyPrefix, Origin, SpacecraftId, StoreEpoch, UnitKey},
    mission::Definition,
    time::Tai,
};
use groundstation::{
    archive::{Archived, record::Position},
    config::Config,
    pool::{Document, Handling, Input, Message, Part, Role, Schema, Trace},
    process::{Outcome, Work},
    publish::{Feed, JobState},
    shell::{clock::StationClock, telemetry::Telemetry, work::traced},
    telemetry::otlp::Teller,
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// What a collector was told, and how many questions it turns away first.
#[derive(Clone, Default)]
struct Collector {
    bodies: Arc<Mutex<Vec<Bytes>>>,
    busy: Arc<Mutex<u32>>,
}

impl Collector {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().route("/v1/traces", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        url
    }
}

async fn take(State(own): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let mut busy = own.busy.lock().unwrap();
    if *busy > 0 {
        *busy -= 1;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    own.bodies.lock().unwrap().push(body);
    StatusCode::OK
}

/// Fields of a protobuf message by number: varints and fixed numbers as such, the rest as bytes.
fn fields(mut bytes: &[u8]) -> BTreeMap<u64, Vec<Vec<u8>>> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut found: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let length = match tag & 7 {
            0 => {
                let value = varint(&mut bytes).to_le_bytes().to_vec();
                found.entry(tag >> 3).or_default().push(value);
                continue;
            }
            1 => 8,
            5 => 4,
            2 => varint(&mut bytes) as usize,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = bytes.split_at(length);
        found.entry(tag >> 3).or_default().push(value.to_vec());
        bytes = rest;
    }
    found
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Spans as the published messages have them: name, trace, own number, parent's.
fn spans(body: &[u8]) -> Vec<[String; 4]> {
    let mut rows = Vec::new();
    for resource in &fields(body)[&1] {
        for scope in &fields(resource)[&2] {
            for span in &fields(scope)[&2] {
                let span = fields(span);
                let text = |number| span.get(&number).map_or(String::new(), |all| hex(&all[0]));
                let name = String::from_utf8(span[&5][0].clone()).unwrap();
                rows.push([name, text(1), text(2), text(4)]);
            }
        }
    }
    rows
}

fn work() -> Work {
    let message = Message { role: Role::User, parts: vec![Part::Text("Say.".into())] };
    let value = json!({
        "type": "object",
        "properties": { "fires": { "type": "number" }, "where": { "type": "string" } },
        "required": ["fires", "where"],
        "additionalProperties": false,
    });
    let document = Document {
        system: "You watch fires.".into(),
        messages: vec![message],
        schema: Some(Schema { name: "fires".into(), value }),
        tokens_out_max: 50,
    };
    Work {
        key: "fire-report/1:7-1-9".into(),
        task: "fire-report/1".into(),
        input: Input::Document(document),
        unit: None,
        about: "7-1-9".into(),
        handling: Handling::default(),
        budget: None,
        deadline_s: 60.0,
        priority: 1,
    }
}

fn unit(received: Tai) -> Archived {
    let prefix = KeyPrefix {
        origin: Origin([7; 16]),
        epoch: StoreEpoch(1),
        spacecraft: SpacecraftId(7),
        channel: Channel::stream(0),
    };
    Archived {
        key: UnitKey { prefix, sequence: 4 },
        codec: Codec::Product,
        received,
        annotation: None,
        bytes: Bytes::from_static(b"tile"),
        position: Position { segment: 1, offset: 4_096 },
        replayed: false,
    }
}

const MISSION: &str = "mission = 'm'\n[[task]]\nname = 'fire-report/1'\nabout = 'You watch fires.'\n\
    [[task.field]]\nname = 'fires'\ntype = 'number'\nabout = 'how many'\n\
    [[task.field]]\nname = 'where'\ntype = 'text'\nabout = 'where'\n";

#[tokio::test]
async fn a_unit_a_job_and_the_pools_question_are_one_trace_at_the_collector() {
    let (dir, doubles) = (tempfile::tempdir().unwrap(), Doubles::start().await);
    let collector = Collector::default();
    *collector.busy.lock().unwrap() = 1;
    let clock = StationClock::new(0.0);
    let teller = Teller { station: "T".into(), instance: "00".into() };
    let telemetry = Telemetry::start(&collector.start().await, teller, clock).unwrap();
    let (file, url) = (dir.path().join("station.toml"), &doubles.url);
    std::fs::write(dir.path().join("key"), KEY).unwrap();
    let text = format!(
        "mission = 'm'\n[station]\nname = 'T'\nlatitude_deg = 48.0\nlongitude_deg = 11.0\n\
         [identity]\nauthority = 'a'\ncertificate = 's'\nkey = 'k'\n[[pool]]\nname = 'far'\n\
         kind = 'openai'\nurl = '{url}/v1'\ncredentials = 'key'\n\
         tasks = {{ 'fire-report/1' = 'steady' }}\n"
    );
    std::fs::write(&file, text).unwrap();
    let (config, definition) = (Config::load(&file).unwrap(), Definition::from_toml(MISSION));
    let (feed, definition) = (Feed::default(), definition.unwrap());
    let told = Some(telemetry.clone());
    let (mut submit, _look) = traced(&config, &definition, feed.clone(), clock, told).unwrap();

    let received = clock.tai();
    telemetry.committed(Position { segment: 1, offset: 8_192 }, clock.tai());
    let outcome = Outcome { work: vec![work()], ..Outcome::default() };
    telemetry.interpreted(&unit(received), &outcome);
    let asking = outcome.work.into_iter();
    let submit = tokio::task::spawn_blocking(move || {
        asking.for_each(&mut submit);
        submit
    });
    let _submit = submit.await.unwrap();
    let job = loop {
        let jobs = feed.snapshot().jobs;
        match jobs.into_iter().find(|job| job.state == JobState::Done) {
            Some(job) => break job,
            None => tokio::task::yield_now().await,
        }
    };
    // The first is turned away, and told again.
    while telemetry.counts().waiting > 0 {
        telemetry.finish().await;
    }

    let bodies = collector.bodies.lock().unwrap().clone();
    let told: Vec<[String; 4]> = bodies.iter().flat_map(|body| spans(body)).collect();
    let named = |name: &str| {
        let mut found = told.iter().filter(|span| span[0] == name);
        found.next().unwrap_or_else(|| panic!("no {name} in {told:?}")).clone()
    };
    let trace = format!("{:032x}", Trace::of("7-1-9").id);
    assert_eq!(job.trace, trace, "the page shows it");
    assert!(told.iter().all(|span| span[1] == trace), "{told:?}");
    let (root, job, ask) = (named("unit"), named("job"), named("ask"));
    assert_eq!(root[3], "");
    for (name, parent) in [
        ("archive", &root),
        ("receipt", &root),
        ("interpret", &root),
        ("job", &root),
        ("queue", &job),
        ("ask", &job),
        ("publish", &job),
        ("run", &ask),
    ] {
        assert_eq!(named(name)[3], parent[2], "{name}");
    }
    // What the pool was told is the span of its question.
    let asked = doubles.last();
    let header = asked.headers["traceparent"].to_str().unwrap();
    assert_eq!(header, format!("00-{}-{}-01", ask[1], ask[2]));
    let counts = telemetry.counts();
    assert_eq!((counts.exported, counts.dropped, counts.refused), (counts.made, 0, 0));

    let files = bodies.iter().enumerate().map(|(at, body)| {
        let file = dir.path().join(format!("{at}.pb"));
        std::fs::write(&file, body).unwrap();
        file.display().to_string()
    });
    let files: Vec<String> = files.collect();
    let read = tokio::task::spawn_blocking(move || {
        python::run("otlp.py", &files.iter().map(String::as_str).collect::<Vec<_>>())
    });
    if let Some(read) = read.await.unwrap() {
        let read: Vec<[String; 4]> = serde_json::from_str(&read).unwrap();
        assert_eq!(read, told, "OpenTelemetry's own messages say the same");
    }
}
