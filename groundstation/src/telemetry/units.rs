//! The way of the units that led to insight: received, archived, receipted, interpreted.

use super::{Kind, Span};
use crate::archive::{Archived, record::Position};
use crate::pool::Trace;
use codecs::time::Tai;
use std::collections::{BTreeMap, VecDeque};

/// Commits that are remembered; the thread that interprets is seldom more than a few behind. Of
/// older ones only the end is told.
const COMMITS_MAX: usize = 1_024;

/// Units that led to work which is not accepted yet; at the bound the oldest is forgotten. Work
/// that a replay asks for again and that was decided long ago is never accepted.
const ORIGINS_MAX: usize = 4_096;

/// Name of the span that everything of a trace is a part of.
pub const ROOT: &str = "unit";

/// The span that everything of a trace is a part of.
pub fn root(trace: Trace) -> Trace {
    trace.part(ROOT)
}

struct Commit {
    end: Position,
    synced: Tai,
    told: Tai,
}

/// Remembers what spans need, at a cost a commit and never a cost a unit.
pub struct Units {
    commits: VecDeque<Commit>,
    waiting: BTreeMap<u128, Vec<Span>>,
    order: VecDeque<u128>,
}

impl Default for Units {
    fn default() -> Self {
        // Whole from the start: the thread that archives must not allocate here.
        let commits = VecDeque::with_capacity(COMMITS_MAX);
        Self { commits, waiting: BTreeMap::new(), order: VecDeque::new() }
    }
}

impl Units {
    /// Hears of a commit: everything before `end` was on the disk at `synced`, and who brought it
    /// was told at `told`.
    pub fn committed(&mut self, end: Position, synced: Tai, told: Tai) {
        if self.commits.len() >= COMMITS_MAX {
            self.commits.pop_front();
        }
        self.commits.push_back(Commit { end, synced, told });
    }

    /// Keeps the way of a unit that led to work until the work is accepted: what was decided
    /// before a restart is not told again.
    pub fn led_to(&mut self, unit: &Archived, about: &str, interpreted: Tai) {
        let trace = Trace::of(about);
        let spans = self.spans(unit, about, interpreted);
        if self.waiting.insert(trace.id, spans).is_none() {
            if self.order.len() >= ORIGINS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.waiting.remove(&oldest);
            }
            self.order.push_back(trace.id);
        }
    }

    /// Work of a trace is accepted, or is known and not decided: gives the way of its unit, once.
    pub fn accepted(&mut self, trace: u128) -> Vec<Span> {
        // The order keeps its place: it is bounded, and what is not there any more is passed over.
        self.waiting.remove(&trace).unwrap_or_default()
    }

    /// The way of a unit to what it is about.
    pub fn spans(&self, unit: &Archived, about: &str, interpreted: Tai) -> Vec<Span> {
        let trace = Trace::of(about);
        let root = root(trace);
        let part = |name, begin, end| Span::new(trace.part(name), root.span, name, begin, end);
        let prefix = &unit.key.prefix;
        let bearer = if unit.annotation.is_some() { "antenna" } else { "quic" };
        let mut whole = Span::new(root, 0, ROOT, unit.received, interpreted)
            .kind(Kind::Consumer)
            .text("groundtrack.about", about)
            .text("groundtrack.origin", &prefix.origin.to_string())
            .text("groundtrack.epoch", &format!("{:016x}", prefix.epoch.0))
            .whole("groundtrack.spacecraft", u64::from(prefix.spacecraft.0))
            .text("groundtrack.channel", &prefix.channel.to_string())
            .whole("groundtrack.sequence", unit.key.sequence)
            .text("groundtrack.bearer", bearer)
            .whole("groundtrack.bytes", unit.bytes.len() as u64)
            .truth("groundtrack.replayed", unit.replayed);
        if let Some(heard) = unit.annotation {
            whole = whole.whole("groundtrack.antenna", u64::from(heard.antenna));
        }
        let at = self.commits.partition_point(|commit| commit.end <= unit.position);
        let mut spans = vec![whole];
        let mut begin = unit.received;
        if let Some(commit) = self.commits.get(at).filter(|_| !unit.replayed) {
            spans.push(part("archive", unit.received, commit.synced));
            spans.push(part("receipt", commit.synced, commit.told));
            begin = commit.synced;
        }
        if !unit.replayed {
            spans.push(part("interpret", begin, interpreted));
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use codecs::ids::Codec;

    fn unit(offset: u64, replayed: bool) -> Archived {
        Archived {
            key: crate::ledger::tests::key(1, 7),
            codec: Codec::Product,
            received: Tai(100),
            annotation: None,
            bytes: Bytes::from_static(b"tile"),
            position: Position { segment: 1, offset },
            replayed,
        }
    }

    fn end(offset: u64) -> Position {
        Position { segment: 1, offset }
    }

    #[test]
    fn a_unit_is_told_once_with_the_commit_that_made_it_durable() {
        let mut units = Units::default();
        units.committed(end(4_096), Tai(110), Tai(112));
        units.committed(end(8_192), Tai(120), Tai(125));
        units.led_to(&unit(4_096, false), "7-1-9", Tai(200));
        let trace = Trace::of("7-1-9");
        let told = units.accepted(trace.id);
        let rows: Vec<_> = told.iter().map(|span| (span.name, span.begin.0, span.end.0)).collect();
        let wanted = [
            ("unit", 100, 200),
            ("archive", 100, 120),
            ("receipt", 120, 125),
            ("interpret", 120, 200),
        ];
        assert_eq!(rows, wanted);
        assert!(told.iter().all(|span| span.trace == trace.id));
        assert!(told[1..].iter().all(|span| span.parent == told[0].id && span.id != span.parent));
        assert_eq!(units.accepted(trace.id), [], "a second job of the same product");
    }

    #[test]
    fn a_restart_names_the_same_spans_and_says_only_what_it_knows() {
        let (mut before, mut after) = (Units::default(), Units::default());
        before.committed(end(4_096), Tai(110), Tai(112));
        let first = before.spans(&unit(0, false), "7-1-9", Tai(200));
        after.led_to(&unit(0, true), "7-1-9", Tai(900));
        let again = after.accepted(Trace::of("7-1-9").id);
        assert_eq!(again.len(), 1);
        assert_eq!((again[0].trace, again[0].id), (first[0].trace, first[0].id));
    }

    #[test]
    fn what_is_never_accepted_is_forgotten_oldest_first() {
        let mut units = Units::default();
        let about = |number: usize| format!("7-{number}-0");
        (0..ORIGINS_MAX + 5).for_each(|at| units.led_to(&unit(0, true), &about(at), Tai(1)));
        assert_eq!(units.accepted(Trace::of(&about(4)).id), []);
        assert_eq!(units.accepted(Trace::of(&about(5)).id).len(), 1);
        (0..2 * COMMITS_MAX as u64).for_each(|at| units.committed(end(at), Tai(1), Tai(1)));
        assert_eq!(units.commits.len(), COMMITS_MAX);
    }
}
