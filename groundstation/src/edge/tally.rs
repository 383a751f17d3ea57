//! What an edge counts, and how it tells it.

use super::{intake::IntakeCounts, radiate::UplinkTally};
use codecs::link::object::Quality;
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write as _};

/// What became of one input since the start, all its connections together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InputTally {
    /// Name.
    pub name: String,
    /// Bytes read.
    pub bytes: u64,
    /// Connections made or taken; a file or socket counts as one.
    pub connections: u64,
    /// Connections now.
    pub open: u64,
    /// Of them, those with coded units in which markers are found now.
    pub in_sync: u64,
    /// Units without a correction.
    pub good: u64,
    /// Units with corrected symbols.
    pub corrected: u64,
    /// Symbols corrected.
    pub corrected_symbols: u64,
    /// Units known to be wrong; kept, and told apart.
    pub erred: u64,
    /// Units of which nothing tells.
    pub undetermined: u64,
    /// Of all of these, those on the channel `unidentified`.
    pub unidentified: u64,
    /// Datagrams and KISS frames left out, for they hold no unit of the kind configured.
    pub malformed: u64,
    /// Streams given up because nothing told where the next unit began.
    pub streams_lost: u64,
    /// Bytes behind the last whole unit of streams that ended.
    pub trailing_bytes: u64,
    /// Bits in which no marker was found.
    pub skipped_bits: u64,
    /// Times that the marker was lost.
    pub sync_lost: u64,
    /// Datagrams that the system dropped because the socket's buffer was full.
    pub dropped_datagrams: u64,
    /// Units of a file that were left out, for the spool has them from before this start.
    pub kept_before: u64,
    /// A file or standard input that waits, for the spool is full.
    pub waits: bool,
    /// A file or standard input that has ended.
    pub ended: bool,
    /// A file that was read to its end before this start, and was not read again.
    pub passed_over: bool,
}

impl InputTally {
    /// Counts a unit.
    pub fn heard(&mut self, quality: Quality, corrected_symbols: u16, unidentified: bool) {
        let counter = match quality {
            Quality::Good => &mut self.good,
            Quality::Corrected => &mut self.corrected,
            Quality::Erred => &mut self.erred,
            Quality::Undetermined => &mut self.undetermined,
        };
        *counter += 1;
        self.corrected_symbols += u64::from(corrected_symbols);
        self.unidentified += u64::from(unidentified);
    }

    /// Adds what a stream counted since it was last asked.
    pub fn add(&mut self, now: &IntakeCounts, before: &IntakeCounts) {
        self.malformed += now.malformed - before.malformed;
        self.trailing_bytes += now.trailing_bytes - before.trailing_bytes;
        self.skipped_bits += now.skipped_bits.saturating_sub(before.skipped_bits);
        self.sync_lost += now.sync_lost - before.sync_lost;
        self.in_sync = self.in_sync + u64::from(now.in_sync) - u64::from(before.in_sync);
    }

    /// Units of every quality.
    pub const fn units(&self) -> u64 {
        self.good + self.corrected + self.erred + self.undetermined
    }
}

/// State of the link; all but `up` since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LinkTally {
    /// A station has welcomed the edge and is there now.
    pub up: bool,
    /// Connections made.
    pub connections: u64,
    /// Units handed to streams, repeats included.
    pub units_written: u64,
    /// Bytes of UDP payload sent, handshakes and repeats included.
    pub udp_bytes: u64,
}

impl From<codecs_quic::LinkCounts> for LinkTally {
    fn from(counts: codecs_quic::LinkCounts) -> Self {
        let codecs_quic::LinkCounts { up, connections, units_written, udp_bytes, .. } = counts;
        Self { up, connections, units_written, udp_bytes }
    }
}

/// State of the spool, by the time that its numbers are of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SpoolTally {
    /// At this moment.
    pub now: SpoolNow,
    /// Since this start.
    pub run: SpoolRun,
    /// Since the spool was made, over all starts.
    pub ever: SpoolEver,
}

