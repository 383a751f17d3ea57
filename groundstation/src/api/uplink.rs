//! Uplink over the API: the only request here that changes anything, and only with an operator's token.

use super::{Shared, problem::Problem};
use crate::{
    admit::{Action, Table},
    operators,
    shell::uplink::{SendError, Uplink},
};
use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::Engine as _;
use codecs::{
    ids::SpacecraftId,
    link::uplink::{
        ContentKind, MAX_BODY_BYTES,
        queue::{Request, SubmitError},
    },
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::watch;

/// Bytes of a request: content in base64 with its fields.
pub const REQUEST_BYTES_MAX: usize = MAX_BODY_BYTES / 3 * 4 + (16 << 10);
/// Longest time that an expiry may lie ahead, in seconds: a year.
const EXPIRES_S_MAX: f64 = 366.0 * 86_400.0;

/// What uplink needs of the daemon.
#[derive(Clone)]
pub struct Commanding {
    /// The queue.
    pub uplink: Arc<Uplink>,
    /// Operators; who is not here may command nothing.
    pub operators: watch::Receiver<Arc<Table>>,
    /// Spacecraft that exist.
    pub mission: Arc<std::collections::BTreeSet<SpacecraftId>>,
}

/// What an operator asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Spacecraft.
    pub spacecraft: u16,
    /// Kind of content.
    pub kind: String,
    /// Higher first.
    #[serde(default)]
    pub priority: u8,
    /// Seconds from now from which on it must not be begun any more.
    #[serde(default)]
    pub expires_s: Option<f64>,
    /// The content.
    pub body_base64: String,
}

fn no_uplink() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "this station has no uplink")
}

/// `GET /api/v1/uplink`.
pub async fn list(State(shared): State<Shared>) -> Result<Response, Problem> {
    let commanding = shared.context.uplink.as_ref().ok_or_else(no_uplink)?;
    Ok(Json(serde_json::json!({ "objects": commanding.uplink.list() })).into_response())
}

/// `POST /api/v1/uplink`. The JSON content type and the token's header keep out what a browser
/// would send for a page of another origin.
pub async fn send(
    State(shared): State<Shared>,
    headers: HeaderMap,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Result<Response, Problem> {
    let commanding = shared.context.uplink.clone().ok_or_else(no_uplink)?;
    let Json(asked) = asked?;
    let spacecraft = SpacecraftId(asked.spacecraft);
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer "));
    let table = Arc::clone(&commanding.operators.borrow());
    let principal = token.and_then(|token| operators::named(&table, token)).ok_or_else(|| {
        let message = "no operator's token; see [[operator]] in the station file";
        Problem::new(StatusCode::UNAUTHORIZED, message)
    })?;
    if !principal.may(Action::Command, spacecraft) {
        let message = principal.denied(Action::Command, spacecraft, operators::TABLE);
        return Err(Problem::new(StatusCode::FORBIDDEN, message));
    }
    let operator = &principal.name;
    let request = request(&commanding, asked)
        .map_err(|message| Problem::new(StatusCode::BAD_REQUEST, message))?;
    tracing::info!(operator, spacecraft = spacecraft.0, kind = request.kind.name(), "uplink asked");
    // The sync of the log takes its time, which no one else should wait for.
    let submitted = tokio::task::spawn_blocking(move || commanding.uplink.submit(request)).await;
    match submitted {
        Ok(Ok(row)) => Ok((StatusCode::ACCEPTED, Json(row)).into_response()),
        Ok(Err(error)) => {
            let status = match &error {
                SendError::Queue(SubmitError::TooLong(_) | SubmitError::Expired) => {
                    StatusCode::BAD_REQUEST
                }
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            Err(Problem::new(status, error.to_string()))
        }
        Err(_) => {
            let message = "the uplink failed; see the log";
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, message))
        }
    }
}

fn request(commanding: &Commanding, asked: Asked) -> Result<Request, String> {
    let spacecraft = SpacecraftId(asked.spacecraft);
    if !commanding.mission.contains(&spacecraft) {
        return Err(format!("spacecraft {} is not part of this mission", asked.spacecraft));
    }
    let names = ContentKind::ALL.map(|row| row.1).join(", ");
    let kind = ContentKind::named(&asked.kind)
        .ok_or_else(|| format!("kind `{}` is none of {names}", asked.kind))?;
    let body = base64::engine::general_purpose::STANDARD
        .decode(&asked.body_base64)
        .map_err(|error| format!("body_base64: {error}"))?;
    let expires = match asked.expires_s {
        None => None,
        Some(seconds) if seconds > 0.0 && seconds <= EXPIRES_S_MAX => {
            Some(commanding.uplink.now().plus((seconds * 1e9) as i64))
        }
        Some(seconds) => {
            return Err(format!("expires_s = {seconds}: more than 0, at most {EXPIRES_S_MAX}"));
        }
    };
    Ok(Request { spacecraft, kind, priority: asked.priority, expires, body: body.into() })
}
