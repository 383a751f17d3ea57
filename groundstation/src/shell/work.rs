//! Heavy work on its way to a pool.

use super::{
    clock::StationClock,
    discover::{self, Finders},
    disk::Folder,
    idle,
    jobs::{self, JobLog},
    pools, start,
    telemetry::Telemetry,
};
use crate::{
    archive::{
        read::{self, Found},
        record::Position,
        twice::Twice,
    },
    config::{Config, PoolKind},
    pool::{Input, ModelMetadata, Pool, PoolError, Response, task::Contracts},
    process::{self, Work},
    publish::Feed,
    router::{Action, AskId, Router, log::State, view::RouterView},
};
use anyhow::Context as _;
use codecs::{mission::Definition, time::Tai};
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    task::{AbortHandle, JoinSet},
};

/// Work between the thread that interprets and the dispatcher; who is at the bound waits, which
/// the dispatcher never lets last.
const WORK_QUEUE: usize = 256;

/// Who asks how the router stands, at a time; who comes on top waits.
const LOOKS: usize = 16;

/// How often the job log is looked at for what may leave it.
const COMPACT_EVERY_NS: i64 = 86_400_000_000_000;

/// Time for a server to say what models it has.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Who asks how the router stands gets its answer here.
pub type Looked = oneshot::Sender<RouterView>;

/// Asks the router how it stands.
#[derive(Clone, Debug)]
pub struct Look(mpsc::Sender<Looked>);

impl Look {
    /// How the router stands; none when it has ended.
    pub async fn ask(&self) -> Option<RouterView> {
        let (tell, told) = oneshot::channel();
        self.0.send(tell).await.ok()?;
        told.await.ok()
    }
}

/// Starts the pools and the router; gives where work of the process goes, and who can be asked how
/// it stands. Routing ends when the first is dropped: what is not decided by then is asked for again
/// by the next start's replay.
pub fn dispatcher(
    config: &Config,
    definition: &Definition,
    feed: Feed,
    clock: StationClock,
) -> anyhow::Result<(impl FnMut(Work) + Send + use<>, Look)> {
    traced(config, definition, feed, clock, None)
}

/// The same, with spans for a collector.
pub fn traced(
    config: &Config,
    definition: &Definition,
    feed: Feed,
    clock: StationClock,
    telemetry: Option<Telemetry>,
) -> anyhow::Result<(impl FnMut(Work) + Send + use<>, Look)> {
    if config.pools.is_empty() {
        tracing::info!("no [[pool]]: heavy work waits and says so");
    }
    let warnings =
        idle_rules(config, definition).into_iter().chain(idle::pools(config, definition));
    warnings.for_each(|warning| tracing::warn!("{warning}"));
    let contracts = Contracts::with(&definition.tasks);
    let (mut pools, mut specs) = (Vec::new(), Vec::new());
    for table in config.pools.iter().filter(|pool| pool.discover.is_none()) {
        let pool = pools::open_for(config, table, &contracts)?;
        let info = pool.describe();
        specs.push(table.spec(info.kind, info.tasks));
        pools.push(Some(pool));
    }
    let finders = Finders::start(config, &contracts, discover::looker)?;
    let (log, said) = jobs::open(&config.base)?;
    let settings = config.routing.settings(contracts);
    let core = Router::new(specs, settings, said.lines, clock.tai());
    let mut core = core.with_past(&said.past);
    if telemetry.is_some() {
        core = core.telling_spans();
    }
    let (sender, work) = mpsc::channel(WORK_QUEUE);
    let (look, asking) = mpsc::channel(LOOKS);
    let archive = Folder::at(&config.path(&config.archive.dir));
    let (answers, asked) = (JoinSet::new(), BTreeMap::new());
    let log = Some(log);
    let (config, compact_at) = (Arc::new(config.clone()), clock.tai());
    let shell = Shell {
        core,
        pools,
        finders,
        log,
        config,
        compact_at,
        archive,
        feed,
        clock,
        telemetry,
        answers,
        asked,
        asking,
    };
    tokio::spawn(shell.run(work));
    let submit = move |work: Work| {
        // The router ends only with the runtime: then there is nothing left to tell.
        let _ = sender.blocking_send(work);
    };
    Ok((submit, Look(look)))
}

