//! Fibrous and porous materials: paper, board, twill, felt, foam, rope, bark.

use crate::surfaces::draw::{blend, tone};
use crate::surfaces::kinds::{Look, Missing, Texel};
use crate::surfaces::noise::{cell, fractal, lerp, scattered, sin_turns, smoothstep, value};

/// Paper: a cloudy formation of short fibres; ruled on some.
pub(crate) fn paper(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let formation = fractal(look.seed, p[0] * 0.12, p[1] * 0.09, 3);
    let fibre = value(look.seed ^ 1, p[0] * 0.9 + p[1] * 0.3, p[1] * 0.35);
    let other = value(look.seed ^ 2, p[0] * 0.3, p[1] * 0.9 - p[0] * 0.3);
    let light = 1.0 + (0.025 * formation + 0.015 * (fibre + other)) * look.contrast;
    let mut colour = tone(look.base, light);
    if look.form > 0.75 {
        let row = p[1] / (look.scale * 2.0);
        let line = (row - row.floor() - 0.5).abs() * look.scale * 2.0;
        colour = blend(colour, look.second, 0.55 * smoothstep(0.9, 0.3, line));
    }
    Texel::plain(colour, (0.1 * formation + 0.08 * fibre) * look.relief)
}

/// Corrugated board: its flutes show through the liner.
pub(crate) fn cardboard(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let wave = 0.1 * value(look.seed, p[0] * 0.02, p[1] * 0.05);
    let flute = sin_turns(p[0] / look.scale + wave);
    let fleck = smoothstep(0.5, 0.8, value(look.seed ^ 1, p[0] * 0.5, p[1] * 0.22));
    let cloud = fractal(look.seed ^ 2, p[0] * 0.04, p[1] * 0.02, 3);
    let fibre = value(look.seed ^ 3, p[0] * 0.8, p[1] * 0.25);
    let light = 1.0 + 0.05 * flute * look.contrast + 0.05 * cloud + 0.035 * fibre - 0.08 * fleck;
    Texel::plain(tone(look.base, light), 0.35 * flute * look.relief + 0.06 * fibre)
}

/// Twill: every thread passes over two and under one, a step on in each row.
pub(crate) fn denim(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let s = look.scale;
    let sway = 0.15 * value(look.seed, p[0] * 0.04, p[1] * 0.04);
    let (u, v) = (p[0] / s + sway, p[1] / s - sway);
    let (i, j) = (u.floor() as i32, v.floor() as i32);
    let warp_up = i.wrapping_add(j).rem_euclid(3) != 0;
    let (across, along) = (u - u.floor(), v - v.floor());
    let (across, along) = if warp_up { (across, along) } else { (along, across) };
    let (a, b) = (2.0 * across - 1.0, 2.0 * along - 1.0);
    let profile = (1.0 - a * a) * (1.0 - 0.35 * b * b);
    let thread = cell(look.seed ^ 1, if warp_up { i } else { j }, i32::from(warp_up)) - 0.5;
    let slub = value(look.seed ^ 2, u, v * 0.12);
    let fuzz = value(look.seed ^ 3, p[0] * 0.9, p[1] * 0.9);
    let colour = if warp_up { look.base } else { look.second };
    let light = 0.62 + 0.42 * profile + 0.14 * thread + 0.1 * slub * look.contrast + 0.07 * fuzz;
    Texel::plain(tone(colour, light), 0.14 * s * profile * look.relief)
}

/// Felt: short fibres in all directions.
pub(crate) fn felt(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let [x, y] = p;
    let bend = 2.0 * value(look.seed, x * 0.08, y * 0.08);
    let a = value(look.seed ^ 1, x * 0.9 + bend, y * 0.22);
    let b = value(look.seed ^ 2, x * 0.2, y * 0.9 - bend);
    let c = value(look.seed ^ 3, (x + y) * 0.65, (x - y) * 0.16 + bend);
    let cloud = fractal(look.seed ^ 4, x / look.scale * 0.4, y / look.scale * 0.4, 3);
    let fibre = a.max(b).max(c);
    let light = 0.93 + (0.14 * fibre + 0.09 * cloud) * look.contrast;
    let mixed = blend(look.base, look.second, 0.3 * smoothstep(0.2, 0.8, c));
    Texel::plain(tone(mixed, light), (0.3 * fibre + 0.3 * cloud) * look.relief)
}

/// Open foam: dark pores of many sizes between bright walls.
pub(crate) fn foam(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let s = look.scale;
    let (first, _, owner) = scattered(look.seed, p[0] / s, p[1] / s);
    let (small, _, choice) = scattered(look.seed ^ 1, p[0] / s * 2.3, p[1] / s * 2.3);
    let radius = lerp(0.15, 0.55, owner * owner);
    let pore = smoothstep(radius, radius * 0.5, first);
    let tiny = smoothstep(0.3, 0.1, small) * if choice > 0.5 { 0.6 } else { 0.0 };
    let open = pore.max(tiny);
    let cloud = fractal(look.seed ^ 2, p[0] * 0.05, p[1] * 0.05, 2);
    let fine = value(look.seed ^ 3, p[0] * 0.9, p[1] * 0.9);
    let wall = tone(look.base, 1.0 + 0.05 * cloud + 0.04 * fine * look.contrast);
    Texel::plain(blend(wall, look.ground, 0.75 * open), -0.25 * s * open * look.relief)
}

/// Cables side by side, each of twisted strands.
pub(crate) fn rope(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let s = look.scale;
    let u = p[1] / s;
    let row = u.floor();
    let across = 2.0 * (u - row) - 1.0;
    let hand = if look.form < 0.5 && (row as i32) & 1 == 0 { -1.0 } else { 1.0 };
    let own = cell(look.seed, row as i32, 0);
    let lay = p[0] / s * 1.6 + hand * across * 0.55 + own;
    let strand = 1.0 - (2.0 * (lay - lay.floor()) - 1.0) * (2.0 * (lay - lay.floor()) - 1.0);
    let round = 1.0 - across * across;
    let fibre = value(look.seed ^ 1, lay * 6.0, across * 2.0 + row);
    let fuzz = value(look.seed ^ 2, p[0] * 0.8, p[1] * 0.8);
    let light = 0.5 + 0.3 * strand + 0.25 * round + (0.08 * fibre + 0.05 * fuzz) * look.contrast;
    let body = blend(look.base, look.second, own * 0.6);
    let colour = blend(look.ground, tone(body, light), smoothstep(0.0, 0.18, round));
    Texel::plain(colour, s * (0.2 * round.max(0.0).sqrt() + 0.06 * strand) * look.relief)
}

/// Bark: plates between deep fissures that run one way.
pub(crate) fn bark(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let s = look.scale;
    let bend = fractal(look.seed, p[0] / s * 0.3, p[1] / s * 0.12, 2);
    let ridge = fractal(look.seed ^ 1, p[0] / s + 1.3 * bend, p[1] / s * 0.22, 3).abs();
    let open = smoothstep(0.22, 0.04, ridge);
    let rough = fractal(look.seed ^ 2, p[0] * 0.4, p[1] * 0.25, 2);
    let body = blend(look.base, look.second, smoothstep(-0.4, 0.5, bend));
    let light = 1.0 + 0.16 * rough * look.contrast;
    let colour = blend(tone(body, light), look.ground, 0.8 * open);
    Texel::plain(colour, (0.8 * rough - 0.25 * s * open) * look.relief)
}
