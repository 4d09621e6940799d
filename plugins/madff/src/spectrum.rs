//! Magnitudes of the discrete Fourier transform of real rows: exact, for any length, by a mixed-radix
//! Stockham transform that walks 16 rows at once, so that each butterfly is plain vector arithmetic.

use loupe_kernels::vectorised;

/// Rows that are transformed together.
const LANES: usize = 16;

type Lanes = [f32; LANES];

/// A complex number per row.
#[derive(Clone, Copy)]
struct Complex {
    re: Lanes,
    im: Lanes,
}

const ZERO: Complex = Complex { re: [0.0; LANES], im: [0.0; LANES] };

/// One step of the transform: blocks of `radix * rest` become `radix` blocks of `rest`.
#[derive(Clone, Debug)]
struct Step {
    radix: usize,
    rest: usize,
    /// `rest x radix` factors: the root of the block's length to the power `k * r`.
    twiddles: Vec<[f32; 2]>,
    /// The `radix` roots of one.
    roots: Vec<[f32; 2]>,
}

/// The transform of rows of one length.
#[derive(Clone, Debug)]
pub struct Spectrum {
    width: usize,
    /// Points of the complex transform: half the width if that is whole, as two real numbers then
    /// make one complex one.
    n_points: usize,
    steps: Vec<Step>,
    /// Roots that take the halves apart; empty for odd widths.
    unpack: Vec<[f32; 2]>,
}

impl Spectrum {
    /// Prepares rows of `width` numbers. Roots are computed in f64.
    pub fn new(width: usize) -> Self {
        let is_even = width.is_multiple_of(2);
        let n_points = if is_even { width / 2 } else { width };
        let (mut steps, mut rest) = (Vec::new(), n_points);
        while rest > 1 {
            let radix = next_radix(rest);
            let block = rest;
            rest /= radix;
            let twiddle = |i: usize| root((i / radix) * (i % radix), block);
            let twiddles = (0..rest * radix).map(twiddle).collect();
            let roots = (0..radix).map(|i| root(i, radix)).collect();
            steps.push(Step { radix, rest, twiddles, roots });
        }
        let n_unpack = if is_even { n_points + 1 } else { 0 };
        Spectrum { width, n_points, steps, unpack: (0..n_unpack).map(|k| root(k, width)).collect() }
    }

