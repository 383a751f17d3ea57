//! What was written, by cause.

use super::*;

#[test]
fn every_byte_has_a_cause_and_the_sum_outlives_a_boot() {
    let medium = Forgetful::new();
    let mut store = open(&medium).unwrap();
    let mut live = VecDeque::new();
    for round in 0..60 {
        live.push_back(store.append(unit(Channel::stream(1), 9, vec![round; 700])).unwrap());
        store.drop_next(CRAFT, Channel::stream(2), 10, Tai(1));
        store.note(1, vec![round].into());
        store.commit(Tai(1)).unwrap();
        // Every fourth unit stays, so that cleaning has something to copy.
        let goes = live.iter().position(|key: &UnitKey| !key.sequence.is_multiple_of(4));
        if let Some(at) = goes.filter(|_| live.len() > 12) {
            let key = live.remove(at).unwrap();
            store.receipt(LEDGER, 1, key.prefix, &only(key));
        }
    }
    let written = store.written();
    assert_eq!(written.total(), medium.written(), "{written:?}");
    assert_eq!(written.units, 60 * unit_record_bytes(700, 0) as u64);
    assert!(written.voids > 0 && written.cleaning > 0 && written.receipts > 0, "{written:?}");
    assert!(written.amplification() > 1.0);
    let again = open(&medium).unwrap().written();
    assert_eq!(again.total(), written.total(), "{again:?}");
    let report = store.report();
    assert_eq!(report.units_new + report.units_sent, report.units_held);
    assert_eq!(report.units_reclaimable + report.units_freed, report.units_receipted);
}
