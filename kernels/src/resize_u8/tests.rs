use super::*;
use crate::golden::{crc32, recorded, rule_u8, sides};
use crate::parallel::tests::backwards_on_two_threads;
use crate::serial;

fn filter(name: &str) -> Filter {
    match name {
        "nearest" => Filter::Nearest,
        "box" => Filter::Box,
        "bilinear" => Filter::Bilinear,
        "bicubic" => Filter::Bicubic,
        "lanczos" => Filter::Lanczos,
        _ => panic!("no filter `{name}`"),
    }
}

#[test]
fn every_recorded_pillow_resize_is_matched_bit_for_bit() {
    let golden = recorded();
    let cases = golden["pillow"].as_array().unwrap();
    assert_eq!(cases.len(), 11 * 3 * 5);
    for case in cases {
        let (in_hw, out_hw) = (sides(&case["in_hw"]), sides(&case["out_hw"]));
        let channels = case["channels"].as_u64().unwrap() as usize;
        let filter = filter(case["filter"].as_str().unwrap());
        let pixels = rule_u8(in_hw.iter().product::<usize>() * channels);
        let out = resize_u8(&pixels, in_hw, channels, out_hw, filter, &serial).unwrap();
        assert_eq!(crc32(&out), case["crc"].as_u64().unwrap(), "{case}");
        let plain = resize_u8_reference(&pixels, in_hw, channels, out_hw, filter).unwrap();
        assert_eq!(out, plain, "{case}");
    }
}

#[test]
fn bicubic_of_a_ramp_gives_the_published_values() {
    let ramp: Vec<u8> = (0..36).map(|i| 7 * i).collect();
    let down = resize_u8(&ramp, [6, 6], 1, [4, 4], Filter::Bicubic, &serial).unwrap();
    let want = [14, 24, 35, 45, 74, 84, 95, 105, 140, 150, 161, 171, 200, 210, 221, 231];
    assert_eq!(down, want);
    let up = resize_u8(&ramp, [6, 6], 1, [9, 9], Filter::Bicubic, &serial).unwrap();
    assert_eq!(up[..9], [0, 0, 5, 10, 15, 19, 24, 29, 32]);
    assert_eq!(up[36..45], [105, 108, 113, 118, 123, 127, 132, 137, 140]);
}

#[test]
fn order_and_threads_do_not_change_a_byte() {
    let pixels = rule_u8(67 * 45 * 3);
    let run = |par| resize_u8(&pixels, [67, 45], 3, [50, 90], Filter::Bicubic, par).unwrap();
    assert_eq!(run(&serial), run(&backwards_on_two_threads));
}

#[test]
fn lying_shapes_zero_sides_and_odd_channels_are_refused() {
    let check = |in_hw, channels, out_hw, want: &str| {
        let error = resize_u8(&[0; 12], in_hw, channels, out_hw, Filter::Box, &serial).unwrap_err();
        assert_eq!(error.to_string(), want);
    };
    check([2, 3], 3, [1, 1], "`resize_u8` wants `pixels` of 18 values for [2, 3, 3], got 12");
    check([2, 2], 3, [0, 1], "`resize_u8` wants at least one value in `output`, got none");
    check([0, 2], 3, [1, 1], "`resize_u8` wants at least one value in `pixels`, got none");
    check([3, 2], 2, [1, 1], "`resize_u8` wants `channels` 1, 3 or 4, got `2`");
    let error = resize_u8(&[0; 12], [2, 2], 3, [usize::MAX, 2], Filter::Box, &serial).unwrap_err();
    assert!(matches!(error, KernelError::TooLarge { .. }), "{error}");
}

/// Prints its time: `cargo test --release -p loupe-kernels 1024 -- --nocapture`.
#[test]
fn a_picture_of_1024_is_brought_to_896() {
    let pixels = rule_u8(1024 * 1024 * 3);
    let start = std::time::Instant::now();
    let out = resize_u8(&pixels, [1024; 2], 3, [896; 2], Filter::Bicubic, &serial).unwrap();
    println!("1024x1024x3 -> 896x896x3 on one thread: {:?}", start.elapsed());
    assert_eq!(out.len(), 896 * 896 * 3);
}
