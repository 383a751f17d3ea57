//! `onboard config`: configurations beside the file on the command line.
//!
//! What is changed here is what a flight finds at its next start; one that flies has the folder
//! locked and takes its orders by uplink.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};

use crate::{
    config::{
        Config,
        trial::{CONFIG_BYTES_MAX, Trials},
    },
    shell::{
        configs::{check, settings},
        models::Folder,
    },
};

const BY: &str = "the command line";

/// Which configurations, and what about them.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

/// The file that names the slots.
#[derive(Debug, Args)]
struct File {
    /// Configuration file, whose [config] slots is used
    #[arg(long)]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Says what is permanent, on trial, and how the last trial went
    Show {
        #[command(flatten)]
        file: File,
        /// One JSON document on standard output
        #[arg(long)]
        json: bool,
    },
    /// Checks a configuration and keeps it for a trial at the next start
    Apply {
        /// The new configuration; its paths start at the folder of --config
        next: PathBuf,
        #[command(flatten)]
        file: File,
    },
    /// Makes the one that waits for a trial permanent
    Confirm(File),
    /// Leaves the one on trial, or the permanent one, for the one before
    Rollback(File),
}

/// Carries out what was asked for.
pub fn run(args: &ConfigArgs) -> anyhow::Result<()> {
    match &args.action {
        Action::Show { file, json } => show(file, *json),
        Action::Apply { next, file } => apply(next, &file.config),
        Action::Confirm(file) => {
            let mut trials = open(&file.config)?;
            trials.confirm_waiting("by command")?;
            say!("permanent from the next start");
            Ok(())
        }
        Action::Rollback(file) => {
            let mut trials = open(&file.config)?;
            trials.roll_back("by command")?;
            say!("from the next start: {}", trials.view().permanent);
            Ok(())
        }
    }
}

fn folder(file: &Path) -> anyhow::Result<(PathBuf, u32)> {
    let settings = settings(file)?;
    let slots = settings.slots.with_context(|| {
        format!("{}: no [config] slots: name a folder there first", file.display())
    })?;
    Ok((slots, settings.starts_max))
}

fn open(file: &Path) -> anyhow::Result<Trials<Folder>> {
    let (slots, starts_max) = folder(file)?;
    Ok(Trials::open(Folder::open(&slots).context("[config] slots")?, starts_max)?)
}

fn show(file: &File, json: bool) -> anyhow::Result<()> {
    let (slots, starts_max) = folder(&file.config)?;
    let trials = Trials::open(Folder::look(&slots), starts_max)?;
    let view = trials.view();
    if json {
        say!("{}", serde_json::to_string(&view)?);
        return sound(view.damage);
    }
    say!("permanent: {}", view.permanent);
    if let Some(slot) = &view.trial {
        say!("on trial: {slot}, {} of {} starts", view.starts, view.starts_max);
    }
    for (slot, held) in view.slots {
        let proven = if held.proven { "proven" } else { "not proven" };
        say!("slot {}: {:#010x}, {proven}, by {}", slot.letter(), held.crc, held.by);
    }
    if let Some(verdict) = view.verdict {
        let what = if verdict.confirmed { "confirmed" } else { "rolled back" };
        say!("last: {:#010x} {what}: {}", verdict.held.crc, verdict.reason);
    }
    sound(view.damage)
}

/// A script must not take a damaged folder for one that holds nothing.
fn sound(damage: &[String]) -> anyhow::Result<()> {
    ensure!(damage.is_empty(), "{}", damage.join("\n"));
    Ok(())
}

fn apply(next: &Path, file: &Path) -> anyhow::Result<()> {
    let length = std::fs::metadata(next).map(|of| of.len());
    let length = length.with_context(|| format!("{}: can't read", next.display()))?;
    ensure!(
        length <= CONFIG_BYTES_MAX as u64,
        "{}: {length} bytes, at most {CONFIG_BYTES_MAX}",
        next.display()
    );
    let text =
        std::fs::read_to_string(next).with_context(|| format!("{}: can't read", next.display()))?;
    let running = Config::load(file).ok();
    for notice in check(file, &text, running.as_ref())? {
        say!("note: {notice}");
    }
    let slot = open(file)?.put(text.as_bytes(), BY)?;
    let crc = codecs::fec::crc::crc32c(text.as_bytes());
    say!("slot {}, {crc:#010x}: on trial from the next start", slot.letter());
    Ok(())
}
