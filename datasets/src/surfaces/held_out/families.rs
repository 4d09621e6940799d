//! The held-out families: carpet, hexagonal tiles, brick, knitwear, cork.

use crate::surfaces::draw::{Rgb, blend, hsv, tone};
use crate::surfaces::kinds::{Family, Look, Missing, Palette, Texel};
use crate::surfaces::noise::{cell, fractal, lerp, scattered, smoothstep, value};
use crate::surfaces::rng::Rng;

/// All held-out families, in a fixed order: a data set's seeds do not depend on it.
pub(crate) static FAMILIES: &[Family] = &[
    Family::new("carpet", "tufted carpet", &["carpet", "rug", "tufted carpet"], yarns, carpet)
        .held_out()
        .framed(0.0),
    Family::new(
        "hex_tiles",
        "hexagonal tiles",
        &["hexagonal tiles", "hexagon mosaic", "mosaic floor"],
        clay,
        hex_tiles,
    )
    .held_out()
    .with_cells()
    .framed(0.0),
    Family::new("brick", "brick wall", &["brick wall", "bricks", "masonry"], fired, brick)
        .held_out()
        .with_cells()
        .framed(0.0),
    Family::new("knit", "knitted fabric", &["knitwear", "knitted fabric", "jersey"], yarns, knit)
        .held_out()
        .framed(0.0),
    Family::new("cork", "pressed cork", &["cork", "cork board", "cork tile"], oak, cork)
        .held_out()
        .framed(0.0),
];

fn level(value: f32) -> Rgb {
    [value; 3]
}

fn yarns(rng: &mut Rng) -> Palette {
    let hue = rng.unit();
    let base = hsv(hue, rng.range(0.12, 0.5), rng.range(0.45, 0.7));
    let second = hsv(hue + rng.range(-0.07, 0.07), rng.range(0.1, 0.5), rng.range(0.4, 0.7));
    Palette { base, second, ground: tone(base, 0.25), scale: [5.5, 9.0] }
}

fn clay(rng: &mut Rng) -> Palette {
    let hue = rng.unit();
    let base = hsv(hue, rng.range(0.08, 0.45), rng.range(0.48, 0.7));
    let second = hsv(hue + rng.range(-0.12, 0.12), rng.range(0.1, 0.4), rng.range(0.45, 0.68));
    Palette { base, second, ground: level(rng.range(0.2, 0.42)), scale: [16.0, 26.0] }
}

fn fired(rng: &mut Rng) -> Palette {
    let base = hsv(rng.range(0.0, 0.06), rng.range(0.35, 0.6), rng.range(0.45, 0.62));
    let second = hsv(rng.range(0.0, 0.08), rng.range(0.3, 0.6), rng.range(0.35, 0.55));
    Palette { base, second, ground: level(rng.range(0.45, 0.62)), scale: [13.0, 19.0] }
}

fn oak(rng: &mut Rng) -> Palette {
    let hue = rng.range(0.065, 0.1);
    let base = hsv(hue, rng.range(0.35, 0.55), rng.range(0.52, 0.72));
    let second = hsv(hue - 0.01, rng.range(0.4, 0.6), rng.range(0.36, 0.52));
    Palette { base, second, ground: tone(second, 0.45), scale: [3.6, 7.0] }
}

/// Dense tufts of two yarns, each leaning its own way.
fn carpet(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let pitch = look.scale * 0.42;
    let (near, _, owner) = scattered(look.seed, p[0] / pitch, p[1] / pitch);
    let pile = smoothstep(0.9, 0.1, near);
    let tread = fractal(look.seed ^ 21, p[0] * 0.028, p[1] * 0.028, 2);
    let fluff = value(look.seed ^ 22, p[0] * 1.15, p[1] * 1.15);
    let yarn = if owner < lerp(0.5, 0.8, look.form) { look.base } else { look.second };
    let bright = 0.5 + 0.48 * pile + 0.2 * (owner - 0.5) + 0.07 * tread + 0.09 * fluff;
    Texel::plain(tone(yarn, bright), 0.2 * pitch * pile * look.relief)
}

/// Hexagons by the nearest of two interleaved lattices of centres.
fn hex_tiles(look: &Look, p: [f32; 2], missing: Missing) -> Texel {
    let (w, h) = (look.scale, look.scale * 1.732);
    let centre = |shift: f32| {
        let (i, j) = ((p[0] / w + shift + 0.5).floor(), (p[1] / h + shift + 0.5).floor());
        (i, j, p[0] - (i - shift) * w, p[1] - (j - shift) * h)
    };
    let (a, b) = (centre(0.0), centre(0.5));
    let odd = b.2 * b.2 + b.3 * b.3 < a.2 * a.2 + a.3 * a.3;
    let (i, j, x, y) = if odd { b } else { a };
    let id = [2 * i as i32 + i32::from(odd), 2 * j as i32 + i32::from(odd)];
    let edge = w / 2.0 - x.abs().max(0.5 * x.abs() + 0.866 * y.abs());
    let sand = value(look.seed ^ 31, p[0] * 0.75, p[1] * 0.75);
    let mottle = fractal(look.seed ^ 32, p[0] * 0.2, p[1] * 0.2, 3);
    let grout = tone(look.ground, 1.0 + 0.1 * sand + 0.1 * mottle);
    let gap = lerp(0.7, 1.3, look.form);
    if missing.contains(&id) {
        let sunk = smoothstep(gap, gap + 2.4, edge);
        return Texel::of_cell(tone(grout, 1.0 - 0.28 * sunk), 0.5 * mottle - 2.0 * sunk, id);
    }
    let own = cell(look.seed ^ 33, id[0], id[1]);
    let bright = 0.95 + 0.1 * own + (0.04 * mottle + 0.02 * sand) * look.contrast;
    let face = tone(blend(look.base, look.second, own), bright);
    let dome = smoothstep(gap, gap + 2.8, edge);
    let cover = smoothstep(gap, gap + 1.2, edge);
    Texel::of_cell(blend(grout, face, cover), 0.9 * dome * look.relief, id)
}

