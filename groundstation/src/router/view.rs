//! What people and scripts are told of pools and of what work took.

use super::account::{Compared, Tally};
use super::discovery::DiscoveryView;
use super::log::Line;
use super::meter::Rows;
use super::pool::Registration;
use super::spec::Role;
use super::{Purse, Router};
use crate::pool::Cost;
use crate::telemetry::queue::Counts;
use codecs::time::Tai;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Sums over jobs that ended: in all, by task and by pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Accounts {
    /// All of the mission.
    pub mission: Tally,
    /// By task.
    pub tasks: BTreeMap<String, Tally>,
    /// By the pool that was asked last.
    pub pools: BTreeMap<String, Tally>,
}

impl Accounts {
    /// Adds a job's outcome.
    pub fn add(&mut self, line: &Line) {
        self.mission.add(line);
        self.tasks.entry(line.task.clone()).or_default().add(line);
        if !line.pool.is_empty() {
            self.pools.entry(line.pool.clone()).or_default().add(line);
        }
    }

    /// Adds sums of jobs that ended.
    pub fn merge(&mut self, other: &Self) {
        self.mission.merge(&other.mission);
        for (own, others) in [(&mut self.tasks, &other.tasks), (&mut self.pools, &other.pools)] {
            for (name, tally) in others {
                own.entry(name.clone()).or_default().merge(tally);
            }
        }
    }
}

/// The router at a moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RouterView {
    /// Its pools.
    pub pools: Vec<PoolView>,
    /// Names that stand for pools to be found; who looks fills it in.
    pub discoveries: Vec<DiscoveryView>,
    /// Jobs that wait, by priority band.
    pub queued: BTreeMap<u8, u64>,
    /// The same by task.
    pub queued_tasks: BTreeMap<String, u64>,
    /// What keeps jobs waiting that no pool can take now.
    pub waits: Vec<WaitView>,
    /// Jobs that a pool works on.
    pub running: usize,
    /// What was spent today (UTC), and may be.
    pub today: Spending,
    /// The same by task, where there is a budget.
    pub tasks_today: BTreeMap<String, Spending>,
    /// Sums over all that ended.
    pub accounts: Accounts,
    /// Counters by pool and task since the start, for metrics.
    #[serde(skip)]
    pub meter: Rows,
    /// What became of spans, where the station tells some.
    pub spans: Option<Counts>,
}

/// Jobs that wait for more than their turn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WaitView {
    /// Task contract.
    pub task: String,
    /// Jobs.
    pub jobs: usize,
    /// What they wait for.
    pub why: String,
}

/// What was spent today, and may be, in millionths of the station's currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spending {
    /// Spent.
    pub spent: Cost,
    /// Budget.
    pub budget: Option<Cost>,
}

impl Spending {
    fn of(purse: &Purse, now: Tai) -> Self {
        Self { spent: purse.spent(now), budget: purse.most }
    }
}

/// A pool at a moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PoolView {
    /// Name.
    pub name: String,
    /// Kind of adapter.
    pub kind: String,
    /// Region; empty where nobody said.
    pub region: String,
    /// `main`, or what else it is trusted with.
    pub role: &'static str,
    /// What it does for each task.
    pub tasks: Vec<TaskView>,
    /// Questions on their way.
    pub in_flight: usize,
    /// Questions that it is given at a time.
    pub limit: usize,
    /// Share of answers that were good, lately.
    pub health: f64,
    /// What keeps it from being asked.
    pub shut: Vec<ShutView>,
    /// What was spent on it today.
    pub today: Spending,
    /// Questions, errors and late answers since the start; the rest of the sums stands in the
    /// accounts.
    pub asked: u64,
    /// Errors by cause.
    pub errors: BTreeMap<&'static str, u64>,
    /// Answers that nobody waited for any more.
    pub late: u64,
    /// How its answers stand to others', of a canary or a shadow.
    pub compared: Option<Compared>,
}

/// A pool and a task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskView {
    /// Task contract.
    pub task: String,
    /// `accepted`, `asked`, or why its models are not what the contract says.
    pub registration: String,
    /// What an answer takes, in milliseconds, lately.
    pub expected_ms: f64,
}

/// A breaker that is not open.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShutView {
    /// Cause.
    pub cause: &'static str,
    /// What was said.
    pub said: String,
    /// Until when, RFC 3339; none while it is being tried.
    pub until: Option<String>,
}

impl Router {
    /// The router at a moment.
    pub fn view(&self, now: Tai) -> RouterView {
        let (mut queued, mut queued_tasks) = (BTreeMap::new(), BTreeMap::new());
        let mut waits = Vec::new();
        for lane in self.lanes.iter() {
            let task = self.tasks.get(lane.task).map_or("", |(task, _)| task.as_str());
            if let Some(why) = lane.why.clone().filter(|_| lane.len() > 0) {
                waits.push(WaitView { task: task.to_owned(), jobs: lane.len(), why });
            }
            for (band, count) in lane.by_band() {
                *queued.entry(band).or_insert(0) += count;
                *queued_tasks.entry(task.to_owned()).or_insert(0) += count;
            }
        }
        let purses = self.tasks.iter().zip(&self.task_purses);
        let tasks_today = purses
            .filter(|(_, purse)| purse.most.is_some())
            .map(|((task, _), purse)| (task.clone(), Spending::of(purse, now)));
        RouterView {
            pools: (0..self.pools.len()).filter_map(|at| self.pool_view(at, now)).collect(),
            discoveries: Vec::new(),
            queued,
            queued_tasks,
            waits,
            running: self.asks.values().filter(|ask| !ask.mirror).map(|ask| ask.jobs.len()).sum(),
            today: Spending::of(&self.purse, now),
            tasks_today: tasks_today.collect(),
            accounts: self.account.clone(),
            meter: self.meter.rows().clone(),
            spans: None,
        }
    }

    fn pool_view(&self, at: usize, now: Tai) -> Option<PoolView> {
        let pool = self.pools.get(at).filter(|pool| !pool.gone)?;
        let rows = self.tasks.iter().enumerate().filter_map(|(number, (task, _))| {
            let of = pool.of(number)?;
            let registration = match &of.registration {
                Registration::Accepted => "accepted".to_owned(),
                Registration::Unasked | Registration::Asked => "asked".to_owned(),
                Registration::Refused(why) => why.clone(),
            };
            let expected_ms = of.estimate.mean_ns() as f64 / 1e6;
            Some(TaskView { task: task.clone(), registration, expected_ms })
        });
        let shut = pool.shut(now).into_iter().map(|(cause, said, until)| ShutView {
            cause,
            said,
            until: until.map(Tai::to_rfc3339),
        });
        let role = match pool.spec.role {
            Role::Main => "main",
            Role::Canary(_) => "canary",
            Role::Shadow(_) => "shadow",
        };
        Some(PoolView {
            name: pool.spec.name.clone(),
            kind: pool.spec.kind.clone(),
            region: pool.spec.region.clone(),
            role,
            tasks: rows.collect(),
            in_flight: pool.in_flight,
            limit: pool.limit.value(),
            health: pool.health(now),
            shut: shut.collect(),
            today: self.pool_purses.get(at).map(|purse| Spending::of(purse, now))?,
            asked: pool.questions.asked,
            errors: pool.questions.errors.clone(),
            late: pool.questions.late,
            compared: (role != "main").then(|| pool.compared.clone()),
        })
    }
}
