use std::io::Cursor;

use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, ImageReader, Limits};
use loupe_kernels::{ParallelFor, antialias_bilinear};

use super::error::ImageError;
use super::jpeg;

/// Larger pictures are refused from their header: a file of a few bytes may claim any size.
pub const MAX_PIXELS: u64 = 400_000_000;

/// An 8-bit colour picture, `[height,width,3]` row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
    /// The file asks viewers to turn or mirror it. Pixels stay as stored, so that masks fit, and as
    /// Pillow leaves PNG and JPEG (it turns TIFF); the caller may warn.
    pub exif_rotated: bool,
}

/// A ground-truth mask, `[height,width]` row-major, true = anomalous.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<bool>,
}

/// Pixels of a PNG, JPEG, TIFF or BMP, told apart by content, as Pillow's `convert("RGB")` gives
/// them: grey replicated, palettes looked up, alpha dropped and not blended in.
///
/// Of 16 bits the high byte is taken, Pillow's rule for 16-bit colour; for 16-bit grey too, where
/// Pillow clips at 255 and leaves a white picture. JPEG is decoded by another decoder than
/// Pillow's: a few values differ by a few levels. Of several pages the first is read.
/// Errors, all naming the file: `Format`, `Truncated`, `Corrupt`, `Colour` (CMYK, float),
/// `Unsupported`, `Empty`, `TooLarge`.
pub fn decode_rgb(bytes: &[u8], name: &str) -> Result<Rgb, ImageError> {
    let (image, exif_rotated) = decode(bytes, name)?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    let high = |value: u16| (value >> 8) as u8;
    let pixels: Vec<u8> = match image {
        DynamicImage::ImageRgb8(image) => image.into_raw(),
        DynamicImage::ImageLuma8(image) => image.pixels().flat_map(|p| [p.0[0]; 3]).collect(),
        DynamicImage::ImageLumaA8(image) => image.pixels().flat_map(|p| [p.0[0]; 3]).collect(),
        DynamicImage::ImageRgba8(image) => {
            image.pixels().flat_map(|p| [p.0[0], p.0[1], p.0[2]]).collect()
        }
        DynamicImage::ImageLuma16(image) => {
            image.pixels().flat_map(|p| [high(p.0[0]); 3]).collect()
        }
        DynamicImage::ImageLumaA16(image) => {
            image.pixels().flat_map(|p| [high(p.0[0]); 3]).collect()
        }
        DynamicImage::ImageRgb16(image) => image.pixels().flat_map(|p| p.0.map(high)).collect(),
        DynamicImage::ImageRgba16(image) => {
            image.pixels().flat_map(|p| [high(p.0[0]), high(p.0[1]), high(p.0[2])]).collect()
        }
        other => return Err(colour_error(name, other.color().into())),
    };
    Ok(Rgb { width, height, pixels, exif_rotated })
}

/// A mask: true where the first channel is above `mask_above`, of 255 (0: anything but black).
///
/// 16-bit values are compared at their own depth, so a mask of 0 and 1 in 16 bits keeps its ones. A
/// palette mask counts by its brightest channel, since its colours stand for labels. Errors: as
/// `decode_rgb`.
pub fn decode_mask(bytes: &[u8], name: &str, mask_above: u8) -> Result<Mask, ImageError> {
    let (image, _) = decode(bytes, name)?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    let n_channels = usize::from(image.color().channel_count());
    // Byte 25 of a PNG is its colour type; 3 is a palette.
    let is_palette = bytes.starts_with(b"\x89PNG") && bytes.get(25) == Some(&3);
    let n_read = if is_palette { n_channels.min(3) } else { 1 };
    let above_u8 = |pixel: &[u8]| pixel[..n_read].iter().any(|v| *v > mask_above);
    let limit = u16::from(mask_above) * 257;
    let pixels = if let Some(values) = as_u16(&image) {
        values.chunks_exact(n_channels).map(|pixel| pixel[0] > limit).collect()
    } else if n_channels == 1 {
        image.as_bytes().iter().map(|value| *value > mask_above).collect()
    } else {
        image.as_bytes().chunks_exact(n_channels).map(above_u8).collect()
    };
    Ok(Mask { width, height, pixels })
}

