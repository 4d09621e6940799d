//! Defects painted on a photograph of a sound product: what a fit learns damage from when there are
//! normal references only. Four simple kinds, cut to no surface: a stain, a scratch, a piece of the
//! picture at another place, and a grain. Source: cut and paste of CutPaste, arXiv:2104.04015, and
//! noise-shaped masks of DRAEM, arXiv:2108.07610, in forms of our own.

use super::NOTICEABLE;
use super::draw::{Blob, Rgb, SIDE, Stroke, blend};
use super::noise::{fractal, smoothstep};
use super::rng::Rng;

/// A photograph as a camera might have taken it again, perhaps with a defect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Painted {
    /// `height * width` RGB pixels, row by row.
    pub rgb: Vec<u8>,
    /// 255 where the defect shows, 0 elsewhere; all 0 if none was asked for.
    pub mask: Vec<u8>,
}

/// Takes a photograph again: moved, turned and scaled by a few per cent, in a slightly other light,
/// with a camera's grain; so that no patch of it equals one of the original. With `damaged` a defect
/// is painted on it. The same seed paints the same.
/// Shapes: `rgb [height, width, 3]`. `None` if `rgb` is not that long, or empty.
pub fn paint(rgb: &[u8], [height, width]: [usize; 2], seed: u64, damaged: bool) -> Option<Painted> {
    let n_pixels = height.checked_mul(width).filter(|n| *n > 0)?;
    if n_pixels.checked_mul(3)? != rgb.len() {
        return None;
    }
    let rng = Rng::new(seed).fork("paint");
    let photograph = Photograph { rgb, height, width };
    let sound = photograph.again(&mut rng.fork("camera"));
    let mut mask = vec![0; n_pixels];
    if !damaged {
        return Some(Painted { rgb: sound, mask });
    }
    // A defect that shows nowhere, as a stain of the ground's own colour, is drawn again.
    for attempt in 0..8 {
        let mut rng = rng.fork("defect").fork(&attempt.to_string());
        let rgb = Photograph { rgb: &sound, height, width }.damaged(&mut rng, &mut mask);
        if mask.iter().filter(|value| **value > 0).count() * 1000 >= n_pixels {
            return Some(Painted { rgb, mask });
        }
    }
    mask.fill(0);
    Some(Painted { rgb: sound, mask })
}

struct Photograph<'a> {
    rgb: &'a [u8],
    height: usize,
    width: usize,
}

