//! Chat completions, after OpenAI's API reference.

use super::{
    ANSWER, KEY, Shared, WORDS, error, failing, is_png, json_error, only, pieces, screen, tokens,
};
use axum::{
    Router, body::Bytes, extract::State, http::HeaderMap, response::IntoResponse as _,
    response::Response, routing::post,
};
use serde_json::{Value, json};

pub fn routes() -> Router<Shared> {
    Router::new().route("/v1/chat/completions", post(completions))
}

async fn completions(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let body = shared.note("/v1/chat/completions", &headers, &body);
    let key = headers.get("authorization").and_then(|value| value.to_str().ok());
    if key != Some(&format!("Bearer {KEY}")) {
        let said = format!("Incorrect API key provided: {}", key.unwrap_or_default());
        return error(
            401,
            &[],
            json_error("invalid_request_error", json!("invalid_api_key"), &said),
        );
    }
    if let Err(said) = check(&body) {
        return error(400, &[], json_error("invalid_request_error", json!(null), &said));
    }
    let model = body["model"].as_str().unwrap_or_default();
    if let Some((status, what, said)) = failing(model) {
        let (kind, code) = match what {
            "rate" => ("requests", json!("rate_limit_exceeded")),
            "quota" => ("insufficient_quota", json!("insufficient_quota")),
            "policy" => ("invalid_request_error", json!("content_policy_violation")),
            _ => ("server_error", json!(null)),
        };
        // OpenAI has no 529.
        let status = if status == 529 { 503 } else { status };
        let wait: &[_] = if what == "rate" { &[("retry-after", "7")] } else { &[] };
        return error(status, wait, json_error(kind, code, said));
    }
    answer(&shared, model, &body)
}

/// Whether a body is one.
pub fn check(body: &Value) -> Result<(), String> {
    let allowed = [
        "max_tokens",
        "max_completion_tokens",
        "stream",
        "stream_options",
        "response_format",
        "tools",
        "tool_choice",
    ];
    only(body, &["model", "messages"], &allowed)?;
    for message in body["messages"].as_array().into_iter().flatten() {
        only(message, &["role", "content"], &[])?;
        for part in message["content"].as_array().into_iter().flatten() {
            match part["type"].as_str() {
                Some("text") => only(part, &["type", "text"], &[])?,
                Some("image_url") => {
                    only(part, &["type", "image_url"], &[])?;
                    let url = part["image_url"]["url"].as_str().unwrap_or_default();
                    let data = url.strip_prefix("data:image/png;base64,");
                    if !is_png(&json!(data)) {
                        return Err("image_url: not a PNG".into());
                    }
                }
                other => return Err(format!("type: {other:?}")),
            }
        }
    }
    if let Some(format) = body.get("response_format") {
        only(format, &["type", "json_schema"], &[])?;
        only(&format["json_schema"], &["name", "schema"], &["strict", "description"])?;
    }
    Ok(())
}

fn head(object: &str, model: &str) -> Value {
    json!({ "id": "chatcmpl-1", "object": object, "created": 1_700_000_000, "model": model })
}

fn usage() -> Value {
    let (tokens_in, tokens_out) = tokens();
    json!({ "prompt_tokens": tokens_in, "completion_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out })
}

/// What is said, the tool that it is said by, and why it ends.
fn said<'a>(model: &str, body: &'a Value) -> (String, Option<&'a Value>, &'static str) {
    let tool = body.get("tool_choice").map(|choice| &choice["function"]["name"]);
    let structured = tool.is_some() || body.get("response_format").is_some();
    let text = match model {
        screen::MODEL => screen::looked(body),
        _ if structured => ANSWER.to_owned(),
        _ => WORDS.to_owned(),
    };
    let reason = match (model, tool) {
        ("long", _) => "length",
        ("filtered", _) => "content_filter",
        (_, Some(_)) => "tool_calls",
        _ => "stop",
    };
    (text, tool, reason)
}

fn call(text: &str, name: &Value) -> Value {
    json!([{ "index": 0, "id": "call_1", "type": "function",
        "function": { "name": name, "arguments": text } }])
}

/// The answer, whole.
pub fn completion(model: &str, body: &Value) -> Value {
    let (text, tool, reason) = said(model, body);
    let mut message = json!({ "role": "assistant", "content": text, "refusal": null });
    if let Some(name) = tool {
        message["content"] = json!(null);
        message["tool_calls"] = call(&text, name);
    }
    if model == "unwilling" {
        message["content"] = json!(null);
        message["refusal"] = json!("I'm sorry, I can't help with that.");
    }
    let mut whole = head("chat.completion", model);
    whole["choices"] =
        json!([{ "index": 0, "message": message, "logprobs": null, "finish_reason": reason }]);
    whole["usage"] = usage();
    whole
}

/// An answer's chunks, the one that says why it ends, and the one that says what it took.
pub fn chunks(model: &str, body: &Value) -> (Vec<Value>, Value, Value) {
    let chunk = |delta: Value, reason: Value| {
        let mut chunk = head("chat.completion.chunk", model);
        chunk["choices"] = json!([{ "index": 0, "delta": delta, "finish_reason": reason }]);
        chunk["usage"] = json!(null);
        chunk
    };
    let (text, tool, reason) = said(model, body);
    let mut chunks = vec![chunk(json!({ "role": "assistant", "content": "" }), json!(null))];
    for piece in pieces(&text) {
        let delta = match tool {
            Some(name) => json!({ "tool_calls": call(piece, name) }),
            None if model == "unwilling" => json!({ "refusal": piece }),
            None => json!({ "content": piece }),
        };
        chunks.push(chunk(delta, json!(null)));
    }
    let mut last = head("chat.completion.chunk", model);
    last["choices"] = json!([]);
    last["usage"] = usage();
    (chunks, chunk(json!({}), json!(reason)), last)
}

fn answer(shared: &Shared, model: &str, body: &Value) -> Response {
    if body["stream"] != json!(true) {
        return axum::Json(completion(model, body)).into_response();
    }
    let (mut chunks, end, last) = chunks(model, body);
    let mut done = false;
    match model {
        "endless" | "cut" => {}
        "stumbling" => chunks.push(json_error("server_error", json!(null), "The model stumbled")),
        _ => {
            chunks.extend([end, last]);
            done = true;
        }
    }
    let chunks = chunks.iter().map(|chunk| format!("data: {chunk}\n\n"));
    let done = done.then(|| "data: [DONE]\n\n".to_owned());
    shared.events(chunks.chain(done).collect(), model == "endless")
}
