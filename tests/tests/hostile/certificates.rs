//! Every fault that a certificate can have on the station's side: refused before any byte of ours
//! is parsed, and counted.

use super::{
    client::{Client, Identity, SOON, Station, endpoint, object, trusting, with_tls},
    still_serves,
};
use codecs::{
    ids::Origin,
    link::{ALPN, wire::Message},
};
use quinn::Endpoint;
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, PKCS_ED25519, PublicKeyData,
};
use rustls::{
    SignatureAlgorithm, SignatureScheme,
    pki_types::PrivateKeyDer,
    sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey},
};
use std::{collections::BTreeMap, sync::Arc};

fn issuer(authority: KeyPair) -> Issuer<'static, KeyPair> {
    // Only the name of the issuer is taken from these.
    let mut issuing = CertificateParams::default();
    issuing.distinguished_name = rcgen::DistinguishedName::new();
    issuing.distinguished_name.push(rcgen::DnType::CommonName, "Test authority");
    Issuer::new(issuing, authority)
}

fn client_params() -> CertificateParams {
    let mut params = CertificateParams::new(vec!["a".to_string()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// A certificate of the station's own authority, changed at will.
pub fn issue(
    station: &Station,
    key: &KeyPair,
    change: impl FnOnce(&mut CertificateParams),
) -> Identity {
    let pem = std::fs::read_to_string(station.path("authority/authority.key")).unwrap();
    let issuer = issuer(KeyPair::from_pem(&pem).unwrap());
    let mut params = client_params();
    change(&mut params);
    let certificate = params.signed_by(key, &issuer).unwrap();
    Identity {
        chain: vec![certificate.der().clone()],
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        origin: Origin([0; 16]),
    }
}

/// A key that signs without having one: the certificate is someone else's, or its key is weak.
#[derive(Debug)]
struct Forger(SignatureScheme);

impl SigningKey for Forger {
    fn choose_scheme(&self, _offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(Self(self.0)))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Forger {
    fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(vec![7; 64])
    }

    fn scheme(&self) -> SignatureScheme {
        self.0
    }
}

/// RSA with 1024 bits, which no one should accept in this century.
struct WeakKey;

impl PublicKeyData for WeakKey {
    fn der_bytes(&self) -> &[u8] {
        const RSA_PUBLIC_KEY: [u8; 140] = {
            let mut der = [0xA5; 140];
            (der[0], der[1], der[2]) = (0x30, 0x81, 137);
            (der[3], der[4], der[5], der[6]) = (0x02, 0x81, 129, 0x00);
            (der[135], der[136], der[137], der[138], der[139]) = (0x02, 3, 1, 0, 1);
            der
        };
        &RSA_PUBLIC_KEY
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

/// Connects and at once says hello and sends an object, as far as it is let: what it is told.
async fn turned_away(station: &Station, endpoint: Endpoint) -> String {
    let client = match Client::connect_from(endpoint, station).await {
        Err(error) => return error,
        Ok(client) => client,
    };
    let Client { mut send, connection, .. } = client;
    let hello = Message::Hello { session: 1, more: false, channels: Vec::new() };
    let _ = send.write_all(&hello.encode()).await;
    if let Ok(mut stream) = connection.open_uni().await {
        let _ = stream.write_all(&object(1, 0, 3, |_| {})).await;
        let _ = stream.finish();
    }
    let closed = tokio::time::timeout(SOON, connection.closed()).await;
    closed.expect("the station keeps the connection").to_string()
}

fn ed25519() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).unwrap()
}

#[tokio::test]
async fn every_fault_of_a_certificate_is_refused_before_a_byte_is_read() {
    let station = Station::start();
    let key = ed25519();
    let with = |identity| endpoint(&station, Some(identity), ALPN);
    let issued = |change: fn(&mut CertificateParams)| with(issue(&station, &key, change));
    let stranger =
        CertificateParams::new(vec!["a".to_string()]).unwrap().self_signed(&key).unwrap();
    let stranger = Identity {
        chain: vec![stranger.der().clone()],
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        origin: Origin([0; 16]),
    };
    let forged = |chain, scheme| {
        let key = Arc::new(Forger(scheme));
        let certified = Arc::new(CertifiedKey::new(chain, key));
        let resolver = Arc::new(SingleCertAndKey::from(certified));
        let tls = trusting(&station).with_client_cert_resolver(resolver);
        let endpoint = endpoint(&station, None, ALPN);
        with_tls(endpoint, tls)
    };
    let weak = {
        let pem = std::fs::read_to_string(station.path("authority/authority.key")).unwrap();
        let issuer = issuer(KeyPair::from_pem(&pem).unwrap());
        client_params().signed_by(&WeakKey, &issuer).unwrap().der().clone()
    };
    let faults = [
        ("none", endpoint(&station, None, ALPN), "no-certificate"),
        ("from another authority", with(stranger), "unknown-authority"),
        (
            "expired",
            issued(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1)),
            "certificate-dates",
        ),
        (
            "not valid yet",
            issued(|params| params.not_before = rcgen::date_time_ymd(2200, 1, 1)),
            "certificate-dates",
        ),
        (
            "for servers",
            issued(|params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }),
            "unsupported-certificate",
        ),
        // The right authority, but a key that no row names: another station's, or one taken out.
        ("not enrolled", issued(|_| {}), "unknown-key"),
        (
            "another's, without its key",
            forged(station.identity("a").chain, SignatureScheme::ED25519),
            "bad-signature",
        ),
        (
            "another's, under a weak scheme",
            forged(station.identity("a").chain, SignatureScheme::RSA_PKCS1_SHA1),
            "handshake",
        ),
        ("of a weak key", forged(vec![weak], SignatureScheme::RSA_PSS_SHA256), "bad-signature"),
        (
            "for another protocol",
            endpoint(&station, Some(station.identity("a")), b"h3"),
            "other-protocol",
        ),
    ];
    let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
    for (fault, endpoint, reason) in faults {
        let told = turned_away(&station, endpoint).await;
        *counted.entry(reason).or_default() += 1;
        println!("{fault}: {told}");
        station.counted(&format!("/peers_rejected/{reason}"), counted[reason]).await;
    }
    let counts = station.counts();
    assert_eq!(counts["peers_rejected"], serde_json::json!(counted), "one reason each");
    assert_eq!((&counts["received"], &counts["rejected"]), (&0.into(), &serde_json::json!({})));
    still_serves(&station, 0).await;
}
