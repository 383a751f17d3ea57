//! A job: what is wanted, how far it is, and what it took so far.

use super::log::Line;
use crate::archive::record::Position;
use crate::pool::{Cost, Input, Trace, Usage};
use codecs::time::Tai;
use std::sync::Arc;

/// Number of a job, as it came.
pub(super) type JobId = u64;
/// Number of a question.
pub type AskId = u64;

pub(super) struct Job {
    pub key: Arc<str>,
    pub lane: usize,
    pub priority: u8,
    pub trace: Trace,
    /// What it is about; absent while it rests in the archive.
    pub input: Option<Input>,
    /// Where the input can be had again.
    pub unit: Option<Position>,
    pub bytes: u64,
    pub batch: u64,
    pub accepted: Tai,
    pub deadline: Tai,
    pub queued: Tai,
    /// Since when it waits for a pool to take it.
    pub waits_from: Tai,
    pub attempts: u32,
    /// Pools that failed it.
    pub tried: Vec<usize>,
    /// It made a batch fail, or may have: it goes alone.
    pub alone: bool,
    /// A number from 0 to 1 that is the same for the same key: which share of jobs it belongs to.
    pub draw: f64,
    /// Questions that are on their way for it.
    pub asks: Vec<AskId>,
    pub took: Took,
    /// The pool that was asked last, and when.
    pub last: Option<(usize, Tai)>,
    pub stage: Stage,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage {
    /// For its turn, or for a pool; with what the page was told.
    Queued {
        told: String,
    },
    /// For its input from the archive.
    Loading,
    Running,
    /// For the disk; `None` while the line is being written.
    Recording {
        line: Box<Line>,
        from: Option<Tai>,
    },
}

/// What all questions for a job took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Took {
    pub cost: Cost,
    pub tokens_in: Option<u64>,
    pub tokens_out: Option<u64>,
    pub energy_j: Option<f64>,
}

impl Took {
    /// Adds a share of what a question took: one of `parts`, the first with what can't be divided.
    pub fn add(&mut self, cost: Cost, usage: &Usage, energy_j: Option<f64>, part: u64, parts: u64) {
        let parts = parts.max(1);
        let share = |all: u64| all / parts + if part == 0 { all % parts } else { 0 };
        let sum = |own: &mut Option<u64>, more: Option<u64>| {
            if let Some(more) = more {
                *own = Some(own.unwrap_or(0).saturating_add(share(more)));
            }
        };
        self.cost += Cost(share(cost.0));
        sum(&mut self.tokens_in, usage.tokens_in);
        sum(&mut self.tokens_out, usage.tokens_out);
        if let Some(more) = energy_j.filter(|energy| energy.is_finite() && *energy >= 0.0) {
            self.energy_j = Some(self.energy_j.unwrap_or(0.0) + more / parts as f64);
        }
    }
}

impl Job {
    pub fn is_queued(&self) -> bool {
        matches!(self.stage, Stage::Queued { .. })
    }

    pub fn place(&self, id: JobId) -> (u8, Tai, JobId) {
        (self.priority, self.deadline, id)
    }
}
