//! Gradient boosting of the logistic loss on second-order gradients, with XGBoost's defaults:
//! histograms of at most 256 bins, trees grown level by level, no sampling, so nothing is random.
//! Source: Chen & Guestrin, arXiv:1603.02754, and the behaviour of XGBoost 3.2 (`tree_method =
//! "hist"`, base score = the share of anomalous sentences).

use loupe_plugin::prelude::*;

use super::numerics::{ln, sigmoid};
use super::state::{self, Arrays, write_f64s};
use super::trees::{Node, Trees};
use super::{Classifier, Examples, Scale};

mod bins;
mod split;

use bins::Bins;
use split::{Gradients, Sum};

/// Keys of model `gradient-boosting`. FADE calls it `xgboost`.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub struct BoostingKeys {
    /// Trees.
    #[schema(min = 1, max = 10_000)]
    pub rounds: usize,
    /// Multiplies every tree (`eta`).
    #[schema(above = 0.0, max = 1.0)]
    pub learning_rate: f32,
    /// Forks between root and leaf.
    #[schema(min = 1, max = 16)]
    pub depth: usize,
    /// L2 penalty on a leaf's value.
    #[schema(min = 0.0, max = 1e9)]
    pub lambda: f64,
    /// Least sum of second derivatives in a leaf.
    #[schema(min = 0.0, max = 1e9)]
    pub min_child_weight: f64,
    /// Most bins of a feature.
    #[schema(min = 2, max = 256)]
    pub bins: usize,
}

impl Default for BoostingKeys {
    fn default() -> Self {
        BoostingKeys {
            rounds: 100,
            learning_rate: 0.3,
            depth: 6,
            lambda: 1.0,
            min_child_weight: 1.0,
            bins: 256,
        }
    }
}

const SCHEMA: &str = "loupe.text-model.gradient-boosting";

pub(super) struct Boosting {
    trees: Trees,
    /// Added to every margin.
    base: f64,
}

impl Classifier for Boosting {
    fn width(&self) -> usize {
        self.trees.width
    }

    fn scale(&self) -> Scale {
        Scale::Margin
    }

    fn evaluate(&self, tokens: &[f32], out: &mut [f64]) {
        for (margin, token) in out.iter_mut().zip(tokens.chunks_exact(self.width())) {
            *margin = self.base + self.trees.sum(token);
        }
    }

    fn state(&self) -> Result<State> {
        let writer = self.trees.write(StateWriter::new(SCHEMA, state::REVISION))?;
        write_f64s(writer, "base", [1], &[self.base])?.finish()
    }
}

pub(super) fn load(state: &State) -> Result<Boosting> {
    let arrays = Arrays::open(state, SCHEMA)?;
    Ok(Boosting { trees: Trees::read(&arrays)?, base: arrays.f64s("base", &[1])?[0] })
}

/// A weight multiplies a sentence's gradients.
pub(super) fn fit(keys: &BoostingKeys, examples: &Examples, host: &Host) -> Result<Boosting> {
    let bins = Bins::new(examples, keys.bins);
    let total: f64 = examples.weights.iter().sum();
    let anomalous: f64 =
        (0..examples.len()).map(|i| examples.weights[i] * examples.target(i)).sum();
    let share = (anomalous / total).clamp(1e-6, 1.0 - 1e-6);
    let base = ln(share / (1.0 - share));
    let mut margins = vec![base as f32; examples.len()];
    let mut trees = Vec::with_capacity(keys.rounds);
    for _ in 0..keys.rounds {
        host.stop_if_cancelled()?;
        let gradients = gradients(examples, &margins);
        let grower = Grower { keys, bins: &bins, gradients: &gradients, host };
        trees.push(grower.grow(&mut margins)?);
    }
    Ok(Boosting { trees: Trees { width: examples.width, trees }, base })
}

/// First and second derivatives of each sentence's loss, rounded to f32 as XGBoost keeps them.
fn gradients(examples: &Examples, margins: &[f32]) -> Gradients {
    let each = margins.iter().enumerate().map(|(i, margin)| {
        let p = sigmoid(f64::from(*margin)) as f32;
        let (target, weight) = (examples.target(i) as f32, examples.weights[i] as f32);
        [(p - target) * weight, (p * (1.0 - p)).max(1e-16) * weight]
    });
    Gradients(each.collect())
}

/// One tree in the making.
struct Grower<'a> {
    keys: &'a BoostingKeys,
    bins: &'a Bins,
    gradients: &'a Gradients,
    host: &'a Host,
}

/// A node that may yet be split.
struct Open {
    at: usize,
    depth: usize,
    members: Vec<u32>,
}

impl Grower<'_> {
    /// Adds the new tree's values to the sentences' margins.
    fn grow(&self, margins: &mut [f32]) -> Result<Vec<Node>> {
        let mut nodes = vec![Node::default()];
        let members = (0..margins.len() as u32).collect();
        let mut open = std::collections::VecDeque::from([Open { at: 0, depth: 0, members }]);
        while let Some(Open { at, depth, members }) = open.pop_front() {
            let sum = self.gradients.sum(&members);
            let split = match depth < self.keys.depth {
                true => {
                    split::best(self.keys, self.bins, self.gradients, &members, sum, self.host)?
                }
                false => None,
            };
            let Some(split) = split else {
                let value = self.leaf(sum);
                members.iter().for_each(|i| margins[*i as usize] += value);
                nodes[at] = Node::leaf(value);
                continue;
            };
            let codes = self.bins.codes(split.feature);
            let (left, right): (Vec<u32>, Vec<u32>) =
                members.into_iter().partition(|i| usize::from(codes[*i as usize]) <= split.bin);
            let next = nodes.len();
            nodes[at] = Node {
                feature: split.feature as u32,
                // XGBoost sends values below the cut left, and forks here send those up to the
                // threshold.
                threshold: self.bins.cut(split.feature, split.bin).next_down(),
                left: next as u32,
                right: next as u32 + 1,
                value: 0.0,
            };
            nodes.extend([Node::default(); 2]);
            open.push_back(Open { at: next, depth: depth + 1, members: left });
            open.push_back(Open { at: next + 1, depth: depth + 1, members: right });
        }
        Ok(nodes)
    }

    fn leaf(&self, sum: Sum) -> f32 {
        let weight = -sum.gradient / (sum.curvature + self.keys.lambda);
        weight as f32 * self.keys.learning_rate
    }
}
