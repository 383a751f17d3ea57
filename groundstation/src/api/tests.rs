use super::*;
use crate::admit::Action;
use crate::operators::OperatorConfig;
use crate::publish::{Event, Outcome, PacketIdentity};
use crate::shell::{clock::StationClock, uplink::Uplink};
use codecs::ids::{Apid, SpacecraftId};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const NOW: &str = "2026-11-23T04:21:07.000Z";

struct Station {
    address: SocketAddr,
    feed: Feed,
    ready: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    server: JoinHandle<io::Result<()>>,
}

impl Station {
    async fn start() -> Self {
        Self::with_contacts(None).await
    }

    async fn with_contacts(contacts: Option<PathBuf>) -> Self {
        Self::with(contacts, None).await
    }

    async fn with(contacts: Option<PathBuf>, uplink: Option<Commanding>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let feed = Feed::default();
        let (ready, is_ready) = watch::channel(false);
        let (stop, stopped) = watch::channel(false);
        let context = Context {
            feed: feed.clone(),
            clock: Arc::new(|| Tai::from_rfc3339(NOW).unwrap()),
            station: Some(contacts::Station {
                name: "Svalbard".into(),
                lat: 78.23,
                lon: 15.39,
                height_m: 450.0,
                mask_deg: 5.0,
            }),
            contacts: watch::channel(contacts).1,
            ready: is_ready,
            host_names: Vec::new(),
            uplink,
            look: None,
        };
        let server = tokio::spawn(serve(listener, context, stopped));
        Self { address, feed, ready, stop, server }
    }

