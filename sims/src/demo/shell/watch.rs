//! Looks at the station's own API: what the page shows is what the demonstration tells.

use crate::demo::summary::Told;
use anyhow::{Context, ensure};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one look may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest snapshot taken.
const MAX_BYTES: usize = 64 << 20;

/// One look at the station.
pub async fn look(address: SocketAddr) -> anyhow::Result<Told> {
    let snapshot = timeout(TIMEOUT, get(address, "/api/v1/snapshot"))
        .await
        .context("the station's API did not answer in time")??;
    Ok(Told::from_snapshot(&snapshot))
}

/// Gets one JSON document.
async fn get(address: SocketAddr, path: &str) -> anyhow::Result<Value> {
    let stream = TcpStream::connect(address).await.context("connecting to the station's API")?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = hyper::Request::get(path)
        .header(hyper::header::HOST, address.to_string())
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    ensure!(status.is_success(), "{path} answers {status}");
    let body = Limited::new(response.into_body(), MAX_BYTES).collect().await;
    driver.abort();
    let body = body.map_err(|error| anyhow::anyhow!("reading {path}: {error}"))?.to_bytes();
    serde_json::from_slice(&body).with_context(|| format!("{path} is no JSON"))
}
