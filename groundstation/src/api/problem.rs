//! What every request that can't be served is answered with: a status, and JSON that says what was
//! wrong and what to do.

use axum::{
    Json,
    extract::rejection::{JsonRejection, QueryRejection},
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// Why a request is not served.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    message: String,
}

impl Problem {
    /// With words for people.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// A parameter that is missing or can't be read; `usage` shows how it is asked.
    pub fn of_query(rejection: &QueryRejection, usage: &str) -> Self {
        Self::new(rejection.status(), format!("{}; ask as {usage}", rejection.body_text()))
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.message }))).into_response()
    }
}

/// A path that is there, asked in a way that it does not answer; the router adds which it does.
pub async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let message =
        format!("{} does not answer {method}; the header Allow lists what it does", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, message)
}

/// A path below the API's prefix that is not there.
pub async fn no_such_thing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no such thing in this API; docs/operations.md lists it")
}
