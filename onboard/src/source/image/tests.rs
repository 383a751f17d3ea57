//! Images by their bytes: what is right comes out to the sample, what lies is refused.

use super::*;

const MOST: usize = 1 << 20;

/// A TIFF, uncompressed, of one directory; values of up to four bytes stand in the entry.
fn tiff(width: u16, height: u16, bands: u16, deep: bool, planar: bool, geo: bool) -> Vec<u8> {
    let size = 1 + usize::from(deep);
    let plane = usize::from(width) * usize::from(height);
    let mut samples = Vec::new();
    for at in 0..plane * usize::from(bands) {
        let (band, pixel) = match planar {
            true => (at / plane, at % plane),
            false => (at % usize::from(bands), at / usize::from(bands)),
        };
        let value = (band * 1000 + pixel) as u16;
        if deep {
            samples.extend_from_slice(&value.to_le_bytes());
        } else {
            samples.push(value as u8);
        }
    }
    let planes = if planar { usize::from(bands) } else { 1 };
    let mut file = b"II*\0".to_vec();
    let data_at = 8u32;
    let mut heap = samples;
    let mut fields: Vec<(u16, u16, u32, u32)> = Vec::new();
    let mut shorts = |tag: u16, kind: u16, values: &[u32], heap: &mut Vec<u8>| {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|of| {
                if kind == 3 { of.to_le_bytes()[..2].to_vec() } else { of.to_le_bytes().to_vec() }
            })
            .collect();
        let value = match bytes.len() {
            0..=4 => {
                let mut word = [0; 4];
                word[..bytes.len()].copy_from_slice(&bytes);
                u32::from_le_bytes(word)
            }
            _ => {
                heap.extend_from_slice(&bytes);
                data_at + (heap.len() - bytes.len()) as u32
            }
        };
        fields.push((tag, kind, values.len() as u32, value));
    };
    let strip = (plane * usize::from(bands) / planes * size) as u32;
    let offsets: Vec<u32> = (0..planes as u32).map(|of| data_at + of * strip).collect();
    shorts(256, 3, &[width.into()], &mut heap);
    shorts(257, 3, &[height.into()], &mut heap);
    shorts(258, 3, &vec![8 * size as u32; bands.into()], &mut heap);
    shorts(259, 3, &[1], &mut heap);
    shorts(262, 3, &[1], &mut heap);
    shorts(273, 4, &offsets, &mut heap);
    shorts(277, 3, &[bands.into()], &mut heap);
    shorts(278, 3, &[height.into()], &mut heap);
    shorts(279, 4, &vec![strip; planes], &mut heap);
    shorts(284, 3, &[if planar { 2 } else { 1 }], &mut heap);
    if bands > 1 {
        shorts(338, 3, &vec![0; usize::from(bands) - 1], &mut heap);
    }
    let keys = [1, 1, 0, 2, 1025, 0, 1, 1, 3072, 0, 1, 32631];
    let mut doubles = Vec::new();
    if geo {
        for (tag, values) in [
            (33550u16, vec![10.0f64, 10.0, 0.0]),
            (33922, vec![0.0, 0.0, 0.0, 500_000.0, 100.0, 0.0]),
        ] {
            doubles.push((tag, values.len() as u32, data_at + heap.len() as u32));
            values.iter().for_each(|of| heap.extend_from_slice(&of.to_le_bytes()));
        }
    }
    if geo {
        shorts(34735, 3, &keys, &mut heap);
    }
    fields.extend(doubles.into_iter().map(|(tag, count, at)| (tag, 12, count, at)));
    fields.sort_unstable();
    file.extend_from_slice(&(data_at + heap.len() as u32).to_le_bytes());
    file.extend(heap);
    file.extend_from_slice(&(fields.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in fields {
        file.extend_from_slice(&tag.to_le_bytes());
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&count.to_le_bytes());
        file.extend_from_slice(&value.to_le_bytes());
    }
    file.extend_from_slice(&[0; 4]);
    file
}

fn sample(image: &Image, band: usize, pixel: usize) -> u16 {
    let plane = (image.width * image.height) as usize;
    match image.bits {
        9.. => u16::from_be_bytes(image.samples.as_chunks::<2>().0[band * plane + pixel]),
        _ => image.samples[band * plane + pixel].into(),
    }
}

#[test]
fn tiffs_of_both_depths_and_both_orders_come_out_to_the_sample() {
    for (deep, planar, bands) in
        [(false, false, 1), (false, false, 4), (false, true, 4), (true, false, 3), (true, true, 3)]
    {
        let file = tiff(10, 7, bands, deep, planar, false);
        let image = read("a.TIF", &file, None, MOST)
            .unwrap_or_else(|error| panic!("deep {deep}, planar {planar}, {bands} bands: {error}"));
        assert_eq!((image.width, image.height, u16::from(image.bands)), (10, 7, bands));
        for band in 0..usize::from(bands) {
            for pixel in 0..70 {
                let wanted = (band * 1000 + pixel) as u16;
                let wanted = if deep { wanted } else { wanted & 0xff };
                assert_eq!(sample(&image, band, pixel), wanted, "{deep} {planar} {band} {pixel}");
            }
        }
        assert_eq!(image.placed, None);
    }
}

