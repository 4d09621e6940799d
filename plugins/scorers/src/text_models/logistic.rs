//! Logistic regression with an L2 penalty, the optimum of liblinear's objective `|w|^2 / 2 + b^2 /
//! 2 + C sum_i weight_i ln(1 + exp(-y_i (w x_i + b)))`: the intercept is penalised too. Source: Fan
//! et al., "LIBLINEAR", JMLR 2008. FADE calls it `lr`.

use loupe_plugin::prelude::*;

use super::numerics::{add_scaled, dot, sigmoid, softplus};
use super::state::{self, Arrays, write_f64s};
use super::{Classifier, Examples, Scale};

/// Keys of model `logistic-regression`.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub struct LogisticKeys {
    /// Weight of the sentences against the penalty.
    #[schema(above = 0.0, max = 1e6)]
    pub c: f64,
}

impl Default for LogisticKeys {
    fn default() -> Self {
        LogisticKeys { c: 1.0 }
    }
}

const SCHEMA: &str = "loupe.text-model.logistic-regression";
const MAX_STEPS: usize = 100;
const MAX_INNER_STEPS: usize = 2000;
const MAX_HALVINGS: usize = 40;
/// Rounding of the objective, as a share of it: near the optimum a good step gains less.
const NOISE: f64 = 1e-12;
/// The gradient's length at the optimum, as a share of that at the start.
const TOLERANCE: f64 = 1e-10;

pub(super) struct Logistic {
    coefficients: Vec<f64>,
    intercept: f64,
}

impl Classifier for Logistic {
    fn width(&self) -> usize {
        self.coefficients.len()
    }

    fn scale(&self) -> Scale {
        Scale::Margin
    }

    fn evaluate(&self, tokens: &[f32], out: &mut [f64]) {
        let mut token = vec![0.0; self.width()];
        for (margin, values) in out.iter_mut().zip(tokens.chunks_exact(self.width())) {
            token.iter_mut().zip(values).for_each(|(to, value)| *to = f64::from(*value));
            *margin = dot(&self.coefficients, &token) + self.intercept;
        }
    }

    fn state(&self) -> Result<State> {
        let writer = StateWriter::new(SCHEMA, state::REVISION);
        let writer = write_f64s(writer, "coefficients", [self.width()], &self.coefficients)?;
        write_f64s(writer, "intercept", [1], &[self.intercept])?.finish()
    }
}

pub(super) fn load(state: &State) -> Result<Logistic> {
    let arrays = Arrays::open(state, SCHEMA)?;
    let [width] = arrays.dims("coefficients")?;
    let coefficients = arrays.f64s("coefficients", &[width])?;
    Ok(Logistic { coefficients, intercept: arrays.f64s("intercept", &[1])?[0] })
}

/// Newton's method with conjugate gradients inside and a halved step where the objective does not
/// fall.
pub(super) fn fit(keys: &LogisticKeys, examples: &Examples, host: &Host) -> Result<Logistic> {
    let problem = Problem::new(keys.c, examples);
    let mut at = vec![0.0; problem.width];
    let (mut value, mut margins) = problem.value(&at);
    let mut gradient = problem.gradient(&at, &margins);
    let wanted = TOLERANCE * norm(&gradient);
    for _ in 0..MAX_STEPS {
        if norm(&gradient) <= wanted {
            break;
        }
        host.stop_if_cancelled()?;
        let curvature = problem.curvature(&margins);
        let step = problem.newton_step(&gradient, &curvature);
        let slope = dot(&gradient, &step);
        let lengths = std::iter::successors(Some(1.0), |length: &f64| Some(length / 2.0));
        let better = lengths.take(MAX_HALVINGS).find_map(|length| {
            let mut next = at.clone();
            add_scaled(&mut next, length, &step);
            let (next_value, next_margins) = problem.value(&next);
            let falls = next_value <= value + 1e-4 * length * slope + NOISE * value;
            falls.then_some((next, next_value, next_margins))
        });
        // Not even a tiny step: this is the optimum.
        let Some(better) = better else { break };
        (at, value, margins) = better;
        gradient = problem.gradient(&at, &margins);
    }
    let intercept = at.pop().unwrap_or(0.0);
    Ok(Logistic { coefficients: at, intercept })
}

