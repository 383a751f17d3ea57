//! Seeds of orbits: one of each form.

use super::write;

const LINES: &str = "ISS
1 25544U 98067A   24127.82853009  .00015698  00000+0  27310-3 0  9995
2 25544  51.6393 160.4574 0003580 140.6673 205.7250 15.50957674452123
1 08195U 75081A   06176.33215444  .00000099  00000-0  11873-3 0   813
2 08195  64.1586 279.0717 6877146 264.7651  20.2257  2.00491383225656
";

const KEYS: [(&str, &str); 11] = [
    ("OBJECT_NAME", "ISS"),
    ("CENTER_NAME", "EARTH"),
    ("REF_FRAME", "TEME"),
    ("EPOCH", "2024-127T19:53:04.999776"),
    ("MEAN_MOTION", "15.50957674"),
    ("ECCENTRICITY", ".0003580"),
    ("INCLINATION", "51.6393"),
    ("RA_OF_ASC_NODE", "160.4574"),
    ("ARG_OF_PERICENTER", "140.6673"),
    ("MEAN_ANOMALY", "205.7250"),
    ("BSTAR", ".27310E-3"),
];

fn elements() {
    write("elements", "lines", &[], LINES.as_bytes());
    let joined = |part: fn(&(&str, &str)) -> String, with: &str| {
        KEYS.iter().map(part).collect::<Vec<_>>().join(with)
    };
    let notation = joined(|(key, value)| format!("{key} = {value}"), "\n");
    write("elements", "key-value", &[], format!("CCSDS_OMM_VERS = 3.0\n{notation}\n").as_bytes());
    let tags = joined(|(key, value)| format!("<{key}>{value}</{key}>"), "\n");
    write("elements", "xml", &[], format!("<ndm><omm>{tags}</omm></ndm>").as_bytes());
    let pairs = joined(|(key, value)| format!("\"{key}\":\"{value}\""), ",");
    write("elements", "json", &[], format!("[{{{pairs}}}]").as_bytes());
    let rows = [joined(|(key, _)| (*key).into(), ","), joined(|(_, value)| (*value).into(), ",")];
    write("elements", "comma-separated", &[], rows.join("\n").as_bytes());
}

fn ephemerides() {
    let meta = [
        ("OBJECT_NAME", "SKY-7"),
        ("OBJECT_ID", "2026-900A"),
        ("CENTER_NAME", "EARTH"),
        ("REF_FRAME", "EME2000"),
        ("TIME_SYSTEM", "TT"),
        ("INTERPOLATION", "LAGRANGE"),
        ("INTERPOLATION_DEGREE", "2"),
    ];
    let states: Vec<String> =
        (0..4).map(|at| format!("2026-11-23T00:0{at}:00 7000.0 {} 0 0 1.0 0", 60 * at)).collect();
    let keys: String = meta.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    let text = format!(
        "CCSDS_OEM_VERS = 3.0\nMETA_START\n{keys}META_STOP\n{}\nCOVARIANCE_START\n1\n\
         COVARIANCE_STOP\n",
        states.join("\n")
    );
    write("oem", "key-value", &[], text.as_bytes());
    let keys: String = meta.iter().map(|(key, value)| format!("<{key}>{value}</{key}>")).collect();
    let states: String = states
        .iter()
        .map(|row| {
            let names = ["EPOCH", "X", "Y", "Z", "X_DOT", "Y_DOT", "Z_DOT"];
            let parts = names.iter().zip(row.split(' '));
            let parts: String = parts.map(|(name, of)| format!("<{name}>{of}</{name}>")).collect();
            format!("<stateVector>{parts}</stateVector>\n")
        })
        .collect();
    let text = format!(
        "<oem><body><segment><metadata>{keys}</metadata><data>{states}</data></segment></body></oem>"
    );
    write("oem", "xml", &[], text.as_bytes());
}

fn orientation() {
    let days = [
        (57_752, -0.406_918),
        (57_753, -0.407_760_1),
        (57_754, 0.591_282_1),
        (57_755, 0.590_175_2),
    ];
    let fixed: String = days
        .iter()
        .map(|(mjd, ut1)| {
            format!(
                "17 1 1 {mjd}.00 I  0.080504 0.000028  0.263145 0.000028  P{ut1:10.7} 0.0000077\n"
            )
        })
        .collect();
    write("eop", "finals2000A", &[], fixed.as_bytes());
    let c04: String = days
        .iter()
        .map(|(mjd, ut1)| format!("2017 1 1 0 {mjd}.00 0.080 0.263 {ut1} 0\n"))
        .collect();
    write("eop", "c04", &[], format!("# C04\n{c04}").as_bytes());
    let rows: String =
        days.iter().map(|(mjd, ut1)| format!("2017-01-01,{mjd},0.080,0.263,{ut1},P\n")).collect();
    let text = format!("DATE,MJD,X,Y,UT1-UTC,DATA_TYPE\n{rows}");
    write("eop", "comma-separated", &[], text.as_bytes());
}

const NETWORK: &str = r#"[defaults]
rate_bps = 100_000_000
[[station]]
name = "Svalbard"
latitude_deg = 78.23
longitude_deg = 15.40
horizon = [[0, 2], [180, 6]]
[[station.antenna]]
name = "1"
mount = "az-el"
rates_deg_s = [10, 5]
setup_s = 60
spacecraft = ["SKY-7"]
[[spacecraft]]
name = "SKY-7"
value = 3
need_bytes_day = 20_000_000_000
bearer = "rf"
"#;

/// Writes them.
pub fn orbits() {
    elements();
    ephemerides();
    orientation();
    write("network", "small", &[], NETWORK.as_bytes());
}
