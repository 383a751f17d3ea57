//! Pools as the station file describes them.

use crate::{
    config::{Config, PoolConfig, PoolKind, bucket_of},
    pool::{
        Pool, SecretSource,
        aws::{
            bedrock::{self, Bedrock, Operation},
            credentials::Credentials,
            sagemaker::{self, Bucket, SageMaker},
            service::Service,
            sigv4::Scope,
        },
        dial::Transport,
        embedded::{self, Embedded},
        formats::Dialect,
        messages::{self, Messages},
        oip_grpc::OipGrpc,
        oip_rest::OipRest,
        prompt::Prompted,
        task::Contracts,
    },
};
use anyhow::Context as _;
use onboard_model::{Package, Trust};
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Makes a pool; what it connects to is asked for when there is work.
pub fn open(config: &Config, pool: &PoolConfig) -> anyhow::Result<Arc<dyn Pool>> {
    let named = || format!("pool {}", pool.name);
    match pool.kind {
        PoolKind::Embedded => {
            let embedded = embedded(config, pool).with_context(named)?;
            Ok(Arc::new(Embedded::start(embedded)))
        }
        _ => open_at(config, pool, None).map_err(anyhow::Error::msg).with_context(named),
    }
}

/// The same for these contracts: a language model takes their tasks of tensors too.
pub fn open_for(
    config: &Config,
    pool: &PoolConfig,
    contracts: &Contracts,
) -> anyhow::Result<Arc<dyn Pool>> {
    Ok(worded(pool, open(config, pool)?, contracts))
}

/// A language model with tasks of tensors put in words; any other pool as it is.
pub fn worded(pool: &PoolConfig, opened: Arc<dyn Pool>, contracts: &Contracts) -> Arc<dyn Pool> {
    match pool.takes_words() {
        true => Arc::new(Prompted::new(opened, contracts.clone())),
        false => opened,
    }
}

/// Tries what [`open`] makes, and starts nothing.
pub fn check(config: &Config) -> anyhow::Result<()> {
    for pool in config.pools.iter().filter(|pool| pool.kind != PoolKind::Embedded) {
        match pool.source() {
            None => drop(open(config, pool)?),
            Some(source) => {
                // Any address will do: nothing is connected to.
                let address = SocketAddr::from(([127, 0, 0, 1], 1));
                let opened = source.and_then(|source| {
                    open_at(config, &pool.found(&source, address), Some(address))
                });
                let opened = opened.map_err(anyhow::Error::msg);
                opened.with_context(|| format!("pool {}", pool.name))?;
            }
        }
    }
    Ok(())
}

/// A pool elsewhere: where its address says, or where it was found.
pub fn open_at(
    config: &Config,
    pool: &PoolConfig,
    address: Option<SocketAddr>,
) -> Result<Arc<dyn Pool>, String> {
    let url = pool.url.as_deref().unwrap_or_default();
    let tasks = pool.tasks.clone();
    let file = pool.credentials.as_ref().map(|file| SecretSource::File(config.path(file)));
    let credential = file.or(pool.credentials_env.clone().map(SecretSource::Environment));
    let transport = Transport {
        ca: pool.ca.as_ref().map(|file| config.path(file)),
        danger_http: pool.danger_http,
        address,
    };
    match pool.kind {
        PoolKind::OipGrpc => {
            let pool_at = OipGrpc::through(&transport, &pool.name, url, tasks, credential)?;
            Ok(Arc::new(pool_at.streaming(pool.stream.unwrap_or(false))))
        }
        PoolKind::Openai | PoolKind::Anthropic => {
            let dialect = match pool.kind {
                PoolKind::Anthropic => Dialect::Anthropic,
                _ => Dialect::OpenAi,
            };
            Ok(Arc::new(Messages::new(messages::Config {
                name: pool.name.clone(),
                dialect,
                url: url.to_owned(),
                models: tasks,
                credential,
                x_api_key: pool.x_api_key,
                api_version: pool.api_version.clone(),
                completion_tokens: pool.completion_tokens,
                structured: pool.structured,
                stream: pool.stream.unwrap_or(true),
                transport,
            })?))
        }
        kind if kind.is_aws() => aws(config, pool),
        _ => Ok(Arc::new(OipRest::through(&transport, &pool.name, url, tasks, credential)?)),
    }
}

