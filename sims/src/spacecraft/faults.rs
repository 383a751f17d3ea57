//! Labelled faults: what breaks, when, how badly. Labels never enter the telemetry.

use codecs::{
    config::{self, ConfigError},
    time::Tai,
};
use serde::{Deserialize, Serialize};

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// Friction and vibration of one wheel's bearing (severity 1: friction ninefold).
    WheelBearing {
        /// Which wheel, 0 to 3.
        wheel: u8,
    },
    /// Inner resistance and lost capacity of the battery's cells.
    BatteryCell,
    /// The battery's thermistor shows what it showed at the start.
    StuckThermistor,
    /// One string of the solar array gives nothing.
    SolarString {
        /// Which string, 0 to 2.
        string: u8,
    },
    /// The battery's heater heats whatever the thermistor says.
    HeaterOn,
    /// The battery's heater is dead.
    HeaterOff,
    /// A gyro axis is off by a rate that it does not have (severity 1: 0.02 degrees a second).
    GyroBias {
        /// Which axis, 0 to 2: x, y, z.
        axis: u8,
    },
    /// A magnetometer axis shows what it showed at the start.
    MagnetometerStuck {
        /// Which axis, 0 to 2: x, y, z.
        axis: u8,
    },
    /// The magnetic rods give only a part of what is asked for, so that the wheels gather speed
    /// (severity 1: nothing).
    Rods,
    /// The radiator's coating has aged: it takes in the Sun and gives off less (severity 1: half
    /// the emission, fifteen times the absorption).
    RadiatorCoating,
    /// Radiation turns bits of power packets over (severity 1: one bit in every tenth packet).
    Upsets,
}

impl FaultKind {
    /// A kind by its name in a file, with the part that is broken where there are several.
    pub fn named(name: &str, part: u8) -> Option<Self> {
        let below = |count: u8| (part < count).then_some(part);
        Some(match name {
            "wheel-bearing" => Self::WheelBearing { wheel: below(4)? },
            "battery-cell" => Self::BatteryCell,
            "stuck-thermistor" => Self::StuckThermistor,
            "solar-string" => Self::SolarString { string: below(3)? },
            "heater-on" => Self::HeaterOn,
            "heater-off" => Self::HeaterOff,
            "gyro-bias" => Self::GyroBias { axis: below(3)? },
            "magnetometer-stuck" => Self::MagnetometerStuck { axis: below(3)? },
            "rods" => Self::Rods,
            "radiator-coating" => Self::RadiatorCoating,
            "upsets" => Self::Upsets,
            _ => return None,
        })
    }

    /// Names of all kinds.
    pub const NAMES: [&'static str; 11] = [
        "wheel-bearing",
        "battery-cell",
        "stuck-thermistor",
        "solar-string",
        "heater-on",
        "heater-off",
        "gyro-bias",
        "magnetometer-stuck",
        "rods",
        "radiator-coating",
        "upsets",
    ];

    /// Whether a parameter of the mission can show it: what else changes does so by its cause.
    pub fn shows_in(self, parameter: &str) -> bool {
        let axis = |axis: u8| ["_X", "_Y", "_Z"].get(usize::from(axis)).copied().unwrap_or("none");
        let has = |part: &str| parameter.contains(part);
        match self {
            Self::WheelBearing { wheel } => has(&format!("WHEEL_{}", wheel + 1)),
            Self::SolarString { string } => has(&format!("STRING_{}", string + 1)) || has("SOLAR"),
            Self::BatteryCell | Self::StuckThermistor => has("BATTERY"),
            Self::HeaterOn | Self::HeaterOff => has("BATTERY") || has("HEATER") || has("LOAD"),
            Self::GyroBias { axis: of } => has("GYRO") && parameter.ends_with(axis(of)),
            Self::MagnetometerStuck { axis: of } => has("FIELD") && parameter.ends_with(axis(of)),
            Self::Rods => has("WHEEL"),
            Self::RadiatorCoating => has("RADIATOR") || has("ELECTRONICS") || has("PAYLOAD"),
            Self::Upsets => parameter.starts_with("EPS"),
        }
    }
}

