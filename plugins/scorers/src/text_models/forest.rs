//! A random forest: trees grown to purity on bootstrap samples by the Gini impurity, each fork
//! seeing a random few of the features; the score is the mean of the leaves' shares. Source:
//! Breiman, Machine Learning 45, 2001, with the rules of scikit-learn. FADE calls it `rf`. A
//! sentence's weight multiplies its count where it was drawn.

use loupe_plugin::prelude::*;

use super::random::Random;
use super::state::{self, Arrays};
use super::trees::{Node, Trees};
use super::{Classifier, Examples, Scale};

/// Keys of model `random-forest`.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub struct ForestKeys {
    #[schema(min = 1, max = 10_000)]
    pub trees: usize,
}

impl Default for ForestKeys {
    fn default() -> Self {
        ForestKeys { trees: 100 }
    }
}

const SCHEMA: &str = "loupe.text-model.random-forest";
/// Values nearer than this are one, as in scikit-learn.
const SAME: f32 = 1e-7;

pub(super) struct Forest {
    trees: Trees,
}

impl Classifier for Forest {
    fn width(&self) -> usize {
        self.trees.width
    }

    fn scale(&self) -> Scale {
        Scale::Probability
    }

    fn evaluate(&self, tokens: &[f32], out: &mut [f64]) {
        let n_trees = self.trees.trees.len() as f64;
        for (share, token) in out.iter_mut().zip(tokens.chunks_exact(self.width())) {
            *share = self.trees.sum(token) / n_trees;
        }
    }

    fn state(&self) -> Result<State> {
        self.trees.write(StateWriter::new(SCHEMA, state::REVISION))?.finish()
    }
}

pub(super) fn load(state: &State) -> Result<Forest> {
    let trees = Trees::read(&Arrays::open(state, SCHEMA)?)?;
    match trees.trees.is_empty() {
        true => Err(Error::input("the state of a forest has no trees; fit it again")),
        false => Ok(Forest { trees }),
    }
}

/// Every tree draws from a stream of its own, so the forest does not depend on which thread grew
/// what.
pub(super) fn fit(
    keys: &ForestKeys,
    examples: &Examples,
    seed: u64,
    host: &Host,
) -> Result<Forest> {
    let columns = examples.columns();
    let trees = host.parallel_map(keys.trees, |tree| {
        host.stop_if_cancelled()?;
        Ok(Grower::new(examples, &columns, Random::new(seed, tree as u64)).grow())
    })?;
    let trees = trees.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(Forest { trees: Trees { width: examples.width, trees } })
}

/// One tree in the making.
struct Grower<'a> {
    examples: &'a Examples,
    /// `[width,n]`.
    columns: &'a [f32],
    random: Random,
    /// How often each sentence counts in this tree.
    counts: Vec<f64>,
    /// Features in the order of the last draw.
    features: Vec<u32>,
    /// Values of one feature with their sentences, sorted.
    sorted: Vec<(f32, u32)>,
}

/// The best fork so far of one node.
struct Fork {
    feature: u32,
    threshold: f32,
    purity: f64,
}

impl<'a> Grower<'a> {
    fn new(examples: &'a Examples, columns: &'a [f32], mut random: Random) -> Self {
        let mut counts = vec![0.0; examples.len()];
        for _ in 0..examples.len() {
            let i = random.below(examples.len());
            counts[i] += examples.weights[i];
        }
        let features = (0..examples.width as u32).collect();
        Grower { examples, columns, random, counts, features, sorted: Vec::new() }
    }

    fn grow(mut self) -> Vec<Node> {
        let drawn = (0..self.examples.len() as u32).filter(|i| self.counts[*i as usize] > 0.0);
        let mut nodes = vec![Node::default()];
        let mut open = vec![(0, drawn.collect::<Vec<u32>>())];
        while let Some((at, members)) = open.pop() {
            let [normal, anomalous] = self.totals(members.iter().copied());
            let pure = normal == 0.0 || anomalous == 0.0;
            let Some(fork) = (if pure { None } else { self.fork(&members) }) else {
                nodes[at] = Node::leaf((anomalous / (normal + anomalous)) as f32);
                continue;
            };
            let column = self.column(fork.feature);
            let goes_left = |i: &u32| column[*i as usize] <= fork.threshold;
            let (left, right): (Vec<u32>, Vec<u32>) = members.into_iter().partition(goes_left);
            let next = nodes.len();
            let (feature, threshold) = (fork.feature, fork.threshold);
            let (to_left, to_right) = (next as u32, next as u32 + 1);
            nodes[at] = Node { feature, threshold, left: to_left, right: to_right, value: 0.0 };
            nodes.extend([Node::default(); 2]);
            open.extend([(next + 1, right), (next, left)]);
        }
        nodes
    }

    /// The purest fork over as many features as the root of their number, not counting those in
    /// which the members do not differ. `None` if they differ in no feature.
    fn fork(&mut self, members: &[u32]) -> Option<Fork> {
        let wanted = (self.features.len() as f64).sqrt().max(1.0) as usize;
        let mut best: Option<Fork> = None;
        let mut seen = 0;
        for drawn in 0..self.features.len() {
            if seen == wanted {
                break;
            }
            let other = drawn + self.random.below(self.features.len() - drawn);
            self.features.swap(drawn, other);
            let feature = self.features[drawn];
            if self.sort(feature, members) {
                seen += 1;
                self.improve(&mut best, feature);
            }
        }
        best
    }

    /// False if all values are one.
    fn sort(&mut self, feature: u32, members: &[u32]) -> bool {
        let mut sorted = std::mem::take(&mut self.sorted);
        let column = self.column(feature);
        sorted.clear();
        sorted.extend(members.iter().map(|i| (column[*i as usize], *i)));
        sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let ends = (sorted.first().map(|a| a.0), sorted.last().map(|b| b.0));
        self.sorted = sorted;
        matches!(ends, (Some(low), Some(high)) if high > low + SAME)
    }

    /// Takes the purest cut of the sorted feature if it beats `best`.
    fn improve(&self, best: &mut Option<Fork>, feature: u32) {
        let mut left = [0.0; 2];
        let mut right = self.totals(self.sorted.iter().map(|pair| pair.1));
        for pair in self.sorted.windows(2) {
            let [(low, i), (high, _)] = [pair[0], pair[1]];
            let (i, label) = (i as usize, usize::from(self.examples.anomalous[i as usize]));
            left[label] += self.counts[i];
            right[label] -= self.counts[i];
            if high <= low + SAME {
                continue;
            }
            let purity = squares_over_sum(left) + squares_over_sum(right);
            if best.as_ref().is_none_or(|best| purity > best.purity) {
                let middle = low / 2.0 + high / 2.0;
                let threshold = if middle >= high { low } else { middle };
                *best = Some(Fork { feature, threshold, purity });
            }
        }
    }

    fn totals(&self, members: impl Iterator<Item = u32>) -> [f64; 2] {
        let mut totals = [0.0; 2];
        for i in members {
            let i = i as usize;
            totals[usize::from(self.examples.anomalous[i])] += self.counts[i];
        }
        totals
    }

    fn column(&self, feature: u32) -> &'a [f32] {
        let n = self.examples.len();
        &self.columns[feature as usize * n..][..n]
    }
}

/// The Gini impurity of a side falls as this rises.
fn squares_over_sum(side: [f64; 2]) -> f64 {
    (side[0] * side[0] + side[1] * side[1]) / (side[0] + side[1]).max(f64::MIN_POSITIVE)
}
