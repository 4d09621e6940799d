//! Training defects that sit in one place: holes, pores, blisters, dirt, objects, missing cells.

use crate::surfaces::draw::{Blob, Rgb, SIDE, Stroke, Surface, blend, hsv, tone};
use crate::surfaces::kinds::{Force, Piece};
use crate::surfaces::noise::{direction, smoothstep, value};
use crate::surfaces::rng::Rng;

pub(super) fn somewhere(rng: &mut Rng, margin: f32) -> [f32; 2] {
    [rng.range(margin, SIDE - margin), rng.range(margin, SIDE - margin)]
}

/// Darker on bright ground and the other way round, so that a mark shows on any product.
pub(super) fn contrasting(rng: &mut Rng, mean: Rgb) -> f32 {
    let bright = (mean[0] + mean[1] + mean[2]) / 3.0;
    if rng.chance((bright * 1.6 - 0.2).clamp(0.1, 0.9)) { -1.0 } else { 1.0 }
}

pub(super) fn hole(rng: &mut Rng, _piece: &Piece, force: Force, surface: &mut Surface) {
    let ragged = rng.range(0.08, 0.4);
    let blob = Blob::draw(rng, [4.0 * force.size, 10.0 * force.size], ragged);
    let floor = tone(hsv(rng.unit(), 0.15, 1.0), rng.range(0.03, 0.14) / force.strength);
    let lip = rng.range(0.2, 1.2);
    surface.touch_box(blob.bounds(), |p, albedo, height| {
        let depth = blob.depth(p) * blob.radius;
        let inside = smoothstep(-0.4, 0.6, depth);
        let wall = smoothstep(0.0, blob.radius * 0.6, depth);
        *albedo = blend(*albedo, tone(floor, 1.3 - 0.6 * wall), inside);
        *height += lip * smoothstep(-2.0, -0.3, depth) - (lip + 1.0) * inside;
    });
}

pub(super) fn pinholes(rng: &mut Rng, _piece: &Piece, force: Force, surface: &mut Surface) {
    let side = if rng.chance(0.75) { -1.0 } else { 1.0 };
    let centre = somewhere(rng, 22.0);
    let spread = rng.range(5.0, 30.0) * force.size;
    let mark = (rng.range(0.4, 0.8) * force.strength).min(0.9);
    let target = if side < 0.0 { [0.04; 3] } else { [0.92; 3] };
    for _ in 0..4 + rng.below(14) {
        let way = direction(rng.unit()).map(|part| part * spread * rng.unit());
        let mut dot = Blob::draw(rng, [0.8, 1.9], 0.15);
        dot.centre = [centre[0] + way[0], centre[1] + way[1]];
        surface.touch_box(dot.bounds(), |p, albedo, height| {
            let inside = smoothstep(-0.4, 0.4, dot.depth(p) * dot.radius);
            *albedo = blend(*albedo, target, mark * inside);
            *height -= 0.6 * inside;
        });
    }
}

/// Blowholes: round or drawn out, dark inside, with a bright rim towards the lamp.
pub(super) fn porosity(rng: &mut Rng, _piece: &Piece, force: Force, surface: &mut Surface) {
    let centre = somewhere(rng, 18.0);
    let spread = rng.range(3.0, 22.0) * force.size;
    let dark = (rng.range(0.5, 0.85) * force.strength).min(0.93);
    for number in 0..1 + rng.below(7) {
        let far = if number == 0 { 0.0 } else { spread * rng.unit() };
        let way = direction(rng.unit()).map(|part| part * far);
        let mut pore = Blob::draw(rng, [1.4 * force.size, 4.2 * force.size], 0.2);
        pore.centre = [centre[0] + way[0], centre[1] + way[1]];
        let rim = rng.range(0.0, 0.35);
        surface.touch_box(pore.bounds(), |p, albedo, height| {
            let depth = pore.depth(p) * pore.radius;
            let inside = smoothstep(-0.3, 0.7, depth);
            let edge = rim * smoothstep(-1.6, -0.4, depth) * (1.0 - inside);
            *albedo = tone(*albedo, (1.0 - dark * inside) * (1.0 + edge));
            *height -= 0.9 * inside;
        });
    }
}

/// Bubbles: a thin bright ring around a lifted, slightly changed skin.
pub(super) fn blister(rng: &mut Rng, _piece: &Piece, force: Force, surface: &mut Surface) {
    let centre = somewhere(rng, 22.0);
    let spread = rng.range(6.0, 20.0) * force.size;
    let change = rng.sign() * rng.range(0.07, 0.18) * force.strength;
    let ring = rng.range(0.12, 0.35) * force.strength;
    for number in 0..1 + rng.below(5) {
        let far = if number == 0 { 0.0 } else { spread * rng.unit() };
        let way = direction(rng.unit()).map(|part| part * far);
        let mut bubble = Blob::draw(rng, [3.0 * force.size, 8.0 * force.size], 0.06);
        bubble.centre = [centre[0] + way[0], centre[1] + way[1]];
        surface.touch_box(bubble.bounds(), |p, albedo, height| {
            let depth = bubble.depth(p) * bubble.radius;
            let inside = smoothstep(-0.3, 1.0, depth);
            let rim = inside * smoothstep(2.0, 0.6, depth);
            *albedo = tone(*albedo, 1.0 + change * inside + ring * rim);
            *height += 1.1 * inside;
        });
    }
}

