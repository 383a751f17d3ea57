//! Records: what a spacecraft's own store wants remembered, and what of it concerns an operator.
//!
//! A record is one JSON object. Known members: `event` (a short word), `message` (a sentence),
//! `level` (`yellow` or `red`: an alarm; absent: none), `state` (`raised` or `cleared`),
//! `parameter`, `time_ns` (TAI), and for the event `backlog` its `units` and `bytes`. Others are
//! ignored: an older station reads a newer spacecraft.

use crate::publish::{AlarmState, Event, Level};
use codecs::ids::UnitKey;
use codecs::time::Tai;
use serde::Deserialize;

/// Longest record read; longer ones stay in the archive unread.
pub const RECORD_BYTES_MAX: usize = 64 << 10;

#[derive(Deserialize)]
struct Record {
    event: String,
    #[serde(default)]
    message: String,
    level: Option<RecordLevel>,
    #[serde(default)]
    state: RecordState,
    parameter: Option<String>,
    time_ns: Option<i64>,
    #[serde(default)]
    units: u64,
    #[serde(default)]
    bytes: u64,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RecordLevel {
    Yellow,
    Red,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RecordState {
    #[default]
    Raised,
    Cleared,
}

/// What a record tells, if anything; an error in words where it can't be read.
pub fn event(key: &UnitKey, received: Tai, bytes: &[u8]) -> Result<Option<Event>, String> {
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(format!("a record of {} bytes; read are {RECORD_BYTES_MAX}", bytes.len()));
    }
    let record: Record = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let spacecraft = key.prefix.spacecraft;
    if record.event == "backlog" {
        let Record { units, bytes, .. } = record;
        return Ok(Some(Event::Backlog { spacecraft, units, bytes }));
    }
    let Some(level) = record.level else { return Ok(None) };
    let parameter = record.parameter.unwrap_or_else(|| record.event.clone());
    let message = if record.message.is_empty() {
        format!("{parameter}: {}", record.event)
    } else {
        record.message
    };
    Ok(Some(Event::Alarm {
        // One alarm an event and part: its clearing record must find what its raising one made.
        id: format!("{}-onboard-{}-{parameter}", spacecraft.0, record.event),
        spacecraft,
        parameter,
        message,
        level: match level {
            RecordLevel::Yellow => Level::Yellow,
            RecordLevel::Red => Level::Red,
        },
        time: record.time_ns.map_or(received, Tai),
        state: match record.state {
            RecordState::Raised => AlarmState::Raised,
            RecordState::Cleared => AlarmState::Cleared,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::ids::{Channel, KeyPrefix, Origin, SpacecraftId, StoreEpoch};

    fn told(text: &str) -> Result<Option<Event>, String> {
        let prefix = KeyPrefix {
            origin: Origin([0; 16]),
            epoch: StoreEpoch(1),
            spacecraft: SpacecraftId(7),
            channel: Channel::RECORDS,
        };
        event(&UnitKey { prefix, sequence: 3 }, Tai(50), text.as_bytes())
    }

    #[test]
    fn anomalies_become_alarms_and_others_stay_in_the_archive() {
        let raised = r#"{"event":"anomaly","parameter":"X","level":"yellow","score":0.9}"#;
        let Ok(Some(Event::Alarm { id, level, state, time, message, .. })) = told(raised) else {
            panic!("no alarm")
        };
        assert_eq!((level, state, time), (Level::Yellow, AlarmState::Raised, Tai(50)));
        assert_eq!((id.as_str(), message.as_str()), ("7-onboard-anomaly-X", "X: anomaly"));
        let cleared = r#"{"event":"anomaly","parameter":"X","level":"yellow","state":"cleared",
            "time_ns":60,"message":"X is quiet again"}"#;
        let Ok(Some(Event::Alarm { id: again, state, time, .. })) = told(cleared) else {
            panic!("no alarm")
        };
        assert_eq!((again, state, time), (id, AlarmState::Cleared, Tai(60)));
        assert!(matches!(told(r#"{"event":"boot"}"#), Ok(None)));
        let backlog = told(r#"{"event":"backlog","units":5,"bytes":70}"#);
        assert!(matches!(backlog, Ok(Some(Event::Backlog { units: 5, bytes: 70, .. }))));
    }

    #[test]
    fn what_is_no_record_is_said() {
        assert!(told("").is_err());
        assert!(told("[1]").is_err());
        assert!(told(&" ".repeat(RECORD_BYTES_MAX + 1)).is_err());
    }
}
