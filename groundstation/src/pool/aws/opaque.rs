//! Bodies for services that hand bytes through to a model and know nothing of them.

use crate::pool::formats::{Dialect, Draft, Structured, anthropic, openai};
use crate::pool::oip;
use crate::pool::stream;
use crate::pool::{Input, Output, PoolError, Request, Response, Usage};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

/// Type of a body with raw tensors, as SageMaker's Triton containers want it; the length of the
/// JSON before them follows.
const BINARY_TYPE: &str = "application/vnd.sagemaker-triton.binary+json;json-header-size=";

/// What the model behind takes and gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// The Open Inference Protocol's JSON, as Triton's and KServe's containers take it.
    #[default]
    Oip,
    /// The same with raw tensors, for Triton's.
    OipBinary,
    /// Chat completions, as vLLM's and LMI containers take them.
    Openai,
    /// Anthropic's Messages, as Bedrock's InvokeModel takes them for its models.
    Anthropic,
}

/// A body with its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Media type.
    pub content_type: String,
    /// The bytes.
    pub bytes: Bytes,
}

impl Form {
    /// Whose dialect it is; none of tensors, whose answers come whole.
    pub const fn dialect(self) -> Option<Dialect> {
        match self {
            Self::Oip | Self::OipBinary => None,
            Self::Openai => Some(Dialect::OpenAi),
            Self::Anthropic => Some(Dialect::Anthropic),
        }
    }

    /// Writes a question; `stream` where the model itself has to be told that the answer comes
    /// piece by piece.
    pub fn write(
        self,
        model: &str,
        request: &Request,
        structured: Structured,
        stream: bool,
    ) -> Result<Body, PoolError> {
        let json = |value: Value| {
            Ok(Body { content_type: "application/json".into(), bytes: value.to_string().into() })
        };
        match (self, &request.input) {
            (Self::Oip | Self::OipBinary, Input::Tensors(tensors)) => {
                let raw = self == Self::OipBinary;
                let body = oip::write_question(&request.idempotency_key, tensors, raw).whole();
                let content_type = match body.json_length {
                    Some(length) => format!("{BINARY_TYPE}{length}"),
                    None => "application/json".to_owned(),
                };
                Ok(Body { content_type, bytes: body.bytes })
            }
            (Self::Openai, Input::Document(document)) => {
                let dialect = openai::Dialect { structured, stream, ..openai::Dialect::default() };
                json(openai::body(model, document, dialect))
            }
            (Self::Anthropic, Input::Document(document)) => {
                let mut body = anthropic::body(document, structured, stream);
                body["anthropic_version"] = anthropic::VERSION.into();
                json(body)
            }
            (Self::Oip | Self::OipBinary, Input::Document(_)) => {
                Err(PoolError::bad_request("this pool takes tensors, no documents"))
            }
            (Self::Openai | Self::Anthropic, Input::Tensors(_)) => {
                Err(PoolError::bad_request("this pool takes documents, no tensors"))
            }
        }
    }

    /// Reads an answer.
    pub async fn read(
        self,
        model: &str,
        request: &Request,
        body: Body,
    ) -> Result<Response, PoolError> {
        let Body { content_type, bytes } = body;
        let wrong = |error: String| PoolError::contract(format!("answer of {model}: {error}"));
        match (self.dialect(), &request.input) {
            (Some(dialect), Input::Document(document)) => {
                let mut draft = Draft { model: model.to_owned(), ..Draft::default() };
                let take = move |value: &Value, draft: &mut Draft| dialect.whole(value, draft);
                stream::whole(bytes, &mut draft, take).await?;
                draft.finish(document)
            }
            _ => {
                let length = content_type.split_once("json-header-size=").map(|(_, number)| {
                    let number = number.split(';').next().unwrap_or_default();
                    number.trim().parse::<usize>().map_err(|error| wrong(error.to_string()))
                });
                let body = oip::Body { bytes, json_length: length.transpose()? };
                let answer = oip::read_answer_apart(body, request.answer_bytes_max()).await;
                let answer = answer.map_err(|error| wrong(error.to_string()))?;
                Ok(Response {
                    model: answer.model,
                    output: Output::Tensors(answer.outputs),
                    usage: Usage::default(),
                })
            }
        }
    }
}
