//! The Open Inference Protocol over gRPC.

use super::models::{Fault, Models, RETRY_AFTER_S};
use super::reading::Reading;
use super::tls::Incoming;
use crate::pool::oip::{Wanted, refuse_sequence};
use crate::pool::oip_proto::{
    Empty, InferRequest, InferResponse, MESSAGE_BYTES_MAX, ModelMetadataResponse, ModelRequest,
    SERVICE, ServerMetadataResponse, TensorMetadata, Yes, read_tensors, write_tensors,
};
use futures_util::stream;
use http_body_util::BodyExt as _;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

/// Bytes that may be under way on a stream and on a connection: a tensor of some size should not
/// wait for a far client's word after each 64 KiB.
const WINDOW_BYTES: u32 = 4 << 20;

/// Questions of one connection at a time; a client keeps further ones back.
const STREAMS_MAX: u32 = 256;

/// How often a connection is asked whether anybody is there, and time to say so.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

/// Time after which a connection is to be made anew, and then for what is being asked: who reads
/// no answer holds its room no longer.
const AGE_MAX: Duration = Duration::from_secs(600);
const AGE_GRACE: Duration = Duration::from_secs(120);

/// Trailer that says how many milliseconds to wait.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Serves until told to stop.
pub async fn serve(
    incoming: impl Into<Incoming>,
    models: Arc<Models>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    serve_aged(AGE_MAX, incoming, models, stop).await
}

async fn serve_aged(
    age_max: Duration,
    incoming: impl Into<Incoming>,
    models: Arc<Models>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let incoming = stream::unfold(incoming.into(), async |mut incoming: Incoming| {
        let connection = incoming.next().await?.opening();
        Some((Ok::<_, Infallible>(connection), incoming))
    });
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .max_connection_age(age_max)
        .max_connection_age_grace(AGE_GRACE);
    Ok(server.serve_with_incoming_shutdown(Methods(models), incoming, stop).await?)
}

/// The service's methods.
#[derive(Clone)]
struct Methods(Arc<Models>);

impl Service<http::Request<Body>> for Methods {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let models = Arc::clone(&self.0);
        Box::pin(async move { Ok(route(models, request).await) })
    }
}

async fn route(models: Arc<Models>, request: http::Request<Body>) -> http::Response<Body> {
    let path = request.uri().path().to_owned();
    let (head, body) = request.into_parts();
    let (body, held) = Reading::new(body, Arc::clone(&models));
    let body = Body::new(body.map_err(Status::from));
    let answer = answer(models, http::Request::from_parts(head, body), &path).await;
    answer.map(|body| Body::new(body.map_frame(move |frame| frame.map_data(|of| held.with(of)))))
}

async fn answer(
    models: Arc<Models>,
    request: http::Request<Body>,
    path: &str,
) -> http::Response<Body> {
    let method = path.strip_prefix('/').and_then(|path| path.strip_prefix(SERVICE));
    match method {
        Some("/ServerLive") => unary(request, async |_: Empty| Ok(Yes { yes: true })).await,
        Some("/ServerReady") => {
            let yes = models.trouble().is_none();
            unary(request, async move |_: Empty| Ok(Yes { yes })).await
        }
        Some("/ServerMetadata") => unary(request, async |_: Empty| Ok(server_metadata())).await,
        Some("/ModelReady") => {
            unary(request, async move |asked: ModelRequest| Ok(model_ready(&models, &asked))).await
        }
        Some("/ModelMetadata") => {
            unary(request, async move |asked: ModelRequest| model_metadata(&models, &asked)).await
        }
        Some("/ModelInfer") => {
            unary(request, async move |asked: InferRequest| infer(&models, asked).await).await
        }
        _ => {
            let said = match super::absent(path) {
                Some(what) => format!("this server has no {what} ({path})"),
                None => format!("no method {path}"),
            };
            Status::unimplemented(said).into_http()
        }
    }
}

