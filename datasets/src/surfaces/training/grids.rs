//! Made things in rows: circuit boards, capsules, dies, tread and knurled plates.

use crate::surfaces::draw::{blend, tone};
use crate::surfaces::kinds::{Look, Missing, Texel};
use crate::surfaces::noise::{cell, fractal, lerp, smoothstep, value};

/// Cell and place within it, from -0.5 to 0.5 both ways.
fn square(p: [f32; 2], w: f32, h: f32) -> ([i32; 2], f32, f32) {
    let (u, v) = (p[0] / w, p[1] / h);
    ([u.floor() as i32, v.floor() as i32], u - u.floor() - 0.5, v - v.floor() - 0.5)
}

/// Pads joined by traces under solder mask; a missing pad takes its traces with it.
pub(crate) fn circuit_board(look: &Look, p: [f32; 2], missing: Missing) -> Texel {
    let (id, x, y) = square(p, look.scale, look.scale);
    let [i, j] = id;
    // The plan repeats after a few cells, as panels do.
    let plan = |i: i32, j: i32, salt: u64| {
        cell(look.seed ^ salt, i.rem_euclid(4), j.rem_euclid(3)) < lerp(0.45, 0.75, look.form)
    };
    let fine = value(look.seed ^ 9, p[0] * 0.9, p[1] * 0.9);
    let weave = value(look.seed ^ 8, p[0] * 0.4, p[1] * 0.4);
    let mask = tone(look.base, 1.0 + 0.04 * fine + 0.04 * weave * look.contrast);
    if missing.contains(&id) {
        return Texel::of_cell(mask, 0.0, id);
    }
    let width = 0.09;
    let east = x >= 0.0 && plan(i, j, 1) || x < 0.0 && plan(i.wrapping_sub(1), j, 1);
    let south = y >= 0.0 && plan(i, j, 2) || y < 0.0 && plan(i, j.wrapping_sub(1), 2);
    let trace = (if east { smoothstep(width + 0.03, width, y.abs()) } else { 0.0 }).max(if south {
        smoothstep(width + 0.03, width, x.abs())
    } else {
        0.0
    });
    let distance = (x * x + y * y).sqrt();
    let pad = if plan(i, j, 3) { smoothstep(0.27, 0.23, distance) } else { 0.0 };
    let drill = if plan(i, j, 4) { smoothstep(0.12, 0.08, distance) } else { 0.0 };
    let colour = blend(mask, blend(look.base, look.second, 0.35), trace);
    let colour = blend(colour, tone(look.second, 1.0 + 0.05 * fine), pad);
    let colour = blend(colour, look.ground, pad * drill);
    Texel::of_cell(colour, 0.5 * trace + 0.7 * pad - pad * drill, id)
}

/// Two-coloured capsules in the pockets of a sheet; a missing one leaves its pocket.
pub(crate) fn capsules(look: &Look, p: [f32; 2], missing: Missing) -> Texel {
    let (w, h) = (look.scale * 2.0, look.scale);
    let (id, x, y) = square(p, w, h);
    let lean = 0.04 * (cell(look.seed, id[0], id[1]) - 0.5);
    let (dx, dy) = (x * w, (y + lean * x) * h);
    let radius = h * lerp(0.28, 0.36, look.form);
    let reach = (dx.abs() - (w * 0.4 - radius)).max(0.0);
    let distance = (reach * reach + dy * dy).sqrt() / radius;
    let foil = value(look.seed ^ 1, p[0] * 0.5, p[1] * 0.5);
    let sheet = tone(look.ground, 1.0 + 0.04 * foil * look.contrast);
    let pocket = smoothstep(1.25, 1.0, distance);
    if missing.contains(&id) {
        let shade = blend(sheet, tone(look.ground, 0.55), pocket);
        return Texel::of_cell(shade, -2.0 * pocket, id);
    }
    let body = if dx < 0.04 * w { look.base } else { look.second };
    let round = (1.0 - distance * distance).max(0.0);
    let light = 0.72 + 0.3 * round.sqrt() + 0.02 * foil;
    let solid = smoothstep(1.0, 0.94, distance);
    let rim = blend(sheet, tone(look.ground, 0.72), pocket);
    let height = radius * 0.4 * round.sqrt() * look.relief;
    Texel::of_cell(blend(rim, tone(body, light), solid), height, id)
}

