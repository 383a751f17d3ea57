//! `onboard store`: what a store holds, read without changing it.

use std::{fs::TryLockError, path::PathBuf};

use anyhow::ensure;
use clap::Args;
use codecs::{
    ids::{Origin, StoreEpoch},
    link::custody::Durability,
};

use crate::store::{Disk, Limits, Medium, Store, StoreReport, peek_identity};

/// Which store, told how.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// The store's folder
    dir: PathBuf,
    /// One JSON document on standard output
    #[arg(long)]
    json: bool,
    /// Block that the device erases at once, as in [store] erase_block: tells the wear
    #[arg(long, value_name = "BYTES")]
    erase_block: Option<std::num::NonZeroU64>,
}

/// Opens a folder without writing to it and describes the store there.
pub fn report(dir: &std::path::Path) -> anyhow::Result<StoreReport> {
    let mut disk = Disk::read_only(dir)?;
    ensure!(
        !disk.segments()?.is_empty(),
        "{}: no store here (no .seg files); give the folder named in [store] dir",
        dir.display()
    );
    let identity = peek_identity(&mut disk)?;
    let origin = identity.map_or(Origin([0; 16]), |identity| identity.origin);
    let limits = Limits {
        capacity_bytes: u64::MAX,
        segment_bytes: 4 << 20,
        least_class: Durability::Local as u8,
        evict_bytes: 0,
        evict_on_full: false,
    };
    Ok(Store::open(disk, limits, origin, StoreEpoch(0))?.report())
}

/// Whether a process has the store open, as far as that can be told.
fn in_use(dir: &std::path::Path) -> bool {
    let lock = std::fs::File::open(dir.join("lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Prints the report.
pub fn run(args: &StoreArgs) -> anyhow::Result<()> {
    let in_use = in_use(&args.dir);
    let report = report(&args.dir)?;
    if args.json {
        let mut document = serde_json::to_value(&report)?;
        document["in_use"] = in_use.into();
        if let (Some(block), Some(written)) =
            (args.erase_block, document["written"].as_object_mut())
        {
            written.insert("erases_min".into(), report.written.erases(block.get()).into());
        }
        say!("{document}");
        return Ok(());
    }
    if in_use {
        say!("a flight has this store open: what follows is what it had written by now");
    }
    say!("origin {}  epoch {:#018x}", report.origin, report.epoch);
    say!(
        "{} units numbered: {} held, {} kept until asked for, {} receipted, {} voided; {} bytes on disk",
        report.units_numbered,
        report.units_held,
        report.units_kept,
        report.units_receipted,
        report.units_voided,
        report.bytes
    );
    say!(
        "held: {} new, {} sent; receipted: {} reclaimable, {} freed",
        report.units_new,
        report.units_sent,
        report.units_reclaimable,
        report.units_freed
    );
    let of = report.written;
    say!(
        "written: {} bytes, {:.2} for each of units and voids: units {}, voids {}, receipts {}, \
         checkpoints {}, cleaning {}",
        of.total(),
        of.amplification(),
        of.units,
        of.voids,
        of.receipts,
        of.checkpoints,
        of.cleaning
    );
    if let Some(block) = args.erase_block {
        say!("erased: at least {} blocks of {block} bytes", of.erases(block.get()));
    }
    if report.stray_bytes > 0 {
        say!("{} bytes belong to no whole record (a cut, or damage)", report.stray_bytes);
    }
    for notice in report.damage.notices() {
        say!("{notice}");
    }
    say!("{:<28} {:>8} {:>14} {:>10}  receipted", "channel", "next", "held bytes", "voided");
    for key in &report.keys {
        let voided: u64 = key.voided.iter().map(|[first, last]| last - first + 1).sum();
        let receipted: u64 = key.receipted.iter().map(|[first, last]| last - first + 1).sum();
        say!("{:<28} {:>8} {:>14} {:>10}  {receipted}", key.name, key.next, key.held_bytes, voided);
    }
    Ok(())
}
