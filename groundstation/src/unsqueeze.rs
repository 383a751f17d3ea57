//! Units that hold packets outside the frames of a channel: squeezed blocks, bare packets, and the
//! information of AX.25 frames.

use bytes::Bytes;
use codecs::frame::ax25;
use codecs::ids::Codec;
use codecs::packet::{self, Extent, Protocol};
use codecs::squeeze::columns::{MAX_BLOCK_BYTES, SqueezeError, unsqueeze};

/// The packets of a unit, each a slice of one buffer; none for codecs that hold none.
pub fn packets(codec: Codec, unit: &Bytes) -> Result<Vec<Bytes>, SqueezeError> {
    match codec {
        Codec::SpacePacket => Ok(vec![unit.clone()]),
        Codec::Ax25Frame => Ok(carried(unit)),
        Codec::Squeezed => Ok(unsqueeze(unit, MAX_BLOCK_BYTES)?.packets().collect()),
        _ => Ok(Vec::new()),
    }
}

/// Space packets end to end in the information of an AX.25 frame; none where it holds anything
/// else, such as text.
fn carried(frame: &Bytes) -> Vec<Bytes> {
    let Some(at) = ax25::information(frame) else { return Vec::new() };
    let (mut rest, mut packets) = (frame.slice(at..), Vec::new());
    while !rest.is_empty() {
        match packet::extent(&rest) {
            Extent::Known { protocol: Protocol::Space, length } if length <= rest.len() => {
                packets.push(rest.split_to(length));
            }
            _ => return Vec::new(),
        }
    }
    packets
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::squeeze::columns::squeeze;

    #[test]
    fn blocks_and_bare_packets_give_packets() {
        let packet = Bytes::from_static(&[8, 100, 0xC0, 0, 0, 1, 1, 2]);
        let block = Bytes::from(squeeze(&[&packet, &packet], Default::default()).unwrap());
        assert_eq!(packets(Codec::Squeezed, &block).unwrap(), [packet.clone(), packet.clone()]);
        assert_eq!(packets(Codec::SpacePacket, &packet).unwrap(), std::slice::from_ref(&packet));
        let address = [[0x82; 6].as_slice(), &[0x60], &[0x84; 6], &[0x61]].concat();
        let frame = |inside: &[u8]| Bytes::from([&address[..], &[0x03, 0xF0], inside].concat());
        let two = frame(&packet.repeat(2));
        assert_eq!(packets(Codec::Ax25Frame, &two).unwrap(), [packet.clone(), packet.clone()]);
        assert!(packets(Codec::Ax25Frame, &frame(b"!4903.50N/07201.75W-")).unwrap().is_empty());
        assert!(packets(Codec::Squeezed, &packet).is_err());
        assert!(packets(Codec::Record, &packet).unwrap().is_empty());
    }
}
