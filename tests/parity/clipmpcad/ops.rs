//! Single operations: resizing as Pillow and PyTorch do it, references in eleven forms, an AUROC with ties. Losses
//! and the warps of `ops.json` are compared in the engine, token ids and the position table in the clip plugin.

use loupe_engine::image::{N_WARPS, warped};
use loupe_engine::metrics::ImageScores;
use loupe_kernels::{Filter, resize_u8};

use super::maps::resized;
use super::*;

fn recorded(operation: &str) -> Json {
    let bytes = std::fs::read(folder("clipmpcad").join("ops.json")).unwrap();
    serde_json::from_slice::<Json>(&bytes).unwrap()[operation].take()
}

/// All numbers of nested lists.
fn flat(json: &Json) -> Vec<f64> {
    match json.as_array() {
        Some(rows) => rows.iter().flat_map(flat).collect(),
        None => vec![json.as_f64().unwrap()],
    }
}

fn serial(n: usize, body: &(dyn Fn(usize) + Sync)) {
    (0..n).for_each(body);
}

#[test]
fn images_are_resized_as_by_pillow() {
    let bicubic = recorded("pil_bicubic");
    let pixels: Vec<u8> = (0..6 * 7 * 3).map(|i| (i * 37 % 256) as u8).collect();
    for (out_hw, out) in [([4, 5], "out"), ([8, 9], "out_up")] {
        let got = resize_u8(&pixels, [6, 7], 3, out_hw, Filter::Bicubic, &serial).unwrap();
        let got: Vec<f64> = got.into_iter().map(f64::from).collect();
        assert_eq!(got, flat(&bicubic[out]), "{out}");
    }
    let pixels: Vec<u8> = (0..6 * 7).map(|i| (i * 101 % 256) as u8).collect();
    let got = resize_u8(&pixels, [6, 7], 1, [4, 5], Filter::Nearest, &serial).unwrap();
    let got: Vec<f64> = got.into_iter().map(f64::from).collect();
    assert_eq!(got, flat(&recorded("pil_nearest")["out"]));
}

#[test]
fn maps_are_stretched_as_by_pytorch() {
    let values = (0..9).map(|i| (i as f32).sin()).collect();
    let got = resized(&Tensor::new(vec![1, 3, 3], values).unwrap(), 5, None);
    let want = flat(&recorded("bilinear_align_corners")["out_5x5"]);
    let want: Vec<f32> = want.into_iter().map(|x| x as f32).collect();
    assert!(error(&got, &want) < 1e-6, "{:.1e}", error(&got, &want));
}

/// Two references and their masks, each form of both before the next.
#[test]
fn references_become_the_recorded_eleven() {
    let model = Model::new();
    for (few, augmented, channels) in [
        ("fewshot_normal", "aug_normal", 3),
        ("fewshot_abnormal", "aug_abnormal", 3),
        ("fewshot_abnormal_mask", "aug_abnormal_mask", 1),
    ] {
        let n = channels * SIZE * SIZE;
        let (few, want) = (model.recorded.numbers(few), model.recorded.numbers(augmented));
        let forms = (0..N_WARPS).flat_map(|form| [&few[..n], &few[n..]].map(|one| (form, one)));
        let got: Vec<f32> =
            forms.flat_map(|(form, one)| warped(one, [channels, SIZE, SIZE], form)).collect();
        assert!(error(&got, want) < 2e-5, "{augmented}: {:.1e}", error(&got, want));
    }
}

#[test]
fn ties_count_half_in_an_auroc() {
    let case = recorded("auroc_ties");
    let mut scores = ImageScores::new();
    for (idx, (label, score)) in flat(&case["y"]).into_iter().zip(flat(&case["s"])).enumerate() {
        scores.push(&idx.to_string(), score, label > 0.0).unwrap();
    }
    assert_eq!(scores.metrics().auroc.get(), case["auroc"].as_f64());
}
