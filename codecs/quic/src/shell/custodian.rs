//! Who holds units until a station has them: what the client asks of a store.

use bytes::Bytes;
use codecs::{
    ids::{KeyPrefix, Origin, RangeSet, UnitKey},
    link::{
        custody::{Durability, RefusalReason},
        object::Annotation,
        receipted::Receipted,
        sender::{UNITS_MAX, UnitInfo},
    },
};

/// A unit that may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its key.
    pub key: UnitKey,
    /// What the sender needs to know of it.
    pub info: UnitInfo,
}

/// What a commit changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Durable now; a void that grew comes again with its new length.
    pub offered: Vec<Offer>,
    /// Given up for want of room.
    pub gone: Vec<UnitKey>,
}

/// What an earlier run knew of one counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recalled {
    /// Which.
    pub prefix: KeyPrefix,
    /// Next durable sequence.
    pub next: u64,
    /// Receipted before, by whom and how safely.
    pub receipted: Vec<Receipted>,
}

/// A unit on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// How an antenna heard it, where it was offered as annotated.
    pub annotation: Option<Annotation>,
    /// The unit.
    pub bytes: Bytes,
}

/// Why a unit can't go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untakable {
    /// It is no longer held.
    Gone,
    /// It can't be read, for this reason; a void that says so may be waiting for a commit.
    Unreadable(String),
}

/// A store of numbered units as the client sees it.
pub trait Custodian: Send + 'static {
    /// Who numbers here.
    fn origin(&self) -> Origin;

    /// Least class of a receipt that settles a unit for good.
    fn reclaimable_from(&self) -> Durability {
        Durability::Local
    }

    /// Share of the bytes sent, in percent, that housekeeping has while any of it waits.
    fn housekeeping_percent(&self) -> u8 {
        0
    }

    /// Every counter that an earlier run left.
    fn recall(&self) -> Vec<Recalled>;

    /// Every unit without a receipt, in order of key.
    fn unreceipted(&self) -> impl Iterator<Item = Offer> + '_;

    /// Reads a unit to send it.
    ///
    /// # Errors
    /// It is gone, or the medium does not give it back whole.
    fn take(&mut self, key: UnitKey) -> Result<Taken, Untakable>;

    /// A ledger has these units; how many of them that settles.
    fn receipt(
        &mut self,
        ledger: u64,
        class: Durability,
        prefix: KeyPrefix,
        ranges: &RangeSet,
    ) -> u64;

    /// A ledger lost these units; what of them is still held.
    fn ask(&mut self, prefix: KeyPrefix, ranges: &RangeSet) -> Vec<Offer>;

    /// Units that the link keeps track of at a time: several hundred bytes of memory each, and at
    /// least as many as may be under way. The rest is taken up as receipts come.
    fn tracked_max(&self) -> usize {
        UNITS_MAX
    }

    /// A station did not take these units, with this reason; whether it will on this connection.
    fn refused(&mut self, _: KeyPrefix, _: &RangeSet, _: RefusalReason, _final_here: bool) {}
}
