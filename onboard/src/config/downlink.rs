//! `[downlink]`: the contact plan, and the radio.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use codecs::{link::wire::PlannedContact, time::Tai};
use serde::Deserialize;

use crate::downlink::{Bearer, CONTACTS_MAX, Contact};

/// How and when units go down.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Downlink {
    /// The only bearer to use; all that are configured unless given.
    pub bearer: Option<Bearer>,
    /// File of contacts, for as long as the ground has told none.
    pub plan: Option<PathBuf>,
    /// Whether no connection is tried between the contacts of a plan that is believed.
    pub sleep: bool,
    /// What the file of contacts says.
    #[serde(skip)]
    pub contacts: Vec<Contact>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    #[serde(default)]
    contact: Vec<Filed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filed {
    rise: String,
    set: String,
    #[serde(default)]
    station: String,
    bearer: Option<Bearer>,
    #[serde(default)]
    rate_bps: u64,
}

impl Downlink {
    pub(super) fn resolve(&mut self, folder: &Path) {
        if let Some(path) = &mut self.plan {
            *path = folder.join(&*path);
        }
    }

    /// Takes the text of the plan's file.
    pub(super) fn read_plan(&mut self, file: &str, text: &str) -> anyhow::Result<()> {
        let plan: Plan = codecs::config::parse(file, text)?;
        let contacts =
            plan.contact.into_iter().enumerate().map(|(at, filed)| {
                filed.contact().with_context(|| format!("{file}: contact {at}"))
            });
        self.contacts = contacts.collect::<anyhow::Result<_>>()?;
        let count = self.contacts.len();
        ensure!(count <= CONTACTS_MAX, "{file}: {count} contacts: at most {CONTACTS_MAX}");
        Ok(())
    }
}

impl Filed {
    fn contact(self) -> anyhow::Result<Contact> {
        let time = |key, text: &str| {
            let why = || format!("{key} = {text:?} is no time like 2026-11-26T12:00:00Z");
            Tai::from_rfc3339(text).with_context(why)
        };
        let (rise, set) = (time("rise", &self.rise)?, time("set", &self.set)?);
        ensure!(rise < set, "set = {:?} is not after rise = {:?}", self.set, self.rise);
        let planned = PlannedContact { rise, set, rate_bps: self.rate_bps, rtt_ns: 0 };
        Ok(Contact { planned, station: self.station, bearer: self.bearer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_which_contact_is_wrong() {
        let read = |text: &str| {
            let mut downlink = Downlink::default();
            downlink.read_plan("contacts.toml", text).map(|()| downlink.contacts)
        };
        let good = "[[contact]]\nrise = \"2026-11-26T12:00:00Z\"\nset = \"2026-11-26T12:08:00Z\"\n\
                    station = \"north\"\nbearer = \"rf\"\nrate_bps = 16000\n";
        let contacts = read(good).unwrap();
        assert_eq!((contacts.len(), contacts[0].bearer), (1, Some(Bearer::Rf)));
        assert_eq!(contacts[0].planned.set.since(contacts[0].planned.rise), 480_000_000_000);
        let said = |text: &str| format!("{:#}", read(text).unwrap_err());
        assert!(said(&good.replace("12:08", "11:08")).contains("contact 0: set"));
        assert!(said(&good.replace("2026-11-26T12:00:00Z", "soon")).contains("rise = \"soon\""));
        assert!(said(&good.replace("station", "statoin")).contains("did you mean `station`?"));
        assert!(said(&good.repeat(CONTACTS_MAX + 1)).contains("at most 64"));
    }
}
