//! The starter model: what is built in, and what may stand beside it.

mod common;

use std::path::Path;

use loupe_clip::{ClipEncoder, GemEncoder, starter};
use loupe_plugin::prelude::Tensor;
use loupe_plugin::testing;

const STARTER: &str = "model = 'starter'\nweights = 'starter'";

#[test]
fn both_encoders_conform_with_the_starter() {
    let image = || {
        let size = 3 * 3 * 48 * 32;
        Tensor::new([3, 3, 48, 32], (0..size).map(|i| (i % 89) as f32 / 44.5 - 1.0)).unwrap()
    };
    testing::encoder::<ClipEncoder>(STARTER).input("image", image()).check();
    testing::encoder::<GemEncoder>(STARTER).input("image", image()).check();
}

#[test]
fn the_starter_has_twelve_megabytes_at_most_and_a_short_table() {
    assert!(starter::WEIGHTS.len() <= 12_000_000, "{} bytes", starter::WEIGHTS.len());
    let file = safetensors::SafeTensors::deserialize(starter::WEIGHTS).unwrap();
    let ids = file.tensor("token_embedding.ids").unwrap();
    let rows = file.tensor("token_embedding.weight").unwrap();
    assert_eq!(rows.shape()[0], ids.shape()[0] + 1);
    assert_eq!(starter::model().unwrap().text.vocab_size, 49_408);
}

fn refused(config: &str) -> String {
    testing::encoder::<ClipEncoder>(config).run().err().expect("must be refused")
}

#[test]
fn starter_weights_in_another_model_say_what_to_do() {
    assert_eq!(
        refused("model = 'ViT-B-32'\nweights = 'starter'"),
        "weights `starter` belong to model `starter` and do not fit `ViT-B-32`; set `model = \
         \"starter\"`, or give a weights file of `ViT-B-32` (`loupe weights ls` names public ones)"
    );
}

/// The same shapes from outside are as good as those inside, and others are refused as ever.
#[test]
fn the_starter_model_takes_weights_of_its_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let (model, weights) = (folder.path().join("mine.json"), folder.path().join("w.safetensors"));
    std::fs::write(&model, starter::DESCRIPTION).unwrap();
    std::fs::write(&weights, starter::WEIGHTS).unwrap();
    let embedding = |model: &str, weights: &str| {
        let image = Tensor::new([1, 3, 32, 32], common::values(&common::image(32, 32))).unwrap();
        let config = format!("model = '{model}'\nweights = '{weights}'");
        let ran = testing::encoder::<ClipEncoder>(&config).input("image", image).run().unwrap();
        ran.tensor("image_embedding").f32s().unwrap().to_vec()
    };
    let (model, weights) = (model.display().to_string(), weights.display().to_string());
    let built_in = embedding("starter", "starter");
    assert_eq!(embedding("starter", &weights), built_in);
    assert_eq!(embedding(&model, "starter"), built_in);
    assert_ne!(embedding("starter", "random"), built_in);
    let other = format!("{}/golden/files.safetensors", env!("CARGO_MANIFEST_DIR"));
    let message = refused(&format!("model = 'starter'\nweights = '{other}'"));
    assert!(message.contains("does not fit model `starter`"), "{message}");
    assert!(message.contains("files.safetensors` (open_clip names"), "{message}");
}

#[test]
fn the_digest_is_of_what_is_built_in() {
    let digest = starter::digest();
    assert_eq!(digest.len(), 64);
    assert_ne!(digest, blake3::hash(starter::WEIGHTS).to_hex().as_str());
}

#[test]
fn the_card_tells_digest_and_length_of_what_is_built_in() {
    let card = include_str!("../starter/README.md");
    let line = card.lines().find(|line| line.starts_with("| SHA-256 |")).unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, starter::WEIGHTS);
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let n_bytes = starter::WEIGHTS.len();
    let (millions, rest) = (n_bytes / 1_000_000, n_bytes % 1_000_000);
    let n_bytes = format!("{millions},{:03},{:03}", rest / 1_000, rest % 1_000);
    assert_eq!(line, format!("| SHA-256 | `{digest}`, {n_bytes} bytes |"));
}

/// A pipeline's text, after the texts of those it extends.
fn with_extended(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let extended = text.lines().find_map(|line| line.strip_prefix("extends = \""));
    let before =
        extended.map(|name| with_extended(&path.with_file_name(name.trim_end_matches('"'))));
    before.unwrap_or_default() + &text
}

/// The factor that training gave the similarities is part of the weights; pipelines repeat it.
#[test]
fn pipelines_scale_as_the_weights_were_trained() {
    let file = candle_core::safetensors::load_buffer(starter::WEIGHTS, &candle_core::Device::Cpu);
    let log_scale = &file.unwrap()["logit_scale"];
    let want = format!("{:.2}", common::values(log_scale)[0].exp());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines");
    let (mut folders, mut n_scales) = (vec![root], 0);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                let text = with_extended(&path).replace('\n', " ");
                if !text.contains("weights = \"starter\"") {
                    continue;
                }
                for after in text.split(" scale ").skip(1) {
                    let Some(value) = after.trim_start().strip_prefix("= ") else { continue };
                    let value = value.split(|c: char| !c.is_ascii_digit() && c != '.').next();
                    assert_eq!(value, Some(want.as_str()), "{}", path.display());
                    n_scales += 1;
                }
            }
        }
    }
    assert!(n_scales > 10, "{n_scales}");
}

