//! Mineral surfaces: concrete, marble, gravel, slate, sandpaper.

use crate::surfaces::draw::{blend, tone};
use crate::surfaces::kinds::{Look, Missing, Texel};
use crate::surfaces::noise::{fractal, lerp, scattered, smoothstep, value};

/// Cast concrete: sand, clouds of cement and a few small air holes.
pub(crate) fn concrete(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let cloud = fractal(look.seed, p[0] / look.scale * 0.2, p[1] / look.scale * 0.2, 4);
    let sand = value(look.seed ^ 1, p[0] * 0.7, p[1] * 0.7);
    let grit = value(look.seed ^ 2, p[0] * 1.4, p[1] * 1.4);
    let (first, _, owner) = scattered(look.seed ^ 3, p[0] * 0.12, p[1] * 0.12);
    let radius = smoothstep(0.6, 1.0, owner) * 0.12 * look.form;
    let air = smoothstep(radius, radius * 0.5, first) * if radius > 0.02 { 1.0 } else { 0.0 };
    let light = 1.0 + 0.1 * cloud * look.contrast + 0.05 * sand + 0.04 * grit - 0.4 * air;
    Texel::plain(tone(look.base, light), (0.2 * sand + 0.1 * grit) * look.relief - 0.8 * air)
}

/// Polished marble: veins of several widths in a clouded ground.
pub(crate) fn marble(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let s = look.scale;
    let (x, y) = (p[0] / s, p[1] / s);
    let wx = fractal(look.seed, x * 0.5, y * 0.5, 3);
    let wy = fractal(look.seed ^ 1, x * 0.5, y * 0.5, 3);
    let broad = fractal(look.seed ^ 2, x * 0.35 + wx, y * 0.5 + wy, 3).abs();
    let narrow = fractal(look.seed ^ 3, x * 0.8 - wy, y * 0.9 + wx, 2).abs();
    let vein = 0.7 * smoothstep(0.12, 0.0, broad) + 0.35 * smoothstep(0.05, 0.0, narrow);
    let cloud = blend(look.base, look.second, 0.25 * smoothstep(0.0, 0.7, wx));
    let strength = vein.min(1.0) * lerp(0.35, 0.8, look.form) * look.contrast.min(1.0);
    let fine = value(look.seed ^ 4, p[0] * 0.8, p[1] * 0.8);
    Texel::plain(tone(blend(cloud, look.ground, strength), 1.0 + 0.015 * fine), 0.0)
}

/// Loose pebbles of several colours.
pub(crate) fn gravel(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let s = look.scale;
    let warp = 0.15 * value(look.seed, p[0] / s * 2.0, p[1] / s * 2.0);
    let (first, second, owner) = scattered(look.seed ^ 1, p[0] / s + warp, p[1] / s - warp);
    let inside = smoothstep(0.02, 0.4, second - first);
    let speck = fractal(look.seed ^ 2, p[0] * 0.5, p[1] * 0.5, 2);
    let stone = blend(look.base, look.second, owner);
    let light = 0.72 + 0.5 * owner * look.contrast.min(1.0) + 0.09 * speck;
    let colour = blend(look.ground, tone(stone, light), smoothstep(0.0, 0.16, second - first));
    Texel::plain(colour, (0.35 * s * inside + 0.2 * speck) * look.relief)
}

/// Split slate: layers that break along wandering steps.
pub(crate) fn slate(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let s = look.scale;
    let bed = 3.0 * fractal(look.seed, p[0] / s * 0.14, p[1] / s * 0.22, 4);
    let phase = bed - bed.floor();
    let ledge = smoothstep(0.0, 0.08, phase) * smoothstep(1.0, 0.92, phase);
    let grain = value(look.seed ^ 1, p[0] * 0.35, p[1] * 0.8);
    let cloud = fractal(look.seed ^ 2, p[0] * 0.03, p[1] * 0.03, 3);
    let body = blend(look.base, look.second, smoothstep(-0.5, 0.5, cloud));
    let light = 0.88 + 0.12 * ledge + 0.06 * grain * look.contrast;
    Texel::plain(tone(body, light), (0.7 * phase + 0.15 * grain) * look.relief)
}

/// Grains of abrasive glued to a sheet.
pub(crate) fn sandpaper(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let s = look.scale;
    let (first, _, owner) = scattered(look.seed, p[0] / s, p[1] / s);
    let grain = 1.0 - smoothstep(0.2, 0.7, first);
    let fine = value(look.seed ^ 1, p[0] * 1.2, p[1] * 1.2);
    let cloud = fractal(look.seed ^ 2, p[0] * 0.03, p[1] * 0.03, 2);
    let light = 0.75 + 0.28 * grain * (0.5 + owner) + 0.08 * fine * look.contrast + 0.05 * cloud;
    let glitter = if owner > 0.94 { 0.25 * grain } else { 0.0 };
    Texel::plain(tone(look.base, light + glitter), 0.3 * s * grain * look.relief)
}