/// The input that a unit of the archive gives.
fn unit_input(archive: &mut Folder, at: Position) -> Result<Input, String> {
    let end = Position { segment: at.segment, offset: u64::MAX };
    let mut unit = None;
    let read = read::read(archive, &Twice::NOTHING, at, end, |found| match found {
        Found::Unit(found) => {
            unit = Some(found);
            Err(io::ErrorKind::Interrupted.into())
        }
        Found::Damage(_) => Ok(()),
    });
    match (unit, read) {
        (Some(unit), _) if unit.position == at => process::input(unit.codec, &unit.bytes),
        (_, Err(error)) if error.kind() != io::ErrorKind::Interrupted => Err(error.to_string()),
        _ => Err("the unit is not in the archive any more".to_owned()),
    }
}

/// Rules whose work nobody would do: of tasks that have no contract, or that no pool may take.
pub fn idle_rules(config: &Config, definition: &Definition) -> Vec<String> {
    let contracts = Contracts::with(&definition.tasks);
    let rules = definition.rules.iter();
    let told = rules.filter_map(|rule| {
        if let Err(error) = contracts.of(&rule.task) {
            return Some(format!("[[rule]]: {error}; add a [[task]] to the mission"));
        }
        let handling = Work::of(rule, String::new(), Input::Tensors(Vec::new())).handling;
        let specs = config.pools.iter().map(|pool| {
            let mut tasks: Vec<String> = pool.tasks.keys().cloned().collect();
            if pool.kind == PoolKind::Embedded {
                let folders: Vec<_> = pool.packages.iter().map(|of| config.path(of)).collect();
                let own = pools::tasks_of(&folders, pool.danger_accept_development_key);
                tasks.extend(own.into_iter().map(|(task, _)| task));
            }
            pool.spec("", tasks)
        });
        let takers: Vec<_> = specs.filter(|spec| spec.tasks.contains(&rule.task)).collect();
        let objections: Vec<_> = takers.iter().filter_map(|of| of.objection(&handling)).collect();
        if objections.len() < takers.len() {
            return None;
        }
        Some(match objections.is_empty() {
            true => format!("[[rule]]: no [[pool]] takes {}: such work waits in vain", rule.task),
            false => format!(
                "[[rule]]: no [[pool]] may see work of {}: {}",
                rule.task,
                objections.join("; ")
            ),
        })
    });
    told.collect()
}

/// Tries what [`dispatcher`] opens, and starts nothing.
pub fn check(config: &Config) -> anyhow::Result<()> {
    pools::check(config)?;
    let log = jobs::path(config);
    let folder = log.parent().unwrap_or(&config.base);
    let tried = if log.exists() { start::appendable(&log) } else { start::writable(folder) };
    tried.with_context(|| format!("job log {}", log.display()))
}

/// What came back from a pool.
enum Answer {
    Of(AskId, Result<Response, PoolError>),
    Described(usize, Arc<dyn Pool>, String, Result<Option<ModelMetadata>, PoolError>),
    Loaded(Arc<str>, Result<Input, String>),
}

struct Shell {
    core: Router,
    /// By the numbers that the router gave; none of those that went.
    pools: Vec<Option<Arc<dyn Pool>>>,
    finders: Finders,
    /// Away while a line is being written.
    log: Option<JobLog>,
    config: Arc<Config>,
    /// When the log is looked at for what may leave it.
    compact_at: Tai,
    archive: Folder,
    feed: Feed,
    clock: StationClock,
    telemetry: Option<Telemetry>,
    answers: JoinSet<Answer>,
    /// Questions by their number, to be given up.
    asked: BTreeMap<AskId, AbortHandle>,
    asking: mpsc::Receiver<Looked>,
}

