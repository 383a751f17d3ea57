//! Ingest beside pools in trouble: which troubles there are, and latencies and job logs into rows.

use super::report::median;
use crate::router::log::{Line, State};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What ingest beside a fault may take at most, p99 to that of the healthy run beside it.
pub const RATIO_MAX: f64 = 1.2;

/// What is wrong with a pool.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Nothing: two healthy runs, which tell what chance does to the figures
    Nothing,
    /// Its port is closed
    Dead,
    /// It takes questions and never answers
    Silent,
    /// Half of its answers are status 500
    Errors,
    /// It takes ten times as long
    Slow,
    /// Its answers have the wrong shape
    Shapes,
    /// Its answers are not numbers
    Nans,
    /// Its answers never end
    Endless,
    /// Its answers are ten thousand times too long, megabytes of good JSON
    Huge,
    /// It says 429 and not until when
    Busy,
    /// It says 429 and when to come again
    BusyTold,
    /// It says 401
    Auth,
    /// What may be spent on it a day is spent at once
    Budget,
    /// The embedded pool's process is stopped with work in hand and killed, every second
    Killed,
}

impl Fault {
    /// Those that need no model package.
    pub const OF_SERVERS: [Self; 13] = [
        Self::Nothing,
        Self::Dead,
        Self::Silent,
        Self::Errors,
        Self::Slow,
        Self::Shapes,
        Self::Nans,
        Self::Endless,
        Self::Huge,
        Self::Busy,
        Self::BusyTold,
        Self::Auth,
        Self::Budget,
    ];

    /// Name in reports and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Dead => "dead",
            Self::Silent => "silent",
            Self::Errors => "errors",
            Self::Slow => "slow",
            Self::Shapes => "shapes",
            Self::Nans => "nans",
            Self::Endless => "endless",
            Self::Huge => "huge",
            Self::Busy => "busy",
            Self::BusyTold => "busy-told",
            Self::Auth => "auth",
            Self::Budget => "budget",
            Self::Killed => "killed",
        }
    }

    /// Whether a good pool stands beside it. Where none does, jobs wait until their time is over:
    /// the queue is what weighs. Where one does, each failed question is asked again elsewhere.
    pub const fn has_second(self) -> bool {
        use Fault::{Budget, Endless, Errors, Huge, Nans, Shapes, Slow};
        matches!(self, Errors | Slow | Shapes | Nans | Endless | Huge | Budget)
    }
}

/// What became of jobs, by a job log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Jobs {
    /// Those that the log knows.
    pub known: u64,
    /// Ended with a result.
    pub done: u64,
    /// Ended without one.
    pub failed: u64,
    /// Have not ended.
    pub open: u64,
    /// Have more than one outcome, which none may.
    pub repeated: u64,
}

impl Jobs {
    /// Counts the lines of a log.
    pub fn of(lines: impl IntoIterator<Item = Line>) -> Self {
        let mut jobs: BTreeMap<String, Vec<State>> = BTreeMap::new();
        for line in lines {
            let ends = jobs.entry(line.key).or_default();
            if line.state != State::Accepted {
                ends.push(line.state);
            }
        }
        let mut sums = Self { known: jobs.len() as u64, ..Self::default() };
        for ends in jobs.values() {
            match ends.first() {
                None => sums.open += 1,
                Some(State::Done) => sums.done += 1,
                Some(_) => sums.failed += 1,
            }
            sums.repeated += u64::from(ends.len() > 1);
        }
        sums
    }

    /// Jobs with an outcome.
    pub const fn ended(&self) -> u64 {
        self.done + self.failed
    }
}

/// What the daemon counted of its questions to pools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Questions {
    /// Asked.
    pub asked: u64,
    /// Of them those without an answer that could be used.
    pub in_vain: u64,
    /// Jobs that were tried again after a pool had failed them.
    pub second_tries: u64,
}

impl Questions {
    /// Reads them out of the text of `/metrics`.
    pub fn of(metrics: &str) -> Self {
        let sum = |family: &str| {
            let samples = metrics.lines().filter_map(|line| {
                let rest = line.strip_prefix("groundtrack_")?.strip_prefix(family)?;
                rest.starts_with('{').then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
            });
            samples.sum::<f64>() as u64
        };
        Self {
            asked: sum("pool_questions_total"),
            in_vain: sum("pool_errors_total"),
            second_tries: sum("pool_retries_total"),
        }
    }
}

