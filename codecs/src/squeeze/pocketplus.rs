//! Robust Compression of Fixed-Length Housekeeping Data of CCSDS 124.0-B-1, known as POCKET+:
//! packet by packet, with no wait, and with losses bridged.
//!
//! **Patent.** The European Space Agency holds a patent on the method. Its patent office has said
//! that the patent covers use, not one piece of software: an own implementation needs ESA's licence
//! too. Ask ESA before you use this for more than comparison. The licences of this project's code
//! grant nothing of it. That is why the module is behind the feature `pocketplus`, which is off by
//! default and which no binary of ours turns on.
//!
//! ```text
//! packet ─► what changed ─► mask (which bits are sent) ─► vector (words) ─► gather ─► bits
//!            mask's changes of the last packets as runs, now and then the whole mask or packet
//! ```
//!
//! A mask tells which bits are sent; a bit that changes joins it, and every so many packets it is
//! made anew from what changed since. Each coded packet repeats the mask's changes of the
//! packets before it, so that a decoder goes on after losing a few in a row. How many is in the
//! packet: at least the agreed robustness, up to 15.
//!
//! Nothing in a coded packet says whose it is, which it is or whether it is whole: sequence counts
//! and checks of the packets and frames that carry it do. One coder serves one source of packets
//! of one length.
//!
//! Left free by the standard and settled here as in ESA's reference: when each flag is raised
//! ([`PocketConfig`]), and that each coded packet is filled up with zeros to a whole byte. Clauses
//! are cited by chapter: the facts come from descriptions of the book, which was not at hand, and
//! the published vectors were the judge.
//!
//! **Panics:** none, whatever the bytes. A decoder holds what its packet's length asks for and no
//! more.

mod vector;
mod gather;
mod count;
mod encode;
mod decode;
#[cfg(test)]
mod tests;

pub use decode::PocketDecoder;
pub use encode::PocketEncoder;

/// Most bytes of a packet: the standard counts up to 65,535 bits.
pub const MAX_PACKET_BYTES: usize = 8191;

/// The highest robustness that can be asked for.
pub const MAX_ROBUSTNESS: u8 = 7;

/// The most losses in a row that a coded packet can say it bridges (§5).
const MAX_EFFECTIVE: u32 = 15;

/// What an encoder is asked for. A decoder needs the packet's length alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PocketConfig {
    /// Bytes of a packet, 1 to [`MAX_PACKET_BYTES`].
    pub packet_bytes: usize,
    /// Packets that may be lost in a row at no further cost (R), 0 to [`MAX_ROBUSTNESS`].
    pub robustness: u8,
    /// Packets from one new mask (flag p) to the next; 0 for never. Bits that stopped changing
    /// leave the mask then.
    pub new_mask_every: u32,
    /// Packets from one mask sent whole (flag f) to the next; 0 for never but at the start.
    pub send_mask_every: u32,
    /// Packets from one packet sent whole (flag r) to the next; 0 for never but at the start.
    pub uncompressed_every: u32,
}

impl PocketConfig {
    /// A new mask every 20 packets, the mask every 50, a whole packet every 100.
    pub fn new(packet_bytes: usize, robustness: u8) -> Self {
        Self {
            packet_bytes,
            robustness,
            new_mask_every: 20,
            send_mask_every: 50,
            uncompressed_every: 100,
        }
    }

    fn check(&self) -> Result<(), PocketError> {
        check_bytes(self.packet_bytes)?;
        if self.robustness > MAX_ROBUSTNESS {
            return Err(PocketError::Robustness(self.robustness));
        }
        Ok(())
    }
}

fn check_bytes(packet_bytes: usize) -> Result<(), PocketError> {
    if !(1..=MAX_PACKET_BYTES).contains(&packet_bytes) {
        return Err(PocketError::PacketBytes(packet_bytes));
    }
    Ok(())
}

/// Why a packet can't be coded or restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PocketError {
    /// Packets have 1 to [`MAX_PACKET_BYTES`] bytes.
    #[error("packets of {0} bytes; POCKET+ takes 1 to {MAX_PACKET_BYTES}")]
    PacketBytes(usize),
    /// Robustness is 0 to [`MAX_ROBUSTNESS`].
    #[error("a robustness of {0} packets; 0 to {MAX_ROBUSTNESS} can be asked for")]
    Robustness(u8),
    /// A packet, or a first mask, of another length than agreed.
    #[error("{found} bytes where packets have {agreed}; one coder takes packets of one length")]
    Length {
        /// Bytes given.
        found: usize,
        /// Bytes of a packet.
        agreed: usize,
    },
    /// The coded packet ends too soon.
    #[error("the coded packet ends within its content, after {0} bytes")]
    Truncated(usize),
    /// A code that no encoder gives for packets of this length.
    #[error("the coded packet is damaged at about byte {0}")]
    Damaged(usize),
    /// Bytes are left when the packet is there.
    #[error("the packet ends after byte {used} of the coded packet, which has {bytes}")]
    Rest {
        /// Bytes that the packet took.
        used: usize,
        /// Bytes given.
        bytes: usize,
    },
    /// What was lost before is more than this packet bridges, or no mask or whole packet came yet.
    #[error(
        "out of step after a loss, of which this packet bridges {bridges}; a mask and a whole \
         packet will mend it"
    )]
    Lost {
        /// Losses in a row that the coded packet can bridge.
        bridges: u8,
    },
    /// The mask sent is not the one that the changes lead to: an untold loss, or damage.
    #[error(
        "the mask sent contradicts the changes before it: packets were lost and not told of, or \
         damaged"
    )]
    Contradiction,
}
