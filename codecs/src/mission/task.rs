//! Task contracts: what goes in and what comes out, whatever the pool and its model.

use crate::tensor::{DType, Tensor};
use alloc::{format, string::String, vec::Vec};

/// How freely data may travel, from anyone to no one.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum DataClass {
    /// Anyone may see it.
    Public,
    /// The operator and those bound by contract.
    #[default]
    Internal,
    /// Only who is named.
    Restricted,
}

/// Most items of one batch.
pub const BATCH_MAX: u64 = 256;

/// A task contract.
#[derive(Clone, Debug, PartialEq)]
pub struct Contract {
    /// Name and version, such as `cloud-mask/1`.
    pub task: String,
    /// What it is, for people and for language models.
    pub about: String,
    /// What kind of work it is.
    pub kind: Kind,
    /// Largest difference of two pools' numbers that still counts as the same answer: what a shadow
    /// pool's answer is compared by.
    pub tolerance: f64,
}

/// Kinds of work.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Arrays in, arrays out.
    Tensors {
        /// What goes in.
        inputs: Vec<Port>,
        /// What comes out; a pool may answer more, which is left out.
        outputs: Vec<Port>,
    },
    /// Words and images in, a filled form out.
    Messages {
        /// Whether images go in beside words.
        images: bool,
        /// What the answer says; the first text is the report.
        fields: Vec<Field>,
        /// Most tokens of the answer.
        tokens_out_max: u32,
    },
}

/// A tensor of a contract.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Name.
    pub name: String,
    /// Type of the elements.
    pub dtype: DType,
    /// Extents, the batch first; 0 stands for the batch.
    pub shape: Vec<u64>,
    /// Unit of the elements; empty where they have none.
    pub unit: String,
    /// Elements outside mean nothing. Elements that are no number never do.
    pub range: Option<(f64, f64)>,
}

/// A field of a form.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Name.
    pub name: String,
    /// What may stand in it.
    pub kind: FieldKind,
    /// What it is about, with its unit.
    pub about: String,
}

/// What may stand in a field.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldKind {
    /// Words.
    Text,
    /// A list of words.
    Texts,
    /// A number within bounds.
    Number(f64, f64),
    /// Yes or no.
    Truth,
    /// One of these.
    Choice(Vec<String>),
}

/// Why tensors are not what a contract says.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ContractError {
    /// No contract of that name.
    #[error("task {task:?} is unknown; known are {known}")]
    Unknown {
        /// The name.
        task: String,
        /// Those there are.
        known: String,
    },
    /// Tensors for a task of words, or the other way.
    #[error("task {task:?} takes {wanted}")]
    Kind {
        /// The task.
        task: String,
        /// What it takes.
        wanted: &'static str,
    },
    /// A tensor is missing.
    #[error("there is no tensor {0:?}")]
    Missing(String),
    /// A tensor has another type or shape.
    #[error("tensor {name:?} is {found}, the contract says {wanted}")]
    Shape {
        /// Its name.
        name: String,
        /// What the contract says.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// Tensors disagree about the batch.
    #[error("tensor {name:?} has a batch of {found}, others of {wanted}")]
    Batch {
        /// Its name.
        name: String,
        /// The batch of the first.
        wanted: u64,
        /// Its own.
        found: u64,
    },
    /// An element means nothing.
    #[error("tensor {name:?} holds {value}, outside {low} to {high}")]
    Value {
        /// Its name.
        name: String,
        /// The element.
        value: f64,
        /// The least that means something.
        low: f64,
        /// The most.
        high: f64,
    },
    /// A form is not filled as it should be.
    #[error("field {name:?}: {what}")]
    Field {
        /// Its name.
        name: String,
        /// What is wrong.
        what: String,
    },
}

impl Contract {
    /// Checks what goes in; gives the batch.
    pub fn check_inputs(&self, tensors: &[Tensor]) -> Result<u64, ContractError> {
        match &self.kind {
            Kind::Tensors { inputs, .. } => check(inputs, tensors, None),
            Kind::Messages { .. } => Err(self.takes("words, not tensors")),
        }
    }

