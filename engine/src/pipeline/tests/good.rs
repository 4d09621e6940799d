//! Pipelines that are right, and what is made of them.

use expect_test::expect;
use serde_json::json;

use super::super::graph::{dot, mermaid};
use super::super::json_schema::json_schema;
use super::super::model::{FitOn, Label, Pipeline, Setting};
use super::super::sections::parse_bytes;
use super::super::show::show_config;
use super::{FADE, catalog, checked, edit};

fn pipeline(text: &str) -> Pipeline {
    let checked = checked(text, &[]);
    checked.pipeline.unwrap_or_else(|| panic!("{}", checked.report.render(false)))
}

fn names(pipeline: &Pipeline) -> Vec<&str> {
    pipeline.stages.iter().map(|stage| stage.name.as_str()).collect()
}

/// `name: kind labels shape` of each stage's outputs that are read.
fn outputs(pipeline: &Pipeline, stage: &str) -> Vec<String> {
    let stage = pipeline.stages.iter().find(|other| other.name == stage).unwrap();
    let shown = |out: &super::super::model::StageOutput| {
        let labels: Vec<String> = out.labels.iter().map(super::super::values::label).collect();
        let shape = out.shape.clone().unwrap_or_default().join(" ");
        format!("{}: {:?} {} [{shape}]", out.name, out.kind, labels.join(" "))
    };
    stage.outputs.iter().map(shown).collect()
}

#[test]
fn stages_stand_after_what_they_read_and_else_in_the_order_of_the_file() {
    assert_eq!(
        names(&pipeline(FADE)),
        [
            "image", "clip", "words", "says", "tells", "language", "differs", "vision", "both",
            "peak", "verdict"
        ]
    );
}

#[test]
fn dimensions_follow_the_values() {
    let fade = pipeline(FADE);
    assert_eq!(outputs(&fade, "image"), ["image: Tensors @240 @448 [b 3 240|448 240|448]"]);
    assert_eq!(
        outputs(&fade, "clip")[1..3],
        [
            "patch_tokens: Tensors @240 @448 [b 15|28 15|28 896]",
            "patch_embeddings: Tensors @240 @448 [b 15|28 15|28 640]"
        ]
    );
    assert_eq!(outputs(&fade, "words"), ["text: EmbeddedText  [n 640]"]);
    assert_eq!(outputs(&fade, "says"), ["patch_scores: Tensor  [b]"]);
    assert_eq!(outputs(&fade, "tells"), ["patch_scores: Tensors @240 @448 [b 15|28 15|28]"]);
    assert_eq!(outputs(&fade, "vision"), ["fused: Tensor  [b gh gw]"]);
    assert_eq!(outputs(&fade, "verdict"), ["fused: Tensor  [b]"]);
}

#[test]
fn fits_and_the_setting_they_give() {
    let fade = pipeline(FADE);
    let fit_of = |name: &str| fade.stages.iter().find(|stage| stage.name == name).unwrap().fit_on;
    assert_eq!(fit_of("differs"), Some(FitOn::References));
    assert_eq!(fit_of("says"), Some(FitOn::Inputs));
    assert_eq!(fit_of("both"), None);
    assert_eq!(fade.setting, Setting::Inductive);
    let test_set = edit("fit_on = \"references\"", "fit_on = \"test-set\"");
    assert_eq!(pipeline(&test_set).setting, Setting::Transductive);
    let labels = edit("fit_on = \"references\"", "fit_on = \"test-labels\"");
    assert_eq!(pipeline(&labels).setting, Setting::Oracle);
}

#[test]
fn a_stage_that_no_output_needs_is_left_out_and_does_not_label_the_run() {
    let text = edit(
        "of = \"vision\" }",
        "of = \"vision\" }\nlow = { fusion = \"min-max\", parts = \"vision\", fit_on = \"test-set\" }",
    );
    let fade = pipeline(&text);
    assert!(!names(&fade).contains(&"low"));
    assert_eq!(fade.warnings, ["stage `low` is not run: no output needs it"]);
    assert_eq!(fade.setting, Setting::Inductive);
}

#[test]
fn an_image_of_more_than_whole_patches_is_a_warning() {
    let fade = pipeline(&edit("sizes = [240, 448]", "sizes = [240, 250]"));
    assert_eq!(fade.warnings, ["encoder `gem` reads 240 x 240 pixels of an image of size 250"]);
    let clip = fade.stages.iter().find(|stage| stage.name == "clip").unwrap();
    let sizes: Vec<_> = clip.mapped.iter().map(|label| label.size).collect();
    assert_eq!(sizes, [Some(240), Some(250)]);
}

#[test]
fn one_key_feeds_the_run_and_the_fit() {
    let text = edit(
        "of = \"vision\" }",
        "of = \"low\" }\nlow = { fusion = \"min-max\", parts = \"vision\", fit_on = \"test-set\" }",
    );
    let fade = pipeline(&text);
    let low = fade.stages.iter().find(|stage| stage.name == "low").unwrap();
    let verbs: Vec<String> = low.inputs.iter().map(|input| format!("{:?}", input.verb)).collect();
    assert_eq!(verbs, ["Run", "Fit"]);
    assert_eq!(low.fit_on, Some(FitOn::TestSet));
}

