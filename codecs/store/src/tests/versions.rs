//! Stores of other versions of this program.

use super::*;

/// Written by the first version of the format: twelve units, a void, a value, a receipt, an ask.
const FIRST: [&[u8]; 2] = [
    include_bytes!("version-1/0000000000000000.seg"),
    include_bytes!("version-1/0000000000000001.seg"),
];

fn first() -> Forgetful {
    let medium = Forgetful::new();
    for (segment, bytes) in FIRST.into_iter().enumerate() {
        let mut medium = medium.clone();
        medium.create(segment as u64).unwrap();
        medium.append(segment as u64, bytes).unwrap();
        medium.sync(segment as u64).unwrap();
        medium.sync_names().unwrap();
    }
    medium
}

#[test]
fn a_store_of_the_first_version_opens_and_goes_on() {
    let medium = first();
    let mut store = open(&medium).unwrap();
    assert_eq!(store.identity(), Identity { origin: ORIGIN, epoch: EPOCH });
    let name = (CRAFT, Channel::stream(1));
    assert_eq!(store.next_of(name.0, name.1), 12);
    assert_eq!(store.notes().collect::<Vec<_>>(), [(3, &Bytes::from_static(b"kept"))]);
    let prefix = store.prefix(name);
    for sequence in 2..12 {
        let key = UnitKey { prefix, sequence };
        assert_eq!(store.state(key), Some(State::New));
        assert_eq!(store.take(key).unwrap(), vec![sequence as u8; 300]);
    }
    for sequence in 0..2 {
        assert_eq!(store.state(UnitKey { prefix, sequence }), Some(State::Reclaimable));
    }
    let left_out = store.prefix((CRAFT, Channel::stream(2)));
    assert!(store.is_voided(UnitKey { prefix: left_out, sequence: 0 }));
    assert_eq!(store.report().keys.iter().map(|of| of.unaccounted.len()).sum::<usize>(), 0);
    let key = store.append(unit(Channel::stream(1), 9, vec![12; 300])).unwrap();
    assert_eq!(key.sequence, 12);
    store.commit(Tai(0)).unwrap();
    let mut store = open(&medium.survivors(Cut::Drop, 1)).unwrap();
    assert_eq!(store.take(key).unwrap(), vec![12; 300]);
    assert_eq!(store.take(UnitKey { prefix, sequence: 5 }).unwrap(), vec![5; 300]);
}

#[test]
fn a_store_of_a_later_version_is_refused_in_words_and_left_alone() {
    for segment in 0..2u64 {
        let medium = first();
        let mut header = medium.clone().read(segment, 0, 48).unwrap().to_vec();
        medium.flip(segment, 7 * 8 + 3);
        header[7] ^= 1 << 3;
        let calls = medium.calls();
        let error = open(&medium).unwrap_err();
        assert_eq!(error, StoreError::Newer { segment, version: '9' });
        assert!(error.to_string().contains("go on with the program that wrote it"));
        assert_eq!(medium.calls(), calls, "nothing was written");
        assert_eq!(medium.clone().read(segment, 0, 48).unwrap(), header);
    }
}
