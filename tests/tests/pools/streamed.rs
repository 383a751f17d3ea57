//! A model's own events in Amazon's messages, before the doubles: InvokeModelWithResponseStream and
//! InvokeEndpointWithResponseStream.

use crate::{
    adapters::{pool, question, said},
    doubles::{ANSWER, Asked, Doubles, WORDS},
};
use groundstation::pool::{Cause, Pool, Trace};
use serde_json::Value;
use std::{path::Path, sync::Arc, time::Duration};

/// Both services with both dialects.
const WAYS: [(&str, &str); 4] = [
    ("bedrock-invoke", "anthropic"),
    ("bedrock-invoke", "openai"),
    ("sagemaker", "anthropic"),
    ("sagemaker", "openai"),
];

fn streaming(dir: &Path, doubles: &Doubles, way: (&str, &str), model: &str) -> Arc<dyn Pool> {
    let (kind, form) = way;
    pool(dir, doubles, kind, model, &format!("form = \"{form}\"\nstream = true"))
}

#[tokio::test]
async fn a_models_own_events_become_the_answer_that_it_gives_whole() {
    let (dir, doubles) = (tempfile::tempdir().unwrap(), Doubles::start().await);
    for (kind, form) in WAYS {
        for structured in ["schema", "tool"] {
            let more = format!("form = \"{form}\"\nstream = true\nstructured = \"{structured}\"");
            let pool = pool(dir.path(), &doubles, kind, "steady", &more);
            let plain = pool.infer(&question(false, 60.0)).await.unwrap();
            assert_eq!(said(&plain), (WORDS, None), "{kind} {more}");
            assert_eq!(plain.model, "steady");
            let answer = pool.infer(&question(true, 60.0)).await.unwrap();
            let wanted: Value = serde_json::from_str(ANSWER).unwrap();
            assert_eq!(said(&answer).1, Some(wanted), "{kind} {more}");
            for usage in [plain.usage, answer.usage] {
                let stated = (usage.tokens_in, usage.tokens_out);
                assert_eq!(stated, (Some(42), Some(7)), "{kind} {more}");
                let run = (kind == "bedrock-invoke").then(|| Duration::from_millis(40));
                assert_eq!(usage.run, run);
            }
            let Asked { path, headers, body } = doubles.last();
            let (operation, told) = match kind {
                "sagemaker" => ("/endpoints/steady/invocations-response-stream", true),
                _ => ("/model/steady/invoke-with-response-stream", false),
            };
            assert_eq!((path.as_str(), body["stream"] == true), (operation, told));
            let trace = headers.get("traceparent").unwrap().to_str().unwrap();
            assert_eq!(trace, Trace::of("frame").traceparent());
        }
    }
}

#[tokio::test]
async fn a_container_may_send_lines_or_know_no_streams() {
    let (dir, doubles) = (tempfile::tempdir().unwrap(), Doubles::start().await);
    for (form, model) in [("openai", "lines"), ("openai", "whole"), ("anthropic", "whole")] {
        let pool = streaming(dir.path(), &doubles, ("sagemaker", form), model);
        let answer = pool.infer(&question(false, 60.0)).await.unwrap();
        assert_eq!(said(&answer), (WORDS, None), "{form} {model}");
        assert_eq!((answer.usage.tokens_in, answer.usage.tokens_out), (Some(42), Some(7)));
    }
}

#[tokio::test]
async fn answers_that_break_off_or_are_none_end_here_with_what_they_took() {
    let (dir, mut doubles) = (tempfile::tempdir().unwrap(), Doubles::start().await);
    for way in WAYS {
        let overloaded = Cause::Overloaded { retry_after: None };
        let stumbling = if way.0 == "sagemaker" { Cause::Failed } else { overloaded };
        for (model, wanted, words) in [
            ("busy", overloaded, "Throttling"),
            ("forbidden", Cause::BadRequest, "content policy"),
            ("long", Cause::Contract, "50 tokens"),
            ("filtered", Cause::BadRequest, "refuses"),
            ("cut", Cause::Failed, "cut short"),
            ("unended", Cause::Failed, "cut short"),
            ("damaged", Cause::Contract, "damaged"),
            ("babbling", Cause::Contract, "no JSON"),
            ("stumbling", stumbling, if way.0 == "sagemaker" { "StreamBroken" } else { "wait" }),
            ("collapsing", Cause::Failed, if way.0 == "sagemaker" { "Internal" } else { "away" }),
        ] {
            let pool = streaming(dir.path(), &doubles, way, model);
            let error = pool.infer(&question(false, 60.0)).await.unwrap_err();
            assert_eq!(error.cause, wanted, "{way:?} {model}: {error}");
            assert!(error.said.contains(words), "{way:?} {model}: {error}");
            // Anthropic's models state what they read before they say anything.
            let begun = ["cut", "unended", "damaged", "stumbling", "collapsing"].contains(&model);
            if way.1 == "anthropic" && begun {
                assert_eq!(error.usage.tokens_in, Some(42), "{way:?} {model}: {error}");
            }
        }
        while doubles.given_up.try_recv().is_ok() {}
        let endless = streaming(dir.path(), &doubles, way, "endless");
        let late = endless.infer(&question(false, 0.5)).await.unwrap_err();
        assert_eq!(late.cause, Cause::Deadline, "{way:?}: {late}");
        // The double hears of it: its answer is dropped with the connection.
        doubles.given_up.recv().await.unwrap();
    }
    for form in ["anthropic", "openai"] {
        let crooked = streaming(dir.path(), &doubles, ("bedrock-invoke", form), "crooked");
        let crooked = crooked.infer(&question(false, 60.0)).await.unwrap_err();
        assert_eq!(crooked.cause, Cause::Contract, "{crooked}");
        assert!(crooked.said.contains("base64"), "{crooked}");
    }
}
