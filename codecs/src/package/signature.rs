//! Digests, detached signatures, and whose signature counts.

use alloc::{collections::BTreeSet, string::String, vec::Vec};
use core::{fmt, str::FromStr};

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

/// Public half of the development key whose private half stands in the training folder.
///
/// Anyone can sign with it, so it proves nothing but that a package was not damaged. Only
/// [`Trust::danger_accept_development_key`] accepts it.
pub const DEVELOPMENT_KEY: PublicKey = PublicKey(DEVELOPMENT_KEY_BYTES);

const DEVELOPMENT_KEY_BYTES: [u8; 32] = [
    0xee, 0x20, 0x3b, 0x7e, 0xd2, 0x38, 0x5e, 0x67, 0xec, 0x4c, 0xd3, 0xbf, 0x80, 0x03, 0x49, 0x59,
    0x63, 0x61, 0x5b, 0xfe, 0x21, 0x44, 0xf1, 0x79, 0xdd, 0xe8, 0x1f, 0x99, 0x28, 0x59, 0x91, 0x8c,
];

/// What stands before the manifest in the signed bytes, so that a signature made for something
/// else can never be passed off as one for a package.
const DOMAIN: &[u8] = b"groundtrack model package 1\0";

/// Why text is not the hexadecimal form of so many bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {wanted} lower-case hexadecimal digits, found {found:?}")]
pub struct HexError {
    /// Digits wanted.
    pub wanted: usize,
    /// The text found, cut at 80 characters.
    pub found: String,
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let error = || HexError { wanted: N * 2, found: text.chars().take(80).collect() };
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(error()),
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return Err(error());
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Ok(bytes)
}

fn write_hex(bytes: &[u8], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

/// A SHA-256 digest, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

/// An Ed25519 public key, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

macro_rules! hexadecimal {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, out)
            }
        }

        impl FromStr for $name {
            type Err = HexError;

            fn from_str(text: &str) -> Result<Self, HexError> {
                parse_hex(text).map(Self)
            }
        }

        #[cfg(feature = "mission")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.collect_str(self)
            }
        }

        #[cfg(feature = "mission")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
hexadecimal!(Digest);
hexadecimal!(PublicKey);

/// How a signature was made. Named in the file, so that another can stand beside it later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// Ed25519 as in RFC 8032, verified strictly: no small-order keys, no malleable signatures.
    Ed25519,
}

impl Algorithm {
    /// The identifier in the signature file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
        }
    }

    /// Reads the identifier; `None` for one this build does not know.
    pub fn from_name(name: &str) -> Option<Self> {
        (name == Self::Ed25519.name()).then_some(Self::Ed25519)
    }
}

/// One detached signature over a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// How it was made.
    pub algorithm: Algorithm,
    /// The key that is said to have made it.
    pub key: PublicKey,
    /// The signature itself.
    pub bytes: [u8; 64],
}

/// The bytes that are signed: a domain, then the manifest as it stands.
pub fn signed_message(manifest: &[u8]) -> Vec<u8> {
    [DOMAIN, manifest].concat()
}

/// Signs a manifest with an Ed25519 private key (RFC 8032's 32-byte seed).
pub fn sign(manifest: &[u8], private_key: &[u8; 32]) -> Signature {
    let key = SigningKey::from_bytes(private_key);
    Signature {
        algorithm: Algorithm::Ed25519,
        key: PublicKey(key.verifying_key().to_bytes()),
        bytes: key.sign(&signed_message(manifest)).to_bytes(),
    }
}

impl Signature {
    /// Whether the named key made this signature for this manifest.
    pub fn verifies(&self, manifest: &[u8]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&self.bytes);
        VerifyingKey::from_bytes(&self.key.0)
            .is_ok_and(|key| key.verify_strict(&signed_message(manifest), &signature).is_ok())
    }
}

/// Why a signature file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It is longer than [`super::MAX_SIGNATURE_BYTES`].
    #[error("{bytes} bytes; at most {} are read", super::MAX_SIGNATURE_BYTES)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is not the JSON that a signature file is.
    #[error("not a signature file: {0}")]
    Syntax(String),
    /// More signatures than [`super::MAX_SIGNATURES`].
    #[error("{count} signatures; at most {} are read", super::MAX_SIGNATURES)]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

