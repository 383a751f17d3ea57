//! What the demonstration proves: the spacecraft's own listing of receipted units against what an
//! audit finds on the station's disk. No counter of either program enters it.

use codecs::ids::{RangeSet, SeqRange};
use groundstation::audit::Receptions;
use serde::{Deserialize, Serialize};
use serde_json::Value;
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
    units: u64,
    /// By origin.
    #[serde(default)]
    receptions: BTreeMap<String, Receptions>,
    keys: Vec<AuditKey>,
}

/// The comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reckoning {
    /// Units that the spacecraft numbered.
    pub numbered: u64,
    /// Units that the spacecraft holds receipts for.
    pub receipted: u64,
    /// Units still without one.
    pub held: u64,
    /// Units that stay on board until they are asked for.
    pub kept: u64,
    /// Units that the audit read.
    pub archived: u64,
    /// Units of the store's own that antennas heard, as is archived with each.
    pub receptions: Receptions,
    /// Receipted, so reclaimable on the spacecraft, and absent from the station's disk.
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
    for key in &audit.keys {
        let prefix = (key.origin.clone(), key.epoch, key.spacecraft, key.channel);
        found.entry(prefix).or_default().extend(&ranges(&key.ranges, ground)?);
    }
    let own: BTreeSet<&str> = store.keys.iter().map(|key| &*key.origin).collect();
    let receptions = own.iter().filter_map(|origin| audit.receptions.get(*origin)).copied().sum();
    let mut sum = Reckoning {
        numbered: store.units_numbered,
        receipted: 0,
        held: 0,
        kept: store.units_kept,
        archived: audit.units,
        receptions,
        missing: 0,
    };
    let nothing = RangeSet::new();
    for key in store.keys {
        let receipted = ranges(&key.receipted, onboard)?;
        sum.receipted += receipted.count();
        sum.held += ranges(&key.held, onboard)?.count();
        let prefix = (key.origin, key.epoch, key.spacecraft, key.channel);
        let on_disk = found.get(&prefix).unwrap_or(&nothing);
        let absent = receipted.ranges().iter().flat_map(|range| on_disk.missing_from(*range));
        sum.missing += absent.map(SeqRange::count).sum::<u64>();
    }
    Ok(sum)
}

/// Median and 99th percentile, milliseconds; absent where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Median.
    pub p50: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
}

impl Quantiles {
    fn read(value: &Value) -> Self {
        Self { p50: value["p50"].as_f64(), p99: value["p99"].as_f64() }
    }
}

/// From capture on board to insight on the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CaptureToInsight {
    /// As it was.
    #[serde(flatten)]
    pub all: Quantiles,
    /// Without the wait for a contact.
    pub contact_wait_excluded: Quantiles,
}

/// What the station told about itself last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Told {
    /// Units newly receipted since the daemon's start.
    pub receipted: u64,
    /// Units that came in.
    pub received: u64,
    /// Units newly archived since the daemon's start.
    pub archived: u64,
    /// Units that came again.
    pub duplicates: u64,
    /// Packets by identity.
    pub packets: u64,
    /// Parameter values.
    pub parameters: u64,
    /// Alarms raised.
    pub alarms: u64,
    /// Products shown.
    pub products: u64,
    /// Jobs with a result.
    pub jobs_done: u64,
    /// Jobs that ended without one.
    pub jobs_failed: u64,
    /// Latencies.
    pub insight: CaptureToInsight,
}

impl Told {
    /// Reads a snapshot of the station's API; what is absent counts nothing.
    pub fn from_snapshot(snapshot: &Value) -> Self {
        let count = |name: &str| snapshot["counts"][name].as_u64().unwrap_or_default();
        let insight = &snapshot["capture_to_insight_ms"];
        Self {
            receipted: count("receipted"),
            received: count("received"),
            archived: count("archived"),
            duplicates: count("duplicate"),
            packets: count("packets"),
            parameters: count("parameters"),
            alarms: count("alarms"),
            products: count("products"),
            jobs_done: count("jobs_done"),
            jobs_failed: count("jobs_failed"),
            insight: CaptureToInsight {
                all: Quantiles::read(insight),
                contact_wait_excluded: Quantiles::read(&insight["contact_wait_excluded"]),
            },
        }
    }
}

/// Receipts around a kill of the station's daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Kill {
    /// Units receipted before it.
    pub receipted_before: u64,
    /// Units receipted by the daemon that was started again.
    pub receipted_after: u64,
}

/// What became of the frames of a radio link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Radio {
    /// Frames that the spacecraft transmitted.
    pub frames_sent: u64,
    /// Of them, idle ones.
    pub idle_frames_sent: u64,
    /// Frames that the edge numbered; what is absent here was lost on the air.
    pub frames_heard: u64,
    /// Frames without a correction, by what is archived with each.
    pub good: u64,
    /// Frames with corrected symbols.
    pub corrected: u64,
    /// Frames that could not be corrected: kept, and shown as gaps.
    pub erred: u64,
    /// Whether the edge was killed on the way.
    pub edge_killed: bool,
}

