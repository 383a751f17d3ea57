//! `orbitsim score`: a detector against the truth of a flight.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, ensure};
use clap::Args;
use codecs::{config::nearest, mission::Definition, time::Tai};
use serde::Deserialize;

use super::share::instant;
use crate::spacecraft::{
    faults::{Fault, FaultKind},
    truth::{self, Scored, Told},
};

/// The mission whose packets `orbitsim telemetry` writes: its parameters are what can be told.
const MISSION: &str = include_str!("../../../missions/sky-7/mission.toml");
/// Most names that are held out for one that there is not.
const NEAR_MAX: usize = 3;

/// Arguments of `score`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    orbitsim score --labels day.jsonl --told alarms.jsonl \\\n    \
    --from 2026-11-23T00:00:00Z --to 2026-11-24T00:00:00Z\n\
    What was told is one JSON object a line, with `time` (RFC 3339) and `parameter`, a name of\n\
    missions/sky-7/mission.toml; what else stands there is left alone. Faults that were not there\n\
    between --from and --to are left out.")]
pub struct Score {
    /// The truth, as `orbitsim telemetry` writes it
    #[arg(long, value_name = "FILE")]
    labels: PathBuf,
    /// What the detector told
    #[arg(long, value_name = "FILE")]
    told: PathBuf,
    /// Start of what the detector saw, RFC 3339 in UTC
    #[arg(long, value_name = "TIME", value_parser = instant)]
    from: Tai,
    /// End of it
    #[arg(long, value_name = "TIME", value_parser = instant)]
    to: Tai,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Label {
    fault: FaultKind,
    start: String,
    end: Option<String>,
    severity: f64,
}

#[derive(Deserialize)]
struct Line {
    time: String,
    parameter: String,
}

impl Score {
    /// Reads, scores and prints.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        ensure!(self.from < self.to, "--from must be before --to");
        let faults = lines(&self.labels, |label: Label| {
            let (start, end) = (time(&label.start)?, label.end.as_deref().map(time).transpose()?);
            Ok(Fault { kind: label.fault, start, end, ramp_s: 0.0, severity: label.severity })
        })?;
        let mission = Definition::from_toml(MISSION)?;
        let known: Vec<&str> = mission.parameters.iter().map(|of| &*of.name).collect();
        let told = lines(&self.told, |line: Line| {
            let Line { time: at, parameter } = line;
            ensure!(known.contains(&&*parameter), "{}", unknown(&parameter, &known));
            Ok(Told { at: time(&at)?, parameter })
        })?;
        let scored = truth::score(&faults, &told, self.from, self.to);
        if self.json {
            say!("{}", serde_json::to_string_pretty(&scored)?);
        } else {
            print(&scored)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// That there is no such parameter, and which may be meant.
fn unknown(parameter: &str, known: &[&str]) -> String {
    let wanted = parameter.to_ascii_uppercase();
    let mut left = known.to_vec();
    let near: Vec<&str> = std::iter::from_fn(|| {
        let name = nearest(&wanted, &left)?;
        left.retain(|of| *of != name);
        Some(name)
    })
    .take(NEAR_MAX)
    .collect();
    let meant = match near.is_empty() {
        true => format!("there are {}", known.join(", ")),
        false => format!("did you mean {}?", near.join(", ")),
    };
    format!("unknown parameter {parameter:?}; {meant}")
}

fn time(text: &str) -> anyhow::Result<Tai> {
    instant(text).map_err(anyhow::Error::msg)
}

fn lines<T, L: for<'a> Deserialize<'a>>(
    file: &PathBuf,
    make: impl Fn(L) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    let name = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("reading {name}"))?;
    let numbered = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = numbered.map(|(index, line)| {
        let at = || format!("{name}:{}", index + 1);
        let parsed = serde_json::from_str(line).with_context(at)?;
        make(parsed).with_context(at)
    });
    read.collect()
}

fn print(scored: &Scored) -> anyhow::Result<()> {
    for found in &scored.faults {
        let kind = serde_json::to_string(&found.fault)?.replace(['"', '{', '}'], "");
        match (&found.by, found.told_after_s) {
            (Some(by), Some(after_s)) => say!("{kind}: told after {after_s:.1} s, by {by}"),
            _ => say!("{kind}: never told"),
        }
    }
    if scored.left_out > 0 {
        say!("{} left out: not there between --from and --to", scored.left_out);
    }
    let false_a_day = scored.false_alarms_per_day.map_or("none".into(), |of| format!("{of:.2}"));
    say!(
        "{} of {} faults found; {} false alarms, {false_a_day} a day without a fault; {} told \
         elsewhere while something was broken",
        scored.found,
        scored.faults.len(),
        scored.false_alarms,
        scored.elsewhere
    );
    let mut worst: Vec<_> = scored.by_parameter.iter().collect();
    worst.sort_by_key(|(parameter, count)| (std::cmp::Reverse(**count), *parameter));
    for (parameter, count) in worst.into_iter().take(10) {
        say!("  {count} of {parameter}");
    }
    Ok(())
}
