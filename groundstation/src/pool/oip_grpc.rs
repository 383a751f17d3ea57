//! A pool behind the Open Inference Protocol over gRPC: ours, Triton, MLServer, KServe, OpenVINO.

use super::dial::{Dial, Stream, Transport};
use super::http::{CONNECT_TIMEOUT, DESCRIPTION_BYTES_MAX, Place, cut, model_of, within};
use super::oip_proto::{
    Empty, InferParameter, InferRequest, InferResponse, MESSAGE_BYTES_MAX, ModelMetadataResponse,
    ModelRequest, Parameter, SERVICE, Yes, read_tensors, write_tensors,
};
use super::oip_stream::{ModelConfigResponse, Parts, StreamResponse, WANT_FINAL};
use super::{
    Cause, Input, ModelMetadata, Output, Pool, PoolError, PoolInfo, Request, Response, Secret,
    SecretSource, Usage, usage,
};
use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
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
pub const CHANNELS: usize = 2;

/// Bytes that may be under way on a stream: a tensor of some size should not wait for the other
/// end's word after each 64 KiB. A connection may have as much under way in all.
pub const WINDOW_BYTES: u32 = 4 << 20;

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
    /// Whether models may be asked by stream.
    streams: bool,
    /// Whether each model is decoupled, as far as the server said.
    decoupled: Mutex<BTreeMap<String, bool>>,
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
            .initial_connection_window_size(WINDOW_BYTES);
        let (channels, next) = (OnceLock::new(), AtomicUsize::new(0));
        let (streams, decoupled) = (false, Mutex::default());
        Ok(Self {
            name: name.to_owned(),
            endpoint,
            dial,
            channels,
            next,
            models,
            bearer,
            streams,
            decoupled,
        })
    }

    /// Asks models by stream that the server calls decoupled: those answer in any number of parts.
    pub fn streaming(self, streams: bool) -> Self {
        Self { streams, ..self }
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
        let mut question = InferRequest {
            model_name: model.to_owned(),
            id: request.idempotency_key.clone(),
            inputs,
            raw_input_contents,
            ..InferRequest::default()
        };
        let trace = request.trace.traceparent();
        let wrong = |error: String| PoolError::contract(format!("answer of {model}: {error}"));
        let (name, outputs, energy_j) = if self.streams && self.is_decoupled(model).await? {
            let value = Some(Parameter::Bool(true));
            question.parameters.insert(WANT_FINAL.to_owned(), InferParameter { value });
            let parts = within(request.time_left, self.stream(question, request, &trace)).await?;
            (parts.model.clone(), parts.whole().map_err(wrong)?, None)
        } else {
            let (most, time) = (request.message_bytes_max(), request.time_left);
            let answer: tonic::Response<InferResponse> =
                self.call_for(most, "ModelInfer", question, time, Some(&trace)).await?;
            let stated = answer.metadata().get(usage::ENERGY_HEADER);
            let energy_j = usage::joules(stated.and_then(|value| value.to_str().ok()));
            let answer = answer.into_inner();
            let name = answer.model();
            let outputs = read_tensors(answer.outputs, answer.raw_output_contents);
            (name, outputs.map_err(|error| wrong(error.to_string()))?, energy_j)
        };
        let usage = Usage { energy_j, ..Usage::default() };
        Ok(Response { model: name, output: Output::Tensors(outputs), usage })
    }

    /// Whether the server says that a model answers by stream alone. One that knows no such word
    /// has no such models.
    async fn is_decoupled(&self, model: &str) -> Result<bool, PoolError> {
        let known = || self.decoupled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(decoupled) = known().get(model) {
            return Ok(*decoupled);
        }
        let asked = ModelRequest { name: model.to_owned(), version: String::new() };
        let told: Result<ModelConfigResponse, _> =
            self.call("ModelConfig", asked, CONNECT_TIMEOUT, None).await;
        let decoupled = match told {
            Ok(told) => told.is_decoupled(),
            Err(error) if error.cause == Cause::BadRequest => false,
            Err(error) => return Err(error),
        };
        known().insert(model.to_owned(), decoupled);
        Ok(decoupled)
    }

    /// Asks by stream and reads to the last part. A stream that is dropped is reset: the server
    /// sees that it is given up.
    async fn stream(
        &self,
        question: InferRequest,
        request: &Request,
        trace: &str,
    ) -> Result<Parts, PoolError> {
        let model = question.model_name.clone();
        let asked = futures_util::stream::once(std::future::ready(question));
        let (asked, path) =
            self.prepare("ModelStreamInfer", asked, request.time_left, Some(trace))?;
        let mut client = client(self.channel(), request.message_bytes_max());
        client.ready().await.map_err(|error| PoolError::unavailable(chain(&error)))?;
        let codec = ProstCodec::<InferRequest, StreamResponse>::default();
        let answer = client.streaming(asked, path, codec).await.map_err(|it| verdict(&it))?;
        let (mut answer, mut parts) = (answer.into_inner(), Parts::default());
        while let Some(part) = answer.message().await.map_err(|status| verdict(&status))? {
            if !part.error_message.is_empty() {
                return Err(PoolError::failed(cut(&part.error_message)));
            }
            let last = parts.take(part.infer_response.unwrap_or_default());
            if last.map_err(|error| PoolError::contract(format!("answer of {model}: {error}")))? {
                break;
            }
        }
        Ok(parts)
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
        let answer = self.call_for(DESCRIPTION_BYTES_MAX, method, question, time, trace).await?;
        Ok(answer.into_inner())
    }

    /// The same, with an answer of so many bytes at most.
    async fn call_for<Q, A>(
        &self,
        bytes_max: usize,
        method: &str,
        question: Q,
        time: Duration,
        trace: Option<&str>,
    ) -> Result<tonic::Response<A>, PoolError>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let (request, path) = self.prepare(method, question, time, trace)?;
        let mut client = client(self.channel(), bytes_max);
        let answer = within(time, async {
            client.ready().await.map_err(|error| PoolError::unavailable(chain(&error)))?;
            let codec = ProstCodec::<Q, A>::default();
            client.unary(request, path, codec).await.map_err(|status| verdict(&status))
        });
        let answer = answer.await;
        if answer.as_ref().is_err_and(|error| error.cause == Cause::Unavailable) {
            // What comes back at this address may be another server.
            self.decoupled.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        answer
    }

    /// A question with all that goes beside it.
    fn prepare<Q>(
        &self,
        method: &str,
        question: Q,
        time: Duration,
        trace: Option<&str>,
    ) -> Result<(tonic::Request<Q>, PathAndQuery), PoolError> {
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
        Ok((request, path))
    }
}

fn client(channel: Channel, answer_bytes_max: usize) -> tonic::client::Grpc<Channel> {
    tonic::client::Grpc::new(channel)
        .max_decoding_message_size(answer_bytes_max.min(MESSAGE_BYTES_MAX))
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
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
    let wait = pushback.and_then(|text| super::verdict::wait(text, 1e-3));
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