/// The spool at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SpoolNow {
    /// Units without a receipt of the class that lets them go.
    pub backlog_units: u64,
    /// Their bytes, annotations included.
    pub backlog_bytes: u64,
    /// Of them, units that the station refused for good.
    pub units_stuck: u64,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Most bytes on the disk.
    pub bytes_max: u64,
    /// Whether it can't write, so that inputs wait.
    pub stuck: bool,
}

/// The spool since this start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SpoolRun {
    /// Sequences given out.
    pub units_numbered: u64,
    /// Units receipted.
    pub units_receipted: u64,
    /// Units given up for want of room; voids name them.
    pub units_voided: u64,
}

/// The spool since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SpoolEver {
    /// Sequences given out.
    pub units_numbered: u64,
    /// Of them, those that were synced: what outlives a kill.
    pub units_durable: u64,
}

/// Everything told at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// `status`, or `done` at a clean stop.
    pub event: &'static str,
    /// When the edge was started, RFC 3339: what is counted since the start is since then.
    pub started: String,
    /// Each input.
    pub inputs: Vec<InputTally>,
    /// The spool.
    pub spool: SpoolTally,
    /// The link.
    pub link: LinkTally,
    /// Units refused since the start, by reason, repeats included.
    pub refused: BTreeMap<&'static str, u64>,
    /// What was radiated since the start, where there is a modem for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink: Option<UplinkTally>,
}

impl Tally {
    /// One line for people.
    pub fn line(&self) -> String {
        let sum = |of: fn(&InputTally) -> u64| self.inputs.iter().map(of).sum::<u64>();
        let Self { spool, link, .. } = self;
        let mut line = format!(
            "heard {}: good {}, corrected {}, erred {}, undetermined {}; backlog {} units, {} \
             bytes; spool {} of {} bytes; link {}",
            sum(InputTally::units),
            sum(|of| of.good),
            sum(|of| of.corrected),
            sum(|of| of.erred),
            sum(|of| of.undetermined),
            spool.now.backlog_units,
            spool.now.backlog_bytes,
            spool.now.bytes,
            spool.now.bytes_max,
            if link.up { "up" } else { "down" },
        );
        let also = [
            ("malformed", sum(|of| of.malformed)),
            ("bits without a marker", sum(|of| of.skipped_bits)),
            ("datagrams dropped", sum(|of| of.dropped_datagrams)),
            ("voided", spool.run.units_voided),
            ("refused for good", spool.now.units_stuck),
        ];
        if let Some(UplinkTally { taken, radiated, .. }) = &self.uplink {
            let _ = write!(line, "; radiated {radiated} of {taken}");
        }
        for (what, count) in also.into_iter().filter(|(_, count)| *count > 0) {
            let _ = write!(line, "; {what} {count}");
        }
        line
    }

