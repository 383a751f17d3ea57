//! The Open Inference Protocol over REST, with the binary extension.

use super::models::{Fault, Models, RETRY_AFTER_S};
use super::tls::Incoming;
use crate::pool::oip::{self, BINARY_EXTENSION, BODY_BYTES_MAX, Body, JSON_LENGTH_HEADER};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Serves until told to stop.
pub async fn serve(
    incoming: impl Into<Incoming>,
    models: Arc<Models>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    Ok(axum::serve(incoming.into(), routes(models)).with_graceful_shutdown(stop).await?)
}

type Shared = State<Arc<Models>>;

/// Name of a model, and its version where the path has one.
#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    version: String,
}

fn routes(models: Arc<Models>) -> Router {
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
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(models)
}

fn error(status: StatusCode, said: &str) -> Response {
    (status, axum::Json(json!({ "error": said }))).into_response()
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let said = self.said();
        match &self {
            Self::NotFound(_) => error(StatusCode::NOT_FOUND, said),
            Self::Unavailable(_) => error(StatusCode::SERVICE_UNAVAILABLE, said),
            Self::Question(_) => error(StatusCode::BAD_REQUEST, said),
            Self::Model(_) => error(StatusCode::INTERNAL_SERVER_ERROR, said),
            Self::Busy => {
                let busy = error(StatusCode::TOO_MANY_REQUESTS, said);
                ([(RETRY_AFTER, RETRY_AFTER_S.to_string())], busy).into_response()
            }
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
    let model = models.find(&named.name, &named.version)?;
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
    bytes: Bytes,
) -> Result<Response, Fault> {
    let model = models.find(&named.name, &named.version)?;
    model.ready()?;
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        let said = "this server takes no compressed bodies: send it as it is";
        return Ok(error(StatusCode::UNSUPPORTED_MEDIA_TYPE, said));
    }
    let json_length = headers.get(JSON_LENGTH_HEADER).map(|value| {
        let length = value.to_str().ok().and_then(|text| text.parse().ok());
        length.ok_or_else(|| Fault::Question(format!("{JSON_LENGTH_HEADER} is no number")))
    });
    let body = Body { bytes, json_length: json_length.transpose()? };
    let question = oip::read_question(&body).map_err(|error| Fault::Question(error.to_string()))?;
    let outputs = model.infer(question.inputs).await?;
    let outputs =
        question.wanted.of(outputs).map_err(|error| Fault::Question(error.to_string()))?;
    let body = oip::write_answer(model.name(), model.version(), &question.id, &outputs);
    Ok(match body.json_length {
        Some(length) => {
            let length = (JSON_LENGTH_HEADER, length.to_string());
            let octets = (CONTENT_TYPE.as_str(), "application/octet-stream".to_owned());
            ([length, octets], body.bytes).into_response()
        }
        None => ([(CONTENT_TYPE, "application/json")], body.bytes).into_response(),
    })
}
