//! `groundstation jobs` and `groundstation pools`: what heavy work waits, ran where, and took.

use super::{jobs, status};
use crate::{
    commands::say,
    config::Config,
    pool::Cost,
    router::{
        account::Tally,
        log::{Line, State},
        past::Entry,
        view::Accounts,
    },
};
use anyhow::Context as _;
use codecs::time::Tai;
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Jobs without an outcome that are listed, at most; the rest is counted.
const OPEN_MAX: usize = 1 << 17;

/// Show heavy work: what waits, what came of the rest, and what it took
///
/// Reads the job log, so it works without a running station.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  groundstation jobs --config station/station.toml --failed\n  \
    groundstation jobs 'pass-report/1:7-600-2992320'"
)]
pub struct JobsArgs {
    /// Show this job whole: its report, or the shapes of its answer
    #[arg(value_name = "KEY")]
    pub key: Option<String>,
    /// Station file
    #[arg(long, value_name = "FILE", default_value = "station.toml")]
    pub config: PathBuf,
    /// Only jobs of this task contract
    #[arg(long, value_name = "NAME/VERSION")]
    pub task: Option<String>,
    /// Only jobs that failed
    #[arg(long, conflicts_with = "open")]
    pub failed: bool,
    /// Only jobs without an outcome
    #[arg(long)]
    pub open: bool,
    /// The last so many
    #[arg(long, value_name = "COUNT", default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub last: u32,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Inference pools: where heavy work goes, what they do now, and what they cost
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  groundstation pools --config station/station.toml --json")]
pub struct PoolsArgs {
    /// Station file
    #[arg(long, value_name = "FILE", default_value = "station.toml")]
    pub config: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// What the job log says.
#[derive(Debug, Default, Serialize)]
struct Listing {
    /// The last ones, oldest first.
    jobs: VecDeque<Line>,
    /// Jobs without an outcome.
    open: usize,
    accounts: Accounts,
}

/// Lists jobs.
pub fn jobs(args: &JobsArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.config)?;
    let path = jobs::path(&config);
    let listing = read(&path, args).with_context(|| format!("job log {}", path.display()))?;
    if let (Some(key), true) = (&args.key, listing.jobs.is_empty()) {
        anyhow::bail!("no job {key:?}; `groundstation jobs` lists them");
    }
    if args.json {
        say(&serde_json::to_string(&listing)?);
        return Ok(ExitCode::SUCCESS);
    }
    match (&args.key, listing.jobs.back()) {
        (Some(_), Some(line)) => say(&whole(line)),
        _ => say(&table(&listing)),
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path, args: &JobsArgs) -> anyhow::Result<Listing> {
    let mut listing = Listing::default();
    let mut open: BTreeMap<String, Line> = BTreeMap::new();
    let wanted = |line: &Line| {
        args.task.as_ref().is_none_or(|task| line.task == *task)
            && args.key.as_ref().is_none_or(|key| line.key == *key)
    };
    let keep = |listing: &mut Listing, line: Line| {
        if listing.jobs.len() >= args.last as usize {
            listing.jobs.pop_front();
        }
        listing.jobs.push_back(line);
    };
    let mut accounts = Accounts::default();
    let unreadable = jobs::read(path, |entry| {
        let mut line = match entry {
            Entry::Line(line) => *line,
            Entry::Past(past) => return accounts.merge(&past.accounts),
        };
        if line.state == State::Accepted {
            if open.len() < OPEN_MAX {
                open.insert(line.key.clone(), line);
            }
            return;
        }
        open.remove(&line.key);
        accounts.add(&line);
        let state = !args.open && (!args.failed || line.state == State::Failed);
        if state && wanted(&line) {
            // A list needs no tensors: they are most of the log.
            if args.key.is_none() {
                line.outputs.clear();
            }
            keep(&mut listing, line);
        }
    })?;
    if unreadable > 0 {
        tracing::warn!("job log {}: {}", path.display(), jobs::passed_over(unreadable));
    }
    listing.open = open.values().filter(|line| wanted(line)).count();
    listing.accounts = accounts;
    if let Some(task) = &args.task {
        // Sums by pool are over all tasks: those of one would have to be guessed.
        let Accounts { tasks, pools, mission } = &mut listing.accounts;
        tasks.retain(|name, _| name == task);
        pools.clear();
        *mission = tasks.get(task).cloned().unwrap_or_default();
    }
    if !args.failed {
        let mut waiting: Vec<Line> = open.into_values().filter(|line| wanted(line)).collect();
        waiting.sort_by_key(|line| line.at);
        waiting.into_iter().for_each(|line| keep(&mut listing, line));
    }
    Ok(listing)
}

/// What others said, for one line of a terminal: what it would take for an order is shown instead.
fn plain(text: &str) -> String {
    // What turns the direction of letters around would have others stand for what they are not.
    let turns = |letter: char| matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let shown = |letter: char| match letter.is_control() || turns(letter) {
        true => letter.escape_default().collect::<String>(),
        false => letter.to_string(),
    };
    text.chars().map(shown).collect()
}

/// The same for a text of several lines.
fn lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(plain).collect();
    lines.join("\n")
}

fn table(listing: &Listing) -> String {
    let mut out = String::new();
    for line in &listing.jobs {
        let state = match line.state {
            State::Accepted => "open",
            State::Done => "done",
            State::Failed => "failed",
        };
        let at = Tai(line.at).to_rfc3339();
        let _ = write!(out, "{at} {state:6} {}", plain(&line.key));
        if !line.pool.is_empty() {
            let _ = write!(out, " on {}", plain(&line.pool));
        }
        if !line.result.is_empty() {
            let _ = write!(out, ": {}", plain(&line.result));
        }
        let _ = match line.trace.as_str() {
            "" => writeln!(out),
            trace => writeln!(out, " (trace {trace})"),
        };
    }
    let _ = writeln!(out, "{} without an outcome", listing.open);
    let _ = write!(out, "in all: {}", sums(&listing.accounts.mission));
    let parts = [("task", &listing.accounts.tasks), ("pool", &listing.accounts.pools)];
    for (kind, tallies) in parts {
        for (name, tally) in tallies {
            let _ = write!(out, "\n{kind} {name}: {}", sums(tally));
        }
    }
    out
}

/// Sums in a line; the times are averages of jobs that are done or failed.
fn sums(tally: &Tally) -> String {
    let ended = (tally.done + tally.failed).max(1) as f64;
    let mut out = format!(
        "{} done, {} failed; on average queue {:.0} ms, transfer {:.0} ms, run {:.0} ms; cost {}",
        tally.done,
        tally.failed,
        tally.queue_ms / ended,
        tally.transfer_ms / ended,
        tally.run_ms / ended,
        tally.cost,
    );
    if tally.tokens_in.max(tally.tokens_out) > 0 {
        let _ = write!(out, "; tokens {} in, {} out", tally.tokens_in, tally.tokens_out);
    }
    if tally.energy_j > 0.0 {
        let _ = write!(out, "; {:.1} J", tally.energy_j);
    }
    out
}

/// A job with all that is known of it; a report as a person reads it.
fn whole(line: &Line) -> String {
    let mut out = format!("{}\n{}", plain(&line.key), plain(&line.result));
    for (name, value) in line.form.iter().filter_map(Value::as_object).flatten() {
        let _ = write!(out, "\n\n{}:", plain(name));
        match value {
            Value::Array(items) => {
                for item in items {
                    let _ = write!(out, "\n- {}", lines(item.as_str().unwrap_or_default()));
                }
            }
            Value::String(text) => {
                let _ = write!(out, " {}", lines(text));
            }
            other => {
                let _ = write!(out, " {other}");
            }
        }
    }
    for output in &line.outputs {
        let _ = write!(out, "\n{} {} {:?}", output.name, output.datatype, output.shape);
    }
    let _ = write!(
        out,
        "\n\n{} on {} ({}), attempt {}; queue {:.1} ms, transfer {:.1} ms, run {:.1} ms; cost {}; \
         trace {}",
        Tai(line.at).to_rfc3339(),
        plain(&line.pool),
        plain(&line.model),
        line.attempts,
        line.queue_ms,
        line.transfer_ms,
        line.run_ms,
        line.cost,
        line.trace,
    );
    out
}

/// Lists pools.
pub fn pools(args: &PoolsArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.config)?;
    let view = match status::ask(&config, "/api/v1/pools") {
        Ok(view) => view,
        Err(error) => {
            // Without a station there is still what the file and the log say.
            tracing::warn!("{error:#}; shown is what the station file and the job log say");
            at_rest(&config)?
        }
    };
    match args.json {
        true => say(&view.to_string()),
        false => say(&pools_table(&view)),
    }
    Ok(ExitCode::SUCCESS)
}

