//! Who may do what: one table of principal × spacecraft × action, and nothing outside it.

pub mod object;

use codecs::{
    ids::{Origin, SpacecraftId},
    link::{MAX_UNIT_BYTES, custody::RefusalReason, object::ObjectHeader},
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// SHA-256 of a certificate's SubjectPublicKeyInfo: the name of a key, whatever certificate holds
/// it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// Hash of a SubjectPublicKeyInfo in DER.
    pub fn of(spki: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(&Sha256::digest(spki));
        Self(hash)
    }

    /// Reads `sha256:` and 64 hexadecimal digits.
    pub fn from_text(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("sha256:")?;
        let (high, low) = digits.split_at_checked(32)?;
        let (high, low) = (Origin::from_hex(high)?.0, Origin::from_hex(low)?.0);
        let mut hash = [0; 32];
        hash[..16].copy_from_slice(&high);
        hash[16..].copy_from_slice(&low);
        Some(Self(hash))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a principal may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Deliver units that its own store numbered.
    Deliver,
    /// Carry frames in which another store's units travel (RF).
    Carry,
    /// Send uplink objects; an operator's right, never a peer's.
    Command,
}

impl Action {
    /// The name in the station file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deliver => "deliver",
            Self::Carry => "carry",
            Self::Command => "command",
        }
    }
}

/// Someone with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Name in logs.
    pub name: String,
    /// Origin of its store.
    pub origin: Origin,
    /// Spacecraft that it may act for.
    pub spacecraft: BTreeSet<SpacecraftId>,
    /// What it may do for them.
    pub actions: BTreeSet<Action>,
}

impl Principal {
    /// Whether it may do something for a spacecraft.
    pub fn may(&self, action: Action, spacecraft: SpacecraftId) -> bool {
        self.actions.contains(&action) && self.spacecraft.contains(&spacecraft)
    }

    /// Why it may not: who it is, what it may do, and which row of the station file, in the `table`
    /// named, says so.
    pub fn denied(&self, action: Action, spacecraft: SpacecraftId, table: &str) -> String {
        let list = |of: Vec<String>| if of.is_empty() { "none".into() } else { of.join(", ") };
        let actions = list(self.actions.iter().map(|action| action.name().to_owned()).collect());
        let craft = list(self.spacecraft.iter().map(|craft| craft.0.to_string()).collect());
        format!(
            "{} may not {} for spacecraft {}: its row [[{table}]] in the station file says \
             actions {actions}, spacecraft {craft}; change it there and reload",
            self.name,
            action.name(),
            spacecraft.0,
        )
    }
}

/// The table of the station file that peers stand in.
pub const TABLE: &str = "principal";

/// The authorisation table: whoever is not in it is no one.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: BTreeMap<KeyHash, Principal>,
}

impl FromIterator<(KeyHash, Principal)> for Table {
    fn from_iter<I: IntoIterator<Item = (KeyHash, Principal)>>(rows: I) -> Self {
        Self { rows: rows.into_iter().collect() }
    }
}

/// Why something was not let in; each is counted by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The key is in no row.
    #[error("this key is not enrolled here")]
    UnknownKey,
    /// The mission has no such spacecraft.
    #[error("spacecraft {} is not part of this mission", .0.0)]
    UnknownSpacecraft(SpacecraftId),
    /// The principal may not deliver for it.
    #[error("its row does not let it deliver for spacecraft {}", .0.0)]
    Forbidden(SpacecraftId),
    /// A unit or its object breaks a bound or contradicts itself.
    #[error("the object contradicts itself")]
    Malformed,
}

impl Denial {
    /// Name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownKey => "unknown-key",
            Self::UnknownSpacecraft(_) => "unknown-spacecraft",
            Self::Forbidden(_) => "forbidden",
            Self::Malformed => "malformed",
        }
    }

    /// What it says of a peer, for the station's people.
    pub fn told(self, of: &Principal) -> String {
        match self {
            Self::Forbidden(spacecraft) => of.denied(Action::Deliver, spacecraft, TABLE),
            other => other.to_string(),
        }
    }

    /// What the peer is told.
    pub const fn refusal(self) -> RefusalReason {
        match self {
            Self::Malformed => RefusalReason::Malformed,
            _ => RefusalReason::Forbidden,
        }
    }
}

impl Table {
    /// Whose key it is.
    pub fn principal(&self, key: KeyHash) -> Result<&Principal, Denial> {
        self.rows.get(&key).ok_or(Denial::UnknownKey)
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no one may do anything.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Why it is not known whose store a radio speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoStore {
    /// No row may deliver for it as the spacecraft itself.
    #[error("no [[principal]] may deliver for it, that does not carry for others")]
    NotEnrolled,
    /// Rows of several stores may.
    #[error("several stores may deliver for it; name one with `origin`")]
    Ambiguous,
}

impl NoStore {
    /// Name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotEnrolled => "not-enrolled",
            Self::Ambiguous => "ambiguous-store",
        }
    }
}

