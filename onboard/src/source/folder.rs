//! A watched folder: which file may be taken now.
//!
//! A file counts once it has its name for good: dotfiles and names that end in `.part` or `.tmp`
//! are left alone, and one that still grows is waited for.

use std::collections::BTreeMap;

/// Looks at an unchanged file before it is taken.
const STEADY_LOOKS: u8 = 2;
/// Looks for which a raw image waits for its sidecar.
const SIDECAR_LOOKS: u8 = 20;
/// Files of one folder that are looked at; the others wait.
pub const ENTRIES_MAX: usize = 4096;

/// What a folder is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Images, to be cut into tiles.
    Images,
    /// Files of space packets behind one another.
    Packets,
}

/// A file with its length in bytes and a word of when it was changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Name in the folder.
    pub name: String,
    /// Length, bytes.
    pub length: u64,
    /// Anything that changes with the content.
    pub stamp: u64,
}

/// Remembers what was seen at the last look.
#[derive(Debug)]
pub struct Folder {
    content: Content,
    seen: BTreeMap<String, (u64, u64, u8)>,
    /// What can't be put away, as it was then.
    passed: BTreeMap<String, (u64, u64)>,
}

/// Sidecar of a raw image: the same name with `.json` in place of, or behind, `.raw`.
pub fn sidecars(name: &str) -> [String; 2] {
    let stem = name.strip_suffix(".raw").unwrap_or(name);
    [format!("{stem}.json"), format!("{name}.json")]
}

impl Folder {
    /// A folder that was not looked at yet.
    pub fn new(content: Content) -> Self {
        Self { content, seen: BTreeMap::new(), passed: BTreeMap::new() }
    }

    fn is_candidate(&self, name: &str) -> bool {
        let unfinished = name.starts_with('.') || name.ends_with(".part") || name.ends_with(".tmp");
        let beside = self.content == Content::Images && name.ends_with(".json");
        !unfinished && !beside
    }

    /// Passes over a file for as long as it stays as it was at the last look.
    pub fn pass_over(&mut self, name: &str) {
        if let Some((length, stamp, _)) = self.seen.get(name) {
            self.passed.insert(name.into(), (*length, *stamp));
        }
    }

    /// Takes a listing; the file to take, the first by name, once it has held still.
    pub fn look(&mut self, listed: &[Listed]) -> Option<String> {
        let there = |name: &String| listed.iter().any(|of| of.name == *name);
        let mut seen = BTreeMap::new();
        let mut ready = None;
        // Bounded as the listing is.
        self.passed.retain(|name, was| {
            listed.iter().any(|of| of.name == *name && (of.length, of.stamp) == *was)
        });
        for of in listed.iter().filter(|of| self.is_candidate(&of.name)) {
            let before = self.seen.get(&of.name);
            let looks = match before {
                Some((length, stamp, looks)) if (*length, *stamp) == (of.length, of.stamp) => {
                    looks.saturating_add(1)
                }
                _ => 1,
            };
            let raw = self.content == Content::Images && of.name.ends_with(".raw");
            let alone = raw && !sidecars(&of.name).iter().any(there);
            let wanted = if alone { SIDECAR_LOOKS } else { STEADY_LOOKS };
            let first = ready.as_ref().is_none_or(|name| of.name < *name);
            if looks >= wanted && first && !self.passed.contains_key(&of.name) {
                ready = Some(of.name.clone());
            }
            seen.insert(of.name.clone(), (of.length, of.stamp, looks));
        }
        self.seen = seen;
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, length: u64) -> Listed {
        Listed { name: name.into(), length, stamp: 0 }
    }

    #[test]
    fn only_what_has_its_name_for_good_is_taken() {
        let mut folder = Folder::new(Content::Images);
        let never = [".a.png", "a.png.part", "a.tmp", "a.json"].map(|name| listed(name, 5));
        assert!((0..50).all(|_| folder.look(&never).is_none()));
        let growing = |length| [listed("b.png", length)];
        assert!((0..50).all(|length| folder.look(&growing(length)).is_none()));
        assert_eq!(folder.look(&growing(49)), Some("b.png".into()));
    }

    #[test]
    fn what_is_passed_over_holds_up_nobody_and_comes_again_when_it_has_changed() {
        let mut folder = Folder::new(Content::Packets);
        let both = [listed("a", 5), listed("b", 5)];
        folder.look(&both);
        assert_eq!(folder.look(&both), Some("a".into()));
        folder.pass_over("a");
        assert_eq!(folder.look(&both), Some("b".into()));
        let fresh = [listed("a", 6), listed("b", 5)];
        folder.look(&fresh);
        assert_eq!(folder.look(&fresh), Some("a".into()));
    }

    #[test]
    fn files_go_by_name_and_a_raw_one_waits_for_its_sidecar() {
        let mut folder = Folder::new(Content::Images);
        let alone = [listed("c.raw", 5), listed("d.tif", 5)];
        folder.look(&alone);
        assert_eq!(folder.look(&alone), Some("d.tif".into()), "what is ready goes on");
        let both = [listed("c.raw", 5), listed("c.json", 5), listed("d.tif", 5)];
        assert_eq!(folder.look(&both), Some("c.raw".into()));
        let mut folder = Folder::new(Content::Images);
        let alone = [listed("c.raw", 5)];
        let looks = (0..).find(|_| folder.look(&alone).is_some());
        assert_eq!(looks, Some(usize::from(SIDECAR_LOOKS) - 1), "not for ever");
        let mut packets = Folder::new(Content::Packets);
        packets.look(&[listed("x.json", 1)]);
        assert_eq!(packets.look(&[listed("x.json", 1)]), Some("x.json".into()));
    }
}
