//! Attenuation by the air against the validation tables of ITU-R, where the recordings are.

mod data;

use sims::link::weather::{
    cloud,
    gas::Air,
    path::Losses,
    rain::{RainPath, SpecificAttenuation},
    scintillation::Scintillation,
    slant,
};

/// A table's rows of numbers under its two lines of names and units, or a printed reason to skip.
fn table(name: &str) -> Option<Vec<Vec<f64>>> {
    let path = data::orbit(&format!("itu-r/{name}"))?;
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // Degree signs stand in Latin-1 in some of them.
    let text = String::from_utf8_lossy(&bytes);
    let numbers = |line: &str| line.split(',').map(|field| field.trim().parse().ok()).collect();
    let rows: Vec<Vec<f64>> = text.lines().filter_map(numbers).collect();
    assert!(rows.len() >= 8, "{} rows in {name}", rows.len());
    Some(rows)
}

#[test]
fn rain_takes_a_kilometre_what_the_table_says() {
    let Some(rows) = table("838/ITURP838-3_rain_specific_attenuation.csv") else { return };
    let mut worst = 0.0f64;
    for row in &rows {
        let [elevation, frequency, rain, tilt, k, alpha, gamma] = row[..] else {
            panic!("{row:?}")
        };
        let ours = SpecificAttenuation::new(frequency, elevation, tilt);
        assert!((ours.k - k).abs() < 1e-6 && (ours.alpha - alpha).abs() < 1e-6, "{row:?} {ours:?}");
        worst = worst.max((ours.db_km(rain) - gamma).abs());
    }
    println!("{} rows, worst {worst:.1e} dB/km", rows.len());
    assert!(worst < 1e-6);
}

#[test]
fn rain_on_a_slant_path_takes_what_the_table_says() {
    let Some(rows) = table("618/ITURP618-14_A_rain.csv") else { return };
    let mut worst = 0.0f64;
    for row in &rows {
        let (latitude_deg, station_km) = (row[0], row[2]);
        let (frequency_ghz, elevation_deg, tilt_deg, percent) = (row[3], row[4], row[5], row[6]);
        // The table gives the slant path in rain instead of the height up to which it rains.
        let rain_height_km = station_km + row[9] * elevation_deg.to_radians().sin();
        let path = RainPath {
            frequency_ghz,
            elevation_deg,
            tilt_deg,
            latitude_deg,
            station_km,
            rain_height_km,
            rain_001_mm_h: row[8],
        };
        worst = worst.max((path.exceeded_db(percent) - row[14]).abs());
    }
    println!("{} rows, worst {worst:.1e} dB", rows.len());
    assert!(worst < 1e-3);
}

#[test]
fn scintillation_fades_as_the_table_says() {
    let Some(rows) = table("618/ITURP618-14_A_sci.csv") else { return };
    // That table leaves out how wet the air is; the one of rain has it by place. (Its own column of
    // scintillation is for 20 GHz where the row says 29.)
    let wet = table("618/ITURP618-14_A_rain.csv").unwrap();
    let mut worst = 0.0f64;
    for row in &rows {
        let [latitude, longitude, frequency_ghz, elevation_deg, percent, antenna_m, efficiency, db] =
            row[..]
        else {
            panic!("{row:?}")
        };
        let place = wet.iter().find(|of| of[0] == latitude && of[1] == longitude).unwrap();
        let wet_refractivity = place[13];
        let fade =
            Scintillation { frequency_ghz, elevation_deg, antenna_m, efficiency, wet_refractivity };
        worst = worst.max((fade.exceeded_db(percent) - db).abs());
    }
    println!("{} rows, worst {worst:.1e} dB", rows.len());
    assert!(worst < 1e-3);
}

#[test]
fn gases_take_a_kilometre_what_the_table_says() {
    let Some(rows) = table("676/ITURP676-13_gamma.csv") else { return };
    let mut worst = 0.0f64;
    for row in &rows {
        let [frequency, pressure, temperature_k, vapour_g_m3, oxygen, vapour, all] = row[..] else {
            panic!("{row:?}")
        };
        // The table's pressure is that of the dry part.
        let air = Air { dry_hpa: pressure, temperature_k, vapour_g_m3 };
        let ours = (air.oxygen_db_km(frequency), air.vapour_db_km(frequency));
        worst = worst.max((ours.0 - oxygen).abs()).max((ours.1 - vapour).abs());
        worst = worst.max((ours.0 + ours.1 - all).abs());
    }
    println!("{} rows, worst {worst:.1e} dB/km", rows.len());
    assert!(worst < 1e-6);
}

#[test]
fn gases_take_from_a_slant_path_what_the_table_says() {
    let Some(rows) = table("676/ITURP676-13_A_gas.csv") else { return };
    let mut worst = 0.0f64;
    for row in &rows {
        let [frequency, elevation, vapour_g_m3, dry_hpa, temperature_k, db] = row[..] else {
            panic!("{row:?}")
        };
        let (oxygen, vapour) =
            slant::zenith_db(frequency, &Air { dry_hpa, temperature_k, vapour_g_m3 });
        worst = worst.max(((oxygen + vapour) / elevation.to_radians().sin() - db).abs());
    }
    println!("{} rows, worst {worst:.1e} dB", rows.len());
    assert!(worst < 1e-3);
}

#[test]
fn clouds_take_what_the_tables_say() {
    let Some(water) = table("840/ITURP840-9_columnar_content_reduced_liquid.csv") else { return };
    let losses = table("840/ITURP840-9_cloud_attenuation.csv").unwrap();
    let (mut worst, mut held) = (0.0f64, 0);
    for row in &losses {
        let [latitude, longitude, frequency, elevation, percent, db] = row[..] else {
            panic!("{row:?}")
        };
        // The two tables agree on places; not every place has its water told.
        let Some(column) = water.iter().find(|of| of[..3] == [latitude, longitude, percent]) else {
            continue;
        };
        held += 1;
        worst = worst.max((cloud::attenuation_db(frequency, elevation, column[3]) - db).abs());
    }
    println!("{held} rows, worst {worst:.1e} dB");
    assert!(held >= 16 && worst < 1e-3);
}

#[test]
fn everything_together_takes_what_the_table_says() {
    let Some(rows) = table("618/ITURP618-13_A_total.csv") else { return };
    let mut worst = 0.0f64;
    for row in &rows {
        let losses = Losses {
            gas_db: row[10],
            cloud_db: row[12],
            rain_db: row[13],
            scintillation_db: row[14],
            at_random: true,
        };
        worst = worst.max((losses.total_db() - row[15]).abs());
    }
    println!("{} rows, worst {worst:.1e} dB", rows.len());
    assert!(worst < 1e-3);
}
