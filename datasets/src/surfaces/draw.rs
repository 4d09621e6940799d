//! Layers of a surface (colour and height), and shapes to damage them with.

use super::noise::{direction, value};
use super::rng::Rng;

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

    /// As [`touch`](Self::touch), for the texels of a box (left, top, right, bottom) alone.
    pub(crate) fn touch_box(
        &mut self,
        bounds: [f32; 4],
        mut f: impl FnMut([f32; 2], &mut Rgb, &mut f32),
    ) {
        let (size, step) = (self.size, SIDE / self.size as f32);
        let index = |part: f32| ((part / step).max(0.0) as usize).min(size);
        let (left, right) = (index(bounds[0] - step), index(bounds[2] + step));
        for y in index(bounds[1] - step)..index(bounds[3] + step) {
            for i in y * size + left..y * size + right {
                if let (Some(albedo), Some(height)) =
                    (self.albedo.get_mut(i), self.height.get_mut(i))
                {
                    f(place(size, i), albedo, height);
                }
            }
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
pub(crate) fn place(size: usize, i: usize) -> [f32; 2] {
    let step = SIDE / size as f32;
    [((i % size) as f32 + 0.5) * step, ((i / size) as f32 + 0.5) * step]
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

    /// The straight line between two points.
    pub(crate) fn straight(a: [f32; 2], b: [f32; 2]) -> Self {
        Self { points: vec![a, b] }
    }

    /// The box (left, top, right, bottom) around all that is within `reach`.
    pub(crate) fn bounds(&self, reach: f32) -> [f32; 4] {
        let wide = [f32::MAX, f32::MAX, f32::MIN, f32::MIN];
        self.points.iter().fold(wide, |b, p| {
            let (low, high) = (p.map(|part| part - reach), p.map(|part| part + reach));
            [b[0].min(low[0]), b[1].min(low[1]), b[2].max(high[0]), b[3].max(high[1])]
        })
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

    /// A box (left, top, right, bottom) around all of it that is not far outside.
    pub(crate) fn bounds(&self) -> [f32; 4] {
        let reach = self.radius * self.stretch * (1.1 + 1.5 * self.unevenness) + 2.0;
        let [x, y] = self.centre;
        [x - reach, y - reach, x + reach, y + reach]
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

/// Hue in turns, saturation and value of a colour.
pub(crate) fn hsv_of(colour: Rgb) -> (f32, f32, f32) {
    let [r, g, b] = colour;
    let (high, low) = (r.max(g).max(b), r.min(g).min(b));
    let chroma = high - low;
    if chroma <= 0.0 {
        return (0.0, 0.0, high);
    }
    let hue = if high == r {
        (g - b) / chroma
    } else if high == g {
        2.0 + (b - r) / chroma
    } else {
        4.0 + (r - g) / chroma
    };
    let hue = hue / 6.0;
    (hue - hue.floor(), chroma / high, high)
}
