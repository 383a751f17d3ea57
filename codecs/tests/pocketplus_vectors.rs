//! POCKET+ beside the vectors that ESA's reference made: the same bytes, both ways.
//!
//! A run that is told where recordings are (`GROUNDTRACK_DATA`) fails where the vectors are not
//! there; without it their absence is told and passed over.

use codecs::squeeze::pocketplus::{PocketConfig, PocketDecoder, PocketEncoder};
use std::path::PathBuf;

const VECTORS: [&str; 4] = ["simple", "hiro", "edge-cases", "housekeeping"];

/// A vector's parameters, its packets and what they are coded as.
struct Vector {
    config: PocketConfig,
    packets: Vec<u8>,
    coded: Vec<u8>,
}

fn folder() -> Option<PathBuf> {
    let told = std::env::var_os("GROUNDTRACK_DATA").filter(|folder| !folder.is_empty());
    let folder = told.clone().map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let folder = folder.join("vectors-pocketplus");
    if told.is_none() && !folder.exists() {
        println!("skipped: no vectors at {}; set GROUNDTRACK_DATA", folder.display());
        return None;
    }
    Some(folder)
}

fn vector(name: &str) -> Option<Vector> {
    let folder = folder()?;
    let read = |file: String| {
        let path = folder.join(file);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let metadata = read(format!("expected-output/{name}-metadata.json"));
    let metadata: serde_json::Value = serde_json::from_slice(&metadata).unwrap();
    let compression = &metadata["compression"];
    let number = |value: &serde_json::Value| value.as_u64().expect("a parameter") as u32;
    let of = |name: &str| number(&compression["parameters"][name]);
    Some(Vector {
        config: PocketConfig {
            packet_bytes: number(&compression["packet_length"]) as usize,
            robustness: of("robustness") as u8,
            new_mask_every: of("pt"),
            send_mask_every: of("ft"),
            uncompressed_every: of("rt"),
        },
        packets: read(format!("input/{name}.bin")),
        coded: read(format!("expected-output/{name}.bin.pkt")),
    })
}

#[test]
fn pocketplus_codes_the_vectors_to_the_byte() {
    for name in VECTORS {
        let Some(Vector { config, packets, coded }) = vector(name) else { return };
        let mut encoder = PocketEncoder::new(config).unwrap();
        let mut found = Vec::new();
        for packet in packets.chunks_exact(config.packet_bytes) {
            encoder.encode(packet, &mut found).unwrap();
        }
        let differs = found.iter().zip(&coded).position(|(found, wanted)| found != wanted);
        assert_eq!(differs, None, "{name}: first byte that differs");
        assert_eq!(found.len(), coded.len(), "{name}");
    }
}

#[test]
fn pocketplus_restores_the_vectors_to_the_byte() {
    for name in VECTORS {
        let Some(Vector { config, packets, coded }) = vector(name) else { return };
        let mut decoder = PocketDecoder::new(config.packet_bytes).unwrap();
        let (mut rest, mut found) = (&coded[..], Vec::new());
        while !rest.is_empty() {
            rest = &rest[decoder.decode_front(rest, &mut found).unwrap()..];
        }
        assert!(found == packets, "{name}: other packets came out");
    }
}
