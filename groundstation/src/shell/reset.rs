//! Stateless resets that outlive the daemon (RFC 9000 §10.3): after a crash the new daemon can tell
//! peers of the old one that their connection is gone, instead of leaving them to the idle timeout.

use crate::config::Config;
use anyhow::Context as _;
use codecs_quic::Strays;
use quinn::{
    EndpointConfig,
    crypto::{CryptoError, HmacKey},
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Bytes of a SHA-256 block (FIPS 180-4 §1).
const BLOCK_BYTES: usize = 64;
const DIGEST_BYTES: usize = 32;

/// HMAC with SHA-256 (RFC 2104).
struct Hmac {
    inner: Sha256,
    outer: Sha256,
}

impl Hmac {
    /// A key of at most a block.
    fn new(key: &[u8; DIGEST_BYTES]) -> Self {
        let padded = |pad: u8| {
            let mut block = [pad; BLOCK_BYTES];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            Sha256::new_with_prefix(block)
        };
        Self { inner: padded(0x36), outer: padded(0x5c) }
    }

    fn of(&self, data: &[u8]) -> [u8; DIGEST_BYTES] {
        let inner = self.inner.clone().chain_update(data).finalize();
        self.outer.clone().chain_update(inner).finalize().into()
    }
}

impl HmacKey for Hmac {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(&self.of(data));
    }

    fn signature_len(&self) -> usize {
        DIGEST_BYTES
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        // Every byte is looked at, so that time tells nothing about the first wrong one.
        let expected = self.of(data);
        let differs = expected.iter().zip(signature).fold(0, |sum, (a, b)| sum | (a ^ b));
        if signature.len() == expected.len() && differs == 0 { Ok(()) } else { Err(CryptoError) }
    }
}

/// An endpoint whose reset tokens and connection ids follow from the station's key alone, and what
/// it counts of datagrams that have no such id.
pub fn endpoint_config(config: &Config) -> anyhow::Result<(EndpointConfig, Arc<Strays>)> {
    let path = config.path(&config.identity.key);
    let key = PrivateKeyDer::from_pem_file(&path)
        .with_context(|| format!("key {}: no private key in PEM", path.display()))?;
    Ok(from_key(key.secret_der()))
}

/// The same from the bytes of a key.
pub fn from_key(key: &[u8]) -> (EndpointConfig, Arc<Strays>) {
    let derive = |purpose: &[u8]| -> [u8; DIGEST_BYTES] {
        Sha256::new_with_prefix(purpose).chain_update(key).finalize().into()
    };
    let mut endpoint = EndpointConfig::new(Arc::new(Hmac::new(&derive(b"groundtrack reset"))));
    // Only ids that this generator could have made are answered with a reset.
    let [a, b, c, d, e, f, g, h, ..] = derive(b"groundtrack connection ids");
    let ids = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let strays = Strays::of(ids, &mut endpoint);
    (endpoint, strays)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authenticates_as_the_standard_does() {
        // RFC 4231, test case 1, its key of 20 bytes padded with zeros to the length taken here.
        let mut key = [0; DIGEST_BYTES];
        key[..20].fill(0x0b);
        let hmac = Hmac::new(&key);
        let mut signature = [0; DIGEST_BYTES];
        hmac.sign(b"Hi There", &mut signature);
        let hex: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
        assert!(hmac.verify(b"Hi There", &signature).is_ok());
        assert!(hmac.verify(b"Hi there", &signature).is_err());
        assert!(hmac.verify(b"Hi There", &signature[..16]).is_err());
    }
}
