//! The contact plan, from its file to the peers.

use anyhow::Context as _;
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

/// Refuses a file that is not there, is no plan, or has a contact without its times.
pub fn check(file: &Path) -> anyhow::Result<()> {
    let what = || format!("contact plan {} (config key contacts.file)", file.display());
    let text = std::fs::read_to_string(file).with_context(what)?;
    let plan: File = serde_json::from_str(&text).with_context(what)?;
    for (at, contact) in plan.contacts.iter().enumerate() {
        for (key, time) in [("rise", &contact.rise), ("set", &contact.set)] {
            let why =
                || format!("contact {at}: {key} `{time}` is no time like 2026-11-26T12:00:00Z");
            Tai::from_rfc3339(time).with_context(why).with_context(what)?;
        }
    }
    Ok(())
}

/// Says what of a plan can't be told to peers: a station goes on without one.
pub fn warn(file: Option<&Path>) {
    if let Some(Err(error)) = file.map(check) {
        tracing::warn!("{error:#}; peers are told no contact that can't be read");
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_peers_would_not_be_told_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("contacts.json");
        let said = || format!("{:#}", check(&file).unwrap_err());
        assert!(said().contains("config key contacts.file"), "{}", said());
        std::fs::write(&file, "garbage").unwrap();
        assert!(said().contains("expected value"), "{}", said());
        let contact =
            |rise| format!(r#"{{"contacts":[{{"rise":"{rise}","set":"2026-11-26T12:08:00Z"}}]}}"#);
        std::fs::write(&file, contact("soon")).unwrap();
        assert!(said().contains("contact 0: rise `soon`"), "{}", said());
        std::fs::write(&file, contact("2026-11-26T12:00:00Z")).unwrap();
        check(&file).unwrap();
    }
}
