//! Every fault that a certificate can have on the station's side: refused before any byte of ours
//! is parsed, and counted.

use super::{
    client::{Client, Identity, Station, endpoint},
    still_serves,
};
use codecs::ids::Origin;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, PKCS_ED25519};
use rustls::pki_types::PrivateKeyDer;

/// A certificate of the station's own authority, changed at will.
pub fn issue(
    station: &Station,
    key: &KeyPair,
    change: impl FnOnce(&mut CertificateParams),
) -> Identity {
    let pem = std::fs::read_to_string(station.path("authority/authority.key")).unwrap();
    let authority = KeyPair::from_pem(&pem).unwrap();
    // Only the name of the issuer is taken from these.
    let mut issuing = CertificateParams::default();
    issuing.distinguished_name = rcgen::DistinguishedName::new();
    issuing.distinguished_name.push(rcgen::DnType::CommonName, "Test authority");
    let issuer = Issuer::new(issuing, authority);
    let mut params = CertificateParams::new(vec!["a".to_string()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let certificate = params.signed_by(key, &issuer).unwrap();
    Identity {
        chain: vec![certificate.der().clone()],
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        origin: Origin([0; 16]),
    }
}

/// Connects and reads: what a client with this certificate is told.
async fn turned_away(station: &Station, identity: Option<Identity>) -> String {
    match Client::connect(station, identity).await {
        Err(error) => error,
        Ok(client) => client.closed().await,
    }
}

#[tokio::test]
async fn certificates_that_prove_nothing_are_turned_away() {
    let station = Station::start();
    let none = turned_away(&station, None).await;
    assert!(none.contains("certificates"), "{none}");

    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let stranger =
        CertificateParams::new(vec!["a".to_string()]).unwrap().self_signed(&key).unwrap();
    let stranger = Identity {
        chain: vec![stranger.der().clone()],
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        origin: Origin([0; 16]),
    };
    let other = turned_away(&station, Some(stranger)).await;
    assert!(other.to_lowercase().contains("unknown") || other.contains("certificate"), "{other}");

    let expired = issue(&station, &key, |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let expired = turned_away(&station, Some(expired)).await;
    assert!(expired.to_lowercase().contains("expired"), "{expired}");
    let early = issue(&station, &key, |params| {
        params.not_before = rcgen::date_time_ymd(2200, 1, 1);
    });
    let early = turned_away(&station, Some(early)).await;
    assert!(early.contains("certificate"), "{early}");
    // A certificate for servers does not make a client.
    let server = issue(&station, &key, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let server = turned_away(&station, Some(server)).await;
    assert!(server.contains("certificate"), "{server}");
    station.counted("/peers_rejected/handshake", 5).await;

    // The right authority, but a key that no row names.
    let unknown = issue(&station, &key, |_| {});
    let unknown = turned_away(&station, Some(unknown)).await;
    assert!(unknown.contains("not enrolled"), "{unknown}");
    station.counted("/peers_rejected/unknown-key", 1).await;
    still_serves(&station, 0).await;
}

#[tokio::test]
async fn another_protocol_is_turned_away() {
    let station = Station::start();
    let endpoint = endpoint(&station, Some(station.identity("a")), b"h3");
    let error = endpoint.connect(station.quic, "station").unwrap().await.unwrap_err();
    assert!(error.to_string().contains("protocol"), "{error}");
    still_serves(&station, 0).await;
}
