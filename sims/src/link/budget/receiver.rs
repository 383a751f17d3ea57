//! The receiving end: gain over noise, and how the noise follows the sky.

use crate::link::antenna::{Dish, Polarisation, decibels, ratio};

/// Temperature of absorbing air, K, and of the sky behind it (P.618-14 §3).
const AIR_K: f64 = 275.0;
const SPACE_K: f64 = 2.7;
/// Temperature at which feeds are (IEEE), K.
const ROOM_K: f64 = 290.0;

/// What a sky that absorbs so much sends into an antenna, K (P.618-14 §3).
pub fn sky_noise_k(absorbed_db: f64) -> f64 {
    let through = ratio(-absorbed_db.max(0.0));
    AIR_K * (1.0 - through) + SPACE_K * through
}

/// How the station's noise is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FrontEnd {
    /// By its parts.
    Parts {
        /// Its dish.
        dish: Dish,
        /// Between the dish and the amplifier, dB.
        feed_loss_db: f64,
        /// The amplifier and all behind it, K.
        receiver_k: f64,
        /// What comes from the ground past the dish, K.
        spillover_k: f64,
    },
    /// As gain over noise, measured under a clear sky straight up.
    Merit {
        /// dB/K.
        g_over_t_db_k: f64,
        /// System noise then, K; without it the noise is taken as constant.
        system_noise_k: Option<f64>,
        /// Dish for what depends on its size: scintillation, pointing.
        dish: Dish,
    },
}

/// A receiving station.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Receiver {
    /// Gain and noise.
    pub front_end: FrontEnd,
    /// How round its feed is.
    pub polarisation: Polarisation,
    /// How well it points, degrees off.
    pub pointing_error_deg: f64,
}

/// Gain over noise at a moment, with its parts where they are known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Merit {
    /// Gain of the dish, dBi.
    pub gain_dbi: Option<f64>,
    /// Loss of the feed, dB.
    pub feed_loss_db: f64,
    /// What the antenna hears, K.
    pub antenna_k: Option<f64>,
    /// All noise at the amplifier's input, K.
    pub system_k: Option<f64>,
    /// dB/K.
    pub g_over_t_db_k: f64,
}

impl Receiver {
    /// The dish.
    pub fn dish(&self) -> Dish {
        match self.front_end {
            FrontEnd::Parts { dish, .. } | FrontEnd::Merit { dish, .. } => dish,
        }
    }

    /// Gain over noise under a sky that absorbs `absorbed_db`; a clear zenith absorbs `zenith_db`.
    pub fn merit(&self, frequency_ghz: f64, absorbed_db: f64, zenith_db: f64) -> Merit {
        match self.front_end {
            FrontEnd::Parts { dish, feed_loss_db, receiver_k, spillover_k } => {
                let antenna_k = sky_noise_k(absorbed_db) + spillover_k;
                let passed = ratio(-feed_loss_db);
                let system_k = antenna_k * passed + ROOM_K * (1.0 - passed) + receiver_k;
                let gain_dbi = dish.gain_dbi(frequency_ghz);
                Merit {
                    gain_dbi: Some(gain_dbi),
                    feed_loss_db,
                    antenna_k: Some(antenna_k),
                    system_k: Some(system_k),
                    g_over_t_db_k: gain_dbi - feed_loss_db - decibels(system_k),
                }
            }
            FrontEnd::Merit { g_over_t_db_k, system_noise_k, .. } => {
                let rise_k = sky_noise_k(absorbed_db) - sky_noise_k(zenith_db);
                let system_k = system_noise_k.map(|quiet| (quiet + rise_k).max(quiet * 0.5));
                let worse =
                    system_noise_k.zip(system_k).map_or(0.0, |(quiet, now)| decibels(now / quiet));
                Merit {
                    gain_dbi: None,
                    feed_loss_db: 0.0,
                    antenna_k: None,
                    system_k,
                    g_over_t_db_k: g_over_t_db_k - worse,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISH: Dish = Dish { diameter_m: 3.7, efficiency: 0.55 };

    #[test]
    fn noise_of_a_lossy_feed_is_the_textbooks() {
        let front_end =
            FrontEnd::Parts { dish: DISH, feed_loss_db: 0.5, receiver_k: 60.0, spillover_k: 12.0 };
        let polarisation = Polarisation::Circular { axial_ratio_db: 0.0 };
        let receiver = Receiver { front_end, polarisation, pointing_error_deg: 0.0 };
        // 1 dB of absorption: 275 (1 - 0.79433) + 2.7 x 0.79433 = 58.704 K.
        let merit = receiver.merit(8.2, 1.0, 0.1);
        assert!((merit.antenna_k.unwrap() - (58.704 + 12.0)).abs() < 1e-3);
        // 70.704 x 0.89125 + 290 x 0.10875 + 60 = 154.552 K.
        assert!((merit.system_k.unwrap() - 154.552).abs() < 2e-3, "{merit:?}");
        let expected = DISH.gain_dbi(8.2) - 0.5 - 10.0 * 154.552f64.log10();
        assert!((merit.g_over_t_db_k - expected).abs() < 1e-4);
        assert!(receiver.merit(8.2, 10.0, 0.1).g_over_t_db_k < merit.g_over_t_db_k - 2.0);
    }

    #[test]
    fn a_stated_merit_falls_only_where_its_noise_is_known() {
        let of = |system_noise_k, absorbed| {
            let front_end = FrontEnd::Merit { g_over_t_db_k: 30.0, system_noise_k, dish: DISH };
            let polarisation = Polarisation::Circular { axial_ratio_db: 0.0 };
            let receiver = Receiver { front_end, polarisation, pointing_error_deg: 0.0 };
            receiver.merit(26.0, absorbed, 0.3).g_over_t_db_k
        };
        assert_eq!(of(None, 10.0), 30.0);
        assert!((of(Some(150.0), 0.3) - 30.0).abs() < 1e-12);
        assert!(of(Some(150.0), 10.0) < 27.0);
    }

    #[test]
    fn an_opaque_sky_is_as_warm_as_the_air() {
        assert!((sky_noise_k(0.0) - 2.7).abs() < 1e-12);
        assert!((sky_noise_k(60.0) - 275.0).abs() < 1e-3);
    }
}