/// Recorded from open_clip 2.24.0 on the expanded form of the same weights.
mod recorded {
    use super::common::{check, image, values};
    use candle_core::{Device, Tensor};
    use loupe_clip::tokenizer::Tokenizer;
    use loupe_clip::{Clip, Wanted, model::Request, starter};
    use std::collections::HashMap;

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/starter");
    const PATCH_STEP: usize = 11;

    struct Recorded {
        tensors: HashMap<String, Tensor>,
        sentences: Vec<String>,
    }

    /// Panics if the weights or their description are others than those that were recorded.
    fn recorded() -> Recorded {
        let bytes = std::fs::read(format!("{FOLDER}/recorded.safetensors")).unwrap();
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().as_ref().unwrap();
        for (name, data) in
            [("weights", starter::WEIGHTS), ("description", starter::DESCRIPTION.as_bytes())]
        {
            let digest = ring::digest::digest(&ring::digest::SHA256, data);
            let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(
                metadata[name] == hex,
                "the starter's {name} changed since open_clip's outputs were recorded; record them \
                 again: python plugins/clip/tests/golden/starter/record.py"
            );
        }
        let sentences = serde_json::from_str(&metadata["sentences"]).unwrap();
        let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).unwrap();
        Recorded { tensors, sentences }
    }

    fn clip() -> Clip {
        let config = starter::model().unwrap();
        let (weights, _) = starter::weights(&config).unwrap();
        Clip::new(config, &weights).unwrap()
    }

    /// The second picture of `record.py`.
    fn waves(height: usize, width: usize) -> Tensor {
        let value = |i: usize| {
            let (c, y, x) = (i / (height * width), i / width % height, i % width);
            ((3 * x + 5 * y + 40 * c) % 128).abs_diff(64) as f32 / 32.0 - 1.0
        };
        let values: Vec<f32> = (0..3 * height * width).map(value).collect();
        Tensor::from_vec(values, (1, 3, height, width), &Device::Cpu).unwrap()
    }

    #[test]
    fn sentences_have_the_tokens_and_embeddings_of_open_clip() {
        let Recorded { tensors, sentences } = recorded();
        let clip = clip();
        let context = clip.config.text.context_length;
        let ids: Vec<Vec<i32>> = tensors["text.tokens"].to_vec2().unwrap();
        for (sentence, padded) in sentences.iter().zip(ids) {
            let mut tokens = Tokenizer::default().encode(sentence, context);
            tokens.resize(context, 0);
            let padded: Vec<u32> = padded.into_iter().map(|id| id as u32).collect();
            assert_eq!(tokens, padded, "{sentence}");
        }
        let sentences: Vec<&str> = sentences.iter().map(String::as_str).collect();
        let embeddings = clip.encode_text(&sentences).unwrap();
        assert_eq!(embeddings.dims(), tensors["text.embeddings"].dims());
        check("text", &embeddings, &tensors["text.embeddings"]);
    }

    #[test]
    fn pictures_have_the_vectors_of_open_clip_at_every_size() {
        let tensors = recorded().tensors;
        let clip = clip();
        let wanted = Wanted {
            image_embedding: true,
            patch_tokens: true,
            patch_embeddings: true,
            ..Wanted::default()
        };
        for (height, width) in [(128, 128), (80, 56), (192, 192)] {
            for (name, picture) in
                [("noise", image(height, width)), ("waves", waves(height, width))]
            {
                let request = Request { wanted, ..Request::default() };
                let made = clip.encode(&picture, request).unwrap().clip;
                let at = |what: &str| format!("{name}.{height}x{width}.{what}");
                let pooled = at("image_embedding");
                check(&pooled, &made.image_embedding.unwrap(), &tensors[&pooled]);
                for (what, patches) in [
                    ("patch_tokens", made.patch_tokens),
                    ("patch_embeddings", made.patch_embeddings),
                ] {
                    let patches = patches.unwrap();
                    assert_eq!(patches.dims()[..3], [1, height / 8, width / 8]);
                    check(&at(what), &every_so_many(&patches), &tensors[&at(what)]);
                }
            }
        }
    }

    /// The patches that were recorded: `[1, gh, gw, c]` -> `[n, c]`.
    fn every_so_many(patches: &Tensor) -> Tensor {
        let width = patches.dims()[3];
        let rows = values(patches);
        let rows: Vec<f32> =
            rows.chunks_exact(width).step_by(PATCH_STEP).flatten().copied().collect();
        let n_rows = rows.len() / width;
        Tensor::from_vec(rows, (n_rows, width), &Device::Cpu).unwrap()
    }
}
