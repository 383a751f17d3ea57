//! A loaded model held to its manifest: what goes in, what comes out, how many at once.

use codecs::{
    package::{Manifest, PortError},
    tensor::Tensor,
};

use crate::{
    backend::{BackendError, LoadedModel, Usage},
    package::Package,
    vectors::{KnownAnswer, Mismatch},
};

/// A model that reproduced its known answers and takes questions.
pub struct Session {
    manifest: Manifest,
    vectors: Vec<KnownAnswer>,
    model: Box<dyn LoadedModel>,
}

/// Why a model cannot be used, or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The runtime does not take the model.
    #[error("model {name:?} does not load: {error}")]
    Load {
        /// The package's name.
        name: String,
        /// The runtime's words.
        error: BackendError,
    },
    /// The model answers differently here than where it was made.
    #[error("model {name:?} fails its known answers on this machine: {mismatch}")]
    KnownAnswer {
        /// The package's name.
        name: String,
        /// The first difference.
        mismatch: Mismatch,
    },
    /// The number of inputs is not the model's.
    #[error("the model takes {wanted} inputs, {found} were given")]
    Inputs {
        /// How many it takes.
        wanted: usize,
        /// How many were given.
        found: usize,
    },
    /// An input is not what the model takes.
    #[error("input {0}")]
    Input(PortError),
    /// Inputs, or an output, disagree about the batch size.
    #[error("{port:?} holds a batch of {found}, the others {wanted}")]
    Batch {
        /// The tensor that disagrees.
        port: String,
        /// The batch size of the first input.
        wanted: u64,
        /// Its own.
        found: u64,
    },
    /// The graph lacks an output that the manifest promises.
    #[error("the model gave no output {0:?}, which its manifest promises")]
    NoOutput(String),
    /// An output is not what the manifest promises.
    #[error("output {0}")]
    Output(PortError),
    /// The runtime failed.
    #[error("the model did not run: {0}")]
    Run(#[from] BackendError),
}

impl Session {
    /// Takes a loaded model over once it has reproduced the package's known answers.
    pub(crate) fn prove(
        package: &Package,
        model: Box<dyn LoadedModel>,
    ) -> Result<Self, ModelError> {
        let (manifest, vectors) = (package.manifest().clone(), package.vectors().to_vec());
        let mut session = Self { manifest, vectors, model };
        session.reprove()?;
        Ok(session)
    }

    /// Asks the known questions again: weights in memory can change while a model runs.
    pub fn reprove(&mut self) -> Result<(), ModelError> {
        for index in 0..self.vectors.len() {
            let question = self.vectors[index].inputs.clone();
            let answer = self.run(&question)?;
            self.vectors[index].compare(&answer).map_err(|mismatch| ModelError::KnownAnswer {
                name: self.manifest.name.clone(),
                mismatch,
            })?;
        }
        Ok(())
    }

    /// Changes a parameter in what the package promises; the model itself knows none.
    pub fn set_parameter(&mut self, name: &str, value: f64) {
        self.manifest.parameters.insert(name.into(), value);
    }

    /// Whether it can never answer again, and must be loaded anew.
    pub fn is_gone(&self) -> bool {
        self.model.is_gone()
    }

    /// What it has cost, as far as its runtime tells.
    pub fn usage(&self) -> Usage {
        self.model.usage()
    }

    /// Execution providers that took it.
    pub fn providers(&self) -> Vec<String> {
        self.model.providers()
    }

    /// The process that runs it, where that is another one.
    pub fn process(&self) -> Option<u32> {
        self.model.process()
    }

    /// What the package promises.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Answers one batch. Inputs may stand in any order; outputs stand in the manifest's.
    ///
    /// Input bytes are borrowed where their alignment allows it and copied once where not.
    pub fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, ModelError> {
        let Manifest { inputs: takes, outputs: gives, max_batch, .. } = &self.manifest;
        if takes.len() != inputs.len() {
            return Err(ModelError::Inputs { wanted: takes.len(), found: inputs.len() });
        }
        let mut batch = None;
        for (index, port) in takes.iter().enumerate() {
            let named = inputs.iter().find(|tensor| tensor.name == port.name);
            let size = port
                .check(named.unwrap_or(&inputs[index]), *max_batch)
                .map_err(ModelError::Input)?;
            let wanted = *batch.get_or_insert(size);
            if size != wanted {
                let port = port.name.clone();
                return Err(ModelError::Batch { port, wanted, found: size });
            }
        }
        let mut answer = self.model.run(inputs)?;
        let mut outputs = Vec::with_capacity(gives.len());
        for port in gives {
            let at = answer.iter().position(|tensor| tensor.name == port.name);
            let at = at.ok_or_else(|| ModelError::NoOutput(port.name.clone()))?;
            let tensor = answer.swap_remove(at);
            let found = port.check(&tensor, *max_batch).map_err(ModelError::Output)?;
            let wanted = batch.unwrap_or(1);
            if port.shape.first() == Some(&-1) && found != wanted {
                return Err(ModelError::Batch { port: port.name.clone(), wanted, found });
            }
            outputs.push(tensor);
        }
        Ok(outputs)
    }
}
