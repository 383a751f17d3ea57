//! Messages, after Anthropic's API reference.

use super::{ANSWER, KEY, Shared, WORDS, error, failing, is_png, only, pieces, tokens};
use axum::{
    Router, body::Bytes, extract::State, http::HeaderMap, response::IntoResponse as _,
    response::Response, routing::post,
};
use serde_json::{Value, json};

pub fn routes() -> Router<Shared> {
    Router::new().route("/v1/messages", post(messages))
}

fn refuse(status: u16, kind: &str, said: &str) -> Response {
    let wait: &[_] = if kind == "rate_limit_error" { &[("retry-after", "7")] } else { &[] };
    let error_body = json!({ "type": "error", "error": { "type": kind, "message": said },
        "request_id": "req_1" });
    error(status, wait, error_body)
}

async fn messages(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let body = shared.note("/v1/messages", &headers, &body);
    // The reference has the first, the vendor's own library sends the second.
    let bearer = format!("Bearer {KEY}");
    let is = |name: &str, wanted: &str| headers.get(name).is_some_and(|value| value == wanted);
    if !is("x-api-key", KEY) && !is("authorization", &bearer) {
        return refuse(401, "authentication_error", "invalid x-api-key");
    }
    // What this double knows is the same in both.
    if !["2023-06-01", "2026-10-21"].iter().any(|version| is("anthropic-version", version)) {
        return refuse(400, "invalid_request_error", "anthropic-version: header is required");
    }
    if let Err(said) = only(&body, &["model"], &FIELDS).and_then(|()| check(&body)) {
        return refuse(400, "invalid_request_error", &said);
    }
    let model = body["model"].as_str().unwrap_or_default();
    if let Some((status, what, said)) = failing(model) {
        return match what {
            "rate" => refuse(429, "rate_limit_error", said),
            "overloaded" => refuse(529, "overloaded_error", said),
            "quota" => refuse(402, "billing_error", said),
            "server" => refuse(500, "api_error", said),
            _ => refuse(status, "invalid_request_error", said),
        };
    }
    let message = message(model, &body);
    if body["stream"] != json!(true) {
        return axum::Json(message).into_response();
    }
    stream(&shared, model, message)
}

/// Fields of a body besides the model, which Bedrock has in the path.
pub const FIELDS: [&str; 8] = [
    "max_tokens",
    "messages",
    "system",
    "stream",
    "tools",
    "tool_choice",
    "output_config",
    "anthropic_version",
];

/// Whether a body is one.
pub fn check(body: &Value) -> Result<(), String> {
    if !body["max_tokens"].is_u64() {
        return Err("max_tokens: field required".into());
    }
    for message in body["messages"].as_array().into_iter().flatten() {
        only(message, &["role", "content"], &[])?;
        for block in message["content"].as_array().into_iter().flatten() {
            match block["type"].as_str() {
                Some("text") => only(block, &["type", "text"], &[])?,
                Some("image") => {
                    only(block, &["type", "source"], &[])?;
                    only(&block["source"], &["type", "media_type", "data"], &[])?;
                    if !is_png(&block["source"]["data"]) {
                        return Err("source.data: not a PNG".into());
                    }
                }
                other => return Err(format!("type: {other:?}")),
            }
        }
    }
    if let Some(config) = body.get("output_config") {
        only(&config["format"], &["type", "schema"], &[])?;
    }
    Ok(())
}

/// The answer, whole.
pub fn message(model: &str, body: &Value) -> Value {
    let tool = body.get("tool_choice").map(|choice| &choice["name"]);
    let structured = tool.is_some() || body.get("output_config").is_some();
    let block = match tool {
        Some(name) => {
            let input: Value = serde_json::from_str(ANSWER).unwrap();
            json!({ "type": "tool_use", "id": "toolu_1", "name": name, "input": input })
        }
        None => json!({ "type": "text", "text": if structured { ANSWER } else { WORDS } }),
    };
    let reason = match (model, tool) {
        ("long", _) => "max_tokens",
        ("filtered" | "unwilling", _) => "refusal",
        (_, Some(_)) => "tool_use",
        _ => "end_turn",
    };
    let (tokens_in, tokens_out) = tokens();
    json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": model,
        "content": [block], "stop_reason": reason, "stop_sequence": null,
        "usage": { "input_tokens": tokens_in, "output_tokens": tokens_out } })
}

/// An answer's events, and those that end it.
pub fn events(mut message: Value) -> (Vec<Value>, Vec<Value>) {
    let event = |kind: &str, mut data: Value| {
        data["type"] = json!(kind);
        data
    };
    let mut block = message["content"][0].take();
    let reason = message["stop_reason"].take();
    message["content"] = json!([]);
    let text = match block["text"].as_str() {
        Some(text) => text.to_owned(),
        None => block["input"].to_string(),
    };
    let is_tool = block["type"] == "tool_use";
    block[if is_tool { "input" } else { "text" }] = if is_tool { json!({}) } else { json!("") };
    let mut events = vec![
        event("message_start", json!({ "message": message })),
        event("content_block_start", json!({ "index": 0, "content_block": block })),
        event("ping", json!({})),
    ];
    for piece in pieces(&text) {
        let delta = match is_tool {
            true => json!({ "type": "input_json_delta", "partial_json": piece }),
            false => json!({ "type": "text_delta", "text": piece }),
        };
        events.push(event("content_block_delta", json!({ "index": 0, "delta": delta })));
    }
    let (_, tokens_out) = tokens();
    let delta = json!({ "stop_reason": reason, "stop_sequence": null });
    let usage = json!({ "output_tokens": tokens_out });
    let end = vec![
        event("content_block_stop", json!({ "index": 0 })),
        event("message_delta", json!({ "delta": delta, "usage": usage })),
        event("message_stop", json!({})),
    ];
    (events, end)
}

/// An event as it is sent.
pub fn framed(event: &Value) -> String {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())
}

fn stream(shared: &Shared, model: &str, message: Value) -> Response {
    let (mut events, end) = events(message);
    match model {
        "endless" | "cut" => {}
        "stumbling" => {
            let error = json!({ "type": "overloaded_error", "message": "Overloaded" });
            events.push(json!({ "type": "error", "error": error }));
        }
        _ => events.extend(end),
    }
    shared.events(events.iter().map(framed).collect(), model == "endless")
}
