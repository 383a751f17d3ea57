//! `groundstation restore`: brings a ledger's segments back from the object store.

use super::{bucket::Bucket, disk::Folder, mission, uplink::UPLINK_LOG, witness};
use crate::{
    archive::{
        load_index,
        segment::file_name,
        storage::{Storage as _, StoredFile as _, write_all},
    },
    audit,
    commands::say,
    config::Config,
    upload::ledger_behind,
};
use anyhow::{Context as _, bail, ensure};
use std::{path::PathBuf, process::ExitCode};

/// Bring a ledger's segments back from the object store, to go on with it or to read it
///
/// What was receipted after the last segment that was stored is asked for again once the station
/// runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Segments that are there already stay as they are. Ledgers are told by \
    `--ledger` with an unknown one.")]
pub struct RestoreArgs {
    /// Station file
    #[arg(long, value_name = "FILE", default_value = "station.toml")]
    pub config: PathBuf,
    /// Which ledger, 16 hexadecimal digits; by default the one that was kept here last
    #[arg(long, value_name = "ID")]
    pub ledger: Option<String>,
    /// Folder to bring them to; by default the station's archive
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
}

/// Restores.
pub fn run(args: &RestoreArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.config)?;
    let definition = mission::load(&config.path(&config.mission))?;
    let store = config.archive.object_store.as_ref();
    let store = store.context("the station has no [archive.object_store] to restore from")?;
    let bucket = Bucket::open(store, &config.base, &definition.domain)?;
    let dir = args.to.clone().unwrap_or_else(|| config.path(&config.archive.dir));
    let wanted = match &args.ledger {
        Some(id) => Some(u64::from_str_radix(id, 16).context("--ledger: 16 hexadecimal digits")?),
        None => witness::load(&witness::path(&config))?.last(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ledger = runtime.block_on(choose(&bucket, wanted))?;
    let (mut folder, _lock) =
        Folder::claim(&dir).with_context(|| format!("folder {}", dir.display()))?;
    let brought = runtime.block_on(restore(&bucket, ledger, &mut folder))?;
    if !dir.join(UPLINK_LOG).exists() {
        say("the uplink log is not stored: uplink that had no outcome yet is forgotten here, and \
             new uplink is numbered under a new id");
    }
    let dir = dir.display();
    say(&match brought {
        0 => format!(
            "ledger {ledger:016x}: nothing to restore, every segment that the object store has of \
             it is in {dir}"
        ),
        _ => format!("ledger {ledger:016x}: {brought} segments brought to {dir}"),
    });
    Ok(ExitCode::SUCCESS)
}

async fn choose(bucket: &Bucket, wanted: Option<u64>) -> anyhow::Result<u64> {
    let there = bucket.ledgers().await.context("archive.object_store")?;
    let named: Vec<String> = there.iter().map(|id| format!("{id:016x}")).collect();
    match (wanted, &there[..]) {
        (Some(id), _) if there.contains(&id) => Ok(id),
        (None, [only]) => Ok(*only),
        (_, []) => bail!("the object store has no segment of any ledger of this domain"),
        _ => bail!("choose with --ledger; the object store has {}", named.join(", ")),
    }
}

/// Brings what is missing in the folder, each segment proven to be the ledger's; how many.
pub async fn restore(bucket: &Bucket, ledger: u64, folder: &mut Folder) -> anyhow::Result<usize> {
    let found = audit::ledger_of(folder)?;
    ensure!(
        found.is_none_or(|found| found == ledger),
        "the folder holds ledger {:016x}; choose an empty one with --to",
        found.unwrap_or_default()
    );
    let segments = bucket.list(ledger).await?;
    ensure!(!segments.is_empty(), "the object store has no segment of ledger {ledger:016x}");
    let mut brought = 0;
    // The newest first: it says which older ones retention let go, and those stay there.
    let mut floor = 0;
    for (number, length) in segments.into_iter().rev() {
        let name = file_name(number);
        if number < floor || folder.list()?.contains(&name) {
            continue;
        }
        let bytes = bucket.read(ledger, number).await.with_context(|| name.clone())?;
        let read = ledger_behind(&bytes, number);
        match &read {
            Some((header, _)) if header.ledger_id == ledger => floor = floor.max(header.floor),
            Some(_) => bail!("{name} is another ledger's in the object store"),
            None => tracing::warn!(name, "its header does not hold in the object store"),
        }
        let mut file = folder.create(&name, length)?;
        write_all(&mut file, 0, &bytes)?;
        file.truncate(bytes.len() as u64)?;
        file.sync()?;
        load_index(folder, number).with_context(|| format!("index of {name}"))?;
        brought += 1;
    }
    folder.sync_names()?;
    Ok(brought)
}
