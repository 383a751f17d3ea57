//! Why a pool gave no answer, by what helps.

use super::usage::Usage;
use std::fmt;
use std::time::Duration;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolError {
    /// What helps.
    pub cause: Cause,
    /// What was said, cut to a few hundred letters by the adapter; never holds a credential.
    pub said: String,
    /// What the failure took: tokens of an answer that broke the contract cost money too.
    pub usage: Box<Usage>,
}

/// Causes, by what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The pool is not there: no connection, or it says that it is not ready. Waiting helps.
    Unavailable,
    /// The pool has too much to do (429, 529, gRPC `RESOURCE_EXHAUSTED`). Waiting helps.
    Overloaded {
        /// When it wants to be asked again, where it said so.
        retry_after: Option<Duration>,
    },
    /// The pool's account is used up (402, or a 400, 403 or 429 that says so): somebody has to
    /// pay, or a period to end.
    Quota {
        /// When the period ends, where it said so.
        retry_after: Option<Duration>,
    },
    /// Credentials are missing, wrong or expired (401, 403). Somebody has to renew them.
    Auth,
    /// The pool does not take this request (other 4xx): only another request helps, or another
    /// pool.
    BadRequest,
    /// It answered, and not what the contract says: shapes, types, NaNs, no JSON, too long. The
    /// router says this of tensors; adapters say it of what they can't read.
    Contract,
    /// The pool tried and failed (5xx, an answer cut short). Trying again may help.
    Failed,
    /// Time ran out.
    Deadline,
}

impl Cause {
    /// The short word for it, for counters and lists.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Overloaded { .. } => "overloaded",
            Self::Quota { .. } => "quota",
            Self::Auth => "auth",
            Self::BadRequest => "bad-request",
            Self::Contract => "contract",
            Self::Failed => "failed",
            Self::Deadline => "deadline",
        }
    }

    /// When the pool wants to be asked again, where it said so.
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Overloaded { retry_after } | Self::Quota { retry_after } => retry_after,
            _ => None,
        }
    }
}

impl PoolError {
    /// An error by its cause and what was said.
    pub fn new(cause: Cause, said: impl Into<String>) -> Self {
        Self { cause, said: said.into(), usage: Box::default() }
    }

    /// The pool is not there.
    pub fn unavailable(said: impl Into<String>) -> Self {
        Self::new(Cause::Unavailable, said)
    }

    /// The pool has too much to do.
    pub fn overloaded(said: impl Into<String>, retry_after: Option<Duration>) -> Self {
        Self::new(Cause::Overloaded { retry_after }, said)
    }

    /// The pool's account is used up.
    pub fn quota(said: impl Into<String>, retry_after: Option<Duration>) -> Self {
        Self::new(Cause::Quota { retry_after }, said)
    }

    /// Credentials don't do.
    pub fn auth(said: impl Into<String>) -> Self {
        Self::new(Cause::Auth, said)
    }

    /// The pool does not take this request.
    pub fn bad_request(said: impl Into<String>) -> Self {
        Self::new(Cause::BadRequest, said)
    }

    /// The answer is not what the contract says.
    pub fn contract(said: impl Into<String>) -> Self {
        Self::new(Cause::Contract, said)
    }

    /// The pool tried and failed.
    pub fn failed(said: impl Into<String>) -> Self {
        Self::new(Cause::Failed, said)
    }

    /// Time ran out.
    pub fn deadline() -> Self {
        Self::new(Cause::Deadline, String::new())
    }

    /// The same, with what it took.
    pub fn with_usage(self, usage: Usage) -> Self {
        Self { usage: Box::new(usage), ..self }
    }
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.cause {
            Cause::Unavailable => "pool unavailable",
            Cause::Overloaded { .. } => "pool overloaded",
            Cause::Quota { .. } => "the pool's account is used up",
            Cause::Auth => "the pool does not accept our credentials",
            Cause::BadRequest => "pool refused",
            Cause::Contract => "the answer breaks the contract",
            Cause::Failed => "pool failed",
            Cause::Deadline => "no answer before the deadline",
        };
        f.write_str(what)?;
        if self.said.is_empty() { Ok(()) } else { write!(f, ": {}", self.said) }
    }
}

impl std::error::Error for PoolError {}
