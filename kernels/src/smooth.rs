use crate::error::{KernelError, check_finite, check_shape};
use crate::parallel::{ParallelFor, for_each_line};

/// Gaussian smoothing of maps, scipy's `gaussian_filter(map, sigma)` with its defaults: reflected
/// border (`d c b a | a b c d | d c b a`), kernel cut at 4 sigma, along y before x, each sum in f64
/// and rounded to f32 between the passes. Shapes: `maps [n,h,w]` -> `[n,h,w]`; `sigma_px` in
/// pixels, 0 is the identity. Errors: `Shape`, `Empty`, `Range` (sigma negative, not finite or
/// above 1e4), `NotFinite`.
pub fn gaussian_blur(
    maps: &[f32],
    nhw: [usize; 3],
    sigma_px: f64,
    par: ParallelFor,
) -> Result<Vec<f32>, KernelError> {
    const OP: &str = "gaussian_blur";
    check_shape(OP, "maps", maps.len(), &nhw)?;
    check_finite(OP, "maps", maps)?;
    if !(0.0..=1e4).contains(&sigma_px) {
        let want = "between 0 and 10000 pixels";
        return Err(KernelError::Range { op: OP, key: "sigma_px", want, got: sigma_px });
    }
    let half = half_kernel(sigma_px);
    if half.len() == 1 {
        return Ok(maps.to_vec());
    }
    let [_, h, w] = nhw;
    let mut tall = vec![0.0_f32; maps.len()];
    for_each_line(&mut tall, w, par, |i, line| {
        let plane = &maps[i / h * h * w..][..h * w];
        let row = |offset: isize| &plane[reflect((i % h) as isize + offset, h) * w..][..w];
        let pairs: Vec<_> = (0..half.len() as isize).map(|j| [row(-j), row(j)]).collect();
        weigh(line, &pairs, &half);
    });
    let mut out = vec![0.0_f32; maps.len()];
    let radius = half.len() - 1;
    for_each_line(&mut out, w, par, |i, line| {
        let row = &tall[i * w..][..w];
        let padded: Vec<f32> =
            (0..w + 2 * radius).map(|x| row[reflect(x as isize - radius as isize, w)]).collect();
        let pair = |j: usize| [&padded[radius - j..][..w], &padded[radius + j..][..w]];
        let pairs: Vec<_> = (0..half.len()).map(pair).collect();
        weigh(line, &pairs, &half);
    });
    Ok(out)
}

vectorised! {
    /// `pairs[j]` are what lies `j` pixels off on both sides of each of the line's, and weighs `half[j]`; the
    /// first pair is the line itself. The outermost are added first behind it, as in scipy.
    fn weigh(line: &mut [f32], pairs: &[[&[f32]; 2]], half: &[f64]) {
        /// Sums that the registers hold.
        const BLOCK: usize = 16;
        let (blocks, rest) = line.as_chunks_mut::<BLOCK>();
        for (i, block) in blocks.iter_mut().enumerate() {
            let mut sums = [0.0; BLOCK];
            add_pairs(&mut sums, i * BLOCK, pairs, half);
            block.iter_mut().zip(sums).for_each(|(value, sum)| *value = sum as f32);
        }
        let mut sums = [0.0; BLOCK];
        add_pairs(&mut sums[..rest.len()], blocks.len() * BLOCK, pairs, half);
        rest.iter_mut().zip(sums).for_each(|(value, sum)| *value = sum as f32);
    }
}

#[inline(always)]
fn add_pairs(sums: &mut [f64], from: usize, pairs: &[[&[f32]; 2]], half: &[f64]) {
    let n = sums.len();
    if let (Some([own, _]), Some(weight)) = (pairs.first(), half.first()) {
        let own = &own[from..from + n];
        sums.iter_mut().zip(own).for_each(|(sum, x)| *sum = f64::from(*x) * weight);
    }
    for ([one, other], weight) in pairs.iter().zip(half).skip(1).rev() {
        let (one, other) = (&one[from..from + n], &other[from..from + n]);
        for ((sum, a), b) in sums.iter_mut().zip(one).zip(other) {
            *sum += (f64::from(*a) + f64::from(*b)) * weight;
        }
    }
}

/// Weight of distance 0, 1, ..; both sides together sum to 1.
fn half_kernel(sigma: f64) -> Vec<f64> {
    let radius = (4.0 * sigma + 0.5) as usize;
    if radius == 0 {
        return vec![1.0];
    }
    let raw: Vec<f64> =
        (0..=radius).map(|x| (-0.5 / (sigma * sigma) * (x * x) as f64).exp()).collect();
    let total = raw[0] + 2.0 * raw[1..].iter().sum::<f64>();
    raw.iter().map(|weight| weight / total).collect()
}

/// Index of `x` on a line of `n` mirrored at its ends, the end pixels repeated.
fn reflect(x: isize, n: usize) -> usize {
    let period = 2 * n as isize;
    let x = x.rem_euclid(period);
    (if x < n as isize { x } else { period - 1 - x }) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{floats, recorded, rule_f32, sides};
    use crate::serial;

    #[test]
    fn blurred_maps_are_scipys() {
        for case in recorded()["gaussian"].as_array().unwrap() {
            let [h, w] = sides(&case["hw"]);
            let sigma_px = case["sigma_px"].as_f64().unwrap();
            let map = rule_f32(h * w);
            let twice = [map.clone(), map].concat();
            let got = gaussian_blur(&twice, [2, h, w], sigma_px, &serial).unwrap();
            let want = floats(&case["values"]);
            assert_eq!(got, [want.clone(), want].concat(), "{h}x{w}, sigma {sigma_px}");
        }
    }

    #[test]
    fn reflection_repeats_the_border_pixel() {
        let at: Vec<usize> = (-5..7).map(|x| reflect(x, 2)).collect();
        assert_eq!(at, [0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1]);
    }

    #[test]
    fn a_constant_map_stays_constant_and_sigma_zero_changes_nothing() {
        let blurred = gaussian_blur(&[0.25; 12], [1, 3, 4], 2.0, &serial).unwrap();
        assert!(blurred.iter().all(|v| (v - 0.25).abs() < 1e-7), "{blurred:?}");
        let map = [0.0, 1.0, 2.0, 3.0];
        assert_eq!(gaussian_blur(&map, [1, 2, 2], 0.0, &serial).unwrap(), map);
    }

    #[test]
    fn nonsense_is_refused() {
        let message = gaussian_blur(&[0.0], [1, 1, 1], -1.0, &serial).unwrap_err().to_string();
        assert_eq!(
            message,
            "`gaussian_blur` wants `sigma_px` between 0 and 10000 pixels, got `-1`"
        );
        assert!(gaussian_blur(&[0.0], [1, 1, 1], f64::NAN, &serial).is_err());
        assert!(gaussian_blur(&[f32::NAN], [1, 1, 1], 1.0, &serial).is_err());
        assert!(gaussian_blur(&[0.0], [1, 2, 1], 1.0, &serial).is_err());
    }
}
