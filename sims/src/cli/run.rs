//! `orbitsim run`: a scenario in simulated time.

use std::{
    fs,
    io::{IsTerminal, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::Ordering, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::{
    report::{Prices, Summary, page::page, tables::tables},
    world::{
        answer::Answer, antennas::STOPPED, run::run, scenario::Scenario, shell::fleet::Progress,
    },
};

/// Scenarios that come with the program, by name.
const LIBRARY: [(&str, &str); 13] = [
    ("leo-quic", include_str!("../../scenarios/leo-quic.toml")),
    ("leo-rf", include_str!("../../scenarios/leo-rf.toml")),
    ("eo-100", include_str!("../../scenarios/eo-100.toml")),
    ("eo-pools", include_str!("../../scenarios/eo-pools.toml")),
    ("oneweb", include_str!("../../scenarios/oneweb.toml")),
    ("ten-thousand", include_str!("../../scenarios/ten-thousand.toml")),
    ("geo-relay", include_str!("../../scenarios/geo-relay.toml")),
    ("lunar", include_str!("../../scenarios/lunar.toml")),
    ("mars", include_str!("../../scenarios/mars.toml")),
    ("handover-storm", include_str!("../../scenarios/handover-storm.toml")),
    ("rainy-ka", include_str!("../../scenarios/rainy-ka.toml")),
    ("voyage", include_str!("../../scenarios/voyage.toml")),
    ("voyage-light", include_str!("../../scenarios/voyage-light.toml")),
];
/// How often progress is told on a terminal, and how often anywhere else, a line each.
const TELL_EVERY: Duration = Duration::from_millis(500);
const TELL_LINE_EVERY: Duration = Duration::from_secs(10);

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  orbitsim run --list\n  orbitsim run leo-quic --out answer\n  \
                        orbitsim run my-scenario.toml --seed 7 --threads 2 --json\n\n\
                        A scenario and a seed give the same trace on every run and with any number \
                        of threads. Ctrl-C ends a run early; what was flown so far is summed up."
)]
pub struct RunArguments {
    /// A scenario file, or the name of one that comes with the program
    #[arg(required_unless_present = "list")]
    scenario: Option<String>,
    /// Print the scenarios that come with the program
    #[arg(long)]
    list: bool,
    /// Seed of everything random; the scenario's own unless given
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Threads; as many as the machine has processors unless given
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Fly only this many simulated seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Write report.html, summary.json and tables as Parquet into this folder
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl RunArguments {
    /// Flies and prints.
    ///
    /// # Errors
    /// A scenario that can't be read or flown.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if self.list {
            for (name, text) in LIBRARY {
                let scenario = Scenario::parse(name, text)?;
                say!("{name:<16} {}", scenario.about);
            }
            return Ok(ExitCode::SUCCESS);
        }
        let named = self.scenario.unwrap_or_default();
        let (mut scenario, folder) = load(&named)?;
        scenario.duration_s =
            self.seconds.map_or(scenario.duration_s, |of| of.min(scenario.duration_s));
        let seed = self.seed.unwrap_or(scenario.seed);
        // Before the flight, which may take hours: it would be for nothing.
        if let Some(folder) = &self.out {
            let shown = folder.display();
            writable(folder).with_context(|| format!("--out {shown}: not a folder to write in"))?;
        }
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads = self.threads.map_or(processors, usize::from);
        let progress = Arc::new(Progress::default());
        stop_on_ctrl_c(Arc::clone(&progress))?;
        let files = |name: &str| file(&folder, name);
        if let Some(warning) = scenario.warning_of_age(&files)? {
            eprintln!("warning: {warning}");
        }
        let total_s = scenario.duration_s;
        let begun = Instant::now();
        let answer =
            watched(&progress, total_s, || run(&scenario, seed, threads, &files, &progress))?;
        ensure!(!answer.craft.is_empty(), STOPPED);
        let (took_s, flown_s) = (begun.elapsed().as_secs_f64(), progress.scenario_s());
        let shown = flown_s / took_s.max(1e-3);
        eprintln!("flew {flown_s:.0} s in {took_s:.1} s: {shown:.1} simulated seconds a second");
        let prices = Prices::of(&scenario);
        let summary = Summary::of(&answer, &prices);
        if summary.stopped {
            eprintln!("stopped early: what follows is of the part that was flown");
        }
        if self.json {
            say!("{}", serde_json::to_string_pretty(&summary)?);
        } else {
            say!("{summary}");
        }
        if let Some(folder) = &self.out {
            write(folder, &answer, &prices).context("writing what was flown")?;
            eprintln!("{}", folder.join("report.html").display());
        }
        if summary.broken.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        let part = self.seconds.map_or_else(String::new, |of| format!(" --seconds {of}"));
        eprintln!("custody is broken; to fly it again: orbitsim run{part} --seed {seed} {named}");
        Ok(ExitCode::FAILURE)
    }
}

/// Makes a folder and tries it.
fn writable(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let probe = folder.join(".orbitsim");
    fs::write(&probe, b"")?;
    fs::remove_file(&probe)
}

/// The page, the summary and the tables. The same run writes the same bytes.
fn write(folder: &Path, answer: &Answer, prices: &Prices) -> anyhow::Result<()> {
    for (name, table) in tables(answer, prices) {
        whole(&folder.join(format!("{name}.parquet")), |to| Ok(table.write(to)?))?;
    }
    let summary = serde_json::to_string_pretty(&Summary::of(answer, prices))?;
    whole(&folder.join("summary.json"), |to| Ok(to.write_all(summary.as_bytes())?))?;
    let page = page(answer, prices);
    whole(&folder.join("report.html"), |to| Ok(to.write_all(page.as_bytes())?))
}

