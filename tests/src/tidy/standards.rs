//! The places and the tests that `docs/standards.md` names exist.

use std::path::Path;

/// What stands between backticks.
fn named(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Whether this is the name of a test: words joined by underscores, and more than two of them.
fn is_test(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && name.matches('_').count() >= 2
}

/// Tests that no source defines, and paths that lead nowhere.
pub fn missing(text: &str, sources: &[String], exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let defined = |name: &str| sources.iter().any(|source| source.contains(&format!("fn {name}(")));
    let mut findings = Vec::new();
    for name in named(text) {
        if name.starts_with("codecs/") || name.starts_with("docs/") {
            let alone = name.split(", ").next().unwrap_or(name);
            if !exists(Path::new(alone)) {
                findings.push(format!("docs/standards.md names {name}, which is not there"));
            }
        } else if is_test(name) && !defined(name) {
            findings.push(format!("docs/standards.md names the test {name}, which no source has"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_was_renamed_and_a_file_that_moved_are_found() {
        let text = "| trap | `it_is_still_there`, `it_was_renamed_since` |\n`codecs/src/gone.rs`";
        let sources = ["fn it_is_still_there() {}".to_owned()];
        let found = missing(text, &sources, |_| false);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("it_was_renamed_since") && found[1].contains("gone.rs"));
        assert!(missing("`codecs/src/lib.rs` and `conv:1/2`", &[], |_| true).is_empty());
    }
}
