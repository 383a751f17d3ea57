//! InvokeModelWithResponseStream and InvokeEndpointWithResponseStream, after their API references:
//! a model's own answer in Amazon's messages.

use super::{
    Shared, anthropic,
    aws::{KIND, check_own, failure, framed, is_openai, refuse, verify},
    only, openai, tokens,
};
use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, Uri},
    response::Response,
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/model/{model}/invoke-with-response-stream", post(model))
        .route("/endpoints/{endpoint}/invocations-response-stream", post(endpoint))
}

/// A model's events without those that end it, and those.
fn answer(model: &str, body: &Value) -> (Vec<Value>, Vec<Value>) {
    match is_openai(body) {
        true => {
            let (events, end, last) = openai::chunks(model, body);
            (events, vec![end, last])
        }
        false => anthropic::events(anthropic::message(model, body)),
    }
}

/// A part of Bedrock's; the letters of `p` hide how long it is.
fn chunk(bytes: &str) -> Bytes {
    let payload = json!({ "bytes": bytes, "p": "abcdefgh" }).to_string();
    framed("event", "chunk", "application/json", payload.into())
}

fn exception(name: &str, payload: &Value) -> Bytes {
    framed("exception", name, "application/json", payload.to_string().into())
}

async fn model(
    State(shared): State<Shared>,
    Path(model): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let body = shared.note(uri.path(), &headers, &bytes);
    if let Some(refused) = verify(&uri, &headers, &bytes, "bedrock").or_else(|| failure(&model)) {
        return refused;
    }
    if let Err(said) = check_own(&body) {
        return refuse(400, "ValidationException", &said);
    }
    let (events, mut end) = answer(&model, &body);
    let part = |event: &Value| chunk(&STANDARD.encode(event.to_string()));
    let mut parts: Vec<Bytes> = events.iter().map(part).collect();
    match model.as_str() {
        "endless" => {}
        "unended" => parts.extend(unended(&body, &end).iter().map(part)),
        "cut" => halve(&mut parts),
        "damaged" => damage(&mut parts),
        "crooked" => parts.push(chunk("no base64")),
        "babbling" => parts.push(chunk(&STANDARD.encode("no JSON"))),
        "stumbling" => {
            let said = json!({ "message": "Too many tokens, please wait" });
            parts.push(exception("throttlingException", &said));
        }
        "collapsing" => {
            let said = json!({ "message": "The model went away", "originalStatusCode": 500 });
            parts.push(exception("modelStreamErrorException", &said));
        }
        _ => {
            // Asked for no usage, OpenAI's models state none; the service does in any case.
            if is_openai(&body) {
                end.pop();
            }
            let (tokens_in, tokens_out) = tokens();
            end.last_mut().unwrap()["amazon-bedrock-invocationMetrics"] = json!({
                "inputTokenCount": tokens_in, "outputTokenCount": tokens_out,
                "invocationLatency": 40, "firstByteLatency": 20 });
            parts.extend(end.iter().map(part));
        }
    }
    shared.pieces(parts, KIND, model == "endless")
}

/// What ends an answer, short of its last word; of OpenAI's nothing, as a reason to end is enough.
fn unended<'a>(body: &Value, end: &'a [Value]) -> &'a [Value] {
    if is_openai(body) { &[] } else { &end[..end.len() - 1] }
}

/// The last in its middle, and nothing after it.
fn halve(parts: &mut Vec<Bytes>) {
    let last = parts.pop().unwrap();
    parts.push(last.slice(..last.len() / 2));
}

/// One bit of the last is another.
fn damage(parts: &mut Vec<Bytes>) {
    let mut last = parts.pop().unwrap().to_vec();
    let middle = last.len() / 2;
    last[middle] ^= 1;
    parts.push(last.into());
}

/// A container that answers as vLLM's do, or in lines as LMI's, or whole.
async fn endpoint(
    State(shared): State<Shared>,
    Path(endpoint): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let body = shared.note(uri.path(), &headers, &bytes);
    let refused = verify(&uri, &headers, &bytes, "sagemaker").or_else(|| failure(&endpoint));
    if let Some(refused) = refused {
        return refused;
    }
    let checked = match is_openai(&body) {
        true => openai::check(&body),
        false => only(&body, &[], &anthropic::FIELDS).and_then(|()| anthropic::check(&body)),
    };
    let streams = body["stream"] == json!(true);
    if let Some(said) = checked.err().or((!streams).then(|| "asked for no stream".to_owned())) {
        return refuse(424, "ModelError", &said);
    }
    let model = endpoint.as_str();
    let (mut events, end) = answer(model, &body);
    let failing = ["endless", "unended", "cut", "damaged", "stumbling", "collapsing", "babbling"];
    let fails = failing.contains(&model);
    match model {
        "unended" => events.extend_from_slice(unended(&body, &end)),
        _ if fails => {}
        _ => events.extend(end),
    }
    let (kind, text): (_, String) = match model {
        "lines" => ("application/jsonlines", events.iter().map(|it| format!("{it}\n")).collect()),
        "whole" if is_openai(&body) => {
            ("application/json", openai::completion(model, &body).to_string())
        }
        "whole" => ("application/json", anthropic::message(model, &body).to_string()),
        "babbling" => ("text/event-stream", "data: no JSON\n\n".to_owned()),
        _ if is_openai(&body) => {
            let done = if fails { "" } else { "data: [DONE]\n\n" };
            let events = events.iter().map(|event| format!("data: {event}\n\n"));
            ("text/event-stream; charset=utf-8", events.collect::<String>() + done)
        }
        _ => ("text/event-stream; charset=utf-8", events.iter().map(anthropic::framed).collect()),
    };
    let part = |part: &[u8]| {
        let part = Bytes::copy_from_slice(part);
        framed("event", "PayloadPart", "application/octet-stream", part)
    };
    // Cut anywhere; an event that is repeated has to be whole.
    let mut parts: Vec<Bytes> = text.as_bytes().chunks(7).map(part).collect();
    match model {
        "endless" => parts.push(part(b"\n\n: still here\n\n")),
        "cut" => halve(&mut parts),
        "damaged" => damage(&mut parts),
        "stumbling" => {
            let said = json!({ "Message": "reset", "ErrorCode": "StreamBroken" });
            parts.push(exception("ModelStreamError", &said));
        }
        "collapsing" => {
            parts.push(exception("InternalStreamFailure", &json!({ "Message": "unknown" })));
        }
        _ => {}
    }
    let mut response = shared.pieces(parts, KIND, model == "endless");
    response.headers_mut().insert("x-amzn-sagemaker-content-type", kind.parse().unwrap());
    response
}
