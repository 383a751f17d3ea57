//! The live stream: everything first, then what changed, at most five times a second.

use super::{Context, Shared, problem::Problem};
use crate::publish::Cursor;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Shortest time between two changes.
const CHANGE_INTERVAL: Duration = Duration::from_millis(200);
/// Longest silence: a reader that hears nothing for several of these knows that it is cut off.
const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// Something with the station's clock beside it.
#[derive(Serialize)]
pub struct Dated<T> {
    /// Milliseconds of UTC since 1970; simulated in a demo.
    pub now_ms: i64,
    /// What it dates.
    #[serde(flatten)]
    pub content: T,
}

#[derive(Serialize)]
struct Tick {}

/// The station's clock as browsers count.
pub fn now_ms(context: &Context) -> i64 {
    (context.clock)().to_unix_nanos().div_euclid(1_000_000)
}

struct Reader {
    shared: Shared,
    cursor: Cursor,
    timer: tokio::time::Interval,
    last_sent: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    /// Waits for the next thing to say; none once the daemon stops.
    ///
    /// Nothing is queued for a slow reader: its next change is computed when it can take it.
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                _ = self.shared.stop.wait_for(|stop| *stop) => return None,
                _ = self.timer.tick() => {}
            }
            let context = &self.shared.context;
            let now_ms = now_ms(context);
            if let Some((content, cursor)) = context.feed.delta(self.cursor) {
                let name = if content.full { "snapshot" } else { "change" };
                self.cursor = cursor;
                return self.say(name, &Dated { now_ms, content });
            }
            if self.last_sent.elapsed() >= TICK_INTERVAL {
                return self.say("tick", &Dated { now_ms, content: Tick {} });
            }
        }
    }

    fn say(&mut self, name: &str, content: &impl Serialize) -> Option<Event> {
        self.last_sent = Instant::now();
        match Event::default().event(name).json_data(content) {
            Ok(event) => Some(event),
            Err(error) => {
                tracing::error!(%error, "the live stream ends: its JSON can't be written");
                None
            }
        }
    }
}

/// `GET /api/v1/live`.
pub async fn live(State(shared): State<Shared>) -> Result<Response, Problem> {
    let permit = shared.streams.clone().try_acquire_owned().map_err(|_| {
        let message = "too many live streams are open; close a page and try again";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, message)
    })?;
    let mut timer = interval(CHANGE_INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let reader = Reader {
        shared,
        cursor: Cursor::default(),
        timer,
        last_sent: Instant::now(),
        _permit: permit,
    };
    let events = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    Ok(Sse::new(events).into_response())
}