/// One fault of a schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// What breaks.
    pub kind: FaultKind,
    /// When it starts.
    pub start: Tai,
    /// When it ends, if it heals.
    pub end: Option<Tai>,
    /// Seconds from the start to full severity.
    pub ramp_s: f64,
    /// How badly, 1 as documented at the kind.
    pub severity: f64,
}

impl Fault {
    /// Severity at an instant, 0 outside the fault.
    pub fn severity_at(&self, at: Tai) -> f64 {
        let since_s = at.since(self.start) as f64 / 1e9;
        if since_s < 0.0 || self.end.is_some_and(|end| at >= end) {
            return 0.0;
        }
        let grown = if self.ramp_s > 0.0 { (since_s / self.ramp_s).min(1.0) } else { 1.0 };
        self.severity * grown
    }
}

/// A fault as a file of faults says it, in seconds from the start of the flight.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broken {
    /// Name of the kind, as in [`FaultKind::NAMES`].
    pub kind: String,
    /// Which of several, from 0.
    #[serde(default)]
    pub part: u8,
    /// When it starts.
    pub start_s: f64,
    /// When it ends, if it heals.
    pub end_s: Option<f64>,
    /// Seconds from the start to full severity.
    #[serde(default)]
    pub ramp_s: f64,
    /// How badly, 1 as documented at the kind.
    #[serde(default = "usual")]
    pub severity: f64,
}

const fn usual() -> f64 {
    1.0
}

impl Broken {
    /// The fault of a flight that starts then.
    ///
    /// # Errors
    /// A kind or a part that there is not; numbers that mean nothing, with the reason.
    pub fn fault(&self, start: Tai) -> Result<Fault, String> {
        /// A century: what is later than that is a mistake.
        const LATEST_S: f64 = 3.2e9;
        let kind = FaultKind::named(&self.kind, self.part).ok_or_else(|| {
            let (kind, part) = (&self.kind, self.part);
            let known = FaultKind::NAMES.join(", ");
            format!("no fault {kind:?} with part {part}; there are {known}, parts from 0")
        })?;
        let end_s = self.end_s.unwrap_or(LATEST_S);
        if !(self.start_s >= 0.0 && self.start_s < end_s && end_s <= LATEST_S) {
            return Err(format!("{}: start_s must be 0 or more and before end_s", self.kind));
        }
        if !(self.ramp_s >= 0.0 && self.severity > 0.0 && self.severity <= 100.0) {
            return Err(format!("{}: ramp_s from 0, severity above 0 up to 100", self.kind));
        }
        let at = |seconds: f64| start.plus((seconds * 1e9) as i64);
        let (ramp_s, severity) = (self.ramp_s, self.severity);
        Ok(Fault { kind, start: at(self.start_s), end: self.end_s.map(at), ramp_s, severity })
    }
}

/// A schedule of faults.
#[derive(Clone, Debug, Default)]
pub struct Faults(Vec<Fault>);

/// A label as the labels file holds it, one JSON object a line.
#[derive(Debug, Serialize)]
struct Label<'a> {
    fault: &'a FaultKind,
    start: String,
    end: Option<String>,
    severity: f64,
}

impl Faults {
    /// A schedule in any order; overlapping faults of one kind don't add up, the worst counts.
    pub fn new(faults: Vec<Fault>) -> Self {
        Self(faults)
    }

    /// The worst severity of a kind at an instant.
    pub fn severity(&self, kind: FaultKind, at: Tai) -> f64 {
        let matching = self.0.iter().filter(|fault| fault.kind == kind);
        matching.map(|fault| fault.severity_at(at)).fold(0.0, f64::max)
    }

