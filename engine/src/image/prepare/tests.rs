use super::*;
use crate::image::decode_rgb;
use crate::image::golden::{crc32, golden, read};
use loupe_kernels::serial;

fn picture(name: &str) -> Rgb {
    decode_rgb(&read(name), name).unwrap()
}

fn crc_of(values: &[f32]) -> u64 {
    crc32(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
}

fn config(size_hw: [usize; 2], normalize: Normalize) -> PrepareConfig {
    PrepareConfig { size_hw, filter: Filter::Bicubic, normalize, geometry: Geometry::Square }
}

#[test]
fn pixels_equal_pillow_and_torchvision_bit_for_bit() {
    let golden = golden();
    let cases = golden["prepare"].as_array().unwrap();
    assert_eq!(cases.len(), 2 * (5 * 3 + 4));
    for case in cases {
        let filter = match case["filter"].as_str().unwrap() {
            "bicubic" => Filter::Bicubic,
            "bilinear" => Filter::Bilinear,
            _ => Filter::Nearest,
        };
        let geometry = match case["geometry"].as_str().unwrap() {
            "square" => Geometry::Square,
            _ => Geometry::ShorterSide,
        };
        let size_hw = [0, 1].map(|i| case["hw"][i].as_u64().unwrap() as usize);
        let config = PrepareConfig { size_hw, filter, normalize: Normalize::Clip, geometry };
        let values = prepare(&picture(case["name"].as_str().unwrap()), &config, &serial).unwrap();
        assert_eq!(crc_of(&values), case["crc"].as_u64().unwrap(), "{case}");
    }
    let rgb = picture("rgb.png");
    let plain = prepare(&rgb, &config([37, 53], Normalize::None), &serial).unwrap();
    assert_eq!(crc_of(&plain), golden["to_tensor"].as_u64().unwrap());
    let custom = Normalize::Custom { mean: [0.5, 0.4, 0.3], std: [0.5, 0.25, 0.2] };
    let values = prepare(&rgb, &config([37, 53], custom), &serial).unwrap();
    assert_eq!(crc_of(&values), golden["custom"].as_u64().unwrap());
}

#[test]
fn configs_that_make_no_sense_are_refused() {
    let check = |config: PrepareConfig, want: &str| {
        let error = prepare(&picture("rgb.png"), &config, &serial).unwrap_err();
        assert_eq!(error.to_string(), want);
    };
    let custom = |mean, std| config([8, 8], Normalize::Custom { mean: [mean; 3], std: [std; 3] });
    check(custom(0.5, 0.0), "`std` wants values above 0, got `0`");
    check(custom(0.5, f32::NAN), "`std` wants values above 0, got `NaN`");
    check(custom(f32::INFINITY, 1.0), "`mean` wants finite values, got `inf`");
    let want = "`resize_u8` wants at least one value in `output`, got none";
    check(config([0, 8], Normalize::Clip), want);
    let oblong =
        PrepareConfig { geometry: Geometry::ShorterSide, ..config([8, 9], Normalize::Clip) };
    check(oblong, "`geometry = \"shorter-side\"` wants a square size, got 8 x 9");
}

#[test]
fn a_pipelines_words_name_the_same_config() {
    let named = |geometry: &str, filter: &str| {
        PrepareConfig::from_names(geometry, filter, Normalize::Clip, [8, 8])
    };
    assert_eq!(named("square", "pillow-bicubic").unwrap(), config([8, 8], Normalize::Clip));
    let want = "`prepare` wants `square` or `shorter-side`, got `crop`";
    assert_eq!(named("crop", "pillow-box").unwrap_err().to_string(), want);
    let want = "`filter` wants `pillow-` and one of `bicubic bilinear nearest box lanczos`, got \
                `bicubic`";
    assert_eq!(named("square", "bicubic").unwrap_err().to_string(), want);
}
