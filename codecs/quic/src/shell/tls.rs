//! The handshake: a certificate of ours, a pinned key of the station's, no clock.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use codecs::{link::ALPN, time::Tai};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use sha2::{Digest, Sha256};

/// Accepts a station by the digest of its public key alone: names and dates need a trusted clock
/// and an authority, and a spacecraft has neither.
#[derive(Debug)]
struct Pinned {
    pins: Vec<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = public_key_info(end_entity)
            .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let digest: [u8; 32] = Sha256::digest(key).into();
        if self.pins.contains(&digest) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The SubjectPublicKeyInfo of a certificate, whole (RFC 5280 §4.1).
fn public_key_info(certificate: &[u8]) -> Option<&[u8]> {
    // validity, subject
    let mut fields = from_validity(certificate)?;
    for tag in [SEQUENCE, SEQUENCE] {
        fields = element(fields, tag)?.1;
    }
    element(fields, SEQUENCE).map(|(key, _)| key.whole)
}

/// When a certificate ends (RFC 5280 §4.1.2.5).
pub fn not_after(certificate: &[u8]) -> Option<Tai> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let (validity, _) = element(from_validity(certificate)?, SEQUENCE)?;
    let time = |bytes| element(bytes, UTC_TIME).or_else(|| element(bytes, GENERALIZED_TIME));
    let (_, rest) = time(validity.content)?;
    let text = str::from_utf8(time(rest)?.0.content).ok()?;
    let (year, rest) = match text.len() {
        // Two digits of the year: from 1950 to 2049.
        13 => {
            let (year, rest) = text.split_at_checked(2)?;
            (if year < "50" { format!("20{year}") } else { format!("19{year}") }, rest)
        }
        15 => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.to_string(), rest)
        }
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2);
    let (month, day) = (part(0)?, part(2)?);
    let (hour, minute, second) = (part(4)?, part(6)?, part(8)?);
    Tai::from_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}{}", rest.get(10..)?))
}

const SEQUENCE: u8 = 0x30;

/// The fields of a certificate from its validity on.
fn from_validity(certificate: &[u8]) -> Option<&[u8]> {
    const VERSION: u8 = 0xa0;
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) =
        element(certificate.content, SEQUENCE).map(|(of, rest)| (of.content, rest))?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields, VERSION)?.1;
    }
    // serialNumber, signature, issuer
    for tag in [0x02, SEQUENCE, SEQUENCE] {
        fields = element(fields, tag)?.1;
    }
    Some(fields)
}

struct Element<'a> {
    whole: &'a [u8],
    content: &'a [u8],
}

/// Splits one DER element of the given tag off the front (X.690 §8.1, §10.1).
fn element(bytes: &[u8], tag: u8) -> Option<(Element<'_>, &[u8])> {
    let [found, first, ..] = *bytes.first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (header, length) = if first < 0x80 {
        (2, usize::from(first))
    } else {
        let count = usize::from(first & 0x7f);
        let digits = bytes.get(2..2 + count).filter(|_| (1..=4).contains(&count))?;
        (2 + count, digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit)))
    };
    let (whole, rest) = bytes.split_at_checked(header.checked_add(length)?)?;
    Some((Element { whole, content: whole.get(header..)? }, rest))
}

/// The same, with the golden identity where the usual one can't be read: keys that were lost or
/// spoilt on board cost no contact. Whether it is the golden one comes with it.
///
/// # Errors
/// Those of the usual identity where there is no golden one, else of both.
pub fn client_config_or_golden(
    (certificate, key): (&Path, &Path),
    golden: Option<(&Path, &Path)>,
    pins: Vec<[u8; 32]>,
) -> anyhow::Result<(ClientConfig, bool)> {
    let lost = match (client_config(certificate, key, pins.clone()), golden) {
        (Ok(usual), _) => return Ok((usual, false)),
        (Err(error), None) => return Err(error),
        (Err(error), Some(_)) => error,
    };
    let (certificate, key) = golden.context("a golden identity")?;
    let config = client_config(certificate, key, pins)
        .with_context(|| format!("{lost:#}; and the golden identity in its place"))?;
    tracing::error!("{lost:#}; the golden identity takes its place");
    Ok((config, true))
}

