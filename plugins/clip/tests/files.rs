//! Weights files: every container and dialect gives the same model; damaged ones give an error.

mod common;

use common::{bytes, files_config, image, open, values};
use loupe_clip::model::Request;
use loupe_clip::weights::{Dialect, WeightsFile};
use loupe_clip::{Clip, Wanted};

fn embeddings(clip: &Clip) -> (Vec<f32>, Vec<f32>) {
    let wanted = Wanted { image_embedding: true, ..Wanted::default() };
    let images = clip.encode(&image(8, 8), Request { wanted, ..Request::default() }).unwrap();
    let text = clip.encode_tokens(&[vec![10, 3, 11], vec![10, 11]]).unwrap();
    (values(&images.clip.image_embedding.unwrap()), values(&text))
}

#[test]
fn every_container_and_dialect_gives_the_same_model() {
    let want = embeddings(&open(&bytes("files.safetensors")).unwrap());
    for name in ["files-bf16.safetensors", "files-hf.safetensors", "files-nested.pt"] {
        assert_eq!(embeddings(&open(&bytes(name)).unwrap()), want, "{name}");
    }
    // The two that hold f16 agree with each other where they hold the same.
    for name in ["files.pt", "files-torchscript.pt"] {
        let (images, text) = embeddings(&open(&bytes(name)).unwrap());
        let near = |a: &[f32], b: &[f32]| common::relative_error(a, b) < 5e-3;
        assert!(near(&images, &want.0) && near(&text, &want.1), "{name}");
    }
}

#[test]
fn the_dialect_is_read_from_the_names_and_further_tensors_do_no_harm() {
    let further = |name: &str| {
        let bytes = bytes(name);
        let mut file = WeightsFile::open(&bytes).unwrap();
        (file.dialect(), file.check(&files_config()).unwrap())
    };
    assert_eq!(further("files.safetensors"), (Dialect::OpenClip, 0));
    assert_eq!(further("files-hf.safetensors"), (Dialect::HuggingFace, 1));
    assert_eq!(further("files-torchscript.pt"), (Dialect::OpenClip, 3));
    let is_openai = |name: &str| WeightsFile::open(&bytes(name)).unwrap().is_openai();
    assert!(is_openai("files-torchscript.pt") && !is_openai("files.pt"));
}

#[test]
fn a_file_without_a_text_tower_is_an_image_only_model() {
    let clip = open(&bytes("files-image-only.pt")).unwrap();
    let refused = clip.encode_text(&["a bottle"]).err().unwrap().to_string();
    assert!(refused.contains("image-only"), "{refused}");
}

fn refused(bytes: &[u8]) -> String {
    open(bytes).err().expect("must be refused").to_string()
}

#[test]
fn a_file_of_another_model_names_the_first_differences() {
    let bytes = bytes("files.safetensors");
    let mut config = files_config();
    config.vision.n_blocks = 2;
    config.embed_dim = 6;
    let mut file = WeightsFile::open(&bytes).unwrap();
    let message = file.check(&config).unwrap_err().to_string();
    for part in [
        "12 of 49 tensors are missing (visual.transformer.resblocks.1.ln_1.weight; ",
        "and 9 more",
        "2 have another shape (`visual.proj` is [8, 4], not [8, 6]; ",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn what_is_no_weights_file_is_refused_with_what_to_do() {
    assert!(refused(&bytes("files-legacy.pt")).contains("before torch 1.6"));
    assert!(refused(b"").contains("neither safetensors nor"));
    assert!(refused(b"<!DOCTYPE html><html>").contains("neither safetensors nor"));
    assert!(refused(b"PK\x03\x04 and nothing else").contains("damaged zip"));
    let no_clip = bytes("tokens.json");
    assert!(refused(&no_clip).contains("neither safetensors nor"));
}

/// Every file cut at many places, and with single bytes changed: an error or a model, no panic.
#[test]
fn damaged_files_never_panic() {
    for name in ["files.safetensors", "files.pt", "files-nested.pt", "files-torchscript.pt"] {
        let whole = bytes(name);
        let step = 1 + whole.len() / 97;
        for cut in (0..whole.len()).step_by(step).chain([1, 7, 8, 9, whole.len() - 1]) {
            assert!(open(&whole[..cut]).is_err(), "{name} cut at {cut}");
        }
        let mut state = 1_u32;
        for _ in 0..400 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let mut bytes = whole.clone();
            let at = state as usize % bytes.len();
            bytes[at] = (state >> 24) as u8;
            let _ = open(&bytes);
        }
    }
}

#[test]
fn sizes_that_no_memory_holds_are_refused() {
    let header = br#"{"visual.proj":{"dtype":"F32","shape":[4294967295,4294967295,4294967295],"data_offsets":[0,4]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend([0; 4]);
    assert!(refused(&bytes).contains("damaged safetensors"));
    let mut bytes = u64::MAX.to_le_bytes().to_vec();
    bytes.push(b'{');
    assert!(refused(&bytes).contains("damaged safetensors"));
}
