//! Scores what the sensors say: by a model where one can run, by statistics where none can.
//!
//! ```text
//! samples ─► features (a window's shape) ─┬► telemetry ─► Score ─► triage
//!                    statistics (its level) ┘
//! pixels ────────────► model or statistics ─► tiles ─► TileScore ─► triage
//! ```
//!
//! Nothing here touches the system: time comes with the samples, and the only thing that can
//! block is the model that was handed in.

pub mod features;
pub mod statistics;
pub mod telemetry;
pub mod tiles;

pub use telemetry::{ChannelId, Score, TelemetryScorer, TelemetrySettings};
pub use tiles::{Tile, TileError, TileScore, TileScorer};

use onboard_model::Session;

/// Failures in a row after which a model is not asked again.
const FAILURES_MAX: u32 = 3;

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
#[error("model {name:?} does not do {task:?}, it does {does:?}")]
pub struct WrongModel {
    /// The package's name.
    pub name: String,
    /// The task that was wanted.
    pub task: &'static str,
    /// The tasks it fulfils.
    pub does: Vec<String>,
}

/// A model that is asked until it fails too often; then scoring goes on without it.
struct Guarded {
    session: Option<Session>,
    failures: u32,
    suspended: Option<String>,
}

impl Guarded {
    fn new(session: Option<Session>, task: &'static str) -> Result<Self, WrongModel> {
        if let Some(session) = &session
            && !session.manifest().fulfils(task)
        {
            let manifest = session.manifest();
            let does = manifest.tasks.clone();
            return Err(WrongModel { name: manifest.name.clone(), task, does });
        }
        Ok(Self { session, failures: 0, suspended: None })
    }

    /// Asks the model; `None` means that there is none, that it failed, or that what it said
    /// makes no sense.
    fn ask<T>(&mut self, question: impl FnOnce(&mut Session) -> Result<T, String>) -> Option<T> {
        match question(self.session.as_mut()?) {
            Ok(answer) => {
                self.failures = 0;
                Some(answer)
            }
            Err(reason) => {
                self.failures += 1;
                if self.failures >= FAILURES_MAX {
                    let name = self.session.take().map(|s| s.manifest().name.clone());
                    let name = name.unwrap_or_default();
                    let text = format!("model {name:?} suspended after {FAILURES_MAX} failures");
                    self.suspended = Some(format!("{text} in a row, the last one: {reason}"));
                }
                None
            }
        }
    }
}
