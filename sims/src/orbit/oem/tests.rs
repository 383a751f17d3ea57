use super::*;
use crate::orbit::ephemeris::Placed;
use proptest::prelude::*;

const KVN: &str = "CCSDS_OEM_VERS = 3.0
CREATION_DATE = 2026-11-23T00:00:00
ORIGINATOR = TEST
META_START
OBJECT_NAME = SKY-7
OBJECT_ID = 2026-900A
CENTER_NAME = EARTH
REF_FRAME = ITRF2014
TIME_SYSTEM = UTC
START_TIME = 2026-11-23T00:00:00
USEABLE_START_TIME = 2026-327T00:00:30
USEABLE_STOP_TIME = 2026-11-23T00:02:30
STOP_TIME = 2026-11-23T00:03:00
INTERPOLATION = HERMITE
INTERPOLATION_DEGREE = 3
META_STOP
COMMENT a straight line
2026-11-23T00:00:00 7000.0 0 0 0 1.0 0
2026-11-23T00:01:00 7000.0 60 0 0 1.0 0 0 0 0
2026-11-23T00:02:00 7000.0 120 0 0 1.0 0

2026-11-23T00:03:00 7000.0 180 0 0 1.0 0
COVARIANCE_START
EPOCH = 2026-11-23T00:00:00
1.0
COVARIANCE_STOP
";

fn xml() -> String {
    let keys = KVN.lines().skip(4).take(11).map(|line| {
        let (key, value) = line.split_once(" = ").unwrap();
        format!("<{key}>{value}</{key}>\n")
    });
    let states = (0..4).map(|at| {
        format!(
            "<stateVector><EPOCH>2026-11-23T00:0{at}:00</EPOCH><X units=\"km\">7000.0</X>\
             <Y>{}</Y><Z>0</Z><X_DOT>0</X_DOT><Y_DOT units=\"km/s\">1.0</Y_DOT><Z_DOT>0</Z_DOT>\
             </stateVector>\n",
            60 * at
        )
    });
    format!(
        "<?xml version=\"1.0\"?>\n<oem id=\"CCSDS_OEM_VERS\" version=\"3.0\"><header/>\n<body>\n\
         <segment>\n<metadata>\n{}</metadata>\n<data>\n{}</data></segment></body></oem>",
        keys.collect::<String>(),
        states.collect::<String>()
    )
}

fn at(text: &str) -> Tai {
    Tai::from_rfc3339(text).unwrap()
}

#[test]
fn both_forms_say_the_same() {
    for text in [KVN.to_owned(), xml()] {
        assert!(is_oem(&text));
        let [ephemeris] = &read(&text).unwrap()[..] else { panic!("one object") };
        assert_eq!(ephemeris.name(), "SKY-7");
        let Placed { earth_fixed, state } = ephemeris.at(at("2026-11-23T00:01:15Z")).unwrap();
        assert!(earth_fixed);
        assert!((state.position_km[1] - 75.0).abs() < 1e-9, "{state:?}");
        assert!((state.velocity_km_s[1] - 1.0).abs() < 1e-12);
        // States beyond the useable ones are for the polynomials only.
        assert_eq!(ephemeris.at(at("2026-11-23T00:00:29Z")), None);
        assert!(ephemeris.at(at("2026-11-23T00:00:30Z")).is_some());
        assert_eq!(ephemeris.at(at("2026-11-23T00:02:31Z")), None);
    }
}

#[test]
fn times_of_other_systems_are_shifted() {
    for (system, ahead_ns) in
        [("TAI", 37_000_000_000i64), ("TT", 69_184_000_000), ("GPS", 18_000_000_000)]
    {
        let text = KVN.replace("TIME_SYSTEM = UTC", &format!("TIME_SYSTEM = {system}"));
        let (from, _) = read(&text).unwrap()[0].interval().unwrap();
        assert_eq!(at("2026-11-23T00:00:30Z").since(from), ahead_ns, "{system}");
    }
}

#[test]
fn segments_of_one_object_are_its_arcs() {
    let second = &KVN[KVN.find("META_START").unwrap()..];
    let later = second.replace("00:0", "01:0");
    let other = second.replace("SKY-7", "SKY-8").replace("900A", "900B");
    let objects = read(&format!("{KVN}{later}{other}")).unwrap();
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0].arcs().len(), 2);
    assert!(objects[0].at(at("2026-11-23T01:01:00Z")).is_some());
    assert_eq!(objects[0].at(at("2026-11-23T00:30:00Z")), None, "a gap is a gap");
}

