//! FADE through the built program: the pipelines that ship, with a small model and small sizes, run
//! variant by variant, and each stage's values held against the recorded ones.

use loupe_tests::World;

use crate::compare::{Comparison, EIGHT_BIT, METRIC, PROBABILITY, SCORES, TENSOR, Tolerance};
use crate::recorded::{Array, Recorded, fnv1a64, folder};
use crate::stored::{RunFolder, Stored};

/// A tiny model and the image sizes it is run at.
pub struct Model {
    /// The folder of what was recorded.
    pub golden: &'static str,
    pub name: &'static str,
    pub sizes: &'static [usize],
    /// The size whose image embedding makes the score.
    pub at: usize,
    /// Every how many rows and columns of the patches are recorded.
    pub step: usize,
    /// Keys of `[data]`; one class.
    pub data: &'static str,
}

/// What FADE's options change, as `tests/golden/fade/record.py` has it under the same name.
pub struct Variant {
    pub name: &'static str,
    /// The pipeline that ships and that this one extends.
    pub base: &'static str,
    pub shots: usize,
    pub seed: u64,
    /// Outputs of the encoder: behind the image score, the language map and the memory bank.
    pub says: &'static str,
    pub tells: &'static str,
    pub bank: &'static str,
    pub text_model: &'static str,
    pub gain: f64,
    /// Weight of the vision map.
    pub weight: f64,
    pub self_reference: bool,
}

pub struct Chain {
    model: &'static Model,
    world: World,
    pub recorded: Recorded,
    pub compared: Comparison,
}

impl Chain {
    pub fn new(model: &'static Model) -> Chain {
        let world = World::new();
        let description = folder("fade").join(format!("{}.json", model.name));
        crate::weights::write(&description, &world.path("weights.safetensors"));
        let recorded = Recorded::read(model.golden, model.name);
        Chain { model, world, recorded, compared: Comparison::default() }
    }

    /// Every variant's features, text, states, maps, scores and metrics.
    pub fn run(&mut self, variant: &Variant) {
        let name = variant.name;
        self.world.write(&format!("{name}.toml"), self.pipeline(variant));
        for (map, score) in modes(variant) {
            self.loupe(name, map, score, &[]);
        }
        let stored = Stored::read(&self.world.path(format!("cache-{name}")));
        let images = self.out(name, "both").images();
        self.features(variant, &stored, &images);
        self.text(&stored);
        self.bank(variant, &stored);
        self.scored(variant, &stored, &images);
        for (map, score) in modes(variant) {
            self.mode(name, map, score);
            if self.recorded.has(&format!("{name}.{map}.full.0")) {
                self.full_maps(name, map, score);
            }
        }
    }

    fn out(&self, name: &str, mode: &str) -> RunFolder {
        RunFolder(self.world.path(format!("{name}-{mode}")))
    }

    fn pipeline(&self, variant: &Variant) -> String {
        let Model { name: model, sizes, at, data, .. } = self.model;
        let Variant { base, shots, seed, says, tells, bank, text_model, gain, weight, .. } =
            variant;
        let (root, golden) = (loupe_tests::root(), folder(self.model.golden));
        let (root, golden) = (root.display(), golden.display());
        let models = folder("fade");
        let (models, generic) = (models.display(), self.sentences());
        let weights = self.world.path("weights.safetensors");
        let weights = weights.display();
        let (own, k) = (variant.self_reference, if variant.self_reference { 2 } else { 1 });
        format!(
            r#"
loupe = 1
extends = "{root}/pipelines/{base}"
[data]
{data}
root = "{golden}/data"
references = {{ shots = {shots}, seed = {seed} }}
[stages]
image   = {{ sizes = {sizes:?} }}
clip    = {{ model = "{models}/{model}.json", weights = "{weights}" }}
generic = {generic}
says    = {{ query = "clip.{says}@{at}", model = "{text_model}" }}
tells   = {{ query = "clip.{tells}", model = "{text_model}" }}
differs = {{ query = "clip.{bank}", rows = "clip.{bank}", self_reference = {own}, k = {k} }}
vision  = {{ gain = {gain:?} }}
both    = {{ weights = [{:?}, {weight:?}] }}
"#,
            1.0 - weight
        )
    }

