//! Doubles of vendors' services, written after their published references and held against their
//! own client libraries. How one behaves is told by the name of the model that is asked.

mod openai;
mod anthropic;
mod aws;
mod aws_streams;
mod screen;

pub use aws::{KEY_ID, SECRET};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The one key that is good.
pub const KEY: &str = "good-key";

/// What every double answers where a schema is asked for.
pub const ANSWER: &str = r#"{"fires":2,"where":"north"}"#;

/// Words that every double answers where none is.
pub const WORDS: &str = "Two fires in the north.";

/// What is asked of the models that fail, and how.
pub const SAID: &str = "What burns?";

/// A server of all doubles, and what it saw.
pub struct Doubles {
    /// Its address.
    pub url: String,
    /// What was asked, in order.
    pub asked: Arc<Mutex<Vec<Asked>>>,
    /// Hears when an endless answer is given up by whoever asked.
    pub given_up: UnboundedReceiver<()>,
    server: tokio::task::JoinHandle<()>,
}

/// A question as a double saw it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Path.
    pub path: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, where it is JSON.
    pub body: Value,
}

impl Drop for Doubles {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// What handlers share.
#[derive(Clone)]
pub struct Shared {
    asked: Arc<Mutex<Vec<Asked>>>,
    tell: UnboundedSender<()>,
}

impl Shared {
    /// Notes a question.
    fn note(&self, path: &str, headers: &HeaderMap, body: &[u8]) -> Value {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let (path, headers) = (path.to_owned(), headers.clone());
        self.asked.lock().unwrap().push(Asked { path, headers, body: body.clone() });
        body
    }

    /// An answer of events; one that never ends repeats its last.
    fn events(&self, events: Vec<String>, endless: bool) -> Response {
        let events = events.into_iter().map(Bytes::from).collect();
        self.pieces(events, "text/event-stream; charset=utf-8", endless)
    }

    /// The same of pieces of any kind.
    fn pieces(&self, events: Vec<Bytes>, kind: &'static str, endless: bool) -> Response {
        let last = events.last().cloned().unwrap_or_default();
        let told = Told(self.tell.clone());
        let more = stream::unfold((told, last), move |(told, last)| async move {
            if !endless {
                return None;
            }
            // Paced, so that who waits for a deadline meets that and not the bound on bytes.
            tokio::time::sleep(Duration::from_millis(1)).await;
            Some((last.clone(), (told, last)))
        });
        let body = stream::iter(events).chain(more);
        let body = Body::from_stream(body.map(Ok::<_, Infallible>));
        ([(header::CONTENT_TYPE, kind)], body).into_response()
    }
}

/// Tells when it is dropped: the server drops an answer when its connection goes.
struct Told(UnboundedSender<()>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl Doubles {
    /// Starts them on a free port.
    pub async fn start() -> Self {
        let (tell, given_up) = unbounded_channel();
        let shared = Shared { asked: Arc::default(), tell };
        let asked = Arc::clone(&shared.asked);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new()
            .merge(openai::routes())
            .merge(anthropic::routes())
            .merge(aws::routes())
            .merge(aws_streams::routes())
            .merge(screen::routes())
            .layer(axum::extract::DefaultBodyLimit::max(64 << 20))
            .with_state(shared);
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, asked, given_up, server }
    }

    /// The question that was asked last.
    pub fn last(&self) -> Asked {
        self.asked.lock().unwrap().last().cloned().unwrap()
    }
}

/// An error as a vendor states it.
fn error(status: u16, headers: &[(&'static str, &'static str)], body: Value) -> Response {
    let mut response = (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}

/// How a double that is asked for a model behaves; the statuses and codes are each vendor's own.
fn failing(model: &str) -> Option<(u16, &'static str, &'static str)> {
    Some(match model {
        "busy" => (429, "rate", "Too many requests, slow down"),
        "overloaded" => (529, "overloaded", "Overloaded"),
        "poor" => (429, "quota", "You exceeded your current quota, please check your plan"),
        "unpaid" => (400, "request", "Your credit balance is too low to access the API"),
        "broken" => (500, "server", "The server had an error"),
        "forbidden" => (400, "policy", "Your request was rejected by our content policy"),
        _ => return None,
    })
}

/// Whether parts of the last turn hold a picture that is really there.
fn is_png(encoded: &Value) -> bool {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let bytes = encoded.as_str().and_then(|text| STANDARD.decode(text).ok());
    bytes.is_some_and(|bytes| bytes.starts_with(b"\x89PNG"))
}

/// Refuses what no reference allows: fields that are missing or unknown.
fn only(body: &Value, needed: &[&str], allowed: &[&str]) -> Result<(), String> {
    let Some(fields) = body.as_object() else { return Err("the body is no object".into()) };
    if let Some(missing) = needed.iter().find(|key| !fields.contains_key(**key)) {
        return Err(format!("{missing}: field required"));
    }
    let known = |key: &str| needed.contains(&key) || allowed.contains(&key);
    match fields.keys().find(|key| !known(key)) {
        Some(unknown) => Err(format!("{unknown}: extra inputs are not permitted")),
        None => Ok(()),
    }
}

/// The text in pieces, as models say it.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive([' ', ','])
}

/// Two numbers that every double states as its usage.
fn tokens() -> (u64, u64) {
    (42, 7)
}

fn json_error(kind: &str, code: Value, message: &str) -> Value {
    json!({ "error": { "message": message, "type": kind, "param": null, "code": code } })
}
