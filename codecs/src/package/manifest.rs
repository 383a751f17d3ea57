//! What a package promises: its task, inputs and outputs, thresholds, origin, scores and files.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use super::{
    FORMAT, MAX_FILE_BYTES, MAX_FILES, MAX_PORTS, MAX_RANK, MODEL_FILE, VECTORS_FILE,
    signature::Digest,
};
use crate::tensor::{DType, Tensor};

/// Name and version of the contract that a model fulfils, for instance `cloud-mask/1`.
///
/// Work is asked for by task and never by model, so that a better model takes over unnoticed.
pub type Task = String;

/// One input or output of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "mission", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "mission", serde(deny_unknown_fields))]
pub struct Port {
    /// Name in the model's graph.
    pub name: String,
    /// Type of the elements.
    #[cfg_attr(feature = "mission", serde(with = "dtype"))]
    pub datatype: DType,
    /// Extent of each dimension; -1 in the first place is the batch, up to the manifest's most.
    pub shape: Vec<i64>,
    /// Unit and scale of the elements, in words.
    pub unit: String,
    /// What each element along the second dimension means, where that has names.
    #[cfg_attr(feature = "mission", serde(default))]
    pub elements: Vec<String>,
}

/// Why a tensor is not what a port takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{port:?} takes {wanted}, found {found}")]
pub struct PortError {
    /// The input's or output's name.
    pub port: String,
    /// What it takes.
    pub wanted: String,
    /// What was offered.
    pub found: String,
}

impl Port {
    /// Whether a tensor has this port's name, type and shape. Returns its batch size (1 where
    /// the port has no batch dimension).
    pub fn check(&self, tensor: &Tensor, max_batch: u64) -> Result<u64, PortError> {
        let fits = |(want, have): (&i64, &u64)| match u64::try_from(*want) {
            Ok(want) => want == *have,
            Err(_) => (1..=max_batch).contains(have),
        };
        let same = self.name == tensor.name
            && self.datatype == tensor.dtype
            && self.shape.len() == tensor.shape.len()
            && self.shape.iter().zip(&tensor.shape).all(fits);
        if !same {
            return Err(PortError {
                port: self.name.clone(),
                wanted: alloc::format!(
                    "{} {:?} with a batch of 1 to {max_batch} for -1",
                    self.datatype.name(),
                    self.shape
                ),
                found: alloc::format!(
                    "{:?}, {} {:?}",
                    tensor.name,
                    tensor.dtype.name(),
                    tensor.shape
                ),
            });
        }
        let batched = self.shape.first().is_some_and(|extent| *extent < 0);
        Ok(if batched { tensor.shape.first().copied().unwrap_or(1) } else { 1 })
    }
}

/// Where a model comes from, for people and for auditors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "mission", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "mission", serde(deny_unknown_fields))]
pub struct Provenance {
    /// The data it learned from.
    pub trained_on: String,
    /// The script that makes the same model again.
    pub script: String,
    /// The seed of everything random in that script.
    pub seed: u64,
    /// Versions of the tools that made this file.
    pub tools: String,
    /// Licence of the model and of the data.
    pub licence: String,
    /// Whom to credit.
    pub credit: String,
    /// What it must not be relied on for.
    pub limits: String,
}

/// One measured score and, as important, what it was measured on.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "mission", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "mission", serde(deny_unknown_fields))]
pub struct Score {
    /// The measure, for instance `F1`.
    pub measure: String,
    /// The data.
    pub on: String,
    /// The value.
    pub value: f64,
}

/// Length and digest of one file of the package.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "mission", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "mission", serde(deny_unknown_fields))]
pub struct FileEntry {
    /// Its length.
    pub bytes: u64,
    /// Its digest.
    pub sha256: Digest,
}

