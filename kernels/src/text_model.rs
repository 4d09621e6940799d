//! P(anomalous) of image tokens from embedded sentences.
//!
//! All three rules end in a two-way softmax, so each is a **margin** `z_anomalous - z_normal` and
//! P = 1 / (1 + exp(-margin)); the margin keeps its resolution where P saturates.

use crate::approx::exp_of_negative;
use crate::error::{KernelError, check_finite};
use crate::matmul::product_of_rows;
use crate::parallel::{ParallelFor, for_each_chunk};
use crate::unit_rows::norm;

/// Tokens of one product.
const TOKENS: usize = 64;
/// Tokens that are near while a label has one sentence, or one mean.
const FEW: usize = 8;
/// Products below which a thread's waking costs more than it saves.
const LEAST_PRODUCTS: usize = 1 << 20;

const OP: &str = "TextModel::margins";

/// How the sentences of one label become one logit. `x` is a token at length 1, `t` a unit sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextRule {
    /// `scale * x . mean(t)`; with `renormalize` the mean is scaled to length 1 first (FADE does
    /// not).
    Average { renormalize: bool },
    /// Log of the sum of `exp(scale * x . t)`: a softmax over all sentences, summed per label.
    Softmax,
    /// The largest `scale * x . t`.
    Max,
}

/// A fitted text model. Fields are public so that a component can write them to its state and back;
/// `margins` checks them. A weight counts a sentence as if it stood there that often; 0 removes it.
#[derive(Debug, Clone, PartialEq)]
pub struct TextModel {
    pub rule: TextRule,
    pub width: usize,
    /// Per label (normal, anomalous) its sentences, or their one mean: `[n,width]`, row-major, f64.
    pub sentences: [Vec<f64>; 2],
    /// Natural logarithm of each sentence's weight: `[n]`.
    pub log_weights: [Vec<f64>; 2],
}

impl TextModel {
    /// Shapes: `embeddings [n,width]` unit rows; `anomalous [n]` says which label; `weights [n]`,
    /// each at least 0, or empty for all 1. Means are summed in f64, as FADE does after encoding.
    /// Errors: `Shape`, `Empty` (width, a label with no sentence of weight above 0), `NotFinite`,
    /// `Range`.
    pub fn fit(
        rule: TextRule,
        embeddings: &[f32],
        anomalous: &[bool],
        weights: &[f64],
        width: usize,
    ) -> Result<Self, KernelError> {
        const OP: &str = "TextModel::fit";
        let n = anomalous.len();
        let sized = |input, got: usize, want: usize| match got == want {
            true => Ok(()),
            false => {
                let (want, got) = (format!("{want} values"), got.to_string());
                Err(KernelError::Shape { op: OP, input, want, got })
            }
        };
        if width == 0 {
            return Err(KernelError::Empty { op: OP, input: "width" });
        }
        sized("embeddings", embeddings.len(), n.saturating_mul(width))?;
        sized("weights", weights.len(), if weights.is_empty() { 0 } else { n })?;
        check_finite(OP, "embeddings", embeddings)?;
        if let Some(got) = weights.iter().copied().find(|w| !(0.0..=f64::MAX).contains(w)) {
            return Err(KernelError::Range { op: OP, key: "weights", want: "at least 0", got });
        }
        let (mut sentences, mut label_weights) = ([vec![], vec![]], [vec![], vec![]]);
        for (i, row) in embeddings.chunks_exact(width).enumerate() {
            let weight = weights.get(i).copied().unwrap_or(1.0);
            if weight > 0.0 {
                let label = usize::from(anomalous[i]);
                sentences[label].extend(row.iter().map(|v| f64::from(*v)));
                label_weights[label].push(weight);
            }
        }
        for (label, input) in ["normal sentences", "anomalous sentences"].into_iter().enumerate() {
            if label_weights[label].is_empty() {
                return Err(KernelError::Empty { op: OP, input });
            }
        }
        if let TextRule::Average { renormalize } = rule {
            for label in 0..2 {
                let mean = mean_row(&sentences[label], &label_weights[label], width, renormalize);
                (sentences[label], label_weights[label]) = (mean, vec![1.0]);
            }
        }
        let log_weights = label_weights.map(|w| w.into_iter().map(f64::ln).collect());
        Ok(TextModel { rule, width, sentences, log_weights })
    }

