//! A pool behind the Open Inference Protocol over gRPC: ours, Triton, MLServer, KServe, OpenVINO.

use super::dial::{Dial, Stream, Transport};
use super::http::{CONNECT_TIMEOUT, Place, RETRY_AFTER_MAX, cut, model_of, within};
use super::oip_proto::{
    Empty, InferRequest, InferResponse, MESSAGE_BYTES_MAX, ModelMetadataResponse, ModelRequest,
    SERVICE, Yes, read_tensors, write_tensors,
};
use super::{
    Input, ModelMetadata, Output, Pool, PoolError, PoolInfo, Request, Response, Secret,
    SecretSource, Usage,
};
use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

/// Connections to one server: one alone is a single processor's worth of frames, and large tensors
/// on it make small ones wait.
const CHANNELS: usize = 2;

/// Bytes that may be under way on a stream: a tensor of some size should not wait for the other
/// end's word after each 64 KiB.
const WINDOW_BYTES: u32 = 4 << 20;

/// Trailer that says how many milliseconds to wait.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// A pool at an address.
pub struct OipGrpc {
    name: String,
    endpoint: Endpoint,
    dial: Dial,
    /// Made with the first call: making them wants a runtime, and a check has none.
    channels: OnceLock<Vec<Channel>>,
    next: AtomicUsize,
    /// Task contract to the server's name of a model.
    models: BTreeMap<String, String>,
    bearer: Option<SecretSource>,
}

impl OipGrpc {
    /// A pool by its name in the station file, its address (`http[s]://HOST:PORT`), what it calls
    /// the tasks' models, and the token that it wants, if any.
    pub fn new(
        name: &str,
        url: &str,
        models: BTreeMap<String, String>,
        bearer: Option<SecretSource>,
    ) -> Result<Self, String> {
        Self::through(&Transport::default(), name, url, models, bearer)
    }

    /// The same by a way that is told.
    pub fn through(
        transport: &Transport,
        name: &str,
        url: &str,
        models: BTreeMap<String, String>,
        bearer: Option<SecretSource>,
    ) -> Result<Self, String> {
        let dial = Dial::new(url, &Place::parse(url)?, transport, b"h2")?;
        let endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|error| format!("{url:?}: {error}"))?
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(2 * WINDOW_BYTES);
        let (channels, next) = (OnceLock::new(), AtomicUsize::new(0));
        Ok(Self { name: name.to_owned(), endpoint, dial, channels, next, models, bearer })
    }

    /// Whether the server is there and ready.
    pub async fn ready(&self) -> Result<(), PoolError> {
        let answer: Yes = self.call("ServerReady", Empty {}, CONNECT_TIMEOUT, None).await?;
        match answer.yes {
            true => Ok(()),
            false => Err(PoolError::unavailable("the server says that it is not ready")),
        }
    }

    async fn ask(&self, request: &Request) -> Result<Response, PoolError> {
        let model = model_of(&self.name, &self.models, &request.task)?;
        let Input::Tensors(tensors) = &request.input else {
            return Err(PoolError::bad_request("this pool takes tensors, no documents"));
        };
        let (inputs, raw_input_contents) = write_tensors(tensors);
        let question = InferRequest {
            model_name: model.to_owned(),
            id: request.idempotency_key.clone(),
            inputs,
            raw_input_contents,
            ..InferRequest::default()
        };
        let trace = request.trace.traceparent();
        let answer: InferResponse =
            self.call("ModelInfer", question, request.time_left, Some(&trace)).await?;
        let outputs = read_tensors(answer.outputs, answer.raw_output_contents)
            .map_err(|error| PoolError::contract(format!("answer of {model}: {error}")))?;
        let model = match answer.model_version.as_str() {
            "" => answer.model_name,
            version => format!("{} {version}", answer.model_name),
        };
        Ok(Response { model, output: Output::Tensors(outputs), usage: Usage::default() })
    }

    /// Any of them will do; they only have to differ from time to time.
    fn channel(&self) -> Channel {
        let open = || self.endpoint.connect_with_connector_lazy(Connector(self.dial.clone()));
        let channels = self.channels.get_or_init(|| (0..CHANNELS).map(|_| open()).collect());
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % CHANNELS;
        channels.get(turn).cloned().unwrap_or_else(open)
    }

    /// One method, within a time that the server is told as well. A call that is dropped resets
    /// its stream: the server sees that it is given up.
    async fn call<Q, A>(
        &self,
        method: &str,
        question: Q,
        time: Duration,
        trace: Option<&str>,
    ) -> Result<A, PoolError>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let bad = |error: &dyn std::fmt::Display| PoolError::bad_request(error.to_string());
        let path = PathAndQuery::try_from(format!("/{SERVICE}/{method}")).map_err(|it| bad(&it))?;
        let mut request = tonic::Request::new(question);
        request.set_timeout(time);
        let secret = self.bearer.as_ref().map(SecretSource::read).transpose()?;
        let headers = request.metadata_mut();
        if let Some(secret) = &secret {
            let value = format!("Bearer {}", secret.expose());
            headers.insert("authorization", value.parse().map_err(|_| Secret::unusable())?);
        }
        if let Some(trace) = trace {
            headers.insert("traceparent", trace.parse().map_err(|it| bad(&it))?);
        }
        let channel = self.channel();
        let mut client = tonic::client::Grpc::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let answer = within(time, async {
            client.ready().await.map_err(|error| PoolError::unavailable(chain(&error)))?;
            let codec = ProstCodec::<Q, A>::default();
            client.unary(request, path, codec).await.map_err(|status| verdict(&status))
        });
        Ok(answer.await?.into_inner())
    }
}

