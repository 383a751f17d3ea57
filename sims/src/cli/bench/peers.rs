//! The peers in Python, where they are: python-sgp4 and Skyfield, by a script piped to `python3`.

use std::{
    io::{ErrorKind, Write as _},
    process::{Command, Stdio},
};

use serde::Deserialize;
use serde_json::json;

use super::measure::{Figure, Load};
use crate::orbit::fleet::MeanElements;

const SCRIPT: &str = include_str!("peers.py");

/// What the script measured: counts a second of the processor.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Peers {
    /// Packages that are not there.
    missing: Vec<String>,
    /// Their versions.
    sgp4: String,
    skyfield: String,
    many: Option<f64>,
    one: Option<f64>,
    half_day: Option<f64>,
    passes: Option<f64>,
}

/// The orbits that both sides are measured with, and from when, in days since 1949-12-31.
pub struct Orbits<'a> {
    pub epoch_days: f64,
    pub near: &'a [MeanElements],
    pub deep: &'a MeanElements,
    /// Latitudes and longitudes.
    pub places: &'a [[f64; 2]],
}

impl Peers {
    /// Runs the script; says in a word why there is nothing to compare with.
    pub fn measure(python: &str, load: Load, orbits: &Orbits<'_>) -> Result<Self, String> {
        let row = |of: &MeanElements| {
            json!([
                orbits.epoch_days,
                of.drag,
                of.eccentricity,
                of.argument,
                of.inclination,
                of.anomaly,
                of.motion,
                of.node
            ])
        };
        let near: Vec<_> = orbits.near.iter().map(row).collect();
        let load = json!({
            "rounds": load.rounds,
            "near": near,
            "deep": [row(orbits.deep)],
            "places": orbits.places,
        });
        let child = Command::new(python)
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(format!("{python} is not there"));
            }
            Err(error) => return Err(format!("{python}: {error}")),
        };
        // JSON is Python where it holds numbers and lists only.
        let script = format!("load = {load}\n{SCRIPT}");
        let told = child.stdin.take().map(|mut stdin| stdin.write_all(script.as_bytes()));
        let output = child.wait_with_output().map_err(|error| format!("{python}: {error}"))?;
        if !output.status.success() || !matches!(told, Some(Ok(()))) {
            let talk = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{python}: {}", talk.lines().last().unwrap_or("no word")));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| format!("{python}: {error}"))
    }

    /// The same figures of ours beside these peers; a word for each that is not there.
    pub fn beside(&self, ours: &[Figure]) -> (Vec<Figure>, Vec<String>) {
        let rows = [
            ("near earth, many satellites", self.many, "python-sgp4", &self.sgp4),
            ("near earth, one satellite", self.one, "python-sgp4", &self.sgp4),
            ("deep, half a day (Molniya)", self.half_day, "python-sgp4", &self.sgp4),
            ("a day of passes", self.passes, "Skyfield", &self.skyfield),
        ];
        let found = rows.into_iter().filter_map(|(name, rate, peer, version)| {
            let mine = ours.iter().find(|of| of.name == name)?;
            let rate = rate?;
            Some(Figure {
                name: mine.name,
                per_cpu_s: mine.per_cpu_s,
                unit: mine.unit,
                peer_per_cpu_s: Some(rate),
                peer: Some(format!("{peer} {version}")),
                ratio: Some(mine.per_cpu_s / rate),
            })
        });
        let missing =
            self.missing.iter().map(|name| format!("{name} is not there: pip install {name}"));
        (found.collect(), missing.collect())
    }
}
