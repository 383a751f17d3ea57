//! What happened from when until when, as part of which trace.

use crate::pool::Trace;
use codecs::time::Tai;

/// Letters of an attribute's text, or of an error, that are told.
pub const TEXT_LETTERS_MAX: usize = 256;

/// What part a span plays beside others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Work of the station itself.
    Internal,
    /// A question to somebody else.
    Client,
    /// Something taken from somebody else's queue.
    Consumer,
}

/// Value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Words.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// A number.
    Real(f64),
    /// Yes or no.
    Truth(bool),
}

/// Something that happened at one moment of a span.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// What.
    pub name: &'static str,
    /// When.
    pub at: Tai,
    /// What was said of it; empty for nothing.
    pub said: String,
}

/// A span.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Trace that it belongs to.
    pub trace: u128,
    /// Its own number; never 0.
    pub id: u64,
    /// The span that it is a part of; 0 for none.
    pub parent: u64,
    /// What was done.
    pub name: &'static str,
    /// What part it plays.
    pub kind: Kind,
    /// When it began.
    pub begin: Tai,
    /// When it ended; not before it began.
    pub end: Tai,
    /// What is known of it.
    pub attributes: Vec<(&'static str, Value)>,
    /// What happened within.
    pub moments: Vec<Moment>,
    /// Why it failed; none where it did not.
    pub error: Option<String>,
}

impl Span {
    /// A span without more; clocks may step back, so that an end before the beginning is moved to
    /// it.
    pub fn new(of: Trace, parent: u64, name: &'static str, begin: Tai, end: Tai) -> Self {
        Self {
            trace: of.id,
            id: of.span,
            parent,
            name,
            kind: Kind::Internal,
            begin,
            end: end.max(begin),
            attributes: Vec::new(),
            moments: Vec::new(),
            error: None,
        }
    }

    /// Of another kind.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Adds words, cut to what a collector bears; none where there are none.
    pub fn text(mut self, name: &'static str, value: &str) -> Self {
        if !value.is_empty() {
            self.attributes.push((name, Value::Text(cut(value))));
        }
        self
    }

    /// Adds a whole number; what is beyond 63 bits is told as the largest.
    pub fn whole(mut self, name: &'static str, value: u64) -> Self {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.attributes.push((name, Value::Whole(value)));
        self
    }

    /// Adds a number.
    pub fn real(mut self, name: &'static str, value: f64) -> Self {
        self.attributes.push((name, Value::Real(value)));
        self
    }

    /// Adds a yes or no.
    pub fn truth(mut self, name: &'static str, value: bool) -> Self {
        self.attributes.push((name, Value::Truth(value)));
        self
    }

    /// Adds something that happened within.
    pub fn moment(mut self, name: &'static str, at: Tai, said: &str) -> Self {
        self.moments.push(Moment { name, at, said: cut(said) });
        self
    }

    /// Failed, and why.
    pub fn failed(mut self, why: &str) -> Self {
        self.error = Some(cut(why));
        self
    }
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_LETTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_never_ends_before_it_begins_and_says_little() {
        let span = Span::new(Trace::of("x"), 0, "ask", Tai(9), Tai(3));
        assert_eq!((span.begin, span.end), (Tai(9), Tai(9)));
        let span = span.text("a", "").text("b", &"ä".repeat(1_000)).whole("c", u64::MAX);
        let long = Value::Text("ä".repeat(TEXT_LETTERS_MAX));
        assert_eq!(span.attributes, [("b", long), ("c", Value::Whole(i64::MAX))]);
    }
}
