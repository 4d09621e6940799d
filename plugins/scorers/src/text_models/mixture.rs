//! A Gaussian mixture of each label's sentences, on the principal components that keep most of that
//! label's variance; the score is the softmax of the two log-likelihoods. FADE calls it `gmm`; as
//! there, the two densities live in spaces of their own, so their ratio also says which space is
//! larger.

use loupe_plugin::prelude::*;

use super::matrix::Packed;
use super::numerics::{exp, ln};
use super::pca::{self, Pca};
use super::random::Random;
use super::state::{self, Arrays, write_f64s};
use super::{Classifier, Examples, Scale, k_means};

mod em;

/// Keys of model `gaussian-mixture`.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub struct MixtureKeys {
    /// Spherical Gaussians of each label.
    #[schema(min = 1, max = 200)]
    pub components: usize,
    /// Share of a label's variance that its principal components keep.
    #[schema(above = 0.0, max = 1.0)]
    pub variance: f64,
}

impl Default for MixtureKeys {
    fn default() -> Self {
        MixtureKeys { components: 10, variance: 0.9 }
    }
}

const SCHEMA: &str = "loupe.text-model.gaussian-mixture";
/// The matrix whose eigenvectors are sought; its work grows with the third power.
const MAX_SIDE: usize = 4096;
const LABELS: [&str; 2] = ["normal", "anomalous"];

pub(super) struct Mixture {
    /// Normal, anomalous.
    densities: [Density; 2],
}

/// One label's density.
pub(super) struct Density {
    /// `[width]`.
    centre: Vec<f64>,
    /// `[q,width]`.
    axes: Vec<f64>,
    packed: Packed<f64>,
    /// The centre on the axes: `[q]`.
    offset: Vec<f64>,
    pub(super) gaussians: em::Gaussians,
}

impl Density {
    fn new(centre: Vec<f64>, axes: Vec<f64>, gaussians: em::Gaussians) -> Self {
        let packed = Packed::of_rows(&axes, centre.len());
        let mut offset = vec![0.0; packed.n()];
        packed.multiply(&centre, &mut offset);
        Density { centre, axes, packed, offset, gaussians }
    }

    /// Errors: fewer sentences than Gaussians, sentences that are all the same.
    fn fit(
        keys: &MixtureKeys,
        rows: &[f64],
        weights: &[f64],
        label: usize,
        seed: u64,
    ) -> Result<Self> {
        let (word, n) = (LABELS[label], weights.len());
        if n < keys.components {
            return Err(Error::input(format!(
                "model `gaussian-mixture` wants at least `gaussian_mixture.components` = {} \
                 sentences of each label, but {n} are {word}; lower `components`",
                keys.components
            )));
        }
        let width = rows.len() / n.max(1);
        if n.min(width) > MAX_SIDE {
            return Err(Error::input(format!(
                "model `gaussian-mixture` wants at most {MAX_SIDE} sentences of a label or values \
                 of an embedding, but got {n} of {width}"
            )));
        }
        let Some(pca) = pca::fit(rows, width, weights, keys.variance) else {
            return Err(Error::input(format!(
                "model `gaussian-mixture` wants sentences that differ, but all that are {word} \
                 have the same embedding"
            )));
        };
        let points = points(&pca, rows);
        let mut random = Random::new(seed, label as u64);
        let q = points.len() / n;
        let groups = k_means::groups(&points, q, weights, keys.components, &mut random);
        Ok(Density::of_groups(pca, rows, weights, &groups, keys.components))
    }

    /// `groups [n]`, each below `k`, is where expectation maximisation starts.
    pub(super) fn of_groups(
        pca: Pca,
        rows: &[f64],
        weights: &[f64],
        groups: &[usize],
        k: usize,
    ) -> Self {
        let points = points(&pca, rows);
        let q = points.len() / weights.len().max(1);
        let gaussians = em::fit(&points, q, weights, groups, k);
        Density::new(pca.mean, pca.components, gaussians)
    }

    pub(super) fn log_densities(&self, tokens: &[f64], out: &mut [f64]) {
        let mut terms = Vec::new();
        let mut points = vec![0.0; out.len() * self.packed.n()];
        self.packed.multiply(tokens, &mut points);
        for (value, point) in out.iter_mut().zip(points.chunks_exact_mut(self.packed.n())) {
            point.iter_mut().zip(&self.offset).for_each(|(value, offset)| *value -= offset);
            self.gaussians.log_terms(point, &mut terms);
            *value = log_sum(&terms);
        }
    }
}

