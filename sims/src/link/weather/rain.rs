//! Rain: attenuation a kilometre, and what a slant path loses for a share of an average year.

/// Specific attenuation by rain, `k R^alpha` (ITU-R P.838-3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpecificAttenuation {
    /// dB/km at 1 mm/h.
    pub k: f64,
    /// Exponent of the rain rate.
    pub alpha: f64,
}

/// A sum of bells over the logarithm of the frequency, and a straight line (P.838-3 equations 2, 3).
struct Curve<const N: usize> {
    bells: [[f64; 3]; N],
    slope: f64,
    offset: f64,
}

impl<const N: usize> Curve<N> {
    fn at(&self, log_f: f64) -> f64 {
        let bell = |[a, b, c]: &[f64; 3]| a * (-((log_f - b) / c).powi(2)).exp();
        self.bells.iter().map(bell).sum::<f64>() + self.slope * log_f + self.offset
    }
}

/// P.838-3 table 1.
const K_HORIZONTAL: Curve<4> = Curve {
    bells: [
        [-5.339_80, -0.100_08, 1.130_98],
        [-0.353_51, 1.269_70, 0.454_00],
        [-0.237_89, 0.860_36, 0.153_54],
        [-0.941_58, 0.645_52, 0.168_17],
    ],
    slope: -0.189_61,
    offset: 0.711_47,
};
/// P.838-3 table 2.
const K_VERTICAL: Curve<4> = Curve {
    bells: [
        [-3.805_95, 0.569_34, 0.810_61],
        [-3.449_65, -0.229_11, 0.510_59],
        [-0.399_02, 0.730_42, 0.118_99],
        [0.501_67, 1.073_19, 0.271_95],
    ],
    slope: -0.163_98,
    offset: 0.632_97,
};
/// P.838-3 table 3.
const ALPHA_HORIZONTAL: Curve<5> = Curve {
    bells: [
        [-0.143_18, 1.824_42, -0.551_87],
        [0.295_91, 0.775_64, 0.198_22],
        [0.321_77, 0.637_73, 0.131_64],
        [-5.376_10, -0.962_30, 1.478_28],
        [16.172_1, -3.299_80, 3.439_90],
    ],
    slope: 0.678_49,
    offset: -1.955_37,
};
/// P.838-3 table 4.
const ALPHA_VERTICAL: Curve<5> = Curve {
    bells: [
        [-0.077_71, 2.338_40, -0.762_84],
        [0.567_27, 0.955_45, 0.540_39],
        [-0.202_38, 1.145_20, 0.268_09],
        [-48.299_1, 0.791_669, 0.116_226],
        [48.583_3, 0.791_459, 0.116_479],
    ],
    slope: -0.053_739,
    offset: 0.834_33,
};

impl SpecificAttenuation {
    /// By frequency (1 to 1,000 GHz), elevation of the path, and tilt of the polarisation against
    /// the horizontal: 0 horizontal, 90 vertical, 45 circular.
    pub fn new(frequency_ghz: f64, elevation_deg: f64, tilt_deg: f64) -> Self {
        let log_f = frequency_ghz.log10();
        let (kh, kv) = (10f64.powf(K_HORIZONTAL.at(log_f)), 10f64.powf(K_VERTICAL.at(log_f)));
        let (ah, av) = (ALPHA_HORIZONTAL.at(log_f), ALPHA_VERTICAL.at(log_f));
        let mix = elevation_deg.to_radians().cos().powi(2) * (2.0 * tilt_deg.to_radians()).cos();
        let k = (kh + kv + (kh - kv) * mix) / 2.0;
        Self { k, alpha: (kh * ah + kv * av + (kh * ah - kv * av) * mix) / (2.0 * k) }
    }

    /// dB/km at a rain rate in mm/h.
    pub fn db_km(&self, rain_mm_h: f64) -> f64 {
        self.k * rain_mm_h.powf(self.alpha)
    }
}