#[cfg(feature = "mission")]
mod file {
    use super::*;

    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        algorithm: String,
        key: String,
        signature: String,
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        signatures: Vec<Entry>,
    }

    struct Hex<'a>(&'a [u8]);

    impl fmt::Display for Hex<'_> {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_hex(self.0, out)
        }
    }

    impl Signature {
        /// Reads a signature file.
        ///
        /// A signature by an algorithm that this build does not know is left out, not an error:
        /// a package may carry an older and a newer kind side by side.
        pub fn list_from_json(json: &[u8]) -> Result<Vec<Self>, SignatureError> {
            if json.len() > super::super::MAX_SIGNATURE_BYTES {
                return Err(SignatureError::TooLong { bytes: json.len() });
            }
            let syntax =
                |error: &dyn fmt::Display| SignatureError::Syntax(alloc::format!("{error}"));
            let file: File = serde_json::from_slice(json).map_err(|error| syntax(&error))?;
            if file.signatures.len() > super::super::MAX_SIGNATURES {
                return Err(SignatureError::TooMany { count: file.signatures.len() });
            }
            let mut signatures = Vec::new();
            for entry in file.signatures {
                let Some(algorithm) = Algorithm::from_name(&entry.algorithm) else { continue };
                signatures.push(Self {
                    algorithm,
                    key: entry.key.parse().map_err(|error| syntax(&error))?,
                    bytes: parse_hex(&entry.signature).map_err(|error| syntax(&error))?,
                });
            }
            Ok(signatures)
        }

        /// Writes a signature file.
        pub fn list_to_json(signatures: &[Self]) -> String {
            let entry = |signature: &Self| Entry {
                algorithm: signature.algorithm.name().into(),
                key: alloc::format!("{}", signature.key),
                signature: alloc::format!("{}", Hex(&signature.bytes)),
            };
            let file = File { signatures: signatures.iter().map(entry).collect() };
            serde_json::to_string_pretty(&file).unwrap_or_default() + "\n"
        }
    }
}

/// The keys whose signature makes a package acceptable. Nobody's, until told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    keys: BTreeSet<PublicKey>,
    development: bool,
}

/// Why no signature of a package counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// There is no signature by an algorithm that this build knows.
    #[error("no signature by a known algorithm (this build knows ed25519)")]
    Unsigned,
    /// The signature is the published development key's, which proves nothing.
    #[error(
        "signed with the published development key only; sign it with your own key, or accept \
         that key knowingly (danger_accept_development_key)"
    )]
    DevelopmentKey,
    /// Signed, but by none of the accepted keys.
    #[error("signed by {key}, which is not among the {accepted} accepted keys")]
    UnknownKey {
        /// The first signer.
        key: PublicKey,
        /// How many keys are accepted.
        accepted: usize,
    },
    /// An accepted key's name stands there, but its signature is not for these bytes.
    #[error(
        "the signature by {key} in signature.json does not fit manifest.json: one of the two was \
         changed"
    )]
    Forged {
        /// The accepted key.
        key: PublicKey,
    },
}

impl Trust {
    /// Trusts nobody.
    pub fn nobody() -> Self {
        Self::default()
    }

    /// Also accepts packages signed by this key.
    ///
    /// The development key is not accepted this way: it stays refused unless it is asked for by
    /// its own name.
    #[must_use]
    pub fn accept(mut self, key: PublicKey) -> Self {
        self.keys.insert(key);
        self
    }

    /// Also accepts the published development key, with which anyone can sign anything.
    #[must_use]
    pub fn danger_accept_development_key(mut self) -> Self {
        self.development = true;
        self
    }

    fn accepts(&self, key: PublicKey) -> bool {
        if key == DEVELOPMENT_KEY { self.development } else { self.keys.contains(&key) }
    }

