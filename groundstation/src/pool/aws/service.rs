//! A service of Amazon's: signs, sends, and forgets keys that were refused.

use super::credentials::Credentials;
use super::sigv4::{Scope, Unsigned, sign};
use crate::pool::https::{self, Answer, Site};
use crate::pool::{Cause, PoolError};
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::HeaderMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A service in a region.
#[derive(Debug)]
pub struct Service {
    site: Site,
    scope: Scope,
    credentials: Arc<Credentials>,
}

impl Service {
    /// A service at an address.
    pub fn new(
        url: &str,
        danger_http: bool,
        scope: Scope,
        credentials: Arc<Credentials>,
    ) -> Result<Self, String> {
        Ok(Self { site: Site::new(url, danger_http)?, scope, credentials })
    }

    /// Asks; an error status is an error. Headers have lower-case names and are signed,
    /// but for `traceparent`.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<Answer, PoolError> {
        let keys = self.credentials.keys().await?;
        let url = self.site.url(path)?;
        // What is on the way may write another: Amazon's own clients leave it unsigned, too.
        let own: Vec<_> =
            headers.iter().filter(|(name, _)| *name != "traceparent").cloned().collect();
        let request = Unsigned { method: method.as_str(), url: &url, headers: &own, body: &body };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let signed = sign(&request, &keys, &self.scope, now.as_secs());
        let mut all = HeaderMap::new();
        for (name, value) in headers.iter().chain(&signed) {
            https::header(&mut all, name, value)?;
        }
        let answer = self.site.send(method, url, all, body).await;
        let answer = match answer {
            Ok(answer) => answer.good().await,
            Err(error) => Err(error),
        };
        match answer {
            Err(mut error) => {
                if error.cause == Cause::Auth {
                    self.credentials.refused().await;
                }
                for secret in [Some(&keys.secret), keys.token.as_ref()].into_iter().flatten() {
                    error.said = secret.redact(&error.said);
                }
                Err(error)
            }
            good => good,
        }
    }
}
