//! Who decides about the MODCOD: nobody (fixed), the elevation (VCM), or the station's reports (ACM).

use super::modcod::{Adaptation, Ladder, Margins, Modcod};
use std::collections::VecDeque;

/// A way to choose.
#[derive(Clone, Debug, PartialEq)]
pub enum Control {
    /// One for all.
    Fixed(Modcod),
    /// Degrees of elevation from which each is used, rising; the first holds below as well.
    Steps(Vec<(f64, Modcod)>),
    /// The highest that a clear sky allows with a margin, dB.
    Predicted(Ladder, f64),
    /// What the station's reports allow.
    Adaptive(Ladder, Reports),
}

/// How a station reports what it receives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reports {
    /// How its reports are used.
    pub margins: Margins,
    /// How often, ns.
    pub every_ns: i64,
    /// How long one is under way beside its flight, ns.
    pub delay_ns: i64,
}

/// What is known at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Now, ns.
    pub now_ns: i64,
    /// Elevation, degrees.
    pub elevation_deg: f64,
    /// Es/N0 under a clear sky, dB: what a planner knows.
    pub clear_db: f64,
    /// Es/N0 at the receiver, dB; none while it has no carrier.
    pub received_db: Option<f64>,
    /// One way, ns.
    pub flight_ns: i64,
}

/// A choice being made over a pass. Time does not run back.
#[derive(Clone, Debug)]
pub struct Chooser {
    control: Control,
    adaptation: Option<Adaptation>,
    /// Reports under way: when each arrives, and what it says.
    reports: VecDeque<(i64, f64)>,
    next_report_ns: i64,
    /// When the station last had something to report.
    reported_ns: Option<i64>,
}

/// Reports that may be missing before the sender takes the receiver for lost.
const MISSING: i64 = 3;
/// Reports under way at most: a flight of minutes at the fastest pace.
const MAX_REPORTS: usize = 100_000;

impl Chooser {
    /// Starts with the sturdiest.
    pub fn new(control: Control) -> Self {
        let adaptation = match &control {
            Control::Adaptive(ladder, reports) => {
                Some(Adaptation::new(ladder.clone(), reports.margins))
            }
            _ => None,
        };
        Self {
            control,
            adaptation,
            reports: VecDeque::new(),
            next_report_ns: i64::MIN,
            reported_ns: None,
        }
    }

    /// What is sent with now.
    pub fn choose(&mut self, seen: Seen) -> Modcod {
        match (&self.control, &mut self.adaptation) {
            (Control::Fixed(modcod), _) => *modcod,
            (Control::Steps(steps), _) => {
                let at = steps.partition_point(|step| step.0 <= seen.elevation_deg);
                steps[at.saturating_sub(1)].1
            }
            (Control::Predicted(ladder, margin_db), _) => {
                ladder.steps()[ladder.highest(seen.clear_db - margin_db).unwrap_or(0)]
            }
            (Control::Adaptive(ladder, reports), adaptation) => {
                let Some(adaptation) = adaptation else { return ladder.steps()[0] };
                if let Some(es_n0_db) = seen.received_db
                    && seen.now_ns >= self.next_report_ns
                    && self.reports.len() < MAX_REPORTS
                {
                    // What arrives now left a flight ago, and the report flies as long again.
                    let arrives = seen.now_ns + 2 * seen.flight_ns + reports.delay_ns;
                    self.reports.push_back((arrives, es_n0_db));
                    self.next_report_ns = seen.now_ns + reports.every_ns.max(1);
                }
                while self.reports.front().is_some_and(|report| report.0 <= seen.now_ns) {
                    if let Some((arrived, es_n0_db)) = self.reports.pop_front() {
                        adaptation.report(es_n0_db, arrived);
                    }
                }
                // Silence is a fade that no report came out of: begin again with the sturdiest.
                if seen.received_db.is_some() {
                    self.reported_ns = Some(seen.now_ns);
                }
                let patience_ns =
                    MISSING * reports.every_ns + 2 * seen.flight_ns + reports.delay_ns;
                if self.reported_ns.is_some_and(|last| seen.now_ns - last > patience_ns) {
                    adaptation.report(f64::NEG_INFINITY, seen.now_ns);
                    self.reported_ns = None;
                }
                adaptation.modcod()
            }
        }
    }

