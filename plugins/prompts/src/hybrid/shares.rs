//! From a weight per source to a weight per sentence.

use loupe_plugin::prelude::*;

use super::config::Share;

/// Sets the weights of all sentences; `parts` are those of the sources, `weights` theirs.
///
/// By source: among the sources that have sentences of a label, each has the share of its weight,
/// divided evenly among its sentences of that label; both labels weigh the same in all, and the
/// mean weight is 1, as without weights. Where one label has no sentence at all, the other has
/// everything. By sentence: the source's weight as it is.
pub(crate) fn give_shares(share: Share, weights: &[f64], parts: &mut [Vec<Sentence>]) {
    if share == Share::Sentence {
        for (part, weight) in parts.iter_mut().zip(weights) {
            part.iter_mut().for_each(|sentence| sentence.weight = *weight as f32);
        }
        return;
    }
    let count = |part: &[Sentence], anomalous| {
        part.iter().filter(|sentence| sentence.anomalous == anomalous).count()
    };
    let n_all: usize = parts.iter().map(Vec::len).sum();
    let label_has = |anomalous| parts.iter().any(|part| count(part, anomalous) > 0);
    let n_labels = [false, true].into_iter().filter(|label| label_has(*label)).count().max(1);
    for anomalous in [false, true] {
        let counts: Vec<usize> = parts.iter().map(|part| count(part, anomalous)).collect();
        let present = weights.iter().zip(&counts).filter(|(_, n)| **n > 0);
        let total: f64 = present.map(|(weight, _)| weight).sum();
        for ((part, weight), n) in parts.iter_mut().zip(weights).zip(counts) {
            let of_one = n_all as f64 / n_labels as f64 * weight / total / n.max(1) as f64;
            let own = part.iter_mut().filter(|sentence| sentence.anomalous == anomalous);
            own.for_each(|sentence| sentence.weight = of_one as f32);
        }
    }
}
