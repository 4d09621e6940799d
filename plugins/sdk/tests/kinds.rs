//! One plugin with all four kinds, checked and run through its vtables.

use loupe_plugin::prelude::*;
use loupe_plugin::testing;

/// An encoder of two taps: each adds 1, the tokens are the last stream.
struct Steps;

impl Encoder for Steps {
    type Config = NoConfig;

    fn new(_config: NoConfig, _host: &Host) -> Result<Self> {
        Ok(Steps)
    }

    fn check(_config: &NoConfig, _host: &Host) -> Result<Facts> {
        Ok(Facts::new().dim("c", 3).dim("d", 2).taps([4, 8]))
    }

    fn ports() -> Vec<Port> {
        let outputs = [
            Port::output("patch_tokens").tensor("b gh gw c"),
            Port::output("image_embedding").tensor("b c"),
        ];
        let text = Port::encode_text();
        [vec![Port::image()], outputs.to_vec(), text.to_vec(), Port::stream().to_vec()].concat()
    }

    fn encode_images(&self, images: &Tensor, wanted: &Wanted) -> Result<Outputs> {
        let (mut session, stream) = self.open(&[4, 8], false, images)?;
        let stream = self.resume(&mut session, &stream)?;
        self.finish(session, &stream, wanted)
    }

    fn encode_text(&self, sentences: &[Sentence]) -> Result<Tensor> {
        let rows = sentences.iter().flat_map(|one| [one.text.len() as f32, one.weight]);
        Tensor::new([sentences.len(), 2], rows)
    }
}

impl Taps for Steps {
    type Session = usize;

    fn open(&self, taps: &[u32], _train: bool, images: &Tensor) -> Result<(usize, Tensor)> {
        let [b, _, h, w] = images.dims_n::<4>("image")?;
        let pixels = images.f32s()?;
        // Channel c of the first pixel, as the one patch of a 1 x 1 grid.
        let first = |i: usize| pixels.get(i * h * w).copied().unwrap_or(0.0);
        let n_blocks = taps.first().map_or(0, |tap| tap / 4) as f32;
        let stream = Tensor::new([b, 1, 3], (0..b * 3).map(|i| first(i) + n_blocks))?;
        Ok((taps.len() - 1, stream))
    }

    fn open_at(
        &self,
        taps: &[u32],
        _train: bool,
        _images: &Tensor,
        _stream: &Tensor,
    ) -> Result<usize> {
        Ok(taps.len() - 1)
    }

    fn resume(&self, session: &mut usize, stream: &Tensor) -> Result<Tensor> {
        *session = session.checked_sub(1).ok_or_else(|| Error::input("there is no further tap"))?;
        Tensor::new(stream.shape(), stream.f32s()?.iter().map(|value| value + 1.0))
    }

    fn finish(&self, _session: usize, stream: &Tensor, wanted: &Wanted) -> Result<Outputs> {
        let [b, _, c] = stream.dims_n::<3>("stream")?;
        let values = || stream.f32s().map(<[f32]>::to_vec);
        let mut outputs = Outputs::new();
        if wanted.has("patch_tokens") {
            outputs = outputs.put("patch_tokens", Tensor::new([b, 1, 1, c], values()?)?);
        }
        if wanted.has("image_embedding") {
            outputs = outputs.put("image_embedding", Tensor::new([b, c], values()?)?);
        }
        Ok(outputs)
    }
}

/// Distance to the one learned number, scaled.
#[derive(Clone, Deserialize, Schema)]
#[serde(deny_unknown_fields)]
struct Gap {
    #[serde(default = "one")]
    scale: f32,
}

fn one() -> f32 {
    1.0
}

struct Scaled {
    gap: Gap,
    learned: f32,
}

impl Scorer for Scaled {
    type Config = Gap;

    fn new(gap: Gap, _host: &Host) -> Result<Self> {
        Ok(Scaled { gap, learned: 0.0 })
    }

    fn ports() -> Vec<Port> {
        let rows = Port::input("rows").tensor("n").verb(Verb::Fit);
        let text = Port::input("text").embedded_text("n d").optional();
        [Port::scorer(), vec![rows, text]].concat()
    }

