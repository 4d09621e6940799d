//! Text models that learn to tell normal sentences from anomalous ones, and are then asked about
//! image tokens. Source: the classifiers of FADE, arXiv:2409.00556, which come from scikit-learn
//! and XGBoost.
//!
//! Each is small enough to stand here: the crates that offer them pull in linear algebra of their
//! own, or differ from what FADE runs (no penalty on the intercept, other losses, other
//! covariances).

mod boosting;
mod eigen;
mod forest;
mod k_means;
mod k_nearest;
mod logistic;
mod matrix;
mod mixture;
mod mlp;
mod mlp_train;
mod numerics;
mod pca;
mod random;
mod state;
mod trees;

use loupe_plugin::prelude::*;

pub use boosting::BoostingKeys;
pub use forest::ForestKeys;
pub use k_nearest::NeighbourKeys;
pub use logistic::LogisticKeys;
pub use mixture::MixtureKeys;
pub use mlp::MlpKeys;

/// More would take hours or gigabytes; FADE has about a thousand.
const MAX_SENTENCES: usize = 20_000;
/// Tokens of one unit of parallel work.
const TOKENS: usize = 64;
/// A share of votes can be 0 or 1; its logit is taken this far from the ends.
const SHARE_FLOOR: f64 = 1e-6;

/// A model that has learned, ready to score.
pub(crate) trait Classifier: Send + Sync {
    /// Values of a token.
    fn width(&self) -> usize;

    /// What `evaluate` gives.
    fn scale(&self) -> Scale;

    /// One value a token. Shapes: `tokens [m,width]` unit rows -> `out [m]`.
    fn evaluate(&self, tokens: &[f32], out: &mut [f64]);

    fn state(&self) -> Result<State>;
}

/// What a classifier's values are; the other follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// P(anomalous), 0..=1.
    Probability,
    /// Its logit.
    Margin,
}

/// Which classifier, with its keys.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Logistic(LogisticKeys),
    Mlp(MlpKeys),
    Neighbours(NeighbourKeys),
    Forest(ForestKeys),
    Boosting(BoostingKeys),
    Mixture(MixtureKeys),
}

impl Kind {
    pub(crate) fn fit(
        &self,
        examples: &Examples,
        seed: u64,
        host: &Host,
    ) -> Result<Box<dyn Classifier>> {
        Ok(match self {
            Kind::Logistic(keys) => Box::new(logistic::fit(keys, examples, host)?),
            Kind::Mlp(keys) => Box::new(mlp_train::fit(keys, examples, seed, host)?),
            Kind::Neighbours(keys) => Box::new(k_nearest::fit(keys, examples)?),
            Kind::Forest(keys) => Box::new(forest::fit(keys, examples, seed, host)?),
            Kind::Boosting(keys) => Box::new(boosting::fit(keys, examples, host)?),
            Kind::Mixture(keys) => Box::new(mixture::fit(keys, examples, seed, host)?),
        })
    }

    pub(crate) fn load(&self, state: &State) -> Result<Box<dyn Classifier>> {
        Ok(match self {
            Kind::Logistic(_) => Box::new(logistic::load(state)?),
            Kind::Mlp(_) => Box::new(mlp::load(state)?),
            Kind::Neighbours(_) => Box::new(k_nearest::load(state)?),
            Kind::Forest(_) => Box::new(forest::load(state)?),
            Kind::Boosting(_) => Box::new(boosting::load(state)?),
            Kind::Mixture(_) => Box::new(mixture::load(state)?),
        })
    }
}

