//! Bad plugin files beside good ones: each is named with its reason, and the rest goes on.

use expect_test::expect;
use loupe_tests::World;

use super::{cells, compile, map_of, source};

const PIPELINE: &str = r#"loupe = 1
[stages]
image = { prepare = "square", sizes = [48], normalize = "none" }
seven = { encoder = "seven", image = "image" }
far   = { scorer = "nearest", query = "seven.patch_tokens", rows = "seven.patch_tokens", fit_on = "references" }
map   = { fusion = "median", parts = "far" }
[output]
anomaly_map = "map"
"#;

/// Good plugins, and a file for each way to be no plugin.
fn world() -> World {
    let world = World::new();
    let seven = compile(&world, "seven", &source("plugins/examples/c-encoder/encoder.c"), &[]);
    compile(&world, "median", &source("plugins/examples/c-fusion/median.c"), &[]);
    compile(&world, "other-library", "int answer(void) { return 42; }\n", &[]);
    let median = source("plugins/examples/c-fusion/median.c");
    compile(&world, "other-abi", &median.replace("LOUPE_ABI, sizeof", "7, sizeof"), &[]);
    let crash =
        "#include <stdlib.h>\n__attribute__((constructor)) static void f(void) { abort(); }\n";
    compile(&world, "crash", &format!("{crash}{median}"), &[]);
    let bytes = std::fs::read(seven).unwrap();
    world.write("plugins/truncated.so", &bytes[..bytes.len() / 3]);
    world.write("plugins/empty.so", "");
    world.write("plugins/notes.so", "Remember to build the plugin.\n");
    cells(&world.path("query.png"), 48, &[&[[9, 9, 9], [200, 0, 0]], &[[0, 200, 0], [0, 0, 200]]]);
    cells(&world.path("references/one.png"), 48, &[&[[9, 9, 9]]]);
    world
}

#[test]
fn each_is_named_with_its_reason() {
    let world = world();
    let plugins = world.path("plugins").display().to_string();
    let ended = world.run(["inspect", "--why-not", "--plugin-path", &plugins]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    expect![[r#"
        WORLD/plugins/crash.so: crashed while loading (signal 6)
        WORLD/plugins/empty.so: is not a shared library: it does not start with the ELF mark
        WORLD/plugins/notes.so: is not a shared library: it does not start with the ELF mark
        WORLD/plugins/other-abi.so: speaks plugin boundary 7, but this engine speaks 1; rebuild the plugin
        WORLD/plugins/other-library.so: is not a loupe plugin: the symbol `loupe_plugin` is missing
        WORLD/plugins/truncated.so: is truncated
    "#]].assert_eq(&without_sizes(&ended.stdout));
}

/// How large a compiled file is depends on the compiler.
fn without_sizes(text: &str) -> String {
    let line = |line: &str| match line.find("is truncated") {
        Some(at) => format!("{}is truncated\n", &line[..at]),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn the_others_go_on() {
    let (shape, map) = map_of(&world(), PIPELINE, &[]);
    assert_eq!(shape, [2, 2]);
    assert!(map[0].abs() < 1e-6 && map[1..].iter().all(|score| *score > 1e-4), "{map:?}");
}

/// Exit code 6: what is missing may be in a file that could not be loaded.
#[test]
fn a_component_of_a_refused_file() {
    let world = world();
    std::fs::remove_file(world.path("plugins/median.so")).unwrap();
    let pipeline = world.write("p.toml", PIPELINE).display().to_string();
    let plugins = world.path("plugins").display().to_string();
    for command in ["check", "run"] {
        let ended = world.run([command, &pipeline, "--plugin-path", &plugins]);
        assert_eq!(ended.code, Some(6), "{}", ended.stderr);
        expect![[r#"
            error: there is no fusion `median`
             --> WORLD/p.toml:6:20
              |
            6 | map   = { fusion = "median", parts = "far" }
              |                    ^^^^^^^^
              |
              = note: there are `harmonic`, `learned-gate`, `madff`, `max`, `min-max`, `multi-scale-adaptive`, `mvfa`, `product`, `projector`, `resolution-mean`, `sum`, `tap-tokens`, `weighted`
              = note: `WORLD/plugins/crash.so` could not be loaded: crashed while loading (signal 6)
              = note: `WORLD/plugins/empty.so` could not be loaded: is not a shared library: it does not start with the ELF mark
              = note: `WORLD/plugins/notes.so` could not be loaded: is not a shared library: it does not start with the ELF mark
              = note: `WORLD/plugins/other-abi.so` could not be loaded: speaks plugin boundary 7, but this engine speaks 1; rebuild the plugin
              = note: `WORLD/plugins/other-library.so` could not be loaded: is not a loupe plugin: the symbol `loupe_plugin` is missing
              = note: `WORLD/plugins/truncated.so` could not be loaded: is truncated

            1 error
            error: a component is missing, and 6 plugin files could not be loaded; `loupe inspect --why-not` says why
        "#]].assert_eq(&without_sizes(&ended.stderr));
    }
}