impl Shell {
    async fn run(mut self, mut work: mpsc::Receiver<Work>) {
        loop {
            while let Some(action) = self.core.poll(self.clock.tai()) {
                self.act(action).await;
            }
            self.feed.publish_all(self.core.take_events());
            if let Some(telemetry) = &self.telemetry {
                telemetry.offer(self.core.take_spans());
            }
            self.compact().await;
            let now = self.clock.tai();
            let pause = self.core.next_timeout(now).map(|until| until.since(now).max(0));
            tokio::select! {
                asked = work.recv() => match asked {
                    Some(asked) => self.core.submit(asked, self.clock.tai()),
                    None => return,
                },
                Some(answered) = self.answers.join_next() => {
                    // One that was given up, or panicked, has no answer; a job ends with its
                    // deadline.
                    if let Ok(answer) = answered {
                        self.hear(answer);
                    }
                }
                Some(looked) = self.asking.recv() => {
                    let mut view = self.core.view(self.clock.tai());
                    view.discoveries = self.finders.views();
                    view.spans = self.telemetry.as_ref().map(Telemetry::counts);
                    let _ = looked.send(view);
                }
                found = self.finders.heard() => {
                    let now = self.clock.tai();
                    self.finders.apply(found, &mut self.core, &mut self.pools, now);
                }
                () = sleep(pause) => {}
            }
        }
    }

    /// Now and then has the log written anew without what is old. Jobs wait for it, as they do for
    /// each line; ingest does not.
    async fn compact(&mut self) {
        let now = self.clock.tai();
        if now < self.compact_at {
            return;
        }
        self.compact_at = now.plus(COMPACT_EVERY_NS);
        let Some(mut log) = self.log.take() else { return };
        let config = Arc::clone(&self.config);
        let compacted = tokio::task::spawn_blocking(move || {
            let keep = jobs::keep(&config, now);
            let left = log.compact(&keep);
            (log, left, keep)
        });
        match compacted.await {
            Ok((log, left, keep)) => {
                self.log = Some(log);
                match left {
                    Ok(Some(left)) => {
                        let (outcomes, bytes) = (left.outcomes, left.bytes);
                        tracing::info!(outcomes, bytes, "job log: what is old left it");
                        self.core.retire(keep.from);
                    }
                    Ok(None) => {}
                    Err(error) => tracing::error!("job log: {error}; it is not written anew"),
                }
            }
            Err(error) => tracing::error!("job log: {error}; no more outcomes are recorded"),
        }
    }

    fn pool(&self, at: usize) -> Option<Arc<dyn Pool>> {
        self.pools.get(at).cloned().flatten()
    }

    fn hear(&mut self, answer: Answer) {
        let now = self.clock.tai();
        match answer {
            Answer::Of(ask, result) => {
                self.asked.remove(&ask);
                self.core.answered(ask, result, now);
            }
            Answer::Described(at, pool, task, result) => {
                // The number may be another pool's by now.
                if self.pool(at).is_some_and(|known| Arc::ptr_eq(&known, &pool)) {
                    self.core.described(at, &task, result, now);
                }
            }
            Answer::Loaded(key, input) => self.core.loaded(&key, input, now),
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Ask { ask, pool, request } => {
                let Some(pool) = self.pool(pool) else { return };
                let asked =
                    self.answers.spawn(async move { Answer::Of(ask, pool.infer(&request).await) });
                self.asked.insert(ask, asked);
            }
            // Dropping the question drops its connection or stream: the server sees it.
            Action::Cancel { ask } => {
                if let Some(asked) = self.asked.remove(&ask) {
                    asked.abort();
                }
            }
            Action::Describe { pool, task } => {
                let Some(of) = self.pool(pool) else { return };
                self.answers.spawn(async move {
                    let told = tokio::time::timeout(DESCRIBE_TIMEOUT, of.metadata(&task)).await;
                    let told = told.unwrap_or_else(|_| {
                        let said = format!("it said nothing of its models in {DESCRIBE_TIMEOUT:?}");
                        Err(PoolError::unavailable(said))
                    });
                    Answer::Described(pool, of, task, told)
                });
            }
            Action::Load { key, task: _, unit } => {
                let mut archive = self.archive.clone();
                self.answers.spawn(async move {
                    let read = move || unit_input(&mut archive, unit);
                    let read = tokio::task::spawn_blocking(read).await;
                    Answer::Loaded(key, read.unwrap_or_else(|error| Err(error.to_string())))
                });
            }
            Action::Write { key, line, sync } => {
                if let (Some(telemetry), State::Accepted) = (&self.telemetry, line.state) {
                    u128::from_str_radix(&line.trace, 16)
                        .into_iter()
                        .for_each(|trace| telemetry.accepted(trace));
                }
                let Some(mut log) = self.log.take() else { return };
                let written = tokio::task::spawn_blocking(move || {
                    let result = log.append(&line, sync);
                    (log, result)
                });
                let ok = match written.await {
                    Ok((log, result)) => {
                        self.log = Some(log);
                        if let Err(error) = &result {
                            tracing::error!("job log: {error}; the outcome of {key} waits");
                        }
                        result.is_ok()
                    }
                    Err(error) => {
                        tracing::error!("job log: {error}; no more outcomes are recorded");
                        false
                    }
                };
                self.core.written(&key, ok, self.clock.tai());
            }
        }
    }
}

