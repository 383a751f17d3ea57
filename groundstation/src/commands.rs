//! Commands that come and go: `init`, `audit`.

pub(crate) use crate::shell::output::say;
use crate::{
    archive::{segment::number_of, storage::Storage as _},
    audit::{self, Audit, Stored},
    config::{Config, HTTP_DEFAULT, QUIC_DEFAULT, StoreConfig},
    init::{self, Craft, Place, Plan},
    shell::{bucket::Bucket, catalogue, disk::Folder, mission, wall_clock, witness},
    witness::Finding,
};
use anyhow::{Context as _, bail};
use codecs::ids::Origin;
use std::{
    collections::BTreeSet, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration,
};

/// A command line that says what can't be meant: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongUsage(pub String);

/// How long an audit waits for the object store to list what it holds.
const STORE_PATIENCE: Duration = Duration::from_secs(30);

/// Make a station: configuration, local authority, identities
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    groundstation init station --mission mission.toml --station 'Weilheim,47.88,11.08,560' \
    --spacecraft 7:SKY-7")]
pub struct InitArgs {
    /// Folder to make it in; nothing in it is overwritten
    pub dir: PathBuf,
    /// Mission definition; copied into the folder
    #[arg(long, value_name = "FILE")]
    pub mission: PathBuf,
    /// Name, latitude and longitude in degrees, height in metres
    #[arg(long, value_name = "NAME,LAT,LON,HEIGHT_M", allow_hyphen_values = true)]
    pub station: Place,
    /// A spacecraft to enrol; may be given again
    #[arg(long, value_name = "ID:NAME", required = true)]
    pub spacecraft: Vec<Craft>,
    /// Where QUIC listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = QUIC_DEFAULT)]
    pub quic: SocketAddr,
    /// Where page, API and metrics listen
    #[arg(long, value_name = "ADDRESS", default_value = HTTP_DEFAULT)]
    pub http: SocketAddr,
}

