//! What the router takes to decide: many pools, a long queue, a clock.

use super::{child::thread_cpu_s, serving};
use crate::{
    commands::say,
    pool::{Handling, Input, Output, PoolError, Response, Usage},
    process::Work,
    router::{
        Action, Router,
        spec::{PoolSpec, Settings},
    },
};
use codecs::{tensor::Tensor, time::Tai};
use serde::Serialize;
use std::{collections::VecDeque, path::PathBuf, time::Instant};

/// Tasks that the queue is made of.
const TASK: &str = "telemetry-triage/1";

/// After it no job of the measurement has time left.
const ALL_DEADLINES_NS: i64 = 100_000_000_000_000;

/// What pools and the way to them cost
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  groundstation bench pools --json")]
pub struct PoolsArgs {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// Pools that the router knows
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub pools: u32,
    /// Jobs that wait
    #[arg(long, default_value_t = 100_000,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub jobs: u32,
    /// Decisions that are measured
    #[arg(long, default_value_t = 20_000)]
    pub decisions: u32,
    /// Seconds of each measurement of the way to a pool; 0 leaves them out
    #[arg(long, default_value_t = 1.0)]
    pub seconds: f64,
    /// Measurements of each way, in turn
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Model package whose run is measured here and in a pool; with none only the way is
    #[arg(long, value_name = "DIR")]
    pub package: Option<PathBuf>,
}

/// What the router takes: a decision is a poll that ends with a question to be sent, or with the
/// word that nothing can be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// Pools.
    pub pools: u32,
    /// Jobs that waited.
    pub jobs: u32,
    /// Decisions that sent a question.
    pub asks: Times,
    /// Decisions to wait.
    pub waits: Times,
    /// Polls after all deadlines passed at once: each ends a few jobs.
    pub ends: Times,
    /// Average microseconds of taking a job into the queue.
    pub submit_us: f64,
    /// Average microseconds of taking an answer.
    pub answer_us: f64,
}

/// Microseconds of one thing that was done often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Times {
    /// How often.
    pub count: usize,
    /// Half of them took less.
    pub p50_us: f64,
    /// 99 of 100 took less.
    pub p99_us: f64,
    /// Processor time that 99 of 100 took less than: what others did meanwhile is not in it.
    pub p99_cpu_us: f64,
    /// The longest, processor time.
    pub max_cpu_us: f64,
}

impl Times {
    fn of(taken: &[(f64, f64)]) -> Self {
        let mut wall: Vec<f64> = taken.iter().map(|row| row.0).collect();
        let mut cpu: Vec<f64> = taken.iter().map(|row| row.1).collect();
        [&mut wall, &mut cpu].into_iter().for_each(|times| times.sort_by(f64::total_cmp));
        let at = |times: &[f64], share: f64| {
            times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default()
        };
        Self {
            count: taken.len(),
            p50_us: at(&wall, 0.5),
            p99_us: at(&wall, 0.99),
            p99_cpu_us: at(&cpu, 0.99),
            max_cpu_us: cpu.last().copied().unwrap_or_default(),
        }
    }

    fn people(&self, what: &str) -> String {
        format!(
            "  {what}: {:.1} us (p50), {:.1} us (p99), {:.1} us of processor time (p99), {:.0} us \
             at most of {}",
            self.p50_us, self.p99_us, self.p99_cpu_us, self.max_cpu_us, self.count
        )
    }
}

/// Measures.
pub fn run(args: &PoolsArgs) -> anyhow::Result<()> {
    let decision = decide(args)?;
    let way = serving::measure(args.seconds, args.rounds, args.package.as_deref())?;
    match args.json {
        true => {
            say(&serde_json::to_string(&serde_json::json!({ "router": decision, "way": way }))?)
        }
        false => say(&format!("{}\n{}", decision.people(), way.people(),)),
    }
    Ok(())
}

impl Decision {
    /// For people.
    fn people(&self) -> String {
        format!(
            "router, {} pools, {} jobs waiting; submit {:.1} us, answer {:.1} us\n{}\n{}\n{}",
            self.pools,
            self.jobs,
            self.submit_us,
            self.answer_us,
            self.asks.people("asks"),
            self.waits.people("waits"),
            self.ends.people("ends, all deadlines passed")
        )
    }
}

