//! What a store found damaged: told at start, so that a medium that begins to fail is seen while most
//! of it is still good.

use serde::Serialize;

/// Damaged segments that are named; the others are counted.
pub const DAMAGES_MAX: usize = 16;

/// Bytes of a segment that belong to no whole record and have one behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The segment.
    pub segment: u64,
    /// Where the first of them stands.
    pub offset: u64,
    /// How many there are.
    pub bytes: u64,
}

/// The end of a store that is not whole: a cut of power leaves it so, and so does damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Tail {
    /// The newest segment that there is.
    pub segment: u64,
    /// Bytes that belong to no whole record, or that a segment which is gone may have held.
    pub bytes: u64,
    /// Numbers of each channel that are skipped, since what is lost may have had them.
    pub skipped: u64,
}

/// What was found damaged since the store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Damaged {
    /// Segments with damage, when the store was opened.
    pub segments: u64,
    /// The first of them, at most [`DAMAGES_MAX`].
    pub places: Vec<Damage>,
    /// What the end of the newest segment lost, where it lost anything.
    pub end: Option<Tail>,
    /// Units that were numbered and neither whole nor settled then: voided as damaged, by key.
    pub units_lost: u64,
    /// Units found damaged when they were read since: voided the same way.
    pub units_unreadable: u64,
}

impl Damaged {
    pub(crate) fn found(&mut self, damage: Damage) {
        self.segments += 1;
        if self.places.len() < DAMAGES_MAX {
            self.places.push(damage);
        }
    }

    /// Units voided for damage, or for a cut while they were written.
    pub fn units(&self) -> u64 {
        self.units_lost + self.units_unreadable
    }

    /// What was found at the start, a sentence each.
    pub fn notices(&self) -> Vec<String> {
        let mut notices: Vec<String> = Vec::new();
        for Damage { segment, offset, bytes } in &self.places {
            notices.push(format!(
                "segment {segment:016x} of the store is damaged: {bytes} bytes from offset {offset} \
                 on belong to no whole record; what is whole around them goes on"
            ));
        }
        let more = self.segments.saturating_sub(self.places.len() as u64);
        if more > 0 {
            notices
                .push(format!("{more} more segments of the store are damaged: the medium fails"));
        }
        if let Some(Tail { segment, bytes, skipped }) = self.end {
            notices.push(format!(
                "the end of the store is not whole, as after a cut of power or by damage: {bytes} \
                 bytes of segment {segment:016x} or behind it; {skipped} numbers of each channel are \
                 skipped, and voids name them"
            ));
        }
        if self.units_lost > 0 {
            notices.push(format!(
                "{} units of the store were cut while they were written, or damaged since: voids \
                 name them",
                self.units_lost
            ));
        }
        notices
    }
}
