//! Pictures as files: what a payload computer leaves in the folder that it shares with the flight
//! software, instead of a packet.

use super::imager::{BANDS, EDGE};
use super::packets::IMAGER;
use codecs::packet::space::PacketView;
use codecs::time::Tai;
use serde_json::json;

/// Octets of a packet's time, and of what the imager says before the place.
const TIME: usize = 7;
const HEADER: usize = 20;
/// Octets of attitude and corners.
const PLACE: usize = 48;

/// One picture with its sidecar.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Number of the picture.
    pub id: u32,
    /// Samples, band after band.
    pub raw: Vec<u8>,
    /// The JSON object that stands beside them.
    pub sidecar: String,
}

impl Picture {
    /// The picture that a packet of the imager holds; none of any other packet.
    pub fn of(packet: &[u8]) -> Option<Self> {
        let view = PacketView::parse(packet).ok()?;
        if view.header().apid != IMAGER {
            return None;
        }
        let (time, data) = packet.get(6..)?.split_first_chunk::<TIME>()?;
        let (header, data) = data.split_at_checked(HEADER)?;
        let (place, pixels) = data.split_at_checked(PLACE)?;
        let id = u32::from_be_bytes(*header.first_chunk()?);
        if pixels.len() != EDGE * EDGE * BANDS {
            return None;
        }
        let numbers: Vec<f32> =
            place.as_chunks::<4>().0.iter().map(|of| f32::from_be_bytes(*of)).collect();
        let (attitude, corners) = numbers.split_at_checked(4)?;
        let sidecar = json!({
            "width": EDGE,
            "height": EDGE,
            "bands": BANDS,
            "time_ns": Tai::from_cuc43(*time).0,
            "attitude": attitude,
            "corners": corners.as_chunks::<2>().0,
        });
        Some(Self { id, raw: pixels.to_vec(), sidecar: sidecar.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scene;
    use crate::spacecraft::Spacecraft;
    use crate::spacecraft::faults::Faults;
    use onboard::source::image;
    use onboard::triage::read_tile;

    #[test]
    fn the_flight_software_reads_from_the_file_what_it_reads_from_the_packet() {
        let pass = scene::Scene::new().unwrap().pass;
        let orbit = scene::orbit().unwrap();
        let mut craft = Spacecraft::new(orbit, pass.rise, 7, Faults::default(), vec![]).unwrap();
        let mut packets = Vec::new();
        let (packet, picture) = loop {
            craft.step(&mut packets).unwrap();
            let mut pictures = packets.drain(..).filter_map(|of| Some((Picture::of(&of)?, of)));
            if let Some((picture, packet)) = pictures.next() {
                break (packet, picture);
            }
        };
        let sidecar = Some(picture.sidecar.as_bytes());
        let image = image::read("tile.raw", &picture.raw, sidecar, 1 << 20).unwrap();
        let tile = read_tile(&packet[13..].to_vec().into()).unwrap();
        assert_eq!(image.samples, tile.pixels);
        assert_eq!(image.captured.unwrap(), Tai::from_cuc43(packet[6..13].try_into().unwrap()));
        assert_eq!(image.attitude, tile.place.unwrap().attitude);
        assert!(image.placed.is_some());
        assert!(Picture::of(&packet[..40]).is_none(), "a packet that was cut");
    }
}
