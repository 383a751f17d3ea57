//! The document that a demonstration ends with, and why it failed, if it did.

use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

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
    /// Newly receipted since the daemon's start, as [`receipted_are`] says.
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
    /// Seconds that the flight software says it runs, where its own reports are decoded.
    pub uptime_s: Option<u64>,
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
            uptime_s: uptime_s(snapshot),
            insight: CaptureToInsight {
                all: Quantiles::read(insight),
                contact_wait_excluded: Quantiles::read(&insight["contact_wait_excluded"]),
            },
        }
    }
}

/// What the flight software's own housekeeping said last, as the mission's definition decodes it.
fn uptime_s(snapshot: &Value) -> Option<u64> {
    let parameters = snapshot["spacecraft"][0]["parameters"].as_array()?;
    let uptime = parameters.iter().find(|of| of["name"] == "ONBOARD_UPTIME")?;
    uptime["value"].as_f64().map(|seconds| seconds as u64)
}

/// What the station counts as receipted: what its sessions brought. By radio that is the edge's
/// frames, whatever units are in them.
pub const fn receipted_are(by_radio: bool) -> &'static str {
    if by_radio { "frames" } else { "units" }
}

/// Receipts around a kill of the station's daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Kill {
    /// What was receipted: units, or frames by radio.
    pub receipted: &'static str,
    /// How many before it.
    pub receipted_before: u64,
    /// How many by the daemon that was started again.
    pub receipted_after: u64,
}

/// What became of the frames of a radio link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Radio {
    /// Frames that the spacecraft transmitted since the rise.
    pub frames_sent: u64,
    /// Of them, those that the air lost.
    pub frames_lost: u64,
    /// Frames that the edge numbered. What is neither here nor lost came while no edge listened.
    pub frames_heard: u64,
    /// Frames of the edge's that the audit found.
    pub frames_archived: u64,
    /// Frames that the edge holds without a receipt.
    pub frames_held: u64,
    /// Frames that the edge was given a receipt for and that are absent from the station's disk.
    pub frames_missing: u64,
    /// Frames without a correction, by what is archived with each.
    pub good: u64,
    /// Frames with corrected symbols.
    pub corrected: u64,
    /// Frames that could not be corrected: kept, and shown as gaps.
    pub erred: u64,
    /// Command frames that the spacecraft heard.
    pub command_frames: u64,
    /// Signed statements that it believed.
    pub statements: u64,
    /// Whether the edge was killed on the way.
    pub edge_killed: bool,
}

/// What went up and was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Orders {
    /// Orders that the spacecraft says it carried out.
    pub done: u64,
    /// Orders without an answer at the end.
    pub unanswered: u64,
    /// Orders that it did not carry out, with its words.
    pub failed: Vec<String>,
    /// Kept units that were asked for.
    pub units_asked: u64,
    /// Of them, those that the audit found.
    pub units_came: u64,
}

/// Where heavy work was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Heavy {
    /// Jobs with a result by pool.
    pub jobs_by_pool: BTreeMap<String, u64>,
    /// The same around the death of another machine's pool, where it was killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill: Option<PoolKill>,
    /// It was to be killed, and did nothing that it could have been killed after.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub never_killed: bool,
}

/// Jobs with a result by pool, around the death of another machine's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PoolKill {
    /// Before it.
    pub before: BTreeMap<String, u64>,
    /// While it was dead.
    pub away: BTreeMap<String, u64>,
    /// Since it was started again.
    pub after: BTreeMap<String, u64>,
}

/// The document that a demonstration ends with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Units that the spacecraft's process sent, repeats not counted.
    pub units_sent: u64,
    /// The spacecraft's units that the audit found on disk.
    pub units_archived: u64,
    /// Units that the spacecraft holds receipts for.
    pub units_receipted: u64,
    /// Units still without a receipt on board.
    pub units_held: u64,
    /// Of these, those that are archived: their receipts have not come back.
    pub units_unheard: u64,
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
    /// Pictures that the flight software took from the shared folder.
    pub files_taken: u64,
    /// Seconds that the flight software said it ran, in its own housekeeping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_s: Option<u64>,
    /// What went up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orders: Option<Orders>,
    /// Where heavy work was done, where there were models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heavy: Option<Heavy>,
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

impl Radio {
    /// Frames that came while no edge listened, or that the system dropped before it.
    fn unheard(&self) -> u64 {
        self.frames_sent.saturating_sub(self.frames_lost + self.frames_heard)
    }

