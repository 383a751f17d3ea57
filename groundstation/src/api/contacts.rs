//! The contact plan: when the spacecraft is in view, and how well it should be heard.

use super::{Shared, problem::Problem};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Largest plan read: a week of passes and a track of days fit ten times.
const PLAN_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Where a station stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Station {
    /// Its name.
    pub name: String,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// Metres above the ellipsoid.
    pub height_m: f64,
    /// Degrees above the horizon below which nothing is tracked.
    pub mask_deg: f64,
}

/// `GET /api/v1/contacts`: the plan as its writer left it, or an empty one with the station in it.
pub async fn contacts(State(shared): State<Shared>) -> Result<Json<Value>, Problem> {
    let empty = json!({
        "station": shared.context.station, "contacts": [], "track": [], "link": [],
    });
    let Some(path) = shared.context.contacts.borrow().clone() else {
        return Ok(Json(empty));
    };
    let read = tokio::task::spawn_blocking(move || read(&path)).await;
    let failed = |message| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, message);
    match read {
        Ok(Ok(plan)) => Ok(Json(plan.unwrap_or(empty))),
        Ok(Err(message)) => Err(failed(message)),
        Err(_) => Err(failed("reading the contact plan failed; see the log".into())),
    }
}

/// None where there is no plan yet: whoever writes it may start after the daemon.
fn read(path: &Path) -> Result<Option<Value>, String> {
    let failed = |what: &dyn std::fmt::Display| {
        format!("the contact plan {} can't be read: {what}; write it again", path.display())
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&error)),
    };
    let mut text = Vec::new();
    file.take(PLAN_BYTES_MAX + 1).read_to_end(&mut text).map_err(|error| failed(&error))?;
    if text.len() as u64 > PLAN_BYTES_MAX {
        return Err(failed(&format!("it is longer than {PLAN_BYTES_MAX} bytes")));
    }
    match serde_json::from_slice(&text) {
        Ok(plan @ Value::Object(_)) => Ok(Some(plan)),
        Ok(_) => Err(failed(&"it is no JSON object")),
        Err(error) => Err(failed(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_plan_is_no_plan_and_a_damaged_one_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contacts.json");
        assert_eq!(read(&path), Ok(None));
        std::fs::write(&path, "{\"contacts\":[").unwrap();
        assert!(read(&path).unwrap_err().contains("contacts.json"));
        std::fs::write(&path, "[]").unwrap();
        assert!(read(&path).unwrap_err().contains("no JSON object"));
        std::fs::write(&path, "{\"contacts\":[]}").unwrap();
        assert_eq!(read(&path), Ok(Some(json!({ "contacts": [] }))));
        std::fs::write(&path, vec![b' '; PLAN_BYTES_MAX as usize + 1]).unwrap();
        assert!(read(&path).unwrap_err().contains("longer than"));
    }
}
