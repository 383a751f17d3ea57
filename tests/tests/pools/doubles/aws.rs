//! Bedrock's Converse and InvokeModel and SageMaker's InvokeEndpoint, after their API references.
//!
//! Each request's signature is worked out anew: what boto3 signs and what the adapters sign have to
//! be the same.

use super::{
    ANSWER, Shared, WORDS, anthropic, error, failing, is_png, only, openai, pieces, tokens,
};
use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, Uri},
    response::{IntoResponse as _, Response},
    routing::post,
};
use groundstation::pool::{
    Secret,
    aws::{
        events::Message,
        sigv4::{Keys, Scope, Unsigned, sign},
    },
    oip::{self, Wanted},
};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Name of the one key that is good.
pub const KEY_ID: &str = "AKIDEXAMPLE";

/// The key.
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/model/{model}/converse", post(converse))
        .route("/model/{model}/converse-stream", post(converse))
        .route("/model/{model}/invoke", post(invoke))
        .route("/endpoints/{endpoint}/invocations", post(invocations))
}

pub fn refuse(status: u16, code: &'static str, said: &str) -> Response {
    error(status, &[("x-amzn-errortype", code)], json!({ "message": said }))
}

/// Works the signature of a request out anew, from the headers that it says are signed.
pub fn verify(
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
    service: &'static str,
) -> Option<Response> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let given = header("authorization").unwrap_or_default();
    let Some((_, rest)) = given.split_once("SignedHeaders=") else {
        return Some(refuse(403, "MissingAuthenticationTokenException", "Missing token"));
    };
    if !given.contains(&format!("Credential={KEY_ID}/")) {
        let said = "The security token included in the request is invalid";
        return Some(refuse(403, "UnrecognizedClientException", said));
    }
    let names = rest.split(',').next().unwrap_or_default();
    let added = ["host", "x-amz-date", "x-amz-security-token"];
    let signed: Vec<(&str, String)> = names
        .split(';')
        .filter(|name| !added.contains(name))
        .map(|name| (name, header(name).unwrap_or_default().to_owned()))
        .collect();
    let url = format!("http://{}{uri}", header("host").unwrap_or_default()).parse().unwrap();
    let keys = Keys { id: KEY_ID.into(), secret: Secret::new(SECRET), token: None };
    let scope = Scope { region: "eu-central-1".into(), service };
    let request = Unsigned { method: "POST", url: &url, headers: &signed, body };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    // Amazon takes what was signed up to five minutes ago.
    let good = (now - 300..now + 5).any(|second| {
        sign(&request, &keys, &scope, second).iter().any(|(name, value)| {
            *name == "authorization" && value.split_whitespace().eq(given.split_whitespace())
        })
    });
    let said = "The request signature we calculated does not match the signature you provided.";
    (!good).then(|| refuse(403, "InvalidSignatureException", said))
}

/// What a model that fails says before any answer.
pub fn failure(model: &str) -> Option<Response> {
    let (_, what, said) = failing(model)?;
    Some(match what {
        "rate" => refuse(429, "ThrottlingException", said),
        "overloaded" => refuse(503, "ServiceUnavailableException", said),
        "quota" => refuse(400, "ServiceQuotaExceededException", said),
        "server" => refuse(500, "InternalServerException", said),
        _ => refuse(400, "ValidationException", said),
    })
}

async fn converse(
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
    if model == "expired" {
        return refuse(403, "ExpiredTokenException", "The security token included is expired");
    }
    if let Err(said) = check(&body) {
        return refuse(400, "ValidationException", &said);
    }
    let tool = body.get("toolConfig").map(|config| &config["toolChoice"]["tool"]["name"]);
    let structured = body.get("outputConfig").is_some();
    let block = match tool {
        Some(name) => {
            let input: Value = serde_json::from_str(ANSWER).unwrap();
            json!({ "toolUse": { "toolUseId": "tooluse_1", "name": name, "input": input } })
        }
        None => json!({ "text": if structured { ANSWER } else { WORDS } }),
    };
    let reason = match (model.as_str(), tool) {
        ("long", _) => "max_tokens",
        ("filtered", _) => "guardrail_intervened",
        (_, Some(_)) => "tool_use",
        _ => "end_turn",
    };
    let (tokens_in, tokens_out) = tokens();
    let answer = json!({
        "output": { "message": { "role": "assistant", "content": [block] } },
        "stopReason": reason,
        "usage": { "inputTokens": tokens_in, "outputTokens": tokens_out,
            "totalTokens": tokens_in + tokens_out },
        "metrics": { "latencyMs": 40 },
    });
    match uri.path().ends_with("-stream") {
        true => stream(&shared, &model, &answer),
        false => axum::Json(answer).into_response(),
    }
}

/// A message of the stream as the service frames it.
fn frame(kind: &str, name: &str, payload: &Value) -> Bytes {
    framed(kind, name, "application/json", payload.to_string().into())
}

/// The same of any payload.
pub fn framed(kind: &str, name: &str, content_type: &str, payload: Bytes) -> Bytes {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = vec![
        header(&format!(":{kind}-type"), name),
        header(":content-type", content_type),
        header(":message-type", kind),
    ];
    Message { headers, payload }.encode().unwrap().into()
}

/// Type of bodies of such messages.
pub const KIND: &str = "application/vnd.amazon.eventstream";

