//! Operators: people and programs of this station that may act over the API.
//!
//! They stand in rows of the same table as peers; what names them is a token in a file that only
//! its owner can read, instead of a certificate's key.

use crate::admit::{Action, Denial, KeyHash, Principal, Table};
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

/// Judges what an operator asks for a spacecraft; the operator's name where it may.
pub fn judge<'a>(
    table: &'a Table,
    token: Option<&str>,
    spacecraft: SpacecraftId,
    action: Action,
) -> Result<&'a str, Denial> {
    let token = token.ok_or(Denial::UnknownKey)?;
    let principal = table.principal(KeyHash::of(token.as_bytes()))?;
    let allowed = principal.spacecraft.contains(&spacecraft) && principal.actions.contains(&action);
    if allowed { Ok(&principal.name) } else { Err(Denial::Forbidden(spacecraft)) }
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
        let judge = |token, craft| judge(&table, token, SpacecraftId(craft), Action::Command);
        assert_eq!(judge(Some("secret"), 7), Ok("duty"));
        assert_eq!(judge(Some("secret"), 8), Err(Denial::Forbidden(SpacecraftId(8))));
        assert_eq!(judge(Some("another"), 7), Err(Denial::Forbidden(SpacecraftId(7))));
        assert_eq!(judge(Some("guess"), 7), Err(Denial::UnknownKey));
        assert_eq!(judge(None, 7), Err(Denial::UnknownKey));
    }
}
