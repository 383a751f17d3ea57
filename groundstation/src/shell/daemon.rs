//! `groundstation run`: puts the parts together, and takes them apart in order.

use super::{
    bucket::Bucket,
    clock::StationClock,
    control::Control,
    disk::Folder,
    door_files,
    doors::{self, Doors},
    follow::Hub,
    keeping::Keeping,
    memory, mission, pipeline,
    reload::{self, Reloader, Standing},
    rf,
    rules::Rules,
    server,
    session::Station,
    sessions::Sessions,
    signals::{Asked, Signals},
    start::{self, Ground},
    systemd::{self, Manager},
    telemetry::Telemetry,
    uplink::Uplink,
    watch::Watch,
    writer::Writer,
};
use crate::{
    api,
    archive::{Archive, Settings, record::Position, twice::Twice},
    budget::Budget,
    commands::say,
    config::Config,
    deframe,
    keep::Keeper,
    process::Process,
    publish::{Event, Feed},
    receipt::Ingest,
    rf::hear::applications,
    telemetry::otlp::Teller,
};
use anyhow::Context as _;
use codecs::link::{MAX_OBJECT_BYTES, MAX_UNIT_BYTES, receiver::ReceiverConfig, wire::Limits};
use serde_json::json;
use std::{path::PathBuf, process::ExitCode, sync::Arc, thread::JoinHandle, time::Duration};
use tokio::sync::watch;

/// What the running daemon prints when it listens, kept in the archive's folder.
pub const RUNNING: &str = "running.json";

/// Run the station: admit, archive, receipt, decode, show
///
/// Prints one JSON line when it listens and one when it has stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "SIGTERM or SIGINT stop it cleanly; the archive survives any other end. \
    SIGHUP and `groundstation reload` read file, certificates and keys anew.")]
pub struct RunArgs {
    /// Station file
    #[arg(long, value_name = "FILE", default_value = "station.toml")]
    pub config: PathBuf,
    /// Begin a new ledger where the archive of the last one is gone
    #[arg(long)]
    pub new_ledger: bool,
}

/// Runs until a signal.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.config)?;
    super::clock::warn_of_leap_seconds();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(daemon(config, args))
}

/// What opening the archive gave.
struct Opened {
    archive: Archive<Folder>,
    end: Position,
    folder: Folder,
    keeping: Keeping,
    twice: Twice,
    /// Segments that are not there although they should.
    missing: u64,
    /// Held as long as the daemon writes.
    _lock: std::fs::File,
}

async fn open_archive(
    config: &Config,
    bucket: Option<Bucket>,
    new_ledger: bool,
) -> anyhow::Result<Opened> {
    start::try_folders(config)?;
    let dir = config.path(&config.archive.dir);
    let (folder, lock) = Folder::claim(&dir)
        .with_context(|| format!("archive {} (config key archive.dir)", dir.display()))?;
    let settings = Settings { segment_bytes: config.archive.segment_bytes };
    let fresh = u64::from_be_bytes(super::random().context("the system gives no random bytes")?);
    let keeping = Keeping::open(config, bucket, &folder, fresh, new_ledger).await?;
    let (archive, report) = Archive::open(folder.clone(), settings, fresh)?;
    for (segment, hole) in &report.damage {
        tracing::error!(segment, offset = hole.from, key = ?hole.key, "a record does not hold");
    }
    for (segment, hole) in &report.torn {
        tracing::warn!(segment, offset = hole.from, "the last commit before a stop is torn");
    }
    for run in report.missing.ranges() {
        tracing::error!(
            first = run.first,
            last = run.last,
            "segments are missing: their units count as lost and are taken again; to bring the \
             segments back, stop the station first, then see `groundstation audit`"
        );
    }
    if report.lost > 0 {
        tracing::error!(units = report.lost, "lost with missing segments; `audit` lists them");
    }
    let units = archive.ledger().units;
    tracing::info!(segments = report.segments, scanned = report.scanned, units, "archive open");
    let end = archive.end();
    let missing = report.missing.count();
    let twice =
        Twice::find(&mut folder.clone()).with_context(|| format!("archive {}", dir.display()))?;
    Ok(Opened { archive, end, folder, keeping, twice, missing, _lock: lock })
}

