//! The budget of a link: from the power of a satellite to Es/N0 at a station, line by line.
//!
//! ```text
//! power ─ feed + antenna ─ pointing = EIRP
//! EIRP ─ free space ─ polarisation ─ air (weather) + G/T ─ k = C/N0
//! C/N0 ─ symbol rate ─ implementation = Es/N0 ─► margin of each MODCOD
//! ```

pub mod transmitter;
pub mod receiver;
pub mod flux;
pub mod explain;
pub mod availability;
pub mod pass;
pub mod file;

use self::flux::FluxLimit;
use self::receiver::{Merit, Receiver};
use self::transmitter::{Power, Towards, Transmitter};
use super::antenna::{decibels, free_space_db};
use super::weather::path::{AirPath, Losses, Sky};

/// Boltzmann's constant, dBW/K/Hz (1.380649e-23 J/K, exact).
pub const BOLTZMANN_DBW: f64 = -228.599_167_173;

/// How symbols are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Signal {
    /// Symbols a second.
    pub symbol_rate_baud: f64,
    /// Excess of the spectrum over the symbol rate, 0 to 1.
    pub roll_off: f64,
    /// What real modems lose against the theory, dB.
    pub implementation_db: f64,
    /// Whether the frames have pilots (DVB-S2): they cost rate, not energy.
    pub pilots: bool,
}

/// A link from a satellite to a station.
#[derive(Clone, Debug)]
pub struct Link {
    /// The sending end.
    pub transmitter: Transmitter,
    /// The receiving end.
    pub receiver: Receiver,
    /// The air between.
    pub air: AirPath,
    /// The symbols.
    pub signal: Signal,
    /// Limit on the flux at the ground, where there is one.
    pub flux_limit: Option<FluxLimit>,
}

/// The budget of one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Elevation of the satellite, degrees.
    pub elevation_deg: f64,
    /// Its distance, km.
    pub range_km: f64,
    /// Power at the amplifier and loss of the feed, where they are known, dBW and dB.
    pub power_feed: Option<(f64, f64)>,
    /// The satellite's antenna, where it is known.
    pub towards: Option<Towards>,
    /// dBW.
    pub eirp_dbw: f64,
    /// dB.
    pub free_space_db: f64,
    /// dB.
    pub polarisation_db: f64,
    /// What the air takes.
    pub losses: Losses,
    /// What the station's own pointing costs, dB.
    pub pointing_db: f64,
    /// Gain over noise.
    pub merit: Merit,
    /// dBHz.
    pub c_n0_dbhz: f64,
    /// Es/N0 as a demodulator sees it, implementation loss taken off, dB.
    pub es_n0_db: f64,
    /// Flux at the ground under free space, dBW/m², its limit there, and the width in Hz.
    pub flux: Option<(f64, f64, f64)>,
}

impl Link {
    /// Reckons one moment.
    pub fn budget(&self, elevation_deg: f64, range_km: f64, sky: Sky) -> Budget {
        let frequency_ghz = self.transmitter.frequency_ghz;
        let (eirp_dbw, power_feed, towards) = self.eirp(elevation_deg, range_km);
        let losses = self.air.losses(elevation_deg, sky);
        let zenith = self.air.zenith_db();
        let merit = self.receiver.merit(frequency_ghz, losses.absorbed_db(), zenith.0 + zenith.1);
        let free_space_db = free_space_db(frequency_ghz, range_km);
        let polarisation_db = self.transmitter.polarisation.loss_db(&self.receiver.polarisation);
        let dish = self.receiver.dish();
        let pointing_db = dish.pointing_db(frequency_ghz, self.receiver.pointing_error_deg);
        let received_dbw =
            eirp_dbw - free_space_db - polarisation_db - losses.total_db() - pointing_db;
        let c_n0_dbhz = received_dbw + merit.g_over_t_db_k - BOLTZMANN_DBW;
        let symbols = decibels(self.signal.symbol_rate_baud);
        let flux = self.flux_limit.map(|limit| {
            let rate = self.signal.symbol_rate_baud;
            let flux = flux::flux_dbw_m2(eirp_dbw, range_km, rate, limit.reference_hz);
            (flux, limit.at_dbw_m2(elevation_deg), limit.reference_hz)
        });
        Budget {
            elevation_deg,
            range_km,
            power_feed,
            towards,
            eirp_dbw,
            free_space_db,
            polarisation_db,
            losses,
            pointing_db,
            merit,
            c_n0_dbhz,
            es_n0_db: c_n0_dbhz - symbols - self.signal.implementation_db,
            flux,
        }
    }

