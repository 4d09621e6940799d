//! Training defects that are areas: stains, blotches, rust, wear, bare patches, uneven regions.

use super::spots::{contrasting, somewhere};
use crate::surfaces::draw::{Blob, SIDE, Surface, blend, hsv, tone};
use crate::surfaces::kinds::{Force, Piece};
use crate::surfaces::noise::{direction, fractal, smoothstep, value};
use crate::surfaces::rng::Rng;

pub(super) fn stain(rng: &mut Rng, _piece: &Piece, force: Force, surface: &mut Surface) {
    let side = contrasting(rng, surface.mean());
    let blob = Blob::draw(rng, [8.0 * force.size, 22.0 * force.size], 0.35);
    let hue = hsv(rng.range(0.02, 0.16), rng.range(0.2, 0.6), 1.0);
    let power = rng.range(0.2, 0.42) * force.strength;
    let ring = rng.range(0.0, 0.5);
    surface.touch_box(blob.bounds(), |p, albedo, _| {
        let depth = blob.depth(p) * blob.radius;
        let soaked = smoothstep(-0.3, 1.6, depth);
        let rim = ring * soaked * smoothstep(4.0, 1.0, depth);
        let amount = (power * (0.8 * soaked + rim)).min(0.85);
        let target = if side < 0.0 { tone(hue, 0.12) } else { blend(hue, [0.9; 3], 0.5) };
        *albedo = blend(*albedo, target, amount * if side < 0.0 { 1.0 } else { 0.8 });
    });
}

pub(super) fn blotch(rng: &mut Rng, _piece: &Piece, force: Force, surface: &mut Surface) {
    let uneven = rng.range(0.05, 0.35);
    let blob = Blob::draw(rng, [5.0 * force.size, 24.0 * force.size], uneven);
    let amount = contrasting(rng, surface.mean()) * rng.range(0.16, 0.4) * force.strength;
    let soft = rng.range(0.15, 0.6);
    let tint = [0; 3].map(|_| rng.range(-0.08, 0.08));
    surface.touch_box(blob.bounds(), |p, albedo, _| {
        let inside = smoothstep(0.0, soft, blob.depth(p));
        let change = tint.map(|part| 1.0 + inside * (amount + part).max(-0.9));
        *albedo = [albedo[0] * change[0], albedo[1] * change[1], albedo[2] * change[2]];
    });
}

/// Patches eaten into the surface, brown to orange, speckled along their rims.
pub(super) fn corrosion(rng: &mut Rng, _piece: &Piece, force: Force, surface: &mut Surface) {
    let centre = somewhere(rng, 22.0);
    let (fine, rough) = (rng.next_u64(), rng.range(0.5, 1.1));
    let rust = hsv(rng.range(0.03, 0.09), rng.range(0.5, 0.85), rng.range(0.25, 0.5));
    let power = (rng.range(0.55, 0.85) * force.strength).min(0.95);
    for number in 0..1 + rng.below(4) {
        let mut patch = Blob::draw(rng, [4.0 * force.size, 14.0 * force.size], 0.35);
        if number > 0 || rng.chance(0.7) {
            let reach = 16.0 * force.size;
            patch.centre = [0, 1].map(|c: usize| centre[c] + rng.range(-reach, reach));
        }
        surface.touch_box(patch.bounds(), |p, albedo, height| {
            let grain = fractal(fine, p[0] * 0.35, p[1] * 0.35, 3);
            let eaten = smoothstep(-0.1, 0.22, patch.depth(p) + 0.55 * rough * grain - 0.1);
            if eaten > 0.0 && patch.depth(p) > -0.4 {
                let shade = 0.85 + 0.5 * grain;
                *albedo = blend(*albedo, tone(rust, shade), power * eaten);
                *height += eaten * (0.7 * grain - 0.2);
            }
        });
    }
}

