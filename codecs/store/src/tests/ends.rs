//! Where a store ends: the end of its log that is lost, and the end of its medium.

use super::*;
use crate::shell::disk::Disk;

/// Opens on a folder; what it holds is of segments of 4 KiB.
fn on(folder: &std::path::Path) -> Store<Disk> {
    let limits = Limits { capacity_bytes: 64 * 4096, ..LIMITS };
    Store::open(Disk::open(folder).unwrap(), limits, ORIGIN, EPOCH).unwrap()
}

fn fill<M: Medium>(store: &mut Store<M>, stream: u32, count: u64) -> Vec<UnitKey> {
    let append = |at: u64| {
        let key = store.append(unit(Channel::stream(stream), 9, vec![at as u8; 300])).unwrap();
        store.commit(Tai(9)).unwrap();
        key
    };
    (0..count).map(append).collect()
}

fn newest(folder: &std::path::Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|of| of.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|of| of == "seg")).max().unwrap()
}

/// A number that was receipted must never be given to something else: its receipt would be taken
/// for one of that.
#[test]
fn no_number_is_given_twice_whatever_became_of_the_end_of_the_log() {
    type Harm = fn(&std::path::Path);
    let harms: [(&str, Harm); 5] = [
        ("half zeroed", |path| {
            let mut bytes = std::fs::read(path).unwrap();
            let half = bytes.len() / 2;
            bytes[half..].fill(0);
            std::fs::write(path, bytes).unwrap();
        }),
        ("half random", |path| {
            let mut bytes = std::fs::read(path).unwrap();
            let half = bytes.len() / 2;
            bytes[half..].iter_mut().enumerate().for_each(|(at, of)| *of = (at * 7) as u8);
            std::fs::write(path, bytes).unwrap();
        }),
        ("all zeroed", |path| {
            let length = std::fs::metadata(path).unwrap().len() as usize;
            std::fs::write(path, vec![0; length]).unwrap();
        }),
        ("emptied", |path| std::fs::write(path, []).unwrap()),
        ("removed", |path| std::fs::remove_file(path).unwrap()),
    ];
    for (name, harm) in harms {
        let folder = tempfile::tempdir().unwrap();
        let mut store = on(folder.path());
        let mut given: BTreeSet<UnitKey> = fill(&mut store, 1, 30).into_iter().collect();
        // Channels that nothing but the end of the log knows, that of voids among them.
        given.extend(fill(&mut store, 2, 2));
        store.drop_next(CRAFT, Channel::stream(2), 9, Tai(9));
        store.commit(Tai(9)).unwrap();
        let voids = |store: &Store<Disk>| -> Vec<UnitKey> {
            let held = store.unreceipted().map(|of| of.key);
            held.filter(|key| key.prefix.channel == Channel::VOIDS).collect()
        };
        given.extend(voids(&store));
        drop(store);
        harm(&newest(folder.path()));
        let mut store = on(folder.path());
        let end = store.damage().end.expect(name);
        assert!(end.skipped > 0 && !store.damage().notices().is_empty(), "{name}: it is told");
        let kept: BTreeSet<UnitKey> = voids(&store).into_iter().collect();
        let mut again: Vec<UnitKey> =
            [fill(&mut store, 1, 3), fill(&mut store, 2, 3)].into_iter().flatten().collect();
        again.extend(voids(&store).into_iter().filter(|key| !kept.contains(key)));
        for key in &again {
            assert!(given.insert(*key), "{name}: {key:?} was given before");
        }
        drop(store);
        // The skipped numbers are told, once, and the next start finds nothing wrong.
        let mut store = on(folder.path());
        assert_eq!(store.damage().end, None, "{name}");
        for key in &again {
            assert!(store.read(*key).is_ok(), "{name}: {key:?}");
        }
        let first = UnitKey { sequence: again[0].sequence - 1, ..again[0] };
        assert!(store.is_voided(first), "{name}: what is skipped is named");
    }
}

#[test]
fn a_mark_that_lies_neither_stops_the_store_nor_wastes_its_numbers() {
    for mark in ["ffffffffffffffff", "00000000ffffffff", "", "no number", "-1"] {
        let folder = tempfile::tempdir().unwrap();
        fill(&mut on(folder.path()), 1, 3);
        std::fs::write(folder.path().join("newest"), mark).unwrap();
        let mut store = on(folder.path());
        assert_eq!(store.damage().end, None, "{mark:?}");
        assert_eq!(fill(&mut store, 1, 1)[0].sequence, 3, "{mark:?}");
    }
}

#[test]
fn a_cut_of_power_skips_no_more_than_the_cut_may_have_taken() {
    let medium = Forgetful::new();
    let mut store = open(&medium).unwrap();
    fill(&mut store, 1, 5);
    let whole = open(&medium.survivors(Cut::Drop, 1)).unwrap();
    assert_eq!((whole.damage().end, whole.next_of(CRAFT, Channel::stream(1))), (None, 5));
}

#[test]
fn on_a_medium_that_ends_before_its_capacity_the_lowest_is_given_up_and_named() {
    let limits = Limits { capacity_bytes: 64 * 4096, evict_on_full: true, ..LIMITS };
    let medium = Forgetful::new().with_space(10 * 4096);
    let mut store = Store::open(medium.clone(), limits, ORIGIN, EPOCH).unwrap();
    let mut keys = Vec::new();
    for step in 0..400u64 {
        let priority = if step % 10 == 0 { 90 } else { 10 };
        let new = unit(Channel::stream(1), priority, vec![step as u8; 300]);
        keys.push((store.append(new).unwrap(), priority));
        store.commit(Tai(9)).unwrap_or_else(|why| panic!("{step}: {why}"));
    }
    let held = |store: &Store<Forgetful>| {
        let held: BTreeSet<UnitKey> = store.unreceipted().map(|of| of.key).collect();
        held
    };
    let of = held(&store);
    for (key, _) in &keys {
        assert!(of.contains(key) || store.is_voided(*key), "{key:?} is neither held nor named");
    }
    let high = |of: &BTreeSet<UnitKey>| {
        keys.iter().filter(|(key, p)| *p == 90 && of.contains(key)).count()
    };
    assert_eq!(high(&of), 40, "what is worth more stays: {} of 40", high(&of));
    assert!(of.len() > 50, "{} held: the medium is used", of.len());
    // Others gave their room back: the store grows again.
    medium.set_space(None);
    let before = of.len();
    fill(&mut store, 1, 300);
    assert!(held(&store).len() > before + 200, "{} before, {} after", before, held(&store).len());
    let mut store = Store::open(medium.survivors(Cut::Drop, 1), limits, ORIGIN, EPOCH).unwrap();
    for (key, _) in &keys {
        assert!(store.is_voided(*key) || store.read(*key).is_ok());
    }
}