    /// How often it changed by reports.
    pub fn changes(&self) -> u64 {
        self.adaptation.as_ref().map_or(0, Adaptation::changes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::modcod::DVB_S2;
    use super::*;

    const MS: i64 = 1_000_000;

    fn seen(now_ms: i64, received_db: f64) -> Seen {
        Seen {
            now_ns: now_ms * MS,
            elevation_deg: 30.0,
            clear_db: 9.0,
            received_db: Some(received_db),
            flight_ns: 120 * MS,
        }
    }

    #[test]
    fn a_fade_is_answered_a_round_trip_and_a_report_later() {
        let reports = Reports {
            margins: Margins { margin_db: 0.5, hysteresis_db: 0.3, hold_ns: 0 },
            every_ns: 10 * MS,
            delay_ns: 60 * MS,
        };
        let mut chooser = Chooser::new(Control::Adaptive(Ladder::new(&DVB_S2).unwrap(), reports));
        let at = |chooser: &mut Chooser, ms| {
            chooser.choose(seen(ms, if ms < 1_000 { 12.0 } else { 5.0 }))
        };
        for ms in (0..1_000).step_by(10) {
            at(&mut chooser, ms);
        }
        let before = chooser.choose(seen(1_000, 5.0));
        assert_eq!(before.name, "16APSK 4/5");
        // 2 x 120 ms of flight and 60 ms of modem: until then the old one is sent, and lost.
        for ms in (1_010..1_300).step_by(10) {
            assert_eq!(at(&mut chooser, ms), before, "{ms}");
        }
        assert!(at(&mut chooser, 1_300).es_n0_db <= 4.5);
    }

    #[test]
    fn silence_is_answered_with_the_sturdiest() {
        let reports = Reports {
            margins: Margins { margin_db: 0.5, hysteresis_db: 0.3, hold_ns: 0 },
            every_ns: 10 * MS,
            delay_ns: 0,
        };
        let mut chooser = Chooser::new(Control::Adaptive(Ladder::new(&DVB_S2).unwrap(), reports));
        for ms in (0..1_000).step_by(10) {
            chooser.choose(seen(ms, 12.0));
        }
        let lost = |ms| Seen { received_db: None, ..seen(ms, 12.0) };
        // What is under way still arrives: 240 ms later the last report, then three are missing.
        assert_eq!(chooser.choose(lost(1_250)).name, "16APSK 4/5");
        assert_eq!(chooser.choose(lost(1_400)).name, "QPSK 1/4");
    }

    #[test]
    fn steps_and_predictions_follow_the_sky() {
        let steps = vec![(5.0, DVB_S2[3]), (20.0, DVB_S2[12]), (60.0, DVB_S2[20])];
        let mut chooser = Chooser::new(Control::Steps(steps));
        for (elevation_deg, name) in
            [(2.0, "QPSK 1/2"), (5.0, "QPSK 1/2"), (20.0, "8PSK 2/3"), (89.0, "16APSK 5/6")]
        {
            assert_eq!(chooser.choose(Seen { elevation_deg, ..seen(0, 0.0) }).name, name);
        }
        let ladder = Ladder::new(&DVB_S2).unwrap();
        let mut chooser = Chooser::new(Control::Predicted(ladder, 1.0));
        // Nothing but the clear sky counts.
        assert_eq!(chooser.choose(seen(0, -20.0)).name, "8PSK 3/4");
        assert_eq!(chooser.choose(Seen { clear_db: -9.0, ..seen(0, 9.0) }).name, "QPSK 1/4");
    }
}
