//! Quick-look: one live frame in a QUIC datagram. It may be lost, and nothing follows from that:
//! the same frame comes again, with custody, as a unit of an object. It takes a small [`Share`] of
//! the link, and only the newest frame waits for it.
//!
//! ```text
//!  0  1 version, 1      12  8 channel
//!  1  1 codec           20  2 spacecraft
//!  2  1 quality         22  2 zero
//!  3  1 zero            24    the frame
//!  4  8 earth receive time, ns TAI
//! ```

use super::object::Quality;
use crate::{
    ids::{Channel, Codec, SpacecraftId},
    time::Tai,
};
use alloc::vec::Vec;

/// Bytes before the frame.
pub const HEADER_BYTES: usize = 24;
/// Longest frame: a datagram is never larger than a UDP payload.
pub const FRAME_BYTES_MAX: usize = 65_507 - HEADER_BYTES;

const VERSION: u8 = 1;

/// A frame as it was heard, without custody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuickLook<'a> {
    /// Format of the frame.
    pub codec: Codec,
    /// How it looked.
    pub quality: Quality,
    /// Earth receive time.
    pub received: Tai,
    /// Which channel it came on.
    pub channel: Channel,
    /// Whose it is, as the sender says.
    pub spacecraft: SpacecraftId,
    /// The frame.
    pub frame: &'a [u8],
}

/// Why a datagram is no quick-look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuickLookError {
    /// It ends before its frame begins.
    #[error("a datagram of {0} bytes holds no quick-look, which has at least 25")]
    Short(usize),
    /// Longer than any datagram.
    #[error("a frame of {0} bytes fits no datagram")]
    Long(usize),
    /// Another version.
    #[error("quick-look version {0}, wanted 1")]
    Version(u8),
    /// A codec that is none, or not of a frame or packet.
    #[error("codec {0} is none of a frame or packet")]
    Codec(u8),
    /// A quality that is none.
    #[error("unknown quality {0}")]
    Quality(u8),
    /// Bytes that must be zero are not.
    #[error("reserved bytes are not zero")]
    Reserved,
}

impl<'a> QuickLook<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// It is too short, of another version, or holds a value that is none.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, QuickLookError> {
        let short = QuickLookError::Short(datagram.len());
        let (header, frame) = datagram.split_first_chunk::<HEADER_BYTES>().ok_or(short)?;
        let [version, codec, quality, zero, rest @ ..] = header;
        let (received, rest) = rest.split_first_chunk::<8>().ok_or(short)?;
        let (channel, rest) = rest.split_first_chunk::<8>().ok_or(short)?;
        let (spacecraft, zeros) = rest.split_first_chunk::<2>().ok_or(short)?;
        if *version != VERSION {
            return Err(QuickLookError::Version(*version));
        }
        let known = Codec::from_byte(*codec).filter(|codec| is_live(*codec));
        let codec = known.ok_or(QuickLookError::Codec(*codec))?;
        let quality = Quality::from_byte(*quality).ok_or(QuickLookError::Quality(*quality))?;
        if *zero != 0 || zeros.iter().any(|zero| *zero != 0) {
            return Err(QuickLookError::Reserved);
        }
        if frame.is_empty() {
            return Err(short);
        }
        if frame.len() > FRAME_BYTES_MAX {
            return Err(QuickLookError::Long(frame.len()));
        }
        Ok(Self {
            codec,
            quality,
            received: Tai(i64::from_be_bytes(*received)),
            channel: Channel(u64::from_be_bytes(*channel)),
            spacecraft: SpacecraftId(u16::from_be_bytes(*spacecraft)),
            frame,
        })
    }

    /// The datagram, unless no decoder would take it.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let fits = (1..=FRAME_BYTES_MAX).contains(&self.frame.len());
        if !fits || !is_live(self.codec) {
            return None;
        }
        let mut out = Vec::with_capacity(HEADER_BYTES + self.frame.len());
        out.extend_from_slice(&[VERSION, self.codec as u8, self.quality as u8, 0]);
        out.extend_from_slice(&self.received.0.to_be_bytes());
        out.extend_from_slice(&self.channel.0.to_be_bytes());
        out.extend_from_slice(&self.spacecraft.0.to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(self.frame);
        Some(out)
    }
}

/// Of what a link carries, quick-look takes at most one part in so many.
pub const SHARE: u64 = 20;
/// What an idle link saves up for quick-look at the most, bytes: some frames, no burst.
const SAVED_BYTES_MAX: u64 = 8 << 10;

/// How much of a link quick-look may take: it must never hold up what has custody.
///
/// Times are monotonic nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Share {
    /// Bytes that may go, in billionths.
    saved: u128,
    filled_ns: u64,
}

impl Share {
    /// Nothing saved up yet.
    pub const fn new(now_ns: u64) -> Self {
        Self { saved: 0, filled_ns: now_ns }
    }

