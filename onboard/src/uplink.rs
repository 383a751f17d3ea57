//! What a ground may have done here: a few things that are safe, each with an outcome.
//!
//! | kind | content | does |
//! |---|---|---|
//! | command | `ping` | answers `pong` |
//! | command | `echo TEXT` | answers the text |
//! | command | `hold SECONDS` | answers after so long, up to ten minutes; for rehearsals |
//! | command | `model ...` | installs, promotes, rolls back, tries or adjusts a model: [`ModelOrder`] |
//! | model | a piece of a package | keeps it until the package is whole |
//! | configuration | TOML, `[triage] cloudy_above = 0.6` | sets it, over restarts |
//!
//! Everything else is refused with a reason.

use bytes::Bytes;
use codecs::{
    link::uplink::{ContentKind, Outcome, Refusal},
    package::Piece,
};
use serde::Deserialize;

use crate::models::{ModelOrder, order::KNOWN};

/// Longest time that a hold may take, in seconds.
pub const HOLD_MAX_S: u64 = 600;

/// Keys that a ground may set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What goes down whole.
    #[serde(default)]
    pub triage: TriagePolicy,
}

/// What goes down whole, as a summary, or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TriagePolicy {
    /// Cloud fraction above which a tile's summary goes down in its place.
    pub cloudy_above: Option<f32>,
}

impl Policy {
    /// Reads a table of keys; an error in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let policy: Self =
            codecs::config::parse("configuration", text).map_err(|error| error.to_string())?;
        match policy.triage.cloudy_above {
            Some(fraction) if !(0.0..=1.0).contains(&fraction) => {
                Err(format!("triage.cloudy_above = {fraction}: a fraction from 0 to 1"))
            }
            None => Err("no key that can be set: triage.cloudy_above".into()),
            _ => Ok(policy),
        }
    }
}

/// What an object asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// It is done at once, with this answer.
    Answer(String),
    /// It is done after so many nanoseconds.
    Hold(u64),
    /// To be put in force, then it is done.
    Set(Policy),
    /// Something about models.
    Model(ModelOrder),
    /// A piece of a model package, to be kept.
    Piece(Piece),
    /// It is not done, with the reason in words.
    Decline(Outcome, String),
}

/// Reads what an object asks for.
pub fn order(kind: ContentKind, body: &Bytes) -> Order {
    let decline = |refusal, text: &str| Order::Decline(Outcome::Refused(refusal), text.into());
    let text = match (kind, std::str::from_utf8(body)) {
        (ContentKind::Model, _) => {
            return match Piece::parse(body) {
                Ok(piece) => Order::Piece(piece),
                Err(error) => decline(Refusal::Malformed, &format!("the piece {error}")),
            };
        }
        (ContentKind::File, _) => {
            let reason = format!("there is no place for a {} here", kind.name());
            return decline(Refusal::Unsupported, &reason);
        }
        (_, Err(_)) => return decline(Refusal::Malformed, "the content is no UTF-8"),
        (_, Ok(text)) => text.trim(),
    };
    if kind == ContentKind::Configuration {
        return match Policy::parse(text) {
            Ok(policy) => Order::Set(policy),
            Err(error) => decline(Refusal::Malformed, &error),
        };
    }
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    match (verb, rest.parse::<u64>()) {
        ("ping", _) if rest.is_empty() => Order::Answer("pong".into()),
        ("echo", _) => Order::Answer(rest.into()),
        ("hold", Ok(seconds)) if seconds <= HOLD_MAX_S => Order::Hold(seconds * 1_000_000_000),
        ("hold", _) => {
            decline(Refusal::Malformed, &format!("hold takes whole seconds, at most {HOLD_MAX_S}"))
        }
        ("model", _) => match ModelOrder::parse(rest) {
            Some(order) => Order::Model(order),
            None => decline(Refusal::Malformed, &format!("known are: {KNOWN}")),
        },
        _ => {
            let known = format!("known are: ping, echo TEXT, hold SECONDS, {KNOWN}");
            decline(Refusal::Unsupported, &known)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_and_well_formed_is_done() {
        let command = |text: &str| order(ContentKind::Command, &Bytes::from(text.to_owned()));
        assert_eq!(command("ping\n"), Order::Answer("pong".into()));
        assert_eq!(command("echo a b"), Order::Answer("a b".into()));
        assert_eq!(command("hold 3"), Order::Hold(3_000_000_000));
        let set = Bytes::from_static(b"[triage]\ncloudy_above = 0.25\n");
        let set = order(ContentKind::Configuration, &set);
        let triage = TriagePolicy { cloudy_above: Some(0.25) };
        assert_eq!(set, Order::Set(Policy { triage }));
        let refusal = |order| match order {
            Order::Decline(Outcome::Refused(refusal), text) if !text.is_empty() => refusal,
            other => panic!("{other:?}"),
        };
        for text in ["", "reboot", "ping 3", "PING"] {
            assert_eq!(refusal(command(text)), Refusal::Unsupported, "{text}");
        }
        for text in ["hold", "hold -1", "hold 601"] {
            assert_eq!(refusal(command(text)), Refusal::Malformed, "{text}");
        }
        for text in ["", "[triage]\ncloudy_above = 2.0", "[triage]\ncloudy_above = nan", "[x]\ny=1"]
        {
            let order = order(ContentKind::Configuration, &Bytes::from(text));
            assert_eq!(refusal(order), Refusal::Malformed, "{text}");
        }
        let piece = Piece::cut(&Bytes::from_static(b"bundle"), 4).remove(1);
        let kept = order(ContentKind::Model, &piece.encode().into());
        assert_eq!(kept, Order::Piece(piece));
        assert_eq!(refusal(order(ContentKind::Model, &Bytes::new())), Refusal::Malformed);
        assert_eq!(refusal(order(ContentKind::File, &Bytes::new())), Refusal::Unsupported);
        assert_eq!(refusal(command("model sell tiles")), Refusal::Malformed);
        assert_eq!(command("model list"), Order::Model(ModelOrder::List));
        let binary = order(ContentKind::Command, &Bytes::from_static(&[0xFF]));
        assert_eq!(refusal(binary), Refusal::Malformed);
    }
}
