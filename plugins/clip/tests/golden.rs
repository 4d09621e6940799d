//! Every stage against tensors recorded from open_clip 2.24.0 and gem-torch 1.0.1.

mod common;

use common::{Tensors, check, gelu, image, quick, values};
use loupe_clip::model::Request;
use loupe_clip::ops;
use loupe_clip::text::TextTower;
use loupe_clip::vision::{Gem, Stream, VisionTower};
use loupe_clip::{Activation, Clip, ModelConfig, Wanted};

fn check_stages(clip: &Clip, golden: &Tensors, height: usize, width: usize) {
    let at = |stage: &str| &golden[&format!("{height}x{width}.plain.{stage}")];
    let tower: &VisionTower = &clip.vision;
    let pixels = values(&image(height, width));
    let stem = tower.stem(&pixels, height, width).unwrap();
    check("stem", &stem, at("stem"));
    let gem = Gem::default();
    let mut stream = Stream { tokens: stem, gem: None };
    for block in 1..=7 {
        stream = tower.walk(stream, block - 1, block, Some(&gem), None).unwrap();
        assert_eq!(stream.gem.is_some(), block > 1);
        if [1, 2, 7].contains(&block) {
            check(&format!("tap {block}"), &stream.tokens, at(&format!("tap{block}")));
        }
        if let (2 | 7, Some(gem)) = (block, &stream.gem) {
            check(&format!("gem tap {block}"), gem, at(&format!("gem_tap{block}")));
        }
    }
    let normed = tower.normed(&stream.tokens).unwrap();
    check("normed", &normed, at("normed"));
    check("embeddings", &tower.project(&normed).unwrap(), at("embeddings"));
    let normed = tower.normed(&stream.gem.unwrap()).unwrap();
    check("gem normed", &normed, at("gem_normed"));
    check("gem embeddings", &tower.project(&normed).unwrap(), at("gem_embeddings"));
}

#[test]
fn every_stage_equals_the_original_at_the_native_grid() {
    let (clips, golden) = gelu();
    for clip in &clips {
        check_stages(clip, &golden, 48, 48);
    }
}

#[test]
fn every_stage_equals_the_original_at_a_resized_grid() {
    let (clips, golden) = gelu();
    for clip in &clips {
        check_stages(clip, &golden, 80, 80);
    }
}

#[test]
fn quick_gelu_and_outlier_channels_equal_the_original() {
    let (clips, golden) = quick();
    for clip in &clips {
        check_stages(clip, &golden, 32, 32);
    }
}

/// 26 pixels are three patches of 8 and two pixels that nobody reads.
#[test]
fn a_rectangular_grid_equals_the_original() {
    let (clips, golden) = quick();
    for clip in &clips {
        check_stages(clip, &golden, 40, 26);
    }
}

#[test]
fn outputs_are_the_recorded_tokens_on_their_grid() {
    let (clips, golden) = quick();
    clips.iter().for_each(|clip| check_outputs(clip, &golden));
}

fn check_outputs(clip: &Clip, golden: &Tensors) {
    let wanted = Wanted {
        image_embedding: true,
        patch_tokens: true,
        patch_embeddings: true,
        gem_image_embedding: true,
        gem_patch_tokens: true,
        gem_patch_embeddings: true,
    };
    let request = Request { taps: vec![1, 7], wanted, ..Request::default() };
    let out = clip.encode(&image(40, 26), request).unwrap();
    for (outputs, prefix) in [(out.clip, ""), (out.gem, "gem_")] {
        let recorded = |stage: &str| &golden[&format!("40x26.plain.{prefix}{stage}")];
        let (pooled, embeddings) = (recorded("embeddings"), recorded("embeddings"));
        check("pooled", &outputs.image_embedding.unwrap(), &pooled.get(0).unwrap());
        let patches = outputs.patch_embeddings.unwrap();
        assert_eq!(patches.dims(), [1, 5, 3, 24]);
        check("patches", &patches, &embeddings.narrow(0, 1, 15).unwrap());
        let tokens = outputs.patch_tokens.unwrap();
        assert_eq!(tokens.dims(), [1, 5, 3, 24]);
        check("tokens", &tokens, &recorded("normed").narrow(0, 1, 15).unwrap());
    }
    assert_eq!(out.taps[0].dims(), [1, 16, 24]);
    check("tap 7", &out.taps[1], &golden["40x26.plain.tap7"]);
}

#[test]
fn gem_with_two_iterations_or_its_own_temperature_equals_the_original() {
    let (clips, golden) = gelu();
    let settings = [
        ("iterated", Gem { n_iterations: 2, ..Gem::default() }),
        ("heated", Gem { temperature: Some(10.0), ..Gem::default() }),
    ];
    for (name, gem) in settings {
        let wanted = Wanted { gem_patch_embeddings: true, ..Wanted::default() };
        let request = Request { wanted, gem, ..Request::default() };
        let want = &golden[&format!("80x80.{name}.gem_embeddings")];
        for clip in &clips {
            let out = clip.encode(&image(80, 80), request.clone()).unwrap();
            assert!(out.clip.image_embedding.is_none() && out.clip.patch_embeddings.is_none());
            check(name, &out.gem.patch_embeddings.unwrap(), &want.narrow(0, 1, 25).unwrap());
        }
    }
}