/// The manifest of a model package.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "mission", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "mission", serde(deny_unknown_fields))]
pub struct Manifest {
    /// Version of the package's layout: [`FORMAT`].
    pub format: u32,
    /// Name of the package.
    pub name: String,
    /// Version of the package.
    pub version: String,
    /// What it does, in a sentence.
    pub description: String,
    /// The task contracts it fulfils.
    pub tasks: Vec<Task>,
    /// What it takes.
    pub inputs: Vec<Port>,
    /// What it gives.
    pub outputs: Vec<Port>,
    /// Most items in one batch.
    pub max_batch: u64,
    /// Thresholds and scales around the model, which can change without a new model.
    pub parameters: BTreeMap<String, f64>,
    /// Between which values a parameter may be changed, ends included. One without an entry stays
    /// as it is.
    #[cfg_attr(feature = "mission", serde(default, skip_serializing_if = "BTreeMap::is_empty"))]
    pub bounds: BTreeMap<String, [f64; 2]>,
    /// Where it comes from.
    pub provenance: Provenance,
    /// How well it did, and on what.
    pub scores: Vec<Score>,
    /// Every other file of the package but the signature.
    pub files: BTreeMap<String, FileEntry>,
}

/// Why a manifest cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is longer than [`super::MAX_MANIFEST_BYTES`].
    #[error("{bytes} bytes; at most {} are read", super::MAX_MANIFEST_BYTES)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is not the JSON that a manifest is.
    #[error("not a manifest: {0}")]
    Syntax(String),
    /// It has another layout version.
    #[error("layout version {found}; this build reads {FORMAT}")]
    Format {
        /// The version found.
        found: u32,
    },
    /// A value contradicts another or a bound.
    #[error("{what} {problem}")]
    Value {
        /// Which value.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Whether a manifest may name this file: one plain name, no way out of the folder.
pub fn is_plain_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=64).contains(&name.len()) && !name.starts_with('.') && name.chars().all(plain)
}

impl Manifest {
    /// Checks what the types cannot say: the layout version, and every bound of this module.
    pub fn check(&self) -> Result<(), ManifestError> {
        if self.format != FORMAT {
            return Err(ManifestError::Format { found: self.format });
        }
        let value = |what: &str, problem: &str| {
            Err(ManifestError::Value { what: what.into(), problem: problem.into() })
        };
        if self.tasks.is_empty() || self.tasks.len() > MAX_PORTS {
            return value("tasks", "names no task, or more than a model can have");
        }
        if !(1..=65_536).contains(&self.max_batch) {
            return value("max_batch", "is not between 1 and 65536");
        }
        for (what, ports) in [("inputs", &self.inputs), ("outputs", &self.outputs)] {
            if ports.is_empty() || ports.len() > MAX_PORTS {
                return value(what, "has no entry, or more than 32");
            }
            for port in ports {
                let fixed = port.shape.get(1..).unwrap_or_default();
                let first = port.shape.first().copied().unwrap_or(1);
                let extents = (first == -1 || (1..=1 << 20).contains(&first))
                    && fixed.iter().all(|extent| (1..=1 << 20).contains(extent));
                if !extents || port.shape.len() > MAX_RANK {
                    return value(&port.name, "has an extent or a rank out of bounds");
                }
            }
        }
        if let Some((name, _)) = self.parameters.iter().find(|(_, value)| !value.is_finite()) {
            return value(name, "is not a finite number");
        }
        for (name, [least, most]) in &self.bounds {
            let within = |value: f64| (*least..=*most).contains(&value);
            // Contains says no where a bound is no number.
            if !self.parameter(name).is_some_and(within) || !(most - least).is_finite() {
                return value(name, "is no parameter, or lies outside of its bounds");
            }
        }
        if self.files.len() > MAX_FILES {
            return value("files", "names more files than a package may hold");
        }
        for needed in [MODEL_FILE, VECTORS_FILE] {
            if !self.files.contains_key(needed) {
                return value("files", &alloc::format!("does not name {needed}"));
            }
        }
        for (name, entry) in &self.files {
            if !is_plain_name(name)
                || matches!(&**name, super::MANIFEST_FILE | super::SIGNATURE_FILE)
            {
                return value(name, "is not a file name that a manifest may hold");
            }
            if entry.bytes > MAX_FILE_BYTES {
                return value(name, "is longer than a package's file may be");
            }
        }
        Ok(())
    }

