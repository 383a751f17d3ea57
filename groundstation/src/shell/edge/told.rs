//! Where the edge's state is told: a file, and a page on loopback.

use crate::edge::{config::StatusConfig, tally::Tally};
use anyhow::Context as _;
use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

type Latest = Arc<Mutex<Tally>>;

/// See the module.
pub struct Told {
    file: Option<PathBuf>,
    latest: Latest,
}

impl Told {
    /// Starts to tell; where the page listens, if it does.
    pub async fn start(
        config: &StatusConfig,
        path: impl Fn(&Path) -> PathBuf,
    ) -> anyhow::Result<(Self, Option<SocketAddr>)> {
        let told =
            Self { file: config.file.as_ref().map(|file| path(file)), latest: Latest::default() };
        let Some(address) = config.http else { return Ok((told, None)) };
        let listener = listen(address)?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let at = listener.local_addr()?;
        let router = Router::new()
            .route("/status", get(status))
            .route("/metrics", get(metrics))
            .with_state(told.latest.clone());
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!("the status page ended: {error}");
            }
        });
        Ok((told, Some(at)))
    }

    /// Tells how things stand.
    pub fn tell(&self, tally: &Tally) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = tally.clone();
        let Some(file) = &self.file else { return };
        // Replaced whole: a reader never sees half of it.
        let fresh = file.with_extension("new");
        let written = serde_json::to_vec(tally)
            .map_err(std::io::Error::from)
            .and_then(|bytes| std::fs::write(&fresh, bytes))
            .and_then(|()| std::fs::rename(&fresh, file));
        if let Err(error) = written {
            tracing::warn!(%error, file = %file.display(), "the status was not written");
        }
    }
}

/// Listens for the page.
pub fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).with_context(|| format!("status.http = {address}"))
}

async fn status(State(latest): State<Latest>) -> impl IntoResponse {
    let tally = latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
    axum::Json(tally)
}

async fn metrics(State(latest): State<Latest>) -> impl IntoResponse {
    let text = latest.lock().unwrap_or_else(PoisonError::into_inner).metrics();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
