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
    fn put(&mut self, parcel: Parcel) -> ControlFlow<()>;

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
    /// Nothing goes out that an earlier unit completed.
    begin: Position,
    /// The unit that is being taken; everything before it was.
    at: Position,
    passed: Passed,
    checked: Instant,
}

impl Source {
    /// Begins where the door says, or where the cursor stands.
    pub fn new(shared: &Shared, door: &Door, board: &Board, cursor: Option<Cursor>) -> Self {
        let cursor = cursor.filter(|_| door.begin == Begin::Last);
        let from = match (door.begin, cursor) {
            (Begin::Last, Some(cursor)) => From::At(cursor.warm),
            (Begin::Start, _) => From::At(START),
            (Begin::Live | Begin::Last, _) => From::Now,
        };
        let follower = shared.hub.follow(from, QUEUE_COMMITS);
        let begin = cursor.map_or(follower.handled(), |cursor| cursor.at);
        let lag = (door.when_slow == WhenSlow::Drop)
            .then(|| Lag { hub: shared.hub.clone(), dropping: false });
        let tap = Tap {
            board: board.clone(),
            selection: door.selection.clone(),
            lag,
            clock: shared.clock,
            selector: Selector::new(door.selection.clone(), &shared.definition, door.patience_ns),
            begin,
            at: begin,
            passed: Passed::default(),
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
            let mut ready = Vec::new();
            tap.selector.poll(tap.clock.mono_ns(), &mut |parcel| ready.push(parcel));
            if tap.put(ready, out).is_break() || out.settle().is_break() {
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
        self.at = unit.position.max(self.begin);
        self.passed.note(unit.position, unit.bytes.len());
        if self.lag.as_mut().is_some_and(|lag| lag.drops(unit)) {
            if Selector::concerns(&self.selection, unit) {
                self.board.count(|view| *view.dropped.entry("slow").or_default() += 1);
            }
            return ControlFlow::Continue(());
        }
        let mut ready = Vec::new();
        self.selector.take(unit, self.clock.mono_ns(), &mut |parcel| ready.push(parcel));
        self.put(ready, out)?;
        if self.checked.elapsed() >= CHECKPOINT_EVERY {
            self.checkpoint(out, true);
        }
        ControlFlow::Continue(())
    }

    fn put(&mut self, ready: Vec<Parcel>, out: &mut impl Out) -> ControlFlow<()> {
        ready
            .into_iter()
            .filter(|parcel| parcel.position >= self.begin)
            .try_for_each(|parcel| out.put(parcel))
    }

    fn checkpoint(&mut self, out: &mut impl Out, now: bool) {
        if now || self.checked.elapsed() >= CHECKPOINT_EVERY {
            self.checked = Instant::now();
            let at = self.selector.held_from().map_or(self.at, |held| held.min(self.at));
            let at = at.max(self.begin);
            out.checkpoint(Cursor { at, warm: self.passed.before(at), file_bytes: 0 });
        }
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
