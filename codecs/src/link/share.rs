//! Housekeeping's share of a link beside products, whatever those are worth.

/// Who shares a link: what the payload made, and everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Everything but products.
    Housekeeping,
    /// Products.
    Payload,
}

/// What housekeeping may have before the payload's next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    /// Bytes; below 0 where a unit was longer than what was owed, never by more than that unit.
    owed: i64,
}

impl Share {
    /// Whether housekeeping is short of its share.
    pub(super) const fn owes(self) -> bool {
        self.owed > 0
    }

    /// Reckons so many bytes in; `waits` says whether housekeeping waits.
    pub(super) fn sent(&mut self, lane: Lane, bytes: u64, percent: u8, waits: bool) {
        let percent = i64::from(percent.min(99));
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let gained = bytes.saturating_mul(percent) / (100 - percent);
        self.owed = match lane {
            Lane::Housekeeping => self.owed.saturating_sub(bytes).max(-bytes),
            // A share that nothing waited for is not saved up.
            Lane::Payload if !waits => self.owed.saturating_add(gained).min(0),
            Lane::Payload => self.owed.saturating_add(gained),
        };
    }
}
