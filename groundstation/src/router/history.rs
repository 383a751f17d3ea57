//! What the job log says about work of the past.

use super::log::{Line, State};
use codecs::time::Tai;
use std::collections::{BTreeMap, VecDeque};

/// Outcomes remembered. At the bound the oldest is forgotten: work that old would be done again
/// if the archive still asked for it.
pub const OUTCOMES_MAX: usize = 1 << 17;

/// Acceptances without an outcome; at the bound they are forgotten, and deadlines begin anew.
const ACCEPTANCES_MAX: usize = 1 << 16;

/// Outcomes by key, and acceptances that have none yet.
#[derive(Debug, Default)]
pub struct History {
    outcomes: BTreeMap<String, Line>,
    order: VecDeque<String>,
    accepted: BTreeMap<String, (Tai, Tai)>,
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
                self.accepted.insert(line.key, (Tai(line.at), Tai(deadline)));
            }
            return;
        }
        self.accepted.remove(&line.key);
        if self.outcomes.contains_key(&line.key) {
            return;
        }
        if self.outcomes.len() >= OUTCOMES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.outcomes.remove(&oldest);
        }
        // The tensors stay in the log: what is told again is the summary.
        line.outputs = Vec::new();
        line.form = None;
        self.order.push_back(line.key.clone());
        self.outcomes.insert(line.key.clone(), line);
    }

    /// What was decided about a key.
    pub fn outcome(&self, key: &str) -> Option<&Line> {
        self.outcomes.get(key)
    }

    /// When a key without an outcome was accepted, and its deadline.
    pub fn acceptance(&self, key: &str) -> Option<(Tai, Tai)> {
        self.accepted.get(key).copied()
    }
}
