//! A link as the kernel's `netem` is set to be one: step by step over time, for programs that can't
//! be led through a relay.
//!
//! ```text
//! LinkModel ─► Netem (delay, rate, loss, copies, late ones, limit) ─► Shaper (what changes, when) ─► tc
//! ```
//!
//! Netem counts packets where a link counts time, and throws away before it shapes where a link
//! loses what was sent: the rate and the limit say here what comes to the same.

use std::fmt;

use codecs::time::Tai;
use thiserror::Error;

use super::{Frames, Geometry, LIGHT_KM_S, LinkModel, LossSettings, OVERHEAD_BYTES};

/// Most packets that a qdisc is told to hold.
const LIMIT_MAX: f64 = 1e6;
/// Packets that a qdisc holds at least: a short queue must not take apart one flight of packets.
const LIMIT_MIN: u64 = 10;

/// Which way a link goes: how large packets are, which netem's queue counts by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Full packets.
    Down,
    /// Acknowledgements and receipts.
    Up,
}

impl Direction {
    /// Bytes of a usual packet with the headers of IP and UDP.
    const fn packet_bytes(self) -> usize {
        match self {
            Self::Down => 1_452 + OVERHEAD_BYTES,
            Self::Up => 100 + OVERHEAD_BYTES,
        }
    }
}

/// A link that netem can't be set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NetemError {
    /// Linux takes no second netem in a tree where one of them makes copies (since 6.16).
    #[error(
        "netem can't make copies and let packets come late at once: leave out duplicate_share or \
         reorder_share"
    )]
    CopiesAndLate,
}

/// What netem is set to, as exactly as `tc` is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Netem {
    /// One-way delay, microseconds.
    delay_us: u64,
    /// Bits a second of IP packets.
    rate_bps: u64,
    /// Packets held at most: those under way and those in the queue.
    limit: u64,
    /// Good to bad and bad to good, millionths of a packet; everything is lost in the bad state.
    turns: Option<[u64; 2]>,
    /// Copies, millionths.
    twice: u64,
    /// Late ones, millionths, and by how much at most, microseconds.
    late: Option<(u64, u64)>,
}

/// What an interface is set to.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// Nothing passes.
    Closed,
    /// A link.
    Open(Netem),
}

impl Setting {
    /// `tc`'s arguments for an interface: one command, or a second one for what is late. `header`
    /// is what an interface's own packets have before IP, which takes no time on a link.
    pub fn commands(&self, interface: &str, header: usize) -> Vec<Vec<String>> {
        let tc = |at: &str, netem: &str| {
            let words = format!("qdisc replace dev {interface} {at} netem {netem}");
            words.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        match self {
            Self::Closed => vec![tc(ROOT, "limit 10 loss 100%")],
            Self::Open(netem) => {
                let late = netem.late.map(|(share, most_us)| {
                    let (half_us, prompt) = (most_us / 2, percent(1_000_000 - share));
                    let limit = netem.limit;
                    let late = format!("limit {limit} delay {half_us}us {half_us}us");
                    tc("parent 6e:1 handle 6f:", &format!("{late} reorder {prompt}"))
                });
                let root = tc(ROOT, &format!("{netem} {}", rate(netem.rate_bps, header)));
                [root].into_iter().chain(late).collect()
            }
        }
    }

    /// The arguments that take it all away again.
    pub fn undo(interface: &str) -> Vec<String> {
        ["qdisc", "del", "dev", interface, "root"].map(str::to_owned).to_vec()
    }
}

/// Where a link's own qdisc stands.
const ROOT: &str = "root handle 6e:";

fn rate(rate_bps: u64, header: usize) -> String {
    // The header is no part of what a radio carries.
    let header = if header == 0 { String::new() } else { format!(" -{header}") };
    format!("rate {rate_bps}bit{header}")
}

/// Millionths as percent, which `tc` reads.
fn percent(millionths: u64) -> String {
    format!("{}.{:04}%", millionths / 10_000, millionths % 10_000)
}

impl fmt::Display for Netem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limit {} delay {}us", self.limit, self.delay_us)?;
        if let Some([worse, better]) = self.turns {
            write!(f, " loss gemodel {} {} 100% 0%", percent(worse), percent(better))?;
        }
        if self.twice > 0 {
            write!(f, " duplicate {}", percent(self.twice))?;
        }
        Ok(())
    }
}

/// A share in millionths.
fn millionths(share: f64) -> u64 {
    (share.clamp(0.0, 1.0) * 1e6).round() as u64
}