/// The document that a demonstration ends with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Units that the spacecraft's process sent, repeats not counted.
    pub units_sent: u64,
    /// Units that the audit found on disk.
    pub units_archived: u64,
    /// Units that the spacecraft holds receipts for.
    pub units_receipted: u64,
    /// Units still without a receipt on board.
    pub units_held: u64,
    /// Units that triage keeps on board until they are asked for.
    pub units_kept: u64,
    /// Units that came again and were not archived again.
    pub duplicates: u64,
    /// Receipted and absent from the station's disk.
    pub missing: u64,
    /// Packets by identity.
    pub packets: u64,
    /// Parameter values.
    pub parameters: u64,
    /// Alarms raised.
    pub alarms: u64,
    /// Jobs with a result.
    pub jobs_done: u64,
    /// Bytes that the sensors made.
    pub source_bytes: u64,
    /// Bytes that went down.
    pub downlink_bytes: u64,
    /// From capture to insight.
    pub capture_to_insight_ms: CaptureToInsight,
    /// Receipts around the kill, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill: Option<Kill>,
    /// The radio link, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub radio: Option<Radio>,
    /// Whether the audit found the archive whole.
    pub audit_clean: bool,
    /// Peak resident memory of each process.
    pub peak_rss_kib: BTreeMap<&'static str, u64>,
}

