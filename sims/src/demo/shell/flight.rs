//! The pass itself: from rise to the end asked for, a kill on the way, the drain, the reckoning.

use super::antenna::Antenna;
use super::feed::{Fed, FeedError, Stop};
use super::orders::Desk;
use super::pool::{AWAY, Served};
use super::process::{self, Running};
use super::{Link, Options, SECOND_NS, Stage, watch};
use crate::contact::Pass;
use crate::demo::orders::PRODUCTS;
use crate::demo::reckoning::{self, Reckoning};
use crate::demo::summary::{Kill, Orders, Radio, Summary, Told, receipted_are};
use crate::relay::SimulatedClock;
use anyhow::{Context, ensure};
use codecs::time::Tai;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long a drain may take, at the least and while the spacecraft is up: a loaded machine is
/// slower than the link.
const DRAIN: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(60)];
/// Between two looks at the station.
pub(super) const LOOK: Duration = Duration::from_millis(500);
/// Between two lines of progress.
pub(super) const PROGRESS: Duration = Duration::from_secs(5);
/// The whole pass ends this long before set, so that the rest comes down above the horizon.
const RESERVE_NS: i64 = 12 * SECOND_NS;

/// The pass while it lasts.
pub(super) struct Flight<'a> {
    pub stage: &'a Stage<'a>,
    pub clock: SimulatedClock,
    pub page: SocketAddr,
    pub feeding: JoinHandle<Result<Fed, FeedError>>,
    pub stop: Stop,
    pub onboard: Running,
    pub ground: Running,
    /// What hears the radio, where there is one.
    pub antenna: Option<Antenna>,
    /// Who orders, where something can go up.
    pub desk: Option<JoinHandle<Desk>>,
    /// The pool of another machine, where there are models.
    pub served: Option<Served>,
    /// Counters of the daemon that was killed, and its peak memory.
    pub kill: Option<(Told, (u64, u64))>,
}

