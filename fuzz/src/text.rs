//! Short texts that users write: what is read prints as something that reads the same.

use crate::input::Input;
use codecs::config;
use codecs::frame::Format;
use codecs::frame::cadu::{Coding, Symbols};
use codecs::frame::cltu::CltuCoding;
use codecs::ids::Origin;
use codecs::package::{Digest, PublicKey};
use codecs::sync::marker::Marker;
use codecs::sync::randomizer::Sequence;
use std::fmt::{Debug, Display};
use std::str::FromStr;

fn round<T: FromStr + Display + Debug + PartialEq>(text: &str) {
    let Ok(value) = text.parse::<T>() else { return };
    let printed = value.to_string();
    assert!(printed.parse::<T>().is_ok_and(|again| again == value), "{text:?} prints {printed:?}");
}

/// Formats, codings, forms of symbols, markers, sequences, digests, keys, identities, configuration files.
pub fn text(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.byte();
    let Ok(text) = std::str::from_utf8(input.0) else { return };
    match kind % 10 {
        0 => round::<Format>(text),
        1 => round::<Coding>(text),
        2 => round::<Marker>(text),
        3 => round::<Sequence>(text),
        4 => round::<Digest>(text),
        5 => round::<PublicKey>(text),
        6 => {
            if let Some(origin) = Origin::from_hex(text) {
                assert_eq!(Origin::from_hex(&origin.to_string()), Some(origin));
            }
        }
        7 => round::<Symbols>(text),
        8 => round::<CltuCoding>(text),
        _ => {
            if let Err(error) = config::parse::<toml::Table>("file.toml", text) {
                assert!((1..=text.lines().count() + 1).contains(&error.line));
            }
        }
    }
}
