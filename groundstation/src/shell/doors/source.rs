//! What every way out has: a reader of the archive, a choice, and a place to go on from.

use super::{
    Shared,
    board::Board,
    cursor::{Cursor, Passed},
};
use crate::{
    archive::{Archived, record::Position},
    door::{
        select::{Parcel, Selector},
        spec::{Begin, Door, Selection, WhenSlow},
    },
    shell::{
        clock::StationClock,
        follow::{Follower, From, Hub, START, Step},
    },
};
use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    time::{Duration, Instant},
};

/// How long a step waits for units; also how soon a stop, a waiting frame or a broken connection is
/// noticed while nothing comes.
pub const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Commits that wait in memory for a door.
const QUEUE_COMMITS: usize = 4;
/// A consumer that wants what is new may be this far behind; then it gets nothing until it would be
/// no further behind than the next bound.
const BEHIND_BYTES_MAX: u64 = 16 << 20;
const CAUGHT_UP_BYTES: u64 = 1 << 20;
/// How often a way out notes how far it came.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// One connection, socket or file.
pub trait Out {
    /// Takes a frame or packet; waits for its consumer. Breaks off where it can go no further.
    fn put(&mut self, parcel: &Parcel) -> ControlFlow<()>;

    /// Whether what it writes to is to be closed before `next`, or though nothing comes.
    fn turns(&mut self, next: Option<&Parcel>) -> bool {
        let _ = next;
        false
    }

    /// Closes it; what comes goes to another. Everything before stands in a checkpoint.
    fn turn(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// A step is over: nothing more may come for a while.
    fn settle(&mut self) -> ControlFlow<()>;

    /// Everything before the cursor was handed over, as far as the source knows.
    fn checkpoint(&mut self, cursor: Cursor);
}

/// Parcels for one connection, socket or file.
pub struct Source {
    follower: Follower,
    tap: Tap,
}

struct Tap {
    board: Board,
    selection: Selection,
    /// Where what a slow consumer does not take is dropped: how far behind it is.
    lag: Option<Lag>,
    clock: StationClock,
    selector: Selector,
    /// Nothing goes out that an earlier unit completed, but for those that `held` names.
    begin: Position,
    held: BTreeSet<Position>,
    /// Those of them that are not taken again yet.
    untaken: BTreeSet<Position>,
    /// What an earlier run left is let go: frames wait as they did then.
    warmed: bool,
    /// Everything before it was taken.
    at: Position,
    /// What the selector let go and no one took.
    owed: Vec<Position>,
    passed: Passed,
    checked: Instant,
}

impl Source {
    /// Begins where the door says, or where the cursor stands.
    pub fn new(shared: &Shared, door: &Door, board: &Board, cursor: Option<Cursor>) -> Self {
        let cursor = cursor.filter(|_| door.begin == Begin::Last);
        let from = match (door.begin, &cursor) {
            (Begin::Last, Some(cursor)) => From::At(cursor.warm),
            (Begin::Start, _) => From::At(START),
            (Begin::Live | Begin::Last, _) => From::Now,
        };
        let follower = shared.hub.follow(from, QUEUE_COMMITS);
        let begin = cursor.as_ref().map_or(follower.handled(), |cursor| cursor.at);
        let held: BTreeSet<Position> = cursor.into_iter().flat_map(|cursor| cursor.held).collect();
        let lag = (door.when_slow == WhenSlow::Drop)
            .then(|| Lag { hub: shared.hub.clone(), dropping: false });
        let tap = Tap {
            board: board.clone(),
            selection: door.selection.clone(),
            lag,
            clock: shared.clock,
            selector: Selector::new(door.selection.clone(), &shared.definition, door.patience_ns),
            begin,
            untaken: held.clone(),
            held,
            warmed: false,
            at: begin,
            owed: Vec::new(),
            passed: Passed::new(follower.handled()),
            checked: Instant::now(),
        };
        Self { follower, tap }
    }

    /// Takes what is there and hands over what it gives.
    pub fn step(&mut self, out: &mut impl Out) -> Step {
        let Self { follower, tap } = self;
        let mut step = follower.step(LOOK_AGAIN, &mut |unit| tap.take(unit, out));
        if step != Step::Stopped {
            tap.at = follower.handled().max(tap.begin);
            if tap.poll(out).is_break() || tap.settle(out).is_break() {
                step = Step::Stopped;
            }
        }
        tap.tell();
        tap.checkpoint(out, false);
        step
    }

    /// Lets go of frames that wait, where nothing of them will be taken up again.
    pub fn flush(&mut self, out: &mut impl Out) {
        let mut ready = Vec::new();
        self.tap.selector.flush(&mut |parcel| ready.push(parcel));
        let _ = self.tap.put(ready, out);
    }

