//! The built program on a pipeline file against the components that the other tests hold against the record: the
//! same bits, on the recorded images rounded to 8 bits. There are no words in it, since the recorded text tower
//! knows 50 tokens and no sentence.

use super::maps::Judge;
use super::*;
use crate::stored::RunFolder;

const N_PIXELS: usize = SIZE * SIZE;

/// A recorded image in 8 bits a channel, pixel by pixel.
fn bytes(model: &Model, set: &str, index: usize) -> Vec<u8> {
    let image = model.recorded.image(set, index);
    let byte = |i: usize| (image.data()[i].clamp(0.0, 1.0) * 255.0).round() as u8;
    (0..N_PIXELS)
        .flat_map(|pixel| [0, 1, 2].map(|channel| byte(channel * N_PIXELS + pixel)))
        .collect()
}

/// What `prepare` makes of such an image: `[1, 3, h, w]`.
fn prepared(bytes: &[u8]) -> Tensor {
    let channel = |c: usize| bytes.iter().skip(c).step_by(3).map(|byte| f32::from(*byte) / 255.0);
    Tensor::new(vec![1, 3, SIZE, SIZE], (0..3).flat_map(channel).collect()).unwrap()
}

fn write_image(model: &Model, name: &str, bytes: &[u8]) {
    let path = model.world.write(&format!("data/part/{name}.png"), "");
    let side = SIZE as u32;
    image::save_buffer(path, bytes, side, side, image::ExtendedColorType::Rgb8).unwrap();
}

#[test]
fn a_pipeline_makes_the_bits_that_the_components_make() {
    let model = Model::new();
    let judge = Judge::new(&model, "init.", "seg");
    let mut normal = Vec::new();
    for index in 0..2 {
        let bytes = bytes(&model, "fewshot_normal", index);
        write_image(&model, &format!("train/good/{index}"), &bytes);
        normal.push(prepared(&bytes));
    }
    let banks = judge.banks(normal.into_iter());
    let mut want = Vec::new();
    // In the order of a run, which is that of the names.
    for (index, kind) in [(4, "cut"), (5, "cut"), (0, "good"), (1, "good")] {
        let bytes = bytes(&model, "test_images", index);
        write_image(&model, &format!("test/{kind}/{index}"), &bytes);
        let map = judge.few_map(&banks, &prepared(&bytes));
        want.extend(map.into_iter().map(f64::from));
    }
    for index in [4, 5] {
        let mask = &model.recorded.numbers("test_masks")[index * N_PIXELS..][..N_PIXELS];
        let grey: Vec<u8> = mask.iter().flat_map(|x| [if *x > 0.0 { 255 } else { 0 }; 3]).collect();
        write_image(&model, &format!("ground_truth/cut/{index}_mask"), &grey);
    }
    let path = |name: &str| model.world.path(name).display().to_string();
    let text = format!(
        r#"
loupe = 1
[data]
dataset    = "mvtec-ad"
root       = "{data}"
references = {{ shots = 2, select = "first" }}
[stages]
image   = {{ prepare = "square", sizes = [{SIZE}], filter = "pillow-bicubic", normalize = "none" }}
clip    = {{ encoder = "clip", image = "image", model = "{model}", weights = "{weights}", activation = "gelu" }}
madff   = {{ fusion = "madff", taps = "clip", at = {TAPS:?}, image = "image", state = "{state}" }}
differs = {{ scorer = "nearest", query = "madff.seg_tokens", rows = ["madff.seg_tokens", "madff.seg_prefix"], fit_on = "references", distance = "cosine" }}
few_at  = {{ map = "bilinear-align-corners", of = "differs", size = {SIZE} }}
few     = {{ fusion = "sum", parts = "few_at" }}
[output]
anomaly_map = "few"
"#,
        data = path("data"),
        model = path("tiny.json"),
        weights = path("tiny.safetensors"),
        state = path("init.safetensors"),
    );
    let pipeline = model.world.write("few.toml", text).display().to_string();
    let ended = model.world.run(["run", &pipeline, "--out", &path("out")]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let found = RunFolder(model.world.path("out")).maps();
    assert_eq!(found.shape, [4, SIZE, SIZE]);
    let differ = found.values.iter().zip(&want).filter(|(a, b)| a != b).count();
    assert_eq!(differ, 0, "of {} numbers", want.len());
    let spread =
        want.iter().copied().fold(0.0, f64::max) - want.iter().copied().fold(9.0, f64::min);
    assert!(spread > 0.1, "there is nothing to see: {spread}");
}
