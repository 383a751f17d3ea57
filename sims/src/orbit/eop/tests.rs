use super::*;
use proptest::prelude::*;

/// Days around the last leap second, as Bulletin A has them.
const FIXED: &str = "\
161230 57752.00 I  0.082883 0.000052  0.263539 0.000038  I-0.4069180 0.0000079  0.8286 0.0056 
161231 57753.00 I  0.081400 0.000052  0.263094 0.000039  I-0.4077601 0.0000078  0.8842 0.0055 
17 1 1 57754.00 I  0.080504 0.000028  0.263145 0.000028  I 0.5912821 0.0000077  1.0342 0.0050 
17 1 2 57755.00 P  0.080285 0.000029  0.263605 0.000032  P 0.5901752 0.0000063  1.1730 0.0048 
17 1 3 57756.00                                                                               
";
const C04: &str = "# EARTH ORIENTATION PARAMETERS
# YR  MM  DD  HH       MJD        x(\")        y(\")  UT1-UTC(s)
2016  12  30   0  57752.00    0.082941    0.263562  -0.4069114    0.000052
2016  12  31   0  57753.00    0.081440    0.263099  -0.4077697    0.000106
2017   1   1   0  57754.00    0.080549    0.263128   0.5912870    0.000120
2017   1   2   0  57755.00    0.080338    0.263580   0.5902172    0.000107
";
const OLD_C04: &str = "\
2016  12  30  57752   0.082941   0.263562  -0.4069114   0.0008362
2016  12  31  57753   0.081440   0.263099  -0.4077697   0.0008920
2017   1   1  57754   0.080549   0.263128   0.5912870   0.0009962
2017   1   2  57755   0.080338   0.263580   0.5902172   0.0011525
";
const SEMICOLONS: &str = "\
MJD;Year;Month;Day;Type;x_pole;sigma_x_pole;y_pole;sigma_y_pole;Type;UT1-UTC;sigma_UT1-UTC
57752;2016;12;30;final;0.082883;0.000052;0.263539;0.000038;final;-0.4069180;0.0000079
57753;2016;12;31;final;0.081400;0.000052;0.263094;0.000039;final;-0.4077601;0.0000078
57754;2017;01;01;final;0.080504;0.000028;0.263145;0.000028;final;0.5912821;0.0000077
57755;2017;01;02;prediction;0.080285;0.000029;0.263605;0.000032;prediction;0.5901752;0.0000063
57756;2017;01;03;;;;;;;;
";
const COMMAS: &str = "\
DATE,MJD,X,Y,UT1-UTC,LOD,DPSI,DEPS,DX,DY,DAT,DATA_TYPE
2016-12-30,57752,0.082883,0.263539,-0.4069180,0.0008,0,0,0,0,36,O
2016-12-31,57753,0.081400,0.263094,-0.4077601,0.0008,0,0,0,0,36,O
2017-01-01,57754,0.080504,0.263145,0.5912821,0.0010,0,0,0,0,37,O
2017-01-02,57755,0.080285,0.263605,0.5901752,0.0011,0,0,0,0,37,P
";

fn at(text: &str) -> Tai {
    Tai::from_rfc3339(text).unwrap()
}

#[test]
fn every_form_says_the_same() {
    for text in [FIXED, C04, OLD_C04, SEMICOLONS, COMMAS] {
        let table = EarthOrientation::parse(text).unwrap();
        assert_eq!(table.span_mjd(), (57_752, 57_755), "{text}");
        let noon = table.at(at("2016-12-31T12:00:00Z")).unwrap();
        // The leap second steps UTC at the end of that day, not the earth.
        assert!((noon.ut1_minus_utc_s - -0.40824).abs() < 5e-5, "{noon:?}");
        assert!((noon.pole_x_arcsec - 0.0809).abs() < 2e-4 && noon.pole_y_arcsec > 0.262);
        let midnight = table.at(at("2017-01-01T00:00:00Z")).unwrap();
        assert!((midnight.ut1_minus_utc_s - 0.59128).abs() < 1e-5);
        let edge = table.at(at("2017-01-01T12:00:00Z")).unwrap();
        assert!((edge.ut1_minus_utc_s - 0.59073).abs() < 5e-5, "a straight line: {edge:?}");
        assert_eq!(table.at(at("2016-12-29T23:59:59Z")), None);
        assert_eq!(table.at(at("2017-01-02T00:00:01Z")), None);
    }
    let predicted = |text| EarthOrientation::parse(text).unwrap().predicted_from_mjd();
    assert_eq!([FIXED, SEMICOLONS, COMMAS].map(predicted), [Some(57_755); 3]);
    assert_eq!(predicted(C04), None);
}

/// Rows as they are in the files: a month of two digits, and steps of UTC in the sixties.
#[test]
fn old_rows_are_read() {
    let finals = "\
73 930 41955.00 I  0.154000 0.010000  0.320000 0.010000  I 0.1350000 0.0002000  2.5 0.1
7310 1 41956.00 I  0.153000 0.010000  0.321000 0.010000  I 0.1320000 0.0002000  2.5 0.1
";
    assert_eq!(EarthOrientation::parse(finals).unwrap().span_mjd(), (41_955, 41_956));
    let c04 = "\
1963  10  31   0  38333.00    0.1  0.2  -0.0700000  0
1963  11   1   0  38334.00    0.1  0.2   0.0280000  0
";
    assert_eq!(EarthOrientation::parse(c04).unwrap().span_mjd(), (38_333, 38_334));
}

#[test]
fn what_is_no_table_is_refused_with_its_line() {
    for (text, words) in [
        ("", "no table of earth orientation"),
        (&FIXED[..95], "no table of earth orientation"),
        ("hello\n", "line 1: neither"),
        (&FIXED.replace("57754.00", "57755.00"), "line 3: MJD 57755 does not follow 57753"),
        (&FIXED.replace("57754.00", "57754.50"), "line 3: MJD is 57754.5"),
        (&FIXED.replace("0.5912821", "0.59x2821"), "line 3: UT1-UTC (columns 59 to 68)"),
        (&C04.replace("0.5912870", "591.2870"), "line 5: UT1-UTC is 591.287: within 60 of 0"),
        (&C04.replace("0.081440", "NaN"), "line 4: the pole's x is 'NaN'"),
        (&SEMICOLONS.replace("0.5912821;", ""), "line 4: UT1-UTC jumps by 0.4078 s"),
        (&COMMAS.replace("57753,", ""), "line 3: MJD is 0.0814"),
    ] {
        let error = EarthOrientation::parse(text).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(words), "{error} of {text}");
    }
}

proptest! {
    #[test]
    fn nothing_panics(
        form in 0usize..5,
        place in any::<prop::sample::Index>(),
        length in 0usize..9,
        put in "[ -9;,.A-Z\n]{0,9}",
    ) {
        let text = [FIXED, C04, OLD_C04, SEMICOLONS, COMMAS][form];
        let start = place.index(text.len());
        let end = (start + length).min(text.len());
        let text = format!("{}{put}{}", &text[..start], &text[end..]);
        if let Ok(table) = EarthOrientation::parse(&text) {
            let (first, last) = table.span_mjd();
            prop_assert!(first < last);
        }
    }
}
