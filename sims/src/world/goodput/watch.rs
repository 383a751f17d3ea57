//! What a way does over time: what is offered, what passes, how long it waits.

use std::sync::{Arc, Mutex, PoisonError};

use codecs::time::Tai;

use super::{Link, Way};
use crate::{
    link::{OVERHEAD_BYTES, Reason, Verdict},
    world::net::Leg,
};

/// What one span of time saw, by when packets were offered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Span {
    /// Bytes offered, headers included.
    pub offered: u64,
    /// Of those, what arrives.
    pub delivered: u64,
    /// Packets that found the queue full.
    pub queue_full: u64,
    /// Longest wait behind other packets, ns.
    pub wait_ns: u64,
}

/// Spans of one length from the start of a run on. Clones share them.
#[derive(Clone, Debug)]
pub struct Watch {
    span_ns: u64,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Watch {
    /// Nothing was seen yet.
    pub fn new(span_ns: u64) -> Self {
        Self { span_ns: span_ns.max(1), spans: Arc::default() }
    }

    /// How long a span is, ns.
    pub fn span_ns(&self) -> u64 {
        self.span_ns
    }

    /// Everything seen so far; silent ends of a run have no spans.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at what passes over a leg.
    pub(super) fn over(&self, inner: Box<dyn Leg>, link: &Link) -> Box<dyn Leg> {
        let (way, start) = (link.up.clone(), link.start);
        Box::new(Watched { inner, way, start, busy_until: start, watch: self.clone() })
    }

    fn note(&self, at_ns: u64, of: Span) {
        /// Ten hours of tenths of a second: what a run might forget to end.
        const SPANS_MAX: usize = 360_000;
        let Ok(at) = usize::try_from(at_ns / self.span_ns) else { return };
        if at >= SPANS_MAX {
            return;
        }
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        if spans.len() <= at {
            spans.resize(at + 1, Span::default());
        }
        if let Some(span) = spans.get_mut(at) {
            span.offered += of.offered;
            span.delivered += of.delivered;
            span.queue_full += of.queue_full;
            span.wait_ns = span.wait_ns.max(of.wait_ns);
        }
    }
}

struct Watched {
    inner: Box<dyn Leg>,
    way: Way,
    start: Tai,
    /// When the link has sent what it was offered, as the link model reckons it.
    busy_until: Tai,
    watch: Watch,
}

impl Leg for Watched {
    fn offer(&mut self, now: Tai, length: usize) -> Verdict {
        let verdict = self.inner.offer(now, length);
        let bytes = (length + OVERHEAD_BYTES) as u64;
        let mut span = Span { offered: bytes, ..Span::default() };
        match verdict {
            Verdict::Dropped(Reason::QueueFull) => span.queue_full = 1,
            Verdict::Dropped(Reason::Invisible) => {}
            Verdict::DeliverAt(_) | Verdict::Dropped(Reason::Lost) => {
                let free = self.busy_until.max(now);
                span.wait_ns = free.since(now).max(0) as u64;
                let rate_bps = self.way.rate_bps(free).max(1.0);
                self.busy_until = free.plus((bytes as f64 * 8e9 / rate_bps) as i64);
                if matches!(verdict, Verdict::DeliverAt(_)) {
                    span.delivered = bytes;
                }
            }
        }
        self.watch.note(now.since(self.start).max(0) as u64, span);
        verdict
    }
}
