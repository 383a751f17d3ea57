//! Records: what a spacecraft's own store wants remembered, and what of it concerns an operator.
//!
//! A record is one JSON object with an `event` and, where the spacecraft knew it, `time_ns` (TAI).
//! Members and events that this station doesn't know are ignored: an older station reads a newer
//! spacecraft, and everything stays in the archive.

use crate::publish::{AlarmState, Event, Level};
use codecs::ids::{SpacecraftId, UnitKey};
use codecs::time::Tai;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Longest record read; longer ones stay in the archive unread.
pub const RECORD_BYTES_MAX: usize = 64 << 10;

/// Anomalies that stand. At the bound the one that was seen longest ago is over.
pub const ANOMALIES_MAX: usize = 256;

/// Onboard time after which an anomaly that is not seen again is over.
pub const QUIET_NS: i64 = 60_000_000_000;

#[derive(Deserialize)]
struct Record {
    event: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    parameter: String,
    #[serde(default)]
    model: String,
    #[serde(default)]
    method: String,
    by_shape: Option<f64>,
    by_level: Option<f64>,
    time_ns: Option<i64>,
    #[serde(default)]
    units: u64,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    source: String,
    #[serde(default)]
    file: String,
    #[serde(default)]
    outcome: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    sequence: u64,
}

/// Reads records and knows which anomalies stand.
#[derive(Debug, Default)]
pub struct Records {
    anomalies: BTreeMap<(SpacecraftId, String), Anomaly>,
}

#[derive(Clone, Debug)]
struct Anomaly {
    id: String,
    message: String,
    most: f64,
    last: Tai,
}

