//! What each peer may have of the station's memory and time.

use crate::{admit::KeyHash, config::PrincipalConfig};
use codecs::link::profile::Profile;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Credit of a connection before its hello: enough for the hello of a spacecraft with many
/// channels, and all that a peer without a session can fill.
pub const FIRST_CREDIT_BYTES: u32 = 256 << 10;
/// Least credit of a session: one object in flight, at a crawl.
const CREDIT_BYTES_MIN: u64 = 256 << 10;
/// Greatest credit: a quarter of the sum that the transport can count in a small field.
const CREDIT_BYTES_MAX: u64 = 1 << 30;

/// Bounds on what peers take, `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Bytes that all peers together may have under way to the archive: the sum of their QUIC
    /// credit. A principal without `credit_bytes` gets an even share, at most the profile's
    /// window.
    pub receive_bytes: u64,
    /// Handshakes a second, after a burst of `listen.connections_max`.
    pub handshakes_per_s: u64,
    /// Of those, from one address (IPv6: one /64).
    pub address_handshakes_per_s: u64,
    /// Object streams a second of one session; more wait.
    pub objects_per_s: u64,
    /// Connections at once with one key, sessions or not.
    pub connections_per_key: usize,
    /// Bits of object streams a second of one session; more wait. None: as fast as they come.
    pub rate_bps: Option<u64>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            receive_bytes: 256 << 20,
            handshakes_per_s: 50,
            address_handshakes_per_s: 5,
            objects_per_s: 2_000,
            connections_per_key: 4,
            rate_bps: None,
        }
    }
}

impl LimitsConfig {
    /// The first value that can't be, by its key, and what would be right.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let bounds = [
            ("limits.handshakes_per_s", self.handshakes_per_s, 1_000_000),
            ("limits.address_handshakes_per_s", self.address_handshakes_per_s, 1_000_000),
            ("limits.objects_per_s", self.objects_per_s, 1_000_000),
            ("limits.connections_per_key", self.connections_per_key as u64, 1_000_000),
            ("limits.rate_bps", self.rate_bps.unwrap_or(1_000), 1_000_000_000_000),
            ("limits.receive_bytes", self.receive_bytes, 1 << 40),
        ];
        match bounds.iter().find(|(_, value, most)| !(1..=*most).contains(value)) {
            Some((key, ..)) => Err((key, "must be a positive number within reason")),
            None => Ok(()),
        }
    }
}

/// What one principal may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// QUIC credit of its session.
    pub credit_bytes: u32,
    /// Bits a second that are read of its objects.
    pub rate_bps: Option<u64>,
}

/// What each key may have. One origin has one session, so rows of one origin share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    by_key: BTreeMap<KeyHash, Share>,
    /// The most that all sessions at once may have.
    pub sum_bytes: u64,
}

/// Why the budget can't be split.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SharesError {
    /// It is too small.
    #[error(
        "limits.receive_bytes: {have} bytes are too few for {origins} stores and \
         {connections_max} connections; at least {need} are needed, or fewer rows, or a smaller \
         credit_bytes in their rows"
    )]
    TooSmall {
        /// What the file says.
        have: u64,
        /// What it takes.
        need: u64,
        /// Different origins in the table.
        origins: usize,
        /// Connections at once.
        connections_max: usize,
    },
    /// A row asks for what can't be.
    #[error(
        "principal {name}: credit_bytes: must be from {CREDIT_BYTES_MIN} to {CREDIT_BYTES_MAX}"
    )]
    Credit {
        /// Whose row.
        name: String,
    },
}

