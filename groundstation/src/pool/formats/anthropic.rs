//! Messages as Anthropic publishes them.

use super::{Draft, Stop, Structured, inside, sum, system_of};
use crate::pool::{Document, Message, Part, PoolError, Role, Usage};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Version of the interface that is asked for, unless the station file names another: the one that
/// Anthropic's own library (2.14.0) asks for, of Bedrock too.
pub const VERSION: &str = "2026-10-21";

/// The body of a question, without the model's name: Bedrock has that in the path.
pub fn body(document: &Document, structured: Structured, stream: bool) -> Value {
    let messages: Value = document.messages.iter().map(message).collect();
    let mut body = json!({ "max_tokens": document.tokens_out_max, "messages": messages });
    let system = system_of(document, structured);
    if !system.is_empty() {
        body["system"] = json!(system);
    }
    if stream {
        body["stream"] = json!(true);
    }
    if let Some(schema) = &document.schema {
        let (name, value) = (&schema.name, &schema.value);
        match structured {
            Structured::Schema => {
                let format = json!({ "type": "json_schema", "schema": value });
                body["output_config"] = json!({ "format": format });
            }
            Structured::Tool => {
                body["tools"] = json!([{ "name": name, "input_schema": value }]);
                body["tool_choice"] = json!({ "type": "tool", "name": name });
            }
            Structured::Words => {}
        }
    }
    body
}

fn message(message: &Message) -> Value {
    let role = match message.role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let part = |part: &Part| match part {
        Part::Text(text) => json!({ "type": "text", "text": text }),
        Part::Image { format, data } => {
            let media_type = format.media_type();
            let source = json!({ "type": "base64", "media_type": media_type, "data": STANDARD.encode(data) });
            json!({ "type": "image", "source": source })
        }
    };
    json!({ "role": role, "content": message.parts.iter().map(part).collect::<Value>() })
}

/// Takes an answer that came whole.
pub fn whole(value: &Value, draft: &mut Draft) -> Result<(), PoolError> {
    if value["type"] == "error" {
        return Err(inside(value, draft));
    }
    let Some(blocks) = value["content"].as_array() else {
        return Err(PoolError::contract("an answer without content"));
    };
    head(value, draft);
    for block in blocks {
        match block["type"].as_str() {
            Some("text") => draft.say(block["text"].as_str().unwrap_or_default())?,
            Some("tool_use") => draft.argue(&block["input"].to_string())?,
            _ => {}
        }
    }
    ended(value, draft);
    Ok(())
}

/// Takes an event; gives whether it was the last.
pub fn event(data: &str, draft: &mut Draft) -> Result<bool, PoolError> {
    let value: Value = serde_json::from_str(data)
        .map_err(|error| PoolError::contract(format!("an event that is no JSON: {error}")))?;
    match value["type"].as_str() {
        Some("message_start") => head(&value["message"], draft),
        Some("content_block_delta") => {
            let delta = &value["delta"];
            if let Some(text) = delta["text"].as_str() {
                draft.say(text)?;
            }
            if let Some(text) = delta["partial_json"].as_str() {
                draft.argue(text)?;
            }
        }
        Some("message_delta") => {
            ended(&value["delta"], draft);
            // Sums so far, of what it states of them.
            let usage = usage(&value["usage"]);
            draft.usage.tokens_in = usage.tokens_in.or(draft.usage.tokens_in);
            draft.usage.tokens_out = usage.tokens_out.or(draft.usage.tokens_out);
        }
        Some("error") => return Err(inside(&value, draft)),
        Some("message_stop") => return Ok(true),
        // Pings, and what is added later: the vendor asks that unknown events be passed over.
        _ => {}
    }
    Ok(false)
}

fn head(message: &Value, draft: &mut Draft) {
    if let Some(model) = message["model"].as_str() {
        model.clone_into(&mut draft.model);
    }
    draft.usage = usage(&message["usage"]);
}

fn usage(stated: &Value) -> Usage {
    let cached = [&stated["cache_creation_input_tokens"], &stated["cache_read_input_tokens"]];
    // Without what was read anew, what came from the cache is no sum.
    let read = stated["input_tokens"].as_u64();
    let tokens_in = read.and_then(|_| sum(&[&stated["input_tokens"], cached[0], cached[1]]));
    let tokens_out = stated["output_tokens"].as_u64();
    Usage { tokens_in, tokens_out, ..Usage::default() }
}

fn ended(value: &Value, draft: &mut Draft) {
    draft.stop = match value["stop_reason"].as_str() {
        None => return,
        Some("max_tokens" | "model_context_window_exceeded") => Some(Stop::Length),
        Some("refusal") => {
            let why = value["stop_details"]["explanation"].as_str().unwrap_or(&draft.text);
            Some(Stop::Refused(why.to_owned()))
        }
        Some("pause_turn") => None,
        Some(_) => Some(Stop::End),
    };
}
