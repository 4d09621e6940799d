use super::*;
use crate::golden::{crc32, floats, max_error, recorded, rule_f32, rule_u8, sides};
use crate::parallel::tests::backwards_on_two_threads;
use crate::serial;

type Resize =
    fn(&[f32], [usize; 3], [usize; 2], ParallelFor) -> Result<Vec<f32>, crate::KernelError>;

#[test]
fn maps_match_opencv_torch_and_torchvision() {
    let operations: [(&str, Resize, f32); 4] = [
        ("opencv", opencv_bilinear, 1.2e-7),
        ("bilinear", bilinear, 1.2e-7),
        ("align_corners", bilinear_align_corners, 1.2e-7),
        ("antialias_bilinear", antialias_bilinear, 2.4e-7),
    ];
    for case in recorded()["maps"].as_array().unwrap() {
        let ([h, w], out_hw) = (sides(&case["in_hw"]), sides(&case["out_hw"]));
        let map = rule_f32(h * w);
        for (name, resize, tolerance) in operations {
            let got = resize(&map, [1, h, w], out_hw, &serial).unwrap();
            let error = max_error(&got, &floats(&case[name]));
            assert!(error <= tolerance, "{name} {h}x{w} -> {out_hw:?}: off by {error}");
        }
        let got = antialias_bicubic(&map, [h, w, 1], out_hw, &serial).unwrap();
        let error = max_error(&got, &floats(&case["antialias_bicubic"]));
        assert!(error <= 1e-6, "antialias_bicubic {h}x{w} -> {out_hw:?}: off by {error}");
    }
}

#[test]
fn masks_resized_and_thresholded_equal_torchvisions() {
    for case in recorded()["masks"].as_array().unwrap() {
        let ([h, w], out_hw) = (sides(&case["in_hw"]), sides(&case["out_hw"]));
        let (rows, columns) = (h / 5 + 1, w / 5 + 1);
        let blocks = rule_u8(rows * columns);
        let at = |i: usize| f32::from(u8::from(blocks[i / w / 5 * columns + i % w / 5] > 127));
        let mask: Vec<f32> = (0..h * w).map(at).collect();
        let small = antialias_bilinear(&mask, [1, h, w], out_hw, &serial).unwrap();
        let small: Vec<u8> = small.iter().map(|v| u8::from(*v > 0.5)).collect();
        let n_true: u64 = small.iter().map(|v| u64::from(*v)).sum();
        assert_eq!(n_true, case["n_true"].as_u64().unwrap(), "{case}");
        assert_eq!(crc32(&small), case["crc"].as_u64().unwrap(), "{case}");
    }
}

#[test]
fn eight_bit_maps_match_opencv_bit_for_bit() {
    let small = opencv_bilinear_u8(&[0, 255, 128, 64], [1, 2, 2], [5, 5], &serial).unwrap();
    assert_eq!(small[..10], [0, 25, 127, 229, 255, 13, 35, 124, 213, 236]);
    assert_eq!(small[10..], [64, 74, 112, 150, 160, 115, 112, 99, 86, 83, 128, 121, 96, 70, 64]);
    let ramp = [0, 31, 62, 93, 124, 155, 186, 217, 248];
    let large = opencv_bilinear_u8(&ramp, [1, 3, 3], [4, 4], &serial).unwrap();
    let want = [0, 19, 43, 62, 58, 77, 101, 120, 128, 147, 170, 190, 186, 205, 229, 248];
    assert_eq!(large, want);
    for case in recorded()["opencv_u8"].as_array().unwrap() {
        let ([h, w], out_hw) = (sides(&case["in_hw"]), sides(&case["out_hw"]));
        let out = opencv_bilinear_u8(&rule_u8(h * w), [1, h, w], out_hw, &serial).unwrap();
        assert_eq!(crc32(&out), case["crc"].as_u64().unwrap(), "{case}");
    }
}

#[test]
fn opencv_float_gives_the_published_values() {
    let map = [0.0, 1.0, 0.25, 0.5, 0.75, 0.1, 0.2, 0.9, 0.4];
    let got = opencv_bilinear(&map, [1, 3, 3], [5, 5], &serial).unwrap();
    let want = [
        0.0, 0.4, 1.0, 0.55, 0.25, 0.2, 0.48, 0.9, 0.474, 0.19, 0.5, 0.6, 0.75, 0.36, 0.1, 0.32,
        0.528, 0.84, 0.504, 0.28, 0.2, 0.48, 0.9, 0.6, 0.4,
    ];
    assert!(max_error(&got, &want) < 1e-6);
}

