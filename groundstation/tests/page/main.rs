//! The page in a real browser, over invented events: does it show what was published?
//!
//! Skipped, with the reason, where the front end isn't built in or there is no browser.
//! `cargo test -p groundstation --test page -- --ignored --nocapture` serves the same for people
//! and developers of the page for half an hour, on port 7180 (or `PAGE_PORT`).

mod invented;
mod orbit;

use codecs::time::Tai;
use groundstation::api::{Context, serve};
use groundstation::publish::Feed;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Seconds of the pass that lie behind when the page opens.
const BEHIND_S: i64 = 155;

struct Fixture {
    url: String,
    _folder: tempfile::TempDir,
    _stop: watch::Sender<bool>,
    _ready: watch::Sender<bool>,
}

fn clock() -> Tai {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    Tai::from_unix(now.as_secs() as i64, now.subsec_nanos())
}

async fn start(port: u16) -> Fixture {
    let rise = clock().plus(-BEHIND_S * 1_000_000_000);
    let middle = rise.plus((-orbit::rise() * 1e9) as i64);
    let folder = tempfile::tempdir().expect("a folder");
    let contacts = folder.path().join("contacts.json");
    std::fs::write(&contacts, orbit::plan(middle).to_string()).expect("a plan");

    let feed = Feed::default();
    feed.publish(invented::mission());
    feed.publish(invented::opened(rise));
    for second in 0..BEHIND_S {
        feed.publish_all(invented::second(second, middle));
    }
    let teller = feed.clone();
    tokio::spawn(async move {
        let mut timer = tokio::time::interval(Duration::from_secs(1));
        for second in BEHIND_S.. {
            timer.tick().await;
            teller.publish_all(invented::second(second, middle));
        }
    });

    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (stop, stopped) = watch::channel(false);
    let (ready, is_ready) = watch::channel(true);
    let context = Context {
        feed,
        clock: Arc::new(clock),
        station: None,
        contacts: watch::channel(Some(contacts)).1,
        ready: is_ready,
        host_names: Vec::new(),
        uplink: None,
        look: None,
    };
    tokio::spawn(serve(listener, context, stopped));
    Fixture { url, _folder: folder, _stop: stop, _ready: ready }
}

fn web() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("web")
}

/// Why the browser can't be used here, if so.
fn missing() -> Option<&'static str> {
    if !web().join("dist/index.html").exists() {
        return Some("the front end is not built (make build)");
    }
    if !web().join("node_modules/playwright-core").exists() {
        return Some("playwright-core is not installed (npm ci in groundstation/web)");
    }
    let browsers = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    let named = std::env::var_os("CHROMIUM").is_some();
    let found = named || browsers.iter().any(|browser| Path::new(browser).exists());
    (!found).then_some("no chromium is installed")
}

#[tokio::test]
async fn a_browser_shows_what_was_published() {
    if let Some(reason) = missing() {
        eprintln!("skipped: {reason}");
        return;
    }
    let fixture = start(0).await;
    let picture = fixture._folder.path().join("page.png");
    let output = tokio::process::Command::new("node")
        .arg("test/browser.js")
        .arg(&fixture.url)
        .arg(&picture)
        .current_dir(web())
        .output()
        .await
        .expect("node runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", String::from_utf8_lossy(&output.stdout));
    assert!(std::fs::metadata(&picture).expect("a picture").len() > 20_000);
}

#[tokio::test]
#[ignore = "serves for half an hour, for people"]
async fn serve_for_people() {
    let port = std::env::var("PAGE_PORT").ok().and_then(|port| port.parse().ok());
    let fixture = start(port.unwrap_or(7180)).await;
    eprintln!("{}", fixture.url);
    tokio::time::sleep_until((Instant::now() + Duration::from_secs(1800)).into()).await;
}
