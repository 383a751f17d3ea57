//! Scores what the sensors say: by a model where one can run, by statistics where none can.
//!
//! ```text
//! samples ─► features (a window's shape) ─┬► baseline ─► telemetry ─► Score ─► triage
//!                    statistics (its level) ┘   └ learn
//! pixels ────────────► model or statistics ─► tiles ─► TileScore ─► triage
//! ```
//!
//! Nothing here touches the system: time comes with the samples, and the only thing that can
//! block is the model that was handed in.

pub mod features;
pub mod statistics;
pub mod baseline;
pub mod telemetry;
pub mod learn;
pub mod tiles;

pub use baseline::{Baseline, Judge};
pub use telemetry::{ChannelId, Score, TelemetryScorer, TelemetrySettings};
pub use tiles::{Tile, TileError, TileScore, TileScorer};

use crate::models::{Governed, Task};
use onboard_model::Session;

/// What judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A model, and the statistics beside it.
    Model,
    /// Statistics alone.
    Statistics,
}

/// Why a model cannot serve as a scorer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("model {0}")]
pub struct WrongModel(pub String);

/// A session that does the task, without a budget.
fn unbounded(session: Option<Session>, task: Task) -> Result<Option<Governed>, WrongModel> {
    let Some(session) = session else { return Ok(None) };
    task.check(session.manifest()).map_err(WrongModel)?;
    Ok(Some(Governed::unbounded(task, session)))
}

/// What judges at the moment.
fn method(model: Option<&Governed>) -> Method {
    match model {
        Some(model) if model.is_in_service() => Method::Model,
        _ => Method::Statistics,
    }
}

/// A suspension in words, which is told once.
fn suspension(model: Option<&mut Governed>) -> Option<String> {
    let model = model?;
    let suspension = model.take_suspension()?;
    Some(format!("model {:?} {}", model.manifest().name, suspension.reason()))
}
