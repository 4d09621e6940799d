//! Training defects of edges: broken out pieces and frayed borders.

use super::spots::{contrasting, somewhere};
use crate::surfaces::draw::{Blob, SIDE, Stroke, Surface, blend, tone};
use crate::surfaces::kinds::{Force, Piece};
use crate::surfaces::noise::{direction, fractal, smoothstep};
use crate::surfaces::rng::Rng;

/// A place on the edge of the part, or of the picture where the part fills it.
fn at_edge(rng: &mut Rng, piece: &Piece) -> [f32; 2] {
    let mut best = (f32::MAX, [SIDE / 2.0; 2]);
    for _ in 0..48 {
        let p = somewhere(rng, 0.0);
        let distance = piece.frame.depth(p).abs();
        if distance < best.0 {
            best = (distance, p);
        }
    }
    best.1
}

/// A piece is gone: the ground shows, or the rough inside.
pub(super) fn chip(rng: &mut Rng, piece: &Piece, force: Force, surface: &mut Surface) {
    let at = if rng.chance(0.65) { at_edge(rng, piece) } else { somewhere(rng, 16.0) };
    let outside = piece.frame.depth(at) < 6.0 && rng.chance(0.5);
    let mean = surface.mean();
    let inner = tone(mean, 1.0 + contrasting(rng, mean) * rng.range(0.3, 0.55));
    let target = if outside { piece.frame.ground() } else { inner };
    let (rough, depth_of) = (rng.next_u64(), rng.range(0.8, 2.0));
    for number in 0..1 + rng.below(2) {
        let uneven = rng.range(0.15, 0.4);
        let mut blob = Blob::draw(rng, [4.0 * force.size, 13.0 * force.size], uneven);
        let aside = 7.0 * number as f32;
        blob.centre = at.map(|part| part + rng.range(-aside, aside));
        surface.touch_box(blob.bounds(), |p, albedo, height| {
            let depth = blob.depth(p) * blob.radius;
            let gone = smoothstep(-0.4, 0.5, depth);
            let lumps = fractal(rough, p[0] * 0.25, p[1] * 0.25, 3);
            *albedo = blend(*albedo, tone(target, 1.0 + 0.25 * lumps), 0.92 * gone);
            let floor = 1.3 * lumps - depth_of;
            *height = *height * (1.0 - gone) + floor * gone;
        });
    }
}

/// Short loose fibres along an edge.
pub(super) fn fray(rng: &mut Rng, piece: &Piece, force: Force, surface: &mut Surface) {
    let at = if rng.chance(0.6) { at_edge(rng, piece) } else { somewhere(rng, 24.0) };
    let quarter = rng.below(4) as f32 * 0.25;
    let heading = piece.look.angle + quarter + rng.range(-0.03, 0.03);
    let (along, inwards) = (direction(heading), direction(heading + 0.25));
    let half = rng.range(8.0, 26.0) * force.size;
    let side = contrasting(rng, surface.mean());
    let dark = tone(surface.mean(), 0.25);
    let colour = if side < 0.0 { dark } else { blend(surface.mean(), [0.9; 3], 0.7) };
    let power = (rng.range(0.5, 0.85) * force.strength).min(0.95);
    for _ in 0..6 + (half * 0.6) as usize {
        let shift = rng.range(-half, half);
        let start = [0, 1].map(|c: usize| at[c] + along[c] * shift);
        let length = rng.range(4.0, 15.0) * force.size.sqrt() * (1.2 - (shift / half).abs());
        let turned = if inwards[0] * (SIDE / 2.0 - at[0]) + inwards[1] * (SIDE / 2.0 - at[1]) < 0.0
        {
            heading + 0.75
        } else {
            heading + 0.25
        };
        let turned = turned + rng.range(-0.09, 0.09);
        let fibre = Stroke::walk(rng, start, turned, length, 2.5, 0.05);
        let width = rng.range(0.7, 1.7);
        surface.touch_box(fibre.bounds(width), |p, albedo, height| {
            if let Some((distance, share)) = fibre.near(p, width) {
                let width = width * (1.0 - 0.6 * share);
                let cover = smoothstep(width, width * 0.4, distance);
                *albedo = blend(*albedo, colour, power * cover);
                *height += 0.6 * cover;
            }
        });
    }
}
