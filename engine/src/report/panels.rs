//! Pictures of an image side by side: what it shows, what is wrong with it, and what its map says.

use loupe_kernels::{Filter, bilinear, serial};

use super::pictures::fitted;
use crate::image::{Colours, ImageError, Mask, Overlay, Rgb, colourise, encode_png, overlay};

/// How the maps of a class become colours, and black and white.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shades {
    /// Scores shown as blue and as red.
    pub range: [f32; 2],
    /// Scores from here on are white.
    pub threshold: f32,
}

/// Image, mask if there is one, the map over the image, the map, and where it reaches the threshold; as PNG.
/// Shapes: `map [map_h,map_w]`; each panel has the image's proportions, the longer side at most 256 pixels.
/// Errors: as `colourise`.
pub fn panels_png(
    rgb: &Rgb,
    mask: Option<&Mask>,
    map: &[f32],
    map_hw: [usize; 2],
    shades: Shades,
) -> Result<Vec<u8>, ImageError> {
    let hw = fitted(rgb.height, rgb.width);
    let image = rgb.resize(hw, Filter::Bicubic, &serial)?;
    let style = Overlay { colours: Colours::Jet, range: shades.range, alpha: 0.5 };
    let over = overlay(&image, map, map_hw, &style, &serial)?;
    let mut panels = vec![image];
    if let Some(mask) = mask {
        panels.push(black_and_white(mask.resize(hw, &serial)?.pixels, hw));
    }
    panels.push(over);
    panels.push(colourise(map, map_hw, hw, &style, &serial)?);
    let scores = bilinear(map, [1, map_hw[0], map_hw[1]], hw, &serial)?;
    let found = scores.iter().map(|score| *score >= shades.threshold).collect();
    panels.push(black_and_white(found, hw));
    encode_png(&side_by_side(&panels, hw))
}

/// White where it is true.
pub fn black_and_white(inside: Vec<bool>, [height, width]: [usize; 2]) -> Rgb {
    let pixels = inside.into_iter().flat_map(|inside| [if inside { 255 } else { 0 }; 3]).collect();
    Rgb { width, height, pixels, exif_rotated: false }
}

/// Pictures of one size in one.
pub fn side_by_side(panels: &[Rgb], [height, width]: [usize; 2]) -> Rgb {
    let line = |row: usize| {
        panels.iter().flat_map(move |panel| panel.pixels.chunks_exact(width * 3).nth(row)).flatten()
    };
    let pixels = (0..height).flat_map(line).copied().collect();
    Rgb { width: panels.len() * width, height, pixels, exif_rotated: false }
}
