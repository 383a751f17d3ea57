//! A pool behind the Open Inference Protocol over REST: ours, MLServer, Triton, KServe, OpenVINO.
//!
//! Whether the server takes raw tensors stands in its metadata, and is asked again whenever the
//! server was gone: what comes back at its address may be another.

use super::dial::Transport;
use super::http::{CONNECT_TIMEOUT, Question, Reply, Server, model_of, within};
use super::oip::{self, BINARY_EXTENSION, BODY_BYTES_MAX, Body, JSON_LENGTH_HEADER};
use super::{
    Cause, Input, ModelMetadata, Output, Pool, PoolError, PoolInfo, PortMetadata, Request,
    Response, Secret, SecretSource, Usage, usage,
};
use futures_util::future::BoxFuture;
use hyper::Method;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A pool at an address.
pub struct OipRest {
    name: String,
    server: Server,
    /// Task contract to the server's name of a model.
    models: BTreeMap<String, String>,
    bearer: Option<SecretSource>,
    /// Whether the server takes raw tensors; unknown until it said so.
    binary: Mutex<Option<bool>>,
}

#[derive(Deserialize)]
struct ServerMetadata {
    #[serde(default)]
    extensions: Vec<String>,
}

#[derive(Deserialize)]
struct ModelJson {
    #[serde(default)]
    name: String,
    #[serde(default)]
    versions: Vec<String>,
    inputs: Vec<PortJson>,
    outputs: Vec<PortJson>,
}

#[derive(Deserialize)]
struct PortJson {
    name: String,
    datatype: String,
    shape: Vec<i64>,
}

impl OipRest {
    /// A pool by its name in the station file, its address, what it calls the tasks' models, and
    /// the token that it wants, if any.
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
        let server = Server::new(url, transport, BODY_BYTES_MAX)?;
        Ok(Self { name: name.to_owned(), server, models, bearer, binary: Mutex::new(None) })
    }

    /// Whether the server is there and ready.
    pub async fn ready(&self) -> Result<(), PoolError> {
        self.ask(Question::get("/v2/health/ready"), CONNECT_TIMEOUT).await.map(drop)
    }

    /// Whether raw tensors may be sent.
    async fn takes_binary(&self) -> Result<bool, PoolError> {
        let known = *self.binary.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known {
            return Ok(known);
        }
        let reply = self.ask(Question::get("/v2"), CONNECT_TIMEOUT).await?;
        let metadata: Option<ServerMetadata> = serde_json::from_slice(&reply.body).ok();
        let takes = metadata.is_some_and(|metadata| {
            metadata.extensions.iter().any(|name| name == BINARY_EXTENSION)
        });
        *self.binary.lock().unwrap_or_else(PoisonError::into_inner) = Some(takes);
        Ok(takes)
    }

    async fn answer(&self, request: &Request) -> Result<Response, PoolError> {
        let model = model_of(&self.name, &self.models, &request.task)?;
        let Input::Tensors(tensors) = &request.input else {
            return Err(PoolError::bad_request("this pool takes tensors, no documents"));
        };
        let binary = self.takes_binary().await?;
        let key = &request.idempotency_key;
        let body = oip::write_question(key, tensors, binary);
        let mut question = Question {
            method: Method::POST,
            answer_bytes_max: request.answer_bytes_max(),
            content_type: body.content_type(),
            body: body.parts,
            ..Question::get(format!("/v2/models/{model}/infer"))
        }
        .header("idempotency-key", &request.idempotency_key)?
        .header("traceparent", &request.trace.traceparent())?;
        if let Some(length) = body.json_length {
            question = question.header(JSON_LENGTH_HEADER, &length.to_string())?;
        }
        let most = question.answer_bytes_max;
        let reply = self.ask(question, request.time_left).await?;
        let energy_j = usage::joules(reply.header(usage::ENERGY_HEADER));
        let json_length = reply.number(JSON_LENGTH_HEADER).map(|length| length as usize);
        let answer = read_answer(model, Body { bytes: reply.body, json_length }, most).await?;
        Ok(Response { usage: Usage { energy_j, ..Usage::default() }, ..answer })
    }

    async fn ask(&self, mut question: Question, time: Duration) -> Result<Reply, PoolError> {
        let secret = self.bearer.as_ref().map(SecretSource::read).transpose()?;
        if let Some(secret) = &secret {
            let value = format!("Bearer {}", secret.expose());
            question = question.header("authorization", &value).map_err(|_| Secret::unusable())?;
        }
        let result = self.server.ask(question, time).await.and_then(Reply::good);
        result.map_err(|mut error| {
            if error.cause == Cause::Unavailable {
                *self.binary.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            if let Some(secret) = &secret {
                error.said = secret.redact(&error.said);
            }
            error
        })
    }
}

impl Pool for OipRest {
    fn describe(&self) -> PoolInfo {
        PoolInfo {
            name: self.name.clone(),
            kind: "oip-rest",
            tasks: self.models.keys().cloned().collect(),
        }
    }

    fn metadata<'a>(
        &'a self,
        task: &'a str,
    ) -> BoxFuture<'a, Result<Option<ModelMetadata>, PoolError>> {
        Box::pin(async move {
            let model = model_of(&self.name, &self.models, task)?;
            let question = Question::get(format!("/v2/models/{model}"));
            let reply = self.ask(question, CONNECT_TIMEOUT).await?;
            read_metadata(model, &reply.body).map(Some)
        })
    }

    fn infer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, PoolError>> {
        Box::pin(within(request.time_left, self.answer(request)))
    }
}

/// What an answer of a model says, of which at most so many bytes are tensors.
pub(super) async fn read_answer(
    model: &str,
    body: Body,
    most: usize,
) -> Result<Response, PoolError> {
    let answer = oip::read_answer_apart(body, most).await;
    let answer =
        answer.map_err(|error| PoolError::contract(format!("answer of {model}: {error}")))?;
    Ok(Response {
        model: answer.model,
        output: Output::Tensors(answer.outputs),
        usage: Usage::default(),
    })
}

/// What a server says of a model.
pub(super) fn read_metadata(model: &str, body: &[u8]) -> Result<ModelMetadata, PoolError> {
    let metadata: ModelJson = serde_json::from_slice(body).map_err(|error| {
        let why = oip::no_json(body, &error);
        PoolError::contract(format!("metadata of {model}: {why}"))
    })?;
    let ports = |ports: Vec<PortJson>| {
        let port = |PortJson { name, datatype, shape }| PortMetadata { name, datatype, shape };
        ports.into_iter().map(port).collect()
    };
    Ok(ModelMetadata {
        name: metadata.name,
        versions: metadata.versions,
        inputs: ports(metadata.inputs),
        outputs: ports(metadata.outputs),
    })
}

#[cfg(test)]
mod tests;
