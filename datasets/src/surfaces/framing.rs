//! How a product is photographed: vignette, borders, the part's own edge, spot light, focus, grain.
//!
//! A [`Framing`] belongs to the product, normal and damaged pictures alike, so none of it is an
//! anomaly; a [`Frame`] is its form in one picture, a little out of place each time.

use super::draw::{Rgb, SIDE, hsv};
use super::noise::{direction, lerp, smoothstep, value};
use super::rng::Rng;

/// What the pictures of a product have in common around the surface.
#[derive(Clone, Debug)]
pub(crate) struct Framing {
    vignette: Option<Vignette>,
    borders: [Option<Border>; 4],
    part: Option<Part>,
    spot: Option<Spot>,
    /// Standard deviation of the blur, of a picture side of 128.
    defocus: f32,
    grain: f32,
    /// Share of colour that is lost.
    grey: f32,
}

/// Darker towards the rim; `square` 1 follows the sides, 0 is round.
#[derive(Clone, Copy, Debug)]
struct Vignette {
    strength: f32,
    inner: f32,
    square: f32,
    centre: [f32; 2],
}

/// A dark or bright strip along one side.
#[derive(Clone, Copy, Debug)]
struct Border {
    width: f32,
    soft: f32,
    gain: f32,
    /// Change of the width from one end of the side to the other.
    slant: f32,
}

/// The surface ends within the picture.
#[derive(Clone, Copy, Debug)]
struct Part {
    centre: [f32; 2],
    half: [f32; 2],
    corner: f32,
    turn: f32,
    ground: Rgb,
    /// Darker along the rim, as a rounded edge is.
    rim: f32,
}

#[derive(Clone, Copy, Debug)]
struct Spot {
    centre: [f32; 2],
    radius: f32,
    gain: f32,
}

impl Framing {
    /// `share` scales how often a product has each property; 0 leaves a mild vignette at most.
    pub(crate) fn draw(rng: &mut Rng, share: f32) -> Self {
        if share <= 0.0 {
            let vignette = rng
                .chance(0.25)
                .then(|| Vignette { strength: rng.range(0.1, 0.25), ..Vignette::draw(rng) });
            let (borders, part, spot) = ([None; 4], None, None);
            return Self { vignette, borders, part, spot, defocus: 0.0, grain: 1.0, grey: 0.0 };
        }
        let vignette = rng.chance(0.3 * share).then(|| Vignette::draw(rng));
        let bordered = rng.chance(0.2 * share);
        let dark = rng.chance(0.7);
        let border =
            |rng: &mut Rng| (bordered && rng.chance(0.55)).then(|| Border::draw(rng, dark));
        let borders = [border(rng), border(rng), border(rng), border(rng)];
        let part = rng.chance(0.22 * share).then(|| Part::draw(rng));
        let spot = rng.chance(0.2 * share).then(|| Spot::draw(rng));
        let defocus = if rng.chance(0.25) { rng.range(0.4, 1.1) } else { 0.0 };
        let grain = if rng.chance(0.3) { rng.range(1.5, 5.0) } else { rng.range(0.7, 1.4) };
        let grey = match rng.unit() {
            choice if choice < 0.22 * share => 1.0,
            choice if choice < 0.32 * share => rng.range(0.4, 0.9),
            _ => 0.0,
        };
        Self { vignette, borders, part, spot, defocus, grain, grey }
    }

    /// This framing as one picture shows it.
    pub(crate) fn place(&self, rng: &mut Rng) -> Frame {
        let mut framing = self.clone();
        if let Some(vignette) = &mut framing.vignette {
            vignette.strength *= rng.range(0.85, 1.15);
            shift(rng, &mut vignette.centre, 6.0);
        }
        for border in framing.borders.iter_mut().flatten() {
            border.width = (border.width * rng.range(0.6, 1.4) + rng.range(-1.5, 1.5)).max(0.0);
            border.slant += rng.range(-1.5, 1.5);
        }
        if let Some(part) = &mut framing.part {
            shift(rng, &mut part.centre, 4.0);
            part.turn += rng.range(-0.006, 0.006);
        }
        if let Some(spot) = &mut framing.spot {
            shift(rng, &mut spot.centre, 10.0);
            spot.gain *= rng.range(0.8, 1.2);
        }
        framing.defocus *= rng.range(0.8, 1.2);
        Frame { framing, wobble: rng.next_u64() }
    }

    pub(crate) fn is_grey(&self) -> bool {
        self.grey > 0.9
    }
}

fn shift(rng: &mut Rng, place: &mut [f32; 2], reach: f32) {
    place.iter_mut().for_each(|part| *part += rng.range(-reach, reach));
}

impl Vignette {
    fn draw(rng: &mut Rng) -> Self {
        Self {
            strength: rng.range(0.2, 0.75),
            inner: rng.range(0.25, 0.7),
            square: rng.unit(),
            centre: [rng.range(50.0, 78.0), rng.range(50.0, 78.0)],
        }
    }

    fn gain(&self, p: [f32; 2]) -> f32 {
        let (x, y) = ((p[0] - self.centre[0]).abs() / 64.0, (p[1] - self.centre[1]).abs() / 64.0);
        let round = (x * x + y * y).sqrt() * 0.8;
        let distance = lerp(round, x.max(y), self.square);
        1.0 - self.strength * smoothstep(self.inner, 1.25, distance)
    }
}

