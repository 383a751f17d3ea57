//! What the job log says about work of the past.

use super::log::{Line, State};
use super::past::{Digest, Past};
use crate::pool::Cost;
use codecs::time::Tai;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Outcomes remembered. At the bound only the key of the oldest is: work that old is not done again,
/// and not told again either.
pub const OUTCOMES_MAX: usize = 1 << 17;

/// Acceptances without an outcome; at the bound they are forgotten, and deadlines begin anew.
const ACCEPTANCES_MAX: usize = 1 << 16;

/// Outcomes by key, and acceptances that have none yet.
#[derive(Debug, Default)]
pub struct History {
    outcomes: BTreeMap<String, Line>,
    order: VecDeque<String>,
    accepted: BTreeMap<String, Accepted>,
    /// Keys of outcomes that are not remembered. As many as the log has, at sixteen bytes of it
    /// each; they go with what the archive lets go.
    past: BTreeSet<Digest>,
}

/// A key without an outcome.
#[derive(Clone, Copy, Debug)]
struct Accepted {
    at: Tai,
    deadline: Tai,
    cost: Cost,
}

impl History {
    /// Takes a line of the log. The first outcome of a key stands.
    pub fn read(&mut self, mut line: Line) {
        if line.state == State::Accepted {
            if let (Some(deadline), false) = (line.deadline, self.outcomes.contains_key(&line.key))
            {
                if self.accepted.len() >= ACCEPTANCES_MAX {
                    self.accepted.clear();
                }
                let (at, deadline) = (Tai(line.at), Tai(deadline));
                let fresh = Accepted { at, deadline, cost: Cost::ZERO };
                let known = self.accepted.entry(line.key).or_insert(fresh);
                known.cost = known.cost.max(line.cost);
            }
            return;
        }
        self.accepted.remove(&line.key);
        if self.outcomes.contains_key(&line.key) || self.is_past(&line.key) {
            return;
        }
        if self.outcomes.len() >= OUTCOMES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.outcomes.remove(&oldest);
            self.past.insert(Digest::of(&oldest));
        }
        // The tensors stay in the log: what is told again is the summary.
        line.outputs = Vec::new();
        line.form = None;
        self.order.push_back(line.key.clone());
        self.outcomes.insert(line.key.clone(), line);
    }

    /// Takes what the log says of outcomes that left it.
    pub fn read_past(&mut self, past: &Past) {
        self.past.extend(past.digests().unwrap_or_default());
    }

    /// Keeps only the keys of outcomes before a time.
    pub fn retire(&mut self, before: Tai) {
        let old = |line: &Line| line.at < before.0;
        let leave = self.outcomes.values().filter(|line| old(line));
        let keys: Vec<String> = leave.map(|line| line.key.clone()).collect();
        for key in keys {
            self.outcomes.remove(&key);
            self.past.insert(Digest::of(&key));
        }
        self.order.retain(|key| self.outcomes.contains_key(key));
    }

    /// Whether a key was decided so long ago that nothing else is known of it.
    pub fn is_past(&self, key: &str) -> bool {
        !self.past.is_empty() && self.past.contains(&Digest::of(key))
    }

    /// What was decided about a key.
    pub fn outcome(&self, key: &str) -> Option<&Line> {
        self.outcomes.get(key)
    }

    /// When a key without an outcome was accepted, and its deadline.
    pub fn acceptance(&self, key: &str) -> Option<(Tai, Tai)> {
        self.accepted.get(key).map(|known| (known.at, known.deadline))
    }

    /// What a key without an outcome has cost so far, as the log tells it.
    pub fn cost(&self, key: &str) -> Cost {
        self.accepted.get(key).map_or(Cost::ZERO, |known| known.cost)
    }

    /// Keys without an outcome, with their deadlines.
    pub fn open(&self) -> impl Iterator<Item = (&String, Tai)> {
        self.accepted.iter().map(|(key, known)| (key, known.deadline))
    }
}
