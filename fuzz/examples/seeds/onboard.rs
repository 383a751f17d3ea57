//! What sensors hand to the flight software.

use super::{Tai, write};

/// Packets of an imager and of a sensor, as a source takes them.
pub fn sensors() {
    let mut tile = vec![0, 0, 0, 9, 0, 4, 0, 4, 1, 12];
    tile.extend(78.0f32.to_be_bytes());
    tile.extend(15.0f32.to_be_bytes());
    tile.extend([40, 1]);
    (0..12u8).for_each(|at| tile.extend(f32::from(at).to_be_bytes()));
    (0..16u16).for_each(|at| tile.extend((at * 200).to_be_bytes()));
    write("imager", "deep", &[], &tile);
    let mut shallow = vec![0, 0, 0, 9, 0, 4, 0, 4, 4, 8];
    shallow.resize(18, 0);
    shallow.extend([255, 0]);
    shallow.extend([9; 64]);
    write("imager", "four-bands", &[], &shallow);
    let packet = |apid: u16, data: &[u8]| {
        let mut packet = vec![0x08 | (apid >> 8) as u8, apid as u8, 0xC0, 0];
        packet.extend(((7 + data.len() - 1) as u16).to_be_bytes());
        packet.extend(Tai(1_800_000_000_000_000_000).to_cuc43());
        packet.extend(data);
        packet
    };
    let tile = packet(300, &shallow);
    write("sensors", "tiles", &[tile.len() as u8 - 1], &[&tile[..], &tile].concat());
    let sample = packet(100, &[1, 2, 3, 4]);
    write("sensors", "packets", &[sample.len() as u8 - 1], &sample.repeat(5));
}
