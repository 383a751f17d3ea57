//! Who is connected: bounds on connections, and one session an origin.

use super::rules::Rules;
use crate::{admit::KeyHash, peers::Takeovers, receipt::SessionId};
use codecs::ids::Origin;
use quinn::Connection;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::timeout;

/// How long a session is listened to before another takes its place for the n-th time. A
/// spacecraft that is in contact sends more often.
const LISTENING: Duration = Duration::from_millis(1_500);

/// Codes that close a connection; the reason is in words beside it.
pub mod close {
    use quinn::VarInt;

    /// On purpose, nothing is wrong.
    pub const DONE: VarInt = VarInt::from_u32(0);
    /// The key is in no row of the table.
    pub const UNKNOWN_KEY: VarInt = VarInt::from_u32(codecs::link::close::UNKNOWN_KEY);
    /// The peer broke the protocol.
    pub const PROTOCOL: VarInt = VarInt::from_u32(2);
    /// A newer session of the same origin took over.
    pub const SUPERSEDED: VarInt = VarInt::from_u32(codecs::link::close::SUPERSEDED);
    /// The peer did not say or read what it must in time.
    pub const TOO_SLOW: VarInt = VarInt::from_u32(4);
    /// No place, for now: too many connections, or a session of this origin that is alive.
    pub const CROWDED: VarInt = VarInt::from_u32(codecs::link::close::CROWDED);
}

/// Codes that stop a single stream.
pub mod stop {
    use quinn::VarInt;

    /// Admission or the object's own contradiction.
    pub const REFUSED: VarInt = VarInt::from_u32(16);
    /// No byte came for as long as the connection may be idle.
    pub const STALLED: VarInt = VarInt::from_u32(17);
}

/// The open sessions, and the connections that may become one.
#[derive(Debug, Default)]
pub struct Sessions {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: BTreeMap<Origin, (SessionId, Connection)>,
    present: BTreeMap<KeyHash, usize>,
    takeovers: Takeovers,
}

/// A connection that takes a place until it is dropped.
#[derive(Debug)]
pub struct Present<'a> {
    sessions: &'a Sessions,
    key: KeyHash,
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        let mut state = self.sessions.state();
        if let Some(count) = state.present.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                state.present.remove(&self.key);
            }
        }
    }
}

impl Sessions {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Open sessions.
    pub fn count(&self) -> usize {
        self.state().open.len()
    }

    /// Gives a connection a place, or says in a short word why there is none.
    pub fn arrive(&self, key: KeyHash, rules: &Rules) -> Result<Present<'_>, &'static str> {
        let mut state = self.state();
        if state.present.values().sum::<usize>() >= rules.connections_max {
            return Err("too-many");
        }
        let of_key = state.present.entry(key).or_default();
        if *of_key >= rules.limits.connections_per_key {
            return Err("too-many-of-key");
        }
        *of_key += 1;
        Ok(Present { sessions: self, key })
    }

    /// Makes a session the one of its origin; an older one is closed. False where the older one is
    /// alive and takeovers were too many: two processes with one identity, each of which believes
    /// to be the newer.
    pub async fn enter(
        &self,
        origin: Origin,
        id: SessionId,
        connection: &Connection,
        now_ns: u64,
    ) -> bool {
        let rival = {
            let mut state = self.state();
            let older = state.open.get(&origin).map(|(_, older)| older.clone());
            // One that is closed already is no rival.
            let older = older.filter(|older| older.close_reason().is_none());
            older.filter(|_| !state.takeovers.may(origin, now_ns))
        };
        if let Some(rival) = rival
            && is_heard(&rival).await
        {
            return false;
        }
        let older = self.state().open.insert(origin, (id, connection.clone()));
        if let Some((_, older)) = older {
            older.close(close::SUPERSEDED, b"a newer session of this origin took over");
        }
        true
    }

    /// The connection of an origin's session.
    pub fn connection(&self, origin: Origin) -> Option<Connection> {
        let state = self.state();
        let open = state.open.get(&origin).map(|(_, connection)| connection);
        open.filter(|connection| connection.close_reason().is_none()).cloned()
    }

    /// Forgets a session, unless a newer one took its place.
    pub fn leave(&self, origin: Origin, id: SessionId) {
        let mut state = self.state();
        if state.open.get(&origin).is_some_and(|(current, _)| *current == id) {
            state.open.remove(&origin);
        }
    }
}

/// Whether anything comes from a peer while it is listened to.
async fn is_heard(connection: &Connection) -> bool {
    let heard = || connection.stats().udp_rx.datagrams;
    let before = heard();
    let closed = timeout(LISTENING, connection.closed()).await;
    closed.is_err() && heard() != before
}