    /// Where the sentences of the language map come from.
    fn sentences(&self) -> String {
        let golden = folder(self.model.golden);
        let golden = golden.display();
        if self.model.golden == "fade" {
            return format!("{{ sets = [\"winclip\"], files = [\"{golden}/prompts.json\"] }}");
        }
        let names = ["winclip_prompt".to_owned()].into_iter();
        let names = names.chain((1..=5).map(|number| format!("chatgpt3.5_prompt{number}")));
        let file = |name| format!("{{ file = \"{golden}/prompts/{name}.json\" }}");
        format!("{{ sources = [{}] }}", names.map(file).collect::<Vec<_>>().join(", "))
    }

    fn loupe(&self, name: &str, map: &str, score: &str, more: &[&str]) {
        let path = |file: String| self.world.path(file).display().to_string();
        let arguments = [
            "run".to_owned(),
            path(format!("{name}.toml")),
            "--cache-dir".to_owned(),
            path(format!("cache-{name}")),
            "--out".to_owned(),
            path(format!("{name}-{map}")),
            "--set".to_owned(),
            format!("output.anomaly_map=\"{map}\""),
            "--set".to_owned(),
            format!("output.anomaly_score=\"{score}\""),
        ];
        let more = more.iter().map(|argument| (*argument).to_owned());
        let ended = self.world.run(arguments.into_iter().chain(more));
        assert_eq!(ended.code, Some(0), "{name}, {map}: {}", ended.stderr);
    }

    fn check(&mut self, name: &str, got: &Array, tolerance: Tolerance) {
        let want = self.recorded.get(name).clone();
        self.compared.check(name, got, &want, tolerance);
    }

    /// What goes into the encoder. No stage stores it, so a pipeline of its own sums each prepared
    /// image up alone, and makes one number of it, for a pipeline ends in a map or a score.
    pub fn pixels(&mut self) {
        let sizes = self.model.sizes;
        let stages: String = sizes.iter().map(|size| pixel_stages(*size)).collect();
        let peaks: Vec<String> = sizes.iter().map(|size| format!("peak{size}")).collect();
        let golden = folder("fade");
        let text = format!(
            r#"
loupe = 1
[data]
dataset = "mvtec-ad"
root = "{}/data"
references = {{ shots = 1 }}
[stages]
image = {{ prepare = "square", sizes = {sizes:?}, filter = "pillow-bicubic", normalize = "clip" }}
all = {{ fusion = "sum", parts = {peaks:?} }}
{stages}
[output]
anomaly_score = "all"
"#,
            golden.display()
        );
        let pipeline = self.world.write("pixels.toml", text).display().to_string();
        let out = self.world.path("pixels-run");
        let ended = self.world.run(["run", &pipeline, "--out", &out.display().to_string()]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let stored = Stored::read(&self.world.path("cache"));
        for (i, image) in RunFolder(out).images().iter().enumerate() {
            for size in sizes {
                let pixels = stored.tensor(&format!("pixels{size}"), "fused", None, image);
                self.pixels_of(&format!("pixels@{size}.{i}"), *size, &pixels);
            }
        }
    }

    /// All numbers by their digest; the bytes before normalisation, where they are recorded, to see
    /// what departs.
    fn pixels_of(&mut self, name: &str, size: usize, pixels: &Array) {
        const MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
        const STD: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];
        assert_eq!(pixels.shape, [3, size, size]);
        if self.recorded.has(&format!("{name}.u8")) {
            let byte = |i: usize| {
                let (pixel, channel) = (i / 3, i % 3);
                let value = pixels.values[channel * size * size + pixel];
                ((value * STD[channel] + MEAN[channel]) * 255.0).round()
            };
            let values = (0..pixels.values.len()).map(byte).collect();
            let bytes = Array { shape: vec![size, size, 3], values };
            self.check(&format!("{name}.u8"), &bytes, Tolerance::Equal);
        }
        let bytes: Vec<u8> =
            pixels.values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect();
        let digest = fnv1a64(&bytes).to_le_bytes().map(f64::from).to_vec();
        let digest = Array { shape: vec![8], values: digest };
        self.check(&format!("{name}.digest"), &digest, Tolerance::Equal);
    }

