//! The record of an outcome: the inside of a unit on [`Channel::RECORDS`](crate::ids::Channel::RECORDS).

use alloc::{format, string::String};

use super::{Outcome, UplinkKey};
use crate::time::Tai;

/// Name of the record's event.
pub const EVENT: &str = "uplink";
/// Longest detail, bytes; longer ones are cut.
pub const MAX_DETAIL_BYTES: usize = 512;

/// What a spacecraft tells of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeRecord {
    /// Which object.
    pub key: UplinkKey,
    /// What became of it.
    pub outcome: Outcome,
    /// In words, or what a command answered; may be empty.
    pub detail: String,
    /// Onboard time of the outcome; 0 where the spacecraft knows none.
    pub time: Tai,
}

impl OutcomeRecord {
    /// The record as JSON. 64-bit numbers that a reader of JSON may round are hexadecimal text.
    pub fn to_json(&self) -> String {
        let counter = &self.key.counter;
        let mut end = self.detail.len().min(MAX_DETAIL_BYTES);
        while !self.detail.is_char_boundary(end) {
            end -= 1;
        }
        format!(
            "{{\"event\":\"{EVENT}\",\"domain\":{},\"ledger\":\"{:016x}\",\"spacecraft\":{},\
             \"channel\":\"{:016x}\",\"sequence\":{},\"outcome\":\"{}\",\"reason\":\"{}\",\
             \"detail\":{},\"time\":\"{}\",\"time_ns\":{}}}",
            quoted(&counter.domain),
            counter.ledger,
            counter.spacecraft.0,
            counter.channel.0,
            self.key.sequence,
            self.outcome.name(),
            self.outcome.reason(),
            quoted(self.detail.get(..end).unwrap_or_default()),
            self.time.to_rfc3339(),
            self.time.0,
        )
    }

    /// Reads a record of this event; none where it is another event's, or says what can't be.
    #[cfg(feature = "mission")]
    pub fn from_json(bytes: &[u8]) -> Option<Self> {
        use super::UplinkCounter;
        use crate::ids::{Channel, SpacecraftId};

        #[derive(serde::Deserialize)]
        struct Fields {
            event: String,
            domain: String,
            ledger: String,
            spacecraft: u16,
            channel: String,
            sequence: u64,
            outcome: String,
            #[serde(default)]
            reason: String,
            #[serde(default)]
            detail: String,
            #[serde(default)]
            time_ns: i64,
        }
        let fields: Fields = serde_json::from_slice(bytes).ok()?;
        let number = |text: &str| u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16);
        let bounded = fields.domain.len() <= super::MAX_DOMAIN_BYTES
            && fields.detail.len() <= MAX_DETAIL_BYTES;
        if fields.event != EVENT || !bounded {
            return None;
        }
        let counter = UplinkCounter {
            domain: fields.domain,
            ledger: number(&fields.ledger)?,
            spacecraft: SpacecraftId(fields.spacecraft),
            channel: Channel(number(&fields.channel)?),
        };
        Some(Self {
            key: UplinkKey { counter, sequence: fields.sequence },
            outcome: Outcome::named(&fields.outcome, &fields.reason)?,
            detail: fields.detail,
            time: Tai(fields.time_ns),
        })
    }
}

/// Text between quotes, as JSON wants it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", control as u32)),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