    async fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn ask(&self, request: &str) -> String {
        let mut answer = Vec::new();
        self.send(request).await.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn get(&self, path: &str) -> String {
        let host = self.address;
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await
    }
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

fn json(answer: &str) -> serde_json::Value {
    serde_json::from_str(body(answer)).unwrap()
}

/// Reads until the text holds `wanted`.
async fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut text = String::new();
    let mut chunk = [0; 4096];
    while !text.contains(wanted) {
        let length = stream.read(&mut chunk).await.unwrap();
        assert!(length > 0, "the stream ended without {wanted:?}: {text}");
        text.push_str(&String::from_utf8_lossy(&chunk[..length]));
    }
    text
}

fn packet(sequence_count: u16) -> Event {
    Event::Packet(PacketIdentity {
        spacecraft: SpacecraftId(7),
        apid: Apid(100),
        time: Tai(5),
        sequence_count,
    })
}

#[tokio::test]
async fn the_snapshot_tells_what_was_published_at_the_stations_time() {
    let station = Station::start().await;
    station.feed.publish_all(vec![packet(1), packet(1), packet(2)]);
    let answer = station.get("/api/v1/snapshot").await;
    assert_eq!(status(&answer), 200);
    let live = json(&answer);
    let now = Tai::from_rfc3339(NOW).unwrap().to_unix_nanos() / 1_000_000;
    assert_eq!(live["now_ms"], now);
    assert_eq!(live["full"], true);
    assert_eq!(live["counts"]["packets"], 2);
    assert_eq!(live["counts"]["packet_copies"], 1);
    assert!(live["capture_to_insight_ms"]["p50"].is_null());
}

#[tokio::test]
async fn the_live_stream_sends_everything_then_changes_then_ends_on_stop() {
    let station = Station::start().await;
    station.feed.publish(packet(1));
    let request = "GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut stream = station.send(request).await;
    let first = read_until(&mut stream, "\"packets\":1").await;
    assert!(first.contains("content-type: text/event-stream"), "{first}");
    assert!(first.contains("event: snapshot"), "{first}");
    station.feed.publish(packet(2));
    let second = read_until(&mut stream, "\"packets\":2").await;
    assert!(second.contains("event: change"), "{second}");
    assert!(second.contains("\"full\":false"), "{second}");
    read_until(&mut stream, "event: tick").await;
    station.stop.send(true).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    station.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_foreign_name_is_refused_everywhere() {
    let station = Station::start().await;
    for path in ["/", "/api/v1/snapshot", "/api/v1/live", "/metrics", "/healthz"] {
        let answer = station
            .ask(&format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"))
            .await;
        assert_eq!(status(&answer), 421, "{path}");
        assert!(answer.contains("does not answer to that host name"), "{path}");
    }
}

#[tokio::test]
async fn every_answer_carries_the_security_headers_and_no_cors() {
    let station = Station::start().await;
    for path in ["/", "/api/v1/snapshot", "/api/v1/nothing", "/metrics", "/nothing"] {
        let answer = station
            .ask(&format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\
                 Connection: close\r\n\r\n"
            ))
            .await
            .to_ascii_lowercase();
        assert!(answer.contains("content-security-policy: default-src 'none'"), "{path}");
        assert!(answer.contains("x-content-type-options: nosniff"), "{path}");
        assert!(answer.contains("cache-control: no-store"), "{path}");
        assert!(!answer.contains("access-control-allow"), "{path}");
    }
}

#[tokio::test]
async fn nothing_can_be_written() {
    let station = Station::start().await;
    for (path, method) in [("/", "POST"), ("/api/v1/snapshot", "DELETE"), ("/metrics", "PUT")] {
        let answer = station
            .ask(&format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\
                 Connection: close\r\n\r\n"
            ))
            .await;
        assert_eq!(status(&answer), 405, "{method} {path}");
    }
}

#[tokio::test]
async fn the_page_is_served_or_says_how_to_build_it() {
    let station = Station::start().await;
    let answer = station.get("/").await;
    assert_eq!(status(&answer), 200);
    assert!(answer.contains("text/html"));
    assert_eq!(answer.contains("make build"), !page::built());
    assert_eq!(status(&station.get("/../Cargo.toml").await), 404);
}

#[tokio::test]
async fn health_and_readiness_differ_while_the_archive_is_read() {
    let station = Station::start().await;
    assert_eq!(status(&station.get("/healthz").await), 200);
    assert_eq!(status(&station.get("/readyz").await), 503);
    station.ready.send(true).unwrap();
    assert_eq!(status(&station.get("/readyz").await), 200);
    let wrote = |trouble| Event::DiskWrote { trouble, at: Tai(0) };
    let failed = crate::publish::WriteTrouble::Failed("read-only".into());
    station.feed.publish(wrote(Some(failed)));
    let failing = station.get("/readyz").await;
    assert!(status(&failing) == 503 && failing.contains("disk is failing"), "{failing}");
    station.feed.publish(wrote(None));
    assert_eq!(status(&station.get("/readyz").await), 200);
    let trouble = crate::publish::WriteTrouble::Full("No space left on device".into());
    station.feed.publish(wrote(Some(trouble)));
    let full = station.get("/readyz").await;
    assert!(status(&full) == 503 && full.contains("disk is full: units are refused"), "{full}");
    station.feed.publish(wrote(None));
    assert_eq!(status(&station.get("/readyz").await), 503, "one write that fits is no room");
    station.feed.publish(Event::DiskWrote { trouble: None, at: Tai(30_000_000_000) });
    assert_eq!(status(&station.get("/readyz").await), 200);
}

#[tokio::test]
async fn the_station_stands_on_the_map_without_a_plan_and_a_damaged_plan_is_an_error() {
    let station = Station::start().await;
    let plan = json(&station.get("/api/v1/contacts").await);
    assert_eq!(plan["station"]["name"], "Svalbard");
    assert_eq!(plan["contacts"], serde_json::json!([]));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("contacts.json");
    let station = Station::with_contacts(Some(path.clone())).await;
    assert_eq!(status(&station.get("/api/v1/contacts").await), 200);
    std::fs::write(&path, "not json").unwrap();
    let answer = station.get("/api/v1/contacts").await;
    assert_eq!(status(&answer), 500);
    assert!(json(&answer)["error"].as_str().unwrap().contains("contacts.json"));
}

#[tokio::test]
async fn metrics_are_openmetrics() {
    let station = Station::start().await;
    station.feed.publish(Event::Custody { prefix: None, outcome: Outcome::Received, count: 3 });
    let answer = station.get("/metrics").await;
    assert!(answer.contains("application/openmetrics-text; version=1.0.0"));
    assert!(answer.contains("groundtrack_units_received_total 3\n"));
}

#[tokio::test]
async fn garbage_is_answered_or_closed_and_the_next_one_is_served() {
    let station = Station::start().await;
    let mut stream = station.send("\x16\x03\x01 not http\r\n\r\n").await;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(status(&station.get("/healthz").await), 200);
}

#[tokio::test]
async fn only_so_many_live_streams_are_open() {
    let station = Station::start().await;
    let request = "GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..STREAMS_MAX {
        let mut stream = station.send(request).await;
        read_until(&mut stream, "event: snapshot").await;
        open.push(stream);
    }
    assert_eq!(status(&station.get("/api/v1/live").await), 503);
}