/// Dies on a wafer: the same small blocks in each; a missing die is blank.
pub(crate) fn wafer(look: &Look, p: [f32; 2], missing: Missing) -> Texel {
    let (w, h) = (look.scale * lerp(0.9, 1.3, look.form), look.scale);
    let (id, x, y) = square(p, w, h);
    let tint = fractal(look.seed, p[0] * 0.012, p[1] * 0.012, 2);
    let fine = value(look.seed ^ 1, p[0] * 0.9, p[1] * 0.9);
    let edge = ((0.5 - x.abs()) * w).min((0.5 - y.abs()) * h);
    let street = smoothstep(1.4, 0.8, edge);
    let die = if missing.contains(&id) {
        tone(look.ground, 0.6)
    } else {
        let (bx, by) = ((x + 0.5) * 4.0, (y + 0.5) * 4.0);
        let coarse = cell(look.seed ^ 2, bx as i32, by as i32 / 2);
        let (sx, sy) = ((bx * 4.0) as i32, (by * 2.0) as i32);
        let detail = cell(look.seed ^ 3, sx, sy) - 0.5;
        let body = blend(look.base, look.second, coarse);
        tone(body, 1.0 + 0.22 * detail * look.contrast + 0.08 * tint)
    };
    let colour = blend(tone(die, 1.0 + 0.02 * fine), look.ground, street);
    Texel::of_cell(colour, 0.3 * smoothstep(0.8, 1.6, edge), id)
}

/// Tread plate: raised lozenges, each across its neighbours.
pub(crate) fn checker_plate(look: &Look, p: [f32; 2], missing: Missing) -> Texel {
    let (id, x, y) = square(p, look.scale, look.scale);
    let (along, across) = if (id[0] ^ id[1]) & 1 == 0 { (x + y, x - y) } else { (x - y, x + y) };
    let lens = along * along * 2.2 + across * across * lerp(22.0, 38.0, look.form);
    let worn = value(look.seed, p[0] * 0.3, p[1] * 0.3);
    let fine = value(look.seed ^ 1, p[0] * 0.9, p[1] * 0.9);
    let cloud = fractal(look.seed ^ 2, p[0] * 0.03, p[1] * 0.03, 2);
    let rise = if missing.contains(&id) { 0.0 } else { smoothstep(1.0, 0.45, lens) };
    let light = 0.9 + 0.05 * cloud + 0.05 * fine * look.contrast + 0.14 * rise + 0.04 * worn;
    Texel::of_cell(tone(look.base, light), 0.11 * look.scale * rise * look.relief, id)
}

/// Knurled grip: small pyramids in diagonal rows.
pub(crate) fn knurl(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let s = look.scale;
    let steep = lerp(0.6, 1.0, look.form);
    let (u, v) = ((p[0] + p[1] * steep) / s, (p[0] - p[1] * steep) / s);
    let ramp = |t: f32| 1.0 - 2.0 * (t - t.floor() - 0.5).abs();
    let peak = ramp(u).min(ramp(v));
    let fine = value(look.seed, p[0] * 0.8, p[1] * 0.8);
    let cloud = fractal(look.seed ^ 1, p[0] * 0.03, p[1] * 0.03, 2);
    let groove = smoothstep(0.22, 0.05, peak);
    let light = 0.95 + 0.12 * peak + 0.05 * fine * look.contrast + 0.05 * cloud;
    let colour = blend(tone(look.base, light), look.ground, 0.6 * groove);
    Texel::plain(colour, 0.25 * s * peak.min(0.8) * look.relief)
}