    /// Margin of each token, which is brought to length 1 first, as by `unit_rows`. Shapes:
    /// `tokens [m,width]` -> `[m]`; f64 sums over tokens scaled in f32, as in FADE, whose `scale` is 100.
    /// Errors: `Shape`, `Empty`, `NotFinite`, `Range` (scale).
    pub fn margins(
        &self,
        tokens: &[f32],
        scale: f32,
        par: ParallelFor,
    ) -> Result<Vec<f64>, KernelError> {
        self.check(tokens, scale)?;
        let n_products = TOKENS * self.sentences.iter().map(Vec::len).sum::<usize>();
        let n_tokens = TOKENS * LEAST_PRODUCTS.div_ceil(n_products.max(1));
        let mut margins = vec![0.0_f64; tokens.len() / self.width];
        for_each_chunk(&mut margins, n_tokens, par, |i, out| {
            let tokens = &tokens[i * n_tokens * self.width..][..out.len() * self.width];
            match self.log_weights.iter().all(|weights| weights.len() == 1) {
                true => self.singles(tokens, scale, out),
                false => self.products(tokens, scale, out),
            }
        });
        // What is not finite in a token is not finite in its margin.
        if margins.iter().any(|margin| !margin.is_finite()) {
            check_finite(OP, "tokens", tokens)?;
        }
        Ok(margins)
    }

    /// P(anomalous) of each token, 0..=1: the sigmoid of `margins`, with its shapes and errors.
    pub fn probabilities(
        &self,
        tokens: &[f32],
        scale: f32,
        par: ParallelFor,
    ) -> Result<Vec<f64>, KernelError> {
        let margins = self.margins(tokens, scale, par)?;
        Ok(margins.into_iter().map(|margin| 1.0 / (1.0 + (-margin).exp())).collect())
    }

    /// Margins where each label has one sentence, or one mean: few tokens at a time, so that they stay near.
    fn singles(&self, tokens: &[f32], scale: f32, out: &mut [f64]) {
        let [normal, anomalous] = self.sentences.each_ref();
        let more = [0, 1].map(|label| self.single_weight(label));
        let mut scaled = vec![0.0_f64; FEW * self.width];
        for (out, tokens) in out.chunks_mut(FEW).zip(tokens.chunks(FEW * self.width)) {
            put_scaled(&mut scaled, tokens, self.width, scale);
            put_margins(out, &scaled, [normal, anomalous], more);
        }
    }

    /// What the weight of a label's one sentence adds to its logit.
    fn single_weight(&self, label: usize) -> f64 {
        match self.rule {
            TextRule::Average { .. } | TextRule::Max => 0.0,
            TextRule::Softmax => self.log_weights[label].iter().sum(),
        }
    }

    /// Margins of any number of sentences: a product for each `TOKENS`.
    fn products(&self, tokens: &[f32], scale: f32, out: &mut [f64]) {
        let width = self.width;
        for (out, tokens) in out.chunks_mut(TOKENS).zip(tokens.chunks(TOKENS * width)) {
            // What is short is filled up with zeros: the bytes of a product's row may depend on how
            // many rows there are.
            let mut scaled = vec![0.0_f64; TOKENS * width];
            put_scaled(&mut scaled, tokens, width, scale);
            let [normal, anomalous] = [0, 1].map(|label| self.logits(label, &scaled));
            for (margin, (normal, anomalous)) in out.iter_mut().zip(normal.iter().zip(anomalous)) {
                *margin = anomalous - normal;
            }
        }
    }

    /// One logit of a label for each token: the sentences' by one product, then as the rule has it.
    fn logits(&self, label: usize, scaled: &[f64]) -> Vec<f64> {
        let (sentences, log_weights) = (&self.sentences[label], &self.log_weights[label]);
        let mut logits = vec![0.0; scaled.len() / self.width];
        if log_weights.len() == 1 {
            put_dots(&mut logits, scaled, sentences, self.single_weight(label));
            return logits;
        }
        let mut of_sentences = vec![0.0; logits.len() * log_weights.len()];
        product_of_rows(scaled, sentences, self.width, &mut of_sentences);
        match self.rule {
            TextRule::Average { .. } | TextRule::Max => put_largest(&mut logits, &of_sentences),
            TextRule::Softmax => put_log_sums(&mut logits, &mut of_sentences, log_weights),
        }
        logits
    }

    fn check(&self, tokens: &[f32], scale: f32) -> Result<(), KernelError> {
        let width = self.width;
        for (sentences, weights) in self.sentences.iter().zip(&self.log_weights) {
            if width == 0 || weights.is_empty() {
                return Err(KernelError::Empty { op: OP, input: "sentences" });
            }
            if Some(sentences.len()) != weights.len().checked_mul(width) {
                let want = format!("{} rows of {width} values", weights.len());
                let got = sentences.len().to_string();
                return Err(KernelError::Shape { op: OP, input: "sentences", want, got });
            }
        }
        if !tokens.len().is_multiple_of(width) {
            let (want, got) = (format!("whole rows of {width} values"), tokens.len().to_string());
            return Err(KernelError::Shape { op: OP, input: "tokens", want, got });
        }
        if !(scale.is_finite() && scale > 0.0) {
            let got = f64::from(scale);
            return Err(KernelError::Range { op: OP, key: "scale", want: "above 0", got });
        }
        Ok(())
    }
}