/// Connects for the transport, which asks again whenever a connection was lost.
struct Connector(Dial);

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connected = self.0.connect_owned();
        Box::pin(async move { connected.await.map(TokioIo::new) })
    }
}

/// An error with what caused it: the transport's own says nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    cut(&said)
}

/// What a status means: who has to change something for it to work.
fn verdict(status: &Status) -> PoolError {
    let said = match std::error::Error::source(status) {
        Some(source) => chain(source),
        None => cut(&format!("{:?}: {}", status.code(), status.message())),
    };
    let pushback = status.metadata().get(PUSHBACK).and_then(|value| value.to_str().ok());
    let wait = pushback.and_then(|text| text.parse().ok()).map(Duration::from_millis);
    let wait = wait.map(|wait| wait.min(RETRY_AFTER_MAX));
    match status.code() {
        Code::Unavailable if wait.is_some() => PoolError::overloaded(said, wait),
        Code::Unavailable => PoolError::unavailable(said),
        Code::ResourceExhausted if super::verdict::is_quota(&said) => PoolError::quota(said, wait),
        Code::ResourceExhausted => PoolError::overloaded(said, wait),
        Code::Unauthenticated | Code::PermissionDenied => PoolError::auth(said),
        Code::DeadlineExceeded => PoolError::deadline(),
        // What the transport says, ours or the server's, when the time that was told is over.
        Code::Cancelled if said.contains("Timeout expired") => PoolError::deadline(),
        // Our own decoder's word on an answer, not the server's on the question.
        Code::OutOfRange if said.contains("decoded message length") => PoolError::contract(said),
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented => PoolError::bad_request(said),
        _ => PoolError::failed(said),
    }
}

impl Pool for OipGrpc {
    fn describe(&self) -> PoolInfo {
        PoolInfo {
            name: self.name.clone(),
            kind: "oip-grpc",
            tasks: self.models.keys().cloned().collect(),
        }
    }

    fn metadata<'a>(
        &'a self,
        task: &'a str,
    ) -> BoxFuture<'a, Result<Option<ModelMetadata>, PoolError>> {
        Box::pin(async move {
            let name = model_of(&self.name, &self.models, task)?.to_owned();
            let asked = ModelRequest { name, version: String::new() };
            let answer: ModelMetadataResponse =
                self.call("ModelMetadata", asked, CONNECT_TIMEOUT, None).await?;
            Ok(Some(answer.into()))
        })
    }

    fn infer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, PoolError>> {
        Box::pin(self.ask(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::metadata::MetadataValue;

    #[test]
    fn a_status_says_who_must_change_something() {
        for (code, said, wanted) in [
            (Code::Unavailable, "not ready", PoolError::unavailable("Unavailable: not ready")),
            (Code::NotFound, "no model", PoolError::bad_request("NotFound: no model")),
            (Code::Unauthenticated, "who?", PoolError::auth("Unauthenticated: who?")),
            (Code::Internal, "boom", PoolError::failed("Internal: boom")),
            (Code::DeadlineExceeded, "", PoolError::deadline()),
            (
                Code::ResourceExhausted,
                "busy",
                PoolError::overloaded("ResourceExhausted: busy", None),
            ),
            (
                Code::ResourceExhausted,
                "quota exceeded for the month",
                PoolError::quota("ResourceExhausted: quota exceeded for the month", None),
            ),
        ] {
            assert_eq!(verdict(&Status::new(code, said)), wanted);
        }
        let mut busy = Status::new(Code::ResourceExhausted, "busy");
        busy.metadata_mut().insert(PUSHBACK, MetadataValue::from(7_000u64));
        assert_eq!(verdict(&busy).cause.retry_after(), Some(Duration::from_secs(7)));
    }
}