/// Courses of bricks with crumbled arrises, each half a brick on from the last.
fn brick(look: &Look, p: [f32; 2], missing: Missing) -> Texel {
    let (w, h) = (look.scale * 2.1, look.scale);
    let course = (p[1] / h).floor();
    let u = p[0] / w + if (course as i32) & 1 == 0 { 0.0 } else { 0.5 };
    let id = [u.floor() as i32, course as i32];
    let (x, y) = ((u - u.floor()) * w, p[1] - course * h);
    let crumble = 0.7 * value(look.seed ^ 41, p[0] * 0.3, p[1] * 0.3);
    let edge = x.min(w - x).min(y).min(h - y) + crumble - 0.4;
    let grit = value(look.seed ^ 42, p[0] * 0.8, p[1] * 0.8);
    let burnt = fractal(look.seed ^ 43, p[0] * 0.22, p[1] * 0.22, 3);
    let mortar = tone(look.ground, 1.0 + 0.12 * burnt + 0.09 * grit);
    let gap = lerp(0.8, 1.4, look.form);
    if missing.contains(&id) {
        let sunk = smoothstep(gap, gap + 2.5, edge);
        return Texel::of_cell(tone(mortar, 1.0 - 0.32 * sunk), 0.6 * burnt - 2.0 * sunk, id);
    }
    let own = cell(look.seed ^ 44, id[0], id[1]);
    let bright = 0.94 + 0.12 * own + (0.09 * burnt + 0.055 * grit) * look.contrast;
    let face = tone(blend(look.base, look.second, own), bright);
    let cover = smoothstep(gap, gap + 1.3, edge);
    let rise = smoothstep(gap, gap + 3.0, edge);
    Texel::of_cell(blend(mortar, face, cover), 0.9 * rise * look.relief + 0.25 * burnt, id)
}

/// Columns of loops, each a pair of slanted stitches.
fn knit(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let (w, h) = (look.scale, look.scale * lerp(0.62, 0.85, look.form));
    let drift = 0.1 * value(look.seed ^ 51, p[0] * 0.04, p[1] * 0.04);
    let u = p[0] / w + drift;
    let column = u.floor();
    let x = u - column - 0.5;
    // The two legs of a loop meet at the bottom: a stitch falls towards the column's middle.
    let v = p[1] / h + 1.1 * x.abs() + drift;
    let row = v.floor();
    let (across, along) = (4.0 * (x.abs() - 0.25), 2.0 * (v - row) - 1.0);
    let round = ((1.0 - across * across) * (1.0 - 0.6 * along * along)).max(0.0);
    let own = cell(look.seed ^ 52, column as i32, row as i32) - 0.5;
    let stripe = if cell(look.seed ^ 53, 0, (row as i32).div_euclid(6)) < 0.3 { 0.55 } else { 0.0 };
    let hair = value(look.seed ^ 54, p[0] * 1.0, p[1] * 0.6);
    let colour = blend(look.base, look.second, stripe);
    let bright = 0.52 + 0.5 * round.sqrt() + 0.1 * own + 0.08 * hair * look.contrast;
    Texel::plain(tone(colour, bright), 0.2 * w * round.sqrt() * look.relief)
}

/// Granules of several browns pressed together, with dark pores.
fn cork(look: &Look, p: [f32; 2], _missing: Missing) -> Texel {
    let s = look.scale;
    let bend = 0.5 * value(look.seed ^ 61, p[0] / s * 0.9, p[1] / s * 0.9);
    let (near, next, owner) = scattered(look.seed ^ 62, p[0] / s + bend, p[1] / s * 1.2 - bend);
    let seam = smoothstep(0.14, 0.0, next - near);
    let pulp = fractal(look.seed ^ 63, p[0] * 0.45, p[1] * 0.45, 2);
    let pore = smoothstep(0.62, 0.8, value(look.seed ^ 64, p[0] * 0.3, p[1] * 0.3));
    let body = blend(look.base, look.second, smoothstep(0.35, 1.0, owner));
    let bright = 0.92 + 0.2 * (owner - 0.5) * look.contrast + 0.08 * pulp;
    let colour = blend(tone(body, bright), look.ground, (0.45 * seam + 0.55 * pore).min(0.8));
    Texel::plain(colour, (0.25 * pulp - 0.3 * seam - 0.5 * pore) * look.relief)
}
