//! Orbits and what turns with them: element sets, ephemerides, earth orientation, networks.

use codecs::time::Tai;
use sims::orbit::{EarthOrientation, elements as sets, oem as messages, vector::norm};
use sims::plan::{Network, network::MAX_ANTENNAS};

/// Two-line elements and OMM of every form: what is read has an orbit at its epoch, or says why not.
pub fn elements(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(found) = sets::read(text) else { return };
    assert!((1..=sets::MAX_ELEMENT_SETS).contains(&found.len()));
    for set in found {
        assert!(set.good_for_days() > 0.0);
        for minutes in [0.0, 1.0, -1440.0, 100_000.0] {
            let at = set.epoch().plus((minutes * 60e9) as i64);
            if let Ok(state) = set.propagate(at) {
                let radius_km = norm(state.position_km);
                assert!(radius_km > 6_000.0, "{} is at {radius_km} km", set.name());
            }
        }
    }
}

/// Orbit ephemeris messages: states at the ends of what they cover, none beyond.
pub fn oem(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(found) = messages::read(text) else { return };
    assert!(!found.is_empty());
    for object in found {
        let (from, to) = object.interval().expect("an object has arcs");
        assert!(from <= to);
        assert!(object.at(from).is_some() && object.at(to).is_some());
        assert!(object.at(from.plus(-1)).is_none() && object.at(to.plus(1)).is_none());
        for arc in object.arcs() {
            assert!(arc.states.windows(2).all(|two| two[0].0 < two[1].0));
            assert!(object.at(arc.from.plus(arc.to.since(arc.from) / 3)).is_some());
        }
    }
}

/// Earth orientation: a day between two days lies within a leap second of both.
pub fn eop(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(table) = EarthOrientation::parse(text) else { return };
    let (first, last) = table.span_mjd();
    assert!(first < last);
    let noon = |mjd: i64| Tai::from_unix((mjd - 40_587) * 86_400 + 43_200, 0);
    for mjd in (first..last).take(1000) {
        let of = table.at(noon(mjd)).expect("a day of the table");
        assert!(of.ut1_minus_utc_s.abs() < 62.0 && of.pole_x_arcsec.abs() < 9.0);
    }
    assert_eq!(table.at(noon(first - 1)), None);
    assert_eq!(table.at(noon(last)), None);
}

/// Networks of stations: what is read keeps its bounds.
pub fn network(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(network) = Network::parse("network.toml", text) else { return };
    let antennas: usize = network.sites.iter().map(|site| site.antennas.len()).sum();
    assert!(antennas <= MAX_ANTENNAS && antennas >= network.sites.len());
    for craft in network.spacecraft.values().chain([&network.defaults]) {
        let demand = craft.demand(1.0);
        assert!(demand.worth(100.0) >= 0.0 && demand.worth(100.0) <= demand.worth(200.0));
    }
}