    fn eirp(
        &self,
        elevation_deg: f64,
        range_km: f64,
    ) -> (f64, Option<(f64, f64)>, Option<Towards>) {
        match &self.transmitter.power {
            Power::Eirp(dbw) => (*dbw, None, None),
            Power::Parts { power_dbw, feed_loss_db, antenna } => {
                let frequency_ghz = self.transmitter.frequency_ghz;
                let towards = antenna.towards(frequency_ghz, elevation_deg, range_km);
                let eirp = power_dbw - feed_loss_db + towards.gain_dbi - towards.pointing_db;
                (eirp, Some((*power_dbw, *feed_loss_db)), Some(towards))
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::receiver::FrontEnd;
    use super::transmitter::Antenna;
    use super::*;
    use crate::link::antenna::{Dish, Polarisation};
    use crate::link::weather::climate::{Climate, Stated};
    use crate::link::weather::path::Beam;

    /// An earth observer's X band: 2 W, a small horn, a 5 m dish.
    pub fn x_band() -> Link {
        let dish = Dish { diameter_m: 5.0, efficiency: 0.6 };
        let beam = Beam { frequency_ghz: 8.2, tilt_deg: 45.0, antenna_m: 5.0, efficiency: 0.6 };
        let circle = Polarisation::Circular { axial_ratio_db: 1.0 };
        Link {
            transmitter: Transmitter {
                frequency_ghz: 8.2,
                power: Power::Parts {
                    power_dbw: 3.0103,
                    feed_loss_db: 1.0,
                    antenna: Antenna::Gain(12.0, 0.5),
                },
                polarisation: circle,
            },
            receiver: Receiver {
                front_end: FrontEnd::Parts {
                    dish,
                    feed_loss_db: 0.3,
                    receiver_k: 70.0,
                    spillover_k: 10.0,
                },
                polarisation: circle,
                pointing_error_deg: 0.05,
            },
            air: AirPath::new(Climate::new(48.0, 0.6, Stated::default()), beam),
            signal: Signal {
                symbol_rate_baud: 50e6,
                roll_off: 0.25,
                implementation_db: 1.0,
                pilots: true,
            },
            flux_limit: FluxLimit::of_band(8.2),
        }
    }

    #[test]
    fn a_budget_is_the_sum_by_hand() {
        let budget = x_band().budget(10.0, 1_815.0, Sky::Clear);
        assert!((budget.eirp_dbw - 13.510_3).abs() < 1e-9);
        // 92.447783 + 20 log 8.2 + 20 log 1815.
        assert!((budget.free_space_db - 175.901_6).abs() < 1e-4, "{}", budget.free_space_db);
        let received = budget.eirp_dbw
            - budget.free_space_db
            - budget.polarisation_db
            - budget.losses.gas_db
            - budget.pointing_db;
        let c_n0 = received + budget.merit.g_over_t_db_k + 228.599_167_173;
        assert!((budget.c_n0_dbhz - c_n0).abs() < 1e-9);
        assert!((budget.es_n0_db - (c_n0 - 76.989_7 - 1.0)).abs() < 1e-4);
        // A watt over a 50 MHz carrier is far below the limit in 4 kHz.
        let (flux, limit, _) = budget.flux.unwrap();
        assert!(flux < limit, "{flux} {limit}");
    }

    #[test]
    fn constants_are_those_of_the_si() {
        assert!((BOLTZMANN_DBW - decibels(1.380_649e-23)).abs() < 1e-7);
    }

    #[test]
    fn worse_skies_lose_twice_by_loss_and_by_noise() {
        let link = x_band();
        let clear = link.budget(10.0, 1_815.0, Sky::Clear);
        let wet = link.budget(10.0, 1_815.0, Sky::Exceeded(0.1));
        let lost = wet.losses.total_db() - clear.losses.total_db();
        assert!(lost > 0.5);
        assert!(clear.es_n0_db - wet.es_n0_db > lost + 0.3);
    }
}
