//! Transmits from the simulated spacecraft to the modem's address: one coded unit a datagram, at
//! the rate that the link has, with the bits turned that the channel turns.

use super::feed::{FeedError, Stop};
use crate::link::noise::Noise;
use crate::link::{Geometry, Track};
use crate::relay::SimulatedClock;
use crate::spacecraft::Spacecraft;
use crate::spacecraft::radio::Radio;
use codecs::time::Tai;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

/// Between two looks at what there is to send.
const TICK: Duration = Duration::from_millis(20);
/// Share of the link that is used: a modem never offers more than its channel carries.
const SHARE: f64 = 0.9;
/// Longest time that a packet waits for its frame to fill, ticks.
const FLUSH_TICKS: u64 = 25;

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Frames on the air.
    pub frames: u64,
    /// Of them, idle ones.
    pub idle_frames: u64,
    /// Bytes of packets made meanwhile and before, from when the recorder began.
    pub packet_bytes: u64,
    /// Bits that the channel turned.
    pub turned_bits: u64,
}

/// The spacecraft with its transmitter.
pub struct Transmitter {
    pub craft: Box<Spacecraft>,
    pub radio: Radio,
    pub noise: Noise,
    pub track: Track,
    pub rate_bps: f64,
    pub modem: SocketAddr,
    pub stop: Stop,
    pub sent: Sent,
    /// Units of what the recorder held, then of now.
    waiting: VecDeque<Vec<u8>>,
}

impl Transmitter {
    /// Nothing is recorded yet.
    pub fn new(
        craft: Box<Spacecraft>,
        radio: Radio,
        noise: Noise,
        (track, rate_bps): (Track, f64),
        modem: SocketAddr,
        stop: Stop,
    ) -> Self {
        let (sent, waiting) = (Sent::default(), VecDeque::new());
        Self { craft, radio, noise, track, rate_bps, modem, stop, sent, waiting }
    }

    /// Flies on up to an instant before the contact: what happens goes to the recorder.
    pub fn record(&mut self, until: Tai) -> Result<(), FeedError> {
        let (mut packets, mut units) = (Vec::new(), Vec::new());
        while self.craft.now() < until && !self.stop.stopped() {
            self.craft.step(&mut packets)?;
            for packet in packets.drain(..) {
                self.sent.packet_bytes += packet.len() as u64;
                self.radio.recorded(&packet, &mut units)?;
            }
        }
        self.radio.flush(&mut units)?;
        self.waiting.extend(units);
        Ok(())
    }

    /// Flies and transmits until stopped; what is still recorded then stays on board.
    pub fn run(mut self, clock: SimulatedClock) -> Result<Sent, FeedError> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(self.modem)?;
        let (mut packets, mut units) = (Vec::new(), Vec::new());
        let (mut credit, mut last, mut ticks) = (0.0, clock.now(), 0u64);
        while !self.stop.stopped() {
            thread::sleep(TICK);
            ticks += 1;
            let now = clock.now();
            while self.craft.now() <= now {
                self.craft.step(&mut packets)?;
            }
            for packet in packets.drain(..) {
                self.sent.packet_bytes += packet.len() as u64;
                self.radio.live(&packet, &mut units)?;
            }
            if ticks.is_multiple_of(FLUSH_TICKS) {
                self.radio.flush(&mut units)?;
            }
            // What happens now goes before what was recorded.
            units.drain(..).rev().for_each(|unit| self.waiting.push_front(unit));
            let Some(sky) = self.track.sky(now) else { continue };
            let seconds = now.since(last) as f64 / 1e9;
            last = now;
            // What a tick did not use is gone, but for the part of a unit.
            let rate = SHARE * self.rate_bps * sky.rate_share / 8.0;
            credit = f64::min(credit + rate * seconds, 2.0 * rate * TICK.as_secs_f64());
            credit -= self.transmit(&socket, credit)?;
        }
        Ok(self.sent)
    }

    /// Sends what fits; an idle unit where there is nothing. The bytes that went.
    fn transmit(&mut self, socket: &UdpSocket, credit: f64) -> Result<f64, FeedError> {
        if self.waiting.is_empty() {
            let mut idle = Vec::new();
            self.radio.idle(&mut idle)?;
            self.sent.idle_frames += 1;
            self.waiting.extend(idle);
        }
        let mut bytes = 0.0;
        while let Some(next) = self.waiting.front()
            && bytes + next.len() as f64 <= credit
        {
            let Some(mut unit) = self.waiting.pop_front() else { break };
            bytes += unit.len() as f64;
            self.sent.frames += 1;
            self.sent.turned_bits += self.noise.spoil(&mut unit);
            // Nobody listening is no error of a transmitter's.
            let _ = socket.send(&unit);
        }
        Ok(bytes)
    }
}
