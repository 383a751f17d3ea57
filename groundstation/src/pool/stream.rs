//! Answers of language models as they come: pieces in, a draft out.
//!
//! ```text
//! pieces ─► [Amazon's messages] ─► events | lines | one JSON ─► dialect ─► draft
//! ```
//!
//! One loop reads them all, so that a bound, an end that comes early and what an answer took until
//! then mean the same whoever sends them.

use super::PoolError;
use super::apart::apart;
use super::formats::{Dialect, Draft, TEXT_BYTES_MAX, TREE, VALUE_BYTES_MAX};
use super::https::{ANSWER_BYTES_MAX, Answer};
use super::oip::no_json;
use super::sse::{EVENT_BYTES_MAX, Reader};
use bytes::Bytes;
use serde_json::Value;

/// Most bytes of an answer that is one JSON: twice the longest text.
pub const WHOLE_BYTES_MAX: usize = 2 * TEXT_BYTES_MAX;

/// Memory that an answer in words may take until it is read, in bytes: what is read together,
/// twice as large while it grows, its text likewise, and that as a value.
pub const ROOM_BYTES: u64 =
    (2 * WHOLE_BYTES_MAX + 2 * TEXT_BYTES_MAX + TREE * VALUE_BYTES_MAX) as u64;

/// Takes an answer that came whole, apart from what else goes on where it is long.
pub async fn whole(
    bytes: Bytes,
    draft: &mut Draft,
    take: impl FnOnce(&Value, &mut Draft) -> Result<(), PoolError> + Send + 'static,
) -> Result<(), PoolError> {
    if bytes.len() > WHOLE_BYTES_MAX {
        return Err(too_long());
    }
    let (length, mut own) = (bytes.len(), std::mem::take(draft));
    let read = move || {
        let taken = match serde_json::from_slice(&bytes) {
            Ok(value) => take(&value, &mut own),
            Err(error) => {
                let why = no_json(&bytes, &error);
                Err(PoolError::contract(format!("the answer: {why}")))
            }
        };
        (own, taken)
    };
    let (own, taken) = apart(length, read).await;
    *draft = own;
    taken.map_err(|error| error.with_usage(draft.usage))
}

fn too_long() -> PoolError {
    PoolError::contract(format!("one JSON of more than {WHOLE_BYTES_MAX} bytes"))
}

/// Reads an answer until `take` finds its last word, or to its end; gives whether the last word
/// came. What an answer of the longest text may take, each letter in an event of its own, is far
/// below [`ANSWER_BYTES_MAX`]: pings without end meet it. An error states what the answer took.
pub async fn read(
    mut answer: Answer,
    draft: &mut Draft,
    mut take: impl FnMut(&[u8], &mut Draft) -> Result<bool, PoolError> + Send,
) -> Result<bool, PoolError> {
    let mut bytes_left = ANSWER_BYTES_MAX;
    loop {
        let taken = match answer.piece().await {
            Ok(None) => return Ok(false),
            Ok(Some(piece)) => match bytes_left.checked_sub(piece.len()) {
                Some(left) => {
                    bytes_left = left;
                    take(&piece, draft)
                }
                None => {
                    let error = format!("an answer of more than {ANSWER_BYTES_MAX} bytes");
                    Err(PoolError::contract(error))
                }
            },
            Err(error) => Err(error),
        };
        match taken {
            Ok(false) => {}
            Ok(true) => return Ok(true),
            Err(error) => return Err(error.with_usage(draft.usage)),
        }
    }
}

/// What stands between two events of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Events,
    /// A JSON a line, as LMI's containers give it.
    Lines,
    /// Nothing: the answer is one JSON, perhaps of a server that knows no streams.
    Whole,
}

impl Framing {
    /// What a media type says; none of one that says nothing of it.
    pub fn of(media_type: &str) -> Option<Self> {
        let essence = media_type.split(';').next().unwrap_or_default();
        match essence.trim().to_ascii_lowercase().as_str() {
            "text/event-stream" => Some(Self::Events),
            "application/jsonlines" | "application/x-ndjson" => Some(Self::Lines),
            "application/json" => Some(Self::Whole),
            _ => None,
        }
    }
}

/// A dialect's answer out of bytes that are cut anywhere.
#[derive(Debug)]
pub struct Parts {
    dialect: Dialect,
    framing: Framing,
    events: Reader,
    /// What has come and is not yet a line, or not yet the whole.
    held: Vec<u8>,
}

impl Parts {
    /// An answer of which nothing has come.
    pub fn new(dialect: Dialect, framing: Framing) -> Self {
        Self { dialect, framing, events: Reader::default(), held: Vec::new() }
    }