impl Summary {
    /// Why the demonstration failed; empty when it proved what it is for.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        if self.missing > 0 {
            failures.push(format!("{} receipted units are not on the ground", self.missing));
        }
        if self.units_receipted == 0 {
            failures.push("nothing was receipted".to_owned());
        }
        if !self.audit_clean {
            failures.push("the audit found damage".to_owned());
        }
        if let Some(radio) = self.radio {
            if self.units_held > 0 {
                failures
                    .push(format!("the edge holds {} units without a receipt", self.units_held));
            }
            if radio.frames_heard > radio.frames_sent {
                failures.push("the edge heard more frames than were sent".to_owned());
            }
            // What nothing counts is lost in silence.
            if !radio.edge_killed && self.units_archived != radio.frames_heard {
                failures.push("the archive holds other units than the edge heard".to_owned());
            }
        }
        if let Some(kill) = self.kill {
            if kill.receipted_before == 0 {
                failures.push("nothing was receipted before the kill".to_owned());
            }
            if kill.receipted_after == 0 {
                failures.push("nothing was receipted after the kill".to_owned());
            }
        }
        failures
    }

    /// The summary for people.
    pub fn table(&self) -> String {
        let downlink = match self.downlink_bytes {
            0 => "0".to_owned(),
            bytes => format!("{bytes} ({:.1} times less)", self.source_bytes as f64 / bytes as f64),
        };
        let insight = &self.capture_to_insight_ms;
        let quantiles = |of: &Quantiles| match (of.p50, of.p99) {
            (Some(p50), Some(p99)) => format!("{p50:.0} ms median, {p99:.0} ms 99 %"),
            _ => "not measured".to_owned(),
        };
        let mut rows = vec![
            ("units sent", self.units_sent.to_string()),
            ("units archived", self.units_archived.to_string()),
            ("units receipted", self.units_receipted.to_string()),
            ("receipted and missing", self.missing.to_string()),
            ("duplicates refused", self.duplicates.to_string()),
            ("packets", self.packets.to_string()),
            ("parameters", self.parameters.to_string()),
            ("alarms", self.alarms.to_string()),
            ("jobs done", self.jobs_done.to_string()),
            ("sensor bytes", self.source_bytes.to_string()),
            ("downlink bytes", downlink),
            ("capture to insight", quantiles(&insight.all)),
            ("  without contact wait", quantiles(&insight.contact_wait_excluded)),
        ];
        if let Some(radio) = &self.radio {
            let Radio { frames_sent, frames_heard, .. } = radio;
            let lost = frames_sent.saturating_sub(*frames_heard);
            let quality = format!(
                "{} good, {} corrected, {} erred",
                radio.good, radio.corrected, radio.erred
            );
            let sent = format!("{frames_sent} ({} idle)", radio.idle_frames_sent);
            rows.insert(0, ("frames sent by radio", sent));
            rows.insert(1, ("frames heard", format!("{frames_heard} ({lost} lost on the air)")));
            rows.insert(2, ("  as told by the edge", quality));
        }
        if let Some(kill) = self.kill {
            let text = format!("{} before, {} after", kill.receipted_before, kill.receipted_after);
            rows.push(("receipted around the kill", text));
        }
        rows.push(("audit", if self.audit_clean { "clean" } else { "DAMAGE" }.to_owned()));
        for (name, kib) in &self.peak_rss_kib {
            rows.push(("peak memory", format!("{name} {:.1} MiB", *kib as f64 / 1024.0)));
        }
        rows.iter().map(|(name, value)| format!("  {name:<26} {value}\n")).collect()
    }
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

    fn summary(missing: u64) -> Summary {
        Summary {
            units_sent: 110,
            units_archived: 110,
            units_receipted: 110,
            units_held: 0,
            units_kept: 0,
            duplicates: 3,
            missing,
            packets: 1,
            parameters: 1,
            alarms: 1,
            jobs_done: 1,
            source_bytes: 1000,
            downlink_bytes: 300,
            capture_to_insight_ms: CaptureToInsight::default(),
            kill: None,
            radio: None,
            audit_clean: true,
            peak_rss_kib: BTreeMap::new(),
        }
    }

    #[test]
    fn whole_listings_miss_nothing() {
        let reckoning = reckon(&store(), &audit(&[[0, 89]])).unwrap();
        let expected = Reckoning {
            numbered: 120,
            receipted: 110,
            held: 10,
            kept: 0,
            archived: 111,
            receptions: Receptions { good: 100, corrected: 10, erred: 1, undetermined: 0 },
            missing: 0,
        };
        assert_eq!(reckoning, expected);
        assert_eq!(summary(reckoning.missing).failures(), Vec::<String>::new());
    }

    #[test]
    fn one_receipted_unit_taken_off_the_disk_fails_the_demonstration() {
        let reckoning = reckon(&store(), &audit(&[[0, 40], [42, 89]])).unwrap();
        assert_eq!(reckoning.missing, 1);
        assert_eq!(summary(reckoning.missing).failures().len(), 1);
    }

    #[test]
    fn units_of_another_epoch_or_an_unknown_counter_count_for_nothing() {
        let other = audit(&[[0, 89]]).replace("\"epoch\":9", "\"epoch\":8");
        assert_eq!(reckon(&store(), &other).unwrap().missing, 110);
        let none = json!({"units": 0, "keys": []}).to_string();
        assert_eq!(reckon(&store(), &none).unwrap().missing, 110);
    }

    #[test]
    fn damaged_listings_are_refused() {
        assert!(reckon("{}", &audit(&[])).is_err());
        assert!(reckon(&store(), "[]").is_err());
        let error = reckon(&store(), &audit(&[[5, 4]])).unwrap_err().to_string();
        assert!(error.contains("backwards"), "{error}");
    }

    #[test]
    fn a_kill_needs_receipts_on_both_sides() {
        let with = |receipted_before, receipted_after| {
            let kill = Some(Kill { receipted_before, receipted_after });
            Summary { kill, ..summary(0) }.failures().len()
        };
        assert_eq!([with(5, 5), with(0, 5), with(5, 0), with(0, 0)], [0, 1, 1, 2]);
        let nothing = Summary { units_receipted: 0, ..summary(0) };
        assert_eq!(nothing.failures(), ["nothing was receipted"]);
    }

    #[test]
    fn a_radio_link_fails_where_the_edge_is_left_with_something() {
        let radio = Radio {
            frames_sent: 120,
            idle_frames_sent: 9,
            frames_heard: 110,
            good: 100,
            corrected: 8,
            erred: 2,
            edge_killed: false,
        };
        let with = |radio: Radio, units_held| {
            Summary { radio: Some(radio), units_held, ..summary(0) }.failures().len()
        };
        assert_eq!(with(radio, 0), 0);
        assert_eq!(with(radio, 3), 1);
        assert_eq!(with(Radio { frames_sent: 100, ..radio }, 0), 1);
        assert_eq!(with(Radio { frames_heard: 111, ..radio }, 0), 1, "one is nowhere");
        let table = Summary { radio: Some(radio), ..summary(0) }.table();
        assert!(table.contains("110 (10 lost on the air)"), "{table}");
    }

    #[test]
    fn the_document_has_the_keys_it_promises() {
        let document = serde_json::to_value(summary(0)).unwrap();
        for key in [
            "units_sent",
            "units_archived",
            "units_receipted",
            "duplicates",
            "missing",
            "packets",
            "parameters",
            "alarms",
            "jobs_done",
            "source_bytes",
            "downlink_bytes",
            "peak_rss_kib",
        ] {
            assert!(document.get(key).is_some(), "{key}");
        }
        let latency = &document["capture_to_insight_ms"];
        assert!(latency.get("p50").is_some() && latency.get("p99").is_some());
        assert!(latency["contact_wait_excluded"].get("p99").is_some());
    }
}
