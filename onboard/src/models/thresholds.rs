//! Threshold files: what a model's word is worth on this spacecraft, signed like a package and
//! changed without one.
//!
//! A file is a document (`thresholds.json`) and signatures over it (`signature.json`, the format of
//! a package's) in a folder, or in one bundle that goes up in pieces as a package does. The
//! signature is over a domain of its own in front of the document: neither can pass for the other.

use std::collections::BTreeMap;

use bytes::Bytes;
use codecs::package::{
    BundleError, Manifest, SIGNATURE_FILE, Signature, SignatureError, Trust, TrustError, pack,
    sign, unpack,
};
use serde::{Deserialize, Serialize};

use super::Task;
use crate::score::Baseline;

/// File name of the document.
pub const THRESHOLDS_FILE: &str = "thresholds.json";
/// Longest document that is read, in bytes.
pub const BYTES_MAX: usize = 1 << 20;
/// The version of the document that this code reads and writes.
const FORMAT: u32 = 1;
const DOMAIN: &[u8] = b"thresholds 1\0";
/// Most parameters of a document.
const PARAMETERS_MAX: usize = 64;

/// Where the numbers come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// What they were learnt from.
    pub learnt_from: String,
    /// How often a day all channels together are told without a cause, as was asked for.
    pub false_alarms_per_day: f64,
}

/// One document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// Version of the layout.
    pub format: u32,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The task that it is for.
    pub task: Task,
    /// Name of the package that it is for.
    pub model: String,
    /// Version of that package: what another version says is not comparable.
    pub model_version: String,
    /// Parameters of the package that take other values, within the bounds of its manifest.
    #[serde(default)]
    pub parameters: BTreeMap<String, f64>,
    /// Limits of channels, for the telemetry task.
    #[serde(default)]
    pub baseline: Option<Baseline>,
    /// Where it comes from.
    #[serde(default)]
    pub origin: Origin,
}

/// Why a threshold file is not put in force.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ThresholdsError {
    /// A file is missing, or one too many is there.
    #[error("a threshold file is {THRESHOLDS_FILE} and {SIGNATURE_FILE}: {0}")]
    Files(String),
    /// It is no bundle.
    #[error("{0}")]
    Bundle(#[from] BundleError),
    /// The signatures can't be read.
    #[error("{SIGNATURE_FILE}: {0}")]
    Signature(#[from] SignatureError),
    /// No signature counts.
    #[error("{}", match .0 {
        TrustError::Forged { key } => format!(
            "the signature by {key} does not fit {THRESHOLDS_FILE}: one of the two was changed"
        ),
        other => format!("{SIGNATURE_FILE}: {other}"),
    })]
    Trust(TrustError),
    /// The document is none, or contradicts itself.
    #[error("{THRESHOLDS_FILE}: {0}")]
    Document(String),
    /// It is for another model, or for another task.
    #[error("these thresholds are for {wanted}, asked is {found}")]
    Other {
        /// What they are for.
        wanted: String,
        /// What is there.
        found: String,
    },
    /// A parameter may not have that value.
    #[error("{0}")]
    Parameter(String),
}

fn message(document: &[u8]) -> Vec<u8> {
    [DOMAIN, document].concat()
}

impl Thresholds {
    /// Reads a document and proves it: one of the accepted keys signed these bytes.
    ///
    /// # Errors
    /// No signature counts, or the document contradicts itself.
    pub fn prove(
        document: &[u8],
        signature: &[u8],
        trust: &Trust,
    ) -> Result<Self, ThresholdsError> {
        if document.len() > BYTES_MAX {
            let wrong = format!("{} bytes, at most {BYTES_MAX} are read", document.len());
            return Err(ThresholdsError::Document(wrong));
        }
        let signatures = Signature::list_from_json(signature)?;
        trust.check(&message(document), &signatures).map_err(ThresholdsError::Trust)?;
        let wrong = |why: String| ThresholdsError::Document(why);
        let read: Self = serde_json::from_slice(document).map_err(|e| wrong(e.to_string()))?;
        if read.format != FORMAT {
            return Err(wrong(format!("format {}, this build reads {FORMAT}", read.format)));
        }
        if read.parameters.len() > PARAMETERS_MAX {
            return Err(wrong(format!("{} parameters", read.parameters.len())));
        }
        if let Some(baseline) = &read.baseline {
            if read.task != Task::Telemetry {
                return Err(wrong("a baseline is of telemetry".into()));
            }
            baseline.check().map_err(wrong)?;
        }
        Ok(read)
    }

    /// Reads a bundle and proves it.
    ///
    /// # Errors
    /// It is none, holds something else, or does not hold.
    pub fn from_bundle(bundle: &Bytes, trust: &Trust) -> Result<Self, ThresholdsError> {
        let files = unpack(bundle)?;
        let file = |name: &str| {
            let found = files.iter().find(|file| file.0 == name).map(|file| &file.1);
            found.ok_or_else(|| ThresholdsError::Files(format!("{name} is missing")))
        };
        if let Some((name, _)) =
            files.iter().find(|(name, _)| !matches!(&**name, THRESHOLDS_FILE | SIGNATURE_FILE))
        {
            return Err(ThresholdsError::Files(format!("it holds {name:?} too")));
        }
        Self::prove(file(THRESHOLDS_FILE)?, file(SIGNATURE_FILE)?, trust)
    }

