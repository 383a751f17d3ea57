//! Transport settings by kind of link: what a shell gives its QUIC library.

/// Numbers that fit one regime of delay and rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Name in configuration.
    pub name: &'static str,
    /// Round trip to assume before the first measurement.
    pub initial_rtt_ms: u64,
    /// A connection that hears nothing for this long is closed.
    pub idle_timeout_ms: u64,
    /// How often a silent connection is kept open; absent where a ping costs more than it brings.
    pub keep_alive_ms: Option<u64>,
    /// Credit of one stream. A receiver closes the connection once a stream has over 1024 gaps, so
    /// windows stay at or under 2.4 MB and objects spread over many streams.
    pub stream_window_bytes: u32,
    /// Credit of the connection: what the receiver is ready to buffer for one peer.
    pub connection_window_bytes: u32,
    /// Most unacknowledged bytes of a sender.
    pub send_window_bytes: u64,
    /// Unidirectional streams that a receiver lets a peer hold open.
    pub streams_max: u32,
    /// Objects that a sender has under way at once.
    pub objects_max: usize,
    /// Packets to receive before an acknowledgement must go; spares thin return links. One for every
    /// two packets takes 2.4 Mbit/s of the way back at 110 Mbit/s: a pass in X band over 2 Mbit/s back
    /// got 91 % of its capacity with 2, 95 % with 10 (`orbitsim bench goodput`).
    pub ack_threshold: u32,
}

/// Low orbit: tens of milliseconds.
pub const LEO: Profile = Profile {
    name: "leo",
    initial_rtt_ms: 50,
    idle_timeout_ms: 30_000,
    keep_alive_ms: Some(5_000),
    stream_window_bytes: 2_400_000,
    connection_window_bytes: 16 << 20,
    send_window_bytes: 16 << 20,
    streams_max: 256,
    objects_max: 8,
    ack_threshold: 10,
};

/// Geostationary relay: 600 ms and a thin return.
pub const GEO: Profile = Profile {
    name: "geo",
    initial_rtt_ms: 600,
    idle_timeout_ms: 60_000,
    keep_alive_ms: Some(15_000),
    stream_window_bytes: 2_400_000,
    connection_window_bytes: 64 << 20,
    send_window_bytes: 64 << 20,
    streams_max: 256,
    objects_max: 32,
    ack_threshold: 10,
};

/// The Moon: 2.6 s.
pub const LUNAR: Profile = Profile {
    name: "lunar",
    initial_rtt_ms: 2_600,
    idle_timeout_ms: 120_000,
    keep_alive_ms: Some(40_000),
    ..GEO
};

/// Deep space: minutes; the idle timeout must outlast several round trips.
pub const DEEP: Profile = Profile {
    name: "deep",
    initial_rtt_ms: 600_000,
    idle_timeout_ms: 7_200_000,
    keep_alive_ms: None,
    // A megabit over ten minutes is 75 MB under way, and a hole holds back what came behind it for
    // as long again.
    connection_window_bytes: 256 << 20,
    send_window_bytes: 256 << 20,
    objects_max: 128,
    ..GEO
};

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 4] = [LEO, GEO, LUNAR, DEEP];

    /// Finds a profile by its name in configuration.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_profile_can_be_killed_by_gaps_or_its_own_delay() {
        for profile in Profile::ALL {
            assert!(profile.stream_window_bytes <= 2_400_000, "{}", profile.name);
            assert!(profile.idle_timeout_ms > 5 * profile.initial_rtt_ms, "{}", profile.name);
            assert!(profile.streams_max >= 256 && profile.objects_max <= 256, "{}", profile.name);
            assert_eq!(Profile::named(profile.name), Some(profile));
        }
    }
}
