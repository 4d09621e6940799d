//! The votes of the k nearest sentences by cosine distance, each weighed by the inverse of its
//! distance. A sentence that the token hits exactly silences those that it does not. FADE calls it
//! `knn`. A sentence's weight multiplies its vote.

use loupe_plugin::prelude::*;

use super::matrix::Packed;
use super::numerics::dot;
use super::state::{self, Arrays};
use super::{Classifier, Examples, Scale};

/// Keys of model `k-nearest`.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub struct NeighbourKeys {
    /// How many sentences vote.
    #[schema(min = 1)]
    pub k: usize,
}

impl Default for NeighbourKeys {
    fn default() -> Self {
        NeighbourKeys { k: 5 }
    }
}

const SCHEMA: &str = "loupe.text-model.k-nearest";
/// Cosine distances below this are rounding: a hit. scikit-learn asks for 0 exactly, where a hit
/// may come out as 1e-16.
const HIT: f64 = 1e-12;
/// Tokens whose distances are held at once.
const TOKENS: usize = 16;

pub(super) struct Neighbours {
    k: usize,
    width: usize,
    rows: Vec<f32>,
    anomalous: Vec<bool>,
    weights: Vec<f32>,
    /// `rows` at length 1 in f64.
    unit: Packed<f64>,
}

/// Errors: fewer sentences than `k`.
pub(super) fn fit(keys: &NeighbourKeys, examples: &Examples) -> Result<Neighbours> {
    let weights = examples.weights.iter().map(|weight| *weight as f32).collect();
    let Examples { rows, width, anomalous, .. } = examples.clone();
    Neighbours::new(keys.k, width, rows, anomalous, weights)
}

impl Neighbours {
    fn new(
        k: usize,
        width: usize,
        rows: Vec<f32>,
        anomalous: Vec<bool>,
        weights: Vec<f32>,
    ) -> Result<Self> {
        if k == 0 || k > anomalous.len() {
            return Err(Error::input(format!(
                "model `k-nearest` wants at least `k_nearest.k` = {k} sentences, but got {}; \
                 lower `k`",
                anomalous.len()
            )));
        }
        let unit = Packed::of_rows(&unit_f64(&rows, width), width);
        Ok(Neighbours { k, width, rows, anomalous, weights, unit })
    }

    fn share(&self, nearest: &[(f64, usize)]) -> f64 {
        let hit = nearest.first().is_some_and(|(distance, _)| *distance < HIT);
        let (mut votes, mut total) = (0.0, 0.0);
        for (distance, i) in nearest {
            let vote = match hit {
                true => f64::from(u8::from(*distance < HIT)),
                false => 1.0 / distance,
            } * f64::from(self.weights[*i]);
            total += vote;
            votes += if self.anomalous[*i] { vote } else { 0.0 };
        }
        votes / total
    }
}

impl Classifier for Neighbours {
    fn width(&self) -> usize {
        self.width
    }

    fn scale(&self) -> Scale {
        Scale::Probability
    }

    fn evaluate(&self, tokens: &[f32], out: &mut [f64]) {
        let n = self.unit.n();
        let mut cosines = vec![0.0; TOKENS * n];
        let mut nearest = Vec::with_capacity(self.k + 1);
        for (tokens, out) in tokens.chunks(TOKENS * self.width).zip(out.chunks_mut(TOKENS)) {
            let cosines = &mut cosines[..out.len() * n];
            self.unit.multiply(&unit_f64(tokens, self.width), cosines);
            for (share, cosines) in out.iter_mut().zip(cosines.chunks_exact(n)) {
                keep_nearest(cosines, self.k, &mut nearest);
                *share = self.share(&nearest);
            }
        }
    }

    fn state(&self) -> Result<State> {
        let n = self.anomalous.len();
        let anomalous: Vec<f32> = self.anomalous.iter().map(|a| f32::from(u8::from(*a))).collect();
        StateWriter::new(SCHEMA, state::REVISION)
            .meta("k", self.k)
            .f32s("embeddings", [n, self.width], &self.rows)?
            .f32s("anomalous", [n], &anomalous)?
            .f32s("weights", [n], &self.weights)?
            .finish()
    }
}

pub(super) fn load(state: &State) -> Result<Neighbours> {
    let arrays = Arrays::open(state, SCHEMA)?;
    let [n, width] = arrays.dims("embeddings")?;
    let rows = arrays.f32s("embeddings", &[n, width])?;
    let anomalous = arrays.f32s("anomalous", &[n])?.into_iter().map(|label| label > 0.5).collect();
    let weights = arrays.f32s("weights", &[n])?;
    if weights.iter().any(|weight| *weight <= 0.0) {
        return Err(arrays.damaged("weights"));
    }
    Neighbours::new(arrays.meta("k")?, width, rows, anomalous, weights)
}

/// The `k` smallest cosine distances with their rows, in rising order; the earlier row of two that
/// are as near.
fn keep_nearest(cosines: &[f64], k: usize, nearest: &mut Vec<(f64, usize)>) {
    nearest.clear();
    for (i, cosine) in cosines.iter().enumerate() {
        let distance = (1.0 - cosine).clamp(0.0, 2.0);
        if nearest.len() < k || nearest.last().is_some_and(|(last, _)| distance < *last) {
            let place = nearest.partition_point(|(kept, _)| *kept <= distance);
            nearest.insert(place, (distance, i));
            nearest.truncate(k);
        }
    }
}

/// Rows at length 1; a row of zeros stays zero, at distance 1 from everything.
fn unit_f64(rows: &[f32], width: usize) -> Vec<f64> {
    let mut unit: Vec<f64> = rows.iter().map(|value| f64::from(*value)).collect();
    for row in unit.chunks_exact_mut(width.max(1)) {
        let norm = dot(row, row).sqrt();
        if norm > 0.0 {
            row.iter_mut().for_each(|value| *value /= norm);
        }
    }
    unit
}
