//! What touches the operating system: the process that runs a model, clocks, profiles.

pub mod serve;
pub mod guest;
pub mod measure;

pub use guest::{Guest, GuestSettings};
pub use serve::serve;
