//! Model packages: what a manifest promises, and who signed it.
//!
//! A package is a folder: `model.onnx`, `vectors.json` (known answers), notices, a `manifest.json`
//! that names the digest of each of them, and a detached `signature.json` over the manifest's
//! bytes as they stand, so that no canonical form of JSON has to be agreed on. Whoever trusts
//! the signature therefore trusts every byte of the package.
//!
//! ```text
//! manifest.json ─► signature (is it ours?) ─► manifest (what does it promise?) ─► digests
//! ```
//!
//! This module reads and judges bytes; `onboard_model` reads the folder and runs the model.

mod bundle;
mod manifest;
mod signature;

pub use bundle::{BundleError, MAX_BUNDLE_BYTES, PIECE_HEADER_BYTES, Piece, pack, unpack};
pub use manifest::{
    FileEntry, Manifest, ManifestError, Port, PortError, Provenance, Score, Task, is_plain_name,
};
pub use signature::{
    Algorithm, DEVELOPMENT_KEY, Digest, HexError, PublicKey, Signature, SignatureError, Trust,
    TrustError, sign, signed_message,
};

/// The version of the package's layout that this code reads and writes.
pub const FORMAT: u32 = 1;
/// File name of the manifest.
pub const MANIFEST_FILE: &str = "manifest.json";
/// File name of the detached signatures.
pub const SIGNATURE_FILE: &str = "signature.json";
/// File name of the model.
pub const MODEL_FILE: &str = "model.onnx";
/// File name of the known-answer vectors.
pub const VECTORS_FILE: &str = "vectors.json";

/// Largest manifest that is read; a longer one is refused before it is parsed.
pub const MAX_MANIFEST_BYTES: usize = 64 * 1024;
/// Largest signature file that is read.
pub const MAX_SIGNATURE_BYTES: usize = 16 * 1024;
/// Largest file that a manifest may name, the model included.
pub const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Most files that a manifest may name.
pub const MAX_FILES: usize = 32;
/// Most inputs, or outputs, of a model.
pub const MAX_PORTS: usize = 32;
/// Most dimensions of an input or output.
pub const MAX_RANK: usize = 8;
/// Most signatures beside one manifest.
pub const MAX_SIGNATURES: usize = 16;