    /// The schedule of a file, for a flight from one instant to another.
    ///
    /// # Errors
    /// What is wrong, where, a fault that starts when the flight is over among it: it would stand in
    /// the labels and never be there. `file` is only for the message.
    pub fn read(file: &str, text: &str, (start, end): (Tai, Tai)) -> Result<Self, ConfigError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Schedule {
            #[serde(default)]
            fault: Vec<toml::Spanned<Broken>>,
        }
        let schedule: Schedule = config::parse(file, text)?;
        let faults = schedule.fault.into_iter().map(|broken| {
            let before = text.get(..broken.span().start).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let wrong = |message| ConfigError { file: file.to_owned(), line, message };
            let broken = broken.get_ref();
            let fault = broken.fault(start).map_err(wrong)?;
            if fault.start >= end {
                let flown_s = end.since(start) as f64 / 1e9;
                let Broken { kind, start_s, .. } = broken;
                return Err(wrong(format!(
                    "{kind}: start_s = {start_s}, and the flight ends after {flown_s} s: fly \
                     longer, or leave it out"
                )));
            }
            Ok(fault)
        });
        Ok(Self(faults.collect::<Result<_, _>>()?))
    }

    /// Every fault, in the order given.
    pub fn all(&self) -> &[Fault] {
        &self.0
    }

    /// The labels as JSON lines: the truth that a detector is scored against.
    pub fn labels(&self) -> String {
        let mut text = String::new();
        for fault in &self.0 {
            let label = Label {
                fault: &fault.kind,
                start: fault.start.to_rfc3339(),
                end: fault.end.map(Tai::to_rfc3339),
                severity: fault.severity,
            };
            text.push_str(&serde_json::to_string(&label).unwrap_or_default());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_kind_and_labels_say_it() {
        for name in FaultKind::NAMES {
            let kind = FaultKind::named(name, 0).unwrap();
            assert!(serde_json::to_string(&kind).unwrap().contains(name), "{name}");
        }
        assert_eq!(FaultKind::named("wheel-bearing", 4), None);
        assert_eq!(FaultKind::named("gremlin", 0), None);
        let bias = FaultKind::GyroBias { axis: 1 };
        assert!(bias.shows_in("GYRO_RATE_Y") && !bias.shows_in("GYRO_RATE_X"));
    }

    #[test]
    fn a_file_of_faults_is_read_or_says_where_it_is_wrong() {
        let good = "[[fault]]\nkind = \"rods\"\nstart_s = 60\n";
        let day = (Tai(0), Tai(86_400_000_000_000));
        let faults = Faults::read("f.toml", good, day).unwrap();
        assert_eq!(faults.all()[0].start, Tai(60_000_000_000));
        let told = |more: &str| {
            let text = format!("{good}\n[[fault]]\n{more}");
            Faults::read("f.toml", &text, day).unwrap_err().to_string()
        };
        let gremlin = told("kind = \"gremlin\"\nstart_s = 0");
        assert!(gremlin.starts_with("f.toml:5: no fault") && gremlin.contains("gyro-bias"));
        assert!(told("kind = \"rods\"\nstart_s = 5\nend_s = 5").contains("before end_s"));
        assert!(told("kind = \"rods\"\nstart_s = 5\nseverity = nan").contains("severity"));
        assert!(told("kind = \"rods\"\nstarts_s = 5").contains("did you mean `start_s`"));
        let late = told("kind = \"upsets\"\nstart_s = 86400");
        assert!(
            late.starts_with("f.toml:5: upsets: start_s = 86400, and the flight ends"),
            "{late}"
        );
    }

    #[test]
    fn severity_ramps_and_heals() {
        let kind = FaultKind::WheelBearing { wheel: 2 };
        let fault = Fault {
            kind,
            start: Tai(0),
            end: Some(Tai(20_000_000_000)),
            ramp_s: 10.0,
            severity: 2.0,
        };
        let faults = Faults::new(vec![fault]);
        let at = |seconds: i64| faults.severity(kind, Tai(seconds * 1_000_000_000));
        assert_eq!([at(-1), at(0), at(5), at(15), at(20)], [0.0, 0.0, 1.0, 2.0, 0.0]);
        assert_eq!(faults.severity(FaultKind::BatteryCell, Tai(5)), 0.0);
        assert!(faults.labels().contains("\"wheel-bearing\":{\"wheel\":2}"));
    }
}
