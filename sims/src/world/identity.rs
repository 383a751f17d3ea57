//! Identities that follow from a seed: Ed25519, whose signatures have one length, so that the
//! handshake of a seed always takes the same packets.

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, PublicKeyData as _, date_time_ymd,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use sha2::{Digest as _, Sha256};

use crate::rng::Random;

/// Name of a station in its certificate, which the pin makes meaningless.
pub const SERVER_NAME: &str = "station";

/// What stands before the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410 §7).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// A certificate with its key.
#[derive(Debug)]
pub struct Identity {
    /// The certificate alone.
    pub chain: Vec<CertificateDer<'static>>,
    /// Digest of the public key, as it is pinned and enrolled.
    pub key_hash: [u8; 32],
    key: Vec<u8>,
}

impl Identity {
    /// The key.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key_hash: self.key_hash, key: self.key.clone() }
    }
}

/// Signs the identities of one world.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    seed: u64,
}

impl Authority {
    /// The authority of a seed.
    ///
    /// # Errors
    /// The library refuses what it is told, which no seed makes it do.
    pub fn new(seed: u64) -> anyhow::Result<Self> {
        let key = pair(&pkcs8(seed, "authority"))?;
        let mut params = dated(CertificateParams::default());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).context("an authority")?.der().clone();
        Ok(Self { issuer: Issuer::new(params, key), certificate, seed })
    }

    /// What a station trusts.
    ///
    /// # Errors
    /// The library does not take the authority's certificate.
    pub fn roots(&self) -> anyhow::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).context("an authority")?;
        Ok(roots)
    }

    /// A station's identity.
    ///
    /// # Errors
    /// As for the authority.
    pub fn station(&self, name: &str) -> anyhow::Result<Identity> {
        self.issue(name, SERVER_NAME, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// The identity of a spacecraft or an edge.
    ///
    /// # Errors
    /// As for the authority.
    pub fn client(&self, name: &str) -> anyhow::Result<Identity> {
        // One length for all: what a name is long must not move a packet.
        self.issue(name, "client", ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// The domain's key, with which a station signs what goes up by radio: the secret half, and the
    /// public one that spacecraft believe.
    ///
    /// # Errors
    /// As for the authority.
    pub fn domain(&self) -> anyhow::Result<([u8; 32], [u8; 32])> {
        let key = pkcs8(self.seed, "domain");
        let secret = key.last_chunk().copied().context("an Ed25519 key")?;
        let pair = pair(&key)?;
        Ok((secret, pair.public_key_raw().try_into().context("an Ed25519 key")?))
    }

    fn issue(
        &self,
        purpose: &str,
        subject: &str,
        usage: ExtendedKeyUsagePurpose,
    ) -> anyhow::Result<Identity> {
        let key = pkcs8(self.seed, purpose);
        let pair = pair(&key)?;
        let mut params = dated(CertificateParams::new(vec![subject.to_owned()])?);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&pair, &self.issuer).context("an identity")?;
        let key_hash = Sha256::digest(pair.subject_public_key_info()).into();
        Ok(Identity { chain: vec![certificate.der().clone()], key_hash, key })
    }
}

/// Valid for as long as scenarios fly.
fn dated(mut params: CertificateParams) -> CertificateParams {
    params.not_before = date_time_ymd(1980, 1, 1);
    params.not_after = date_time_ymd(2200, 1, 1);
    params
}

fn pkcs8(seed: u64, purpose: &str) -> Vec<u8> {
    let mut random = Random::new(seed, purpose);
    let secret = (0..4).flat_map(|_| random.bits().to_be_bytes());
    PKCS8.into_iter().chain(secret).collect()
}

fn pair(key: &[u8]) -> anyhow::Result<KeyPair> {
    let key = PrivatePkcs8KeyDer::from(key);
    KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ED25519).context("an Ed25519 key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_identities_and_another_others() {
        let hashes = |seed| {
            let authority = Authority::new(seed).unwrap();
            let of = |identity: Identity| (identity.key_hash, identity.chain);
            [of(authority.station("a").unwrap()), of(authority.client("a 2").unwrap())]
        };
        assert_eq!(hashes(1), hashes(1));
        assert_ne!(hashes(1), hashes(2));
        let [station, client] = hashes(1);
        assert_ne!(station.0, client.0);
    }
}
