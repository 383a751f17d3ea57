//! The log on stderr. A line that repeats itself too often is left out and counted.

use crate::seldom::Seldom;
use std::{
    io::IsTerminal as _,
    sync::{Mutex, PoisonError},
    time::Instant,
};
use tracing::{
    Event, Level, Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest,
};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    layer::{Context, Filter, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

/// Logs to stderr; colours only for a person who did not decline them (`NO_COLOR`). What runs for
/// long holds back lines that repeat.
pub fn to_stderr(hold_back: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = tracing_subscriber::fmt::layer()
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .with_ansi(!plain && std::io::stderr().is_terminal())
        .with_target(false)
        .with_filter(Quiet { hold_back, started: Instant::now(), seldom: Mutex::default() });
    tracing_subscriber::registry().with(filter).with(lines).init();
}

/// A place in the source: where a line is written.
type Place = (&'static str, u32);

/// Lets a place write so many lines in a while. Debugging is asked for, and not held back.
struct Quiet {
    hold_back: bool,
    started: Instant,
    seldom: Mutex<Seldom<Place>>,
}

impl<S: Subscriber> Filter<S> for Quiet {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        None
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let about = event.metadata();
        if !self.hold_back || *about.level() > Level::INFO {
            return true;
        }
        let now_ns = self.started.elapsed().as_nanos() as u64;
        let place = (about.file().unwrap_or(about.target()), about.line().unwrap_or(0));
        let mut seldom = self.seldom.lock().unwrap_or_else(PoisonError::into_inner);
        for ((file, line), count) in seldom.left_out(now_ns) {
            // Not by an event: one is under way.
            eprintln!("{count} more lines like the last of {file}:{line} were left out");
        }
        seldom.may(place, now_ns)
    }
}
