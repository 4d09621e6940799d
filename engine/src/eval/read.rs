//! Anomaly maps from files: TIFF (any numeric type), NPY, 8- and 16-bit PNG.

use std::io::Cursor;
use std::path::Path;

use image::DynamicImage;
use tiff::decoder::{Decoder, DecodingResult};

use super::{EvalError, npy};
use crate::metrics::MetricError;

/// What a map file must hold.
pub(crate) const WANT: &str =
    "one channel of numbers, [height,width], as TIFF, NPY (f2, f4, f8, u1, u2) or 8/16-bit PNG";

/// A map on its own grid, higher = more anomalous. PNG values are divided by their maximum.
#[derive(Clone, Debug, PartialEq)]
pub struct AnomalyMap {
    pub pixels: Vec<f32>,
    pub height: usize,
    pub width: usize,
    /// The values are n / 255: quantised already.
    pub eight_bit: bool,
}

impl AnomalyMap {
    /// A float map. Shape: `[height, width]`, row-major. `None` if the length is another.
    pub fn new(pixels: Vec<f32>, height: usize, width: usize) -> Option<Self> {
        let fits = height.checked_mul(width) == Some(pixels.len());
        fits.then_some(AnomalyMap { pixels, height, width, eight_bit: false })
    }

    /// FADE's 8-bit level of a score: clipped to 0..=1, times 255, truncated. A map that came with
    /// 8 bits keeps its levels.
    pub(crate) fn level(&self, score: f32) -> u8 {
        let scaled = score.clamp(0.0, 1.0) * 255.0;
        if self.eight_bit { scaled.round() as u8 } else { scaled as u8 }
    }

    /// Refuses before resizing spreads it. Errors: `NonFinitePixel` naming image and pixel.
    pub(crate) fn check_finite(&self, image: &str) -> Result<(), MetricError> {
        match self.pixels.iter().position(|score| !score.is_finite()) {
            None => Ok(()),
            Some(at) => Err(MetricError::NonFinitePixel {
                image: image.to_string(),
                row: at / self.width,
                column: at % self.width,
                value: self.pixels[at],
            }),
        }
    }
}

/// Reads a map; the extension says which format. Errors: `Read`, `Map`.
pub fn read_map(path: &Path) -> Result<AnomalyMap, EvalError> {
    let bytes = std::fs::read(path)
        .map_err(|source| EvalError::Read { path: path.to_path_buf(), source })?;
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let map = match extension.to_ascii_lowercase().as_str() {
        "tiff" | "tif" => read_tiff(&bytes),
        "npy" => npy::read(&bytes),
        _ => read_png(&bytes),
    };
    let refuse = |got: String| EvalError::Map { path: path.to_path_buf(), got, want: WANT };
    let map = map.map_err(refuse)?;
    if map.pixels.is_empty() {
        return Err(refuse(format!("{} x {}, without pixels", map.height, map.width)));
    }
    Ok(map)
}

fn read_tiff(bytes: &[u8]) -> Result<AnomalyMap, String> {
    let broken = |error: tiff::TiffError| format!("not readable as TIFF: {error}");
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(broken)?;
    let (width, height) = decoder.dimensions().map_err(broken)?;
    let pixels: Vec<f32> = match decoder.read_image().map_err(broken)? {
        DecodingResult::F16(values) => values.into_iter().map(f32::from).collect(),
        DecodingResult::F32(values) => values,
        DecodingResult::F64(values) => values.into_iter().map(|value| value as f32).collect(),
        DecodingResult::U8(values) => values.into_iter().map(f32::from).collect(),
        DecodingResult::U16(values) => values.into_iter().map(f32::from).collect(),
        DecodingResult::U32(values) => values.into_iter().map(|value| value as f32).collect(),
        DecodingResult::U64(values) => values.into_iter().map(|value| value as f32).collect(),
        DecodingResult::I8(values) => values.into_iter().map(f32::from).collect(),
        DecodingResult::I16(values) => values.into_iter().map(f32::from).collect(),
        DecodingResult::I32(values) => values.into_iter().map(|value| value as f32).collect(),
        DecodingResult::I64(values) => values.into_iter().map(|value| value as f32).collect(),
    };
    let n = pixels.len();
    AnomalyMap::new(pixels, height as usize, width as usize)
        .ok_or_else(|| format!("{height} x {width} with {n} values (several channels?)"))
}

/// Grey may be written as three equal channels, as FADE does.
fn read_png(bytes: &[u8]) -> Result<AnomalyMap, String> {
    let decoded = image::load_from_memory_with_format(bytes, image::ImageFormat::Png)
        .map_err(|error| format!("not readable as PNG: {error}"))?;
    let (height, width) = (decoded.height() as usize, decoded.width() as usize);
    let (pixels, eight_bit) = match decoded {
        DynamicImage::ImageLuma8(grey) => (scale(grey.as_raw(), 255.0), true),
        DynamicImage::ImageLuma16(grey) => (scale(grey.as_raw(), 65535.0), false),
        DynamicImage::ImageRgb8(rgb) => (scale(&one_channel(rgb.as_raw())?, 255.0), true),
        DynamicImage::ImageRgb16(rgb) => (scale(&one_channel(rgb.as_raw())?, 65535.0), false),
        other => return Err(format!("a PNG of {:?}", other.color())),
    };
    Ok(AnomalyMap { pixels, height, width, eight_bit })
}

fn scale<T: Copy + Into<f32>>(values: &[T], maximum: f32) -> Vec<f32> {
    values.iter().map(|&value| value.into() / maximum).collect()
}

fn one_channel<T: Copy + PartialEq>(values: &[T]) -> Result<Vec<T>, String> {
    let grey = values.chunks_exact(3).map(|rgb| match rgb {
        &[red, green, blue] if red == green && green == blue => Some(red),
        _ => None,
    });
    grey.collect::<Option<_>>().ok_or_else(|| "a coloured PNG".to_string())
}
