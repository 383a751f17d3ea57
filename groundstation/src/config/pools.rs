//! What the station file says of pools, and of how work is routed to them.

use crate::pool::aws::opaque::Form;
use crate::pool::formats::Structured;
use crate::pool::request::Answers;
use crate::pool::task::Contracts;
use crate::pool::{Cost, DataClass};
use crate::router::discovery::Source;
use crate::router::spec::{POOLS_MAX, PoolSpec, Price, Role, Settings};
use core::net::SocketAddr;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Where heavy work may run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolConfig {
    /// Name in the job list.
    pub name: String,
    /// Kind of adapter.
    pub kind: PoolKind,
    /// Base address, for pools elsewhere.
    pub url: Option<String>,
    /// Where pools are found that this table stands for: `dns:NAME:PORT` or
    /// `kubernetes:NAMESPACE/SERVICE:PORT`.
    pub discover: Option<String>,
    /// Seconds between two looks; 30 by default.
    pub discover_every_s: Option<u64>,
    /// Task contract to the pool's own model name.
    #[serde(default)]
    pub tasks: BTreeMap<String, String>,
    /// Model packages that an embedded pool serves, relative to the station file.
    #[serde(default)]
    pub packages: Vec<PathBuf>,
    /// ONNX Runtime library for an embedded pool; searched for when absent.
    pub runtime: Option<PathBuf>,
    /// Accepts packages signed with the published development key. Never on a station that counts.
    #[serde(default)]
    pub danger_accept_development_key: bool,
    /// Copies of each model that an embedded pool runs side by side.
    pub workers: Option<u16>,
    /// File with the credential, relative to the station file: the key or token and nothing else,
    /// for AWS a TOML of `access_key_id`, `secret_access_key` and perhaps `session_token`.
    pub credentials: Option<PathBuf>,
    /// Variable of the environment with the key or token, where it is in no file.
    pub credentials_env: Option<String>,
    /// Whether a pool of messages wants its key as `x-api-key`, as some gateways do.
    #[serde(default)]
    pub x_api_key: bool,
    /// Whether a pool of chat completions is told the bound on tokens as `max_completion_tokens`,
    /// where that is not known by its address.
    pub completion_tokens: Option<bool>,
    /// Version of Anthropic's interface, where it is not the usual one.
    pub api_version: Option<String>,
    /// Authorities in PEM that may sign for the server, relative to the station file, instead of
    /// those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Speaks to another machine without TLS, credentials and all.
    #[serde(default)]
    pub danger_http: bool,
    /// How an answer that must fulfil a schema is asked for.
    #[serde(default)]
    pub structured: Structured,
    /// Whether answers come piece by piece: by default those of `openai` and `anthropic` do, while
    /// language models behind `bedrock-*` and `sagemaker`, and decoupled models behind `oip-grpc`,
    /// are asked to.
    pub stream: Option<bool>,
    /// Region of AWS's that requests are signed for, where it is not `region`.
    pub aws_region: Option<String>,
    /// What a model behind InvokeModel or a SageMaker endpoint takes and gives.
    #[serde(default)]
    pub form: Form,
    /// `s3://BUCKET/PREFIX` that questions are laid in for SageMaker's asynchronous form.
    pub bucket: Option<String>,
    /// Address of a store that is not Amazon's own.
    pub bucket_url: Option<String>,
    /// Where it works, such as `eu-central-1`; rules may ask for `eu`.
    #[serde(default)]
    pub region: String,
    /// The most guarded data that it may see; by default `restricted` of the embedded pool,
    /// `internal` of others.
    pub data_class: Option<DataClass>,
    /// Export licences that it is cleared for.
    #[serde(default)]
    pub export: BTreeSet<String>,
    /// What it takes for an answer, in the station's currency.
    #[serde(default)]
    pub price: PriceConfig,
    /// Most that may be spent on it a day (UTC).
    pub budget_day: Option<f64>,
    /// What it draws while it works, in watts, where it does not state its energy itself.
    pub watts: Option<f64>,
    /// Rate of the way there in bits a second, where known: what transfers are predicted by.
    pub rate_bps: Option<f64>,
    /// What an answer takes, in milliseconds, until enough were seen.
    #[serde(default)]
    pub expected_ms: u64,
    /// Questions at a time, at most; fewer while its answers get slower with them.
    pub concurrency_max: Option<u32>,
    /// Items that go as one question, at most.
    pub batch_max: Option<u32>,
    /// How long a question waits for others to go with it, in milliseconds.
    #[serde(default)]
    pub batch_wait_ms: u64,
    /// It gets this share of jobs first, 0 to 1, and another pool is asked the same.
    pub canary: Option<f64>,
    /// It is asked this share of jobs beside another pool, 0 to 1, and only compared.
    pub shadow: Option<f64>,
}

