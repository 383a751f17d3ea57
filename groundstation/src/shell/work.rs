//! Heavy work on its way to a pool.

use super::clock::StationClock;
use crate::{
    config::Config,
    process::Work,
    publish::{Event, Feed, JobState},
};

/// Where work of the process goes.
pub fn dispatcher(
    config: &Config,
    feed: Feed,
    clock: StationClock,
) -> anyhow::Result<impl FnMut(Work) + Send + use<>> {
    if config.pools.is_empty() {
        tracing::info!("no [[pool]]: heavy work waits and says so");
    }
    Ok(move |work: Work| {
        feed.publish(Event::Job {
            id: work.key,
            task: work.task,
            pool: String::new(),
            state: JobState::Waiting,
            queue_ms: 0.0,
            run_ms: 0.0,
            cost: 0.0,
            result: "no pool takes this task".into(),
            time: clock.tai(),
        });
    })
}
