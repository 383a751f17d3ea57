//! Two servers that speak the Open Inference Protocol over REST: one in trouble, one that is good.

use super::super::{
    super::faults::Fault,
    child::{tell, told},
};
use crate::pool::oip::JSON_LENGTH_HEADER;
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::net::{TcpListener, TcpSocket};

/// What both call their one model.
pub const MODEL: &str = "screen";

/// What a good answer takes.
const TAKES: Duration = Duration::from_millis(10);
/// What one takes of a server that is liked best, so that its budget is spent at once.
const TAKES_LITTLE: Duration = Duration::from_millis(1);
/// How many times as long a slow one takes.
const SLOWER: u32 = 10;
/// A piece of an answer that never ends, and the time between two: who waits for the end of its time
/// meets that, and not the bound on bytes.
const PIECE: (Bytes, Duration) = (Bytes::from_static(&[b' '; 16]), Duration::from_millis(1));
/// Numbers in an answer that is too long, of which our side reads what it reads at most.
const HUGE_NUMBERS: usize = 7 << 20;
/// Seconds until a busy one wants to be asked again.
const COME_AGAIN_S: &str = "1";

/// Part of `bench faults`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is wrong with the first
    #[arg(long)]
    pub fault: Fault,
}

/// Where they are.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ready {
    /// The one in trouble.
    pub faulty: String,
    /// The good one.
    pub good: String,
}

/// Serves until the parent says so.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind("127.0.0.1:0".parse()?)?;
        let faulty = format!("http://{}", socket.local_addr()?);
        // A port that is taken and not listened on refuses connections for certain.
        let _closed = match args.fault {
            Fault::Dead => Some(socket),
            fault => {
                tokio::spawn(serve(socket.listen(64)?, fault));
                None
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let good = format!("http://{}", listener.local_addr()?);
        tokio::spawn(serve(listener, Fault::Nothing));
        tell(&Ready { faulty, good })?;
        told().await.map(drop)
    })?;
    runtime.shutdown_background();
    Ok(())
}

/// What a server does, and how often it was asked.
#[derive(Clone)]
struct Double {
    fault: Fault,
    asked: Arc<AtomicU64>,
}

async fn serve(listener: TcpListener, fault: Fault) -> std::io::Result<()> {
    axum::serve(listener, routes(fault)).await
}

/// What it says of itself is good, whatever the fault: it is in its answers.
fn routes(fault: Fault) -> Router {
    let server = json!({ "name": "double", "version": "1", "extensions": ["binary_tensor_data"] });
    let port = |name: &str, kind: &str, shape: Value| json!({ "name": name, "datatype": kind, "shape": shape });
    let model = json!({ "name": MODEL, "versions": ["1"], "platform": "double",
        "inputs": [port("tile", "UINT8", json!([-1, 4, 64, 64]))],
        "outputs": [port("mask", "FP32", json!([-1, 1, 16, 16])),
            port("fraction", "FP32", json!([-1, 1]))] });
    Router::new()
        .route("/v2", get(|| async move { Json(server) }))
        .route(&format!("/v2/models/{MODEL}"), get(|| async move { Json(model) }))
        .route(&format!("/v2/models/{MODEL}/infer"), post(infer))
        .with_state(Double { fault, asked: Arc::default() })
}

async fn infer(State(double): State<Double>, question: Bytes) -> Response {
    // Read to its end, whatever comes of it.
    drop(question);
    let number = double.asked.fetch_add(1, Ordering::Relaxed);
    let takes = match double.fault {
        Fault::Slow => TAKES * SLOWER,
        Fault::Budget => TAKES_LITTLE,
        _ => TAKES,
    };
    tokio::time::sleep(takes).await;
    let refused = |status: StatusCode| (status, Json(json!({ "error": "in trouble" })));
    match double.fault {
        Fault::Silent => std::future::pending().await,
        Fault::Errors if number % 2 == 0 => {
            refused(StatusCode::INTERNAL_SERVER_ERROR).into_response()
        }
        Fault::Shapes => answer(8, 0.5),
        Fault::Nans => answer(16, f32::NAN),
        Fault::Endless => endless(),
        Fault::Huge => ([("content-type", "application/json")], HUGE.clone()).into_response(),
        Fault::Busy => refused(StatusCode::TOO_MANY_REQUESTS).into_response(),
        Fault::BusyTold => {
            let when = [(header::RETRY_AFTER, COME_AGAIN_S)];
            (when, refused(StatusCode::TOO_MANY_REQUESTS)).into_response()
        }
        Fault::Auth => refused(StatusCode::UNAUTHORIZED).into_response(),
        _ => answer(16, 0.5),
    }
}

