//! Bedrock's Converse: one dialect for Nova and every other model there.

use super::{Draft, Stop, Structured, sum, system_of};
use crate::pool::{Document, ImageFormat, Message, Part, PoolError, Role, Usage};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::time::Duration;

/// The body of a question; the model stands in the path.
pub fn body(document: &Document, structured: Structured) -> Value {
    let messages: Value = document.messages.iter().map(message).collect();
    let mut body = json!({
        "messages": messages,
        "inferenceConfig": { "maxTokens": document.tokens_out_max },
    });
    let system = system_of(document, structured);
    if !system.is_empty() {
        body["system"] = json!([{ "text": system }]);
    }
    if let Some(schema) = &document.schema {
        let (name, value) = (&schema.name, &schema.value);
        match structured {
            Structured::Schema => {
                // The one vendor that wants the schema as a text.
                let schema = json!({ "name": name, "schema": value.to_string() });
                let format =
                    json!({ "type": "json_schema", "structure": { "jsonSchema": schema } });
                body["outputConfig"] = json!({ "textFormat": format });
            }
            Structured::Tool => {
                let tool = json!({ "name": name, "inputSchema": { "json": value } });
                body["toolConfig"] = json!({
                    "tools": [{ "toolSpec": tool }],
                    "toolChoice": { "tool": { "name": name } },
                });
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
        Part::Text(text) => json!({ "text": text }),
        Part::Image { format, data } => {
            let format = match format {
                ImageFormat::Png => "png",
                ImageFormat::Jpeg => "jpeg",
            };
            let source = json!({ "bytes": STANDARD.encode(data) });
            json!({ "image": { "format": format, "source": source } })
        }
    };
    json!({ "role": role, "content": message.parts.iter().map(part).collect::<Value>() })
}

/// Takes an answer. It does not name the model: the path did.
pub fn whole(value: &Value, draft: &mut Draft) -> Result<(), PoolError> {
    let Some(blocks) = value["output"]["message"]["content"].as_array() else {
        return Err(PoolError::contract("an answer without content"));
    };
    draft.usage = usage(value, draft.usage);
    for block in blocks {
        if let Some(text) = block["text"].as_str() {
            draft.say(text)?;
        }
        if block["toolUse"].is_object() {
            draft.argue(&block["toolUse"]["input"].to_string())?;
        }
    }
    draft.stop = stop(&value["stopReason"], draft.usage)?;
    Ok(())
}

/// Takes an event of ConverseStream; whether it was the last. What it took comes after the reason
/// to end, so that an answer is whole with either.
pub fn event(name: &str, value: &Value, draft: &mut Draft) -> Result<bool, PoolError> {
    match name {
        "contentBlockDelta" => {
            let delta = &value["delta"];
            if let Some(text) = delta["text"].as_str() {
                draft.say(text)?;
            }
            if let Some(text) = delta["toolUse"]["input"].as_str() {
                draft.argue(text)?;
            }
        }
        "messageStop" => draft.stop = stop(&value["stopReason"], draft.usage)?,
        "metadata" => {
            draft.usage = usage(value, draft.usage);
            return Ok(true);
        }
        // Beginnings and ends of blocks; events that are not known yet.
        _ => {}
    }
    Ok(false)
}

fn usage(value: &Value, known: Usage) -> Usage {
    let usage = &value["usage"];
    let cached = [&usage["cacheReadInputTokens"], &usage["cacheWriteInputTokens"]];
    Usage {
        tokens_in: sum(&[&usage["inputTokens"], cached[0], cached[1]]),
        tokens_out: usage["outputTokens"].as_u64(),
        run: value["metrics"]["latencyMs"].as_u64().map(Duration::from_millis),
        ..known
    }
}

fn stop(reason: &Value, usage: Usage) -> Result<Option<Stop>, PoolError> {
    Ok(match reason.as_str() {
        None => None,
        Some("max_tokens" | "model_context_window_exceeded") => Some(Stop::Length),
        Some(reason @ ("guardrail_intervened" | "content_filtered")) => {
            Some(Stop::Refused(reason.to_owned()))
        }
        Some(reason @ ("malformed_model_output" | "malformed_tool_use")) => {
            return Err(PoolError::contract(reason).with_usage(usage));
        }
        Some(_) => Some(Stop::End),
    })
}