    /// `|FFT|` of each row, not normalised, as `torch.fft.fft(rows).abs()`.
    /// Shapes: `rows [t, width]` -> `[t, width]`; f32. About 2.5 width log2(width) FLOP a row where the
    /// width has small factors, and width FLOP more for each unit of a large one.
    pub fn magnitudes(&self, rows: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; rows.len()];
        let mut points = vec![ZERO; self.n_points];
        let mut spare = points.clone();
        let group = (LANES * self.width).max(1);
        for (rows, out) in rows.chunks(group).zip(out.chunks_mut(group)) {
            put_magnitudes(self, rows, [&mut points, &mut spare], out);
        }
        out
    }

    /// The cotangents of the rows, from those of `magnitudes(rows)`, both `[t, width]`; f32. Twice the
    /// work of `magnitudes`. A magnitude of 0 passes nothing back, as in PyTorch.
    ///
    /// With `u` the bins of the transform at length 1 and `c` the cotangents, the answer is the real part
    /// of the transform of `c conj(u)`. Only what is the same in a bin and its mirror counts of `c`, so
    /// that the transform is of a real row's spectrum again, and half of its bins say all.
    pub fn pull_back(&self, rows: &[f32], cotangents: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; rows.len()];
        let mut points = vec![ZERO; self.n_points];
        let (mut spare, mut bins) = (points.clone(), Vec::new());
        let group = (LANES * self.width).max(1);
        let groups = rows.chunks(group).zip(cotangents.chunks(group));
        for ((rows, cotangents), out) in groups.zip(out.chunks_mut(group)) {
            self.gather(rows, &mut points);
            self.transform(&mut points, &mut spare);
            bins.clear();
            bins.extend((0..=self.width / 2).map(|bin| {
                let half = if bin == 0 || 2 * bin == self.width { 1.0 } else { 0.5 };
                let mirror = (self.width - bin) % self.width;
                let mut sums = [0.0; LANES];
                for (sum, line) in sums.iter_mut().zip(cotangents.chunks_exact(self.width)) {
                    *sum = half * line[bin] + if half < 1.0 { half * line[mirror] } else { 0.0 };
                }
                turned_back(&self.bin(&points, bin), &sums)
            }));
            self.pack(&bins, &mut points);
            self.transform(&mut points, &mut spare);
            self.spread(&points, out);
        }
        out
    }

    #[inline(always)]
    fn transform(&self, points: &mut Vec<Complex>, spare: &mut Vec<Complex>) {
        let mut stride = 1;
        for step in &self.steps {
            step.run(stride, points, spare);
            std::mem::swap(points, spare);
            stride *= step.radix;
        }
    }

    /// Points whose transform is that of a spectrum `bins`, half of which stands for all, with two real
    /// numbers in each complex one where the width is even.
    fn pack(&self, bins: &[Complex], points: &mut [Complex]) {
        let n = self.n_points;
        for (k, point) in points.iter_mut().enumerate() {
            *point = match self.unpack.get(k) {
                None if k < bins.len() => bins[k],
                None => conjugate(&bins[n - k]),
                Some([cos, sin]) => {
                    let (one, other) = (&bins[k], conjugate(&bins[n - k]));
                    // Times i and the root.
                    add(&add(one, &other), &times(&subtract(one, &other), [-sin, *cos]))
                }
            };
        }
    }

    /// The real numbers of the points.
    fn spread(&self, points: &[Complex], out: &mut [f32]) {
        for (lane, line) in out.chunks_exact_mut(self.width.max(1)).enumerate() {
            if self.unpack.is_empty() {
                line.iter_mut().zip(points).for_each(|(x, point)| *x = point.re[lane]);
                continue;
            }
            for (pair, point) in line.as_chunks_mut::<2>().0.iter_mut().zip(points) {
                *pair = [point.re[lane], point.im[lane]];
            }
        }
    }

    #[inline(always)]
    fn gather(&self, rows: &[f32], points: &mut [Complex]) {
        points.fill(ZERO);
        for (lane, row) in rows.chunks_exact(self.width).enumerate() {
            if self.unpack.is_empty() {
                points.iter_mut().zip(row).for_each(|(point, x)| point.re[lane] = *x);
                continue;
            }
            for (point, pair) in points.iter_mut().zip(row.as_chunks::<2>().0) {
                point.re[lane] = pair[0];
                point.im[lane] = pair[1];
            }
        }
    }

    #[inline(always)]
    fn scatter(&self, points: &[Complex], out: &mut [f32]) {
        let n_bins = self.width / 2 + 1;
        for bin in 0..n_bins.min(self.width) {
            let value = self.bin(points, bin);
            let mut magnitudes = [0.0; LANES];
            for ((magnitude, re), im) in magnitudes.iter_mut().zip(&value.re).zip(&value.im) {
                *magnitude = (re * re + im * im).sqrt();
            }
            // The spectrum of real numbers is its own mirror image.
            let mirror = if bin == 0 { 0 } else { self.width - bin };
            for (line, magnitude) in out.chunks_exact_mut(self.width).zip(&magnitudes) {
                line[bin] = *magnitude;
                line[mirror] = *magnitude;
            }
        }
    }

    /// The bin of the real transform: even and odd halves, taken apart by symmetry and joined.
    #[inline(always)]
    fn bin(&self, points: &[Complex], bin: usize) -> Complex {
        let Some([cos, sin]) = self.unpack.get(bin) else { return points[bin] };
        let one = &points[bin % self.n_points];
        let other = &points[(self.n_points - bin) % self.n_points];
        let mut made = ZERO;
        for lane in 0..LANES {
            let even = [one.re[lane] + other.re[lane], one.im[lane] - other.im[lane]];
            let odd = [one.im[lane] + other.im[lane], other.re[lane] - one.re[lane]];
            made.re[lane] = 0.5 * (even[0] + cos * odd[0] - sin * odd[1]);
            made.im[lane] = 0.5 * (even[1] + cos * odd[1] + sin * odd[0]);
        }
        made
    }
}

vectorised! {
    /// Of up to `LANES` rows.
    fn put_magnitudes(
        spectrum: &Spectrum,
        rows: &[f32],
        points: [&mut Vec<Complex>; 2],
        out: &mut [f32],
    ) {
        let [points, spare] = points;
        spectrum.gather(rows, points);
        spectrum.transform(points, spare);
        spectrum.scatter(points, out);
    }
}

