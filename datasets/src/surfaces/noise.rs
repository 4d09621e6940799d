//! Noise fields of the plane. Only `+ - * /`, `floor` and `sqrt` are used, which IEEE 754 fixes:
//! the same pictures come out on every machine.

use super::rng::{mix, unit};

/// A number in `0.0..1.0` that belongs to a cell of the plane.
pub(crate) fn cell(seed: u64, x: i32, y: i32) -> f32 {
    let place = (u64::from(x as u32) << 32) | u64::from(y as u32);
    unit(mix(seed ^ mix(place)))
}

/// Smooth noise in `-1.0..1.0` with one knot per unit of length.
pub(crate) fn value(seed: u64, x: f32, y: f32) -> f32 {
    let (x0, y0) = (x.floor(), y.floor());
    let (u, v) = (fade(x - x0), fade(y - y0));
    let (i, j) = (x0 as i32, y0 as i32);
    let top = lerp(cell(seed, i, j), cell(seed, i.wrapping_add(1), j), u);
    let j = j.wrapping_add(1);
    let bottom = lerp(cell(seed, i, j), cell(seed, i.wrapping_add(1), j), u);
    2.0 * lerp(top, bottom, v) - 1.0
}

/// Sum of octaves, each twice as fine and half as strong as the one before; about `-1.0..1.0`.
pub(crate) fn fractal(seed: u64, x: f32, y: f32, n_octaves: u32) -> f32 {
    let (mut sum, mut gain, mut scale, mut total) = (0.0, 1.0, 1.0, 0.0);
    for octave in 0..n_octaves {
        sum += gain * value(seed.wrapping_add(u64::from(octave)), x * scale, y * scale);
        total += gain;
        gain *= 0.5;
        scale *= 2.0;
    }
    if total > 0.0 { sum / total } else { 0.0 }
}

/// Distances to the nearest and the second nearest of scattered points, one per unit square, and a
/// number in `0.0..1.0` that belongs to the nearest.
pub(crate) fn scattered(seed: u64, x: f32, y: f32) -> (f32, f32, f32) {
    let (i, j) = (x.floor() as i32, y.floor() as i32);
    let (mut first, mut second, mut owner) = (f32::MAX, f32::MAX, 0.0);
    for dj in -1..=1 {
        for di in -1..=1 {
            let (ci, cj) = (i.wrapping_add(di), j.wrapping_add(dj));
            let dx = ci as f32 + 0.1 + 0.8 * cell(seed, ci, cj) - x;
            let dy = cj as f32 + 0.1 + 0.8 * cell(seed ^ 0xa5a5, ci, cj) - y;
            let d2 = dx * dx + dy * dy;
            if d2 < first {
                (second, first) = (first, d2);
                owner = cell(seed ^ 0x5a5a, ci, cj);
            } else if d2 < second {
                second = d2;
            }
        }
    }
    (first.sqrt(), second.sqrt(), owner)
}

/// Sine of an angle in turns, by an odd polynomial (error below 0.001): libm differs by machine.
pub(crate) fn sin_turns(turns: f32) -> f32 {
    let x = turns - (turns + 0.5).floor();
    let half = x * (8.0 - 16.0 * x.abs());
    half * (0.775 + 0.225 * half.abs())
}

/// The unit vector at an angle in turns; its length is 1 within 0.002.
pub(crate) fn direction(turns: f32) -> [f32; 2] {
    [sin_turns(turns + 0.25), sin_turns(turns)]
}

pub(crate) fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// 0 below `low`, 1 above `high`, smooth between.
pub(crate) fn smoothstep(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

fn fade(t: f32) -> f32 {
    t * t * t * (t * (t * 6.0 - 15.0) + 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_of_turns() {
        for i in -40..40 {
            let turns = i as f32 * 0.07;
            let want = (f64::from(turns) * std::f64::consts::TAU).sin();
            assert!((f64::from(sin_turns(turns)) - want).abs() < 1.5e-3, "{turns}");
        }
    }

    #[test]
    fn noise_is_continuous_and_bounded() {
        let mut last = value(7, -3.0, 0.4);
        for i in 1..600 {
            let now = value(7, -3.0 + i as f32 * 0.01, 0.4);
            assert!((now - last).abs() < 0.05 && now.abs() <= 1.0);
            last = now;
        }
        let (first, second, owner) = scattered(3, 10.5, -2.5);
        assert!(first <= second && second < 2.0 && (0.0..1.0).contains(&owner));
    }
}
