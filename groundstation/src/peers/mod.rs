//! How much each peer may take: credit, rates, handshakes, takeovers. What is beyond is refused or
//! waits, and is counted by its reason.
//!
//! Times are monotonic nanoseconds.

mod bucket;
pub mod credit;
mod handshakes;
mod takeovers;
mod shares;

pub use bucket::Bucket;
pub use handshakes::{HANDSHAKES_MAX, Handshakes, Judgement};
pub use shares::{FIRST_CREDIT_BYTES, LimitsConfig, Share, Shares, SharesError};
pub use takeovers::Takeovers;
