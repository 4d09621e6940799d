//! From tokens to maps, scores and their AUROC: words, a bank of augmented normal images, both normalised
//! over the test set.

use loupe_engine::map;
use loupe_engine::pipeline::model::MapTo;
use loupe_engine::plugin::Sentence;

use super::tokens::stepped;
use super::*;

/// METRICS: maps in f32, largest difference over the root mean square.
const MAPS: f64 = 2e-5;
/// A distance is 1 less a cosine, and has the cosine's rounding: of four taps, in f32, on either side. The
/// record's maps in f32 and in f64 are 5e-6 apart.
const ROUNDING: f32 = 1e-6;
const SCORES: f64 = 1e-5;
const N_TESTS: usize = 8;
const N_BANK: usize = 22;

/// A head's patches and prefix at a tap.
struct AtTap {
    tokens: Tensor,
    prefix: Tensor,
}

/// Everything that judges, with adapters that were recorded as `adapters`.
pub struct Judge<'m> {
    model: &'m Model,
    fusion: Arc<Instance>,
    words: Arc<Instance>,
    head: &'static str,
}

impl<'m> Judge<'m> {
    pub fn new(model: &'m Model, adapters: &str, head: &'static str) -> Judge<'m> {
        let fusion = model.fusion("madff", adapters);
        let config =
            json!({"model": "average", "renormalize": true, "scale": 100.0, "emit": "margin"});
        let blank = create(&model.loader, Kind::Scorer, "language", &config, &[]);
        let sentence = |anomalous: bool| Sentence {
            text: String::new(),
            anomalous,
            weight: 1.0,
            source: String::new(),
        };
        let TextPair(columns) = model.recorded.text();
        let rows = columns.iter().flatten().map(|x| *x as f32).collect();
        let text = Value::EmbeddedText {
            sentences: Arc::new(vec![sentence(false), sentence(true)]),
            embeddings: Tensor::new(vec![2, 24], rows).unwrap(),
        };
        let mut fit = blank.fit().unwrap();
        fit.push(&[(port(&blank, "text"), text)]).unwrap();
        let words = Arc::new(blank.load(&fit.close().unwrap()).unwrap());
        Judge { model, fusion, words, head }
    }

    /// The head's tokens of an image, by tap.
    fn tokens(&self, image: &Tensor) -> Vec<AtTap> {
        let [tokens, prefix] = ["tokens", "prefix"].map(|end| format!("{}_{end}", self.head));
        let (found, _) = stepped(self.model, &self.fusion, image, &[&tokens, &prefix]);
        let at_tap = |found: Vec<Tensor>| {
            let [tokens, prefix] = <[Tensor; 2]>::try_from(found).unwrap();
            AtTap { tokens, prefix }
        };
        found.into_iter().map(at_tap).collect()
    }

    /// The memory banks of the recorded normal images.
    fn recorded_banks(&self) -> Vec<Arc<Instance>> {
        let image = |index| self.model.recorded.image("aug_normal", index);
        self.banks((0..N_BANK).map(image))
    }

    /// A memory bank for each tap.
    pub fn banks(&self, normal: impl Iterator<Item = Tensor>) -> Vec<Arc<Instance>> {
        let config = json!({"distance": "cosine", "k": 1});
        let blank = create(&self.model.loader, Kind::Scorer, "nearest", &config, &[]);
        let mut fits: Vec<_> = TAPS.iter().map(|_| blank.fit().unwrap()).collect();
        let rows = port(&blank, "rows");
        for image in normal {
            let found = self.tokens(&image);
            for (fit, at) in fits.iter_mut().zip(found) {
                let push = [(rows, Value::Tensor(at.tokens)), (rows, Value::Tensor(at.prefix))];
                fit.push(&push).unwrap();
            }
        }
        fits.into_iter().map(|fit| Arc::new(blank.load(&fit.close().unwrap()).unwrap())).collect()
    }

    /// Distances of an image's tokens to the banks, stretched over it and summed over the taps.
    pub fn few_map(&self, banks: &[Arc<Instance>], image: &Tensor) -> Vec<f32> {
        let found = self.tokens(image);
        summed(found.iter().zip(banks).map(|(at, bank)| stretched(&scored(bank, &at.tokens), None)))
    }

    /// The same of the probabilities that words give them.
    fn zero_map(&self, image: &Tensor) -> Vec<f32> {
        let scores = |at: AtTap| stretched(&scored(&self.words, &at.tokens), Some("sigmoid"));
        summed(self.tokens(image).into_iter().map(scores))
    }
}

/// The scores `[1, gh, gw]` of tokens.
fn scored(scorer: &Instance, tokens: &Tensor) -> Tensor {
    let out = scorer.info().ports.iter().find(|port| port.name == "patch_scores").unwrap().index;
    let query = [(port(scorer, "query"), Value::Tensor(tokens.clone()))];
    scorer.run(&query, &[out]).unwrap().take(out).unwrap().tensors()[0].1.clone()
}

fn stretched(scores: &Tensor, then: Option<&str>) -> Vec<f32> {
    resized(scores, SIZE, then)
}

pub fn resized(scores: &Tensor, size: usize, then: Option<&str>) -> Vec<f32> {
    let config = MapTo {
        mode: "bilinear-align-corners".to_owned(),
        size: size as u32,
        then: then.map(str::to_owned),
        sigma_px: 0.0,
    };
    let serial = |n: usize, body: &(dyn Fn(usize) + Sync)| (0..n).for_each(body);
    map::resize(&config, scores, &serial).unwrap().data().to_vec()
}

