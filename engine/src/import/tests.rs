use super::fade::{FEATURES, System, import};
use super::*;

fn of(line: &str) -> Result<Imported, ImportError> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    import(System::Fade, &words)
}

fn key(text: &str, stage: &str) -> toml::Value {
    let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
    table["stages"].get(stage).unwrap_or_else(|| panic!("no {stage} in\n{text}")).clone()
}

#[test]
fn the_default_command_is_the_few_shot_preset_on_gem() {
    let made = of("python scripts/run_fade.py --dataset-source /data/mvtec").unwrap();
    let text = &made.pipeline;
    assert_eq!(key(text, "clip")["encoder"].as_str(), Some("gem"));
    assert_eq!(key(text, "clip")["model"].as_str(), Some("ViT-B-16-plus-240"));
    assert_eq!(key(text, "differs")["query"].as_str(), Some("clip.gem_patch_embeddings"));
    assert_eq!(key(text, "vision")["gain"].as_float(), Some(3.5));
    let weights = key(text, "both")["weights"].as_array().unwrap().clone();
    assert_eq!(weights, [0.15, 0.85].map(toml::Value::Float));
    assert_eq!(key(text, "generic")["files"].as_array().unwrap().len(), 6);
    assert!(
        text.contains("anomaly_score = \"verdict\"")
            && text.contains("root       = \"/data/mvtec\"")
    );
    assert!(made.hooks.is_none() && made.notes.is_empty());
}

#[test]
fn the_zero_shot_preset_judges_images_by_words() {
    let made = of(
        "--shots 0 --use-query-img-in-vision-memory-bank --vision-segmentation-multiplier 80.0 \
        --vision-segmentation-weight=0.5 --seed 3",
    )
    .unwrap();
    let text = &made.pipeline;
    let differs = key(text, "differs");
    assert_eq!(
        (differs["self_reference"].as_bool(), differs["k"].as_integer()),
        (Some(true), Some(2))
    );
    assert!(
        text.contains("anomaly_score = \"says\"") && text.contains("shots = 0, seed = 3"),
        "{text}"
    );
    let lmfa = import(
        System::ClipLmfa,
        &["--shots", "0", "--use-query-img-in-vision-memory-bank"].map(str::to_owned),
    );
    assert!(lmfa.unwrap().pipeline.contains("anomaly_score = \"verdict\""));
}

#[test]
fn a_single_branch_leaves_the_other_out() {
    let language = of("--classification-mode language --segmentation-mode language --shots 0")
        .unwrap()
        .pipeline;
    assert!(
        !language.contains("nearest") && language.contains("anomaly_map   = \"language\""),
        "{language}"
    );
    let vision = of("--classification-mode none --segmentation-mode vision --vision-feature clip")
        .unwrap()
        .pipeline;
    assert!(!vision.contains("prompts =") && !vision.contains("anomaly_score"), "{vision}");
    assert_eq!(key(&vision, "clip")["encoder"].as_str(), Some("clip"));
}

#[test]
fn a_classification_size_of_its_own_is_one_more_size() {
    let made =
        of("--classification-img-size 336 --segmentation-img-sizes 240,448").unwrap().pipeline;
    assert!(made.contains("sizes = [336, 240, 448]"), "{made}");
    assert_eq!(key(&made, "says")["query"].as_str(), Some("clip.image_embedding@336"));
    assert_eq!(key(&made, "tells")["query"].as_str(), Some("clip.gem_patch_embeddings@[240, 448]"));
}

#[test]
fn normalising_is_a_hook() {
    let made = of("--normalize-segmentations --segmentation-mode vision").unwrap();
    assert!(made.pipeline.starts_with("loupe = 1\nhooks = \"normalize.rhai\"\n"));
    assert_eq!(made.hooks.unwrap().1, "fn after_vision(map) { map.normalize_minmax() }\n");
}

#[test]
fn clip_lmfa_has_defaults_of_its_own() {
    let made = import(System::ClipLmfa, &["--dataset-name".to_owned(), "btad".to_owned()]).unwrap();
    assert!(made.pipeline.contains("seed = 111") && made.pipeline.contains("\"btad\""));
    assert_eq!(made.run[2..], ["--save", "fade-tables,fade-maps,fade-panels"]);
}

