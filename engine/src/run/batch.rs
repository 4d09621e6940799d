//! What is not at hand is made here: one image's call, or, where images are small, the same call for several of them.
//!
//! An encoder reads all its weights for each call. At a few hundred tokens that takes a quarter of the time, and one
//! call for a few images reads them once. The images are the one at work and those that were read ahead and will want
//! the call too. Nothing but time may change by it: an image's bytes are those that it gets alone.

use std::mem;
use std::time::Instant;

use serde_json::Value as Json;

use super::RunError;
use super::ahead::Coming;
use super::class::ClassRun;
use super::compute::{self, Made};
use super::engine::Engine;
use super::keys::item_key;
use super::source::Image;
use super::wiring::{Call, Feed, Form};
use crate::cache::Key;
use crate::pipeline::model::{Component, Label};
use crate::plugin::info::Kind;
use crate::plugin::{PluginError, Tensor};

/// Tokens of a call's images together: with more, weights are no longer what a call waits for.
const MOST_TOKENS: usize = 1_024;
/// Images of a call: of a tiny model they would be hundreds.
const MOST_IMAGES: usize = 8;

/// Another image of a call: its place among those that are coming, and what it gives to the call.
struct Other {
    place: usize,
    tensor: Tensor,
}

impl Engine<'_> {
    /// Images that may share a call, itself included: 1 for whatever does not say that they may, and how many tokens
    /// an image has.
    pub(super) fn most_together(&self, stage: usize, call: &Call) -> usize {
        let described = &self.pipeline.stages[stage];
        let Component::Plugin { kind: Kind::Encoder, .. } = &described.component else { return 1 };
        let [Feed { stage: from, form: Form::Tensor(label), .. }] = call.feeds.as_slice() else {
            return 1;
        };
        let is_prepared = matches!(self.pipeline.stages[*from].component, Component::Prepare(_));
        let is_alike =
            self.info(stage).is_ok_and(|info| info.batch_invariant && info.deterministic);
        // A script sees images in their order, and nothing of one whose turn has not come. An encoder that is only
        // stepped has no output that anybody reads.
        let is_seen = self.is_hooked(stage) || self.is_hooked(*from);
        let is_read = !self.reads.at(stage, call.label).is_empty();
        let side = label.size.unwrap_or(0) as usize;
        match n_tokens(&described.facts.all, [side, side]) {
            Some(n @ 1..) if is_prepared && is_alike && is_read && !is_seen => {
                (MOST_TOKENS / n).clamp(1, MOST_IMAGES)
            }
            _ => 1,
        }
    }

    /// The most of all calls.
    pub(super) fn most_in_a_call(&self) -> usize {
        let stages = self.wiring.iter().enumerate();
        let most = stages.flat_map(|(at, wired)| {
            wired.runs.iter().map(move |call| self.most_together(at, call))
        });
        most.max().unwrap_or(1)
    }
}

/// Tokens of an image of this height and width. `None` for an encoder that does not tell its patches.
pub(super) fn n_tokens(facts: &Json, [height, width]: [usize; 2]) -> Option<usize> {
    let fact = |name: &str| facts.get(name)?.as_u64().and_then(|fact| usize::try_from(fact).ok());
    let patch = fact("patch_size")?;
    let (rows, columns) = (height.checked_div(patch)?, width.checked_div(patch)?);
    rows.checked_mul(columns)?.checked_add(fact("n_prefix")?)
}

