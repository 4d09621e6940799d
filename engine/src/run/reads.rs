//! Which outputs of which stages anybody reads: a component is asked for those and makes nothing else.

use crate::pipeline::model::{Label, Pipeline, Select, ValueRef};

/// For each stage, every output that is read, with the labels that the reader selects.
pub(super) struct Reads {
    by_stage: Vec<Vec<(String, Select)>>,
}

impl Reads {
    pub(super) fn of(pipeline: &Pipeline) -> Reads {
        let mut by_stage = vec![Vec::new(); pipeline.stages.len()];
        let inputs = pipeline.stages.iter().flat_map(|stage| &stage.inputs);
        let wired = inputs.flat_map(|input| &input.values);
        let shown = [&pipeline.output.anomaly_map, &pipeline.output.anomaly_score];
        for value in wired.chain(shown.into_iter().flatten()) {
            if let Some(reads) = by_stage.get_mut(value.stage) {
                reads.push((value.output.clone(), value.select.clone()));
            }
        }
        Reads { by_stage }
    }

    /// Names of the outputs of `stage` that somebody reads at `label`, each once, in a stable order.
    pub(super) fn at(&self, stage: usize, label: Label) -> Vec<String> {
        let mut outputs: Vec<String> = self
            .by_stage
            .get(stage)
            .into_iter()
            .flatten()
            .filter(|(_, select)| selects(select, label))
            .map(|(output, _)| output.clone())
            .collect();
        outputs.sort();
        outputs.dedup();
        outputs
    }
}

/// Whether a selector takes a tensor of this label.
pub(super) fn selects(select: &Select, label: Label) -> bool {
    let takes = |wanted: &Option<Vec<u32>>, got: Option<u32>| match (wanted, got) {
        (None, _) => true,
        (Some(wanted), Some(got)) => wanted.contains(&got),
        (Some(_), None) => false,
    };
    takes(&select.sizes, label.size) && takes(&select.taps, label.tap)
}

/// The tensors of a value that a reference takes, in the order in which the selector names them.
pub(super) fn select(reference: &ValueRef, labels: &[Label]) -> Vec<Label> {
    let mut taken: Vec<Label> =
        labels.iter().copied().filter(|label| selects(&reference.select, *label)).collect();
    if let Some(sizes) = &reference.select.sizes {
        let place = |label: &Label| sizes.iter().position(|size| Some(*size) == label.size);
        taken.sort_by_key(place);
    }
    taken
}