    /// The accepted key that signed this manifest.
    pub fn check(
        &self,
        manifest: &[u8],
        signatures: &[Signature],
    ) -> Result<PublicKey, TrustError> {
        let first = signatures.first().ok_or(TrustError::Unsigned)?;
        let mut accepted = signatures.iter().filter(|signature| self.accepts(signature.key));
        let Some(candidate) = accepted.clone().next() else {
            if signatures.iter().all(|signature| signature.key == DEVELOPMENT_KEY) {
                return Err(TrustError::DevelopmentKey);
            }
            let count = self.keys.len() + usize::from(self.development);
            return Err(TrustError::UnknownKey { key: first.key, accepted: count });
        };
        accepted
            .find(|signature| signature.verifies(manifest))
            .map(|signature| signature.key)
            .ok_or(TrustError::Forged { key: candidate.key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u8; 32] = [7; 32];

    #[test]
    fn the_signature_is_rfc_8032s() {
        // Section 7.1, test 2: the key pair, so that other tools can sign for us.
        let seed = parse_hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let key = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        assert_eq!(sign(b"", &seed.unwrap()).key, key.parse().unwrap());
    }

    #[test]
    fn only_an_accepted_key_counts() {
        let signature = sign(b"manifest", &SEED);
        let ours = Trust::nobody().accept(signature.key);
        let list = [signature.clone()];
        assert_eq!(ours.check(b"manifest", &list), Ok(signature.key));
        assert_eq!(ours.check(b"manifesto", &list), Err(TrustError::Forged { key: signature.key }));
        assert_eq!(
            Trust::nobody().check(b"manifest", &list),
            Err(TrustError::UnknownKey { key: signature.key, accepted: 0 })
        );
        assert_eq!(ours.check(b"manifest", &[]), Err(TrustError::Unsigned));
    }

    #[test]
    fn every_flipped_bit_of_a_signature_is_noticed() {
        let signature = sign(b"manifest", &SEED);
        for bit in 0..512 {
            let mut forged = signature.clone();
            forged.bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!forged.verifies(b"manifest"), "bit {bit}");
        }
    }

    #[test]
    fn the_development_key_needs_its_own_word() {
        let seed = Digest::of(b"groundtrack development key: published, trust it with nothing").0;
        let signature = sign(b"manifest", &seed);
        assert_eq!(signature.key, DEVELOPMENT_KEY);
        let list = [signature];
        let named = Trust::nobody().accept(DEVELOPMENT_KEY);
        assert_eq!(named.check(b"manifest", &list), Err(TrustError::DevelopmentKey));
        let danger = Trust::nobody().danger_accept_development_key();
        assert_eq!(danger.check(b"manifest", &list), Ok(DEVELOPMENT_KEY));
    }

    #[test]
    #[cfg(feature = "mission")]
    fn signature_files_round_trip_and_skip_unknown_algorithms() {
        let list = [sign(b"a", &SEED), sign(b"a", &[8; 32])];
        let json = Signature::list_to_json(&list);
        assert_eq!(Signature::list_from_json(json.as_bytes()).unwrap(), list);
        let newer = json.replacen("ed25519", "ml-dsa-65", 1);
        assert_eq!(Signature::list_from_json(newer.as_bytes()).unwrap(), list[1..]);
        for end in 0..json.trim_end().len() {
            let cut = &json.as_bytes()[..end];
            assert!(matches!(Signature::list_from_json(cut), Err(SignatureError::Syntax(_))));
        }
        let long = alloc::vec![b' '; super::super::MAX_SIGNATURE_BYTES + 1];
        assert!(matches!(Signature::list_from_json(&long), Err(SignatureError::TooLong { .. })));
    }

    #[test]
    fn hexadecimal_is_strict() {
        assert!("ab".parse::<Digest>().is_err());
        let good = "0123456789abcdef".repeat(4);
        assert_eq!(alloc::format!("{}", good.parse::<Digest>().unwrap()), good);
        assert!(good.to_uppercase().parse::<Digest>().is_err());
        assert!(alloc::format!("{good}0").parse::<Digest>().is_err());
    }
}
