//! The radio's units out of the store: what stands in line, and what goes when its turn comes.
//!
//! ```text
//! store ─ commits ─► line ─► taken when it is to go ─► radio
//! ```

use codecs::{ids::UnitKey, link::sender::UnitInfo};
use codecs_quic::Change;

use super::radio::{HeldUnit, Radio};
use crate::store::{Medium, State, Store, Stored};

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
