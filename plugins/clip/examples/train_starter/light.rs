//! A light of its own for every crop: reference and query must never look alike by their light.

use crate::rng::Rng;

/// Changes a crop `[3,side,side]` with values in `0..=1`: gain, gradient, cast, gamma, less colour,
/// blur, noise. No spots: a soft spot of light is what a large stain looks like.
pub fn relit(image: &mut [f32], side: usize, rng: &mut Rng) {
    multiply(image, side, rng);
    if rng.chance(0.5) {
        let gamma = rng.uniform(-0.3, 0.3).exp();
        image.iter_mut().for_each(|v| *v = v.clamp(1e-4, 1.0).powf(gamma));
    } else {
        image.iter_mut().for_each(|v| *v = v.clamp(1e-4, 1.0));
    }
    if rng.chance(0.2) {
        fade_colour(image, side * side, rng.uniform(0.5, 1.0));
    }
    if rng.chance(0.25) {
        soften(image, side, rng.uniform(0.2, 0.8));
    }
    if rng.chance(0.5) {
        let deviation = rng.uniform(0.0, 0.025);
        image.iter_mut().for_each(|v| *v += deviation * rng.normal());
    }
    image.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
}

/// Everything that is a factor on the light: gain, colour cast and gradient.
fn multiply(image: &mut [f32], side: usize, rng: &mut Rng) {
    let gain = rng.uniform(-0.4, 0.35).exp();
    let has_cast = rng.chance(0.5);
    let cast = [(); 3].map(|()| rng.uniform(-0.12, 0.12) * f32::from(u8::from(has_cast)));
    let slope = if rng.chance(0.7) { rng.uniform(0.0, 0.4) } else { 0.0 };
    let (sin, cos) = rng.uniform(0.0, std::f32::consts::TAU).sin_cos();
    let place = |i: usize| 2.0 * i as f32 / (side.max(2) - 1) as f32 - 1.0;
    let mut light = Vec::with_capacity(side * side);
    for y in (0..side).map(place) {
        light.extend((0..side).map(place).map(|x| gain * (1.0 + slope * (cos * x + sin * y))));
    }
    for (plane, cast) in image.chunks_exact_mut((side * side).max(1)).zip(cast) {
        plane.iter_mut().zip(&light).for_each(|(v, light)| *v *= light * (1.0 + cast));
    }
}

fn fade_colour(image: &mut [f32], area: usize, share: f32) {
    let (red, rest) = image.split_at_mut(area.min(image.len()));
    let (green, blue) = rest.split_at_mut(area.min(rest.len()));
    for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
        let grey = (*r + *g + *b) / 3.0;
        [r, g, b].into_iter().for_each(|v| *v += share * (grey - *v));
    }
}

/// Moves every value towards the mean of its 3 x 3 neighbours; the border is mirrored.
fn soften(image: &mut [f32], side: usize, share: f32) {
    let mirrored = |i: usize, step: usize| match i + step {
        0 => 1.min(side - 1),
        near if near > side => side.saturating_sub(2),
        near => near - 1,
    };
    let sharp = image.to_owned();
    let planes = image.chunks_exact_mut(side * side).zip(sharp.chunks_exact(side * side));
    for (plane, sharp) in planes {
        for (y, row) in plane.chunks_exact_mut(side).enumerate() {
            let lines = [0, 1, 2].map(|step| mirrored(y, step) * side);
            for (x, value) in row.iter_mut().enumerate() {
                let columns = [0, 1, 2].map(|step| mirrored(x, step));
                let near = lines.iter().flat_map(|line| columns.iter().map(move |x| line + x));
                let sum: f32 = near.filter_map(|at| sharp.get(at)).sum();
                *value += share * (sum / 9.0 - *value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soft_image_is_the_mean_of_its_neighbours() {
        let mut image = vec![0.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        soften(&mut image, 3, 1.0);
        // Mirroring repeats no border: the row below the first stands above it, too.
        assert_eq!(image, [2.0, 1.0, 2.0, 2.0, 1.0, 2.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn full_fading_is_grey_and_light_stays_in_range() {
        let mut image = vec![0.3, 0.6, 0.9];
        fade_colour(&mut image, 1, 1.0);
        assert!(image.iter().all(|v| (v - 0.6).abs() < 1e-6));
        let mut rng = Rng::new(3);
        for _ in 0..50 {
            let mut image = vec![0.5; 3 * 16 * 16];
            relit(&mut image, 16, &mut rng);
            assert!(image.iter().all(|v| (0.0..=1.0).contains(v)));
        }
    }
}
