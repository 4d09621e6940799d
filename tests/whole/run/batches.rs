//! Small images go through an encoder several at a time, and nobody can tell but by the time it takes.

use std::collections::BTreeMap;

use loupe_tests::{Ended, World};

use super::{ran, results, run, world};
use crate::plugins::{compile, source};

/// Two sizes, of which one is too large to share a call.
const PIPELINE: &str = r#"loupe = 1
[data]
dataset    = "mvtec-ad"
root       = "${LOUPE_DEMO_DATA}"
references = { shots = 4, seed = 0, select = "seeded" }
[stages]
image   = { prepare = "square", sizes = [16, 32], normalize = "none" }
seven   = { encoder = "seven", image = "image" }
far     = { scorer = "nearest", query = "seven.patch_tokens", rows = "seven.patch_tokens", fit_on = "references" }
vision  = { fusion = "resolution-mean", parts = "far" }
verdict = { pool = "max", of = "vision" }
[output]
anomaly_map   = "vision"
anomaly_score = "verdict"
[protocol]
use = ["native"]
"#;

/// What the C encoder has besides in these tests: it says how many images a call has, and wants no white one. `ALONE`
/// takes the promise back that images do not depend on their batch.
const RECORDS: &str = r#"
#ifdef ALONE
#define INVARIANT 0u
#else
#define INVARIANT LOUPE_BATCH_INVARIANT
#endif
static const LoupeHost *host;

static int is_white(const DLTensor *images) {
    char text[] = "a call of 0";
    int64_t n = images->shape[0], each = 3 * images->shape[2] * images->shape[3];
    text[sizeof text - 2] = (char)('0' + n);
    LoupeStr said = {text, sizeof text - 1};
    host->log(host->ctx, LOUPE_LOG_DEBUG, said);
    const float *pixels = (const float *)((const char *)images->data + images->byte_offset);
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t at = 0; at < each; at++) sum += pixels[i * each + at];
        if (sum > 0.99 * (double)each) return 1;
    }
    return 0;
}

