//! Layers of a surface (colour and height), what a lamp makes of them, and shapes to damage them
//! with.

use super::noise::{direction, value};
use super::rng::{Rng, mix, unit};

pub(crate) type Rgb = [f32; 3];

/// Side of a picture in the length all patterns are drawn in; a larger picture shows the same piece
/// of surface with more pixels.
pub(crate) const SIDE: f32 = 128.0;

/// A surface before light falls on it, `size` by `size` texels in rows.
#[derive(Clone)]
pub(crate) struct Surface {
    pub(crate) size: usize,
    pub(crate) albedo: Vec<Rgb>,
    /// Height in units of `SIDE`.
    pub(crate) height: Vec<f32>,
}

impl Surface {
    /// Shades every texel by its place in `0..SIDE`.
    pub(crate) fn make(size: usize, mut texel: impl FnMut([f32; 2]) -> (Rgb, f32)) -> Self {
        let mut albedo = Vec::with_capacity(size * size);
        let mut height = Vec::with_capacity(size * size);
        for i in 0..size * size {
            let (colour, level) = texel(place(size, i));
            albedo.push(colour);
            height.push(level);
        }
        Self { size, albedo, height }
    }

    /// Changes colour and height of every texel for which `f` sees fit.
    pub(crate) fn touch(&mut self, mut f: impl FnMut([f32; 2], &mut Rgb, &mut f32)) {
        let texels = self.albedo.iter_mut().zip(&mut self.height).enumerate();
        for (i, (albedo, height)) in texels {
            f(place(self.size, i), albedo, height);
        }
    }

    /// The mean colour of the whole piece.
    pub(crate) fn mean(&self) -> Rgb {
        let mut sum = [0.0_f32; 3];
        for albedo in &self.albedo {
            (0..3).for_each(|c| sum[c] += albedo[c]);
        }
        sum.map(|s| s / self.albedo.len().max(1) as f32)
    }
}

/// The centre of texel `i` in `0..SIDE`.
fn place(size: usize, i: usize) -> [f32; 2] {
    let step = SIDE / size as f32;
    [((i % size) as f32 + 0.5) * step, ((i / size) as f32 + 0.5) * step]
}

/// A lamp and a camera.
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

    /// RGB bytes, row by row. Slopes towards the lamp are brighter; the camera adds a little grain.
    pub(crate) fn expose(&self, surface: &Surface) -> Vec<u8> {
        let size = surface.size;
        let mut pixels = Vec::with_capacity(size * size * 3);
        let slope_scale = size as f32 / SIDE;
        let height = |x: usize, y: usize| surface.height.get(y * size + x).copied().unwrap_or(0.0);
        for (i, albedo) in surface.albedo.iter().enumerate() {
            let (x, y) = (i % size, i / size);
            let (left, right) = (x.saturating_sub(1), (x + 1).min(size - 1));
            let (above, below) = (y.saturating_sub(1), (y + 1).min(size - 1));
            let across = (height(right, y) - height(left, y)) * slope_scale / 2.0;
            let down = (height(x, below) - height(x, above)) * slope_scale / 2.0;
            let slope = -(across * self.from[0] + down * self.from[1]);
            let [px, py] = place(size, i).map(|part| part / SIDE - 0.5);
            let lamp = self.gain * (1.0 + self.gradient[0] * px + self.gradient[1] * py);
            let shade = lamp * (1.0 + slope.clamp(-0.65, 0.65));
            let glint = 0.12 * (slope - 0.2).clamp(0.0, 1.0);
            let grain = 3.0 * (unit(mix(self.grain ^ i as u64)) - 0.5);
            for channel in albedo {
                let level = (channel * shade + glint) * 255.0 + grain;
                pixels.push((level + 0.5).floor().clamp(0.0, 255.0) as u8);
            }
        }
        pixels
    }
}

/// A line through points, with the place along it (0 to 1) of the nearest point.
pub(crate) struct Stroke {
    points: Vec<[f32; 2]>,
}