/// An operator `duty`, whose token is `secret`, may command spacecraft 7 of 7 and 8.
fn commanding(dir: &Path) -> Commanding {
    let operator = OperatorConfig {
        name: "duty".into(),
        token: "unused".into(),
        spacecraft: vec![7],
        actions: vec![Action::Command],
    };
    Commanding {
        uplink: Uplink::open(dir, "demo", StationClock::new(0.0)).unwrap(),
        operators: watch::channel(Arc::new([operator.row("secret")].into_iter().collect())).1,
        mission: Arc::new([SpacecraftId(7), SpacecraftId(8)].into()),
    }
}

/// Whatever goes wrong on whatever path, the answer is JSON that says what, and nothing else.
#[tokio::test]
async fn every_error_has_one_shape() {
    let dir = tempfile::tempdir().unwrap();
    let station = Station::with(None, Some(commanding(dir.path()))).await;
    let ask = async |method: &str, path: &str, headers: &str, body: &str| {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: {length}\r\n{headers}\r\n{body}"
        );
        station.ask(&request).await
    };
    let judge = |answer: &str, wanted: u16, what: &str| {
        assert_eq!(status(answer), wanted, "{what}: {answer}");
        assert!(answer.contains("content-type: application/json"), "{what}: {answer}");
        let said = json(answer);
        let words = said["error"].as_str().unwrap_or_else(|| panic!("{what}: {answer}"));
        assert!(words.len() > 10 && said.as_object().unwrap().len() == 1, "{what}: {answer}");
        words.to_owned()
    };
    let below = API.iter().map(|(path, methods, _)| (format!("{PREFIX}{path}"), *methods));
    let beside = BESIDE.iter().map(|(path, methods, _)| (path.to_string(), *methods));
    let page = [("/".to_owned(), &["GET"][..])];
    for (path, methods) in below.chain(beside).chain(page) {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            if methods.contains(&method) {
                continue;
            }
            let answer = ask(method, &path, "", "").await;
            judge(&answer, 405, &format!("{method} {path}"));
            let allow = answer.lines().find_map(|line| line.strip_prefix("allow: ")).unwrap();
            let allow: BTreeSet<&str> =
                allow.trim().split(',').filter(|of| *of != "HEAD").collect();
            assert_eq!(allow, methods.iter().copied().collect(), "{method} {path}");
        }
        let foreign =
            format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
        judge(&station.ask(&foreign).await, 421, &path);
        if path != "/" {
            judge(&ask("GET", &format!("{path}/more"), "", "").await, 404, &path);
        }
    }
    judge(&ask("GET", "/readyz", "", "").await, 503, "the archive is being read");
    let thumbnail = "/api/v1/thumbnail";
    let words = judge(&ask("GET", thumbnail, "", "").await, 400, "no parameter");
    assert!(words.contains("product") && words.contains("?product=ID"), "{words}");
    judge(&ask("GET", &format!("{thumbnail}?product=%FF"), "", "").await, 404, "no such product");
    let json_type = "Content-Type: application/json\r\n";
    let token = format!("{json_type}Authorization: Bearer secret\r\n");
    let other = r#"{"spacecraft":8,"kind":"command","body_base64":""}"#;
    let kind = r#"{"spacecraft":7,"kind":"song","body_base64":""}"#;
    let long = "9".repeat(uplink::REQUEST_BYTES_MAX + 1);
    for (headers, body, wanted) in [
        ("", "{}", 415),
        (json_type, "{", 400),
        (json_type, "{}", 422),
        (json_type, other, 401),
        (&token, other, 403),
        (&token, kind, 400),
        (&token, &long, 413),
    ] {
        let words = judge(&ask("POST", "/api/v1/uplink", headers, body).await, wanted, headers);
        if wanted == 403 {
            let row = "duty may not command for spacecraft 8: its row [[operator]] in the station \
                       file says actions command, spacecraft 7";
            assert!(words.starts_with(row), "{words}");
        }
    }
    let station = Station::start().await;
    judge(&station.get("/api/v1/uplink").await, 404, "no uplink");
}