/// Its fusion is no option: it is always there, on all tokens that are read.
#[test]
fn clip_lmfas_fusion_stands_between_encoder_and_scorers() {
    let lmfa = |line: &str| {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        import(System::ClipLmfa, &words).unwrap()
    };
    let made = lmfa("--vision-feature clip --seed 7");
    let text = &made.pipeline;
    let adaptive = key(text, "adaptive");
    for (port, value) in [
        ("mode", "exact"),
        ("draw", "image"),
        ("image", "image"),
        ("patch_embeddings", "clip.patch_embeddings"),
        ("image_embedding", "clip.image_embedding"),
        ("gem_patch_embeddings", "clip.gem_patch_embeddings"),
    ] {
        assert_eq!(adaptive[port].as_str(), Some(value), "{text}");
    }
    assert_eq!(
        (adaptive["strength"].as_float(), adaptive["seed"].as_integer()),
        (Some(0.1), Some(7))
    );
    assert_eq!(adaptive.as_table().map(toml::Table::len), Some(9), "{text}");
    assert_eq!(key(text, "says")["query"].as_str(), Some("adaptive.image_embedding@240"));
    assert_eq!(key(text, "tells")["query"].as_str(), Some("adaptive.gem_patch_embeddings"));
    assert_eq!(key(text, "differs")["rows"].as_str(), Some("adaptive.patch_embeddings"));
    assert!(made.notes[0].contains("--set stages.adaptive.mode=off"), "{:?}", made.notes);
    let vision = lmfa("--classification-mode none --segmentation-mode vision").pipeline;
    let adaptive = key(&vision, "adaptive");
    assert!(adaptive.get("image_embedding").is_none(), "{vision}");
    assert_eq!(adaptive["gem_patch_embeddings"].as_str(), Some("clip.gem_patch_embeddings"));
    assert!(!of("").unwrap().pipeline.contains("adaptive"), "FADE has no such fusion");
}

#[test]
fn without_a_source_the_data_lie_below_one_folder() {
    for (line, root) in [
        ("", "${LOUPE_DATA}/mvtec"),
        ("--dataset-name visa", "${LOUPE_DATA}/visa"),
        ("--dataset-source /data/mvtec", "/data/mvtec"),
    ] {
        let text = of(line).unwrap().pipeline;
        assert!(text.contains(&format!("root       = \"{root}\"\n")), "{text}");
    }
}

#[test]
fn what_is_saved_is_what_the_original_writes() {
    let saved = |line: &str| of(line).unwrap().run[2..].join(" ");
    assert_eq!(saved(""), "--save fade-tables");
    assert_eq!(saved("--save-segmentation"), "--save fade-tables,fade-maps");
    assert_eq!(saved("--save-visualization"), "--save fade-tables,fade-panels");
    let lmfa = ["--no-save-segmentation", "--no-save-visualization"].map(str::to_owned);
    assert_eq!(import(System::ClipLmfa, &lmfa).unwrap().run[2..], ["--save", "fade-tables"]);
}

#[test]
fn the_evaluation_size_is_the_protocols() {
    let made = of("--eval-img-size 240").unwrap();
    assert!(made.pipeline.contains("use = [\"fade-240-u8\", \"native\"]"), "{}", made.pipeline);
    assert!(made.notes.is_empty());
}

/// Each branch takes its tokens from CLIP or from GEM, whatever the others do.
#[test]
fn every_choice_of_features_names_them() {
    let mut seen = std::collections::BTreeSet::new();
    for says in FEATURES {
        for tells in FEATURES {
            for bank in FEATURES {
                let made = of(&format!(
                    "--language-classification-feature {says} --language-segmentation-feature \
                     {tells} --vision-feature {bank}"
                ));
                let text = made.unwrap().pipeline;
                let value =
                    |stage: &str, port: &str| key(&text, stage)[port].as_str().map(str::to_owned);
                let name = |feature: &str, rest: &str| {
                    let kind = if feature == "gem" { "gem_" } else { "" };
                    Some(format!("clip.{kind}{rest}"))
                };
                assert_eq!(value("says", "query"), name(says, "image_embedding@240"));
                assert_eq!(value("tells", "query"), name(tells, "patch_embeddings"));
                assert_eq!(value("differs", "query"), name(bank, "patch_embeddings"));
                assert_eq!(value("differs", "rows"), name(bank, "patch_embeddings"));
                let is_gem = [says, tells, bank].contains(&"gem");
                let encoder = if is_gem { "gem" } else { "clip" };
                assert_eq!(value("clip", "encoder").as_deref(), Some(encoder));
                seen.insert(text);
            }
        }
    }
    assert_eq!(seen.len(), 8);
}

