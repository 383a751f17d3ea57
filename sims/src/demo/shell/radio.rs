//! A pass over the radio link: spacecraft, coded units, modem, edge, QUIC, station.

use super::feed::{FeedError, Stop};
use super::flight::{LOOK, PROGRESS, interrupted, pass_end, store_of};
use super::process::{self, Running};
use super::transmit::{Sent, Transmitter};
use super::{SECOND_NS, Stage, clock, files, free_quic, station_address, watch};
use crate::demo::reckoning::{self, Kill, Radio, Summary, Told};
use crate::demo::scene;
use crate::link::LinkModel;
use crate::link::noise::Noise;
use crate::relay::{Relay, SimulatedClock};
use crate::spacecraft::radio;
use anyhow::{Context, bail, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Longest way from the transmitter to the modem, queue included.
const FLIGHT: Duration = Duration::from_millis(500);
/// Name of the edge.
const EDGE: &str = "antenna-1";

/// The mission of the radio link: the same spacecraft with frames that its codewords carry.
pub(super) fn mission() -> anyhow::Result<String> {
    let length = radio::FRAME.split_once(':').map_or("", |(_, length)| length);
    let mission = scene::MISSION.replace("length = 1113", &format!("length = {length}"));
    ensure!(mission != scene::MISSION, "the mission's frames are not those that were expected");
    Ok(mission)
}

/// The pass while it lasts.
struct Reception<'a> {
    stage: &'a Stage<'a>,
    clock: SimulatedClock,
    page: SocketAddr,
    sending: JoinHandle<Result<Sent, FeedError>>,
    stop: Stop,
    edge: Running,
    ground: Running,
    /// Counters of the daemon that was killed, and its peak memory.
    kill: Option<(Told, (u64, u64))>,
    /// Peak memory of the edge that was killed.
    edge_kill: Option<(u64, u64)>,
}

