//! What a ground may have done here: a few things that are safe, each with an outcome.
//!
//! | kind | content | does |
//! |---|---|---|
//! | command | `ping` | answers `pong` |
//! | command | `echo TEXT` | answers the text |
//! | command | `hold SECONDS` | answers after so long, up to ten minutes; for rehearsals |
//! | command | `send telemetry 12`, `send products 40-57` | sends what was kept |
//! | command | `model ...` | installs, promotes, rolls back, tries or adjusts a model: [`ModelOrder`] |
//! | model | a piece of a package | keeps it until the package is whole |
//! | configuration | TOML, `[triage] cloudy_above = 0.6` | sets it, over restarts |
//! | configuration | TOML, `[[triage.rule]]` as in a policy file | takes the rules' place, over restarts |
//! | configuration | a whole configuration file | checks it and keeps it for a trial |
//! | command | `config show`, `try`, `confirm`, `rollback` | shows, tries, keeps or leaves it: [`ConfigOrder`] |
//!
//! Everything else is refused with a reason.

use bytes::Bytes;
use codecs::{
    ids::{Channel, SeqRange},
    link::uplink::{ContentKind, Outcome, Refusal},
    package::Piece,
};
use serde::Deserialize;

use crate::{
    config::trial::CONFIG_BYTES_MAX,
    models::{ModelOrder, order::KNOWN},
    pipeline::{PRODUCTS, TELEMETRY},
    triage::{self, Rule},
};

/// Longest time that a hold may take, in seconds.
pub const HOLD_MAX_S: u64 = 600;

/// Keys that a ground may set.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What goes down whole.
    #[serde(default)]
    pub triage: TriagePolicy,
}

/// What goes down whole, as a summary, or not.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TriagePolicy {
    /// Cloud fraction above which a tile's summary goes down in its place.
    pub cloudy_above: Option<f32>,
    /// Rules that take the place of those in force.
    #[serde(rename = "rule")]
    pub rules: Option<Vec<Rule>>,
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
            None if policy.triage.rules.is_none() => {
                Err("no key that can be set: triage.cloudy_above, triage.rule".into())
            }
            _ => {
                let rules = policy.triage.rules.clone().unwrap_or_default();
                triage::Policy { housekeeping_percent: 0, rules }
                    .check()
                    .map_err(|error| error.to_string())?;
                Ok(policy)
            }
        }
    }
}

/// An order about whole configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigOrder {
    /// Say what is flown, on trial, and in the slots.
    Show,
    /// Start again with the one that waits for its trial.
    Try,
    /// Make the one on trial permanent.
    Confirm,
    /// Leave the one on trial, or the permanent one, for the one before.
    RollBack,
}

impl ConfigOrder {
    const KNOWN: &str = "config show|try|confirm|rollback";

    fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "show" => Some(Self::Show),
            "try" => Some(Self::Try),
            "confirm" => Some(Self::Confirm),
            "rollback" => Some(Self::RollBack),
            _ => None,
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
    /// Kept units to be sent.
    Send(Channel, SeqRange),
    /// Something about models.
    Model(ModelOrder),
    /// A piece of a model package, to be kept.
    Piece(Piece),
    /// A whole configuration, to be checked and kept for a trial.
    Configure(String),
    /// Something about whole configurations.
    Config(ConfigOrder),
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
    if kind == ContentKind::Configuration && is_whole(text) {
        return match text.len() {
            length if length > CONFIG_BYTES_MAX => {
                let most = format!("{length} bytes, at most {CONFIG_BYTES_MAX}");
                decline(Refusal::Malformed, &most)
            }
            // As it came: its check value is told.
            _ => Order::Configure(String::from_utf8_lossy(body).into_owned()),
        };
    }
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
        ("send", _) => match send(rest) {
            Some((channel, range)) => Order::Send(channel, range),
            None => decline(
                Refusal::Malformed,
                "send takes telemetry or products and a sequence, or two with a dash between",
            ),
        },
        ("model", _) => match ModelOrder::parse(rest) {
            Some(order) => Order::Model(order),
            None => decline(Refusal::Malformed, &format!("known are: {KNOWN}")),
        },
        ("config", _) => match ConfigOrder::parse(rest) {
            Some(order) => Order::Config(order),
            None => decline(Refusal::Malformed, &format!("known are: {}", ConfigOrder::KNOWN)),
        },
        _ => {
            let known = format!(
                "known are: ping, echo TEXT, hold SECONDS, send telemetry|products \
                 FIRST[-LAST], {}, {KNOWN}",
                ConfigOrder::KNOWN
            );
            decline(Refusal::Unsupported, &known)
        }
    }
}

/// Whether a configuration is a whole one: only that names its spacecraft. What is no TOML is read
/// as keys, whose error says so.
fn is_whole(text: &str) -> bool {
    toml::from_str::<toml::Table>(text).is_ok_and(|table| table.contains_key("spacecraft"))
}

/// What a `send` names: `products 40-57`.
fn send(text: &str) -> Option<(Channel, SeqRange)> {
    let (channel, range) = text.split_once(' ')?;
    let channel = match channel {
        "telemetry" => TELEMETRY,
        "products" => PRODUCTS,
        _ => return None,
    };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    Some((channel, SeqRange::new(first.parse().ok()?, last.parse().ok()?)?))
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
        let triage = TriagePolicy { cloudy_above: Some(0.25), rules: None };
        assert_eq!(set, Order::Set(Policy { triage }));
        let refusal = |order| match order {
            Order::Decline(Outcome::Refused(refusal), text) if !text.is_empty() => refusal,
            other => panic!("{other:?}"),
        };
        let range = SeqRange { first: 40, last: 57 };
        assert_eq!(command("send products 40-57"), Order::Send(PRODUCTS, range));
        let rule = b"[[triage.rule]]\nname = \"x\"\nclass = \"tile\"\naction = \"keep\"\n";
        let set = order(ContentKind::Configuration, &Bytes::from_static(rule));
        assert!(matches!(set, Order::Set(Policy { triage: TriagePolicy { rules: Some(_), .. } })));
        for text in ["", "reboot", "ping 3", "PING"] {
            assert_eq!(refusal(command(text)), Refusal::Unsupported, "{text}");
        }
        for text in ["hold", "hold -1", "hold 601", "send", "send tiles 4", "send products 5-4"] {
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
        assert_eq!(command("config rollback"), Order::Config(ConfigOrder::RollBack));
        assert_eq!(refusal(command("config")), Refusal::Malformed);
        let whole = "[spacecraft]\nid = 7\n";
        let kept = order(ContentKind::Configuration, &Bytes::from(whole));
        assert_eq!(kept, Order::Configure(whole.into()), "checked where its files are");
        let long = format!("{whole}# {}", "x".repeat(CONFIG_BYTES_MAX));
        let long = order(ContentKind::Configuration, &Bytes::from(long));
        assert_eq!(refusal(long), Refusal::Malformed);
        let binary = order(ContentKind::Command, &Bytes::from_static(&[0xFF]));
        assert_eq!(refusal(binary), Refusal::Malformed);
    }
}
