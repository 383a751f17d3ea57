use super::*;
use proptest::prelude::*;

fn object(units: &[Vec<u8>], annotated: bool) -> (ObjectHeader, Vec<u8>) {
    let annotation = annotated.then_some(Annotation {
        received: Tai(5),
        source: TimeSource::Reading,
        quality: Quality::Corrected,
        antenna: 2,
        corrected_symbols: 11,
    });
    let mut body = Vec::new();
    units.iter().for_each(|unit| write_unit(&mut body, annotation, unit));
    let header = ObjectHeader {
        annotated,
        codec: Codec::Squeezed,
        priority: 9,
        epoch: StoreEpoch(0x0102),
        spacecraft: SpacecraftId(7),
        channel: Channel::stream(1),
        first: 40,
        count: units.len() as u32,
        length: body.len() as u32,
        created: Tai(77),
    };
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(&body);
    (header, bytes)
}

fn read(bytes: &[u8], chunk: usize) -> (Vec<ReceivedUnit>, Result<(), ObjectError>) {
    let mut reader = ObjectReader::new();
    let mut units = Vec::new();
    for part in bytes.chunks(chunk) {
        reader.push(Bytes::copy_from_slice(part));
        loop {
            match reader.poll_unit() {
                Ok(Some(unit)) => units.push(unit),
                Ok(None) => break,
                Err(error) => return (units, Err(error)),
            }
        }
    }
    (units, reader.finish())
}

proptest! {
    #[test]
    fn objects_come_back_however_the_stream_is_cut(
        units in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..8),
        annotated: bool,
        chunk in 1usize..300,
    ) {
        let (_, bytes) = object(&units, annotated);
        let (received, end) = read(&bytes, chunk);
        prop_assert_eq!(end, Ok(()));
        prop_assert_eq!(received.len(), units.len());
        for (at, (unit, sent)) in received.iter().zip(&units).enumerate() {
            prop_assert_eq!(&*unit.bytes, &**sent);
            prop_assert_eq!(unit.sequence, 40 + at as u64);
            prop_assert!(unit.intact);
            prop_assert_eq!(unit.annotation.is_some(), annotated);
        }
    }

    #[test]
    fn copied_units_equal_polled_ones(
        units in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..8),
        annotated: bool,
        chunk in 1usize..300,
        skipped in 0usize..8,
        flip in prop::option::of(0usize..2_000),
    ) {
        let (_, mut bytes) = object(&units, annotated);
        if let Some(flip) = flip.filter(|flip| HEADER_BYTES + flip < bytes.len()) {
            bytes[HEADER_BYTES + flip] ^= 4;
        }
        let (polled, end) = read(&bytes, chunk);
        let mut reader = ObjectReader::new();
        let mut copied = Vec::new();
        let mut error = None;
        for part in bytes.chunks(chunk) {
            reader.push(Bytes::copy_from_slice(part));
            loop {
                match reader.peek_unit() {
                    Ok(Some(head)) if head.sequence == 40 + skipped as u64 => {
                        reader.skip_unit(&head);
                        copied.push(polled[skipped].clone());
                    }
                    Ok(Some(head)) => {
                        let mut into = alloc::vec![0; head.length];
                        let intact = reader.copy_unit(&head, &mut into);
                        let annotation = head.annotation.map(Annotation::decode);
                        let (sequence, bytes) = (head.sequence, Bytes::from(into));
                        copied.push(ReceivedUnit { sequence, annotation, bytes, intact });
                    }
                    Ok(None) => break,
                    Err(other) => {
                        error = error.or(Some(other));
                        break;
                    }
                }
            }
        }
        prop_assert_eq!(copied, polled);
        prop_assert_eq!(error.map_or_else(|| reader.finish(), Err), end);
    }

    #[test]
    fn whole_units_before_a_cut_are_kept(
        units in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..6),
        cut in 0usize..400,
    ) {
        let (_, bytes) = object(&units, false);
        let cut = cut % bytes.len();
        let (received, end) = read(&bytes[..cut], 64);
        prop_assert!(end.is_err());
        let mut whole = 0;
        let mut used = HEADER_BYTES;
        for unit in &units {
            used += unit_footprint(unit.len(), false);
            if used <= cut { whole += 1; }
        }
        prop_assert_eq!(received.len(), whole);
    }

    #[test]
    fn garbage_and_flips_never_panic(
        units in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..6),
        position in 0usize..400,
        bit in 0u8..8,
    ) {
        let (_, mut bytes) = object(&units, true);
        let position = position % bytes.len();
        bytes[position] ^= 1 << bit;
        let (received, end) = read(&bytes, 100);
        if position < HEADER_BYTES {
            prop_assert!(end.is_err() && received.is_empty());
        }
    }
}

#[test]
fn a_unit_count_that_lies_costs_only_what_is_beyond_it() {
    let (mut header, bytes) = object(&[Vec::from(*b"one"), Vec::from(*b"two")], false);
    header.count = 1;
    let mut lying = header.encode().to_vec();
    lying.extend_from_slice(&bytes[HEADER_BYTES..]);
    let (received, end) = read(&lying, 1000);
    assert_eq!((received.len(), end), (1, Err(ObjectError::Excess(11))));
    header.count = 3;
    lying[..HEADER_BYTES].copy_from_slice(&header.encode());
    let (received, end) = read(&lying, 1000);
    assert_eq!(received.len(), 2);
    assert_eq!(end, Err(ObjectError::Truncated { missing: 1, count: 3 }));
}

#[test]
fn a_unit_that_fits_its_chunk_is_not_copied() {
    let (_, bytes) = object(&[Vec::from([7; 100])], false);
    let chunk = Bytes::from(bytes);
    let mut reader = ObjectReader::new();
    reader.push(chunk.clone());
    let unit = reader.poll_unit().unwrap().unwrap();
    assert_eq!(unit.bytes.as_ptr(), chunk[HEADER_BYTES + UNIT_HEADER_BYTES..].as_ptr());
}
