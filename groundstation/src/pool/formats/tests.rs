use super::*;
use crate::pool::{Cause, ImageFormat, Message, Part, Role, Schema};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

fn document(schema: bool) -> Document {
    let image = Part::Image { format: ImageFormat::Png, data: Bytes::from_static(b"\x89PNG") };
    let parts = vec![Part::Text("What burns?".into()), image];
    Document {
        system: "You watch fires.".into(),
        messages: vec![Message { role: Role::User, parts }],
        schema: schema.then(|| Schema { name: "fires".into(), value: json!({ "type": "object" }) }),
        tokens_out_max: 500,
    }
}

#[test]
fn each_dialect_asks_for_a_schema_in_its_own_field() {
    let (document, plain) = (document(true), document(false));
    let dialect = |structured| openai::Dialect { structured, ..openai::Dialect::default() };
    let schema = openai::body("m", &document, dialect(Structured::Schema));
    assert_eq!(schema["response_format"]["json_schema"]["strict"], true);
    assert_eq!(schema["max_tokens"], 500);
    assert_eq!(
        schema["messages"][1]["content"][1]["image_url"]["url"],
        "data:image/png;base64,iVBORw=="
    );
    let tool = openai::body("m", &document, dialect(Structured::Tool));
    assert_eq!(tool["tool_choice"]["function"]["name"], "fires");
    let newer = openai::Dialect { completion_tokens: true, ..dialect(Structured::Schema) };
    let newer = openai::body("m", &document, newer);
    assert_eq!(
        (&newer["max_completion_tokens"], &newer["max_tokens"]),
        (&json!(500), &json!(null))
    );
    let words = openai::body("m", &document, dialect(Structured::Words));
    assert!(words["messages"][0]["content"].as_str().unwrap().contains("{\"type\":\"object\"}"));
    let none = openai::body("m", &plain, dialect(Structured::Schema));
    assert!(none["response_format"].is_null() && none["tools"].is_null());

    let schema = anthropic::body(&document, Structured::Schema, true);
    assert_eq!(schema["output_config"]["format"]["type"], "json_schema");
    assert_eq!((&schema["stream"], &schema["max_tokens"]), (&json!(true), &json!(500)));
    assert_eq!(schema["messages"][0]["content"][1]["source"]["media_type"], "image/png");
    let tool = anthropic::body(&document, Structured::Tool, false);
    assert_eq!(tool["tools"][0]["input_schema"], json!({ "type": "object" }));

    let schema = converse::body(&document, Structured::Schema);
    let format = &schema["outputConfig"]["textFormat"]["structure"]["jsonSchema"];
    assert_eq!(format["schema"], "{\"type\":\"object\"}");
    assert_eq!(schema["messages"][0]["content"][1]["image"]["format"], "png");
    let tool = converse::body(&document, Structured::Tool);
    assert_eq!(tool["toolConfig"]["toolChoice"]["tool"]["name"], "fires");
}

