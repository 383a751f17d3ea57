use super::*;
use alloc::{format, string::String};
use proptest::prelude::*;

/// The table as `leap-seconds.list` of July 2026 has it: its lines but for the prose, which its
/// hash does not cover. The hash therefore proves the steps built in too.
fn list() -> String {
    let mut text =
        String::from("#\tFile expires on 28 June 2027\n#$\t3992312697\n#@\t4023129600\n");
    for step in STEPS.iter().rev() {
        text += &format!("{}      {}      # a date\n", step.from + SINCE_1900_S, step.offset);
    }
    text + "#h\ta9bad145 84c31c70 758402aa b37bfd54 5923836a\n"
}

/// The same as `Leap_Second.dat` has it.
fn dat() -> String {
    let mut text = String::from("#  Updated\n#  File expires on 28 June 2027\n#\n");
    for step in STEPS.iter().rev() {
        let days = step.from / DAY_S;
        let (year, month, day) = crate::time::civil_from_days(days);
        text +=
            &format!("    {}.0    {day}  {month} {year}       {}\n", days + MJD_1970, step.offset);
    }
    text
}

#[test]
fn both_published_forms_are_the_table_built_in() {
    assert_eq!(LeapSeconds::parse(&list()).as_ref(), Ok(LeapSeconds::built_in()));
    assert_eq!(LeapSeconds::parse(&dat()).as_ref(), Ok(LeapSeconds::built_in()));
    assert_eq!(LeapSeconds::built_in().until().to_rfc3339(), "2027-06-28T00:00:00.000Z");
}

#[test]
fn a_changed_digit_fails_the_hash() {
    let text = list();
    for (from, to) in [("3992312697", "3992312698"), ("3692217600", "3692304000")] {
        assert_eq!(LeapSeconds::parse(&text.replace(from, to)), Err(LeapError::Hash));
    }
    // Without a hash only the form is checked.
    let bare = text.split("#h").next().unwrap();
    assert!(LeapSeconds::parse(&bare.replace("3692217600", "3692304000")).is_ok());
}

#[test]
fn the_table_warns_before_it_ends() {
    let on = |text| LeapTable::on(Tai::from_rfc3339(text).unwrap());
    assert_eq!(on("2026-11-26T00:00:00Z"), LeapTable::Current);
    assert_eq!(on("2027-04-28T00:00:00Z"), LeapTable::Current);
    assert_eq!(on("2027-04-29T00:00:00Z"), LeapTable::Ending { days: 60 });
    assert_eq!(on("2027-06-27T23:59:59Z"), LeapTable::Ending { days: 0 });
    assert_eq!(on("2027-06-28T00:00:00Z"), LeapTable::Ended { days: 0 });
    assert_eq!(on("2027-11-23T00:00:00Z"), LeapTable::Ended { days: 148 });
}

/// The built-in table and one leap second more, at the end of a year.
fn with_step(year: i64, offset: i64, expires: &str) -> Result<LeapSeconds, LeapError> {
    let days = days_of_date(year, 1, 1).unwrap();
    let text = dat().replace("28 June 2027", expires);
    LeapSeconds::parse(&format!("{text} {}.0 1 1 {year} {offset}\n", days + MJD_1970))
}

#[test]
fn a_newer_table_knows_more() {
    let newer = with_step(2028, 38, "28 June 2028").unwrap();
    let text = "2027-12-31T23:59:60.500Z";
    let leap = Tai::from_rfc3339_with(text, &newer).unwrap();
    assert_eq!((leap.to_rfc3339_with(&newer).as_str(), Tai::from_rfc3339(text)), (text, None));
    let after = Tai::from_rfc3339_with("2028-01-01T00:00:00.5Z", &newer).unwrap();
    assert_eq!(after.since(leap), NANOS);
    assert_eq!(after.to_rfc3339(), "2028-01-01T00:00:01.500Z", "the older table is behind");
    assert_eq!(newer.offset_at(after.to_unix_nanos_with(&newer) / NANOS), 38);
    // A second left out, which has never been, leaves none to write as 60.
    let shorter = with_step(2028, 36, "28 June 2028").unwrap();
    let before = Tai::from_rfc3339_with("2027-12-31T23:59:58Z", &shorter).unwrap();
    assert_eq!(before.plus(NANOS).to_rfc3339_with(&shorter), "2028-01-01T00:00:00.000Z");
}

#[test]
fn tables_that_can_not_be_are_refused() {
    let parse = LeapSeconds::parse;
    assert_eq!(parse(""), Err(LeapError::Start));
    assert_eq!(parse("2287785600 11\n"), Err(LeapError::Start));
    assert_eq!(parse("2272060800 10\n"), Err(LeapError::Expiry));
    assert_eq!(parse("2272060800 10\n2287785600 12\n"), Err(LeapError::Order(2)));
    assert_eq!(parse("2272060800 10\n2272060800 11\n"), Err(LeapError::Order(2)));
    assert_eq!(parse("2272060800 10\n2287785601 11\n"), Err(LeapError::Order(2)));
    assert_eq!(parse("41317.0 2 1 1972 10\n"), Err(LeapError::Line(1)), "another day");
    for line in ["x", "1", "1 2 3", "1 2 3 4 5 6", "#@ x", "#h 1", "# File expires on x"] {
        assert_eq!(parse(line), Err(LeapError::Line(1)), "{line}");
    }
    assert_eq!(with_step(2028, 38, "31 December 2027"), Err(LeapError::Expiry));
    let long = " ".repeat(MAX_TEXT_BYTES + 1);
    assert_eq!(parse(&long), Err(LeapError::TooLong(MAX_TEXT_BYTES + 1)));
    let mut many = String::new();
    for n in 0..=MAX_STEPS as i64 {
        let offset = 10 + n % 2;
        many += &format!("{} {offset}\n", FIRST.from + SINCE_1900_S + n * DAY_S);
    }
    assert_eq!(parse(&many), Err(LeapError::TooMany));
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "[#$@h0-9. \\n]{0,200}|.{0,80}") {
        let _ = LeapSeconds::parse(&text);
    }

    #[test]
    fn any_numbers_are_survived(numbers in prop::collection::vec(any::<i64>(), 0..8)) {
        let mut text = String::from("2272060800 10\n#@ 9223372036854775807\n");
        for number in numbers {
            text += &format!("{number} {number}\n#@ {number}\n{number} {number} 1 {number} 5\n");
        }
        let _ = LeapSeconds::parse(&text);
    }

    #[test]
    fn times_near_every_step_round_trip(index in 0usize..27, millis in -3000i64..3000) {
        let step = STEPS[index];
        let tai = Tai((step.from + step.offset) * NANOS + millis * 1_000_000);
        prop_assert_eq!(Tai::from_rfc3339(&tai.to_rfc3339()), Some(tai));
    }
}
