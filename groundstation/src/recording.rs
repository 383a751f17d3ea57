//! Recordings of frames: look into one, take one apart, without a daemon.
//!
//! ```text
//! input (file or pipe)
//! source (what the user says of the file) ─► setup ─► read (file ► frames) ─► inspect (counts)
//!                     guess (what the file says) ─┘                       └─► decode (packets)
//! ```

pub mod source;
mod input;
mod guess;
mod read;
pub mod inspect;
pub mod decode;

use std::io::Write as _;
use std::process::ExitCode;

/// Talks on stderr; nobody may be listening, and that is no reason to panic.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Arguments that don't go together end like those that can't be parsed.
fn with_usage(done: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    match done {
        Err(error) if error.is::<source::Usage>() => {
            tell(&format!("error: {error}\n\nFor more information, try '--help'."));
            Ok(ExitCode::from(2))
        }
        done => done,
    }
}
