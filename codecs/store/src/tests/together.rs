//! A value and the units of its commit: both or neither, wherever power goes.

use super::*;

const SLOT: u32 = 77;
const CHANNEL: Channel = Channel::stream(4);

fn noted(store: &Store<Forgetful>) -> u64 {
    let note = store.notes().find(|of| of.0 == SLOT);
    note.map_or(0, |of| u64::from_be_bytes(of.1[..].try_into().unwrap()))
}

/// Marks of the units that are held: their first byte.
fn held(store: &mut Store<Forgetful>) -> Vec<u8> {
    let keys: Vec<UnitKey> = store.unreceipted().map(|of| of.key).collect();
    let mut marks: Vec<u8> = keys
        .into_iter()
        .filter(|key| key.prefix.channel == CHANNEL)
        .map(|key| store.take(key).unwrap()[0])
        .collect();
    marks.sort_unstable();
    marks
}

/// Takes up what the value says is next, three pieces a commit, to the end or to a fault; a cut
/// anywhere must leave each piece exactly once.
fn work(store: &mut Store<Forgetful>, pieces: u64) {
    while noted(store) < pieces {
        let next = noted(store);
        for piece in next..(next + 3).min(pieces) {
            store.append(unit(CHANNEL, 9, vec![piece as u8; 90])).unwrap();
        }
        store.note(SLOT, (next + 3).min(pieces).to_be_bytes().to_vec().into());
        store.commit(Tai(1)).unwrap();
    }
}

#[test]
fn a_value_and_the_units_of_its_commit_stand_or_fall_together() {
    const PIECES: u64 = 60;
    let medium = Forgetful::new().remembering();
    work(&mut open(&medium).unwrap(), PIECES);
    let whole: Vec<u8> = (0..PIECES as u8).collect();
    for cut in Cut::ALL {
        for (at, moment) in medium.moments().iter().enumerate() {
            for seed in 1..4 {
                let left = moment.survivors(cut, (at as u64 + 1) * 0x9e37_79b9 * seed);
                let mut store = open(&left).unwrap();
                let progress = noted(&store);
                let before: Vec<u8> = (0..progress as u8).collect();
                assert_eq!(held(&mut store), before, "{cut:?} in call {at}");
                work(&mut store, PIECES);
                assert_eq!(held(&mut store), whole, "{cut:?} in call {at}, gone on");
                assert_eq!(held(&mut open(&left).unwrap()), whole, "{cut:?} in call {at}, again");
            }
        }
    }
}

#[test]
fn damage_at_rest_in_a_batch_costs_only_its_own_record() {
    let medium = Forgetful::new();
    let mut store = open(&medium).unwrap();
    let keys: Vec<UnitKey> =
        (0..3).map(|of| store.append(unit(CHANNEL, 9, vec![of; 90])).unwrap()).collect();
    store.note(SLOT, 3u64.to_be_bytes().to_vec().into());
    store.commit(Tai(1)).unwrap();
    store.append(unit(CHANNEL, 9, vec![9; 90])).unwrap();
    store.commit(Tai(1)).unwrap();
    let entry = store.counters[&(CRAFT, CHANNEL)].units[&keys[1].sequence];
    medium.flip(entry.segment, (entry.offset as usize + 60) * 8);
    let mut store = open(&medium).unwrap();
    assert_eq!((noted(&store), held(&mut store)), (3, vec![0, 2, 9]));
    store.commit(Tai(2)).unwrap();
    assert!(told(&mut store).iter().any(|of| of.0 == VoidReason::Damaged));
}

#[test]
fn a_write_that_landed_elsewhere_is_told_by_key() {
    let medium = Forgetful::new();
    let mut store = open(&medium).unwrap();
    let keys: Vec<UnitKey> = (0..30)
        .map(|of| {
            let key = store.append(unit(CHANNEL, 9, vec![of; 300])).unwrap();
            store.commit(Tai(1)).unwrap();
            key
        })
        .collect();
    assert!(store.segments.len() > 2, "several segments");
    // Whole records of another segment, each good in itself, where others belong.
    medium.misdirect(0, 1, 1024..2048);
    let mut store = open(&medium).unwrap();
    let found = held(&mut store);
    let lost: Vec<&UnitKey> =
        keys.iter().filter(|key| !found.contains(&(key.sequence as u8))).collect();
    assert!((3..=5).contains(&lost.len()), "{lost:?}");
    store.commit(Tai(2)).unwrap();
    assert!(lost.iter().all(|key| store.is_voided(**key)));
    for key in keys.iter().filter(|key| !lost.contains(key)) {
        assert_eq!(store.take(*key).unwrap(), vec![key.sequence as u8; 300]);
    }
}