/// Kinds of pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolKind {
    /// A child process of this daemon.
    Embedded,
    /// Open Inference Protocol over REST.
    OipRest,
    /// Open Inference Protocol over gRPC.
    OipGrpc,
    /// Chat completions as OpenAI and many others speak them.
    Openai,
    /// Anthropic's Messages.
    Anthropic,
    /// Bedrock's Converse.
    BedrockConverse,
    /// Bedrock's InvokeModel.
    BedrockInvoke,
    /// A SageMaker endpoint, asked at once.
    Sagemaker,
    /// A SageMaker endpoint, asked through a bucket.
    SagemakerAsync,
}

impl PoolKind {
    /// Whether it is asked by signed requests.
    pub const fn is_aws(self) -> bool {
        use PoolKind::{BedrockConverse, BedrockInvoke, Sagemaker, SagemakerAsync};
        matches!(self, BedrockConverse | BedrockInvoke | Sagemaker | SagemakerAsync)
    }

    /// Name in the station file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::OipRest => "oip-rest",
            Self::OipGrpc => "oip-grpc",
            Self::Openai => "openai",
            Self::Anthropic => "anthropic",
            Self::BedrockConverse => "bedrock-converse",
            Self::BedrockInvoke => "bedrock-invoke",
            Self::Sagemaker => "sagemaker",
            Self::SagemakerAsync => "sagemaker-async",
        }
    }
}

/// What a pool takes for an answer, in the station's currency.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PriceConfig {
    /// Each question.
    pub request: f64,
    /// Each second of work.
    pub second: f64,
    /// A million tokens read.
    pub million_tokens_in: f64,
    /// A million tokens written.
    pub million_tokens_out: f64,
}

/// How work is routed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoutingConfig {
    /// Share of a pool's slots that only priority 0 may use, 0 to 0.9.
    pub hold_back: f64,
    /// Whether a second pool is asked when the first takes longer than it nearly always does.
    pub hedge: bool,
    /// Seconds of waiting that one unit of money is worth.
    pub price_s: f64,
    /// Seconds of waiting that one joule is worth.
    pub joule_s: f64,
    /// Memory that answers on their way may take, in bytes.
    pub answer_bytes: u64,
    /// Most that may be spent a day (UTC) in all.
    pub budget_day: Option<f64>,
    /// Most that may be spent a day (UTC), by task contract.
    pub task_budgets_day: BTreeMap<String, f64>,
    /// Days that outcomes stay in the job log; their keys stay longer.
    pub jobs_days: u32,
}

impl Default for RoutingConfig {
    fn default() -> Self {
        let usual = Settings::default();
        Self {
            hold_back: usual.hold_back,
            hedge: usual.hedge,
            price_s: usual.price_s,
            joule_s: usual.joule_s,
            answer_bytes: usual.answer_bytes,
            budget_day: None,
            task_budgets_day: BTreeMap::new(),
            jobs_days: 90,
        }
    }
}

