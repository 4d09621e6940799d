//! Parity of the whole chain: FADE and CLIP-LMFA as the built program and its plugins run them, against gem-torch
//! 1.0.1, open_clip 2.24.0, OpenCV, torchvision and scikit-learn, at every stage. The recorded
//! values and the scripts that recorded them are `tests/golden/fade` and `clip-lmfa`; parity of single modules is
//! tested in their own crates.
//!
//! Grids are square in all of it: `prepare` makes squares, as FADE does. Another shape of grid is
//! held against gem-torch in the encoder's own crate, where images need no pipeline.

mod chain;
mod clipmpcad;
mod compare;
mod eval;
mod recorded;
mod stored;
mod tables;
mod weights;

use chain::{Chain, Model, Variant};
use tables::Tables;

const SMALL: Model =
    Model { golden: "fade", name: "small", sizes: &[32, 48, 80], at: 48, step: 1, data: FADE_DATA };
const WIDE: Model = Model { name: "wide", sizes: &[240, 448], at: 240, step: 3, ..SMALL };
const LMFA: Model = Model { golden: "clip-lmfa", data: LMFA_DATA, ..SMALL };

const FADE_DATA: &str = "dataset = \"mvtec-ad\"";
const LMFA_DATA: &str = "dataset = \"mpdd\"\nclasses = [\"bracket_black\"]";

const FEW: Variant = Variant {
    name: "few",
    base: "fade.toml",
    shots: 1,
    seed: 0,
    says: "image_embedding",
    tells: "gem_patch_embeddings",
    bank: "patch_embeddings",
    text_model: "average",
    gain: 3.5,
    weight: 0.85,
    self_reference: false,
};

const MORE: Variant = Variant {
    name: "more",
    shots: 2,
    seed: 3,
    says: "gem_image_embedding",
    tells: "patch_embeddings",
    bank: "gem_patch_embeddings",
    text_model: "softmax",
    gain: 2.0,
    weight: 0.5,
    ..FEW
};

const ZERO: Variant = Variant {
    name: "zero",
    base: "fade-zero-shot.toml",
    shots: 0,
    bank: "gem_patch_embeddings",
    text_model: "max",
    gain: 8.0,
    weight: 0.5,
    self_reference: true,
    ..FEW
};

const MIXED: Variant = Variant {
    name: "mixed",
    seed: 1,
    says: "gem_image_embedding",
    gain: 5.0,
    weight: 0.7,
    self_reference: true,
    ..FEW
};

/// CLIP-LMFA with its fusion off: `pipelines/clip-lmfa.toml`.
const LMFA_FEW: Variant =
    Variant { name: "few-average", base: "clip-lmfa.toml", shots: 2, seed: 111, ..FEW };

const LMFA_ZERO: Variant = Variant {
    name: "zero-average",
    base: "clip-lmfa-zero-shot.toml",
    seed: 111,
    text_model: "average",
    ..ZERO
};

#[test]
fn every_stage_of_clip_lmfa_is_the_recorded_one() {
    let mut chain = Chain::new(&LMFA);
    let variants = [
        LMFA_FEW,
        Variant { name: "few-softmax", text_model: "softmax", ..LMFA_FEW },
        Variant { name: "few-max", text_model: "max", ..LMFA_FEW },
        LMFA_ZERO,
        Variant { name: "zero-softmax", text_model: "softmax", ..LMFA_ZERO },
        Variant { name: "zero-max", text_model: "max", ..LMFA_ZERO },
    ];
    variants.iter().for_each(|variant| chain.run(variant));
    chain.finish();
}

const FEW_OPTIONS: &str = "--shots 2 --vision-feature clip";
const ZERO_OPTIONS: &str = "--shots 0 --use-query-img-in-vision-memory-bank \
     --vision-segmentation-multiplier 8.0 --vision-segmentation-weight 0.5";

#[test]
fn the_tables_of_imported_command_lines_are_the_recorded_ones_in_every_mode() {
    let mut tables = Tables::new();
    tables.every_mode("few-average", FEW_OPTIONS);
    tables.every_mode("zero-average", ZERO_OPTIONS);
    for model in ["softmax", "max"] {
        for modes in [["both", "both"], ["language", "language"]] {
            let few = format!("{FEW_OPTIONS} --text-model-type {model}");
            tables.modes(&format!("few-{model}"), modes, &few);
            let zero = format!("{ZERO_OPTIONS} --text-model-type {model}");
            tables.modes(&format!("zero-{model}"), modes, &zero);
        }
    }
    tables.finish();
}

#[test]
fn the_tables_of_imported_command_lines_follow_their_other_switches() {
    let mut tables = Tables::new();
    let both = ["both", "both"];
    for says in ["clip", "gem"] {
        for tells in ["clip", "gem"] {
            for bank in ["clip", "gem"] {
                let options = format!(
                    "--shots 2 --language-classification-feature {says} \
                     --language-segmentation-feature {tells} --vision-feature {bank}"
                );
                tables.modes(&format!("features-{says}-{tells}-{bank}"), both, &options);
            }
        }
    }
    let own = format!("{FEW_OPTIONS} --use-query-img-in-vision-memory-bank");
    tables.modes("references-and-query", both, &own);
    tables.modes("normalized", both, &format!("{FEW_OPTIONS} --normalize-segmentations"));
    tables.modes("evaluated-at-240", both, &format!("{FEW_OPTIONS} --eval-img-size 240"));
    tables.finish();
}

#[test]
fn every_stage_of_every_variant_is_the_recorded_one() {
    let mut chain = Chain::new(&SMALL);
    chain.pixels();
    [FEW, MORE, ZERO, MIXED].iter().for_each(|variant| chain.run(variant));
    chain.finish();
}

#[test]
fn at_240_and_448_pixels_with_quick_gelu_too() {
    let mut chain = Chain::new(&WIDE);
    chain.pixels();
    chain.run(&FEW);
    chain.finish();
}

/// The test of the tests on the recorded values alone; each comparison above is put to it with the
/// program's values.
#[test]
fn a_recorded_value_changed_by_ten_times_its_tolerance_is_noticed() {
    for model in [SMALL, WIDE, LMFA] {
        let recorded = recorded::Recorded::read(model.golden, model.name);
        for name in recorded.names("") {
            let array = recorded.get(name);
            let is_probability = array.values.iter().all(|value| (0.0..=1.0).contains(value));
            let is_zero = array.values.iter().all(|value| *value == 0.0);
            for tolerance in compare::ALL {
                if tolerance == compare::PROBABILITY && !is_probability
                    || tolerance == compare::TENSOR && is_zero
                {
                    continue;
                }
                assert_eq!(compare::compare(array, array, tolerance), Ok(0.0), "{name}");
                assert_eq!(compare::would_notice(array, array, tolerance), Ok(()), "{name}");
            }
        }
    }
}

#[test]
fn metrics_of_the_recorded_maps_are_scikit_learns() {
    eval::check(&SMALL, &[&FEW, &MORE, &ZERO, &MIXED]);
    eval::check(&WIDE, &[&FEW]);
}