    fn features(&mut self, variant: &Variant, stored: &Stored, images: &[String]) {
        for (i, image) in images.iter().enumerate() {
            let key = format!("{}.image@{}.{i}", kind(variant.says), self.model.at);
            let got = stored.tensor("clip", variant.says, Some(self.model.at), image);
            self.check(&key, &got, TENSOR);
            for value in [variant.tells, variant.bank] {
                for size in self.model.sizes {
                    let key = format!("{}.patches@{size}.{i}", kind(value));
                    if self.recorded.has(&key) {
                        let got = stored.tensor("clip", value, Some(*size), image);
                        self.check(&key, &every(&got, self.model.step), TENSOR);
                    }
                }
            }
        }
    }

    /// The unit embeddings of the sentences, and their means by label.
    fn text(&mut self, stored: &Stored) {
        for (stage, prompts, step) in [("says", "named", 1), ("tells", "generic", 9)] {
            let embeddings = unit(&stored.tensor(prompts, "text_embeddings", None, ""));
            let width = embeddings.shape[1];
            let rows: Vec<f64> =
                embeddings.values.chunks(width).step_by(step).flatten().copied().collect();
            let shape = vec![rows.len() / width, width];
            self.check(&format!("text.{prompts}"), &Array { shape, values: rows }, TENSOR);
            let [(arrays, facts)] =
                stored.states(stage).try_into().expect("one text model a stage");
            let labels: Vec<bool> = serde_json::from_value(facts["anomalous"].clone()).unwrap();
            let means = [false, true].map(|label| mean(&arrays["embeddings"], &labels, label));
            let means = Array { shape: vec![2, width], values: means.concat() };
            self.check(&format!("text.{prompts}.means"), &means, TENSOR);
        }
    }

    /// The memory bank of the smallest size: which references were chosen, in their order.
    fn bank(&mut self, variant: &Variant, stored: &Stored) {
        if variant.shots == 0 {
            return;
        }
        let smallest = self.model.sizes.iter().min().copied().unwrap_or(0);
        let key = format!("{}.bank@{smallest}", variant.name);
        let states = stored.states("differs");
        let banks = states.iter().map(|(arrays, _)| &arrays["bank"]);
        let bank = banks.min_by_key(|bank| bank.shape[0]).expect("a bank a size").clone();
        self.check(&key, &bank, TENSOR);
    }

    fn scored(&mut self, variant: &Variant, stored: &Stored, images: &[String]) {
        let name = variant.name;
        for (i, image) in images.iter().enumerate() {
            for size in self.model.sizes {
                for (stage, tolerance) in [("tells", PROBABILITY), ("differs", TENSOR)] {
                    let got = stored.tensor(stage, "patch_scores", Some(*size), image);
                    self.check(&format!("{name}.{stage}@{size}.{i}"), &got, tolerance);
                }
            }
        }
        for stage in ["language", "vision", "both"] {
            let maps = images.iter().map(|image| stored.tensor(stage, "fused", None, image));
            let maps: Vec<Array> = maps.collect();
            let shape = [&[maps.len()][..], &maps[0].shape].concat();
            let values = maps.into_iter().flat_map(|map| map.values).collect();
            self.check(&format!("{name}.{stage}"), &Array { shape, values }, TENSOR);
        }
    }