    /// A threshold or scale by name.
    pub fn parameter(&self, name: &str) -> Option<f64> {
        self.parameters.get(name).copied()
    }

    /// Whether a parameter may be given this value; the error says why not.
    pub fn allows(&self, name: &str, wanted: f64) -> Result<(), ManifestError> {
        let refuse = |problem: String| Err(ManifestError::Value { what: name.into(), problem });
        match (self.parameter(name), self.bounds.get(name)) {
            (None, _) => {
                let known: Vec<&str> = self.bounds.keys().map(|name| &**name).collect();
                refuse(alloc::format!("is no parameter of {}; known: {known:?}", self.name))
            }
            (Some(_), None) => refuse("has no bounds in the manifest, so that it stays".into()),
            (Some(_), Some([least, most])) if !(*least..=*most).contains(&wanted) => {
                refuse(alloc::format!("= {wanted} is not within {least} to {most}"))
            }
            _ => Ok(()),
        }
    }

    /// Whether the model fulfils this task.
    pub fn fulfils(&self, task: &str) -> bool {
        self.tasks.iter().any(|own| own == task)
    }

    /// Reads and checks a manifest. Check its signature first: parsing is for trusted bytes.
    #[cfg(feature = "mission")]
    pub fn from_json(json: &[u8]) -> Result<Self, ManifestError> {
        if json.len() > super::MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLong { bytes: json.len() });
        }
        let manifest: Self = serde_json::from_slice(json)
            .map_err(|error| ManifestError::Syntax(alloc::format!("{error}")))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Writes a manifest. The bytes it returns are the ones to sign and to store.
    #[cfg(feature = "mission")]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

#[cfg(feature = "mission")]
mod dtype {
    use alloc::string::String;

    use crate::tensor::DType;

