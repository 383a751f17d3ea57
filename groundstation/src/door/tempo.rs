//! When recorded things go out again: as they came, faster, or as fast as they are taken.

use codecs::time::Tai;

/// Silence in a recording that is passed over: nobody waits out the night between two contacts.
pub const SILENCE_MAX_NS: i64 = super::rotation::CONTACT_GAP_NS;

/// The pace of a replay.
#[derive(Clone, Copy, Debug)]
pub struct Tempo {
    /// Times real time; none for as fast as possible.
    speed: Option<f64>,
    last: Option<Tai>,
    /// Recorded time played so far, less what was passed over.
    played_ns: i64,
}

impl Tempo {
    /// A multiple of real time, above 0; none for as fast as possible.
    pub const fn new(speed: Option<f64>) -> Self {
        Self { speed, last: None, played_ns: 0 }
    }

    /// How long after the start something received then goes out, in nanoseconds. What was
    /// received earlier than what went out before it goes out at once.
    pub fn due_ns(&mut self, received: Tai) -> u64 {
        let Some(speed) = self.speed else { return 0 };
        let last = *self.last.get_or_insert(received);
        if received > last {
            self.last = Some(received);
            let silence = received.since(last);
            self.played_ns += if silence > SILENCE_MAX_NS { 0 } else { silence };
        }
        (self.played_ns as f64 / speed) as u64
    }
}

/// Reads a speed: a number above 0, or `max`.
pub fn speed(text: &str) -> Result<Tempo, String> {
    if text == "max" {
        return Ok(Tempo::new(None));
    }
    match text.trim_end_matches('x').parse::<f64>() {
        Ok(speed) if speed.is_finite() && speed > 0.0 => Ok(Tempo::new(Some(speed))),
        _ => Err("a speed is a number above 0, such as 1 or 10, or `max`".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn a_recording_keeps_its_rhythm_and_loses_its_silence() {
        let mut tempo = speed("10").unwrap();
        let mut due = |second: i64| tempo.due_ns(Tai(second * SECOND)) / 1_000_000;
        assert_eq!([due(100), due(101), due(110)], [0, 100, 1_000]);
        assert_eq!(due(105), 1_000, "a late one goes at once");
        assert_eq!(due(40_000), 1_000, "the time between contacts is passed over");
        assert_eq!(due(40_010), 2_000);
        let mut fast = speed("max").unwrap();
        assert_eq!((fast.due_ns(Tai(0)), fast.due_ns(Tai(SECOND))), (0, 0));
        for bad in ["0", "-1", "fast", "", "inf", "nan"] {
            assert!(speed(bad).is_err(), "{bad}");
        }
    }
}
