//! The radio's units out of the store, and what was heard into it.
//!
//! ```text
//! store ─ commits ─► line ─► taken when it is to go ─► radio
//!   ▲                                                    │
//!   └─── what was believed, with its counters ───────────┘
//! ```

use bytes::Bytes;
use codecs::{
    ids::UnitKey,
    link::{rf::line::Heard, sender::UnitInfo},
};
use codecs_quic::Change;

use super::radio::{HeldUnit, Radio, RadioConfig, RadioError};
use crate::store::{Medium, State, Store, Stored};

/// Slot of the counters of what was heard.
pub const COUNTERS_SLOT: u32 = 0xfffb_0001;

/// What was believed at one time, with the counters that stand for it: for one commit.
#[derive(Debug)]
pub struct HeardTogether {
    /// What it means.
    pub heard: Vec<Heard>,
    /// To be kept in [`COUNTERS_SLOT`].
    pub counters: Bytes,
}

/// A radio whose line is what the store holds.
///
/// # Errors
/// Settings of which there is no radio.
pub fn open<M: Medium>(config: &RadioConfig, store: &Store<M>) -> Result<Radio, RadioError> {
    let counters = store.notes().find(|(slot, _)| *slot == COUNTERS_SLOT);
    let counters = counters.map_or(&[][..], |(_, kept)| kept);
    let mut radio = Radio::new(config, counters)?;
    take_up(&mut radio, store);
    Ok(radio)
}

/// What of the uplink is believed, where any of it is.
pub fn hear(radio: &mut Radio, chunk: &[u8]) -> Option<HeardTogether> {
    let heard = radio.uplink(chunk);
    (!heard.is_empty()).then(|| HeardTogether { heard, counters: radio.counters() })
}

/// What a line must know of a unit.
pub fn info(stored: &Stored) -> UnitInfo {
    let Stored { codec, priority, length, .. } = *stored;
    UnitInfo { codec, priority, length, annotated: false, due: stored.due() }
}

/// Takes up what the store holds: at a start, and whenever the line has room again.
pub fn take_up<M: Medium>(radio: &mut Radio, store: &Store<M>) {
    let held = |stored: Stored| {
        let fresh = store.state(stored.key) == Some(State::New);
        HeldUnit { key: stored.key, info: info(&stored), fresh }
    };
    radio.take_up(|| store.unreceipted().map(held));
}

/// Tells the line what a commit changed.
pub fn committed(radio: &mut Radio, change: Change) {
    change.gone.into_iter().for_each(|key| radio.withdraw(key));
    change.offered.into_iter().for_each(|of| radio.offer(of.key, of.info));
}

/// Hands the radio a unit whose turn came; its length, where it still is to go.
pub fn hand<M: Medium>(
    radio: &mut Radio,
    store: &mut Store<M>,
    key: UnitKey,
    info: UnitInfo,
) -> Option<usize> {
    let live = matches!(store.state(key), Some(State::New | State::Sent));
    match live.then(|| store.take(key)) {
        Some(Ok(bytes)) => {
            radio.unit(key, info, &bytes);
            Some(bytes.len())
        }
        // Receipted over another bearer, given up, or unreadable, which the store has made a void
        // of.
        Some(Err(_)) | None => {
            radio.withdraw(key);
            None
        }
    }
}
