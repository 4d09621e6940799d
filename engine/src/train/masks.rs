//! What the masks of anomalous references allow to be learned.

use super::{All, TrainError};
use crate::pipeline::TOKENS;
use crate::pipeline::model::{HeadLosses, Loss, Pipeline, Train};
use crate::run::ClassImages;

/// A class has masks or it has none: one missing mask would take those of the others with it.
/// Errors: `HalfMasked`, where a head learns from masks.
pub(super) fn all_or_none(class: &ClassImages, train: &Train) -> Result<(), TrainError> {
    let wants = |losses: &&HeadLosses| losses.of.iter().any(wants_mask);
    let heads: Vec<&str> =
        train.losses.iter().filter(wants).map(|losses| losses.head.as_str()).collect();
    let references = &class.anomalous_references;
    let mut without = references.iter().filter(|reference| reference.mask.is_none());
    match without.next() {
        Some(first) if !heads.is_empty() => {
            let n_without = 1 + without.count();
            if n_without == references.len() {
                return Ok(());
            }
            Err(TrainError::HalfMasked {
                heads: heads.join("`, `"),
                class: class.name.clone(),
                image: first.image.name.clone(),
                n_without,
                n: references.len(),
            })
        }
        _ => Ok(()),
    }
}

/// What to say of heads that learn from masks alone, where there is none.
pub(super) fn idle(pipeline: &Pipeline, train: &Train, samples: &All) -> Vec<String> {
    if samples.learned.iter().any(|(sample, _)| sample.mask.is_some()) {
        return Vec::new();
    }
    let is_idle = |losses: &&HeadLosses| losses.of.iter().all(wants_mask);
    let said = |losses: &HeadLosses| {
        let head = &losses.head;
        let tokens = format!("{head}{TOKENS}");
        let message = format!("no anomalous reference has a mask: head `{head}` learns nothing");
        let stage = &pipeline.stages[train.stage].name;
        match reader(pipeline, train.stage, &tokens) {
            Some(reader) => format!(
                "{message}, and stage `{reader}` reads its `{stage}.{tokens}`; add masks, or \
                 read the tokens of another head"
            ),
            None => message,
        }
    };
    train.losses.iter().filter(is_idle).map(said).collect()
}

/// A stage that reads an output of another.
fn reader<'p>(pipeline: &'p Pipeline, stage: usize, output: &str) -> Option<&'p str> {
    let reads = |reader: &&crate::pipeline::model::Stage| {
        let mut values = reader.inputs.iter().flat_map(|input| &input.values);
        values.any(|value| value.stage == stage && value.output == output)
    };
    pipeline.stages.iter().find(reads).map(|reader| reader.name.as_str())
}

fn wants_mask(loss: &Loss) -> bool {
    *loss != Loss::BceOnProbability
}
