//! Answers in Amazon's messages: events, and errors that come when the status was good already.

use super::events::{Message, Reader};
use crate::pool::PoolError;
use crate::pool::formats::Draft;
use crate::pool::https::Answer;
use crate::pool::stream;
use crate::pool::verdict::{self, Refusal};
use serde_json::Value;

/// Reads messages until `take`, which is given each event's name and payload, finds the last word,
/// or to their end; gives whether the last word came. Ends in the middle of a message are errors.
pub async fn read(
    answer: Answer,
    draft: &mut Draft,
    mut take: impl FnMut(&str, &[u8], &mut Draft) -> Result<bool, PoolError> + Send,
) -> Result<bool, PoolError> {
    let mut reader = Reader::default();
    let last = stream::read(answer, draft, |piece, draft| {
        let messages = reader.push(piece);
        for message in messages.map_err(|error| PoolError::contract(error.to_string()))? {
            if take(event(&message)?, &message.payload, draft)? {
                return Ok(true);
            }
        }
        Ok(false)
    });
    match last.await? {
        false if !reader.is_between() => {
            Err(PoolError::failed("the answer was cut short").with_usage(draft.usage))
        }
        last => Ok(last),
    }
}

/// Name of the event that a message is.
fn event(message: &Message) -> Result<&str, PoolError> {
    let header = |name: &str| message.header(name).unwrap_or_default();
    match header(":message-type") {
        "exception" => {
            let value: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
            let word = |name: &str| value[name].as_str().unwrap_or_default();
            // Bedrock's field, and SageMaker's two.
            let said = [word("message"), word("ErrorCode"), word("Message")].join(" ");
            Err(refused(header(":exception-type"), said.trim()))
        }
        "error" => Err(refused(header(":error-code"), header(":error-message"))),
        _ => Ok(header(":event-type")),
    }
}

/// What an error means, by the status that it has where it comes before a stream.
fn refused(code: &str, said: &str) -> PoolError {
    let status = match code {
        "throttlingException" => 429,
        "validationException" => 400,
        "accessDeniedException" => 403,
        "modelTimeoutException" => 408,
        "modelStreamErrorException" | "ModelStreamError" => 424,
        "serviceUnavailableException" => 503,
        _ => 500,
    };
    let (code, message) = (code.to_owned(), said.to_owned());
    verdict::of(&Refusal { status, code, message, retry_after: None })
}
