//! The recorder: what was made and is not down yet, in a memory that has an end.

/// Share of the memory at which the payload rests, and below which it works again.
const FULL: [f64; 2] = [0.95, 0.85];

/// State of the recorder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recorder {
    capacity_bytes: f64,
    /// What the transmitter takes from it, bit/s.
    downlink_bps: f64,
    held_bytes: f64,
    lost_bytes: f64,
    full: bool,
}

impl Recorder {
    /// An empty memory of so many bytes, from which a contact takes so many bits a second.
    pub fn new(capacity_bytes: f64, downlink_bps: f64) -> Self {
        Self { capacity_bytes, downlink_bps, held_bytes: 0.0, lost_bytes: 0.0, full: false }
    }

    /// One step: what was made goes in, what the transmitter takes goes out.
    pub fn step(&mut self, made: usize, transmitting: bool, dt_s: f64) {
        let sent = if transmitting { self.downlink_bps / 8.0 * dt_s } else { 0.0 };
        self.hold((self.held_bytes - sent).max(0.0) + made as f64);
    }

    /// Takes what a real store holds in the model's place.
    pub fn hold(&mut self, bytes: f64) {
        self.held_bytes = bytes.min(self.capacity_bytes);
        self.lost_bytes += bytes - self.held_bytes;
        let share = self.share();
        self.full = share >= if self.full { FULL[1] } else { FULL[0] };
    }

    /// Whether the payload has to rest.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Share of the memory that is in use, 0 to 1.
    pub fn share(&self) -> f64 {
        if self.capacity_bytes > 0.0 { self.held_bytes / self.capacity_bytes } else { 1.0 }
    }

    /// Bytes that found no room.
    pub fn lost_bytes(&self) -> f64 {
        self.lost_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_is_held_sent_or_lost() {
        let mut recorder = Recorder::new(1_000.0, 8_000.0);
        recorder.step(940, false, 1.0);
        assert!(!recorder.is_full());
        recorder.step(200, false, 1.0);
        assert!(recorder.is_full() && recorder.lost_bytes() == 140.0 && recorder.share() == 1.0);
        recorder.step(0, true, 0.1);
        assert!(recorder.is_full(), "a little room is not enough to begin again");
        recorder.step(0, true, 0.1);
        assert!(!recorder.is_full() && recorder.share() == 0.8);
        recorder.step(0, true, 100.0);
        assert_eq!(recorder.share(), 0.0);
    }
}
