//! Heavy work in a world: what came down becomes jobs, the station's own router sends them to pools
//! whose answers, errors and outages are modelled.
//!
//! Jobs change nothing on the way down: they are flown after the islands, over what these archived.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use codecs::{
    tensor::{DType, Tensor},
    time::Tai,
};
use groundstation::{
    pool::{Cost, Handling, Input, Output, PoolError, Response, Usage},
    process::Work,
    publish::Event,
    router::{
        Action, AskId, Router,
        log::{Line, State},
        spec::{PoolSpec, Settings},
    },
};
use serde::{Deserialize, Serialize};

use super::answer::{CraftAnswer, FaultAnswer};
use crate::rng::{Random, mix};

/// What every job asks; the answer is made up.
const TASK: &str = "cloud-mask/1";
const SECOND_NS: f64 = 1e9;
const DAY_S: f64 = 86_400.0;

/// What becomes a job.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobsSettings {
    /// Units with at least so many bytes; each is a job.
    pub unit_bytes: u32,
    /// Seconds that a job may take.
    pub deadline_s: f64,
    /// Smaller goes first.
    #[serde(default)]
    pub priority: u8,
    /// Pools.
    #[serde(default)]
    pub pool: Vec<PoolSettings>,
}

/// A pool.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSettings {
    /// Name.
    pub name: String,
    /// Seconds of an answer, on average.
    pub run_s: f64,
    /// How much that differs: the standard deviation of its logarithm.
    #[serde(default)]
    pub spread: f64,
    /// Price of an answer, in the scenario's money.
    #[serde(default)]
    pub price: f64,
    /// Watts while it works.
    pub watts: Option<f64>,
    /// Questions that it works on at a time; more are refused.
    #[serde(default = "four")]
    pub slots: u32,
    /// Share of answers that are errors, 0 to 1.
    #[serde(default)]
    pub errors: f64,
    /// Outages, on average.
    #[serde(default)]
    pub outages_per_day: f64,
    /// Seconds of each, on average.
    #[serde(default = "ten_minutes")]
    pub outage_s: f64,
}

fn four() -> u32 {
    4
}

fn ten_minutes() -> f64 {
    600.0
}

impl PoolSettings {
    /// Each value with its key and where it may lie.
    pub fn each(&self) -> [(&'static str, f64, f64, f64); 7] {
        [
            ("run_s", self.run_s, 1e-6, DAY_S),
            ("spread", self.spread, 0.0, 3.0),
            ("price", self.price, 0.0, 1e6),
            ("slots", f64::from(self.slots), 1.0, 4096.0),
            ("errors", self.errors, 0.0, 1.0),
            ("outages_per_day", self.outages_per_day, 0.0, 10_000.0),
            ("outage_s", self.outage_s, 1.0, 1e7),
        ]
    }
}

/// What became of jobs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct JobsAnswer {
    /// Jobs.
    pub jobs: u64,
    /// With a result.
    pub done: u64,
    /// Without one.
    pub failed: u64,
    /// From the archive to the result, median, seconds; none where nothing was done.
    pub latency_p50_s: Option<f64>,
    /// 99 in 100, seconds.
    pub latency_p99_s: Option<f64>,
    /// Capture to result, median, seconds.
    pub insight_p50_s: Option<f64>,
    /// What they cost, in the scenario's money.
    pub cost: f64,
    /// Joules, where pools say what they draw.
    pub energy_j: f64,
    /// Questions; more than jobs where some were asked again.
    pub asked: u64,
    /// Each pool.
    pub pools: Vec<PoolAnswer>,
    /// One number over every question and outcome: the same for the same scenario and seed; written
    /// in hexadecimal, as JSON's readers round numbers of 64 bits.
    #[serde(serialize_with = "hexadecimal")]
    pub trace: u64,
}

fn hexadecimal<S: serde::Serializer>(of: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{of:016x}"))
}

/// What a pool did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PoolAnswer {
    /// Name.
    pub name: String,
    /// Questions.
    pub asked: u64,
    /// Jobs that it did.
    pub done: u64,
    /// Questions that it did not answer.
    pub errors: u64,
    /// Seconds that it was away.
    pub away_s: f64,
    /// What it cost.
    pub cost: f64,
}

/// A pool at work.
struct Pool {
    settings: PoolSettings,
    random: Random,
    /// When it is away, in order.
    away: Vec<(Tai, Tai)>,
    working: u32,
    told: PoolAnswer,
}