/// Reads one message, answers with one.
async fn unary<Q, A, F, W>(request: http::Request<Body>, answer: F) -> http::Response<Body>
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + Default + 'static,
    F: FnOnce(Q) -> W + Send + 'static,
    W: Future<Output = Result<A, Status>> + Send + 'static,
{
    let mut grpc = tonic::server::Grpc::new(ProstCodec::<A, Q>::default())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    grpc.unary(Once(Some(answer)), request).await
}

/// A method's answer, given once.
struct Once<F>(Option<F>);

impl<Q, A, F, W> Service<Request<Q>> for Once<F>
where
    F: FnOnce(Q) -> W,
    W: Future<Output = Result<A, Status>> + Send + 'static,
{
    type Response = Response<A>;
    type Error = Status;
    type Future = BoxFuture<Response<A>, Status>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        match self.0.take().map(|answer| answer(request.into_inner())) {
            Some(answer) => Box::pin(async move { answer.await.map(Response::new) }),
            None => Box::pin(async { Err(Status::internal("asked twice")) }),
        }
    }
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        let code = match &fault {
            Fault::NotFound(_) => Code::NotFound,
            Fault::Unavailable(_) => Code::Unavailable,
            Fault::Busy | Fault::Crowded => Code::ResourceExhausted,
            Fault::Question(_) => Code::InvalidArgument,
            Fault::Model(_) => Code::Internal,
        };
        let mut status = Self::new(code, fault.said());
        if matches!(fault, Fault::Busy | Fault::Crowded) {
            // As gRPC's own retries read it.
            let wait = MetadataValue::from(RETRY_AFTER_S * 1_000);
            status.metadata_mut().insert(PUSHBACK, wait);
        }
        status
    }
}

fn server_metadata() -> ServerMetadataResponse {
    ServerMetadataResponse {
        name: "groundtrack".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions: Vec::new(),
    }
}

/// The protocol has a field for "no", so an unknown model is no error here.
fn model_ready(models: &Models, asked: &ModelRequest) -> Yes {
    let model = models.find(&asked.name, &asked.version);
    Yes { yes: model.is_ok_and(|model| model.ready().is_ok()) }
}

fn model_metadata(models: &Models, asked: &ModelRequest) -> Result<ModelMetadataResponse, Status> {
    let model = models.find(&asked.name, &asked.version)?;
    model.ready()?;
    let ports = |ports: &[codecs::package::Port]| {
        let port = |port: &codecs::package::Port| TensorMetadata {
            name: port.name.clone(),
            datatype: port.datatype.name().to_owned(),
            shape: port.shape.clone(),
        };
        ports.iter().map(port).collect()
    };
    Ok(ModelMetadataResponse {
        name: model.name().to_owned(),
        versions: vec![model.version().to_owned()],
        platform: super::PLATFORM.to_owned(),
        inputs: ports(&model.manifest().inputs),
        outputs: ports(&model.manifest().outputs),
    })
}