impl Classifier for Mixture {
    fn width(&self) -> usize {
        self.densities[0].centre.len()
    }

    fn scale(&self) -> Scale {
        Scale::Margin
    }

    fn evaluate(&self, tokens: &[f32], out: &mut [f64]) {
        let tokens: Vec<f64> = tokens.iter().map(|value| f64::from(*value)).collect();
        let mut normal = vec![0.0; out.len()];
        self.densities[0].log_densities(&tokens, &mut normal);
        self.densities[1].log_densities(&tokens, out);
        out.iter_mut().zip(&normal).for_each(|(margin, normal)| *margin -= normal);
    }

    fn state(&self) -> Result<State> {
        let mut writer = StateWriter::new(SCHEMA, state::REVISION);
        for (density, label) in self.densities.iter().zip(LABELS) {
            let (width, q) = (density.centre.len(), density.packed.n());
            let em::Gaussians { shares, means, variances, .. } = &density.gaussians;
            let k = shares.len();
            let name = |part: &str| format!("{label}.{part}");
            writer = write_f64s(writer, &name("centre"), [width], &density.centre)?;
            writer = write_f64s(writer, &name("axes"), [q, width], &density.axes)?;
            writer = write_f64s(writer, &name("shares"), [k], shares)?;
            writer = write_f64s(writer, &name("means"), [k, q], means)?;
            writer = write_f64s(writer, &name("variances"), [k], variances)?;
        }
        writer.finish()
    }
}

pub(super) fn load(state: &State) -> Result<Mixture> {
    let arrays = Arrays::open(state, SCHEMA)?;
    let density = |label: &str| {
        let name = |part: &str| format!("{label}.{part}");
        let [q, width] = arrays.dims(&name("axes"))?;
        let [k] = arrays.dims(&name("shares"))?;
        let shares = arrays.f64s(&name("shares"), &[k])?;
        let means = arrays.f64s(&name("means"), &[k, q])?;
        let variances = arrays.f64s(&name("variances"), &[k])?;
        let positive = |values: &[f64]| values.iter().all(|value| *value >= 1e-30);
        if q == 0 || k == 0 || !positive(&variances) || !positive(&shares) {
            return Err(arrays.damaged(&name("variances")));
        }
        let gaussians = em::Gaussians::new(q, shares, means, variances);
        let centre = arrays.f64s(&name("centre"), &[width])?;
        Ok(Density::new(centre, arrays.f64s(&name("axes"), &[q, width])?, gaussians))
    };
    let densities = [density(LABELS[0])?, density(LABELS[1])?];
    match densities[0].centre.len() == densities[1].centre.len() {
        true => Ok(Mixture { densities }),
        false => Err(arrays.damaged("anomalous.centre")),
    }
}

/// A weight counts a sentence as if it stood there that often, in components, groups and mixture.
pub(super) fn fit(
    keys: &MixtureKeys,
    examples: &Examples,
    seed: u64,
    host: &Host,
) -> Result<Mixture> {
    let densities = host.parallel_map(2, |label| {
        let of_label: Vec<usize> =
            (0..examples.len()).filter(|i| usize::from(examples.anomalous[*i]) == label).collect();
        let rows = of_label.iter().flat_map(|i| examples.row(*i)).map(|v| f64::from(*v));
        let weights: Vec<f64> = of_label.iter().map(|i| examples.weights[*i]).collect();
        Density::fit(keys, &rows.collect::<Vec<_>>(), &weights, label, seed)
    })?;
    let mut densities = densities.into_iter();
    match (densities.next(), densities.next()) {
        (Some(normal), Some(anomalous)) => Ok(Mixture { densities: [normal?, anomalous?] }),
        _ => Err(Error::failed("a density is missing")),
    }
}

/// Rows on the components: `[n,q]`.
fn points(pca: &Pca, rows: &[f64]) -> Vec<f64> {
    let width = pca.mean.len();
    let packed = Packed::of_rows(&pca.components, width);
    let from_mean = |row: &[f64]| -> Vec<f64> {
        row.iter().zip(&pca.mean).map(|(value, mean)| value - mean).collect()
    };
    let centred: Vec<f64> = rows.chunks_exact(width).flat_map(from_mean).collect();
    let mut points = vec![0.0; rows.len() / width * packed.n()];
    packed.multiply(&centred, &mut points);
    points
}

/// ln of the sum of exponentials.
fn log_sum(terms: &[f64]) -> f64 {
    let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + ln(terms.iter().map(|term| exp(term - most)).sum())
}