    /// Whether a bundle says that it is a threshold file, not a package.
    pub fn is_bundle(bundle: &Bytes) -> bool {
        unpack(bundle).is_ok_and(|files| files.iter().any(|file| file.0 == THRESHOLDS_FILE))
    }

    /// Document and signature file, signed with a private key.
    pub fn signed(&self, private_key: &[u8; 32]) -> (String, String) {
        let document = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        let signature = sign(&message(document.as_bytes()), private_key);
        (document, Signature::list_to_json(&[signature]))
    }

    /// Document and signature as one file.
    ///
    /// # Errors
    /// They are too long.
    pub fn bundle(document: &[u8], signature: &[u8]) -> Result<Bytes, ThresholdsError> {
        Ok(pack(&[(THRESHOLDS_FILE, document), (SIGNATURE_FILE, signature)])?.into())
    }

    /// Whether they are for this task and package.
    ///
    /// # Errors
    /// They are for another one, or a parameter leaves the bounds of its manifest.
    pub fn fits(&self, task: Task, manifest: &Manifest) -> Result<(), ThresholdsError> {
        let of =
            |task: Task, name: &str, version: &str| format!("{}: {name} {version}", task.name());
        let wanted = of(self.task, &self.model, &self.model_version);
        let found = of(task, &manifest.name, &manifest.version);
        if wanted != found {
            return Err(ThresholdsError::Other { wanted, found });
        }
        let wrong = |error: String| ThresholdsError::Parameter(error);
        self.parameters.iter().try_for_each(|(name, value)| {
            manifest.allows(name, *value).map_err(|error| wrong(error.to_string()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::baseline::{Limits, Persistence};
    use codecs::package::PublicKey;

    const KEY: [u8; 32] = [7; 32];

    fn trust() -> Trust {
        Trust::nobody().accept(key())
    }

    fn key() -> PublicKey {
        sign(b"", &KEY).key
    }

    fn thresholds() -> Thresholds {
        let limits = Limits { level_bits: Some(1.5), high: Some(8.4), ..Limits::default() };
        Thresholds {
            format: FORMAT,
            name: "sky-7".into(),
            version: "1.0.0".into(),
            task: Task::Telemetry,
            model: "telemetry-anomaly".into(),
            model_version: "1.1.0".into(),
            parameters: BTreeMap::from([("margin".into(), 0.7)]),
            baseline: Some(Baseline {
                persistence: Persistence { least: 2, windows: 3 },
                channels: BTreeMap::from([("EPS_BATTERY_VOLTAGE".into(), limits)]),
            }),
            origin: Origin { learnt_from: "a test".into(), false_alarms_per_day: 1.0 },
        }
    }

    fn proven(thresholds: &Thresholds) -> Result<Thresholds, ThresholdsError> {
        let (document, signature) = thresholds.signed(&KEY);
        Thresholds::prove(document.as_bytes(), signature.as_bytes(), &trust())
    }

    #[test]
    fn what_was_signed_comes_back_alone_and_in_a_bundle() {
        let (document, signature) = thresholds().signed(&KEY);
        assert_eq!(proven(&thresholds()), Ok(thresholds()));
        let bundle = Thresholds::bundle(document.as_bytes(), signature.as_bytes()).unwrap();
        assert!(Thresholds::is_bundle(&bundle));
        assert_eq!(Thresholds::from_bundle(&bundle, &trust()), Ok(thresholds()));
        for end in 0..bundle.len() {
            assert!(Thresholds::from_bundle(&bundle.slice(..end), &trust()).is_err());
        }
    }

    #[test]
    fn only_an_accepted_key_over_these_very_bytes_counts() {
        let (document, signature) = thresholds().signed(&KEY);
        let prove = |document: &str, signature: &str, trust: &Trust| {
            let proven = Thresholds::prove(document.as_bytes(), signature.as_bytes(), trust);
            proven.unwrap_err().to_string()
        };
        let changed = document.replace("1.5", "9.5");
        let error = prove(&changed, &signature, &trust());
        assert!(error.contains("does not fit thresholds.json"), "{error}");
        let nobody = prove(&document, &signature, &Trust::nobody());
        assert!(nobody.contains("not among the 0 accepted"), "{nobody}");
        // A package's signature is over its manifest alone: it can't be used for a document.
        let other = Signature::list_to_json(&[sign(document.as_bytes(), &KEY)]);
        assert!(prove(&document, &other, &trust()).contains("does not fit"));
    }

    #[test]
    fn what_contradicts_itself_is_refused_though_it_is_signed() {
        let refused = |change: &dyn Fn(&mut Thresholds)| {
            let mut thresholds = thresholds();
            change(&mut thresholds);
            proven(&thresholds).unwrap_err().to_string()
        };
        assert!(refused(&|of| of.format = 2).contains("format 2"));
        assert!(refused(&|of| of.task = Task::Tiles).contains("of telemetry"));
        let none = refused(&|of| {
            of.baseline.as_mut().unwrap().persistence.least = 9;
        });
        assert!(none.contains("9 in 3 windows"), "{none}");
    }
}
