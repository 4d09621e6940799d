//! Tables of a separable resize: for each output position, where its inputs start and their
//! weights.

/// `weights[i * width..][..len[i]]` belong to inputs `start[i]..start[i] + len[i]`.
#[derive(Debug, Clone)]
pub(crate) struct Taps {
    pub(crate) start: Vec<usize>,
    pub(crate) len: Vec<usize>,
    pub(crate) width: usize,
    pub(crate) weights: Vec<f32>,
}

impl Taps {
    pub(crate) fn n_out(&self) -> usize {
        self.start.len()
    }

    pub(crate) fn at(&self, i: usize) -> (usize, &[f32]) {
        (self.start[i], &self.weights[i * self.width..i * self.width + self.len[i]])
    }

    /// From `(i0, i1, weight of i1)` an output; `i1` is `i0` or its right neighbour.
    fn of_pairs(pairs: impl Iterator<Item = (usize, usize, f32)>) -> Self {
        let mut taps = Taps { start: vec![], len: vec![], width: 2, weights: vec![] };
        for (i0, i1, w1) in pairs {
            taps.start.push(i0);
            taps.len.push(1 + i1 - i0);
            let w0 = if i1 == i0 { 1.0 } else { 1.0 - w1 };
            taps.weights.extend([w0, w1]);
        }
        taps
    }
}

/// Half-pixel centres, positions clamped to the border: torch's `align_corners = false`, in f32 as
/// there.
pub(crate) fn half_pixel(n_in: usize, n_out: usize) -> Taps {
    let scale = n_in as f32 / n_out as f32;
    Taps::of_pairs((0..n_out).map(|i| {
        let x = (scale * (i as f32 + 0.5) - 0.5).max(0.0);
        pair(x, n_in)
    }))
}

/// The corners' centres meet: torch's `align_corners = true`.
pub(crate) fn align_corners(n_in: usize, n_out: usize) -> Taps {
    let scale = if n_out > 1 { (n_in - 1) as f32 / (n_out - 1) as f32 } else { 0.0 };
    Taps::of_pairs((0..n_out).map(|i| pair(scale * i as f32, n_in)))
}

/// OpenCV's linear table for f32: as `half_pixel`, but positions in f64, which is what its x86
/// builds (with IPP) do. A build without IPP rounds them to f32 first and differs by up to 2e-6.
pub(crate) fn opencv(n_in: usize, n_out: usize) -> Taps {
    let scale = n_in as f64 / n_out as f64;
    Taps::of_pairs((0..n_out).map(|i| {
        let x = (scale * (i as f64 + 0.5) - 0.5).max(0.0);
        let i0 = (x as usize).min(n_in - 1);
        (i0, (i0 + 1).min(n_in - 1), (x - i0 as f64) as f32)
    }))
}

/// OpenCV's table for 8 bits: the position is computed in f64 and rounded to f32 before it is
/// split. Result: left neighbour (not yet clamped), and the fraction of the way to the right one.
pub(crate) fn opencv_position(i: usize, n_in: usize, n_out: usize) -> (i64, f32) {
    let scale = 1.0 / (n_out as f64 / n_in as f64);
    let x = ((i as f64 + 0.5) * scale - 0.5) as f32;
    let floor = x.floor();
    (floor as i64, x - floor)
}

/// Filters of the antialiased resizes; `support` is the half width at scale 1.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Window {
    Triangle,
    /// Cubic with a = -0.5.
    Cubic,
}

/// torch's antialias table: the window grows with the down-scaling factor, and its weights are
/// normalised where the border cuts it. All in f32 as in torch, so that masks flip where its do.
pub(crate) fn antialias(n_in: usize, n_out: usize, window: Window) -> Taps {
    let scale = n_in as f32 / n_out as f32;
    let (radius, filter): (f32, fn(f32) -> f32) = match window {
        Window::Triangle => (1.0, triangle),
        Window::Cubic => (2.0, cubic),
    };
    let stretch = scale.max(1.0);
    let (support, inverse) = (radius * stretch, 1.0 / stretch);
    let width = support.ceil() as usize * 2 + 1;
    let mut taps = Taps { start: vec![], len: vec![], width, weights: vec![] };
    for i in 0..n_out {
        let centre = scale * (i as f32 + 0.5);
        let start = ((centre - support + 0.5) as i64).max(0) as usize;
        let end = ((centre + support + 0.5) as i64).min(n_in as i64).max(0) as usize;
        let len = end.saturating_sub(start).min(width);
        let weight = |j: usize| filter((j as f32 + start as f32 - centre + 0.5) * inverse);
        let total: f32 = (0..len).map(weight).sum();
        taps.start.push(start);
        taps.len.push(len);
        taps.weights.extend((0..width).map(|j| match j < len {
            true if total != 0.0 => weight(j) / total,
            _ => 0.0,
        }));
    }
    taps
}

fn pair(x: f32, n_in: usize) -> (usize, usize, f32) {
    let i0 = (x as usize).min(n_in - 1);
    (i0, (i0 + 1).min(n_in - 1), x - i0 as f32)
}

fn triangle(x: f32) -> f32 {
    (1.0 - x.abs()).max(0.0)
}

fn cubic(x: f32) -> f32 {
    const A: f32 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}
