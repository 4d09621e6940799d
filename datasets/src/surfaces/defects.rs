//! The table of defect kinds: each damages the layers of a surface, so that light, grain and the
//! pattern around it stay those of the undamaged twin.

use super::Piece;
use super::draw::{Blob, Rgb, SIDE, Stroke, Surface, blend, hsv, tone};
use super::noise::{direction, fractal, smoothstep, value};
use super::rng::Rng;

/// A kind of defect.
pub struct Defect {
    pub name: &'static str,
    /// The damage in words.
    pub about: &'static str,
    /// Set apart for testing: nothing may be trained on it.
    pub held_out: bool,
    /// Whether only families with cells can have it.
    pub needs_cells: bool,
    pub(crate) damage: fn(&mut Rng, &Piece, f32, &mut Surface),
}

/// All kinds, in a fixed order: a data set's seeds do not depend on it.
pub static DEFECTS: &[Defect] = &[
    Defect {
        name: "scratch",
        about: "thin scratches",
        held_out: false,
        needs_cells: false,
        damage: scratch,
    },
    Defect {
        name: "crack",
        about: "a branching crack",
        held_out: false,
        needs_cells: false,
        damage: crack,
    },
    Defect {
        name: "hole",
        about: "a torn or drilled hole",
        held_out: false,
        needs_cells: false,
        damage: hole,
    },
    Defect {
        name: "stain",
        about: "a dried stain",
        held_out: false,
        needs_cells: false,
        damage: stain,
    },
    Defect {
        name: "contamination",
        about: "foreign flakes and fibres",
        held_out: false,
        needs_cells: false,
        damage: contamination,
    },
    Defect {
        name: "missing_cell",
        about: "a missing or clogged cell",
        held_out: false,
        needs_cells: true,
        damage: missing_cell,
    },
    Defect {
        name: "warp",
        about: "the pattern pulled out of place",
        held_out: true,
        needs_cells: false,
        damage: warp,
    },
    Defect {
        name: "pull",
        about: "a pulled strip",
        held_out: false,
        needs_cells: false,
        damage: pull,
    },
    Defect {
        name: "dent",
        about: "a dent or bump",
        held_out: true,
        needs_cells: false,
        damage: dent,
    },
    Defect {
        name: "wear",
        about: "worn smooth",
        held_out: false,
        needs_cells: false,
        damage: wear,
    },
    Defect {
        name: "faint_region",
        about: "a large, slightly discoloured region",
        held_out: false,
        needs_cells: false,
        damage: faint_region,
    },
];

fn somewhere(rng: &mut Rng, margin: f32) -> [f32; 2] {
    [rng.range(margin, SIDE - margin), rng.range(margin, SIDE - margin)]
}

/// Darker on bright ground and the other way round, so that a mark shows on any product.
fn contrasting(rng: &mut Rng, mean: Rgb) -> f32 {
    let bright = (mean[0] + mean[1] + mean[2]) / 3.0;
    if rng.chance((bright * 1.6 - 0.2).clamp(0.1, 0.9)) { -1.0 } else { 1.0 }
}

fn scratch(rng: &mut Rng, _piece: &Piece, strength: f32, surface: &mut Surface) {
    let side = contrasting(rng, surface.mean());
    let heading = rng.unit();
    let start = somewhere(rng, 20.0);
    for line in 0..1 + rng.below(3) {
        let shift = 4.0 * line as f32;
        let start = [start[0] + rng.range(-shift, shift), start[1] + rng.range(-shift, shift)];
        let length = rng.range(28.0, 80.0);
        let turned = heading + rng.range(-0.02, 0.02);
        let stroke = Stroke::walk(rng, start, turned, length, 4.0, 0.012);
        let width = rng.range(0.7, 1.3) * strength.sqrt();
        let (mark, depth) = (rng.range(0.22, 0.4) * strength, rng.range(0.4, 0.9));
        let skip = rng.next_u64();
        surface.touch(|p, albedo, height| {
            let Some((distance, share)) = stroke.near(p, width * 1.6) else {
                return;
            };
            let taper = smoothstep(0.0, 0.12, share) * smoothstep(1.0, 0.8, share);
            let press = taper * (0.75 + 0.25 * value(skip, share * 9.0, 0.0));
            let core = smoothstep(width, width * 0.35, distance) * press;
            *albedo = blend(*albedo, tone(*albedo, 1.0 + side * 0.8), (core * mark * 2.0).min(1.0));
            *height -= depth * core;
            *height += 0.25 * depth * press * smoothstep(width * 1.6, width, distance);
        });
    }
}

