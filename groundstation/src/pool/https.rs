//! HTTPS to a vendor: one question at a time, an answer in pieces.
//!
//! Each exchange is HTTP/1.1, so that one that is dropped closes its connection: the vendor sees
//! that it is given up.

use super::PoolError;
use super::dial::{
    NO_TLS, Transport, client_config, is_here, is_no_tls, refuse_clear, refuse_parts,
};
use super::http::{CONNECT_TIMEOUT, cut};
use super::verdict::{self, Refusal};
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};

/// Most bytes of an answer that is read whole.
pub const ANSWER_BYTES_MAX: usize = super::oip::BODY_BYTES_MAX;

/// Most bytes of an error that are read.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// A vendor's address, with the client that speaks to it.
#[derive(Clone, Debug)]
pub struct Site {
    client: Client,
    base: Url,
}

impl Site {
    /// Reads `https://HOST[:PORT][/PATH]`, trusting whom the system trusts.
    pub fn new(url: &str, danger_http: bool) -> Result<Self, String> {
        Self::through(&Transport { danger_http, ..Transport::default() }, url)
    }

    /// The same by a way that is told.
    pub fn through(transport: &Transport, url: &str) -> Result<Self, String> {
        refuse_parts(url)?;
        let base = Url::parse(url).map_err(|error| format!("{url:?}: {error}"))?;
        let host = base.host_str().ok_or_else(|| format!("{url:?}: no host"))?;
        match base.scheme() {
            "https" => {}
            "http" => refuse_clear(url, host, transport.danger_http)?,
            scheme => return Err(format!("{url:?}: {scheme} is neither https nor http")),
        }
        // The client takes the process's provider; another call than the first changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            // A signature and a credential are for the host that was asked.
            .redirect(reqwest::redirect::Policy::none());
        if is_here(host) || transport.address.is_some() {
            client = client.no_proxy();
        }
        if let Some(address) = transport.address {
            client = client.resolve(host, address);
        }
        if let Some(ca) = &transport.ca {
            let config = client_config(Some(ca)).map_err(|error| format!("{url:?}: {error}"))?;
            client = client.tls_backend_preconfigured(config);
        }
        let client = client.build().map_err(|error| format!("{url:?}: {error}"))?;
        Ok(Self { client, base })
    }

    /// Its host.
    pub fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    /// The address of a path below the site's own.
    pub fn url(&self, path: &str) -> Result<Url, PoolError> {
        let base = self.base.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}{path}"))
            .map_err(|error| PoolError::bad_request(format!("{path:?}: {error}")))
    }

    /// Asks; gives the answer's head once it is there.
    pub async fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, PoolError> {
        let place = url.host_str().unwrap_or_default().to_owned();
        let request = self.client.request(method, url).headers(headers).body(body);
        match request.send().await {
            Ok(response) => Ok(Answer { response, place }),
            Err(error) => {
                let said = format!("{place}: {}", chain(&error));
                // Who had the question may have died of it; who could not be reached had none.
                Err(match error.is_connect() {
                    true => PoolError::unavailable(said),
                    false => PoolError::failed(said),
                })
            }
        }
    }
}

/// An error with what caused it, without the address: that may hold what nobody should read.
fn chain(error: &reqwest::Error) -> String {
    if is_no_tls(error) {
        return NO_TLS.to_owned();
    }
    let mut said = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        said.push(error.to_string());
        cause = error.source();
    }
    if said.is_empty() {
        said.push(if error.is_timeout() { "timed out" } else { "no connection" }.to_owned());
    }
    cut(&said.join(": "))
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub struct Answer {
    response: reqwest::Response,
    place: String,
}

impl Answer {
    /// Status.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// A header, where it is a text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// An answer that nobody sent.
    #[cfg(test)]
    pub(super) fn of(content_type: &str, body: Vec<u8>) -> Self {
        let response = hyper::Response::builder().header("content-type", content_type);
        Self { response: response.body(body).unwrap().into(), place: String::new() }
    }

    /// The next piece of the body; none at its end.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, PoolError> {
        let piece = self.response.chunk().await;
        piece.map_err(|error| {
            PoolError::failed(format!("answer cut short by {}: {}", self.place, chain(&error)))
        })
    }

    /// The whole body.
    pub async fn whole(mut self, bytes_max: usize) -> Result<Bytes, PoolError> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece().await? {
            if body.len() + piece.len() > bytes_max {
                return Err(PoolError::contract(format!("answer of more than {bytes_max} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.into())
    }

    /// The answer, or what an error status means.
    pub async fn good(self) -> Result<Self, PoolError> {
        if self.response.status().is_success() {
            return Ok(self);
        }
        let (status, headers) = (self.status(), self.response.headers().clone());
        // What of an error's words is lost changes nothing of its status.
        let body = self.whole(ERROR_BYTES_MAX).await.unwrap_or_default();
        Err(verdict::of(&Refusal::read(status, &headers, &body)))
    }
}

/// Adds a header; a value that no header may hold is refused without being shown.
pub fn header(headers: &mut HeaderMap, name: &'static str, value: &str) -> Result<(), PoolError> {
    let name = HeaderName::from_static(name);
    let mut text = HeaderValue::from_str(value).map_err(|_| {
        PoolError::bad_request(format!("a value for {name} that no header may hold"))
    })?;
    text.set_sensitive(
        ["authorization", "x-api-key", "x-amz-security-token"].contains(&name.as_str()),
    );
    headers.insert(name, text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_never_travel_in_the_clear_unasked() {
        assert!(Site::new("https://api.example.com/v1", false).is_ok());
        assert!(Site::new("http://127.0.0.1:8000/v1", false).is_ok());
        assert!(Site::new("http://[::1]:8000", false).is_ok());
        assert!(Site::new("http://localhost:8000", false).is_ok());
        let refused = Site::new("http://api.example.com", false).unwrap_err();
        assert!(refused.contains("danger_http"), "{refused}");
        assert!(Site::new("http://api.example.com", true).is_ok());
        for bad in ["ftp://example.com", "example.com", "https://"] {
            assert!(Site::new(bad, true).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_header_with_a_credential_prints_nothing() {
        let mut headers = HeaderMap::new();
        header(&mut headers, "authorization", "Bearer hidden").unwrap();
        assert!(!format!("{headers:?}").contains("hidden"));
        let refused = header(&mut headers, "x-api-key", "hid\nden").unwrap_err();
        assert!(!refused.said.contains("den"), "{refused}");
    }
}