/// A path up from the ground through rain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RainPath {
    /// GHz, up to 55.
    pub frequency_ghz: f64,
    /// Degrees.
    pub elevation_deg: f64,
    /// Against the horizontal, degrees; 45 for circular polarisation.
    pub tilt_deg: f64,
    /// Latitude of the station, degrees.
    pub latitude_deg: f64,
    /// Height of the station above the sea, km.
    pub station_km: f64,
    /// Height above the sea up to which it rains, km (P.839).
    pub rain_height_km: f64,
    /// Rain rate that is exceeded for 0.01 % of an average year, mm/h (P.837).
    pub rain_001_mm_h: f64,
}

/// Radius of the earth as radio waves bend over it, km.
const RADIO_EARTH_KM: f64 = 8_500.0;

impl RainPath {
    /// Attenuation that is exceeded for `percent` (0.001 to 5) of an average year, dB (P.618-14
    /// §2.2.1.1).
    pub fn exceeded_db(&self, percent: f64) -> f64 {
        let depth_km = self.rain_height_km - self.station_km;
        if depth_km <= 0.0 || self.rain_001_mm_h <= 0.0 {
            return 0.0;
        }
        let (f, elevation) = (self.frequency_ghz, self.elevation_deg.to_radians());
        let (sin, cos) = elevation.sin_cos();
        let slant_km = if self.elevation_deg >= 5.0 {
            depth_km / sin
        } else {
            2.0 * depth_km / ((sin * sin + 2.0 * depth_km / RADIO_EARTH_KM).sqrt() + sin)
        };
        let ground_km = slant_km * cos;
        let specific = SpecificAttenuation::new(f, self.elevation_deg, self.tilt_deg);
        let gamma = specific.db_km(self.rain_001_mm_h);
        let horizontal = 1.0
            / (1.0 + 0.78 * (ground_km * gamma / f).sqrt()
                - 0.38 * (1.0 - (-2.0 * ground_km).exp()));
        let zeta = depth_km.atan2(ground_km * horizontal);
        let wet_km = if zeta > elevation { ground_km * horizontal / cos } else { depth_km / sin };
        let latitude = self.latitude_deg.abs();
        let chi = (36.0 - latitude).max(0.0);
        let vertical = 1.0
            / (1.0
                + sin.sqrt()
                    * (31.0
                        * (1.0 - (-self.elevation_deg / (1.0 + chi)).exp())
                        * (wet_km * gamma).sqrt()
                        / (f * f)
                        - 0.45));
        let at_001 = gamma * wet_km * vertical;
        let beta = if percent >= 1.0 || latitude >= 36.0 {
            0.0
        } else if self.elevation_deg >= 25.0 {
            -0.005 * (latitude - 36.0)
        } else {
            -0.005 * (latitude - 36.0) + 1.8 - 4.25 * sin
        };
        let exponent =
            0.655 + 0.033 * percent.ln() - 0.045 * at_001.ln() - beta * (1.0 - percent) * sin;
        at_001 * (percent / 0.01).powf(-exponent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attenuation_grows_with_rain_frequency_and_the_share_of_time() {
        let path = RainPath {
            frequency_ghz: 26.0,
            elevation_deg: 20.0,
            tilt_deg: 45.0,
            latitude_deg: 48.0,
            station_km: 0.6,
            rain_height_km: 3.0,
            rain_001_mm_h: 30.0,
        };
        let of = |percent: f64| path.exceeded_db(percent);
        assert!(of(0.01) > of(0.1) && of(0.1) > of(1.0) && of(1.0) > 0.0);
        assert!(RainPath { frequency_ghz: 8.2, ..path }.exceeded_db(0.01) < of(0.01) / 4.0);
        assert!(RainPath { rain_001_mm_h: 60.0, ..path }.exceeded_db(0.01) > of(0.01));
        assert_eq!(RainPath { station_km: 4.0, ..path }.exceeded_db(0.01), 0.0);
        assert_eq!(RainPath { rain_001_mm_h: 0.0, ..path }.exceeded_db(0.01), 0.0);
    }
}
