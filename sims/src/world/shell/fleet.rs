//! Islands side by side on threads. Which thread flies which island decides nothing: each is its
//! own world, and what they come to is put together in the order of the spacecraft.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use codecs::config::ConfigError;

use crate::world::island::{Island, IslandAnswer, IslandSettings};

const SECOND_NS: u64 = 1_000_000_000;
/// Simulated seconds after which whoever watches is told.
const LOOK_S: u64 = 60;

/// How far a flight is, for whoever watches.
#[derive(Debug, Default)]
pub struct Progress {
    /// Simulated seconds flown, summed over islands.
    pub flown_s: AtomicU64,
    /// Islands in all; none until they are known.
    pub islands: AtomicUsize,
    /// Islands that are over.
    pub over: AtomicUsize,
    /// To end early: what was flown so far counts.
    pub stop: AtomicBool,
}

impl Progress {
    /// Seconds of the whole scenario that were flown: those of its islands, shared out among them.
    pub fn scenario_s(&self) -> f64 {
        let islands = self.islands.load(Ordering::Relaxed).max(1);
        self.flown_s.load(Ordering::Relaxed) as f64 / islands as f64
    }
}

/// Flies islands on so many threads; what each came to, in their order.
///
/// # Errors
/// The first island, in their order, that can't be made or flown.
pub fn fly(
    islands: Vec<IslandSettings>,
    threads: usize,
    progress: &Progress,
) -> anyhow::Result<Vec<IslandAnswer>> {
    let count = islands.len();
    progress.islands.store(count, Ordering::Relaxed);
    let next = AtomicUsize::new(0);
    let islands: Vec<Mutex<Option<IslandSettings>>> =
        islands.into_iter().map(|of| Mutex::new(Some(of))).collect();
    let answers: Vec<Mutex<Option<anyhow::Result<IslandAnswer>>>> =
        (0..count).map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, count.max(1)) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(settings) = islands.get(index) else { return };
                    let settings = settings.lock().unwrap_or_else(PoisonError::into_inner).take();
                    let Some(settings) = settings else { return };
                    if progress.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let name = settings.name.clone();
                    let named = |error: anyhow::Error| match error.is::<ConfigError>() {
                        // It has its place in a file, which is the same for all of them.
                        true => error,
                        false => error.context(format!("spacecraft {name}")),
                    };
                    let answer = one(settings, progress).map_err(named);
                    progress.over.fetch_add(1, Ordering::Relaxed);
                    if let Some(place) = answers.get(index) {
                        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
                    }
                }
            });
        }
    });
    let answers = answers.into_iter();
    answers
        .filter_map(|answer| answer.into_inner().unwrap_or_else(PoisonError::into_inner))
        .collect()
}

fn one(settings: IslandSettings, progress: &Progress) -> anyhow::Result<IslandAnswer> {
    let mut island = Island::new(settings)?;
    while !island.is_over() && !progress.stop.load(Ordering::Relaxed) {
        let before_s = island.now_ns() / SECOND_NS;
        island.fly((before_s + LOOK_S) * SECOND_NS, &progress.stop)?;
        progress.flown_s.fetch_add(island.now_ns() / SECOND_NS - before_s, Ordering::Relaxed);
    }
    island.finish()
}
