//! What a door tells of itself, from all its connections.

use crate::{
    door::spec::Door,
    publish::{DoorView, Event, Feed},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Counts are told at most this often.
const TOLD_EVERY: Duration = Duration::from_millis(200);

/// Shared by the connections of a door.
#[derive(Clone)]
pub struct Board(Arc<Shared>);

struct Shared {
    feed: Feed,
    state: Mutex<State>,
}

struct State {
    view: DoorView,
    told: Instant,
    /// Counted and not told.
    news: bool,
}

impl Board {
    /// Tells the door for the first time.
    pub fn new(door: &Door, feed: Feed) -> Self {
        let view = DoorView {
            name: door.name.clone(),
            to: door.to.to_string(),
            sends: door.selection.goods.to_string(),
            ..DoorView::default()
        };
        feed.publish(Event::Door(view.clone()));
        Self(Arc::new(Shared {
            feed,
            state: Mutex::new(State { view, told: Instant::now(), news: false }),
        }))
    }

    /// Tells a change at once.
    pub fn change(&self, change: impl FnOnce(&mut DoorView)) {
        self.with(|state| {
            change(&mut state.view);
            state.news = true;
            true
        });
    }

    /// Counts; told when it is due.
    pub fn count(&self, change: impl FnOnce(&mut DoorView)) {
        self.with(|state| {
            change(&mut state.view);
            state.news = true;
            false
        });
    }

    /// Tells what is not told yet.
    pub fn tell(&self) {
        self.with(|_| true);
    }

    fn with(&self, change: impl FnOnce(&mut State) -> bool) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let at_once = change(&mut state);
        if state.news && (at_once || state.told.elapsed() >= TOLD_EVERY) {
            (state.told, state.news) = (Instant::now(), false);
            self.0.feed.publish(Event::Door(state.view.clone()));
        }
    }

    /// A connection is up.
    pub fn opened(&self) {
        self.change(|view| {
            view.open += 1;
            view.connects += 1;
            view.error = None;
        });
    }

    /// A connection is down, with the reason where it is worth telling.
    pub fn closed(&self, error: Option<String>) {
        self.change(|view| {
            view.open = view.open.saturating_sub(1);
            view.error = error;
        });
    }

    /// Something does not work; told and logged when it begins.
    pub fn failed(&self, error: &str) {
        self.change(|view| {
            if view.error.as_deref() != Some(error) {
                tracing::warn!(door = view.name, "{error}");
            }
            view.error = Some(error.into());
        });
    }
}