#[test]
fn what_the_original_refuses_is_refused() {
    let cases = [
        ("--vision-segmentation-wieght 0.5", "did you mean `--vision-segmentation-weight`?"),
        ("--dataset-path x", "no option `--dataset-path`; it is called `--dataset-source`"),
        ("--segmentation-img-sizes 240,240", "wants different sizes above 0"),
        ("--segmentation-img-sizes 0,240", "wants different sizes above 0"),
        ("--classification-img-size 0", "`--classification-img-size` wants a size in pixels above"),
        ("--eval-img-size 0", "`--eval-img-size` wants a size in pixels above 0, got `0`"),
        ("--shots", "`--shots` wants a value"),
        ("--square=yes", "is a flag and takes no value"),
        ("--shots two", "`--shots` wants a whole number, got `two`"),
        ("--shots 0", "needs --use-query-img-in-vision-memory-bank"),
        ("--text-model-type svm", "one of average, softmax, max, lr, mlp, knn, rf, xgboost, gmm"),
        ("--dataset-name imagenet", "wants one of mvtec, visa"),
        ("--vision-segmentation-weight 1.5", "a weight of 0 to 1"),
        ("--classification-mode none --segmentation-mode none", "nothing to compute"),
        ("--seed 1 two", "`two` is no option"),
        ("--no-shots", "has no option `--no-shots`"),
    ];
    for (line, wanted) in cases {
        let message = of(line).unwrap_err().to_string();
        assert!(message.contains(wanted), "{line}: {message}");
    }
}

fn of_mvfa(system: mvfa::System, line: &str) -> Result<Imported, ImportError> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    mvfa::import(system, &words)
}

