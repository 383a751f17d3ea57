//! Pools: where heavy work runs, whoever made them.
//!
//! ```text
//! task (contracts) ─► oip (the protocol's messages) ─► oip_rest (any server) ─► embedded (a child)
//!                                                └──── serve (what the child runs) ◄──────┘
//! ```
//!
//! A request names a task contract, never a vendor or a model: which pool takes it, and under
//! which name that pool knows it, stands in the station file.

pub mod task;
pub mod oip;
pub mod oip_rest;
pub mod embedded;
pub mod serve;

use codecs::tensor::Tensor;
use futures_util::future::BoxFuture;
use std::time::Duration;

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

/// One piece of heavy work.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Task contract, such as `cloud-mask/1`.
    pub task: String,
    /// What it is about.
    pub inputs: Vec<Tensor>,
    /// Time left; work that is not done by then is dropped, on this side at least.
    pub time_left: Duration,
    /// Smaller goes first, where a pool has an order.
    pub priority: u8,
    /// Same key, same work.
    pub idempotency_key: String,
}

/// What a pool answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// Model that answered, with its version where the pool tells it.
    pub model: String,
    /// Its outputs, as the pool named them.
    pub outputs: Vec<Tensor>,
}

/// Why there is no answer, by what helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The pool is not there; waiting helps.
    #[error("pool unavailable: {0}")]
    Unavailable(String),
    /// The pool has too much to do; waiting helps, and the pool may say for how long.
    #[error("pool overloaded: {reason}")]
    Overloaded {
        /// What it said.
        reason: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The pool tried and failed; trying again may help.
    #[error("pool failed: {0}")]
    Failed(String),
    /// The pool does not take this request; only another request helps.
    #[error("pool refused: {0}")]
    Refused(String),
    /// Time ran out.
    #[error("no answer before the deadline")]
    Deadline,
}

/// Somewhere to send work.
pub trait Pool: Send + Sync {
    /// What this pool is and takes.
    fn describe(&self) -> PoolInfo;

    /// Asks for work; dropping the answer's future gives the request up.
    fn infer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, PoolError>>;
}
