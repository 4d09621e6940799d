//! Families made of single cells, any of which may be missing.

use crate::surfaces::draw::{blend, tone};
use crate::surfaces::kinds::{Look, Missing, Texel};
use crate::surfaces::noise::{cell, fractal, lerp, smoothstep, value};

/// Round wires crossing; a missing opening is clogged.
pub(crate) fn wire_mesh(look: &Look, p: [f32; 2], missing: Missing) -> Texel {
    let s = look.scale;
    let sway = 0.04 * value(look.seed, p[0] * 0.06, p[1] * 0.06);
    let (u, v) = (p[0] / s + sway, p[1] / s - sway);
    let id = [u.floor() as i32, v.floor() as i32];
    let (du, dv) = ((u - u.floor() - 0.5).abs(), (v - v.floor() - 0.5).abs());
    let half = lerp(0.17, 0.25, look.form);
    let profile = |d: f32| 1.0 - ((0.5 - d) / half) * ((0.5 - d) / half);
    let (warp, weft) = (profile(du), profile(dv));
    let over = if (id[0] ^ id[1]) & 1 == 0 { (warp, weft) } else { (weft, warp) };
    let wire = if over.0 > 0.0 { over.0 } else { over.1 };
    let fine = value(look.seed ^ 1, p[0] * 0.7, p[1] * 0.7);
    if wire > 0.0 {
        let light = 0.55 + 0.5 * wire.sqrt() + 0.06 * fine;
        return Texel::of_cell(tone(look.base, light), s * 0.16 * wire.sqrt() * look.relief, id);
    }
    if missing.contains(&id) {
        let lump = fractal(look.seed ^ 2, p[0] * 0.25, p[1] * 0.25, 2);
        let albedo = tone(look.base, 0.72 + 0.12 * lump + 0.06 * fine);
        return Texel::of_cell(albedo, s * 0.08 + 0.5 * lump, id);
    }
    let edge = smoothstep(0.0, 0.2, 0.5 - half - du.max(dv));
    let cloud = fractal(look.seed ^ 3, p[0] * 0.05, p[1] * 0.05, 2);
    Texel::of_cell(tone(look.ground, 0.6 + 0.4 * edge + 0.15 * cloud + 0.1 * fine), -0.05 * s, id)
}

/// Round holes in staggered rows; a missing hole was never punched.
pub(crate) fn perforated_plate(look: &Look, p: [f32; 2], missing: Missing) -> Texel {
    let (id, dx, dy) = staggered(look, p);
    let distance = (dx * dx + dy * dy).sqrt();
    let radius = lerp(0.26, 0.34, look.form);
    let streak = value(look.seed, p[0] * 0.04, p[1] * 1.1);
    let cloud = fractal(look.seed ^ 1, p[0] * 0.03, p[1] * 0.03, 2);
    let metal = tone(look.base, 1.0 + 0.05 * streak * look.contrast + 0.05 * cloud);
    if missing.contains(&id) {
        return Texel::of_cell(metal, 0.0, id);
    }
    let hole = 1.0 - smoothstep(radius - 0.03, radius + 0.03, distance);
    let depth = tone(look.ground, 0.7 + 0.5 * smoothstep(0.0, radius, dy + 0.1));
    let dip = smoothstep(radius + 0.1, radius - 0.02, distance);
    Texel::of_cell(blend(metal, depth, hole), -0.09 * look.scale * dip * look.relief, id)
}

/// Ink dots on paper; a missing dot was not printed.
pub(crate) fn printed_dots(look: &Look, p: [f32; 2], missing: Missing) -> Texel {
    let (id, dx, dy) = staggered(look, p);
    let uneven = 0.035 * value(look.seed, p[0] * 0.5, p[1] * 0.5);
    let distance = (dx * dx + dy * dy).sqrt() + uneven;
    let radius = lerp(0.2, 0.34, look.form) * (1.0 + 0.06 * (cell(look.seed, id[0], id[1]) - 0.5));
    let fibre = fractal(look.seed ^ 1, p[0] * 0.35, p[1] * 0.35, 3);
    let cloud = fractal(look.seed ^ 2, p[0] * 0.02, p[1] * 0.02, 2);
    let paper = tone(look.base, 1.0 + 0.05 * fibre * look.contrast + 0.03 * cloud);
    if missing.contains(&id) {
        return Texel::of_cell(paper, 0.1 * fibre, id);
    }
    let ink = 1.0 - smoothstep(radius - 0.04, radius + 0.04, distance);
    let strength = 0.9 + 0.1 * cell(look.seed ^ 3, id[0], id[1]) - 0.08 * fibre.max(0.0);
    Texel::of_cell(
        blend(paper, tone(look.second, 1.0 + 0.06 * fibre), ink * strength),
        0.1 * fibre,
        id,
    )
}

/// Which of the points of a staggered lattice is nearest, and the way to it in cells.
fn staggered(look: &Look, p: [f32; 2]) -> ([i32; 2], f32, f32) {
    let v = p[1] / look.scale * 1.155;
    let row = v.floor();
    let shift = if (row as i32) & 1 == 0 { 0.0 } else { 0.5 };
    let u = p[0] / look.scale + shift;
    ([u.floor() as i32, row as i32], u - u.floor() - 0.5, (v - row - 0.5) / 1.155)
}

/// Square tiles with a bevel; where one is missing its bed shows.
pub(crate) fn square_tiles(look: &Look, p: [f32; 2], missing: Missing) -> Texel {
    let (u, v) = (p[0] / look.scale, p[1] / look.scale);
    let id = [u.floor() as i32, v.floor() as i32];
    let (du, dv) = (0.5 - (u - u.floor() - 0.5).abs(), 0.5 - (v - v.floor() - 0.5).abs());
    tile(look, p, id, du.min(dv) * look.scale, missing)
}

/// A tile by the distance to its edge: joint, bevel, face.
fn tile(look: &Look, p: [f32; 2], id: [i32; 2], inside: f32, missing: Missing) -> Texel {
    let fine = value(look.seed ^ 1, p[0] * 0.8, p[1] * 0.8);
    let lump = fractal(look.seed ^ 2, p[0] * 0.22, p[1] * 0.22, 3);
    let joint = lerp(0.7, 1.3, look.form);
    let bed = tone(look.ground, 1.0 + 0.12 * lump + 0.1 * fine);
    if missing.contains(&id) {
        let deep = smoothstep(joint, joint + 2.5, inside);
        return Texel::of_cell(tone(bed, 1.0 - 0.3 * deep), -2.0 * deep + 0.6 * lump, id);
    }
    let own = cell(look.seed ^ 3, id[0], id[1]);
    let face = blend(look.base, look.second, own);
    let light = 1.0 + 0.1 * (cell(look.seed ^ 4, id[0], id[1]) - 0.5);
    let light = light + (0.04 * lump + 0.025 * fine) * look.contrast;
    let rise = smoothstep(joint, joint + 1.2, inside);
    let bevel = smoothstep(joint, joint + 3.0, inside) * 0.9 * look.relief;
    let height = bevel + 0.15 * (look.contrast - 0.7) * lump;
    Texel::of_cell(blend(bed, tone(face, light), rise), height, id)
}
