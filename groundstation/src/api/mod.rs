//! The page and its API, over loopback until told otherwise.
//!
//! ```text
//! guard (who may ask) ─► page (embedded front end) | live (snapshot, changes) | contacts | metrics | uplink
//! ```
//!
//! Everything is read-only but uplink, which takes an operator's token. There is no CORS: other origins can't read what is here, and the guard
//! refuses names that a rebinding resolver could have pointed at loopback.

mod problem;
mod guard;
mod page;
mod stream;
mod contacts;
mod metrics;
mod uplink;

pub use contacts::Station;
pub use uplink::{Asked, Commanding};

use crate::publish::Feed;
use crate::shell::work::Look;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router, middleware};
use codecs::time::Tai;
use problem::Problem;
use serde::Deserialize;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// Live streams open at once; a further one is answered 503 and tries again.
const STREAMS_MAX: usize = 32;

/// What the API reads.
#[derive(Clone)]
pub struct Context {
    /// Live state.
    pub feed: Feed,
    /// The station's clock; simulated in a demo.
    pub clock: Arc<dyn Fn() -> Tai + Send + Sync>,
    /// Where the station stands, for the map when there is no contact plan.
    pub station: Option<Station>,
    /// The contact plan, a JSON file read anew at each request.
    pub contacts: watch::Receiver<Option<PathBuf>>,
    /// True once the daemon takes units.
    pub ready: watch::Receiver<bool>,
    /// Host names to answer to, beside addresses and `localhost`.
    pub host_names: Vec<String>,
    /// Where operators command, in a station that has an uplink.
    pub uplink: Option<Commanding>,
    /// Who can be asked how the router stands.
    pub look: Option<Look>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("contacts", &self.contacts)
            .field("host_names", &self.host_names)
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Shared {
    context: Arc<Context>,
    stop: watch::Receiver<bool>,
    streams: Arc<Semaphore>,
}

/// Serves until `stop` turns true (or its sender is gone), then ends open streams and returns.
pub async fn serve(
    listener: TcpListener,
    context: Context,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut stopped = stop.clone();
    let shared =
        Shared { context: Arc::new(context), stop, streams: Arc::new(Semaphore::new(STREAMS_MAX)) };
    axum::serve(listener, router(shared))
        .with_graceful_shutdown(async move {
            // An error means the sender is gone, which is a stop too.
            let _ = stopped.wait_for(|stop| *stop).await;
        })
        .await
}

/// Path, methods, and what answers.
type Route = (&'static str, &'static [&'static str], fn() -> MethodRouter<Shared>);

/// Where the API's paths begin.
const PREFIX: &str = "/api/v1";

/// Below [`PREFIX`]; `docs/operations.md` lists each, and a test holds it to that.
const API: &[Route] = &[
    ("/snapshot", &["GET"], || get(snapshot)),
    ("/live", &["GET"], || get(stream::live)),
    ("/contacts", &["GET"], || get(contacts::contacts)),
    ("/thumbnail", &["GET"], || get(thumbnail)),
    ("/pools", &["GET"], || get(pools)),
    ("/uplink", &["GET", "POST"], || get(uplink::list).post(uplink::send)),
];

/// Beside the API.
const BESIDE: &[Route] = &[
    ("/healthz", &["GET"], || get(|| async { "alive\n" })),
    ("/readyz", &["GET"], || get(ready)),
    ("/metrics", &["GET"], || get(metrics::metrics)),
];

fn router(shared: Shared) -> Router {
    let routed = |router: Router<Shared>, part: &'static [Route]| {
        part.iter().fold(router, |router, (path, _, handler)| router.route(path, handler()))
    };
    let api = routed(Router::new(), API)
        .layer(axum::extract::DefaultBodyLimit::max(uplink::REQUEST_BYTES_MAX))
        .method_not_allowed_fallback(problem::method_not_allowed)
        .fallback(problem::no_such_thing);
    routed(Router::new(), BESIDE)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .nest(PREFIX, api)
        .fallback(page::asset)
        .layer(middleware::from_fn_with_state(shared.clone(), guard::guard))
        .with_state(shared)
}

async fn snapshot(State(shared): State<Shared>) -> Response {
    let now_ms = stream::now_ms(&shared.context);
    Json(stream::Dated { now_ms, content: shared.context.feed.snapshot() }).into_response()
}

/// How the router stands: pools, what waits, what was spent.
async fn pools(State(shared): State<Shared>) -> Result<Response, Problem> {
    let view = match &shared.context.look {
        Some(look) => look.ask().await,
        None => None,
    };
    match view {
        Some(view) => Ok(Json(view).into_response()),
        None => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the router has ended")),
    }
}

#[derive(Deserialize)]
struct ThumbnailQuery {
    product: String,
}

async fn thumbnail(
    State(shared): State<Shared>,
    query: Result<Query<ThumbnailQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let usage = "/api/v1/thumbnail?product=ID";
    let query = query.map_err(|rejection| Problem::of_query(&rejection, usage))?;
    let kept = shared.context.feed.thumbnail(&query.product);
    let png = kept.ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "no thumbnail of that product is kept here")
    })?;
    Ok(([(header::CONTENT_TYPE, "image/png")], png).into_response())
}

async fn ready(State(shared): State<Shared>) -> Result<&'static str, Problem> {
    let unavailable = |text: &str| Problem::new(StatusCode::SERVICE_UNAVAILABLE, text);
    if !*shared.context.ready.borrow() {
        return Err(unavailable("starting: the archive is being read; ask again"));
    }
    let disk = shared.context.feed.disk();
    if disk.state.takes_units() {
        return Ok("ready\n");
    }
    let advice = disk.advice.unwrap_or("?");
    Err(unavailable(&format!("the archive's disk is {}: {advice}", disk.state)))
}

#[cfg(test)]
mod tests;
