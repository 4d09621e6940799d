//! Parity of the whole chain: FADE as the built program and its plugins run it, against gem-torch
//! 1.0.1, open_clip 2.24.0, OpenCV, torchvision and scikit-learn, at every stage. The recorded
//! values and the script that recorded them are `tests/golden/fade`; parity of single modules is
//! tested in their own crates.
//!
//! Grids are square in all of it: `prepare` makes squares, as FADE does. Another shape of grid is
//! held against gem-torch in the encoder's own crate, where images need no pipeline.

mod chain;
mod compare;
mod eval;
mod recorded;
mod stored;
mod weights;

use chain::{Chain, Model, Variant};

const SMALL: Model = Model { name: "small", sizes: &[32, 48, 80], at: 48, step: 1 };
const WIDE: Model = Model { name: "wide", sizes: &[240, 448], at: 240, step: 3 };

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
    for model in [SMALL, WIDE] {
        let recorded = recorded::Recorded::read(model.name);
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
