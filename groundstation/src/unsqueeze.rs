//! Units that hold packets without frames: squeezed blocks and bare packets.

use bytes::Bytes;
use codecs::ids::Codec;
use codecs::squeeze::columns::{MAX_BLOCK_BYTES, SqueezeError, unsqueeze};

/// The packets of a unit, each a slice of one buffer; none for codecs that hold none.
pub fn packets(codec: Codec, unit: &Bytes) -> Result<Vec<Bytes>, SqueezeError> {
    match codec {
        Codec::SpacePacket => Ok(vec![unit.clone()]),
        Codec::Squeezed => Ok(unsqueeze(unit, MAX_BLOCK_BYTES)?.packets().collect()),
        _ => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::squeeze::columns::squeeze;

    #[test]
    fn blocks_and_bare_packets_give_packets() {
        let packet = Bytes::from_static(&[8, 100, 0xC0, 0, 0, 1, 1, 2]);
        let block = Bytes::from(squeeze(&[&packet, &packet], 3).unwrap());
        assert_eq!(packets(Codec::Squeezed, &block).unwrap(), [packet.clone(), packet.clone()]);
        assert_eq!(packets(Codec::SpacePacket, &packet).unwrap(), std::slice::from_ref(&packet));
        assert!(packets(Codec::Squeezed, &packet).is_err());
        assert!(packets(Codec::Record, &packet).unwrap().is_empty());
    }
}
