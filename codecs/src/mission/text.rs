//! Where in a TOML text something is wrong, in words that help.

use alloc::{format, string::String, vec, vec::Vec};
use core::fmt;
use core::ops::Range;

/// A place in a text and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// Line, from 1; absent where the trouble has no place.
    pub line: Option<usize>,
    /// What is wrong and what to do.
    pub message: String,
}

impl TextError {
    /// A complaint about the bytes at `span`.
    pub fn at(text: &str, span: Option<Range<usize>>, message: impl Into<String>) -> Self {
        Self { line: span.map(|span| line_of(text, span.start)), message: message.into() }
    }

    /// A complaint of the TOML reader; an unknown key gets the nearest known one.
    pub fn from_toml(text: &str, error: &toml::de::Error) -> Self {
        let message = error.message();
        let message = match did_you_mean(message) {
            Some(known) => format!("{message}; did you mean `{known}`?"),
            None => String::from(message),
        };
        Self::at(text, error.span(), message)
    }
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl core::error::Error for TextError {}

/// Line of a byte offset, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

/// The known key nearest to the unknown one that serde's message names.
fn did_you_mean(message: &str) -> Option<&str> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let wrong = quoted.next()?;
    nearest(wrong, quoted)
}

/// The candidate nearest to `wrong`, if one is near enough to be meant.
pub fn nearest<'a>(wrong: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (distance(wrong, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 3)
        .map(|(_, candidate)| candidate)
}

/// Edits that turn one word into the other (Levenshtein); words are cut at 64 letters.
fn distance(a: &str, b: &str) -> usize {
    const LETTERS_MAX: usize = 64;
    let b: Vec<char> = b.chars().take(LETTERS_MAX).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().take(LETTERS_MAX).enumerate() {
        let mut next = vec![i + 1];
        for ((j, other), pair) in b.iter().enumerate().zip(row.windows(2)) {
            let &[diagonal, above] = pair else { break };
            let left = next.get(j).copied().unwrap_or(usize::MAX);
            next.push((diagonal + usize::from(letter != *other)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (a, b, edits) in
            [("", "", 0), ("unit", "unit", 0), ("units", "unit", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), edits);
            assert_eq!(distance(b, a), edits);
        }
    }

    #[test]
    fn only_near_words_are_meant() {
        let known = ["persistence", "red_low", "red_high"];
        assert_eq!(nearest("persistance", known.into_iter()), Some("persistence"));
        assert_eq!(nearest("redlow", known.into_iter()), Some("red_low"));
        assert_eq!(nearest("colour", known.into_iter()), None);
    }
}