impl Stroke {
    /// A walk of `length` in steps of `step` from `start`; each step turns by up to `turn` turns.
    pub(crate) fn walk(
        rng: &mut Rng,
        start: [f32; 2],
        heading: f32,
        length: f32,
        step: f32,
        turn: f32,
    ) -> Self {
        let mut points = vec![start];
        let (mut at, mut heading, mut walked) = (start, heading, 0.0);
        let drift = rng.range(-turn, turn) * 0.3;
        while walked < length {
            heading += rng.range(-turn, turn) + drift;
            let towards = direction(heading);
            at = [at[0] + towards[0] * step, at[1] + towards[1] * step];
            points.push(at);
            walked += step;
        }
        Self { points }
    }

    /// The corner of the line nearest to a share (0 to 1) of its length.
    pub(crate) fn point(&self, share: f32) -> [f32; 2] {
        let last = self.points.len().saturating_sub(1);
        let i = (share * last as f32) as usize;
        self.points.get(i.min(last)).copied().unwrap_or([0.0; 2])
    }

    /// Distance to the line and where along it, or `None` further than `reach`.
    pub(crate) fn near(&self, p: [f32; 2], reach: f32) -> Option<(f32, f32)> {
        let n_parts = self.points.len().saturating_sub(1).max(1) as f32;
        let mut best: Option<(f32, f32)> = None;
        for (i, pair) in self.points.windows(2).enumerate() {
            let &[a, b] = pair else { continue };
            let (along, across) = ([b[0] - a[0], b[1] - a[1]], [p[0] - a[0], p[1] - a[1]]);
            let length2 = along[0] * along[0] + along[1] * along[1];
            let dot = across[0] * along[0] + across[1] * along[1];
            let t = if length2 > 0.0 { (dot / length2).clamp(0.0, 1.0) } else { 0.0 };
            let (dx, dy) = (across[0] - t * along[0], across[1] - t * along[1]);
            let d2 = dx * dx + dy * dy;
            if best.is_none_or(|(nearest, _)| d2 < nearest) {
                best = Some((d2, (i as f32 + t) / n_parts));
            }
        }
        best.map(|(d2, share)| (d2.sqrt(), share)).filter(|(d, _)| *d <= reach)
    }
}

/// A round shape with an uneven rim, stretched along one direction.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub(crate) centre: [f32; 2],
    pub(crate) radius: f32,
    axis: [f32; 2],
    stretch: f32,
    unevenness: f32,
    seed: u64,
}

impl Blob {
    pub(crate) fn draw(rng: &mut Rng, radius: [f32; 2], unevenness: f32) -> Self {
        let radius = rng.range(radius[0], radius[1]);
        let margin = (radius * 0.9).min(SIDE * 0.45);
        let centre = [rng.range(margin, SIDE - margin), rng.range(margin, SIDE - margin)];
        let axis = direction(rng.unit());
        Self {
            centre,
            radius,
            axis,
            stretch: rng.range(1.0, 1.6),
            unevenness,
            seed: rng.next_u64(),
        }
    }

    /// Depth below the rim in units of the radius: 1 in the middle, 0 on the rim, negative outside.
    pub(crate) fn depth(&self, p: [f32; 2]) -> f32 {
        let (dx, dy) = (p[0] - self.centre[0], p[1] - self.centre[1]);
        let along = (dx * self.axis[0] + dy * self.axis[1]) / self.stretch;
        let across = (dy * self.axis[0] - dx * self.axis[1]) * self.stretch.sqrt();
        let distance = (along * along + across * across).sqrt() / self.radius;
        if distance > 2.5 {
            return -1.0;
        }
        let scale = 1.6 / self.radius;
        let coarse = value(self.seed, dx * scale, dy * scale);
        let fine = value(self.seed ^ 1, dx * scale * 3.0, dy * scale * 3.0);
        1.0 - distance + self.unevenness * (coarse + 0.4 * fine)
    }
}

pub(crate) fn blend(a: Rgb, b: Rgb, t: f32) -> Rgb {
    [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t]
}

pub(crate) fn tone(colour: Rgb, factor: f32) -> Rgb {
    colour.map(|part| part * factor)
}

/// Colour of a hue in turns with a saturation and a value of 0 to 1.
pub(crate) fn hsv(hue: f32, saturation: f32, value: f32) -> Rgb {
    [5.0, 3.0, 1.0].map(|shift: f32| {
        let k = (shift + (hue - hue.floor()) * 6.0) % 6.0;
        value * (1.0 - saturation * k.min(4.0 - k).clamp(0.0, 1.0))
    })
}