#[test]
fn tiles_cover_the_image_once_and_say_where_they_lie() {
    let image = read("a.tif", &tiff(10, 7, 2, true, false, true), None, MOST).unwrap();
    assert_eq!(image.tiles(4), Ok(6));
    let mut seen = vec![0; 2 * 70];
    for number in 0..6 {
        let tile = image.tile(number, 4, 100 + number).unwrap();
        assert!(tile.is_whole());
        let (width, height) = (usize::from(tile.width), usize::from(tile.height));
        assert_eq!(
            (width, height),
            (if number % 3 == 2 { 2 } else { 4 }, if number < 3 { 4 } else { 3 })
        );
        for (at, of) in tile.pixels.as_chunks::<2>().0.iter().enumerate() {
            let (band, pixel) = (at / (width * height), at % (width * height));
            let value = usize::from(u16::from_be_bytes(*of));
            assert_eq!(value / 1000, band);
            let (row, column) = (value % 1000 / 10, value % 10);
            let left = number as usize % 3 * 4;
            assert_eq!(
                (row, column),
                (number as usize / 3 * 4 + pixel / width, left + pixel % width)
            );
            seen[band * 70 + value % 1000] += 1;
        }
    }
    assert!(seen.iter().all(|of| *of == 1));
    assert_eq!(image.tile(6, 4, 0), None);
    // Ten metres a pixel, on the central meridian a hundred metres north of the equator.
    let first = image.tile(0, 4, 0).unwrap();
    assert!((first.latitude - 80.0 / 110_576.0).abs() < 1e-6, "{}", first.latitude);
    assert!((first.longitude - 3.0 - 20.0 / 111_320.0).abs() < 1e-5, "{}", first.longitude);
    let place = first.place.unwrap();
    assert_eq!(place.attitude, None);
    assert!(place.footprint[0][0] > place.footprint[3][0]);
    let nowhere = read("a.tif", &tiff(10, 7, 2, true, false, false), None, MOST).unwrap();
    assert!(nowhere.tile(0, 4, 0).unwrap().latitude.is_nan());
}

#[test]
fn a_raw_image_is_what_its_sidecar_says() {
    let sidecar = br#"{"width": 3, "height": 2, "bands": 2, "bits": 12, "interleaved": true,
        "little_endian": true, "time_ns": 77, "attitude": [0, 0, 0, 1],
        "corners": [[10, 20], [10, 23], [8, 23], [8, 20]]}"#;
    let bytes: Vec<u8> = (0..12u16).flat_map(|of| (of * 300).to_le_bytes()).collect();
    let image = read("a.raw", &bytes, Some(sidecar), MOST).unwrap();
    assert_eq!(image.captured, Some(Tai(77)));
    assert_eq!(sample(&image, 1, 2), 5 * 300);
    let tile = image.tile(0, 64, 9).unwrap();
    assert_eq!((tile.width, tile.latitude, tile.longitude), (3, 9.0, 21.5));
    assert_eq!(tile.place.unwrap().attitude, Some([0.0, 0.0, 0.0, 1.0]));
    let error = |bytes: &[u8], text: &str| {
        read("a.raw", bytes, Some(text.as_bytes()), MOST).unwrap_err().to_string()
    };
    assert!(error(&bytes, "{").contains("sidecar"));
    assert!(error(&bytes, r#"{"width": 3, "hight": 2}"#).contains("hight"));
    assert!(
        error(&bytes, r#"{"width": 3, "height": 2}"#).contains("24 bytes where the sizes say 6")
    );
    assert!(
        error(&bytes, r#"{"width": 4000000000, "height": 4000000000}"#).contains("image_bytes_max")
    );
    assert!(error(&bytes, r#"{"width": 24, "height": 1, "bits": 2}"#).contains("above 2 bits"));
    assert!(error(&bytes, r#"{"width": 24, "height": 1, "epsg": 4326}"#).contains("transform"));
    assert_eq!(read("a.raw", &bytes, None, MOST), Err(ImageError::Sidecar));
    assert_eq!(read("a.jpg", &bytes, None, MOST), Err(ImageError::Name));
}

#[test]
fn pngs_of_both_depths_come_out_to_the_sample() {
    for depth in [png::BitDepth::Eight, png::BitDepth::Sixteen] {
        let deep = depth == png::BitDepth::Sixteen;
        let size = 1 + usize::from(deep);
        let data: Vec<u8> = (0..5 * 4 * 3 * size).map(|at| (at * 7) as u8).collect();
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 5, 4);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(depth);
        encoder.write_header().unwrap().write_image_data(&data).unwrap();
        let image = read("a.png", &file, None, MOST).unwrap();
        assert_eq!((image.width, image.height, image.bands), (5, 4, 3));
        assert_eq!(image.samples, planar(&data, 3, size));
        for cut in 0..file.len() {
            let _ = read("a.png", &file[..cut], None, MOST);
        }
        let said = read("a.png", &file[..40], None, MOST).unwrap_err().to_string();
        assert!(said.contains("send it again"), "{said}");
    }
}

#[test]
fn a_header_that_lies_is_refused_before_anything_is_allocated_for_it() {
    let good = tiff(10, 7, 2, false, false, true);
    let error = read("a.tif", &good, None, 139).unwrap_err();
    assert!(matches!(error, ImageError::Size { .. }), "{error}");
    assert!(read("a.tif", &good, None, 140).is_ok());
    for cut in 0..good.len() {
        let _ = read("a.tif", &good[..cut], None, MOST);
    }
    for at in 0..good.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            // A bound no larger than the image: whatever a word says, no more than that is taken.
            if let Ok(image) = read("a.tif", &bad, None, 4096) {
                assert!(image.samples.len() <= 4096);
            }
        }
    }
}