impl Step {
    /// One Stockham step, in order and out of place: entry `k + j rest` of each of `stride`
    /// interleaved blocks is turned into entry `k` of sub-block `r`.
    #[inline(always)]
    fn run(&self, stride: usize, from: &[Complex], to: &mut [Complex]) {
        let Step { radix, rest, .. } = *self;
        let mut parts = vec![ZERO; radix];
        for k in 0..rest {
            let twiddles = &self.twiddles[k * radix..][..radix];
            for q in 0..stride {
                for (j, part) in parts.iter_mut().enumerate() {
                    *part = from[q + stride * (k + rest * j)];
                }
                let into = |r: usize| q + stride * (radix * k + r);
                match parts.as_slice() {
                    [a, b] => {
                        to[into(0)] = add(a, b);
                        to[into(1)] = times(&subtract(a, b), twiddles[1]);
                    }
                    [a, b, c, d] => {
                        let (sum, difference) = (add(a, c), subtract(a, c));
                        let (other, turned) = (add(b, d), turn(&subtract(b, d)));
                        to[into(0)] = add(&sum, &other);
                        to[into(1)] = times(&add(&difference, &turned), twiddles[1]);
                        to[into(2)] = times(&subtract(&sum, &other), twiddles[2]);
                        to[into(3)] = times(&subtract(&difference, &turned), twiddles[3]);
                    }
                    parts => {
                        for (r, twiddle) in twiddles.iter().enumerate() {
                            to[into(r)] = times(&self.sum(parts, r), *twiddle);
                        }
                    }
                }
            }
        }
    }

    /// Entry `r` of the transform of a few points, by definition.
    #[inline(always)]
    fn sum(&self, parts: &[Complex], r: usize) -> Complex {
        let mut sum = ZERO;
        for (j, part) in parts.iter().enumerate() {
            sum = add(&sum, &times(part, self.roots[j * r % self.radix]));
        }
        sum
    }
}

/// 4 where it divides, else the smallest prime factor.
fn next_radix(n: usize) -> usize {
    if n.is_multiple_of(4) {
        return 4;
    }
    (2..).take_while(|p| p * p <= n).find(|p| n.is_multiple_of(*p)).unwrap_or(n)
}

/// `exp(-2 pi i k / n)`.
fn root(k: usize, n: usize) -> [f32; 2] {
    let n = n.max(1);
    let angle = -std::f64::consts::TAU * (k % n) as f64 / n as f64;
    [angle.cos() as f32, angle.sin() as f32]
}

#[inline(always)]
fn add(a: &Complex, b: &Complex) -> Complex {
    with_lanes(|lane| [a.re[lane] + b.re[lane], a.im[lane] + b.im[lane]])
}

#[inline(always)]
fn subtract(a: &Complex, b: &Complex) -> Complex {
    with_lanes(|lane| [a.re[lane] - b.re[lane], a.im[lane] - b.im[lane]])
}

/// The number that `f` gives for each lane. `array::from_fn` would be a function of its own, compiled for
/// every CPU.
#[inline(always)]
fn with_lanes(f: impl Fn(usize) -> [f32; 2]) -> Complex {
    let mut made = ZERO;
    for lane in 0..LANES {
        [made.re[lane], made.im[lane]] = f(lane);
    }
    made
}

fn conjugate(a: &Complex) -> Complex {
    Complex { re: a.re, im: a.im.map(|x| -x) }
}

/// `factors` times the conjugate of `a` at length 1; 0 where `a` is.
fn turned_back(a: &Complex, factors: &Lanes) -> Complex {
    let mut made = ZERO;
    for (lane, factor) in factors.iter().enumerate() {
        let length = (a.re[lane] * a.re[lane] + a.im[lane] * a.im[lane]).sqrt();
        let factor = if length > 0.0 { factor / length } else { 0.0 };
        (made.re[lane], made.im[lane]) = (factor * a.re[lane], -factor * a.im[lane]);
    }
    made
}

/// Times `-i`.
#[inline(always)]
fn turn(a: &Complex) -> Complex {
    with_lanes(|lane| [a.im[lane], -a.re[lane]])
}

#[inline(always)]
fn times(a: &Complex, [cos, sin]: [f32; 2]) -> Complex {
    with_lanes(|lane| [a.re[lane] * cos - a.im[lane] * sin, a.re[lane] * sin + a.im[lane] * cos])
}
