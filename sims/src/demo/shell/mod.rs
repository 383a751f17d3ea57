//! The demonstration's hands: files, processes, sockets, the clock of the wall.
//!
//! ```text
//! files ─► process (groundstation, onboard) ─► feed ─► watch ─► flight
//!              ├ (groundstation, edge) ─► antenna ──┘   ├ orders ┘
//!              └ (pools serve) ─► pool ─────────────────┘
//! ```

mod files;
mod process;
mod recording;
mod feed;
mod antenna;
mod watch;
mod orders;
mod pool;
mod flight;

use super::orders::Operator;
use super::scene::{self, Scene, SceneError};
use super::summary::Summary;
use crate::contact::Pass;
use crate::link::LinkModel;
use crate::relay::{Relay, SimulatedClock};
use crate::spacecraft::Spacecraft;
use antenna::{Air, Antenna};
use anyhow::{Context, bail, ensure};
use codecs::time::Tai;
use feed::{Fed, FeedError, Feeder, Stop};
use files::{Layout, Way};
use flight::{Flight, interrupted, pass_end};
use orders::Desk;
use pool::Served;
use process::{Programs, Running};
use recording::Frames;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::JoinHandle;
use tokio::time::Instant;

const SECOND_NS: i64 = 1_000_000_000;
/// How much the recorder holds before the contact.
const BACKLOG_NS: i64 = 600 * SECOND_NS;
/// From the end of the backlog to rise: the daemon starts meanwhile.
const LEAD: Duration = Duration::from_secs(2);
/// Port of the page where nothing else is asked for.
const PAGE_PORT: u16 = 7180;

/// What a user asks for.
#[derive(Clone, Debug)]
pub struct Options {
    /// No page for people: free ports, a temporary folder, one summary.
    pub headless: bool,
    /// Seconds of the pass to fly; the whole pass where absent.
    pub seconds: Option<u64>,
    /// Seconds after rise at which the ground daemon is killed.
    pub kill_ground: Option<u64>,
    /// Seconds after rise at which the edge is killed; radio link only.
    pub kill_edge: Option<u64>,
    /// Seconds after rise at which another machine's pool is killed.
    pub kill_pool: Option<u64>,
    /// What carries the telemetry down.
    pub link: Link,
    /// Share of wrong bits on the radio link.
    pub bit_errors: f64,
    /// Print one JSON document.
    pub json: bool,
    /// A recording in place of generated telemetry: file, frame format, frame error control.
    pub replay: Option<(PathBuf, String, bool)>,
    /// Seed of everything random.
    pub seed: u64,
    /// Mean share of datagrams lost.
    pub loss: f64,
    /// Rate at the shortest range, bits a second.
    pub rate_bps: f64,
    /// Folder that stays.
    pub dir: Option<PathBuf>,
    /// Port of the page.
    pub http: Option<u16>,
}

/// What carries the telemetry down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Link {
    /// IP from the spacecraft to the station.
    #[default]
    Quic,
    /// Frames in coded units to an antenna with an edge.
    Rf,
}

/// How the demonstration ended.
pub struct Outcome {
    /// The document.
    pub summary: Summary,
    /// Why it failed, if it did.
    pub failures: Vec<String>,
    /// Where everything is, if it was kept.
    pub kept: Option<PathBuf>,
}

/// Runs the demonstration.
pub async fn run(options: &Options) -> anyhow::Result<Outcome> {
    let programs = Programs::find()?;
    let scene = Scene::new()?;
    let short = tempfile::Builder::new().prefix("gt-").tempdir()?;
    let (root, temporary) = folder(options, short.path())?;
    let layout = Layout { root: root.clone(), short: short.path().to_owned() };
    let stage = Stage { options, programs, scene, layout };
    let flown = stage.fly().await;
    let failures = flown.as_ref().map(Summary::failures).unwrap_or_default();
    // What failed stays, to be looked into; an empty folder shows nothing.
    let empty = fs::read_dir(&root).is_ok_and(|mut entries| entries.next().is_none());
    let keep = !empty && (!temporary || flown.is_err() || !failures.is_empty());
    if keep && temporary {
        let _ = short.keep();
    } else if empty && !temporary {
        let _ = fs::remove_dir(&root);
    }
    let kept = keep.then_some(root);
    match (flown, kept) {
        (Ok(summary), kept) => Ok(Outcome { summary, failures, kept }),
        (Err(error), Some(kept)) => {
            Err(error.context(format!("the demonstration broke off; see {}", kept.display())))
        }
        (Err(error), None) => Err(error),
    }
}