impl Pool {
    fn new(settings: &PoolSettings, start: Tai, duration_s: u64, seed: u64) -> Self {
        let mut random = Random::new(seed, &format!("pool {}", settings.name));
        let (mut away, mut at_s) = (Vec::new(), 0.0);
        loop {
            // A rate of none is a wait for ever.
            at_s += -(1.0 - random.unit()).ln() * DAY_S / settings.outages_per_day;
            if at_s.is_nan() || at_s >= duration_s as f64 {
                break;
            }
            let lasts_s = -(1.0 - random.unit()).ln() * settings.outage_s;
            away.push((after(start, at_s), after(start, at_s + lasts_s)));
            at_s += lasts_s;
        }
        let told = PoolAnswer {
            name: settings.name.clone(),
            away_s: away.iter().map(|(from, to)| to.since(*from) as f64 / SECOND_NS).sum(),
            ..PoolAnswer::default()
        };
        Self { settings: settings.clone(), random, away, working: 0, told }
    }

    fn is_away(&self, now: Tai) -> bool {
        let before = self.away.partition_point(|(from, _)| *from <= now);
        before.checked_sub(1).and_then(|at| self.away.get(at)).is_some_and(|(_, to)| now < *to)
    }

    /// Takes a question: when it answers, and what.
    fn ask(&mut self, now: Tai) -> (Tai, Result<(), PoolError>) {
        self.told.asked += 1;
        if self.is_away(now) {
            return (now, Err(PoolError::unavailable("the pool is away")));
        }
        if self.working >= self.settings.slots {
            return (now, Err(PoolError::overloaded("every slot is taken", None)));
        }
        self.working += 1;
        let spread = (self.settings.spread * self.random.normal()).exp();
        let ends = after(now, self.settings.run_s * spread);
        let fails = self.random.chance(self.settings.errors);
        (ends, if fails { Err(PoolError::failed("an error, as drawn")) } else { Ok(()) })
    }
}

fn after(start: Tai, seconds: f64) -> Tai {
    start.plus((seconds * SECOND_NS) as i64)
}

struct World {
    router: Router,
    pools: Vec<Pool>,
    now: Tai,
    answers: BTreeSet<(Tai, AskId)>,
    pending: BTreeMap<AskId, (usize, bool, Result<(), PoolError>)>,
    lines: Vec<Line>,
    trace: u64,
}

/// Flies the jobs of what spacecraft brought down.
pub fn fly(
    jobs: &JobsSettings,
    craft: &[CraftAnswer],
    start: Tai,
    duration_s: u64,
    seed: u64,
) -> (JobsAnswer, Vec<FaultAnswer>) {
    let pools = &jobs.pool;
    let specs = pools.iter().map(|settings| {
        let mut spec = PoolSpec::new(&settings.name, &[TASK]);
        spec.price.request = settings.price * 1e6;
        spec.watts = settings.watts;
        spec.expected = Duration::from_secs_f64(settings.run_s);
        spec.concurrency = (settings.slots.min(2), settings.slots);
        spec
    });
    let mut world = World {
        router: Router::new(specs.collect(), Settings::default(), [], start),
        pools: pools.iter().map(|of| Pool::new(of, start, duration_s, seed)).collect(),
        now: start,
        answers: BTreeSet::new(),
        pending: BTreeMap::new(),
        lines: Vec::new(),
        trace: seed,
    };
    let mut arrivals = Vec::new();
    for (of, craft) in craft.iter().enumerate() {
        for (number, unit) in craft.latency.iter().enumerate() {
            if unit.bytes >= jobs.unit_bytes {
                let at = after(start, unit.archived_s);
                arrivals.push((at, of, number, after(start, unit.captured_s)));
            }
        }
    }
    arrivals.sort();
    let tile = Bytes::from(vec![0; 4 * 64 * 64]);
    let captured: BTreeMap<String, (Tai, Tai)> = arrivals
        .iter()
        .map(|(at, of, number, captured)| (key(*of, *number), (*at, *captured)))
        .collect();
    for (at, of, number, _) in &arrivals {
        world.until(*at);
        world.router.submit(work(jobs, &key(*of, *number), &tile), world.now);
        world.act();
    }
    world.drain();
    let faults = world.pools.iter().flat_map(|pool| {
        pool.away.iter().map(|(from, to)| FaultAnswer {
            at_s: from.since(start) as f64 / SECOND_NS,
            what: format!(
                "pool outage: {} is away for {:.0} s",
                pool.settings.name,
                to.since(*from) as f64 / SECOND_NS
            ),
            craft: None,
        })
    });
    let faults = faults.collect();
    (world.answer(&captured), faults)
}

fn key(craft: usize, unit: usize) -> String {
    format!("{TASK}:{craft}-{unit}")
}

