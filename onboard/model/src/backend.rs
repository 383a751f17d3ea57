//! What a runtime must be able to do, whichever it is.

use codecs::tensor::Tensor;

/// Why the runtime underneath refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(pub String);

/// How a model is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Threads inside one operator. One by default: a flight computer has better uses for the
    /// others, and a small model is slower on two.
    pub threads: usize,
    /// Execution providers by name, the first first; what none of them can run, the processor does.
    pub providers: Vec<String>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { threads: 1, providers: vec!["cpu".into()] }
    }
}

/// A runtime that loads models.
pub trait Backend: Send + Sync {
    /// Name and version, for logs and status.
    fn describe(&self) -> String;

    /// Those of these execution providers that it has.
    fn available(&self, asked: &[String]) -> Vec<String> {
        let _ = asked;
        Vec::new()
    }

    /// Loads a model from its bytes.
    fn load(
        &self,
        model: &[u8],
        options: &LoadOptions,
    ) -> Result<Box<dyn LoadedModel>, BackendError>;
}

/// What a model has cost so far, as far as its runtime tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time of its runs, in nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Memory of its process at the last run, in bytes.
    pub rss_bytes: Option<u64>,
}

/// A model that is loaded and ready.
pub trait LoadedModel: Send {
    /// Runs the model once. Inputs are found by name; every output of the graph is returned, in
    /// the graph's order.
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, BackendError>;

    /// Whether it can never answer again, and must be loaded anew.
    fn is_gone(&self) -> bool {
        false
    }

    /// What it has cost.
    fn usage(&self) -> Usage {
        Usage::default()
    }

    /// Execution providers that took it.
    fn providers(&self) -> Vec<String> {
        vec!["cpu".into()]
    }

    /// The process that runs it, where that is another one.
    fn process(&self) -> Option<u32> {
        None
    }
}