/// Ink or grease dragged along one direction.
pub(super) fn smear(rng: &mut Rng, piece: &Piece, force: Force, surface: &mut Surface) {
    let centre = somewhere(rng, 20.0);
    let axis = direction(rng.unit());
    let (long, wide) = (rng.range(12.0, 38.0) * force.size, rng.range(4.0, 12.0) * force.size);
    let side = contrasting(rng, surface.mean());
    let ink = match (side < 0.0, rng.chance(0.4)) {
        (true, true) => tone(piece.look.second, 0.4),
        (true, false) => hsv(rng.unit(), rng.range(0.0, 0.7), rng.range(0.05, 0.25)),
        (false, _) => hsv(rng.unit(), rng.range(0.0, 0.3), rng.range(0.75, 0.9)),
    };
    let power = (rng.range(0.35, 0.75) * force.strength).min(0.9);
    let streak = rng.next_u64();
    surface.touch(|p, albedo, _| {
        let (x, y) = (p[0] - centre[0], p[1] - centre[1]);
        let (u, v) = ((x * axis[0] + y * axis[1]) / long, (y * axis[0] - x * axis[1]) / wide);
        if u.abs() > 1.3 || v.abs() > 1.3 {
            return;
        }
        let line = value(streak, u * 1.2, v * wide * 0.5);
        let bow = 0.2 * value(streak ^ 1, u * 1.5, 0.0);
        let end = smoothstep(1.0, 0.1, (u + 0.25 * line).abs());
        let width = smoothstep(1.0, 0.6, (v + bow).abs() + 0.25 * line);
        *albedo = blend(*albedo, ink, power * end * width * (0.7 + 0.3 * line));
    });
}

pub(super) fn wear(rng: &mut Rng, _piece: &Piece, force: Force, surface: &mut Surface) {
    let mean = surface.mean();
    let blob = Blob::draw(rng, [9.0 * force.size, 20.0 * force.size], 0.45);
    let polish = 1.0 + contrasting(rng, mean) * rng.range(0.08, 0.2) * force.strength;
    let smear = rng.next_u64();
    surface.touch_box(blob.bounds(), |p, albedo, height| {
        let worn = smoothstep(-0.05, 0.25, blob.depth(p));
        let patchy = 1.0 + 0.06 * fractal(smear, p[0] * 0.12, p[1] * 0.12, 2);
        *albedo = blend(*albedo, tone(mean, polish * patchy), 0.75 * worn);
        *height *= 1.0 - 0.85 * worn;
    });
}

/// Sharp-edged patches where another layer shows.
pub(super) fn missing_coating(rng: &mut Rng, _: &Piece, force: Force, surface: &mut Surface) {
    let mean = surface.mean();
    let side = contrasting(rng, mean);
    let level = if side < 0.0 { rng.range(0.3, 0.65) } else { rng.range(1.35, 2.0) };
    let bare = blend(tone(mean, level), [if side < 0.0 { 0.15 } else { 0.7 }; 3], 0.3);
    let (fine, flake) = (rng.next_u64(), rng.range(0.2, 0.6));
    let centre = somewhere(rng, 26.0);
    for number in 0..1 + rng.below(3) {
        let uneven = rng.range(0.25, 0.6);
        let mut patch = Blob::draw(rng, [5.0 * force.size, 19.0 * force.size], uneven);
        if number > 0 {
            let reach = 20.0 * force.size;
            patch.centre = [0, 1].map(|c: usize| centre[c] + rng.range(-reach, reach));
        }
        surface.touch_box(patch.bounds(), |p, albedo, height| {
            let depth = patch.depth(p) * patch.radius;
            let gone = smoothstep(-0.3, 0.4, depth);
            let curl = flake * smoothstep(-2.2, -0.2, depth) * (1.0 - gone);
            let layer = 1.0 + 0.07 * fractal(fine, p[0] * 0.3, p[1] * 0.3, 2);
            *albedo = blend(*albedo, tone(bare, layer), 0.9 * gone);
            *height = *height * (1.0 - 0.7 * gone) + 1.2 * curl - 0.8 * gone;
        });
    }
}