#[test]
fn text_equals_the_original_alone_and_in_a_batch() {
    let (clips, golden) = gelu();
    clips.iter().for_each(|clip| check_text(clip, &golden));
}

fn check_text(clip: &Clip, golden: &Tensors) {
    let rows: Vec<Vec<u32>> = golden["text.tokens"]
        .to_dtype(candle_core::DType::U32)
        .and_then(|tokens| tokens.to_vec2())
        .unwrap();
    let together = clip.encode_tokens(&rows).unwrap();
    check("text", &together, &golden["text.embeddings"]);
    for (index, row) in rows.iter().enumerate() {
        let alone = clip.encode_tokens(std::slice::from_ref(row)).unwrap();
        assert_eq!(values(&alone), values(&together.get(index).unwrap()), "sentence {index}");
    }
    assert_eq!(clip.encode_tokens(&[]).unwrap().dims(), [0, 24]);
    assert!(clip.encode_tokens(&[vec![]]).is_err());
    assert!(clip.encode_tokens(&[vec![61; 9]]).is_err());
    assert!(clip.encode_tokens(&[vec![62]]).is_err());
}

/// The model that was recorded from ClipMPCAD's modules, without the blocks that its adapters stand between.
fn clipmpcad(activation: Activation) -> (Vec<Clip>, Tensors) {
    let mut golden = Tensors::new();
    for file in ["tiny_weights.safetensors", "tiny_tensors.safetensors"] {
        let file = common::bytes(&format!("../../../tests/golden/clipmpcad/{file}"));
        let tensors = candle_core::safetensors::load_buffer(&file, &candle_core::Device::Cpu);
        let renamed = |(name, tensor): (String, _)| (name.replace("clip.", "w."), tensor);
        golden.extend(tensors.unwrap().into_iter().map(renamed));
    }
    // A table of 7 x 7 for images of 28 pixels, to be resized.
    let positions = golden["w.visual.positional_embedding.pretrained"].clone();
    golden.insert("w.visual.positional_embedding".to_owned(), positions);
    let mut config = ModelConfig::from_json(
        "tiny",
        r#"{"embed_dim": 24,
            "vision_cfg": {"image_size": 28, "patch_size": 4, "layers": 1, "width": 32, "head_width": 8},
            "text_cfg": {"context_length": 12, "vocab_size": 50, "width": 24, "heads": 3, "layers": 2}}"#,
    )
    .unwrap();
    config.vision.n_blocks = 0;
    config.activation = activation;
    (common::every(&config, &golden), golden)
}

fn token_ids(recorded: &candle_core::Tensor) -> Vec<Vec<u32>> {
    recorded.to_dtype(candle_core::DType::U32).unwrap().to_vec2().unwrap()
}

#[test]
fn the_stem_and_text_of_clipmpcad_are_reproduced() {
    let (clips, golden) = clipmpcad(Activation::Gelu);
    let clip = &clips[0];
    let image = golden["test_images"].get(4).unwrap();
    let stem = clip.vision.stem(&values(&image), 20, 20).unwrap();
    check("stem", &stem, &golden["fwd.stem"]);
    let rows = token_ids(&golden["tokens_normal"]);
    let (quick, _) = clipmpcad(Activation::QuickGelu);
    for (clip, quick) in clips.iter().zip(&quick) {
        check("text", &clip.encode_tokens(&rows).unwrap(), &golden["text_raw_normal"]);
        let found = quick.encode_tokens(&rows).unwrap();
        check("quick text", &found, &golden["text_raw_normal_quickgelu"]);
    }
    let text: &TextTower = clip.text.as_ref().unwrap();
    assert_eq!(text.config.context_length, 12);
    assert_eq!(text.projection.n_out().unwrap(), 24);
}

/// The two directions that tokens are compared with: means of unit embeddings, scaled to length 1.
#[test]
fn the_text_features_of_clipmpcad_are_reproduced() {
    let (clips, golden) = clipmpcad(Activation::Gelu);
    let clip = &clips[0];
    let direction = |name: &str| {
        let rows = clip.encode_tokens(&token_ids(&golden[name])).unwrap();
        let mean = ops::unit_rows(&rows).unwrap().mean_keepdim(0).unwrap();
        ops::unit_rows(&mean).unwrap()
    };
    let found = ["tokens_normal", "tokens_abnormal"].map(direction);
    let found = candle_core::Tensor::cat(&found, 0).unwrap().t().unwrap();
    check("text features", &found.contiguous().unwrap(), &golden["text_features"]);
}