impl Photograph<'_> {
    /// The place of a pixel where the picture is `SIDE` wide and high.
    fn place(&self, pixel: usize) -> [f32; 2] {
        let [x, y] = [(pixel % self.width) as f32, (pixel / self.width) as f32];
        [(x + 0.5) * SIDE / self.width as f32, (y + 0.5) * SIDE / self.height as f32]
    }

    /// Bilinear; the border goes on outside.
    fn at(&self, [x, y]: [f32; 2]) -> Rgb {
        let axis = |part: f32, n: usize| {
            let part = (part * n as f32 / SIDE - 0.5).clamp(0.0, (n - 1) as f32);
            (part as usize, (part as usize + 1).min(n - 1), part - part.floor())
        };
        let ((left, right, u), (top, bottom, v)) = (axis(x, self.width), axis(y, self.height));
        let texel = |x: usize, y: usize| -> Rgb {
            let start = (y * self.width + x) * 3;
            std::array::from_fn(|i| self.rgb.get(start + i).map_or(0.0, |value| f32::from(*value)))
        };
        let line = |y: usize| blend(texel(left, y), texel(right, y), u);
        blend(line(top), line(bottom), v)
    }

    fn again(&self, rng: &mut Rng) -> Vec<u8> {
        let (turn, scale) = (rng.range(-0.05, 0.05), rng.range(0.96, 1.04));
        let shift = [rng.range(-4.0, 4.0), rng.range(-4.0, 4.0)];
        let gain: Rgb = [0; 3].map(|_| rng.range(0.98, 1.02));
        let (light, grain) = (rng.range(0.95, 1.05), rng.range(0.5, 2.0));
        let middle = SIDE / 2.0;
        let pixels = (0..self.width * self.height).flat_map(|pixel| {
            let [x, y] = self.place(pixel).map(|part| (part - middle) * scale);
            let from = [x - turn * y + middle + shift[0], y + turn * x + middle + shift[1]];
            let noise = rng.range(-grain, grain);
            let colour = self.at(from);
            std::array::from_fn::<u8, 3, _>(|i| level(colour[i] * gain[i] * light + noise))
        });
        pixels.collect()
    }

    fn damaged(&self, rng: &mut Rng, mask: &mut [u8]) -> Vec<u8> {
        let kind = rng.below(4);
        let blob = Blob::draw(rng, [5.0, 22.0], 0.35);
        let start = blob.centre;
        let (heading, length) = (rng.unit(), rng.range(20.0, 80.0));
        let stroke = Stroke::walk(rng, start, heading, length, 3.0, 0.03);
        let reach = rng.range(0.8, 2.2);
        let colour: Rgb = [0; 3].map(|_| rng.range(0.0, 255.0));
        let (opacity, sign, seed) = (rng.range(0.35, 0.9), rng.sign(), rng.next_u64());
        let moved = [rng.range(-48.0, 48.0), rng.range(-48.0, 48.0)];
        let mut rgb = self.rgb.to_vec();
        for (pixel, (texel, shown)) in rgb.chunks_exact_mut(3).zip(mask).enumerate() {
            let p = self.place(pixel);
            let own: Rgb = std::array::from_fn(|i| f32::from(texel[i]));
            let (other, cover) = match kind {
                0 => (colour, smoothstep(0.0, 0.15, blob.depth(p)) * opacity),
                1 => {
                    let near = stroke.near(p, reach).map_or(0.0, |(d, _)| 1.0 - d / reach);
                    (own.map(|part| part + sign * 90.0), smoothstep(0.0, 0.5, near))
                }
                2 => {
                    let from = self.at([p[0] + moved[0], p[1] + moved[1]]);
                    (from, smoothstep(0.0, 0.1, blob.depth(p)))
                }
                _ => {
                    let grain = fractal(seed, p[0] * 0.6, p[1] * 0.6, 3);
                    let cover = smoothstep(0.0, 0.15, blob.depth(p)) * opacity;
                    (own.map(|part| part + 160.0 * grain), cover)
                }
            };
            let changed = blend(own, other, cover).map(level);
            let difference = texel.iter().zip(changed).map(|(a, b)| a.abs_diff(b)).max();
            *shown = if difference >= Some(NOTICEABLE) { 255 } else { 0 };
            texel.copy_from_slice(&changed);
        }
        rgb
    }
}

fn level(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photograph([height, width]: [usize; 2]) -> Vec<u8> {
        let value = |i: usize| 90 + (i / 3 % width * 7 + i / 3 / width * 5) % 60;
        (0..height * width * 3).map(|i| value(i) as u8).collect()
    }

    #[test]
    fn a_seed_paints_the_same_and_another_something_else() {
        let (rgb, size) = (photograph([40, 56]), [40, 56]);
        let painted = |seed| paint(&rgb, size, seed, true).unwrap();
        assert_eq!(painted(1), painted(1));
        assert_ne!(painted(1).mask, painted(2).mask);
    }

    #[test]
    fn a_defect_shows_where_its_mask_is_and_nowhere_else() {
        let (rgb, size) = (photograph([48, 48]), [48, 48]);
        for seed in 0..24 {
            let sound = paint(&rgb, size, seed, false).unwrap();
            let damaged = paint(&rgb, size, seed, true).unwrap();
            assert!(sound.mask.iter().all(|value| *value == 0));
            let share = damaged.mask.iter().filter(|value| **value > 0).count();
            assert!((3..1500).contains(&share), "seed {seed}: {share} of 2304");
            let texels = sound.rgb.chunks(3).zip(damaged.rgb.chunks(3));
            for ((a, b), shown) in texels.zip(&damaged.mask) {
                let most = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                assert_eq!(most >= NOTICEABLE, *shown == 255);
            }
        }
    }

    #[test]
    fn the_picture_taken_again_is_near_the_first_and_not_the_same() {
        let (rgb, size) = (photograph([64, 64]), [64, 64]);
        let again = paint(&rgb, size, 3, false).unwrap().rgb;
        let apart: Vec<f32> =
            rgb.iter().zip(&again).map(|(a, b)| f32::from(a.abs_diff(*b))).collect();
        let mean = apart.iter().sum::<f32>() / apart.len() as f32;
        assert!((0.5..40.0).contains(&mean), "{mean}");
    }

    #[test]
    fn what_is_no_picture_is_not_painted() {
        assert_eq!(paint(&[0; 5], [1, 2], 0, true), None);
        assert_eq!(paint(&[], [0, 2], 0, true), None);
        assert_eq!(paint(&[], [usize::MAX, 2], 0, true), None);
        assert!(paint(&[7; 3], [1, 1], 0, true).is_some());
    }
}
