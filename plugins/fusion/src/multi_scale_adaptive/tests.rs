use super::layers::{Map, Pooled};
use super::*;
use loupe_plugin::testing;
use safetensors::SafeTensors;
use std::collections::BTreeMap;

/// `golden/record.py` made it with PyTorch.
const RECORDED: &[u8] = include_bytes!("../../golden/multi_scale_adaptive.safetensors");
const SIZES: Sizes = Sizes { experts: 2, categories: 3, width: 8 };
const SEED: u64 = 7;

type Arrays = BTreeMap<String, (Vec<usize>, Vec<f32>)>;
const IMAGE: [usize; 2] = [9, 6];

fn recorded(name: &str) -> Vec<f32> {
    let file = SafeTensors::deserialize(RECORDED).unwrap();
    let array = file.tensor(name).unwrap();
    array.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Largest difference from what was recorded: of every seventh value, where there are many.
fn error(name: &str, got: &[f32]) -> f32 {
    let want = recorded(name);
    let step = if want.len() == got.len() { 1 } else { 7 };
    let got: Vec<f32> = got.iter().copied().step_by(step).collect();
    assert_eq!(got.len(), want.len(), "{name}");
    got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The README's table of arrays is the layout: each name is in it, and it names nothing else.
#[test]
fn every_array_is_documented() {
    let text = include_str!("../../README.md");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let mut named = std::collections::BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let quoted = |cell: &str| -> Vec<String> {
            cell.split('`').skip(1).step_by(2).map(|name| name.replace('I', "0")).collect()
        };
        for name in quoted(cells[0]) {
            named.insert(format!("{name}.weight"));
            named.extend((cells[2] == "yes").then(|| format!("{name}.bias")));
        }
        for norm in quoted(cells[3]).iter().filter(|name| name.ends_with(".norm")) {
            let parts = ["weight", "bias", "running_mean", "running_var"];
            named.extend(parts.map(|part| format!("{norm}.{part}")));
        }
    }
    named.extend(["weight", "bias"].map(|part| format!("project.norm.{part}")));
    let sizes = Sizes { experts: 1, categories: 1, width: 8 };
    let laid_out: std::collections::BTreeSet<String> =
        Weights::drawn(0, sizes).arrays.into_keys().collect();
    assert_eq!(named, laid_out);
}

/// Channels first, as PyTorch has them.
fn planes_of(map: &Map) -> Vec<f32> {
    let channel = |c: usize| map.values.iter().copied().skip(c).step_by(map.channels);
    (0..map.channels).flat_map(channel).collect()
}

/// The rule by which `record.py` fills batch norms that a training left behind.
fn with_learned_norms(mut weights: Weights) -> Weights {
    for (name, (_, values)) in &mut weights.arrays {
        let Some((layer, part)) =
            name.split_once(".norm.").filter(|(layer, _)| *layer != "project")
        else {
            continue;
        };
        assert!(!layer.is_empty());
        for (i, value) in values.iter_mut().enumerate() {
            let i = i as f32;
            *value = match part {
                "weight" => 1.0 + 0.3 * i.sin(),
                "bias" => 0.1 * i.cos(),
                "running_mean" => 0.2 * (i + 1.0).sin(),
                _ => 1.0 + 0.5 * i.sin() * i.sin(),
            };
        }
    }
    weights
}

/// The weights as a file.
fn file(weights: &Weights) -> Vec<u8> {
    let writer =
        weights.arrays.iter().fold(StateWriter::new("file", 1), |writer, (name, array)| {
            writer.f32s(name, array.0.clone(), &array.1).unwrap()
        });
    writer.finish().unwrap().bytes().to_vec()
}

fn every_part_is_that_of_pytorch(norms: &str, network: &Network) {
    let host = testing::host();
    let image = recorded("image");
    let close = |name: &str, got: &[f32]| {
        let name = format!("{norms}.{name}");
        let error = error(&name, got);
        assert!(error < 5e-5, "{name}: off by {error:e}");
    };
    let x1 = network.stem(&host, &image, IMAGE).unwrap();
    close("x1", &planes_of(&x1));
    let xl = network.context(&host, &x1).unwrap();
    close("xl", &planes_of(&xl));
    close("attention", &network.spatial(&host, &xl).unwrap());
    let (x3, rest) = network.trunk(&host, &image, IMAGE).unwrap();
    close("x3", &planes_of(&x3));
    let pooled = Pooled::of(&x3);
    for (index, map) in network.expert_maps(&host, &x3).unwrap().iter().enumerate() {
        close(&format!("expert{index}"), &planes_of(map));
    }
    let x4 = network.mixture(&host, &x3, &pooled).unwrap();
    close("x4", &x4.cells.iter().map(|x| *x as f32).collect::<Vec<f32>>());
    close("features", &network.adapt(&x4, &pooled, &rest));
    let features = network.features(&host, &image, IMAGE).unwrap();
    close("features", &features);
    close("vector", &network.head.vector(&features));
}

#[test]
fn by_the_images_own_statistics_every_part_is_that_of_pytorch() {
    let weights = Weights::drawn(SEED, SIZES);
    every_part_is_that_of_pytorch("image", &Network::new(&weights, true).unwrap());
}

#[test]
fn by_the_statistics_of_a_file_every_part_is_that_of_pytorch() {
    let weights = with_learned_norms(Weights::drawn(SEED, SIZES));
    let weights = Weights::read(&file(&weights), "weights").unwrap();
    every_part_is_that_of_pytorch("running", &Network::new(&weights, false).unwrap());
}

#[test]
fn the_gate_of_channels_is_that_of_pytorch() {
    for (norms, own) in [("image", true), ("running", false)] {
        let weights = Weights::drawn(SEED, SIZES);
        let weights = if own { weights } else { with_learned_norms(weights) };
        let network = Network::new(&weights, own).unwrap();
        let host = testing::host();
        let x1 = network.stem(&host, &recorded("image"), IMAGE).unwrap();
        let mut x2 = network.context(&host, &x1).unwrap();
        let attention = network.spatial(&host, &x2).unwrap();
        for (i, value) in x2.values.iter_mut().enumerate() {
            *value = *value * attention[i / 64] + x1.values[i] + *value;
        }
        assert!(error(&format!("{norms}.gate"), &network.channel_gate(&x2)) < 1e-5);
    }
}

#[test]
fn the_original_has_as_many_parameters() {
    let sizes = Sizes { experts: 12, categories: 15, width: 640 };
    let weights = Weights::drawn(0, sizes);
    let learned = weights.arrays.iter().filter(|(name, _)| !name.contains("running_"));
    assert_eq!(learned.map(|(_, (_, values))| values.len()).sum::<usize>(), 2_069_029);
    let small = Weights::drawn(0, SIZES).arrays;
    let learned = small.iter().filter(|(name, _)| !name.contains("running_"));
    let n: usize = learned.map(|(_, (_, values))| values.len()).sum();
    assert_eq!(n as f32, recorded("n_parameters")[0]);
}

fn image(seed: usize, batch: usize) -> Tensor {
    let values = (0..batch * 3 * 16 * 12).map(|i| ((i * 31 + seed * 7) % 23) as f32 / 11.0 - 1.0);
    Tensor::new([batch, 3, 16, 12], values).unwrap()
}

fn tokens(batch: usize) -> Tensor {
    Tensor::new([batch, 2, 2, 8], (0..batch * 32).map(|i| (i as f32 * 0.7).sin())).unwrap()
}

fn subject(config: &str, seed: usize) -> testing::Subject {
    testing::fusion::<MultiScaleAdaptive>(config)
        .input("image", image(seed, 1))
        .input("patch_embeddings", tokens(1))
}

const SMALL: &str = "experts = 1\ncategories = 1\n";

fn offset(config: &str, seed: usize) -> Vec<f32> {
    let ran = subject(&format!("{SMALL}{config}"), seed).run().unwrap();
    ran.tensor("offset").f32s().unwrap().to_vec()
}

#[test]
fn conforms() {
    let subject = |config: &str| {
        testing::fusion::<MultiScaleAdaptive>(&format!("{SMALL}{config}"))
            .input("image", image(0, 2))
            .input("patch_embeddings", tokens(2))
    };
    subject("mode = \"off\"").check();
    subject("mode = \"exact\"").check();
    subject("mode = \"surrogate\"\ndraw = \"image\"").check();
    trained("epochs = 2", image(0, 1)).check();
}

#[test]
fn off_changes_nothing() {
    let ran = subject("mode = \"off\"", 0).run().unwrap();
    assert_eq!(ran.tensor("patch_embeddings").f32s().unwrap(), tokens(1).f32s().unwrap());
}

#[test]
fn all_tokens_of_an_image_get_the_same_vector() {
    let class = Tensor::new([1, 8], [1.0; 8]).unwrap();
    let subject = subject(&format!("{SMALL}mode = \"exact\""), 0).input("image_embedding", class);
    let ran = subject.run().unwrap();
    let offset = ran.tensor("offset").f32s().unwrap();
    for (row, before) in ran
        .tensor("patch_embeddings")
        .f32s()
        .unwrap()
        .chunks(8)
        .zip(tokens(1).f32s().unwrap().chunks(8))
    {
        let want: Vec<f32> = before.iter().zip(offset).map(|(a, b)| a + b).collect();
        assert_eq!(row, want);
    }
    let want: Vec<f32> = offset.iter().map(|x| 1.0 + x).collect();
    assert_eq!(ran.tensor("image_embedding").f32s().unwrap(), want);
    assert!(ran.tensors("gem_patch_embeddings").is_empty());
}

#[test]
fn weights_are_shared_unless_each_image_draws_its_own() {
    let cosine = |a: &[f32], b: &[f32]| {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let between = |config: &str| cosine(&offset(config, 0), &offset(config, 1));
    let (shared, own) =
        (between("mode = \"exact\""), between("mode = \"exact\"\ndraw = \"image\""));
    assert!(shared > own + 0.1, "{shared} {own}");
    assert_eq!(offset("mode = \"surrogate\"", 0), offset("mode = \"surrogate\"", 1));
    assert!(between("mode = \"surrogate\"\ndraw = \"image\"") < 0.9);
    assert_ne!(offset("mode = \"exact\"", 0), offset("mode = \"exact\"\nseed = 1", 0));
}

#[test]
fn the_surrogate_has_the_moments_of_silu_of_noise() {
    let vector = surrogate(3, 640);
    let mean = vector.iter().sum::<f32>() / 640.0;
    let square = vector.iter().map(|x| x * x).sum::<f32>() / 640.0;
    assert!((mean - 0.20662).abs() < 0.02 && (square - 0.35578).abs() < 0.05, "{mean} {square}");
}

/// Four images, every second one bright in a corner, which the mask calls damaged.
fn trained(more: &str, shown: Tensor) -> testing::Subject {
    let config = format!("{SMALL}mode = \"trained\"\nscale = 20.0\n{more}");
    let text = vec![("sound", false), ("damaged", true)];
    let text = text
        .into_iter()
        .map(|(text, anomalous)| loupe_plugin::prelude::Sentence::new(text, anomalous, "test"));
    let mut rows = vec![0.0; 16];
    rows[0] = 1.0;
    rows[9] = 1.0;
    let mut pixels = image(0, 4).f32s().unwrap().to_vec();
    let mut mask = vec![0.0; 4 * 16 * 12];
    for index in [1, 3] {
        for place in (0..8 * 6).map(|i| i / 6 * 12 + i % 6) {
            mask[index * 192 + place] = 1.0;
            (0..3).for_each(|c| pixels[(index * 3 + c) * 192 + place] += 3.0);
        }
    }
    testing::fusion::<MultiScaleAdaptive>(&config)
        .fit("example_images", Tensor::new([4, 3, 16, 12], pixels).unwrap())
        .fit("examples", tokens(4))
        .fit("mask", Tensor::new([4, 1, 16, 12], mask).unwrap())
        .fit_embedded_text("text", text.collect(), Tensor::new([2, 8], rows).unwrap())
        .input("image", shown)
        .input("patch_embeddings", tokens(1))
}

/// What the trained fusion adds to an image, in the direction of the anomalous sentence.
fn towards_damage(bright: bool) -> f32 {
    let mut pixels = image(0, 1).f32s().unwrap().to_vec();
    if bright {
        (0..3 * 48).for_each(|i| pixels[i / 48 * 192 + i % 48 / 6 * 12 + i % 6] += 3.0);
    }
    let shown = Tensor::new([1, 3, 16, 12], pixels).unwrap();
    let ran = trained("epochs = 60", shown).run().unwrap();
    let offset = ran.tensor("offset").f32s().unwrap();
    offset[1] - offset[0]
}

#[test]
fn a_training_moves_images_with_damage_towards_the_anomalous_sentences() {
    let (sound, damaged) = (towards_damage(false), towards_damage(true));
    assert!(damaged > sound + 0.01, "{damaged} {sound}");
}

#[test]
fn what_has_learned_nothing_says_how_to() {
    let fusion = MultiScaleAdaptive::new(config("mode = \"trained\""), &testing::host()).unwrap();
    let message = fusion.vector(&image(0, 1), 0, 8).unwrap_err().to_string();
    assert!(message.contains("name a file as `weights`"), "{message}");
}

fn config(text: &str) -> Config {
    let value: BTreeMap<String, serde_json::Value> = text
        .lines()
        .map(|line| line.split_once(" = ").unwrap())
        .map(|(key, value)| (key.to_owned(), serde_json::from_str(value).unwrap()))
        .collect();
    serde_json::from_value(serde_json::to_value(value).unwrap()).unwrap()
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    let refused = |text: &str| {
        MultiScaleAdaptive::check(&config(text), &testing::host()).unwrap_err().to_string()
    };
    assert!(
        refused("mode = \"surrogate\"\nweights = \"a\"").contains("`weights` are of the network")
    );
    assert!(refused("mode = \"exact\"\ndraw = \"image\"\nweights = \"a\"").contains("leave one"));
    assert!(refused("mode = \"trained\"\ndraw = \"image\"").contains("no place for those"));
    assert!(refused("mode = \"exact\"\nbatch_norm = \"running\"").contains("name a file"));
    let unknown = subject("mode = \"exact\"\ndropout = 0.5", 0).run().err().unwrap();
    assert!(unknown.contains("dropout"), "{unknown}");
    let unknown = subject("mode = \"fast\"", 0).run().err().unwrap();
    assert!(unknown.contains("fast"), "{unknown}");
}

#[test]
fn odd_images_are_refused_with_a_reason() {
    let given = |dims: [usize; 4]| {
        let image = Tensor::new(dims, vec![0.5; dims.iter().product()]).unwrap();
        let subject = testing::fusion::<MultiScaleAdaptive>(&format!("{SMALL}mode = \"exact\""));
        subject.input("image", image).input("patch_embeddings", tokens(1)).run().map(|_| ())
    };
    assert!(given([1, 3, 1, 9]).unwrap_err().contains("at least 2 x 2 pixels"));
    assert!(given([1, 4, 8, 8]).unwrap_err().contains("[b, 3, h, w]"));
    assert!(given([2, 3, 8, 8]).unwrap_err().contains("`patch_embeddings` wants [2, .., 8]"));
    assert!(given([1, 3, 2, 2]).is_ok() && given([1, 3, 3, 5]).is_ok());
}

#[test]
fn hostile_weights_are_refused() {
    let good = Weights::drawn(SEED, SIZES);
    let bytes = file(&good);
    let refused = |bytes: &[u8]| Weights::read(bytes, "w.safetensors").unwrap_err().to_string();
    for end in [0, 7, 100, bytes.len() - 1] {
        assert!(refused(&bytes[..end]).contains("no safetensors file"), "cut at {end}");
    }
    let spoiled = |change: &dyn Fn(&mut Arrays)| {
        let mut weights = good.clone();
        change(&mut weights.arrays);
        refused(&file(&weights))
    };
    let message = spoiled(&|arrays| drop(arrays.remove("local.1.bias")));
    assert!(message.contains("`w.safetensors`: there is no array `local.1.bias`"), "{message}");
    let message = spoiled(&|arrays| drop(arrays.remove("project.weight")));
    assert!(message.contains("`project.weight`"), "{message}");
    let message = spoiled(&|arrays| arrays.get_mut("project.bias").unwrap().1[0] = f32::NAN);
    assert!(message.contains("`project.bias` holds a value that is not finite"), "{message}");
    let message = spoiled(&|arrays| {
        arrays.get_mut("conv_in.norm.running_var").unwrap().1[0] = -1.0;
    });
    assert!(message.contains("negative variance"), "{message}");
    let message = spoiled(&|arrays| drop(arrays.insert("extra".to_owned(), (vec![1], vec![0.0]))));
    assert!(message.contains("nothing reads the array `extra`"), "{message}");
    let message = spoiled(&|arrays| {
        drop(arrays.insert("mixture.gate.weight".to_owned(), (vec![257, 1], vec![0.0; 257])));
    });
    assert!(message.contains("wants 1 to 256 rows, got 257"), "{message}");
    let message = spoiled(&|arrays| {
        drop(arrays.insert("mixture.gate.weight".to_owned(), (vec![200, 1], vec![0.0; 200])));
    });
    assert!(message.contains("there is no array `mixture."), "{message}");
}

#[test]
fn a_file_of_another_width_is_refused() {
    let weights = Weights::drawn(SEED, Sizes { width: 4, ..SIZES });
    let fusion = MultiScaleAdaptive {
        config: config("mode = \"exact\""),
        host: testing::host(),
        given: Some(Arc::new(weights)),
        network: Mutex::new(None),
    };
    let message = fusion.vector(&image(0, 1), 0, 8).unwrap_err().to_string();
    assert!(message.contains("tokens of width 4, that of the weights, but got 8"), "{message}");
}
