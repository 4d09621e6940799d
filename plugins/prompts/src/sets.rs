//! Prompt sets: sentences with a place for the name, normal and anomalous.
//!
//! The two grids are facts of their methods and stand here as such: `winclip` is the compositional ensemble of WinCLIP
//! (arXiv:2303.14814), `clip-35` that of APRIL-GAN (arXiv:2305.17382) and MVFA (arXiv:2403.12570). `llm-object` is
//! loupe's own. Sentence files of other systems are read from the user's folder and are no part of loupe.

use loupe_plugin::prelude::*;
use serde::Deserialize;

/// Where a sentence takes the name.
pub(crate) const NAME: &str = "{}";

/// Sentences of one source. `NAME` in them is replaced by the class.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PromptSet {
    pub(crate) source: String,
    pub(crate) normal: Vec<String>,
    pub(crate) anomalous: Vec<String>,
}

/// Names of the sets that loupe ships.
pub(crate) const BUILT_IN: [&str; 3] = ["winclip", "clip-35", "llm-object"];

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

/// A set by name. Errors: `config` listing the names there are.
pub(crate) fn built_in(name: &str) -> Result<PromptSet> {
    let (normal, anomalous) = match name {
        "winclip" => (
            grid(&NORMAL_STATES, &WINCLIP_TEMPLATES),
            grid(&WINCLIP_ANOMALOUS_STATES, &WINCLIP_TEMPLATES),
        ),
        "clip-35" => (
            grid(&NORMAL_STATES, &CLIP_35_TEMPLATES),
            grid(&CLIP_35_ANOMALOUS_STATES, &CLIP_35_TEMPLATES),
        ),
        "llm-object" => (
            OBJECT_NORMAL.iter().map(|text| (*text).to_owned()).collect(),
            OBJECT_ANOMALOUS.iter().map(|text| (*text).to_owned()).collect(),
        ),
        other => {
            return Err(Error::config(format!(
                "`sets` names `{other}`, which is none of {}; files go under `files`",
                BUILT_IN.join(", ")
            )));
        }
    };
    Ok(PromptSet { source: name.to_owned(), normal, anomalous })
}

/// Every state in every template, template by template.
fn grid(states: &[&str], templates: &[&str]) -> Vec<String> {
    let crossed = templates
        .iter()
        .flat_map(|template| states.iter().map(move |state| template.replace(NAME, state)));
    crossed.collect()
}

/// The file schema of FADE: `{"normal": {"prompts": [..]}, "abnormal": {"prompts": [..]}}` with `{classname}`.
#[derive(Deserialize)]
struct FadeFile {
    normal: FadePrompts,
    abnormal: FadePrompts,
}

#[derive(Deserialize)]
struct FadePrompts {
    prompts: Vec<String>,
}

/// A set from the bytes of a FADE file. Errors: `config` naming the file and the place.
pub(crate) fn from_file(path: &str, bytes: &[u8]) -> Result<PromptSet> {
    let file: FadeFile = serde_json::from_slice(bytes).map_err(|error| {
        Error::config(format!(
            "`{path}` is no prompt file ({error}); wants {{\"normal\": {{\"prompts\": [..]}}, \"abnormal\": \
             {{\"prompts\": [..]}}}}"
        ))
    })?;
    let placed = |prompts: FadePrompts| -> Vec<String> {
        prompts.prompts.into_iter().map(|text| text.replace("{classname}", NAME)).collect()
    };
    let source = path.rsplit(['/', '\\']).next().unwrap_or(path).to_owned();
    Ok(PromptSet { source, normal: placed(file.normal), anomalous: placed(file.abnormal) })
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
    fn an_unknown_set_lists_the_known_ones() {
        let message = built_in("winklip").unwrap_err().to_string();
        assert!(message.contains("winclip, clip-35, llm-object"), "{message}");
    }

    #[test]
    fn a_fade_file_is_read_and_a_wrong_one_named() {
        let text = r#"{"normal": {"instruction": "", "prompts": ["a {classname}"]},
                       "abnormal": {"instruction": "", "prompts": ["a bad {classname}"]}}"#;
        let set = from_file("prompts/own.json", text.as_bytes()).unwrap();
        assert_eq!((set.source.as_str(), set.anomalous[0].as_str()), ("own.json", "a bad {}"));
        let message = from_file("prompts/own.json", b"[]").unwrap_err().to_string();
        assert!(message.contains("`prompts/own.json` is no prompt file"), "{message}");
    }
}
