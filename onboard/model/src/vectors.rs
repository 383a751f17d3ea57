//! Known-answer vectors: questions whose answers the model must reproduce on this machine.

use bytes::Bytes;
use codecs::{
    package::{Manifest, Port, PortError},
    tensor::{DType, Tensor, TensorError},
};
use serde::Deserialize;

/// Most vectors in one package.
pub const MAX_VECTORS: usize = 64;

/// One question with its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownAnswer {
    /// What the question is about.
    pub name: String,
    /// The question.
    pub inputs: Vec<Tensor>,
    /// The answer.
    pub outputs: Vec<Tensor>,
    /// How far each floating-point element may be from the answer, absolutely.
    pub tolerance: f64,
}

/// Why known answers cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum VectorsError {
    /// Not the JSON that a vector file is.
    #[error("not a file of known answers: {0}")]
    Syntax(String),
    /// No vector, or more than [`MAX_VECTORS`].
    #[error("holds {0} known answers; a package has 1 to {MAX_VECTORS}")]
    Count(usize),
    /// A tensor's data is not hexadecimal, or not as long as its shape asks for.
    #[error("known answer {name:?}: {problem}")]
    Tensor {
        /// The vector's name.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

/// How an answer differs from the known one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "known answer {vector:?}, output {output:?}, element {element}: {found} instead of {wanted}"
)]
pub struct Mismatch {
    /// The vector's name.
    pub vector: String,
    /// The output's name.
    pub output: String,
    /// Index of the worst element.
    pub element: usize,
    /// The known value.
    pub wanted: f64,
    /// The value found.
    pub found: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    vectors: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    tolerance: f64,
    inputs: Vec<Values>,
    outputs: Vec<Values>,
}

/// A tensor in the file: its elements' little-endian bytes in hexadecimal, which is exact.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Values {
    name: String,
    datatype: String,
    shape: Vec<u64>,
    data: String,
}

impl Values {
    fn tensor(self) -> Result<Tensor, String> {
        let dtype = DType::from_name(&self.datatype)
            .ok_or_else(|| format!("unknown type {:?}", self.datatype))?;
        let digit = |c: u8| (c as char).to_digit(16).map(|digit| digit as u8);
        let (pairs, odd) = self.data.as_bytes().as_chunks::<2>();
        let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
        let data = bytes
            .collect::<Option<Vec<u8>>>()
            .filter(|_| odd.is_empty())
            .ok_or_else(|| format!("the data of {:?} is not hexadecimal", self.name))?;
        Tensor::new(self.name, dtype, self.shape, Bytes::from(data))
            .map_err(|error: TensorError| error.to_string())
    }
}

/// Reads the vectors of a package and checks that they fit its manifest.
pub fn from_json(json: &[u8], manifest: &Manifest) -> Result<Vec<KnownAnswer>, VectorsError> {
    let file: File =
        serde_json::from_slice(json).map_err(|error| VectorsError::Syntax(error.to_string()))?;
    if !(1..=MAX_VECTORS).contains(&file.vectors.len()) {
        return Err(VectorsError::Count(file.vectors.len()));
    }
    let tensors = |values: Vec<Values>, ports: &[Port]| {
        let tensors = values.into_iter().map(Values::tensor).collect::<Result<Vec<_>, _>>()?;
        if tensors.len() != ports.len() {
            return Err(format!("{} tensors for {} ports", tensors.len(), ports.len()));
        }
        for (tensor, port) in tensors.iter().zip(ports) {
            port.check(tensor, manifest.max_batch).map_err(|error: PortError| error.to_string())?;
        }
        Ok(tensors)
    };
    let vector = |entry: Entry| {
        let fault = |problem| VectorsError::Tensor { name: entry.name.clone(), problem };
        if !entry.tolerance.is_finite() || entry.tolerance < 0.0 {
            return Err(fault(format!("tolerance {} is not a distance", entry.tolerance)));
        }
        let inputs = tensors(entry.inputs, &manifest.inputs).map_err(fault)?;
        let outputs = tensors(entry.outputs, &manifest.outputs).map_err(fault)?;
        Ok(KnownAnswer { inputs, outputs, tolerance: entry.tolerance, name: entry.name })
    };
    file.vectors.into_iter().map(vector).collect()
}

