//! A perceptron with one hidden layer of rectified units; `mlp_train` teaches it. FADE calls it
//! `mlp`.

use loupe_plugin::prelude::*;

use super::matrix::Packed;
use super::state::{self, Arrays};
use super::{Classifier, Scale};

/// Keys of model `mlp`.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub struct MlpKeys {
    /// Hidden units.
    #[schema(min = 1, max = 10_000)]
    pub hidden: usize,
    /// Adam's step.
    #[schema(above = 0.0, max = 1.0)]
    pub learning_rate: f32,
    /// L2 penalty on the connections.
    #[schema(min = 0.0, max = 1e6)]
    pub alpha: f32,
    /// Sentences of a step.
    #[schema(min = 1)]
    pub batch: usize,
    /// Most passes over the sentences.
    #[schema(min = 1, max = 10_000)]
    pub epochs: usize,
    /// Share of each label's sentences that is held back to tell when to stop; with 0 every epoch
    /// is run.
    #[schema(min = 0.0, max = 0.9)]
    pub validation: f64,
    /// Epochs without a better accuracy on what is held back before it stops; the best epoch is
    /// kept.
    #[schema(min = 1)]
    pub patience: usize,
}

impl Default for MlpKeys {
    fn default() -> Self {
        MlpKeys {
            hidden: 640,
            learning_rate: 1e-3,
            alpha: 1e-4,
            batch: 200,
            epochs: 200,
            validation: 0.1,
            patience: 10,
        }
    }
}

const SCHEMA: &str = "loupe.text-model.mlp";

/// All weights in one list: `into_hidden [hidden,width]`, `hidden_biases [hidden]`, `out_of_hidden
/// [hidden]`, `output_bias`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Weights {
    pub(super) width: usize,
    pub(super) hidden: usize,
    pub(super) values: Vec<f32>,
}

/// The list by its parts.
pub(super) struct Parts<'a> {
    pub(super) into_hidden: &'a [f32],
    pub(super) hidden_biases: &'a [f32],
    pub(super) out_of_hidden: &'a [f32],
    pub(super) output_bias: f32,
}

impl Weights {
    pub(super) fn parts(&self) -> Parts<'_> {
        let (into_hidden, rest) = self.values.split_at(self.width * self.hidden);
        let (hidden_biases, rest) = rest.split_at(self.hidden);
        let (out_of_hidden, last) = rest.split_at(self.hidden);
        Parts { into_hidden, hidden_biases, out_of_hidden, output_bias: last[0] }
    }
}

pub(super) struct Mlp {
    weights: Weights,
    packed: Packed<f32>,
}

impl Mlp {
    pub(super) fn new(weights: Weights) -> Self {
        let packed = Packed::of_rows(weights.parts().into_hidden, weights.width);
        Mlp { weights, packed }
    }

    /// The hidden layer of each row. Shapes: `rows [m,width]` -> `hidden [m,hidden]`.
    pub(super) fn hidden(&self, rows: &[f32], hidden: &mut [f32]) {
        self.packed.multiply(rows, hidden);
        let biases = self.weights.parts().hidden_biases;
        for units in hidden.chunks_exact_mut(biases.len()) {
            units.iter_mut().zip(biases).for_each(|(unit, bias)| *unit = (*unit + bias).max(0.0));
        }
    }

    /// The margin of each row's hidden layer.
    pub(super) fn margins<'a>(&'a self, hidden: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
        let Parts { out_of_hidden, output_bias, .. } = self.weights.parts();
        hidden.chunks_exact(out_of_hidden.len()).map(move |units| {
            let each = units.iter().zip(out_of_hidden);
            let sum: f64 = each.map(|(unit, weight)| f64::from(*unit) * f64::from(*weight)).sum();
            sum + f64::from(output_bias)
        })
    }
}

impl Classifier for Mlp {
    fn width(&self) -> usize {
        self.weights.width
    }

    fn scale(&self) -> Scale {
        Scale::Margin
    }

    fn evaluate(&self, tokens: &[f32], out: &mut [f64]) {
        let mut hidden = vec![0.0; out.len() * self.weights.hidden];
        self.hidden(tokens, &mut hidden);
        out.iter_mut().zip(self.margins(&hidden)).for_each(|(margin, value)| *margin = value);
    }

    fn state(&self) -> Result<State> {
        let Weights { width, hidden, ref values } = self.weights;
        if !state::finite(values) {
            return Err(Error::failed(
                "the fit of model `mlp` did not converge; lower `mlp.learning_rate`",
            ));
        }
        let parts = self.weights.parts();
        StateWriter::new(SCHEMA, state::REVISION)
            .f32s("into_hidden", [hidden, width], parts.into_hidden)?
            .f32s("hidden_biases", [hidden], parts.hidden_biases)?
            .f32s("out_of_hidden", [hidden], parts.out_of_hidden)?
            .f32s("output_bias", [1], &[parts.output_bias])?
            .finish()
    }
}

pub(super) fn load(state: &State) -> Result<Mlp> {
    let arrays = Arrays::open(state, SCHEMA)?;
    let [hidden, width] = arrays.dims("into_hidden")?;
    if hidden == 0 || width == 0 {
        return Err(arrays.damaged("into_hidden"));
    }
    let mut values = arrays.f32s("into_hidden", &[hidden, width])?;
    values.extend(arrays.f32s("hidden_biases", &[hidden])?);
    values.extend(arrays.f32s("out_of_hidden", &[hidden])?);
    values.extend(arrays.f32s("output_bias", &[1])?);
    Ok(Mlp::new(Weights { width, hidden, values }))
}