pub(super) fn faint_region(rng: &mut Rng, _piece: &Piece, force: Force, surface: &mut Surface) {
    let blob = Blob::draw(rng, [22.0 * force.size, 42.0 * force.size], 0.25);
    let amount = rng.sign() * rng.range(0.1, 0.18) * force.strength;
    let tint = [0; 3].map(|_| 1.0 + rng.range(-0.035, 0.035));
    surface.touch(|p, albedo, _| {
        let faint = smoothstep(0.0, 0.25, blob.depth(p));
        let change = tint.map(|part| 1.0 + faint * ((1.0 + amount) * part - 1.0));
        *albedo = [albedo[0] * change[0], albedo[1] * change[1], albedo[2] * change[2]];
    });
}

/// A colour that drifts further off towards one side.
pub(super) fn discolouration(rng: &mut Rng, _: &Piece, force: Force, surface: &mut Surface) {
    let axis = direction(rng.unit());
    let start = rng.range(-20.0, 30.0) / force.size;
    let length = rng.range(12.0, 55.0);
    let tint = hsv(rng.unit(), rng.range(0.2, 0.7), 1.0);
    let gain = 1.0 + rng.sign() * rng.range(0.08, 0.3) * force.strength;
    let power = (rng.range(0.15, 0.45) * force.strength).min(0.8);
    let wave = rng.next_u64();
    surface.touch(|p, albedo, _| {
        let (x, y) = (p[0] - SIDE / 2.0, p[1] - SIDE / 2.0);
        let along = x * axis[0] + y * axis[1] + 7.0 * value(wave, p[0] * 0.03, p[1] * 0.03);
        let off = smoothstep(start, start + length, along);
        let tinted = [albedo[0] * tint[0], albedo[1] * tint[1], albedo[2] * tint[2]];
        *albedo = tone(blend(*albedo, tinted, power * off), 1.0 + (gain - 1.0) * off);
    });
}

/// A large region, brighter or darker: a blob, a side, a band, a corner or a leaf, softly or
/// sharply bordered, even or in streaks.
pub(super) fn uneven(rng: &mut Rng, piece: &Piece, force: Force, surface: &mut Surface) {
    let kind = rng.below(5);
    let turn = if rng.chance(0.7) { piece.look.angle } else { rng.unit() };
    let axis = direction(turn + rng.below(4) as f32 * 0.25 + rng.range(-0.02, 0.02));
    let centre = somewhere(rng, 30.0);
    let blob = Blob::draw(rng, [18.0 * force.size, 40.0 * force.size], 0.2);
    let soft = if rng.chance(0.4) { rng.range(0.8, 2.5) } else { rng.range(3.0, 16.0) };
    let (long, wide) = (rng.range(20.0, 42.0) * force.size, rng.range(9.0, 18.0) * force.size);
    let amount = (rng.sign() * rng.range(0.13, 0.34) * force.strength).max(-0.75);
    let streaks = if rng.chance(0.4) { rng.range(0.3, 0.8) } else { 0.0 };
    let wave = rng.next_u64();
    surface.touch(|p, albedo, _| {
        let (x, y) = (p[0] - centre[0], p[1] - centre[1]);
        let (u, v) = (x * axis[0] + y * axis[1], y * axis[0] - x * axis[1]);
        let sway = 2.5 * fractal(wave, p[0] * 0.04, p[1] * 0.04, 2);
        let depth = sway
            + match kind {
                0 => blob.depth(p) * blob.radius,
                1 => u,
                2 => wide - v.abs(),
                3 => u.min(v),
                _ => {
                    let (a, b) = (u / long, v / wide);
                    (1.0 - (a * a + b * b).sqrt()) * wide
                }
            };
        let inside = smoothstep(-soft, soft, depth);
        if inside > 0.0 {
            let line = value(wave ^ 1, v * 0.7, u * 0.015);
            *albedo = tone(*albedo, 1.0 + amount * inside * (1.0 + streaks * line));
        }
    });
}