/// The folder of the demonstration, and whether it is a temporary one.
fn folder(options: &Options, short: &Path) -> anyhow::Result<(PathBuf, bool)> {
    let root = match &options.dir {
        Some(dir) => dir.clone(),
        None if options.headless => return Ok((short.to_owned(), true)),
        None => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            let text = Tai::from_unix(now as i64, 0).to_rfc3339();
            let digits: String = text.chars().filter(char::is_ascii_digit).take(14).collect();
            PathBuf::from(format!("demo-{digits}"))
        }
    };
    if root.exists() && fs::read_dir(&root)?.next().is_some() {
        bail!("{} is not empty: a demonstration starts in a folder of its own", root.display());
    }
    fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
    Ok((fs::canonicalize(root)?, false))
}

/// Everything that stays the same during a demonstration.
struct Stage<'a> {
    options: &'a Options,
    programs: Programs,
    scene: Scene,
    layout: Layout,
}

/// What goes into the flight process.
enum Cargo {
    Craft(Box<Spacecraft>),
    Frames(Frames),
}

/// What lies between spacecraft and station.
enum Between {
    Path(Relay),
    Air(Box<Air>),
}

impl Stage<'_> {
    async fn fly(&self) -> anyhow::Result<Summary> {
        let replay = self.options.replay.as_ref();
        let frames = replay.map(|(path, frame, fecf)| Frames::read(path, frame, *fecf));
        let frames = frames.transpose()?;
        let page = self.make_station(frames.as_ref()).await?;
        let quic = station_address(&self.layout)?;
        let (between, way) = self.between(quic).await?;
        let packages = files::model_packages(&std::env::current_exe()?);
        match &packages {
            None => tracing::warn!("no model packages found: statistics score, and no pool runs"),
            Some(packages) if frames.is_none() => self.fill_slots(packages).await?,
            Some(_) => {}
        }
        let recording = frames.as_ref().map(|frames| &frames.recording);
        files::write_onboard(&self.layout, "SKY-7", way, packages.as_deref(), recording)?;

        let mut onboard = self.start_onboard()?;
        onboard.ready().await?;
        let stop = Stop::default();
        let mut feeder = Feeder::connect(&self.layout.socket(), stop.clone())
            .context("connecting to the flight process's socket")?;
        let generated = frames.is_none();
        let cargo = match frames {
            Some(frames) => Cargo::Frames(frames),
            None => {
                fs::write(self.layout.labels(), self.scene.faults().labels())?;
                feeder = feeder.with_folder(self.layout.pictures());
                Cargo::Craft(Box::new(self.craft()?))
            }
        };
        let (feeder, cargo) = self.record(feeder, cargo, &stop).await?;

        let (clock, offset_s) = clock(self.scene.pass.rise)?;
        let plan = self.scene.contacts(self.options.rate_bps)?;
        let served = match &packages {
            Some(packages) if generated => Served::start(self, packages).await.map(Some),
            _ => Err(anyhow::anyhow!("there are no model packages")),
        };
        let served = match served {
            Err(error) if self.options.kill_pool.is_some() => {
                return Err(error.context("--kill-pool: no other machine's pool can be served"));
            }
            // The station's own says the same of its models, and work waits.
            Err(error) => {
                tracing::debug!("no other machine's pool: {error:#}");
                None
            }
            Ok(served) => served,
        };
        let shared = served.as_ref().map(|served| served.address);
        files::extend_station(&self.layout, &plan, offset_s, packages.as_deref(), shared)?;
        if matches!(between, Between::Air(_)) {
            files::add_radio(&self.layout, antenna::EDGE)?;
        }
        let mut ground = self.start_ground()?;
        ground.ready().await?;
        let (antenna, _relaying) = match between {
            Between::Path(relay) => (None, Some(self.relay(relay, clock))),
            Between::Air(air) => {
                (Some(Antenna::start(self, *air, quic, (clock, offset_s)).await?), None)
            }
        };
        self.announce(page);
        let feeding = self.feed(feeder, cargo, clock);
        let desk = generated.then(|| tokio::spawn(self.desk(&stop).run()));
        let flight = Flight {
            stage: self,
            clock,
            page,
            feeding,
            stop,
            onboard,
            ground,
            antenna,
            desk,
            served,
            kill: None,
        };
        flight.run().await
    }

    /// What lies between, still empty, and how the spacecraft gets through.
    async fn between(&self, quic: SocketAddr) -> anyhow::Result<(Between, Way)> {
        if self.options.link == Link::Quic {
            let relay = Relay::bind((Ipv4Addr::LOCALHOST, 0).into(), quic).await?;
            let way = Way::Quic(relay.address()?);
            return Ok((Between::Path(relay), way));
        }
        self.enroll_edge().await?;
        let air = Air::open(self).await?;
        let end = pass_end(self.options, &self.scene.pass);
        let rate_bps = self.scene.radio_bps(self.options.rate_bps, end);
        let way = Way::Radio { to: air.transmitter()?, from: air.receiver, rate_bps };
        Ok((Between::Air(Box::new(air)), way))
    }

    /// Carries datagrams from now on, until it is dropped.
    fn relay(&self, relay: Relay, clock: SimulatedClock) -> AbortOnDrop {
        let [down, up] =
            self.scene.link(self.options.rate_bps, self.options.loss, self.options.seed);
        let model = |settings| LinkModel::new(settings, self.scene.track.clone());
        let (down, up) = (model(down), model(up));
        AbortOnDrop(tokio::spawn(async move {
            let ended = relay.run(clock, down, up).await;
            tracing::debug!("the relay ended: {ended:?}");
        }))
    }

    /// Puts the committed models into slots, where their known answers are asked for; without ONNX
    /// Runtime there are no slots, and statistics score.
    async fn fill_slots(&self, packages: &Path) -> anyhow::Result<()> {
        let slots = self.layout.slots().display().to_string();
        let log = self.layout.log("models");
        for (_, name) in files::MODELS {
            let package = packages.join(name).display().to_string();
            let install = ["models", "install", &slots, &package, "--promote"];
            let arguments = [&install[..], &["--danger-accept-development-key"]].concat();
            let (text, done) =
                process::finish("onboard models", &self.programs.onboard, &arguments, &log).await?;
            if !done {
                tracing::warn!("{name} is in no slot: see {}", log.display());
                let _ = fs::remove_dir_all(self.layout.slots());
                break;
            }
            eprintln!("In a slot: {}", text.trim().replace('\n', ", "));
        }
        Ok(())
    }

    fn desk(&self, closing: &Stop) -> Desk {
        let (programs, layout) = (self.programs.clone(), self.layout.clone());
        let operator = Operator::new(self.layout.slots().exists());
        Desk { programs, layout, closing: closing.clone(), operator }
    }

    fn announce(&self, page: SocketAddr) {
        let Pass { rise, set, max_elevation_deg, .. } = self.scene.pass;
        eprintln!(
            "SKY-7 rises over {} at {rise} (simulated), {max_elevation_deg:.0}° at most, \
             sets at {set}",
            self.scene.station.name
        );
        if !self.options.headless {
            eprintln!("The page: http://{page}/  (Ctrl-C ends the pass early)");
        }
    }

    /// Makes the station with `groundstation init`; the page's address.
    async fn make_station(&self, frames: Option<&Frames>) -> anyhow::Result<SocketAddr> {
        let page = free_page(self.options)?;
        let quic = free_quic()?;
        let mission = match (frames, self.options.link) {
            (Some(frames), _) => frames.mission()?,
            (None, Link::Quic) => scene::mission(),
            (None, Link::Rf) => antenna::mission()?,
        };
        fs::write(self.layout.mission(), mission)?;
        let path = |path: PathBuf| path.display().to_string();
        let log = self.layout.log("init");
        let arguments = [
            "init",
            &path(self.layout.station()),
            "--mission",
            &path(self.layout.mission()),
            "--station",
            scene::STATION,
            "--spacecraft",
            "7:SKY-7",
            "--quic",
            &quic.to_string(),
            "--http",
            &page.to_string(),
        ];
        let program = &self.programs.groundstation;
        let (_, done) = process::finish("groundstation init", program, &arguments, &log).await?;
        ensure!(done, "groundstation init failed: {}", fs::read_to_string(&log)?.trim());
        Ok(page)
    }

    fn craft(&self) -> Result<Spacecraft, SceneError> {
        let start = self.scene.pass.rise.plus(-BACKLOG_NS);
        let contacts = self.scene.passes.iter().map(|pass| (pass.rise, pass.set)).collect();
        let seed = self.options.seed;
        Ok(Spacecraft::new(scene::orbit()?, start, seed, self.scene.faults(), contacts)?)
    }

    fn start_onboard(&self) -> anyhow::Result<Running> {
        let config = self.layout.onboard_file().display().to_string();
        let arguments = ["run", "--config", &config, "--ready-json"];
        Running::start("onboard", &self.programs.onboard, &arguments, &self.layout.log("onboard"))
    }

    fn start_ground(&self) -> anyhow::Result<Running> {
        let config = self.layout.station_file().display().to_string();
        let log = self.layout.log("groundstation");
        let arguments = ["run", "--config", &config];
        Running::start("groundstation", &self.programs.groundstation, &arguments, &log)
    }

    /// Fills the recorder with what happened before the contact.
    async fn record(
        &self,
        mut feeder: Feeder,
        mut cargo: Cargo,
        stop: &Stop,
    ) -> anyhow::Result<(Feeder, Cargo)> {
        let rise = self.scene.pass.rise;
        if matches!(cargo, Cargo::Craft(_)) {
            eprintln!("Before the contact: {} s of recorded telemetry", BACKLOG_NS / SECOND_NS);
        }
        let mut recording = tokio::task::spawn_blocking(move || {
            let done = match &mut cargo {
                Cargo::Craft(craft) => feeder.record(craft, rise),
                Cargo::Frames(_) => Ok(()),
            };
            done.map(|()| (feeder, cargo))
        });
        let recorded = tokio::select! {
            recorded = &mut recording => recorded,
            () = interrupted() => {
                stop.stop();
                recording.await?.context("filling the recorder")?;
                bail!("interrupted before the contact");
            }
        };
        recorded?.context("filling the recorder")
    }

    /// Starts the live stream in a thread of its own.
    fn feed(
        &self,
        mut feeder: Feeder,
        cargo: Cargo,
        clock: SimulatedClock,
    ) -> JoinHandle<Result<Fed, FeedError>> {
        let seconds = self.options.seconds.unwrap_or(60).max(1);
        tokio::task::spawn_blocking(move || {
            match cargo {
                Cargo::Craft(mut craft) => feeder.live(&mut craft, clock)?,
                Cargo::Frames(frames) => {
                    // Two thirds of the time flown are enough for a recording of any length.
                    let share = Duration::from_secs(seconds).as_secs_f64() / 1.5;
                    let every = Duration::from_secs_f64(share / frames.frames.len() as f64);
                    feeder.replay(&frames.frames, every)?;
                }
            }
            Ok(feeder.fed())
        })
    }
}

