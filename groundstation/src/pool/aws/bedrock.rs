//! Bedrock: Converse for documents, whole or piece by piece, InvokeModel for what a model takes as it is.

use super::events::{Message, Reader};
use super::opaque::{Body, Form};
use super::service::Service;
use super::sigv4::encoded;
use crate::pool::formats::{Draft, Structured, converse};
use crate::pool::http::{model_of, within};
use crate::pool::https::{ANSWER_BYTES_MAX, Answer};
use crate::pool::verdict::{self, Refusal};
use crate::pool::{Input, Pool, PoolError, PoolInfo, Request, Response};
use futures_util::future::BoxFuture;
use reqwest::Method;
use serde_json::Value;
use std::collections::BTreeMap;

/// Name that the service signs under.
pub const SERVICE: &str = "bedrock";

/// Answers that come whole.
const JSON: &str = "application/json";

/// Answers that come piece by piece.
const EVENTS: &str = "application/vnd.amazon.eventstream";

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
    Invoke(Form),
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
            Operation::Invoke(form) => self.invoke(model, form, request).await,
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
            let read = events(answer, &mut draft).await;
            read.map_err(|error| error.with_usage(draft.usage))?;
        } else {
            let answer = self.ask(model, "converse", JSON, body, request).await?;
            converse::whole(&json_of(&answer.whole(ANSWER_BYTES_MAX).await?)?, &mut draft)?;
        }
        draft.finish(document)
    }

    async fn invoke(
        &self,
        model: &str,
        form: Form,
        request: &Request,
    ) -> Result<Response, PoolError> {
        let body = form.write(model, request, self.structured)?;
        let answer = self.ask(model, "invoke", JSON, body, request).await?;
        let content_type = answer.header("content-type").unwrap_or_default().to_owned();
        let bytes = answer.whole(ANSWER_BYTES_MAX).await?;
        form.read(model, request, Body { content_type, bytes })
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

/// Reads events to the last. A stream that ends before a reason to end leaves the draft without.
async fn events(mut answer: Answer, draft: &mut Draft) -> Result<(), PoolError> {
    let mut reader = Reader::default();
    let mut bytes_left = ANSWER_BYTES_MAX;
    while let Some(piece) = answer.piece().await? {
        let Some(left) = bytes_left.checked_sub(piece.len()) else {
            return Err(PoolError::contract(format!(
                "events of more than {ANSWER_BYTES_MAX} bytes"
            )));
        };
        bytes_left = left;
        let messages = reader.push(&piece);
        for message in messages.map_err(|error| PoolError::contract(error.to_string()))? {
            if take(&message, draft)? {
                return Ok(());
            }
        }
    }
    match reader.is_between() {
        true => Ok(()),
        false => Err(PoolError::failed("the answer was cut short")),
    }
}

/// Takes one message; whether it was the last.
fn take(message: &Message, draft: &mut Draft) -> Result<bool, PoolError> {
    let header = |name: &str| message.header(name).unwrap_or_default();
    match header(":message-type") {
        "exception" => {
            let value = json_of(&message.payload).unwrap_or_default();
            let said = value["message"].as_str().unwrap_or_default();
            Err(refused(header(":exception-type"), said))
        }
        "error" => Err(refused(header(":error-code"), header(":error-message"))),
        _ => converse::event(header(":event-type"), &json_of(&message.payload)?, draft),
    }
}

/// What an error means that comes when the status was good already.
fn refused(code: &str, said: &str) -> PoolError {
    let status = match code {
        "throttlingException" => 429,
        "validationException" => 400,
        "accessDeniedException" => 403,
        "modelTimeoutException" => 408,
        "modelStreamErrorException" => 424,
        "serviceUnavailableException" => 503,
        _ => 500,
    };
    let (code, message) = (code.to_owned(), said.to_owned());
    verdict::of(&Refusal { status, code, message, retry_after: None })
}

impl Pool for Bedrock {
    fn describe(&self) -> PoolInfo {
        PoolInfo {
            name: self.name.clone(),
            kind: match self.operation {
                Operation::Converse { .. } => "bedrock-converse",
                Operation::Invoke(_) => "bedrock-invoke",
            },
            tasks: self.models.keys().cloned().collect(),
        }
    }

    fn infer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, PoolError>> {
        Box::pin(within(request.time_left, self.answer(request)))
    }
}