/// The objective over `[w, b]`: rows get a last value of 1.
struct Problem {
    rows: Vec<f64>,
    width: usize,
    /// 1 for anomalous, -1 for normal.
    signs: Vec<f64>,
    /// C times each sentence's weight.
    costs: Vec<f64>,
}

impl Problem {
    fn new(c: f64, examples: &Examples) -> Self {
        let with_one = |row: &[f32]| -> Vec<f64> {
            row.iter().map(|value| f64::from(*value)).chain([1.0]).collect()
        };
        Problem {
            rows: (0..examples.len()).flat_map(|i| with_one(examples.row(i))).collect(),
            width: examples.width + 1,
            signs: (0..examples.len()).map(|i| 2.0 * examples.target(i) - 1.0).collect(),
            costs: examples.weights.iter().map(|weight| c * weight).collect(),
        }
    }

    fn products(&self, with: &[f64]) -> Vec<f64> {
        self.rows.chunks_exact(self.width).map(|row| dot(row, with)).collect()
    }

    /// `start` plus the rows, each times its factor.
    fn combination(&self, start: &[f64], factors: &[f64]) -> Vec<f64> {
        let mut sum = start.to_vec();
        for (row, factor) in self.rows.chunks_exact(self.width).zip(factors) {
            add_scaled(&mut sum, *factor, row);
        }
        sum
    }

    /// The objective, and each sentence's signed margin.
    fn value(&self, at: &[f64]) -> (f64, Vec<f64>) {
        let products = self.products(at);
        let margins: Vec<f64> = products.iter().zip(&self.signs).map(|(z, y)| z * y).collect();
        let losses = margins.iter().zip(&self.costs).map(|(z, cost)| cost * softplus(-z));
        (0.5 * dot(at, at) + losses.sum::<f64>(), margins)
    }

    fn gradient(&self, at: &[f64], margins: &[f64]) -> Vec<f64> {
        let each = margins.iter().zip(&self.signs).zip(&self.costs);
        let factors: Vec<f64> = each.map(|((z, y), cost)| -cost * y * sigmoid(-z)).collect();
        self.combination(at, &factors)
    }

    fn curvature(&self, margins: &[f64]) -> Vec<f64> {
        let each = margins.iter().zip(&self.costs);
        each.map(|(z, cost)| cost * sigmoid(*z) * sigmoid(-z)).collect()
    }

    /// Solves `(I + X' diag(curvature) X) step = -gradient` by conjugate gradients, to a millionth
    /// of the gradient: each step near the optimum then takes off about as much.
    fn newton_step(&self, gradient: &[f64], curvature: &[f64]) -> Vec<f64> {
        let mut step = vec![0.0; self.width];
        let mut rest: Vec<f64> = gradient.iter().map(|value| -value).collect();
        let mut direction = rest.clone();
        let mut square = dot(&rest, &rest);
        let wanted = square * 1e-12;
        for _ in 0..MAX_INNER_STEPS {
            if square <= wanted || square == 0.0 {
                break;
            }
            let mut factors = self.products(&direction);
            factors.iter_mut().zip(curvature).for_each(|(factor, bend)| *factor *= bend);
            let image = self.combination(&direction, &factors);
            let length = square / dot(&direction, &image);
            add_scaled(&mut step, length, &direction);
            add_scaled(&mut rest, -length, &image);
            let next = dot(&rest, &rest);
            let keep = next / square;
            direction.iter_mut().zip(&rest).for_each(|(d, r)| *d = r + keep * *d);
            square = next;
        }
        step
    }
}

fn norm(values: &[f64]) -> f64 {
    dot(values, values).sqrt()
}