/// A task that ends with its owner.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Simulated time from rise on, and the seconds from the wall clock to it.
fn clock(rise: Tai) -> anyhow::Result<(SimulatedClock, f64)> {
    let at = Instant::now() + LEAD;
    let wall = SystemTime::now().duration_since(UNIX_EPOCH)? + LEAD;
    let offset_s = rise.to_unix_nanos() as f64 / 1e9 - wall.as_secs_f64();
    Ok((SimulatedClock { start: rise, at }, offset_s))
}

/// Where the station's file says that QUIC listens.
fn station_address(layout: &Layout) -> anyhow::Result<SocketAddr> {
    let path = layout.station_file();
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let table: toml::Table = text.parse()?;
    let address = table.get("listen").and_then(|listen| listen["quic"].as_str());
    Ok(address.context("the station file has no [listen] quic")?.parse()?)
}

/// A free UDP port; it is free again until the daemon takes it.
fn free_quic() -> anyhow::Result<SocketAddr> {
    Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The page's port: the one asked for if it is free, any free one without a page for people.
fn free_page(options: &Options) -> anyhow::Result<SocketAddr> {
    let port = match (options.http, options.headless) {
        (Some(port), _) => port,
        (None, true) => 0,
        (None, false) => PAGE_PORT,
    };
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
        format!("port {port} is occupied: stop what listens there, or choose one with --http PORT")
    })?;
    Ok(bound.local_addr()?)
}