/// Prove the archive: every record, every key, against the ledger
///
/// Reads without the daemon, and may run beside it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 everything acknowledged is there and whole, 1 it is not.")]
pub struct AuditArgs {
    /// Station file
    #[arg(long, value_name = "FILE", default_value = "station.toml")]
    pub config: PathBuf,
    /// Make missing and damaged indexes again from the log; not beside a running daemon
    #[arg(long)]
    pub repair: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Makes a station.
pub fn init(args: &InitArgs) -> anyhow::Result<ExitCode> {
    let mission = std::fs::read_to_string(&args.mission)
        .with_context(|| format!("mission {}", args.mission.display()))?;
    mission::load(&args.mission)?;
    let plan = Plan {
        dir: args.dir.clone(),
        mission,
        station: args.station.clone(),
        spacecraft: args.spacecraft.clone(),
        quic: args.quic,
        http: args.http,
    };
    let origins: Vec<Origin> = plan
        .spacecraft
        .iter()
        .map(|_| crate::shell::random().map(Origin))
        .collect::<Result<_, _>>()
        .context("the system gives no random bytes")?;
    init::init(&plan, wall_clock(), &origins)?;
    let dir = args.dir.display();
    say(&format!("Made {dir}/station.toml. Each spacecraft takes its folder of {dir}/enrolled/."));
    say(&format!("Next: groundstation run --config {dir}/station.toml"));
    Ok(ExitCode::SUCCESS)
}

/// Audits the archive of a station.
pub fn audit(args: &AuditArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.config)?;
    let dir = config.path(&config.archive.dir);
    let archive = || format!("archive {}", dir.display());
    let witness = witness::load(&witness::path(&config))?;
    if !dir.is_dir() {
        match witness.last() {
            Some(last) => bail!("{}: gone, and ledger {last:016x} was kept there", archive()),
            None => bail!("{}: not there yet; `groundstation run` makes it", archive()),
        }
    }
    let mut folder = Folder::at(&dir);
    if args.repair {
        let _lock = Folder::claim(&dir).with_context(archive)?;
        for number in audit::repair(&mut folder).with_context(archive)? {
            tracing::info!(segment = number, "index made again");
        }
    }
    let found = audit::ledger_of(&mut folder).with_context(archive)?;
    if found.is_none() && witness.last().is_none() && !holds_archive(&mut folder)? {
        bail!(
            "{}: nothing was ever archived there, so there is nothing to prove; is archive.dir of \
             {} right?",
            archive(),
            args.config.display()
        );
    }
    let mut audit = audit::audit(&mut folder).with_context(archive)?;
    audit.ledger_gone = match witness.judge(found) {
        Finding::Emptied(last) | Finding::Other(last) => Some(format!("{last:016x}")),
        Finding::First | Finding::Same => None,
    };
    let stored = match (&config.archive.object_store, found) {
        (Some(store), Some(ledger)) if audit.damaged_count > 0 => {
            Some(stored(&config, store, ledger).with_context(archive)?)
        }
        _ => None,
    };
    let advice = audit.advice(stored.as_ref());
    match args.json {
        true => {
            let mut document = serde_json::to_value(&audit)?;
            document["advice"] = advice.into();
            say(&document.to_string());
        }
        false => {
            say(&table(&audit));
            advice.iter().for_each(|line| say(&format!("to do: {line}")));
        }
    }
    Ok(if audit.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether a folder has a file that only an archive has.
fn holds_archive(folder: &mut Folder) -> anyhow::Result<bool> {
    let names = folder.list()?;
    let of_archive = |name: &String| number_of(name).is_some() || name.ends_with(".index");
    Ok(names.iter().any(of_archive))
}

/// What the object store says that it holds, or the catalogue where it does not answer.
fn stored(config: &Config, store: &StoreConfig, ledger: u64) -> anyhow::Result<Stored> {
    let ask = || -> anyhow::Result<BTreeSet<u64>> {
        let domain = mission::load(&config.path(&config.mission))?.domain;
        let bucket = Bucket::open(store, &config.base, &domain)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listing = async { tokio::time::timeout(STORE_PATIENCE, bucket.list(ledger)).await };
        let listed = runtime.block_on(listing);
        Ok(listed.context("no answer in time")??.into_keys().collect())
    };
    match ask() {
        Ok(segments) => Ok(Stored { segments, answered: true }),
        Err(error) => {
            tracing::warn!("archive.object_store: {error:#}; its catalogue is taken for it");
            let segments = catalogue::stored(&config.path(&config.archive.dir))?;
            Ok(Stored { segments, answered: false })
        }
    }
}

fn table(audit: &Audit) -> String {
    let mut out = format!(
        "ledger {}: {} units, {} bytes in {} segments\n\
         {} stand twice, {} damaged, {} torn at the end, {} conflicts kept aside, {} voided",
        audit.ledger,
        audit.units,
        audit.bytes,
        audit.segments,
        audit.duplicates,
        audit.damaged_count,
        audit.torn.len(),
        audit.conflicts,
        audit.voids,
    );
    for damage in &audit.damaged {
        out.push_str(&format!("\n{damage}"));
    }
    for torn in &audit.torn {
        out.push_str(&format!("\ntorn, never acknowledged: {torn}"));
    }
    if let Some(gone) = &audit.ledger_gone {
        out.push_str(&format!("\nthe archive of ledger {gone}, which was kept here, is gone"));
    }
    if audit.floor > 0 {
        out.push_str(&format!("\nsegments below {} were let go on purpose", audit.floor));
    }
    if audit.taken_again > 0 {
        out.push_str(&format!(
            "\n{} units were taken again while their segment was away, and stand twice, alike: \
             each is read once, and nothing is to be done",
            audit.taken_again
        ));
    }
    for number in &audit.indexes_damaged {
        out.push_str(&format!("\nindex of segment {number} missing or damaged"));
    }
    let lists = [
        ("lost", &audit.lost),
        ("taken again", &audit.again),
        ("taken again with other bytes", &audit.differing),
        ("missing", &audit.missing_from_archive),
        ("not in the ledger", &audit.missing_from_ledger),
        ("let go", &audit.let_go),
    ];
    for (what, keys) in lists {
        for key in keys {
            out.push_str(&format!("\n{what}: {key}"));
        }
    }
    out
}
