//! What stays in the log of outcomes that left it: their keys, so that nothing is done twice, and
//! their sums.

use super::log::Line;
use super::view::Accounts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use twox_hash::xxhash3_128::Hasher;

/// Bytes of a digest: sixteen letters in the log.
const DIGEST_BYTES: usize = 12;

/// Keys of one line, so that it stays within what a line may have.
pub const KEYS_MAX: usize = 32_768;

/// A key in few bytes. With ten million of them the odds that new work is taken for old are one in
/// 10^21.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest([u8; DIGEST_BYTES]);

impl Digest {
    /// Of a job's key.
    pub fn of(key: &str) -> Self {
        let hash = Hasher::oneshot(key.as_bytes()).to_be_bytes();
        let mut digest = [0; DIGEST_BYTES];
        digest.copy_from_slice(&hash[..DIGEST_BYTES]);
        Self(digest)
    }
}

/// A line of the log about outcomes that are no more in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Past {
    /// Digests of their keys, twelve bytes each, in base64.
    past: String,
    /// When the newest of them was decided, in nanoseconds TAI.
    pub until: i64,
    /// Their sums.
    #[serde(default)]
    pub accounts: Accounts,
}

impl Past {
    /// Of so many keys, [`KEYS_MAX`] at most.
    pub fn new(digests: &[Digest], until: i64, accounts: Accounts) -> Self {
        let bytes: Vec<u8> = digests.iter().flat_map(|digest| digest.0).collect();
        Self { past: STANDARD_NO_PAD.encode(bytes), until, accounts }
    }

    /// The digests; none where they can't be read.
    pub fn digests(&self) -> Option<Vec<Digest>> {
        let bytes = STANDARD_NO_PAD.decode(&self.past).ok()?;
        let (digests, rest) = bytes.as_chunks::<DIGEST_BYTES>();
        rest.is_empty().then(|| digests.iter().map(|digest| Digest(*digest)).collect())
    }
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    /// Of one job.
    Line(Box<Line>),
    /// Of those that left.
    Past(Past),
}

impl Entry {
    /// Reads a line; none where it is cut short or no line of a job log.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if let Some(line) = Line::decode(bytes) {
            return Some(Self::Line(Box::new(line)));
        }
        let past: Past = serde_json::from_slice(bytes.strip_suffix(b"\n")?).ok()?;
        past.digests().map(|_| Self::Past(past))
    }
}

impl Past {
    /// The bytes to write, newline included.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::log::{LINE_BYTES_MAX, State};
    use codecs::time::Tai;

    #[test]
    fn keys_and_sums_come_back_and_what_is_damaged_does_not() {
        let digests: Vec<Digest> =
            (0..KEYS_MAX).map(|at| Digest::of(&format!("cloud-mask/1:{at}"))).collect();
        let mut accounts = Accounts::default();
        accounts.add(&Line::new("k", "t/1", State::Done, Tai(1)));
        let past = Past::new(&digests, 7, accounts);
        let bytes = past.encode();
        assert!(bytes.len() < LINE_BYTES_MAX, "{}", bytes.len());
        let Some(Entry::Past(read)) = Entry::decode(&bytes) else { panic!("no entry") };
        assert_eq!((read.digests(), &read.accounts), (Some(digests), &past.accounts));
        for cut in [0, 1, 20, bytes.len() / 2, bytes.len() - 1] {
            assert_eq!(Entry::decode(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(Entry::decode(b"{\"past\":\"AAAA\",\"until\":1}\n"), None, "no whole digest");
        assert_eq!(Entry::decode(b"{\"past\":\"*\",\"until\":1}\n"), None);
    }
}