    /// One run folder: its maps, their 8-bit form, scores and metrics.
    fn mode(&mut self, name: &str, map: &str, score: &str) {
        let out = self.out(name, map);
        let maps = out.maps();
        self.check(&format!("{name}.{map}"), &maps, TENSOR);
        let eight_bit = |value: &f64| (value.clamp(0.0, 1.0) * 255.0).trunc();
        let bytes = Array {
            shape: maps.shape.clone(),
            values: maps.values.iter().map(eight_bit).collect(),
        };
        let key = format!("{name}.{map}.u8");
        self.check(&key, &bytes, EIGHT_BIT);
        let scores = out.scores();
        self.check(&format!("{name}.{score}"), &scores, SCORES);
        // A cell that truncation moved by 1 is a stretch of pixels at 448 x 448, whose rank it
        // moves too.
        let same = bytes == *self.recorded.get(&key);
        for protocol in ["fade-448-u8", "native"] {
            let tolerance = match (protocol, same) {
                ("fade-448-u8", false) => Tolerance::Absolute { max: 1e-3, median: 1e-3 },
                _ => METRIC,
            };
            let metrics = out.metrics(protocol);
            let start = format!("{name}.{map}.{protocol}.");
            let keys: Vec<String> = self.recorded.names(&start).map(str::to_owned).collect();
            assert!(keys.len() >= 8, "{start}");
            for key in keys {
                let value = metrics[key.strip_prefix(&start).unwrap_or_default()];
                let got = Array { shape: vec![1], values: vec![value] };
                self.check(&key, &got, tolerance);
            }
        }
    }

    /// Maps at their images' own sizes; of each, every seventh row and column is recorded.
    fn full_maps(&mut self, name: &str, map: &str, score: &str) {
        self.loupe(name, map, score, &["--save", "maps"]);
        for (i, full) in self.out(name, map).each_map().into_iter().enumerate() {
            let shape = [&full.shape[..], &[1]].concat();
            let mut some = every(&Array { shape, values: full.values }, 7);
            some.shape.truncate(2);
            self.check(&format!("{name}.{map}.full.{i}"), &some, TENSOR);
        }
    }

    /// Panics if a value departs, or if one was recorded and never compared.
    pub fn finish(self) {
        self.compared.finish();
        let left = self.recorded.left();
        let left: Vec<_> = left.into_iter().filter(|name| !name.contains(".stretched.")).collect();
        assert_eq!(left, Vec::<&str>::new(), "recorded, but never compared");
    }
}

/// Map and score of the modes `both`, `language` and `vision`. With no shots FADE's score `both` is
/// the words' alone.
fn modes(variant: &Variant) -> [(&'static str, &'static str); 3] {
    let by_words = variant.shots == 0 && variant.base.starts_with("fade");
    let both = if by_words { "says" } else { "verdict" };
    [("both", both), ("language", "says"), ("vision", "peak")]
}

fn pixel_stages(size: usize) -> String {
    format!(
        r#"
[stages.pixels{size}]
fusion = "sum"
parts = "image@{size}"
[stages.rows{size}]
scorer = "nearest"
query = "pixels{size}"
rows = "pixels{size}"
fit_on = "references"
[stages.peak{size}]
pool = "max"
of = "rows{size}"
"#
    )
}

/// `clip` or `gem`, for an output of the encoder.
fn kind(value: &str) -> &str {
    if value.starts_with("gem_") { "gem" } else { "clip" }
}

/// Every `step`-th row and column of a grid of tokens.
fn every(grid: &Array, step: usize) -> Array {
    let [height, width, d] = grid.shape[..] else { panic!("{:?} is no grid", grid.shape) };
    let places = (0..height)
        .step_by(step)
        .flat_map(|row| (0..width).step_by(step).map(move |column| (row * width + column) * d));
    let values = places.flat_map(|start| grid.values[start..start + d].to_vec()).collect();
    Array { shape: vec![height.div_ceil(step), width.div_ceil(step), d], values }
}

/// Rows of length 1.
fn unit(rows: &Array) -> Array {
    let scaled = rows.values.chunks(rows.shape[1]).flat_map(|row| {
        let norm = row.iter().map(|value| value * value).sum::<f64>().sqrt();
        row.iter().map(move |value| value / norm)
    });
    Array { shape: rows.shape.clone(), values: scaled.collect() }
}

fn mean(rows: &Array, labels: &[bool], label: bool) -> Vec<f64> {
    let mut sum = vec![0.0; rows.shape[1]];
    let chosen = rows.values.chunks(rows.shape[1]).zip(labels).filter(|(_, of)| **of == label);
    let mut n = 0.0;
    for (row, _) in chosen {
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        n += 1.0;
    }
    sum.iter().map(|sum| sum / n).collect()
}
