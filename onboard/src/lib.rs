//! The flight software: sensor to downlink, and the image a flight computer boots.
//!
//! ```text
//! config ─► source ► models ► score ► triage ► realtime, squeeze ► store, keep ► downlink
//!           └──────────────── pipeline ────────────────┘
//! ```
//!
//! The store and the link's client are crates of their own below `codecs`, since an edge holds and
//! sends units just so. The modules hold the decisions and take time as an argument; `shell` holds sockets, disk, clock
//! and the connection; `cli` is what a user types.

/// Prints a line on standard output; an error where that is closed or full, never a panic.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::say(format_args!($($text)*))? };
}

pub mod config;
pub mod source;
pub mod models;
pub mod score;
pub mod triage;
pub mod realtime;
pub mod squeeze;
pub mod uplink;
pub mod pipeline;
pub mod health;
pub use codecs_store as store;
pub mod keep;
pub mod downlink;
pub mod shell;
pub mod image;
pub mod cli;