impl RoutingConfig {
    /// As the router wants it.
    pub fn settings(&self, contracts: Contracts) -> Settings {
        let budgets = self.task_budgets_day.iter();
        Settings {
            contracts,
            hold_back: self.hold_back,
            hedge: self.hedge,
            price_s: self.price_s,
            joule_s: self.joule_s,
            answer_bytes: self.answer_bytes,
            budget_day: self.budget_day.map(Cost::from_units),
            task_budgets: budgets
                .map(|(task, most)| (task.clone(), Cost::from_units(*most)))
                .collect(),
        }
    }
}

impl PoolConfig {
    /// Whether what answers is a language model, to which tasks of tensors are put in words.
    pub fn takes_words(&self) -> bool {
        match self.kind {
            PoolKind::Embedded | PoolKind::OipRest | PoolKind::OipGrpc => false,
            PoolKind::Openai | PoolKind::Anthropic => true,
            PoolKind::BedrockConverse | PoolKind::BedrockInvoke => true,
            PoolKind::Sagemaker | PoolKind::SagemakerAsync => {
                matches!(self.form, Form::Openai | Form::Anthropic)
            }
        }
    }

    /// What answers are written in.
    pub fn answers(&self) -> Answers {
        match self.kind {
            PoolKind::OipGrpc => Answers::Messages,
            _ if self.takes_words() => Answers::Words,
            _ => Answers::Json,
        }
    }

    /// Where pools of this table are found; none of a pool that stands for itself.
    pub fn source(&self) -> Option<Result<Source, String>> {
        self.discover.as_deref().map(str::parse)
    }

    /// Seconds between two looks.
    pub fn discover_every_s(&self) -> u64 {
        self.discover_every_s.unwrap_or(30)
    }

    /// The pool that was found at an address: the table's settings under a name of its own.
    pub fn found(&self, source: &Source, address: SocketAddr) -> Self {
        let url = format!("http://{}:{}", source.host(), address.port());
        Self {
            name: format!("{}@{address}", self.name),
            url: self.url.clone().or(Some(url)),
            discover: None,
            ..self.clone()
        }
    }

    /// As the router wants it; `tasks` are those that it takes, which may be more than are written.
    pub fn spec(&self, kind: &str, tasks: Vec<String>) -> PoolSpec {
        let embedded = self.kind == PoolKind::Embedded;
        let class = if embedded { DataClass::Restricted } else { DataClass::Internal };
        // A child of this process has this machine's processors and nothing else to give.
        let most = self.concurrency_max.unwrap_or(if embedded { 4 } else { 16 });
        PoolSpec {
            name: self.name.clone(),
            kind: kind.to_owned(),
            tasks,
            region: self.region.clone(),
            class: self.data_class.unwrap_or(class),
            export: self.export.clone(),
            price: Price {
                request: self.price.request * 1e6,
                second: self.price.second * 1e6,
                // A unit a million is a millionth of a unit each.
                token_in: self.price.million_tokens_in,
                token_out: self.price.million_tokens_out,
            },
            watts: self.watts,
            rate_bps: self.rate_bps,
            expected: Duration::from_millis(self.expected_ms),
            concurrency: (2, most),
            answers: self.answers(),
            batch_max: self.batch_max.unwrap_or(1),
            batch_wait: Duration::from_millis(self.batch_wait_ms),
            role: match (self.canary, self.shadow) {
                (Some(share), _) => Role::Canary(share),
                (None, Some(share)) => Role::Shadow(share),
                (None, None) => Role::Main,
            },
            budget_day: self.budget_day.map(Cost::from_units),
        }
    }
}

/// Memory that answers on their way may be allowed.
const ANSWER_BYTES: RangeInclusive<u64> = 16 << 20..=1 << 40;

