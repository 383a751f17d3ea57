//! Our adapters before the doubles that vendors' own clients take for the services.

use crate::doubles::{ANSWER, Asked, Doubles, KEY, KEY_ID, SAID, SECRET, WORDS};
use bytes::Bytes;
use codecs::{tensor::Tensor, time::Tai};
use groundstation::{
    config::Config,
    pool::{
        Cause, Document, Handling, ImageFormat, Input, Message, Output, Part, Pool, Request,
        Response, Role, Schema, Trace,
    },
    shell::pools,
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

const KINDS: [&str; 4] = ["openai", "anthropic", "bedrock-converse", "bedrock-invoke"];

/// A station file with these rows.
pub fn station(dir: &Path, rows: &str) -> PathBuf {
    let text = format!(
        "mission = \"mission.toml\"\n[station]\nname = \"T\"\nlatitude_deg = 48.0\n\
         longitude_deg = 11.0\n[identity]\nauthority = \"a\"\ncertificate = \"s\"\nkey = \"k\"\n{rows}"
    );
    let file = dir.join("station.toml");
    std::fs::write(&file, text).unwrap();
    file
}

/// Pools of a station file with these rows.
pub fn opened(dir: &Path, rows: &str) -> Vec<Arc<dyn Pool>> {
    let config = Config::load(&station(dir, rows)).unwrap();
    pools::check(&config).unwrap();
    config.pools.iter().map(|pool| pools::open(&config, pool).unwrap()).collect()
}

/// A pool of a kind before the doubles, asked for one model.
pub fn pool(dir: &Path, doubles: &Doubles, kind: &str, model: &str, more: &str) -> Arc<dyn Pool> {
    let aws = format!("access_key_id = \"{KEY_ID}\"\nsecret_access_key = \"{SECRET}\"\n");
    std::fs::write(dir.join("aws.toml"), aws).unwrap();
    std::fs::write(dir.join("key"), format!("{KEY}\n")).unwrap();
    let (path, keys) = match kind {
        "openai" => ("/v1", "credentials = \"key\""),
        "anthropic" => ("", "credentials = \"key\""),
        _ => ("", "credentials = \"aws.toml\"\naws_region = \"eu-central-1\""),
    };
    let form = match kind {
        "bedrock-invoke" if !more.contains("form = ") => "form = \"anthropic\"",
        _ => "",
    };
    let url = &doubles.url;
    let row = format!(
        "[[pool]]\nname = \"far\"\nkind = \"{kind}\"\nurl = \"{url}{path}\"\n{keys}\n{form}\n{more}\n\
         tasks = {{ \"fire-report/1\" = \"{model}\" }}\n"
    );
    opened(dir, &row).remove(0)
}

/// A request with some time left.
pub fn request(task: &str, input: Input, seconds: f64) -> Request {
    Request {
        task: task.into(),
        input,
        deadline: Tai(0),
        time_left: Duration::from_secs_f64(seconds),
        priority: 1,
        handling: Handling::default(),
        budget: None,
        idempotency_key: "job-7".into(),
        trace: Trace::of("frame"),
        outputs_elements: None,
    }
}

/// A question with a picture, to a schema or in words.
pub fn question(schema: bool, seconds: f64) -> Request {
    let image = Bytes::from_static(b"\x89PNG\r\n\x1a\nrest");
    let parts =
        vec![Part::Text(SAID.into()), Part::Image { format: ImageFormat::Png, data: image }];
    let value = json!({
        "type": "object",
        "properties": { "fires": { "type": "integer" }, "where": { "type": "string" } },
        "required": ["fires", "where"],
        "additionalProperties": false,
    });
    let document = Document {
        system: "You watch fires.".into(),
        messages: vec![Message { role: Role::User, parts }],
        schema: schema.then(|| Schema { name: "fires".into(), value }),
        tokens_out_max: 50,
    };
    request("fire-report/1", Input::Document(document), seconds)
}

/// What was answered, and its value.
pub fn said(response: &Response) -> (&str, Option<Value>) {
    let Output::Document(answer) = &response.output else { panic!("no document") };
    (&answer.text, answer.value.clone())
}

#[tokio::test]
async fn every_dialect_answers_in_words_and_to_a_schema_whole_and_piece_by_piece() {
    let (dir, doubles) = (tempfile::tempdir().unwrap(), Doubles::start().await);
    for kind in KINDS {
        for stream in [true, false] {
            for structured in ["schema", "tool"] {
                // Whole answers with the older header for the key, too.
                let older = kind == "anthropic" && !stream;
                let more = format!(
                    "stream = {stream}\nstructured = \"{structured}\"\nx_api_key = {older}"
                );
                let pool = pool(dir.path(), &doubles, kind, "steady", &more);
                assert_eq!(pool.describe().kind, kind);
                let plain = pool.infer(&question(false, 60.0)).await.unwrap();
                assert_eq!(said(&plain), (WORDS, None), "{kind} {more}");
                assert_eq!(plain.model, "steady");
                assert_eq!((plain.usage.tokens_in, plain.usage.tokens_out), (Some(42), Some(7)));
                let answer = pool.infer(&question(true, 60.0)).await.unwrap();
                let wanted: Value = serde_json::from_str(ANSWER).unwrap();
                assert_eq!(said(&answer).1, Some(wanted), "{kind} {more}");
                let Asked { path, headers, body } = doubles.last();
                let operation = match kind {
                    "openai" => "/v1/chat/completions",
                    "anthropic" => "/v1/messages",
                    "bedrock-converse" if stream => "/model/steady/converse-stream",
                    "bedrock-converse" => "/model/steady/converse",
                    _ if stream => "/model/steady/invoke-with-response-stream",
                    _ => "/model/steady/invoke",
                };
                assert_eq!(path, operation);
                let trace = headers.get("traceparent").unwrap().to_str().unwrap();
                assert_eq!(trace, Trace::of("frame").traceparent());
                let streams = kind == "openai" || kind == "anthropic";
                assert_eq!(body["stream"] == true, stream && streams, "{kind}");
            }
        }
    }
}

#[tokio::test]
async fn errors_mean_the_same_whoever_says_them() {
    let (dir, doubles) = (tempfile::tempdir().unwrap(), Doubles::start().await);
    let overloaded =
        |seconds: Option<u64>| Cause::Overloaded { retry_after: seconds.map(Duration::from_secs) };
    for kind in KINDS {
        let direct = kind == "openai" || kind == "anthropic";
        let quota = Cause::Quota { retry_after: None };
        for (model, wanted) in [
            ("busy", overloaded(direct.then_some(7))),
            ("poor", quota),
            ("unpaid", quota),
            ("broken", Cause::Failed),
            ("forbidden", Cause::BadRequest),
            ("long", Cause::Contract),
            ("filtered", Cause::BadRequest),
        ] {
            let pool = pool(dir.path(), &doubles, kind, model, "");
            let error = pool.infer(&question(true, 60.0)).await.unwrap_err();
            assert_eq!(error.cause, wanted, "{kind} {model}: {error}");
        }
        let refused = match kind {
            "openai" | "anthropic" => {
                let pool = pool(dir.path(), &doubles, kind, "steady", "");
                std::fs::write(dir.path().join("key"), "leaked-key").unwrap();
                pool.infer(&question(false, 60.0)).await
            }
            _ => {
                let pool = pool(dir.path(), &doubles, kind, "steady", "");
                let keys = format!("access_key_id = \"{KEY_ID}\"\nsecret_access_key = \"other\"\n");
                std::fs::write(dir.path().join("aws.toml"), keys).unwrap();
                pool.infer(&question(false, 60.0)).await
            }
        };
        let error = refused.unwrap_err();
        assert_eq!(error.cause, Cause::Auth, "{kind}: {error}");
        assert!(!error.said.contains("leaked-key"), "{error}");
    }
    let pool = pool(dir.path(), &doubles, "bedrock-converse", "expired", "");
    assert_eq!(pool.infer(&question(false, 60.0)).await.unwrap_err().cause, Cause::Auth);
    let tensors = request("fire-report/1", Input::Tensors(vec![]), 60.0);
    assert_eq!(pool.infer(&tensors).await.unwrap_err().cause, Cause::BadRequest);
}

#[tokio::test]
async fn streams_that_break_off_stumble_or_never_end_end_here() {
    let (dir, mut doubles) = (tempfile::tempdir().unwrap(), Doubles::start().await);
    let streaming = "stream = true";
    for kind in KINDS {
        let failing = |model: &'static str| pool(dir.path(), &doubles, kind, model, streaming);
        let cut = failing("cut").infer(&question(false, 60.0)).await.unwrap_err();
        assert_eq!(cut.cause, Cause::Failed, "{kind}: {cut}");
        let stumbling = failing("stumbling").infer(&question(false, 60.0)).await.unwrap_err();
        let wanted = match kind {
            "openai" => Cause::Failed,
            _ => Cause::Overloaded { retry_after: None },
        };
        assert_eq!(stumbling.cause, wanted, "{kind}: {stumbling}");
        while doubles.given_up.try_recv().is_ok() {}
        let endless = pool(dir.path(), &doubles, kind, "endless", streaming);
        let late = endless.infer(&question(false, 0.5)).await.unwrap_err();
        assert_eq!(late.cause, Cause::Deadline, "{kind}: {late}");
        // The double hears of it: its answer is dropped with the connection.
        doubles.given_up.recv().await.unwrap();
    }
    for kind in ["bedrock-converse", "bedrock-invoke"] {
        let damaged = pool(dir.path(), &doubles, kind, "damaged", streaming);
        let damaged = damaged.infer(&question(false, 60.0)).await.unwrap_err();
        assert_eq!(damaged.cause, Cause::Contract, "{damaged}");
        assert!(damaged.said.contains("damaged"), "{damaged}");
    }
}

#[tokio::test]
async fn a_question_that_is_dropped_is_given_up_on_the_wire() {
    let (dir, mut doubles) = (tempfile::tempdir().unwrap(), Doubles::start().await);
    let pool = pool(dir.path(), &doubles, "openai", "endless", "");
    let asked = Arc::clone(&doubles.asked);
    let asking = tokio::spawn(async move { pool.infer(&question(false, 600.0)).await });
    while asked.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    asking.abort();
    doubles.given_up.recv().await.unwrap();
}

fn tensor() -> Tensor {
    Tensor::from_f32("x", vec![1, 3], &[1.5, -2.0, 0.1]).unwrap()
}

#[tokio::test]
async fn an_endpoint_of_sagemakers_takes_tensors_typed_and_raw() {
    let (dir, doubles) = (tempfile::tempdir().unwrap(), Doubles::start().await);
    for form in ["oip", "oip-binary"] {
        let more = format!("form = \"{form}\"");
        let pool_of = |model| pool(dir.path(), &doubles, "sagemaker", model, &more);
        let question = request("fire-report/1", Input::Tensors(vec![tensor()]), 60.0);
        let answer = pool_of("far").infer(&question).await.unwrap();
        assert_eq!(answer.output.tensors()[0].to_f32(), tensor().to_f32(), "{form}");
        let crashed = pool_of("crashing").infer(&question).await.unwrap_err();
        assert_eq!(crashed.cause, Cause::Failed, "{crashed}");
        let busy = pool_of("busy").infer(&question).await.unwrap_err();
        assert_eq!(busy.cause, Cause::Overloaded { retry_after: None });
    }
}