#[test]
fn a_fusion_on_taps_has_a_tensor_per_size_and_tap() {
    let text = edit(
        "of = \"vision\" }",
        "of = \"vision\" }\nsteps = { fusion = \"stepped\", taps = \"clip\", at = [6, 12] }\n\
         told = { scorer = \"language\", query = \"steps@*.6\", text = \"words\" }",
    )
    .replace("anomaly_map = \"both\"", "anomaly_map = \"flat\"")
    .replace(
        "[stages.differs]",
        "[stages.flat]\nfusion = \"resolution-mean\"\nparts = \"told\"\n[stages.differs]",
    );
    let fade = pipeline(&text);
    assert_eq!(
        outputs(&fade, "steps"),
        ["tokens: Tensors @240.6 @240.12 @448.6 @448.12 [b 15|28 15|28 640]"]
    );
    assert_eq!(outputs(&fade, "told"), ["patch_scores: Tensors @240.6 @448.6 [b 15|28 15|28]"]);
}

#[test]
fn a_list_of_one_is_an_output_and_the_encoder_finds_the_only_image() {
    let text = "loupe = 1\n[stages]\n\
        image = { prepare = \"square\", sizes = [240] }\n\
        clip = { encoder = \"clip\", model = \"ViT-B-32\", weights = \"random\" }\n\
        bank = { scorer = \"nearest\", query = \"clip.patch_embeddings\", rows = \"clip.patch_embeddings\", fit_on = \"references\" }\n\
        map = { map = \"bilinear\", of = \"bank\", size = 240, sigma_px = 4 }\n\
        [output]\nanomaly_map = \"map\"\n";
    let small = pipeline(text);
    assert!(small.data.is_none());
    let map = small.output.anomaly_map.clone().unwrap();
    assert_eq!((map.select.sizes, map.select.single), (Some(vec![240]), true));
    let label = Label { size: Some(240), tap: None };
    assert!(small.stages.iter().all(|stage| stage.mapped == [label]));
    assert_eq!(outputs(&small, "bank"), ["patch_scores: Tensors @240 [b 7 7]"]);
}

#[test]
fn defaults_are_filled_in_and_every_key_has_an_origin() {
    let fade = pipeline(FADE);
    let clip = &fade.stages[1];
    assert_eq!(clip.config["blocks"], json!(7));
    assert_eq!(clip.config["weights"], json!("/weights/laion400m-e31.pt"));
    assert_eq!(clip.files, ["weights"]);
    assert_eq!(fade.run.memory, 2 << 30);
    assert_eq!((fade.run.threads, fade.run.cache_stages.as_str()), (0, "f32"));
    let shown = show_config(&fade);
    let line = |key: &str| shown.lines().find(|line| line.starts_with(key)).unwrap();
    assert!(line("stages.differs.k =").ends_with("# fade.toml:22"));
    assert!(line("stages.clip.blocks =").ends_with("# default"));
    assert!(line("data.references.shots =").ends_with("# fade.toml:5"));
}

#[test]
fn sizes_of_memory() {
    assert_eq!(parse_bytes("4 GiB"), Ok(4 << 30));
    assert_eq!(parse_bytes("1.5kb"), Ok(1500));
    assert!(parse_bytes("-1").is_err());
    assert!(parse_bytes("1e99 GiB").is_err());
}

#[test]
fn the_graph_in_mermaid_and_dot() {
    let fade = pipeline(FADE);
    expect![[r#"
        flowchart LR
          s0("image<br/>prepare square @240 @448")
          s1["clip<br/>encoder gem @240 @448"]
          s2["words<br/>prompts ensemble"]
          s3["says<br/>scorer language"]
          s4["tells<br/>scorer language @240 @448"]
          s5["language<br/>fusion resolution-mean"]
          s6["differs<br/>scorer nearest @240 @448"]
          s7["vision<br/>fusion resolution-mean"]
          s8["both<br/>fusion weighted"]
          s9("peak<br/>pool max")
          s10["verdict<br/>fusion weighted"]
          s0 --> s1
          s1 -->|"embeds"| s2
          s2 -.-> s3
          s1 -->|"image_embedding@240"| s3
          s2 -.-> s4
          s1 -->|"gem_patch_embeddings"| s4
          s4 --> s5
          s1 -->|"patch_embeddings"| s6
          s6 --> s7
          s5 --> s8
          s7 --> s8
          s7 --> s9
          s3 --> s10
          s9 --> s10
          anomaly_map([anomaly_map])
          s8 --> anomaly_map
          anomaly_score([anomaly_score])
          s10 --> anomaly_score
    "#]]
    .assert_eq(&mermaid(&fade));
    let text = dot(&fade);
    assert!(text.contains("s1 -> s3 [label = \"image_embedding@240\"];"), "{text}");
    assert!(text.ends_with("}\n"));
}

#[test]
fn the_schema_for_editors_lists_every_component() {
    let schema = json_schema(&catalog::catalog());
    let stages =
        schema["properties"]["stages"]["additionalProperties"]["anyOf"].as_array().unwrap();
    assert_eq!(stages.len(), 14);
    let nearest = stages.iter().find(|stage| stage["properties"]["scorer"]["const"] == "nearest");
    let nearest = &nearest.unwrap()["properties"];
    assert!(
        nearest["rows"].is_object() && nearest["k"].is_object() && nearest["fit_on"].is_object()
    );
}