fn work(jobs: &JobsSettings, key: &str, tile: &Bytes) -> Work {
    let tile = Tensor::new("tile", DType::U8, vec![1, 4, 64, 64], tile.clone());
    Work {
        key: key.to_owned(),
        task: TASK.to_owned(),
        input: Input::Tensors(tile.into_iter().collect()),
        unit: None,
        about: key.to_owned(),
        handling: Handling::default(),
        budget: None,
        deadline_s: jobs.deadline_s,
        priority: jobs.priority,
    }
}

/// An answer that the contract takes.
fn masks(items: u64) -> Output {
    let zeros = |name: &str, shape: &[u64]| {
        let count = shape.iter().product::<u64>() as usize;
        Tensor::from_f32(name, shape.to_vec(), &vec![0.0; count]).ok()
    };
    let tensors = [zeros("mask", &[items, 1, 16, 16]), zeros("fraction", &[items, 1])];
    Output::Tensors(tensors.into_iter().flatten().collect())
}

impl World {
    /// What happens up to a time.
    fn until(&mut self, until: Tai) {
        while let Some(next) = self.next().filter(|next| *next <= until) {
            self.step(next);
        }
        self.now = self.now.max(until);
        self.act();
    }

    fn drain(&mut self) {
        self.act();
        // Each job has a deadline, and each deadline is a time that comes.
        while self.router.open_jobs() > 0
            && let Some(next) = self.next()
        {
            self.step(next);
        }
    }

    fn next(&self) -> Option<Tai> {
        let answer = self.answers.first().map(|(at, _)| *at);
        [answer, self.router.next_timeout(self.now)].into_iter().flatten().min()
    }

    fn step(&mut self, to: Tai) {
        self.now = self.now.max(to);
        while let Some((at, ask)) = self.answers.first().copied()
            && at <= self.now
        {
            self.answers.remove(&(at, ask));
            let Some((pool, works, result)) = self.pending.remove(&ask) else { continue };
            self.free(pool, works);
            // An outage takes what was being worked on with it.
            let away = works && self.pools.get(pool).is_some_and(|pool| pool.is_away(self.now));
            let result = match result {
                Ok(()) if away => Err(PoolError::unavailable("the pool went away")),
                result => result,
            };
            let response = result.map(|()| Response {
                model: "modelled".to_owned(),
                output: masks(1),
                usage: Usage::default(),
            });
            let failed = response.is_err();
            if let Some(pool) = self.pools.get_mut(pool) {
                pool.told.errors += u64::from(failed);
            }
            self.router.answered(ask, response, self.now);
        }
        self.act();
    }