fn at_rest(config: &Config) -> anyhow::Result<Value> {
    let path = jobs::path(config);
    let mut accounts = Accounts::default();
    let read = jobs::read(&path, |entry| match entry {
        Entry::Line(line) => accounts.add(&line),
        Entry::Past(past) => accounts.merge(&past.accounts),
    });
    read.with_context(|| format!("job log {}", path.display()))?;
    let pools = config.pools.iter().map(|pool| {
        let tasks: Vec<Value> = pool.tasks.keys().map(|task| json!({ "task": task })).collect();
        json!({ "name": pool.name, "region": pool.region, "tasks": tasks })
    });
    Ok(json!({ "running": false, "pools": pools.collect::<Vec<_>>(), "accounts": accounts }))
}

fn pools_table(view: &Value) -> String {
    let mut out = String::new();
    let none = Vec::new();
    let list = |value: &'_ Value| value.as_array().unwrap_or(&none).clone();
    for pool in list(&view["pools"]) {
        let word = |name: &str| plain(pool[name].as_str().unwrap_or(""));
        let _ = write!(out, "{}", word("name"));
        for part in [word("kind"), word("role"), word("region")] {
            if !part.is_empty() && part != "main" {
                let _ = write!(out, " {part}");
            }
        }
        if let (Some(flying), Some(limit)) = (pool["in_flight"].as_u64(), pool["limit"].as_u64()) {
            let health = pool["health"].as_f64().unwrap_or(0.0) * 100.0;
            let _ = write!(out, ": {flying} of {limit} at work, health {health:.0} %");
        }
        let money = |value: &Value| value.as_u64().map_or(Cost::ZERO, Cost);
        let today = &pool["today"];
        if money(&today["spent"]) > Cost::ZERO || today["budget"].is_u64() {
            let _ = write!(out, ", {} spent today", money(&today["spent"]));
            if today["budget"].is_u64() {
                let _ = write!(out, " of {}", money(&today["budget"]));
            }
        }
        out.push('\n');
        for task in list(&pool["tasks"]) {
            let (name, told) = (task["task"].as_str(), task["registration"].as_str());
            let expected = task["expected_ms"].as_f64().map(|ms| format!(", about {ms:.0} ms"));
            let _ = writeln!(
                out,
                "  {}{}{}",
                plain(name.unwrap_or_default()),
                told.map_or(String::new(), |told| format!(": {}", plain(told))),
                expected.unwrap_or_default()
            );
        }
        for shut in list(&pool["shut"]) {
            let until = shut["until"]
                .as_str()
                .map_or("being tried".to_owned(), |until| format!("left alone until {until}"));
            let (cause, said) = (shut["cause"].as_str(), shut["said"].as_str());
            let (cause, said) = (cause.unwrap_or_default(), plain(said.unwrap_or_default()));
            let _ = writeln!(out, "  {cause}, {until}: {said}");
        }
        if let Some(pairs) = pool["compared"]["pairs"].as_u64() {
            let same = pool["compared"]["same"].as_u64().unwrap_or(0);
            let apart = pool["compared"]["apart_max"].as_f64().unwrap_or(0.0);
            let _ = writeln!(out, "  compared: {same} of {pairs} the same, at most {apart} apart");
        }
    }
    for found in list(&view["discoveries"]) {
        let word = |name: &str| plain(found[name].as_str().unwrap_or(""));
        let count = |name: &str| found[name].as_u64().unwrap_or(0);
        let _ = write!(
            out,
            "{} finds {} at {}: {} came up, {} went, {} of {} looks failed",
            word("name"),
            count("known"),
            word("from"),
            count("joined"),
            count("left"),
            count("failures"),
            count("failures") + count("lookups"),
        );
        if count("over") > 0 {
            let _ = write!(out, ", {} left out", count("over"));
        }
        let said = word("said");
        let _ = if said.is_empty() { writeln!(out) } else { writeln!(out, "\n  {said}") };
    }
    let none = Value::Null;
    let spendings = view["tasks_today"].as_object().into_iter().flatten();
    let spendings = spendings.map(|(task, today)| (task.as_str(), today));
    for (task, today) in
        [("in all", view.get("today").unwrap_or(&none))].into_iter().chain(spendings)
    {
        if let (Some(spent), Some(budget)) = (today["spent"].as_u64(), today["budget"].as_u64()) {
            let _ = writeln!(out, "{task}: {} of {} spent today", Cost(spent), Cost(budget));
        }
    }
    for wait in list(&view["waits"]) {
        let word = |name: &str| plain(wait[name].as_str().unwrap_or(""));
        let _ = writeln!(out, "{} {} waiting: {}", wait["jobs"], word("task"), word("why"));
    }
    for (band, count) in view["queued"].as_object().into_iter().flatten() {
        let _ = writeln!(out, "priority {band}: {count} waiting");
    }
    let accounts = view["accounts"]["pools"].as_object();
    for (name, tally) in accounts.into_iter().flatten() {
        let of = |field: &str| tally[field].as_u64().unwrap_or(0);
        let cost = Cost(of("cost"));
        let _ = writeln!(out, "{name}: {} done, {} failed, cost {cost}", of("done"), of("failed"));
    }
    if out.is_empty() {
        out.push_str("no [[pool]] in the station file\n");
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::file::NAME;

    #[test]
    fn what_a_terminal_would_take_for_an_order_is_shown() {
        let order = "\u{1b}[2J\r\n\u{202e}done\u{2066} \u{e9}\u{5d0}\u{1f6f0}";
        let shown = r"\u{1b}[2J\r\n\u{202e}done\u{2066} ".to_owned() + "\u{e9}\u{5d0}\u{1f6f0}";
        assert_eq!(plain(order), shown);
        assert_eq!(lines("a\r\nb\u{7}"), "a\nb\\u{7}");
    }

    fn args(dir: &Path) -> JobsArgs {
        JobsArgs {
            key: None,
            config: dir.join("station.toml"),
            task: None,
            failed: false,
            open: false,
            last: 20,
            json: false,
        }
    }

    /// A log with a report, a failure, and a job that waits.
    fn log(dir: &Path) -> PathBuf {
        let path = dir.join(NAME);
        let mut log = jobs::open(dir).unwrap().0;
        let mut line = |key: &str, task: &str, state, at| {
            let mut line = Line::new(key, task, state, Tai(at));
            line.pool = if state == State::Accepted { String::new() } else { "far".to_owned() };
            line.cost = if state == State::Done { Cost(1500) } else { Cost::ZERO };
            line.result = if state == State::Done { "watch: hot".into() } else { String::new() };
            line.form = (state == State::Done)
                .then(|| json!({ "report": "It is hot.", "findings": ["a", "b"] }));
            log.append(&line, false).unwrap();
        };
        line("report:1", "pass-report/1", State::Accepted, 1);
        line("report:1", "pass-report/1", State::Done, 2);
        line("mask:1", "cloud-mask/1", State::Accepted, 3);
        line("mask:1", "cloud-mask/1", State::Failed, 4);
        line("mask:2", "cloud-mask/1", State::Accepted, 5);
        path
    }

    #[test]
    fn jobs_are_listed_with_what_they_took() {
        let dir = tempfile::tempdir().unwrap();
        let path = log(dir.path());
        let all = read(&path, &args(dir.path())).unwrap();
        let keys: Vec<&str> = all.jobs.iter().map(|line| line.key.as_str()).collect();
        assert_eq!((keys, all.open), (vec!["report:1", "mask:1", "mask:2"], 1));
        let told = table(&all);
        assert!(told.contains("in all: 1 done, 1 failed"), "{told}");
        assert!(told.contains("task pass-report/1: 1 done, 0 failed"), "{told}");
        assert!(told.contains("cost 0.001500"), "{told}");
        let some = |change: fn(&mut JobsArgs)| {
            let mut args = args(dir.path());
            change(&mut args);
            let listing = read(&path, &args).unwrap();
            listing.jobs.iter().map(|line| line.key.clone()).collect::<Vec<_>>()
        };
        assert_eq!(some(|args| args.failed = true), ["mask:1"]);
        assert_eq!(some(|args| args.open = true), ["mask:2"]);
        assert_eq!(some(|args| args.task = Some("cloud-mask/1".into())), ["mask:1", "mask:2"]);
        assert_eq!(some(|args| args.last = 1), ["mask:2"]);
        let masks = JobsArgs { task: Some("cloud-mask/1".into()), ..args(dir.path()) };
        let masks = read(&path, &masks).unwrap();
        assert_eq!((masks.accounts.mission.done, masks.accounts.mission.failed), (0, 1));
        assert!(!table(&masks).contains("pass-report"), "{}", table(&masks));
    }

    #[test]
    fn what_servers_say_gives_a_terminal_no_orders_and_forges_no_lines() {
        assert_eq!(plain("\u{1b}[2Jgone\nfar: 3 done"), "\\u{1b}[2Jgone\\nfar: 3 done");
        assert_eq!(lines("one\r\n\ttwo\u{9b}31m"), "one\n\\ttwo\\u{9b}31m");
        let shut = json!([{ "cause": "auth", "said": "no\n\u{7}far", "until": "T" }]);
        let told = pools_table(&json!({ "pools": [{ "name": "p\u{1b}c", "shut": shut }] }));
        assert!(told.lines().all(|line| !line.chars().any(char::is_control)), "{told:?}");
        assert_eq!(told.lines().count(), 2, "{told}");
    }

    #[test]
    fn sums_beyond_all_counting_are_told_all_the_same() {
        let tally = Tally { tokens_in: u64::MAX, tokens_out: u64::MAX, ..Tally::default() };
        assert!(sums(&tally).contains(&format!("tokens {} in", u64::MAX)));
    }

    #[test]
    fn what_may_be_spent_and_what_is_waited_for_stand_in_the_list_of_pools() {
        let today = json!({ "spent": 300_000, "budget": 300_000 });
        let wait = json!({ "task": "cloud-mask/1", "jobs": 21, "why": "the budget is spent" });
        let told = pools_table(&json!({ "today": today, "waits": [wait] }));
        assert!(told.contains("in all: 0.300000 of 0.300000 spent today"), "{told}");
        assert!(told.contains("21 cloud-mask/1 waiting: the budget is spent"), "{told}");
    }

    #[test]
    fn a_report_reads_as_a_person_wants_it() {
        let dir = tempfile::tempdir().unwrap();
        let args = JobsArgs { key: Some("report:1".into()), ..args(dir.path()) };
        let listing = read(&log(dir.path()), &args).unwrap();
        let told = whole(&listing.jobs[0]);
        assert!(told.contains("report: It is hot.") && told.contains("\n- a\n- b"), "{told}");
    }

    #[test]
    fn no_log_is_an_empty_list() {
        let dir = tempfile::tempdir().unwrap();
        let listing = read(&dir.path().join("none"), &args(dir.path())).unwrap();
        assert!(listing.jobs.is_empty());
    }
}
