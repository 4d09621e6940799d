//! One mistake each, as a user sees it.

use expect_test::expect;

use super::{check, check_with, edit};

#[test]
fn typo_in_a_key_of_the_engine() {
    check(&edit(&[(r#"normalize = "clip""#, r#"normalise = "clip""#)]), expect![[""]]);
}

#[test]
fn typo_in_a_key_of_a_plugin() {
    check(&edit(&[(r#"interpolation = "opencv-bilinear""#, r#"interpolaton = "opencv-bilinear""#)]), expect![[""]]);
}

#[test]
fn unknown_component() {
    check(&edit(&[(r#"pool = "max""#, r#"pool = "maximum""#)]), expect![[""]]);
}

#[test]
fn unknown_component_of_a_plugin() {
    check(&edit(&[(r#"scorer = "nearest""#, r#"scorer = "neares""#)]), expect![[""]]);
}

#[test]
fn unknown_kind() {
    check(&edit(&[("peak     = { pool", "peak     = { poll")]), expect![[""]]);
}

#[test]
fn unknown_stage() {
    check(&edit(&[(r#"parts = "tells""#, r#"parts = "tels""#)]), expect![[""]]);
}

#[test]
fn unknown_value() {
    check(&edit(&[("clip.gem_patch_embeddings", "clip.gem_patch_embedings")]), expect![[""]]);
}

#[test]
fn unknown_label() {
    check(&edit(&[("clip.image_embedding@48", "clip.image_embedding@240")]), expect![[""]]);
}

#[test]
fn wrong_type() {
    check(&edit(&[("scale = 100.0", r#"scale = "hundred""#)]), expect![[""]]);
}

#[test]
fn out_of_range() {
    check(&edit(&[("k      = 1", "k      = 0")]), expect![[""]]);
}

#[test]
fn no_such_choice() {
    check(&edit(&[(r#"model = "softmax""#, r#"model = "soft-max""#)]), expect![[""]]);
}

#[test]
fn wrong_number_of_items() {
    check(&edit(&[("clamp = [0.0, 1.0]", "clamp = [1.0]")]), expect![[""]]);
}

#[test]
fn missing_key() {
    check(&edit(&[(", weights = [0.15, 0.85]", "")]), expect![[""]]);
}

#[test]
fn missing_input() {
    check(&edit(&[("query  = \"clip.patch_embeddings\"\n", "")]), expect![[""]]);
}

#[test]
fn circle() {
    check(&edit(&[(r#"of = "vision""#, r#"of = "verdict""#)]), expect![[""]]);
}

#[test]
fn another_width() {
    check(&edit(&[(r#"rows   = "clip.patch_embeddings""#, r#"rows   = "clip.patch_tokens""#)]), expect![[""]]);
}

#[test]
fn other_labels() {
    check(&edit(&[(r#"rows   = "clip.patch_embeddings""#, r#"rows   = "clip.patch_embeddings@[32,48]""#)]), expect![[""]]);
}

#[test]
fn other_shapes() {
    check(&edit(&[(r#"parts = ["says", "peak"]"#, r#"parts = ["says", "vision"]"#)]), expect![[""]]);
}

#[test]
fn an_image_value_where_a_class_value_is_fitted() {
    check(&edit(&[(r#"text = "words", scale"#, r#"text = "clip.image_embedding@48", scale"#)]), expect![[""]]);
}

#[test]
fn sentences_without_embeddings() {
    check(&edit(&[(r#", embed_with = "clip""#, "")]), expect![[""]]);
}

#[test]
fn a_fit_that_does_not_say_on_what() {
    check(&edit(&[("fit_on = \"references\"\n", "")]), expect![[""]]);
}

#[test]
fn an_output_that_is_no_map() {
    check(&edit(&[(r#"anomaly_map   = "both""#, r#"anomaly_map   = "verdict""#)]), expect![[""]]);
}

#[test]
fn no_output() {
    check(&edit(&[("[output]\nanomaly_map   = \"both\"\nanomaly_score = \"verdict\"\n", "")]), expect![[""]]);
}

#[test]
fn unknown_section() {
    check(&edit(&[("[protocol]", "[protocols]")]), expect![[""]]);
}

#[test]
fn unknown_protocol() {
    check(&edit(&[(r#""fade-448-u8""#, r#""fade-448""#)]), expect![[""]]);
}

#[test]
fn unknown_layout() {
    check(&edit(&[(r#""mvtec-ad""#, r#""mvtec""#)]), expect![[""]]);
}

#[test]
fn the_plugin_refuses_the_wrap() {
    check(&edit(&[("a photo of a {}.", "a photo of a thing.")]), expect![[""]]);
}

#[test]
fn the_plugin_refuses_a_patch_that_finds_itself() {
    check(&edit(&[("k      = 1", "k      = 1\nself_reference = true")]), expect![[""]]);
}

#[test]
fn set_of_an_unknown_key() {
    let set = ["--set", "stages.both.wieghts=[1.0]"];
    check_with(&edit(&[]), &set, expect![[""]]);
}

#[test]
fn set_of_an_unknown_stage() {
    let set = ["--set", "stages.boht.weights=[1.0]"];
    check_with(&edit(&[]), &set, expect![[""]]);
}

/// All at once: nobody mends one mistake to be told the next.
#[test]
fn several() {
    let edits = [
        ("sizes = [32, 48, 64]", "sizes = [32, 48, 64.5]"),
        (r#"scale = 100.0"#, "scale = true"),
        (r#"parts = "differs""#, r#"parts = "difers""#),
        (r#"pool = "max""#, r#"pool = "maxx""#),
    ];
    check(&edit(&edits), expect![[""]]);
}