/// The sum of maps, in f64 as the fusion `sum` has it.
fn summed(maps: impl Iterator<Item = Vec<f32>>) -> Vec<f32> {
    let mut sums = vec![0.0; SIZE * SIZE];
    for map in maps {
        sums.iter_mut().zip(map).for_each(|(sum, x)| *sum += f64::from(x));
    }
    sums.into_iter().map(|sum| sum as f32).collect()
}

/// All values scaled to 0..=1 by their range.
fn normalised(values: &[f32]) -> Vec<f32> {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    values.iter().map(|x| (x - low) / (high - low)).collect()
}

fn half_and_half(zero: &[f32], few: &[f32]) -> Vec<f32> {
    let (zero, few) = (normalised(zero), normalised(few));
    zero.iter().zip(&few).map(|(zero, few)| 0.5 * zero + 0.5 * few).collect()
}

/// Share of pairs in the right order, ties counting half.
fn auroc(scores: &[f32], anomalous: &[bool]) -> f64 {
    let (mut right, mut pairs) = (0.0, 0.0);
    for (a, _) in scores.iter().zip(anomalous).filter(|(_, anomalous)| **anomalous) {
        for (n, _) in scores.iter().zip(anomalous).filter(|(_, anomalous)| !**anomalous) {
            right += if a > n {
                1.0
            } else if a == n {
                0.5
            } else {
                0.0
            };
            pairs += 1.0;
        }
    }
    right / pairs
}

fn assert_near(name: &str, got: &[f32], want: &[f32], tolerance: f64) {
    let fits = |want: &[f32]| {
        let far = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        (error(got, want) <= tolerance || far <= ROUNDING, error(got, want), far)
    };
    let (fit, found, far) = fits(want);
    assert!(fit, "{name}: {found:.2e}, {far:.2e}");
    let mut moved = want.to_vec();
    moved[3] += 1e-3;
    assert!(!fits(&moved).0, "{name}: the test sees nothing");
}

/// Maps of the test set from both branches, image after image, and the final ones.
fn maps(judge: &Judge<'_>) -> [Vec<f32>; 3] {
    let banks = judge.recorded_banks();
    let (mut zero, mut few) = (Vec::new(), Vec::new());
    for index in 0..N_TESTS {
        let image = judge.model.recorded.image("test_images", index);
        zero.extend(judge.zero_map(&image));
        few.extend(judge.few_map(&banks, &image));
    }
    let both = half_and_half(&zero, &few);
    [zero, few, both]
}

fn assert_maps(adapters: &str, record: &str) {
    let model = Model::new();
    let judge = Judge::new(&model, adapters, "seg");
    let found = maps(&judge);
    for (name, got) in ["zero", "few", "final"].into_iter().zip(&found) {
        let name = format!("{record}.map_{name}");
        assert_near(&name, got, model.recorded.numbers(&name), MAPS);
    }
    let both = &found[2];
    let pixels: Vec<bool> = model.recorded.numbers("test_masks").iter().map(|x| *x > 0.0).collect();
    let labels: Vec<bool> = (0..N_TESTS).map(|index| index >= 4).collect();
    let figures = &model.recorded.json[record];
    let want = |name: &str| figures[name].as_f64().unwrap();
    assert!((auroc(both, &pixels) - want("pixel_auroc")).abs() < 2e-5, "{}", auroc(both, &pixels));
    let peaks: Vec<f32> = both
        .chunks_exact(SIZE * SIZE)
        .map(|map| map.iter().copied().fold(f32::NEG_INFINITY, f32::max))
        .collect();
    assert_eq!(auroc(&peaks, &labels), want("image_auroc_max"));
    assert_scores(&model, adapters, figures, &labels);
}

/// Scores of data without masks: means of probabilities and of distances, of the other head.
fn assert_scores(model: &Model, adapters: &str, figures: &Json, labels: &[bool]) {
    let judge = Judge::new(model, adapters, "det");
    let banks = judge.recorded_banks();
    let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
    let (mut zero, mut few) = (Vec::new(), Vec::new());
    for index in 0..N_TESTS {
        let found = judge.tokens(&model.recorded.image("test_images", index));
        let share = |margin: &f32| 1.0 / (1.0 + (-margin).exp());
        let mut sums = [0.0, 0.0];
        for (at, bank) in found.iter().zip(&banks) {
            let margins = scored(&judge.words, &at.tokens);
            sums[0] += mean(&margins.data().iter().map(share).collect::<Vec<_>>());
            sums[1] += mean(&stretched(&scored(bank, &at.tokens), None));
        }
        zero.push(sums[0]);
        few.push(sums[1]);
    }
    let both = half_and_half(&zero, &few);
    for (name, got) in [("det_zero", &zero), ("det_few", &few), ("det_final", &both)] {
        let want: Vec<f32> =
            figures[name].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect();
        // The range of eight near scores is a few per cent of them: it magnifies their rounding.
        let tolerance = if name == "det_final" { 40.0 * SCORES } else { SCORES };
        assert_near(name, got, &want, tolerance);
    }
    assert_eq!(auroc(&both, labels), figures["det_auroc"].as_f64().unwrap());
}

#[test]
fn maps_scores_and_figures_of_drawn_adapters() {
    assert_maps("init.", "eval_init");
}

#[test]
fn maps_scores_and_figures_of_trained_adapters() {
    assert_maps("after3.", "eval_after3");
}