#[test]
fn energy_is_read_where_a_service_states_it() {
    for (stated, joules) in [
        (json!({ "total": 5_250, "unit": "Wms" }), Some(5.25)),
        (json!({ "total": 2.0, "unit": "Wh" }), Some(7_200.0)),
        (json!({ "total": 5, "unit": "horses" }), None),
        (json!({ "total": "5", "unit": "J" }), None),
        (json!(null), None),
    ] {
        let value = json!({
            "choices": [{ "message": { "content": "ok" }, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 1, "completion_tokens": 2 },
            "impact": { "energy": stated },
        });
        let answer = read(openai::whole, value, false).unwrap();
        assert_eq!((answer.usage.energy_j, answer.usage.tokens_out), (joules, Some(2)), "{stated}");
    }
}

/// An answer of a dialect, whole.
fn read(
    whole: fn(&Value, &mut Draft) -> Result<(), PoolError>,
    value: Value,
    schema: bool,
) -> Result<Response, PoolError> {
    let mut draft = Draft::default();
    whole(&value, &mut draft)?;
    draft.finish(&document(schema))
}

fn openai_answer(message: Value, reason: &str) -> Value {
    json!({ "model": "m-1", "choices": [{ "message": message, "finish_reason": reason }],
        "usage": { "prompt_tokens": 11, "completion_tokens": 3 } })
}

#[test]
fn an_answer_is_one_only_if_it_is_whole_and_fits() {
    let good = openai_answer(json!({ "content": "{\"fires\":2}" }), "stop");
    let response = read(openai::whole, good.clone(), true).unwrap();
    let Output::Document(answer) = &response.output else { panic!() };
    assert_eq!(answer.value, Some(json!({ "fires": 2 })));
    assert_eq!((response.usage.tokens_in, response.usage.tokens_out), (Some(11), Some(3)));
    assert_eq!(response.model, "m-1");
    for (message, reason, cause, words) in [
        (json!({ "content": "{\"fires\":" }), "length", Cause::Contract, "500 tokens"),
        (json!({ "content": "two fires" }), "stop", Cause::Contract, "no JSON"),
        (json!({ "content": "" }), "stop", Cause::Contract, "empty"),
        (json!({ "content": null, "refusal": "I won't" }), "stop", Cause::BadRequest, "I won't"),
        (json!({ "content": "" }), "content_filter", Cause::BadRequest, "content filter"),
    ] {
        let error = read(openai::whole, openai_answer(message, reason), true).unwrap_err();
        assert_eq!(error.cause, cause, "{error}");
        assert!(error.said.contains(words), "{error}");
        assert_eq!(error.usage.tokens_out, Some(3), "what it cost is told all the same");
    }
    let fenced = openai_answer(json!({ "content": "```json\n{\"a\": 1}\n```" }), "stop");
    assert!(read(openai::whole, fenced, true).is_ok());
    let called = json!({ "content": null,
        "tool_calls": [{ "function": { "name": "fires", "arguments": "{\"fires\":1}" } }] });
    assert!(read(openai::whole, openai_answer(called, "tool_calls"), true).is_ok());
    assert_eq!(read(openai::whole, json!({}), false).unwrap_err().cause, Cause::Contract);
}

#[test]
fn anthropic_s_and_bedrock_s_answers_are_read() {
    let value = json!({ "type": "message", "model": "claude", "stop_reason": "end_turn",
        "content": [{ "type": "text", "text": "Two." }],
        "usage": { "input_tokens": 5, "cache_read_input_tokens": 7, "output_tokens": 2 } });
    let response = read(anthropic::whole, value.clone(), false).unwrap();
    assert_eq!((response.usage.tokens_in, response.usage.tokens_out), (Some(12), Some(2)));
    let mut refused = value;
    refused["stop_reason"] = json!("refusal");
    assert_eq!(read(anthropic::whole, refused, false).unwrap_err().cause, Cause::BadRequest);
    let tool = json!({ "content": [{ "type": "tool_use", "input": { "fires": 1 } }],
        "stop_reason": "tool_use" });
    let response = read(anthropic::whole, tool, true).unwrap();
    let Output::Document(answer) = response.output else { panic!() };
    assert_eq!(answer.value, Some(json!({ "fires": 1 })));

    let value = json!({ "output": { "message": { "content": [{ "text": "Two." }] } },
        "stopReason": "end_turn", "usage": { "inputTokens": 5, "outputTokens": 2 },
        "metrics": { "latencyMs": 40 } });
    let response = read(converse::whole, value.clone(), false).unwrap();
    assert_eq!(response.usage.run, Some(std::time::Duration::from_millis(40)));
    let mut refused = value;
    refused["stopReason"] = json!("guardrail_intervened");
    assert_eq!(read(converse::whole, refused, false).unwrap_err().cause, Cause::BadRequest);
}

#[test]
fn a_model_that_never_ends_meets_a_bound() {
    let mut draft = Draft::default();
    let event = json!({ "choices": [{ "delta": { "content": "x".repeat(1 << 16) } }] }).to_string();
    let ended = (0..100).find_map(|_| openai::event(&event, &mut draft).err()).unwrap();
    assert_eq!(ended.cause, Cause::Contract);
    assert!(draft.text.len() <= TEXT_BYTES_MAX);
}

proptest! {
    #[test]
    fn no_event_makes_a_dialect_panic(
        text in "[\\[\\]{}:,\"a-z0-9. ]{0,60}",
        kind in prop::sample::select(vec!["message_start", "content_block_delta", "message_delta",
            "message_stop", "error", "ping", "contentBlockDelta", "messageStop", "metadata"]),
        inner in "[a-z0-9]{0,8}",
    ) {
        let mut draft = Draft::default();
        let _ = openai::event(&text, &mut draft);
        let _ = anthropic::event(&text, &mut draft);
        let value = json!({ "type": kind, "delta": inner, "message": inner, "usage": inner });
        let _ = anthropic::event(&value.to_string(), &mut draft);
        let _ = openai::event(&json!({ "choices": inner }).to_string(), &mut draft);
        let _ = converse::event(kind, &value, &mut draft);
        let _ = converse::whole(&json!({ "output": { "message": { "content": [inner] } } }), &mut draft);
        let _ = draft.finish(&document(true));
    }
}