    /// Takes bytes; gives whether the last word was among them. After an error no more may come.
    pub fn push(&mut self, bytes: &[u8], draft: &mut Draft) -> Result<bool, PoolError> {
        match self.framing {
            Framing::Events => {
                let events = self.events.push(bytes);
                for event in events.map_err(|error| PoolError::contract(error.to_string()))? {
                    if self.dialect.event(&event.data, draft)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Framing::Lines => self.lines(bytes, draft),
            Framing::Whole if self.held.len() + bytes.len() > WHOLE_BYTES_MAX => Err(too_long()),
            Framing::Whole => {
                self.held.extend_from_slice(bytes);
                Ok(false)
            }
        }
    }

    fn lines(&mut self, bytes: &[u8], draft: &mut Draft) -> Result<bool, PoolError> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.held.len() + part.len() > EVENT_BYTES_MAX {
                let error = format!("a line of more than {EVENT_BYTES_MAX} bytes");
                return Err(PoolError::contract(error));
            }
            self.held.extend_from_slice(part);
            if part.ends_with(b"\n") && self.line(draft)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn line(&mut self, draft: &mut Draft) -> Result<bool, PoolError> {
        let line = std::mem::take(&mut self.held);
        match String::from_utf8_lossy(&line).trim() {
            "" => Ok(false),
            line => self.dialect.event(line, draft),
        }
    }

    /// Nothing more comes, and the last word did not. The draft has no end then, unless a reason
    /// to end is enough in this dialect.
    pub async fn end(mut self, draft: &mut Draft) -> Result<(), PoolError> {
        let ended = match self.framing {
            Framing::Whole => {
                let dialect = self.dialect;
                let take = move |value: &Value, draft: &mut Draft| dialect.whole(value, draft);
                return whole(self.held.into(), draft, take).await;
            }
            Framing::Lines => self.line(draft),
            Framing::Events => Ok(false),
        };
        match ended {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.dialect.cut(draft);
                Ok(())
            }
            Err(error) => Err(error.with_usage(draft.usage)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::formats::Stop;
    use crate::pool::{Cause, Usage};
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    const PARTS: [&str; 3] = [
        r#"{"model":"m","choices":[{"delta":{"content":"Two "},"finish_reason":null}]}"#,
        r#"{"choices":[{"delta":{"content":"fires"},"finish_reason":"eos_token"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":2}}"#,
    ];

    fn drafted(framing: Framing, pieces: &[&[u8]]) -> Result<Draft, PoolError> {
        let (mut parts, mut draft) = (Parts::new(Dialect::OpenAi, framing), Draft::default());
        for piece in pieces {
            if parts.push(piece, &mut draft)? {
                return Ok(draft);
            }
        }
        parts.end(&mut draft).now_or_never().unwrap()?;
        Ok(draft)
    }

    #[test]
    fn a_media_type_says_what_stands_between_events() {
        let kinds = [
            ("text/event-stream; charset=utf-8", Some(Framing::Events)),
            ("application/jsonlines", Some(Framing::Lines)),
            ("Application/JSON;charset=utf-8", Some(Framing::Whole)),
            ("", None),
            ("text/plain", None),
        ];
        for (kind, wanted) in kinds {
            assert_eq!(Framing::of(kind), wanted, "{kind}");
        }
    }

    #[test]
    fn what_is_no_json_breaks_the_contract_in_every_framing() {
        for framing in [Framing::Events, Framing::Lines, Framing::Whole] {
            let error = drafted(framing, &[b"data: {no\n\n"]).unwrap_err();
            assert_eq!(error.cause, Cause::Contract, "{framing:?}: {error}");
        }
        let endless = vec![b' '; EVENT_BYTES_MAX / 2 + 1];
        let whole = vec![b' '; WHOLE_BYTES_MAX];
        for (framing, endless) in
            [(Framing::Events, &endless), (Framing::Lines, &endless), (Framing::Whole, &whole)]
        {
            let error = drafted(framing, &[endless, endless]).unwrap_err();
            assert_eq!(error.cause, Cause::Contract, "{framing:?}: {error}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_never_ends_meets_the_bound_and_states_what_it_took() {
        let body = vec![b'\n'; ANSWER_BYTES_MAX + 1];
        let usage = Usage { tokens_in: Some(42), ..Usage::default() };
        let mut draft = Draft { usage, ..Draft::default() };
        let mut parts = Parts::new(Dialect::Anthropic, Framing::Events);
        let answer = Answer::of("text/event-stream", body);
        let error = read(answer, &mut draft, |piece, draft| parts.push(piece, draft)).await;
        let error = error.unwrap_err();
        assert_eq!(error.cause, Cause::Contract, "{error}");
        assert_eq!(error.usage.tokens_in, Some(42));
    }

    proptest! {
        #[test]
        fn it_is_no_matter_where_an_answer_is_cut(
            cuts in prop::collection::vec(1usize..40, 0..20),
            framing in prop::sample::select(vec![Framing::Events, Framing::Lines]),
            ended in any::<bool>(),
        ) {
            let text = match framing {
                Framing::Events => PARTS.map(|part| format!("data: {part}\n\n")).concat(),
                _ if ended => PARTS.map(|part| format!("{part}\r\n\n")).concat(),
                _ => PARTS.join("\n"),
            };
            let (mut pieces, mut rest) = (Vec::new(), text.as_bytes());
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            let draft = drafted(framing, &pieces).unwrap();
            prop_assert_eq!(draft.text, "Two fires");
            prop_assert_eq!(draft.stop, Some(Stop::End));
            prop_assert_eq!(draft.usage.tokens_out, Some(2));
        }
    }
}
