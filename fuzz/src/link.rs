//! The link protocol's messages, objects and void records.

use crate::input::{Input, pieces};
use bytes::Bytes;
use codecs::fec::crc::crc32c;
use codecs::link::MAX_CONTROL_BYTES;
use codecs::link::control::ControlReader;
use codecs::link::object::{
    HEADER_BYTES, ObjectError, ObjectHeader, ObjectReader, ReceivedUnit, write_unit,
};
use codecs::link::quicklook::QuickLook;
use codecs::link::void::Void;
use codecs::link::wire::{Message, WireError};

fn messages<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Message>, Option<WireError>) {
    let mut reader = ControlReader::new();
    let mut found = Vec::new();
    for chunk in chunks {
        reader.push(chunk);
        loop {
            match reader.next_message() {
                Ok(Some(message)) => found.push(message),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

/// Control messages: the same however the stream is cut, and again from what they encode to.
pub fn control(data: &[u8]) {
    let mut input = Input(data);
    let cut = input.byte();
    let (found, error) = messages(std::iter::once(input.0));
    assert_eq!((&found, &error), (&messages(pieces(input.0, cut)).0, &error));
    for message in &found {
        let encoded = message.encode();
        assert!(encoded.len() <= MAX_CONTROL_BYTES);
        assert_eq!(messages(std::iter::once(&encoded[..])), (vec![message.clone()], None));
    }
    // One message without its length in front.
    if let Ok(message) = Message::decode(input.0) {
        assert_eq!(&message.encode()[4..], input.0, "there is one encoding");
    }
}

type Read = (Option<ObjectHeader>, Vec<ReceivedUnit>, Result<(), ObjectError>);

fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Read {
    let mut reader = ObjectReader::new();
    let mut units = Vec::new();
    for chunk in chunks {
        reader.push(Bytes::copy_from_slice(chunk));
        loop {
            match reader.poll_unit() {
                Ok(Some(unit)) => units.push(unit),
                Ok(None) => break,
                // How much is in excess depends on how much came at once.
                Err(ObjectError::Excess(_)) => {
                    return (reader.header().copied(), units, Err(ObjectError::Excess(0)));
                }
                Err(error) => return (reader.header().copied(), units, Err(error)),
            }
        }
    }
    (reader.header().copied(), units, reader.finish())
}

/// Objects: the same units however the stream is cut, and the same bytes written again.
pub fn object(data: &[u8]) {
    let mut input = Input(data);
    let (flags, cut) = (input.byte(), input.byte());
    let mut bytes = input.rest().to_vec();
    if flags & 1 == 0
        && let Some((header, units)) = bytes.split_first_chunk_mut::<HEADER_BYTES>()
    {
        // Magic, version, flags and check, which the fuzzer need not find.
        header[..5].copy_from_slice(b"GTO1\x01");
        header[5] &= 1;
        header[40..44].copy_from_slice(&(units.len() as u32).to_be_bytes());
        let check = crc32c(&header[..60]).to_be_bytes();
        header[60..].copy_from_slice(&check);
    }
    let whole = read(std::iter::once(&bytes[..]));
    assert_eq!(whole, read(pieces(&bytes, cut)), "units depend on the chunks");
    let (Some(header), units, result) = whole else { return };
    let mut written = header.encode().to_vec();
    for (sequence, unit) in (header.first..).zip(&units) {
        assert_eq!(unit.sequence, sequence);
        assert_eq!(unit.annotation.is_some(), header.annotated);
        write_unit(&mut written, unit.annotation, &unit.bytes);
    }
    assert!(written.len() <= bytes.len());
    if result.is_ok() {
        assert_eq!(units.len(), header.count as usize);
        assert_eq!(written.len(), bytes.len());
    }
}

/// Void records: what is read encodes to the same bytes.
pub fn void(data: &[u8]) {
    if let Ok(void) = Void::decode(data) {
        assert_eq!(void.encode(), data);
    }
}

/// Quick-look datagrams: refused, or the same bytes again.
pub fn quicklook(data: &[u8]) {
    if let Ok(look) = QuickLook::decode(data) {
        assert_eq!(look.encode().as_deref(), Some(data));
    }
}
