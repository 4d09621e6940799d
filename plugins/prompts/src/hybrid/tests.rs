use super::*;
use loupe_plugin::testing;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/caches");

fn run(config: &str, names: &[&str]) -> Result<Vec<Sentence>, String> {
    let config = config.replace("FOLDER", FOLDER);
    let names = names.iter().map(|name| Sentence::new(*name, false, "test")).collect();
    let ran = testing::prompts::<Hybrid>(&config).text("class", names).run()?;
    Ok(ran.sentences("text").into_iter().cloned().collect())
}

fn count(sentences: &[Sentence], source: &str) -> usize {
    sentences.iter().filter(|sentence| sentence.source == source).count()
}

/// Where sentences of the cache say they come from.
const CACHED: &str = "hand-written faults@1";

/// Share of a source among the sentences of a label.
fn share(sentences: &[Sentence], source: &str, anomalous: bool) -> f64 {
    let label: Vec<&Sentence> = sentences.iter().filter(|one| one.anomalous == anomalous).collect();
    let weight = |of: &[&Sentence]| of.iter().map(|one| f64::from(one.weight)).sum::<f64>();
    let own: Vec<&Sentence> = label.iter().copied().filter(|one| one.source == source).collect();
    weight(&own) / weight(&label)
}

const THREE: &str = "sources = [
    { set = 'winclip' },
    { file = 'FOLDER/own.json', weight = 1 },
    { cache = 'FOLDER/two.toml', weight = 2 },
]";

#[test]
fn conforms() {
    let config = THREE.replace("weight = 2", "missing = 'object'").replace("FOLDER", FOLDER);
    testing::prompts::<Hybrid>(&config).check();
}

#[test]
fn a_share_does_not_depend_on_the_number_of_sentences() {
    let made = run(THREE, &["metal nut"]).unwrap();
    assert_eq!((count(&made, "winclip"), count(&made, "own.json")), (242, 4));
    for anomalous in [false, true] {
        for (source, want) in [("winclip", 0.25), ("own.json", 0.25), (CACHED, 0.5)] {
            let got = share(&made, source, anomalous);
            assert!((got - want).abs() < 1e-5, "{source}: {got}");
        }
    }
    let of = |anomalous| made.iter().filter(move |one| one.anomalous == anomalous);
    let total = |anomalous| of(anomalous).map(|one| f64::from(one.weight)).sum::<f64>();
    assert!((total(false) - total(true)).abs() < 1e-3, "both labels weigh the same");
    assert!((total(false) + total(true) - made.len() as f64).abs() < 1e-3, "the mean weight is 1");
}

#[test]
fn a_share_per_sentence_lets_the_longest_win() {
    let made = run(&format!("share = 'sentence'\n{THREE}"), &["metal nut"]).unwrap();
    let weights = |source: &str| {
        let own = made.iter().filter(|one| one.source == source);
        own.map(|one| one.weight).collect::<Vec<_>>()
    };
    assert_eq!(weights(CACHED), [2.0; 3]);
    assert!(share(&made, "winclip", true) > 0.9);
}

#[test]
fn replace_drops_the_base_where_something_better_stands() {
    let config = "mode = 'replace'
        sources = [{ set = 'winclip' }, { cache = 'FOLDER/two.toml', missing = 'skip' }]";
    let nut = run(config, &["metal_nut"]).unwrap();
    assert_eq!((count(&nut, "winclip"), count(&nut, CACHED)), (0, 3));
    assert!((share(&nut, CACHED, true) - 1.0).abs() < 1e-6);
    let zipper = run(config, &["zipper"]).unwrap();
    assert_eq!((count(&zipper, "winclip"), zipper.len()), (242, 242));
    assert!(zipper.iter().all(|one| one.weight.is_finite()));
}

#[test]
fn a_missing_class_stops_the_run_unless_told_otherwise() {
    let gap = run(THREE, &["zipper"]).unwrap_err();
    assert!(gap.contains("two.toml` has no sentences about class `zipper`"), "{gap}");
    let asked = THREE.replace("weight = 2", "model = 'm-1', seed = 4, count = 2");
    let gap = run(&asked, &["bottle"]).unwrap_err();
    assert!(gap.contains("asked for otherwise (count 2, temperature 0.7, seed 3)"), "{gap}");
}

#[test]
fn names_synonyms_and_classes_are_respected() {
    let config = "synonyms = true
        names = { 'Metal_Nut' = ['hex nut', 'fastener'] }
        sources = [
            { set = 'manual', classes = ['metal-nut'] },
            { set = 'manual-damage', classes = ['bottle'] },
            { set = 'llm-object', subject = 'object', weight = 0 },
            { cache = 'FOLDER/two.toml' },
        ]";
    let texts: Vec<String> =
        run(config, &["metal nut", "nut"]).unwrap().into_iter().map(|one| one.text).collect();
    let want = [
        "normal hex nut",
        "normal fastener",
        "normal nut",
        "anomalous hex nut",
        "anomalous fastener",
        "anomalous nut",
        "six even flanks of a hex nut",
        "six even flanks of a fastener",
        "six even flanks of a nut",
        "a dent in one flank",
        "a thread that is torn out",
    ];
    assert_eq!(texts, want);
}

#[test]
fn a_label_that_one_source_lacks_is_the_others() {
    let config = "sources = [{ set = 'manual', weight = 3 }, { file = 'FOLDER/own.json' }]";
    let made = run(config, &["bottle"]).unwrap();
    assert!((share(&made, "manual", true) - 0.75).abs() < 1e-6);
    let half: Vec<f32> = made.iter().map(|one| one.weight).collect();
    // Six sentences, three for each label: 3/4 and 1/4 of them, the latter divided by 1 and 3.
    assert_eq!(half, [2.25, 2.25, 0.75, 0.25, 0.25, 0.25]);
}

#[test]
fn mistakes_in_the_config_are_said() {
    let cases = [
        ("sources = [{ weight = 1 }]", "exactly one of `set`, `file` and `cache`"),
        ("sources = [{ set = 'winclip', cache = 'x' }]", "exactly one of"),
        ("sources = [{ set = 'winclip', weight = 0 }]", "every source has weight 0"),
        ("sources = [{ set = 'winclip', weight = -1 }]", "`weight` wants 0 to 1000000, got -1"),
        ("sources = [{ set = 'winclip' }]\nmode = 'replace'", "wants a source after the first"),
        ("sources = [{ set = 'winklip' }]", "names `winklip`, which is none of"),
        (
            "sources = [{ set = 'winclip', classes = ['x'] }]",
            "no source has a sentence about class",
        ),
        ("sources = [{ set = 'manual' }]\nnames = { a = [] }", "`names.a` wants at least one name"),
        ("sources = [{ set = 'manual' }]\nnames = { a_b = ['x'], 'A b' = ['y'] }", "two spellings"),
        ("sources = [{ cache = 'FOLDER/own.json' }]", "a prompt cache begins with"),
        ("sources = [{ file = 'FOLDER/two.toml' }]", "two.toml` is no JSON"),
    ];
    for (config, want) in cases {
        let got = run(config, &["bottle"]).unwrap_err();
        assert!(got.contains(want), "{config}: {got}");
    }
}