/// One run of the daemon.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// From the schedule's time of each object to the receipt that covers its last unit, in
    /// milliseconds; those of the warm-up are left out.
    pub latencies_ms: Vec<f64>,
    /// Objects sent, those of the warm-up among them.
    pub objects: u64,
    /// Of them those without a receipt, however long one waited.
    pub unreceipted: u64,
    /// Tiles sent, each of which is to become a job.
    pub tiles: u64,
    /// What became of them.
    pub jobs: Jobs,
    /// What pools were asked.
    pub questions: Questions,
    /// Processes of an embedded pool that were killed.
    pub kills: u64,
    /// Processor time of the daemon while it was sent to, an embedded pool's process left out.
    pub cpu_s: f64,
}

impl Run {
    /// So many of a hundred objects took at most this, in milliseconds; NaN of none.
    fn percentile_ms(&self, percent: usize) -> f64 {
        let mut sorted = self.latencies_ms.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }
}

/// Runs of one kind: medians of latencies, sums of everything else.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Half of the objects took at most this, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 took at most this, in milliseconds.
    pub p99_ms: f64,
    /// Objects sent.
    pub objects: u64,
    /// Of them those without a receipt.
    pub unreceipted: u64,
    /// Tiles sent, each of which is to become a job.
    pub tiles: u64,
    /// What became of them.
    pub jobs: Jobs,
    /// What pools were asked.
    pub questions: Questions,
    /// Processes of an embedded pool that were killed.
    pub kills: u64,
    /// Processor time of the daemon in a run while it was sent to, in seconds, the median; an
    /// embedded pool's process left out.
    pub cpu_s: f64,
}

impl Figures {
    fn of(runs: &[Run]) -> Self {
        let sum = |of: fn(&Run) -> u64| runs.iter().map(of).sum::<u64>();
        Self {
            p50_ms: median(runs.iter().map(|run| run.percentile_ms(50))),
            p99_ms: median(runs.iter().map(|run| run.percentile_ms(99))),
            objects: sum(|run| run.objects),
            unreceipted: sum(|run| run.unreceipted),
            tiles: sum(|run| run.tiles),
            jobs: Jobs {
                known: sum(|run| run.jobs.known),
                done: sum(|run| run.jobs.done),
                failed: sum(|run| run.jobs.failed),
                open: sum(|run| run.jobs.open),
                repeated: sum(|run| run.jobs.repeated),
            },
            questions: Questions {
                asked: sum(|run| run.questions.asked),
                in_vain: sum(|run| run.questions.in_vain),
                second_tries: sum(|run| run.questions.second_tries),
            },
            kills: sum(|run| run.kills),
            cpu_s: median(runs.iter().map(|run| run.cpu_s)),
        }
    }
}

/// A fault beside healthy runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The fault.
    pub fault: Fault,
    /// Whether a good pool stood beside the faulty one.
    pub has_second: bool,
    /// The same pools without the fault.
    pub healthy: Figures,
    /// With it.
    pub faulty: Figures,
    /// p99 with the fault to that of the healthy run beside it: the median of the rounds.
    pub ratio: f64,
    /// The same of each round.
    pub ratios: Vec<f64>,
    /// The daemon's processor time with the fault to that without, the median of the rounds.
    pub ratio_cpu: f64,
}

impl Row {
    /// Of rounds: each a healthy run and one with the fault.
    pub fn of(fault: Fault, rounds: &[[Run; 2]]) -> Self {
        let (healthy, faulty): (Vec<Run>, Vec<Run>) =
            rounds.iter().map(|[healthy, faulty]| (healthy.clone(), faulty.clone())).unzip();
        let ratio =
            |[healthy, faulty]: &[Run; 2]| faulty.percentile_ms(99) / healthy.percentile_ms(99);
        let ratios: Vec<f64> = rounds.iter().map(ratio).collect();
        Self {
            fault,
            has_second: fault.has_second(),
            healthy: Figures::of(&healthy),
            faulty: Figures::of(&faulty),
            ratio: median(ratios.iter().copied()),
            ratios,
            ratio_cpu: median(rounds.iter().map(|[healthy, faulty]| faulty.cpu_s / healthy.cpu_s)),
        }
    }
}

