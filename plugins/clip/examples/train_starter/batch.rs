//! One step's pictures and sentences.

use crate::crops::{CropShape, Triple, draw};
use crate::data::{Data, Picture};
use crate::error::{Result, TrainError};
use crate::image_tower::Crops;
use crate::loss::Known;
use crate::rng::Rng;
use crate::sentences::{Lists, Vocabulary};
use crate::text_tower::Sentences;

/// Tokens of a crop of the smallest grid: larger crops come in smaller numbers.
const TOKENS: usize = 64;
/// Side of a crop in its own pixels over that in the picture's, smallest and largest.
const SCALES: (f32, f32) = (0.36, 1.0);
/// Most sentences in a label's ensemble.
const MAX_PROMPTS: usize = 4;
/// Damaged patches from which on a caption's damage counts as seen in a crop.
const SHOWN: f32 = 0.3;
/// Crops and sentences that run through a tower together: their activations stay in the cache.
const STACK_CROPS: usize = 8;
const STACK_SENTENCES: usize = 40;

/// What the towers read, in stacks, and what the losses know.
pub struct Batch {
    pub crops: Vec<Crops>,
    /// Sorted by length; a short stack takes less work.
    pub sentences: Vec<Sentences>,
    /// Place of each sentence among the sorted ones.
    pub places: Vec<u32>,
    pub known: Known,
}

/// What does not change from step to step.
pub struct Source<'a> {
    pub data: &'a Data,
    pub lists: &'a Lists,
    pub vocabulary: &'a Vocabulary,
    pub patch: usize,
    /// Tokens along a side of the position table.
    pub native_grid: usize,
    /// Sides of crops in tokens, one of which is drawn for each step.
    pub grids: &'a [usize],
    /// Triples in a step whose crops have 8 x 8 tokens.
    pub n_triples: usize,
    pub n_threads: usize,
}

impl Source<'_> {
    pub fn batch(&self, rng: &mut Rng) -> Result<Batch> {
        let grid = self.grids.get(rng.below(self.grids.len())).copied().unwrap_or(8);
        let n_triples = (self.n_triples * TOKENS / (grid * grid).max(1)).max(2);
        let side = grid * self.patch;
        let scale = rng.uniform(SCALES.0.ln(), SCALES.1.ln()).exp();
        let source = ((side as f32 / scale).round() as usize).clamp(side / 2, self.data.side);
        let shape = CropShape { grid, patch: self.patch, source };
        let triples = draw(self.data, n_triples, shape, rng, self.n_threads)?;
        let (texts, n_prompts) = self.texts(&triples, rng)?;
        let rows = texts.iter().map(|text| self.vocabulary.rows(text, rng)).collect();
        let (sentences, places) = stacked(rows);
        let room = self.native_grid.saturating_sub(grid) + 1;
        let window = (rng.below(room), rng.below(room));
        let matches = self.matches(&triples);
        let known = Known {
            coverage: triples.iter().map(|triple| triple.coverage.clone()).collect(),
            n_prompts,
            matches,
        };
        Ok(Batch { crops: crops(&triples, grid, window), sentences, places, known })
    }

    /// Sentences in the order the losses want them, and the sizes of the ensembles.
    fn texts(&self, triples: &[Triple], rng: &mut Rng) -> Result<(Vec<String>, Vec<usize>)> {
        let (mut normal, mut anomalous, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        for triple in triples {
            let n = 1 + rng.below(MAX_PROMPTS);
            let family = self.lists.name_of(&self.family(triple)?, rng);
            let own = |which| Ok::<_, TrainError>(&self.picture(triple, which)?.sentences);
            normal.extend(self.lists.ensemble((&family, false), n, own(0)?, rng));
            anomalous.extend(self.lists.ensemble((&family, true), n, own(2)?, rng));
            sizes.push(n);
        }
        let mut texts = normal;
        texts.append(&mut anomalous);
        texts.extend((0..2 * triples.len()).map(|_| self.lists.neutral(rng)));
        for which in 0..3 {
            for triple in triples {
                let picture = self.picture(triple, which)?;
                let family = self.lists.name_of(&self.family(triple)?, rng);
                let (defect, own) = (&picture.defect, &picture.sentences);
                texts.push(self.lists.caption(&family, defect, own, rng));
            }
        }
        Ok((texts, sizes))
    }

    fn family(&self, triple: &Triple) -> Result<String> {
        let product = self.data.products.get(triple.product);
        Ok(product.ok_or(TrainError::Internal { what: "no such product" })?.family.clone())
    }

    fn picture(&self, triple: &Triple, which: usize) -> Result<&Picture> {
        let product = self.data.products.get(triple.product);
        let pictures = product.map(|product| if which < 2 { &product.good } else { &product.bad });
        let index = triple.pictures.get(which).copied().unwrap_or_default();
        let picture = pictures.and_then(|pictures| pictures.get(index));
        picture.ok_or(TrainError::Internal { what: "no such picture" })
    }

    /// A caption fits every crop of its family and state that shows that state.
    fn matches(&self, triples: &[Triple]) -> Vec<f32> {
        let mut states = Vec::new();
        for which in 0..3 {
            for triple in triples {
                let product = self.data.products.get(triple.product);
                let family = product.map(|product| product.family.as_str());
                let defect = self.picture(triple, which).map(|picture| picture.defect.as_str());
                let shown = which < 2 || triple.coverage.iter().sum::<f32>() >= SHOWN;
                states.push((family, defect.ok(), shown));
            }
        }
        let fits = |crop: &(_, _, bool), (family, defect, _): &(_, _, bool)| {
            crop.2 && (&crop.0, &crop.1) == (family, defect)
        };
        let of_crop = |crop| states.iter().map(move |text| f32::from(u8::from(fits(crop, text))));
        states.iter().flat_map(of_crop).collect()
    }
}

/// All references, then all undamaged crops, then all damaged ones, in stacks.
fn crops(triples: &[Triple], grid: usize, window: (usize, usize)) -> Vec<Crops> {
    let patches =
        (0..3).flat_map(|which| triples.iter().filter_map(move |triple| triple.patches.get(which)));
    let patches: Vec<&Vec<f32>> = patches.collect();
    let stack = |part: &[&Vec<f32>]| Crops {
        grid,
        windows: vec![window; part.len()],
        patches: part.iter().flat_map(|patches| patches.iter().copied()).collect(),
    };
    patches.chunks(STACK_CROPS).map(stack).collect()
}

/// Sentences sorted by length in stacks, and the place of each among the sorted.
fn stacked(rows: Vec<Vec<u32>>) -> (Vec<Sentences>, Vec<u32>) {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|index| rows.get(*index).map(Vec::len));
    let mut places = vec![0_u32; rows.len()];
    for (sorted, index) in order.iter().enumerate() {
        if let Some(place) = places.get_mut(*index) {
            *place = sorted as u32;
        }
    }
    let of = |part: &[usize]| part.iter().filter_map(|index| rows.get(*index).cloned()).collect();
    (order.chunks(STACK_SENTENCES).map(|part| Sentences(of(part))).collect(), places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_sorted_and_found_again() {
        let rows = vec![vec![1; 5], vec![2; 3], vec![3; 4]];
        let (stacks, places) = stacked(rows.clone());
        assert_eq!(stacks, [Sentences(vec![vec![2; 3], vec![3; 4], vec![1; 5]])]);
        assert_eq!(places, [2, 0, 1]);
    }
}