impl Flight<'_> {
    /// Flies the pass to its end and compares both sides.
    pub async fn run(mut self) -> anyhow::Result<Summary> {
        let told = self.fly().await?;
        self.stop.stop();
        let fed = (&mut self.feeding).await?.context("feeding the flight process")?;
        let told = self.drain(told).await?;
        self.reckon(fed, told).await
    }

    /// From rise to the end asked for.
    async fn fly(&mut self) -> anyhow::Result<Told> {
        let (options, pass) = (self.stage.options, self.stage.scene.pass);
        let end = self.clock.instant_of(pass_end(options, &pass));
        let at = |seconds: Option<u64>| {
            seconds.map(|seconds| self.clock.instant_of(pass.rise.plus(seconds as i64 * SECOND_NS)))
        };
        let (mut kill, mut kill_edge) = (at(options.kill_ground), at(options.kill_edge));
        let (mut kill_pool, mut pool_back) = (at(options.kill_pool), None);
        let mut looking = tokio::time::interval(LOOK);
        let mut told_at = Instant::now();
        let mut told = Told::default();
        let interrupted = interrupted();
        tokio::pin!(interrupted);
        loop {
            let (kill_at, kill_edge_at, kill_pool_at, back_at) =
                (kill, kill_edge, kill_pool, pool_back);
            tokio::select! {
                () = tokio::time::sleep_until(end) => return Ok(told),
                () = &mut interrupted => {
                    eprintln!("Interrupted: ending the pass early");
                    return Ok(told);
                }
                () = async { tokio::time::sleep_until(kill_at.unwrap_or(end)).await },
                    if kill_at.is_some() =>
                {
                    kill = None;
                    self.kill_ground(told).await?;
                    told = Told::default();
                }
                () = async { tokio::time::sleep_until(kill_edge_at.unwrap_or(end)).await },
                    if kill_edge_at.is_some() =>
                {
                    kill_edge = None;
                    if let Some(antenna) = &mut self.antenna {
                        antenna.kill(self.stage).await?;
                    }
                }
                () = async { tokio::time::sleep_until(kill_pool_at.unwrap_or(end)).await },
                    if kill_pool_at.is_some() =>
                {
                    let Some(served) = &mut self.served else { continue };
                    (kill_pool, pool_back) = match served.kill(self.stage).await? {
                        true => (None, Some(Instant::now() + AWAY)),
                        false => (Some(Instant::now() + LOOK), None),
                    };
                }
                () = async { tokio::time::sleep_until(back_at.unwrap_or(end)).await },
                    if back_at.is_some() =>
                {
                    pool_back = None;
                    if let Some(served) = &mut self.served {
                        served.restart(self.stage).await?;
                    }
                }
                _ = looking.tick() => {
                    self.check()?;
                    told = self.look(told).await;
                    if told_at.elapsed() >= PROGRESS {
                        told_at = Instant::now();
                        self.stage.tell(self.clock.now(), &told);
                    }
                }
            }
        }
    }

    /// An error if a program has ended on its own.
    fn check(&mut self) -> anyhow::Result<()> {
        self.onboard.check()?;
        self.ground.check()?;
        self.served.as_mut().map_or(Ok(()), Served::check)?;
        self.antenna.as_mut().map_or(Ok(()), |antenna| antenna.edge.check())
    }

    /// The station's counters, or the last ones while it doesn't answer.
    async fn look(&mut self, last: Told) -> Told {
        self.onboard.note_memory();
        self.ground.note_memory();
        if let Some(antenna) = &mut self.antenna {
            antenna.edge.note_memory();
        }
        match watch::look(self.page).await {
            Ok(told) => told,
            Err(error) => {
                tracing::debug!("{error:#}");
                last
            }
        }
    }

    /// SIGKILL for the daemon, then the same daemon again on the same ports.
    async fn kill_ground(&mut self, last: Told) -> anyhow::Result<()> {
        let told = self.look(last).await;
        let peak = self.ground.kill().await?;
        self.ground = self.stage.start_ground()?;
        let (count, what) = (told.receipted, self.stage.receipted_are());
        eprintln!("Killed the ground daemon after {count} {what} receipted; starting it again");
        self.kill = Some((told, peak));
        self.ground.ready().await?;
        Ok(())
    }

    /// Waits until the spacecraft holds receipts for everything, or time is up.
    async fn drain(&mut self, last: Told) -> anyhow::Result<Told> {
        let [least, most] = DRAIN.map(|time| Instant::now() + time);
        let until = self.clock.instant_of(self.stage.scene.pass.set).clamp(least, most);
        let mut told = last;
        let mut empty = 0;
        while Instant::now() < until && empty < 3 {
            tokio::time::sleep(LOOK).await;
            self.check()?;
            told = self.look(told).await;
            let held = self.listing().await.ok().map(|listing| listing["units_held"].as_u64());
            // A block may still be waiting for its flush: empty means empty for a while.
            empty = if held == Some(Some(0)) { empty + 1 } else { 0 };
        }
        if empty == 0 {
            eprintln!("The drain ended with units still on board: they stay there, unreceipted");
        }
        self.stage.tell(self.clock.now(), &told);
        Ok(told)
    }

    async fn listing(&self) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::from_str(&store_of(self.stage, &self.stage.layout.store()).await?)?)
    }

    /// Stops all programs in order and compares what they left on their disks.
    async fn reckon(mut self, fed: Fed, told: Told) -> anyhow::Result<Summary> {
        let (orders, promised) = match self.desk.take() {
            Some(desk) => {
                let (orders, promised) = desk.await?.outcome().await?;
                (Some(orders), promised)
            }
            None => Default::default(),
        };
        let Self { stage, page, onboard, ground, kill, antenna, served, .. } = self;
        let (done, onboard_peak) = onboard.stop().await?;
        let heard = match antenna {
            Some(antenna) => Some(antenna.stop(done.as_ref()).await?),
            None => None,
        };
        // Goodbyes and the last receipts are through: this is what the page shows in the end.
        let told = watch::look(page).await.unwrap_or(told);
        let (_, ground_peak) = ground.stop().await?;
        let heavy = match served {
            Some(served) => {
                let jobs = stage.jobs_by_pool().await?;
                Some(served.stop(jobs, stage.options.kill_pool.is_some()).await?)
            }
            None => None,
        };
        let layout = &stage.layout;
        let store = store_of(stage, &layout.store()).await?;
        let (audit, clean) = stage.audit().await?;
        let reckoning = reckoning::reckon(&store, &audit)?;
        fs::write(layout.root.join("store.json"), &store)?;
        fs::write(layout.root.join("audit.json"), &audit)?;
        let units_came = reckoning::found(&audit, PRODUCTS, &promised)?;
        let orders = orders.map(|orders| Orders { units_came, ..orders });
        let mut summary =
            summary(reckoning, clean, fed, told, done, kill, [onboard_peak, ground_peak]);
        summary.orders = orders;
        if let Some((heavy, peak_kib)) = heavy {
            // Of a daemon that was killed, the log still knows what it did.
            summary.jobs_done = heavy.jobs_by_pool.values().sum();
            summary.heavy = Some(heavy);
            summary.peak_rss_kib.insert("pool of another machine", peak_kib);
        }
        if let Some((radio, peak)) = heard {
            summary.radio = Some(stage.reckon_frames(radio, &audit).await?);
            summary.peak_rss_kib.insert("edge", peak.0);
        }
        Ok(summary)
    }
}

