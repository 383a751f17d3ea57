//! The station's side of TLS 1.3: its own certificate, and clients that the local authority signed.

use crate::{admit::KeyHash, config::Config};
use anyhow::Context as _;
use codecs::time::Tai;
use codecs_quic::not_after;
use quinn::crypto::rustls::QuicServerConfig;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier},
    version::TLS13,
};
use std::{
    any::Any,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Reads identities and makes the server's side of the handshake. Dates are checked against the
/// real clock; there is no early data, since what it carries could be replayed.
pub fn server_config(config: &Config) -> anyhow::Result<QuicServerConfig> {
    QuicServerConfig::try_from(read(config)?).context("TLS for QUIC")
}

fn read(config: &Config) -> anyhow::Result<ServerConfig> {
    let mut roots = RootCertStore::empty();
    let authority = config.path(&config.identity.authority);
    for certificate in certificates(&authority)? {
        roots.add(certificate).with_context(|| format!("authority {}", authority.display()))?;
    }
    let path = config.path(&config.identity.certificate);
    let chain = certificates(&path)?;
    let key_path = config.path(&config.identity.key);
    let key = PrivateKeyDer::from_pem_file(&key_path)
        .with_context(|| format!("key {}: no private key in PEM", key_path.display()))?;
    server_tls(roots, chain, key).with_context(|| {
        format!(
            "authority {}, certificate {} and key {}",
            authority.display(),
            path.display(),
            key_path.display()
        )
    })
}

/// The same of identities that were read already.
pub fn server_tls(
    roots: RootCertStore,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> anyhow::Result<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .context("no authority that could sign")?;
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .context("TLS 1.3")?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .context("certificate and key do not belong together")?;
    tls.alpn_protocols = vec![codecs::link::ALPN.to_vec()];
    // A resumed session would not show its certificate again, whatever became of it since.
    tls.send_tls13_tickets = 0;
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(tls)
}

/// When each certificate of the station ends: its own first, then the authority.
pub fn ends(config: &Config) -> anyhow::Result<Vec<(PathBuf, Tai)>> {
    let mut ends = Vec::new();
    for path in [&config.identity.certificate, &config.identity.authority] {
        let path = config.path(path);
        for certificate in certificates(&path)? {
            let end = not_after(&certificate).with_context(|| {
                format!("certificate {}: no end that can be read", path.display())
            })?;
            ends.push((path.clone(), end));
        }
    }
    Ok(ends)
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let chain: Vec<_> = read.with_context(|| format!("certificate {}", path.display()))?;
    anyhow::ensure!(!chain.is_empty(), "certificate {}: none in PEM", path.display());
    Ok(chain)
}

/// Whose key a peer proved to have.
pub fn peer_key(connection: &quinn::Connection) -> Option<KeyHash> {
    key_of(connection.peer_identity()?)
}

/// The key of an identity as the transport hands it over.
pub fn key_of(identity: Box<dyn Any>) -> Option<KeyHash> {
    let chain = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    let parsed = ParsedCertificate::try_from(chain.first()?).ok()?;
    Some(KeyHash::of(&parsed.subject_public_key_info()))
}
