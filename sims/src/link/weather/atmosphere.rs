//! The air over a mean place: temperature, pressure and water vapour by height (ITU-R P.835-6
//! annex 1), and how it bends waves (P.453-14).

use super::gas::Air;

/// Radius of the earth that heights become geopotential with, km.
const POTENTIAL_KM: f64 = 6_356.766;
/// Acceleration of gravity over the gas constant of air, K/km.
const HYDROSTATIC: f64 = 34.1632;
/// Water vapour at sea level, g/m³, and the height over which it falls to 1/e, km.
const VAPOUR_G_M3: f64 = 7.5;
const VAPOUR_KM: f64 = 2.0;

/// Layers up to 85 km: geopotential height of the foot in km, temperature there in K, its change in
/// K/km, pressure there in hPa.
const LAYERS: [[f64; 4]; 7] = [
    [0.0, 288.15, -6.5, 1_013.25],
    [11.0, 216.65, 0.0, 226.322_6],
    [20.0, 216.65, 1.0, 54.749_80],
    [32.0, 228.65, 2.8, 8.680_422],
    [47.0, 270.65, 0.0, 1.109_106],
    [51.0, 270.65, -2.8, 0.669_416_7],
    [71.0, 214.65, -2.0, 0.039_566_49],
];

/// Temperature in K and pressure in hPa at a height of 0 to 100 km above the sea.
pub fn standard(height_km: f64) -> (f64, f64) {
    if height_km > 86.0 {
        return thin(height_km);
    }
    let potential = POTENTIAL_KM * height_km / (POTENTIAL_KM + height_km);
    let at = LAYERS.partition_point(|layer| layer[0] < potential).saturating_sub(1);
    let [foot, kelvin, slope, hpa] = LAYERS[at];
    let temperature = kelvin + slope * (potential - foot);
    let pressure = if slope == 0.0 {
        hpa * (-HYDROSTATIC * (potential - foot) / kelvin).exp()
    } else {
        hpa * (kelvin / temperature).powf(HYDROSTATIC / slope)
    };
    (temperature, pressure)
}

/// Above 86 km, where the table of layers ends.
fn thin(height_km: f64) -> (f64, f64) {
    let h = height_km.min(100.0);
    let temperature = if h <= 91.0 {
        186.867_3
    } else {
        263.190_5 - 76.323_2 * (1.0 - ((h - 91.0) / 19.942_9).powi(2)).sqrt()
    };
    let log =
        95.571_899 + h * (-4.011_801 + h * (6.424_731e-2 + h * (-4.789_660e-4 + h * 1.340_543e-6)));
    (temperature, log.exp())
}

/// Water vapour at a height, g/m³, from what there is at another.
pub fn vapour_g_m3(height_km: f64, from_km: f64, from_g_m3: f64) -> f64 {
    from_g_m3 * (-(height_km - from_km) / VAPOUR_KM).exp()
}

/// The mean air of the whole earth at a height of 0 to 100 km.
pub fn mean(height_km: f64) -> Air {
    over(height_km, 0.0, VAPOUR_G_M3)
}

/// The same with the water vapour of one place.
pub fn over(height_km: f64, from_km: f64, from_g_m3: f64) -> Air {
    let (temperature_k, pressure_hpa) = standard(height_km);
    let vapour_g_m3 = vapour_g_m3(height_km, from_km, from_g_m3);
    Air::with_pressure(pressure_hpa, temperature_k, vapour_g_m3)
}

/// Index of refraction (P.453-14).
pub fn refraction(air: &Air) -> f64 {
    1.0 + 1e-6 * (77.6 * air.dry_hpa / air.temperature_k + wet_refractivity(air))
}

/// Wet part of the refractivity (P.453-14).
pub fn wet_refractivity(air: &Air) -> f64 {
    let (e, t) = (air.vapour_hpa(), air.temperature_k);
    72.0 * e / t + 3.75e5 * e / (t * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_join() {
        for [foot, ..] in &LAYERS[1..] {
            let height = POTENTIAL_KM * foot / (POTENTIAL_KM - foot);
            let (below, above) = (standard(height - 1e-6), standard(height + 1e-6));
            assert!((below.0 - above.0).abs() < 1e-4, "{foot} km: {below:?} {above:?}");
            assert!((below.1 / above.1 - 1.0).abs() < 2e-5, "{foot} km: {below:?} {above:?}");
        }
        assert!((standard(86.0).1 / standard(86.001).1 - 1.0).abs() < 1e-2);
    }

    #[test]
    fn the_sea_is_where_the_standard_puts_it() {
        let air = mean(0.0);
        assert_eq!(air.temperature_k, 288.15);
        assert!((air.dry_hpa + air.vapour_hpa() - 1_013.25).abs() < 1e-9);
        // P.453 takes the sea's mean index as 1.000315.
        assert!((refraction(&air) - 1.000_32).abs() < 1.5e-5, "{}", refraction(&air));
    }
}