async fn infer(models: &Models, asked: InferRequest) -> Result<InferResponse, Status> {
    let model = models.find(&asked.model_name, &asked.model_version)?;
    model.ready()?;
    let question = |error: crate::pool::oip::OipError| Fault::Question(error.to_string());
    let asked_for = asked.parameters.iter().filter(|(_, value)| value.asks());
    refuse_sequence(asked_for.map(|(key, _)| key.as_str())).map_err(question)?;
    let inputs = read_tensors(asked.inputs, asked.raw_input_contents).map_err(question)?;
    let named = asked.outputs.into_iter().map(|output| {
        let foreign = output.parameters.keys().next();
        match foreign {
            Some(key) => {
                let name = &output.name;
                Err(Fault::Question(format!("output {name:?}: this server has no {key}")))
            }
            None => Ok((output.name, None)),
        }
    });
    let wanted = Wanted { binary: true, named: named.collect::<Result<_, _>>()? };
    let outputs = wanted.of(model.infer(inputs).await?).map_err(question)?;
    let outputs: Vec<_> = outputs.into_iter().map(|(tensor, _)| tensor).collect();
    let (outputs, raw_output_contents) = write_tensors(&outputs);
    Ok(InferResponse {
        model_name: model.name().to_owned(),
        model_version: model.version().to_owned(),
        id: asked.id,
        outputs,
        raw_output_contents,
        ..InferResponse::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::oip_grpc::OipGrpc;
    use crate::pool::oip_proto::{InferParameter, Parameter};
    use crate::pool::{Handling, Input, Pool as _, Trace};
    use codecs::tensor::{DType, Tensor};
    use codecs::time::Tai;
    use futures_util::future::join_all;
    use std::collections::BTreeMap;
    use std::time::Instant;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_question_of_a_sequence_is_refused_by_its_name() {
        let models = Models::echo();
        let ask = async |key: &str, value| {
            let value = InferParameter { value: Some(value) };
            let asked = InferRequest {
                model_name: "echo".to_owned(),
                parameters: [(key.to_owned(), value)].into(),
                ..InferRequest::default()
            };
            infer(&models, asked).await
        };
        for (key, value) in [
            ("sequence_id", Parameter::Int64(7)),
            ("sequence_id", Parameter::String("a".into())),
            ("sequence_start", Parameter::Bool(true)),
        ] {
            let refused = ask(key, value).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument);
            assert!(refused.message().contains(key), "{refused}");
        }
        // Clients write these for a question that stands alone.
        assert!(ask("sequence_id", Parameter::Int64(0)).await.is_ok());
        assert!(ask("sequence_end", Parameter::Bool(false)).await.is_ok());
    }

    /// Several ask all the time while their connections are made anew, again and again.
    #[tokio::test]
    async fn a_connection_that_grows_old_costs_nobody_an_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let age_max = Duration::from_millis(20);
        let models = Arc::new(Models::echo());
        tokio::spawn(serve_aged(age_max, listener, models, std::future::pending()));
        let tasks = BTreeMap::from([("echo/1".to_owned(), "echo".to_owned())]);
        let pool = OipGrpc::new("pool", &url, tasks, None).unwrap();
        let tensor = Tensor::new("x", DType::U8, vec![3], vec![1, 2, 3].into()).unwrap();
        let request = crate::pool::Request {
            task: "echo/1".to_owned(),
            input: Input::Tensors(vec![tensor]),
            deadline: Tai(60_000_000_000),
            time_left: Duration::from_secs(60),
            priority: 0,
            handling: Handling::default(),
            budget: None,
            idempotency_key: "key".to_owned(),
            trace: Trace::of("key"),
            outputs_elements: None,
        };
        let began = Instant::now();
        let asked = (0..4).map(|_| async {
            let mut answered = 0;
            while began.elapsed() < 20 * age_max {
                pool.infer(&request).await.unwrap();
                answered += 1;
            }
            answered
        });
        let answered: u32 = join_all(asked).await.into_iter().sum();
        assert!(answered > 20, "{answered}");
    }

    #[tokio::test]
    async fn methods_that_are_not_there_are_named() {
        let models = Arc::new(Models::echo());
        for (method, named) in [
            ("ModelStatistics", "statistics"),
            ("RepositoryModelLoad", "repository"),
            ("SystemSharedMemoryStatus", "shared memory"),
            ("Tea", "Tea"),
        ] {
            let request = http::Request::post(format!("/{SERVICE}/{method}"));
            let answer = route(Arc::clone(&models), request.body(Body::empty()).unwrap()).await;
            let status = Status::from_header_map(answer.headers()).unwrap();
            assert_eq!(status.code(), Code::Unimplemented);
            assert!(status.message().contains(named), "{status}");
            assert!(status.message().contains(method), "{status}");
        }
    }
}
