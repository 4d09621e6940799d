//! The tensor that scripts hold, and its arithmetic: one Rust loop for each method, never a loop
//! per pixel in a script.

use std::sync::Arc;

/// A tensor of a hook. A clone shares the data; every operation makes a new one.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor(Arc<(Vec<usize>, Vec<f32>)>);

/// A fault of a method, as a sentence; the caller adds the place in the script.
pub(super) type Fault = String;

impl Tensor {
    /// `data` is row-major. Errors: a sentence, if it does not fill `shape`.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Result<Self, String> {
        let n_elements = shape.iter().try_fold(1_usize, |n, dim| n.checked_mul(*dim));
        if n_elements != Some(data.len()) {
            let got = data.len();
            return Err(format!("a tensor of shape {shape:?} cannot hold {got} elements"));
        }
        Ok(Self(Arc::new((shape, data))))
    }

    pub fn shape(&self) -> &[usize] {
        &self.0.0
    }

    pub fn data(&self) -> &[f32] {
        &self.0.1
    }

    /// Gives shape and data, without a copy if nobody else holds the tensor.
    pub fn into_parts(self) -> (Vec<usize>, Vec<f32>) {
        Arc::unwrap_or_clone(self.0)
    }

    pub(super) fn map(&self, f: impl Fn(f32) -> f32) -> Self {
        let data = self.data().iter().map(|x| f(*x)).collect();
        Self(Arc::new((self.shape().to_vec(), data)))
    }

    /// Errors: shapes that differ.
    pub(super) fn zip(&self, other: &Self, f: impl Fn(f32, f32) -> f32) -> Result<Self, Fault> {
        if self.shape() != other.shape() {
            let (want, got) = (self.shape(), other.shape());
            return Err(format!(
                "the tensors have shapes {want:?} and {got:?}; they must be equal"
            ));
        }
        let data = self.data().iter().zip(other.data()).map(|(a, b)| f(*a, *b)).collect();
        Ok(Self(Arc::new((self.shape().to_vec(), data))))
    }

    /// A NaN counts as greater than everything, so that it is seen.
    pub(super) fn max(&self) -> Result<f64, Fault> {
        let largest = self.filled("max")?.iter().copied().max_by(f32::total_cmp);
        Ok(largest.map_or(f64::NAN, f64::from))
    }

    pub(super) fn min(&self) -> Result<f64, Fault> {
        let smallest = self.filled("min")?.iter().copied().min_by(f32::total_cmp);
        Ok(smallest.map_or(f64::NAN, f64::from))
    }

    /// Summed in f64.
    pub(super) fn sum(&self) -> f64 {
        self.data().iter().map(|x| f64::from(*x)).sum()
    }

    pub(super) fn mean(&self) -> Result<f64, Fault> {
        Ok(self.sum() / self.filled("mean")?.len() as f64)
    }

    /// The `q`-quantile, `q` in 0..=1, linear between the two nearest ranks (numpy's default).
    pub(super) fn quantile(&self, q: f64) -> Result<f64, Fault> {
        if !(0.0..=1.0).contains(&q) {
            return Err(format!("`quantile` wants a number in 0..=1, got {q}"));
        }
        let mut data = self.filled("quantile")?.to_vec();
        let rank = q * (data.len() - 1) as f64;
        let (_, low, above) = data.select_nth_unstable_by(rank as usize, f32::total_cmp);
        let low = f64::from(*low);
        let high = above.iter().copied().min_by(f32::total_cmp).map_or(low, f64::from);
        let fraction = rank.fract();
        Ok(if fraction == 0.0 { low } else { low + (high - low) * fraction })
    }

    /// Mean of the largest `fraction` of all elements, in 0..=1; rounded up, at least one element.
    pub(super) fn top_mean(&self, fraction: f64) -> Result<f64, Fault> {
        if !(0.0..=1.0).contains(&fraction) {
            return Err(format!("`top_mean` wants a fraction in 0..=1, got {fraction}"));
        }
        let mut data = self.filled("top_mean")?.to_vec();
        let n_top = ((fraction * data.len() as f64).ceil() as usize).clamp(1, data.len());
        let first = data.len() - n_top;
        let (_, nth, above) = data.select_nth_unstable_by(first, f32::total_cmp);
        let sum = f64::from(*nth) + above.iter().map(|x| f64::from(*x)).sum::<f64>();
        Ok(sum / n_top as f64)
    }

    /// One element. Errors: an index outside, or a wrong number of them.
    pub(super) fn get(&self, index: &[i64]) -> Result<f64, Fault> {
        let shape = self.shape();
        let outside = || format!("index {index:?} is outside of a tensor of shape {shape:?}");
        if index.len() != shape.len() {
            let (want, got) = (shape.len(), index.len());
            return Err(format!("a tensor of shape {shape:?} wants {want} indices, got {got}"));
        }
        let mut at = 0;
        for (i, dim) in index.iter().zip(shape) {
            let i = usize::try_from(*i).ok().filter(|i| i < dim).ok_or_else(outside)?;
            at = at * dim + i;
        }
        self.data().get(at).map(|x| f64::from(*x)).ok_or_else(outside)
    }

    /// Index of the first largest element.
    pub(super) fn argmax(&self) -> Result<Vec<i64>, Fault> {
        let data = self.filled("argmax")?;
        let largest = (0..data.len()).rev().max_by(|a, b| data[*a].total_cmp(&data[*b]));
        let mut rest = largest.unwrap_or(0);
        let mut index = vec![0; self.shape().len()];
        for (i, dim) in index.iter_mut().zip(self.shape()).rev() {
            *i = (rest % dim) as i64;
            rest /= dim;
        }
        Ok(index)
    }

    /// Scaled so that the smallest element is 0 and the largest 1; all 0 if they are equal.
    pub(super) fn normalize_minmax(&self) -> Result<Self, Fault> {
        let (low, high) = (self.min()? as f32, self.max()? as f32);
        let range = high - low;
        Ok(self.map(|x| if range > 0.0 { (x - low) / range } else { 0.0 }))
    }

    pub(super) fn clamp(&self, low: f64, high: f64) -> Result<Self, Fault> {
        let (low, high) = (low as f32, high as f32);
        if low.is_nan() || high.is_nan() || low > high {
            return Err(format!("`clamp` wants a lower and a higher bound, got {low} and {high}"));
        }
        Ok(self.map(|x| x.clamp(low, high)))
    }

    /// `(1 - weight) * self + weight * other`.
    pub(super) fn blend(&self, other: &Self, weight: f64) -> Result<Self, Fault> {
        let weight = weight as f32;
        self.zip(other, |a, b| (1.0 - weight) * a + weight * b)
    }

    fn filled(&self, method: &str) -> Result<&[f32], Fault> {
        if self.data().is_empty() {
            return Err(format!(
                "`{method}` of a tensor of shape {:?}, which is empty",
                self.shape()
            ));
        }
        Ok(self.data())
    }
}