/// The elements as numbers, for comparison.
fn numbers(tensor: &Tensor) -> Vec<f64> {
    let data = &tensor.data[..];
    macro_rules! read {
        ($type:ty) => {
            data.as_chunks::<{ size_of::<$type>() }>()
                .0
                .iter()
                .map(|chunk| <$type>::from_le_bytes(*chunk) as f64)
                .collect()
        };
    }
    match tensor.dtype {
        DType::Bool | DType::U8 => read!(u8),
        DType::U16 => read!(u16),
        DType::U32 => read!(u32),
        DType::U64 => read!(u64),
        DType::I8 => read!(i8),
        DType::I16 => read!(i16),
        DType::I32 => read!(i32),
        DType::I64 => read!(i64),
        DType::F32 => read!(f32),
        DType::F64 => read!(f64),
    }
}

impl KnownAnswer {
    /// Compares a model's answer, whose names, types and shapes were already checked.
    pub fn compare(&self, answer: &[Tensor]) -> Result<(), Mismatch> {
        for (known, given) in self.outputs.iter().zip(answer) {
            let (wanted, found) = (numbers(known), numbers(given));
            let float = matches!(known.dtype, DType::F32 | DType::F64);
            let tolerance = if float { self.tolerance } else { 0.0 };
            let mut worst = (0, -1.0);
            for (element, (wanted, found)) in wanted.iter().zip(&found).enumerate() {
                // A NaN is as far away as can be.
                let distance = (wanted - found).abs();
                let distance = if distance.is_nan() { f64::INFINITY } else { distance };
                if distance > worst.1 {
                    worst = (element, distance);
                }
            }
            if wanted.len() != found.len() || worst.1 > tolerance {
                return Err(Mismatch {
                    vector: self.name.clone(),
                    output: known.name.clone(),
                    element: worst.0,
                    wanted: wanted.get(worst.0).copied().unwrap_or(f64::NAN),
                    found: found.get(worst.0).copied().unwrap_or(f64::NAN),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use codecs::package::{Digest, FORMAT, FileEntry, MODEL_FILE, Provenance, VECTORS_FILE};

    use super::*;

    fn manifest() -> Manifest {
        let port = |name: &str, width| Port {
            name: name.into(),
            datatype: DType::F32,
            shape: vec![-1, width],
            unit: String::new(),
            elements: vec![],
        };
        let entry = FileEntry { bytes: 0, sha256: Digest::of(b"") };
        Manifest {
            format: FORMAT,
            name: "m".into(),
            version: "1.0.0".into(),
            description: String::new(),
            tasks: vec!["t/1".into()],
            inputs: vec![port("x", 2)],
            outputs: vec![port("y", 1)],
            max_batch: 2,
            parameters: [].into(),
            bounds: [].into(),
            provenance: Provenance::default(),
            scores: vec![],
            files: [MODEL_FILE, VECTORS_FILE].map(|name| (name.into(), entry.clone())).into(),
        }
    }

    const GOOD: &str = r#"{"vectors": [{"name": "one", "tolerance": 0.001,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": "0000803f00000040"}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 1], "data": "00004040"}]}]}"#;

    #[test]
    fn a_good_file_reads_as_it_stands() {
        let known = from_json(GOOD.as_bytes(), &manifest()).unwrap().remove(0);
        assert_eq!(known.inputs[0].to_f32(), Some(vec![1.0, 2.0]));
        assert_eq!(known.outputs[0].to_f32(), Some(vec![3.0]));
        assert_eq!(known.compare(&known.outputs), Ok(()));
        let near = Tensor::from_f32("y", vec![1, 1], &[3.0009]).unwrap();
        assert_eq!(known.compare(&[near]), Ok(()));
        let far = Tensor::from_f32("y", vec![1, 1], &[3.0011]).unwrap();
        assert_eq!(known.compare(&[far]).unwrap_err().wanted, 3.0);
    }

    #[test]
    fn every_contradiction_is_found() {
        for (from, to) in [
            ("4040", "404"),
            ("4040", "40zz"),
            ("4040", "404040"),
            ("[1, 2]", "[1, 3]"),
            ("[1, 2]", "[18446744073709551615, 2]"),
            ("FP32", "FP31"),
            ("\"x\"", "\"z\""),
            ("0.001", "-1"),
            ("\"tolerance\"", "\"tolerances\""),
        ] {
            let broken = GOOD.replacen(from, to, 1);
            assert_ne!(broken, GOOD);
            assert!(from_json(broken.as_bytes(), &manifest()).is_err(), "{from} -> {to}");
        }
        for end in 0..GOOD.len() {
            assert!(from_json(&GOOD.as_bytes()[..end], &manifest()).is_err(), "cut at {end}");
        }
        let none = from_json(br#"{"vectors": []}"#, &manifest());
        assert_eq!(none, Err(VectorsError::Count(0)));
    }
}
