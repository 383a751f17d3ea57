//! When a store commits: together what came together, and after trouble at its own time.

use super::StoreError;

/// How long a store that could not write is left alone, ns.
pub const RETRY_NS: u64 = 200_000_000;

/// See the module. Times are monotonic nanoseconds.
#[derive(Clone, Debug)]
pub struct Schedule {
    wait_ns: u64,
    full_bytes: u64,
    due_ns: Option<u64>,
    trouble: Option<StoreError>,
}

impl Schedule {
    /// Units wait so long for others, or until so many bytes are pending. The first commit is due at
    /// once: voids of what the last run found lost wait for it.
    pub const fn new(wait_ns: u64, full_bytes: u64) -> Self {
        Self { wait_ns, full_bytes, due_ns: Some(0), trouble: None }
    }

    /// When the next commit is due.
    pub const fn timeout(&self) -> Option<u64> {
        self.due_ns
    }

    /// What the store says while it can't write.
    pub const fn trouble(&self) -> Option<&StoreError> {
        self.trouble.as_ref()
    }

    /// Whether the store is left alone: it could not write, and its time has not come.
    pub fn rests(&self, now_ns: u64) -> bool {
        self.trouble.is_some() && self.due_ns.is_some_and(|due| due > now_ns)
    }

    /// Whether a commit is due.
    pub fn is_due(&self, now_ns: u64) -> bool {
        self.due_ns.is_some_and(|due| due <= now_ns)
    }

    /// So many bytes are pending in the store now.
    pub fn pending(&mut self, bytes: u64, now_ns: u64) {
        let wait_ns = if bytes >= self.full_bytes { 0 } else { self.wait_ns };
        let due = now_ns.saturating_add(wait_ns);
        self.due_ns = Some(self.due_ns.map_or(due, |before| before.min(due)));
    }

    /// The store has something to write that may wait as units do.
    pub fn dirty(&mut self, now_ns: u64) {
        self.due_ns = self.due_ns.or(Some(now_ns.saturating_add(self.wait_ns)));
    }

    /// Someone waits for the next commit; a store in trouble is tried again at its own time.
    pub fn hurry(&mut self, now_ns: u64) {
        if self.trouble.is_none() {
            self.due_ns = Some(self.due_ns.map_or(now_ns, |due| due.min(now_ns)));
        }
    }

    /// Tries now whatever was the matter: an end leaves no time for rests.
    pub fn insist(&mut self, now_ns: u64) {
        (self.due_ns, self.trouble) = (Some(now_ns), None);
    }

    /// A commit succeeded; whether that ends trouble.
    pub fn committed(&mut self) -> bool {
        self.due_ns = None;
        self.trouble.take().is_some()
    }

    /// A commit failed; the reason, where it is news.
    pub fn failed(&mut self, error: StoreError, now_ns: u64) -> Option<&StoreError> {
        self.due_ns = Some(now_ns.saturating_add(RETRY_NS));
        let news = self.trouble.as_ref() != Some(&error);
        self.trouble = Some(error);
        self.trouble.as_ref().filter(|_| news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fault;

    const FULL: StoreError = StoreError::Full(Fault::Full);

    #[test]
    fn units_wait_for_each_other_but_not_beyond_a_bound() {
        let mut schedule = Schedule::new(20, 1_000);
        assert!(schedule.is_due(0), "what the last run left");
        assert!(!schedule.committed());
        assert_eq!(schedule.timeout(), None);
        schedule.pending(10, 100);
        schedule.pending(500, 110);
        assert_eq!(schedule.timeout(), Some(120), "since the first of them");
        schedule.dirty(90);
        assert_eq!(schedule.timeout(), Some(120));
        schedule.pending(1_000, 115);
        assert!(schedule.is_due(115));
    }

    #[test]
    fn trouble_is_news_once_and_rests_in_between() {
        let mut schedule = Schedule::new(20, 1_000);
        assert_eq!(schedule.failed(FULL, 0), Some(&FULL));
        assert_eq!(schedule.failed(FULL, 10), None);
        schedule.hurry(20);
        assert!(schedule.rests(RETRY_NS + 9) && schedule.trouble().is_some());
        assert!(!schedule.rests(RETRY_NS + 10) && schedule.is_due(RETRY_NS + 10));
        schedule.insist(30);
        assert!(schedule.is_due(30) && !schedule.rests(30));
        schedule.failed(FULL, 30);
        assert!(schedule.committed() && !schedule.committed(), "its end is news once as well");
        schedule.hurry(40);
        assert!(schedule.is_due(40));
    }
}
