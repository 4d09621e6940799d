//! The prompt caches that loupe ships: complete, clean, and as the writer writes them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use loupe_prompts::cache::{Cache, GENERIC, HAND_WRITTEN, read, write};
use loupe_prompts::lint::{Rules, lint};
use loupe_prompts::words::{key, tokens};

/// Each cache and the classes that it must have sentences about, as the layouts name them.
const SHIPPED: [(&str, &str); 6] = [
    (
        "mvtec-ad",
        "bottle, cable, capsule, carpet, grid, hazelnut, leather, metal_nut, pill, screw, \
         tile, toothbrush, transistor, wood, zipper",
    ),
    (
        "visa",
        "candle, capsules, cashew, chewinggum, fryum, macaroni1, macaroni2, pcb1, pcb2, \
         pcb3, pcb4, pipe_fryum",
    ),
    ("mpdd", "bracket_black, bracket_brown, bracket_white, connector, metal_plate, tubes"),
    ("btad", "01, 02, 03, metal part, wooden surface, metal ring"),
    ("mvtec-3d", "bagel, cable_gland, carrot, cookie, dowel, foam, peach, potato, rope, tire"),
    (
        "medical",
        "brain, liver, retinal OCT, macular OCT, Retina_RESC, Retina_OCT2017, chest X-ray film, \
         histopathological image, retina-resc, retina-oct, chest, histopathology",
    ),
];

fn path(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("../../pipelines/prompts").join(format!("{name}.toml"))
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn cache(name: &str) -> Cache {
    read(name, text(name).as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_file_is_listed_and_written_as_the_writer_does() {
    let mut found: Vec<String> = std::fs::read_dir(path("x").parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
        .collect();
    found.sort();
    let mut listed: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
    listed.sort_unstable();
    assert_eq!(found, listed);
    for name in listed {
        assert_eq!(write(&cache(name)), text(name), "{name}");
    }
}

#[test]
fn every_class_has_its_sentences() {
    for (name, classes) in SHIPPED {
        let cache = cache(name);
        for class in classes.split(", ").chain([GENERIC]) {
            let found = cache.about(&[class], HAND_WRITTEN, "faults@1");
            let [entry] = found[..] else { panic!("{name}: {} entries for {class}", found.len()) };
            let counts = (entry.normal.len(), entry.anomalous.len());
            assert_eq!(counts, (12, 16), "{name}: {class}");
            if name == "medical" {
                let found = cache.about(&[class], HAND_WRITTEN, "findings@1");
                let counts = (found[0].normal.len(), found[0].anomalous.len());
                assert_eq!(counts, (10, 12), "{class}");
            }
        }
    }
}

#[test]
fn the_linter_finds_nothing() {
    let mut found = Vec::new();
    for (name, _) in SHIPPED {
        for entry in cache(name).entries {
            let names: Vec<&str> =
                std::iter::once(&entry.class).chain(&entry.aliases).map(String::as_str).collect();
            let rules = Rules { names: &names, wrap: Some("a photo of a {}."), ..Rules::default() };
            let findings = lint(&entry.normal, &entry.anomalous, &rules);
            found.extend(findings.iter().map(|one| format!("{name}: {}: {one}", entry.class)));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Sentences are short enough for small text towers too, and no class lends its own to another.
#[test]
fn sentences_are_short_and_each_stands_once() {
    for (name, _) in SHIPPED {
        let mut seen = BTreeSet::new();
        for entry in cache(name).entries {
            for text in entry.normal.iter().chain(&entry.anomalous) {
                assert!(tokens(text) <= 22, "{name}: `{text}` has {} tokens", tokens(text));
                assert!(seen.insert(key(text)), "{name}: `{text}` stands twice");
                assert!(text.is_ascii(), "{name}: `{text}`");
            }
        }
    }
}