/// `model`'s score of each token, on the `wanted` scale. Shapes: `tokens [m,width]` unit rows ->
/// `[m]`. Tokens are cut into units of a fixed size, and no token's score depends on another.
pub(crate) fn scores(
    model: &dyn Classifier,
    tokens: &[f32],
    wanted: Scale,
    host: &Host,
) -> Result<Vec<f64>> {
    if let Some(value) = tokens.iter().find(|value| !value.is_finite()) {
        return Err(Error::input(format!("wants finite tokens, but one holds `{value}`")));
    }
    let width = model.width().max(1);
    let mut scores = vec![0.0; tokens.len() / width];
    host.parallel_chunks(&mut scores, TOKENS, |i, out| {
        model.evaluate(&tokens[i * TOKENS * width..][..out.len() * width], out);
        match (model.scale(), wanted) {
            (Scale::Margin, Scale::Probability) => {
                out.iter_mut().for_each(|score| *score = numerics::sigmoid(*score));
            }
            (Scale::Probability, Scale::Margin) => out.iter_mut().for_each(|score| {
                let share = score.clamp(SHARE_FLOOR, 1.0 - SHARE_FLOOR);
                *score = numerics::ln(share / (1.0 - share));
            }),
            _ => {}
        }
    })?;
    Ok(scores)
}

/// What a classifier learns from: sentences of weight above 0, at least one of each label.
#[derive(Debug, Clone)]
pub(crate) struct Examples {
    /// Unit rows `[n,width]`.
    pub(crate) rows: Vec<f32>,
    pub(crate) width: usize,
    /// `[n]`.
    pub(crate) anomalous: Vec<bool>,
    /// `[n]`: how often a sentence counts.
    pub(crate) weights: Vec<f64>,
}

impl Examples {
    /// Errors: values or weights that are no numbers, negative weights, a label without sentences,
    /// too many sentences.
    pub(crate) fn new(
        embeddings: &[f32],
        width: usize,
        anomalous: &[bool],
        weights: &[f32],
    ) -> Result<Self> {
        let n = anomalous.len();
        if (width == 0 && n > 0)
            || embeddings.len() != n.saturating_mul(width)
            || weights.len() != n
        {
            let got = format!("{} values and {} weights", embeddings.len(), weights.len());
            return Err(Error::shape("text", format!("{n} rows and {n} weights"), got));
        }
        if !state::finite(embeddings) {
            return Err(Error::input("a sentence's embedding holds a value that is no number"));
        }
        if let Some(weight) = weights.iter().find(|weight| !(0.0..=f32::MAX).contains(*weight)) {
            return Err(Error::input(format!(
                "a sentence's weight is `{weight}`; it must be at least 0"
            )));
        }
        let kept = || (0..n).filter(|i| weights[*i] > 0.0);
        let examples = Examples {
            rows: kept().flat_map(|i| embeddings[i * width..][..width].iter().copied()).collect(),
            width,
            anomalous: kept().map(|i| anomalous[i]).collect(),
            weights: kept().map(|i| f64::from(weights[i])).collect(),
        };
        for (label, word) in [(false, "normal"), (true, "anomalous")] {
            if !examples.anomalous.contains(&label) {
                return Err(Error::input(format!(
                    "a text model wants sentences of both labels, but none of weight above 0 is \
                     {word}"
                )));
            }
        }
        if examples.len() > MAX_SENTENCES {
            return Err(Error::input(format!(
                "this text model learns from at most {MAX_SENTENCES} sentences, but got {}; \
                 `average`, `softmax` and `max` take any number",
                examples.len()
            )));
        }
        Ok(examples)
    }

    pub(crate) fn len(&self) -> usize {
        self.anomalous.len()
    }

    pub(crate) fn row(&self, i: usize) -> &[f32] {
        &self.rows[i * self.width..][..self.width]
    }

    /// 1 for anomalous.
    pub(crate) fn target(&self, i: usize) -> f64 {
        f64::from(u8::from(self.anomalous[i]))
    }

    /// `rows` by features: `[width,n]`.
    pub(crate) fn columns(&self) -> Vec<f32> {
        let n = self.len();
        let mut columns = vec![0.0; self.rows.len()];
        for (i, row) in self.rows.chunks_exact(self.width).enumerate() {
            row.iter().enumerate().for_each(|(feature, value)| columns[feature * n + i] = *value);
        }
        columns
    }
}

#[cfg(test)]
mod tests;
