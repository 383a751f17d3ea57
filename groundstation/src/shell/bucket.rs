//! The object store: sealed segments as `domain/ledger id/segment`, written only if absent and
//! believed only when they were read back.

use crate::config::{StoreConfig, StoreCredentials};
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    RetryConfig,
    aws::{AmazonS3Builder, S3ConditionalPut},
    local::LocalFileSystem,
    path::Path as Key,
    prefix::PrefixStore,
};
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

/// How long one request may take: a segment of 64 MiB over a line of 10 Mbit/s takes a minute.
const REQUEST: Duration = Duration::from_secs(300);
/// Retries inside one attempt; the attempt itself comes again with its own waits.
const RETRIES: usize = 2;

/// One domain's part of an object store.
#[derive(Clone, Debug)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    domain: String,
}

/// What keeping a segment found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// There, byte for byte.
    Verified,
    /// Other bytes are there under its name.
    Other,
}

impl Bucket {
    /// Opens the store that a station names; nothing is sent yet.
    pub fn open(config: &StoreConfig, base: &Path, domain: &str) -> anyhow::Result<Self> {
        if let Some(dir) = &config.dir {
            let dir = base.join(dir);
            // A mount that is absent must not become a folder on the disk below.
            ensure!(
                dir.is_dir(),
                "archive.object_store.dir {}: not a folder; make it, or mount what holds it",
                dir.display()
            );
            let local = LocalFileSystem::new_with_prefix(&dir)?.with_fsync(true);
            return Ok(Self::of(Arc::new(local), domain));
        }
        // The client takes the process's provider; another call than the first changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = config.url.as_deref().unwrap_or_default();
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: RETRIES,
            retry_timeout: REQUEST,
        };
        let client = ClientOptions::new().with_timeout(REQUEST).with_allow_http(config.danger_http);
        let mut builder = AmazonS3Builder::new()
            .with_url(url)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(retry)
            .with_client_options(client)
            .with_allow_http(config.danger_http);
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &config.region {
            builder = builder.with_region(region);
        }
        if let Some(file) = &config.credentials {
            let file = base.join(file);
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("archive.object_store.credentials {}", file.display()))?;
            // Not the parser's own message: it quotes the line, and the line is a secret.
            let secret: StoreCredentials = toml::from_str(&text).map_err(|_| {
                anyhow::anyhow!(
                    "{}: wanted access_key_id and secret_access_key, as TOML",
                    file.display()
                )
            })?;
            builder = builder
                .with_access_key_id(secret.access_key_id)
                .with_secret_access_key(secret.secret_access_key);
            if let Some(token) = secret.session_token {
                builder = builder.with_token(token);
            }
        }
        let store = builder.build().with_context(|| format!("archive.object_store.url {url}"))?;
        let prefix = prefix_of(url);
        Ok(Self::of(Arc::new(PrefixStore::new(store, prefix)), domain))
    }

    /// A domain's part of a store.
    pub fn of(store: Arc<dyn ObjectStore>, domain: &str) -> Self {
        Self { store, domain: domain.into() }
    }

    fn folder(&self, ledger: u64) -> Key {
        Key::from_iter([self.domain.clone(), format!("{ledger:016x}")])
    }

    fn key(&self, ledger: u64, segment: u64) -> Key {
        Key::from_iter([
            self.domain.clone(),
            format!("{ledger:016x}"),
            crate::archive::segment::file_name(segment),
        ])
    }

    /// Writes a segment if its name is free, and reads back what is there then.
    pub async fn keep(
        &self,
        ledger: u64,
        segment: u64,
        bytes: Bytes,
    ) -> object_store::Result<Kept> {
        let key = self.key(ledger, segment);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&key, bytes.clone().into(), options).await {
            // Of an earlier attempt, perhaps; reading tells.
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(error),
        }
        let mut stream = self.store.get(&key).await?.into_stream();
        let mut rest = bytes.as_ref();
        while let Some(chunk) = stream.try_next().await? {
            match rest.split_at_checked(chunk.len()) {
                Some((front, back)) if front == chunk.as_ref() => rest = back,
                _ => return Ok(Kept::Other),
            }
        }
        Ok(if rest.is_empty() { Kept::Verified } else { Kept::Other })
    }

    /// Segments of a ledger with their bytes.
    pub async fn list(&self, ledger: u64) -> object_store::Result<BTreeMap<u64, u64>> {
        let folder = self.folder(ledger);
        let mut found = self.store.list(Some(&folder));
        let mut segments = BTreeMap::new();
        while let Some(object) = found.try_next().await? {
            let name = object.location.filename().unwrap_or_default();
            let number = crate::archive::segment::number_of(name);
            segments.extend(number.map(|number| (number, object.size)));
        }
        Ok(segments)
    }

    /// Ledgers of the domain that have segments there.
    pub async fn ledgers(&self) -> object_store::Result<Vec<u64>> {
        let folder = Key::from_iter([self.domain.clone()]);
        let found = self.store.list_with_delimiter(Some(&folder)).await?;
        let id = |key: &Key| u64::from_str_radix(key.filename()?, 16).ok();
        Ok(found.common_prefixes.iter().filter_map(id).collect())
    }

    /// A whole segment.
    pub async fn read(&self, ledger: u64, segment: u64) -> object_store::Result<Bytes> {
        self.store.get(&self.key(ledger, segment)).await?.bytes().await
    }
}

/// The path of a bucket's URL: what keys begin with there.
fn prefix_of(url: &str) -> Key {
    let path = url.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
    Key::from(path.map_or("", |(_, path)| path))
}
