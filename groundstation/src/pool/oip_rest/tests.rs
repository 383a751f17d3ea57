use super::*;
use crate::pool::http::RETRY_AFTER_MAX;
use crate::pool::usage::ENERGY_HEADER;
use crate::pool::{Handling, Input, Trace};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response as HttpResponse};
use axum::routing::{get, post};
use bytes::Bytes;
use codecs::tensor::Tensor;
use codecs::time::Tai;
use std::sync::Arc;

/// A task that ends with the test.
struct Stop(tokio::task::JoinHandle<()>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A server that answers twice its input, in the form it is told to.
#[derive(Default)]
struct Double {
    binary: bool,
    answer: Mutex<Option<(u16, Option<&'static str>, &'static str)>>,
    asked: Mutex<Vec<(String, bool)>>,
}

async fn infer(
    State(double): State<Arc<Double>>,
    headers: HeaderMap,
    bytes: Bytes,
) -> HttpResponse {
    let length = headers.get(JSON_LENGTH_HEADER).map(|value| value.to_str().unwrap());
    let json_length = length.map(|length| length.parse().unwrap());
    let key = headers.get("idempotency-key").unwrap().to_str().unwrap().to_owned();
    double.asked.lock().unwrap().push((key, json_length.is_some()));
    if let Some((status, retry, text)) = *double.answer.lock().unwrap() {
        let status = StatusCode::from_u16(status).unwrap();
        return match retry {
            Some(retry) => (status, [(RETRY_AFTER, retry)], text).into_response(),
            None => (status, text).into_response(),
        };
    }
    let question = oip::read_question(&Body { bytes, json_length }).unwrap();
    let values: Vec<f32> =
        question.inputs[0].to_f32().unwrap().iter().map(|value| value * 2.0).collect();
    let output = Tensor::from_f32("y", question.inputs[0].shape.clone(), &values).unwrap();
    let body = oip::write_answer("twice", "1", &question.id, &[(output, question.wanted.binary)]);
    let body = body.whole();
    match body.json_length {
        Some(length) => {
            let told = [(JSON_LENGTH_HEADER, length.to_string()), (ENERGY_HEADER, "0.25".into())];
            (told, body.bytes).into_response()
        }
        None => body.bytes.into_response(),
    }
}

async fn metadata(State(double): State<Arc<Double>>) -> String {
    let extension = if double.binary { "\"binary_tensor_data\"" } else { "" };
    format!("{{\"name\":\"double\",\"version\":\"1\",\"extensions\":[{extension}]}}")
}

async fn serve(double: Arc<Double>) -> (String, Stop) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new()
        .route("/v2", get(metadata))
        .route("/v2/health/ready", get(|| async {}))
        .route("/v2/models/{name}/infer", post(infer))
        .with_state(double);
    let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, Stop(task))
}

fn pool(url: &str) -> OipRest {
    let models = BTreeMap::from([("twice/1".to_owned(), "twice".to_owned())]);
    OipRest::new("far", url, models, None).unwrap()
}

fn request() -> Request {
    Request {
        task: "twice/1".into(),
        input: Input::Tensors(vec![Tensor::from_f32("x", vec![1, 3], &[1.0, -2.0, 0.1]).unwrap()]),
        deadline: Tai(20_000_000_000),
        time_left: Duration::from_secs(20),
        priority: 1,
        handling: Handling::default(),
        budget: None,
        idempotency_key: "key-1".into(),
        trace: Trace::of("x"),
        outputs_elements: None,
    }
}

#[tokio::test]
async fn raw_where_advertised_and_typed_where_not() {
    for binary in [false, true] {
        let double = Arc::new(Double { binary, ..Double::default() });
        let (url, _server) = serve(Arc::clone(&double)).await;
        let pool = pool(&url);
        pool.ready().await.unwrap();
        let answer = pool.infer(&request()).await.unwrap();
        assert_eq!(answer.output.tensors()[0].to_f32().unwrap(), [2.0, -4.0, 0.2]);
        assert_eq!(answer.model, "twice 1");
        // The double states it where it answers raw.
        assert_eq!(answer.usage.energy_j, binary.then_some(0.25));
        assert_eq!(*double.asked.lock().unwrap(), [("key-1".to_owned(), binary)]);
    }
}