impl Border {
    fn draw(rng: &mut Rng, dark: bool) -> Self {
        Self {
            width: rng.range(1.5, 12.0),
            soft: rng.range(0.6, 7.0),
            gain: if dark { rng.range(0.1, 0.6) } else { rng.range(1.25, 1.7) },
            slant: rng.range(-3.0, 3.0),
        }
    }

    fn gain(&self, depth: f32, along: f32) -> f32 {
        let width = self.width + self.slant * (along / SIDE - 0.5);
        lerp(self.gain, 1.0, smoothstep(width - self.soft, width + self.soft, depth))
    }
}

impl Part {
    fn draw(rng: &mut Rng) -> Self {
        let fill = rng.range(0.76, 1.0);
        let ends = rng.range(0.84, 1.3);
        let (a, b) = (fill * SIDE / 2.0, (fill * ends).min(1.5) * SIDE / 2.0);
        let level = if rng.chance(0.65) { rng.range(0.01, 0.15) } else { rng.range(0.6, 0.85) };
        Self {
            centre: [64.0 + rng.range(-7.0, 7.0), 64.0 + rng.range(-7.0, 7.0)],
            half: if rng.chance(0.5) { [a, b] } else { [b, a] },
            corner: match rng.unit() {
                choice if choice < 0.5 => rng.range(0.0, 4.0),
                choice if choice < 0.8 => rng.range(4.0, 25.0),
                _ => rng.range(40.0, 60.0),
            },
            turn: rng.range(-0.025, 0.025),
            ground: hsv(rng.unit(), rng.range(0.0, 0.3), level),
            rim: rng.range(0.0, 0.5),
        }
    }

    /// Distance to the rim, positive inside: a rectangle with round corners.
    fn depth(&self, p: [f32; 2]) -> f32 {
        let axis = direction(self.turn);
        let (x, y) = (p[0] - self.centre[0], p[1] - self.centre[1]);
        let u = (x * axis[0] + y * axis[1]).abs();
        let v = (y * axis[0] - x * axis[1]).abs();
        let corner = self.corner.min(self.half[0]).min(self.half[1]);
        let (a, b) = (u - self.half[0] + corner, v - self.half[1] + corner);
        let (ax, bx) = (a.max(0.0), b.max(0.0));
        corner - (ax * ax + bx * bx).sqrt() - a.max(b).min(0.0)
    }
}

impl Spot {
    fn draw(rng: &mut Rng) -> Self {
        let gain = if rng.chance(0.8) { rng.range(0.15, 0.55) } else { rng.range(-0.35, -0.12) };
        Self {
            centre: [rng.range(0.0, SIDE), rng.range(0.0, SIDE)],
            radius: rng.range(35.0, 90.0),
            gain,
        }
    }

    fn gain(&self, p: [f32; 2]) -> f32 {
        let (x, y) = (p[0] - self.centre[0], p[1] - self.centre[1]);
        let near = 1.0 - ((x * x + y * y).sqrt() / self.radius).min(1.0);
        1.0 + self.gain * near * near * (3.0 - 2.0 * near)
    }
}

/// The framing of one picture.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    framing: Framing,
    wobble: u64,
}

/// What the frame does to one pixel.
#[derive(Clone, Copy)]
pub(crate) struct Veil {
    pub(crate) gain: f32,
    /// How much of the pixel is the surface and not its ground.
    pub(crate) cover: f32,
}

impl Frame {
    pub(crate) fn veil(&self, p: [f32; 2]) -> Veil {
        let framing = &self.framing;
        let mut gain = framing.vignette.map_or(1.0, |vignette| vignette.gain(p));
        gain *= framing.spot.map_or(1.0, |spot| spot.gain(p));
        let depths = [p[0], p[1], SIDE - p[0], SIDE - p[1]];
        for (side, border) in framing.borders.iter().enumerate() {
            if let Some(border) = border {
                let along = p[(side + 1) % 2];
                let wobble = 1.2 * value(self.wobble ^ side as u64, along * 0.05, 0.0);
                gain *= border.gain(depths[side] + wobble, along);
            }
        }
        let Some(part) = framing.part else {
            return Veil { gain, cover: 1.0 };
        };
        let depth = part.depth(p);
        gain *= 1.0 - part.rim * smoothstep(5.0, 0.0, depth) * smoothstep(-1.0, 0.0, depth);
        Veil { gain, cover: smoothstep(-0.6, 0.6, depth) }
    }

    /// Distance to the nearest edge of the part, or of the picture if it fills it; positive inside.
    pub(crate) fn depth(&self, p: [f32; 2]) -> f32 {
        let inside = p[0].min(p[1]).min(SIDE - p[0]).min(SIDE - p[1]);
        self.framing.part.map_or(inside, |part| part.depth(p).min(inside))
    }

    /// What is seen where the part has ended, or a dark ground.
    pub(crate) fn ground(&self) -> Rgb {
        self.framing.part.map_or([0.06; 3], |part| part.ground)
    }

    pub(crate) fn defocus(&self) -> f32 {
        self.framing.defocus
    }

    pub(crate) fn grain(&self) -> f32 {
        self.framing.grain
    }

    pub(crate) fn grey(&self) -> f32 {
        self.framing.grey
    }
}
