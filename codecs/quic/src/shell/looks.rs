//! Quick-look on its way out: the newest frame, as often as its share of the link allows.

use bytes::Bytes;
use codecs::link::quicklook::Share;
use quinn::Connection;
use tokio::sync::watch;

use super::clock::Monotonic;

/// Looks at the link for what may go.
pub(super) struct Looks {
    /// The newest datagram; none before the first.
    newest: watch::Receiver<Bytes>,
    share: Share,
    clock: Monotonic,
    /// The newest is not sent yet.
    waits: bool,
    /// Datagrams handed to the connection.
    pub(super) sent: u64,
}

impl Looks {
    pub(super) fn new(newest: watch::Receiver<Bytes>, clock: Monotonic) -> Self {
        Self { newest, share: Share::new(clock.now_ns()), clock, waits: false, sent: 0 }
    }

    /// A new frame is there; never where no one makes any.
    pub(super) async fn changed(&mut self) {
        match self.newest.changed().await {
            Ok(()) => self.waits = true,
            Err(_) => std::future::pending().await,
        }
    }

    /// Sends the newest frame, if it may go now. What does not fit a datagram is left to custody.
    pub(super) fn send(&mut self, connection: &Connection) {
        let datagram = self.newest.borrow().clone();
        let fits = connection.max_datagram_size().is_some_and(|most| datagram.len() <= most);
        if !self.waits || datagram.is_empty() || !fits {
            return;
        }
        let (window, rtt) = (connection.stats().path.cwnd, connection.rtt().as_nanos());
        let rate = u128::from(window) * 1_000_000_000 / rtt.max(1);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        if self.share.take(datagram.len(), rate, self.clock.now_ns()) {
            self.waits = false;
            self.sent += u64::from(connection.send_datagram(datagram).is_ok());
        }
    }
}
