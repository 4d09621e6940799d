//! A lamp and a camera: layers of a surface become pixels.

use super::draw::{Rgb, SIDE, Surface, blend, place};
use super::framing::{Frame, Veil};
use super::noise::direction;
use super::rng::{Rng, mix, unit};

#[derive(Clone, Debug)]
pub(crate) struct Light {
    /// Where the light comes from, as seen in the picture.
    from: [f32; 2],
    gain: f32,
    /// Change of brightness across the picture.
    gradient: [f32; 2],
    grain: u64,
}

impl Light {
    /// `variation` 0 is a laboratory's lamp; 1 is gain 0.7 to 1.3 and a gradient of up to 40 %.
    pub(crate) fn draw(rng: &mut Rng, variation: f32) -> Self {
        let from = direction(rng.range(0.55, 0.7));
        let gain = 1.0 + variation * rng.range(-0.3, 0.3) + rng.range(-0.02, 0.02);
        let strength = variation * rng.range(0.0, 0.4) + rng.range(0.0, 0.02);
        let gradient = direction(rng.unit()).map(|part| part * strength);
        Self { from, gain, gradient, grain: rng.next_u64() }
    }
}

/// A light and a frame, ready to take pictures of `size` by `size` pixels.
pub(crate) struct Camera<'a> {
    light: Light,
    frame: &'a Frame,
    size: usize,
    veils: Vec<Veil>,
}

impl<'a> Camera<'a> {
    pub(crate) fn new(light: Light, frame: &'a Frame, size: usize) -> Self {
        let veils = (0..size * size).map(|i| frame.veil(place(size, i))).collect();
        Self { light, frame, size, veils }
    }

    /// RGB bytes, row by row. Slopes towards the lamp are brighter; the camera adds its grain.
    pub(crate) fn expose(&self, surface: &Surface) -> Vec<u8> {
        let mut film = self.film(surface);
        blur(&mut film, self.size, self.frame.defocus() * self.size as f32 / SIDE);
        let mut pixels = Vec::with_capacity(film.len() * 3);
        let (grey, grain) = (self.frame.grey(), 3.0 * self.frame.grain());
        for (i, colour) in film.iter().enumerate() {
            let level = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2];
            let noise = grain * (unit(mix(self.light.grain ^ i as u64)) - 0.5);
            for channel in blend(*colour, [level; 3], grey) {
                pixels.push((channel * 255.0 + noise + 0.5).floor().clamp(0.0, 255.0) as u8);
            }
        }
        pixels
    }

    fn film(&self, surface: &Surface) -> Vec<Rgb> {
        let (size, light) = (self.size, &self.light);
        let slope_scale = size as f32 / SIDE;
        let ground = self.frame.ground();
        let height = |x: usize, y: usize| surface.height.get(y * size + x).copied().unwrap_or(0.0);
        let texels = surface.albedo.iter().zip(&self.veils).enumerate();
        let expose = |(i, (albedo, veil)): (usize, (&Rgb, &Veil))| {
            let (x, y) = (i % size, i / size);
            let (left, right) = (x.saturating_sub(1), (x + 1).min(size - 1));
            let (above, below) = (y.saturating_sub(1), (y + 1).min(size - 1));
            let across = (height(right, y) - height(left, y)) * slope_scale / 2.0;
            let down = (height(x, below) - height(x, above)) * slope_scale / 2.0;
            let slope = -(across * light.from[0] + down * light.from[1]);
            let [px, py] = place(size, i).map(|part| part / SIDE - 0.5);
            let lamp = light.gain * (1.0 + light.gradient[0] * px + light.gradient[1] * py);
            let shade = lamp * (1.0 + slope.clamp(-0.65, 0.65));
            let glint = 0.12 * (slope - 0.2).clamp(0.0, 1.0);
            let lit = albedo.map(|channel| channel * shade + glint);
            let seen = if veil.cover < 1.0 {
                blend(ground.map(|channel| channel * lamp), lit, veil.cover)
            } else {
                lit
            };
            seen.map(|channel| channel * veil.gain)
        };
        texels.map(expose).collect()
    }
}

/// Smooths rows, then columns, by short passes that make up a standard deviation of `sigma` pixels.
fn blur(film: &mut [Rgb], size: usize, sigma: f32) {
    let variance = sigma * sigma;
    if variance < 0.01 {
        return;
    }
    let n_passes = (variance / 0.6).ceil().max(1.0);
    let side = variance / (2.0 * n_passes);
    let smooth = |a: Rgb, b: Rgb, c: Rgb| {
        let part = |i: usize| b[i] + side * (a[i] + c[i] - 2.0 * b[i]);
        [part(0), part(1), part(2)]
    };
    for _ in 0..n_passes as usize {
        for row in film.chunks_mut(size) {
            let mut before = row[0];
            for x in 0..size {
                let (here, after) = (row[x], row[(x + 1).min(size - 1)]);
                row[x] = smooth(before, here, after);
                before = here;
            }
        }
        let mut above = film[..size].to_vec();
        for y in 0..size {
            for x in 0..size {
                let (here, below) = (film[y * size + x], film[(y + 1).min(size - 1) * size + x]);
                film[y * size + x] = smooth(above[x], here, below);
                above[x] = here;
            }
        }
    }
}
