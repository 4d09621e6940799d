//! Prompt sets: sentences with a place for the name, normal and anomalous.
//!
//! Grids are facts of their methods and stand here as such: `winclip` is the compositional ensemble
//! of WinCLIP (arXiv:2303.14814), with FADE's words for the fault's size and place in `-sizes` and
//! `-positions`; `clip-35` that of APRIL-GAN (arXiv:2305.17382) and MVFA (arXiv:2403.12570);
//! `manual` and `manual-damage` are the pairs by hand that both compare with. `chest-findings` and
//! `llm-object` are loupe's own. Sentence files of other systems are read from the user's folder
//! and are no part of loupe.

mod chest;

use loupe_plugin::prelude::*;

use crate::words::{NAME, tidy};

/// Sentences of one source. `NAME` in them is replaced by the class.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PromptSet {
    pub(crate) source: String,
    pub(crate) normal: Vec<String>,
    pub(crate) anomalous: Vec<String>,
}

/// Names of the sets that loupe ships.
pub(crate) const BUILT_IN: [&str; 9] = [
    "winclip",
    "winclip-sizes",
    "winclip-positions",
    "winclip-sizes-positions",
    "clip-35",
    "manual",
    "manual-damage",
    "chest-findings",
    "llm-object",
];

const NORMAL_STATES: [&str; 7] = [
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
];
const WINCLIP_ANOMALOUS_STATES: [&str; 4] =
    ["damaged {}", "{} with flaw", "{} with defect", "{} with damage"];
const CLIP_35_ANOMALOUS_STATES: [&str; 5] =
    ["damaged {}", "broken {}", "{} with flaw", "{} with defect", "{} with damage"];

const WINCLIP_TEMPLATES: [&str; 22] = [
    "a cropped photo of the {}",
    "a cropped photo of a {}",
    "a close-up photo of a {}",
    "a close-up photo of the {}",
    "a bright photo of a {}",
    "a bright photo of the {}",
    "a dark photo of the {}",
    "a dark photo of a {}",
    "a jpeg corrupted photo of a {}",
    "a jpeg corrupted photo of the {}",
    "a blurry photo of the {}",
    "a blurry photo of a {}",
    "a photo of a {}",
    "a photo of the {}",
    "a photo of a small {}",
    "a photo of the small {}",
    "a photo of a large {}",
    "a photo of the large {}",
    "a photo of the {} for visual inspection",
    "a photo of a {} for visual inspection",
    "a photo of the {} for anomaly detection",
    "a photo of a {} for anomaly detection",
];

const CLIP_35_TEMPLATES: [&str; 35] = [
    "a bad photo of a {}.",
    "a low resolution photo of the {}.",
    "a bad photo of the {}.",
    "a cropped photo of the {}.",
    "a bright photo of a {}.",
    "a dark photo of the {}.",
    "a photo of my {}.",
    "a photo of the cool {}.",
    "a close-up photo of a {}.",
    "a black and white photo of the {}.",
    "a bright photo of the {}.",
    "a cropped photo of a {}.",
    "a jpeg corrupted photo of a {}.",
    "a blurry photo of the {}.",
    "a photo of the {}.",
    "a good photo of the {}.",
    "a photo of one {}.",
    "a close-up photo of the {}.",
    "a photo of a {}.",
    "a low resolution photo of a {}.",
    "a photo of a large {}.",
    "a blurry photo of a {}.",
    "a jpeg corrupted photo of the {}.",
    "a good photo of a {}.",
    "a photo of the small {}.",
    "a photo of the large {}.",
    "a black and white photo of a {}.",
    "a dark photo of a {}.",
    "a photo of a cool {}.",
    "a photo of a small {}.",
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
];

const OBJECT_NORMAL: [&str; 12] = [
    "an even surface in one colour",
    "a clean part straight from the line",
    "edges that are straight and complete",
    "a regular texture without interruption",
    "a smooth finish with a uniform shine",
    "every element in its place",
    "a sound piece that passes inspection",
    "fibres that run parallel and unbroken",
    "a spotless and dry surface",
    "a pattern that repeats without error",
    "material of constant thickness",
    "an intact coating",
];
const OBJECT_ANOMALOUS: [&str; 16] = [
    "a crack that runs across the surface",
    "a scratch through the finish",
    "a hole where material is missing",
    "a chipped edge",
    "a dent in the metal",
    "a dark stain on the material",
    "rust that eats into the part",
    "a torn fibre",
    "a bent or misplaced element",
    "dirt and residue on the surface",
    "a broken corner",
    "paint that flakes off",
    "an irregular patch in the pattern",
    "a cut in the fabric",
    "a foreign body stuck in the material",
    "a discoloured area",
];

/// Words for a fault's size, and for its place, in FADE's augmented grids; the empty one is the
/// plain sentence.
const SIZES: [&str; 8] = ["", "tiny", "small", "big", "large", "huge", "light", "severe"];
const POSITIONS: [&str; 12] = [
    "",
    "in the middle",
    "in the center",
    "on the left",
    "on the right",
    "on the top",
    "on the bottom",
    "on the top left",
    "on the bottom left",
    "on the top right",
    "on the bottom right",
    "everywhere",
];

