use loupe_kernels::{ParallelFor, bilinear, for_each_chunk};

use super::decode::Rgb;
use super::error::ImageError;

/// A colour scale: 0 is normal, 1 is anomalous.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// Dark violet over red to pale yellow; each step is lighter than the last, so that it reads in
    /// grey and with any colour vision.
    Ember,
    /// Blue, cyan, yellow, red: what FADE's pictures use.
    Jet,
}

/// How a map is laid over its picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overlay {
    pub colours: Colours,
    /// Scores shown as 0 and as 1. Fixed for a whole report: pictures can then be compared.
    pub range: [f32; 2],
    /// Part of the colour in the blend, 0..=1.
    pub alpha: f32,
}

/// Evenly spaced colours of `Ember`, between which is interpolated.
const EMBER: [[f32; 3]; 6] = [
    [8.0, 6.0, 30.0],
    [62.0, 14.0, 96.0],
    [140.0, 30.0, 100.0],
    [210.0, 70.0, 60.0],
    [245.0, 150.0, 40.0],
    [252.0, 245.0, 170.0],
];

/// `alpha * colour(map) + (1 - alpha) * picture`; the map is brought to the picture's size
/// (bilinear).
/// Shapes: `map [map_h,map_w]` -> a picture of `rgb`'s size.
/// Errors: `Range` (empty range, alpha), `Kernel` (shape, values that are not finite).
pub fn overlay(
    rgb: &Rgb,
    map: &[f32],
    map_hw: [usize; 2],
    style: &Overlay,
    par: ParallelFor,
) -> Result<Rgb, ImageError> {
    if !(0.0..=1.0).contains(&style.alpha) {
        let want = "between 0 and 1";
        return Err(ImageError::Range { key: "alpha", want, got: style.alpha });
    }
    let mut picture = colourise(map, map_hw, [rgb.height, rgb.width], style, par)?;
    for (value, below) in picture.pixels.iter_mut().zip(&rgb.pixels) {
        let mixed = style.alpha * f32::from(*value) + (1.0 - style.alpha) * f32::from(*below);
        *value = mixed.round() as u8;
    }
    Ok(picture)
}

/// The map alone in colour, at any size; `alpha` is not used. Shapes and errors as `overlay`.
pub fn colourise(
    map: &[f32],
    [map_h, map_w]: [usize; 2],
    [height, width]: [usize; 2],
    style: &Overlay,
    par: ParallelFor,
) -> Result<Rgb, ImageError> {
    let [low, high] = style.range;
    if !(low.is_finite() && high.is_finite() && low < high) {
        return Err(ImageError::Range { key: "range", want: "low below high", got: high });
    }
    let scores = bilinear(map, [1, map_h, map_w], [height, width], par)?;
    // 256 colours are all an 8-bit scale can show.
    let table: Vec<[u8; 3]> = (0..256).map(|i| style.colours.at(i as f32 / 255.0)).collect();
    let mut pixels = vec![0_u8; height * width * 3];
    for_each_chunk(&mut pixels, width * 3, par, |y, line| {
        for (pixel, score) in line.chunks_exact_mut(3).zip(&scores[y * width..]) {
            let level = ((score - low) / (high - low)).clamp(0.0, 1.0) * 255.0;
            pixel.copy_from_slice(&table[level.round() as usize]);
        }
    });
    Ok(Rgb { width, height, pixels, exif_rotated: false })
}

impl Colours {
    /// Colour of `x`, clamped to 0..=1.
    pub fn at(self, x: f32) -> [u8; 3] {
        let x = if x.is_nan() { 0.0 } else { x.clamp(0.0, 1.0) };
        let colour: [f32; 3] = match self {
            Colours::Jet => {
                [3.0, 2.0, 1.0].map(|peak| (1.5 - (4.0 * x - peak).abs()).clamp(0.0, 1.0) * 255.0)
            }
            Colours::Ember => {
                let place = x * (EMBER.len() - 1) as f32;
                let below = (place as usize).min(EMBER.len() - 2);
                let part = place - below as f32;
                std::array::from_fn(|c| EMBER[below][c] * (1.0 - part) + EMBER[below + 1][c] * part)
            }
        };
        colour.map(|value| value.round() as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loupe_kernels::serial;

    const STYLE: Overlay = Overlay { colours: Colours::Jet, range: [0.0, 2.0], alpha: 0.5 };

    fn grey(width: usize, height: usize) -> Rgb {
        Rgb { width, height, pixels: vec![100; width * height * 3], exif_rotated: false }
    }

    #[test]
    fn jet_runs_from_blue_over_green_to_red() {
        let colours = [0.0, 0.5, 1.0, 7.0, f32::NAN].map(|x| Colours::Jet.at(x));
        assert_eq!(colours[..3], [[0, 0, 128], [128, 255, 128], [128, 0, 0]]);
        assert_eq!(colours[3..], [[128, 0, 0], [0, 0, 128]]);
    }

    #[test]
    fn every_step_of_ember_is_lighter_than_the_last() {
        let light = |i: i32| {
            let [r, g, b] = Colours::Ember.at(i as f32 / 63.0).map(f32::from);
            0.2126 * r + 0.7152 * g + 0.0722 * b
        };
        assert!((1..64).all(|i| light(i) > light(i - 1)));
    }

    #[test]
    fn a_map_is_scaled_by_the_fixed_range_and_mixed_in() {
        let picture = overlay(&grey(2, 1), &[0.0, 9.0], [1, 2], &STYLE, &serial).unwrap();
        assert_eq!(picture.pixels, [50, 50, 114, 114, 50, 50]);
        let one = overlay(&grey(3, 2), &[1.0], [1, 1], &STYLE, &serial).unwrap();
        assert_eq!((one.width, one.height), (3, 2));
        assert!(one.pixels.chunks(3).all(|p| p == [115, 178, 113]), "{:?}", one.pixels);
    }

    #[test]
    fn nan_maps_and_senseless_styles_are_refused() {
        let check = |map: &[f32], style: Overlay, want: &str| {
            let error = overlay(&grey(1, 1), map, [1, 1], &style, &serial).unwrap_err();
            assert_eq!(error.to_string(), want);
        };
        let want = "`bilinear` wants finite values, but `maps` holds `NaN` at index 0";
        check(&[f32::NAN], STYLE, want);
        check(&[0.0], Overlay { alpha: 1.5, ..STYLE }, "`alpha` wants between 0 and 1, got `1.5`");
        let range = [1.0, 1.0];
        check(&[0.0], Overlay { range, ..STYLE }, "`range` wants low below high, got `1`");
    }
}
