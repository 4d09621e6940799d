//! Features cut into bins, once for all trees.

use super::Examples;

/// Bin codes of every value, by features.
pub(super) struct Bins {
    n: usize,
    /// `[width,n]`.
    codes: Vec<u8>,
    /// Per feature the least value of each bin but the first.
    cuts: Vec<Vec<f32>>,
}

impl Bins {
    /// A bin per distinct value as long as they suffice, else bins of as many sentences each, cut
    /// where XGBoost's quantile sketch cuts up to 2,000 sentences. `n_bins` is at most 256.
    pub(super) fn new(examples: &Examples, n_bins: usize) -> Self {
        let n = examples.len();
        let columns = examples.columns();
        let mut codes = Vec::with_capacity(columns.len());
        let mut cuts = Vec::with_capacity(examples.width);
        for column in columns.chunks_exact(n) {
            let own = cuts_of(column, n_bins.min(256));
            codes.extend(column.iter().map(|v| own.partition_point(|cut| cut <= v) as u8));
            cuts.push(own);
        }
        Bins { n, codes, cuts }
    }

    pub(super) fn width(&self) -> usize {
        self.cuts.len()
    }

    pub(super) fn codes(&self, feature: usize) -> &[u8] {
        &self.codes[feature * self.n..][..self.n]
    }

    /// Bins of a feature, the last of which has no cut above it.
    pub(super) fn n_bins(&self, feature: usize) -> usize {
        self.cuts[feature].len() + 1
    }

    /// What lies above bin `bin`, which is not the last.
    pub(super) fn cut(&self, feature: usize, bin: usize) -> f32 {
        self.cuts[feature][bin]
    }
}

fn cuts_of(column: &[f32], n_bins: usize) -> Vec<f32> {
    let mut sorted = column.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let mut distinct = sorted.clone();
    distinct.dedup();
    if distinct.len() > n_bins {
        let ranks = (sorted.len() - 2) as f64 / n_bins as f64;
        let at = |k: usize| sorted[1 + (k as f64 * ranks) as usize];
        distinct = std::iter::once(sorted[0]).chain((1..n_bins).map(at)).collect();
        distinct.dedup();
    }
    distinct.remove(0);
    distinct
}
