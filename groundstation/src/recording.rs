//! Recordings of frames: look into one, take one apart, without a daemon.
//!
//! ```text
//! source (what the user says of the file) ─► setup ─► read (file ► frames) ─► inspect (counts)
//!                     guess (what the file says) ─┘                       └─► decode (packets)
//! ```

pub mod source;
mod guess;
mod read;
pub mod inspect;
pub mod decode;
