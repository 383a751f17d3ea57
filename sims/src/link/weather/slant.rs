//! What gases take from a path through the whole atmosphere (ITU-R P.676-13).

use super::atmosphere;
use super::gas::Air;
use super::oxygen::{FIRST_GHZ, OXYGEN_HEIGHT, STEP_GHZ};

/// Frequencies that the equivalent heights are known for, GHz.
pub const FREQUENCIES_GHZ: std::ops::RangeInclusive<f64> = 1.0..=100.0;

/// What oxygen and water vapour take straight up, dB, by equivalent heights (annex 2 §2.1); air at
/// the station.
pub fn zenith_db(frequency_ghz: f64, air: &Air) -> (f64, f64) {
    let oxygen = air.oxygen_db_km(frequency_ghz) * oxygen_height_km(frequency_ghz, air);
    let vapour = air.vapour_db_km(frequency_ghz) * vapour_height_km(frequency_ghz);
    (oxygen, vapour)
}

/// Equivalent height of oxygen (annex 2 equation 31), straight between the rows of its table.
pub fn oxygen_height_km(frequency_ghz: f64, air: &Air) -> f64 {
    let last = OXYGEN_HEIGHT.len() - 1;
    let at = ((frequency_ghz - FIRST_GHZ) / STEP_GHZ).clamp(0.0, last as f64);
    let row = (at as usize).min(last - 1);
    let part = at - row as f64;
    let pressure = air.dry_hpa + air.vapour_hpa();
    let height =
        |[a, b, c, d]: &[f64; 4]| a + b * air.temperature_k + c * pressure + d * air.vapour_g_m3;
    height(&OXYGEN_HEIGHT[row]) * (1.0 - part) + height(&OXYGEN_HEIGHT[row + 1]) * part
}

/// Equivalent height of water vapour (annex 2 equation 37).
pub fn vapour_height_km(frequency_ghz: f64) -> f64 {
    /// Table 4: line in GHz, its height times GHz², its width in GHz².
    const LINES: [[f64; 3]; 3] = [
        [22.235_080, 2.684_6, 2.764_9],
        [183.310_087, 5.890_5, 4.921_9],
        [325.152_888, 2.981_0, 3.074_8],
    ];
    let lines = LINES.iter().map(|[line, a, b]| a / ((frequency_ghz - line).powi(2) + b));
    5.658_5e-5 * frequency_ghz + 1.834_8 + lines.sum::<f64>()
}

/// What gases take on a path to space, layer by layer through the mean atmosphere over a station,
/// bent as it goes (annex 1 §2.2.1). For any elevation from the horizon up.
pub fn through_layers_db(
    frequency_ghz: f64,
    elevation_deg: f64,
    station_km: f64,
    vapour_g_m3: f64,
) -> f64 {
    const EARTH_KM: f64 = 6_371.0;
    /// Layers of the recommendation, from 10 cm to 1 km, up to 100 km.
    const LAYERS: i32 = 922;
    let mut sum = 0.0;
    let mut height = station_km;
    // Angle against the vertical.
    let mut fall = (90.0 - elevation_deg).to_radians();
    let mut bend = None;
    for layer in 0..LAYERS {
        let thick = 1e-4 * (f64::from(layer) / 100.0).exp();
        let air = atmosphere::over((height + thick / 2.0).min(100.0), station_km, vapour_g_m3);
        let index =
            atmosphere::refraction(&atmosphere::over(height.min(100.0), station_km, vapour_g_m3));
        let radius = EARTH_KM + height;
        if let Some((before, angle)) = bend {
            let sine: f64 = before / index * angle;
            fall = sine.clamp(-1.0, 1.0).asin();
        }
        let (sin, cos) = fall.sin_cos();
        let path = -radius * cos
            + (radius * radius * cos * cos + 2.0 * radius * thick + thick * thick).sqrt();
        sum += path * (air.oxygen_db_km(frequency_ghz) + air.vapour_db_km(frequency_ghz));
        bend = Some((index, radius / (radius + thick) * sin));
        height += thick;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_take_what_the_worked_example_says() {
        // ITU-R Study Group 3, validation examples revision 8.3, P.676-13 annex 1: 28 GHz at 30
        // degrees over the sea.
        let ours = through_layers_db(28.0, 30.0, 0.0, 7.5);
        assert!((ours - 0.470_811_734_728_704_74).abs() < 1e-3, "{ours}");
    }

    #[test]
    fn equivalent_heights_agree_with_the_layers() {
        // Two methods of one recommendation, in the windows where links are; the second is a fit to
        // real profiles, so a tenth of a decibel at the zenith is more than they may differ.
        for frequency_ghz in [2.2, 8.2, 12.0, 20.0, 26.0, 38.0] {
            let (oxygen, vapour) = zenith_db(frequency_ghz, &atmosphere::mean(0.0));
            let layers = through_layers_db(frequency_ghz, 90.0, 0.0, 7.5);
            let off = (oxygen + vapour - layers).abs();
            assert!(off < 0.02, "{frequency_ghz}: {} {layers}", oxygen + vapour);
        }
    }

    #[test]
    fn a_low_path_takes_more_but_not_without_end() {
        let of = |elevation| through_layers_db(8.2, elevation, 0.0, 7.5);
        assert!(of(0.0) > of(2.0) && of(2.0) > of(10.0) && of(0.0) < 5.0);
        // At 10 degrees the bent path is nearly that over a flat earth.
        assert!((of(10.0) * 10f64.to_radians().sin() / of(90.0) - 1.0).abs() < 0.03);
        assert!(through_layers_db(8.2, 10.0, 3.0, 2.0) < of(10.0));
    }
}
