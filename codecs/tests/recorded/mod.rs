//! Recordings that are no part of the project, where they are at hand.

use std::path::PathBuf;

/// Lines of an edge-case dump, from hex; `None`, and a word why, where the recordings are absent.
pub fn dump(name: &str) -> Option<Vec<Vec<u8>>> {
    let folder = std::env::var_os("GROUNDTRACK_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let path = folder.join("edge-cases").join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: no recording at {}; set GROUNDTRACK_DATA", path.display());
        return None;
    };
    let line = |line: &str| -> Vec<u8> {
        let pairs = line.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    };
    Some(text.split_whitespace().map(line).collect())
}