    fn score(&self, inputs: &Inputs, _wanted: &Wanted) -> Result<Outputs> {
        let query = inputs.tensor("query")?;
        let (n, width) = query.rows("query")?;
        let bias = match inputs.has("text") {
            true => inputs.embedded_text("text")?.sentences.len() as f32,
            false => 0.0,
        };
        let first = |row: usize| query.f32s().ok()?.get(row * width).copied();
        let scores = (0..n).map(|row| first(row).unwrap_or(0.0));
        let scores = scores.map(|score| (score - self.learned).abs() * self.gap.scale + bias);
        let shape = &query.dims()[..query.dims().len() - 1];
        Ok(Outputs::one("patch_scores", Tensor::new(shape, scores)?))
    }
}

impl Fit for Scaled {
    type Session = Vec<f32>;

    fn fit_open(&self) -> Result<Vec<f32>> {
        Ok(Vec::new())
    }

    fn fit_push(&self, seen: &mut Vec<f32>, inputs: &Inputs) -> Result<()> {
        seen.extend(inputs.tensor("rows")?.f32s()?);
        Ok(())
    }

    fn fit_close(&self, seen: Vec<f32>) -> Result<State> {
        let last = *seen.last().ok_or_else(|| Error::empty("rows"))?;
        StateWriter::new("gap", 1).meta("n", seen.len()).f32s("last", [1], &[last])?.finish()
    }

    fn load(&self, state: &State) -> Result<Self> {
        let learned = StateReader::new(state, "gap", 1)?.tensor("last")?.into_f32s()?;
        Ok(Scaled { gap: self.gap.clone(), learned: learned[0] })
    }
}

/// Does what its config tells it.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
struct Way {
    way: String,
}

struct Odd {
    way: String,
    host: Host,
}

impl Fusion for Odd {
    type Config = Way;

    fn new(config: Way, host: &Host) -> Result<Self> {
        Ok(Odd { way: config.way, host: *host })
    }

    fn fuse(&self, parts: &[Tensor]) -> Result<Tensor> {
        let n = same_shape(parts)?.len();
        match self.way.as_str() {
            "panic" => panic!("the way is {}", self.way),
            "panic-in-parallel" => {
                self.host.parallel_for(10, |i| assert!(i != 7, "seven"))?;
                Ok(parts[0].clone())
            }
            "parallel" => {
                let mut sums = vec![0.0; n];
                self.host.parallel_chunks(&mut sums, 3, |chunk_idx, chunk| {
                    for (i, sum) in chunk.iter_mut().enumerate() {
                        *sum = (chunk_idx * 3 + i) as f32;
                    }
                })?;
                Tensor::new(parts[0].shape(), sums)
            }
            "random" => {
                let units = self.host.random_units(n);
                Tensor::new(parts[0].shape(), units.into_iter().map(|unit| unit as f32))
            }
            "impure" => {
                static CALLS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
                let call = CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Tensor::new(parts[0].shape(), (0..n).map(|_| call as f32))
            }
            "flat" => Tensor::new([n, 1, 1, 1, 1], parts[0].f32s()?.to_vec()),
            other => Err(Error::config(format!("no way `{other}`"))),
        }
    }
}

struct Generator;

impl PromptGenerator for Generator {
    type Config = NoConfig;

    fn new(_config: NoConfig, _host: &Host) -> Result<Self> {
        Ok(Generator)
    }

    fn generate(&self, class_name: &str, synonyms: &[&str]) -> Result<Vec<Sentence>> {
        let names = [&[class_name], synonyms].concat();
        let both = |name: &&str| {
            [
                Sentence::new(format!("a photo of a {name}"), false, "two"),
                Sentence::new(format!("a photo of a broken {name}"), true, "two"),
            ]
        };
        Ok(names.iter().flat_map(both).collect())
    }
}

export!(
    encoder "steps" = Steps,
    prompts "two" = Generator,
    scorer "gap" = Scaled,
    fusion "odd" = Odd,
);

fn odd(way: &str) -> testing::Subject {
    let part = Tensor::new([1, 7], (0..7).map(|i| i as f32)).unwrap();
    testing::fusion::<Odd>(&format!("way = \"{way}\"")).input("parts", part)
}

