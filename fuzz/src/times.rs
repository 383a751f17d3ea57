//! Time codes and dates.

use crate::input::Input;
use codecs::time::cds::{Cds, Submillisecond};
use codecs::time::cuc::Cuc;
use codecs::time::leap::{LeapSeconds, MAX_STEPS};
use codecs::time::{CCSDS_EPOCH, LeapTable, Tai};

/// CUC and CDS, with and without preamble: what is read is written back.
pub fn time_codes(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let agency = Tai(input.long().cast_signed());
    if flags & 1 == 0 {
        let code = match flags & 2 {
            0 => {
                let Ok((code, length)) = Cuc::from_preamble(input.0, Some(agency)) else { return };
                input.take(length);
                code
            }
            _ => {
                let epoch = if flags & 4 == 0 { CCSDS_EPOCH } else { agency };
                let Ok(code) = Cuc::new(input.byte() % 9, input.byte() % 12, epoch) else { return };
                code
            }
        };
        cuc(&code, agency, input.0);
    } else {
        let day = (agency.0 >> 32) % 200_000;
        let code = match flags & 2 {
            0 => Cds::from_preamble(input.byte(), Some(day)),
            _ => Ok(Cds {
                long_day: flags & 4 != 0,
                submillisecond: input.choose(&[
                    Submillisecond::None,
                    Submillisecond::Micros,
                    Submillisecond::Picos,
                ]),
                epoch_day: if flags & 8 == 0 { -4383 } else { day },
            }),
        };
        if let Ok(code) = code {
            cds(&code, day, input.0);
        }
    }
}

fn cuc(code: &Cuc, agency: Tai, bytes: &[u8]) {
    let mut preamble = Vec::new();
    code.write_preamble(&mut preamble);
    assert_eq!(Cuc::from_preamble(&preamble, Some(agency)), Ok((*code, preamble.len())));
    let Ok(time) = code.read(bytes) else { return };
    let mut written = Vec::new();
    // Rounded up to a nanosecond that the counter's end cuts off.
    if code.write(time, &mut written).is_err() {
        return;
    }
    assert_eq!(written.len(), code.time_bytes());
    let again = code.read(&written).expect("a code of ours");
    assert!(again.since(time).abs() <= 1, "{time:?} reads back as {again:?}");
    let mut twice = Vec::new();
    if code.write(again, &mut twice).is_ok() {
        assert_eq!(twice, written);
    }
}

fn cds(code: &Cds, day: i64, bytes: &[u8]) {
    assert_eq!(Cds::from_preamble(code.preamble(), Some(code.epoch_day)), Ok(*code));
    let _ = Cds::from_preamble(code.preamble(), Some(day));
    let Ok(time) = code.read(bytes) else { return };
    let mut written = Vec::new();
    // A last day with more milliseconds than it has is the day behind the last.
    if code.write(time, &mut written).is_err() {
        return;
    }
    assert_eq!(written.len(), code.time_bytes());
    assert_eq!(code.read(&written), Ok(time));
}

/// Dates as text, and every use of an instant.
pub fn rfc3339(data: &[u8]) {
    let mut input = Input(data);
    let any = Tai(input.long().cast_signed());
    if let Ok(text) = std::str::from_utf8(input.0)
        && let Some(time) = Tai::from_rfc3339(text)
    {
        instant(time);
        let back = Tai::from_rfc3339(&time.to_rfc3339()).expect("our own text");
        // Milliseconds are kept; a leap second reads as the second behind it.
        let lost = time.since(back);
        assert!((-1_000_000_000..1_000_000).contains(&lost), "{text} reads back as {back}");
    }
    instant(any);
}

fn instant(time: Tai) {
    let text = time.to_rfc3339();
    let cuc = time.to_cuc43();
    let _ = Tai::from_cuc43(cuc);
    let _ = LeapTable::on(time);
    // At the ends of the count UTC saturates.
    if time.0.unsigned_abs() > i64::MAX as u64 - 100_000_000_000 {
        return;
    }
    let utc = Tai::from_unix(
        time.to_unix_nanos().div_euclid(1_000_000_000),
        time.to_unix_nanos().rem_euclid(1_000_000_000) as u32,
    );
    assert!(matches!(time.since(utc), 0 | -1_000_000_000), "{text}");
}

/// Published tables of leap seconds: steps in order, and any instant converts by them.
pub fn leap_seconds(data: &[u8]) {
    let mut input = Input(data);
    let any = Tai(input.long().cast_signed());
    let Ok(text) = std::str::from_utf8(input.0) else { return };
    let Ok(table) = LeapSeconds::parse(text) else { return };
    assert!((1..=MAX_STEPS).contains(&table.steps().len()));
    for pair in table.steps().windows(2) {
        assert!(pair[0].from > pair[1].from, "newest first");
        assert_eq!(pair[0].offset.abs_diff(pair[1].offset), 1);
    }
    let _ = (table.on(any), table.until(), table.offset_at(any.0));
    let seconds = any.to_unix_nanos_with(&table).div_euclid(1_000_000_000);
    let offset = table.offset_at(seconds);
    assert!(table.steps().iter().any(|step| step.offset == offset));
}
