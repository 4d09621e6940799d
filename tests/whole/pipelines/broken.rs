//! One mistake each, as a user sees it.

use expect_test::expect;

use super::{check, check_with, edit};

#[test]
fn typo_in_a_key_of_the_engine() {
    check(
        &edit(&[(r#"normalize = "clip""#, r#"normalise = "clip""#)]),
        expect![[r#"
            error: stage `image` (prepare `square`) has no key `normalise`
             --> WORLD/p.toml:7:56
              |
            7 | image    = { prepare = "square", sizes = [32, 48, 64], normalise = "clip" }
              |                                                        ^^^^^^^^^
              |
              = help: did you mean `normalize`?
              = note: its keys are `filter`, `normalize`, `sizes`

            1 error
        "#]],
    );
}

#[test]
fn typo_in_a_key_of_a_plugin() {
    check(
        &edit(&[(r#"interpolation = "opencv-bilinear""#, r#"interpolaton = "opencv-bilinear""#)]),
        expect![[r#"
            error: stage `language` (fusion `resolution-mean`) has no key `interpolaton`
              --> WORLD/p.toml:12:59
               |
            12 | language = { fusion = "resolution-mean", parts = "tells", interpolaton = "opencv-bilinear" }
               |                                                           ^^^^^^^^^^^^
               |
               = help: did you mean `interpolation`?
               = note: its keys are `gain`, `interpolation`, `parts`

            1 error
        "#]],
    );
}

#[test]
fn unknown_component() {
    check(
        &edit(&[(r#"pool = "max""#, r#"pool = "maximum""#)]),
        expect![[r#"
            error: there is no pool `maximum`
              --> WORLD/p.toml:15:21
               |
            15 | peak     = { pool = "maximum", of = "vision" }
               |                     ^^^^^^^^^
               |
               = note: there are `max`, `mean`, `top-fraction`, `quantile`

            1 error
        "#]],
    );
}

#[test]
fn unknown_component_of_a_plugin() {
    check(
        &edit(&[(r#"scorer = "nearest""#, r#"scorer = "neares""#)]),
        expect![[r#"
            error: there is no scorer `neares`
              --> WORLD/p.toml:18:10
               |
            18 | scorer = "neares"
               |          ^^^^^^^^
               |
               = help: did you mean `nearest`?
               = note: there are `language`, `nearest`

            1 error
        "#]],
    );
}

#[test]
fn unknown_kind() {
    check(
        &edit(&[("peak     = { pool", "peak     = { poll")]),
        expect![[r#"
            error: stage `peak` does not say what it is
              --> WORLD/p.toml:15:14
               |
            15 | peak     = { poll = "max", of = "vision" }
               |              ^^^^
               |
               = help: did you mean `pool`?
               = note: one key of `encoder`, `prompts`, `scorer`, `fusion`, `prepare`, `map`, `pool` says it

            1 error
        "#]],
    );
}

#[test]
fn unknown_stage() {
    check(
        &edit(&[(r#"parts = "tells""#, r#"parts = "tels""#)]),
        expect![[r#"
            error: stage `language` reads `tels`, which is no stage
              --> WORLD/p.toml:12:50
               |
            12 | language = { fusion = "resolution-mean", parts = "tels", interpolation = "opencv-bilinear" }
               |                                                  ^^^^^^
               |
               = help: did you mean `tells`?
               = note: the stages are `image`, `clip`, `words`, `says`, `tells`, `language`, `vision`, `both`, `peak`, `verdict`, `differs`

            1 error
        "#]],
    );
}

#[test]
fn unknown_value() {
    check(
        &edit(&[("clip.gem_patch_embeddings", "clip.gem_patch_embedings")]),
        expect![[r#"
            error: stage `tells` reads `clip.gem_patch_embedings`, which no stage makes
              --> WORLD/p.toml:11:43
               |
            11 | tells    = { scorer = "language", query = "clip.gem_patch_embedings", text = "words", model = "softmax" }
               |                                           ^^^^^^^^^^^^^^^^^^^^^^^^^^
               |
               = help: did you mean `clip.gem_patch_embeddings`?
               = note: `clip` (encoder `gem`) makes `image_embedding`, `patch_tokens`, `patch_embeddings`, `gem_image_embedding`, `gem_patch_tokens`, `gem_patch_embeddings`

            1 error
        "#]],
    );
}

#[test]
fn unknown_label() {
    check(
        &edit(&[("clip.image_embedding@48", "clip.image_embedding@240")]),
        expect![[r#"
            error: stage `says` reads `clip.image_embedding@240`, which is not there
              --> WORLD/p.toml:10:43
               |
            10 | says     = { scorer = "language", query = "clip.image_embedding@240", text = "words", scale = 100.0 }
               |                                           ^^^^^^^^^^^^^^^^^^^^^^^^^^ its labels are @32, @48, @64

            1 error
        "#]],
    );
}

#[test]
fn wrong_type() {
    check(
        &edit(&[("scale = 100.0", r#"scale = "hundred""#)]),
        expect![[r#"
            error: `scale` of stage `says` (scorer `language`) wants a number above 0.0, got the string "hundred"
              --> WORLD/p.toml:10:94
               |
            10 | says     = { scorer = "language", query = "clip.image_embedding@48", text = "words", scale = "hundred" }
               |                                                                                              ^^^^^^^^^

            1 error
        "#]],
    );
}

#[test]
fn out_of_range() {
    check(
        &edit(&[("k      = 1", "k      = 0")]),
        expect![[r#"
            error: `k` of stage `differs` (scorer `nearest`) wants an integer of at least 1, got 0
              --> WORLD/p.toml:22:10
               |
            22 | k      = 0
               |          ^ out of range

            1 error
        "#]],
    );
}

#[test]
fn no_such_choice() {
    check(
        &edit(&[(r#"model = "softmax""#, r#"model = "soft-max""#)]),
        expect![[r#"
            error: `model` of stage `tells` (scorer `language`) wants one of `average`, `softmax`, `max`, `logistic-regression`, `mlp`, `k-nearest`, `random-forest`, `gradient-boosting`, `gaussian-mixture`, got the string "soft-max"
              --> WORLD/p.toml:11:96
               |
            11 | tells    = { scorer = "language", query = "clip.gem_patch_embeddings", text = "words", model = "soft-max" }
               |                                                                                                ^^^^^^^^^^
               |
               = help: did you mean `softmax`?

            1 error
        "#]],
    );
}

#[test]
fn wrong_number_of_items() {
    check(
        &edit(&[("clamp = [0.0, 1.0]", "clamp = [1.0]")]),
        expect![[r#"
            error: `clamp` of stage `verdict` (fusion `weighted`) wants a list of 2 items, each a number, got 1 item
              --> WORLD/p.toml:16:91
               |
            16 | verdict  = { fusion = "weighted", parts = ["says", "peak"], weights = [0.5, 0.5], clamp = [1.0] }
               |                                                                                           ^^^^^

            1 error
        "#]],
    );
}

#[test]
fn missing_key() {
    check(
        &edit(&[(", weights = [0.15, 0.85]", "")]),
        expect![[r#"
            error: stage `both` (fusion `weighted`) lacks the key `weights`
              --> WORLD/p.toml:14:1
               |
            14 | both     = { fusion = "weighted", parts = ["language", "vision"] }
               | ^^^^
               |
               = note: `weights` wants a list of at least 1 item, each a number

            1 error
        "#]],
    );
}

#[test]
fn missing_input() {
    check(
        &edit(&[("query  = \"clip.patch_embeddings\"\n", "")]),
        expect![[r#"
            error: stage `differs` lacks its input `query`
              --> WORLD/p.toml:17:9
               |
            17 | [stages.differs]
               |         ^^^^^^^
               |
               = note: `query` wants a tensor [..., d]

            1 error
        "#]],
    );
}

#[test]
fn circle() {
    check(
        &edit(&[(r#"of = "vision""#, r#"of = "verdict""#)]),
        expect![[r#"
            error: stages read each other in a circle: `peak` -> `verdict` -> `peak`
              --> WORLD/p.toml:15:33
               |
            15 | peak     = { pool = "max", of = "verdict" }
               |                                 ^^^^^^^^^ reads `verdict`
            16 | verdict  = { fusion = "weighted", parts = ["says", "peak"], weights = [0.5, 0.5], clamp = [0.0, 1.0] }
               |                                                    ------ reads `peak`

            1 error
        "#]],
    );
}

#[test]
fn another_width() {
    check(
        &edit(&[(r#"rows   = "clip.patch_embeddings""#, r#"rows   = "clip.patch_tokens""#)]),
        expect![[r#"
            error: `rows` of stage `differs` wants [..., d] with `d` = 32, but `clip.patch_tokens` is [b, 2|3|4, 2|3|4, 64]
              --> WORLD/p.toml:20:10
               |
            19 | query  = "clip.patch_embeddings"
               |          ----------------------- `d` is 32 by `clip.patch_embeddings`, projected, comparable with text; raw
            20 | rows   = "clip.patch_tokens"
               |          ^^^^^^^^^^^^^^^^^^^ `d` is 64 here
               |
               = help: did you mean `clip.patch_embeddings`? it is [b, 2|3|4, 2|3|4, 32]
               = note: `patch_tokens` is the trunk's last normalisation, not projected

            1 error
        "#]],
    );
}

#[test]
fn other_labels() {
    check(
        &edit(&[(
            r#"rows   = "clip.patch_embeddings""#,
            r#"rows   = "clip.patch_embeddings@[32,48]""#,
        )]),
        expect![[r#"
            error: stage `differs` is given `clip.patch_embeddings` at @32, @48, @64, but `clip.patch_embeddings@[32,48]` at @32, @48
              --> WORLD/p.toml:20:10
               |
            19 | query  = "clip.patch_embeddings"
               |          ----------------------- @32, @48, @64
            20 | rows   = "clip.patch_embeddings@[32,48]"
               |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ @32, @48
               |
               = note: lists are taken tensor by tensor, so their labels must be equal; select some by `@`

            1 error
        "#]],
    );
}

#[test]
fn other_shapes() {
    check(
        &edit(&[(r#"parts = ["says", "peak"]"#, r#"parts = ["says", "vision"]"#)]),
        expect![[r#"
            error: `parts` of stage `verdict` wants values of one shape, but `vision` is [b, gh, gw] beside [b]
              --> WORLD/p.toml:16:52
               |
            16 | verdict  = { fusion = "weighted", parts = ["says", "vision"], weights = [0.5, 0.5], clamp = [0.0, 1.0] }
               |                                                    ^^^^^^^^
               |
               = note: `fused` is on the finest grid

            1 error
        "#]],
    );
}

#[test]
fn an_image_value_where_a_class_value_is_fitted() {
    check(
        &edit(&[(r#"text = "words", scale"#, r#"text = "clip.image_embedding@48", scale"#)]),
        expect![[r#"
            error: `text` of stage `says` wants embedded sentences, but `clip.image_embedding@48` is a tensor
              --> WORLD/p.toml:10:77
               |
            10 | says     = { scorer = "language", query = "clip.image_embedding@48", text = "clip.image_embedding@48", scale = 100.0 }
               |                                                                             ^^^^^^^^^^^^^^^^^^^^^^^^^

            1 error
        "#]],
    );
}

#[test]
fn sentences_without_embeddings() {
    check(
        &edit(&[(r#", embed_with = "clip""#, "")]),
        expect![[r#"
            error: `text` of stage `says` wants embedded sentences, but `words` is plain sentences
              --> WORLD/p.toml:10:77
               |
            10 | says     = { scorer = "language", query = "clip.image_embedding@48", text = "words", scale = 100.0 }
               |                                                                             ^^^^^^^
               |
               = help: give stage `words` the key `embed_with`, naming an encoder stage

            error: `text` of stage `tells` wants embedded sentences, but `words` is plain sentences
              --> WORLD/p.toml:11:79
               |
            11 | tells    = { scorer = "language", query = "clip.gem_patch_embeddings", text = "words", model = "softmax" }
               |                                                                               ^^^^^^^
               |
               = help: give stage `words` the key `embed_with`, naming an encoder stage

            2 errors
        "#]],
    );
}

#[test]
fn a_fit_that_does_not_say_on_what() {
    check(
        &edit(&[("fit_on = \"references\"\n", "")]),
        expect![[r#"
            error: stage `differs` fits on `clip.patch_embeddings` but does not say of which images
              --> WORLD/p.toml:20:10
               |
            20 | rows   = "clip.patch_embeddings"
               |          ^^^^^^^^^^^^^^^^^^^^^^^
               |
               = help: add `fit_on = "references"`
               = note: sources are `references`, `anomalous-references`, `auxiliary`, `test-set` and `test-labels`; the last two label the run transductive and oracle

            1 error
        "#]],
    );
}

#[test]
fn an_output_that_is_no_map() {
    check(
        &edit(&[(r#"anomaly_map   = "both""#, r#"anomaly_map   = "verdict""#)]),
        expect![[r#"
            error: `anomaly_map` wants one tensor [b, h, w] per image, not `verdict`
              --> WORLD/p.toml:24:17
               |
            24 | anomaly_map   = "verdict"
               |                 ^^^^^^^^^ it is [b]

            1 error
        "#]],
    );
}

#[test]
fn no_output() {
    check(
        &edit(&[("[output]\nanomaly_map   = \"both\"\nanomaly_score = \"verdict\"\n", "")]),
        expect![[r#"
            error: the pipeline has no output
             --> WORLD/p.toml:1:1
              |
            1 | loupe = 1
              | ^
              |
              = help: add `[output]` with `anomaly_map = "STAGE"` or `anomaly_score = "STAGE"`

            1 error
        "#]],
    );
}

#[test]
fn unknown_section() {
    check(
        &edit(&[("[protocol]", "[protocols]")]),
        expect![[r#"
            error: a pipeline has no key `protocols`
              --> WORLD/p.toml:26:2
               |
            26 | [protocols]
               |  ^^^^^^^^^
               |
               = help: did you mean `protocol`?
               = note: its keys are `loupe`, `extends`, `data`, `stages`, `output`, `protocol`, `run`, `hooks`, `test`, `train`, `compat`

            1 error
        "#]],
    );
}

#[test]
fn unknown_protocol() {
    check(
        &edit(&[(r#""fade-448-u8""#, r#""fade-448""#)]),
        expect![[r#"
            error: there is no protocol `fade-448`
              --> WORLD/p.toml:27:18
               |
            27 | use = ["native", "fade-448"]
               |                  ^^^^^^^^^^
               |
               = help: did you mean `fade-448-u8`?
               = note: there are `native`, `fade-448-u8`, `mvtec-official`, `cflow-200`, `spade-filled-200`, `quantile-500-4conn`, `quantile-200`, `anomalib-old`

            1 error
        "#]],
    );
}

#[test]
fn unknown_layout() {
    check(
        &edit(&[(r#""mvtec-ad""#, r#""mvtec""#)]),
        expect![[r#"
            error: there is no data set layout `mvtec`
             --> WORLD/p.toml:3:14
              |
            3 | dataset    = "mvtec"
              |              ^^^^^^^
              |
              = help: did you mean `mvtec-ad`?
              = note: there are `mvtec-ad`, `folder`, `visa`, `mvtec-3d`, `mpdd`, `btad`, `brain`, `liver`, `retina-resc`, `retina-oct`, `chest`, `histopathology`; the path of a layout file is taken too

            1 error
        "#]],
    );
}

#[test]
fn the_plugin_refuses_the_wrap() {
    check(
        &edit(&[("a photo of a {}.", "a photo of a thing.")]),
        expect![[r#"
            error: stage `words` is refused by prompts `ensemble`
             --> WORLD/p.toml:9:63
              |
            9 | words    = { prompts = "ensemble", sets = ["winclip"], wrap = "a photo of a thing.", embed_with = "clip" }
              |                                                               ^^^^^^^^^^^^^^^^^^^^^ `wrap` wants a `{}` for the sentence, got `a photo of a thing.`

            1 error
        "#]],
    );
}

#[test]
fn the_plugin_refuses_a_patch_that_finds_itself() {
    check(
        &edit(&[("k      = 1", "k      = 1\nself_reference = true")]),
        expect![[r#"
            error: stage `differs` is refused by scorer `nearest`
              --> WORLD/p.toml:23:18
               |
            23 | self_reference = true
               |                  ^^^^ `self_reference` wants `k` >= 2: with k = 1 every patch finds itself at distance 0

            1 error
        "#]],
    );
}

#[test]
fn the_plugin_refuses_a_precision_that_its_backend_has_not() {
    let keys = "weights = \"random\", backend = \"candle\", precision = \"int8\"";
    check(
        &edit(&[("weights = \"random\"", keys)]),
        expect![[r#"
        error: stage `clip` is refused by encoder `gem`
         --> WORLD/p.toml:8:121
          |
        8 | ...candle", precision = "int8", blocks = 2 }
          |                         ^^^^^^ `precision` wants `f32` with `backend = "candle"`; leave out one of the two keys

        1 error
    "#]],
    );
}

#[test]
fn no_shots_where_references_are_all_there_is_to_learn_from() {
    check(
        &edit(&[("shots = 1", "shots = 0")]),
        expect![[r#"
        error: `data.references.shots` is 0, but stage `differs` learns from references: give 1 or more; or set `self_reference = true` with `k = 2`

    "#]],
    );
}

#[test]
fn taps_for_a_fusion_that_has_no_use_for_them() {
    check(
        &edit(&[("gain = 3.5", "gain = 3.5, taps = \"clip\", at = [1]")]),
        expect![[r#"
        error: fusion `resolution-mean` does not work between taps
          --> WORLD/p.toml:13:80
           |
        13 | vision   = { fusion = "resolution-mean", parts = "differs", gain = 3.5, taps = "clip", at = [1] }
           |                                                                                ^^^^^^
           |
           = help: leave out `taps` and `at`

        1 error
    "#]],
    );
}

#[test]
fn set_of_an_unknown_key() {
    let set = ["--set", "stages.both.wieghts=[1.0]"];
    check_with(
        &edit(&[]),
        &set,
        expect![[r#"
            error: stage `both` (fusion `weighted`) has no key `wieghts`
             --> --set:1:13
              |
            1 | stages.both.wieghts=[1.0]
              |             ^^^^^^^
              |
              = help: did you mean `weights`?
              = note: its keys are `clamp`, `parts`, `weights`

            1 error
        "#]],
    );
}

#[test]
fn set_of_an_unknown_stage() {
    let set = ["--set", "stages.boht.weights=[1.0]"];
    check_with(
        &edit(&[]),
        &set,
        expect![[r#"
            error: there is no stage `boht`
             --> --set:1:8
              |
            1 | stages.boht.weights=[1.0]
              |        ^^^^
              |
              = help: did you mean `both`?
              = note: the stages are `image`, `clip`, `words`, `says`, `tells`, `language`, `vision`, `both`, `peak`, `verdict`, `differs`

            1 error
        "#]],
    );
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
    check(
        &edit(&edits),
        expect![[r#"
            error: `sizes.2` of stage `image` (prepare `square`) wants an integer of at least 1 and at most 8192, got 64.5
             --> WORLD/p.toml:7:51
              |
            7 | image    = { prepare = "square", sizes = [32, 48, 64.5], normalize = "clip" }
              |                                                   ^^^^

            error: `scale` of stage `says` (scorer `language`) wants a number above 0.0, got `true`
              --> WORLD/p.toml:10:94
               |
            10 | says     = { scorer = "language", query = "clip.image_embedding@48", text = "words", scale = true }
               |                                                                                              ^^^^

            error: stage `vision` reads `difers`, which is no stage
              --> WORLD/p.toml:13:50
               |
            13 | vision   = { fusion = "resolution-mean", parts = "difers", gain = 3.5 }
               |                                                  ^^^^^^^^
               |
               = help: did you mean `differs`?
               = note: the stages are `image`, `clip`, `words`, `says`, `tells`, `language`, `vision`, `both`, `peak`, `verdict`, `differs`

            error: there is no pool `maxx`
              --> WORLD/p.toml:15:21
               |
            15 | peak     = { pool = "maxx", of = "vision" }
               |                     ^^^^^^
               |
               = help: did you mean `max`?
               = note: there are `max`, `mean`, `top-fraction`, `quantile`

            4 errors
        "#]],
    );
}