static int32_t encode_images("#;

/// An image of 16 pixels a side has 256 tokens, one of 32 fills a call.
fn encoder(world: &World, switches: &[&str]) {
    const IMAGE: &str = "    Session at = {0};\n    \
                         const LoupeTensor *image = input(call, IMAGE, 4, error);\n    \
                         if (image == NULL) return LOUPE_BAD_INPUT;\n";
    const JUDGED: &str =
        "    if (is_white(&image->dl)) return fail(error, LOUPE_BAD_INPUT, \"too white\");\n";
    let judged = format!("{IMAGE}{JUDGED}");
    let mut text = source("plugins/examples/c-encoder/encoder.c");
    for (from, to) in [
        ("\nstatic int32_t encode_images(", RECORDS),
        ("(void)host;\n    (void)error;", "host = given;\n    (void)error;"),
        ("int32_t create(const LoupeHost *host", "int32_t create(const LoupeHost *given"),
        (IMAGE, &judged),
        ("\\\"n_prefix\\\": 0", "\\\"n_prefix\\\": 0, \\\"patch_size\\\": 1"),
        ("| LOUPE_BATCH_INVARIANT |", "| INVARIANT |"),
    ] {
        assert_eq!(text.matches(from).count(), 1, "`{from}`");
        text = text.replace(from, to);
    }
    compile(world, "seven", &text, switches);
}

/// A world with the pipeline, which is changed at these places, and the encoder.
fn small(changes: &[(&str, &str)]) -> World {
    let world = world();
    let change = |text: String, (from, to): &(&str, &str)| text.replace(from, to);
    world.write("r.toml", changes.iter().fold(PIPELINE.to_owned(), change));
    encoder(&world, &[]);
    world
}

/// One reference and one size: a class of six goes in calls of 1, 4 and 2.
const ONE: [(&str, &str); 2] = [("shots = 4", "shots = 1"), ("[16, 32]", "[16]")];

fn encoded(world: &World, out: &str, more: &[&str]) -> Ended {
    let plugins = world.path("plugins").display().to_string();
    let own = ["-v", "--set", "run.threads=2", "--plugin-path", &plugins];
    run(world, out, &[&own, more].concat())
}

/// Images of each call, in order.
fn calls(ended: &Ended) -> String {
    let lines = ended.stderr.lines();
    lines.filter_map(|line| line.strip_prefix("seven: a call of ")).collect()
}

fn error(ended: &Ended) -> &str {
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let at = ended.stderr.find("error").unwrap_or_else(|| panic!("{}", ended.stderr));
    &ended.stderr[at..]
}

/// Scores and maps: tables also say that a component looks at several images, if it is said to.
fn figures(world: &World, out: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = results(&world.path(out));
    files.retain(|name, _| name == "images.csv" || name.ends_with(".npy"));
    assert!(files.keys().any(|name| name.ends_with("hole/000.npy")), "{:?}", files.keys());
    files
}

fn paint(world: &World, name: &str, colour: [u8; 3]) {
    let picture = image::RgbImage::from_pixel(64, 64, image::Rgb(colour));
    picture.save(world.path("data").join(name)).unwrap();
}

#[test]
fn small_images_share_a_call_and_get_the_bytes_of_their_own() {
    let world = small(&[]);
    let flags = ["--no-cache", "--save", "maps"];
    let together = encoded(&world, "together", &flags);
    assert_eq!(together.code, Some(0), "{}", together.stderr);
    // Four references and the first tests, of 16 pixels; references of 32, the first test, and so on.
    let class = ["4", "4", "1111", "1", "1", "1", "1", "2", "1", "1"].concat();
    assert_eq!(calls(&together), class.repeat(2));
    assert!(together.stderr.contains("(12 images, 0 from cache)"), "{}", together.stderr);

    encoder(&world, &["ALONE"]);
    let alone = encoded(&world, "alone", &flags);
    assert_eq!(calls(&alone), "1".repeat(2 * 2 * (4 + 6)));
    assert!(figures(&world, "together") == figures(&world, "alone"));
}

#[test]
fn encoders_of_transformers_give_the_same_bytes_to_several_images() {
    for (encoder, output) in
        [("clip", "clip.patch_embeddings"), ("gem", "clip.gem_patch_embeddings")]
    {
        let world = world();
        let text = super::PIPELINE.replace("clip.patch_embeddings", output);
        let blocks = if encoder == "gem" { "blocks = 2, " } else { "" };
        let text =
            text.replace("encoder = \"clip\", ", &format!("encoder = \"{encoder}\", {blocks}"));
        world.write("r.toml", &text);
        ran(&world, "together", &["--save", "maps"]);
        // A script looks at images one by one.
        world.write("h.rhai", "fn observe_clip(tensor) { }\n");
        world.write("r.toml", text.replace("[data]", "hooks = \"h.rhai\"\n[data]"));
        ran(&world, "alone", &["--save", "maps", "--no-cache"]);
        assert!(figures(&world, "together") == figures(&world, "alone"), "{encoder}");
        // What was made together lies in the cache as what was made alone does.
        let again = ran(&world, "again", &["--save", "maps"]);
        assert!(again.stderr.contains("(12 images, 12 from cache)"), "{}", again.stderr);
        assert!(figures(&world, "again") == figures(&world, "alone"), "{encoder}");
    }
}

#[test]
fn a_script_that_looks_sees_one_image_after_the_other() {
    let world = small(&ONE);
    assert_eq!(calls(&encoded(&world, "together", &["--no-cache"])), "142142");
    world.write("r.toml", PIPELINE.replace("[data]", "hooks = \"h.rhai\"\n[data]"));
    for stage in ["seven", "image"] {
        world.write("h.rhai", format!("fn observe_{stage}(tensor) {{ }}\n"));
        let seen = encoded(&world, "seen", &["--no-cache"]);
        assert_eq!(calls(&seen), "1".repeat(2 * 2 * (4 + 6)), "{stage}: {}", seen.stderr);
    }
}

#[test]
fn a_mistake_is_told_of_the_image_that_has_it() {
    let world = small(&ONE);
    paint(&world, "woven/test/hole/000.png", [255; 3]);
    let white = encoded(&world, "white", &["--no-cache"]);
    // The four fail together; the first is alone then, the second with those behind them, and the third alone.
    assert_eq!(calls(&white), "142".to_owned() + "14131");
    assert!(error(&white).contains("too white"), "{}", white.stderr);

    world.write("data/woven/test/good/001.png", "no picture");
    let unread = encoded(&world, "unread", &["--no-cache"]);
    // It has no part in a call, and nothing is said of the white one, whose turn does not come.
    assert_eq!(calls(&unread), "142".to_owned() + "141");
    assert!(error(&unread).contains("good/001.png"), "{}", unread.stderr);

    encoder(&world, &["ALONE"]);
    assert_eq!(error(&encoded(&world, "alone", &["--no-cache"])), error(&unread));
    paint(&world, "woven/test/good/001.png", [9; 3]);
    assert_eq!(error(&encoded(&world, "alone", &["--no-cache"])), error(&white));
}

#[test]
fn what_the_cache_has_is_no_part_of_a_call() {
    let world = small(&ONE);
    assert_eq!(encoded(&world, "first", &[]).code, Some(0));
    paint(&world, "woven/test/good/001.png", [9; 3]);
    paint(&world, "woven/test/stain/000.png", [99; 3]);
    let second = encoded(&world, "second", &[]);
    assert!(second.stderr.contains("(12 images, 10 from cache)"), "{}", second.stderr);
    assert_eq!(calls(&second), "2");
}