    fn failures(&self) -> impl Iterator<Item = &'static str> {
        [
            (self.frames_held > 0, "the edge holds frames without a receipt"),
            (
                self.frames_heard + self.frames_lost > self.frames_sent,
                "the edge heard more frames than were sent",
            ),
            (self.frames_missing > 0, "frames that the edge may erase are not on the ground"),
            // What nothing counts is lost in silence.
            (
                self.frames_archived != self.frames_heard,
                "the archive holds other frames than the edge heard",
            ),
        ]
        .into_iter()
        .filter_map(|(failed, what)| failed.then_some(what))
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let Self { frames_sent, frames_lost, frames_heard, .. } = self;
        let quality =
            format!("{} good, {} corrected, {} erred", self.good, self.corrected, self.erred);
        let heard = format!("{frames_heard} ({frames_lost} lost on the air)");
        let up = format!("{} ({} believed)", self.command_frames, self.statements);
        vec![
            ("frames sent by radio", frames_sent.to_string()),
            ("frames heard", heard),
            ("  while no edge listened", self.unheard().to_string()),
            ("  their quality", quality),
            ("frames archived", self.frames_archived.to_string()),
            ("frames held, missing", format!("{}, {}", self.frames_held, self.frames_missing)),
            ("command frames heard", up),
        ]
    }
}

impl Orders {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let Self { done, unanswered, failed, units_asked, units_came } = self;
        let orders = format!("{done} done, {} failed, {unanswered} unanswered", failed.len());
        vec![
            ("orders", orders),
            ("kept units asked for", format!("{units_asked} ({units_came} came)")),
        ]
    }
}

impl Heavy {
    fn failure(&self) -> Option<&'static str> {
        if self.never_killed {
            return Some("the pool that was to be killed did no heavy work");
        }
        let kill = self.kill.as_ref()?;
        let later = kill.away.values().chain(kill.after.values()).sum::<u64>();
        (later == 0).then_some("no heavy work was done after the pool was killed")
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let list = |of: &BTreeMap<String, u64>| {
            let each: Vec<String> =
                of.iter().map(|(pool, jobs)| format!("{pool} {jobs}")).collect();
            if each.is_empty() { "none".to_owned() } else { each.join(", ") }
        };
        let mut rows = vec![("jobs by pool", list(&self.jobs_by_pool))];
        if let Some(kill) = &self.kill {
            rows.push(("  before the pool's kill", list(&kill.before)));
            rows.push(("  while it was dead", list(&kill.away)));
            rows.push(("  since it is back", list(&kill.after)));
        }
        rows
    }
}

