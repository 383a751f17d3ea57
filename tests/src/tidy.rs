//! The habits that a machine can hold: rules over sources, manifests and the README.
//!
//! ```text
//! files ─► source (comments, strings and tests blanked) ─► rules ─► findings
//! cargo metadata ─► arrows ─► findings        README, Makefile ─► readme ─► findings
//! ```
//!
//! Every rule is a pure function from text to findings, so that a bad snippet can prove that it
//! fires. A finding says where, what and what to do.

pub mod source;
pub mod rules;
pub mod arrows;
pub mod readme;
pub mod standards;

use std::path::{Path, PathBuf};

/// Folders that hold what was built or fetched, not what was written.
const SKIPPED_FOLDERS: [&str; 6] =
    ["target", "node_modules", "dist", "__pycache__", "test-results", "worktree"];

/// The workspace's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file below `folder` that people write, in order, relative to it. Hidden files and links
/// are left out, except `.ci`.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(next) = waiting.pop() {
        let Ok(entries) = std::fs::read_dir(folder.join(&next)) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = next.join(&name);
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => {
                    let hidden = name.starts_with('.') && name != ".ci";
                    if !hidden && !SKIPPED_FOLDERS.contains(&name.as_str()) {
                        waiting.push(path);
                    }
                }
                Ok(kind) if kind.is_file() => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
}