    /// Whether a datagram of so many bytes may go over a link that carries `rate` bytes a second;
    /// it is counted then. Of what must wait, the caller keeps the newest only.
    pub fn take(&mut self, bytes: usize, rate: u64, now_ns: u64) -> bool {
        let since = now_ns.saturating_sub(self.filled_ns);
        self.filled_ns = self.filled_ns.max(now_ns);
        let gained = u128::from(since) * u128::from(rate / SHARE);
        // A datagram larger than all that may be saved up would wait for ever.
        let most = u128::from(SAVED_BYTES_MAX.max(bytes as u64)) * 1_000_000_000;
        self.saved = self.saved.saturating_add(gained).min(most);
        let wanted = bytes as u128 * 1_000_000_000;
        let may = self.saved >= wanted;
        if may {
            self.saved -= wanted;
        }
        may
    }
}

/// Whether something of this format can be looked at as it comes.
fn is_live(codec: Codec) -> bool {
    use Codec::{AosFrame, Ax25Frame, SpacePacket, TmFrame, UslpFrame};
    matches!(codec, SpacePacket | TmFrame | AosFrame | UslpFrame | Ax25Frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn look(frame: &[u8]) -> QuickLook<'_> {
        QuickLook {
            codec: Codec::AosFrame,
            quality: Quality::Corrected,
            received: Tai(0x0102_0304_0506_0708),
            channel: Channel(0x1112_1314_1516_1718),
            spacecraft: SpacecraftId(0x2122),
            frame,
        }
    }

    #[test]
    fn every_byte_has_its_place() {
        let golden = [
            1, 3, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,
            0x21, 0x22, 0, 0, 0xAA, 0xBB,
        ];
        assert_eq!(look(&[0xAA, 0xBB]).encode().unwrap(), golden);
        assert_eq!(QuickLook::decode(&golden), Ok(look(&[0xAA, 0xBB])));
        for cut in 0..=HEADER_BYTES {
            assert_eq!(QuickLook::decode(&golden[..cut]), Err(QuickLookError::Short(cut)));
        }
        let with = |at: usize, value: u8| {
            let mut wrong = golden;
            wrong[at] = value;
            QuickLook::decode(&wrong).unwrap_err()
        };
        assert_eq!(with(0, 2), QuickLookError::Version(2));
        assert_eq!(with(1, 48), QuickLookError::Codec(48));
        assert_eq!(with(2, 4), QuickLookError::Quality(4));
        assert_eq!((with(3, 1), with(22, 1)), (QuickLookError::Reserved, QuickLookError::Reserved));
    }

    #[test]
    fn it_takes_its_share_of_any_link_and_no_more() {
        for rate in [0, 100, 10_000, 1_000_000, 100_000_000u64] {
            let mut share = Share::new(0);
            let (seconds, mut sent) = (1_000, 0);
            // It is asked ten times a second, far more often than a slow link allows.
            for tenth in 1..=10 * seconds {
                if share.take(1_137, rate, tenth * 100_000_000) {
                    sent += 1_137;
                }
            }
            let most = rate / SHARE * seconds;
            assert!(sent <= most, "{sent} of {most}");
            let asked = 10 * seconds * 1_137;
            assert!(sent + 1_137 >= most.min(asked), "{sent} of {most}");
        }
        // A pause buys no burst.
        let mut share = Share::new(0);
        let hour = 3_600_000_000_000;
        let burst = (0..100).filter(|_| share.take(1_137, 1 << 30, hour)).count();
        assert_eq!(burst, 7);
        assert!(!share.take(1_137, 1 << 30, 0), "a clock that steps back gives nothing");
    }

    #[test]
    fn what_no_one_would_take_is_not_written() {
        assert_eq!(look(&[]).encode(), None);
        assert_eq!(look(&[0; FRAME_BYTES_MAX + 1]).encode(), None);
        assert_eq!(QuickLook { codec: Codec::Void, ..look(&[1]) }.encode(), None);
    }

    proptest! {
        #[test]
        fn any_frame_comes_back(
            frame in proptest::collection::vec(any::<u8>(), 1..2_000),
            (codec, quality) in (1u8..6, 0u8..4),
            (received, channel, spacecraft) in any::<(i64, u64, u16)>(),
        ) {
            let look = QuickLook {
                codec: Codec::from_byte(codec).unwrap(),
                quality: Quality::from_byte(quality).unwrap(),
                received: Tai(received),
                channel: Channel(channel),
                spacecraft: SpacecraftId(spacecraft),
                frame: &frame,
            };
            let datagram = look.encode().unwrap();
            prop_assert_eq!(QuickLook::decode(&datagram), Ok(look));
        }

        #[test]
        fn any_bytes_are_refused_or_written_again_alike(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            if let Ok(look) = QuickLook::decode(&bytes) {
                prop_assert_eq!(look.encode().unwrap(), bytes);
            }
        }
    }
}