    /// Checks an answer to a request of a batch.
    pub fn check_outputs(&self, tensors: &[Tensor], batch: u64) -> Result<(), ContractError> {
        match &self.kind {
            Kind::Tensors { outputs, .. } => check(outputs, tensors, Some(batch)).map(drop),
            Kind::Messages { .. } => Err(self.takes("words, and gave tensors")),
        }
    }

    /// Elements that the outputs of a batch have at most; none of words.
    pub fn outputs_elements(&self, batch: u64) -> Option<u64> {
        let Kind::Tensors { outputs, .. } = &self.kind else { return None };
        let extent = |(place, extent): (usize, &u64)| match (place, *extent) {
            (0, 0) => batch,
            (_, 0) => BATCH_MAX,
            (_, extent) => extent,
        };
        let elements =
            |port: &Port| port.shape.iter().enumerate().map(extent).fold(1, u64::saturating_mul);
        Some(outputs.iter().map(elements).fold(0, u64::saturating_add))
    }

    /// That this is no task for what was given.
    pub fn takes(&self, wanted: &'static str) -> ContractError {
        ContractError::Kind { task: self.task.clone(), wanted }
    }

    /// Whether several requests may go as one.
    pub fn has_batches(&self) -> bool {
        match &self.kind {
            Kind::Tensors { inputs, outputs } => {
                let mut ports = inputs.iter().chain(outputs);
                ports.all(|port| port.shape.first() == Some(&0))
            }
            Kind::Messages { .. } => false,
        }
    }
}

fn check(ports: &[Port], tensors: &[Tensor], mut batch: Option<u64>) -> Result<u64, ContractError> {
    for port in ports {
        let missing = || ContractError::Missing(port.name.clone());
        let tensor = tensors.iter().find(|tensor| tensor.name == port.name).ok_or_else(missing)?;
        let fits = tensor.dtype == port.dtype
            && tensor.shape.len() == port.shape.len()
            && tensor.shape.iter().zip(&port.shape).all(|(found, wanted)| match wanted {
                0 => (1..=BATCH_MAX).contains(found),
                wanted => found == wanted,
            });
        if !fits {
            return Err(ContractError::Shape {
                name: port.name.clone(),
                wanted: format!("{} {:?}", port.dtype.name(), port.shape),
                found: format!("{} {:?}", tensor.dtype.name(), tensor.shape),
            });
        }
        if port.shape.first() == Some(&0) {
            let found = tensor.shape.first().copied().unwrap_or(1);
            let wanted = *batch.get_or_insert(found);
            if found != wanted {
                return Err(ContractError::Batch { name: port.name.clone(), wanted, found });
            }
        }
        check_values(port, tensor)?;
    }
    Ok(batch.unwrap_or(1))
}

/// Every number is one, and within the range.
fn check_values(port: &Port, tensor: &Tensor) -> Result<(), ContractError> {
    let (low, high) = port.range.unwrap_or((f64::MIN, f64::MAX));
    // Rounding may carry a sigmoid's end a little over.
    let slack = if port.range.is_some() { 1e-4 * (high - low).abs().min(1.0) } else { 0.0 };
    let within = |value: f64| (low - slack..=high + slack).contains(&value);
    let wrong = match tensor.dtype {
        DType::F32 => {
            let (words, _) = tensor.data.as_chunks::<4>();
            let mut values = words.iter().map(|word| f64::from(f32::from_le_bytes(*word)));
            values.find(|value| !within(*value))
        }
        DType::F64 => {
            let (words, _) = tensor.data.as_chunks::<8>();
            words.iter().map(|word| f64::from_le_bytes(*word)).find(|value| !within(*value))
        }
        _ => None,
    };
    match wrong {
        None => Ok(()),
        Some(value) => Err(ContractError::Value { name: port.name.clone(), value, low, high }),
    }
}
