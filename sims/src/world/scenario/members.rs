//! The spacecraft of a scenario, each with its orbit.

use anyhow::{Context as _, ensure};
use codecs::time::Tai;

use super::{Files, RingSettings, Scenario};
use crate::orbit::{ElementSet, fleet::MeanElements};

/// A spacecraft of the scenario.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) orbit: Option<ElementSet>,
    pub(super) value: f64,
}

impl Scenario {
    /// Every spacecraft with its orbit, in order.
    ///
    /// # Errors
    /// Elements that can't be read, fewer of them than are to be flown, or files that are not there.
    pub(super) fn members(&self, files: Files<'_>) -> anyhow::Result<Vec<Member>> {
        let mut fleet = Vec::new();
        for of in &self.spacecraft {
            let text = match (&of.elements, &of.elements_file) {
                (Some(text), _) => Some(text.clone()),
                (None, Some(file)) => Some(files(file)?),
                (None, None) => None,
            };
            let orbits = match (text, of.ring) {
                (Some(text), _) => crate::orbit::elements::read(&text).with_context(|| {
                    let from = of.elements_file.as_deref().unwrap_or("elements");
                    format!("spacecraft {:?}: {from}", of.name)
                })?,
                (None, Some(ring)) => ring.orbits(&of.name, self.start())?,
                (None, None) => {
                    let count = of.count.unwrap_or(1);
                    let named = (0..count).map(|index| numbered(&of.name, index, count));
                    fleet.extend(named.map(|name| Member { name, orbit: None, value: of.value }));
                    continue;
                }
            };
            let (count, there) = (of.count.unwrap_or(orbits.len()), orbits.len());
            ensure!(
                count <= there,
                "spacecraft {:?}: count = {count}, and there {} only {there} in {}",
                of.name,
                if there == 1 { "is" } else { "are" },
                of.elements_file.as_deref().unwrap_or(match of.ring {
                    Some(_) => "its ring",
                    None => "its elements",
                }),
            );
            let named = orbits.into_iter().take(count).enumerate();
            fleet.extend(named.map(|(index, orbit)| {
                let own = orbit.name().trim().to_owned();
                let name = if own.is_empty() || own == of.name {
                    numbered(&of.name, index, count)
                } else {
                    own
                };
                Member { name, orbit: Some(orbit), value: of.value }
            }));
        }
        Ok(fleet)
    }
}

fn numbered(name: &str, index: usize, count: usize) -> String {
    if count == 1 { name.to_owned() } else { format!("{name}-{:03}", index + 1) }
}

impl RingSettings {
    fn orbits(&self, name: &str, epoch: Tai) -> anyhow::Result<Vec<ElementSet>> {
        use std::f64::consts::TAU;
        /// Radians a minute at one earth radius (WGS-72), as SGP4 takes it.
        const MOTION: f64 = 0.074_366_916_133_173_42;
        const RADIUS_KM: f64 = 6_378.135;
        let axis = 1.0 + self.height_km / RADIUS_KM;
        let all = (self.planes * self.per_plane) as f64;
        let mut orbits = Vec::new();
        for plane in 0..self.planes {
            for place in 0..self.per_plane {
                let mean = MeanElements {
                    inclination: self.inclination_deg.to_radians(),
                    node: TAU * plane as f64 / self.planes as f64,
                    eccentricity: 1e-4,
                    argument: 0.0,
                    anomaly: (TAU * place as f64 / self.per_plane as f64
                        + TAU * plane as f64 / all)
                        .rem_euclid(TAU),
                    motion: MOTION / (axis * axis.sqrt()),
                    drag: 1e-5,
                };
                orbits.push(
                    ElementSet::from_mean(name, epoch, &mean)
                        .map_err(|error| anyhow::anyhow!("spacecraft {name}: {error}"))?,
                );
            }
        }
        Ok(orbits)
    }
}
