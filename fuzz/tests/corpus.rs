//! The corpus without a fuzzer: every seed, every truncation and single-bit flip of it, and noise.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Seeds are read by people and kept by git: few, and short.
const MAX_SEED_BYTES: usize = 4096;
const MAX_SEEDS: usize = 40;
/// Inputs that one seed is changed into, at most; spread over its bits where it has more.
const MAX_FLIPS: usize = 1500;
/// The same for targets that decode thousands of symbols an input.
const MAX_SLOW_FLIPS: usize = 60;
const SLOW: [&str; 9] = [
    "cadu",
    "convolutional",
    "ground",
    "guess",
    "ldpc",
    "node_sync",
    "segments",
    "symbols",
    "units",
];

fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|_| panic!("no seeds in {folder:?}"));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Every target with its seeds and how many inputs each may be changed into.
fn each(with: impl Fn(fuzz::Target, &Path, Vec<u8>, usize)) {
    for (name, target) in fuzz::TARGETS {
        let most = if SLOW.contains(name) { MAX_SLOW_FLIPS } else { MAX_FLIPS };
        for (path, bytes) in seeds(name) {
            with(*target, &path, bytes, most);
        }
    }
}

/// Runs an input; says which it was where it breaks.
fn hold(target: fuzz::Target, path: &Path, what: &dyn std::fmt::Display, bytes: &[u8]) {
    let held = std::panic::catch_unwind(|| target(bytes));
    assert!(held.is_ok(), "{}: {what}", path.display());
}

#[test]
fn every_seed_holds() {
    each(|target, path, bytes, _| hold(target, path, &"as it is", &bytes));
}

#[test]
fn every_truncation_holds() {
    each(|target, path, bytes, most| {
        let step = bytes.len().div_ceil(most).max(1);
        for end in (0..bytes.len()).step_by(step) {
            hold(target, path, &format_args!("cut to {end} bytes"), &bytes[..end]);
        }
    });
}

#[test]
fn every_single_bit_flip_holds() {
    each(|target, path, bytes, most| {
        let step = (8 * bytes.len()).div_ceil(most).max(1);
        for bit in (0..8 * bytes.len()).step_by(step) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 0x80 >> (bit % 8);
            hold(target, path, &format_args!("bit {bit} flipped"), &flipped);
        }
    });
}

#[test]
fn noise_holds() {
    for (name, target) in fuzz::TARGETS {
        let mut state = 0x1234_5678_9ABC_DEF1u64;
        for length in (0..200).chain([500, 1500]) {
            let noise: Vec<u8> = (0..length)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state as u8
                })
                .collect();
            hold(*target, Path::new(name), &format_args!("noise of {length} bytes"), &noise);
        }
    }
}

#[test]
fn every_folder_is_a_target_and_small() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let folders = fs::read_dir(corpus).unwrap();
    let found: BTreeSet<_> =
        folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let wanted: BTreeSet<_> = fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(found, wanted, "folders and targets differ");
    assert_eq!(wanted.len(), fuzz::TARGETS.len(), "two targets of one name");
    for (name, _) in fuzz::TARGETS {
        let seeds = seeds(name);
        assert!((1..=MAX_SEEDS).contains(&seeds.len()), "{name}: {} seeds", seeds.len());
        for (path, bytes) in seeds {
            assert!(bytes.len() <= MAX_SEED_BYTES, "{}: {} bytes", path.display(), bytes.len());
        }
    }
}
