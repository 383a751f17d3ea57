//! Uplink over the API: the only request here that changes anything, and only with an operator's token.

use super::{Shared, problem};
use crate::{
    admit::{Action, Denial, Table},
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

/// `GET /api/v1/uplink`.
pub async fn list(State(shared): State<Shared>) -> Response {
    match &shared.context.uplink {
        Some(commanding) => {
            Json(serde_json::json!({ "objects": commanding.uplink.list() })).into_response()
        }
        None => problem(StatusCode::NOT_FOUND, "this station has no uplink"),
    }
}

/// `POST /api/v1/uplink`. The JSON content type and the token's header keep out what a browser
/// would send for a page of another origin.
pub async fn send(
    State(shared): State<Shared>,
    headers: HeaderMap,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Response {
    let Some(commanding) = shared.context.uplink.clone() else {
        return problem(StatusCode::NOT_FOUND, "this station has no uplink");
    };
    let asked = match asked {
        Ok(Json(asked)) => asked,
        Err(rejection) => return problem(rejection.status(), &rejection.body_text()),
    };
    let spacecraft = SpacecraftId(asked.spacecraft);
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer "));
    let table = Arc::clone(&commanding.operators.borrow());
    let operator = match operators::judge(&table, token, spacecraft, Action::Command) {
        Ok(name) => name.to_string(),
        Err(Denial::UnknownKey) => {
            let message = "no operator's token; see [[operator]] in the station file";
            return problem(StatusCode::UNAUTHORIZED, message);
        }
        Err(denial) => {
            let message = format!("{denial}: not in this operator's row of the station file");
            return problem(StatusCode::FORBIDDEN, &message);
        }
    };
    let request = match request(&commanding, asked) {
        Ok(request) => request,
        Err(message) => return problem(StatusCode::BAD_REQUEST, &message),
    };
    tracing::info!(operator, spacecraft = spacecraft.0, kind = request.kind.name(), "uplink asked");
    // The sync of the log takes its time, which no one else should wait for.
    let submitted = tokio::task::spawn_blocking(move || commanding.uplink.submit(request)).await;
    match submitted {
        Ok(Ok(row)) => (StatusCode::ACCEPTED, Json(row)).into_response(),
        Ok(Err(error)) => {
            let status = match &error {
                SendError::Queue(SubmitError::TooLong(_) | SubmitError::Expired) => {
                    StatusCode::BAD_REQUEST
                }
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            problem(status, &error.to_string())
        }
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the uplink failed; see the log"),
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