/// ConverseStream's events of a whole answer.
fn stream(shared: &Shared, model: &str, answer: &Value) -> Response {
    let block = &answer["output"]["message"]["content"][0];
    let mut events = vec![frame("event", "messageStart", &json!({ "role": "assistant" }))];
    let text = match block["text"].as_str() {
        Some(text) => text.to_owned(),
        None => {
            let mut start = block.clone();
            start["toolUse"].as_object_mut().unwrap().remove("input");
            let start = json!({ "contentBlockIndex": 0, "start": start });
            events.push(frame("event", "contentBlockStart", &start));
            block["toolUse"]["input"].to_string()
        }
    };
    for piece in pieces(&text) {
        let delta = match block["text"].is_string() {
            true => json!({ "text": piece }),
            false => json!({ "toolUse": { "input": piece } }),
        };
        let delta = json!({ "contentBlockIndex": 0, "delta": delta });
        events.push(frame("event", "contentBlockDelta", &delta));
    }
    match model {
        "endless" => return shared.pieces(events, KIND, true),
        "cut" => {
            // In the middle of a message.
            let last = events.pop().unwrap();
            events.push(last.slice(..last.len() / 2));
            return shared.pieces(events, KIND, false);
        }
        "stumbling" => {
            let said = json!({ "message": "Too many tokens, please wait" });
            events.push(frame("exception", "throttlingException", &said));
            return shared.pieces(events, KIND, false);
        }
        "damaged" => {
            let last = events.pop().unwrap();
            let mut damaged = last.to_vec();
            damaged[last.len() / 2] ^= 1;
            events.push(damaged.into());
            return shared.pieces(events, KIND, false);
        }
        _ => {}
    }
    let stop = json!({ "stopReason": answer["stopReason"] });
    let metadata = json!({ "usage": answer["usage"], "metrics": answer["metrics"] });
    events.push(frame("event", "contentBlockStop", &json!({ "contentBlockIndex": 0 })));
    events.push(frame("event", "messageStop", &stop));
    events.push(frame("event", "metadata", &metadata));
    shared.pieces(events, KIND, false)
}

fn check(body: &Value) -> Result<(), String> {
    only(body, &["messages"], &["system", "inferenceConfig", "toolConfig", "outputConfig"])?;
    for message in body["messages"].as_array().into_iter().flatten() {
        only(message, &["role", "content"], &[])?;
        for block in message["content"].as_array().into_iter().flatten() {
            if let Some(image) = block.get("image") {
                only(image, &["format", "source"], &[])?;
                if !is_png(&image["source"]["bytes"]) {
                    return Err("image.source.bytes: not a PNG".into());
                }
            } else {
                only(block, &["text"], &[])?;
            }
        }
    }
    if let Some(config) = body.get("outputConfig") {
        let schema = &config["textFormat"]["structure"]["jsonSchema"]["schema"];
        let parsed: Option<Value> = serde_json::from_str(schema.as_str().unwrap_or_default()).ok();
        parsed.filter(Value::is_object).ok_or("jsonSchema.schema: no schema as a text")?;
    }
    Ok(())
}

async fn invoke(
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
    match check_own(&body) {
        Ok(()) if is_openai(&body) => axum::Json(openai::completion(&model, &body)).into_response(),
        Ok(()) => axum::Json(anthropic::message(&model, &body)).into_response(),
        Err(said) => refuse(400, "ValidationException", &said),
    }
}

/// Whether a body is OpenAI's and not Anthropic's: a model of Amazon's knows only its vendor's.
pub fn is_openai(body: &Value) -> bool {
    body.get("anthropic_version").is_none() && body.get("model").is_some()
}

/// Whether a body is one of its vendor's as Bedrock takes it: the operation and nothing in the body
/// says that an answer is a stream.
pub fn check_own(body: &Value) -> Result<(), String> {
    if body.get("stream").is_some() {
        return Err("stream: Extra inputs are not permitted".into());
    }
    if is_openai(body) {
        return openai::check(body);
    }
    let version = body["anthropic_version"].as_str().unwrap_or_default();
    if !["bedrock-2023-05-31", "2026-10-21"].contains(&version) {
        return Err("anthropic_version: Field required".into());
    }
    only(body, &[], &anthropic::FIELDS).and_then(|()| anthropic::check(body))
}

/// A container of Triton's behind an endpoint: twice its input, in the form it was asked in.
async fn invocations(
    State(shared): State<Shared>,
    Path(endpoint): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    shared.note(uri.path(), &headers, &[]);
    if let Some(refused) =
        verify(&uri, &headers, &bytes, "sagemaker").or_else(|| failure(&endpoint))
    {
        return refused;
    }
    if endpoint == "crashing" {
        let body = json!({ "Message": "Received server error (500) from primary",
            "OriginalStatusCode": 500, "OriginalMessage": "out of memory", "LogStreamArn": "" });
        return error(424, &[("x-amzn-errortype", "ModelError")], body);
    }
    let kind = headers.get("content-type").unwrap().to_str().unwrap();
    let length = kind.split_once("json-header-size=").map(|(_, length)| length.parse().unwrap());
    let question = oip::read_question(&oip::Body { bytes, json_length: length }).unwrap();
    let mut outputs = question.inputs;
    for output in &mut outputs {
        output.name = "y".into();
    }
    let outputs = Wanted::all(length.is_some()).of(outputs).unwrap();
    let answer = oip::write_answer("twice", "1", &question.id, &outputs).whole();
    let kind = match answer.json_length {
        Some(length) => {
            format!("application/vnd.sagemaker-triton.binary+json;json-header-size={length}")
        }
        None => "application/json".to_owned(),
    };
    ([("content-type", kind)], answer.bytes).into_response()
}