#[test]
fn nothing_is_told_over_states_that_are_missing() {
    let states = |minutes: std::ops::Range<i64>| {
        minutes.map(|at| {
            format!("2026-11-23T0{}:{:02}:00 7000.0 {} 0 0 1.0 0\n", at / 60, at % 60, 60 * at)
        })
    };
    let head = KVN.split("COMMENT").next().unwrap().replace("USEABLE", "COMMENT USEABLE");
    let holed: String = states(0..20).chain(states(200..220)).collect();
    let [ephemeris] = &read(&format!("{head}{holed}")).unwrap()[..] else { panic!("one object") };
    let hole = (at("2026-11-23T00:19:00Z"), at("2026-11-23T03:20:00Z"));
    assert_eq!(ephemeris.gaps(), [hole]);
    assert!(ephemeris.at(hole.0).is_some() && ephemeris.at(hole.1).is_some());
    assert_eq!(ephemeris.at(hole.0.plus(1)), None);
    // Steps that grow are no holes.
    let grown: String = (0..8).map(|at| 3 * (1 << at)).flat_map(|at| states(at..at + 1)).collect();
    assert_eq!(read(&format!("{head}{grown}")).unwrap()[0].gaps(), []);
}

#[test]
fn what_would_be_misread_is_refused_with_its_line() {
    for (from, to, line, words) in [
        ("ITRF2014", "TOD", 8, "REF_FRAME is TOD: TEME, EME2000"),
        ("= EARTH", "= MOON", 7, "CENTER_NAME is MOON"),
        ("= UTC", "= TDB", 9, "TIME_SYSTEM is TDB"),
        ("HERMITE", "SPLINE", 14, "INTERPOLATION is SPLINE"),
        ("DEGREE = 3", "DEGREE = 99", 15, "INTERPOLATION_DEGREE is 99: 1 to 25"),
        ("DEGREE = 3", "DEGREE = 9", 4, "4 states, and interpolation of degree 9 needs 5"),
        ("REF_FRAME = ITRF2014\n", "", 4, "REF_FRAME is missing"),
        ("META_STOP\n", "", 17, "is no KEYWORD = VALUE"),
        ("7000.0 60 0", "7000.0 sixty 0", 19, "Y is 'sixty'"),
        ("7000.0 60 0", "7000.0 0", 19, "9 fields; expected"),
        ("T00:02:00 7000", "T00:00:30 7000", 20, "not after the one before"),
        ("T00:02:00 7000", "T99:00:30 7000", 20, "is no time"),
        ("2026-327T", "2026-328T", 4, "leave no states"),
        ("COVARIANCE_STOP\n", "", 25, "ends before COVARIANCE_STOP"),
        ("1.0 0 0 0 0", "NaN 0 0 0 0", 19, "Y_DOT is 'NaN'"),
    ] {
        let error = read(&KVN.replacen(from, to, 1)).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.line, line, "{error}");
    }
    let text = xml();
    for (from, to, line, words) in [
        ("ITRF2014", "MARS", 9, "REF_FRAME is MARS"),
        ("units=\"km\"", "units=\"m\"", 19, "X is in m: km is read"),
        ("<Z>0</Z>", "", 19, "Z is missing"),
        ("</data>", "", 23, "segment"),
    ] {
        let error = read(&text.replacen(from, to, 1)).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.line, line, "{error}");
    }
    assert!(read("CCSDS_OEM_VERS = 3.0\n").unwrap_err().to_string().contains("no segment"));
}

proptest! {
    #[test]
    fn nothing_panics(
        form in any::<bool>(),
        place in any::<prop::sample::Index>(),
        length in 0usize..20,
        put in ".{0,12}",
    ) {
        let text = if form { KVN.to_owned() } else { xml() };
        let start = place.index(text.len());
        let end = (start + length).min(text.len());
        let text = format!("{}{put}{}", &text[..start], &text[end..]);
        if let Ok(objects) = read(&text) {
            for object in objects {
                let (from, to) = object.interval().unwrap();
                prop_assert!(object.at(from).is_some() && from <= to);
            }
        }
    }
}