impl Stage<'_> {
    /// What the station counts as receipted.
    fn receipted_are(&self) -> &'static str {
        receipted_are(self.options.link == Link::Rf)
    }

    /// One line of progress.
    pub(super) fn tell(&self, now: Tai, told: &Told) {
        let since_s = now.since(self.scene.pass.rise) / SECOND_NS;
        let elevation = self.scene.track.look(now).map_or(0.0, |look| look.1);
        eprintln!(
            "T+{since_s:>3} s  elevation {elevation:4.1}°  {} {} receipted  {} packets  \
             {} parameters  {} alarms  {} products  {} jobs",
            told.receipted,
            self.receipted_are(),
            told.packets,
            told.parameters,
            told.alarms,
            told.products,
            told.jobs_done
        );
    }

    /// What became of the frames: the edge's spool against the station's disk.
    async fn reckon_frames(&self, radio: Radio, audit: &str) -> anyhow::Result<Radio> {
        let spool = store_of(self, &self.layout.spool(super::antenna::EDGE)).await?;
        let of = reckoning::reckon(&spool, audit)?;
        fs::write(self.layout.root.join("spool.json"), &spool)?;
        Ok(Radio {
            frames_heard: of.numbered,
            frames_archived: of.archived,
            frames_held: of.held,
            frames_missing: of.missing,
            good: of.receptions.good,
            corrected: of.receptions.corrected,
            erred: of.receptions.erred,
            ..radio
        })
    }

    /// What the station's disk holds, and whether it is whole.
    pub(super) async fn audit(&self) -> anyhow::Result<(String, bool)> {
        let config = self.layout.station_file().display().to_string();
        let arguments = ["audit", "--json", "--config", &config];
        let (program, log) = (&self.programs.groundstation, self.layout.log("audit"));
        let (audit, clean) =
            process::finish("groundstation audit", program, &arguments, &log).await?;
        ensure!(!audit.is_empty(), "groundstation audit said nothing; see {}", log.display());
        Ok((audit, clean))
    }
}

/// When the part of the pass ends that is flown.
pub(super) fn pass_end(options: &Options, pass: &Pass) -> Tai {
    let whole = pass.set.plus(-RESERVE_NS);
    match options.seconds {
        Some(seconds) => whole.min(pass.rise.plus(seconds as i64 * SECOND_NS)),
        None => whole,
    }
}

/// What a store holds, listed by `onboard store`: a spool is a store as well.
pub(super) async fn store_of(stage: &Stage<'_>, folder: &Path) -> anyhow::Result<String> {
    let store = folder.display().to_string();
    let log = stage.layout.log("store");
    let program = &stage.programs.onboard;
    let arguments = ["store", store.as_str(), "--json"];
    let (text, done) = process::finish("onboard store", program, &arguments, &log).await?;
    ensure!(done, "onboard store failed: {}", fs::read_to_string(&log)?.trim());
    Ok(text)
}

/// Puts the document together.
fn summary(
    reckoning: Reckoning,
    audit_clean: bool,
    fed: Fed,
    told: Told,
    done: Option<serde_json::Value>,
    kill: Option<(Told, (u64, u64))>,
    [onboard, ground]: [(u64, u64); 2],
) -> Summary {
    let said = |name: &str| done.as_ref().and_then(|done| done[name].as_u64());
    let by_radio = done.as_ref().and_then(|done| done["radio"]["bytes"].as_u64());
    let sources = done.as_ref().and_then(|done| done["sources"].as_array());
    let files = sources.into_iter().flatten().filter_map(|source| source["files"].as_u64());
    let before = kill.map(|(told, _)| told).unwrap_or_default();
    let killed_peak = kill.map_or((0, 0), |(_, peak)| peak);
    let own = process::peak_kib(std::process::id()).unwrap_or_default();
    Summary {
        units_sent: said("units_sent").unwrap_or(reckoning.numbered),
        units_archived: reckoning.archived,
        units_receipted: reckoning.receipted,
        units_held: reckoning.held,
        units_unheard: reckoning.unheard,
        units_kept: reckoning.kept,
        duplicates: before.duplicates + told.duplicates,
        missing: reckoning.missing,
        packets: told.packets,
        parameters: told.parameters,
        alarms: told.alarms,
        jobs_done: told.jobs_done,
        files_taken: files.sum(),
        uptime_s: told.uptime_s,
        orders: None,
        heavy: None,
        source_bytes: said("source_bytes").unwrap_or(fed.bytes),
        downlink_bytes: by_radio.or_else(|| said("downlink_bytes")).unwrap_or_default(),
        capture_to_insight_ms: told.insight,
        kill: kill.map(|(before, _)| Kill {
            receipted: receipted_are(by_radio.is_some()),
            receipted_before: before.receipted,
            receipted_after: told.receipted,
        }),
        radio: None,
        audit_clean,
        peak_rss_kib: BTreeMap::from([
            ("groundstation", ground.0.max(killed_peak.0)),
            ("onboard", onboard.0),
            ("orbitsim", own),
            ("pool", ground.1.max(killed_peak.1)),
        ]),
    }
}

/// Resolves at SIGINT or SIGTERM.
pub(super) async fn interrupted() {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
