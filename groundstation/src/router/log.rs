//! Lines of the job log: JSON, one a line, only ever appended.

use crate::pool::Cost;
use crate::publish::{Event, JobState};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use codecs::tensor::Tensor;
use codecs::time::Tai;
use serde::{Deserialize, Serialize};

/// Longest line: outputs above it are left out of the log, and say so.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The work is known; its deadline runs.
    Accepted,
    /// It has a result.
    Done,
    /// It ended without one.
    Failed,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Idempotency key.
    pub key: String,
    /// Task contract.
    pub task: String,
    /// What the line says.
    pub state: State,
    /// When, in nanoseconds TAI of the station's clock.
    pub at: i64,
    /// Until when an accepted job may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<i64>,
    /// Pool that answered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pool: String,
    /// Model that answered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// Time before it ran.
    #[serde(default)]
    pub queue_ms: f64,
    /// Time on the way there and back, where it can be told from running.
    #[serde(default)]
    pub transfer_ms: f64,
    /// Time it ran.
    #[serde(default)]
    pub run_ms: f64,
    /// What all its tries cost, in millionths of the station's currency.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub cost: Cost,
    /// Tokens read, where a pool stated them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_in: Option<u64>,
    /// Tokens written, where a pool stated them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_out: Option<u64>,
    /// Energy in joules, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_j: Option<f64>,
    /// Trace, 32 hexadecimal digits: the same from frame to insight.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trace: String,
    /// Times that it was tried.
    #[serde(default)]
    pub attempts: u32,
    /// Result or reason in a few words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub result: String,
    /// The answer itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Output>,
    /// The filled form, of a task of words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<serde_json::Value>,
}

fn is_nothing(cost: &Cost) -> bool {
    *cost == Cost::ZERO
}

/// A tensor of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Name.
    pub name: String,
    /// Type, as the Open Inference Protocol names it.
    pub datatype: String,
    /// Extents.
    pub shape: Vec<u64>,
    /// Little-endian elements in base64.
    pub data: String,
}

impl Output {
    /// Describes a tensor.
    pub fn of(tensor: &Tensor) -> Self {
        Self {
            name: tensor.name.clone(),
            datatype: tensor.dtype.name().to_owned(),
            shape: tensor.shape.clone(),
            data: STANDARD.encode(&tensor.data),
        }
    }
}

impl Line {
    /// A line that says no more than this.
    pub fn new(key: &str, task: &str, state: State, at: Tai) -> Self {
        Self {
            key: key.to_owned(),
            task: task.to_owned(),
            state,
            at: at.0,
            deadline: None,
            pool: String::new(),
            model: String::new(),
            queue_ms: 0.0,
            transfer_ms: 0.0,
            run_ms: 0.0,
            cost: Cost::ZERO,
            tokens_in: None,
            tokens_out: None,
            energy_j: None,
            trace: String::new(),
            attempts: 0,
            result: String::new(),
            outputs: Vec::new(),
            form: None,
        }
    }

    /// The bytes to append, newline included.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        if bytes.len() >= LINE_BYTES_MAX {
            let mut small = self.clone();
            small.outputs = Vec::new();
            small.form = None;
            small.result.push_str(" (outputs too large for the log)");
            bytes = serde_json::to_vec(&small).unwrap_or_default();
        }
        bytes.push(b'\n');
        bytes
    }

    /// Reads a line; none where it is cut short or no line of a job log.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes.strip_suffix(b"\n")?).ok()
    }

    /// What the page is told of an outcome.
    pub fn event(&self) -> Event {
        let state = if self.state == State::Done { JobState::Done } else { JobState::Failed };
        super::job_event(self, state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_and_torn_ones_do_not() {
        let mut line = Line::new("k", "cloud-mask/1", State::Done, Tai(5));
        line.result = "cloud 4 %".into();
        line.outputs = vec![Output::of(&Tensor::from_f32("y", vec![1], &[0.5]).unwrap())];
        let bytes = line.encode();
        assert_eq!(Line::decode(&bytes), Some(line));
        for cut in 0..bytes.len() {
            assert_eq!(Line::decode(&bytes[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn an_answer_too_large_keeps_its_line() {
        let mut line = Line::new("k", "t/1", State::Done, Tai(5));
        let tensor = Tensor::from_f32("y", vec![1 << 18], &vec![0.0; 1 << 18]).unwrap();
        line.outputs = vec![Output::of(&tensor)];
        let bytes = line.encode();
        assert!(bytes.len() < 400);
        assert!(Line::decode(&bytes).is_some_and(|line| line.result.contains("too large")));
    }
}
