//! The tasks that a model can do here, and the two places each has for one.

use codecs::{package::Manifest, tensor::DType};
use serde::{Deserialize, Serialize};

use crate::score::{features, telemetry, tiles};

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Says how unusual a window of telemetry looks.
    Telemetry,
    /// Says where a tile is under cloud.
    Tiles,
}

impl Task {
    /// Every task.
    pub const ALL: [Self; 2] = [Self::Telemetry, Self::Tiles];

    /// Its name in commands and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Telemetry => "telemetry",
            Self::Tiles => "tiles",
        }
    }

    /// The task of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.name() == name)
    }

    /// The contract that a package must fulfil.
    pub fn contract(self) -> &'static str {
        match self {
            Self::Telemetry => telemetry::TASK,
            Self::Tiles => tiles::TASK,
        }
    }

    /// Whether a package does this task with tensors of the shapes that are asked; the error says
    /// what differs.
    pub fn check(self, manifest: &Manifest) -> Result<(), String> {
        let name = &manifest.name;
        if !manifest.fulfils(self.contract()) {
            let (contract, does) = (self.contract(), &manifest.tasks);
            return Err(format!("{name:?} does not do {contract:?}, it does {does:?}"));
        }
        let [input] = &*manifest.inputs else {
            return Err(format!("{name:?} takes {} inputs, asked is one", manifest.inputs.len()));
        };
        let batch = |shape: &[i64]| matches!(shape.first(), Some(-1 | 1));
        let output = |name: &str| {
            manifest
                .outputs
                .iter()
                .any(|port| port.name == name && port.datatype == DType::F32 && batch(&port.shape))
        };
        let fits = match self {
            Self::Telemetry => {
                let wanted = features::COUNT as i64;
                let score = manifest.outputs.first();
                let score = score.is_some_and(|port| {
                    port.datatype == DType::F32
                        && batch(&port.shape)
                        && port.shape.get(1..) == Some(&[1])
                });
                input.datatype == DType::F32 && input.shape.get(1..) == Some(&[wanted]) && score
            }
            Self::Tiles => {
                let pixels = |side: &i64| (1..=i64::from(tiles::SIDE_MAX)).contains(side);
                let sides = match &*input.shape {
                    [_, bands, height, width] => {
                        *bands == i64::from(tiles::BANDS) && pixels(height) && pixels(width)
                    }
                    _ => false,
                };
                input.datatype == DType::U8 && sides && output("mask") && output("fraction")
            }
        };
        if fits && batch(&input.shape) {
            return Ok(());
        }
        let (kind, shape) = (input.datatype.name(), &input.shape);
        let asked = self.contract();
        Err(format!("{name:?} takes {kind} {shape:?}, or lacks an output: not as {asked:?} asks"))
    }
}

/// One of the two places of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

impl Slot {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Its letter, small, as in file names.
    pub fn letter(self) -> char {
        match self {
            Self::A => 'a',
            Self::B => 'b',
        }
    }
}