#[tokio::test]
async fn errors_say_who_must_change_something() {
    let double = Arc::new(Double::default());
    let (url, _server) = serve(Arc::clone(&double)).await;
    let pool = pool(&url);
    for (status, retry, text, wanted) in [
        (400, None, "{\"error\":\"bad shape\"}", PoolError::bad_request("400 bad shape")),
        (422, None, "{\"detail\":[1]}", PoolError::bad_request("422 [1]")),
        (500, None, "boom", PoolError::failed("500 boom")),
        (503, None, "", PoolError::unavailable("503")),
        (429, Some("7"), "", PoolError::overloaded("429", Some(Duration::from_secs(7)))),
        (503, Some("99999"), "", PoolError::overloaded("503", Some(RETRY_AFTER_MAX))),
    ] {
        *double.answer.lock().unwrap() = Some((status, retry, text));
        assert_eq!(pool.infer(&request()).await, Err(wanted));
    }
    *double.answer.lock().unwrap() = Some((200, None, "{\"model_name\":\"x\"}"));
    assert_eq!(pool.infer(&request()).await.unwrap_err().cause, Cause::Contract);
    let unknown = Request { task: "tea/1".into(), ..request() };
    assert_eq!(pool.infer(&unknown).await.unwrap_err().cause, Cause::BadRequest);
}

#[tokio::test]
async fn nobody_there_is_unavailable_and_silence_is_the_deadline() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let silent = pool(&url);
    *silent.binary.lock().unwrap() = Some(false);
    let hurried = Request { time_left: Duration::from_millis(50), ..request() };
    assert_eq!(silent.infer(&hurried).await, Err(PoolError::deadline()));
    drop(listener);
    assert_eq!(silent.infer(&request()).await.unwrap_err().cause, Cause::Unavailable);
}

/// A server that reads whole requests off one connection after another, answers each with what it
/// is given, and tells of each connection that began and ended.
async fn bare(
    answers: Vec<&'static str>,
) -> (String, tokio::sync::mpsc::UnboundedReceiver<&'static str>, Stop) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        let mut answers = answers.into_iter();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tell.send("begun").unwrap();
            let mut read = vec![0; 1 << 16];
            while stream.read(&mut read).await.is_ok_and(|count| count > 0) {
                let Some(answer) = answers.next() else { continue };
                stream.write_all(answer.as_bytes()).await.unwrap();
                if answer.contains("content-length: 99") {
                    break;
                }
            }
            tell.send("ended").unwrap();
        }
    });
    (url, told, Stop(task))
}

const METADATA: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

#[tokio::test]
async fn a_connection_is_kept_and_one_that_is_given_up_is_closed() {
    let (url, mut told, _server) = bare(vec![METADATA, METADATA]).await;
    let pool = pool(&url);
    pool.ready().await.unwrap();
    assert_eq!(told.recv().await, Some("begun"));
    let hurried = Request { time_left: Duration::from_millis(50), ..request() };
    assert_eq!(pool.infer(&hurried).await, Err(PoolError::deadline()));
    // The question went over the kept connection, and its end is seen at the other side.
    assert_eq!(told.recv().await, Some("ended"));
}

#[tokio::test]
async fn an_answer_cut_short_is_a_failure_and_the_next_question_is_answered() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{";
    let (url, _told, _server) = bare(vec![METADATA, cut, METADATA]).await;
    let pool = pool(&url);
    assert_eq!(pool.infer(&request()).await.unwrap_err().cause, Cause::Failed);
    pool.ready().await.unwrap();
}

#[tokio::test]
async fn a_token_is_sent_and_never_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "hidden\n").unwrap();
    let repeat = |headers: HeaderMap| async move {
        let said = headers.get("authorization").unwrap().to_str().unwrap().to_owned();
        (StatusCode::UNAUTHORIZED, said)
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new().route("/v2", get(repeat));
    let _server = Stop(tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }));
    let source = Some(SecretSource::File(file.clone()));
    let models = BTreeMap::from([("twice/1".to_owned(), "twice".to_owned())]);
    let pool = OipRest::new("far", &url, models, source).unwrap();
    let refused = pool.infer(&request()).await.unwrap_err();
    assert_eq!(refused, PoolError::auth("401 Bearer [credential]"));
    std::fs::write(&file, "line\nbreak").unwrap();
    let unusable = pool.infer(&request()).await.unwrap_err();
    assert_eq!(unusable.cause, Cause::Auth);
    assert!(!unusable.said.contains("break"), "{unusable}");
}
