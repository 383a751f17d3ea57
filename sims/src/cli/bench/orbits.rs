//! States and contacts a second.
//!
//! The orbits are made here, so that the command runs anywhere: near-circular ones at 500 to 1,200
//! km for the near earth; Molniya, navigation and geostationary ones for the deep. What they are
//! makes little difference; their kind does.

use std::{f64::consts::TAU, hint::black_box};

use codecs::time::Tai;

use super::{
    measure::{Figure, Load, beside},
    peers::{Orbits, Peers},
};
use crate::{
    contact::sweep::{Grid, Track},
    orbit::{
        ElementSet, Station,
        earth::Geodetic,
        fleet::{Fleet, MeanElements, States},
    },
};

const DAY_NS: i64 = 86_400_000_000_000;
const FLEET: usize = 640;
const INSTANTS: u32 = 60;

pub fn measure(load: Load, mut told: impl FnMut(&str)) -> Vec<Figure> {
    told("states of many satellites at one instant");
    let near = constellation(FLEET);
    let mut figures = vec![fleet(load.rounds, "near earth, many satellites", &near)];
    told("states of one satellite at many instants");
    figures.push(track(load.rounds, "near earth, one satellite", &near[..1], 40_000));
    told("states of deep orbits");
    for (name, mean) in deep() {
        let set: Vec<_> = ElementSet::from_mean(name, epoch(), &mean).into_iter().collect();
        figures.push(track(load.rounds, name, &set, 20_000));
    }
    told("a day of contacts");
    figures.push(contacts(load));
    figures
}

fn epoch() -> Tai {
    Tai::from_unix(1_790_000_000, 0)
}

/// Rings of satellites at several heights and inclinations.
fn rings(count: usize) -> Vec<MeanElements> {
    let of = |at: usize| {
        let at = at as f64;
        let height_km = 500.0 + 700.0 * (at * 0.618_034).fract();
        let axis = 1.0 + height_km / 6_378.135;
        MeanElements {
            inclination: 0.7 + 1.0 * (at * 0.754_877).fract(),
            node: TAU * (at * 0.569_840).fract(),
            eccentricity: 0.002 * (at * 0.819_172).fract(),
            argument: TAU * (at * 0.671_043).fract(),
            anomaly: TAU * (at * 0.549_700).fract(),
            motion: 0.074_366_916_133_173_42 / (axis * axis.sqrt()),
            drag: 1e-4,
        }
    };
    (0..count).map(of).collect()
}

fn constellation(count: usize) -> Vec<ElementSet> {
    let rings = rings(count).into_iter();
    rings.filter_map(|mean| ElementSet::from_mean("ring", epoch(), &mean).ok()).collect()
}

/// Latitudes and longitudes of stations all over the earth.
fn places(count: usize) -> Vec<[f64; 2]> {
    let place = |at: usize| {
        let at = at as f64;
        [-80.0 + 160.0 * (at * 0.618_034).fract(), -180.0 + 360.0 * (at * 0.754_877).fract()]
    };
    (0..count).map(place).collect()
}

/// The figures beside peers in Python, and a word for each that is not there.
pub fn beside_python(python: &str, load: Load, ours: &[Figure]) -> (Vec<Figure>, Vec<String>) {
    /// Days from 1949-12-31 to 1970-01-01.
    const UNIX_SINCE_1949_DAYS: f64 = 7_306.0;
    let [(_, half_day), ..] = deep();
    let orbits = Orbits {
        epoch_days: epoch().to_unix_nanos() as f64 / DAY_NS as f64 + UNIX_SINCE_1949_DAYS,
        near: &rings(FLEET),
        deep: &half_day,
        places: &places(load.stations),
    };
    match Peers::measure(python, load, &orbits) {
        Ok(peers) => peers.beside(ours),
        Err(reason) => (Vec::new(), vec![reason]),
    }
}

fn deep() -> [(&'static str, MeanElements); 3] {
    let of = |revolutions: f64, eccentricity, inclination: f64| MeanElements {
        inclination: inclination.to_radians(),
        node: 1.0,
        eccentricity,
        argument: 4.7,
        anomaly: 0.5,
        motion: revolutions * TAU / 1440.0,
        drag: 0.0,
    };
    [
        ("deep, half a day (Molniya)", of(2.005_7, 0.72, 63.4)),
        ("deep, navigation", of(1.7, 0.001, 56.0)),
        ("deep, geostationary", of(1.002_7, 0.000_2, 0.05)),
    ]
}

fn fleet(rounds: usize, name: &'static str, sets: &[ElementSet]) -> Figure {
    let propagators: Vec<_> = sets.iter().map(|set| set.propagator().clone()).collect();
    let mut fleet = Fleet::new(&propagators);
    let mut out = States::default();
    let mut ours = || {
        for instant in 0..10 * INSTANTS {
            let minutes = vec![f64::from(instant); sets.len()];
            fleet.states(&minutes, &mut out);
            black_box(&out);
        }
        10 * INSTANTS as usize * sets.len()
    };
    let mut theirs = || {
        for instant in 0..INSTANTS {
            for set in sets {
                black_box(set.propagate_minutes(f64::from(instant)).ok());
            }
        }
        INSTANTS as usize * sets.len()
    };
    beside(rounds, name, "states", &mut ours, Some(("sgp4 crate", &mut theirs)))
}

fn track(rounds: usize, name: &'static str, sets: &[ElementSet], instants: u32) -> Figure {
    let mut out = States::default();
    let minutes: Vec<f64> = (0..instants).map(f64::from).collect();
    let mut ours = || {
        for set in sets {
            // Nothing is kept from the round before.
            let mut propagator = set.propagator().clone();
            propagator.states(&minutes, &mut out);
            black_box(&out);
        }
        minutes.len() * sets.len()
    };
    let mut theirs = || {
        for set in sets {
            for at in minutes.iter().step_by(10) {
                black_box(set.propagate_minutes(*at).ok());
            }
        }
        minutes.len().div_ceil(10) * sets.len()
    };
    beside(rounds, name, "states", &mut ours, Some(("sgp4 crate", &mut theirs)))
}

/// A day of passes, in satellites times stations.
fn contacts(load: Load) -> Figure {
    let sets = constellation(load.satellites);
    let station = |[latitude_deg, longitude_deg]: [f64; 2]| {
        Station::new("station", Geodetic { latitude_deg, longitude_deg, height_m: 100.0 })
    };
    let stations: Vec<Station> = places(load.stations).into_iter().map(station).collect();
    let grid = Grid::new(epoch(), epoch().plus(DAY_NS));
    let mut ours = || {
        for set in &sets {
            let track = Track::new(set, &grid);
            for station in &stations {
                black_box(track.passes(&grid, station, 5.0));
            }
        }
        sets.len() * stations.len()
    };
    beside(1, "a day of passes", "satellites x stations", &mut ours, None)
}
