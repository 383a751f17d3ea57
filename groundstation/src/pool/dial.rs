//! How a server is reached: TCP, and TLS within it where its address begins with `https://`.

use super::http::{CONNECT_TIMEOUT, Place};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, InvalidMessage, RootCertStore, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt as _;
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What the station file says of the way to a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    /// Authorities in PEM that may sign for the server, instead of those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Speaks to another machine without TLS.
    pub danger_http: bool,
    /// Where the server is, where that is known better than by its name; TLS and the `Host` header
    /// keep to the name.
    pub address: Option<SocketAddr>,
}

/// A connection, whatever it goes through.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A server that can be connected to.
#[derive(Clone)]
pub struct Dial {
    authority: String,
    address: Option<SocketAddr>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// Refuses an address that would show questions and credentials to who listens on the way:
/// `http://` is for this machine, and for what `danger_http` says of another.
pub fn refuse_clear(url: &str, host: &str, danger_http: bool) -> Result<(), String> {
    if danger_http || is_here(host) {
        return Ok(());
    }
    Err(format!(
        "{url:?}: questions and credentials would travel in the clear: use https://, or set \
         danger_http"
    ))
}

/// Refuses an address with parts that a pool's has no use for, or that belong elsewhere. What may
/// be a credential is not repeated.
pub fn refuse_parts(url: &str) -> Result<(), String> {
    let (scheme, rest) = url.split_at(url.find("://").map_or(0, |at| at + 3));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if let Some((_, place)) = authority.rsplit_once('@') {
        let without = format!("{scheme}{place}");
        return Err(format!(
            "{without:?} with a user before its host: credentials belong in `credentials` or \
             `credentials_env`, not in an address"
        ));
    }
    if path.contains(['?', '#']) {
        // A query may hold a key.
        let without = path.split(['?', '#']).next().unwrap_or_default();
        let without = format!("{scheme}{authority}{without}");
        return Err(format!(
            "{without:?} with a query or a fragment: an address ends with its path, the protocol's \
             own follows; a key belongs in `credentials`"
        ));
    }
    let bracket = authority.rfind(']').unwrap_or(0);
    let port = authority.get(bracket..).and_then(|rest| rest.rsplit_once(':'));
    match port.map(|(_, port)| (port, port.parse::<u16>())) {
        None | Some((_, Ok(1..))) => Ok(()),
        Some((port, _)) => Err(format!("{url:?}: {port:?} is no port: they go from 1 to 65535")),
    }
}

/// What to say of a server that answers a TLS greeting with something else.
pub const NO_TLS: &str = "the server speaks no TLS at this port: use its port for TLS, or an \
    address that begins with http://";

/// Whether an error, or what caused it, is that a server does not speak TLS.
pub fn is_no_tls(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let no_tls = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
        if error.downcast_ref() == Some(&no_tls) {
            return true;
        }
        // What an error of IO holds is no source of it, only what that has as one.
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = match held {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    false
}

/// Whether a host is this machine.
pub fn is_here(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = bare.parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

/// A client's side of TLS: whoever the system trusts, or the authorities of a file alone.
pub fn client_config(ca: Option<&Path>) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?;
    let builder = match ca {
        None => builder.with_platform_verifier().map_err(|error| {
            format!("the system's authorities: {error}; name your own with `ca`")
        })?,
        Some(file) => builder.with_root_certificates(authorities(file)?),
    };
    Ok(builder.with_no_client_auth())
}

fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let told = |error: &dyn std::fmt::Display| format!("ca {}: {error}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| told(&error))? {
        let certificate = certificate.map_err(|error| told(&error))?;
        roots.add(certificate).map_err(|error| told(&error))?;
    }
    if roots.is_empty() { Err(told(&"no certificate in PEM")) } else { Ok(roots) }
}

impl Dial {
    /// A server without TLS, whoever listens on the way.
    pub fn plain(place: &Place) -> Self {
        Self { authority: place.authority.clone(), address: None, tls: None }
    }

    /// A server at a place; `protocol` is what is spoken within TLS, as ALPN names it.
    pub fn new(
        url: &str,
        place: &Place,
        transport: &Transport,
        protocol: &[u8],
    ) -> Result<Self, String> {
        let host = place.host();
        let tls = if place.https {
            let mut config = client_config(transport.ca.as_deref())
                .map_err(|error| format!("{url:?}: {error}"))?;
            config.alpn_protocols = vec![protocol.to_vec()];
            let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = ServerName::try_from(bare)
                .map_err(|error| format!("{url:?}: no name that a certificate has: {error}"))?;
            Some((TlsConnector::from(Arc::new(config)), name))
        } else if transport.ca.is_some() {
            return Err(format!("{url:?}: `ca` is for an address that begins with https://"));
        } else {
            refuse_clear(url, host, transport.danger_http)?;
            None
        };
        Ok(Self { authority: place.authority.clone(), address: transport.address, tls })
    }