#[tokio::test]
async fn only_an_operators_token_commands_and_only_what_its_row_allows() {
    let dir = tempfile::tempdir().unwrap();
    let station = Station::with(None, Some(commanding(dir.path()))).await;
    let post = async |headers: &str, body: &str| {
        let (host, length) = (station.address, body.len());
        station
            .ask(&format!(
                "POST /api/v1/uplink HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
                 Content-Length: {length}\r\n{headers}\r\n{body}"
            ))
            .await
    };
    let json_type = "Content-Type: application/json\r\n";
    let token = format!("{json_type}Authorization: Bearer secret\r\n");
    let ask = |craft: u16, more: &str| {
        format!(r#"{{"spacecraft":{craft},"kind":"command","body_base64":"cGluZw=="{more}}}"#)
    };
    for (headers, body, wanted) in [
        (json_type, ask(7, ""), 401),
        (&format!("{json_type}Authorization: Bearer guess\r\n"), ask(7, ""), 401),
        (&token, ask(8, ""), 403),
        // What a page of another origin may send without asking: no JSON content type.
        ("Content-Type: text/plain\r\nAuthorization: Bearer secret\r\n", ask(7, ""), 415),
        (&token, ask(7, r#","expires_s":-1"#), 400),
        (&token, ask(7, r#","other":1"#), 422),
        (&token, "{".into(), 400),
        (&token, ask(7, r#","expires_s":60,"priority":9"#), 202),
    ] {
        let answer = post(headers, &body).await;
        assert_eq!(status(&answer), wanted, "{answer}");
    }
    let list = json(&station.get("/api/v1/uplink").await);
    let objects = list["objects"].as_array().unwrap();
    assert_eq!(objects.len(), 1, "what was denied is not queued");
    assert_eq!((&objects[0]["state"], &objects[0]["priority"]), (&"queued".into(), &9.into()));
    // Another process finds it in the log.
    assert_eq!(commanding(dir.path()).uplink.list().len(), 1);
}

/// What the router serves and what the document lists are the same, in both directions.
#[test]
fn every_route_stands_in_the_document() {
    let document = include_str!("../../../docs/operations.md");
    let (_, section) = document.split_once("\n## Page, API and metrics\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let listed: BTreeSet<(String, String)> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once(" |"))
        .map(|(method, rest)| {
            let path = rest.split('`').nth(1).unwrap().split('?').next().unwrap();
            (method.trim_end_matches('`').to_string(), path.to_string())
        })
        .collect();
    let below = API.iter().map(|(path, methods, _)| (format!("{PREFIX}{path}"), methods));
    let beside = BESIDE.iter().map(|(path, methods, _)| (path.to_string(), methods));
    let served: BTreeSet<(String, String)> = below
        .chain(beside)
        .flat_map(|(path, methods)| methods.iter().map(move |of| (of.to_string(), path.clone())))
        .collect();
    assert_eq!(listed, served);
}

#[tokio::test]
async fn routes_answer_the_methods_they_say_and_no_others() {
    let station = Station::start().await;
    for (path, methods, _) in API.iter().map(|of| (format!("{PREFIX}{}", of.0), of.1, ())) {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            if path.ends_with("/live") && method == "GET" {
                continue;
            }
            let request = format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
            let refused = station.ask(&request).await.starts_with("HTTP/1.0 405");
            assert_eq!(refused, !methods.contains(&method), "{method} {path}");
        }
    }
}
