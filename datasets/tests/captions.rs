//! Captions: every picture has some, they fit its state, and their words cover the prompt sets.

use std::collections::BTreeMap;
use std::fs;

use loupe_datasets::surfaces::captions::{Sentences, words_of};
use loupe_datasets::surfaces::{Options, Set, defects, families, make_dataset};

/// The words of loupe's own prompt sets (`winclip`, `clip-35`, `llm-object`), copied from them.
const PROMPT_WORDS: &str = "\
    a across an and anomaly are area bad bent black blurry body bright broken chipped clean close \
    coating colour complete constant cool corner corrupted crack cropped cut damage damaged dark \
    defect dent detection dirt discoloured dry eats edge edges element error even every fabric \
    fibre fibres finish flakes flaw flawless for foreign from good hole in inspection intact \
    interruption into irregular is its jpeg large line low material metal misplaced missing my \
    object of off on one or paint parallel part passes patch pattern perfect photo piece place \
    regular repeats residue resolution run runs rust scene scratch shine small smooth sound \
    spotless stain straight stuck surface texture that the there thickness this through torn \
    unblemished unbroken uniform up visual where white with without";

#[test]
fn the_words_of_the_prompt_sets_are_in_the_grammar() {
    let none = Sentences::of(families().take(0), defects().take(0));
    let training = Sentences::of(
        families().filter(|family| !family.held_out),
        defects().filter(|defect| !defect.held_out),
    );
    let unknown: Vec<_> =
        PROMPT_WORDS.split(' ').filter(|word| !training.words.iter().any(|w| w == word)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(none.words.len() < training.words.len() && training.words.is_sorted());
    for defect in defects() {
        assert!(defect.adjectives.len() + defect.nouns.len() >= 2, "{}", defect.name);
    }
}

#[test]
fn every_place_in_the_lists_is_one() {
    let all = Sentences::of(families(), defects());
    let states = all.normal.iter().chain(&all.anomalous).chain(all.defects.values().flatten());
    for text in states.chain(&all.templates) {
        assert_eq!(text.matches("{}").count(), 1, "{text}");
    }
    let whole = all.normal_sentences.iter().chain(&all.anomalous_sentences);
    for text in whole.chain(&all.generic).chain(all.surfaces.values().flatten()) {
        assert!(!text.contains("{}"), "{text}");
    }
    assert!(all.normal.iter().all(|state| !all.anomalous.contains(state)));
}

#[test]
fn captions_fit_their_pictures() {
    let dir = tempfile::tempdir().expect("dir");
    let root = dir.path().join("made");
    let options = Options {
        set: Set::Training,
        families: ["glass", "capsules"].map(str::to_owned).to_vec(),
        n_train: 1,
        n_test_good: 1,
        n_test_per_defect: 1,
        size: 48,
        captions: true,
        ..Options::default()
    };
    let summary = make_dataset(&root, &options).expect("data set");
    let text = fs::read_to_string(root.join("captions.csv")).expect("captions");
    let lists = fs::read(root.join("sentences.json")).expect("sentences");
    let lists: Sentences = serde_json::from_slice(&lists).expect("sentences");
    assert_eq!(lists.surfaces.len(), 2);

    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("image,caption"));
    let mut captions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in lines {
        let (image, caption) = line.split_once(',').expect("two columns");
        assert!(!caption.contains([',', '"', '{', '}']) && !caption.is_empty(), "{caption}");
        let known = |word: &String| lists.words.contains(word);
        assert!(words_of(caption).all(|word| known(&word)), "{caption}");
        captions.entry(image).or_default().push(caption);
    }
    assert_eq!(captions.len(), summary.n_images);
    for (image, said) in &captions {
        assert!(root.join(image).is_file() && (2..=4).contains(&said.len()), "{image}: {said:?}");
        let kind = image.split('/').nth(2).expect("a kind");
        let Some(states) = lists.defects.get(kind) else {
            assert_eq!(kind, "good");
            continue;
        };
        let told = |state: &String| {
            let core: Vec<_> =
                words_of(state).filter(|w| w != "with" && w != "a" && w != "an").collect();
            said.iter().any(|caption| {
                let words: Vec<_> = words_of(caption).collect();
                core.iter().all(|word| words.contains(word))
            })
        };
        assert!(states.iter().any(told), "{image}: {said:?}");
    }
    let mut seen: Vec<_> = captions.values().flatten().collect();
    let n = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() * 10 > n * 8, "few different captions: {} of {n}", seen.len());
}

/// Words that carry a sentence and tell nothing.
const FUNCTION_WORDS: &str = "a about an and at for her his in my of on our the their to with";

#[test]
fn sentences_about_nothing_have_words_that_no_training_saw() {
    let project = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let read = |name: &str| fs::read_to_string(format!("{project}/{name}")).expect(name);
    let mut seen = Sentences::of(families(), defects()).words;
    seen.extend(words_of(&read("plugins/clip/starter/recipe/words.py")));
    for known in ["carpet", "crack", "dog", "piano"] {
        assert!(seen.iter().any(|word| word == known), "{known}");
    }
    let file = read("pipelines/starter/prompts/nothing-unseen.json");
    let prompts: serde_json::Value = serde_json::from_str(&file).expect("prompts");
    for label in ["normal", "abnormal"] {
        let sentences = prompts[label]["prompts"].as_array().expect("sentences");
        assert_eq!(sentences.len(), 8, "{label}");
        for sentence in sentences.iter().map(|sentence| sentence.as_str().expect("a sentence")) {
            let telling = |word: &String| !FUNCTION_WORDS.split(' ').any(|known| known == word);
            let words: Vec<_> = words_of(sentence).filter(telling).collect();
            assert!(words.len() >= 2, "{sentence}");
            assert!(words.iter().all(|word| !seen.contains(word)), "{sentence}");
        }
    }
}