fn crack(rng: &mut Rng, _piece: &Piece, strength: f32, surface: &mut Surface) {
    let (start, heading) = (somewhere(rng, 25.0), rng.unit());
    let length = rng.range(35.0, 75.0);
    let trunk = Stroke::walk(rng, start, heading, length, 3.0, 0.075);
    let width = rng.range(0.8, 1.4) * strength.sqrt();
    let mut strokes = Vec::new();
    for _ in 0..1 + rng.below(3) {
        let from = trunk.point(rng.range(0.2, 0.8));
        let aside = heading + rng.sign() * rng.range(0.07, 0.16);
        let length = rng.range(8.0, 24.0);
        strokes.push((Stroke::walk(rng, from, aside, length, 2.5, 0.08), width * 0.7));
    }
    strokes.push((trunk, width));
    let dark = rng.range(0.6, 0.85);
    surface.touch(|p, albedo, height| {
        let mut open = 0.0_f32;
        for (stroke, width) in &strokes {
            if let Some((distance, share)) = stroke.near(p, width * 1.2) {
                let width = width * (1.0 - 0.65 * share);
                open = open.max(smoothstep(width, width * 0.3, distance));
            }
        }
        *albedo = tone(*albedo, 1.0 - dark * open);
        *height -= 1.2 * open;
    });
}

fn hole(rng: &mut Rng, _piece: &Piece, strength: f32, surface: &mut Surface) {
    let ragged = rng.range(0.08, 0.4);
    let blob = Blob::draw(rng, [4.5, 11.0], ragged);
    let floor = tone(hsv(rng.unit(), 0.15, 1.0), rng.range(0.03, 0.14) / strength);
    let lip = rng.range(0.2, 1.2);
    surface.touch(|p, albedo, height| {
        let depth = blob.depth(p) * blob.radius;
        let inside = smoothstep(-0.4, 0.6, depth);
        let wall = smoothstep(0.0, blob.radius * 0.6, depth);
        *albedo = blend(*albedo, tone(floor, 1.3 - 0.6 * wall), inside);
        *height += lip * smoothstep(-2.0, -0.3, depth) - (lip + 1.0) * inside;
    });
}

fn stain(rng: &mut Rng, _piece: &Piece, strength: f32, surface: &mut Surface) {
    let mean = surface.mean();
    let side = contrasting(rng, mean);
    let blob = Blob::draw(rng, [9.0, 24.0], 0.35);
    let hue = hsv(rng.range(0.02, 0.16), rng.range(0.2, 0.6), 1.0);
    let power = rng.range(0.2, 0.42) * strength;
    let ring = rng.range(0.0, 0.5);
    surface.touch(|p, albedo, _| {
        let depth = blob.depth(p) * blob.radius;
        let soaked = smoothstep(-0.3, 1.6, depth);
        let rim = ring * soaked * smoothstep(4.0, 1.0, depth);
        let amount = (power * (0.8 * soaked + rim)).min(0.85);
        let target = if side < 0.0 { tone(hue, 0.12) } else { blend(hue, [0.9; 3], 0.5) };
        *albedo = blend(*albedo, target, amount * if side < 0.0 { 1.0 } else { 0.8 });
    });
}

fn contamination(rng: &mut Rng, _piece: &Piece, strength: f32, surface: &mut Surface) {
    let mean = surface.mean();
    let side = contrasting(rng, mean);
    let value_of = if side < 0.0 { rng.range(0.06, 0.2) } else { rng.range(0.75, 0.9) };
    let colour = hsv(rng.unit(), rng.range(0.0, 0.6), value_of);
    if rng.chance(0.4) {
        let (start, heading) = (somewhere(rng, 25.0), rng.unit());
        let length = rng.range(25.0, 60.0);
        let fibre = Stroke::walk(rng, start, heading, length, 2.5, 0.06);
        let width = rng.range(0.8, 1.4) * strength.sqrt();
        surface.touch(|p, albedo, height| {
            if let Some((distance, _)) = fibre.near(p, width * 1.5) {
                let cover = smoothstep(width, width * 0.5, distance);
                *albedo = blend(*albedo, colour, 0.9 * cover);
                *height += 0.7 * cover;
            }
        });
        return;
    }
    let centre = somewhere(rng, 22.0);
    for _ in 0..1 + rng.below(4) {
        let mut flake = Blob::draw(rng, [2.2, 5.5], 0.3);
        flake.centre = [centre[0] + rng.range(-12.0, 12.0), centre[1] + rng.range(-12.0, 12.0)];
        let own = rng.range(0.85, 1.15);
        surface.touch(|p, albedo, height| {
            let cover = smoothstep(-0.3, 0.5, flake.depth(p) * flake.radius);
            let crumb = 1.0 + 0.12 * value(77, p[0] * 0.6, p[1] * 0.6);
            *albedo = blend(*albedo, tone(colour, own * crumb), 0.95 * cover);
            *height = *height * (1.0 - cover) + cover * (0.9 + 0.3 * crumb);
        });
    }
}

/// Shades the piece anew without one to three neighbouring cells.
fn missing_cell(rng: &mut Rng, piece: &Piece, _strength: f32, surface: &mut Surface) {
    let at = somewhere(rng, 24.0);
    let Some(first) = piece.texel(at, &[]).cell else {
        return;
    };
    let mut missing = vec![first];
    if rng.chance(0.35) {
        let aside = direction(rng.unit()).map(|part| part * piece.look.scale);
        missing.extend(piece.texel([at[0] + aside[0], at[1] + aside[1]], &[]).cell);
    }
    surface.touch(|p, albedo, height| {
        let texel = piece.texel(p, &missing);
        (*albedo, *height) = (texel.albedo, texel.height);
    });
}

