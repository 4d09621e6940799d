//! Where the truth is: the outline of a mask, drawn around it so that nothing of the defect is
//! covered.

use crate::image::{Mask, Rgb};

/// Light line on a dark one: one of them shows on any surface.
const LINE: [u8; 3] = [64, 255, 220];
const SHADE: [u8; 3] = [8, 20, 24];

/// Draws a line of two pixels around the mask's regions, at the picture's own size: a mask of
/// another size is brought to it so that its smallest region stays visible.
pub fn draw(picture: &mut Rgb, mask: &Mask) {
    let (width, height) = (picture.width, picture.height);
    let inside = fit(mask, width, height);
    let near = grown(&inside, width, height);
    let around = grown(&near, width, height);
    let rings = inside.iter().zip(near.iter().zip(&around));
    for (pixel, (inside, (near, around))) in picture.pixels.chunks_exact_mut(3).zip(rings) {
        match (inside, near, around) {
            (false, true, _) => pixel.copy_from_slice(&LINE),
            (false, false, true) => pixel.copy_from_slice(&SHADE),
            _ => {}
        }
    }
}

/// A pixel is inside if any of the mask's pixels that it covers is.
fn fit(mask: &Mask, width: usize, height: usize) -> Vec<bool> {
    let mut small = vec![false; width * height];
    let span = |at: usize, from: usize, to: usize| {
        let first = at * to / from.max(1);
        first..((at + 1) * to).div_ceil(from.max(1)).max(first + 1)
    };
    for (y, line) in mask.pixels.chunks_exact(mask.width.max(1)).enumerate() {
        for x in (0..line.len()).filter(|x| line.get(*x) == Some(&true)) {
            for y in span(y, mask.height, height) {
                let row = small.get_mut(y * width..(y + 1) * width).unwrap_or_default();
                let columns = span(x, mask.width, width);
                row.get_mut(columns).unwrap_or_default().fill(true);
            }
        }
    }
    small
}

/// Every pixel with a neighbour inside, itself included.
fn grown(inside: &[bool], width: usize, height: usize) -> Vec<bool> {
    let mut grown = inside.to_vec();
    for (y, line) in inside.chunks_exact(width.max(1)).enumerate() {
        for x in (0..line.len()).filter(|x| line.get(*x) == Some(&true)) {
            for y in y.saturating_sub(1)..(y + 2).min(height) {
                let columns = y * width + x.saturating_sub(1)..y * width + (x + 2).min(width);
                grown.get_mut(columns).unwrap_or_default().fill(true);
            }
        }
    }
    grown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mask: Mask, width: usize, height: usize, want: &[&str]) {
        let pixels = vec![200; width * height * 3];
        let mut picture = Rgb { width, height, pixels, exif_rotated: false };
        draw(&mut picture, &mask);
        let letter = |pixel: &[u8]| match pixel[0] {
            64 => 'o',
            8 => '.',
            _ => ' ',
        };
        let text: String = picture.pixels.chunks(3).map(letter).collect();
        let lines: Vec<&str> = (0..height).map(|y| &text[y * width..(y + 1) * width]).collect();
        assert_eq!(lines, want);
    }

    #[test]
    fn the_line_goes_around_the_defect() {
        let mut pixels = vec![false; 35];
        pixels[2 * 7 + 2] = true;
        let mask = Mask { width: 7, height: 5, pixels };
        check(mask, 7, 5, &[".....  ", ".ooo.  ", ".o o.  ", ".ooo.  ", ".....  "]);
    }

    #[test]
    fn one_pixel_of_a_large_mask_is_still_seen() {
        let mut pixels = vec![false; 100 * 100];
        pixels[99] = true;
        check(Mask { width: 100, height: 100, pixels }, 4, 3, &[" .o ", " .oo", " ..."]);
    }

    #[test]
    fn a_mask_whose_sides_lie_draws_nothing() {
        check(Mask { width: 9, height: 9, pixels: vec![] }, 2, 1, &["  "]);
        check(Mask { width: 0, height: 0, pixels: vec![true] }, 2, 1, &["  "]);
    }
}