    /// Host and port.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Connects, handshake and all, within [`CONNECT_TIMEOUT`].
    pub async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, self.open()).await;
        connected.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "timed out")))
    }

    async fn open(&self) -> io::Result<Box<dyn Stream>> {
        let stream = match self.address {
            Some(address) => TcpStream::connect(address).await?,
            None => TcpStream::connect(&self.authority).await?,
        };
        let _ = stream.set_nodelay(true);
        Ok(match &self.tls {
            None => Box::new(stream),
            Some((tls, name)) => {
                let connected = tls.connect(name.clone(), stream).await;
                Box::new(connected.map_err(|error| match is_no_tls(&error) {
                    true => io::Error::other(NO_TLS),
                    false => error,
                })?)
            }
        })
    }

    /// Connects without borrowing, for who keeps no reference.
    pub fn connect_owned(&self) -> impl Future<Output = io::Result<Box<dyn Stream>>> + use<> {
        let own = self.clone();
        async move { own.connect().await }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    fn dial(url: &str, transport: &Transport) -> Result<Dial, String> {
        Dial::new(url, &Place::parse(url)?, transport, b"h2")
    }

    #[test]
    fn plain_http_is_for_this_machine_unless_danger_is_named() {
        let usual = Transport::default();
        for here in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"] {
            assert!(dial(here, &usual).is_ok(), "{here}");
        }
        let refused = dial("http://10.0.0.7:8001", &usual).err().unwrap();
        assert!(refused.contains("danger_http"), "{refused}");
        let danger = Transport { danger_http: true, ..usual };
        assert!(dial("http://10.0.0.7:8001", &danger).is_ok());
    }

    #[test]
    fn what_belongs_in_no_address_is_named_and_no_credential_shown() {
        for (url, wanted) in [
            ("http://user:hidden@127.0.0.1:1/v1", "credentials belong in `credentials`"),
            ("https://hidden@pool.example", "credentials belong in `credentials`"),
            ("user:hidden@pool.example", "credentials belong in `credentials`"),
            ("https://a:hidden@b:hidden@pool", "credentials belong in `credentials`"),
            ("https://pool/v1?key=hidden", "with a query or a fragment"),
            ("https://pool?key=hidden", "with a query or a fragment"),
            ("https://pool/v1#hidden", "with a query or a fragment"),
            ("http://127.0.0.1:99999", "\"99999\" is no port"),
            ("http://[::1]:0", "\"0\" is no port"),
            ("https://pool:", "\"\" is no port"),
        ] {
            let told = refuse_parts(url).unwrap_err();
            assert!(told.contains(wanted), "{url}: {told}");
            assert!(!told.contains("hidden"), "{told}");
            assert_eq!(dial(url, &Transport::default()).err().as_ref(), Some(&told));
            let site = crate::pool::https::Site::new(url, true).unwrap_err();
            assert_eq!(site, told, "both ways to a server say the same");
        }
        for url in ["https://pool", "http://[::1]", "http://[::1]:8001/", "https://pool:65535/v2"] {
            assert_eq!(refuse_parts(url), Ok(()), "{url}");
        }
    }

    #[tokio::test]
    async fn a_server_without_tls_is_told_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&file, own.cert.pem()).unwrap();
        let transport = Transport { ca: Some(file), ..Transport::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let said = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(said).await.unwrap();
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            }
        });
        let error = dial(&url, &transport).unwrap().connect().await.err().unwrap();
        assert!(error.to_string().contains("speaks no TLS"), "{error}");
        let site = crate::pool::https::Site::through(&transport, &url).unwrap();
        let place = site.url("/v1").unwrap();
        let asked = site.send(reqwest::Method::GET, place, Default::default(), Default::default());
        let error = asked.await.unwrap_err();
        assert!(error.said.contains("speaks no TLS"), "{error}");
        server.abort();
    }

    #[test]
    fn an_authority_file_is_read_when_the_pool_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        let transport = Transport { ca: Some(file.clone()), ..Transport::default() };
        let told = |url| dial(url, &transport).err().unwrap();
        assert!(told("https://pool").contains("ca.pem"), "{}", told("https://pool"));
        std::fs::write(&file, "no PEM").unwrap();
        assert!(told("https://pool").contains("no certificate in PEM"));
        assert!(told("http://127.0.0.1:1").contains("begins with https://"));
        let own = rcgen::generate_simple_self_signed(["pool".to_owned()]).unwrap();
        std::fs::write(&file, own.cert.pem()).unwrap();
        assert!(dial("https://pool", &transport).is_ok());
    }
}
