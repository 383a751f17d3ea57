//! The contact plan, from its file to the peers.

use anyhow::Context as _;
use codecs::{link::wire::PlannedContact, time::Tai};
use serde::Deserialize;
use std::path::{Path, PathBuf};

use tokio::sync::watch;

use super::clock::StationClock;

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
    /// The contact as one, and as its steps, which meet.
    fn planned(&self) -> Option<(PlannedContact, Vec<PlannedContact>)> {
        let part = |rise, set, rate_bps: f64, rtt_ms: f64| PlannedContact {
            rise,
            set,
            rate_bps: rate_bps as u64,
            rtt_ns: (rtt_ms * 1e6) as u64,
        };
        let time = |text: &str| Tai::from_rfc3339(text);
        let whole = part(time(&self.rise)?, time(&self.set)?, self.rate_bps, self.rtt_ms);
        let steps = self.steps.iter().map(|step| Some((time(&step.at)?, step)));
        let mut steps = steps.collect::<Option<Vec<_>>>()?;
        steps.sort_by_key(|(at, _)| *at);
        let mut parts = Vec::from([whole]);
        for (at, step) in steps.into_iter().filter(|(at, _)| (whole.rise..whole.set).contains(at)) {
            if let Some(before) = parts.last_mut() {
                before.set = at;
            }
            parts.push(part(at, whole.set, step.rate_bps, step.rtt_ms));
        }
        parts.retain(|part| part.rise < part.set);
        Some((whole, parts))
    }
}

/// Contacts that are not over, those that come first in their steps as far as there is room for.
fn told(contacts: &[Contact], now: Tai) -> Vec<PlannedContact> {
    let next = contacts.iter().filter_map(Contact::planned).filter(|(whole, _)| whole.set > now);
    let mut next: Vec<_> = next.collect();
    next.sort_by_key(|(whole, _)| whole.rise);
    next.truncate(CONTACTS_MAX);
    // One that lasts comes with its steps even where a contact of next week is left out for them.
    let mut room = (CONTACTS_MAX - next.len()).max(CONTACTS_MAX / 2);
    let mut told = Vec::new();
    for (whole, parts) in next {
        let more = parts.len().saturating_sub(1);
        if more <= room {
            room -= more;
            told.extend(parts);
        } else {
            told.push(whole);
        }
    }
    told.truncate(CONTACTS_MAX);
    told
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
    Ok(told(&plan.contacts, now))
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

    fn contact(minute: u32, steps: usize) -> Contact {
        let time = |second: u32| {
            let (hour, minute) = (minute / 60, minute % 60 + second / 60);
            format!("2026-11-26T{hour:02}:{minute:02}:{:02}Z", second % 60)
        };
        let step =
            |at: usize| Step { at: time(at as u32 + 1), rate_bps: (at + 2) as f64, rtt_ms: 1.0 };
        let steps = (0..steps).map(step).collect();
        Contact { rise: time(0), set: time(110), rate_bps: 1.0, rtt_ms: 2.0, steps }
    }

    #[test]
    fn the_next_contacts_are_told_in_steps_that_meet() {
        let plan: Vec<Contact> = (0..100).map(|at| contact(4 * at, 9)).collect();
        let now = Tai::from_rfc3339("2026-11-26T00:03:00Z").unwrap();
        let told = told(&plan, now);
        assert_eq!(told.len(), CONTACTS_MAX);
        let (first, second) = told.split_at(10);
        assert_eq!(first[0].rise, Tai::from_rfc3339("2026-11-26T00:04:00Z").unwrap());
        assert!(first.windows(2).all(|pair| pair[0].set == pair[1].rise));
        let rates: Vec<u64> = first.iter().map(|part| part.rate_bps).collect();
        assert_eq!(rates, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!((first[0].rtt_ns, first[1].rtt_ns), (2_000_000, 1_000_000));
        assert!(second[0].rise > first[9].set);
        // The last ones come whole.
        let last = told[CONTACTS_MAX - 1];
        assert_eq!((last.set.since(last.rise), last.rate_bps), (110_000_000_000, 1));
        // A few contacts all have their steps, and one without any is one.
        assert_eq!(super::told(&plan[..6], now).len(), 5 * 10);
        assert_eq!(super::told(&[contact(8, 0)], now).len(), 1);
    }
}
