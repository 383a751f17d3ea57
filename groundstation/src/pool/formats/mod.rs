//! Vendors' dialects: one document into each of them, and their answers into one.
//!
//! ```text
//! document ─► openai | anthropic | converse ─► JSON ─► ... ─► JSON or events ─► draft ─► answer
//! ```
//!
//! Nothing here sends anything. Each dialect is written after the vendor's published reference, and
//! held against the vendor's own client library by a double that both talk to.

pub mod openai;
pub mod anthropic;
pub mod converse;

use super::verdict::{self, Refusal};
use super::{Answer, Document, Output, PoolError, Response, Usage};
use serde::Deserialize;
use serde_json::Value;

/// Most bytes of an answer's text.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Longest text that is read as a JSON value.
pub const VALUE_BYTES_MAX: usize = 256 << 10;

/// Memory of a JSON value in bytes, for each byte of its text.
pub const TREE: usize = 32;

/// How an answer that must fulfil a schema is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Structured {
    /// By the dialect's own field for a schema.
    #[default]
    Schema,
    /// As the arguments of a tool that must be called: older models and servers know only that.
    Tool,
    /// In words, for servers that know neither; the answer is held to the schema all the same.
    Words,
}

/// Whose dialect a model speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Chat completions.
    OpenAi,
    /// Anthropic's Messages.
    Anthropic,
}

impl Dialect {
    /// Takes an answer that came whole.
    pub fn whole(self, value: &Value, draft: &mut Draft) -> Result<(), PoolError> {
        match self {
            Self::OpenAi => openai::whole(value, draft),
            Self::Anthropic => anthropic::whole(value, draft),
        }
    }

    /// Takes an event; gives whether it was the last.
    pub fn event(self, data: &str, draft: &mut Draft) -> Result<bool, PoolError> {
        match self {
            Self::OpenAi => openai::event(data, draft),
            Self::Anthropic => anthropic::event(data, draft),
        }
    }

    /// No event comes any more, and the last did not. Anthropic's last word is an event of its
    /// own, OpenAI's `[DONE]` is left out by some servers: there a reason to end is end enough.
    pub fn cut(self, draft: &mut Draft) {
        if self == Self::Anthropic {
            draft.stop = None;
        }
    }
}

/// Why a model ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It had said everything.
    End,
    /// It may not say more.
    Length,
    /// It, or who watches it, refuses.
    Refused(String),
}

/// An answer as far as it has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    /// Model that answers.
    pub model: String,
    /// What it has said.
    pub text: String,
    /// Arguments of the tool that it calls.
    pub arguments: String,
    /// Why it ended; none while it goes on.
    pub stop: Option<Stop>,
    /// What it takes.
    pub usage: Usage,
}

impl Draft {
    /// Adds what was said. A model that never ends meets the bound.
    pub fn say(&mut self, text: &str) -> Result<(), PoolError> {
        self.bound(text)?;
        self.text.push_str(text);
        Ok(())
    }

    /// Adds to a tool's arguments.
    pub fn argue(&mut self, text: &str) -> Result<(), PoolError> {
        self.bound(text)?;
        self.arguments.push_str(text);
        Ok(())
    }

    fn bound(&self, more: &str) -> Result<(), PoolError> {
        if self.text.len() + self.arguments.len() + more.len() > TEXT_BYTES_MAX {
            let error = PoolError::contract(format!("answer of more than {TEXT_BYTES_MAX} bytes"));
            return Err(error.with_usage(self.usage));
        }
        Ok(())
    }

    /// The answer to a document, once nothing more comes.
    pub fn finish(self, document: &Document) -> Result<Response, PoolError> {
        let Self { model, text, arguments, stop, usage } = self;
        let wrong = |error: PoolError| Err(error.with_usage(usage));
        match stop {
            None => return wrong(PoolError::failed("the answer was cut short")),
            Some(Stop::Refused(why)) => {
                let why = super::http::cut(&why);
                return wrong(PoolError::bad_request(format!("the model refuses: {why}")));
            }
            Some(Stop::Length) => {
                let most = document.tokens_out_max;
                return wrong(PoolError::contract(format!("no end within {most} tokens")));
            }
            Some(Stop::End) => {}
        }
        let text = if arguments.is_empty() { text } else { arguments };
        if text.trim().is_empty() {
            return wrong(PoolError::contract("an empty answer"));
        }
        let value = match &document.schema {
            None => None,
            Some(_) if text.len() > VALUE_BYTES_MAX => {
                let error = format!("a JSON of more than {VALUE_BYTES_MAX} bytes");
                return wrong(PoolError::contract(error));
            }
            Some(_) => match serde_json::from_str::<Value>(unfenced(&text)) {
                Ok(value) => Some(value),
                Err(error) => {
                    return wrong(PoolError::contract(format!("the answer is no JSON: {error}")));
                }
            },
        };
        Ok(Response { model, output: Output::Document(Answer { text, value }), usage })
    }
}

/// JSON out of the fence that models put around it where they are asked in words.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    inner.map_or(text, |inner| inner.strip_prefix("json").unwrap_or(inner).trim())
}

/// What to say to a server that knows no schemas.
fn in_words(schema: &Value) -> String {
    format!("Answer with one JSON value and nothing else. It must fulfil this schema: {schema}")
}

/// The system's words, with the schema where it is asked for in words.
fn system_of(document: &Document, structured: Structured) -> String {
    match &document.schema {
        Some(schema) if structured == Structured::Words => {
            format!("{}\n\n{}", document.system, in_words(&schema.value)).trim().to_owned()
        }
        _ => document.system.clone(),
    }
}

/// An error that stands where an answer should.
fn inside(value: &Value, draft: &Draft) -> PoolError {
    verdict::of(&Refusal::inside(value)).with_usage(draft.usage)
}

fn sum(numbers: &[&Value]) -> Option<u64> {
    let mut known = numbers.iter().filter_map(|number| number.as_u64()).peekable();
    known.peek()?;
    Some(known.fold(0, u64::saturating_add))
}

#[cfg(test)]
mod tests;
