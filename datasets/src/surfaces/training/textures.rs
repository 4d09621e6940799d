//! Plain textures: cloth, metal, wood, stone, leather, rubber, plaster.

use crate::surfaces::draw::{blend, tone};
use crate::surfaces::kinds::{Look, Missing, Texel};
use crate::surfaces::noise::{cell, fractal, lerp, scattered, sin_turns, smoothstep, value};

/// Threads over and under each other, one square a crossing.
pub(crate) fn woven(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let sway = 0.12 * value(look.seed, p[0] * 0.05, p[1] * 0.05);
    let (u, v) = (p[0] / look.scale + sway, p[1] / look.scale + sway);
    let (i, j) = (u.floor(), v.floor());
    let (across, along, thread, colour) = if (i as i32 ^ j as i32) & 1 == 0 {
        (u - i, v - j, i as i32, look.base)
    } else {
        (v - j, u - i, (j as i32).wrapping_add(100_000), look.second)
    };
    let (a, b) = (2.0 * across - 1.0, 2.0 * along - 1.0);
    let profile = (1.0 - a * a) * (1.0 - 0.55 * b * b);
    let strand = sin_turns(across * 1.5 + along * 0.8 + cell(look.seed, thread, 7));
    let fuzz = value(look.seed ^ 3, p[0] * 0.9, p[1] * 0.9);
    let own = cell(look.seed ^ 5, thread, 0) - 0.5;
    let light = 0.55 + 0.5 * profile + 0.16 * own + 0.05 * strand + 0.08 * fuzz * look.contrast;
    Texel::plain(tone(colour, light), profile * look.scale * 0.16 * look.relief)
}

/// Streaks of many widths along one direction, under a slow change of sheen.
pub(crate) fn brushed_metal(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let (x, y) = (p[0], p[1] / look.scale);
    let fine = value(look.seed, x * 0.02, y * 1.3) + 0.7 * value(look.seed ^ 1, x * 0.05, y * 2.1);
    let broad = value(look.seed ^ 2, x * 0.006, y * 0.25);
    let sheen = fractal(look.seed ^ 3, x * 0.012, y * 0.02, 2);
    let light = 1.0 + (0.085 * fine + 0.05 * broad) * look.contrast + 0.06 * sheen;
    Texel::plain(tone(look.base, light), 0.05 * fine)
}

/// Year rings cut lengthwise, with fibres and pores.
pub(crate) fn wood_grain(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let bend = fractal(look.seed, p[0] * 0.010, p[1] * 0.028, 3);
    let ring = p[1] / look.scale + 2.2 * bend;
    let phase = ring - ring.floor();
    let late = smoothstep(0.25, 0.95, phase) * (1.0 - smoothstep(0.95, 1.0, phase));
    let year = cell(look.seed ^ 1, ring.floor() as i32, 0);
    let fibre = value(look.seed ^ 2, p[0] * 0.045, p[1] * 0.85);
    let fine = value(look.seed ^ 3, p[0] * 0.12, p[1] * 1.6);
    let pore = smoothstep(0.55, 0.8, value(look.seed ^ 4, p[0] * 0.09, p[1] * 0.75));
    let colour = blend(look.base, look.second, late * (0.45 + 0.5 * year) * look.contrast.min(1.1));
    let light = 1.0 + 0.07 * fibre + 0.05 * fine - 0.28 * pore;
    Texel::plain(tone(colour, light), 0.12 * fibre - 0.3 * pore)
}

/// Grains of three minerals, polished flat.
pub(crate) fn granite(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let s = look.scale;
    let warp = value(look.seed, p[0] / s, p[1] / s) * 0.35;
    let (first, second, owner) = scattered(look.seed ^ 1, p[0] / s + warp, p[1] / s - warp);
    let colour = match owner {
        owner if owner < 0.5 => look.base,
        owner if owner < 0.8 => look.second,
        owner if owner < 0.93 => look.ground,
        _ => [0.78, 0.77, 0.75],
    };
    let inside = smoothstep(0.0, 0.22, second - first);
    let cloud = fractal(look.seed ^ 2, p[0] * 0.04, p[1] * 0.04, 2);
    let fine = value(look.seed ^ 3, p[0] * 0.8, p[1] * 0.8);
    let mixed = blend(look.base, colour, 0.35 + 0.55 * inside);
    Texel::plain(tone(mixed, 1.0 + 0.06 * cloud + 0.07 * fine * look.contrast), 0.03 * fine)
}

/// Pebbled grain between fine creases.
pub(crate) fn leather(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let s = look.scale;
    let wx = 0.4 * value(look.seed, p[0] * 0.11, p[1] * 0.11);
    let wy = 0.4 * value(look.seed ^ 9, p[0] * 0.11, p[1] * 0.11);
    let stretch = lerp(1.0, 1.35, look.form);
    let (first, second, owner) = scattered(look.seed ^ 1, p[0] / s + wx, p[1] / s * stretch + wy);
    let swell = smoothstep(0.0, 0.38, second - first);
    let cloud = fractal(look.seed ^ 2, p[0] * 0.025, p[1] * 0.025, 3);
    let fine = value(look.seed ^ 3, p[0] * 0.7, p[1] * 0.7);
    let colour = blend(look.ground, look.base, 0.25 + 0.75 * swell);
    let light = 1.0 + 0.08 * (owner - 0.5) + 0.07 * cloud + 0.05 * fine;
    Texel::plain(
        tone(colour, light),
        (0.16 * s * swell - 0.05 * s * first) * look.relief + 0.05 * fine,
    )
}

/// Rounded ribs with matt grain.
pub(crate) fn ribbed_rubber(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let wave = 0.05 * value(look.seed, p[0] * 0.03, p[1] * 0.03);
    let u = p[1] / look.scale + wave;
    let across = 2.0 * (u - u.floor()) - 1.0;
    let flat = lerp(0.75, 0.9, look.form);
    let profile = 1.0 - smoothstep(flat - 0.5, flat, across.abs());
    let fine = value(look.seed ^ 1, p[0] * 0.75, p[1] * 0.75);
    let cloud = fractal(look.seed ^ 2, p[0] * 0.03, p[1] * 0.03, 2);
    let colour = blend(look.ground, look.base, 0.2 + 0.8 * profile);
    let light = 1.0 + 0.1 * fine * look.contrast + 0.06 * cloud;
    Texel::plain(tone(colour, light), 0.14 * look.scale * profile * look.relief + 0.12 * fine)
}

/// Trowelled lumps and pits.
pub(crate) fn plaster(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let s = look.scale;
    let lumps = fractal(look.seed, p[0] / s, p[1] / s * lerp(0.6, 1.0, look.form), 4);
    let cloud = fractal(look.seed ^ 1, p[0] * 0.02, p[1] * 0.02, 2);
    let pit = smoothstep(0.5, 0.75, value(look.seed ^ 2, p[0] * 0.45, p[1] * 0.45));
    let light = 1.0 + 0.05 * cloud + 0.06 * lumps - 0.14 * pit;
    Texel::plain(tone(look.base, light), (1.1 * lumps - 0.5 * pit) * look.relief)
}
