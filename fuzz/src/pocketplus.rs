//! Packets by POCKET+: coded ones that no encoder made, and streams with holes.

use crate::input::Input;
use codecs::squeeze::pocketplus::{PocketConfig, PocketDecoder, PocketEncoder, PocketError};

/// Whatever comes, a packet is whole or an error; of ours, what is restored is right, and as many
/// losses as were agreed on cost nothing else.
pub fn pocketplus(data: &[u8]) {
    let mut input = Input(data);
    let config = PocketConfig {
        packet_bytes: 1 + usize::from(input.byte() & 0x3F),
        robustness: input.byte() & 7,
        new_mask_every: (input.byte() & 0x0F).into(),
        send_mask_every: (input.byte() & 0x1F).into(),
        uncompressed_every: (input.byte() & 0x3F).into(),
    };
    let losses = input.long();
    hostile(config.packet_bytes, input);
    holes(config, losses, input.0);
}

/// Pieces behind a byte with their length, 0 for a loss, to a decoder that is in step.
fn hostile(bytes: usize, mut input: Input<'_>) {
    let mut decoder = PocketDecoder::new(bytes).expect("a length");
    let mut encoder = PocketEncoder::new(PocketConfig::new(bytes, 0)).expect("a length");
    let mut first = Vec::new();
    encoder.encode(&vec![0x5A; bytes], &mut first).expect("a packet");
    assert_eq!(decoder.decode(&first, &mut Vec::new()), Ok(()));
    while !input.0.is_empty() {
        let length = input.byte();
        if length == 0 {
            decoder.lost(u32::from(input.byte()) << 24);
            continue;
        }
        let piece = input.take(length.into());
        let mut out = vec![7];
        let result = decoder.decode(piece, &mut out);
        assert_eq!(out.len(), if result.is_ok() { 1 + bytes } else { 1 });
        let Ok(used) = decoder.decode_front(piece, &mut out) else { continue };
        assert!(used <= piece.len());
    }
}

fn holes(config: PocketConfig, losses: u64, packets: &[u8]) {
    let mut encoder = PocketEncoder::new(config).expect("a configuration");
    let mut decoder = PocketDecoder::new(config.packet_bytes).expect("a length");
    let robustness = usize::from(config.robustness);
    let (mut in_step, mut missing) = (false, 0);
    for (at, packet) in packets.chunks_exact(config.packet_bytes).enumerate() {
        let (mut coded, mut out) = (Vec::new(), Vec::new());
        encoder.encode(packet, &mut coded).expect("a packet");
        if losses >> (at % 64) & 1 == 1 {
            decoder.lost(1);
            missing += 1;
            continue;
        }
        let within = at <= robustness || in_step && missing <= robustness;
        match decoder.decode(&coded, &mut out) {
            Ok(()) => assert_eq!(out, packet),
            Err(PocketError::Lost { bridges }) => {
                assert!(!within && (!in_step || missing > usize::from(bridges)));
            }
            Err(error) => panic!("{error}"),
        }
        (in_step, missing) = (within, 0);
    }
}