    /// The same for Prometheus (text format 0.0.4).
    pub fn metrics(&self) -> String {
        let mut out = String::new();
        for input in &self.inputs {
            let name = input.name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ");
            for (quality, count) in [
                ("good", input.good),
                ("corrected", input.corrected),
                ("erred", input.erred),
                ("undetermined", input.undetermined),
            ] {
                let labels = format!("{{input=\"{name}\",quality=\"{quality}\"}}");
                let _ = writeln!(out, "groundtrack_edge_units_total{labels} {count}");
            }
            for (metric, count) in [
                ("bytes_total", input.bytes),
                ("malformed_total", input.malformed),
                ("dropped_datagrams_total", input.dropped_datagrams),
                ("streams_lost_total", input.streams_lost),
                ("unidentified_total", input.unidentified),
                ("skipped_bits_total", input.skipped_bits),
                ("sync_lost_total", input.sync_lost),
                ("trailing_bytes_total", input.trailing_bytes),
                ("kept_before_total", input.kept_before),
                ("waits", u64::from(input.waits)),
                ("open", input.open),
                ("in_sync", input.in_sync),
            ] {
                let _ = writeln!(out, "groundtrack_edge_{metric}{{input=\"{name}\"}} {count}");
            }
        }
        let (spool, link) = (&self.spool, &self.link);
        for (metric, value) in [
            ("backlog_units", spool.now.backlog_units),
            ("backlog_bytes", spool.now.backlog_bytes),
            ("spool_bytes", spool.now.bytes),
            ("spool_bytes_max", spool.now.bytes_max),
            ("spool_stuck", u64::from(spool.now.stuck)),
            ("refused_for_good", spool.now.units_stuck),
            ("numbered_total", spool.run.units_numbered),
            ("receipted_total", spool.run.units_receipted),
            ("voided_total", spool.run.units_voided),
            ("numbered_ever", spool.ever.units_numbered),
            ("durable_ever", spool.ever.units_durable),
            ("link_up", u64::from(link.up)),
            ("connections_total", link.connections),
            ("units_written_total", link.units_written),
            ("udp_bytes_total", link.udp_bytes),
        ] {
            let _ = writeln!(out, "groundtrack_edge_{metric} {value}");
        }
        if let Some(uplink) = &self.uplink {
            for (metric, value) in [
                ("uplink_taken_total", uplink.taken),
                ("uplink_radiated_total", uplink.radiated),
                ("uplink_radiated_bytes_total", uplink.radiated_bytes),
                ("uplink_waiting", uplink.waiting),
            ] {
                let _ = writeln!(out, "groundtrack_edge_{metric} {value}");
            }
            for (reason, count) in &uplink.dropped {
                let labels = format!("{{reason=\"{reason}\"}}");
                let _ = writeln!(out, "groundtrack_edge_uplink_dropped_total{labels} {count}");
            }
        }
        for (reason, count) in &self.refused {
            let _ = writeln!(out, "groundtrack_edge_refused_total{{reason=\"{reason}\"}} {count}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_wrong_stands_in_the_line_and_in_the_metrics() {
        let mut input = InputTally { name: "a \"modem\"".into(), ..InputTally::default() };
        input.heard(Quality::Corrected, 7, false);
        input.heard(Quality::Erred, 0, true);
        let counts = IntakeCounts { malformed: 3, in_sync: true, ..IntakeCounts::default() };
        input.add(&counts, &IntakeCounts { malformed: 1, ..IntakeCounts::default() });
        let run = SpoolRun { units_voided: 9, ..SpoolRun::default() };
        let ever = SpoolEver { units_numbered: 70, units_durable: 60 };
        let spool = SpoolTally { run, ever, ..SpoolTally::default() };
        let refused = [("forbidden", 2)].into();
        let dropped = [("late", 4)].into();
        let uplink = Some(UplinkTally { taken: 9, radiated: 5, dropped, ..UplinkTally::default() });
        let tally = Tally { inputs: vec![input], spool, refused, uplink, ..Tally::default() };
        let line = tally.line();
        assert!(line.starts_with("heard 2: good 0, corrected 1, erred 1"), "{line}");
        assert!(line.ends_with("link down; radiated 5 of 9; malformed 2; voided 9"), "{line}");
        let metrics = tally.metrics();
        let wanted = r#"groundtrack_edge_units_total{input="a \"modem\"",quality="corrected"} 1"#
            .replace(r"\\", r"\");
        assert!(metrics.contains(&wanted), "{metrics}");
        // What is of a run ends in `_total`, as counters do; what outlives it must not.
        assert!(metrics.contains("groundtrack_edge_numbered_ever 70\n"), "{metrics}");
        assert!(metrics.contains("groundtrack_edge_voided_total 9\n"), "{metrics}");
        assert!(metrics.contains("in_sync{input=\"a \\\"modem\\\"\"} 1\n"), "{metrics}");
        let late = "groundtrack_edge_uplink_dropped_total{reason=\"late\"} 4\n";
        assert!(metrics.contains(late), "{metrics}");
        assert!(metrics.contains("groundtrack_edge_refused_total{reason=\"forbidden\"} 2"));
    }
}
