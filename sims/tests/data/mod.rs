//! Where the recordings are.

use std::path::PathBuf;

/// A folder or file of the recorded orbits, or a printed reason to skip.
pub fn orbit(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("GROUNDTRACK_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    if !root.is_dir() {
        println!("skipped: no {} (set GROUNDTRACK_DATA to the recordings)", root.display());
        return None;
    }
    let path = root.join("orbit").join(name);
    // A recording that is missing from a folder that is there is no reason to pass.
    assert!(path.exists(), "no {}", path.display());
    Some(path)
}
