use super::*;
use crate::image::golden::{crc32, golden, read};
use loupe_kernels::serial;
use serde_json::Value;

fn check_error(bytes: &[u8], want: &str) {
    assert_eq!(decode_rgb(bytes, "a.png").unwrap_err().to_string(), want);
    assert_eq!(decode_mask(bytes, "a.png", 0).unwrap_err().to_string(), want);
}

#[test]
fn every_lossless_kind_decodes_to_pillows_bytes() {
    for (name, crc) in golden()["decode"].as_object().unwrap() {
        let rgb = decode_rgb(&read(name), name).unwrap();
        assert_eq!((rgb.width, rgb.height, rgb.exif_rotated), (53, 37, false), "{name}");
        assert_eq!(crc32(&rgb.pixels), crc.as_u64().unwrap(), "{name}");
    }
}

#[test]
fn jpegs_differ_from_pillow_by_a_few_levels_and_rotation_is_reported_not_applied() {
    for (name, rotated) in [("rotated.jpg", true), ("progressive.jpg", false)] {
        let rgb = decode_rgb(&read(name), name).unwrap();
        assert_eq!((rgb.width, rgb.height, rgb.exif_rotated), (53, 37, rotated), "{name}");
        let rows = rgb.pixels.chunks_exact(53 * 3).step_by(9);
        let got: Vec<u8> = rows.flat_map(|r| r.chunks(3).step_by(7).flatten().copied()).collect();
        let want = golden()["jpeg"][name].as_array().unwrap().clone();
        assert_eq!(got.len(), want.len());
        let error = |(a, b): (&u8, &Value)| a.abs_diff(b.as_u64().unwrap() as u8);
        let worst = got.iter().zip(&want).map(error).max().unwrap();
        assert!(worst <= 4, "{name}: off by {worst}");
    }
}

#[test]
fn grey_of_16_bits_keeps_its_high_byte() {
    let want = decode_rgb(&read("grey.png"), "grey.png").unwrap();
    for name in ["grey16.png", "grey16.tif"] {
        assert_eq!(decode_rgb(&read(name), name).unwrap(), want, "{name}");
    }
}

#[test]
fn masks_of_all_kinds_give_the_same_pixels() {
    let golden = golden();
    let check = |name: &str, mask_above: u8| {
        let mask = decode_mask(&read(name), name, mask_above).unwrap();
        let bytes: Vec<u8> = mask.pixels.iter().map(|v| u8::from(*v)).collect();
        assert_eq!(
            crc32(&bytes) == golden["mask"]["crc"].as_u64().unwrap(),
            mask_above != 1,
            "{name}"
        );
        mask
    };
    check("mask_grey.png", 1);
    check("mask_grey.png", 50);
    check("mask16.png", 0);
    check("mask_palette.png", 0);
    check("bits.png", 128);
    let mask = check("mask.png", 0);
    for case in golden["mask"]["resized"].as_array().unwrap() {
        let hw = [0, 1].map(|i| case["hw"][i].as_u64().unwrap() as usize);
        let small = mask.resize(hw, &serial).unwrap();
        let bytes: Vec<u8> = small.pixels.iter().map(|v| u8::from(*v)).collect();
        assert_eq!([small.height, small.width], hw);
        assert_eq!(crc32(&bytes), case["crc"].as_u64().unwrap(), "{hw:?}");
    }
    assert!(mask.resize([0, 3], &serial).is_err());
}

#[test]
fn other_colour_spaces_and_formats_are_refused_by_name() {
    let cmyk = "`a.png` has CMYK pixels; wanted grey, RGB or palette, at most 16 bits; convert it";
    check_error(&read("cmyk.jpg"), cmyk);
    check_error(&read("cmyk.tif"), cmyk);
    let float = decode_rgb(&read("float.tif"), "f.tif").unwrap_err();
    assert!(matches!(float, ImageError::Unsupported { .. }), "{float}");
    let wanted = "wanted a PNG, JPEG, TIFF or BMP image";
    check_error(&read("rgb.gif"), &format!("`a.png` is a file of type image/gif; {wanted}"));
    check_error(b"", &format!("`a.png` is empty; {wanted}"));
    check_error(b"{}", &format!("`a.png` is not an image, by its first bytes; {wanted}"));
}

#[test]
fn cut_off_files_are_refused() {
    for name in ["rgb.png", "rgb.bmp", "rgb.tif", "rotated.jpg", "progressive.jpg"] {
        let bytes = read(name);
        for part in [2, 3, 10, bytes.len() / 2, bytes.len() * 3 / 4] {
            let error = decode_rgb(&bytes[..part], name).unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{name}` ")), "{error}");
        }
    }
    let jpeg = read("rotated.jpg");
    let half = "`a.png` is cut off: its end marker is missing; fetch or copy the file again";
    check_error(&jpeg[..jpeg.len() - 200], half);
    let png = read("rgb.png");
    let half = "`a.png` is cut off: it ends before its pixels do; fetch or copy the file again";
    check_error(&png[..png.len() / 2], half);
}

#[test]
fn a_flipped_byte_never_panics_and_a_broken_checksum_is_refused() {
    for name in ["rgb.png", "rgb.bmp", "rgb.tif", "rotated.jpg", "palette.png"] {
        let bytes = read(name);
        for at in (0..bytes.len()).step_by(bytes.len() / 60 + 1) {
            let mut broken = bytes.clone();
            broken[at] ^= 0xFF;
            let _ = decode_rgb(&broken, name);
            let _ = decode_mask(&broken, name, 0);
        }
    }
    let mut png = read("rgb.png");
    let middle = png.len() / 2;
    png[middle] ^= 1;
    assert!(matches!(decode_rgb(&png, "x"), Err(ImageError::Corrupt { .. })));
}

/// An 8-bit grey BMP header that claims the size; its pixels do not follow.
fn bmp_header(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"BM".to_vec();
    for value in [54 + 1024, 0, 54, 40, width, height, 0x0018_0001, 0, 0, 0, 0, 0, 0_u32] {
        bytes.extend(value.to_le_bytes());
    }
    bytes
}

#[test]
fn a_few_bytes_that_claim_a_huge_picture_are_refused_before_memory_is_asked_for() {
    let error = decode_rgb(&bmp_header(60_000, 60_000), "bomb.bmp").unwrap_err().to_string();
    let want =
        "`bomb.bmp` is 60000 x 60000, more than the limit of 400000000 pixels; scale it down";
    assert_eq!(error, want);
    assert!(decode_rgb(&bmp_header(0, 5), "empty.bmp").is_err());
}

#[test]
fn a_written_png_is_read_back() {
    let rgb = decode_rgb(&read("rgb.png"), "rgb.png").unwrap();
    assert_eq!(decode_rgb(&encode_png(&rgb).unwrap(), "again").unwrap(), rgb);
    let lying = Rgb { width: 54, ..rgb };
    let want = "a picture of 54 x 37 could not be written as PNG: it has 5883 values";
    assert_eq!(encode_png(&lying).unwrap_err().to_string(), want);
}