impl Records {
    /// Takes a record; an error in words where it can't be read.
    pub fn take(
        &mut self,
        key: &UnitKey,
        received: Tai,
        bytes: &[u8],
        sink: &mut Vec<Event>,
    ) -> Result<(), String> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(format!("a record of {} bytes; read are {RECORD_BYTES_MAX}", bytes.len()));
        }
        let record: Record = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let spacecraft = key.prefix.spacecraft;
        // A spacecraft that has not seen a packet yet has no time.
        let time = record.time_ns.filter(|time| *time > 0).map_or(received, Tai);
        match record.event.as_str() {
            "backlog" => {
                let Record { units, bytes, .. } = record;
                let origin = key.prefix.origin;
                sink.push(Event::Backlog { spacecraft, origin, units, bytes });
            }
            "anomaly" => self.anomaly(spacecraft, record, time, sink),
            "model suspended" => {
                let message =
                    format!("onboard model {} suspended: {}", record.model, record.reason);
                sink.push(notice(spacecraft, &format!("model {}", record.model), message, time));
            }
            "statistics only" => {
                let message = format!("scores by statistics only: {}", record.reason);
                sink.push(notice(spacecraft, "onboard models", message, time));
            }
            "uplink" if record.outcome != "done" => {
                let Record { outcome, detail, sequence, reason, .. } = record;
                let why = [reason, detail].into_iter().filter(|part| !part.is_empty());
                let why: Vec<String> = why.collect();
                let message = format!("uplink object {sequence}: {outcome} {}", why.join(", "));
                sink.push(notice(spacecraft, "uplink", message.trim_end().into(), time));
            }
            "configuration rolled back" => {
                let message = format!("the configuration on trial was left: {}", record.reason);
                sink.push(notice(spacecraft, "onboard configuration", message, time));
            }
            "store damaged" => {
                sink.push(notice(spacecraft, "onboard store", record.reason, time));
            }
            "no watchdog" => {
                sink.push(notice(spacecraft, "onboard watchdog", record.reason, time));
            }
            "datagrams lost" => {
                sink.push(notice(spacecraft, "onboard sources", record.reason, time));
            }
            "file rejected" | "file taken in part" => {
                let Record { source, file, reason, .. } = record;
                let how = record.event.trim_start_matches("file ");
                let first = reason.lines().next().unwrap_or_default();
                let message = format!("file {file} of {source} was {how}: {first}");
                sink.push(notice(spacecraft, "onboard files", message, time));
            }
            "squeeze failed" => {
                let message = format!("packets could not be squeezed: {}", record.reason);
                sink.push(notice(spacecraft, "squeeze", message, time));
            }
            _ => {}
        }
        Ok(())
    }

    fn anomaly(
        &mut self,
        spacecraft: SpacecraftId,
        record: Record,
        time: Tai,
        sink: &mut Vec<Event>,
    ) {
        let (shape, level) = (record.by_shape.unwrap_or(0.0), record.by_level.unwrap_or(0.0));
        let (how, score) = if shape >= level { ("shape", shape) } else { ("level", level) };
        let by = if record.method.is_empty() { "onboard" } else { &record.method };
        let message = format!("{} has an unusual {how}, score {score:.2} ({by})", record.parameter);
        let at = (spacecraft, record.parameter);
        let standing = self.anomalies.get(&at);
        let id = standing.map_or_else(
            || format!("{}-anomaly-{}-{}", spacecraft.0, at.1, time.0),
            |standing| standing.id.clone(),
        );
        let last = standing.map_or(time, |standing| standing.last.max(time));
        // The clearest view of an anomaly describes it.
        let (message, most) = match standing {
            Some(standing) if standing.most > score => (standing.message.clone(), standing.most),
            _ => (message, score),
        };
        sink.push(alarm(&id, &at, &message, time, AlarmState::Raised));
        self.anomalies.insert(at, Anomaly { id, message, most, last });
        if self.anomalies.len() > ANOMALIES_MAX {
            let oldest = self.anomalies.iter().min_by_key(|(_, anomaly)| anomaly.last);
            if let Some(at) = oldest.map(|(at, _)| at.clone()) {
                self.over(&at, sink);
            }
        }
    }

    /// Clears the anomalies that were not seen again, now that a spacecraft's time is `newest`.
    pub fn settle(&mut self, spacecraft: SpacecraftId, newest: Tai, sink: &mut Vec<Event>) {
        let quiet: Vec<_> = self
            .anomalies
            .iter()
            .filter(|(at, anomaly)| at.0 == spacecraft && newest.since(anomaly.last) > QUIET_NS)
            .map(|(at, _)| at.clone())
            .collect();
        quiet.iter().for_each(|at| self.over(at, sink));
    }

    fn over(&mut self, at: &(SpacecraftId, String), sink: &mut Vec<Event>) {
        if let Some(anomaly) = self.anomalies.remove(at) {
            let message = format!("{}; quiet since", anomaly.message);
            let time = anomaly.last.plus(QUIET_NS);
            sink.push(alarm(&anomaly.id, at, &message, time, AlarmState::Cleared));
        }
    }
}

fn alarm(
    id: &str,
    at: &(SpacecraftId, String),
    message: &str,
    time: Tai,
    state: AlarmState,
) -> Event {
    Event::Alarm {
        id: id.to_owned(),
        spacecraft: at.0,
        parameter: at.1.clone(),
        message: message.to_owned(),
        // A model's opinion: limits alone are red.
        level: Level::Yellow,
        time,
        state,
    }
}

