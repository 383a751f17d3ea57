//! Pools behind TLS, ours on both ends.

use crate::{
    servers::{both_with, judge, tile},
    serving::served_with,
};
use groundstation::pool::Cause;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::{net::TcpStream, path::Path};

/// An authority and a server's certificate for this machine, as PEM files.
fn identities(dir: &Path) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let signed = server.signed_by(&key, &issuer).unwrap();
    let files = [
        ("ca.pem", certificate.pem()),
        ("server.pem", signed.pem()),
        ("key.pem", key.serialize_pem()),
    ];
    for (name, text) in files {
        std::fs::write(dir.join(name), text).unwrap();
    }
}

#[tokio::test]
async fn a_server_with_a_certificate_is_asked_over_tls_alone_by_whoever_trusts_its_authority() {
    let dir = tempfile::tempdir().unwrap();
    identities(dir.path());
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (cert, key) = (path("server.pem"), path("key.pem"));
    let Some((_server, ready)) = served_with(&["--cert", &cert, "--key", &key]) else { return };
    let (rest, grpc) = (ready["url"].as_str().unwrap(), ready["grpc"].as_str().unwrap());
    assert!(rest.starts_with("https://") && grpc.starts_with("https://"), "{ready}");
    // Who connects and says nothing keeps nobody waiting.
    let silent =
        [rest, grpc].map(|url| TcpStream::connect(url.trim_start_matches("https://")).unwrap());
    judge(&both_with(dir.path(), rest, grpc, "cloud-screen", "ca = \"ca.pem\"")).await;
    drop(silent);
    // An authority that nobody on this machine knows, a name that is not in the certificate, and
    // no TLS at all: each is no connection, and says why.
    let named = [rest, grpc].map(|url| url.replace("127.0.0.1", "localhost"));
    let clear = [rest, grpc].map(|url| url.replace("https", "http"));
    for (urls, more, why) in [
        ([rest, grpc], "", Some("certificate")),
        ([&named[0], &named[1]], "ca = \"ca.pem\"", Some("not valid for name")),
        ([&clear[0], &clear[1]], "", None),
    ] {
        for pool in both_with(dir.path(), urls[0], urls[1], "cloud-screen", more) {
            let refused = pool.infer(&tile()).await.unwrap_err();
            let gone = [Cause::Unavailable, Cause::Failed].contains(&refused.cause);
            assert!(gone, "{urls:?}: {refused}");
            assert!(why.is_none_or(|why| refused.said.contains(why)), "{refused}");
        }
    }
}