/// Rows of the weight matrix are the images of unit vectors. Values: torch, for open_clip's resize.
#[test]
fn position_embedding_weights_are_open_clips() {
    let row = |n_in: usize, n_out: usize, i: usize| -> Vec<f32> {
        let identity: Vec<f32> =
            (0..n_in * n_in).map(|j| f32::from(u8::from(j / n_in == j % n_in))).collect();
        let rows = antialias_bicubic(&identity, [n_in, 1, n_in], [n_out, 1], &serial).unwrap();
        rows[i * n_in..(i + 1) * n_in].to_vec()
    };
    let check = |n_in, n_out, i, first: usize, want: &[f32]| {
        let mut full = vec![0.0; n_in];
        full[first..first + want.len()].copy_from_slice(want);
        let error = max_error(&row(n_in, n_out, i), &full);
        assert!(error < 1e-6, "{n_in} -> {n_out}, row {i}: off by {error}");
    };
    check(15, 28, 0, 0, &[1.083_908_7, -0.083_908_7]);
    check(15, 28, 1, 0, &[0.755_925_1, 0.273_964_5, -0.029_889_6]);
    check(15, 28, 2, 0, &[0.124_439_9, 0.931_556_8, -0.055_996_7]);
    check(15, 28, 13, 5, &[-0.026_264_9, 0.248_597, 0.849_458_2, -0.071_790_3]);
    check(15, 28, 27, 13, &[-0.083_908_7, 1.083_908_7]);
    check(15, 56, 0, 0, &[1.110_608_8, -0.110_608_8]);
    check(15, 56, 1, 0, &[1.042_602_8, -0.042_602_8]);
    check(15, 56, 2, 0, &[0.883_694_4, 0.127_593_5, -0.011_287_9]);
    check(15, 56, 27, 5, &[-0.007_767_3, 0.099_234_9, 0.958_761_1, -0.050_228_6]);
    let middle = [-0.014_348, -0.019_47, 0.533_818, 0.533_818, -0.019_47, -0.014_348];
    check(24, 17, 8, 9, &middle);
}

#[test]
fn a_24_grid_of_sines_becomes_a_17_grid() {
    let grid: Vec<f32> = (0..576).map(|i| (i as f64).sin() as f32).collect();
    let out = antialias_bicubic(&grid, [24, 24, 1], [17, 17], &serial).unwrap();
    let row0 =
        [-0.034_626_82, 0.846_038_8, 0.358_561_58, -0.747_933_15, -0.601_181_5, 0.565_562_07];
    assert!(max_error(&out[..6], &row0) < 1e-5);
    let row16 = [-0.303_402_07, 0.732_727_77, 0.592_522_7, -0.563_962_46, -0.774_071_04];
    assert!(max_error(&out[16 * 17..][..5], &row16) < 1e-5);
    let sum: f64 = out.iter().map(|v| f64::from(*v)).sum();
    assert!((sum - 0.988_500_379).abs() < 1e-4, "{sum}");
}

#[test]
fn several_maps_and_channels_are_resized_one_by_one() {
    let maps = rule_f32(2 * 5 * 6);
    let both = bilinear(&maps, [2, 5, 6], [7, 3], &backwards_on_two_threads).unwrap();
    for (i, map) in maps.chunks_exact(30).enumerate() {
        let one = bilinear(map, [1, 5, 6], [7, 3], &serial).unwrap();
        assert_eq!(both[i * 21..(i + 1) * 21], one);
    }
    let channel =
        |x: &[f32], c: usize| -> Vec<f32> { x.iter().skip(c).step_by(2).copied().collect() };
    let grid = antialias_bicubic(&maps, [5, 6, 2], [3, 8], &backwards_on_two_threads).unwrap();
    for c in 0..2 {
        let one = antialias_bicubic(&channel(&maps, c), [5, 6, 1], [3, 8], &serial).unwrap();
        assert_eq!(channel(&grid, c), one);
    }
}

#[test]
fn empty_lying_and_non_finite_maps_are_refused() {
    let check = |map: &[f32], nhw, out_hw, want: &str| {
        assert_eq!(bilinear(map, nhw, out_hw, &serial).unwrap_err().to_string(), want);
    };
    check(&[0.0; 5], [1, 2, 3], [4, 4], "`bilinear` wants `maps` of 6 values for [1, 2, 3], got 5");
    check(&[], [1, 0, 3], [4, 4], "`bilinear` wants at least one value in `maps`, got none");
    check(
        &[0.0; 6],
        [1, 2, 3],
        [4, 0],
        "`bilinear` wants at least one value in `output`, got none",
    );
    let nan = [0.0, f32::NAN];
    check(
        &nan,
        [1, 1, 2],
        [2, 2],
        "`bilinear` wants finite values, but `maps` holds `NaN` at index 1",
    );
    let huge = bilinear(&[0.0; 6], [1, 2, 3], [usize::MAX / 2, 3], &serial).unwrap_err();
    assert!(matches!(huge, KernelError::TooLarge { .. }), "{huge}");
}
