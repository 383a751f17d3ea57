//! `groundstation bench faults`: ingest beside pools in trouble.
//!
//! ```text
//! sender ═ QUIC ═► groundstation run ─► archive ─► receipt ─► sender   (what is timed)
//!                        └ each tile a job ─► double ─► jobs.log       (what is counted)
//! ```

mod daemon;
pub mod double;
mod sender;

use super::{
    super::faults::{Fault, RATIO_MAX, Row, Run, table},
    progress,
};
use crate::{
    commands::{WrongUsage, say},
    shell::signals,
};
use anyhow::{Context as _, bail, ensure};
use daemon::Bench;
use sender::Schedule;
use serde_json::{Value, json};
use std::{path::PathBuf, time::Duration};

/// Measures
#[derive(Debug, clap::Args)]
#[command(after_help = "Three processes on loopback: the daemon, a double of the pools, and a \
    sender that keeps to its schedule whatever is answered. Each run has an empty archive and a \
    second to warm up; each run with a fault stands beside a healthy one.\n\n\
    Example:\n  groundstation bench faults --dir /srv/archive --fault dead,errors --rounds 5")]
pub struct FaultsArgs {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// Folder on the volume to measure; what is written is removed again
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// Seconds of each run, after one to warm up
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Runs with each fault, and as many without
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Frames that are sent, in megabytes a second
    #[arg(long, value_name = "MB", default_value_t = 4.0)]
    pub rate: f64,
    /// Tiles of 16 KiB that are sent a second, each of which becomes a job
    #[arg(long, value_name = "COUNT", default_value_t = 20.0)]
    pub tiles: f64,
    /// Faults to measure beside; without it all, `killed` where there is a package
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub fault: Vec<Fault>,
    /// Model package for the embedded pool that is killed, for cloud-mask/1, signed for development
    #[arg(long, value_name = "DIR")]
    pub package: Option<PathBuf>,
}

impl FaultsArgs {
    fn faults(&self) -> anyhow::Result<Vec<Fault>> {
        if self.fault.contains(&Fault::Killed) && self.package.is_none() {
            bail!(WrongUsage("--fault killed: name a model package with --package".into()));
        }
        if !self.fault.is_empty() {
            return Ok(self.fault.clone());
        }
        Ok(Fault::OF_SERVERS
            .into_iter()
            .chain(self.package.as_ref().map(|_| Fault::Killed))
            .collect())
    }
}

/// Measures.
pub fn run(args: &FaultsArgs) -> anyhow::Result<()> {
    ensure!(args.rounds > 0, "--rounds: at least 1");
    ensure!((0.1..=60.0).contains(&args.seconds), "--seconds: from 0.1 to 60");
    ensure!((0.1..=1000.0).contains(&args.rate), "--rate: from 0.1 to 1000 MB a second");
    ensure!((1.0..=100.0).contains(&args.tiles), "--tiles: from 1 to 100 a second");
    let faults = args.faults()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rows = runtime.block_on(async {
        tokio::select! {
            biased;
            stopped = signals::stop() => {
                stopped?;
                bail!("stopped before its end; nothing is left behind")
            }
            rows = measure(args, &faults) => rows,
        }
    });
    runtime.shutdown_background();
    let rows = rows?;
    match args.json {
        true => say(&document(args, &rows).to_string()),
        false => say(&table(&rows)),
    }
    Ok(())
}

async fn measure(args: &FaultsArgs, faults: &[Fault]) -> anyhow::Result<Vec<Row>> {
    let package = args.package.as_ref().map(std::path::absolute).transpose()?;
    let bench = Bench::new(&args.dir)?;
    let time = Duration::from_secs_f64(args.seconds);
    let (bytes_s, tiles_s) = (args.rate * 1e6, args.tiles);
    // It takes a while, and a stop does not wait for it.
    let schedule = tokio::task::spawn_blocking(move || Schedule::new(bytes_s, tiles_s, time));
    let schedule = schedule.await??;
    let mut rounds: Vec<Vec<[Run; 2]>> = vec![Vec::new(); faults.len()];
    for round in 0..args.rounds {
        for (fault, rows) in faults.iter().zip(&mut rounds) {
            let mut pair = [Run::default(), Run::default()];
            // In turns, so that a machine that gets slower or faster favours neither.
            let order = if round % 2 == 0 { [false, true] } else { [true, false] };
            for trouble in order {
                let what = if trouble { fault.name() } else { "healthy" };
                progress(&format!(
                    "round {} of {}, {}: {what}",
                    round + 1,
                    args.rounds,
                    fault.name()
                ));
                let ran = bench.run(*fault, trouble, &schedule, package.as_deref()).await;
                let ran = ran.with_context(|| format!("fault {} ({what})", fault.name()))?;
                pair[usize::from(trouble)] = ran;
            }
            rows.push(pair);
        }
    }
    Ok(faults.iter().zip(&rounds).map(|(fault, rounds)| Row::of(*fault, rounds)).collect())
}

fn document(args: &FaultsArgs, rows: &[Row]) -> Value {
    json!({
        "seconds": args.seconds,
        "warm_up_s": sender::WARM_UP.as_secs_f64(),
        "rounds": args.rounds,
        "rate_mb_s": args.rate,
        "tiles_s": args.tiles,
        "ratio_max": RATIO_MAX,
        "faults": rows,
    })
}
