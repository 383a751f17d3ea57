//! What a ground may order about models, as text: one order a line, the same on the command line
//! of a spacecraft and in the uplink.

use super::Task;

/// An order.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelOrder {
    /// Install what was received.
    Install(Task),
    /// Ask the other slot from now on.
    Promote(Task),
    /// Stop asking the active one.
    Rollback(Task),
    /// Ask the other slot beside the active one, or stop that.
    Shadow(Task, bool),
    /// Set a parameter of the active one.
    Threshold(Task, String, f64),
    /// Put the threshold file that was received in force for the active one, or go back to its own.
    Thresholds(Task, bool),
    /// Say what is where.
    List,
}

/// What is known, for whoever mistypes.
pub const KNOWN: &str = "model list, model install|promote|rollback TASK, model shadow TASK \
                         on|off, model threshold TASK NAME VALUE, model thresholds TASK \
                         [off], with telemetry or tiles as TASK";

impl ModelOrder {
    /// Reads what stands behind the word `model`.
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let task = |name: &str| Task::named(name);
        match *words {
            ["list"] => Some(Self::List),
            ["install", of] => task(of).map(Self::Install),
            ["promote", of] => task(of).map(Self::Promote),
            ["rollback", of] => task(of).map(Self::Rollback),
            ["shadow", of, "on"] => task(of).map(|task| Self::Shadow(task, true)),
            ["shadow", of, "off"] => task(of).map(|task| Self::Shadow(task, false)),
            ["thresholds", of] => task(of).map(|task| Self::Thresholds(task, true)),
            ["thresholds", of, "off"] => task(of).map(|task| Self::Thresholds(task, false)),
            ["threshold", of, name, value] => {
                let value = value.parse::<f64>().ok().filter(|value| value.is_finite())?;
                Some(Self::Threshold(task(of)?, name.into(), value))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_orders_are_read() {
        assert_eq!(ModelOrder::parse("install tiles"), Some(ModelOrder::Install(Task::Tiles)));
        assert_eq!(ModelOrder::parse("list"), Some(ModelOrder::List));
        let off = ModelOrder::parse("shadow telemetry off");
        assert_eq!(off, Some(ModelOrder::Shadow(Task::Telemetry, false)));
        let set = ModelOrder::parse("threshold telemetry margin 0.75");
        assert_eq!(set, Some(ModelOrder::Threshold(Task::Telemetry, "margin".into(), 0.75)));
        let file = ModelOrder::parse("thresholds telemetry");
        assert_eq!(file, Some(ModelOrder::Thresholds(Task::Telemetry, true)));
        for wrong in [
            "thresholds telemetry on",
            "",
            "install",
            "install engine",
            "install tiles now",
            "shadow tiles",
            "shadow tiles maybe",
            "threshold telemetry margin",
            "threshold telemetry margin nan",
            "threshold telemetry margin inf",
        ] {
            assert_eq!(ModelOrder::parse(wrong), None, "{wrong}");
        }
    }
}
