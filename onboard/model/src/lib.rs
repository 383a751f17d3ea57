//! Loads, checks and runs signed ONNX model packages.
//!
//! ```text
//! package (signature, digests) ─► vectors ─► runtime ─► session ─► answers
//!                                               └ backend: onnxruntime (through ort),
//!                                                          or a process that has it (wire)
//! ```
//!
//! No type of the library underneath shows in this crate's interface: another runtime can stand
//! behind [`Backend`]. Without a runtime library, [`Runtime::find`] says so in a sentence and the
//! caller goes on without models.

pub mod package;
pub mod vectors;
pub mod backend;
mod onnxruntime;
pub mod wire;
pub mod runtime;
pub mod session;
pub mod shell;

pub use backend::{Backend, BackendError, LoadOptions, LoadedModel, Usage};
pub use codecs::package::{Manifest, PublicKey, Trust};
pub use package::{Package, PackageError};
pub use runtime::{Runtime, RuntimeError};
pub use session::{ModelError, Session};