/// A mask of so many cells a side, all of this value, and the fraction.
fn answer(side: usize, value: f32) -> Response {
    let cells = side * side;
    let output = |name: &str, shape: Value, values: usize| {
        json!({ "name": name, "datatype": "FP32", "shape": shape,
            "parameters": { "binary_data_size": values * size_of::<f32>() } })
    };
    let outputs =
        [output("mask", json!([1, 1, side, side]), cells), output("fraction", json!([1, 1]), 1)];
    let head = json!({ "model_name": MODEL, "model_version": "1", "outputs": outputs }).to_string();
    let length = head.len().to_string();
    let mut body = head.into_bytes();
    body.extend(value.to_le_bytes().repeat(cells + 1));
    let kind = "application/octet-stream".to_owned();
    ([("content-type", kind), (JSON_LENGTH_HEADER, length)], body).into_response()
}

/// An answer of good JSON, nearly as long as any is read.
static HUGE: LazyLock<Bytes> = LazyLock::new(|| {
    let numbers = "0,".repeat(HUGE_NUMBERS);
    let numbers = numbers.trim_end_matches(',');
    let outputs = format!(
        "{{\"name\":\"mask\",\"datatype\":\"FP32\",\"shape\":[1,1,16,16],\"data\":[{numbers}]}}"
    );
    format!("{{\"model_name\":\"{MODEL}\",\"outputs\":[{outputs}]}}").into()
});

fn endless() -> Response {
    let pieces = stream::unfold((), |()| async {
        let (piece, pause) = PIECE;
        tokio::time::sleep(pause).await;
        Some((Ok::<_, Infallible>(piece), ()))
    });
    Body::from_stream(pieces).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{
        Cause, Handling, Input, Pool as _, PoolError, Request, Response, Trace, oip_rest::OipRest,
        task::Contracts,
    };
    use codecs::{
        tensor::{DType, Tensor},
        time::Tai,
    };
    use std::collections::BTreeMap;

    const TASK: &str = "cloud-mask/1";

    /// What our adapter makes of an answer.
    async fn asked(pool: &OipRest, fault: Fault) -> Result<Response, PoolError> {
        // Megabytes take their time; who waits in vain waits no longer than must be.
        let time_left = Duration::from_millis(if fault == Fault::Huge { 60_000 } else { 300 });
        let pixels = vec![7; 4 * 64 * 64];
        let tile = Tensor::new("tile", DType::U8, vec![1, 4, 64, 64], pixels.into()).unwrap();
        pool.infer(&Request {
            task: TASK.into(),
            input: Input::Tensors(vec![tile]),
            deadline: Tai(1),
            time_left,
            priority: 0,
            handling: Handling::default(),
            budget: None,
            idempotency_key: "key".into(),
            trace: Trace::of("key"),
            outputs_elements: Some(257),
        })
        .await
    }

    async fn server(fault: Fault) -> OipRest {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, fault));
        let models = BTreeMap::from([(TASK.to_owned(), MODEL.to_owned())]);
        OipRest::new("double", &url, models, None).unwrap()
    }

    #[tokio::test]
    async fn each_fault_is_the_one_that_it_says() {
        let contracts = Contracts::default();
        let contract = contracts.of(TASK).unwrap();
        for (fault, cause) in [
            (Fault::Silent, Cause::Deadline),
            (Fault::Errors, Cause::Failed),
            (Fault::Endless, Cause::Deadline),
            (Fault::Huge, Cause::Contract),
            (Fault::Busy, Cause::Overloaded { retry_after: None }),
            (Fault::BusyTold, Cause::Overloaded { retry_after: Some(Duration::from_secs(1)) }),
            (Fault::Auth, Cause::Auth),
        ] {
            let pool = server(fault).await;
            assert_eq!(asked(&pool, fault).await.unwrap_err().cause, cause, "{fault:?}");
            if fault == Fault::Errors {
                asked(&pool, fault).await.unwrap();
            }
        }
        for (fault, holds) in [
            (Fault::Nothing, true),
            (Fault::Slow, true),
            (Fault::Shapes, false),
            (Fault::Nans, false),
        ] {
            let pool = server(fault).await;
            let answer = asked(&pool, fault).await.unwrap();
            let checked = contract.check_outputs(answer.output.tensors(), 1);
            assert_eq!(checked.is_ok(), holds, "{fault:?}: {checked:?}");
            let model = pool.metadata(TASK).await.unwrap().unwrap();
            assert_eq!(model.outputs.len(), 2, "what it says of its model is good");
        }
    }
}
