//! Chat completions as OpenAI publishes them, and vLLM, llama.cpp, Ollama and many others speak
//! them too.

use super::{Draft, Stop, Structured, inside, system_of};
use crate::pool::{Document, Message, Part, PoolError, Role, Usage};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// How a server differs from others of the dialect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// How a schema is asked for.
    pub structured: Structured,
    /// Whether the answer comes as events.
    pub stream: bool,
    /// Whether the bound on tokens is `max_completion_tokens`, as OpenAI's own newer models want
    /// it; others know `max_tokens`.
    pub completion_tokens: bool,
}

/// The body of a question.
pub fn body(model: &str, document: &Document, dialect: Dialect) -> Value {
    let system = system_of(document, dialect.structured);
    let mut messages = Vec::with_capacity(document.messages.len() + 1);
    if !system.is_empty() {
        messages.push(json!({ "role": "system", "content": system }));
    }
    messages.extend(document.messages.iter().map(message));
    let mut body = json!({ "model": model, "messages": messages });
    let bound = if dialect.completion_tokens { "max_completion_tokens" } else { "max_tokens" };
    body[bound] = json!(document.tokens_out_max);
    if dialect.stream {
        body["stream"] = json!(true);
        body["stream_options"] = json!({ "include_usage": true });
    }
    if let Some(schema) = &document.schema {
        let (name, value) = (&schema.name, &schema.value);
        match dialect.structured {
            Structured::Schema => {
                let schema = json!({ "name": name, "schema": value, "strict": true });
                body["response_format"] = json!({ "type": "json_schema", "json_schema": schema });
            }
            Structured::Tool => {
                let function = json!({ "name": name, "parameters": value, "strict": true });
                body["tools"] = json!([{ "type": "function", "function": function }]);
                body["tool_choice"] = json!({ "type": "function", "function": { "name": name } });
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
    // Words alone go as a plain text: some servers take nothing else where no image can be.
    if let [Part::Text(text)] = message.parts.as_slice() {
        return json!({ "role": role, "content": text });
    }
    let part = |part: &Part| match part {
        Part::Text(text) => json!({ "type": "text", "text": text }),
        Part::Image { format, data } => {
            let url = format!("data:{};base64,{}", format.media_type(), STANDARD.encode(data));
            json!({ "type": "image_url", "image_url": { "url": url } })
        }
    };
    json!({ "role": role, "content": message.parts.iter().map(part).collect::<Value>() })
}

/// Takes an answer that came whole.
pub fn whole(value: &Value, draft: &mut Draft) -> Result<(), PoolError> {
    if value["error"].is_object() || value["error"].is_string() {
        return Err(inside(value, draft));
    }
    let choice = &value["choices"][0];
    if choice["message"].is_null() {
        return Err(PoolError::contract("an answer without choices"));
    }
    chunk(value, &choice["message"], draft)
}

/// Takes an event; gives whether it was the last.
pub fn event(data: &str, draft: &mut Draft) -> Result<bool, PoolError> {
    if data.trim() == "[DONE]" {
        return Ok(true);
    }
    let value: Value = serde_json::from_str(data)
        .map_err(|error| PoolError::contract(format!("an event that is no JSON: {error}")))?;
    if value["error"].is_object() || value["error"].is_string() {
        return Err(inside(&value, draft));
    }
    chunk(&value, &value["choices"][0]["delta"], draft)?;
    Ok(false)
}

/// Energy in joules as GreenPT states it: `{"total": 5, "unit": "Wms"}`.
fn energy(stated: &Value) -> Option<f64> {
    let joules = match stated["unit"].as_str()? {
        "Wms" | "mJ" => 1e-3,
        "Ws" | "J" => 1.0,
        "mWh" => 3.6,
        "Wh" => 3.6e3,
        "kWh" => 3.6e6,
        _ => return None,
    };
    Some(stated["total"].as_f64()? * joules)
}

/// Whole answers and events differ only in what their message is called.
fn chunk(value: &Value, message: &Value, draft: &mut Draft) -> Result<(), PoolError> {
    if let Some(model) = value["model"].as_str() {
        model.clone_into(&mut draft.model);
    }
    let usage = &value["usage"];
    if usage.is_object() {
        draft.usage = Usage {
            tokens_in: usage["prompt_tokens"].as_u64(),
            tokens_out: usage["completion_tokens"].as_u64(),
            ..draft.usage
        };
    }
    if let Some(joules) = energy(&value["impact"]["energy"]) {
        draft.usage.energy_j = Some(joules);
    }
    match &message["content"] {
        Value::String(text) => draft.say(text)?,
        Value::Array(parts) => {
            for part in parts {
                draft.say(part["text"].as_str().unwrap_or_default())?;
            }
        }
        _ => {}
    }
    if let Some(text) = message["tool_calls"][0]["function"]["arguments"].as_str() {
        draft.argue(text)?;
    }
    let refusal = message["refusal"].as_str().filter(|text| !text.is_empty());
    let reason = value["choices"][0]["finish_reason"].as_str();
    let stop = match (refusal, reason) {
        (_, Some("content_filter")) => Some(Stop::Refused("content filter".to_owned())),
        (_, Some("length")) => Some(Stop::Length),
        (_, Some(_)) => Some(Stop::End),
        (_, None) => None,
    };
    match (refusal, &mut draft.stop) {
        // A refusal comes in pieces too; what ends it does not make it an answer.
        (Some(text), Some(Stop::Refused(said))) => said.push_str(text),
        (Some(text), _) => draft.stop = Some(Stop::Refused(text.to_owned())),
        (None, Some(Stop::Refused(_))) => {}
        (None, known) => *known = stop.or(known.take()),
    }
    Ok(())
}
