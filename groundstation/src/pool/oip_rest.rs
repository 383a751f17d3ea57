//! A pool behind the Open Inference Protocol over REST: ours, MLServer, Triton, KServe, OpenVINO.
//!
//! What the server can do is asked once a connection epoch: whether it takes raw tensors stands in
//! its metadata. Plain HTTP only; a pool across a network belongs behind a tunnel or a proxy that
//! ends TLS.

use super::oip::{self, BINARY_EXTENSION, BODY_BYTES_MAX, Body, JSON_LENGTH_HEADER};
use super::{Cause, Output, Pool, PoolError, PoolInfo, Request, Response, Usage};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;

/// Time for a connection and for metadata; a pool that takes longer counts as not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait that a server's Retry-After is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Most letters of a server's error that are repeated.
const ERROR_LETTERS_MAX: usize = 300;

/// Where a server is: host and port of a plain HTTP address, and a path before `/v2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    authority: String,
    path: String,
}

impl Place {
    /// Reads `http://HOST:PORT[/PATH]`.
    pub fn parse(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("http://").ok_or_else(|| {
            format!("{url:?}: a pool's address begins with http:// (put TLS in front of it)")
        })?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let port = authority.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        let authority = match port {
            Some(Ok(_)) => authority.to_owned(),
            _ if authority.is_empty() => return Err(format!("{url:?}: no host")),
            _ => format!("{authority}:80"),
        };
        let path = path.trim_end_matches('/');
        let path = path.strip_suffix("v2").unwrap_or(path).trim_end_matches('/');
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Self { authority, path })
    }
}

/// A pool at an address.
pub struct OipRest {
    name: String,
    place: Place,
    /// Task contract to the server's name of a model.
    models: BTreeMap<String, String>,
    /// Whether the server takes raw tensors; unknown until it said so.
    binary: Mutex<Option<bool>>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    extensions: Vec<String>,
}

#[derive(Deserialize)]
struct ServerError {
    #[serde(alias = "detail", alias = "message")]
    error: serde_json::Value,
}

struct Reply {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: Body,
}

impl OipRest {
    /// A pool by its name in the station file, its address, and what it calls the tasks' models.
    pub fn new(name: &str, url: &str, models: BTreeMap<String, String>) -> Result<Self, String> {
        let place = Place::parse(url)?;
        Ok(Self { name: name.to_owned(), place, models, binary: Mutex::new(None) })
    }

    /// Whether the server is there and ready.
    pub async fn ready(&self) -> Result<(), PoolError> {
        let reply = self.send(Method::GET, "/v2/health/ready", Body::empty(), "", CONNECT_TIMEOUT);
        let reply = reply.await?;
        if reply.status.is_success() { Ok(()) } else { Err(verdict(&reply)) }
    }

    /// Whether raw tensors may be sent.
    async fn takes_binary(&self) -> Result<bool, PoolError> {
        let known = *self.binary.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known {
            return Ok(known);
        }
        let reply = self.send(Method::GET, "/v2", Body::empty(), "", CONNECT_TIMEOUT).await?;
        if !reply.status.is_success() {
            return Err(verdict(&reply));
        }
        let metadata: Option<Metadata> = serde_json::from_slice(&reply.body.bytes).ok();
        let takes = metadata.is_some_and(|metadata| {
            metadata.extensions.iter().any(|name| name == BINARY_EXTENSION)
        });
        *self.binary.lock().unwrap_or_else(PoisonError::into_inner) = Some(takes);
        Ok(takes)
    }

    async fn ask(&self, request: &Request) -> Result<Response, PoolError> {
        let model = self.models.get(&request.task).ok_or_else(|| {
            PoolError::bad_request(format!("pool {} has no model for {}", self.name, request.task))
        })?;
        let binary = self.takes_binary().await?;
        let body = oip::write_question(&request.idempotency_key, request.input.tensors(), binary);
        let path = format!("/v2/models/{model}/infer");
        let key = &request.idempotency_key;
        let reply = self.send(Method::POST, &path, body, key, request.time_left).await?;
        if !reply.status.is_success() {
            return Err(verdict(&reply));
        }
        let answer = oip::read_answer(&reply.body)
            .map_err(|error| PoolError::contract(format!("answer of {model}: {error}")))?;
        let output = Output::Tensors(answer.outputs);
        Ok(Response { model: answer.model, output, usage: Usage::default() })
    }