pub(super) fn contamination(rng: &mut Rng, _piece: &Piece, force: Force, surface: &mut Surface) {
    let Force { strength, size } = force;
    let side = contrasting(rng, surface.mean());
    let value_of = if side < 0.0 { rng.range(0.06, 0.2) } else { rng.range(0.75, 0.9) };
    let colour = hsv(rng.unit(), rng.range(0.0, 0.6), value_of);
    if rng.chance(0.4) {
        let (start, heading) = (somewhere(rng, 25.0), rng.unit());
        let length = rng.range(25.0, 60.0) * size;
        let fibre = Stroke::walk(rng, start, heading, length, 2.5, 0.06);
        let width = rng.range(0.8, 1.4) * strength.sqrt();
        surface.touch_box(fibre.bounds(width * 1.5), |p, albedo, height| {
            if let Some((distance, _)) = fibre.near(p, width * 1.5) {
                let cover = smoothstep(width, width * 0.5, distance);
                *albedo = blend(*albedo, colour, 0.9 * cover);
                *height += 0.7 * cover;
            }
        });
        return;
    }
    let centre = somewhere(rng, 22.0);
    for _ in 0..1 + rng.below(5) {
        let mut flake = Blob::draw(rng, [2.0 * size, 5.5 * size], 0.3);
        let reach = 12.0 * size;
        flake.centre = [0, 1].map(|c: usize| centre[c] + rng.range(-reach, reach));
        let own = rng.range(0.85, 1.15);
        surface.touch_box(flake.bounds(), |p, albedo, height| {
            let cover = smoothstep(-0.3, 0.5, flake.depth(p) * flake.radius);
            let crumb = 1.0 + 0.12 * value(77, p[0] * 0.6, p[1] * 0.6);
            *albedo = blend(*albedo, tone(colour, own * crumb), 0.95 * cover);
            *height = *height * (1.0 - cover) + cover * (0.9 + 0.3 * crumb);
        });
    }
}

/// A ring, a disc, a rod or a block lying on the surface, with its shadow.
pub(super) fn foreign_object(rng: &mut Rng, _piece: &Piece, force: Force, surface: &mut Surface) {
    let centre = somewhere(rng, 24.0);
    let axis = direction(rng.unit());
    let radius = rng.range(4.0, 10.0) * force.size;
    let kind = rng.below(4);
    let slim = rng.range(0.15, 0.7);
    let level = if contrasting(rng, surface.mean()) < 0.0 { 0.2 } else { 0.75 };
    let colour = hsv(rng.unit(), rng.range(0.0, 0.8), level * rng.range(0.7, 1.2));
    // Distance to its outline, positive inside.
    let depth = |p: [f32; 2]| {
        let (x, y) = (p[0] - centre[0], p[1] - centre[1]);
        let (u, v) = (x * axis[0] + y * axis[1], y * axis[0] - x * axis[1]);
        match kind {
            0 => radius - (u * u + v * v).sqrt(),
            1 => radius * 0.28 - ((u * u + v * v).sqrt() - radius * 0.72).abs(),
            2 => (radius * 1.6 - u.abs()).min(radius * 0.3 - v.abs()),
            _ => (radius - u.abs()).min(radius * slim - v.abs()),
        }
    };
    let reach = radius * 1.8 + 5.0;
    let [x, y] = centre;
    let grain = rng.next_u64();
    surface.touch_box([x - reach, y - reach, x + reach, y + reach], |p, albedo, height| {
        let inside = smoothstep(-0.4, 0.4, depth(p));
        let shadow = smoothstep(-1.2, 0.8, depth([p[0] - 1.6, p[1] - 1.8]));
        let skin = 1.0 + 0.08 * value(grain, p[0] * 0.4, p[1] * 0.4);
        *albedo = blend(tone(*albedo, 1.0 - 0.45 * shadow), tone(colour, skin), inside);
        let round = smoothstep(0.0, 2.5, depth(p));
        *height = *height * (1.0 - inside) + inside * (0.6 + round);
    });
}

/// Shades the piece anew without one to three neighbouring cells.
pub(super) fn missing_cell(rng: &mut Rng, piece: &Piece, force: Force, surface: &mut Surface) {
    let at = somewhere(rng, 24.0);
    let Some(first) = piece.texel(at, &[]).cell else {
        return;
    };
    let mut missing = vec![first];
    for _ in 0..if force.size > 1.2 { 3 } else { 1 } {
        if rng.chance(0.45) {
            let aside = direction(rng.unit()).map(|part| part * piece.look.scale);
            missing.extend(piece.texel([at[0] + aside[0], at[1] + aside[1]], &[]).cell);
        }
    }
    surface.touch(|p, albedo, height| {
        let texel = piece.texel(p, &missing);
        (*albedo, *height) = (texel.albedo, texel.height);
    });
}