/// TLS 1.3 with our identity and the station's pins.
///
/// # Errors
/// Files that can't be read, or do not belong together.
pub fn client_config(
    certificate: &Path,
    key: &Path,
    pins: Vec<[u8; 32]>,
) -> anyhow::Result<ClientConfig> {
    let unreadable = |path: &Path, what: &str| {
        format!(
            "{}: no readable {what}; `groundstation init` and `enroll` write them",
            path.display()
        )
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| unreadable(certificate, "certificate"))?;
    anyhow::ensure!(!chain.is_empty(), unreadable(certificate, "certificate"));
    let secret = PrivateKeyDer::from_pem_file(key).with_context(|| unreadable(key, "key"))?;
    client_tls(chain, secret, pins).with_context(|| {
        format!("{} and {} don't belong together", certificate.display(), key.display())
    })
}

/// The same of an identity that was read already.
///
/// # Errors
/// The certificate and the key do not belong together.
pub fn client_tls(
    chain: Vec<CertificateDer<'static>>,
    secret: PrivateKeyDer<'static>,
    pins: Vec<[u8; 32]>,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Pinned { pins, provider: provider.clone() };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain, secret)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A ticket's age would need a clock, and 0-RTT is never used.
    config.resumption = Resumption::disabled();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_key_is_found_in_certificates_and_nowhere_else() {
        let signer = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["station".into()]).unwrap();
        let certificate = parameters.self_signed(&signer).unwrap();
        let der = certificate.der();
        use rcgen::PublicKeyData;
        assert_eq!(public_key_info(der), Some(&signer.subject_public_key_info()[..]));
        for cut in 0..der.len() {
            let found = public_key_info(&der[..cut]);
            assert!(found.is_none(), "cut at {cut}");
        }
        assert_eq!(public_key_info(b"\x30\x84\xff\xff\xff\xff"), None);
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_forms() {
        let signer = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        for (year, end) in [(2031, "2031-02-28T00:00:00Z"), (2061, "2061-02-28T00:00:00Z")] {
            let mut parameters = rcgen::CertificateParams::new(vec!["station".into()]).unwrap();
            parameters.not_after = rcgen::date_time_ymd(year, 2, 28);
            let certificate = parameters.self_signed(&signer).unwrap();
            assert_eq!(not_after(certificate.der()), Tai::from_rfc3339(end));
            let der = certificate.der();
            assert!((0..der.len()).all(|cut| not_after(&der[..cut]).is_none()));
        }
    }

    #[test]
    fn no_clock_of_a_spacecraft_decides_whom_it_trusts() {
        let provider = Arc::new(ring::default_provider());
        let signer = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["station".into()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(2031, 1, 1);
        let certificate = parameters.self_signed(&signer).unwrap();
        use rcgen::PublicKeyData;
        let pin: [u8; 32] = Sha256::digest(signer.subject_public_key_info()).into();
        let name = ServerName::try_from("station").unwrap();
        let year = Duration::from_secs(365 * 86_400);
        for years in [0, 56, 129] {
            let now = UnixTime::since_unix_epoch(years * year);
            let verify = |pins| {
                let verifier = Pinned { pins, provider: provider.clone() };
                verifier.verify_server_cert(certificate.der(), &[], &name, &[], now)
            };
            assert!(verify(vec![pin]).is_ok(), "{years} years after 1970");
            assert!(verify(vec![[0; 32]]).is_err(), "{years} years after 1970, another key");
        }
    }

    #[test]
    fn a_missing_key_says_where_keys_come_from() {
        let error = client_config(Path::new("no.crt"), Path::new("no.key"), vec![]).unwrap_err();
        assert!(format!("{error:#}").contains("groundstation init"), "{error:#}");
    }
}
