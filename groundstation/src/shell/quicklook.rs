//! Live frames in datagrams: shown at once, kept nowhere. They are the first to go when there is
//! more than can be looked at; custody brings each of them again.

use super::clock::StationClock;
use crate::{
    admit::{Action, Principal},
    peers::Bucket,
    publish::{Event, Feed},
};
use codecs::{ids::SpacecraftId, link::quicklook::QuickLook};
use std::collections::BTreeSet;

/// Bytes of datagrams that wait for a session; the transport drops the oldest beyond.
pub const WAITING_BYTES: usize = 256 << 10;
/// Frames looked at, each second, of one session.
const LOOKS_PER_S: u64 = 500;

/// The live frames of a session.
#[derive(Debug)]
pub struct QuickLooks {
    may: Bucket,
    clock: StationClock,
    /// Datagrams that were read.
    read: u64,
    /// Of those that came, how many were told as dropped by the transport.
    overflowed: u64,
    /// Beyond what may be looked at, and not told yet: a flood must not cost an event each.
    too_many: u64,
}

impl QuickLooks {
    /// None yet.
    pub fn new(clock: StationClock) -> Self {
        let may = Bucket::new(LOOKS_PER_S, LOOKS_PER_S, clock.mono_ns());
        Self { may, clock, read: 0, overflowed: 0, too_many: 0 }
    }

    /// Looks at a datagram of a peer whose session is open, or not.
    pub fn take(
        &mut self,
        datagram: &[u8],
        open: bool,
        principal: &Principal,
        mission: &BTreeSet<SpacecraftId>,
        feed: &Feed,
    ) {
        self.read += 1;
        if !self.may.take(self.clock.mono_ns()) {
            self.too_many += 1;
            return;
        }
        let dropped = |reason| Event::QuickLookDropped { reason, count: 1 };
        let allowed = |spacecraft: &SpacecraftId| {
            let deliver = principal.actions.contains(&Action::Deliver);
            deliver && principal.spacecraft.contains(spacecraft) && mission.contains(spacecraft)
        };
        feed.publish(match QuickLook::decode(datagram) {
            _ if !open => dropped("before-hello"),
            Err(_) => dropped("malformed"),
            Ok(look) if !allowed(&look.spacecraft) => dropped("forbidden"),
            Ok(look) => Event::QuickLook { spacecraft: look.spacecraft, at: look.received },
        });
    }

    /// Tells what was too many, and what the transport dropped: of those that came, what was not
    /// read. None may wait.
    pub fn settle(&mut self, came: u64, feed: &Feed) {
        let count = std::mem::take(&mut self.too_many);
        if count > 0 {
            feed.publish(Event::QuickLookDropped { reason: "too-many", count });
        }
        let overflowed = came.saturating_sub(self.read);
        let count = overflowed.saturating_sub(self.overflowed);
        if count > 0 {
            self.overflowed = overflowed;
            feed.publish(Event::QuickLookDropped { reason: "overflow", count });
        }
    }
}
