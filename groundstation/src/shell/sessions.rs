//! Who is connected: a bound on connections, and one session an origin.

use crate::receipt::SessionId;
use codecs::ids::Origin;
use quinn::Connection;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Codes that close a connection; the reason is in words beside it.
pub mod close {
    use quinn::VarInt;

    /// On purpose, nothing is wrong.
    pub const DONE: VarInt = VarInt::from_u32(0);
    /// The key is in no row of the table.
    pub const UNKNOWN_KEY: VarInt = VarInt::from_u32(1);
    /// The peer broke the protocol.
    pub const PROTOCOL: VarInt = VarInt::from_u32(2);
    /// A newer session of the same origin took over.
    pub const SUPERSEDED: VarInt = VarInt::from_u32(3);
    /// The peer did not say or read what it must in time.
    pub const TOO_SLOW: VarInt = VarInt::from_u32(4);
}

/// Codes that stop a single stream.
pub mod stop {
    use quinn::VarInt;

    /// Admission or the object's own contradiction.
    pub const REFUSED: VarInt = VarInt::from_u32(16);
    /// No byte came for as long as the connection may be idle.
    pub const STALLED: VarInt = VarInt::from_u32(17);
}

/// The open sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    open: Mutex<BTreeMap<Origin, (SessionId, Connection)>>,
}

impl Sessions {
    fn open(&self) -> MutexGuard<'_, BTreeMap<Origin, (SessionId, Connection)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a session the one of its origin; an older one is closed.
    pub fn enter(&self, origin: Origin, id: SessionId, connection: &Connection) {
        let older = self.open().insert(origin, (id, connection.clone()));
        if let Some((_, older)) = older {
            older.close(close::SUPERSEDED, b"a newer session of this origin took over");
        }
    }

    /// Forgets a session, unless a newer one took its place.
    pub fn leave(&self, origin: Origin, id: SessionId) {
        let mut open = self.open();
        if open.get(&origin).is_some_and(|(current, _)| *current == id) {
            open.remove(&origin);
        }
    }
}
