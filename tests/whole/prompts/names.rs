//! `clipmpcad-names.rhai`: what the originals call their classes, in the sentences.

use loupe_tests::{World, root};
use serde_json::Value;

/// The sentences of a class of a data set, with the shipped hook or a changed one.
fn sentences(world: &World, dataset: &str, class: &str, hook: &str) -> Vec<(String, String)> {
    let base = root().join("pipelines/clipmpcad-few-shot.toml");
    world.write("names.rhai", hook);
    let text = format!("loupe = 1\nhooks = \"names.rhai\"\nextends = {base:?}\n");
    let file = world.write("p.toml", text).display().to_string();
    let set = format!("data.dataset={dataset}");
    let asked = ["prompts", "show", &file, "--class", class, "--set", &set, "--format", "json"];
    let ended = world.run(asked);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let shown: Value = serde_json::from_str(&ended.stdout).unwrap();
    let word = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    let list = shown[0]["sentences"].as_array().unwrap();
    list.iter().map(|one| (word(one, "label"), word(one, "text"))).collect()
}

fn shipped() -> String {
    std::fs::read_to_string(root().join("pipelines/clipmpcad-names.rhai")).unwrap()
}

#[test]
fn classes_are_called_as_the_originals_call_them() {
    let world = World::new();
    for (dataset, class, name) in [
        ("brain", "Brain", "Brain"),
        ("retina-resc", "Retina_RESC", "retinal OCT"),
        ("retina-oct", "Retina_OCT2017", "retinal OCT"),
        ("chest", "Chest", "Chest X-ray film"),
        ("mvtec-ad", "metal_nut", "metal nut"),
        ("mvtec-ad", "hazelnut", "hazelnut"),
        ("mpdd", "bracket_black", "black bracket"),
        ("btad", "02", "transistor"),
        ("visa", "pcb3", "PCB type 3"),
    ] {
        let got = sentences(&world, dataset, class, &shipped());
        assert_eq!(got.len(), 245 + 175, "{class}");
        let wanted = [
            ("normal", format!("a photo of a {name}.")),
            ("anomalous", format!("a photo of a damaged {name}.")),
        ];
        for (label, text) in wanted {
            assert!(got.contains(&(label.to_owned(), text.clone())), "{text}: {:?}", &got[..8]);
        }
        assert!(got.iter().all(|(_, text)| text.contains(name)), "{class}");
    }
}

#[test]
fn industrial_names_may_end_in_defects_as_theirs_do() {
    let world = World::new();
    let theirs = shipped().replace("let industrial = false;", "let industrial = true;");
    assert_ne!(theirs, shipped());
    let got = sentences(&world, "mvtec-ad", "metal_nut", &theirs);
    let normal = ("normal".to_owned(), "a photo of a metal nut with defects.".to_owned());
    assert!(got.contains(&normal), "{:?}", &got[..8]);
    // Medical names have none of it.
    let got = sentences(&world, "brain", "Brain", &theirs);
    assert!(got.iter().all(|(_, text)| !text.contains("with defects")), "{:?}", &got[..8]);
}
