//! The domain's key: what it signs, spacecraft believe.

use crate::config::Config;
use anyhow::{Context as _, ensure};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};

/// What every PKCS #8 form of an Ed25519 key has between its version and the key (RFC 8410 §7).
const ED25519: [u8; 11] = [0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The key, where something is said over the air.
pub fn read(config: &Config) -> anyhow::Result<Option<[u8; 32]>> {
    if config.radios().iter().all(|radio| radio.up.is_none()) {
        return Ok(None);
    }
    let Some(path) = config.identity.domain_key.as_ref().map(|path| config.path(path)) else {
        return Ok(None);
    };
    let what = || format!("domain key {} (config key identity.domain_key)", path.display());
    let pem = PrivateKeyDer::from_pem_file(&path).with_context(what)?;
    let key = ed25519(pem.secret_der());
    ensure!(
        key.is_some(),
        "{}: no Ed25519 key; `openssl genpkey -algorithm ed25519` makes one",
        what()
    );
    Ok(key)
}

fn ed25519(pkcs8: &[u8]) -> Option<[u8; 32]> {
    // SEQUENCE, its length in one byte, INTEGER version.
    let [0x30, _, 0x02, 0x01, _, rest @ ..] = pkcs8 else { return None };
    rest.strip_prefix(&ED25519)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_either_form_is_read_and_no_other() {
        // RFC 8410 §10.3: the same key without and with its public half.
        let head = "302e020100300506032b657004220420";
        let key = "d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842";
        let with = "3072020101300506032b657004220420";
        let bytes = |hex: &str| -> Vec<u8> {
            let digits = hex.as_bytes().chunks(2);
            digits.map(|of| u8::from_str_radix(str::from_utf8(of).unwrap(), 16).unwrap()).collect()
        };
        let wanted = Some(bytes(key).try_into().unwrap());
        assert_eq!(ed25519(&bytes(&format!("{head}{key}"))), wanted);
        assert_eq!(ed25519(&bytes(&format!("{with}{key}a01f301d"))), wanted);
        let made = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        assert!(ed25519(made.serialized_der()).is_some());
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        assert_eq!(ed25519(other.serialized_der()), None);
        let whole = bytes(&format!("{head}{key}"));
        assert!((0..whole.len()).all(|end| ed25519(&whole[..end]).is_none()));
    }
}
