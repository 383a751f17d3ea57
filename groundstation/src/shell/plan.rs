//! The contact plan, from its file to the peers.

use codecs::{link::wire::PlannedContact, time::Tai};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use tokio::sync::watch;

/// Contacts told to a peer: about a week.
const CONTACTS_MAX: usize = 64;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    contacts: Vec<Contact>,
}

#[derive(Deserialize)]
struct Contact {
    rise: String,
    set: String,
    #[serde(default)]
    rate_bps: f64,
    #[serde(default)]
    rtt_ms: f64,
}

/// Reads the file anew at each call; no file, no plan.
pub fn reader(
    file: watch::Receiver<Option<PathBuf>>,
) -> Box<dyn Fn() -> Vec<PlannedContact> + Send + Sync> {
    Box::new(move || {
        let Some(file) = file.borrow().clone() else { return Vec::new() };
        read(&file).unwrap_or_else(|error| {
            tracing::debug!(%error, file = %file.display(), "no contact plan to tell");
            Vec::new()
        })
    })
}

fn read(file: &Path) -> anyhow::Result<Vec<PlannedContact>> {
    let plan: File = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let contact = |contact: &Contact| {
        Some(PlannedContact {
            rise: Tai::from_rfc3339(&contact.rise)?,
            set: Tai::from_rfc3339(&contact.set)?,
            rate_bps: contact.rate_bps as u64,
            rtt_ns: (contact.rtt_ms * 1e6) as u64,
        })
    };
    Ok(plan.contacts.iter().filter_map(contact).take(CONTACTS_MAX).collect())
}