fn aws(config: &Config, pool: &PoolConfig) -> Result<Arc<dyn Pool>, String> {
    let region = pool.aws_region.clone().unwrap_or_else(|| pool.region.clone());
    let file = pool.credentials.as_ref().map(|file| config.path(file));
    let credentials = Arc::new(Credentials::new(file));
    let service = |url: &str, service| {
        let scope = Scope { region: region.clone(), service };
        Service::new(url, pool.danger_http, scope, Arc::clone(&credentials))
    };
    let (name, tasks, structured) = (&pool.name, pool.tasks.clone(), pool.structured);
    let stream = pool.stream.unwrap_or(false);
    let operation = match pool.kind {
        PoolKind::BedrockConverse => Some(Operation::Converse { stream }),
        PoolKind::BedrockInvoke => Some(Operation::Invoke { form: pool.form, stream }),
        _ => None,
    };
    if let Some(operation) = operation {
        let url = pool.url.clone().unwrap_or_else(|| bedrock::url(&region));
        let service = service(&url, bedrock::SERVICE)?;
        return Ok(Arc::new(Bedrock::new(name, service, tasks, operation, structured)));
    }
    let operation = match pool.bucket.as_deref().and_then(bucket_of) {
        Some((bucket, prefix)) if pool.kind == PoolKind::SagemakerAsync => {
            let own = format!("https://{bucket}.s3.{region}.amazonaws.com");
            let url = pool.bucket_url.as_ref().unwrap_or(&own);
            sagemaker::Operation::Async(Bucket {
                service: service(url, "s3")?,
                name: bucket.to_owned(),
                prefix: prefix.to_owned(),
                in_path: pool.bucket_url.is_some(),
            })
        }
        _ => sagemaker::Operation::Invoke { stream },
    };
    let url = pool.url.clone().unwrap_or_else(|| sagemaker::url(&region));
    let service = service(&url, sagemaker::SERVICE)?;
    Ok(Arc::new(SageMaker::new(name, service, tasks, pool.form, structured, operation)))
}

fn embedded(config: &Config, pool: &PoolConfig) -> io::Result<embedded::Config> {
    let packages: Vec<PathBuf> = pool.packages.iter().map(|folder| config.path(folder)).collect();
    let mut tasks = pool.tasks.clone();
    for (task, model) in tasks_of(&packages, pool.danger_accept_development_key) {
        tasks.entry(task).or_insert(model);
    }
    Ok(embedded::Config {
        name: pool.name.clone(),
        executable: executable()?,
        packages,
        runtime: pool.runtime.as_ref().map(|file| config.path(file)),
        danger_accept_development_key: pool.danger_accept_development_key,
        workers: pool.workers.unwrap_or(1),
        tasks,
    })
}

/// The executable that can serve pools: this one; for a test, which lives a folder below, the one
/// that was built with it.
fn executable() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let name = format!("groundstation{}", std::env::consts::EXE_SUFFIX);
    let built = own.parent().and_then(Path::parent).map(|folder| folder.join(name));
    match built {
        Some(built) if own.parent().is_some_and(|folder| folder.ends_with("deps")) => Ok(built),
        _ => Ok(own),
    }
}

/// The tasks that packages say they fulfil, with the model's name. A package that can't be used is
/// the child's to complain about; its tasks wait.
pub fn tasks_of(
    packages: &[PathBuf],
    danger_accept_development_key: bool,
) -> Vec<(String, String)> {
    let mut trust = Trust::nobody();
    if danger_accept_development_key {
        trust = trust.danger_accept_development_key();
    }
    let opened = packages.iter().filter_map(|folder| Package::open(folder, &trust).ok());
    let rows = opened.flat_map(|package| {
        let manifest = package.manifest().clone();
        manifest.tasks.into_iter().map(move |task| (task, manifest.name.clone()))
    });
    rows.collect()
}
