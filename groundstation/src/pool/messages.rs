//! A pool that takes documents over HTTPS: OpenAI-compatible chat, Anthropic Messages.

use super::dial::Transport;
use super::formats::{Dialect, Draft, Structured, anthropic, openai};
use super::http::{model_of, within};
use super::https::{self, Site};
use super::stream::{self, Framing, Parts};
use super::{
    Document, Input, Pool, PoolError, PoolInfo, Request, Response, Secret, SecretSource, Usage,
    usage,
};
use futures_util::future::BoxFuture;
use reqwest::Method;
use reqwest::header::HeaderMap;
use std::collections::BTreeMap;

/// What the station file says of such a pool.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name in the station file.
    pub name: String,
    /// Whose dialect.
    pub dialect: Dialect,
    /// Address: what the path of the dialect is appended to (`/chat/completions` to
    /// `https://api.openai.com/v1`, `/v1/messages` to `https://api.anthropic.com`).
    pub url: String,
    /// Task contract to the model's name.
    pub models: BTreeMap<String, String>,
    /// The account's key; none for a server that asks for none.
    pub credential: Option<SecretSource>,
    /// Whether the key goes as `x-api-key`, as Anthropic's interface had it first and some
    /// gateways still want it; its own library sends `Authorization` by now, as OpenAI's does.
    pub x_api_key: bool,
    /// Version of Anthropic's interface, where it is not the usual one.
    pub api_version: Option<String>,
    /// Whether the bound on tokens is OpenAI's newer `max_completion_tokens`; by default at
    /// OpenAI's own addresses alone.
    pub completion_tokens: Option<bool>,
    /// How a schema is asked for.
    pub structured: Structured,
    /// Whether answers come as events; a model that never ends is then noticed by its bytes as
    /// well as by the deadline.
    pub stream: bool,
    /// The way to the server.
    pub transport: Transport,
}

/// The pool.
pub struct Messages {
    config: Config,
    site: Site,
    completion_tokens: bool,
}

impl Messages {
    /// A pool as the station file has it.
    pub fn new(config: Config) -> Result<Self, String> {
        let site = Site::through(&config.transport, &config.url)?;
        // Their own newer models refuse the older name of the bound; most others know only that.
        let completion_tokens = config.completion_tokens.unwrap_or_else(|| {
            let host = site.host();
            host == "api.openai.com" || host.ends_with("openai.azure.com")
        });
        Ok(Self { config, site, completion_tokens })
    }

    async fn answer(&self, request: &Request) -> Result<Response, PoolError> {
        let model = model_of(&self.config.name, &self.config.models, &request.task)?;
        let Input::Document(document) = &request.input else {
            return Err(PoolError::bad_request("this pool takes documents, no tensors"));
        };
        let secret = self.config.credential.as_ref().map(SecretSource::read).transpose()?;
        let result = self.ask(model, document, request, secret.as_ref()).await;
        result.map_err(|mut error| {
            if let Some(secret) = &secret {
                error.said = secret.redact(&error.said);
            }
            error
        })
    }

    async fn ask(
        &self,
        model: &str,
        document: &Document,
        request: &Request,
        secret: Option<&Secret>,
    ) -> Result<Response, PoolError> {
        let Config { dialect, structured, stream: events, .. } = self.config;
        let (path, body) = match dialect {
            Dialect::OpenAi => {
                let completion_tokens = self.completion_tokens;
                let dialect = openai::Dialect { structured, stream: events, completion_tokens };
                ("/chat/completions", openai::body(model, document, dialect))
            }
            Dialect::Anthropic => {
                let mut body = anthropic::body(document, structured, events);
                body["model"] = model.into();
                ("/v1/messages", body)
            }
        };
        let headers = self.headers(request, secret)?;
        let url = self.site.url(path)?;
        let answer = self.site.send(Method::POST, url, headers, body.to_string().into()).await?;
        let answer = answer.good().await?;
        let energy_j = usage::joules(answer.header(usage::ENERGY_HEADER));
        let usage = Usage { energy_j, ..Usage::default() };
        let mut draft = Draft { model: model.to_owned(), usage, ..Draft::default() };
        let framing = Framing::of(answer.header("content-type").unwrap_or_default());
        let mut parts = Parts::new(dialect, framing.unwrap_or(Framing::Whole));
        let pushed = |piece: &[u8], draft: &mut Draft| parts.push(piece, draft);
        if !stream::read(answer, &mut draft, pushed).await? {
            parts.end(&mut draft).await?;
        }
        draft.finish(document)
    }

    fn headers(&self, request: &Request, secret: Option<&Secret>) -> Result<HeaderMap, PoolError> {
        let mut headers = HeaderMap::new();
        let mut set = |name, value: &str| https::header(&mut headers, name, value);
        set("content-type", "application/json")?;
        set("traceparent", &request.trace.traceparent())?;
        set("idempotency-key", &request.idempotency_key)?;
        if self.config.dialect == Dialect::Anthropic {
            let version = self.config.api_version.as_deref();
            set("anthropic-version", version.unwrap_or(anthropic::VERSION))?;
        }
        if let Some(secret) = secret {
            let set = match self.config.x_api_key {
                false => set("authorization", &format!("Bearer {}", secret.expose())),
                true => set("x-api-key", secret.expose()),
            };
            set.map_err(|_| Secret::unusable())?;
        }
        Ok(headers)
    }
}

impl Pool for Messages {
    fn describe(&self) -> PoolInfo {
        PoolInfo {
            name: self.config.name.clone(),
            kind: match self.config.dialect {
                Dialect::OpenAi => "openai",
                Dialect::Anthropic => "anthropic",
            },
            tasks: self.config.models.keys().cloned().collect(),
        }
    }

    fn infer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, PoolError>> {
        Box::pin(within(request.time_left, self.answer(request)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks_newer(url: &str, completion_tokens: Option<bool>) -> bool {
        let pool = Messages::new(Config {
            name: "words".into(),
            dialect: Dialect::OpenAi,
            url: url.into(),
            models: BTreeMap::new(),
            credential: None,
            x_api_key: false,
            api_version: None,
            completion_tokens,
            structured: Structured::default(),
            stream: false,
            transport: Transport::default(),
        });
        pool.unwrap().completion_tokens
    }

    #[test]
    fn the_newer_bound_on_tokens_is_for_openais_hosts_and_for_gateways_that_ask_for_it() {
        assert!(asks_newer("https://api.openai.com/v1", None));
        assert!(asks_newer("https://mine.openai.azure.com/openai/v1", None));
        assert!(!asks_newer("https://gateway.example/api.openai.com/v1", None));
        assert!(!asks_newer("http://127.0.0.1:8000/v1", None));
        assert!(asks_newer("http://127.0.0.1:8000/v1", Some(true)));
        assert!(!asks_newer("https://api.openai.com/v1", Some(false)));
    }
}
