//! Spans to a collector over HTTP, whenever there are some and it is there.

use super::clock::StationClock;
use crate::{
    archive::{Archived, record::Position},
    pool::https::{Site, header},
    process::Outcome,
    publish::Event,
    telemetry::{
        Span, otlp,
        otlp::Teller,
        queue::{Counts, Queue, Verdict},
        units::Units,
    },
};
use codecs::{ids::Codec, time::Tai};
use reqwest::{Method, header::HeaderMap};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// Time for an answer of the collector.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Time that a stop gives the last spans.
const FAREWELL: Duration = Duration::from_secs(2);

/// Most bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Where spans go. Locks are held for a few instructions, and never over the network.
#[derive(Clone)]
pub struct Telemetry(Arc<Shared>);

struct Shared {
    units: Mutex<Units>,
    queue: Mutex<Queue>,
    site: Site,
    teller: Teller,
    clock: StationClock,
    /// Something was put into an empty queue.
    wake: Notify,
    /// Held by who asks the collector.
    asking: tokio::sync::Mutex<()>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Telemetry {
    /// Tells a collector at an address, such as `http://localhost:4318`; the address was checked
    /// with the station file. Needs a runtime.
    pub fn start(url: &str, teller: Teller, clock: StationClock) -> Result<Self, String> {
        let shared = Arc::new(Shared {
            units: Mutex::default(),
            queue: Mutex::default(),
            site: site(url)?,
            teller,
            clock,
            wake: Notify::new(),
            asking: tokio::sync::Mutex::default(),
        });
        let weak = Arc::downgrade(&shared);
        tokio::spawn(async move {
            // Ends with the last who has something to tell.
            while let Some(shared) = weak.upgrade() {
                shared.turn().await;
            }
        });
        Ok(Self(shared))
    }

    /// Hears of a commit.
    pub fn committed(&self, end: Position, synced: Tai) {
        lock(&self.0.units).committed(end, synced, self.0.clock.tai());
    }

    /// Hears what a unit led to; nothing is done for one that led to no product and no work.
    pub fn interpreted(&self, unit: &Archived, outcome: &Outcome) {
        if outcome.work.is_empty() && unit.codec != Codec::Product {
            return;
        }
        let now = self.0.clock.tai();
        for work in &outcome.work {
            lock(&self.0.units).led_to(unit, &work.about, now);
        }
        if !outcome.work.is_empty() || unit.replayed {
            return;
        }
        let ids = outcome.events.iter().filter_map(|event| match event {
            Event::Product { id, .. } => Some(id),
            _ => None,
        });
        for id in ids {
            let spans = lock(&self.0.units).spans(unit, id, now);
            self.offer(spans);
        }
    }

    /// Work of a trace was accepted.
    pub fn accepted(&self, trace: u128) {
        let spans = lock(&self.0.units).accepted(trace);
        self.offer(spans);
    }

    /// Takes spans; never waits.
    pub fn offer(&self, spans: Vec<Span>) {
        if spans.is_empty() {
            return;
        }
        lock(&self.0.queue).offer(spans, self.0.clock.tai());
        self.0.wake.notify_one();
    }

    /// What became of spans.
    pub fn counts(&self) -> Counts {
        lock(&self.0.queue).counts()
    }

    /// Tells what is left, for a moment.
    pub async fn finish(&self) {
        let rest = async {
            let _asking = self.0.asking.lock().await;
            loop {
                let batch = lock(&self.0.queue).batch(None);
                let Some(batch) = batch else { return };
                if !self.0.tell(&batch).await {
                    return;
                }
            }
        };
        if tokio::time::timeout(FAREWELL, rest).await.is_err() {
            tracing::debug!("the collector takes too long: the last spans are not told");
        }
        let left = self.counts().waiting;
        if left > 0 {
            tracing::warn!(spans = left, "the collector did not take the last spans");
        }
    }
}

/// The collector's address, or what is wrong with it.
pub fn site(url: &str) -> Result<Site, String> {
    // Spans hold no credentials, nor what pools are asked: plain HTTP is what collectors listen to.
    Site::new(url, true)
}

impl Shared {
    /// Tells what is due, then waits for more.
    async fn turn(&self) {
        let asking = self.asking.lock().await;
        let now = self.clock.tai();
        let (batch, next) = {
            let mut queue = lock(&self.queue);
            (queue.batch(Some(now)), queue.next())
        };
        if let Some(batch) = batch {
            self.tell(&batch).await;
            return;
        }
        drop(asking);
        let pause = match next {
            Some(at) => Duration::from_nanos(at.since(now).max(0).unsigned_abs()),
            // Now and then, to see whether anybody is left who could tell something.
            None => Duration::from_secs(1),
        };
        tokio::select! {
            () = self.wake.notified(), if next.is_none() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Asks the collector to take spans; whether it did.
    async fn tell(&self, spans: &[Span]) -> bool {
        let body = otlp::encode(&self.teller, spans);
        let asked = tokio::time::timeout(ANSWER_TIMEOUT, self.ask(body)).await;
        let silent = || (Verdict::Again { after_ns: None }, "no answer".to_owned());
        let (verdict, said) = asked.unwrap_or_else(|_| silent());
        let news = lock(&self.queue).answered(&verdict, self.clock.tai());
        match &verdict {
            Verdict::Taken { refused: 0 } if news => tracing::info!("the collector answers again"),
            Verdict::Taken { refused: 0 } => {}
            Verdict::Taken { refused } => {
                tracing::warn!(refused, "the collector would not take spans: {said}");
            }
            Verdict::Again { .. } if news => {
                tracing::warn!("the collector does not take spans, they wait: {said}");
            }
            Verdict::Again { .. } => tracing::debug!("the collector: {said}"),
            Verdict::Never => tracing::warn!("the collector refuses spans for good: {said}"),
        }
        matches!(verdict, Verdict::Taken { .. })
    }

    async fn ask(&self, body: Vec<u8>) -> (Verdict, String) {
        let again = |said: String| (Verdict::Again { after_ns: None }, said);
        let mut headers = HeaderMap::new();
        let typed = header(&mut headers, "content-type", otlp::CONTENT_TYPE);
        let url = match typed.and_then(|()| self.site.url(otlp::PATH)) {
            Ok(url) => url,
            Err(error) => return again(error.said),
        };
        let answer = match self.site.send(Method::POST, url, headers, body.into()).await {
            Ok(answer) => answer,
            Err(error) => return again(error.said),
        };
        let (status, after) = (answer.status(), answer.header("retry-after"));
        let after = after.and_then(|after| after.trim().parse::<u32>().ok());
        let after_ns = after.map(|seconds| i64::from(seconds) * 1_000_000_000);
        match status {
            200..=299 => {
                let answer = answer.whole(ANSWER_BYTES_MAX).await.unwrap_or_default();
                let (refused, said) = otlp::refused(&answer);
                (Verdict::Taken { refused }, said)
            }
            // Those that the protocol names as worth another try.
            429 | 502 | 503 | 504 => (Verdict::Again { after_ns }, format!("status {status}")),
            _ => (Verdict::Never, format!("status {status}")),
        }
    }
}