/// For people.
pub fn table(rows: &[Row]) -> String {
    let mut out = format!(
        "{:<10} {:<6} {:>7} {:>7} {:>7} {:>7} {:>6} {:>5} {:>6} {:>6} {:>6} {:>5} {:>6} {:>7} \
         {:>6}\n",
        "fault",
        "pools",
        "p50 ms",
        "healthy",
        "p99 ms",
        "healthy",
        "ratio",
        "CPU",
        "jobs",
        "done",
        "failed",
        "open",
        "asked",
        "in vain",
        "second"
    );
    for row in rows {
        let Figures { p50_ms, p99_ms, jobs, questions, .. } = &row.faulty;
        out.push_str(&format!(
            "{:<10} {:<6} {p50_ms:>7.1} {:>7.1} {p99_ms:>7.1} {:>7.1} {:>6.2} {:>5.2} {:>6} {:>6} \
             {:>6} {:>5} {:>6} {:>7} {:>6}\n",
            row.fault.name(),
            if row.has_second { "two" } else { "one" },
            row.healthy.p50_ms,
            row.healthy.p99_ms,
            row.ratio,
            row.ratio_cpu,
            jobs.known,
            jobs.done,
            jobs.failed,
            jobs.open,
            questions.asked,
            questions.in_vain,
            questions.second_tries,
        ));
    }
    let all = || rows.iter().flat_map(|row| [&row.healthy, &row.faulty]);
    let sum = |of: fn(&Figures) -> u64| all().map(of).sum::<u64>();
    out.push_str(&format!(
        "{} objects without a receipt of {}; {} tiles without a job of {}; {} jobs with more than \
         one outcome of {}\nratio: p99 of ingest to that of the healthy run beside it, the median \
         of the rounds; the goal is {RATIO_MAX} at most\nCPU: the same of the daemon's processor time",
        sum(|of| of.unreceipted),
        sum(|of| of.objects),
        sum(|of| of.tiles.saturating_sub(of.jobs.known)),
        sum(|of| of.tiles),
        sum(|of| of.jobs.repeated),
        sum(|of| of.jobs.known),
    ));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::time::Tai;

    #[test]
    fn a_job_log_tells_what_ended_how_and_what_ended_twice() {
        let line = |key: &str, state| Line::new(key, "cloud-mask/1", state, Tai(1));
        let lines = [
            line("done", State::Accepted),
            line("open", State::Accepted),
            line("done", State::Done),
            line("refused", State::Failed),
            line("twice", State::Failed),
            line("twice", State::Done),
        ];
        let jobs = Jobs::of(lines);
        assert_eq!(jobs, Jobs { known: 4, done: 1, failed: 2, open: 1, repeated: 1 });
        assert_eq!(jobs.ended(), 3);
    }

    #[test]
    fn metrics_are_summed_over_pools_and_causes() {
        let text = "# TYPE groundtrack_pool_errors counter\n\
            groundtrack_pool_questions_total{pool=\"a b\",task=\"t\"} 7\n\
            groundtrack_pool_questions_total{pool=\"c\",task=\"t\"} 5\n\
            groundtrack_pool_errors_total{pool=\"c\",task=\"t\",cause=\"failed\"} 2\n\
            groundtrack_pool_errors_total{pool=\"c\",task=\"t\",cause=\"auth\"} 1\n\
            groundtrack_pool_errors_totally{pool=\"c\"} 100\n\
            groundtrack_pool_retries_total{pool=\"c\",task=\"t\"} 1\n";
        assert_eq!(Questions::of(text), Questions { asked: 12, in_vain: 3, second_tries: 1 });
    }

    fn run(latencies_ms: impl IntoIterator<Item = u32>, slower: f64) -> Run {
        let latencies_ms = latencies_ms.into_iter().map(|ms| f64::from(ms) * slower).collect();
        Run { latencies_ms, objects: 10, ..Run::default() }
    }

    #[test]
    fn the_worst_of_a_hundred_is_not_the_99th() {
        assert_eq!(run(1..=100, 1.0).percentile_ms(99), 99.0);
        assert_eq!(run((1..=200).rev(), 1.0).percentile_ms(50), 100.0);
        assert_eq!(run([3], 1.0).percentile_ms(99), 3.0);
        assert!(run([], 1.0).percentile_ms(99).is_nan());
    }

    #[test]
    fn ratios_are_of_runs_that_stood_beside_each_other() {
        // A machine that gets slower with each round: the ratio does not notice.
        let rounds = [1.0, 3.0, 9.0].map(|slow| [run(1..=100, slow), run(1..=100, slow * 1.1)]);
        let row = Row::of(Fault::Errors, &rounds);
        assert!((row.ratio - 1.1).abs() < 1e-9, "{row:?}");
        assert_eq!((row.healthy.p99_ms, row.faulty.objects), (297.0, 30));
        assert!(table(&[row]).contains("errors     two"));
    }

    #[test]
    fn names_are_those_of_the_command_line() {
        use clap::ValueEnum as _;
        for fault in Fault::value_variants() {
            let told = fault.to_possible_value().map(|value| value.get_name().to_owned());
            assert_eq!(told.as_deref(), Some(fault.name()));
            assert_eq!(serde_json::to_value(fault).unwrap(), fault.name());
        }
        assert_eq!(Fault::OF_SERVERS.len() + 1, Fault::value_variants().len());
    }
}