impl Mask {
    /// The mask at a protocol's size: antialiased bilinear of 0 and 1, then `> 0.5`, as torchvision
    /// does.
    /// Errors: `Kernel` (a zero size).
    pub fn resize(&self, out_hw: [usize; 2], par: ParallelFor) -> Result<Mask, ImageError> {
        let values: Vec<f32> = self.pixels.iter().map(|v| f32::from(u8::from(*v))).collect();
        let small = antialias_bilinear(&values, [1, self.height, self.width], out_hw, par)?;
        let pixels = small.iter().map(|v| *v > 0.5).collect();
        Ok(Mask { width: out_hw[1], height: out_hw[0], pixels })
    }
}

/// A picture as the bytes of a PNG file. Errors: `Encode` if sides and pixels do not agree.
pub fn encode_png(rgb: &Rgb) -> Result<Vec<u8>, ImageError> {
    let (width, height) = (rgb.width, rgb.height);
    let error = |reason: String| ImageError::Encode { width, height, reason };
    let (Ok(w), Ok(h)) = (u32::try_from(width), u32::try_from(height)) else {
        return Err(error("a side is too long".into()));
    };
    let picture = image::RgbImage::from_raw(w, h, rgb.pixels.clone())
        .filter(|_| width * height * 3 == rgb.pixels.len() && w > 0 && h > 0)
        .ok_or_else(|| error(format!("it has {} values", rgb.pixels.len())))?;
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).map_err(|e| error(e.to_string()))?;
    Ok(bytes.into_inner())
}

fn decode(bytes: &[u8], name: &str) -> Result<(DynamicImage, bool), ImageError> {
    let format = match image::guess_format(bytes) {
        Ok(
            format @ (ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::Tiff | ImageFormat::Bmp),
        ) => format,
        Ok(other) => {
            let got = format!("a file of type {}", other.to_mime_type());
            return Err(ImageError::Format { name: name.into(), got });
        }
        Err(_) => {
            let got = if bytes.is_empty() { "empty" } else { "not an image, by its first bytes" };
            return Err(ImageError::Format { name: name.into(), got: got.into() });
        }
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_PIXELS * 8);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| read_error(name, &error))?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(ImageError::Empty { name: name.into(), width, height });
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        let limit = MAX_PIXELS;
        return Err(ImageError::TooLarge { name: name.into(), width, height, limit });
    }
    check_colour(decoder.original_color_type(), name)?;
    if format == ImageFormat::Jpeg {
        check_jpeg(bytes, name)?;
    }
    // A damaged EXIF block says nothing about the pixels.
    let exif_rotated =
        decoder.orientation().is_ok_and(|o| o != image::metadata::Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(|error| read_error(name, &error))?;
    Ok((image, exif_rotated))
}

fn check_jpeg(bytes: &[u8], name: &str) -> Result<(), ImageError> {
    let markers = jpeg::walk(bytes);
    if markers.n_components == Some(4) {
        return Err(colour_error(name, ExtendedColorType::Cmyk8));
    }
    if !markers.complete {
        let reason = "its end marker is missing".into();
        return Err(ImageError::Truncated { name: name.into(), reason });
    }
    Ok(())
}

fn check_colour(colour: ExtendedColorType, name: &str) -> Result<(), ImageError> {
    use ExtendedColorType as E;
    match colour {
        E::Cmyk8 | E::Cmyk16 | E::Rgb32F | E::Rgba32F => Err(colour_error(name, colour)),
        _ => Ok(()),
    }
}

fn colour_error(name: &str, colour: ExtendedColorType) -> ImageError {
    use ExtendedColorType as E;
    let got = match colour {
        E::Cmyk8 | E::Cmyk16 => "CMYK".into(),
        E::Rgb32F | E::Rgba32F => "32-bit float".into(),
        other => format!("{other:?}"),
    };
    ImageError::Colour { name: name.into(), got }
}

fn read_error(name: &str, error: &image::ImageError) -> ImageError {
    let (name, reason) = (name.to_string(), error.to_string());
    match error {
        image::ImageError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImageError::Truncated { name, reason: "it ends before its pixels do".into() }
        }
        image::ImageError::Unsupported(_) => ImageError::Unsupported { name, reason },
        _ => ImageError::Corrupt { name, reason },
    }
}

fn as_u16(image: &DynamicImage) -> Option<&[u16]> {
    match image {
        DynamicImage::ImageLuma16(image) => Some(image.as_raw()),
        DynamicImage::ImageLumaA16(image) => Some(image.as_raw()),
        DynamicImage::ImageRgb16(image) => Some(image.as_raw()),
        DynamicImage::ImageRgba16(image) => Some(image.as_raw()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
