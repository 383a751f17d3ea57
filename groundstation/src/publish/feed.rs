//! The one handle that tellers and readers of [`Live`] share.

use super::disk::DiskView;
use super::event::Event;
use super::live::Live;
use super::view::{Cursor, Snapshot};
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Cheap to clone; telling never waits for a reader longer than one view takes to copy.
#[derive(Clone, Debug, Default)]
pub struct Feed(Arc<Mutex<Live>>);

impl Feed {
    /// Tells one event.
    pub fn publish(&self, event: Event) {
        self.lock().apply(event);
    }

    /// Tells several at one lock; what a block of packets should use.
    pub fn publish_all(&self, events: Vec<Event>) {
        let mut live = self.lock();
        events.into_iter().for_each(|event| live.apply(event));
    }

    /// Everything live.
    pub fn snapshot(&self) -> Snapshot {
        self.lock().snapshot()
    }

    /// The disk of the archive.
    pub fn disk(&self) -> DiskView {
        self.lock().disk()
    }

    /// What changed since the cursor, and the next cursor; none where nothing did.
    pub fn delta(&self, cursor: Cursor) -> Option<(Snapshot, Cursor)> {
        self.lock().delta(cursor)
    }

    /// Thumbnail of a product, as PNG.
    pub fn thumbnail(&self, product: &str) -> Option<Bytes> {
        self.lock().thumbnail(product)
    }

    /// A teller that panicked half-way leaves counts behind by one, which is better than a blind
    /// page.
    fn lock(&self) -> MutexGuard<'_, Live> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