#[test]
fn an_encoder_with_taps_and_text_conforms() {
    testing::encoder::<Steps>("").check();
}

#[test]
fn a_stepped_encoder_gives_each_pixel_plus_two() {
    let image = Tensor::new([1, 3, 1, 1], [0.0, 10.0, 20.0]).unwrap();
    let subject = testing::encoder::<Steps>("").input("image", image);
    let ran = subject.run().unwrap();
    assert_eq!(ran.tensor("image_embedding").f32s().unwrap(), [2.0, 12.0, 22.0]);
    assert_eq!(ran.tensor("patch_tokens").dims(), [1, 1, 1, 3]);
}

#[test]
fn a_generator_conforms_and_reads_the_name_before_the_synonyms() {
    testing::prompts::<Generator>("").check();
    let names = ["nut", "bolt"].map(|name| Sentence::new(name, false, ""));
    let ran = testing::prompts::<Generator>("").text("class", names.to_vec());
    let ran = ran.run().unwrap();
    let said: Vec<&str> = ran.sentences("text").iter().map(|one| one.text.as_str()).collect();
    assert_eq!(said[..2], ["a photo of a nut", "a photo of a broken nut"]);
    assert_eq!(said.len(), 4);
    assert!(ran.sentences("text")[3].anomalous);
}

#[test]
fn a_scorer_conforms_and_scores_against_what_it_learned() {
    testing::scorer::<Scaled>("scale = 2.0").check();
    let rows = Tensor::new([3], [9.0, 9.0, 5.0]).unwrap();
    let query = Tensor::new([2, 2], [5.0, 0.0, 8.0, 0.0]).unwrap();
    let texts = vec![Sentence::new("a", false, ""); 4];
    let words = Tensor::new([4, 1], [0.0; 4]).unwrap();
    let subject = testing::scorer::<Scaled>("scale = 2.0").fit("rows", rows);
    let subject = subject.input("query", query).embedded_text("text", texts, words);
    let ran = subject.run().unwrap();
    assert_eq!(ran.tensor("patch_scores").f32s().unwrap(), [4.0, 10.0]);
}

#[test]
fn a_panic_is_a_message_with_its_place() {
    let message = odd("panic").run().err().unwrap();
    assert!(message.starts_with("panicked: the way is panic (at "), "{message}");
    assert!(message.contains("kinds.rs:"), "{message}");
}

#[test]
fn a_panic_in_a_parallel_loop_is_an_error_of_the_loop() {
    let message = odd("panic-in-parallel").run().err().unwrap();
    assert!(message.starts_with("panicked: seven (at "), "{message}");
}

#[test]
fn chunks_are_filled_in_parallel() {
    let ran = odd("parallel");
    let ran = ran.run().unwrap();
    assert_eq!(ran.tensor("fused").f32s().unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn random_numbers_are_the_same_in_each_run_and_lie_in_0_to_1() {
    let (first, second) = (odd("random"), odd("random"));
    let (first, second) = (first.run().unwrap(), second.run().unwrap());
    let values = first.tensor("fused").f32s().unwrap();
    assert_eq!(values, second.tensor("fused").f32s().unwrap());
    assert!(values.iter().all(|value| (0.0..1.0).contains(value)) && values[0] != values[1]);
}

#[test]
fn an_error_keeps_its_words() {
    assert_eq!(odd("sideways").run().err().unwrap(), "no way `sideways`");
    let message = testing::fusion::<Odd>("ways = 1").run().err().unwrap();
    assert_eq!(message, "unknown field `ways`, expected `way` at line 1 column 7");
}

#[test]
#[should_panic(expected = "two runs give the same bytes: the second differs")]
fn the_checks_find_what_is_not_pure() {
    odd("impure").check();
}

#[test]
#[should_panic(expected = "an image's outputs do not depend on its neighbours: image 0 of 2")]
fn the_checks_find_what_leaks_between_images() {
    let part = Tensor::new([2, 3], [0.5; 6]).unwrap();
    testing::fusion::<Odd>("way = \"random\"").input("parts", part).check();
}

#[test]
#[should_panic(expected = "odd inputs are answered without a panic")]
fn the_checks_find_a_panic() {
    odd("panic").check();
}
