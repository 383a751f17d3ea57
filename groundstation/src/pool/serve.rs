//! The embedded pool's server: models of signed packages behind the Open Inference Protocol.
//!
//! It is a process of its own, so that a model that crashes, hangs or leaks never touches ingest.
//! Without ONNX Runtime, or with a package that can't be used, it serves all the same and says
//! why it can't answer.

use super::oip::{self, BINARY_EXTENSION, BODY_BYTES_MAX, Body, JSON_LENGTH_HEADER};
use anyhow::Context as _;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use onboard_model::{Package, Runtime, Session, Trust};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Requests that wait or run for one model; above it the server asks to be asked again.
pub const PENDING_MAX: usize = 16;

/// Serve model packages over the Open Inference Protocol (REST)
///
/// What the embedded pool is made of; the daemon starts it as a child process.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    groundstation pools serve --package onboard/model/packages/cloud-screen \
    --danger-accept-development-key")]
pub struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Folder of a model package; may be given again
    #[arg(long = "package", value_name = "DIR", required = true)]
    pub packages: Vec<PathBuf>,
    /// ONNX Runtime library; searched for when absent
    #[arg(long, value_name = "FILE")]
    pub runtime: Option<PathBuf>,
    /// Accept packages signed with the published development key
    #[arg(long)]
    pub danger_accept_development_key: bool,
    /// Stop when standard input closes, so that no child outlives its parent
    #[arg(long)]
    pub until_stdin_closes: bool,
}

/// A model that answers, or why it does not.
struct Model {
    name: String,
    version: String,
    session: Result<Mutex<Session>, String>,
    pending: Semaphore,
}

struct Server {
    /// By name; tasks stand beside names, so that a client may ask for either.
    models: BTreeMap<String, Arc<Model>>,
    trouble: Option<String>,
}

/// Runs the server until it is told to stop.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let server = Arc::new(Server::load(args));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(args, server))?;
    // A model that still runs must not keep the process.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: &Args, server: Arc<Server>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(args.listen).await.with_context(|| {
        format!("can't listen on {}: choose another address or port 0", args.listen)
    })?;
    let url = format!("http://{}", listener.local_addr()?);
    let models: Vec<&String> = server.models.keys().collect();
    let ready =
        json!({ "event": "ready", "url": url, "models": models, "trouble": server.trouble });
    writeln!(std::io::stdout(), "{ready}")?;
    std::io::stdout().flush()?;
    let stop = stopped(args.until_stdin_closes);
    axum::serve(listener, routes(server)).with_graceful_shutdown(stop).await?;
    Ok(())
}

