//! Task contracts: what goes in and what comes out, whatever the pool and its model.

use codecs::tensor::{DType, Tensor};

/// A tensor of a contract; 0 in a shape stands for the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name.
    pub name: &'static str,
    /// Type of the elements.
    pub dtype: DType,
    /// Extents, the batch first.
    pub shape: &'static [u64],
    /// The elements are shares of one: outside 0 to 1 they mean nothing.
    pub share: bool,
}

/// A task contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contract {
    /// Name and version.
    pub task: &'static str,
    /// What goes in.
    pub inputs: &'static [Port],
    /// What comes out.
    pub outputs: &'static [Port],
}

/// Most items of one batch.
pub const BATCH_MAX: u64 = 256;

const TILE: Port = Port { name: "tile", dtype: DType::U8, shape: &[0, 4, 64, 64], share: false };
const MASK: Port = Port { name: "mask", dtype: DType::F32, shape: &[0, 1, 16, 16], share: true };
const FRACTION: Port = Port { name: "fraction", dtype: DType::F32, shape: &[0, 1], share: true };

/// Every contract that this build knows.
pub const CONTRACTS: [Contract; 3] = [
    Contract { task: "cloud-mask/1", inputs: &[TILE], outputs: &[MASK, FRACTION] },
    Contract { task: "cloud-screen/1", inputs: &[TILE], outputs: &[MASK, FRACTION] },
    Contract {
        task: "telemetry-triage/1",
        inputs: &[Port { name: "features", dtype: DType::F32, shape: &[0, 18], share: false }],
        outputs: &[Port { name: "score", dtype: DType::F32, shape: &[0, 1], share: true }],
    },
];

/// Why tensors are not what a contract says.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ContractError {
    /// No contract of that name.
    #[error("task {0:?} is unknown; known are cloud-mask/1, cloud-screen/1, telemetry-triage/1")]
    Unknown(String),
    /// A tensor is missing.
    #[error("there is no tensor {0:?}")]
    Missing(&'static str),
    /// A tensor has another type or shape.
    #[error("tensor {name:?} is {found}, the contract says {wanted}")]
    Shape {
        /// Its name.
        name: &'static str,
        /// What the contract says.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// Tensors disagree about the batch.
    #[error("tensor {name:?} has a batch of {found}, others of {wanted}")]
    Batch {
        /// Its name.
        name: &'static str,
        /// The batch of the first.
        wanted: u64,
        /// Its own.
        found: u64,
    },
    /// An element means nothing.
    #[error("tensor {name:?} holds {value}, which is no share of one")]
    Value {
        /// Its name.
        name: &'static str,
        /// The element.
        value: f32,
    },
}

impl Contract {
    /// The contract of a task.
    pub fn of(task: &str) -> Result<&'static Self, ContractError> {
        let known = CONTRACTS.iter().find(|contract| contract.task == task);
        known.ok_or_else(|| ContractError::Unknown(task.to_owned()))
    }

    /// Checks what goes in; gives the batch.
    pub fn check_inputs(&self, tensors: &[Tensor]) -> Result<u64, ContractError> {
        check(self.inputs, tensors, None)
    }

    /// Checks an answer to a request of a batch.
    pub fn check_outputs(&self, tensors: &[Tensor], batch: u64) -> Result<(), ContractError> {
        check(self.outputs, tensors, Some(batch)).map(drop)
    }

    /// An answer in a few words, for the list of jobs.
    pub fn summary(&self, tensors: &[Tensor]) -> String {
        let first =
            |name: &str| tensors.iter().find(|t| t.name == name)?.to_f32()?.first().copied();
        match (first("fraction"), first("score")) {
            (Some(fraction), _) => format!("cloud {:.0} %", fraction * 100.0),
            (_, Some(score)) => format!("anomaly score {score:.2}"),
            _ => "done".to_owned(),
        }
    }
}

fn check(ports: &[Port], tensors: &[Tensor], mut batch: Option<u64>) -> Result<u64, ContractError> {
    for port in ports {
        let tensor = tensors.iter().find(|tensor| tensor.name == port.name);
        let tensor = tensor.ok_or(ContractError::Missing(port.name))?;
        let fits = tensor.dtype == port.dtype
            && tensor.shape.len() == port.shape.len()
            && tensor.shape.iter().zip(port.shape).all(|(found, wanted)| match wanted {
                0 => (1..=BATCH_MAX).contains(found),
                wanted => found == wanted,
            });
        if !fits {
            return Err(ContractError::Shape {
                name: port.name,
                wanted: format!("{} {:?}", port.dtype.name(), port.shape),
                found: format!("{} {:?}", tensor.dtype.name(), tensor.shape),
            });
        }
        let found = tensor.shape.first().copied().unwrap_or(1);
        let wanted = *batch.get_or_insert(found);
        if found != wanted {
            return Err(ContractError::Batch { name: port.name, wanted, found });
        }
        let values = if port.share { tensor.to_f32().unwrap_or_default() } else { Vec::new() };
        // Rounding may carry a sigmoid's end a little over.
        if let Some(value) = values.into_iter().find(|value| !(-1e-4..=1.0001).contains(value)) {
            return Err(ContractError::Value { name: port.name, value });
        }
    }
    Ok(batch.unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(name: &str, shape: &[u64], value: f32) -> Tensor {
        let count = shape.iter().product::<u64>() as usize;
        Tensor::from_f32(name, shape.to_vec(), &vec![value; count]).unwrap()
    }

    #[test]
    fn an_answer_must_be_what_the_contract_says() {
        let contract = Contract::of("cloud-mask/1").unwrap();
        let mask = floats("mask", &[2, 1, 16, 16], 0.5);
        let fraction = floats("fraction", &[2, 1], 0.43);
        let good = [fraction.clone(), mask.clone()];
        assert_eq!(contract.check_outputs(&good, 2), Ok(()));
        assert_eq!(contract.summary(&good), "cloud 43 %");
        for (bad, words) in [
            (vec![mask.clone()], "no tensor \"fraction\""),
            (vec![fraction.clone(), floats("mask", &[2, 16, 16], 0.0)], "is FP32 [2, 16, 16]"),
            (vec![mask.clone(), floats("fraction", &[2, 1], 1.5)], "holds 1.5"),
            (vec![mask.clone(), floats("fraction", &[2, 1], f32::NAN)], "holds NaN"),
            (vec![mask, floats("fraction", &[1, 1], 0.5)], "batch of 1"),
        ] {
            let error = contract.check_outputs(&bad, 2).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert!(contract.check_outputs(&good, 1).is_err(), "more answers than questions");
    }

    #[test]
    fn questions_are_checked_too() {
        let contract = Contract::of("telemetry-triage/1").unwrap();
        assert_eq!(contract.check_inputs(&[floats("features", &[3, 18], 9.0)]), Ok(3));
        assert!(contract.check_inputs(&[floats("features", &[0, 18], 9.0)]).is_err());
        assert!(contract.check_inputs(&[]).is_err());
        assert!(Contract::of("tea/1").is_err());
    }
}