#[test]
fn clipmpcads_training_keeps_the_epoch_that_the_test_set_likes() {
    let line = "python train_few.py --obj Brain --shot 16 --features_list 6 12 --epoch 3";
    let text = of_mvfa(mvfa::System::ClipMpcad, line).unwrap().pipeline;
    let adapted = key(&text, "adapted");
    assert_eq!(adapted["fusion"].as_str(), Some("madff"));
    assert_eq!(adapted["at"], toml::Value::Array([6, 12].map(toml::Value::Integer).to_vec()));
    assert_eq!(key(&text, "differs")["query"].as_str(), Some("adapted.seg_tokens"));
    for part in [
        "shots = 16, anomalous = \"shots\"",
        "epochs    = 3",
        "keep      = \"best-test\"",
        "lr = 0.001",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn sets_without_masks_are_judged_by_the_other_adapters() {
    let text = of_mvfa(mvfa::System::Mvfa, "test_few.py --obj Chest").unwrap().pipeline;
    assert_eq!(key(&text, "adapted")["fusion"].as_str(), Some("mvfa"));
    assert_eq!(key(&text, "differs")["query"].as_str(), Some("adapted.det_tokens"));
    assert!(text.contains("anomaly_score = \"both\""), "{text}");
}

#[test]
fn zero_shot_training_leaves_its_own_set_out() {
    let text = of_mvfa(mvfa::System::Mvfa, "train_zero.py --obj Liver").unwrap().pipeline;
    assert!(text.contains("dataset    = \"liver\"") && text.contains("lr = 0.0001"), "{text}");
    let auxiliary = text.split_once("auxiliary").unwrap().1;
    assert_eq!(auxiliary.matches("dataset = ").count(), 5);
    assert!(!auxiliary.contains("\"liver\""), "{text}");
}

#[test]
fn the_industrial_loop_is_one_epoch_on_mvtec() {
    let made = of_mvfa(mvfa::System::ClipMpcad, "mvtec_train.py --epoch 9").unwrap();
    let text = &made.pipeline;
    for part in [
        "dataset    = \"mvtec-ad\"",
        "epochs    = 1\n",
        "normalize = \"clip\"",
        "keep      = \"last\"",
        "masks     = \"smooth\"",
        "[compat]\ntest_learned = true\n",
        "hooks = \"clipmpcad-names.rhai\"\n",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(made.notes.iter().any(|note| note.contains("leave the test set")));
    assert!(made.hooks.unwrap().1.contains("let industrial = true;"));
    let medical = of_mvfa(mvfa::System::ClipMpcad, "train_few.py").unwrap();
    assert!(medical.hooks.unwrap().1.contains("let industrial = false;"));
    assert!(!medical.pipeline.contains("[compat]"));
}

/// `macular OCT` here is `retinal OCT` there; without references that set is always among those learned from.
#[test]
fn names_that_differ_come_with_a_hook() {
    let line = "loupe = 1\nhooks = \"clipmpcad-names.rhai\"\n";
    for (system, words, hooked) in [
        (mvfa::System::Mvfa, "train_few.py --obj Retina_RESC", true),
        (mvfa::System::ClipMpcad, "test_few.py --obj Retina_RESC", true),
        (mvfa::System::ClipMpcad, "", true),
        (mvfa::System::Mvfa, "train_zero.py --obj Brain", true),
        (mvfa::System::Mvfa, "test_zero.py", true),
        (mvfa::System::Mvfa, "", false),
        (mvfa::System::ClipMpcad, "--obj Chest", false),
    ] {
        let made = of_mvfa(system, words).unwrap();
        let (hook, is_said) = (made.hooks.is_some(), made.pipeline.starts_with(line));
        assert_eq!((hook, is_said), (hooked, hooked), "{words}");
    }
}

#[test]
fn the_line_of_the_few_shot_file_is_a_seed_and_a_negative_one_draws() {
    for (words, keys, note) in [
        ("", "seed = 0, select = \"manifest\", manifest = ", None),
        ("--iterate 2", "seed = 2, select = \"manifest\", manifest = ", Some("original fails")),
        ("--iterate -1", "seed = 111, select = \"seeded\" }\n", Some("loupe's generator")),
        ("--iterate -1 --seed 7", "seed = 7, select = \"seeded\" }\n", Some("loupe's generator")),
    ] {
        let made = of_mvfa(mvfa::System::ClipMpcad, words).unwrap();
        let keys = format!("references = {{ shots = 4, anomalous = \"shots\", {keys}");
        assert!(made.pipeline.contains(&keys), "{words}: {}", made.pipeline);
        assert_eq!(made.notes.len(), usize::from(note.is_some()), "{words}: {:?}", made.notes);
        assert!(note.is_none_or(|note| made.notes[0].contains(note)), "{:?}", made.notes);
    }
}

#[test]
fn what_trains_in_the_original_is_trained_first() {
    let trains = |words: &str| of_mvfa(mvfa::System::ClipMpcad, words).unwrap().trains;
    assert!(trains("train_few.py") && trains("mvtec_train.py"));
    assert!(!trains("test_few.py") && !trains("train_visual.py"));
    assert!(!of("").unwrap().trains);
}

#[test]
fn what_mvfas_scripts_refuse_is_refused() {
    let said = |line: &str| of_mvfa(mvfa::System::Mvfa, line).unwrap_err().to_string();
    assert!(said("--obj Lung").contains("one of Brain, Liver"), "{}", said("--obj Lung"));
    assert!(said("--features_list 12 6").contains("that ascend"));
    assert!(said("--batch_size 4").contains("other than 1 breaks it"));
    assert!(said("train_visual.py").contains("there is no script `train_visual.py`"));
    assert!(said("--shot 0").contains("--shot"));
    assert!(said("--iterate two").contains("`--iterate` wants a whole number, got `two`"));
    assert!(said("--features_lst 6").contains("did you mean `--features_list`?"));
}
