//! The components as a host sees them.

mod common;

use loupe_clip::{ClipEncoder, GemEncoder};
use loupe_plugin::prelude::Tensor;
use loupe_plugin::testing;

fn golden(name: &str) -> String {
    format!("{}/golden/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn random(more: &str) -> String {
    format!("model = '{}'\nweights = 'random'\n{more}", golden("model.json"))
}

#[test]
fn clip_conforms() {
    testing::encoder::<ClipEncoder>(&random("seed = 3")).check();
}

#[test]
fn gem_conforms() {
    testing::encoder::<GemEncoder>(&random("blocks = 4\ntemperature = 8.0")).check();
}

#[test]
fn images_become_vectors_with_their_grid() {
    let image =
        Tensor::new([2, 3, 40, 24], (0..5760).map(|i| (i % 89) as f32 / 44.5 - 1.0)).unwrap();
    let subject = testing::encoder::<GemEncoder>(&random("")).input("image", image);
    let ran = subject.run().unwrap();
    for prefix in ["", "gem_"] {
        assert_eq!(ran.tensor(&format!("{prefix}image_embedding")).dims(), [2, 12]);
        assert_eq!(ran.tensor(&format!("{prefix}patch_tokens")).dims(), [2, 5, 3, 16]);
        assert_eq!(ran.tensor(&format!("{prefix}patch_embeddings")).dims(), [2, 5, 3, 12]);
    }
}

fn refused(config: &str) -> String {
    testing::encoder::<GemEncoder>(config).run().err().expect("must be refused")
}

#[test]
fn a_config_that_cannot_work_says_what_is_wrong() {
    let misfit =
        format!("model = '{}'\nweights = '{}'", golden("model.json"), golden("files.safetensors"));
    let message = refused(&misfit);
    assert!(message.contains("tensors are missing (visual.transformer.resblocks.1."), "{message}");
    let message = refused("model = 'ViT-B-17'\nweights = 'random'");
    assert!(message.contains("no model is called `ViT-B-17`"), "{message}");
    let message = refused(&random("weigths = 1"));
    assert!(message.contains("weigths"), "{message}");
    let message = refused(&random("activation = 'relu'"));
    assert!(message.contains("quick-gelu"), "{message}");
}

/// OpenAI trained with QuickGELU, which only the archive's kind tells.
#[test]
fn an_openai_archive_brings_its_activation() {
    let description = r#"{"embed_dim": 4,
        "vision_cfg": {"image_size": 8, "patch_size": 4, "layers": 1, "width": 8, "head_width": 4,
                       "mlp_ratio": 2.0},
        "text_cfg": {"context_length": 5, "vocab_size": 12, "width": 8, "heads": 2, "layers": 1}}"#;
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("small.json");
    std::fs::write(&model, description).unwrap();
    let embedding = |weights: &str, more: &str| {
        let weights = golden(weights);
        let config = format!("model = '{}'\nweights = '{weights}'\n{more}", model.display());
        let image = Tensor::new([1, 3, 8, 8], common::values(&common::image(8, 8))).unwrap();
        let subject = testing::encoder::<ClipEncoder>(&config).input("image", image);
        let ran = subject.run().unwrap();
        ran.tensor("image_embedding").f32s().unwrap().to_vec()
    };
    let archive = embedding("files-torchscript.pt", "");
    assert_eq!(archive, embedding("files-torchscript.pt", "activation = 'quick-gelu'"));
    assert_ne!(archive, embedding("files-torchscript.pt", "activation = 'gelu'"));
    let plain = embedding("files.safetensors", "");
    assert_eq!(plain, embedding("files.safetensors", "activation = 'gelu'"));
}
