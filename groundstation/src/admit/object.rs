//! One object on its way in: admitted by its header, and what its peer is told when it breaks off.

use std::collections::BTreeSet;

use codecs::{
    ids::{Codec, KeyPrefix, Origin, SeqRange, SpacecraftId},
    link::{
        custody::{NEVER_MS, RefusalReason},
        object::{ObjectError, ObjectReader},
    },
};

use super::{Principal, judge};

/// Why an object ended before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The short word that it is counted by.
    pub reason: &'static str,
    /// What its peer is told.
    pub refusal: RefusalReason,
    /// Whether what is missing may come again.
    pub may_return: bool,
    /// What was wrong, for people.
    pub why: String,
}

impl Broken {
    /// No byte came for too long.
    pub fn stalled() -> Self {
        Self {
            reason: "stalled",
            refusal: RefusalReason::Overload,
            may_return: true,
            why: "it came too slowly".into(),
        }
    }

    /// What is to be refused of it, with milliseconds until it may come again; nothing where it
    /// did not even say what it holds.
    pub fn refused(
        &self,
        reader: &ObjectReader,
        origin: Origin,
    ) -> Option<(KeyPrefix, SeqRange, u32)> {
        let retry_ms = if self.may_return { 0 } else { NEVER_MS };
        Some((reader.header()?.prefix(origin), reader.missing()?, retry_ms))
    }
}

impl From<ObjectError> for Broken {
    fn from(error: ObjectError) -> Self {
        let reason = match error {
            ObjectError::Header(_) | ObjectError::HeaderCrc => "malformed-header",
            ObjectError::TooLong(_) => "too-large",
            ObjectError::UnitLength { .. } => "unit-length",
            ObjectError::Excess(_) => "excess",
            ObjectError::Truncated { .. } => "truncated",
        };
        let refusal = match error {
            ObjectError::TooLong(_) => RefusalReason::TooLarge,
            _ => RefusalReason::Malformed,
        };
        Self { reason, refusal, may_return: false, why: error.to_string() }
    }
}

/// Whose units an object brings and in what format, once its header is there and lets it in.
///
/// # Errors
/// The header is none, or the principal may not deliver what it names.
pub fn admitted(
    reader: &mut ObjectReader,
    principal: &Principal,
    mission: &BTreeSet<SpacecraftId>,
) -> Result<Option<(KeyPrefix, Codec)>, Broken> {
    let Some(header) = reader.poll_header()? else { return Ok(None) };
    judge(principal, mission, &header).map_err(|denial| Broken {
        reason: denial.name(),
        refusal: denial.refusal(),
        may_return: false,
        why: denial.told(principal),
    })?;
    Ok(Some((header.prefix(principal.origin), header.codec)))
}
