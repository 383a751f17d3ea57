//! The receive window of a session's connection.

use crate::peers::credit::{self, Credit};
use quinn::{Connection, VarInt};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

/// See the module.
pub struct Window {
    connection: Connection,
    /// Of an open session.
    credit: Option<Credit>,
    look: Interval,
    /// What had come at the last look, and when that was.
    seen: (u64, Instant),
}

impl Window {
    /// Of a connection that still has what every connection begins with.
    pub fn new(connection: Connection) -> Self {
        let mut look = interval(credit::LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { connection, credit: None, look, seen: (0, Instant::now()) }
    }

    /// The session, one of so many, is open, or its share has changed.
    pub fn share(&mut self, bytes: u32, sessions: usize) {
        let least = credit::least_bytes(sessions);
        let new = || Credit::new(bytes, least, self.connection.rtt());
        let credit = self.credit.get_or_insert_with(new);
        credit.limit(bytes);
        self.connection.set_receive_window(VarInt::from_u32(credit.bytes()));
    }

    /// Waits until the window is to be looked at.
    pub async fn due(&mut self) {
        match self.credit {
            Some(_) => _ = self.look.tick().await,
            None => std::future::pending().await,
        }
    }

    /// Fits the window to what came, among so many sessions.
    pub fn follow(&mut self, sessions: usize) {
        let Some(credit) = &mut self.credit else { return };
        let bytes = self.connection.stats().udp_rx.bytes;
        let (before, since) = std::mem::replace(&mut self.seen, (bytes, Instant::now()));
        let had = credit.bytes();
        let least = credit::least_bytes(sessions);
        let has = credit.follow(bytes - before, since.elapsed(), self.connection.rtt(), least);
        if has != had {
            self.connection.set_receive_window(VarInt::from_u32(has));
        }
    }
}