impl Stage<'_> {
    /// Flies the pass over the radio link.
    pub(super) async fn fly_radio(&self) -> anyhow::Result<Summary> {
        let page = self.make_station(None).await?;
        let quic = station_address(&self.layout)?;
        let modem = free_quic()?;
        self.enroll_edge().await?;
        let relay = Relay::bind((Ipv4Addr::LOCALHOST, 0).into(), modem).await?;
        fs::write(self.layout.labels(), self.scene.faults().labels())?;
        let stop = Stop::default();
        let [down, up] =
            self.scene.link(self.options.rate_bps, self.options.loss, self.options.seed);
        let track = &self.scene.track;
        let noise = Noise::new(self.scene.noise(self.options.bit_errors, self.options.seed));
        let mut transmitter = Transmitter::new(
            Box::new(self.craft()?),
            radio::Radio::new()?,
            noise,
            (track.clone(), self.options.rate_bps),
            relay.address()?,
            stop.clone(),
        );
        let rise = self.scene.pass.rise;
        let mut recording =
            tokio::task::spawn_blocking(move || transmitter.record(rise).map(|()| transmitter));
        let recorded = tokio::select! {
            recorded = &mut recording => recorded,
            () = interrupted() => {
                stop.stop();
                recording.await?.context("filling the recorder")?;
                bail!("interrupted before the contact");
            }
        };
        let transmitter = recorded?.context("filling the recorder")?;

        let (clock, offset_s) = clock(rise)?;
        let plan = self.scene.contacts(self.options.rate_bps)?;
        let packages = files::model_packages(&std::env::current_exe()?);
        files::extend_station(&self.layout, &plan, offset_s, packages.as_deref())?;
        files::extend_edge(&self.layout, EDGE, quic, modem, offset_s)?;
        let (down, up) = (LinkModel::new(down, track.clone()), LinkModel::new(up, track.clone()));
        let relaying = tokio::spawn(relay.run(clock, down, up));
        let mut ground = self.start_ground()?;
        ground.ready().await?;
        let mut edge = self.start_edge()?;
        edge.ready().await?;
        self.announce(page);
        let sending = tokio::task::spawn_blocking(move || transmitter.run(clock));
        let (kill, edge_kill) = (None, None);
        let reception =
            Reception { stage: self, clock, page, sending, stop, edge, ground, kill, edge_kill };
        let flown = reception.run().await;
        relaying.abort();
        flown
    }

    async fn enroll_edge(&self) -> anyhow::Result<()> {
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

impl Reception<'_> {
    async fn run(mut self) -> anyhow::Result<Summary> {
        let told = self.fly().await?;
        self.stop.stop();
        let sent = (&mut self.sending).await?.context("transmitting")?;
        // What is on its way has arrived by then.
        tokio::time::sleep(FLIGHT).await;
        self.reckon(sent, told).await
    }

    async fn fly(&mut self) -> anyhow::Result<Told> {
        let (options, pass) = (self.stage.options, self.stage.scene.pass);
        let end = self.clock.instant_of(pass_end(options, &pass));
        let at = |seconds: Option<u64>| {
            seconds.map(|seconds| self.clock.instant_of(pass.rise.plus(seconds as i64 * SECOND_NS)))
        };
        let (mut kill_ground, mut kill_edge) = (at(options.kill_ground), at(options.kill_edge));
        let mut looking = tokio::time::interval(LOOK);
        let (mut told_at, mut told) = (Instant::now(), Told::default());
        let interrupted = interrupted();
        tokio::pin!(interrupted);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(end) => return Ok(told),
                () = &mut interrupted => {
                    eprintln!("Interrupted: ending the pass early");
                    return Ok(told);
                }
                () = tokio::time::sleep_until(kill_ground.unwrap_or(end)),
                    if kill_ground.is_some() =>
                {
                    kill_ground = None;
                    self.kill_ground(told).await?;
                    told = Told::default();
                }
                () = tokio::time::sleep_until(kill_edge.unwrap_or(end)), if kill_edge.is_some() => {
                    kill_edge = None;
                    self.kill_edge().await?;
                }
                _ = looking.tick() => {
                    self.edge.check()?;
                    self.ground.check()?;
                    told = self.look(told).await;
                    if told_at.elapsed() >= PROGRESS {
                        told_at = Instant::now();
                        self.stage.tell(self.clock.now(), &told);
                    }
                }
            }
        }
    }

    /// The station's counters, or the last ones while it doesn't answer.
    async fn look(&mut self, last: Told) -> Told {
        self.edge.note_memory();
        self.ground.note_memory();
        watch::look(self.page).await.unwrap_or(last)
    }

    async fn kill_ground(&mut self, last: Told) -> anyhow::Result<()> {
        let told = self.look(last).await;
        let peak = self.ground.kill().await?;
        eprintln!("Killed the ground daemon after {} receipts; starting it again", told.receipted);
        self.ground = self.stage.start_ground()?;
        self.kill = Some((told, peak));
        self.ground.ready().await?;
        Ok(())
    }

    async fn kill_edge(&mut self) -> anyhow::Result<()> {
        let peak = self.edge.kill().await?;
        eprintln!("Killed the edge; starting it again");
        self.edge = self.stage.start_edge()?;
        self.edge_kill = Some(peak);
        self.edge.ready().await?;
        Ok(())
    }

    /// Stops the edge once it holds receipts for everything, then the station, and compares what
    /// they left on their disks.
    async fn reckon(self, sent: Sent, told: Told) -> anyhow::Result<Summary> {
        let Self { stage, page, edge, ground, kill, edge_kill, .. } = self;
        let (done, edge_peak) = edge.stop().await?;
        let told = watch::look(page).await.unwrap_or(told);
        let (_, ground_peak) = ground.stop().await?;
        let layout = &stage.layout;
        let store = store_of(stage, &layout.spool(EDGE)).await?;
        let (audit, audit_clean) = stage.audit().await?;
        let reckoning = reckoning::reckon(&store, &audit)?;
        fs::write(layout.root.join("store.json"), &store)?;
        fs::write(layout.root.join("audit.json"), &audit)?;
        let done = done.unwrap_or_default();
        let peak = |own: (u64, u64), killed: Option<(u64, u64)>| {
            let killed = killed.unwrap_or_default();
            (own.0.max(killed.0), own.1.max(killed.1))
        };
        let ground_peak = peak(ground_peak, kill.map(|(_, peak)| peak));
        let edge_peak = peak(edge_peak, edge_kill);
        Ok(Summary {
            units_sent: reckoning.numbered,
            units_archived: reckoning.archived,
            units_receipted: reckoning.receipted,
            units_held: reckoning.held,
            units_kept: reckoning.kept,
            duplicates: kill.map_or(0, |(told, _)| told.duplicates) + told.duplicates,
            missing: reckoning.missing,
            packets: told.packets,
            parameters: told.parameters,
            alarms: told.alarms,
            jobs_done: told.jobs_done,
            source_bytes: sent.packet_bytes,
            downlink_bytes: done["link"]["udp_bytes"].as_u64().unwrap_or_default(),
            capture_to_insight_ms: told.insight,
            kill: kill.map(|(before, _)| Kill {
                receipted_before: before.receipted,
                receipted_after: told.receipted,
            }),
            radio: Some(Radio {
                frames_sent: sent.frames,
                idle_frames_sent: sent.idle_frames,
                frames_heard: reckoning.numbered,
                good: reckoning.receptions.good,
                corrected: reckoning.receptions.corrected,
                erred: reckoning.receptions.erred,
                edge_killed: edge_kill.is_some(),
            }),
            audit_clean,
            peak_rss_kib: BTreeMap::from([
                ("edge", edge_peak.0),
                ("groundstation", ground_peak.0),
                ("orbitsim", process::peak_kib(std::process::id()).unwrap_or_default()),
                ("pool", ground_peak.1),
            ]),
        })
    }
}
