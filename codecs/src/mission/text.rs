//! Where in a TOML text something is wrong, in words that help.

use alloc::string::String;
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
        Self::at(text, error.span(), crate::config::explain(error.message()))
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
