//! Our AWS adapters before moto, which checks each signature with botocore's own code.

use crate::{
    adapters::{opened, request},
    python,
    servers::{free, installed, start},
};
use codecs::tensor::Tensor;
use groundstation::pool::{Cause, Document, Input, Message, Part, Pool, Request, Role};
use serde_json::Value;
use std::{
    net::TcpStream,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};
use tests::process::DEADLINE;

fn pool(dir: &Path, url: &str, kind: &str, more: &str) -> Arc<dyn Pool> {
    let row = format!(
        "[[pool]]\nname = \"far\"\nkind = \"{kind}\"\nurl = \"{url}\"\nregion = \"eu-central-1\"\n\
         credentials = \"aws.toml\"\ntasks = {{ \"t/1\" = \"far.model-v1:0\" }}\n{more}\n"
    );
    opened(dir, &row).remove(0)
}

fn question(key: &str) -> Request {
    let x = Tensor::from_f32("x", vec![1, 2], &[1.5, -2.0]).unwrap();
    Request { idempotency_key: key.into(), ..request("t/1", Input::Tensors(vec![x]), 60.0) }
}

#[tokio::test]
async fn a_real_moto_takes_our_signatures_and_answers_at_once_and_through_a_bucket() {
    let found = installed(
        "GROUNDTRACK_POOL_CLIENTS",
        "pool-clients",
        "bin/moto_server",
        "tools/install-pool-clients",
    );
    let Some(venv) = found else { return };
    let dir = tempfile::tempdir().unwrap();
    let (port, log) = (free(), dir.path().join("log"));
    let mut command = Command::new(venv.join("bin/moto_server"));
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
    command.env("INITIAL_NO_AUTH_ACTION_COUNT", "4");
    let _server = start(&mut command, &log);
    let end = Instant::now() + DEADLINE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "not there: {}", std::fs::read_to_string(&log).unwrap());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let url = format!("http://127.0.0.1:{port}");
    let keys: Value = serde_json::from_str(&python::run("moto_keys.py", &[&url]).unwrap()).unwrap();
    let write = |secret: &Value| {
        let keys = format!("access_key_id = {}\nsecret_access_key = {secret}\n", keys["id"]);
        std::fs::write(dir.path().join("aws.toml"), keys).unwrap();
    };
    write(&keys["secret"]);
    let bucket = format!("form = \"oip\"\nbucket = \"s3://questions/in\"\nbucket_url = \"{url}\"");
    let at_once = pool(dir.path(), &url, "sagemaker", "form = \"oip\"");
    let later = pool(dir.path(), &url, "sagemaker-async", &bucket);
    let answer = at_once.infer(&question("job-1")).await.unwrap();
    assert_eq!(answer.output.tensors()[0].to_f32().unwrap(), [3.0, -4.0]);
    // It answers any model with an empty object, which is no answer; the question got through.
    let parts = vec![Part::Text("What burns?".into())];
    let messages = vec![Message { role: Role::User, parts }];
    let document = Document { messages, tokens_out_max: 50, ..Document::default() };
    let words = request("t/1", Input::Document(document), 60.0);
    let invoke = pool(dir.path(), &url, "bedrock-invoke", "form = \"anthropic\"");
    let empty = invoke.infer(&words).await.unwrap_err();
    assert!([Cause::Contract, Cause::Failed].contains(&empty.cause), "{empty}");
    write(&"another".into());
    for pool in [&at_once, &later] {
        let refused = pool.infer(&question("job-4")).await.unwrap_err();
        assert_eq!(refused.cause, Cause::Auth, "{refused}");
    }
    assert_eq!(invoke.infer(&words).await.unwrap_err().cause, Cause::Auth);
    // Of a call without a body it checks the signature of something else: from here on it checks
    // none, and is a bucket and an endpoint that lays answers into it.
    python::run("moto_keys.py", &[&url, "open"]).unwrap();
    let answer = later.infer(&question("job-2")).await.unwrap();
    assert_eq!(answer.output.tensors()[0].to_f32().unwrap(), [3.0, -4.0]);
    let failed = later.infer(&question("job-3")).await.unwrap_err();
    assert_eq!((failed.cause, failed.said.as_str()), (Cause::Failed, "out of memory"));
}