impl Summary {
    /// Why the demonstration failed; empty when it proved what it is for.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        if self.missing > 0 {
            failures.push(format!("{} receipted units are not on the ground", self.missing));
        }
        // Each unit on the ground is one that the spacecraft knows to be there, or still holds.
        if self.units_archived
            != self.units_receipted.saturating_sub(self.missing) + self.units_unheard
        {
            failures
                .push("the archive holds units that the spacecraft has no account of".to_owned());
        }
        if self.units_receipted == 0 {
            failures.push("nothing was receipted".to_owned());
        }
        if !self.audit_clean {
            failures.push("the audit found damage".to_owned());
        }
        if let Some(orders) = &self.orders {
            failures.extend(orders.failed.iter().cloned());
            if self.units_held == 0 && orders.units_came < orders.units_asked {
                let missing = orders.units_asked - orders.units_came;
                failures.push(format!("{missing} kept units were asked for and did not come"));
            }
        }
        failures.extend(self.heavy.as_ref().and_then(Heavy::failure).map(str::to_owned));
        if let Some(radio) = self.radio {
            failures.extend(radio.failures().map(str::to_owned));
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
            ("units held, kept", format!("{}, {}", self.units_held, self.units_kept)),
            ("archived, not heard of", self.units_unheard.to_string()),
            ("receipted and missing", self.missing.to_string()),
            ("duplicates refused", self.duplicates.to_string()),
            ("packets", self.packets.to_string()),
            ("parameters", self.parameters.to_string()),
            ("alarms", self.alarms.to_string()),
            ("jobs done", self.jobs_done.to_string()),
            ("pictures from files", self.files_taken.to_string()),
            ("sensor bytes", self.source_bytes.to_string()),
            ("downlink bytes", downlink),
            ("capture to insight", quantiles(&insight.all)),
            ("  without contact wait", quantiles(&insight.contact_wait_excluded)),
        ];
        if let Some(uptime_s) = self.uptime_s {
            rows.push(("flight software ran", format!("{uptime_s} s, by its own report")));
        }
        rows.extend(self.orders.iter().flat_map(Orders::rows));
        rows.extend(self.heavy.iter().flat_map(Heavy::rows));
        if let Some(radio) = &self.radio {
            rows.splice(0..0, radio.rows());
        }
        if let Some(kill) = self.kill {
            let Kill { receipted, receipted_before, receipted_after } = kill;
            let text = format!("{receipted_before} {receipted} before, {receipted_after} after");
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

    fn summary(missing: u64) -> Summary {
        Summary {
            units_sent: 110,
            units_archived: 110,
            units_receipted: 110,
            units_held: 0,
            units_unheard: 0,
            units_kept: 0,
            duplicates: 3,
            missing,
            packets: 1,
            parameters: 1,
            alarms: 1,
            jobs_done: 1,
            files_taken: 0,
            uptime_s: None,
            orders: None,
            heavy: None,
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
    fn heavy_work_goes_on_without_the_pool_that_was_killed() {
        let jobs = |shared, embedded| {
            BTreeMap::from([("shared".to_owned(), shared), ("embedded".to_owned(), embedded)])
        };
        let with = |before, away, after| {
            let kill = Some(PoolKill { before, away, after });
            let heavy = Some(Heavy { jobs_by_pool: jobs(9, 4), kill, never_killed: false });
            Summary { heavy, ..summary(0) }
        };
        let moved = with(jobs(5, 0), jobs(0, 4), jobs(4, 0));
        assert_eq!(moved.failures(), Vec::<String>::new());
        assert!(moved.table().contains("embedded 4, shared 0\n"), "{}", moved.table());
        let stuck = with(jobs(9, 0), jobs(0, 0), jobs(0, 0));
        assert_eq!(stuck.failures(), ["no heavy work was done after the pool was killed"]);
        let heavy = Some(Heavy { never_killed: true, ..Heavy::default() });
        assert_eq!(Summary { heavy, ..summary(0) }.failures().len(), 1);
    }

    #[test]
    fn a_kill_needs_receipts_on_both_sides() {
        let with = |receipted_before, receipted_after| {
            let kill =
                Some(Kill { receipted: receipted_are(false), receipted_before, receipted_after });
            Summary { kill, ..summary(0) }.failures().len()
        };
        assert_eq!([with(5, 5), with(0, 5), with(5, 0), with(0, 0)], [0, 1, 1, 2]);
        let nothing = Summary { units_receipted: 0, units_archived: 0, ..summary(0) };
        assert_eq!(nothing.failures(), ["nothing was receipted"]);
    }

    #[test]
    fn a_receipted_unit_off_the_disk_fails_the_demonstration() {
        assert_eq!(summary(0).failures(), Vec::<String>::new());
        let missing = Summary { units_archived: 109, ..summary(1) };
        assert_eq!(missing.failures().len(), 1);
        let waiting = Summary { units_archived: 112, units_unheard: 2, ..summary(0) };
        assert!(waiting.failures().is_empty());
        assert_eq!(Summary { units_unheard: 1, ..summary(0) }.failures().len(), 1);
    }

    #[test]
    fn what_a_radio_pass_receipts_are_frames() {
        let said = |by_radio| {
            let receipted = receipted_are(by_radio);
            let kill = Some(Kill { receipted, receipted_before: 3, receipted_after: 4 });
            Summary { kill, ..summary(0) }.table()
        };
        assert!(said(true).contains("3 frames before, 4 after"), "{}", said(true));
        assert!(said(false).contains("3 units before, 4 after"), "{}", said(false));
    }

    #[test]
    fn a_radio_link_fails_where_frames_are_nowhere() {
        let radio = Radio {
            frames_sent: 120,
            frames_lost: 4,
            frames_heard: 110,
            frames_archived: 110,
            ..Radio::default()
        };
        let with = |radio: Radio| Summary { radio: Some(radio), ..summary(0) }.failures().len();
        assert_eq!(with(radio), 0);
        assert_eq!(with(Radio { frames_held: 3, ..radio }), 1);
        assert_eq!(with(Radio { frames_sent: 113, ..radio }), 1);
        assert_eq!(with(Radio { frames_archived: 109, ..radio }), 1, "one is nowhere");
        assert_eq!(with(Radio { frames_missing: 1, ..radio }), 1);
        let table = Summary { radio: Some(radio), ..summary(0) }.table();
        assert!(table.contains("110 (4 lost on the air)"), "{table}");
        assert!(table.contains("while no edge listened   6"), "{table}");
    }

    #[test]
    fn orders_fail_where_the_spacecraft_says_so_or_what_was_asked_for_stays_away() {
        let orders = Orders { done: 3, units_asked: 5, units_came: 5, ..Orders::default() };
        let with = |orders: Orders, units_held| {
            Summary { orders: Some(orders), units_held, ..summary(0) }.failures().len()
        };
        assert_eq!(with(orders.clone(), 0), 0);
        assert_eq!(with(Orders { unanswered: 1, ..orders.clone() }, 0), 0);
        assert_eq!(with(Orders { failed: vec!["no slot".into()], ..orders.clone() }, 0), 1);
        assert_eq!(with(Orders { units_came: 4, ..orders.clone() }, 0), 1);
        assert_eq!(with(Orders { units_came: 4, ..orders }, 1), 0, "it is still on board");
    }

    #[test]
    fn the_flight_software_s_own_report_is_read_where_it_is_decoded() {
        let parameters = json!([{ "name": "ONBOARD_UPTIME", "value": 31.0 }]);
        let snapshot = json!({ "spacecraft": [{ "parameters": parameters }] });
        assert_eq!(Told::from_snapshot(&snapshot).uptime_s, Some(31));
        assert_eq!(Told::from_snapshot(&json!({})).uptime_s, None);
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