async fn sleep(pause_ns: Option<i64>) {
    match pause_ns {
        Some(pause) => tokio::time::sleep(Duration::from_nanos(pause.unsigned_abs())).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        archive::{Archive, Now, Settings, tests::unit},
        product,
    };
    use codecs::ids::Codec;

    #[test]
    fn an_input_comes_out_of_the_archive_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::at(dir.path());
        let now = Now { mono_ms: 0, tai: Tai(0) };
        let settings = Settings { segment_bytes: 256 << 10 };
        let (mut archive, _) = Archive::open(folder.clone(), settings, 1).unwrap();
        let tiles: Vec<_> = (0..6u32)
            .map(|id| {
                let mut tile = product::tests::tile(4, 64);
                tile.id = id;
                tile
            })
            .collect();
        for (tile, sequence) in tiles.iter().zip(0..) {
            let mut unit = unit(1, sequence);
            (unit.codec, unit.bytes) = (Codec::Product, tile.encode().into());
            archive.offer(&unit, now).unwrap();
        }
        archive.commit(now).unwrap();
        let end = archive.synced_to().unwrap();
        let start = Position { segment: 0, offset: 0 };
        let mut found = Vec::new();
        read::replay(&mut folder, &Twice::NOTHING, start, end, |unit| {
            found.push(unit.position);
            Ok(())
        })
        .unwrap();
        for (at, tile) in found.iter().zip(&tiles) {
            let wanted = product::tensor(tile).unwrap();
            assert_eq!(unit_input(&mut folder, *at), Ok(Input::Tensors(vec![wanted])));
        }
        let astray = Position { offset: found[3].offset + 8, ..found[3] };
        assert!(unit_input(&mut folder, astray).is_err());
        let gone = Position { segment: 999, offset: 4096 };
        assert!(unit_input(&mut folder, gone).unwrap_err().contains("not in the archive"));
    }

    #[test]
    fn rules_that_nobody_serves_are_told() {
        let definition = Definition::from_toml(
            "mission = 'm'\n[[product]]\nkind = 'tile'\nname = 't'\n[[rule]]\n\
             on = 'product:tile'\ntask = 'cloud-mask/1'\ndeadline_s = 1\nregions = ['eu']\n\
             [[rule]]\non = 'alarm'\ntask = 'tea/1'\ndeadline_s = 1\n[[rule]]\non = 'alarm'\n\
             task = 'alarm-report/1'\ndeadline_s = 1\n",
        )
        .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("station.toml");
        let text = "mission = 'm'\n[station]\nname = 'T'\nlatitude_deg = 1.0\n\
            longitude_deg = 1.0\n[identity]\nauthority = 'a'\ncertificate = 's'\nkey = 'k'\n\
            [[pool]]\nname = 'far'\nkind = 'oip-rest'\nurl = 'http://a'\nregion = 'us-east-1'\n\
            tasks = { 'cloud-mask/1' = 'screen' }\n";
        std::fs::write(&file, text).unwrap();
        let told = idle_rules(&Config::load(&file).unwrap(), &definition);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].contains("far: is in us-east-1, not in eu"), "{told:?}");
        assert!(told[1].contains("\"tea/1\" is unknown"), "{told:?}");
        assert!(told[2].contains("no [[pool]] takes alarm-report/1"), "{told:?}");
    }
}