/// A set by name. Errors: `config` listing the names there are.
pub(crate) fn built_in(name: &str) -> Result<PromptSet> {
    let winclip = |sizes: &[&str], positions: &[&str]| {
        (
            grid(&NORMAL_STATES, &WINCLIP_TEMPLATES),
            grid(&with_slots(&WINCLIP_ANOMALOUS_STATES, sizes, positions), &WINCLIP_TEMPLATES),
        )
    };
    let (normal, anomalous) = match name {
        "winclip" => winclip(&[""], &[""]),
        "winclip-sizes" => winclip(&SIZES, &[""]),
        "winclip-positions" => winclip(&[""], &POSITIONS),
        "winclip-sizes-positions" => winclip(&SIZES, &POSITIONS),
        "clip-35" => (
            grid(&NORMAL_STATES, &CLIP_35_TEMPLATES),
            grid(&CLIP_35_ANOMALOUS_STATES, &CLIP_35_TEMPLATES),
        ),
        "manual" => (owned(&["normal {}"]), owned(&["anomalous {}"])),
        "manual-damage" => (
            owned(&["a cropped photo of a {} without damage"]),
            owned(&["a cropped photo of a {} with damage"]),
        ),
        "chest-findings" => chest::findings(),
        "llm-object" => (owned(&OBJECT_NORMAL), owned(&OBJECT_ANOMALOUS)),
        other => {
            return Err(Error::config(format!(
                "`sets` names `{other}`, which is none of {}; files go under `files`",
                BUILT_IN.join(", ")
            )));
        }
    };
    Ok(PromptSet { source: name.to_owned(), normal, anomalous })
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Each state with every size before its fault word and every position at its end, in FADE's order:
/// positions run fastest. The fault word is the first that is neither the name nor `with`.
fn with_slots(states: &[&str], sizes: &[&str], positions: &[&str]) -> Vec<String> {
    let mut slotted = Vec::with_capacity(states.len() * sizes.len() * positions.len());
    for state in states {
        let words: Vec<&str> = state.split(' ').collect();
        let at =
            words.iter().position(|word| !["with", NAME].contains(word)).unwrap_or(words.len());
        let (before, fault) = words.split_at(at);
        for size in sizes {
            for position in positions {
                let parts = [before.join(" ").as_str(), size, &fault.join(" "), position].join(" ");
                slotted.push(tidy(&parts));
            }
        }
    }
    slotted
}

/// Every state in every template, template by template.
fn grid<S: AsRef<str>>(states: &[S], templates: &[&str]) -> Vec<String> {
    let crossed = templates.iter().flat_map(|template| {
        states.iter().map(move |state| template.replace(NAME, state.as_ref()))
    });
    crossed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grids_have_the_published_sizes() {
        let sizes =
            |name| built_in(name).map(|set| (set.normal.len(), set.anomalous.len())).unwrap();
        assert_eq!(sizes("winclip"), (154, 88));
        assert_eq!(sizes("clip-35"), (245, 175));
    }

    #[test]
    fn a_grid_crosses_states_with_templates() {
        let set = built_in("winclip").unwrap();
        assert_eq!(set.anomalous[0], "a cropped photo of the damaged {}");
        assert!(set.normal.contains(&"a photo of a {} without flaw".to_owned()));
    }

    #[test]
    fn sizes_and_places_have_slots_of_their_own() {
        let unique = |name: &str| {
            let all = built_in(name).unwrap().anomalous;
            let unique: std::collections::BTreeSet<&String> = all.iter().collect();
            (all.len(), unique.len())
        };
        // FADE's files have as many: `small` and `large` stand in two of the templates as well.
        assert_eq!(unique("winclip-sizes"), (704, 700));
        assert_eq!(unique("winclip-positions"), (1056, 1056));
        assert_eq!(unique("winclip-sizes-positions"), (8448, 8400));
        let both = built_in("winclip-sizes-positions").unwrap();
        let plain = built_in("winclip").unwrap();
        assert_eq!(both.normal, plain.normal);
        let every_96th: Vec<&String> = both.anomalous.iter().step_by(96).collect();
        assert_eq!(every_96th, plain.anomalous.iter().collect::<Vec<_>>());
        assert_eq!(both.anomalous[13], "a cropped photo of the tiny damaged {} in the middle");
        assert_eq!(
            both.anomalous[96 + 85],
            "a cropped photo of the {} with severe flaw in the middle"
        );
        let inspected = "a photo of the {} with light damage on the top for visual inspection";
        assert!(both.anomalous.contains(&inspected.to_owned()));
        assert!(both.anomalous.iter().all(|text| *text == tidy(text)));
    }

    #[test]
    fn every_set_has_both_labels_and_no_stray_brace() {
        for name in BUILT_IN {
            let set = built_in(name).unwrap();
            assert!(!set.normal.is_empty() && !set.anomalous.is_empty(), "{name}");
            let all = set.normal.iter().chain(&set.anomalous);
            for text in all {
                assert_eq!(crate::words::stray_brace(text), None, "{name}");
            }
        }
    }

    #[test]
    fn an_unknown_set_lists_the_known_ones() {
        let message = built_in("winklip").unwrap_err().to_string();
        assert!(message.contains("winclip, winclip-sizes"), "{message}");
    }
}