/// Three digits of it: a step that nobody could measure is none.
fn rounded(rate_bps: f64) -> u64 {
    let unit = 10f64.powf((rate_bps.max(1.0).log10().floor() - 2.0).max(0.0));
    ((rate_bps / unit).round() * unit).max(1.0) as u64
}

/// What frames lose of packets so long: a packet fails with any frame that it has a part in, and
/// packets that share a frame fail together.
fn of_frames(frames: Frames, packet_bits: f64) -> LossSettings {
    let touched = 1.0 + packet_bits / frames.bits.max(1.0);
    let mean = 1.0 - (1.0 - frames.error.clamp(0.0, 1.0)).powf(touched);
    LossSettings { mean, burst_packets: 1.0 + frames.bits / packet_bits }
}

/// Two causes of loss that know nothing of each other.
fn both(one: LossSettings, other: LossSettings) -> LossSettings {
    let mean = 1.0 - (1.0 - one.mean) * (1.0 - other.mean);
    let bursts = |of: LossSettings| of.mean / of.burst_packets.max(1.0);
    let all = bursts(one) + bursts(other);
    let burst_packets = if all > 0.0 { (mean / all).max(1.0) } else { 1.0 };
    LossSettings { mean, burst_packets }
}

impl<G: Geometry> LinkModel<G> {
    /// What netem is to be set to at an instant.
    ///
    /// # Errors
    /// A link that netem can't be.
    pub fn netem(&self, at: Tai, direction: Direction) -> Result<Setting, NetemError> {
        let Some(sky) = self.sky(at) else { return Ok(Setting::Closed) };
        let packet_bits = 8.0 * direction.packet_bytes() as f64;
        let frames = self.geometry.frames(at).map(|frames| of_frames(frames, packet_bits));
        let loss = frames.map_or(self.settings.loss, |frames| both(self.settings.loss, frames));
        if loss.mean >= 1.0 {
            return Ok(Setting::Closed);
        }
        let flight_ns = sky.range_km / LIGHT_KM_S * 1e9;
        let delay_ns = flight_ns + self.settings.ground_delay_ns as f64;
        // What is lost has taken its time on the air; netem throws it away before that.
        let rate_bps = self.settings.rate_bps * sky.rate_share * (1.0 - loss.mean);
        let held_s = (delay_ns + self.settings.queue_ns as f64) / 1e9;
        let leave = 1.0 / loss.burst_packets.max(1.0);
        let enter = (leave * loss.mean / (1.0 - loss.mean)).min(1.0);
        let disturbed = self.disturbing.as_ref().map(|disturbing| disturbing.of());
        let late = disturbed.filter(|of| of.late_share > 0.0 && of.late_ns > 0);
        let late = late.map(|of| (millionths(of.late_share), of.late_ns as u64 / 1_000));
        let twice = disturbed.map_or(0, |of| millionths(of.twice_share));
        if twice > 0 && late.is_some() {
            return Err(NetemError::CopiesAndLate);
        }
        Ok(Setting::Open(Netem {
            // Hundredths of a millisecond, for the same reason.
            delay_us: (delay_ns / 1e4).round() as u64 * 10,
            rate_bps: rounded(rate_bps),
            limit: ((held_s * rate_bps / packet_bits).min(LIMIT_MAX).ceil() as u64).max(LIMIT_MIN),
            turns: (loss.mean > 0.0).then(|| [enter, leave].map(millionths)),
            twice,
            late,
        }))
    }
}

/// Says when an interface is to be set to something else. One mutation, then sleep until
/// [`due`](Self::due).
#[derive(Debug)]
pub struct Shaper<G> {
    link: LinkModel<G>,
    direction: Direction,
    step_ns: i64,
    due: Tai,
    now: Option<Setting>,
}

impl<G: Geometry> Shaper<G> {
    /// A shaper that looks at the link every `step_ns`.
    pub fn new(link: LinkModel<G>, direction: Direction, step_ns: i64) -> Self {
        Self { link, direction, step_ns: step_ns.max(1), due: Tai(i64::MIN), now: None }
    }

    /// When it is to be asked again.
    pub const fn due(&self) -> Tai {
        self.due
    }

    /// What is to be set now, if that is another thing than what is set.
    ///
    /// # Errors
    /// A link that netem can't be.
    pub fn turn(&mut self, now: Tai) -> Result<Option<&Setting>, NetemError> {
        if now < self.due {
            return Ok(None);
        }
        self.due = now.plus(self.step_ns);
        let setting = self.link.netem(now, self.direction)?;
        if self.now.as_ref() == Some(&setting) {
            return Ok(None);
        }
        Ok(Some(self.now.insert(setting)))
    }
}

#[cfg(test)]
mod tests;
