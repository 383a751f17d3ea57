//! Contacts: stretches of time in which something was received of a spacecraft.

use codecs::{ids::SpacecraftId, time::Tai};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// Silence that ends a contact. Contacts are taken from what was received, not from the links over
/// which it came: an edge is connected between passes as well, and what it forwards late belongs to
/// the pass in which it was heard.
pub const CONTACT_GAP_NS: i64 = crate::door::rotation::CONTACT_GAP_NS;
const SECOND_NS: i64 = 1_000_000_000;

/// A contact: from its first to its last reception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact {
    /// First reception.
    pub from: Tai,
    /// Last reception.
    pub to: Tai,
}

/// Names a contact by its spacecraft and a moment in it, `7:2026-11-26T14:15:16Z`: what comes late
/// may give it an earlier beginning, and retention takes away those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContactId {
    /// Whose.
    pub spacecraft: SpacecraftId,
    /// A moment in it, or up to a second before it.
    pub at: Tai,
}

/// Why a text names no contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a contact is SPACECRAFT:TIME, such as 7:2026-11-26T14:15:16Z; `gaps` lists them")]
pub struct NoContactId;

impl FromStr for ContactId {
    type Err = NoContactId;

    fn from_str(text: &str) -> Result<Self, NoContactId> {
        let (spacecraft, at) = text.split_once(':').ok_or(NoContactId)?;
        let spacecraft = SpacecraftId(spacecraft.parse().map_err(|_| NoContactId)?);
        Ok(Self { spacecraft, at: Tai::from_rfc3339(at).ok_or(NoContactId)? })
    }
}

impl fmt::Display for ContactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.spacecraft.0, self.at.to_rfc3339())
    }
}

impl Contact {
    /// Its name.
    pub const fn id(&self, spacecraft: SpacecraftId) -> ContactId {
        ContactId { spacecraft, at: self.from }
    }

    /// Whether a moment is in it.
    pub fn holds(&self, at: Tai) -> bool {
        (self.from..=self.to).contains(&at)
    }

    /// Whether it is the one of this name: times are written without parts of a second.
    pub fn is(&self, id: &ContactId) -> bool {
        self.from.since(id.at) < SECOND_NS && id.at <= self.to
    }
}

/// Who knows the contacts of a spacecraft.
pub trait Contacts {
    /// Contacts in order of time.
    fn of(&self, spacecraft: SpacecraftId) -> Vec<Contact>;
}

/// Contacts as reception times show them: silence longer than a minute lies between two.
#[derive(Clone, Debug, Default)]
pub struct Heard(BTreeMap<SpacecraftId, BTreeMap<Tai, Tai>>);

impl Heard {
    /// Notes a reception, in any order.
    pub fn note(&mut self, spacecraft: SpacecraftId, at: Tai) {
        let spans = self.0.entry(spacecraft).or_default();
        let (mut from, mut to) = (at, at);
        if let Some((start, end)) = spans.range(..=at).next_back().map(|(s, e)| (*s, *e))
            && at.since(end) <= CONTACT_GAP_NS
        {
            if at <= end {
                return;
            }
            from = start;
            spans.remove(&start);
        }
        if let Some((start, end)) = spans.range(at..).next().map(|(s, e)| (*s, *e))
            && start.since(at) <= CONTACT_GAP_NS
        {
            to = end;
            spans.remove(&start);
        }
        spans.insert(from, to);
    }
}

impl Contacts for Heard {
    fn of(&self, spacecraft: SpacecraftId) -> Vec<Contact> {
        let spans = self.0.get(&spacecraft).into_iter().flatten();
        spans.map(|(from, to)| Contact { from: *from, to: *to }).collect()
    }
}
