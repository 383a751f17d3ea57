//! Seeds of the target `pocketplus`: a source's packets, and what they are coded as.

use codecs::squeeze::pocketplus::{PocketConfig, PocketEncoder};

const BYTES: usize = 11;
/// Length, robustness, periods of new masks, sent masks and whole packets.
const CHOICES: [u8; 5] = [BYTES as u8 - 1, 2, 5, 7, 17];

fn packets() -> Vec<Vec<u8>> {
    let byte = |row: usize, column: usize| match column % 4 {
        0 => row,
        1 => row * row / 31,
        2 if row / 13 % 2 == 1 => row * 97,
        _ => column,
    };
    let packet = |row| (0..BYTES).map(|column| byte(row, column) as u8).collect();
    (0..90).map(packet).collect()
}

pub fn seeds() {
    let packets = packets();
    let holes = 0x0000_0C06_6660_1110_u64.to_be_bytes();
    super::write("pocketplus", "holes", &[&CHOICES[..], &holes].concat(), &packets.concat());
    let [_, robustness, new_mask, send_mask, uncompressed] = CHOICES;
    let config = PocketConfig {
        packet_bytes: BYTES,
        robustness,
        new_mask_every: new_mask.into(),
        send_mask_every: send_mask.into(),
        uncompressed_every: uncompressed.into(),
    };
    let mut encoder = PocketEncoder::new(config).expect("a configuration");
    let mut pieces = Vec::new();
    for (at, packet) in packets[..60].iter().enumerate() {
        let mut coded = Vec::new();
        encoder.encode(packet, &mut coded).expect("a packet");
        if at % 9 == 8 {
            pieces.extend([0, 0]);
        } else {
            pieces.push(coded.len() as u8);
            pieces.extend(coded);
        }
    }
    super::write("pocketplus", "coded", &[&CHOICES[..], &[0; 8]].concat(), &pieces);
}
