//! `orbitsim telemetry`: what a spacecraft says over some hours, and the truth beside it.

use std::{
    fs::{self, File},
    io::{BufWriter, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use codecs::time::Tai;

use super::share::instant;
use crate::{
    contact,
    orbit::{ElementSet, Station, elements},
    spacecraft::{STEPS_PER_S, Spacecraft, faults::Faults, recorder::Recorder},
};

/// Longest flight: a year of twenty steps a second is hours of work.
const HOURS_MAX: f64 = 24.0 * 366.0;
/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Arguments of `telemetry`.
#[derive(Debug, Args)]
#[command(after_help = "Example, a day with a broken gyro:\n  \
    printf '[[fault]]\\nkind = \"gyro-bias\"\\npart = 1\\nstart_s = 36000\\n' > faults.toml\n  \
    orbitsim telemetry --elements missions/sky-7/elements.json --from 2026-11-23T00:00:00Z \\\n    \
    --hours 24 --faults faults.toml --packets day.bin --labels day.jsonl\n\
    The packets are those of missions/sky-7/mission.toml. `orbitsim score` scores a detector\n\
    against the labels.")]
pub struct Telemetry {
    /// Two-line elements, or OMM as JSON, XML, CSV or key = value
    #[arg(long, value_name = "FILE")]
    elements: PathBuf,
    /// Which satellite of the file; the first, if not said
    #[arg(long, value_name = "NAME")]
    satellite: Option<String>,
    /// Start, RFC 3339 in UTC
    #[arg(long, value_name = "TIME", value_parser = instant)]
    from: Tai,
    /// How long it flies
    #[arg(long, value_name = "HOURS", default_value_t = 24.0)]
    hours: f64,
    /// Seed of noise, clouds and upsets
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// What breaks when: [[fault]] with kind, part, start_s, end_s, ramp_s, severity; one that
    /// starts when the flight is over is refused
    #[arg(long, value_name = "FILE.toml")]
    faults: Option<PathBuf>,
    /// A station whose passes the transmitter is on for; may be given several times
    #[arg(long = "station", value_name = "NAME,LAT,LON,HEIGHT_M", allow_hyphen_values = true)]
    stations: Vec<Station>,
    /// Memory of the recorder in megabytes: while it is full the imager rests
    #[arg(long, value_name = "MB")]
    recorder: Option<f64>,
    /// What a contact takes from the recorder, megabit a second
    #[arg(long, value_name = "MBIT_S", default_value_t = 1.0)]
    downlink: f64,
    /// Leave the imager's tiles out
    #[arg(long)]
    no_tiles: bool,
    /// Where the space packets go, one behind the other
    #[arg(long, value_name = "FILE")]
    packets: PathBuf,
    /// Where the truth goes, one JSON object a fault
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
}

impl Telemetry {
    /// Flies and writes.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let hours = self.hours;
        ensure!(
            hours > 0.0 && hours <= HOURS_MAX,
            "--hours {hours} is not within 0 and {HOURS_MAX}"
        );
        ensure!(
            self.labels.as_ref() != Some(&self.packets),
            "--labels and --packets are the same file: one would be written over the other"
        );
        let steps = (hours * 3_600.0 * STEPS_PER_S as f64) as u64;
        let faults = self.read_faults()?;
        if let Some(file) = &self.labels {
            let name = file.display();
            fs::write(file, faults.labels()).with_context(|| format!("writing {name}"))?;
        }
        let mut craft = self.craft(faults)?;
        let name = self.packets.display();
        let file = File::create(&self.packets).with_context(|| format!("creating {name}"))?;
        let mut file = BufWriter::new(file);
        let (mut packets, mut count, mut bytes) = (Vec::new(), 0u64, 0u64);
        let mut progress = Progress::new();
        for step in 0..steps {
            craft.step(&mut packets)?;
            for packet in packets.drain(..) {
                if self.no_tiles && is_tile(&packet) {
                    continue;
                }
                file.write_all(&packet).with_context(|| format!("writing {name}"))?;
                (count, bytes) = (count + 1, bytes + packet.len() as u64);
            }
            if step.is_multiple_of(60 * STEPS_PER_S) {
                progress.tell(step as f64 / steps as f64, step / STEPS_PER_S);
            }
        }
        file.flush().with_context(|| format!("writing {name}"))?;
        progress.end();
        say!("{name}: {count} packets, {bytes} bytes, {hours} h");
        if let Some(recorder) = craft.recorder() {
            let (held, lost) = (100.0 * recorder.share(), recorder.lost_bytes());
            say!("recorder: {held:.1} % in use at the end, {lost:.0} bytes found no room");
        }
        Ok(ExitCode::SUCCESS)
    }

    /// When the flight is over.
    fn until(&self) -> Tai {
        self.from.plus((self.hours * 3.6e12) as i64)
    }

    fn read_faults(&self) -> anyhow::Result<Faults> {
        let Some(file) = &self.faults else { return Ok(Faults::default()) };
        let name = file.display().to_string();
        let text = fs::read_to_string(file).with_context(|| format!("reading {name}"))?;
        Ok(Faults::read(&name, &text, (self.from, self.until()))?)
    }

    fn craft(&self, faults: Faults) -> anyhow::Result<Spacecraft> {
        let name = self.elements.display();
        let text = fs::read_to_string(&self.elements).with_context(|| format!("reading {name}"))?;
        let sets = elements::read(&text).with_context(|| format!("in {name}"))?;
        let wanted = |set: &ElementSet| self.satellite.as_deref().is_none_or(|of| set.name() == of);
        let orbit = sets.into_iter().find(wanted);
        let orbit = orbit.with_context(|| match &self.satellite {
            Some(satellite) => format!("{name} has no satellite named {satellite:?}"),
            None => format!("{name} has no satellite"),
        })?;
        let until = self.until();
        let mut contacts = Vec::new();
        for station in &self.stations {
            let passes = contact::passes(&orbit, station, self.from, until, 5.0)?;
            contacts.extend(passes.iter().map(|pass| (pass.rise, pass.set)));
        }
        let craft = Spacecraft::new(orbit, self.from, self.seed, faults, contacts)?;
        Ok(match self.recorder {
            Some(megabytes) => {
                let rate = self.downlink;
                ensure!(
                    megabytes.is_finite() && megabytes > 0.0,
                    "--recorder {megabytes}: megabytes above 0"
                );
                ensure!(rate.is_finite() && rate >= 0.0, "--downlink {rate}: Mbit/s, 0 or more");
                craft.with_recorder(Recorder::new(megabytes * 1e6, rate * 1e6))
            }
            None => craft,
        })
    }
}

fn is_tile(packet: &[u8]) -> bool {
    let apid = packet.get(..2).map(|head| u16::from_be_bytes([head[0] & 7, head[1]]));
    apid == Some(crate::spacecraft::packets::IMAGER.0)
}

/// A line on a terminal, once a second.
struct Progress {
    begun: Instant,
    told: Instant,
    shown: bool,
}

impl Progress {
    fn new() -> Self {
        let now = Instant::now();
        Self { begun: now, told: now, shown: std::io::stderr().is_terminal() }
    }

    fn tell(&mut self, share: f64, simulated_s: u64) {
        if !self.shown || self.told.elapsed() < PROGRESS_EVERY {
            return;
        }
        self.told = Instant::now();
        let fast = simulated_s as f64 / self.begun.elapsed().as_secs_f64();
        let percent = 100.0 * share;
        let _ = write!(std::io::stderr(), "\r{percent:5.1} %, {fast:.0} times real time ");
    }

    fn end(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r{:40}\r", "");
        }
    }
}