    /// Notes how far it came, now.
    pub fn checkpoint(&mut self, out: &mut impl Out) {
        self.tap.checkpoint(out, true);
    }
}

/// How far behind a consumer is that wants what is new.
struct Lag {
    hub: Hub,
    dropping: bool,
}

impl Lag {
    /// Whether a unit is too old to be handed out.
    fn drops(&mut self, unit: &Archived) -> bool {
        let bound = if self.dropping { CAUGHT_UP_BYTES } else { BEHIND_BYTES_MAX };
        self.dropping = self.hub.behind(unit.position) > bound;
        self.dropping
    }
}

impl Tap {
    fn take(&mut self, unit: &Archived, out: &mut impl Out) -> ControlFlow<()> {
        let position = unit.position;
        if position >= self.begin {
            self.warm(out)?;
        }
        // No record begins there: it says that this unit was taken.
        self.at = Position { offset: position.offset + 1, ..position }.max(self.begin);
        self.passed.note(position, unit.bytes.len());
        if self.lag.as_mut().is_some_and(|lag| lag.drops(unit)) {
            if Selector::concerns(&self.selection, unit) {
                self.board.count(|view| *view.dropped.entry("slow").or_default() += 1);
            }
            return ControlFlow::Continue(());
        }
        let mut ready = Vec::new();
        self.selector.take(unit, self.clock.mono_ns(), &mut |parcel| ready.push(parcel));
        self.untaken.remove(&position);
        self.put(ready, out)?;
        if self.checked.elapsed() >= CHECKPOINT_EVERY {
            self.checkpoint(out, true);
        }
        ControlFlow::Continue(())
    }

    /// Comes to what is new. Frames that an earlier run let go before those they waited for wait
    /// here again: what completes them later would pass for done with them.
    fn warm(&mut self, out: &mut impl Out) -> ControlFlow<()> {
        if self.warmed {
            return ControlFlow::Continue(());
        }
        self.warmed = true;
        // What retention took meanwhile does not come again.
        self.untaken.clear();
        let (begin, held) = (self.begin, &self.held);
        let done = |position: Position| position < begin && !held.contains(&position);
        let mut ready = Vec::new();
        self.selector.let_go(done, &mut |parcel| ready.push(parcel));
        self.put(ready, out)
    }

    fn poll(&mut self, out: &mut impl Out) -> ControlFlow<()> {
        let mut ready = Vec::new();
        self.selector.poll(self.clock.mono_ns(), &mut |parcel| ready.push(parcel));
        self.put(ready, out)
    }

    fn settle(&mut self, out: &mut impl Out) -> ControlFlow<()> {
        out.settle()?;
        match out.turns(None) {
            true => self.turn(out),
            false => ControlFlow::Continue(()),
        }
    }

    /// Nothing may stand in a closed file that the next start takes for missing, nor the reverse.
    fn turn(&mut self, out: &mut impl Out) -> ControlFlow<()> {
        self.checkpoint(out, true);
        out.turn()
    }

    fn is_wanted(&self, position: Position) -> bool {
        position >= self.begin || self.held.contains(&position)
    }

    fn put(&mut self, mut ready: Vec<Parcel>, out: &mut impl Out) -> ControlFlow<()> {
        ready.retain(|parcel| self.is_wanted(parcel.position));
        let mut before = None;
        for (at, parcel) in ready.iter().enumerate() {
            // What one unit gave stays together: a cursor knows units only.
            if before != Some(parcel.position) && out.turns(Some(parcel)) {
                self.owe(&ready[at..]);
                self.turn(out)?;
                self.owed.clear();
            }
            before = Some(parcel.position);
            if out.put(parcel).is_break() {
                self.owe(&ready[at + 1..]);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn owe(&mut self, rest: &[Parcel]) {
        self.owed.extend(rest.iter().map(|parcel| parcel.position));
    }

    fn checkpoint(&mut self, out: &mut impl Out, now: bool) {
        if !now && self.checked.elapsed() < CHECKPOINT_EVERY {
            return;
        }
        self.checked = Instant::now();
        let waiting = self.selector.held().filter(|held| self.is_wanted(*held));
        let open = waiting.chain(self.owed.iter().copied()).chain(self.untaken.iter().copied());
        let held: BTreeSet<Position> = open.filter(|position| *position < self.at).collect();
        let first = held.first().map_or(self.at, |first| self.at.min(*first));
        let warm = self.passed.before(first);
        let held = held.into_iter().collect();
        out.checkpoint(Cursor { at: self.at, held, warm, file: None });
    }

    fn tell(&mut self) {
        if self.selector.left_out().is_empty() {
            return;
        }
        let told = self.selector.take_left_out();
        self.board.count(|view| {
            for (reason, count) in told {
                *view.dropped.entry(reason).or_default() += count;
            }
        });
    }
}
