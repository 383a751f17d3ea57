//! Squeezed blocks, payload products and tensors.

use crate::input::Input;
use bytes::Bytes;
use codecs::fec::crc::crc32c;
use codecs::product::{MAX_PIXEL_BYTES, Product};
use codecs::squeeze::columns::{Level, explain, squeeze as squeeze_block, unsqueeze};
use codecs::tensor::{DType, Tensor};

/// Most bytes of packets that a block of the fuzzer's may claim.
const MAX_BYTES: usize = 1 << 16;

/// Squeezed blocks: bounded whatever they claim, and squeezed packets come back.
pub fn squeeze(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.byte();
    let length = 7 + usize::from(choice & 0x3F);
    let level = if choice & 0x40 == 0 { Level::Dense } else { Level::Fast };
    if choice & 0x80 != 0 {
        // A header that holds, but for its check, which the fuzzer need not find.
        let method = if level == Level::Fast { 0x22 } else { 0x23 };
        let header = [b'S', b'q', method, 0, 0, length as u8, 0, 1 + input.byte() % 64, 0, 0, 0, 0];
        let forged = [&header[..], input.0].concat();
        if let Ok(block) = unsqueeze(&forged, MAX_BYTES) {
            assert_eq!(block.packet_length, length);
        }
        let _ = explain(&forged);
        return;
    }
    if let Ok(block) = unsqueeze(input.0, MAX_BYTES) {
        assert!(block.data.len() <= MAX_BYTES);
        assert_eq!(block.count() * block.packet_length, block.data.len());
        come_back(&block.packets().map(|packet| packet.to_vec()).collect::<Vec<_>>(), level);
        let told = explain(input.0).expect("a block that was read");
        let columns: usize = told.iter().map(|group| group.width).sum();
        assert!(told.is_empty() || columns == block.packet_length);
    }
    // One APID in all, so that they make a block.
    let packets = input.0.chunks_exact(length).take(64).map(|packet| {
        let mut packet = packet.to_vec();
        packet[..2].copy_from_slice(&[0x08, 0x2A]);
        packet
    });
    let packets: Vec<_> = packets.collect();
    if !packets.is_empty() {
        come_back(&packets, level);
    }
}

fn come_back(packets: &[Vec<u8>], level: Level) {
    let slices: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
    // A block read may mix APIDs, which the squeezer refuses.
    let Ok(block) = squeeze_block(&slices, level) else { return };
    let back = unsqueeze(&block, MAX_BYTES).expect("a block of ours");
    assert!(back.packets().eq(packets.iter().map(|packet| packet.as_slice())));
}

/// Payload products: what is decoded adds up and encodes to the same product.
pub fn product(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let mut bytes = input.rest().to_vec();
    if flags & 1 == 0 && bytes.len() >= 46 {
        // Magic, flags and check of raw pixels, which the fuzzer need not find.
        let before = flags & 2 != 0;
        bytes[..4].copy_from_slice(if before { b"GTP1" } else { b"GTP2" });
        bytes[5] &= if before { 0 } else { 0x0C };
        let covered = if before { Vec::new() } else { bytes[..42].to_vec() };
        let check = crc32c(&[&covered, &bytes[46..]].concat()).to_be_bytes();
        bytes[42..46].copy_from_slice(&check);
    }
    let Ok(product) = Product::decode(&bytes.into()) else { return };
    let size =
        usize::from(product.width) * usize::from(product.height) * usize::from(product.bands);
    let size = if product.bits > 8 { 2 * size } else { size };
    assert!(size <= MAX_PIXEL_BYTES);
    assert_eq!(product.pixels.len(), size);
    assert_eq!(
        product.mask.len(),
        usize::from(product.mask_width) * usize::from(product.mask_height)
    );
    let encoded = product.encode();
    let again = Product::decode(&Bytes::from(encoded.clone())).expect("a product of ours");
    // By bytes: a score may be no number, which equals nothing.
    assert_eq!(again.encode(), encoded);
    if product.max_error == 0 {
        // What a mask hides is not written.
        let seen = |of: &Product| -> Vec<u16> {
            let hidden = of.hidden().unwrap_or_default();
            let at = |place: usize| hidden.get(place % hidden.len().max(1)) != Some(&true);
            let samples = of.samples().into_iter().enumerate();
            samples.filter(|(place, _)| at(*place)).map(|(_, sample)| sample).collect()
        };
        assert_eq!((seen(&again), again.mask.clone()), (seen(&product), product.mask));
    }
}

/// Tensors: the data has exactly the length that type and shape ask for.
pub fn tensor(data: &[u8]) {
    let mut input = Input(data);
    let name = input.choose(&["BOOL", "UINT16", "FP32", "FP64", "INT64", "BYTES", ""]);
    let dtype = DType::from_name(name);
    assert!(dtype.is_none_or(|dtype| dtype.name() == name));
    let rank = input.byte() & 0x0F;
    let big = input.byte();
    let shape: Vec<u64> = (0..rank)
        .map(|place| if big >> (place % 8) & 1 == 0 { input.byte().into() } else { input.long() })
        .collect();
    let Some(dtype) = dtype else { return };
    let wanted = shape
        .iter()
        .try_fold(dtype.size() as u128, |product, extent| product.checked_mul(u128::from(*extent)));
    let data = Bytes::copy_from_slice(input.0);
    match Tensor::new("t", dtype, shape, data.clone()) {
        Ok(tensor) => {
            assert_eq!(wanted, Some(data.len() as u128));
            if let Some(values) = tensor.to_f32() {
                let again = Tensor::from_f32("t", tensor.shape.clone(), &values);
                assert_eq!(again.expect("the same shape").data, tensor.data);
            }
        }
        Err(error) => assert_eq!(error.found, data.len()),
    }
}
