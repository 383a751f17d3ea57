//! Metrics as OpenMetrics text, version 1.0.0.

mod pools;

use super::Shared;
use crate::publish::{
    DiskState, DiskView,
    view::{Counts, Snapshot},
};
use crate::router::view::RouterView;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// Time for the router to say how it stands.
const ROUTER_TIMEOUT: Duration = Duration::from_secs(1);

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /metrics`.
pub async fn metrics(State(shared): State<Shared>) -> Response {
    // A router that waits for its disk must not keep the rest from being told.
    let view = match &shared.context.look {
        Some(look) => tokio::time::timeout(ROUTER_TIMEOUT, look.ask()).await.ok().flatten(),
        None => None,
    };
    let text = render(&shared.context.feed.snapshot(), view.as_ref());
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()
}

fn render(live: &Snapshot, router: Option<&RouterView>) -> String {
    let mut text = Text::default();
    custody(&mut text, &live.counts);
    disk(&mut text, &live.disk);
    conservation(&mut text, live);
    insight(&mut text, live);
    spacecraft(&mut text, live);
    doors(&mut text, live);
    radios(&mut text, live);
    pools::pools(&mut text, router);
    text.0.push_str("# EOF\n");
    text.0
}

/// received = archived + duplicate + conflict + rejected + shed + in flight, and
/// archived + duplicate = receipted + left to welcome.
fn custody(text: &mut Text, counts: &Counts) {
    text.counter("units_received", "Units that came in.", counts.received);
    text.counter("units_archived", "Units new in the archive and synced.", counts.archived);
    text.counter("units_duplicate", "Units that came again, alike.", counts.duplicate);
    text.counter("units_conflict", "Units that came again, not alike.", counts.conflict);
    text.reasons("units_rejected", "Units not accepted.", &counts.rejected);
    text.reasons("units_shed", "Units dropped under pressure.", &counts.shed);
    text.reasons("peers_rejected", "Peers turned away.", &counts.peers_rejected);
    text.reasons("segments", "Segments, by what became of them.", &counts.segments);
    text.counter("quick_looks", "Frames heard live, without custody.", counts.quick_looks);
    let dropped = &counts.quick_looks_dropped;
    text.reasons("quick_looks_dropped", "Live frames not looked at.", dropped);
    let strays = &counts.datagrams_dropped;
    text.reasons("datagrams_dropped", "Datagrams to the QUIC port of no connection.", strays);
    text.family("units_in_flight", "gauge", "Received units whose end is not told yet.");
    text.sample("units_in_flight", "", counts.in_flight());
    text.counter("units_receipted", "Units receipted to who brought them.", counts.receipted);
    let left = "Units held whose session was gone: the next welcome says so.";
    text.counter("units_left_to_welcome", left, counts.left_to_welcome);
    text.counter("units_replayed", "Units read back from the archive.", counts.replayed);
    text.counter("packets", "Space packets, counted once by identity.", counts.packets);
    text.counter("packet_copies", "Copies of packets that had come.", counts.packet_copies);
    text.counter("parameters", "Parameter values published.", counts.parameters);
    text.counter("alarms_raised", "Alarms raised.", counts.alarms);
    text.counter("products", "Products and summaries.", counts.products);
    text.family("jobs", "counter", "Heavy work that ended.");
    text.sample("jobs_total", "state=\"done\"", counts.jobs_done);
    text.sample("jobs_total", "state=\"failed\"", counts.jobs_failed);
}

fn disk(text: &mut Text, disk: &DiskView) {
    text.family("archive_disk", "stateset", "How the disk of the archive does.");
    for state in DiskState::ALL {
        let labels = format!("groundtrack_archive_disk=\"{state}\"");
        text.sample("archive_disk", &labels, u8::from(state == disk.state));
    }
    text.family("archive_disk_since_seconds", "gauge", "When that began, Unix time.");
    if let Some(since_ms) = disk.since_ms {
        text.sample("archive_disk_since_seconds", "", since_ms as f64 / 1e3);
    }
    text.family("archive_disk_free_bytes", "gauge", "Bytes that may still be written.");
    if let Some(free_bytes) = disk.free_bytes {
        text.sample("archive_disk_free_bytes", "", free_bytes);
    }
}

/// The same law a counter of units: at a quiet moment `received` is the sum of the others.
fn conservation(text: &mut Text, live: &Snapshot) {
    text.family("custody_units", "counter", "Units by counter and outcome.");
    for (prefix, conserved) in &live.conserved {
        let whose = match prefix {
            None => "origin=\"other\"".into(),
            Some(of) => format!(
                "origin=\"{}\",epoch=\"{:016x}\",spacecraft=\"{}\",channel=\"{}\"",
                of.origin, of.epoch.0, of.spacecraft.0, of.channel
            ),
        };
        for ((outcome, reason), count) in conserved {
            let reason = match *reason {
                "" => String::new(),
                reason => format!(",reason=\"{}\"", escape(reason)),
            };
            let labels = format!("{whose},outcome=\"{outcome}\"{reason}");
            text.sample("custody_units_total", &labels, count);
        }
    }
}

fn insight(text: &mut Text, live: &Snapshot) {
    let insight = &live.capture_to_insight_ms;
    for (name, help, quantiles) in [
        ("capture_to_insight_seconds", "From capture to publication.", insight.all),
        (
            "capture_to_insight_in_contact_seconds",
            "From capture to publication, without the time out of contact.",
            insight.contact_wait_excluded,
        ),
    ] {
        text.family(name, "summary", help);
        for (share, millis) in [("0.5", quantiles.p50), ("0.99", quantiles.p99)] {
            if let Some(millis) = millis {
                text.sample(name, &format!("quantile=\"{share}\""), millis / 1000.0);
            }
        }
        text.sample(&format!("{name}_count"), "", insight.count);
    }
}

fn spacecraft(text: &mut Text, live: &Snapshot) {
    type Read = fn(&crate::publish::view::SpacecraftView) -> Option<f64>;
    let gauges: [(&str, &str, Read); 7] = [
        ("link_up", "1 while a session is open.", |craft| {
            Some(f64::from(craft.link.as_ref().is_some_and(|link| link.open)))
        }),
        ("link_round_trip_seconds", "Smoothed round trip.", |craft| {
            craft.link.as_ref().filter(|link| link.open).map(|link| link.rtt_ms / 1000.0)
        }),
        ("link_rate_bits_per_second", "Received rate.", |craft| {
            craft.link.as_ref().filter(|link| link.open).and_then(|link| link.rate_bps)
        }),
        ("backlog_units", "Units that the spacecraft says it holds.", |craft| {
            craft.backlog.map(|backlog| backlog.units as f64)
        }),
        ("backlog_bytes", "Bytes that the spacecraft says it holds.", |craft| {
            craft.backlog.and_then(|backlog| backlog.bytes).map(|bytes| bytes as f64)
        }),
        ("awaited_units", "Holes below the newest unit of each channel.", |craft| {
            Some(craft.custody.awaited as f64)
        }),
        ("voided_units", "Units left out on purpose.", |craft| Some(craft.custody.voided as f64)),
    ];
    for (name, help, read) in gauges {
        text.family(name, "gauge", help);
        for craft in &live.spacecraft {
            if let Some(value) = read(craft) {
                let name_label = escape(&craft.name);
                let labels = format!("spacecraft=\"{}\",name=\"{name_label}\"", craft.id);
                text.sample(name, &labels, value);
            }
        }
    }
}

fn doors(text: &mut Text, live: &Snapshot) {
    type Read = fn(&crate::publish::DoorView) -> u64;
    let families: [(&str, &str, &str, Read); 4] = [
        ("door_open", "gauge", "Connections that are up.", |door| door.open),
        ("door_connects", "counter", "Connections made.", |door| door.connects),
        ("door_sent", "counter", "Frames or packets handed out.", |door| door.sent),
        ("door_sent_bytes", "counter", "Bytes of those.", |door| door.sent_bytes),
    ];
    for (name, kind, help, read) in families {
        text.family(name, kind, help);
        let suffix = if kind == "counter" { "_total" } else { "" };
        for door in &live.doors {
            // A door's name has no character that a label would need escaped.
            text.sample(&format!("{name}{suffix}"), &format!("door=\"{}\"", door.name), read(door));
        }
    }
    text.family("door_dropped", "counter", "What was chosen and did not go out.");
    for door in &live.doors {
        for (reason, count) in &door.dropped {
            let labels = format!("door=\"{}\",reason=\"{}\"", door.name, escape(reason));
            text.sample("door_dropped_total", &labels, count);
        }
    }
}

fn radios(text: &mut Text, live: &Snapshot) {
    type Read = fn(&crate::publish::RadioView) -> u64;
    let families: [(&str, &str, Read); 7] = [
        ("rf_statements", "Signed statements said.", |radio| radio.statements),
        ("rf_statement_bytes", "Bytes of their CLTUs.", |radio| radio.statement_bytes),
        ("rf_unsaid", "What found no room to be said.", |radio| radio.unsaid),
        ("rf_parts", "Parts of units heard.", |radio| radio.parts),
        ("rf_parts_repeated", "Of them, those held already.", |radio| radio.parts_repeated),
        ("rf_units_rebuilt", "Units rebuilt whole from parts.", |radio| radio.rebuilt),
        ("rf_units_durable", "Of them, those durable as the mission asks.", |radio| radio.durable),
    ];
    for (name, help, read) in families {
        text.family(name, "counter", help);
        for radio in &live.radios {
            let labels = format!("spacecraft=\"{}\"", radio.spacecraft);
            text.sample(&format!("{name}_total"), &labels, read(radio));
        }
    }
    text.family("rf_refused", "counter", "Parts and units that led to nothing.");
    for radio in &live.radios {
        for (reason, count) in &radio.refused {
            let (craft, reason) = (radio.spacecraft, escape(reason));
            let labels = format!("spacecraft=\"{craft}\",reason=\"{reason}\"");
            text.sample("rf_refused_total", &labels, count);
        }
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# TYPE groundtrack_{name} {kind}");
        let _ = writeln!(self.0, "# HELP groundtrack_{name} {help}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = if labels.is_empty() {
            writeln!(self.0, "groundtrack_{name} {value}")
        } else {
            writeln!(self.0, "groundtrack_{name}{{{labels}}} {value}")
        };
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample(&format!("{name}_total"), "", value);
    }

    fn reasons(&mut self, name: &str, help: &str, values: &BTreeMap<&'static str, u64>) {
        self.family(name, "counter", help);
        for (reason, value) in values {
            let labels = format!("reason=\"{}\"", escape(reason));
            self.sample(&format!("{name}_total"), &labels, value);
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::{CONSERVED_MAX, Event, Live, Mission, Outcome};
    use codecs::ids::SpacecraftId;

    #[test]
    fn the_conservation_law_can_be_checked_from_outside() {
        let mut live = Live::default();
        for (outcome, count) in [
            (Outcome::Received, 10),
            (Outcome::Archived, 5),
            (Outcome::Duplicate, 2),
            (Outcome::Conflict, 1),
            (Outcome::Rejected("unknown_spacecraft"), 1),
            (Outcome::Shed("disk_full"), 1),
        ] {
            live.apply(Event::Custody { prefix: None, outcome, count });
        }
        let text = render(&live.snapshot(), None);
        for line in [
            "groundtrack_units_received_total 10",
            "groundtrack_units_archived_total 5",
            "groundtrack_units_rejected_total{reason=\"unknown_spacecraft\"} 1",
            "groundtrack_units_shed_total{reason=\"disk_full\"} 1",
            "groundtrack_units_in_flight 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn the_disk_is_told() {
        use crate::publish::{Look, WriteTrouble};
        use codecs::time::Tai;
        let mut live = Live::default();
        let look = Look::Here { free_bytes: 12 };
        live.apply(Event::DiskLooked { look, least_bytes: 4, at: Tai::from_unix(100, 0) });
        let trouble = Some(WriteTrouble::Full("No space left on device".into()));
        live.apply(Event::DiskWrote { trouble, at: Tai::from_unix(160, 0) });
        let text = render(&live.snapshot(), None);
        for line in [
            "groundtrack_archive_disk{groundtrack_archive_disk=\"full\"} 1",
            "groundtrack_archive_disk{groundtrack_archive_disk=\"good\"} 0",
            "groundtrack_archive_disk_since_seconds 160",
            "groundtrack_archive_disk_free_bytes 12",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn each_counter_balances_and_counters_are_bounded() {
        let mut live = Live::default();
        for stream in 0..2 * CONSERVED_MAX as u32 {
            let prefix = crate::ledger::tests::key(stream, 0).prefix;
            for (outcome, count) in
                [(Outcome::Received, 3), (Outcome::Archived, 2), (Outcome::Rejected("full"), 1)]
            {
                live.apply(Event::Custody { prefix: Some(prefix), outcome, count });
            }
        }
        let text = render(&live.snapshot(), None);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("groundtrack_custody_units_total"))
            .collect();
        assert_eq!(lines.len(), 3 * (CONSERVED_MAX + 1));
        let whose = "origin=\"07070707070707070707070707070707\",epoch=\"0000000000000e0c\",\
            spacecraft=\"7\",channel=\"stream 0\"";
        for (outcome, count) in [("received", 3), ("archived", 2), ("rejected\",reason=\"full", 1)]
        {
            let wanted =
                format!("groundtrack_custody_units_total{{{whose},outcome=\"{outcome}\"}} {count}");
            assert!(lines.contains(&wanted.as_str()), "{wanted} is not in {lines:#?}");
        }
        let other = format!("{{origin=\"other\",outcome=\"received\"}} {}", 3 * CONSERVED_MAX);
        assert!(lines.iter().any(|line| line.ends_with(&other)), "{other}");
    }

    #[test]
    fn names_can_not_break_out_of_a_label() {
        let mut live = Live::default();
        live.apply(Event::Mission(Mission {
            spacecraft: SpacecraftId(7),
            name: "a\"b\\c\nd".into(),
            channels: Vec::new(),
            parameters: Vec::new(),
        }));
        let text = render(&live.snapshot(), None);
        assert!(text.contains("name=\"a\\\"b\\\\c\\nd\"} 0"));
    }
}