/// Shades the piece anew with the pattern shifted and twisted inside a region.
fn warp(rng: &mut Rng, piece: &Piece, strength: f32, surface: &mut Surface) {
    let blob = Blob::draw(rng, [15.0, 24.0], 0.12);
    let reach = rng.range(4.0, 8.0) * strength;
    let shift = direction(rng.unit()).map(|part| part * reach);
    let twist = rng.sign() * rng.range(0.1, 0.35) * strength;
    let sheen = rng.sign() * rng.range(0.04, 0.08) * strength;
    surface.touch(|p, albedo, height| {
        let pulled = smoothstep(0.0, 0.75, blob.depth(p));
        if pulled > 0.0 {
            let (dx, dy) = (p[0] - blob.centre[0], p[1] - blob.centre[1]);
            let turn = twist * pulled;
            let moved =
                [p[0] - shift[0] * pulled - turn * dy, p[1] - shift[1] * pulled + turn * dx];
            let texel = piece.texel(moved, &[]);
            *albedo = tone(texel.albedo, 1.0 + sheen * pulled);
            *height = texel.height + 2.0 * pulled;
        }
    });
}

/// Shades a strip anew as if dragged along itself, raised and rubbed.
fn pull(rng: &mut Rng, piece: &Piece, strength: f32, surface: &mut Surface) {
    let quarter = rng.below(4) as f32 * 0.25;
    let heading = piece.look.angle + quarter + rng.range(-0.01, 0.01);
    let start = somewhere(rng, 18.0);
    let length = rng.range(35.0, 85.0);
    let stroke = Stroke::walk(rng, start, heading, length, 6.0, 0.008);
    let width = rng.range(2.0, 3.6) * strength.sqrt();
    let drag = rng.range(0.4, 0.6) * piece.look.scale.max(6.0);
    let along = direction(heading);
    let rub = contrasting(rng, surface.mean()) * rng.range(0.14, 0.24) * strength;
    surface.touch(|p, albedo, height| {
        let Some((distance, share)) = stroke.near(p, width * 1.3) else {
            return;
        };
        let taper = smoothstep(0.0, 0.1, share) * smoothstep(1.0, 0.9, share);
        let grip = taper * smoothstep(width * 1.2, width * 0.7, distance);
        if grip > 0.0 {
            let moved = [p[0] - along[0] * drag * taper, p[1] - along[1] * drag * taper];
            let texel = piece.texel(moved, &[]);
            *albedo = blend(*albedo, tone(texel.albedo, 1.0 + rub), grip);
            *height += grip * (texel.height - *height + 1.3 * (1.0 - distance / (width * 1.3)));
        }
    });
}

fn dent(rng: &mut Rng, _piece: &Piece, strength: f32, surface: &mut Surface) {
    let blob = Blob::draw(rng, [7.0, 14.0], 0.1);
    let depth = rng.sign() * rng.range(0.16, 0.32) * blob.radius * strength;
    surface.touch(|p, albedo, height| {
        let bowl = smoothstep(0.0, 0.9, blob.depth(p));
        *height += depth * bowl;
        *albedo = tone(*albedo, 1.0 - 0.06 * bowl);
    });
}

fn wear(rng: &mut Rng, _piece: &Piece, strength: f32, surface: &mut Surface) {
    let mean = surface.mean();
    let blob = Blob::draw(rng, [10.0, 22.0], 0.45);
    let polish = 1.0 + contrasting(rng, mean) * rng.range(0.08, 0.2) * strength;
    let smear = rng.next_u64();
    surface.touch(|p, albedo, height| {
        let worn = smoothstep(-0.05, 0.25, blob.depth(p));
        let patchy = 1.0 + 0.06 * fractal(smear, p[0] * 0.12, p[1] * 0.12, 2);
        *albedo = blend(*albedo, tone(mean, polish * patchy), 0.75 * worn);
        *height *= 1.0 - 0.85 * worn;
    });
}

fn faint_region(rng: &mut Rng, _piece: &Piece, strength: f32, surface: &mut Surface) {
    let blob = Blob::draw(rng, [24.0, 44.0], 0.25);
    let amount = rng.sign() * rng.range(0.11, 0.18) * strength;
    let tint = [0; 3].map(|_| 1.0 + rng.range(-0.035, 0.035));
    surface.touch(|p, albedo, _| {
        let faint = smoothstep(0.0, 0.25, blob.depth(p));
        let change = tint.map(|part| 1.0 + faint * ((1.0 + amount) * part - 1.0));
        *albedo = [albedo[0] * change[0], albedo[1] * change[1], albedo[2] * change[2]];
    });
}
