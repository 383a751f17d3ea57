//! Recordings that are no part of the project, where they are at hand.
// Each test binary takes what it needs.
#![allow(dead_code)]

use std::path::PathBuf;

/// The bytes of a recording; `None`, and a word why, where the recordings are absent.
pub fn file(name: &str) -> Option<Vec<u8>> {
    let folder = std::env::var_os("GROUNDTRACK_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let path = folder.join(name);
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        println!("skipped: no recording at {}; set GROUNDTRACK_DATA", path.display());
    }
    bytes
}

/// Lines of an edge-case dump, from hex; `None`, and a word why, where the recordings are absent.
pub fn dump(name: &str) -> Option<Vec<Vec<u8>>> {
    let text = String::from_utf8(file(&format!("edge-cases/{name}"))?).unwrap();
    let line = |line: &str| -> Vec<u8> {
        let pairs = line.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    };
    Some(text.split_whitespace().map(line).collect())
}