async fn daemon(config: Config, args: &RunArgs) -> anyhow::Result<ExitCode> {
    let signals = Signals::hear()?;
    let manager = Manager::from_env();
    let Ground { definition, crypto, endpoint, bucket } = Ground::read(&config)?;
    let definition = Arc::new(definition);
    let profile = config.profile();
    let (quic, http) = (start::quic(&config)?, start::http(&config)?);
    door_files::waiting(&config).iter().for_each(|waiting| tracing::warn!("{waiting}"));
    if let Some(exposed) = start::exposed(&config) {
        tracing::warn!("{exposed}");
    }
    let options = config.transport();
    let strays = Arc::clone(&endpoint.1);
    let crowd = memory::crowd(Budget::of(&config, &definition)?.crowded_bytes);
    let endpoint = server::endpoint(quic, crypto, endpoint, &profile, &options, crowd)
        .with_context(|| format!("QUIC on {} (config key listen.quic)", config.listen.quic))?;
    let (feed, (stop, stopped)) = (Feed::default(), watch::channel(false));
    tokio::spawn(server::tell_strays(strays, feed.clone(), stopped.clone()));
    let opened = open_archive(&config, bucket, args.new_ledger).await?;
    // Told although it is none: what is not listed can't be watched.
    feed.publish(Event::Segments { fate: "missing", count: opened.missing });
    let control = Control::open(&config.path(&config.archive.dir))
        .context("control socket (config key archive.dir)")?;

    let clock = StationClock::new(config.clock.simulated_offset_s);
    let (ready, is_ready) = watch::channel(false);
    let ledger = opened.archive.ledger_id();

    let archive = config.path(&config.archive.dir);
    let uplink = Uplink::open(&archive, &definition.domain, clock)?;
    let spacecraft = Arc::new(mission::spacecraft(&definition));
    let operators = Arc::new(super::uplink::operators::table(&config)?);
    let (operators, may) = watch::channel(operators);
    super::plan::warn(config.contact_plan().as_deref());
    let (contacts, plan) = watch::channel(config.contact_plan());
    let door = api::Commanding {
        uplink: Arc::clone(&uplink),
        operators: may,
        mission: Arc::clone(&spacecraft),
    };
    let hub = Hub::new(opened.folder.clone(), opened.twice, opened.end);
    let shared = doors::Shared {
        hub: hub.clone(),
        definition: Arc::clone(&definition),
        clock,
        ledger,
        base: config.base.clone(),
        stop: doors::Stop::default(),
    };
    let mut doors = Doors::new(shared, feed.clone());
    doors.apply(doors.prepare(&config.doors).await?).await;
    let (rules, standing) = watch::channel(Arc::new(Rules::of(&config)));
    let (radio, heard) = rf::listen(&config.radios(), standing.clone());
    let radios = Arc::clone(&radio.ear);
    let telemetry = telemetry(&config, ledger, clock)?;
    let behind = Behind { ready, uplink: Arc::clone(&uplink), radio, telemetry: telemetry.clone() };
    let (pipeline, process_thread, look) =
        start_process(&config, &definition, hub, &feed, clock, behind)?;
    let commit = Duration::from_millis(config.archive.commit_ms);
    let Archive { intake, volume } = opened.archive;
    let ingest = Ingest::new(intake).keeping(Keeper::new(config.archive.policy()));
    let (writer, archive_thread) =
        Writer::start(ingest, volume, clock, commit, feed.clone(), pipeline)?;
    let watched = writer.clone();
    let (watch, watch_thread) =
        Watch::start(opened.folder.clone(), config.archive.segment_bytes, clock, feed.clone())?;
    let (catalogue, predecessors) =
        (opened.keeping.log.clone(), opened.keeping.predecessors.clone());
    let threads =
        opened.keeping.start(opened.folder, ledger, clock, feed.clone(), &writer, &stopped)?;
    let sessions = Arc::new(Sessions::default());
    let speech = rf::Speech {
        domain: &definition.domain,
        ledger,
        class: definition.reclaimable,
        key: rf::key::read(&config)?,
        folder: &archive,
        clock,
        edges: rf::Edges { sessions: Arc::clone(&sessions), rules: standing.clone() },
        uplink: Arc::clone(&uplink),
    };
    let radio = rf::Task {
        ways: rf::Ways::open(&config.radios(), &standing.borrow(), &speech)?,
        radios: config.radios(),
        ear: radios,
        heard,
        conflicts: Default::default(),
        writer: writer.clone(),
        rules: standing.clone(),
        class: definition.reclaimable,
        feed: feed.clone(),
    };
    let radio = tokio::spawn(radio.run(stopped.clone()));
    let mut reloader = Reloader::new(
        args.config.clone(),
        &config,
        endpoint.clone(),
        Standing { rules, operators, contacts, doors },
        Arc::clone(&spacecraft),
    );
    let station = Arc::new(Station {
        rules: standing,
        mission: spacecraft,
        writer,
        sessions,
        feed: feed.clone(),
        clock,
        receiver: ReceiverConfig {
            ledger,
            domain: definition.domain.clone(),
            limits: Limits {
                object_bytes_max: MAX_OBJECT_BYTES as u32,
                unit_bytes_max: MAX_UNIT_BYTES as u32,
                objects_max: profile.objects_max as u16,
            },
            commit_ns: commit.as_nanos() as u64,
        },
        uplink,
        predecessors,
        catalogue,
        contacts: super::plan::reader(plan.clone(), clock),
    });

    http.set_nonblocking(true)?;
    let http = tokio::net::TcpListener::from_std(http)?;
    let (quic_at, http_at) = (endpoint.local_addr()?, http.local_addr()?);
    let context = api::Context {
        feed,
        clock: Arc::new(move || clock.tai()),
        station: Some(config.station.place()),
        contacts: plan,
        ready: is_ready,
        host_names: config.listen.host_names.clone(),
        uplink: Some(door),
        look: Some(look),
    };
    let page = tokio::spawn(api::serve(http, context, stopped.clone()));
    let serving = tokio::spawn(server::run(endpoint, station, stopped));
    let event = json!({
        "event": "ready",
        "quic": quic_at.to_string(),
        "http": http_at.to_string(),
        "ledger": format!("{ledger:016x}"),
    });
    // For `status`, which may not know what port a 0 became. Not vital.
    let note = config.path(&config.archive.dir).join(RUNNING);
    let mut noted = event.clone();
    // For `check`, which tells this station from another on the same archive.
    noted["config"] = json!(start::real(&args.config).unwrap_or_else(|_| args.config.clone()));
    if let Err(error) = std::fs::write(&note, noted.to_string()) {
        tracing::warn!(%error, file = %note.display(), "`groundstation status` will not find this");
    }
    say(&event.to_string());

    let failed = supervise(signals, &control, &manager, &mut reloader, &watched).await;
    drop(watched);
    let doors = reloader.into_doors();
    tracing::info!(failed, "stopping");
    manager.stopping();
    // Everyone who waits is told at once; an error means that no one does.
    let _ = stop.send(true);
    doors.stop();
    // With the last session the last writer handle goes: the archive seals and its thread ends,
    // then the thread behind it.
    serving.await.context("QUIC")?;
    radio.await.context("radios")?;
    join(archive_thread, "archive").await?;
    join(process_thread, "process").await?;
    if let Some(telemetry) = &telemetry {
        telemetry.finish().await;
    }
    drop(watch);
    join(watch_thread, "disk").await?;
    threads.join().await?;
    tokio::task::spawn_blocking(move || doors.join()).await?;
    page.await.context("page")?.context("page")?;
    let _ = std::fs::remove_file(&note);
    say(&json!({ "event": "done", "ledger": format!("{ledger:016x}") }).to_string());
    Ok(ExitCode::SUCCESS)
}