/// Resolves when the process should end.
async fn stopped(until_stdin_closes: bool) {
    use tokio::signal::unix::{SignalKind, signal};
    let term = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    if until_stdin_closes {
        // A thread of its own: reading standard input can't be given up.
        std::thread::spawn(|| {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            // Nobody is left to answer, so nothing is worth finishing.
            std::process::exit(0);
        });
    }
    tokio::select! {
        () = term => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

impl Server {
    /// Opens packages and loads their models; what fails stays, with its reason.
    fn load(args: &Args) -> Self {
        let mut trust = Trust::nobody();
        if args.danger_accept_development_key {
            trust = trust.danger_accept_development_key();
        }
        let runtime = Runtime::find(args.runtime.as_deref()).map_err(|error| error.to_string());
        let mut models = BTreeMap::new();
        let mut troubles: Vec<String> = runtime.as_ref().err().cloned().into_iter().collect();
        for folder in &args.packages {
            let package = match Package::open(folder, &trust) {
                Ok(package) => package,
                Err(error) => {
                    tracing::error!("{error}");
                    troubles.push(error.to_string());
                    continue;
                }
            };
            let manifest = package.manifest().clone();
            let session = runtime
                .clone()
                .and_then(|runtime| runtime.load(&package).map_err(|error| error.to_string()));
            if let Err(reason) = &session {
                tracing::error!("model {}: {reason}", manifest.name);
                if !troubles.contains(reason) {
                    troubles.push(reason.clone());
                }
            }
            let model = Arc::new(Model {
                name: manifest.name.clone(),
                version: manifest.version.clone(),
                session: session.map(Mutex::new),
                pending: Semaphore::new(PENDING_MAX),
            });
            models.insert(manifest.name, model);
        }
        let trouble = (!troubles.is_empty()).then(|| troubles.join("; "));
        Self { models, trouble }
    }

    fn model(&self, name: &str) -> Result<&Arc<Model>, Box<Response>> {
        let missing = || match &self.trouble {
            // A package that could not be opened has no name to be found by.
            Some(trouble) => fault(StatusCode::SERVICE_UNAVAILABLE, trouble),
            None => fault(StatusCode::NOT_FOUND, &format!("no model {name:?}")),
        };
        self.models.get(name).ok_or_else(|| Box::new(missing()))
    }
}

fn routes(server: Arc<Server>) -> Router {
    let metadata = json!({
        "name": "groundtrack",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": [BINARY_EXTENSION],
    });
    let server_metadata = move || async move { axum::Json(metadata) };
    let live = || async { axum::Json(json!({ "live": true })) };
    Router::new()
        .route("/v2", get(server_metadata.clone()))
        .route("/v2/", get(server_metadata))
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/{name}", get(model_metadata))
        .route("/v2/models/{name}/ready", get(model_ready))
        .route("/v2/models/{name}/infer", post(infer))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(server)
}

fn fault(status: StatusCode, error: &str) -> Response {
    (status, axum::Json(json!({ "error": error }))).into_response()
}

async fn ready(State(server): State<Arc<Server>>) -> Response {
    match &server.trouble {
        None => axum::Json(json!({ "ready": true })).into_response(),
        Some(trouble) => fault(StatusCode::SERVICE_UNAVAILABLE, trouble),
    }
}

async fn model_ready(
    State(server): State<Arc<Server>>,
    UrlPath(name): UrlPath<String>,
) -> Response {
    match server.model(&name).map(|model| &model.session) {
        Ok(Ok(_)) => axum::Json(json!({ "name": name, "ready": true })).into_response(),
        Ok(Err(reason)) => fault(StatusCode::SERVICE_UNAVAILABLE, reason),
        Err(response) => *response,
    }
}

async fn model_metadata(
    State(server): State<Arc<Server>>,
    UrlPath(name): UrlPath<String>,
) -> Response {
    let model = match server.model(&name) {
        Ok(model) => model,
        Err(response) => return *response,
    };
    let session = match &model.session {
        Ok(session) => session.lock().unwrap_or_else(PoisonError::into_inner),
        Err(reason) => return fault(StatusCode::SERVICE_UNAVAILABLE, reason),
    };
    let ports = |ports: &[codecs::package::Port]| -> Value {
        let row = |port: &codecs::package::Port| json!({ "name": port.name, "datatype": port.datatype.name(), "shape": port.shape });
        ports.iter().map(row).collect()
    };
    let manifest = session.manifest();
    axum::Json(json!({
        "name": model.name,
        "versions": [model.version],
        "platform": "onnxruntime_onnx",
        "inputs": ports(&manifest.inputs),
        "outputs": ports(&manifest.outputs),
        "parameters": { "tasks": manifest.tasks },
    }))
    .into_response()
}

async fn infer(
    State(server): State<Arc<Server>>,
    UrlPath(name): UrlPath<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let model = match server.model(&name) {
        Ok(model) => Arc::clone(model),
        Err(response) => return *response,
    };
    if let Err(reason) = &model.session {
        return fault(StatusCode::SERVICE_UNAVAILABLE, reason);
    }
    let json_length = headers.get(JSON_LENGTH_HEADER).and_then(|value| value.to_str().ok());
    let json_length = match json_length.map(str::parse).transpose() {
        Ok(length) => length,
        Err(_) => return fault(StatusCode::BAD_REQUEST, "the JSON's length is no number"),
    };
    let question = match oip::read_question(&Body { bytes, json_length }) {
        Ok(question) => question,
        Err(error) => return fault(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let Ok(_permit) = model.pending.try_acquire() else {
        let busy = fault(StatusCode::TOO_MANY_REQUESTS, "the model has too much to do");
        return ([("retry-after", "1")], busy).into_response();
    };
    let worker = Arc::clone(&model);
    let inputs = question.inputs;
    let answer = tokio::task::spawn_blocking(move || match &worker.session {
        Ok(session) => {
            let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
            session.run(&inputs).map_err(|error| {
                let ours = matches!(
                    error,
                    onboard_model::ModelError::Run(_) | onboard_model::ModelError::Output(_)
                );
                (ours, error.to_string())
            })
        }
        Err(reason) => Err((true, reason.clone())),
    });
    let outputs = match answer.await {
        Ok(Ok(outputs)) => outputs,
        Ok(Err((true, error))) => return fault(StatusCode::INTERNAL_SERVER_ERROR, &error),
        Ok(Err((false, error))) => return fault(StatusCode::BAD_REQUEST, &error),
        Err(error) => return fault(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    let (name, version) = (&model.name, &model.version);
    let body = oip::write_answer(name, version, &question.id, &outputs, question.wants_binary);
    match body.json_length {
        Some(length) => {
            let headers =
                [(JSON_LENGTH_HEADER, length.to_string()), ("content-type", OCTETS.to_owned())];
            (headers, body.bytes).into_response()
        }
        None => ([("content-type", "application/json")], body.bytes).into_response(),
    }
}

const OCTETS: &str = "application/octet-stream";
