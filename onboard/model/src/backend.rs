//! What a runtime must be able to do, whichever it is.

use codecs::tensor::Tensor;

/// Why the runtime underneath refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(pub String);

/// How a model is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Threads inside one operator. One by default: a flight computer has better uses for the
    /// others, and a small model is slower on two.
    pub threads: usize,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { threads: 1 }
    }
}

/// A runtime that loads models.
pub trait Backend: Send + Sync {
    /// Name and version, for logs and status.
    fn describe(&self) -> String;

    /// Loads a model from its bytes.
    fn load(
        &self,
        model: &[u8],
        options: &LoadOptions,
    ) -> Result<Box<dyn LoadedModel>, BackendError>;
}

/// A model that is loaded and ready.
pub trait LoadedModel: Send {
    /// Runs the model once. Inputs are found by name; every output of the graph is returned, in
    /// the graph's order.
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, BackendError>;
}
