//! Custody over the air: parts of units, and what a domain signs.

use crate::input::Input;
use codecs::ids::{Apid, Origin};
use codecs::link::rf::part::{PARTS_MAX, Part};
use codecs::link::rf::rebuild::{BYTES_MAX, Rebuilder};
use codecs::link::rf::signed::{Listener, SIGNATURE_BYTES, Statement};
use codecs::packet::space::{PacketHeader, PacketView, SequenceCount, build};

const KEY: [u8; 32] = [7; 32];

/// Parts as they come: what is read has one encoding, memory stays within its bound, and what
/// comes out whole holds its check.
pub fn parts(data: &[u8]) {
    let mut input = Input(data);
    let mut rebuilder = Rebuilder::new();
    while !input.0.is_empty() {
        let (flags, length) = (input.byte(), usize::from(input.word()));
        let mut bytes = input.take(length).to_vec();
        // Magic, version, zeros and check, which the fuzzer need not find.
        if flags & 1 == 0 && bytes.len() >= 48 {
            bytes[..3].copy_from_slice(b"GP\x01");
            bytes[5] = 0;
            bytes[32] %= (PARTS_MAX >> 8) as u8;
            bytes[34] %= (PARTS_MAX >> 8) as u8;
            bytes[36..40].fill(0);
            let checked = check(&bytes);
            bytes[44..48].copy_from_slice(&checked.to_be_bytes());
        }
        let mut header = PacketHeader::telemetry(Apid(1), SequenceCount(0)).with_secondary_header();
        header.grouping = [
            codecs::packet::space::Grouping::Continuation,
            codecs::packet::space::Grouping::First,
            codecs::packet::space::Grouping::Last,
            codecs::packet::space::Grouping::Unsegmented,
        ][usize::from(flags >> 1 & 3)];
        let Ok(packet) = build(&header, &bytes) else { continue };
        let Ok(view) = PacketView::parse(&packet) else { continue };
        if let Ok(part) = Part::parse(&view) {
            assert_eq!(part.packet(header), packet, "there is one encoding");
        }
        if let Some(rebuilt) = rebuilder.push(&view) {
            assert_eq!(codecs::fec::crc::crc32c(&rebuilt.bytes), rebuilt.of.check);
        }
        assert!(rebuilder.held_bytes() <= BYTES_MAX);
    }
}

fn check(bytes: &[u8]) -> u32 {
    let mut check = codecs::fec::crc::Crc32c::new();
    check.update(&bytes[..44]);
    check.update(&bytes[48..]);
    check.finish()
}

/// Statements: what the key did not sign is never believed; what is believed is believed once and
/// has one encoding.
pub fn statements(data: &[u8]) {
    use ed25519_dalek::{Signer, SigningKey};
    let mut input = Input(data);
    let sign = input.byte() & 1 == 0;
    let mut bytes = input.rest().to_vec();
    let key = SigningKey::from_bytes(&KEY);
    if sign && bytes.len() >= SIGNATURE_BYTES {
        let end = bytes.len() - SIGNATURE_BYTES;
        let text = [b"groundtrack rf uplink 1\0", &bytes[..end]].concat();
        bytes[end..].copy_from_slice(&key.sign(&text).to_bytes());
    }
    let mut header = PacketHeader::telemetry(Apid(1), SequenceCount(0)).with_secondary_header();
    header.command = true;
    let Ok(packet) = build(&header, &bytes) else { return };
    let Ok(view) = PacketView::parse(&packet) else { return };
    let public = key.verifying_key().to_bytes();
    let Some(mut listener) = Listener::new("orbit", &public, Origin([2; 16]), 3) else {
        unreachable!("a key")
    };
    match listener.hear(&view) {
        Ok(statement) => {
            // A seed brings a signature of its own.
            assert!(statement.counter > 3 && statement.domain == "orbit");
            same(&statement, &packet);
            assert!(listener.hear(&view).is_err(), "believed twice");
        }
        Err(_) => assert_eq!(listener.counter(), 3),
    }
}

fn same(statement: &Statement, packet: &[u8]) {
    let written = statement.packet(&KEY, Apid(1), SequenceCount(0));
    assert_eq!(written.as_deref(), Some(packet), "there is one encoding");
}