fn work(number: u32, input: &Tensor) -> Work {
    let key = format!("{TASK}:{number:07}");
    let mut handling = Handling::default();
    // Several kinds of work, as missions have: each is a lane of its own.
    if !number.is_multiple_of(8) {
        handling.export.insert(format!("licence-{}", number % 8));
    }
    Work {
        about: key.clone(),
        key,
        task: TASK.to_owned(),
        input: Input::Tensors(vec![input.clone()]),
        unit: None,
        handling,
        budget: None,
        // Deadlines as far apart as a day allows, in no order.
        deadline_s: 3600.0 + f64::from(number.wrapping_mul(2_654_435_761) % 80_000),
        priority: (number % 3) as u8,
    }
}

/// The router with everything around it answered at once.
struct Scene {
    router: Router,
    now: Tai,
    input: Tensor,
    asked: VecDeque<u64>,
    /// Wall and processor microseconds of polls, by how they ended.
    asks: Vec<(f64, f64)>,
    waits: Vec<(f64, f64)>,
    others: Vec<(f64, f64)>,
}

impl Scene {
    fn new(pools: u32) -> anyhow::Result<Self> {
        let specs = (0..pools).map(|number| {
            let mut spec = PoolSpec::new(&format!("pool-{number:04}"), &[TASK]);
            spec.export = (0..8).map(|licence| format!("licence-{licence}")).collect();
            spec.price.request = f64::from(number % 7);
            spec
        });
        let now = Tai::from_unix(1_800_000_000, 0);
        Ok(Self {
            router: Router::new(specs.collect(), Settings::default(), [], now),
            now,
            input: Tensor::from_f32("features", vec![1, 18], &[0.5; 18])?,
            asked: VecDeque::new(),
            asks: Vec::new(),
            waits: Vec::new(),
            others: Vec::new(),
        })
    }

    /// Polls until there is nothing to do.
    fn turn(&mut self) {
        loop {
            let (began, cpu) = (Instant::now(), thread_cpu_s());
            let action = self.router.poll(self.now);
            let cpu = thread_cpu_s() - cpu;
            let took = (began.elapsed().as_secs_f64() * 1e6, cpu * 1e6);
            match action {
                Some(Action::Ask { ask, .. }) => {
                    self.asks.push(took);
                    self.asked.push_back(ask);
                    continue;
                }
                Some(Action::Write { key, .. }) => self.router.written(&key, true, self.now),
                Some(Action::Describe { pool, task }) => {
                    self.router.described(pool, &task, Ok(None), self.now);
                }
                Some(Action::Cancel { .. } | Action::Load { .. }) => {}
                None => {
                    self.waits.push(took);
                    self.router.take_events();
                    return;
                }
            }
            self.others.push(took);
        }
    }

    fn submit(&mut self, number: u32) -> f64 {
        let work = work(number, &self.input);
        let began = Instant::now();
        self.router.submit(work, self.now);
        began.elapsed().as_secs_f64()
    }

    /// Answers the oldest question; each 16th with an error, so that there are second tries.
    fn answer(&mut self, number: u32, score: &Tensor) -> anyhow::Result<f64> {
        let Some(ask) = self.asked.pop_front() else { anyhow::bail!("nothing to ask about") };
        let answer = match number % 16 {
            0 => Err(PoolError::failed("a bench's error")),
            _ => Ok(Response {
                model: "bench".to_owned(),
                output: Output::Tensors(vec![score.clone()]),
                usage: Usage::default(),
            }),
        };
        let began = Instant::now();
        self.router.answered(ask, answer, self.now);
        Ok(began.elapsed().as_secs_f64())
    }
}

fn decide(args: &PoolsArgs) -> anyhow::Result<Decision> {
    let score = Tensor::from_f32("score", vec![1, 1], &[0.5])?;
    let mut scene = Scene::new(args.pools)?;
    let (mut submit_s, mut answer_s, mut rounds) = (0.0, 0.0, 0);
    for number in 0..args.jobs {
        submit_s += scene.submit(number);
        scene.turn();
    }
    // What went before, with a shorter queue, is no part of it.
    (scene.asks, scene.waits) = (Vec::new(), Vec::new());
    while scene.asks.len() < args.decisions as usize {
        scene.now = scene.now.plus(1_000_000);
        answer_s += scene.answer(rounds, &score)?;
        scene.submit(args.jobs + rounds);
        scene.turn();
        rounds += 1;
    }
    let (asks, waits) = (Times::of(&scene.asks), Times::of(&scene.waits));
    scene.others = Vec::new();
    scene.now = scene.now.plus(ALL_DEADLINES_NS);
    scene.turn();
    Ok(Decision {
        pools: args.pools,
        jobs: args.jobs,
        asks,
        waits,
        ends: Times::of(&scene.others),
        submit_us: submit_s * 1e6 / f64::from(args.jobs),
        answer_us: answer_s * 1e6 / f64::from(rounds.max(1)),
    })
}
