//! Ephemeris messages of our own, in key-value notation.

use std::fmt::Write as _;

use codecs::time::Tai;

use crate::{
    contact::sweep::Grid,
    orbit::{Satellite, elements::State},
};

/// What to write.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Whether states are the turning earth's (ITRF), or in TEME.
    pub earth_fixed: bool,
    /// First instant.
    pub from: Tai,
    /// Last instant.
    pub to: Tai,
    /// Distance of two states, ns.
    pub step_ns: i64,
    /// When the message is made: an argument, so that the same orbits give the same bytes.
    pub made: Tai,
}

/// How many states a request asks for of each satellite.
pub fn count(request: &Request) -> i64 {
    request.to.since(request.from) / request.step_ns.max(1) + 1
}

/// Without the letter for UTC, which a keyword says.
fn time(at: Tai) -> String {
    at.to_rfc3339().trim_end_matches('Z').to_owned()
}

/// The first words of a message.
pub fn header(request: &Request) -> String {
    format!(
        "CCSDS_OEM_VERS = 3.0\nCREATION_DATE = {}\nORIGINATOR = GROUNDTRACK\n",
        time(request.made)
    )
}

/// A satellite's segment: as far as its orbit is told from the start on. None where it is nowhere.
pub fn segment(satellite: &Satellite, grid: &Grid, request: &Request) -> Option<String> {
    let instants = (0..count(request)).map(|at| request.from.plus(at * request.step_ns));
    let states: Vec<(Tai, State)> = instants
        .map_while(|at| {
            let state = match request.earth_fixed {
                true => grid.fixed(satellite, at),
                false => grid.inertial(satellite, at),
            };
            Some((at, state?))
        })
        .collect();
    let ((first, _), (last, _)) = (states.first()?, states.last()?);
    // A name of one line, which no keyword ends.
    let name: String =
        satellite.name().chars().map(|of| if of.is_control() { ' ' } else { of }).collect();
    let frame = if request.earth_fixed { "ITRF" } else { "TEME" };
    let mut out = format!(
        "\nMETA_START\nOBJECT_NAME = {name}\nOBJECT_ID = {name}\nCENTER_NAME = EARTH\n\
         REF_FRAME = {frame}\nTIME_SYSTEM = UTC\nSTART_TIME = {}\nSTOP_TIME = {}\n",
        time(*first),
        time(*last)
    );
    if states.len() >= 4 {
        out += "INTERPOLATION = HERMITE\nINTERPOLATION_DEGREE = 7\n";
    }
    out += "META_STOP\n";
    for (at, State { position_km: [x, y, z], velocity_km_s: [vx, vy, vz] }) in &states {
        let at = time(*at);
        // Micrometres; a string takes whatever is written.
        let _ = writeln!(out, "{at} {x:.9} {y:.9} {z:.9} {vx:.12} {vy:.12} {vz:.12}");
    }
    Some(out)
}