/// Answers signals and requests until one of them, or a defect, ends the daemon; whether it was
/// a defect.
async fn supervise(
    mut signals: Signals,
    control: &Control,
    manager: &Manager,
    reloader: &mut Reloader,
    writer: &Writer,
) -> bool {
    manager.ready("taking units");
    let ask = async || writer.round().await.is_ok();
    let alive = manager.live(systemd::watchdog(), ask);
    tokio::pin!(alive);
    loop {
        let request = tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop => return false,
                Asked::Reload => None,
            },
            request = control.next() => Some(request),
            () = writer.gone() => return true,
            never = &mut alive => match never {},
        };
        if let Some(request) = request.as_ref().filter(|request| request.line != reload::REQUEST) {
            tracing::debug!(line = request.line, "an unknown request on the control socket");
            continue;
        }
        manager.reloading();
        let outcome = reloader.reload().await;
        match &outcome {
            Ok(done) => {
                tracing::info!(changed = ?done.changed, restart = ?done.restart, "reloaded");
                manager.ready("taking units; reloaded");
            }
            Err(error) => {
                tracing::error!("reload refused, the old file stays in force: {error:#}");
                manager.ready("taking units; the last reload was refused, see the log");
            }
        }
        if let Some(request) = request {
            request.answer(&reload::answer(&outcome)).await;
        }
    }
}

