//! Reads a package's folder and proves every byte of it before anything else sees it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use codecs::package::{
    BundleError, Digest, MANIFEST_FILE, MAX_BUNDLE_BYTES, MAX_MANIFEST_BYTES, MAX_SIGNATURE_BYTES,
    MODEL_FILE, Manifest, ManifestError, PublicKey, SIGNATURE_FILE, Signature, SignatureError,
    Trust, TrustError, VECTORS_FILE, pack, unpack,
};

use crate::vectors::{self, KnownAnswer, VectorsError};

/// A package whose signature, digests and manifest hold. The bytes that were checked are the
/// bytes kept: changing the folder afterwards changes nothing.
#[derive(Clone, Debug)]
pub struct Package {
    manifest: Manifest,
    signer: PublicKey,
    model: Bytes,
    vectors: Vec<KnownAnswer>,
}

/// Which file of a package is at fault, and how.
#[derive(Debug, thiserror::Error)]
#[error("model package file {}: {problem}", file.display())]
pub struct PackageError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: PackageProblem,
}

/// What is wrong with a file of a package.
#[derive(Debug, thiserror::Error)]
pub enum PackageProblem {
    /// It is missing or cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is longer than a file of its kind may be.
    #[error("is longer than the {most} bytes that are read")]
    TooLong {
        /// The bound.
        most: usize,
    },
    /// It is not a signature file.
    #[error("{0}")]
    Signature(#[from] SignatureError),
    /// No signature counts.
    #[error("{0}")]
    Trust(#[from] TrustError),
    /// It is not a manifest that this build reads.
    #[error("{0}")]
    Manifest(#[from] ManifestError),
    /// More bytes than the manifest says; how many is not looked for.
    #[error(
        "is longer than the {wanted} bytes that the manifest says: it was extended or exchanged"
    )]
    Longer {
        /// Bytes by the manifest.
        wanted: u64,
    },
    /// It has another length than the manifest says.
    #[error("has {found} bytes, the manifest says {wanted}: it was cut, extended or exchanged")]
    Length {
        /// The length that the manifest gives.
        wanted: u64,
        /// The length found; one more than wanted stands for "longer".
        found: u64,
    },
    /// It has another digest than the manifest says.
    #[error("has SHA-256 {found}, the manifest says {wanted}: its content was changed")]
    Digest {
        /// The digest that the manifest gives.
        wanted: Digest,
        /// The digest found.
        found: Digest,
    },
    /// It does not hold known answers for this model.
    #[error("{0}")]
    Vectors(#[from] VectorsError),
    /// It is no bundle of files.
    #[error("{0}")]
    Bundle(#[from] BundleError),
    /// It holds a file that the manifest does not name.
    #[error("holds {0:?}, which its manifest does not name")]
    Stray(String),
}

/// Reads at most `most` bytes; a longer file yields `most + 1`, so that the caller notices.
fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Package {
    /// Opens the package in `folder`, if one of the accepted keys signed it and every file is
    /// what the manifest says.
    pub fn open(folder: &Path, trust: &Trust) -> Result<Self, PackageError> {
        let file = |name: &str, most: usize| read(&folder.join(name), most).map(Bytes::from);
        Self::prove(folder, &file, trust)
    }

    /// Opens a package that is one file; `label` names that in errors.
    pub fn from_bundle(label: &Path, bundle: &Bytes, trust: &Trust) -> Result<Self, PackageError> {
        let wrong = |problem: PackageProblem| PackageError { file: label.into(), problem };
        let files = unpack(bundle).map_err(|error| wrong(error.into()))?;
        let file = |name: &str, most: usize| {
            let found = files.iter().find(|file| file.0 == name);
            let whole = found.map(|file| file.1.clone()).ok_or(io::ErrorKind::NotFound)?;
            Ok(whole.slice(..whole.len().min(most.saturating_add(1))))
        };
        let package = Self::prove(label, &file, trust)?;
        let named = |name: &str| {
            matches!(name, MANIFEST_FILE | SIGNATURE_FILE)
                || package.manifest.files.contains_key(name)
        };
        // What no digest covers would be carried along unproven.
        match files.iter().find(|file| !named(&file.0)) {
            Some((name, _)) => Err(wrong(PackageProblem::Stray(name.clone()))),
            None => Ok(package),
        }
    }

    /// The files of the package in `folder` as one, once they hold.
    pub fn bundle(folder: &Path, trust: &Trust) -> Result<Bytes, PackageError> {
        let package = Self::open(folder, trust)?;
        let mut names = vec![MANIFEST_FILE, SIGNATURE_FILE];
        names.extend(package.manifest.files.keys().map(|name| &**name));
        let at = |name: &str, problem| PackageError { file: folder.join(name), problem };
        let mut files = Vec::new();
        for name in names {
            let bytes = read(&folder.join(name), MAX_BUNDLE_BYTES);
            files.push((name, bytes.map_err(|error| at(name, error.into()))?));
        }
        let slices: Vec<(&str, &[u8])> =
            files.iter().map(|(name, file)| (*name, &**file)).collect();
        let bundle = Bytes::from(pack(&slices).map_err(|error| at(MANIFEST_FILE, error.into()))?);
        // The files may have changed since they were proven.
        Self::from_bundle(folder, &bundle, trust)?;
        Ok(bundle)
    }

    /// `file` gives a file's bytes, one more than asked for where it is longer.
    fn prove(
        folder: &Path,
        file: &dyn Fn(&str, usize) -> io::Result<Bytes>,
        trust: &Trust,
    ) -> Result<Self, PackageError> {
        let at =
            |name: &str, problem: PackageProblem| PackageError { file: folder.join(name), problem };
        let bounded = |name: &str, most: usize| {
            let bytes = file(name, most).map_err(|error| at(name, error.into()))?;
            if bytes.len() > most {
                return Err(at(name, PackageProblem::TooLong { most }));
            }
            Ok(bytes)
        };
        let manifest_json = bounded(MANIFEST_FILE, MAX_MANIFEST_BYTES)?;
        let signature_json = bounded(SIGNATURE_FILE, MAX_SIGNATURE_BYTES)?;
        let signatures = Signature::list_from_json(&signature_json)
            .map_err(|error| at(SIGNATURE_FILE, error.into()))?;
        let signer = trust.check(&manifest_json, &signatures).map_err(|error| {
            // A signature that does not fit most often means an edited manifest.
            let forged = matches!(error, TrustError::Forged { .. });
            at(if forged { MANIFEST_FILE } else { SIGNATURE_FILE }, error.into())
        })?;
        let manifest =
            Manifest::from_json(&manifest_json).map_err(|error| at(MANIFEST_FILE, error.into()))?;

        let (mut model, mut vectors) = (Bytes::new(), Vec::new());
        for (name, entry) in &manifest.files {
            let most = usize::try_from(entry.bytes).unwrap_or(usize::MAX - 1);
            let bytes = file(name, most).map_err(|error| at(name, error.into()))?;
            if bytes.len() > most {
                return Err(at(name, PackageProblem::Longer { wanted: entry.bytes }));
            }
            if bytes.len() != most {
                let found = bytes.len() as u64;
                return Err(at(name, PackageProblem::Length { wanted: entry.bytes, found }));
            }
            let found = Digest::of(&bytes);
            if found != entry.sha256 {
                return Err(at(name, PackageProblem::Digest { wanted: entry.sha256, found }));
            }
            match name.as_str() {
                MODEL_FILE => model = bytes,
                VECTORS_FILE => {
                    vectors = vectors::from_json(&bytes, &manifest)
                        .map_err(|error| at(VECTORS_FILE, error.into()))?;
                }
                _ => {}
            }
        }
        Ok(Self { manifest, signer, model, vectors })
    }

    /// What the package promises.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The same with other values for some of its parameters; a value that the manifest does not
    /// allow is left out.
    #[must_use]
    pub fn with_parameters(mut self, changed: &BTreeMap<String, f64>) -> Self {
        for (name, value) in changed {
            if self.manifest.allows(name, *value).is_ok() {
                self.manifest.parameters.insert(name.clone(), *value);
            }
        }
        self
    }

    /// The accepted key that signed it.
    pub fn signer(&self) -> PublicKey {
        self.signer
    }

    /// The model's bytes.
    pub fn model(&self) -> &Bytes {
        &self.model
    }

    /// Questions whose answers are known, to be asked before the model is used.
    pub fn vectors(&self) -> &[KnownAnswer] {
        &self.vectors
    }
}
