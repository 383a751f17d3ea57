//! The contact plan, from its file to the peers.

use anyhow::Context as _;
use codecs::{link::wire::PlannedContact, time::Tai};
use serde::Deserialize;
use std::path::{Path, PathBuf};

use tokio::sync::watch;

use super::clock::StationClock;
use crate::contacts::{Stepped, told};

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
    /// Changes of rate and round trip within the contact.
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    at: String,
    #[serde(default)]
    rate_bps: f64,
    #[serde(default)]
    rtt_ms: f64,
}

impl Contact {
    fn stepped(&self) -> Option<Stepped> {
        let time = |text: &str| Tai::from_rfc3339(text);
        let rtt_ns = |rtt_ms: f64| (rtt_ms * 1e6) as u64;
        let whole = PlannedContact {
            rise: time(&self.rise)?,
            set: time(&self.set)?,
            rate_bps: self.rate_bps as u64,
            rtt_ns: rtt_ns(self.rtt_ms),
        };
        let change =
            |step: &Step| Some((time(&step.at)?, step.rate_bps as u64, rtt_ns(step.rtt_ms)));
        Some(Stepped::new(whole, self.steps.iter().map(change).collect::<Option<_>>()?))
    }
}

/// Reads the file anew at each call; no file, no plan.
pub fn reader(
    file: watch::Receiver<Option<PathBuf>>,
    clock: StationClock,
) -> Box<dyn Fn() -> Vec<PlannedContact> + Send + Sync> {
    Box::new(move || {
        let Some(file) = file.borrow().clone() else { return Vec::new() };
        read(&file, clock.tai()).unwrap_or_else(|error| {
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
        for (number, Step { at: time, .. }) in contact.steps.iter().enumerate() {
            let why = || {
                format!(
                    "contact {at}: steps {number}: at `{time}` is no time like 2026-11-26T12:00:00Z"
                )
            };
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

fn read(file: &Path, now: Tai) -> anyhow::Result<Vec<PlannedContact>> {
    let plan: File = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    Ok(told(plan.contacts.iter().filter_map(Contact::stepped), now))
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
        let stepped = contact("2026-11-26T12:00:00Z").replace("}]}", r#","steps":[{"at":"x"}]}]}"#);
        std::fs::write(&file, stepped).unwrap();
        assert!(said().contains("contact 0: steps 0: at `x`"), "{}", said());
    }

    #[test]
    fn a_files_contacts_are_told_in_their_steps() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("contacts.json");
        let text = r#"{"contacts":[{"rise":"2026-11-26T12:00:00Z","set":"2026-11-26T12:08:00Z",
            "rate_bps":5e6,"rtt_ms":20.5,
            "steps":[{"at":"2026-11-26T12:04:00Z","rate_bps":9e6,"rtt_ms":12}]}]}"#;
        std::fs::write(&file, text).unwrap();
        let told = read(&file, Tai::from_rfc3339("2026-11-26T12:07:00Z").unwrap()).unwrap();
        let said: Vec<_> = told.iter().map(|of| (of.rate_bps, of.rtt_ns)).collect();
        assert_eq!(said, [(5_000_000, 20_500_000), (9_000_000, 12_000_000)]);
        assert_eq!(told[0].set, told[1].rise);
    }
}
