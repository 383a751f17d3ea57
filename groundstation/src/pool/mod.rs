//! Pools: where heavy work runs, whoever made them.
//!
//! ```text
//! task (contracts) ─► request ─► oip (the protocol's messages) ─┬─► oip_rest, oip_grpc (any server)
//!                     usage, error                              └─► embedded ─► line ─► serve (its child)
//! ```
//!
//! A request names a task contract, never a vendor or a model: which pool takes it, and under
//! which name that pool knows it, stands in the station file.

pub mod task;
pub mod request;
pub mod usage;
pub mod error;
pub mod secret;
pub mod verdict;
pub mod room;
pub mod apart;
pub mod body;
pub mod dial;
pub mod http;
pub mod oip;
pub mod frames;
pub mod line;
pub mod shared;
mod sys;
pub mod oip_proto;
pub mod oip_stream;
pub mod oip_rest;
pub mod oip_grpc;
pub mod https;
pub mod sse;
pub mod formats;
pub mod stream;
pub mod messages;
pub mod prompt;
pub mod aws;
pub mod kubernetes;
pub mod embedded;
pub mod serve;

pub use error::{Cause, PoolError};
pub use request::{
    DataClass, Document, Handling, ImageFormat, Input, Message, Part, Request, Role, Schema, Trace,
};
pub use secret::{Secret, SecretSource};
pub use usage::{Cost, Usage};

use codecs::tensor::Tensor;
use futures_util::future::BoxFuture;

/// What a pool is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolInfo {
    /// Name in the station file.
    pub name: String,
    /// Kind of adapter, for people.
    pub kind: &'static str,
    /// Task contracts that it takes.
    pub tasks: Vec<String>,
}

/// What a pool answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// Model that answered, with its version where the pool tells it.
    pub model: String,
    /// What it says.
    pub output: Output,
    /// What it took.
    pub usage: Usage,
}

/// What a pool says.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Named arrays, as the pool named them.
    Tensors(Vec<Tensor>),
    /// Words.
    Document(Answer),
}

/// What a language model said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The text, whole.
    pub text: String,
    /// The same as a value, where the request had a schema: an adapter that can't read it so
    /// answers [`Cause::Contract`].
    pub value: Option<serde_json::Value>,
}

impl Output {
    /// The tensors; none of a document.
    pub fn tensors(&self) -> &[Tensor] {
        match self {
            Self::Tensors(tensors) => tensors,
            Self::Document(_) => &[],
        }
    }
}

/// What a server says of a model, in the Open Inference Protocol's terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelMetadata {
    /// The server's name of the model.
    pub name: String,
    /// Versions that it has; may be empty.
    pub versions: Vec<String>,
    /// What goes in.
    pub inputs: Vec<PortMetadata>,
    /// What comes out.
    pub outputs: Vec<PortMetadata>,
}

/// What a server says of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMetadata {
    /// Name.
    pub name: String,
    /// Type, as the protocol names it (`FP32`).
    pub datatype: String,
    /// Extents; -1 is any.
    pub shape: Vec<i64>,
}

/// Somewhere to send work.
pub trait Pool: Send + Sync {
    /// What this pool is and takes.
    fn describe(&self) -> PoolInfo;

    /// What the server says of the model that fulfils a task; none where its protocol has no such
    /// question. The router holds it against the contract before it sends work.
    fn metadata<'a>(
        &'a self,
        task: &'a str,
    ) -> BoxFuture<'a, Result<Option<ModelMetadata>, PoolError>> {
        let _ = task;
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Asks for work; dropping the answer's future gives the request up.
    fn infer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, PoolError>>;
}
