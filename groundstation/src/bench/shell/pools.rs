//! What the router takes to decide: many pools, a long queue, a clock.

use crate::{
    commands::say,
    pool::{Handling, Input, Output, Response, Usage},
    process::Work,
    router::{
        Action, Router,
        spec::{PoolSpec, Settings},
    },
};
use codecs::{tensor::Tensor, time::Tai};
use serde::Serialize;
use std::time::Instant;

/// Tasks that the queue is made of.
const TASK: &str = "telemetry-triage/1";

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
}

/// Microseconds of a decision: from the poll to the question that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// Pools.
    pub pools: u32,
    /// Jobs that waited.
    pub jobs: u32,
    /// Decisions measured.
    pub decisions: usize,
    /// Half of them took less.
    pub p50_us: f64,
    /// 99 of 100 took less.
    pub p99_us: f64,
    /// The longest.
    pub max_us: f64,
    /// Average of taking a job into the queue.
    pub submit_us: f64,
    /// Average of taking an answer.
    pub answer_us: f64,
}

/// Measures.
pub fn run(args: &PoolsArgs) -> anyhow::Result<()> {
    let decision = decide(args)?;
    match args.json {
        true => say(&serde_json::to_string(&serde_json::json!({ "router": decision }))?),
        false => say(&format!(
            "router, {} pools, {} jobs waiting: decision {:.1} us (p50), {:.1} us (p99), {:.0} us \
             at most of {}; submit {:.1} us, answer {:.1} us",
            decision.pools,
            decision.jobs,
            decision.p50_us,
            decision.p99_us,
            decision.max_us,
            decision.decisions,
            decision.submit_us,
            decision.answer_us
        )),
    }
    Ok(())
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

fn decide(args: &PoolsArgs) -> anyhow::Result<Decision> {
    let input = Tensor::from_f32("features", vec![1, 18], &[0.5; 18])?;
    let score = Tensor::from_f32("score", vec![1, 1], &[0.5])?;
    let specs = (0..args.pools).map(|number| {
        let mut spec = PoolSpec::new(&format!("pool-{number:04}"), &[TASK]);
        spec.export = (0..8).map(|licence| format!("licence-{licence}")).collect();
        spec.price.request = f64::from(number % 7);
        spec
    });
    let mut now = Tai::from_unix(1_800_000_000, 0);
    let mut router = Router::new(specs.collect(), Settings::default(), [], now);
    let began = Instant::now();
    (0..args.jobs).for_each(|number| router.submit(work(number, &input), now));
    let submit_us = began.elapsed().as_secs_f64() * 1e6 / f64::from(args.jobs);
    let (mut asked, mut times) = (std::collections::VecDeque::new(), Vec::new());
    let (mut next, mut answer_s, mut answered) = (args.jobs, 0.0, 0u32);
    while times.len() < args.decisions as usize {
        let began = Instant::now();
        let action = router.poll(now);
        let took = began.elapsed();
        match action {
            Some(Action::Ask { ask, .. }) => {
                times.push(took.as_secs_f64() * 1e6);
                asked.push_back(ask);
            }
            Some(Action::Write { key, .. }) => router.written(&key, true, now),
            Some(Action::Describe { pool, task }) => router.described(pool, &task, Ok(None), now),
            Some(Action::Cancel { .. } | Action::Load { .. }) => {}
            None => {
                // Every pool has what it takes: the oldest question is answered, a job comes.
                now = now.plus(1_000_000);
                let Some(ask) = asked.pop_front() else { anyhow::bail!("nothing to ask about") };
                let response = Response {
                    model: "bench".to_owned(),
                    output: Output::Tensors(vec![score.clone()]),
                    usage: Usage::default(),
                };
                let began = Instant::now();
                router.answered(ask, Ok(response), now);
                answer_s += began.elapsed().as_secs_f64();
                answered += 1;
                router.submit(work(next, &input), now);
                next += 1;
            }
        }
        router.take_events();
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied();
    Ok(Decision {
        pools: args.pools,
        jobs: args.jobs,
        decisions: times.len(),
        p50_us: at(0.5).unwrap_or_default(),
        p99_us: at(0.99).unwrap_or_default(),
        max_us: times.last().copied().unwrap_or_default(),
        submit_us,
        answer_us: answer_s * 1e6 / f64::from(answered.max(1)),
    })
}
