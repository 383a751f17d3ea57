//! A satellite, however its orbit is told: by mean elements or by states.

use codecs::time::Tai;
use thiserror::Error;

use super::{
    elements::{self, ElementSet, ElementsError, State},
    ephemeris::{Ephemeris, Placed},
    oem::{self, OemError},
};

/// A satellite and its orbit.
#[derive(Debug)]
pub enum Satellite {
    /// Propagated by SGP4.
    Elements(Box<ElementSet>),
    /// Interpolated.
    Ephemeris(Ephemeris),
}

/// Why a text tells no orbit.
#[derive(Debug, Error)]
pub enum OrbitError {
    /// Of element sets.
    #[error(transparent)]
    Elements(#[from] ElementsError),
    /// Of an ephemeris.
    #[error(transparent)]
    Ephemeris(#[from] OemError),
}

/// Reads every satellite of a text: two-line elements, OMM or OEM, in any of their forms.
pub fn read(text: &str) -> Result<Vec<Satellite>, OrbitError> {
    if oem::is_oem(text) {
        return Ok(oem::read(text)?.into_iter().map(Satellite::Ephemeris).collect());
    }
    let sets = elements::read(text)?;
    Ok(sets.into_iter().map(|set| Satellite::Elements(Box::new(set))).collect())
}

impl Satellite {
    /// Its name, or its catalogue number.
    pub fn name(&self) -> &str {
        match self {
            Self::Elements(set) => set.name(),
            Self::Ephemeris(ephemeris) => ephemeris.name(),
        }
    }

    /// Where it is at an instant; none where the elements have no orbit (decayed), or beyond the
    /// ephemeris.
    pub fn at(&self, at: Tai) -> Option<Placed> {
        match self {
            Self::Elements(set) => {
                let state = set.propagate(at).ok()?;
                Some(Placed { earth_fixed: false, state })
            }
            Self::Ephemeris(ephemeris) => ephemeris.at(at),
        }
    }

    /// The elements, where it has some.
    pub fn elements(&self) -> Option<&ElementSet> {
        match self {
            Self::Elements(set) => Some(set),
            Self::Ephemeris(_) => None,
        }
    }

    /// The part of an interval in which its orbit is told.
    pub fn within(&self, from: Tai, to: Tai) -> Option<(Tai, Tai)> {
        let Self::Ephemeris(ephemeris) = self else { return Some((from, to)) };
        let (first, last) = ephemeris.interval()?;
        let (from, to) = (from.max(first), to.min(last));
        (from < to).then_some((from, to))
    }
}

/// A state seen from nowhere: of an instant at which there is none.
pub const NOWHERE: State = State { position_km: [f64::NAN; 3], velocity_km_s: [f64::NAN; 3] };
