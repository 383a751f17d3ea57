//! Bedrock: Converse for documents, InvokeModel for what a model takes as it is; both whole or piece
//! by piece.

use super::opaque::{Body, Form};
use super::reply;
use super::service::Service;
use super::sigv4::encoded;
use crate::pool::formats::{Dialect, Draft, Structured, converse};
use crate::pool::http::{model_of, within};
use crate::pool::https::Answer;
use crate::pool::stream::{self, WHOLE_BYTES_MAX};
use crate::pool::{Input, Pool, PoolError, PoolInfo, Request, Response, Usage};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use reqwest::Method;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Name that the service signs under.
pub const SERVICE: &str = "bedrock";

/// Answers that come whole.
const JSON: &str = "application/json";

/// Answers that come piece by piece.
const EVENTS: &str = "application/vnd.amazon.eventstream";

/// Where the last event of a model tells what it took.
const METRICS: &str = "amazon-bedrock-invocationMetrics";

/// Which operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Converse: one dialect for every model.
    Converse {
        /// Whether answers come as events; a model that never ends is then noticed by its bytes as
        /// well as by the deadline.
        stream: bool,
    },
    /// InvokeModel: the model's own.
    Invoke {
        /// The model's own.
        form: Form,
        /// Whether answers come as events; those of tensors never do.
        stream: bool,
    },
}

/// A pool of one account in one region.
pub struct Bedrock {
    name: String,
    service: Service,
    models: BTreeMap<String, String>,
    operation: Operation,
    structured: Structured,
}

/// Where the service is in a region.
pub fn url(region: &str) -> String {
    format!("https://bedrock-runtime.{region}.amazonaws.com")
}

impl Bedrock {
    /// A pool by its name in the station file; models are identifiers, inference profiles or
    /// their ARNs.
    pub fn new(
        name: &str,
        service: Service,
        models: BTreeMap<String, String>,
        operation: Operation,
        structured: Structured,
    ) -> Self {
        Self { name: name.to_owned(), service, models, operation, structured }
    }

    async fn answer(&self, request: &Request) -> Result<Response, PoolError> {
        let model = model_of(&self.name, &self.models, &request.task)?;
        match self.operation {
            Operation::Converse { stream } => self.converse(model, stream, request).await,
            Operation::Invoke { form, stream } => match form.dialect().filter(|_| stream) {
                Some(dialect) => self.stream(model, form, dialect, request).await,
                None => self.invoke(model, form, request).await,
            },
        }
    }

    async fn converse(
        &self,
        model: &str,
        stream: bool,
        request: &Request,
    ) -> Result<Response, PoolError> {
        let Input::Document(document) = &request.input else {
            return Err(PoolError::bad_request("this pool takes documents, no tensors"));
        };
        let json = "application/json".to_owned();
        let bytes = converse::body(document, self.structured).to_string().into();
        let body = Body { content_type: json, bytes };
        let mut draft = Draft { model: model.to_owned(), ..Draft::default() };
        if stream {
            let answer = self.ask(model, "converse-stream", EVENTS, body, request).await?;
            let take = |name: &str, payload: &[u8], draft: &mut Draft| {
                converse::event(name, &json_of(payload)?, draft)
            };
            // Without its last event the draft may have a reason to end all the same.
            reply::read(answer, &mut draft, take).await?;
        } else {
            let answer = self.ask(model, "converse", JSON, body, request).await?;
            let bytes = answer.whole(WHOLE_BYTES_MAX).await?;
            stream::whole(bytes, &mut draft, converse::whole).await?;
        }
        draft.finish(document)
    }

    async fn invoke(
        &self,
        model: &str,
        form: Form,
        request: &Request,
    ) -> Result<Response, PoolError> {
        let body = form.write(model, request, self.structured, false)?;
        let answer = self.ask(model, "invoke", JSON, body, request).await?;
        let content_type = answer.header("content-type").unwrap_or_default().to_owned();
        let bytes = answer.whole(request.answer_bytes_max()).await?;
        form.read(model, request, Body { content_type, bytes }).await
    }

    async fn stream(
        &self,
        model: &str,
        form: Form,
        dialect: Dialect,
        request: &Request,
    ) -> Result<Response, PoolError> {
        let Input::Document(document) = &request.input else {
            return Err(PoolError::bad_request("this pool takes documents, no tensors"));
        };
        // The operation says that the answer is a stream: Anthropic's models refuse to be told,
        // OpenAI's need not be.
        let body = form.write(model, request, self.structured, false)?;
        let answer = self.ask(model, "invoke-with-response-stream", EVENTS, body, request).await?;
        let mut draft = Draft { model: model.to_owned(), ..Draft::default() };
        let take = |name: &str, payload: &[u8], draft: &mut Draft| match name {
            "chunk" => chunk(payload, dialect, draft),
            _ => Ok(false),
        };
        if !reply::read(answer, &mut draft, take).await? {
            dialect.cut(&mut draft);
        }
        draft.finish(document)
    }

    async fn ask(
        &self,
        model: &str,
        operation: &str,
        accept: &str,
        body: Body,
        request: &Request,
    ) -> Result<Answer, PoolError> {
        let path = format!("/model/{}/{operation}", encoded(model));
        let headers = [
            ("accept", accept.to_owned()),
            ("content-type", body.content_type),
            ("traceparent", request.trace.traceparent()),
        ];
        self.service.ask(Method::POST, &path, &headers, body.bytes).await
    }
}

fn json_of(bytes: &[u8]) -> Result<Value, PoolError> {
    serde_json::from_slice(bytes)
        .map_err(|error| PoolError::contract(format!("an answer that is no JSON: {error}")))
}

/// Takes an event of InvokeModelWithResponseStream; whether it was the last.
fn chunk(payload: &[u8], dialect: Dialect, draft: &mut Draft) -> Result<bool, PoolError> {
    let value = json_of(payload)?;
    let bytes = match &value["bytes"] {
        // A part may be without any.
        Value::Null => return Ok(false),
        Value::String(text) => STANDARD.decode(text).map_err(|error| error.to_string()),
        _ => Err("no text".to_owned()),
    };
    let bytes =
        bytes.map_err(|error| PoolError::contract(format!("a part that is no base64: {error}")))?;
    let text = String::from_utf8_lossy(&bytes);
    let last = dialect.event(&text, draft)?;
    if text.contains(METRICS) {
        metrics(&json_of(&bytes)?[METRICS], &mut draft.usage);
    }
    Ok(last)
}

/// What the service adds to the last event of a model; of tokens the model's own word goes first,
/// which knows of what came out of a cache.
fn metrics(stated: &Value, usage: &mut Usage) {
    let number = |name: &str| stated[name].as_u64();
    usage.tokens_in = usage.tokens_in.or_else(|| number("inputTokenCount"));
    usage.tokens_out = usage.tokens_out.or_else(|| number("outputTokenCount"));
    usage.run = number("invocationLatency").map(Duration::from_millis).or(usage.run);
}

impl Pool for Bedrock {
    fn describe(&self) -> PoolInfo {
        PoolInfo {
            name: self.name.clone(),
            kind: match self.operation {
                Operation::Converse { .. } => "bedrock-converse",
                Operation::Invoke { .. } => "bedrock-invoke",
            },
            tasks: self.models.keys().cloned().collect(),
        }
    }

    fn infer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, PoolError>> {
        Box::pin(within(request.time_left, self.answer(request)))
    }
}