/// Something that the spacecraft wants an operator to know; it stands until the next start.
fn notice(spacecraft: SpacecraftId, part: &str, message: String, time: Tai) -> Event {
    let id = format!("{}-{part}-{}", spacecraft.0, time.0);
    alarm(&id, &(spacecraft, part.to_owned()), &message, time, AlarmState::Raised)
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::ids::{Channel, KeyPrefix, Origin, StoreEpoch};

    const CRAFT: SpacecraftId = SpacecraftId(7);
    const START: Tai = Tai(1_795_392_037_000_000_000);

    fn take(records: &mut Records, text: &str) -> Result<Vec<Event>, String> {
        let prefix = KeyPrefix {
            origin: Origin([0; 16]),
            epoch: StoreEpoch(1),
            spacecraft: CRAFT,
            channel: Channel::RECORDS,
        };
        let mut told = vec![];
        records
            .take(&UnitKey { prefix, sequence: 3 }, Tai(50), text.as_bytes(), &mut told)
            .map(|()| told)
    }

    fn plain(events: Vec<Event>) -> Vec<(String, AlarmState, String)> {
        let row = |event| match event {
            Event::Alarm { id, state, message, .. } => (id, state, message),
            other => panic!("{other:?}"),
        };
        events.into_iter().map(row).collect()
    }

    #[test]
    fn an_anomaly_is_one_alarm_until_it_is_quiet() {
        let mut records = Records::default();
        let mut seen = |second: i64, shape: f64| {
            let text = format!(
                r#"{{"event":"anomaly","parameter":"X","value":1.5,"score":0.0,"by_shape":{shape},
                "by_level":0.2,"level":"yellow","method":"model","time_ns":{}}}"#,
                START.plus(second * 1_000_000_000).0
            );
            plain(take(&mut records, &text).unwrap())
        };
        let (first, again) = (seen(1, 0.934), seen(30, 0.1));
        assert_eq!(first[0].0, again[0].0, "the same alarm");
        assert_eq!(again[0].2, "X has an unusual shape, score 0.93 (model)");
        let start = START.plus(30_000_000_000);
        let mut told = vec![];
        records.settle(CRAFT, start.plus(QUIET_NS), &mut told);
        records.settle(SpacecraftId(8), start.plus(2 * QUIET_NS), &mut told);
        assert!(told.is_empty());
        records.settle(CRAFT, start.plus(QUIET_NS + 1), &mut told);
        records.settle(CRAFT, start.plus(QUIET_NS + 2), &mut told);
        let told = plain(told);
        assert_eq!((told.len(), told[0].1), (1, AlarmState::Cleared));
        assert_eq!(told[0].0, first[0].0);
    }

    #[test]
    fn notices_and_backlogs_are_told_and_the_unknown_stays_in_the_archive() {
        let mut records = Records::default();
        let mut take = |text: &str| take(&mut records, text);
        let told =
            plain(take(r#"{"event":"model suspended","model":"tiles","reason":"slow"}"#).unwrap());
        assert_eq!(told[0].2, "onboard model tiles suspended: slow");
        for (event, wanted) in [
            ("file rejected", "file x.bin of p was rejected: at byte 0: 9 bytes"),
            ("file taken in part", "file x.bin of p was taken in part: at byte 0: 9 bytes"),
            ("store damaged", "at byte 0: 9 bytes"),
            ("datagrams lost", "at byte 0: 9 bytes"),
            ("no watchdog", "at byte 0: 9 bytes"),
        ] {
            let text = format!(
                r#"{{"event":"{event}","source":"p","file":"x.bin","reason":"at byte 0: 9 bytes\nmore"}}"#
            );
            let told = plain(take(&text).unwrap());
            assert!(told[0].2.starts_with(wanted), "{}", told[0].2);
        }
        let text = r#"{"event":"uplink","outcome":"failed","sequence":4,"detail":"no such key"}"#;
        assert_eq!(plain(take(text).unwrap())[0].2, "uplink object 4: failed no such key");
        assert!(take(r#"{"event":"uplink","outcome":"done"}"#).unwrap().is_empty());
        let backlog = take(r#"{"event":"backlog","units":5,"bytes":70}"#).unwrap();
        assert!(matches!(backlog[..], [Event::Backlog { units: 5, bytes: 70, .. }]));
        assert!(take(r#"{"event":"boot","anything":[1]}"#).unwrap().is_empty());
        assert!(take("").is_err());
        assert!(take("[1]").is_err());
        assert!(take(&" ".repeat(RECORD_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn anomalies_are_bounded() {
        let mut records = Records::default();
        for number in 0..=ANOMALIES_MAX {
            let text = format!(r#"{{"event":"anomaly","parameter":"P{number}"}}"#);
            let told = plain(take(&mut records, &text).unwrap());
            assert_eq!(told.len(), if number == ANOMALIES_MAX { 2 } else { 1 });
        }
    }
}
