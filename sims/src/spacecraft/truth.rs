//! What a detector told against what was broken.

use std::collections::BTreeMap;

use codecs::time::Tai;
use serde::Serialize;

use super::faults::{Fault, FaultKind};

/// A fault is still told a while after it healed: the last windows of a detector hold it.
pub const GRACE_S: f64 = 900.0;
const DAY_S: f64 = 86_400.0;

/// Something that a detector told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Of which instant.
    pub at: Tai,
    /// Of which parameter.
    pub parameter: String,
}

/// How one fault was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// What was broken.
    pub fault: FaultKind,
    /// Since when.
    pub start: String,
    /// Seconds until it was told by a parameter that it shows in; none where it never was.
    pub told_after_s: Option<f64>,
    /// The parameter that told it first.
    pub by: Option<String>,
}

/// A detector against the truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scored {
    /// Faults that were there in the time scored, in the order of the labels.
    pub faults: Vec<Found>,
    /// Faults of the labels that began after that time or had healed before it.
    pub left_out: usize,
    /// How many were told.
    pub found: usize,
    /// Share of the faults that were told, 0 to 1; none without a fault.
    pub recall: Option<f64>,
    /// What was told of a time at which nothing was broken.
    pub false_alarms: usize,
    /// The same a day, over the time without a fault.
    pub false_alarms_per_day: Option<f64>,
    /// False alarms by parameter.
    pub by_parameter: BTreeMap<String, usize>,
    /// What was told of a broken time, by a parameter that no fault of then shows in.
    pub elsewhere: usize,
}

fn seconds(from: Tai, to: Tai) -> f64 {
    to.since(from) as f64 / 1e9
}

/// Whether what is told of an instant may be of a fault.
pub fn includes(fault: &Fault, at: Tai) -> bool {
    let healed = fault.end.is_some_and(|end| seconds(end, at) >= GRACE_S);
    seconds(fault.start, at) >= 0.0 && !healed
}

/// Scores what was told between two instants. A fault that was not there then is no fault to be
/// found; what is told in the grace after one that had just healed is still no false alarm.
pub fn score(faults: &[Fault], told: &[Told], from: Tai, until: Tai) -> Scored {
    let told: Vec<&Told> = told.iter().filter(|one| one.at >= from && one.at < until).collect();
    let there = |fault: &&Fault| fault.start < until && fault.end.is_none_or(|end| end > from);
    let found: Vec<Found> = faults.iter().filter(there).map(|fault| find(fault, &told)).collect();
    let mut by_parameter = BTreeMap::new();
    let (mut false_alarms, mut elsewhere) = (0, 0);
    for one in &told {
        let mut broken = faults.iter().filter(|fault| includes(fault, one.at)).peekable();
        if broken.peek().is_none() {
            false_alarms += 1;
            *by_parameter.entry(one.parameter.clone()).or_default() += 1;
        } else if !broken.any(|fault| fault.kind.shows_in(&one.parameter)) {
            elsewhere += 1;
        }
    }
    let hits = found.iter().filter(|fault| fault.told_after_s.is_some()).count();
    let quiet_s = quiet(faults, from, until);
    Scored {
        recall: (!found.is_empty()).then(|| hits as f64 / found.len() as f64),
        left_out: faults.len() - found.len(),
        faults: found,
        found: hits,
        false_alarms,
        false_alarms_per_day: (quiet_s > 0.0).then(|| false_alarms as f64 * DAY_S / quiet_s),
        by_parameter,
        elsewhere,
    }
}

fn find(fault: &Fault, told: &[&Told]) -> Found {
    let fits = |one: &&&Told| includes(fault, one.at) && fault.kind.shows_in(&one.parameter);
    let first = told.iter().filter(fits).min_by_key(|one| one.at);
    Found {
        fault: fault.kind,
        start: fault.start.to_rfc3339(),
        told_after_s: first.map(|one| seconds(fault.start, one.at)),
        by: first.map(|one| one.parameter.clone()),
    }
}