/// Checks all pools and the routing; gives the key and what is wrong with it.
pub(super) fn check(pools: &[PoolConfig], routing: &RoutingConfig) -> Result<(), (String, String)> {
    if pools.len() > POOLS_MAX {
        return Err(("pool".into(), format!("{} of them; at most {POOLS_MAX}", pools.len())));
    }
    let mut names = BTreeSet::new();
    for pool in pools {
        check_pool(pool, &mut names)
            .map_err(|(key, message)| (format!("pool {}: {key}", pool.name), message))?;
    }
    let money = routing.task_budgets_day.values().chain(routing.budget_day.iter());
    if money.into_iter().any(|most| !is_money(*most)) {
        return Err(("routing.budget_day".into(), "is an amount of money, 0 or more".into()));
    }
    // A day's budgets are reckoned from the outcomes of that day.
    if !(2..=36_500).contains(&routing.jobs_days) {
        return Err(("routing.jobs_days".into(), "must be from 2 to 36500".into()));
    }
    if !ANSWER_BYTES.contains(&routing.answer_bytes) {
        return Err(("routing.answer_bytes".into(), "must be from 16 MiB to 1 TiB".into()));
    }
    if !(0.0..=0.9).contains(&routing.hold_back) {
        return Err(("routing.hold_back".into(), "must be from 0 to 0.9".into()));
    }
    if !is_money(routing.price_s) || !is_money(routing.joule_s) {
        let message = "must be seconds, 0 or more".to_owned();
        return Err(("routing.price_s, routing.joule_s".into(), message));
    }
    Ok(())
}

fn is_money(value: f64) -> bool {
    (0.0..=1e9).contains(&value)
}

fn check_pool<'a>(
    pool: &'a PoolConfig,
    names: &mut BTreeSet<&'a str>,
) -> Result<(), (&'static str, String)> {
    if !names.insert(&pool.name) {
        return Err(("name", "another pool has it; jobs tell pools apart by it".into()));
    }
    check_adapter(pool)?;
    let price = &pool.price;
    let prices = [price.request, price.second, price.million_tokens_in, price.million_tokens_out];
    if prices.iter().chain(&pool.budget_day).any(|value| !is_money(*value)) {
        return Err(("price, budget_day", "are amounts of money, 0 or more".into()));
    }
    if pool.watts.is_some_and(|watts| !is_money(watts)) {
        return Err(("watts", "must be 0 or more".into()));
    }
    if pool.rate_bps.is_some_and(|rate| !(1.0..=1e13).contains(&rate)) {
        return Err(("rate_bps", "must be bits a second, 1 or more".into()));
    }
    if pool.concurrency_max.is_some_and(|most| !(1..=4096).contains(&most)) {
        return Err(("concurrency_max", "must be from 1 to 4096".into()));
    }
    if pool.batch_max.is_some_and(|most| !(1..=256).contains(&most)) {
        return Err(("batch_max", "must be from 1 to 256".into()));
    }
    if pool.batch_wait_ms > 60_000 || pool.expected_ms > 86_400_000 {
        return Err(("batch_wait_ms, expected_ms", "are at most a minute and a day".into()));
    }
    let shares = [pool.canary, pool.shadow];
    if shares.iter().flatten().any(|share| !(0.0..=1.0).contains(share)) {
        return Err(("canary, shadow", "are shares of jobs, 0 to 1".into()));
    }
    if pool.canary.is_some() && pool.shadow.is_some() {
        return Err(("canary, shadow", "exclude each other".into()));
    }
    Ok(())
}

