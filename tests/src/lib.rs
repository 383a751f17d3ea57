//! Helpers shared by the end-to-end tests, and the rules that the project holds itself to.

pub mod tidy;

pub mod process;

pub mod recordings;

pub mod peers;

pub mod sys;

use std::path::PathBuf;

/// Recorded telemetry at `name` below `GROUNDTRACK_DATA`, by default `../shared/data` from the
/// workspace root. Where it is absent the reason is printed and the test has nothing to do.
pub fn recorded(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("GROUNDTRACK_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no recording at {}; set GROUNDTRACK_DATA", path.display());
    None
}