/// Who else looks at archived units.
struct Behind {
    ready: watch::Sender<bool>,
    uplink: Arc<Uplink>,
    radio: rf::Listening,
    telemetry: Option<Telemetry>,
}

/// Starts what tells spans, where the station file names a collector.
fn telemetry(
    config: &Config,
    ledger: u64,
    clock: StationClock,
) -> anyhow::Result<Option<Telemetry>> {
    let Some(url) = &config.telemetry.otlp else { return Ok(None) };
    let teller =
        Teller { station: config.station.name.clone(), instance: format!("{ledger:016x}") };
    let telemetry = Telemetry::start(url, teller, clock);
    Ok(Some(telemetry.map_err(anyhow::Error::msg).context("config key telemetry.otlp")?))
}

/// Starts what interprets units.
fn start_process(
    config: &Config,
    definition: &Arc<codecs::mission::Definition>,
    hub: Hub,
    feed: &Feed,
    clock: StationClock,
    behind: Behind,
) -> anyhow::Result<(pipeline::PipelineSender, JoinHandle<()>, super::work::Look)> {
    let frames = deframe::recent_bytes(&config.profile());
    let Behind { ready, uplink, mut radio, telemetry } = behind;
    let radios = applications(&config.radios());
    let process = Process::new(Arc::clone(definition)).keeping_frames(frames);
    let mut process = process.hearing(radios);
    feed.publish_all(process.mission_events());
    let feed = feed.clone();
    let (mut dispatch, look) =
        super::work::traced(config, definition, feed.clone(), clock, telemetry.clone())?;
    let commits = telemetry.clone();
    let handle = move |unit: &crate::archive::Archived| {
        uplink.observe(unit);
        let outcome = process.take(unit, clock.tai());
        if let Some(telemetry) = &telemetry {
            telemetry.interpreted(unit, &outcome);
        }
        feed.publish_all(outcome.events);
        radio.hear(unit, &outcome.parts);
        outcome.work.into_iter().for_each(&mut dispatch);
    };
    // Readiness means that what was archived before is shown as well.
    let caught_up = move || {
        ready.send_replace(true);
    };
    let (sender, thread) = pipeline::start(hub, handle, caught_up)?;
    Ok((sender.telling(commits), thread, look))
}

async fn join(thread: JoinHandle<()>, name: &str) -> anyhow::Result<()> {
    let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
    joined.map_err(|_| anyhow::anyhow!("the {name} thread failed; see the log above"))
}