/// Writes a file that is there as a whole or, where the disk is full, not at all.
fn whole(
    file: &Path,
    content: impl FnOnce(&mut fs::File) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let part = file.with_extension("part");
    let written = fs::File::create(&part)
        .map_err(anyhow::Error::from)
        .and_then(|mut to| content(&mut to))
        .and_then(|()| Ok(fs::rename(&part, file)?));
    written
        .inspect_err(|_| drop(fs::remove_file(&part)))
        .with_context(|| file.display().to_string())
}

fn load(named: &str) -> anyhow::Result<(Scenario, PathBuf)> {
    let path = Path::new(named);
    if let Some((name, text)) = LIBRARY.iter().find(|(name, _)| *name == named)
        && !path.exists()
    {
        return Ok((Scenario::parse(name, text)?, PathBuf::new()));
    }
    let text = fs::read_to_string(path).with_context(|| {
        let known: Vec<&str> = LIBRARY.iter().map(|(name, _)| *name).collect();
        format!("{named}: no such scenario file, and none of {}", known.join(", "))
    })?;
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    Ok((Scenario::parse(named, &text)?, folder))
}

/// Links that come with the program, by the name that a scenario has for them.
const LINKS: [(&str, &str); 5] = [
    ("ka-band.toml", include_str!("../../../missions/links/ka-band.toml")),
    ("ka-leo.toml", include_str!("../../../missions/links/ka-leo.toml")),
    ("ka-singapore.toml", include_str!("../../scenarios/links/ka-singapore.toml")),
    ("s-band.toml", include_str!("../../../missions/links/s-band.toml")),
    ("x-band.toml", include_str!("../../../missions/links/x-band.toml")),
];

/// A file that a scenario names: beside it, among the links that come with the program, or among
/// the recordings.
fn file(folder: &Path, name: &str) -> anyhow::Result<String> {
    let recordings = std::env::var_os("GROUNDTRACK_DATA")
        .map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    let places = [folder.join(name), recordings.join("orbit").join(name)];
    let link = LINKS.iter().find(|(link, _)| *link == name);
    if let (Some((_, text)), false) = (link, places[0].is_file()) {
        return Ok((*text).to_owned());
    }
    let found = places.iter().find(|path| path.is_file()).with_context(|| {
        format!(
            "{name}: neither {} nor {} is there; set GROUNDTRACK_DATA to the recordings",
            places[0].display(),
            places[1].display()
        )
    })?;
    fs::read_to_string(found).with_context(|| found.display().to_string())
}

fn stop_on_ctrl_c(progress: Arc<Progress>) -> anyhow::Result<()> {
    let runtime = super::runtime()?;
    thread::Builder::new().name("ctrl-c".into()).spawn(move || {
        runtime.block_on(async {
            if tokio::signal::ctrl_c().await.is_ok() {
                progress.stop.store(true, Ordering::Relaxed);
            }
            // Who asks twice does not want to wait.
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(130);
            }
        });
    })?;
    Ok(())
}

/// Runs `work` while standard error is told how far it is: in one line of a terminal, else in a line
/// now and then.
fn watched<T>(progress: &Progress, total_s: u64, work: impl FnOnce() -> T) -> T {
    let terminal = std::io::stderr().is_terminal();
    let (every, before, behind) = match terminal {
        true => (TELL_EVERY, "\r", "\x1b[K"),
        false => (TELL_LINE_EVERY, "", "\n"),
    };
    let (done, over) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let begun = Instant::now();
            while over.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
                // Of the scenario, not summed over its spacecraft: above one is faster than life.
                let flown_s = progress.scenario_s();
                let spacecraft = progress.over.load(Ordering::Relaxed);
                let all = progress.islands.load(Ordering::Relaxed);
                let told = match all {
                    0 => "finding contacts".to_owned(),
                    _ => format!(
                        "{spacecraft} of {all} spacecraft over, {:.0} % flown, {:.1} simulated \
                         seconds a second",
                        100.0 * flown_s / total_s.max(1) as f64,
                        flown_s / begun.elapsed().as_secs_f64(),
                    ),
                };
                // Nobody may be listening, and that is no reason to stop.
                let _ = write!(std::io::stderr(), "{before}{told}{behind}");
            }
            if terminal {
                let _ = write!(std::io::stderr(), "\r\x1b[K");
            }
        });
        let outcome = work();
        drop(done);
        outcome
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::budget;

    /// A link's antenna stands at every site of a scenario, under the link's own sky.
    #[test]
    fn links_of_the_library_stand_where_their_scenarios_sites_are() {
        let mut weathered = 0;
        for (name, text) in LIBRARY {
            let scenario = Scenario::parse(name, text).unwrap();
            let Some(link) = &scenario.link.file else { continue };
            let (_, text) = LINKS.iter().find(|(of, _)| of == link).unwrap();
            let station = budget::file::read(link, text).unwrap().station;
            let apart_deg = |site: &crate::world::scenario::SiteSettings| {
                (site.latitude_deg - station.place.latitude_deg).abs()
                    + (site.longitude_deg - station.place.longitude_deg).abs()
            };
            assert!(apart_deg(&scenario.site[0]) < 0.1, "{name} over {link}");
            // Where the sky is stated it is that of one place.
            if text.contains("[weather]") {
                weathered += 1;
                assert!(scenario.site.iter().all(|site| apart_deg(site) < 2.0), "{name}");
                assert_eq!(scenario.site[0].name, station.name, "{name}");
            }
        }
        assert!(weathered > 0);
    }
}