/// Seconds in which nothing was broken.
fn quiet(faults: &[Fault], from: Tai, until: Tai) -> f64 {
    let clamped = |at: Tai| at.clamp(from, until.max(from));
    let grace = |end: Tai| clamped(clamped(end).plus((GRACE_S * 1e9) as i64));
    let mut broken: Vec<(Tai, Tai)> = faults
        .iter()
        .map(|fault| (clamped(fault.start), fault.end.map_or(clamped(until), grace)))
        .collect();
    broken.sort();
    let mut reached = from;
    let mut quiet = 0.0;
    for (start, end) in broken {
        quiet += seconds(reached, start).max(0.0);
        reached = reached.max(end);
    }
    quiet + seconds(reached, until).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn fault(kind: FaultKind, start: i64, end: i64) -> Fault {
        let at = |seconds: i64| Tai(seconds * SECOND);
        Fault { kind, start: at(start), end: Some(at(end)), ramp_s: 0.0, severity: 1.0 }
    }

    fn told(at: i64, parameter: &str) -> Told {
        Told { at: Tai(at * SECOND), parameter: parameter.into() }
    }

    #[test]
    fn a_fault_is_found_by_what_shows_it_and_nothing_else() {
        let wheel = fault(FaultKind::WheelBearing { wheel: 0 }, 1_000, 2_000);
        let string = fault(FaultKind::SolarString { string: 2 }, 1_500, 2_500);
        let all = [
            told(500, "EPS_SOLAR_POWER"),
            told(1_010, "GYRO_RATE_X"),
            told(1_030, "ADCS_WHEEL_1_CURRENT"),
            told(1_020, "ADCS_WHEEL_1_VIBRATION"),
            told(3_500, "EPS_SOLAR_POWER"),
            told(90_000, "EPS_SOLAR_POWER"),
        ];
        let scored = score(&[wheel, string], &all, Tai(0), Tai(86_400 * SECOND));
        assert_eq!(scored.faults[0].told_after_s, Some(20.0));
        assert_eq!(scored.faults[0].by.as_deref(), Some("ADCS_WHEEL_1_VIBRATION"));
        assert_eq!((scored.found, scored.recall), (1, Some(0.5)));
        assert_eq!((scored.false_alarms, scored.elsewhere), (2, 1));
        // Broken from 1,000 to 3,400 in one piece.
        let day = scored.false_alarms_per_day.unwrap();
        assert!((day - 2.0 * 86_400.0 / (86_400.0 - 2_400.0)).abs() < 1e-9, "{day}");
    }

    #[test]
    fn a_fault_outside_the_time_scored_is_left_out_and_not_missed() {
        let kind = FaultKind::WheelBearing { wheel: 0 };
        let faults = [fault(kind, 0, 1_000), fault(kind, 2_000, 3_000), fault(kind, 9_000, 9_500)];
        let told = [told(1_100, "EPS_LIGHT"), told(2_500, "ADCS_WHEEL_1_CURRENT")];
        let scored = score(&faults, &told, Tai(1_000 * SECOND), Tai(9_000 * SECOND));
        assert_eq!((scored.faults.len(), scored.left_out), (1, 2));
        assert_eq!((scored.found, scored.recall), (1, Some(1.0)));
        // The first one had healed a hundred seconds before: its grace is not over.
        assert_eq!((scored.false_alarms, scored.elsewhere), (0, 1));
        let none = score(&faults, &told, Tai(4_000 * SECOND), Tai(5_000 * SECOND));
        assert_eq!((none.recall, none.left_out), (None, 3));
    }

    #[test]
    fn without_faults_everything_told_is_false() {
        let scored = score(&[], &[told(1, "A"), told(2, "A")], Tai(0), Tai(86_400 * SECOND));
        assert_eq!((scored.recall, scored.false_alarms_per_day), (None, Some(2.0)));
        assert_eq!(scored.by_parameter["A"], 2);
        assert_eq!(score(&[], &[], Tai(5), Tai(5)).false_alarms_per_day, None);
    }
}