impl Shares {
    /// Splits the budget over the table.
    pub fn of(
        limits: &LimitsConfig,
        principals: &[PrincipalConfig],
        profile: &Profile,
        connections_max: usize,
    ) -> Result<Self, SharesError> {
        let mut declared: BTreeMap<&str, u64> = BTreeMap::new();
        let mut origins: BTreeSet<&str> = BTreeSet::new();
        for row in principals {
            origins.insert(&row.origin);
            let Some(credit) = row.credit_bytes else { continue };
            if !(CREDIT_BYTES_MIN..=CREDIT_BYTES_MAX).contains(&credit) {
                return Err(SharesError::Credit { name: row.name.clone() });
            }
            let of_origin = declared.entry(&row.origin).or_default();
            *of_origin = credit.max(*of_origin);
        }
        let first = u64::from(FIRST_CREDIT_BYTES) * connections_max as u64;
        let fixed: u64 = first + declared.values().sum::<u64>();
        let even = origins.iter().filter(|origin| !declared.contains_key(*origin)).count() as u64;
        let need = fixed + even * CREDIT_BYTES_MIN;
        if limits.receive_bytes < need {
            let (have, origins) = (limits.receive_bytes, origins.len());
            return Err(SharesError::TooSmall { have, need, origins, connections_max });
        }
        let each = (limits.receive_bytes - fixed)
            .checked_div(even)
            .unwrap_or_default()
            .min(u64::from(profile.connection_window_bytes));
        let by_key = principals.iter().filter_map(|row| {
            let credit = declared.get(row.origin.as_str()).copied().unwrap_or(each);
            let rate_bps = row.rate_bps.or(limits.rate_bps);
            Some((KeyHash::from_text(&row.key)?, Share { credit_bytes: credit as u32, rate_bps }))
        });
        Ok(Self { by_key: by_key.collect(), sum_bytes: fixed + even * each })
    }

    /// What a key may have; nothing is known of a key without a row, and it gets the least.
    pub fn of_key(&self, key: KeyHash) -> Share {
        let least = Share { credit_bytes: FIRST_CREDIT_BYTES, rate_bps: None };
        self.by_key.get(&key).copied().unwrap_or(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::link::profile::{GEO, LEO};

    fn row(number: u8, origin: u8, credit_bytes: Option<u64>) -> PrincipalConfig {
        PrincipalConfig {
            name: format!("p{number}"),
            key: format!("sha256:{}", format!("{number:02x}").repeat(32)),
            origin: format!("{origin:02x}").repeat(16),
            spacecraft: vec![7],
            actions: Vec::new(),
            credit_bytes,
            rate_bps: None,
        }
    }

    fn key(number: u8) -> KeyHash {
        KeyHash([number; 32])
    }

    #[test]
    fn the_sum_of_all_shares_stays_within_the_budget() {
        let limits = LimitsConfig::default();
        for count in [0u8, 1, 4, 100] {
            let rows: Vec<_> = (0..count).map(|number| row(number, number, None)).collect();
            for profile in [LEO, GEO] {
                let shares = Shares::of(&limits, &rows, &profile, 64).unwrap();
                let sessions: u64 =
                    (0..count).map(|n| u64::from(shares.of_key(key(n)).credit_bytes)).sum();
                let all = sessions + 64 * u64::from(FIRST_CREDIT_BYTES);
                assert_eq!(all, shares.sum_bytes);
                assert!(all <= limits.receive_bytes, "{count} of {}", profile.name);
            }
        }
        let few = Shares::of(&limits, &[row(1, 1, None)], &LEO, 64).unwrap();
        assert_eq!(few.of_key(key(1)).credit_bytes, LEO.connection_window_bytes);
    }

    #[test]
    fn a_declared_credit_comes_first_and_rolled_keys_share_one() {
        let limits = LimitsConfig { receive_bytes: 64 << 20, ..LimitsConfig::default() };
        let rows = [row(1, 1, Some(40 << 20)), row(2, 1, None), row(3, 3, None)];
        let shares = Shares::of(&limits, &rows, &GEO, 16).unwrap();
        assert_eq!(shares.of_key(key(1)).credit_bytes, 40 << 20);
        assert_eq!(shares.of_key(key(2)).credit_bytes, 40 << 20);
        assert_eq!(shares.of_key(key(3)).credit_bytes, 20 << 20);
        assert_eq!(shares.of_key(key(9)).credit_bytes, FIRST_CREDIT_BYTES);
    }

    #[test]
    fn a_budget_that_does_not_suffice_says_what_would() {
        let limits = LimitsConfig { receive_bytes: 1 << 20, ..LimitsConfig::default() };
        let error = Shares::of(&limits, &[row(1, 1, None)], &LEO, 64).unwrap_err();
        let SharesError::TooSmall { need, .. } = error else { panic!("{error}") };
        let enough = LimitsConfig { receive_bytes: need, ..limits };
        assert!(Shares::of(&enough, &[row(1, 1, None)], &LEO, 64).is_ok());
        let absurd = Shares::of(&enough, &[row(1, 1, Some(1))], &LEO, 1).unwrap_err();
        assert!(absurd.to_string().starts_with("principal p1: credit_bytes: must be from"));
    }
}
