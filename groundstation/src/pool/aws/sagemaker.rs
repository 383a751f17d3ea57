//! SageMaker endpoints, whatever accelerator stands behind them: asked at once, whole or piece by
//! piece, or through S3.

use super::opaque::{Body, Form};
use super::reply;
use super::service::Service;
use super::sigv4::encoded;
use crate::pool::formats::{Dialect, Draft, Structured};
use crate::pool::http::{model_of, within};
use crate::pool::https::Answer;
use crate::pool::stream::{Framing, Parts};
use crate::pool::{Input, Pool, PoolError, PoolInfo, Request, Response};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use reqwest::Method;
use ring::digest;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// Name that the service signs under.
pub const SERVICE: &str = "sagemaker";

/// First and longest interval between looks for an answer in S3.
const LOOK_AFTER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// S3, for the asynchronous form: questions are laid there, answers found.
pub struct Bucket {
    /// The service, at the bucket's region.
    pub service: Service,
    /// Name of the bucket.
    pub name: String,
    /// Where in it questions are laid; a rule of the bucket's has to remove them.
    pub prefix: String,
    /// Whether the address names no bucket, so that the path has to.
    pub in_path: bool,
}

impl Bucket {
    fn path(&self, key: &str) -> String {
        self.path_in(&self.name, key)
    }

    fn path_in(&self, bucket: &str, key: &str) -> String {
        let key = key.split('/').map(encoded).collect::<Vec<_>>().join("/");
        if self.in_path { format!("/{}/{key}", encoded(bucket)) } else { format!("/{key}") }
    }

