//! Areas under a curve that arrives point by point.

/// A sum whose rounding error does not grow with the number of terms (Neumaier's variant of
/// Kahan's): a class has up to 1e8 pixels, and the metrics are held to 1e-12.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    total: f64,
    lost: f64,
}

impl Sum {
    pub(crate) fn add(&mut self, term: f64) {
        let next = self.total + term;
        self.lost += if self.total.abs() >= term.abs() {
            (self.total - next) + term
        } else {
            (term - next) + self.total
        };
        self.total = next;
    }

    pub(crate) fn get(self) -> f64 {
        self.total + self.lost
    }
}

/// Trapezoids from x = 0 to a limit, with linear interpolation at exactly the limit.
#[derive(Clone, Debug)]
pub(crate) struct LimitedArea {
    limit: f64,
    last: (f64, f64),
    area: Sum,
}

impl LimitedArea {
    pub(crate) fn new(limit: f64) -> Self {
        LimitedArea { limit, last: (0.0, 0.0), area: Sum::default() }
    }

    /// `x` never falls from call to call; what lies beyond the limit is cut.
    pub(crate) fn point(&mut self, x: f64, y: f64) {
        let (x0, y0) = self.last;
        self.last = (x, y);
        if x0 >= self.limit {
            return;
        }
        let (end, y_end) = if x > self.limit {
            (self.limit, y0 + (y - y0) * ((self.limit - x0) / (x - x0)))
        } else {
            (x, y)
        };
        self.area.add((end - x0) * (y0 + y_end) * 0.5);
    }

    /// The area divided by the limit, so a perfect curve has 1.
    pub(crate) fn normalised(&self) -> f64 {
        self.area.get() / self.limit
    }
}

/// Trapezoid area of a stored curve. The x values must not fall.
pub(crate) fn trapezoid(points: &[(f64, f64)]) -> f64 {
    let mut area = Sum::default();
    for pair in points.windows(2) {
        area.add((pair[1].0 - pair[0].0) * (pair[0].1 + pair[1].1) * 0.5);
    }
    area.get()
}

/// `y` at `x` on a stored curve; beyond its ends, the end's value.
pub(crate) fn interpolate(points: &[(f64, f64)], x: f64) -> Option<f64> {
    let after = points.partition_point(|point| point.0 <= x);
    match (after.checked_sub(1).and_then(|before| points.get(before)), points.get(after)) {
        (Some(&(x0, y0)), Some(&(x1, y1))) => Some(y0 + (y1 - y0) * ((x - x0) / (x1 - x0))),
        (Some(&(_, y)), None) | (None, Some(&(_, y))) => Some(y),
        (None, None) => None,
    }
}