impl Table {
    /// The store of a spacecraft: the one that may deliver for it and carries for no one, `stated`
    /// among several.
    pub fn store_of(
        &self,
        spacecraft: SpacecraftId,
        stated: Option<Origin>,
    ) -> Result<Origin, NoStore> {
        let own = |row: &&Principal| {
            row.spacecraft.contains(&spacecraft)
                && row.actions.contains(&Action::Deliver)
                && !row.actions.contains(&Action::Carry)
                && stated.is_none_or(|stated| stated == row.origin)
        };
        let mut origins = self.rows.values().filter(own).map(|row| row.origin);
        let first = origins.next().ok_or(NoStore::NotEnrolled)?;
        if origins.any(|other| other != first) {
            return Err(NoStore::Ambiguous);
        }
        Ok(first)
    }

    /// The store of the one of this name that carries for a spacecraft.
    pub fn carrier(&self, name: &str, spacecraft: SpacecraftId) -> Option<Origin> {
        let carries = |row: &&Principal| {
            row.name == name
                && row.spacecraft.contains(&spacecraft)
                && row.actions.contains(&Action::Carry)
        };
        self.rows.values().find(carries).map(|row| row.origin)
    }

    /// Whether frames that `by` numbered may bring units of the `store` of a spacecraft: its own
    /// may, and whoever may carry for it.
    pub fn may_carry(&self, by: Origin, store: Origin, spacecraft: SpacecraftId) -> bool {
        by == store
            || self.rows.values().any(|row| {
                row.origin == by
                    && row.spacecraft.contains(&spacecraft)
                    && row.actions.contains(&Action::Carry)
            })
    }
}

/// Judges an object by its header: admission looks no further.
pub fn judge(
    principal: &Principal,
    mission: &BTreeSet<SpacecraftId>,
    header: &ObjectHeader,
) -> Result<(), Denial> {
    if !mission.contains(&header.spacecraft) {
        return Err(Denial::UnknownSpacecraft(header.spacecraft));
    }
    if !principal.may(Action::Deliver, header.spacecraft) {
        return Err(Denial::Forbidden(header.spacecraft));
    }
    // Each unit takes at least its own header, so a count that lies is known before a unit came.
    let least = u64::from(header.count) * codecs::link::object::UNIT_HEADER_BYTES as u64;
    let most = u64::from(header.count) * (MAX_UNIT_BYTES as u64 + 24);
    if least > u64::from(header.length) || most < u64::from(header.length) {
        return Err(Denial::Malformed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::{
        ids::{Channel, Codec, StoreEpoch},
        time::Tai,
    };

    fn header(spacecraft: u16, count: u32, length: u32) -> ObjectHeader {
        ObjectHeader {
            annotated: false,
            codec: Codec::Squeezed,
            priority: 0,
            epoch: StoreEpoch(1),
            spacecraft: SpacecraftId(spacecraft),
            channel: Channel::stream(1),
            first: 0,
            count,
            length,
            created: Tai(0),
        }
    }

    fn principal(actions: &[Action]) -> Principal {
        Principal {
            name: "sky-7".into(),
            origin: Origin([1; 16]),
            spacecraft: [SpacecraftId(7)].into(),
            actions: actions.iter().copied().collect(),
        }
    }

    #[test]
    fn everything_not_allowed_is_denied() {
        let mission = [SpacecraftId(7), SpacecraftId(8)].into();
        let deliver = principal(&[Action::Deliver]);
        assert_eq!(judge(&deliver, &mission, &header(7, 1, 100)), Ok(()));
        let other = Denial::Forbidden(SpacecraftId(8));
        assert_eq!(judge(&deliver, &mission, &header(8, 1, 100)), Err(other));
        assert_eq!(
            other.told(&deliver),
            "sky-7 may not deliver for spacecraft 8: its row [[principal]] in the station file \
             says actions deliver, spacecraft 7; change it there and reload"
        );
        let unknown = Denial::UnknownSpacecraft(SpacecraftId(9));
        assert_eq!(judge(&deliver, &mission, &header(9, 1, 100)), Err(unknown));
        let carry = principal(&[Action::Carry]);
        let denied = Denial::Forbidden(SpacecraftId(7));
        assert_eq!(judge(&carry, &mission, &header(7, 1, 100)), Err(denied));
        assert_eq!(Table::default().principal(KeyHash([0; 32])), Err(Denial::UnknownKey));
    }

    #[test]
    fn a_count_that_lies_is_denied_by_the_header_alone() {
        let mission = [SpacecraftId(7)].into();
        let deliver = principal(&[Action::Deliver]);
        let malformed = Err(Denial::Malformed);
        assert_eq!(judge(&deliver, &mission, &header(7, u32::MAX, 100)), malformed);
        assert_eq!(judge(&deliver, &mission, &header(7, 13, 100)), malformed);
        assert_eq!(judge(&deliver, &mission, &header(7, 12, 100)), Ok(()));
        assert_eq!(judge(&deliver, &mission, &header(7, 1, 2_000_000)), malformed);
    }

    #[test]
    fn key_hashes_read_their_own_text() {
        let hash = KeyHash::of(b"key");
        assert_eq!(KeyHash::from_text(&hash.to_string()), Some(hash));
        assert_eq!(KeyHash::from_text("sha256:12"), None);
        assert_eq!(KeyHash::from_text("md5:12"), None);
    }
}
