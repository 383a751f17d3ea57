//! Errors of TOML files that say where and what to do: one voice for every configuration.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::Ipv6Addr;
use serde::de::DeserializeOwned;

/// A mistake in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct ConfigError {
    /// The file as the user named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// What is wrong there, and what may be meant.
    pub message: String,
}

/// Reads a configuration; `file` is only for the message.
pub fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
        ConfigError { file: file.to_string(), line, message: explain(error.message()) }
    })
}

/// Host and port of an address to send to; IPv6 stands in brackets. Names are not looked up.
///
/// # Errors
/// What the address should be.
pub fn host_port(address: &str) -> Result<(&str, u16), &'static str> {
    const SHAPE: &str = "HOST:PORT, such as control.example.org:7117";
    let host_is_one = |host: &str| {
        let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        inside.map_or(!host.contains([':', '[', ']']), |host| host.parse::<Ipv6Addr>().is_ok())
            && !host.is_empty()
            && !host.contains(|c: char| c.is_whitespace() || c == '/')
    };
    let (host, port) = address.rsplit_once(':').ok_or(SHAPE)?;
    match port.parse::<u16>() {
        Ok(0) => Err("port 0 is no port to send to"),
        Ok(port) if host_is_one(host) => Ok((host, port)),
        _ => Err(SHAPE),
    }
}

/// Adds the nearest known key to a message about an unknown one.
pub(crate) fn explain(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let Some((wrong, known)) = quoted.split_first() else { return message.to_string() };
    if !message.starts_with("unknown ") {
        return message.to_string();
    }
    let kind = if message.starts_with("unknown variant") { "value" } else { "key" };
    match nearest(wrong, known) {
        Some(name) => format!("unknown {kind} `{wrong}`; did you mean `{name}`?"),
        None => format!("unknown {kind} `{wrong}`; known here: {}", known.join(", ")),
    }
}

/// The known name that a wrong one may stand for, where one is near enough.
pub fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    let (far, name) = known.iter().map(|name| (distance(wrong, name), *name)).min()?;
    (far <= wrong.chars().count().max(3) / 2).then_some(name)
}

/// Levenshtein distance, one row at a time.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (at, a) in left.chars().enumerate() {
        let mut diagonal = at;
        let mut before = at + 1;
        for (b, slot) in right.chars().zip(row.iter_mut().skip(1)) {
            let cost = (diagonal + usize::from(a != b)).min(before + 1).min(*slot + 1);
            (diagonal, before) = (*slot, cost);
            *slot = cost;
        }
        if let Some(first) = row.first_mut() {
            *first = at + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Station {
        #[allow(dead_code)]
        name: String,
        #[allow(dead_code)]
        commit_ms: Option<u64>,
    }

    fn error(text: &str) -> String {
        parse::<Station>("station.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_names_file_line_and_the_likely_key() {
        assert_eq!(
            error("name = \"a\"\n\ncomit_ms = 3\n"),
            "station.toml:3: unknown key `comit_ms`; did you mean `commit_ms`?"
        );
        assert_eq!(
            error("name = \"a\"\nantenna = 3\n"),
            "station.toml:2: unknown key `antenna`; known here: name, commit_ms"
        );
    }

    #[test]
    fn other_mistakes_keep_their_line() {
        assert!(error("name = \"a\"\ncommit_ms = \"x\"\n").starts_with("station.toml:2: "));
        assert!(error("name = [").starts_with("station.toml:1: "));
        assert!(error("").contains("missing field `name`"));
    }

    #[test]
    fn an_address_to_send_to_has_a_host_and_a_port() {
        assert_eq!(host_port("control.example.org:7117"), Ok(("control.example.org", 7117)));
        assert_eq!(host_port("[::1]:7117"), Ok(("[::1]", 7117)));
        for wrong in ["", "7117", "host", "host:", ":7117", "::1:7117", "[host]:1", "a b:1", "h:0"]
        {
            assert!(host_port(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn distances_are_those_of_levenshtein() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
