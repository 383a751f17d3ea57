//! The antenna: what is between the spacecraft's radio and the station. The air is a relay each
//! way; behind it stands the real edge.

use super::process::{self, Running};
use super::{Stage, files, free_quic};
use crate::demo::scene;
use crate::demo::summary::Radio;
use crate::link::LinkModel;
use crate::link::noise::Noise;
use crate::relay::{Relay, SimulatedClock, Totals};
use anyhow::ensure;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Longest way from the transmitter to the modem, queue included.
const FLIGHT: Duration = Duration::from_millis(500);
/// Name of the edge.
pub(super) const EDGE: &str = "antenna-1";

/// The air between spacecraft and antenna, still empty.
pub struct Air {
    down: Relay,
    up: Relay,
    /// Where the edge's modem is heard.
    pub modem: SocketAddr,
    /// Where the spacecraft hears command frames.
    pub receiver: SocketAddr,
}

impl Air {
    /// Takes its places.
    pub async fn open(stage: &Stage<'_>) -> anyhow::Result<Self> {
        let (modem, receiver) = (free_quic()?, free_quic()?);
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        let noise = Noise::new(stage.scene.noise(stage.options.bit_errors, stage.options.seed));
        let down = Relay::bind(any, modem).await?.with_noise(noise);
        let up = Relay::bind(any, receiver).await?;
        Ok(Self { down, up, modem, receiver })
    }

    /// Where the spacecraft transmits to.
    pub fn transmitter(&self) -> io::Result<SocketAddr> {
        self.down.address()
    }

    /// Carries what is sent from now on.
    pub fn carry(self, stage: &Stage<'_>, clock: SimulatedClock) -> Carried {
        let options = stage.options;
        let [down, up] = stage.scene.link(options.rate_bps, options.loss, options.seed);
        let model = |settings| LinkModel::new(settings, stage.scene.track.clone());
        let totals = self.down.totals();
        // Nothing comes back the way it went.
        let relaying = [
            tokio::spawn(self.down.run(clock, model(down), model(up))),
            tokio::spawn(self.up.run(clock, model(up), model(down))),
        ];
        Carried { totals, relaying }
    }
}

/// The air while it carries.
pub struct Carried {
    totals: Arc<Totals>,
    relaying: [JoinHandle<io::Result<()>>; 2],
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.relaying.iter().for_each(JoinHandle::abort);
    }
}

/// The edge behind the air.
pub struct Antenna {
    pub edge: Running,
    pub air: Carried,
    /// Peak memory of the edge that was killed.
    killed: Option<(u64, u64)>,
}

impl Stage<'_> {
    /// Enrolls the edge.
    pub(super) async fn enroll_edge(&self) -> anyhow::Result<()> {
        let (config, log) =
            (self.layout.station_file().display().to_string(), self.layout.log("enroll"));
        let arguments = ["enroll", "edge", EDGE, "--config", &config, "--antenna", "1"];
        let program = &self.programs.groundstation;
        let (_, done) = process::finish("groundstation enroll", program, &arguments, &log).await?;
        ensure!(done, "groundstation enroll failed: {}", fs::read_to_string(&log)?.trim());
        Ok(())
    }

    fn start_edge(&self) -> anyhow::Result<Running> {
        let config = self.layout.edge_file(EDGE).display().to_string();
        let arguments = ["edge", "--config", &config, "--json", "--until-done"];
        Running::start("edge", &self.programs.groundstation, &arguments, &self.layout.log("edge"))
    }
}

impl Antenna {
    /// Starts the edge in front of a station, and the air.
    pub async fn start(
        stage: &Stage<'_>,
        air: Air,
        station: SocketAddr,
        (clock, offset_s): (SimulatedClock, f64),
    ) -> anyhow::Result<Self> {
        let modems = [air.modem, air.up.address()?];
        files::extend_edge(&stage.layout, EDGE, station, modems, offset_s)?;
        let mut edge = stage.start_edge()?;
        edge.ready().await?;
        let air = air.carry(stage, clock);
        Ok(Self { edge, air, killed: None })
    }

    /// SIGKILL for the edge, then the same edge again.
    pub async fn kill(&mut self, stage: &Stage<'_>) -> anyhow::Result<()> {
        let peak = self.edge.kill().await?;
        eprintln!("Killed the edge; starting it again");
        self.edge = stage.start_edge()?;
        self.killed = Some(peak);
        self.edge.ready().await?;
        Ok(())
    }

    /// Stops the edge once it holds receipts for everything; what was sent and heard as far as it
    /// is known here, and the peak memory.
    pub async fn stop(
        self,
        onboard: Option<&serde_json::Value>,
    ) -> anyhow::Result<(Radio, (u64, u64))> {
        // What is on its way has arrived by then.
        tokio::time::sleep(FLIGHT).await;
        let Self { edge, air, killed } = self;
        let (_, peak) = edge.stop().await?;
        let before = killed.unwrap_or_default();
        let said =
            |name: &str| onboard.and_then(|done| done["radio"][name].as_u64()).unwrap_or_default();
        let down = &air.totals.down;
        let frames_lost = down.lost_all();
        let radio = Radio {
            frames_sent: down.delivered.load(Ordering::Relaxed) + frames_lost,
            frames_lost,
            command_frames: said("command_frames"),
            statements: said("statements"),
            edge_killed: killed.is_some(),
            ..Radio::default()
        };
        Ok((radio, (peak.0.max(before.0), peak.1.max(before.1))))
    }
}

/// The mission of the radio link: the same spacecraft with frames that its codewords carry.
pub(super) fn mission() -> anyhow::Result<String> {
    let mission = scene::mission();
    let radio = mission.replace("length = 1113", &format!("length = {}", scene::RADIO_BYTES));
    ensure!(mission != radio, "the mission's frames are not those that were expected");
    Ok(radio)
}