impl ClassRun<'_> {
    /// Runs the call that makes `label`, for the output that is asked for and every other that is read and not at hand.
    /// The cache may know a key and still refuse its value, so what is asked for is always made.
    pub(super) fn make(
        &mut self,
        image: &Image,
        stage: usize,
        asked: &str,
        label: Label,
    ) -> Result<(), RunError> {
        let call = self.call(stage, label)?;
        let call_key = self.call_key(image, stage, label)?;
        let lacking = self.lacking(&call_key, stage, label, |key| self.memo.contains_key(key));
        let mut wanted = self.engine.reads.at(stage, label);
        wanted.retain(|output| output == asked || lacking.contains(output));
        let others = self.others(image, stage, label, &wanted);
        if !others.is_empty() && self.make_together(image, stage, label, &wanted, &others)? {
            return Ok(());
        }
        let made = compute::call(self, image, stage, call, &wanted)?;
        let kept = self.keep(image, stage, &call_key, made)?;
        self.memo.extend(kept);
        Ok(())
    }

    /// Outputs of a call that somebody reads and that neither the image's memory nor the cache has.
    fn lacking(
        &self,
        call: &Key,
        stage: usize,
        label: Label,
        remembers: impl Fn(&Key) -> bool,
    ) -> Vec<String> {
        let cacheable = self.engine.cacheable(stage);
        let mut outputs = self.engine.reads.at(stage, label);
        outputs.retain(|output| {
            let key = item_key(call, output, label);
            !(remembers(&key) || cacheable && self.engine.cache.contains(&key))
        });
        outputs
    }

    /// Shows what a call made to the script and gives it to the cache. Errors: as these.
    fn keep(
        &mut self,
        image: &Image,
        stage: usize,
        call: &Key,
        made: Made,
    ) -> Result<Vec<(Key, Tensor)>, RunError> {
        let keep = |(output, label, tensor): (String, Label, Tensor)| {
            let key = item_key(call, &output, label);
            let tensor = self.hooked(stage, tensor)?;
            Ok((key, self.store(image, stage, &output, label, key, tensor)?))
        };
        made.into_iter().map(keep).collect()
    }

    /// The next images that will want the same outputs of the same call, as many as may share it. What they are made
    /// from is waited for: it would be next.
    fn others(
        &mut self,
        image: &Image,
        stage: usize,
        label: Label,
        wanted: &[String],
    ) -> Vec<Other> {
        let mut others = Vec::new();
        let Ok(call) = self.call(stage, label) else { return others };
        let most = self.engine.most_together(stage, call);
        let mut digests = vec![image.digest];
        let mut coming = mem::take(&mut self.coming);
        for (place, next) in coming.iter_mut().enumerate() {
            if digests.len() >= most {
                break;
            }
            // A copy of an image finds in the cache what the first one left there.
            if !next.calls.contains(&(stage, label)) || digests.contains(&next.image.digest) {
                continue;
            }
            if let Some(tensor) = self.given_by(next, stage, label, call, wanted) {
                digests.push(next.image.digest);
                others.push(Other { place, tensor });
            }
        }
        self.coming = coming;
        others
    }

    /// What a coming image gives to the call. `None` if it could not be read, or wants other outputs.
    fn given_by(
        &mut self,
        next: &mut Coming,
        stage: usize,
        label: Label,
        call: &Call,
        wanted: &[String],
    ) -> Option<Tensor> {
        let call_key = self.call_key(&next.image, stage, label).ok()?;
        let [Feed { stage: from, output, form: Form::Tensor(of), .. }] = call.feeds.as_slice()
        else {
            return None;
        };
        let key = item_key(&self.call_key(&next.image, *from, *of).ok()?, output, *of);
        let read = next.wait();
        let tensor = read.tensors.get(&key)?.clone();
        let lacking = self.lacking(&call_key, stage, label, |key| read.tensors.contains_key(key));
        (lacking == wanted).then_some(tensor)
    }

    /// One call for the image and for others. False if it failed, or made what cannot be cut apart: then each image is
    /// encoded alone, and the one to blame is when its turn comes.
    /// Errors: those of the image; and a panic, behind which the component is not called again.
    fn make_together(
        &mut self,
        image: &Image,
        stage: usize,
        label: Label,
        wanted: &[String],
        others: &[Other],
    ) -> Result<bool, RunError> {
        let call = self.call(stage, label)?;
        let call_key = self.call_key(image, stage, label)?;
        let inputs = self.inputs(image, call)?;
        let [(port, value)] = inputs.as_slice() else { return Ok(false) };
        let first = value.tensors().into_iter().map(|(_, tensor)| tensor);
        let images: Vec<&Tensor> = first.chain(others.iter().map(|other| &other.tensor)).collect();
        // It is tried once: what fails is not stacked again with those behind it.
        for other in others {
            self.coming[other.place].calls.remove(&(stage, label));
        }
        let Some(stacked) = stack(&images) else { return Ok(false) };
        let instance = self.instance(stage, call.label)?;
        let start = Instant::now();
        let made =
            match compute::stacked(self, stage, call.label, wanted, &instance, (*port, stacked)) {
                Ok(made) => cut(made, images.len()),
                Err(RunError::Plugin(error @ PluginError::Panic { .. })) => {
                    return Err(error.into());
                }
                Err(RunError::Cancelled) => return Err(RunError::Cancelled),
                Err(_) => None,
            };
        let Some(made) = made else { return Ok(false) };
        let ms = start.elapsed().as_secs_f64() * 1e3;
        let share = ms / images.len() as f64;
        let mut made = made.into_iter();
        let own = self.keep(image, stage, &call_key, made.next().unwrap_or_default())?;
        self.memo.extend(own);
        self.note_encoding(image, share - ms);
        for (other, made) in others.iter().zip(made) {
            let next = self.coming[other.place].image.clone();
            let call_key = self.call_key(&next, stage, label)?;
            // What cannot be kept is made again, and the error comes with it.
            if let Ok(kept) = self.keep(&next, stage, &call_key, made) {
                self.coming[other.place].wait().tensors.extend(kept);
                self.note_encoding(&next, share);
            }
        }
        Ok(true)
    }
}