    /// One request on a connection of its own, within a time.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Body,
        key: &str,
        time: Duration,
    ) -> Result<Reply, PoolError> {
        let sent = tokio::time::timeout(time, self.exchange(method, path, body, key)).await;
        let result = sent.unwrap_or(Err(PoolError::deadline()));
        if matches!(&result, Err(error) if error.cause == Cause::Unavailable) {
            // What comes back at this address may be another server.
            *self.binary.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        result
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Body,
        key: &str,
    ) -> Result<Reply, PoolError> {
        let gone = |what: &str, error: &dyn std::fmt::Display| {
            PoolError::unavailable(format!("{what} {}: {error}", self.place.authority))
        };
        let connect = TcpStream::connect(&self.place.authority);
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect)
            .await
            .map_err(|_| gone("no connection to", &"timed out"))?
            .map_err(|error| gone("no connection to", &error))?;
        let _ = stream.set_nodelay(true);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| gone("no HTTP with", &error))?;
        // Dropping the request drops the connection with it: the server sees that it is given up.
        let driver = AbortOnDrop(tokio::spawn(connection));
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.place.path))
            .header(HOST, &self.place.authority);
        if !body.bytes.is_empty() {
            let kind = if body.json_length.is_some() {
                "application/octet-stream"
            } else {
                "application/json"
            };
            request = request.header(CONTENT_TYPE, kind).header(CONTENT_LENGTH, body.bytes.len());
        }
        if let Some(length) = body.json_length {
            request = request.header(JSON_LENGTH_HEADER, length);
        }
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        let request = request
            .body(Full::new(body.bytes))
            .map_err(|error| PoolError::bad_request(error.to_string()))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| gone("connection lost to", &error))?;
        let (parts, body) = response.into_parts();
        let header = |name: &str| parts.headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
        let json_length = header(JSON_LENGTH_HEADER).map(|length| length as usize);
        let retry_after = header(RETRY_AFTER.as_str()).map(Duration::from_secs);
        let bytes = Limited::new(body, BODY_BYTES_MAX).collect().await;
        let bytes: Bytes = match bytes {
            Ok(bytes) => bytes.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                let message = format!("answer of more than {BODY_BYTES_MAX} bytes");
                return Err(PoolError::contract(message));
            }
            Err(error) => return Err(gone("answer cut short by", &error)),
        };
        drop(driver);
        let retry_after = retry_after.map(|wait| wait.min(RETRY_AFTER_MAX));
        Ok(Reply { status: parts.status, retry_after, body: Body { bytes, json_length } })
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What an error status means: who has to change something for it to work.
fn verdict(reply: &Reply) -> PoolError {
    let text = match serde_json::from_slice::<ServerError>(&reply.body.bytes) {
        Ok(ServerError { error: serde_json::Value::String(text) }) => text,
        Ok(ServerError { error }) => error.to_string(),
        Err(_) => String::from_utf8_lossy(&reply.body.bytes).into_owned(),
    };
    let text: String = text.chars().take(ERROR_LETTERS_MAX).collect();
    let reason = format!("{} {text}", reply.status.as_u16()).trim_end().to_owned();
    match reply.status {
        StatusCode::TOO_MANY_REQUESTS => PoolError::overloaded(reason, reply.retry_after),
        StatusCode::SERVICE_UNAVAILABLE if reply.retry_after.is_some() => {
            PoolError::overloaded(reason, reply.retry_after)
        }
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY => PoolError::unavailable(reason),
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => PoolError::failed(reason),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => PoolError::auth(reason),
        StatusCode::PAYMENT_REQUIRED => PoolError::quota(reason, reply.retry_after),
        status if status.is_server_error() => PoolError::failed(reason),
        _ => PoolError::bad_request(reason),
    }
}

impl Pool for OipRest {
    fn describe(&self) -> PoolInfo {
        PoolInfo {
            name: self.name.clone(),
            kind: "oip-rest",
            tasks: self.models.keys().cloned().collect(),
        }
    }

    fn infer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, PoolError>> {
        Box::pin(self.ask(request))
    }
}

impl Body {
    /// Nothing.
    pub fn empty() -> Self {
        Self { bytes: Bytes::new(), json_length: None }
    }
}

#[cfg(test)]
mod tests;
