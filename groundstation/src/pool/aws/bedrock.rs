//! Bedrock: Converse for documents, InvokeModel for what a model takes as it is.

use super::opaque::{Body, Form};
use super::service::Service;
use super::sigv4::encoded;
use crate::pool::formats::{Draft, Structured, converse};
use crate::pool::http::{model_of, within};
use crate::pool::https::ANSWER_BYTES_MAX;
use crate::pool::{Input, Pool, PoolError, PoolInfo, Request, Response};
use futures_util::future::BoxFuture;
use reqwest::Method;
use std::collections::BTreeMap;

/// Name that the service signs under.
pub const SERVICE: &str = "bedrock";

/// Which operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Converse: one dialect for every model.
    Converse,
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
            Operation::Converse => self.converse(model, request).await,
            Operation::Invoke(form) => self.invoke(model, form, request).await,
        }
    }

    async fn converse(&self, model: &str, request: &Request) -> Result<Response, PoolError> {
        let Input::Document(document) = &request.input else {
            return Err(PoolError::bad_request("this pool takes documents, no tensors"));
        };
        let json = "application/json".to_owned();
        let bytes = converse::body(document, self.structured).to_string().into();
        let body = self.ask(model, "converse", Body { content_type: json, bytes }, request).await?;
        let value = serde_json::from_slice(&body.bytes)
            .map_err(|error| PoolError::contract(format!("answer of {model}: {error}")))?;
        let mut draft = Draft { model: model.to_owned(), ..Draft::default() };
        converse::whole(&value, &mut draft)?;
        draft.finish(document)
    }

    async fn invoke(
        &self,
        model: &str,
        form: Form,
        request: &Request,
    ) -> Result<Response, PoolError> {
        let body = form.write(model, request, self.structured)?;
        let body = self.ask(model, "invoke", body, request).await?;
        form.read(model, request, body)
    }

    async fn ask(
        &self,
        model: &str,
        operation: &str,
        body: Body,
        request: &Request,
    ) -> Result<Body, PoolError> {
        let path = format!("/model/{}/{operation}", encoded(model));
        let headers = [
            ("accept", "application/json".to_owned()),
            ("content-type", body.content_type),
            ("traceparent", request.trace.traceparent()),
        ];
        let answer = self.service.ask(Method::POST, &path, &headers, body.bytes).await?;
        let content_type = answer.header("content-type").unwrap_or_default().to_owned();
        Ok(Body { content_type, bytes: answer.whole(ANSWER_BYTES_MAX).await? })
    }
}

impl Pool for Bedrock {
    fn describe(&self) -> PoolInfo {
        PoolInfo {
            name: self.name.clone(),
            kind: match self.operation {
                Operation::Converse => "bedrock-converse",
                Operation::Invoke(_) => "bedrock-invoke",
            },
            tasks: self.models.keys().cloned().collect(),
        }
    }

    fn infer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, PoolError>> {
        Box::pin(within(request.time_left, self.answer(request)))
    }
}
