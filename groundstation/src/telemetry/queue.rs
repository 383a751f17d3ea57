//! Spans on their way to the collector: bounded, and what finds no room is counted.

use super::Span;
use codecs::time::Tai;
use serde::Serialize;
use std::collections::VecDeque;

/// Spans that wait. At the bound new ones are dropped and counted: nobody waits for a collector.
pub const SPANS_MAX: usize = 8_192;

/// Spans of one question to the collector.
pub const BATCH_MAX: usize = 256;

/// How long a span waits for others to go with it.
const GATHER_NS: i64 = 1_000_000_000;

/// Pauses after a collector that did not answer, doubled up to the second.
const PAUSE_NS: (i64, i64) = (1_000_000_000, 60_000_000_000);

/// What became of spans, since the start: made = waiting + exported + dropped + refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All.
    pub made: u64,
    /// Those that wait.
    pub waiting: u64,
    /// Those that the collector took.
    pub exported: u64,
    /// Those that found the queue full.
    pub dropped: u64,
    /// Those that the collector would not take.
    pub refused: u64,
}

/// What a collector said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It took them, but for so many.
    Taken {
        /// Spans that it would not take.
        refused: u64,
    },
    /// It did not answer, or wants to be asked again; perhaps not before a time.
    Again {
        /// Nanoseconds that it wants to be left alone.
        after_ns: Option<i64>,
    },
    /// It will not take them however often it is asked.
    Never,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    spans: VecDeque<Span>,
    /// How many of the front are on their way.
    away: usize,
    since: Option<Tai>,
    not_before: Option<Tai>,
    pause_ns: i64,
    counts: Counts,
}

impl Queue {
    /// Takes spans; never waits.
    pub fn offer(&mut self, spans: impl IntoIterator<Item = Span>, now: Tai) {
        for span in spans {
            self.counts.made += 1;
            if self.spans.len() >= SPANS_MAX {
                self.counts.dropped += 1;
                continue;
            }
            self.since.get_or_insert(now);
            self.spans.push_back(span);
        }
    }

    /// The next question's spans, where it is time for one; with `now` none, whatever the time is.
    /// They stay here until [`Self::answered`].
    pub fn batch(&mut self, now: Option<Tai>) -> Option<Vec<Span>> {
        let due = match now {
            Some(now) => self.next().is_some_and(|at| at <= now),
            None => self.away == 0 && !self.spans.is_empty(),
        };
        if !due {
            return None;
        }
        self.away = self.spans.len().min(BATCH_MAX);
        Some(self.spans.range(..self.away).cloned().collect())
    }

    /// When there is a question to be asked; none while one is on its way or nothing waits.
    pub fn next(&self) -> Option<Tai> {
        let since = self.since.filter(|_| self.away == 0)?;
        let gathered = if self.spans.len() >= BATCH_MAX { since } else { since.plus(GATHER_NS) };
        Some(self.not_before.map_or(gathered, |at| at.max(gathered)))
    }

    /// Hears what the collector said; whether it is news that it does not answer, or that it does
    /// again.
    pub fn answered(&mut self, verdict: &Verdict, now: Tai) -> bool {
        let asked = std::mem::take(&mut self.away);
        let was_shut = self.pause_ns > 0;
        let sent = asked as u64;
        match verdict {
            Verdict::Again { after_ns } => {
                self.pause_ns = (self.pause_ns * 2).clamp(PAUSE_NS.0, PAUSE_NS.1);
                let pause = after_ns.map_or(self.pause_ns, |ns| ns.clamp(0, PAUSE_NS.1));
                self.not_before = Some(now.plus(pause));
                return !was_shut;
            }
            Verdict::Taken { refused } => {
                let refused = (*refused).min(sent);
                self.counts.refused += refused;
                self.counts.exported += sent - refused;
            }
            Verdict::Never => self.counts.refused += sent,
        }
        self.spans.drain(..asked);
        (self.pause_ns, self.not_before) = (0, None);
        self.since = (!self.spans.is_empty()).then_some(now);
        was_shut || *verdict == Verdict::Never
    }

    /// What became of spans.
    pub fn counts(&self) -> Counts {
        Counts { waiting: self.spans.len() as u64, ..self.counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Trace;

    fn spans(count: usize) -> Vec<Span> {
        vec![Span::new(Trace::of("x"), 0, "job", Tai(0), Tai(1)); count]
    }

    fn at(seconds: i64) -> Tai {
        Tai(seconds * 1_000_000_000)
    }

    fn balanced(queue: &Queue) -> Counts {
        let counts = queue.counts();
        let ends = counts.waiting + counts.exported + counts.dropped + counts.refused;
        assert_eq!(counts.made, ends, "{counts:?}");
        counts
    }

    #[test]
    fn spans_gather_and_go_in_order() {
        let mut queue = Queue::default();
        queue.offer(spans(3), at(0));
        assert_eq!((queue.batch(Some(at(0))), queue.next()), (None, Some(at(1))));
        assert_eq!(queue.batch(Some(at(1))).map(|batch| batch.len()), Some(3));
        queue.offer(spans(BATCH_MAX), at(1));
        assert_eq!(queue.batch(Some(at(9))), None, "one question at a time");
        assert!(!queue.answered(&Verdict::Taken { refused: 1 }, at(2)));
        assert_eq!(queue.batch(Some(at(2))).map(|batch| batch.len()), Some(BATCH_MAX));
        queue.answered(&Verdict::Taken { refused: 0 }, at(2));
        let counts = balanced(&queue);
        assert_eq!((counts.exported, counts.refused, counts.waiting), (258, 1, 0));
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn a_collector_that_is_not_there_costs_a_bounded_queue_and_counted_drops() {
        let mut queue = Queue::default();
        let mut now = at(0);
        for round in 0..200 {
            queue.offer(spans(100), now);
            now = queue.next().unwrap().max(now);
            queue.batch(Some(now)).unwrap();
            assert_eq!(queue.answered(&Verdict::Again { after_ns: None }, now), round == 0);
            now = now.plus(1);
        }
        let counts = balanced(&queue);
        assert_eq!((counts.waiting, counts.made), (SPANS_MAX as u64, 20_000));
        assert!(now.since(at(0)) > 150 * PAUSE_NS.1, "it is left alone for a minute at a time");
        let again = queue.next().unwrap();
        queue.batch(Some(again)).unwrap();
        assert!(queue.answered(&Verdict::Taken { refused: 0 }, again), "that it is back is news");
        assert_eq!(balanced(&queue).exported, BATCH_MAX as u64);
    }

    #[test]
    fn a_time_that_the_collector_names_is_kept_and_bounded() {
        let mut queue = Queue::default();
        queue.offer(spans(1), at(0));
        queue.batch(Some(at(1))).unwrap();
        queue.answered(&Verdict::Again { after_ns: Some(5_000_000_000) }, at(1));
        assert_eq!(queue.next(), Some(at(6)));
        queue.batch(Some(at(6))).unwrap();
        queue.answered(&Verdict::Again { after_ns: Some(i64::MAX) }, at(6));
        assert_eq!(queue.next(), Some(at(66)));
        queue.batch(Some(at(66))).unwrap();
        assert!(queue.answered(&Verdict::Never, at(66)));
        assert_eq!(balanced(&queue).refused, 1);
    }
}