    /// An object; none while there is none. Without the right to list, S3 says of what is not
    /// there that it is not allowed.
    async fn get(&self, location: &str, bytes_max: usize) -> Result<Option<Body>, PoolError> {
        let key = location.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
        // An address that is a bucket's own reaches no other.
        let reached = |bucket: &str| self.in_path || bucket == self.name;
        let Some((bucket, key)) = key.filter(|(bucket, _)| reached(bucket)) else {
            let said = format!("the answer is in {location}, not in bucket {}", self.name);
            return Err(PoolError::bad_request(said));
        };
        match self.service.ask(Method::GET, &self.path_in(bucket, key), &[], Bytes::new()).await {
            Ok(answer) => {
                let content_type = answer.header("content-type").unwrap_or_default().to_owned();
                Ok(Some(Body { content_type, bytes: answer.whole(bytes_max).await? }))
            }
            Err(error) if error.said.starts_with("404") || error.said.starts_with("403") => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Which operation.
pub enum Operation {
    /// InvokeEndpoint, or InvokeEndpointWithResponseStream.
    Invoke {
        /// Whether answers come as events; those of tensors never do.
        stream: bool,
    },
    /// InvokeEndpointAsync.
    Async(Bucket),
}

/// Endpoints of one account in one region.
pub struct SageMaker {
    name: String,
    service: Service,
    models: BTreeMap<String, String>,
    form: Form,
    structured: Structured,
    operation: Operation,
}

/// Where the service is in a region.
pub fn url(region: &str) -> String {
    format!("https://runtime.sagemaker.{region}.amazonaws.com")
}

impl SageMaker {
    /// A pool by its name in the station file; models are names of endpoints.
    pub fn new(
        name: &str,
        service: Service,
        models: BTreeMap<String, String>,
        form: Form,
        structured: Structured,
        operation: Operation,
    ) -> Self {
        Self { name: name.to_owned(), service, models, form, structured, operation }
    }

    async fn answer(&self, request: &Request) -> Result<Response, PoolError> {
        let endpoint = model_of(&self.name, &self.models, &request.task)?;
        let write = |stream| self.form.write(endpoint, request, self.structured, stream);
        let body = match (&self.operation, self.form.dialect()) {
            (Operation::Invoke { stream: true }, Some(dialect)) => {
                return self.stream(endpoint, dialect, write(true)?, request).await;
            }
            (Operation::Invoke { .. }, _) => {
                let answer = self.ask(endpoint, "invocations", write(false)?, request).await?;
                let content_type = answer.header("content-type").unwrap_or_default().to_owned();
                Body { content_type, bytes: answer.whole(request.answer_bytes_max()).await? }
            }
            (Operation::Async(bucket), _) => {
                self.later(endpoint, write(false)?, request, bucket).await?
            }
        };
        let mut response = self.form.read(endpoint, request, body).await?;
        if response.model.is_empty() {
            endpoint.clone_into(&mut response.model);
        }
        Ok(response)
    }

    /// Asks for an answer piece by piece. What the container sends comes in messages that are cut
    /// anywhere; most send server-sent events, LMI's lines, one that knows no streams the whole.
    async fn stream(
        &self,
        endpoint: &str,
        dialect: Dialect,
        body: Body,
        request: &Request,
    ) -> Result<Response, PoolError> {
        let Input::Document(document) = &request.input else {
            return Err(PoolError::bad_request("this pool takes documents, no tensors"));
        };
        let answer = self.ask(endpoint, "invocations-response-stream", body, request).await?;
        let framing = answer.header("x-amzn-sagemaker-content-type").and_then(Framing::of);
        let mut parts = Parts::new(dialect, framing.unwrap_or(Framing::Events));
        let mut draft = Draft { model: endpoint.to_owned(), ..Draft::default() };
        let take = |name: &str, payload: &[u8], draft: &mut Draft| match name {
            "PayloadPart" => parts.push(payload, draft),
            _ => Ok(false),
        };
        if !reply::read(answer, &mut draft, take).await? {
            parts.end(&mut draft).await?;
        }
        draft.finish(document)
    }

    async fn ask(
        &self,
        endpoint: &str,
        operation: &str,
        body: Body,
        request: &Request,
    ) -> Result<Answer, PoolError> {
        let headers = [
            // Types differ by what was asked: whatever the container gives is read.
            ("accept", "*/*".to_owned()),
            ("content-type", body.content_type),
            ("traceparent", request.trace.traceparent()),
        ];
        let path = format!("/endpoints/{}/{operation}", encoded(endpoint));
        self.service.ask(Method::POST, &path, &headers, body.bytes).await
    }

    /// Lays the question into the bucket, says where, and looks for an answer or a failure until
    /// the deadline drops this.
    async fn later(
        &self,
        endpoint: &str,
        body: Body,
        request: &Request,
        bucket: &Bucket,
    ) -> Result<Body, PoolError> {
        let digest = digest::digest(&digest::SHA256, request.idempotency_key.as_bytes());
        let name = digest.as_ref().iter().fold(String::new(), |mut name, byte| {
            let _ = write!(name, "{byte:02x}");
            name
        });
        let key = format!("{}/{name}", bucket.prefix.trim_matches('/'));
        let key = key.trim_start_matches('/');
        let kind = [("content-type", body.content_type.clone())];
        let path = bucket.path(key);
        bucket.service.ask(Method::PUT, &path, &kind, body.bytes).await?;
        let seconds = request.time_left.as_secs().clamp(60, 21_600).to_string();
        let headers = [
            ("traceparent", request.trace.traceparent()),
            ("x-amzn-sagemaker-content-type", body.content_type),
            ("x-amzn-sagemaker-inference-id", name.clone()),
            ("x-amzn-sagemaker-inputlocation", format!("s3://{}/{key}", bucket.name)),
            ("x-amzn-sagemaker-requestttlseconds", seconds),
        ];
        let path = format!("/endpoints/{}/async-invocations", encoded(endpoint));
        let answer = self.service.ask(Method::POST, &path, &headers, Bytes::new()).await?;
        let location = |name| answer.header(name).map(str::to_owned);
        let failure = location("x-amzn-sagemaker-failurelocation");
        let output = location("x-amzn-sagemaker-outputlocation")
            .ok_or_else(|| PoolError::contract("the answer names no place for the output"))?;
        let mut interval = LOOK_AFTER.0;
        loop {
            if let Some(body) = bucket.get(&output, request.answer_bytes_max()).await? {
                return Ok(body);
            }
            if let Some(failure) = &failure
                && let Some(body) = bucket.get(failure, request.answer_bytes_max()).await?
            {
                let said = String::from_utf8_lossy(&body.bytes).into_owned();
                return Err(PoolError::failed(crate::pool::http::cut(&said)));
            }
            tokio::time::sleep(interval).await;
            interval = (interval * 2).min(LOOK_AFTER.1);
        }
    }
}

impl Pool for SageMaker {
    fn describe(&self) -> PoolInfo {
        PoolInfo {
            name: self.name.clone(),
            kind: match self.operation {
                Operation::Invoke { .. } => "sagemaker",
                Operation::Async(_) => "sagemaker-async",
            },
            tasks: self.models.keys().cloned().collect(),
        }
    }

    fn infer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, PoolError>> {
        Box::pin(within(request.time_left, self.answer(request)))
    }
}
