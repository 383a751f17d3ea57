//! Labelled faults: what breaks, when, how badly. Labels never enter the telemetry.

use codecs::time::Tai;
use serde::Serialize;

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// Friction and vibration of one wheel's bearing (severity 1: friction ninefold).
    WheelBearing {
        /// Which wheel, 0 to 3.
        wheel: u8,
    },
    /// Inner resistance and lost capacity of the battery's cells.
    BatteryCell,
    /// The battery's thermistor shows what it showed at the start.
    StuckThermistor,
    /// One string of the solar array gives nothing.
    SolarString {
        /// Which string, 0 to 2.
        string: u8,
    },
}

/// One fault of a schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// What breaks.
    pub kind: FaultKind,
    /// When it starts.
    pub start: Tai,
    /// When it ends, if it heals.
    pub end: Option<Tai>,
    /// Seconds from the start to full severity.
    pub ramp_s: f64,
    /// How badly, 1 as documented at the kind.
    pub severity: f64,
}

impl Fault {
    /// Severity at an instant, 0 outside the fault.
    pub fn severity_at(&self, at: Tai) -> f64 {
        let since_s = at.since(self.start) as f64 / 1e9;
        if since_s < 0.0 || self.end.is_some_and(|end| at >= end) {
            return 0.0;
        }
        let grown = if self.ramp_s > 0.0 { (since_s / self.ramp_s).min(1.0) } else { 1.0 };
        self.severity * grown
    }
}

/// A schedule of faults.
#[derive(Clone, Debug, Default)]
pub struct Faults(Vec<Fault>);

/// A label as the labels file holds it, one JSON object a line.
#[derive(Debug, Serialize)]
struct Label<'a> {
    fault: &'a FaultKind,
    start: String,
    end: Option<String>,
    severity: f64,
}

impl Faults {
    /// A schedule in any order; overlapping faults of one kind don't add up, the worst counts.
    pub fn new(faults: Vec<Fault>) -> Self {
        Self(faults)
    }

    /// The worst severity of a kind at an instant.
    pub fn severity(&self, kind: FaultKind, at: Tai) -> f64 {
        let matching = self.0.iter().filter(|fault| fault.kind == kind);
        matching.map(|fault| fault.severity_at(at)).fold(0.0, f64::max)
    }

    /// The labels as JSON lines: the truth that a detector is scored against.
    pub fn labels(&self) -> String {
        let mut text = String::new();
        for fault in &self.0 {
            let label = Label {
                fault: &fault.kind,
                start: fault.start.to_rfc3339(),
                end: fault.end.map(Tai::to_rfc3339),
                severity: fault.severity,
            };
            text.push_str(&serde_json::to_string(&label).unwrap_or_default());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_ramps_and_heals() {
        let kind = FaultKind::WheelBearing { wheel: 2 };
        let fault = Fault {
            kind,
            start: Tai(0),
            end: Some(Tai(20_000_000_000)),
            ramp_s: 10.0,
            severity: 2.0,
        };
        let faults = Faults::new(vec![fault]);
        let at = |seconds: i64| faults.severity(kind, Tai(seconds * 1_000_000_000));
        assert_eq!([at(-1), at(0), at(5), at(15), at(20)], [0.0, 0.0, 1.0, 2.0, 0.0]);
        assert_eq!(faults.severity(FaultKind::BatteryCell, Tai(5)), 0.0);
        assert!(faults.labels().contains("\"wheel-bearing\":{\"wheel\":2}"));
    }
}