    fn free(&mut self, pool: usize, works: bool) {
        if let Some(pool) = self.pools.get_mut(pool).filter(|_| works) {
            pool.working = pool.working.saturating_sub(1);
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.router.poll(self.now) {
            match action {
                Action::Ask { ask, pool, .. } => {
                    let Some(of) = self.pools.get_mut(pool) else { continue };
                    let before = of.working;
                    let (at, result) = of.ask(self.now);
                    let works = of.working > before;
                    self.trace = mix(self.trace ^ (self.now.0 as u64) ^ ((pool as u64) << 56));
                    self.answers.insert((at, ask));
                    self.pending.insert(ask, (pool, works, result));
                }
                Action::Cancel { ask } => {
                    if let Some((pool, works, _)) = self.pending.remove(&ask) {
                        self.free(pool, works);
                    }
                }
                Action::Write { key, line, .. } => {
                    self.router.written(&key, true, self.now);
                    if line.state != State::Accepted {
                        let done = u64::from(line.state == State::Done);
                        self.trace = mix(self.trace ^ (line.at as u64) ^ (done << 63));
                        let mut line = *line;
                        (line.outputs, line.form) = (Vec::new(), None);
                        self.lines.push(line);
                    }
                }
                Action::Describe { pool, task } => {
                    let away = self.pools.get(pool).is_some_and(|pool| pool.is_away(self.now));
                    let told = if away { Err(PoolError::unavailable("away")) } else { Ok(None) };
                    self.router.described(pool, &task, told, self.now);
                }
                Action::Load { key, .. } => {
                    self.router.loaded(&key, Err("not held".to_owned()), self.now);
                }
            }
        }
        // Nobody looks at a page here.
        let _: Vec<Event> = self.router.take_events();
    }

    fn answer(self, arrivals: &BTreeMap<String, (Tai, Tai)>) -> JobsAnswer {
        let mut answer = JobsAnswer { jobs: arrivals.len() as u64, ..JobsAnswer::default() };
        let (mut latencies, mut insights, mut cost) = (Vec::new(), Vec::new(), Cost::ZERO);
        let mut pools: Vec<PoolAnswer> = self.pools.into_iter().map(|pool| pool.told).collect();
        for line in &self.lines {
            cost += line.cost;
            answer.energy_j += line.energy_j.unwrap_or(0.0);
            let pool = pools.iter_mut().find(|pool| pool.name == line.pool);
            if line.state == State::Failed {
                answer.failed += 1;
                continue;
            }
            answer.done += 1;
            if let Some(pool) = pool {
                pool.done += 1;
                pool.cost += line.cost.units();
            }
            if let Some((archived, captured)) = arrivals.get(&line.key) {
                latencies.push(Tai(line.at).since(*archived) as f64 / SECOND_NS);
                insights.push(Tai(line.at).since(*captured) as f64 / SECOND_NS);
            }
        }
        let quantile = |all: &mut Vec<f64>, share: f64| {
            all.sort_by(f64::total_cmp);
            all.get(((all.len().max(1) - 1) as f64 * share).round() as usize).copied()
        };
        answer.latency_p50_s = quantile(&mut latencies, 0.5);
        answer.latency_p99_s = quantile(&mut latencies, 0.99);
        answer.insight_p50_s = quantile(&mut insights, 0.5);
        answer.cost = cost.units();
        answer.asked = pools.iter().map(|pool| pool.asked).sum();
        answer.pools = pools;
        answer.trace = self.trace;
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::answer::LatencySample;

    fn pool(name: &str, text: &str) -> PoolSettings {
        toml::from_str(&format!("name = '{name}'\n{text}")).unwrap()
    }

    /// A spacecraft whose images come in two contacts of an hour.
    fn craft() -> CraftAnswer {
        let sample = |number: u32| {
            let archived_s = if number < 500 { 4.0 } else { 40_000.0 } + f64::from(number) * 0.5;
            LatencySample {
                captured_s: archived_s - 100.0,
                stored_s: archived_s - 99.0,
                sent_s: archived_s - 1.0,
                last_sent_s: archived_s - 1.0,
                archived_s,
                bytes: if number.is_multiple_of(5) { 60_000 } else { 500 },
                channel: 1,
            }
        };
        CraftAnswer { latency: (0..1000).map(sample).collect(), ..CraftAnswer::default() }
    }

    fn flown(pools: &[PoolSettings], seed: u64) -> (JobsAnswer, Vec<FaultAnswer>) {
        let pool = pools.to_vec();
        let jobs = JobsSettings { unit_bytes: 10_000, deadline_s: 20_000.0, priority: 1, pool };
        let start = Tai::from_unix(1_800_000_000, 0);
        fly(&jobs, &[craft()], start, 86_400, seed)
    }

    #[test]
    fn every_job_ends_and_a_seed_fixes_all() {
        let faulty = pool(
            "cheap",
            "run_s = 2.0\nspread = 0.4\nerrors = 0.05\noutages_per_day = 30.0\nprice = 0.001",
        );
        let sure = pool("dear", "run_s = 0.5\nprice = 0.05\nwatts = 100.0");
        let pools = [faulty, sure];
        let (answer, faults) = flown(&pools, 1);
        assert_eq!((answer.jobs, answer.done + answer.failed), (200, 200));
        assert!(answer.done >= 195, "{answer:?}");
        assert!(faults.len() > 5 && faults[0].what.contains("pool outage: cheap is away"));
        assert!(answer.cost > 0.0 && answer.asked >= 200);
        let latency = answer.latency_p50_s.unwrap();
        assert!((answer.insight_p50_s.unwrap() - latency - 100.0).abs() < 2.0);
        assert_eq!(flown(&pools, 1), (answer.clone(), faults));
        assert_ne!(flown(&pools, 2).0.trace, answer.trace);
    }

    #[test]
    fn an_idle_pool_is_asked_at_once_however_rare_jobs_are() {
        let sure = pool("p", "run_s = 0.25");
        let (answer, _) = flown(&[sure], 1);
        let latency = answer.latency_p99_s.unwrap();
        assert!((latency - 0.25).abs() < 0.01, "{latency}: images come 2.5 s apart");
    }

    #[test]
    fn an_outage_delays_jobs_and_loses_none() {
        let always = pool("p", "run_s = 0.2\nslots = 2");
        let (answer, _) = flown(std::slice::from_ref(&always), 1);
        assert_eq!(answer.done, 200);
        let usual = answer.latency_p99_s.unwrap();
        let away = PoolSettings { outages_per_day: 60.0, ..always };
        let (answer, _) = flown(&[away], 1);
        assert_eq!(answer.done, 200, "{answer:?}");
        assert!(answer.latency_p99_s.unwrap() > usual + 60.0);
    }
}
