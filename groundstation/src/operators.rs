//! Operators: people and programs of this station that may act over the API.
//!
//! They stand in rows of the same table as peers; what names them is a token in a file that only
//! its owner can read, instead of a certificate's key.

use crate::admit::{Action, KeyHash, Principal, Table};
use codecs::ids::{Origin, SpacecraftId};
use serde::Deserialize;
use std::path::PathBuf;

/// One operator.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorConfig {
    /// Name in logs.
    pub name: String,
    /// File of the token, relative to the station file; made at the first start.
    pub token: PathBuf,
    /// Spacecraft that it may act for.
    pub spacecraft: Vec<u16>,
    /// What it may do.
    pub actions: Vec<Action>,
}

impl OperatorConfig {
    /// The operator's row, given its token.
    pub fn row(&self, token: &str) -> (KeyHash, Principal) {
        let principal = Principal {
            name: self.name.clone(),
            origin: Origin([0; 16]),
            spacecraft: self.spacecraft.iter().copied().map(SpacecraftId).collect(),
            actions: self.actions.iter().copied().collect(),
        };
        (KeyHash::of(token.as_bytes()), principal)
    }
}

/// The table of the station file that operators stand in.
pub const TABLE: &str = "operator";

/// Whose token it is.
pub fn named<'a>(table: &'a Table, token: &str) -> Option<&'a Principal> {
    table.principal(KeyHash::of(token.as_bytes())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_no_row_allows_is_denied() {
        let row = |actions: Vec<Action>| OperatorConfig {
            name: "duty".into(),
            token: "duty.token".into(),
            spacecraft: vec![7],
            actions,
        };
        let table: Table =
            [row(vec![Action::Command]).row("secret"), row(vec![Action::Deliver]).row("another")]
                .into_iter()
                .collect();
        let may = |token, craft| {
            named(&table, token).map(|of| of.may(Action::Command, SpacecraftId(craft)))
        };
        assert_eq!(may("secret", 7), Some(true));
        assert_eq!(may("secret", 8), Some(false));
        assert_eq!(may("another", 7), Some(false));
        assert_eq!(may("guess", 7), None);
    }
}
