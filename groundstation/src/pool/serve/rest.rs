//! The Open Inference Protocol over REST, with the binary extension.

use super::models::{Fault, Model, Models, RETRY_AFTER_S};
use super::reading::{Reading, Unread};
use super::tls::{Connection, Incoming};
use crate::pool::body::{JOINED_BYTES_MAX, Parts, Ungathered, gather};
use crate::pool::oip::{
    self, BINARY_EXTENSION, BODY_BYTES_MAX, Body, JSON_LENGTH_HEADER, OipError, Question, Written,
};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use hyper::body::{self, Body as HttpBody, Frame, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use serde_json::{Value, json};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::codegen::Service as _;

const JSON_LENGTH: HeaderName = HeaderName::from_static(JSON_LENGTH_HEADER);

/// Time for the head of a question, and for a connection that is kept without one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves until told to stop; then answers what is being asked.
pub async fn serve(
    incoming: impl Into<Incoming>,
    models: Arc<Models>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let mut incoming = incoming.into();
    let app = routes(Arc::clone(&models));
    let (stopping, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            accepted = incoming.next() => {
                let Some(stream) = accepted else { break };
                let (app, models) = (app.clone(), Arc::clone(&models));
                connections.spawn(connection(stream, app, models, stopped.clone()));
            }
            Some(_) = connections.join_next() => {}
            () = &mut stop => break,
        }
    }
    drop((incoming, stopping));
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Serves a connection to its end, or to the end of what it asks when told to stop. Questions go
/// straight to their model: finding the way through all routes takes as long as answering a small
/// one.
async fn connection(
    stream: Connection,
    app: Router,
    models: Arc<Models>,
    mut stopped: watch::Receiver<()>,
) {
    let service = service_fn(move |request: Request<body::Incoming>| {
        let (mut app, models) = (app.clone(), Arc::clone(&models));
        async move {
            let post = request.method() == Method::POST;
            if let Some(name) = asked_model(request.uri().path()).filter(|_| post) {
                let found = models.find(name, "").cloned();
                let (parts, body) = request.into_parts();
                let answer = infer_body(&models, found, &parts.headers, body).await;
                return Ok(match answer {
                    Ok(answer) => answer.map(Answered::Tensors),
                    Err(refused) => refused.map(Answered::Other),
                });
            }
            let answer = app.call(request.map(axum::body::Body::new)).await;
            answer.map(|answer| answer.map(Answered::Other))
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let server = server.serve_connection(TokioIo::new(stream), service);
    let mut server = std::pin::pin!(server);
    let stopped = async { while stopped.changed().await.is_ok() {} };
    let ended = tokio::select! {
        ended = server.as_mut() => ended,
        () = stopped => {
            server.as_mut().graceful_shutdown();
            server.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
}

/// What a connection is answered with: tensors as they are, which costs a small question a tenth
/// less than what all else comes in.
enum Answered {
    Tensors(Parts),
    Other(axum::body::Body),
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.get_mut() {
            Self::Tensors(parts) => {
                Pin::new(parts).poll_frame(cx).map_err(|nothing| match nothing {})
            }
            Self::Other(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Tensors(parts) => parts.is_end_stream(),
            Self::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Tensors(parts) => parts.size_hint(),
            Self::Other(body) => body.size_hint(),
        }
    }
}

/// The model that a question without a version is for, where its name is as it stands in the path.
pub(super) fn asked_model(path: &str) -> Option<&str> {
    let path = path.strip_prefix("/v2/models/")?;
    path.strip_suffix("/infer").filter(|name| !name.contains(['/', '%']))
}

type Shared = State<Arc<Models>>;

/// Name of a model, and its version where the path has one.
#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    version: String,
}

/// What is answered besides questions to models, and those that name a version.
pub(super) fn routes(models: Arc<Models>) -> Router {
    let model = Router::new()
        .route("/", get(model_metadata))
        .route("/ready", get(model_ready))
        .route("/infer", post(infer));
    Router::new()
        .route("/v2", get(server_metadata))
        .route("/v2/", get(server_metadata))
        .route("/v2/health/live", get(async || axum::Json(json!({ "live": true }))))
        .route("/v2/health/ready", get(ready))
        .nest("/v2/models/{name}", model.clone())
        .nest("/v2/models/{name}/versions/{version}", model)
        .fallback(unknown)
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            let said = format!("{} does not take {method}", uri.path());
            error(StatusCode::METHOD_NOT_ALLOWED, &said)
        })
        .with_state(models)
}

/// What no route is for.
async fn unknown(uri: Uri) -> Response {
    let path = uri.path();
    match super::absent(path.strip_prefix("/v2").unwrap_or_default()) {
        Some(what) => error(StatusCode::NOT_IMPLEMENTED, &format!("this server has no {what}")),
        None => error(StatusCode::NOT_FOUND, &format!("there is nothing at {path}")),
    }
}

fn error(status: StatusCode, said: &str) -> Response {
    (status, axum::Json(json!({ "error": said }))).into_response()
}

impl Fault {
    /// What HTTP calls it.
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Question(_) => StatusCode::BAD_REQUEST,
            Self::Model(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Busy | Self::Crowded => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let told = error(self.status(), self.said());
        match &self {
            Self::Busy | Self::Crowded => {
                ([(RETRY_AFTER, RETRY_AFTER_S.to_string())], told).into_response()
            }
            _ => told,
        }
    }
}

async fn server_metadata() -> Response {
    axum::Json(json!({
        "name": "groundtrack",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": [BINARY_EXTENSION],
    }))
    .into_response()
}

async fn ready(State(models): Shared) -> Response {
    match models.trouble() {
        None => axum::Json(json!({ "ready": true })).into_response(),
        Some(trouble) => error(StatusCode::SERVICE_UNAVAILABLE, trouble),
    }
}

async fn model_ready(State(models): Shared, Path(named): Path<Named>) -> Result<Response, Fault> {
    models.find(&named.name, &named.version)?.ready()?;
    Ok(axum::Json(json!({ "name": named.name, "ready": true })).into_response())
}

async fn model_metadata(
    State(models): Shared,
    Path(named): Path<Named>,
) -> Result<Response, Fault> {
    let model = match models.find(&named.name, &named.version) {
        // Those of all models, where no model has this name.
        Err(Fault::NotFound(_)) if named.name == "stats" => {
            return Ok(error(StatusCode::NOT_IMPLEMENTED, "this server has no statistics"));
        }
        found => found?,
    };
    model.ready()?;
    let ports = |ports: &[codecs::package::Port]| -> Value {
        let row = |port: &codecs::package::Port| json!({ "name": port.name, "datatype": port.datatype.name(), "shape": port.shape });
        ports.iter().map(row).collect()
    };
    let manifest = model.manifest();
    let metadata = json!({
        "name": model.name(),
        "versions": [model.version()],
        "platform": super::PLATFORM,
        "inputs": ports(&manifest.inputs),
        "outputs": ports(&manifest.outputs),
        "parameters": { "tasks": manifest.tasks },
    });
    Ok(axum::Json(metadata).into_response())
}

async fn infer(
    State(models): Shared,
    Path(named): Path<Named>,
    headers: HeaderMap,
    body: axum::body::Body,
) -> Response {
    let found = models.find(&named.name, &named.version).cloned();
    match infer_body(&models, found, &headers, body).await {
        Ok(answer) => answer.map(axum::body::Body::new),
        Err(refused) => refused,
    }
}

async fn infer_body<B>(
    models: &Arc<Models>,
    found: Result<Arc<Model>, Fault>,
    headers: &HeaderMap,
    body: B,
) -> Result<axum::http::Response<Parts>, Response>
where
    B: HttpBody<Data = Bytes, Error: std::fmt::Display> + Unpin,
{
    let refused = |fault: Fault| fault.into_response();
    let model = found.and_then(|model| model.ready().map(|()| model)).map_err(refused)?;
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        let said = "this server takes no compressed bodies: send it as it is";
        return Err(error(StatusCode::UNSUPPORTED_MEDIA_TYPE, said));
    }
    let json_length = headers.get(JSON_LENGTH).map(|value| {
        let length = value.to_str().ok().and_then(|text| text.parse().ok());
        length.ok_or_else(|| Fault::Question(format!("{JSON_LENGTH_HEADER} is no number")))
    });
    let (body, held) = Reading::new(body, Arc::clone(models));
    let bytes = match gather(body, BODY_BYTES_MAX, models.rooms()).await {
        Ok(bytes) => bytes,
        Err(Ungathered::TooLong) => {
            let said = format!("a body of more than {BODY_BYTES_MAX} bytes");
            return Err(error(StatusCode::PAYLOAD_TOO_LARGE, &said));
        }
        Err(Ungathered::Broken(Unread::Fault(fault))) => return Err(refused(fault)),
        Err(Ungathered::Broken(late @ Unread::Late(_))) => {
            return Err(error(StatusCode::REQUEST_TIMEOUT, &late.to_string()));
        }
        Err(Ungathered::Broken(Unread::Broken(why))) => return Err(refused(Fault::Question(why))),
    };
    let body = Body { bytes, json_length: json_length.transpose().map_err(refused)? };
    let question = oip::read_question(&body).map_err(|error| refused(wrong(error)))?;
    let mut body = answer(&model, question).await.map_err(refused)?;
    // Those of a few kilobytes are copied together, and hold nothing.
    if body.parts.iter().map(Bytes::len).sum::<usize>() > JOINED_BYTES_MAX {
        body.parts = body.parts.into_iter().map(|part| held.with(part)).collect();
    }
    let mut response = axum::http::Response::new(Parts::from(body.parts));
    let headers = response.headers_mut();
    let kind = match body.json_length {
        Some(length) => {
            headers.insert(JSON_LENGTH, length.into());
            "application/octet-stream"
        }
        None => "application/json",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

/// A question that can't be understood.
pub(super) fn wrong(error: OipError) -> Fault {
    Fault::Question(error.to_string())
}

/// A model's answer to a question.
pub(super) async fn answer(model: &Arc<Model>, question: Question) -> Result<Written, Fault> {
    let outputs = model.infer(question.inputs).await?;
    let outputs = question.wanted.of(outputs).map_err(wrong)?;
    Ok(oip::write_answer(model.name(), model.version(), &question.id, &outputs))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(method: Method, path: &str) -> (StatusCode, String) {
        let mut app = routes(Arc::new(Models::echo()));
        let request = Request::builder().method(method).uri(path);
        let answer = app.call(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 16).await.unwrap();
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        (status, said["error"].as_str().unwrap_or_default().to_owned())
    }

    #[tokio::test]
    async fn what_is_not_there_is_refused_by_its_name() {
        for (method, path, named) in [
            (Method::GET, "/v2/models/stats", "statistics"),
            (Method::GET, "/v2/models/echo/stats", "statistics"),
            (Method::GET, "/v2/models/echo/versions/1/stats", "statistics"),
            (Method::POST, "/v2/repository/index", "repository"),
            (Method::POST, "/v2/repository/models/echo/load", "repository"),
            (Method::POST, "/v2/repository/models/echo/unload", "repository"),
            (Method::GET, "/v2/systemsharedmemory/status", "shared memory"),
            (Method::POST, "/v2/cudasharedmemory/region/a/register", "shared memory"),
            (Method::GET, "/v2/trace/setting", "trace"),
            (Method::POST, "/v2/models/echo/trace/setting", "trace"),
            (Method::GET, "/v2/logging", "log settings"),
            (Method::GET, "/v2/models/echo/config", "configuration"),
        ] {
            let (status, said) = ask(method, path).await;
            assert_eq!(status, StatusCode::NOT_IMPLEMENTED, "{path}");
            assert!(said.contains("this server has no") && said.contains(named), "{path}: {said}");
        }
    }

    #[tokio::test]
    async fn who_stops_in_the_middle_of_a_question_is_told_when_time_is_over() {
        let models = Models::echo().hurried(Duration::from_millis(20));
        let begun = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"{"))]);
        let begun = futures_util::StreamExt::chain(begun, futures_util::stream::pending());
        let body = axum::body::Body::from_stream(begun);
        let (models, headers) = (Arc::new(models), HeaderMap::new());
        let found = models.find("echo", "").cloned();
        let refused = infer_body(&models, found, &headers, body).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::REQUEST_TIMEOUT);
    }

    #[tokio::test]
    async fn paths_and_methods_that_nobody_knows_are_told_in_json() {
        for path in ["/", "/v1/models", "/v2/tea", "/v2/models/stats/tea", "/metrics"] {
            let (status, said) = ask(Method::GET, path).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
            assert_eq!(said, format!("there is nothing at {path}"));
        }
        let (status, said) = ask(Method::GET, "/v2/models/tea").await;
        assert_eq!((status, &*said), (StatusCode::NOT_FOUND, "no model \"tea\""));
        let (status, said) = ask(Method::GET, "/v2/models/echo/infer").await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(said, "/v2/models/echo/infer does not take GET");
        assert_eq!(ask(Method::GET, "/v2/models/echo").await.0, StatusCode::OK);
    }
}