    pub fn serialize<S: serde::Serializer>(dtype: &DType, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(dtype.name())
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<DType, D::Error> {
        let name = <String as serde::Deserialize>::deserialize(from)?;
        DType::from_name(&name).ok_or_else(|| {
            let wanted = "a type such as FP32 or UINT8";
            serde::de::Error::invalid_value(serde::de::Unexpected::Str(&name), &wanted)
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::{borrow::ToOwned, vec};

    use super::*;

    fn manifest() -> Manifest {
        let port = |name: &str, width| Port {
            name: name.to_owned(),
            datatype: DType::F32,
            shape: vec![-1, width],
            unit: "1".to_owned(),
            elements: vec![],
        };
        let entry = FileEntry { bytes: 3, sha256: Digest::of(b"abc") };
        Manifest {
            format: FORMAT,
            name: "m".to_owned(),
            version: "1.0.0".to_owned(),
            description: "a model".to_owned(),
            tasks: vec!["t/1".to_owned()],
            inputs: vec![port("x", 2)],
            outputs: vec![port("y", 1)],
            max_batch: 4,
            parameters: [("threshold".to_owned(), 0.5), ("fixed".to_owned(), 1.0)].into(),
            bounds: [("threshold".to_owned(), [0.1, 0.9])].into(),
            provenance: Provenance::default(),
            scores: vec![],
            files: [(MODEL_FILE.to_owned(), entry.clone()), (VECTORS_FILE.to_owned(), entry)]
                .into(),
        }
    }

    #[test]
    fn parameters_change_within_bounds_only() {
        let manifest = manifest();
        for fine in [0.1, 0.5, 0.9] {
            assert_eq!(manifest.allows("threshold", fine), Ok(()));
        }
        for wrong in [0.09, 0.91, f64::NAN, f64::INFINITY] {
            let text = manifest.allows("threshold", wrong).unwrap_err();
            assert!(alloc::format!("{text}").contains("0.1 to 0.9"), "{text}");
        }
        assert!(manifest.allows("fixed", 1.0).is_err() && manifest.allows("other", 1.0).is_err());
        for bounds in [[0.6, 0.9], [0.9, 0.1], [f64::NAN, 0.9], [f64::NEG_INFINITY, 0.9]] {
            let bounds = [("threshold".to_owned(), bounds)].into();
            assert!(Manifest { bounds, ..manifest.clone() }.check().is_err());
        }
        let bounds = [("other".to_owned(), [0.0, 1.0])].into();
        assert!(Manifest { bounds, ..manifest }.check().is_err());
    }

    #[test]
    fn a_port_takes_its_own_shape_only() {
        let port = &manifest().inputs[0];
        let tensor = |name: &str, shape: Vec<u64>| {
            let count = shape.iter().product::<u64>() as usize;
            Tensor::from_f32(name, shape, &vec![0.0; count]).unwrap()
        };
        assert_eq!(port.check(&tensor("x", vec![3, 2]), 4), Ok(3));
        for wrong in [
            tensor("z", vec![3, 2]),
            tensor("x", vec![5, 2]),
            tensor("x", vec![0, 2]),
            tensor("x", vec![2, 3]),
            tensor("x", vec![2]),
        ] {
            assert!(port.check(&wrong, 4).is_err(), "{wrong:?}");
        }
        let bytes = Tensor::new("x", DType::U8, vec![1, 2], vec![0, 0].into()).unwrap();
        assert!(port.check(&bytes, 4).is_err());
    }

    #[test]
    fn every_bound_is_held() {
        assert_eq!(manifest().check(), Ok(()));
        type Change = fn(&mut Manifest);
        let broken: [(&str, Change); 9] = [
            ("layout", |m| m.format = 2),
            ("tasks", |m| m.tasks.clear()),
            ("max_batch", |m| m.max_batch = 0),
            ("inputs", |m| m.inputs.clear()),
            ("outputs", |m| m.outputs.clear()),
            ("x", |m| m.inputs[0].shape = vec![2, -1]),
            ("threshold", |m| *m.parameters.get_mut("threshold").unwrap() = f64::NAN),
            ("vectors.json", |m| m.files.retain(|name, _| name != VECTORS_FILE)),
            ("../model", |m| {
                let entry = m.files[MODEL_FILE].clone();
                m.files.insert("../model".to_owned(), entry);
            }),
        ];
        for (word, change) in broken {
            let mut changed = manifest();
            change(&mut changed);
            let error = alloc::format!("{}", changed.check().unwrap_err());
            assert!(error.contains(word), "{error:?} does not mention {word:?}");
        }
    }

    #[test]
    fn names_stay_in_the_folder() {
        for good in ["model.onnx", "LICENSE.OPS-SAT-AD", "a_b"] {
            assert!(is_plain_name(good), "{good}");
        }
        for bad in ["", ".", "..", "../a", "a/b", "a\\b", ".hidden", "a b", "a\0"] {
            assert!(!is_plain_name(bad), "{bad:?}");
        }
    }

    #[test]
    #[cfg(feature = "mission")]
    fn json_round_trips_and_unknown_fields_are_refused() {
        let json = manifest().to_json();
        assert_eq!(Manifest::from_json(json.as_bytes()), Ok(manifest()));
        let extra = json.replacen("\"name\"", "\"nome\": 1, \"name\"", 1);
        let error = Manifest::from_json(extra.as_bytes()).unwrap_err();
        assert!(alloc::format!("{error}").contains("nome"), "{error}");
        for end in 0..json.trim_end().len() {
            assert!(Manifest::from_json(&json.as_bytes()[..end]).is_err(), "cut at {end}");
        }
        let long = vec![b' '; super::super::MAX_MANIFEST_BYTES + 1];
        assert!(matches!(Manifest::from_json(&long), Err(ManifestError::TooLong { .. })));
    }
}