/// What an adapter needs to know, before anything is opened.
fn check_adapter(pool: &PoolConfig) -> Result<(), (&'static str, String)> {
    let kind = pool.kind.name();
    let missing = |key| Err((key, format!("missing; a pool of kind {kind} needs one")));
    if pool.kind.is_aws() {
        if pool.region.is_empty() && pool.aws_region.is_none() {
            return missing("aws_region");
        }
        if pool.credentials_env.is_some() {
            let message = "AWS has variables of its own, which are read without being named";
            return Err(("credentials_env", message.into()));
        }
    } else if pool.kind != PoolKind::Embedded && pool.url.is_none() && pool.discover.is_none() {
        return missing("url");
    }
    if pool.kind == PoolKind::Embedded && pool.packages.is_empty() {
        return missing("packages");
    }
    if let Some(source) = pool.source() {
        source.map_err(|error| ("discover", error))?;
        if pool.kind.is_aws() || pool.kind == PoolKind::Embedded {
            return Err(("discover", format!("a pool of kind {kind} is not found anywhere")));
        }
    }
    if !(1..=3600).contains(&pool.discover_every_s()) {
        return Err(("discover_every_s", "must be from 1 to 3600".into()));
    }
    if pool.ca.is_some() && (pool.kind.is_aws() || pool.kind == PoolKind::Embedded) {
        return Err(("ca", format!("a pool of kind {kind} has no use for it")));
    }
    if pool.credentials.is_some() && pool.credentials_env.is_some() {
        return Err(("credentials, credentials_env", "exclude each other".into()));
    }
    if pool.stream == Some(true) {
        check_stream(pool).map_err(|message| ("stream", message))?;
    }
    let bucket = pool.bucket.as_deref();
    if pool.kind == PoolKind::SagemakerAsync && bucket.and_then(bucket_of).is_none() {
        return Err(("bucket", "must be s3://BUCKET/PREFIX".into()));
    }
    if pool.workers.is_some_and(|workers| !(1..=256).contains(&workers)) {
        return Err(("workers", "must be from 1 to 256".into()));
    }
    Ok(())
}

/// Whether an answer of such a pool can come piece by piece.
fn check_stream(pool: &PoolConfig) -> Result<(), String> {
    use PoolKind::{BedrockInvoke, Embedded, OipRest, Sagemaker, SagemakerAsync};
    let kind = pool.kind.name();
    match pool.kind {
        Embedded | OipRest | SagemakerAsync => {
            Err(format!("answers of a pool of kind {kind} come whole"))
        }
        BedrockInvoke | Sagemaker if pool.form.dialect().is_none() => Err(format!(
            "answers of tensors come whole; a pool of kind {kind} that streams needs form \
             \"openai\" or \"anthropic\""
        )),
        _ => Ok(()),
    }
}

/// Name and prefix out of `s3://BUCKET/PREFIX`.
pub fn bucket_of(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("s3://")?;
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    (!name.is_empty()).then_some((name, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(row: &str) -> Result<(), (String, String)> {
        let pool = format!("name = \"far\"\nurl = \"http://a\"\naws_region = \"r\"\n{row}\n");
        check(&[toml::from_str(&pool).unwrap()], &RoutingConfig::default())
    }

    #[test]
    fn what_has_no_stream_is_not_asked_for_one() {
        for (row, said) in [
            ("kind = \"sagemaker\"", "of kind sagemaker that streams needs form \"openai\""),
            ("kind = \"sagemaker\"\nform = \"oip-binary\"", "answers of tensors come whole"),
            ("kind = \"bedrock-invoke\"\nform = \"oip\"", "answers of tensors come whole"),
            ("kind = \"sagemaker-async\"\nform = \"openai\"\nbucket = \"s3://b\"", "come whole"),
            ("kind = \"oip-rest\"", "a pool of kind oip-rest come whole"),
        ] {
            assert_eq!(checked(&format!("{row}\nstream = false")), Ok(()), "{row}");
            let (key, message) = checked(&format!("{row}\nstream = true")).unwrap_err();
            assert_eq!(key, "pool far: stream");
            assert!(message.contains(said), "{row}: {message}");
        }
        for row in [
            "kind = \"sagemaker\"\nform = \"openai\"",
            "kind = \"bedrock-invoke\"\nform = \"anthropic\"",
            "kind = \"bedrock-converse\"",
            "kind = \"oip-grpc\"",
        ] {
            assert_eq!(checked(&format!("{row}\nstream = true")), Ok(()), "{row}");
        }
    }
}
