use loupe_kernels::{Filter, ParallelFor, for_each_chunk, resize_u8};

use super::decode::{MAX_PIXELS, Rgb};
use super::error::ImageError;

/// How a picture becomes an encoder's input. Every constant of a method is a value here.
#[derive(Debug, Clone, PartialEq)]
pub struct PrepareConfig {
    /// Height and width of the result.
    pub size_hw: [usize; 2],
    pub filter: Filter,
    pub normalize: Normalize,
    pub geometry: Geometry,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Normalize {
    /// Values stay 0..=1.
    None,
    /// Mean and deviation of CLIP's training images (OpenAI).
    Clip,
    Custom {
        mean: [f32; 3],
        std: [f32; 3],
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Geometry {
    /// Both sides are resized; the aspect ratio is not kept. FADE and WinCLIP.
    Square,
    /// The shorter side is resized and the middle cut out (torchvision's `Resize`, `CenterCrop`):
    /// what lies outside is not looked at, so a map from it does not cover the picture.
    ShorterSide,
}

const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const CLIP_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

impl PrepareConfig {
    /// A config from a pipeline's words: `geometry` is `square` or `shorter-side`, `filter` is
    /// `pillow-bicubic`, `-bilinear`, `-nearest`, `-box` or `-lanczos`. Errors: `Name`.
    pub fn from_names(
        geometry: &str,
        filter: &str,
        normalize: Normalize,
        size_hw: [usize; 2],
    ) -> Result<Self, ImageError> {
        let error = |key, want, got: &str| ImageError::Name { key, want, got: got.into() };
        let geometry = match geometry {
            "square" => Geometry::Square,
            "shorter-side" => Geometry::ShorterSide,
            got => return Err(error("prepare", "`square` or `shorter-side`", got)),
        };
        let filter = match filter {
            "pillow-bicubic" => Filter::Bicubic,
            "pillow-bilinear" => Filter::Bilinear,
            "pillow-nearest" => Filter::Nearest,
            "pillow-box" => Filter::Box,
            "pillow-lanczos" => Filter::Lanczos,
            got => {
                let want = "`pillow-` and one of `bicubic bilinear nearest box lanczos`";
                return Err(error("filter", want, got));
            }
        };
        Ok(PrepareConfig { size_hw, filter, normalize, geometry })
    }
}

/// Resize, `/ 255`, `- mean`, `/ std`, each rounded to f32: bit for bit what Pillow and torchvision
/// give.
/// Shapes: `[height,width,3]` u8 -> `[3,h,w]` f32, row-major. Errors: `NotSquare`, `TooNarrow`,
/// `Range` (std), `Kernel`.
pub fn prepare(
    rgb: &Rgb,
    config: &PrepareConfig,
    par: ParallelFor,
) -> Result<Vec<f32>, ImageError> {
    let (mean, std) = match config.normalize {
        Normalize::None => ([0.0; 3], [1.0; 3]),
        Normalize::Clip => (CLIP_MEAN, CLIP_STD),
        Normalize::Custom { mean, std } => (mean, std),
    };
    let usable = |value: &f32| value.is_finite() && *value > 0.0;
    if let Some(got) = std.iter().copied().find(|value| !usable(value)) {
        return Err(ImageError::Range { key: "std", want: "values above 0", got });
    }
    if let Some(got) = mean.iter().copied().find(|value| !value.is_finite()) {
        return Err(ImageError::Range { key: "mean", want: "finite values", got });
    }
    let resized = match config.geometry {
        Geometry::Square => rgb.resize(config.size_hw, config.filter, par)?,
        Geometry::ShorterSide => shorter_side(rgb, config, par)?,
    };
    // A value depends on its byte and channel alone.
    let table: [[f32; 256]; 3] = std::array::from_fn(|c| {
        std::array::from_fn(|byte| (byte as f32 / 255.0 - mean[c]) / std[c])
    });
    let plane = resized.height * resized.width;
    let mut values = vec![0.0_f32; 3 * plane];
    for_each_chunk(&mut values, plane, par, |c, channel| {
        for (value, pixel) in channel.iter_mut().zip(resized.pixels.chunks_exact(3)) {
            *value = table[c][usize::from(pixel[c])];
        }
    });
    Ok(values)
}

impl Rgb {
    /// The picture at another size, bit-exact with Pillow. Errors: `Kernel` (a zero size).
    pub fn resize(
        &self,
        out_hw: [usize; 2],
        filter: Filter,
        par: ParallelFor,
    ) -> Result<Rgb, ImageError> {
        let pixels = resize_u8(&self.pixels, [self.height, self.width], 3, out_hw, filter, par)?;
        let [height, width] = out_hw;
        Ok(Rgb { width, height, pixels, exif_rotated: self.exif_rotated })
    }
}

fn shorter_side(rgb: &Rgb, config: &PrepareConfig, par: ParallelFor) -> Result<Rgb, ImageError> {
    let [height, width] = config.size_hw;
    if height != width {
        return Err(ImageError::NotSquare { height, width });
    }
    let short = rgb.height.min(rgb.width).max(1);
    // torchvision: int(size * long / short), in f64.
    let scaled = |side: usize| match side == short {
        true => height,
        false => (height as f64 * side as f64 / short as f64) as usize,
    };
    let (tall, wide) = (scaled(rgb.height), scaled(rgb.width));
    if tall as u64 * wide as u64 > MAX_PIXELS {
        return Err(ImageError::TooNarrow { height: rgb.height, width: rgb.width, size: height });
    }
    let resized = rgb.resize([tall, wide], config.filter, par)?;
    // torchvision: int(round((side - size) / 2)), halves to even.
    let first = |side: usize| ((side - side.min(height)) as f64 / 2.0).round_ties_even() as usize;
    let (top, left) = (first(resized.height), first(resized.width));
    let mut pixels = Vec::with_capacity(height * width * 3);
    for row in resized.pixels.chunks_exact(resized.width * 3).skip(top).take(height) {
        pixels.extend_from_slice(&row[left * 3..][..width * 3]);
    }
    Ok(Rgb { width, height, pixels, exif_rotated: rgb.exif_rotated })
}

#[cfg(test)]
mod tests;
