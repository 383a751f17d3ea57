//! What a changed station file changes while the daemon runs, and what it changes only at a restart.

use std::collections::BTreeSet;
use toml::{Table, Value};

/// Keys that a reload puts in force; each stands for everything below it. Addresses and folders
/// are not among them: sockets, archive and mission live as long as the daemon.
const LIVE: [&str; 9] = [
    "principal",
    "operator",
    "identity",
    "limits",
    "contacts.file",
    "door",
    "listen.profile",
    "listen.connections_max",
    "listen.object_stall_s",
];

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys whose new values are in force. Certificates and keys are read anew in any case.
    pub changed: Vec<String>,
    /// Keys that differ from what the daemon started with, and wait for a restart.
    pub restart: Vec<String>,
}

impl Reloaded {
    /// Compares the file at the start, the one in force, and the new one.
    pub fn between(started: &Table, current: &Table, new: &Table) -> Self {
        let (mut changed, mut restart) = (difference(current, new), difference(started, new));
        changed.retain(|key| is_live(key));
        restart.retain(|key| !is_live(key));
        Self { changed, restart }
    }
}

/// What a way up was opened with.
const FIXED: &str = "identity.domain_key";

fn is_live(key: &str) -> bool {
    let fixed = key == FIXED;
    !fixed
        && LIVE.iter().any(|live| {
            key.strip_prefix(live).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
}

/// Dotted names of what differs; lists are compared whole.
fn difference(before: &Table, after: &Table) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut differing = Vec::new();
    for name in names {
        let empty = Table::new();
        let table = |value: Option<&Value>| match value {
            // A table that is not there is one without keys: all defaults.
            None => Some(empty.clone()),
            Some(value) => value.as_table().cloned(),
        };
        match (before.get(name), after.get(name)) {
            (old, new) if old == new => {}
            (old, new) => match (table(old), table(new)) {
                (Some(old), Some(new)) if !(old.is_empty() && new.is_empty()) => {
                    let below = difference(&old, &new);
                    differing.extend(below.into_iter().map(|key| format!("{name}.{key}")));
                }
                _ => differing.push(name.clone()),
            },
        }
    }
    differing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        text.parse().unwrap()
    }

    #[test]
    fn what_waits_for_a_restart_is_told_until_there_is_one() {
        let started = table("mission = \"m\"\n[listen]\nquic = \"a\"\nprofile = \"leo\"\n");
        let moved = table("mission = \"m\"\n[listen]\nquic = \"b\"\nprofile = \"geo\"\n");
        let first = Reloaded::between(&started, &started, &moved);
        assert_eq!(first.changed, ["listen.profile"]);
        assert_eq!(first.restart, ["listen.quic"]);
        let second = Reloaded::between(&started, &moved, &moved);
        assert!(second.changed.is_empty());
        assert_eq!(second.restart, ["listen.quic"]);
    }

    #[test]
    fn sections_that_come_and_go_and_lists_are_seen() {
        let before = table("[[principal]]\nname = \"a\"\n[archive]\ndir = \"x\"\n");
        let after = table("[[principal]]\nname = \"b\"\n[limits]\nreceive_bytes = 1\n");
        let reloaded = Reloaded::between(&before, &before, &after);
        assert_eq!(reloaded.changed, ["limits.receive_bytes", "principal"]);
        assert_eq!(reloaded.restart, ["archive.dir"]);
        assert_eq!(difference(&before, &before), [""; 0]);
        // Much like a key that is live, and none.
        assert!(!is_live("identity.domain_key") && is_live("identity.key"));
        assert!(!is_live("listen.profiles") && !is_live("principals") && is_live("limits.a.b"));
    }
}
