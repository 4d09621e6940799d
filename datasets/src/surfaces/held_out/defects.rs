//! The held-out defects: warp, dent, burn, slip.

use crate::surfaces::draw::{Blob, SIDE, Surface, blend, tone};
use crate::surfaces::kinds::{Defect, Force, Piece};
use crate::surfaces::noise::{direction, fractal, smoothstep, value};
use crate::surfaces::rng::Rng;

/// All held-out defects, in a fixed order: a data set's seeds do not depend on it.
pub(crate) static DEFECTS: &[Defect] = &[
    Defect::new(
        "warp",
        "the pattern pulled out of place",
        &["warped", "distorted"],
        &["a warp", "a distorted pattern"],
        warp,
    )
    .held_out(),
    Defect::new("dent", "a dent or bump", &["dented"], &["a dent", "a bump"], dent).held_out(),
    Defect::new(
        "burn",
        "a scorched place",
        &["burnt", "scorched"],
        &["a burn", "a scorch mark"],
        burn,
    )
    .held_out(),
    Defect::new(
        "slip",
        "the pattern displaced along a line",
        &["displaced", "slipped"],
        &["a slip", "a displaced strip"],
        slip,
    )
    .held_out(),
];

/// Shades the piece anew with the pattern shifted and twisted inside a region.
fn warp(rng: &mut Rng, piece: &Piece, force: Force, surface: &mut Surface) {
    let Force { strength, size } = force;
    let blob = Blob::draw(rng, [15.0 * size, 24.0 * size], 0.12);
    let reach = rng.range(4.0, 8.0) * strength;
    let shift = direction(rng.unit()).map(|part| part * reach);
    let twist = rng.sign() * rng.range(0.1, 0.35) * strength;
    let sheen = rng.sign() * rng.range(0.04, 0.08) * strength;
    surface.touch_box(blob.bounds(), |p, albedo, height| {
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

fn dent(rng: &mut Rng, _piece: &Piece, force: Force, surface: &mut Surface) {
    let blob = Blob::draw(rng, [7.0 * force.size, 14.0 * force.size], 0.1);
    let depth = rng.sign() * rng.range(0.16, 0.32) * blob.radius * force.strength;
    surface.touch_box(blob.bounds(), |p, albedo, height| {
        let bowl = smoothstep(0.0, 0.9, blob.depth(p));
        *height += depth * bowl;
        *albedo = tone(*albedo, 1.0 - 0.06 * bowl);
    });
}

/// Charred in the middle, browned around, with a soft irregular rim.
fn burn(rng: &mut Rng, _piece: &Piece, force: Force, surface: &mut Surface) {
    let blob = Blob::draw(rng, [8.0 * force.size, 17.0 * force.size], 0.3);
    let (soot, power) = (rng.next_u64(), (rng.range(0.55, 0.85) * force.strength).min(0.95));
    let core = rng.range(0.3, 0.65);
    surface.touch_box(blob.bounds(), |p, albedo, height| {
        let flicker = 0.18 * fractal(soot, p[0] * 0.16, p[1] * 0.16, 3);
        let depth = blob.depth(p) + flicker;
        let browned = smoothstep(0.05, 0.45, depth);
        let charred = smoothstep(core, core + 0.3, depth);
        let scorched = [albedo[0] * 0.62, albedo[1] * 0.46, albedo[2] * 0.34];
        let ash = 0.07 + 0.03 * value(soot ^ 1, p[0] * 0.7, p[1] * 0.7);
        *albedo = blend(blend(*albedo, scorched, power * browned), [ash; 3], power * charred);
        *height *= 1.0 - 0.6 * charred;
    });
}

/// Shades a strip anew as if all of it had moved along its borders.
fn slip(rng: &mut Rng, piece: &Piece, force: Force, surface: &mut Surface) {
    let heading = piece.look.angle + rng.below(4) as f32 * 0.25 + rng.range(-0.03, 0.03);
    let (along, across) = (direction(heading), direction(heading + 0.25));
    let centre = [rng.range(0.25, 0.75) * SIDE, rng.range(0.25, 0.75) * SIDE];
    let half = rng.range(5.0, 13.0) * force.size;
    let long = rng.range(30.0, 70.0) * force.size;
    let reach = rng.sign() * piece.look.scale * rng.range(0.3, 0.6);
    let shade = rng.sign() * rng.range(0.06, 0.1) * force.strength;
    surface.touch(|p, albedo, height| {
        let (x, y) = (p[0] - centre[0], p[1] - centre[1]);
        let (u, v) = (x * along[0] + y * along[1], x * across[0] + y * across[1]);
        let inside = smoothstep(half, half - 0.8, v.abs()) * smoothstep(long, long - 0.8, u.abs());
        if inside > 0.0 {
            let texel = piece.texel([0, 1].map(|c: usize| p[c] - along[c] * reach), &[]);
            *albedo = blend(*albedo, tone(texel.albedo, 1.0 + shade), inside);
            *height += inside * (texel.height + 0.5 - *height);
        }
    });
}
