//! What the demonstration proves: a store's own listing of receipted units against what an audit
//! finds on the station's disk. No counter of either program enters it. The store is a
//! spacecraft's, or an edge's with the frames that it heard.

use codecs::ids::{Channel, RangeSet, SeqRange};
use groundstation::audit::Receptions;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Counters compared at most; a demonstration has a handful.
const MAX_KEYS: usize = 10_000;

/// Why two listings can't be compared.
#[derive(Debug, Error)]
pub enum ReckoningError {
    /// A listing isn't what its program documents.
    #[error("the listing of {program} can't be read: {reason}")]
    Listing {
        /// Which program printed it.
        program: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// Whose counter: origin, store epoch, spacecraft, channel.
type Prefix = (String, u64, u16, u64);

/// One counter of `onboard store --json`.
#[derive(Debug, Deserialize)]
struct StoreKey {
    origin: String,
    epoch: u64,
    spacecraft: u16,
    channel: u64,
    receipted: Vec<[u64; 2]>,
    held: Vec<[u64; 2]>,
}

/// What `onboard store --json` says, as far as it is needed.
#[derive(Debug, Deserialize)]
struct StoreListing {
    units_numbered: u64,
    #[serde(default)]
    units_kept: u64,
    keys: Vec<StoreKey>,
}

/// One counter of `groundstation audit --json`.
#[derive(Debug, Deserialize)]
struct AuditKey {
    origin: String,
    epoch: u64,
    spacecraft: u16,
    channel: u64,
    ranges: Vec<[u64; 2]>,
}

/// What `groundstation audit --json` says, as far as it is needed.
#[derive(Debug, Deserialize)]
struct AuditListing {
    /// By origin.
    #[serde(default)]
    receptions: BTreeMap<String, Receptions>,
    keys: Vec<AuditKey>,
}

/// The comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reckoning {
    /// Units that the store numbered.
    pub numbered: u64,
    /// Units that the store holds receipts for.
    pub receipted: u64,
    /// Units still without one.
    pub held: u64,
    /// Of these, those that the audit found: their receipts have not come back.
    pub unheard: u64,
    /// Units that stay on board until they are asked for.
    pub kept: u64,
    /// Units of the store's own that the audit found.
    pub archived: u64,
    /// Units of the store's own that antennas heard, as is archived with each.
    pub receptions: Receptions,
    /// Receipted, so reclaimable in the store, and absent from the station's disk.
    pub missing: u64,
}

fn ranges(pairs: &[[u64; 2]], program: &'static str) -> Result<RangeSet, ReckoningError> {
    pairs
        .iter()
        .map(|[first, last]| {
            SeqRange::new(*first, *last).ok_or_else(|| ReckoningError::Listing {
                program,
                reason: format!("range {first} to {last} runs backwards"),
            })
        })
        .collect()
}

fn parse<'a, T: Deserialize<'a>>(
    text: &'a str,
    program: &'static str,
) -> Result<T, ReckoningError> {
    serde_json::from_str(text)
        .map_err(|error| ReckoningError::Listing { program, reason: error.to_string() })
}

/// Compares the two listings.
pub fn reckon(store: &str, audit: &str) -> Result<Reckoning, ReckoningError> {
    let (onboard, ground) = ("onboard store", "groundstation audit");
    let store: StoreListing = parse(store, onboard)?;
    let audit: AuditListing = parse(audit, ground)?;
    if store.keys.len().max(audit.keys.len()) > MAX_KEYS {
        let reason = format!("more than {MAX_KEYS} counters");
        return Err(ReckoningError::Listing { program: onboard, reason });
    }
    let mut found: BTreeMap<Prefix, RangeSet> = BTreeMap::new();
    let own: BTreeSet<&str> = store.keys.iter().map(|key| &*key.origin).collect();
    let mut archived = 0;
    for key in &audit.keys {
        let prefix = (key.origin.clone(), key.epoch, key.spacecraft, key.channel);
        let of = found.entry(prefix).or_default();
        let before = of.count();
        of.extend(&ranges(&key.ranges, ground)?);
        if own.contains(&*key.origin) {
            archived += of.count() - before;
        }
    }
    let receptions = own.iter().filter_map(|origin| audit.receptions.get(*origin)).copied().sum();
    let mut sum = Reckoning {
        numbered: store.units_numbered,
        receipted: 0,
        held: 0,
        unheard: 0,
        kept: store.units_kept,
        archived,
        receptions,
        missing: 0,
    };
    let nothing = RangeSet::new();
    for key in store.keys {
        let receipted = ranges(&key.receipted, onboard)?;
        sum.receipted += receipted.count();
        let held = ranges(&key.held, onboard)?;
        sum.held += held.count();
        let prefix = (key.origin, key.epoch, key.spacecraft, key.channel);
        let on_disk = found.get(&prefix).unwrap_or(&nothing);
        let absent = receipted.ranges().iter().flat_map(|range| on_disk.missing_from(*range));
        sum.missing += absent.map(SeqRange::count).sum::<u64>();
        let absent = held.ranges().iter().flat_map(|range| on_disk.missing_from(*range));
        sum.unheard += held.count() - absent.map(SeqRange::count).sum::<u64>();
    }
    Ok(sum)
}

/// How many of these units of a channel an audit found, whatever their store.
pub fn found(audit: &str, channel: Channel, wanted: &RangeSet) -> Result<u64, ReckoningError> {
    let ground = "groundstation audit";
    let audit: AuditListing = parse(audit, ground)?;
    let mut held = RangeSet::new();
    for key in audit.keys.iter().filter(|key| key.channel == channel.0) {
        held.extend(&ranges(&key.ranges, ground)?);
    }
    let missing = wanted.ranges().iter().flat_map(|range| held.missing_from(*range));
    Ok(wanted.count() - missing.map(SeqRange::count).sum::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ORIGIN: &str = "000102030405060708090a0b0c0d0e0f";

    fn store() -> String {
        json!({
            "origin": ORIGIN, "epoch": 9, "bytes": 1, "units_numbered": 120,
            "keys": [
                {"origin": ORIGIN, "epoch": 9, "spacecraft": 7, "channel": 5, "next": 100,
                 "held": [[90, 99]], "receipted": [[0, 89]], "voided": []},
                {"origin": ORIGIN, "epoch": 9, "spacecraft": 7, "channel": 6, "next": 20,
                 "held": [], "receipted": [[0, 19]], "voided": []},
            ],
        })
        .to_string()
    }

    fn audit(first: &[[u64; 2]]) -> String {
        json!({
            "ledger": "1", "segments": 1, "units": 111, "bytes": 1, "duplicates": 0,
            "receptions": {
                ORIGIN: {"good": 100, "corrected": 10, "erred": 1, "undetermined": 0},
                "ff": {"good": 7, "corrected": 7, "erred": 7, "undetermined": 7},
            },
            "keys": [
                {"origin": ORIGIN, "epoch": 9, "spacecraft": 7, "channel": 5, "ranges": first},
                {"origin": ORIGIN, "epoch": 9, "spacecraft": 7, "channel": 6, "ranges": [[0, 30]]},
            ],
        })
        .to_string()
    }

    #[test]
    fn whole_listings_miss_nothing() {
        let reckoning = reckon(&store(), &audit(&[[0, 89]])).unwrap();
        let expected = Reckoning {
            numbered: 120,
            receipted: 110,
            held: 10,
            unheard: 0,
            kept: 0,
            archived: 121,
            receptions: Receptions { good: 100, corrected: 10, erred: 1, undetermined: 0 },
            missing: 0,
        };
        assert_eq!(reckoning, expected);
    }

    #[test]
    fn one_receipted_unit_taken_off_the_disk_is_missing() {
        let reckoning = reckon(&store(), &audit(&[[0, 40], [42, 92]])).unwrap();
        assert_eq!((reckoning.missing, reckoning.unheard), (1, 3));
    }

    #[test]
    fn units_of_another_epoch_or_an_unknown_counter_count_for_nothing() {
        let other = audit(&[[0, 89]]).replace("\"epoch\":9", "\"epoch\":8");
        assert_eq!(reckon(&store(), &other).unwrap().missing, 110);
        let none = json!({"units": 0, "keys": []}).to_string();
        assert_eq!(reckon(&store(), &none).unwrap().missing, 110);
    }

    #[test]
    fn another_store_s_units_are_not_counted_as_this_one_s() {
        let other = "f".repeat(32);
        let audit = audit(&[[0, 89]]).replacen(ORIGIN, &other, 1);
        let reckoning = reckon(&store(), &audit).unwrap();
        assert_eq!((reckoning.archived, reckoning.missing), (31, 90));
        let asked = [(25, 40)].map(|(first, last)| SeqRange { first, last });
        assert_eq!(found(&audit, Channel(6), &asked.into_iter().collect()).unwrap(), 6);
    }

    #[test]
    fn damaged_listings_are_refused() {
        assert!(reckon("{}", &audit(&[])).is_err());
        assert!(reckon(&store(), "[]").is_err());
        let error = reckon(&store(), &audit(&[[5, 4]])).unwrap_err().to_string();
        assert!(error.contains("backwards"), "{error}");
    }
}
