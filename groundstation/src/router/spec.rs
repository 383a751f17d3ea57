//! What the station file says of pools and of routing.

use crate::pool::request::Answers;
use crate::pool::task::Contracts;
use crate::pool::{Cost, DataClass, Handling, Usage};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Pools that a router knows, at most.
pub const POOLS_MAX: usize = 1024;

/// A pool, as the router knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSpec {
    /// Name.
    pub name: String,
    /// Kind of adapter, for people.
    pub kind: String,
    /// Task contracts that it takes.
    pub tasks: Vec<String>,
    /// Where it works, such as `eu-central-1`; empty where nobody said, which is nowhere.
    pub region: String,
    /// The most guarded data that it may see.
    pub class: DataClass,
    /// Export licences that it is cleared for.
    pub export: BTreeSet<String>,
    /// What it takes for an answer.
    pub price: Price,
    /// Its draw while it works, where known; energy is counted by it unless the pool states its own.
    pub watts: Option<f64>,
    /// Rate of the way there, where known: what transfers are predicted by.
    pub rate_bps: Option<f64>,
    /// What an answer takes until enough were seen.
    pub expected: Duration,
    /// Questions at a time, at first and at most.
    pub concurrency: (u32, u32),
    /// What it answers in.
    pub answers: Answers,
    /// Items that go as one question, at most.
    pub batch_max: u32,
    /// How long a question waits for others to go with it.
    pub batch_wait: Duration,
    /// What it is trusted with.
    pub role: Role,
    /// Most that may be spent on it a day (UTC).
    pub budget_day: Option<Cost>,
}

/// What a pool is trusted with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    /// Its answers count.
    Main,
    /// Its answers count for this share of jobs, which it gets first; another pool is asked the
    /// same, and the answers are compared.
    Canary(f64),
    /// It is asked this share of jobs beside another pool, and only compared.
    Shadow(f64),
}

impl PoolSpec {
    /// A pool of which nothing but this is known: nothing guarded may go there.
    pub fn new(name: &str, tasks: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            kind: String::new(),
            tasks: tasks.iter().map(|task| (*task).to_owned()).collect(),
            region: String::new(),
            class: DataClass::Internal,
            export: BTreeSet::new(),
            price: Price::default(),
            watts: None,
            rate_bps: None,
            expected: Duration::ZERO,
            concurrency: (2, 16),
            answers: Answers::default(),
            batch_max: 1,
            batch_wait: Duration::ZERO,
            role: Role::Main,
            budget_day: None,
        }
    }

    /// Why this pool must not see a request; none where it may.
    pub fn objection(&self, handling: &Handling) -> Option<String> {
        if handling.class > self.class {
            let (is, may) = (class_name(handling.class), class_name(self.class));
            return Some(format!("{}: the data is {is}, it may see {may}", self.name));
        }
        let within = |region: &String| {
            let rest = self.region.strip_prefix(region.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        if !handling.regions.is_empty() && !handling.regions.iter().any(within) {
            let at = if self.region.is_empty() { "no stated region" } else { &self.region };
            let wanted: Vec<&str> = handling.regions.iter().map(String::as_str).collect();
            return Some(format!("{}: is in {at}, not in {}", self.name, wanted.join(" or ")));
        }
        let missing = handling.export.iter().find(|tag| !self.export.contains(*tag));
        missing.map(|tag| format!("{}: is not cleared for {tag}", self.name))
    }
}

fn class_name(class: DataClass) -> &'static str {
    match class {
        DataClass::Public => "public",
        DataClass::Internal => "internal",
        DataClass::Restricted => "restricted",
    }
}

/// What a pool takes for an answer, in millionths of the station's currency.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Price {
    /// Each question.
    pub request: f64,
    /// Each second of work.
    pub second: f64,
    /// Each token read.
    pub token_in: f64,
    /// Each token written.
    pub token_out: f64,
}

impl Price {
    /// What an answer cost that took so long, unless the pool stated it.
    pub fn of(&self, usage: &Usage, run: Duration) -> Cost {
        let tokens = |count: Option<u64>, each: f64| count.unwrap_or(0) as f64 * each;
        usage.cost.unwrap_or_else(|| {
            let sum = self.request
                + self.second * run.as_secs_f64()
                + tokens(usage.tokens_in, self.token_in)
                + tokens(usage.tokens_out, self.token_out);
            Cost(sum.ceil().max(0.0) as u64)
        })
    }

    /// Whether anything costs.
    pub fn is_by_token(&self) -> bool {
        self.token_in > 0.0 || self.token_out > 0.0
    }

    /// Whether nothing costs anything.
    pub fn is_free(&self) -> bool {
        *self == Self::default()
    }
}

/// How work is routed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What tasks are.
    pub contracts: Contracts,
    /// Share of a pool's slots that only band 0 may use.
    pub hold_back: f64,
    /// Whether a second pool is asked when the first takes longer than it nearly always does.
    pub hedge: bool,
    /// Seconds of waiting that one unit of money is worth.
    pub price_s: f64,
    /// Seconds of waiting that one joule is worth.
    pub joule_s: f64,
    /// Memory that answers on their way may take, in bytes.
    pub answer_bytes: u64,
    /// Most that may be spent a day (UTC) in all.
    pub budget_day: Option<Cost>,
    /// Most that may be spent a day (UTC) on a task.
    pub task_budgets: BTreeMap<String, Cost>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            contracts: Contracts::default(),
            hold_back: 0.1,
            hedge: false,
            price_s: 100.0,
            joule_s: 0.0,
            answer_bytes: 512 << 20,
            budget_day: None,
            task_budgets: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_see_data_is_told_why() {
        let mut pool = PoolSpec::new("far", &["t/1"]);
        pool.region = "eu-central-1".to_owned();
        let mut handling = Handling::default();
        assert_eq!(pool.objection(&handling), None);
        for (region, may) in [("eu", true), ("eu-central", true), ("e", false), ("us", false)] {
            handling.regions = BTreeSet::from([region.to_owned()]);
            assert_eq!(pool.objection(&handling).is_none(), may, "{region}");
        }
        handling.regions = BTreeSet::from(["us".to_owned(), "eu".to_owned()]);
        assert_eq!(pool.objection(&handling), None);
        handling.export.insert("ear-9e515".to_owned());
        assert_eq!(pool.objection(&handling).unwrap(), "far: is not cleared for ear-9e515");
        pool.export.insert("ear-9e515".to_owned());
        assert_eq!(pool.objection(&handling), None);
        handling.class = DataClass::Restricted;
        assert!(pool.objection(&handling).unwrap().contains("restricted"));
        pool.region = String::new();
        handling.class = DataClass::Public;
        assert!(pool.objection(&handling).unwrap().contains("no stated region"));
    }

    #[test]
    fn what_a_pool_states_goes_before_the_price_list() {
        let price = Price { request: 10.0, second: 100.0, token_in: 3.0, token_out: 15.0 };
        let mut usage = Usage { tokens_in: Some(100), tokens_out: Some(10), ..Usage::default() };
        assert_eq!(price.of(&usage, Duration::from_millis(500)), Cost(10 + 50 + 300 + 150));
        usage.cost = Some(Cost(7));
        assert_eq!(price.of(&usage, Duration::from_secs(9)), Cost(7));
    }
}