fn mean_row(rows: &[f64], weights: &[f64], width: usize, renormalize: bool) -> Vec<f64> {
    let mut mean = vec![0.0_f64; width];
    for (row, weight) in rows.chunks_exact(width).zip(weights) {
        mean.iter_mut().zip(row).for_each(|(sum, v)| *sum += weight * v);
    }
    let total: f64 = weights.iter().sum();
    mean.iter_mut().for_each(|v| *v /= total);
    if renormalize {
        let norm = mean.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-12);
        mean.iter_mut().for_each(|v| *v /= norm);
    }
    mean
}

vectorised! {
    /// Rows at length 1, times `scale`, in f32 as `unit_rows` has them.
    fn put_scaled(scaled: &mut [f64], rows: &[f32], width: usize, scale: f32) {
        for (scaled, row) in scaled.chunks_exact_mut(width).zip(rows.chunks_exact(width)) {
            let norm = norm(row);
            for (scaled, value) in scaled.iter_mut().zip(row) {
                *scaled = f64::from(scale * (value / norm));
            }
        }
    }
}

vectorised! {
    /// Of each token with the two sentences; `more` is added to their logits.
    fn put_margins(margins: &mut [f64], tokens: &[f64], sentences: [&[f64]; 2], more: [f64; 2]) {
        for (margin, token) in margins.iter_mut().zip(tokens.chunks_exact(sentences[0].len())) {
            let anomalous = dot(token, sentences[1]) + more[1];
            *margin = anomalous - (dot(token, sentences[0]) + more[0]);
        }
    }
}

vectorised! {
    /// Of each token with the one sentence; `more` is added.
    fn put_dots(logits: &mut [f64], tokens: &[f64], sentence: &[f64], more: f64) {
        for (logit, token) in logits.iter_mut().zip(tokens.chunks_exact(sentence.len())) {
            *logit = dot(token, sentence) + more;
        }
    }
}

vectorised! {
    fn put_largest(logits: &mut [f64], of_sentences: &[f64]) {
        let n_sentences = of_sentences.len() / logits.len().max(1);
        for (logit, line) in logits.iter_mut().zip(of_sentences.chunks_exact(n_sentences)) {
            *logit = largest(line);
        }
    }
}

vectorised! {
    fn put_log_sums(logits: &mut [f64], of_sentences: &mut [f64], log_weights: &[f64]) {
        let lines = of_sentences.chunks_exact_mut(log_weights.len());
        logits.iter_mut().zip(lines).for_each(|(logit, line)| *logit = log_sum(line, log_weights));
    }
}

/// Eight running sums: wide enough to vectorise, and a fixed order.
#[inline(always)]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0_f64; 8];
    let ((a_vectors, a_rest), (b_vectors, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a_vectors.iter().zip(b_vectors) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f64>() + rest
}

#[inline(always)]
fn largest(line: &[f64]) -> f64 {
    let mut lanes = [f64::NEG_INFINITY; 8];
    let (vectors, rest) = line.as_chunks::<8>();
    for vector in vectors {
        for (lane, value) in lanes.iter_mut().zip(vector) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    lanes.iter().chain(rest).copied().fold(f64::NEG_INFINITY, f64::max)
}

/// Logarithm of the sum of weighted exponentials. These are taken in f32, of what lies below the largest:
/// an error of 2e-7 at most, as large as that of the logits' rounding to f32.
#[inline(always)]
fn log_sum(line: &mut [f64], log_weights: &[f64]) -> f64 {
    line.iter_mut().zip(log_weights).for_each(|(logit, weight)| *logit += weight);
    let largest = largest(line);
    let mut lanes = [0.0_f64; 8];
    let (vectors, rest) = line.as_chunks::<8>();
    for vector in vectors {
        for (lane, logit) in lanes.iter_mut().zip(vector) {
            *lane += f64::from(exp_of_negative((logit - largest) as f32));
        }
    }
    let rest = rest.iter().map(|logit| f64::from(exp_of_negative((logit - largest) as f32)));
    largest + (lanes.iter().sum::<f64>() + rest.sum::<f64>()).ln()
}

#[cfg(test)]
mod tests;