/// Images `[1, 3, h, w]` as one tensor `[b, 3, h, w]`. `None` if they differ in shape.
fn stack(images: &[&Tensor]) -> Option<Tensor> {
    let mut shape = images.first()?.shape().to_vec();
    if images.iter().any(|image| image.shape() != shape) || shape.first() != Some(&1) {
        return None;
    }
    shape[0] = images.len();
    Tensor::new(shape, images.iter().flat_map(|image| image.data()).copied().collect()).ok()
}

/// What each of n images got, where every output has one row an image.
fn cut(made: Made, n: usize) -> Option<Vec<Made>> {
    let mut parts = vec![Made::new(); n];
    for (output, label, tensor) in made {
        let mut shape = tensor.shape().to_vec();
        if n == 0 || shape.first() != Some(&n) {
            return None;
        }
        shape[0] = 1;
        let len = tensor.data().len() / n;
        for (place, part) in parts.iter_mut().enumerate() {
            let rows = tensor.data().get(place * len..(place + 1) * len)?.to_vec();
            part.push((output.clone(), label, Tensor::new(shape.clone(), rows).ok()?));
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tensor(shape: &[usize], data: &[f32]) -> Tensor {
        Tensor::new(shape.to_vec(), data.to_vec()).unwrap()
    }

    #[test]
    fn images_of_one_shape_are_stacked_in_their_order() {
        let image =
            |shape: [usize; 4], value: f32| tensor(&shape, &vec![value; shape.iter().product()]);
        let [a, b] = [1.0, 2.0].map(|value| image([1, 3, 1, 2], value));
        let stacked = stack(&[&a, &b]).unwrap();
        assert_eq!(stacked.shape(), [2, 3, 1, 2]);
        assert_eq!(stacked.data(), [[1.0; 6], [2.0; 6]].concat());
        assert_eq!(stack(&[&a, &image([1, 3, 2, 1], 0.0)]), None, "another shape");
        assert_eq!(stack(&[&image([2, 3, 1, 2], 0.0)]), None, "two images in one");
        assert_eq!(stack(&[]), None);
    }

    #[test]
    fn outputs_are_cut_into_one_row_an_image() {
        let tap = Label { size: None, tap: Some(6) };
        let tokens = tensor(&[2, 1, 2], &[1.0, 2.0, 3.0, 4.0]);
        let whole = vec![
            ("tokens".to_owned(), Label::default(), tokens.clone()),
            ("tokens".to_owned(), tap, tensor(&[2], &[5.0, 6.0])),
        ];
        let of = |tokens: &[f32], at_tap: f32| {
            vec![
                ("tokens".to_owned(), Label::default(), tensor(&[1, 1, 2], tokens)),
                ("tokens".to_owned(), tap, tensor(&[1], &[at_tap])),
            ]
        };
        assert_eq!(cut(whole, 2), Some(vec![of(&[1.0, 2.0], 5.0), of(&[3.0, 4.0], 6.0)]));
        let odd = |tensor: Tensor| cut(vec![("tokens".to_owned(), Label::default(), tensor)], 2);
        assert_eq!(odd(tensor(&[1, 2], &[1.0, 2.0])), None, "one row for two images");
        assert_eq!(odd(tensor(&[], &[1.0])), None);
        assert_eq!(odd(tensor(&[2, 0], &[])).map(|parts| parts.len()), Some(2));
    }

    #[test]
    fn tokens_are_whole_patches_and_what_stands_before_them() {
        let facts = json!({ "patch_size": 16, "n_prefix": 1 });
        assert_eq!(n_tokens(&facts, [240, 240]), Some(226));
        assert_eq!(n_tokens(&facts, [47, 32]), Some(5));
        assert_eq!(n_tokens(&json!({ "patch_size": 0, "n_prefix": 1 }), [240, 240]), None);
        assert_eq!(n_tokens(&json!({ "n_prefix": 1 }), [240, 240]), None);
        assert_eq!(n_tokens(&Json::Null, [240, 240]), None);
    }
}
