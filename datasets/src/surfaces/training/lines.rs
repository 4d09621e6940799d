//! Training defects that are lines: scratches, cracks, cuts, creases, threads.

use super::spots::{contrasting, somewhere};
use crate::surfaces::draw::{Stroke, Surface, blend, tone};
use crate::surfaces::kinds::{Force, Piece};
use crate::surfaces::noise::{direction, smoothstep, value};
use crate::surfaces::rng::Rng;

pub(super) fn scratch(rng: &mut Rng, _piece: &Piece, force: Force, surface: &mut Surface) {
    let Force { strength, size } = force;
    let side = contrasting(rng, surface.mean());
    let heading = rng.unit();
    let start = somewhere(rng, 16.0);
    for line in 0..1 + rng.below(3) {
        let shift = 4.0 * line as f32;
        let start = [start[0] + rng.range(-shift, shift), start[1] + rng.range(-shift, shift)];
        let length = rng.range(28.0, 80.0) * size;
        let turned = heading + rng.range(-0.02, 0.02);
        let stroke = Stroke::walk(rng, start, turned, length, 4.0, 0.012);
        let width = rng.range(0.6, 1.3) * strength.sqrt();
        let (mark, depth) = (rng.range(0.2, 0.4) * strength, rng.range(0.3, 0.9));
        let skip = rng.next_u64();
        surface.touch_box(stroke.bounds(width * 1.6), |p, albedo, height| {
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

/// Many short parallel scratches over one place.
pub(super) fn abrasion(rng: &mut Rng, _piece: &Piece, force: Force, surface: &mut Surface) {
    let Force { strength, size } = force;
    let side = contrasting(rng, surface.mean());
    let (centre, heading) = (somewhere(rng, 20.0), rng.unit());
    let (along, across) = (direction(heading), direction(heading + 0.25));
    let (long, wide) = (rng.range(10.0, 28.0) * size, rng.range(5.0, 15.0) * size);
    let mark = rng.range(0.2, 0.4) * strength;
    for _ in 0..8 + (wide * 1.6) as usize {
        let (u, v) = (rng.range(-0.4, 0.4) * long, rng.range(-1.0, 1.0) * wide);
        let at = [0, 1].map(|c| centre[c] + along[c] * u + across[c] * v);
        let half = rng.range(0.2, 0.6) * long;
        let turned = direction(heading + rng.range(-0.012, 0.012));
        let end = |sign: f32| [0, 1].map(|c| at[c] + sign * half * turned[c]);
        let stroke = Stroke::straight(end(-1.0), end(1.0));
        let width = rng.range(0.5, 1.1);
        let press = rng.range(0.4, 1.0);
        surface.touch_box(stroke.bounds(width), |p, albedo, height| {
            if let Some((distance, share)) = stroke.near(p, width) {
                let taper = smoothstep(0.0, 0.3, share) * smoothstep(1.0, 0.6, share);
                let core = press * taper * smoothstep(width, width * 0.3, distance);
                *albedo = tone(*albedo, 1.0 + side * mark * core);
                *height -= 0.3 * core;
            }
        });
    }
}

pub(super) fn crack(rng: &mut Rng, _piece: &Piece, force: Force, surface: &mut Surface) {
    let Force { strength, size } = force;
    let (start, heading) = (somewhere(rng, 18.0), rng.unit());
    let length = rng.range(35.0, 75.0) * size;
    let trunk = Stroke::walk(rng, start, heading, length, 3.0, 0.075);
    let width = rng.range(0.7, 1.4) * strength.sqrt();
    let mut strokes = Vec::new();
    for _ in 0..rng.below(4) {
        let from = trunk.point(rng.range(0.2, 0.8));
        let aside = heading + rng.sign() * rng.range(0.07, 0.16);
        let length = rng.range(8.0, 24.0) * size;
        strokes.push((Stroke::walk(rng, from, aside, length, 2.5, 0.08), width * 0.7));
    }
    strokes.push((trunk, width));
    let dark = (rng.range(0.45, 0.8) * strength).min(0.92);
    for (stroke, width) in &strokes {
        surface.touch_box(stroke.bounds(width * 1.2), |p, albedo, height| {
            if let Some((distance, share)) = stroke.near(p, width * 1.2) {
                let width = width * (1.0 - 0.65 * share);
                let open = smoothstep(width, width * 0.3, distance);
                *albedo = tone(*albedo, 1.0 - dark * open);
                *height -= 1.2 * open;
            }
        });
    }
}

/// Thin and long, with little contrast.
pub(super) fn hairline(rng: &mut Rng, _piece: &Piece, force: Force, surface: &mut Surface) {
    let Force { strength, size } = force;
    let (start, heading) = (somewhere(rng, 8.0), rng.unit());
    let length = rng.range(50.0, 110.0) * size;
    let stroke = Stroke::walk(rng, start, heading, length, 4.0, rng.fork("bend").range(0.01, 0.06));
    let width = rng.range(0.65, 1.0) * strength.sqrt();
    let dark = (rng.range(0.25, 0.5) * strength).min(0.8);
    let skip = rng.next_u64();
    surface.touch_box(stroke.bounds(width), |p, albedo, height| {
        if let Some((distance, share)) = stroke.near(p, width) {
            let taper = smoothstep(0.0, 0.05, share) * smoothstep(1.0, 0.95, share);
            let press = taper * (0.8 + 0.2 * value(skip, share * 14.0, 0.5));
            let open = press * smoothstep(width, width * 0.3, distance);
            *albedo = tone(*albedo, 1.0 - dark * open);
            *height -= 0.3 * open;
        }
    });
}

/// A straight slit, open in the middle, with raised lips.
pub(super) fn cut(rng: &mut Rng, _piece: &Piece, force: Force, surface: &mut Surface) {
    let Force { strength, size } = force;
    let (start, heading) = (somewhere(rng, 22.0), rng.unit());
    let length = rng.range(18.0, 60.0) * size;
    let stroke = Stroke::walk(rng, start, heading, length, 8.0, 0.006);
    let width = rng.range(1.1, 2.6) * strength.sqrt();
    let dark = rng.range(0.6, 0.9);
    let lip = rng.range(0.2, 0.7);
    let reach = width * 2.2;
    surface.touch_box(stroke.bounds(reach), |p, albedo, height| {
        if let Some((distance, share)) = stroke.near(p, reach) {
            let gape = width * 4.0 * share * (1.0 - share);
            if gape < 0.1 {
                return;
            }
            let open = smoothstep(gape, gape * 0.5, distance);
            let taper = smoothstep(0.0, 0.2, share) * smoothstep(1.0, 0.8, share);
            let raised = taper * smoothstep(gape + width, gape, distance) * (1.0 - open);
            *albedo = tone(*albedo, (1.0 - dark * open) * (1.0 + 0.15 * strength * raised));
            *height += lip * raised - 1.4 * open;
        }
    });
}

/// A sharp ridge or groove across a good part of the picture.
pub(super) fn crease(rng: &mut Rng, _piece: &Piece, force: Force, surface: &mut Surface) {
    let Force { strength, size } = force;
    let (start, heading) = (somewhere(rng, 12.0), rng.unit());
    let length = rng.range(40.0, 110.0) * size;
    let stroke = Stroke::walk(rng, start, heading, length, 7.0, 0.012);
    let width = rng.range(1.6, 4.0);
    let rise = rng.sign() * rng.range(0.5, 1.1) * strength;
    let rub = rng.sign() * rng.range(0.1, 0.24) * strength;
    surface.touch_box(stroke.bounds(width), |p, albedo, height| {
        if let Some((distance, share)) = stroke.near(p, width) {
            let taper = smoothstep(0.0, 0.2, share) * smoothstep(1.0, 0.8, share);
            let fold = 1.0 - distance / width;
            *height += rise * width * 0.5 * taper * fold;
            *albedo = tone(*albedo, 1.0 + rub * taper * fold * fold);
        }
    });
}

/// A thread or line of the pattern that is gone for a stretch.
pub(super) fn broken_thread(rng: &mut Rng, piece: &Piece, force: Force, surface: &mut Surface) {
    let Force { strength, size } = force;
    let quarter = rng.below(2) as f32 * 0.25;
    let heading = piece.look.angle + quarter + rng.range(-0.004, 0.004);
    let start = somewhere(rng, 14.0);
    let length = rng.range(25.0, 100.0) * size;
    let stroke = Stroke::walk(rng, start, heading, length, 12.0, 0.002);
    let width = (0.28 * piece.look.scale.clamp(3.0, 9.0)) * rng.range(0.8, 1.3) * strength.sqrt();
    let side = contrasting(rng, surface.mean());
    let gone = if side < 0.0 { piece.look.ground } else { tone(surface.mean(), 1.6) };
    let amount = (rng.range(0.4, 0.75) * strength).min(0.9);
    let skip = rng.next_u64();
    surface.touch_box(stroke.bounds(width * 1.4), |p, albedo, height| {
        if let Some((distance, share)) = stroke.near(p, width * 1.4) {
            let ends = smoothstep(0.0, 0.02, share) * smoothstep(1.0, 0.98, share);
            let frayed = width * (1.0 + 0.25 * value(skip, share * 22.0, 0.0));
            let open = ends * smoothstep(frayed, frayed * 0.6, distance);
            *albedo = blend(*albedo, gone, amount * open);
            *height *= 1.0 - 0.8 * open;
        }
    });
}

/// Shades a strip anew as if dragged along itself, raised and rubbed.
pub(super) fn pull(rng: &mut Rng, piece: &Piece, force: Force, surface: &mut Surface) {
    let Force { strength, size } = force;
    let quarter = rng.below(4) as f32 * 0.25;
    let heading = piece.look.angle + quarter + rng.range(-0.01, 0.01);
    let start = somewhere(rng, 18.0);
    let length = rng.range(35.0, 85.0) * size;
    let stroke = Stroke::walk(rng, start, heading, length, 6.0, 0.008);
    let width = rng.range(2.0, 3.6) * strength.sqrt();
    let drag = rng.range(0.4, 0.6) * piece.look.scale.max(6.0);
    let along = direction(heading);
    let rub = contrasting(rng, surface.mean()) * rng.range(0.14, 0.24) * strength;
    surface.touch_box(stroke.bounds(width * 1.3), |p, albedo, height| {
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
