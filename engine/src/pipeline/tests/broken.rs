//! Pipelines with a mistake, and what `loupe check` says of them. `UPDATE_EXPECT=1` rewrites.

use expect_test::{Expect, expect};

use super::{edit, messages};

fn says(text: &str, expected: Expect) {
    expected.assert_eq(&messages(text));
}

#[test]
fn typo_in_a_top_level_key() {
    says(
        &edit("[protocol]", "[protocl]"),
        expect![[r#"
        error: a pipeline has no key `protocl`
          --> fade.toml:26:2
           |
        26 | [protocl]
           |  ^^^^^^^
           |
           = help: did you mean `protocol`?
           = note: its keys are `loupe`, `extends`, `data`, `stages`, `output`, `protocol`, `run`, `hooks`, `test`, `train`, `compat`

        1 error
    "#]],
    );
}

#[test]
fn typo_in_a_key_of_a_section() {
    says(
        &edit("memory =", "memmory ="),
        expect![[r#"
        error: `[run]` has no key `memmory`
          --> fade.toml:29:1
           |
        29 | memmory = "2 GiB"
           | ^^^^^^^
           |
           = help: did you mean `memory`?
           = note: its keys are `cache`, `device`, `hooks`, `memory`, `seed`, `threads`

        1 error
    "#]],
    );
}

#[test]
fn typo_in_a_plugin_key() {
    says(
        &edit("gain = 3.5", "gian = 3.5"),
        expect![[r#"
            error: stage `vision` (fusion `resolution-mean`) has no key `gian`
              --> fade.toml:13:59
               |
            13 | vision = { fusion = "resolution-mean", parts = "differs", gian = 3.5 }
               |                                                           ^^^^
               |
               = help: did you mean `gain`?
               = note: its keys are `gain`, `interpolation`, `parts`, `to`

            1 error
        "#]],
    );
}

#[test]
fn typo_in_a_port() {
    says(
        &edit(r#"query = "clip.patch_embeddings""#, r#"qeury = "clip.patch_embeddings""#),
        expect![[r#"
            error: stage `differs` (scorer `nearest`) has no key `qeury`
              --> fade.toml:19:1
               |
            19 | qeury = "clip.patch_embeddings"
               | ^^^^^
               |
               = help: did you mean `query`?
               = note: its keys are `distance`, `k`, `query`, `rows`, `self_reference`

            1 error
        "#]],
    );
}

#[test]
fn typo_in_a_kind() {
    says(
        &edit("{ pool =", "{ pol ="),
        expect![[r#"
        error: stage `peak` does not say what it is
          --> fade.toml:15:10
           |
        15 | peak = { pol = "max", of = "vision" }
           |          ^^^
           |
           = help: did you mean `pool`?
           = note: one key of `encoder`, `prompts`, `scorer`, `fusion`, `prepare`, `map`, `pool` says it

        1 error
    "#]],
    );
}

#[test]
fn two_kinds() {
    says(
        &edit(r#"{ pool = "max","#, r#"{ pool = "max", map = "bilinear","#),
        expect![[r#"
        error: stage `peak` has two kinds
          --> fade.toml:15:24
           |
        15 | peak = { pool = "max", map = "bilinear", of = "vision" }
           |          ----          ^^^
           |          |
           |          the first

        1 error
    "#]],
    );
}

#[test]
fn unknown_component() {
    says(
        &edit(r#""resolution-mean", parts = "tells""#, r#""resolution-men", parts = "tells""#),
        expect![[r#"
            error: there is no fusion `resolution-men`
              --> fade.toml:12:23
               |
            12 | language = { fusion = "resolution-men", parts = "tells" }
               |                       ^^^^^^^^^^^^^^^^
               |
               = help: did you mean `resolution-mean`?
               = note: there are `calibrated`, `min-max`, `resolution-mean`, `stepped`, `sum`, `weighted`

            1 error
        "#]],
    );
}

#[test]
fn component_of_another_kind() {
    says(
        &edit(
            r#"fusion = "weighted", parts = ["language""#,
            r#"fusion = "nearest", parts = ["language""#,
        ),
        expect![[r#"
            error: there is no fusion `nearest`
              --> fade.toml:14:19
               |
            14 | both = { fusion = "nearest", parts = ["language", "vision"], weights = [0.15, 0.85] }
               |                   ^^^^^^^^^
               |
               = help: `nearest` is a scorer: write `scorer = "nearest"`
               = note: there are `calibrated`, `min-max`, `resolution-mean`, `stepped`, `sum`, `weighted`

            1 error
        "#]],
    );
}

#[test]
fn unknown_engine_component() {
    says(
        &edit(r#"pool = "max""#, r#"pool = "maximum""#),
        expect![[r#"
        error: there is no pool `maximum`
          --> fade.toml:15:17
           |
        15 | peak = { pool = "maximum", of = "vision" }
           |                 ^^^^^^^^^
           |
           = note: there are `max`, `mean`, `top-fraction`, `quantile`

        1 error
    "#]],
    );
}

#[test]
fn unknown_stage() {
    says(
        &edit(r#"parts = "tells""#, r#"parts = "tels""#),
        expect![[r#"
        error: stage `language` reads `tels`, which is no stage
          --> fade.toml:12:50
           |
        12 | language = { fusion = "resolution-mean", parts = "tels" }
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
    says(
        &edit(r#"query = "clip.patch_embeddings""#, r#"query = "clip.patch_embedings""#),
        expect![[r#"
            error: stage `differs` reads `clip.patch_embedings`, which no stage makes
              --> fade.toml:19:9
               |
            19 | query = "clip.patch_embedings"
               |         ^^^^^^^^^^^^^^^^^^^^^^
               |
               = help: did you mean `clip.patch_embeddings`?
               = note: `clip` (encoder `gem`) makes `image_embedding`, `patch_tokens`, `patch_embeddings`, `gem_image_embedding`, `gem_patch_tokens`, `gem_patch_embeddings`

            1 error
        "#]],
    );
}

#[test]
fn unknown_label() {
    says(
        &edit("image_embedding@240", "image_embedding@224"),
        expect![[r#"
        error: stage `says` reads `clip.image_embedding@224`, which is not there
          --> fade.toml:10:39
           |
        10 | says = { scorer = "language", query = "clip.image_embedding@224", text = "words", scale = 100.0 }
           |                                       ^^^^^^^^^^^^^^^^^^^^^^^^^^ its labels are @240, @448

        1 error
    "#]],
    );
}

#[test]
fn label_of_what_is_no_list() {
    says(
        &edit(r#"of = "vision""#, r#"of = "vision@240""#),
        expect![[r#"
        error: stage `peak` reads `vision@240`, which is not there
          --> fade.toml:15:29
           |
        15 | peak = { pool = "max", of = "vision@240" }
           |                             ^^^^^^^^^^^^ the value is no list, so it has no labels

        1 error
    "#]],
    );
}

#[test]
fn selector_that_is_none() {
    says(
        &edit("image_embedding@240", "image_embedding@big"),
        expect![[r#"
        error: stage `says`: `@big` selects nothing: write `@240`, `@[240,448]`, `@*.6` or `@240.6`
          --> fade.toml:10:39
           |
        10 | says = { scorer = "language", query = "clip.image_embedding@big", text = "words", scale = 100.0 }
           |                                       ^^^^^^^^^^^^^^^^^^^^^^^^^^
           |
           = note: a value is `stage`, `stage.value` or `stage.value@240`

        1 error
    "#]],
    );
}

#[test]
fn several_values() {
    says(
        &edit(r#"query = "clip.patch_embeddings""#, r#"query = "clip""#),
        expect![[r#"
        error: stage `differs` reads `clip`, which makes several values
          --> fade.toml:19:9
           |
        19 | query = "clip"
           |         ^^^^^^
           |
           = help: name one of them, such as `clip.image_embedding`
           = note: `clip` (encoder `gem`) makes `image_embedding`, `patch_tokens`, `patch_embeddings`, `gem_image_embedding`, `gem_patch_tokens`, `gem_patch_embeddings`

        1 error
    "#]],
    );
}

#[test]
fn wrong_type() {
    says(
        &edit("scale = 100.0", r#"scale = "100""#),
        expect![[r#"
            error: `scale` of stage `says` (scorer `language`) wants a number above 0, got the string "100"
              --> fade.toml:10:91
               |
            10 | says = { scorer = "language", query = "clip.image_embedding@240", text = "words", scale = "100" }
               |                                                                                           ^^^^^

            1 error
        "#]],
    );
}

#[test]
fn fraction_where_an_integer_is_wanted() {
    says(
        &edit("k = 1", "k = 1.5"),
        expect![[r#"
        error: `k` of stage `differs` (scorer `nearest`) wants an integer of at least 1, got 1.5
          --> fade.toml:22:5
           |
        22 | k = 1.5
           |     ^^^

        1 error
    "#]],
    );
}

#[test]
fn out_of_range() {
    says(
        &edit("k = 1", "k = 0"),
        expect![[r#"
        error: `k` of stage `differs` (scorer `nearest`) wants an integer of at least 1, got 0
          --> fade.toml:22:5
           |
        22 | k = 0
           |     ^ out of range

        1 error
    "#]],
    );
}

#[test]
fn unknown_word_of_a_choice() {
    says(
        &edit("k = 1", r#"distance = "half-cosin""#),
        expect![[r#"
        error: `distance` of stage `differs` (scorer `nearest`) wants one of `half-cosine`, `cosine`, `euclidean`, got the string "half-cosin"
          --> fade.toml:22:12
           |
        22 | distance = "half-cosin"
           |            ^^^^^^^^^^^^
           |
           = help: did you mean `half-cosine`?

        1 error
    "#]],
    );
}

#[test]
fn wrong_item_of_a_list() {
    says(
        &edit("sizes = [240, 448]", r#"sizes = [240, "448"]"#),
        expect![[r#"
        error: `sizes.1` of stage `image` (prepare `square`) wants an integer of at least 1 and at most 8192, got the string "448"
         --> fade.toml:7:45
          |
        7 | image = { prepare = "square", sizes = [240, "448"] }
          |                                             ^^^^^

        1 error
    "#]],
    );
}

#[test]
fn too_few_items() {
    says(
        &edit("weights = [0.15, 0.85]", "weights = []"),
        expect![[r#"
        error: `weights` of stage `both` (fusion `weighted`) wants a list of at least 1 item, each a number of at least 0, got 0 items
          --> fade.toml:14:73
           |
        14 | both = { fusion = "weighted", parts = ["language", "vision"], weights = [] }
           |                                                                         ^^

        1 error
    "#]],
    );
}

#[test]
fn not_a_number() {
    says(
        &edit("gain = 3.5", "gain = nan"),
        expect![[r#"
        error: `gain` of stage `vision` (fusion `resolution-mean`) is a number that is not finite
          --> fade.toml:13:66
           |
        13 | vision = { fusion = "resolution-mean", parts = "differs", gain = nan }
           |                                                                  ^^^ wants a number

        1 error
    "#]],
    );
}

#[test]
fn datetime() {
    says(
        &edit("scale = 100.0", "scale = 1979-05-27"),
        expect![[r#"
            error: `scale` of stage `says` (scorer `language`) is a date, which no key takes (quote it for a string)
              --> fade.toml:10:91
               |
            10 | says = { scorer = "language", query = "clip.image_embedding@240", text = "words", scale = 1979-05-27 }
               |                                                                                           ^^^^^^^^^^ wants a number above 0

            1 error
        "#]],
    );
}

#[test]
fn missing_input() {
    says(
        &edit("query = \"clip.patch_embeddings\"\n", ""),
        expect![[r#"
            error: stage `differs` lacks its input `query`
              --> fade.toml:17:9
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
    says(
        &edit(r#"query = "clip.gem_patch_embeddings""#, r#"query = "language""#),
        expect![[r#"
        error: stages read each other in a circle: `tells` -> `language` -> `tells`
          --> fade.toml:11:40
           |
        11 | tells = { scorer = "language", query = "language", text = "words" }
           |                                        ^^^^^^^^^^ reads `language`
        12 | language = { fusion = "resolution-mean", parts = "tells" }
           |                                                  ------- reads `tells`

        1 error
    "#]],
    );
}

#[test]
fn stage_that_reads_itself() {
    says(
        &edit(r#"of = "vision""#, r#"of = "peak""#),
        expect![[r#"
        error: stages read each other in a circle: `peak` -> `peak`
          --> fade.toml:15:29
           |
        15 | peak = { pool = "max", of = "peak" }
           |                             ^^^^^^ reads `peak`

        1 error
    "#]],
    );
}

#[test]
fn no_language_version() {
    says(
        &edit("loupe = 1\n", ""),
        expect![[r#"
        error: the file does not say which language it is written in
         --> fade.toml:1:1
          |
        1 | [data]
          | ^
          |
          = help: begin it with `loupe = 1`

        1 error
    "#]],
    );
}

#[test]
fn other_language_version() {
    says(
        &edit("loupe = 1", "loupe = 2"),
        expect![[r#"
        error: this is language 2
         --> fade.toml:1:9
          |
        1 | loupe = 2
          |         ^ this version of loupe understands `loupe = 1`

        1 error
    "#]],
    );
}

#[test]
fn unset_variable() {
    says(
        &edit("${LOUPE_DATA}", "${LOUPE_DATE}"),
        expect![[r#"
        error: the environment variable `LOUPE_DATE` is not set
         --> fade.toml:4:9
          |
        4 | root = "${LOUPE_DATE}/mvtec"
          |         ^^^^^^^^^^^^^
          |
          = help: set it, as in `export LOUPE_DATE=/path/to/it`, or give the key by `--set`

        1 error
    "#]],
    );
}

#[test]
fn width_before_projection() {
    says(
        &edit(r#"query = "clip.patch_embeddings""#, r#"query = "clip.patch_tokens""#),
        expect![[r#"
            error: `rows` of stage `differs` wants [..., d] with `d` = 896, but `clip.patch_embeddings` is [b, 15|28, 15|28, 640]
              --> fade.toml:20:8
               |
            19 | query = "clip.patch_tokens"
               |         ------------------- `d` is 896 by `clip.patch_tokens`, the last block's patches, before the projection
            20 | rows = "clip.patch_embeddings"
               |        ^^^^^^^^^^^^^^^^^^^^^^^ `d` is 640 here
               |
               = help: did you mean `clip.patch_tokens`? it is [b, 15|28, 15|28, 896]

            1 error
        "#]],
    );
}

#[test]
fn words_of_another_width() {
    let text = edit(r#"text = "words", scale"#, r#"text = "others", scale"#);
    let text = text.replace(
        "[stages.differs]",
        "[stages.small]\nencoder = \"clip\"\nmodel = \"ViT-B-32\"\nweights = \"random\"\n\
         [stages.others]\nprompts = \"ensemble\"\nsets = [\"winclip\"]\nembed_with = \"small\"\n\
         [stages.differs]",
    );
    says(
        &text,
        expect![[r#"
            error: `text` of stage `says` wants [n, d] with `d` = 640, but `others` is [n, 512]
              --> fade.toml:10:74
               |
            10 | says = { scorer = "language", query = "clip.image_embedding@240", text = "others", scale = 100.0 }
               |                                       --------------------------         ^^^^^^^^ `d` is 512 here
               |                                       |
               |                                       `d` is 640 by `clip.image_embedding@240`

            warning: encoder `clip` reads 224 x 224 pixels of an image of size 240
              --> fade.toml:18:11
               |
            18 | encoder = "clip"
               |           ^^^^^^ its patches are 32 x 32 pixels, the rest is cut off
               |
               = help: size 224 or 256 is whole patches
               = note: a map is stretched over the whole image, so it is off by up to what is cut off

            1 error, 1 warning
        "#]],
    );
}

#[test]
fn images_that_are_no_whole_patches() {
    says(
        &edit("sizes = [240, 448]", "sizes = [240, 450, 8]"),
        expect![[r#"
            error: an image of size 8 has no whole patch for encoder `gem`
             --> fade.toml:8:20
              |
            8 | clip = { encoder = "gem", image = "image", model = "ViT-B-16-plus-240", weights = "laion400m-e31" }
              |                    ^^^^^ its patches are 16 x 16 pixels
              |
              = help: give `sizes` of 16 or more

            warning: encoder `gem` reads 448 x 448 pixels of an image of size 450
             --> fade.toml:8:20
              |
            8 | clip = { encoder = "gem", image = "image", model = "ViT-B-16-plus-240", weights = "laion400m-e31" }
              |                    ^^^^^ its patches are 16 x 16 pixels, the rest is cut off
              |
              = help: size 448 or 464 is whole patches
              = note: a map is stretched over the whole image, so it is off by up to what is cut off

            1 error, 1 warning
        "#]],
    );
}

#[test]
fn unequal_labels() {
    says(
        &edit(
            r#"of = "vision" }"#,
            "of = \"vision\" }\nmixed = { fusion = \"weighted\", parts = [\"differs\", \"shifted\"], weights = [1, 1] }\nshifted = { scorer = \"language\", query = \"clip.gem_patch_embeddings@[240]\", text = \"words\" }",
        ),
        expect![[r#"
            error: stage `mixed` is given `differs` at @240, @448, but `shifted` at @240
              --> fade.toml:16:52
               |
            16 | mixed = { fusion = "weighted", parts = ["differs", "shifted"], weights = [1, 1] }
               |                                         ---------  ^^^^^^^^^ @240
               |                                         |
               |                                         @240, @448
               |
               = note: lists are taken tensor by tensor, so their labels must be equal; select some by `@`

            1 error
        "#]],
    );
}

#[test]
fn a_list_beside_a_single_tensor() {
    says(
        &edit(r#"parts = ["language", "vision"]"#, r#"parts = ["language", "differs"]"#),
        expect![[r#"
            error: stage `both` is given the list `differs` (@240, @448) together with the single `language`
              --> fade.toml:14:52
               |
            14 | both = { fusion = "weighted", parts = ["language", "differs"], weights = [0.15, 0.85] }
               |                                        ----------  ^^^^^^^^^
               |                                        |
               |                                        one tensor
               |
               = help: name one of the list, as `differs@240`

            1 error
        "#]],
    );
}

#[test]
fn grids_of_two_sizes_folded() {
    says(
        &edit(
            r#"fusion = "resolution-mean", parts = "tells""#,
            r#"fusion = "sum", parts = "tells""#,
        ),
        expect![[r#"
            error: `parts` of stage `language` wants values of one shape, but `tells` is [b, 28, 28] beside [b, 15, 15]
              --> fade.toml:12:38
               |
            12 | language = { fusion = "sum", parts = "tells" }
               |                                      ^^^^^^^

            1 error
        "#]],
    );
}

#[test]
fn fit_without_source() {
    says(
        &edit("fit_on = \"references\"\n", ""),
        expect![[r#"
        error: stage `differs` fits on `clip.patch_embeddings` but does not say of which images
          --> fade.toml:20:8
           |
        20 | rows = "clip.patch_embeddings"
           |        ^^^^^^^^^^^^^^^^^^^^^^^
           |
           = help: add `fit_on = "references"`
           = note: sources are `references`, `anomalous-references`, `auxiliary`, `test-set` and `test-labels`; the last two label the run transductive and oracle

        1 error
    "#]],
    );
}

#[test]
fn fit_of_a_class_on_images() {
    says(
        &edit(
            r#"query = "clip.image_embedding@240", text = "words""#,
            r#"query = "clip.image_embedding@240", text = "clip.image_embedding@240""#,
        ),
        expect![[r#"
            error: `text` of stage `says` wants embedded sentences, but `clip.image_embedding@240` is a tensor
              --> fade.toml:10:74
               |
            10 | says = { scorer = "language", query = "clip.image_embedding@240", text = "clip.image_embedding@240", scale = 100.0 }
               |                                                                          ^^^^^^^^^^^^^^^^^^^^^^^^^^

            1 error
        "#]],
    );
}

#[test]
fn fit_on_what_fits_nothing() {
    says(
        &edit(r#"of = "vision" }"#, r#"of = "vision", fit_on = "test-set" }"#),
        expect![[r#"
        error: pool `max` fits nothing
          --> fade.toml:15:48
           |
        15 | peak = { pool = "max", of = "vision", fit_on = "test-set" }
           |                                                ^^^^^^^^^^
           |
           = help: leave `fit_on` out

        1 error
    "#]],
    );
}

#[test]
fn unknown_source_of_a_fit() {
    says(
        &edit(r#"fit_on = "references""#, r#"fit_on = "reference""#),
        expect![[r#"
        error: `fit_on` of stage `differs` names no source
          --> fade.toml:21:10
           |
        21 | fit_on = "reference"
           |          ^^^^^^^^^^^
           |
           = help: did you mean `references`?
           = note: there are `references`, `anomalous-references`, `auxiliary`, `test-set`, `test-labels`

        1 error
    "#]],
    );
}

#[test]
fn sentences_that_nobody_embeds() {
    says(
        &edit(r#", embed_with = "clip""#, ""),
        expect![[r#"
            error: `text` of stage `says` wants embedded sentences, but `words` is plain sentences
              --> fade.toml:10:74
               |
            10 | says = { scorer = "language", query = "clip.image_embedding@240", text = "words", scale = 100.0 }
               |                                                                          ^^^^^^^
               |
               = help: give stage `words` the key `embed_with`, naming an encoder stage

            error: `text` of stage `tells` wants embedded sentences, but `words` is plain sentences
              --> fade.toml:11:76
               |
            11 | tells = { scorer = "language", query = "clip.gem_patch_embeddings", text = "words" }
               |                                                                            ^^^^^^^
               |
               = help: give stage `words` the key `embed_with`, naming an encoder stage

            2 errors
        "#]],
    );
}

#[test]
fn duplicate_key() {
    says(
        &edit("k = 1", "k = 1\nk = 2"),
        expect![[r#"
        error: not TOML: duplicate key
          --> fade.toml:23:1
           |
        23 | k = 2
           | ^

        1 error
    "#]],
    );
}

#[test]
fn no_toml() {
    says(
        &edit("k = 1", "k = = 1"),
        expect![[r#"
        error: not TOML: extra `=`, expected nothing
          --> fade.toml:22:5
           |
        22 | k = = 1
           |     ^

        1 error
    "#]],
    );
}

#[test]
fn taps_not_offered() {
    says(
        &edit(
            r#"of = "vision" }"#,
            "of = \"vision\" }\nsteps = { fusion = \"stepped\", taps = \"clip\", at = [6, 13] }",
        ),
        expect![[r#"
            error: `clip` has no tap 13
              --> fade.toml:16:51
               |
            16 | steps = { fusion = "stepped", taps = "clip", at = [6, 13] }
               |                                                   ^^^^^^^
               |
               = note: it offers the taps [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]

            1 error
        "#]],
    );
}

#[test]
fn taps_of_what_has_none() {
    says(
        &edit(
            r#"of = "vision" }"#,
            "of = \"vision\" }\nsteps = { fusion = \"stepped\", taps = \"says\", at = [6, 12] }",
        ),
        expect![[r#"
            error: `taps` of stage `steps` wants an encoder stage
              --> fade.toml:16:38
               |
            16 | steps = { fusion = "stepped", taps = "says", at = [6, 12] }
               |                                      ^^^^^^ `says` is a scorer stage

            1 error
        "#]],
    );
}

#[test]
fn taps_that_descend() {
    says(
        &edit(
            r#"of = "vision" }"#,
            "of = \"vision\" }\nsteps = { fusion = \"stepped\", taps = \"clip\", at = [12, 6] }",
        ),
        expect![[r#"
            error: `at` of stage `steps` wants taps that ascend
              --> fade.toml:16:51
               |
            16 | steps = { fusion = "stepped", taps = "clip", at = [12, 6] }
               |                                                   ^^^^^^^

            1 error
        "#]],
    );
}

#[test]
fn no_output() {
    says(
        &edit("[output]\nanomaly_map = \"both\"\nanomaly_score = \"verdict\"\n", ""),
        expect![[r#"
            error: the pipeline has no output
             --> fade.toml:1:1
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
fn score_that_is_a_map() {
    says(
        &edit(r#"anomaly_score = "verdict""#, r#"anomaly_score = "both""#),
        expect![[r#"
        error: `anomaly_score` wants one tensor [b] per image, not `both`
          --> fade.toml:25:17
           |
        25 | anomaly_score = "both"
           |                 ^^^^^^ it is [b, gh, gw]

        1 error
    "#]],
    );
}

#[test]
fn output_that_is_a_list() {
    says(
        &edit(r#"anomaly_map = "both""#, r#"anomaly_map = "tells""#),
        expect![[r#"
        error: `anomaly_map` wants one tensor [b, h, w] per image, not `tells`
          --> fade.toml:24:15
           |
        24 | anomaly_map = "tells"
           |               ^^^^^^^ it is a list: @240, @448

        1 error
    "#]],
    );
}

#[test]
fn output_of_no_stage() {
    says(
        &edit(r#"anomaly_map = "both""#, r#"anomaly_map = "bth""#),
        expect![[r#"
        error: `anomaly_map` of `[output]` reads `bth`, which is no stage
          --> fade.toml:24:15
           |
        24 | anomaly_map = "bth"
           |               ^^^^^
           |
           = help: did you mean `both`?
           = note: the stages are `image`, `clip`, `words`, `says`, `tells`, `language`, `vision`, `both`, `peak`, `verdict`, `differs`

        1 error
    "#]],
    );
}

#[test]
fn missing_file() {
    says(
        &edit(r#"weights = "laion400m-e31""#, r#"weights = "laion400m.pt""#),
        expect![[r#"
            error: `weights` of stage `clip` (encoder `gem`): there is no file `laion400m.pt`
             --> fade.toml:8:83
              |
            8 | clip = { encoder = "gem", image = "image", model = "ViT-B-16-plus-240", weights = "laion400m.pt" }
              |                                                                                   ^^^^^^^^^^^^^^
              |
              = note: names it knows are `random`, and those of `loupe weights ls`

            1 error
        "#]],
    );
}

#[test]
fn missing_model() {
    says(
        &edit("ViT-B-16-plus-240", "ViT-B-16-plus-24"),
        expect![[r#"
        error: `model` of stage `clip` (encoder `gem`): there is no file `ViT-B-16-plus-24`
         --> fade.toml:8:52
          |
        8 | clip = { encoder = "gem", image = "image", model = "ViT-B-16-plus-24", weights = "laion400m-e31" }
          |                                                    ^^^^^^^^^^^^^^^^^^
          |
          = help: did you mean `ViT-B-16-plus-240`?
          = note: names it knows are `ViT-B-16-plus-240`, `ViT-L-14-336`, `ViT-B-32`

        1 error
    "#]],
    );
}

#[test]
fn absent_weights_are_a_warning() {
    says(
        &edit(r#"weights = "laion400m-e31""#, r#"weights = "openai""#),
        expect![[r#"
        warning: `openai` is not on this machine
         --> fade.toml:8:83
          |
        8 | clip = { encoder = "gem", image = "image", model = "ViT-B-16-plus-240", weights = "openai" }
          |                                                                                   ^^^^^^^^
          |
          = help: get it by `loupe weights fetch openai`

        1 warning
    "#]],
    );
}

#[test]
fn unknown_layout() {
    says(
        &edit(r#""mvtec-ad""#, r#""mvtec""#),
        expect![[r#"
            error: there is no data set layout `mvtec`
             --> fade.toml:3:11
              |
            3 | dataset = "mvtec"
              |           ^^^^^^^
              |
              = help: did you mean `mvtec-ad`?
              = note: there are `mvtec-ad`, `folder`; the path of a layout file is taken too

            1 error
        "#]],
    );
}

#[test]
fn unknown_protocol() {
    says(
        &edit(r#""fade-448-u8""#, r#""fade-448""#),
        expect![[r#"
            error: there is no protocol `fade-448`
              --> fade.toml:27:8
               |
            27 | use = ["fade-448", "native"]
               |        ^^^^^^^^^^
               |
               = help: did you mean `fade-448-u8`?
               = note: there are `fade-448-u8`, `native`

            1 error
        "#]],
    );
}

#[test]
fn memory_that_is_no_size() {
    says(
        &edit(r#""2 GiB""#, r#""2 gigs""#),
        expect![[r#"
        error: `memory` of `[run]` wants a size such as `4 GiB`, got `2 gigs`
          --> fade.toml:29:10
           |
        29 | memory = "2 gigs"
           |          ^^^^^^^^

        1 error
    "#]],
    );
}

#[test]
fn reserved_key_of_a_later_version() {
    says(
        &edit("k = 1", "k = 1\ndevice = \"cuda\""),
        expect![[r#"
        error: `device` is not understood by this version yet
          --> fade.toml:23:1
           |
        23 | device = "cuda"
           | ^^^^^^
           |
           = note: the key is reserved for what trains and places stages

        1 error
    "#]],
    );
}

#[test]
fn what_augment_is() {
    for wrong in ["\"mvfa-12\"", "{ seed = 1 }", "{ defects = 0 }", "{ defects = 4, angle = 90 }"] {
        let message = messages(&edit("k = 1", &format!("k = 1\naugment = {wrong}")));
        assert!(
            message.contains(
                "`augment` of stage `differs` wants `\"mvfa-11\"`, or `{ defects = 16 }`"
            ),
            "{wrong}: {message}"
        );
    }
}

#[test]
fn defects_are_painted_on_references_only() {
    says(
        &edit("fit_on = \"references\"", "fit_on = \"test-set\"\naugment = { defects = 4 }"),
        expect![[r#"
        error: stage `differs` augments a fit that does not see references
          --> fade.toml:22:11
           |
        22 | augment = { defects = 4 }
           |           ^^^^^^^^^^^^^^^
           |
           = help: defects are painted on normal images: add `fit_on = "references"`

        1 error
    "#]],
    );
}

#[test]
fn unused_stages_are_a_warning() {
    says(
        &edit(r#"anomaly_map = "both""#, r#"anomaly_map = "vision""#),
        expect![[r#"
        warning: stage `tells` is not run: no output needs it
          --> fade.toml:11:1
           |
        11 | tells = { scorer = "language", query = "clip.gem_patch_embeddings", text = "words" }
           | ^^^^^

        warning: stage `language` is not run: no output needs it
          --> fade.toml:12:1
           |
        12 | language = { fusion = "resolution-mean", parts = "tells" }
           | ^^^^^^^^

        warning: stage `both` is not run: no output needs it
          --> fade.toml:14:1
           |
        14 | both = { fusion = "weighted", parts = ["language", "vision"], weights = [0.15, 0.85] }
           | ^^^^

        3 warnings
    "#]],
    );
}

#[test]
fn several_mistakes_at_once_and_nothing_that_follows_from_them() {
    let text = edit("gain = 3.5", "gian = 3.5");
    let text =
        text.replace("k = 1", "k = 0").replace("anomaly_map = \"both\"", "anomaly_map = \"bath\"");
    let text = text.replace("encoder = \"gem\"", "encoder = \"germ\"");
    says(
        &text,
        expect![[r#"
            error: there is no encoder `germ`
             --> fade.toml:8:20
              |
            8 | clip = { encoder = "germ", image = "image", model = "ViT-B-16-plus-240", weights = "laion400m-e31" }
              |                    ^^^^^^
              |
              = help: did you mean `gem`?
              = note: there are `clip`, `gem`

            error: stage `vision` (fusion `resolution-mean`) has no key `gian`
              --> fade.toml:13:59
               |
            13 | vision = { fusion = "resolution-mean", parts = "differs", gian = 3.5 }
               |                                                           ^^^^
               |
               = help: did you mean `gain`?
               = note: its keys are `gain`, `interpolation`, `parts`, `to`

            error: `k` of stage `differs` (scorer `nearest`) wants an integer of at least 1, got 0
              --> fade.toml:22:5
               |
            22 | k = 0
               |     ^ out of range

            error: `anomaly_map` of `[output]` reads `bath`, which is no stage
              --> fade.toml:24:15
               |
            24 | anomaly_map = "bath"
               |               ^^^^^^
               |
               = help: did you mean `both`?
               = note: the stages are `image`, `clip`, `words`, `says`, `tells`, `language`, `vision`, `both`, `peak`, `verdict`, `differs`

            4 errors
        "#]],
    );
}

#[test]
fn mistake_in_a_long_line_with_other_letters() {
    let text = edit("k = 1", "k = 1\n\"größe\" = 3 # ä comment");
    says(
        &text,
        expect![[r#"
            error: stage `differs` (scorer `nearest`) has no key `größe`
              --> fade.toml:23:1
               |
            23 | "größe" = 3 # ä comment
               | ^^^^^^^
               |
               = note: its keys are `distance`, `k`, `query`, `rows`, `self_reference`

            1 error
        "#]],
    );
}

#[test]
fn empty_file() {
    says(
        "",
        expect![[r#"
        error: the file does not say which language it is written in
         --> fade.toml:1:1
          |
        1 |
          | ^
          |
          = help: begin it with `loupe = 1`

        1 error
    "#]],
    );
}

#[test]
fn missing_key() {
    says(
        &edit(", weights = [0.15, 0.85]", ""),
        expect![[r#"
            error: stage `both` (fusion `weighted`) lacks the key `weights`
              --> fade.toml:14:1
               |
            14 | both = { fusion = "weighted", parts = ["language", "vision"] }
               | ^^^^
               |
               = note: `weights` wants a list of at least 1 item, each a number of at least 0

            1 error
        "#]],
    );
}

#[test]
fn language_version_not_first() {
    says(
        &edit("loupe = 1\n[data]", "test = []\nloupe = 1\n[data]"),
        expect![[r#"
        error: `loupe = 1` must be the first key of the file
         --> fade.toml:2:1
          |
        2 | loupe = 1
          | ^^^^^

        1 error
    "#]],
    );
}

#[test]
fn embedding_by_what_is_no_encoder() {
    says(
        &edit(r#"embed_with = "clip""#, r#"embed_with = "image""#),
        expect![[r#"
        error: `embed_with` of stage `words` wants an encoder stage
         --> fade.toml:9:66
          |
        9 | words = { prompts = "ensemble", sets = ["winclip"], embed_with = "image" }
          |                                                                  ^^^^^^^ `image` is a prepare stage

        1 error
    "#]],
    );
}

#[test]
fn score_where_a_map_is_pooled() {
    says(
        &edit(r#"of = "vision""#, r#"of = "says""#),
        expect![[r#"
        error: `of` of stage `peak` wants [b, h, w], but `says` is [b]
          --> fade.toml:15:29
           |
        15 | peak = { pool = "max", of = "says" }
           |                             ^^^^^^

        1 error
    "#]],
    );
}

#[test]
fn image_where_a_grid_is_wanted() {
    says(
        &edit(r#"parts = "differs""#, r#"parts = "clip.image_embedding""#),
        expect![[r#"
        error: `parts` of stage `vision` wants [b, gh, gw], but `clip.image_embedding` is [b, 640]
          --> fade.toml:13:48
           |
        13 | vision = { fusion = "resolution-mean", parts = "clip.image_embedding", gain = 3.5 }
           |                                                ^^^^^^^^^^^^^^^^^^^^^^

        1 error
    "#]],
    );
}

#[test]
fn fit_once_per_class_on_what_images_have() {
    let to = "of = \"vision\" }\nnew = { fusion = \"calibrated\", parts = \"vision\", level = \"vision\" }";
    says(
        &edit(r#"of = "vision" }"#, to),
        expect![[r#"
        error: stage `new` fits once per class, but `vision` is made once per image
          --> fade.toml:16:58
           |
        16 | new = { fusion = "calibrated", parts = "vision", level = "vision" }
           |                                                          ^^^^^^^^
           |
           = help: add `fit_on = "references"`
           = note: sources are `references`, `anomalous-references`, `auxiliary`, `test-set` and `test-labels`; the last two label the run transductive and oracle

        1 error
    "#]],
    );
}

#[test]
fn value_of_an_image_where_one_of_a_class_is_read() {
    let to = "of = \"vision\" }\nnew = { fusion = \"calibrated\", parts = \"vision\", \
              level = \"vision\", offset = \"vision\", fit_on = \"references\" }";
    says(
        &edit(r#"of = "vision" }"#, to),
        expect![[r#"
        error: `offset` of stage `new` is read once per class, but `vision` is made once per image
          --> fade.toml:16:77
           |
        16 | new = { fusion = "calibrated", parts = "vision", level = "vision", offset = "vision", fit_on = "references" }
           |                                                                             ^^^^^^^^

        1 error
    "#]],
    );
}

#[test]
fn choice_by_a_manifest_that_is_not_named() {
    says(
        &edit(r#"select = "torch""#, r#"select = "manifest""#),
        expect![[r#"
        error: `select = "manifest"` wants the key `manifest`, a file
         --> fade.toml:5:46
          |
        5 | references = { shots = 1, seed = 0, select = "manifest" }
          |                                              ^^^^^^^^^^

        1 error
    "#]],
    );
}

/// Whatever stands in a file, there is an answer and no panic.
#[test]
fn torn_files_are_answered() {
    for end in (0..super::FADE.len()).step_by(5) {
        messages(&super::FADE[..end]);
    }
    let lines: Vec<&str> = super::FADE.lines().collect();
    for left_out in 0..lines.len() {
        let kept = lines.iter().enumerate().filter(|(idx, _)| *idx != left_out);
        messages(&kept.map(|(_, line)| format!("{line}\n")).collect::<String>());
    }
    let values = [
        "[]",
        "{}",
        "\"\"",
        "\"@\"",
        "\"clip.@[\"",
        "-1",
        "1e400",
        "true",
        "\"${\"",
        "[[]]",
        "\"😀\"",
    ];
    for line in lines.iter().filter(|line| line.contains(" = ")) {
        let key = line.split(" = ").next().unwrap();
        for value in values {
            messages(&edit(line, &format!("{key} = {value}")));
        }
    }
}
