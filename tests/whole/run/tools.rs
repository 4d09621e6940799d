//! The commands beside `run`: `eval`, `cache`, `dataset`, `weights`, `doctor`.

use loupe_tests::{Ended, World};
use serde_json::Value;

use super::{json, ran, results, world};

fn parsed(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// A run's maps, taken as another tool's, have the run's own metrics.
#[test]
fn eval_of_a_runs_maps() {
    let world = world();
    ran(&world, "out", &[]);
    let maps = world.path("out/maps").display().to_string();
    let masks = world.path("data").display().to_string();
    let ended = world.run(["eval", "--maps", &maps, "--masks", &masks, "--format", "json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let (evaluated, own) = (parsed(&ended), json(&world.path("out/results.json")));
    let (table, own) = (&evaluated["tables"][0], &own["protocols"][0]);
    for class in 0..2 {
        let (row, own) = (&table["classes"][class], &own["classes"][class]);
        assert_eq!((&row["class"], &row["n_images"]), (&own["class"], &own["n_images"]));
        for (name, value) in own["metrics"].as_object().unwrap() {
            let (got, want) = (row["metrics"][name].as_f64().unwrap(), value.as_f64().unwrap());
            assert!((got - want).abs() <= 1e-9, "{name}: {got} is not {want}");
        }
    }
    let all = world.run(["eval", "--maps", &maps, "--masks", &masks, "--protocol", "all"]);
    assert_eq!(all.code, Some(0), "{}", all.stderr);
    let listed = world.run(["eval", "--list-protocols"]);
    for protocol in ["native", "fade-448-u8", "mvtec-official", "anomalib-old"] {
        assert!(all.stdout.contains(&format!("protocol: {protocol}")), "{}", all.stdout);
        assert!(listed.stdout.contains(protocol), "{}", listed.stdout);
    }
}

fn cache(world: &World, action: &[&str]) -> Ended {
    world.run(["cache"].iter().chain(action).chain(&["--format", "json"]))
}

#[test]
fn the_cache_is_listed_and_tidied() {
    let world = world();
    let nothing = cache(&world, &["stat"]);
    assert_eq!(nothing.code, Some(1));
    assert!(nothing.stderr.contains("there is no cache at `WORLD/cache` yet"), "{nothing:?}");
    ran(&world, "out", &[]);
    let rows = parsed(&cache(&world, &["ls"]));
    let row = |stage: &str, value: &str| {
        let mut rows = rows.as_array().unwrap().iter();
        let found = rows.find(|row| row["stage"] == stage && row["value"] == value);
        found.unwrap_or_else(|| panic!("{stage} {value} in {rows:?}"))["n_values"].as_u64()
    };
    // Two sizes of 12 images under test and of a reference a class.
    assert_eq!(row("clip", "patch_embeddings"), Some(2 * (12 + 2)));
    assert_eq!(row("far", "patch_scores"), Some(2 * 12));
    assert_eq!(row("far", "state"), Some(2 * 2));
    assert_eq!(row("vision", "fused"), Some(12));
    let stat = parsed(&cache(&world, &["stat"]));
    assert_eq!(stat["n_values"], 28 + 24 + 4 + 12);
    assert_eq!(cache(&world, &["verify"]).code, Some(0));
    world.write("cache/.tmp-of-a-crash", "half a file");
    assert_eq!(cache(&world, &["gc"]).code, Some(0));
    assert_eq!(parsed(&cache(&world, &["stat"]))["n_values"], stat["n_values"]);
    assert_eq!(cache(&world, &["gc", "--keep", "0"]).code, Some(0));
    assert_eq!(parsed(&cache(&world, &["stat"]))["n_values"], 0);
}

/// One bit of one value: `verify` finds it, and the next run makes the value again.
#[test]
fn a_flipped_byte() {
    let world = world();
    ran(&world, "before", &[]);
    let before = results(&world.path("before"));
    let shards: Vec<String> = loupe_tests::tree(&world.path("cache"))
        .into_iter()
        .filter(|(name, _)| name.ends_with(".h5"))
        .map(|(name, _)| name)
        .collect();
    assert!(
        !shards.is_empty(),
        "no shards in {:?}",
        loupe_tests::tree(&world.path("cache")).keys()
    );
    for (shard_idx, shard) in shards.iter().enumerate() {
        let path = world.path("cache").join(shard);
        let mut bytes = std::fs::read(&path).unwrap();
        // In the values of the one, in the tables of the other.
        let place = if shard_idx % 2 == 0 { bytes.len() * 2 / 3 } else { bytes.len() / 5 };
        bytes[place..place + 64].iter_mut().for_each(|byte| *byte ^= 0x10);
        std::fs::write(&path, bytes).unwrap();
    }
    let verify = cache(&world, &["verify"]);
    assert_eq!(verify.code, Some(5), "{verify:?}");
    ran(&world, "after", &[]);
    assert!(before == results(&world.path("after")), "a damaged cache changed the results");
    ran(&world, "last", &[]);
    assert!(before == results(&world.path("last")));
}

#[test]
fn dataset_check() {
    let world = world();
    let data = world.path("data").display().to_string();
    world.write("data/woven/test/hole/notes.txt", "by hand");
    let check = || world.run(["dataset", "check", &data, "--format", "json"]);
    let ended = check();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let said = parsed(&ended);
    assert_eq!((&said["n_images"], &said["n_unmatched"]), (&20.into(), &1.into()));
    assert_eq!(said["unmatched"][0], "woven/test/hole/notes.txt");
    assert_eq!(said["fingerprint"], parsed(&check())["fingerprint"]);
    let picture = image::RgbImage::from_pixel(64, 64, image::Rgb([1, 2, 3]));
    picture.save(world.path("data/woven/test/good/000.png")).unwrap();
    assert_ne!(said["fingerprint"], parsed(&check())["fingerprint"]);
    // A text is no picture, whatever it is called.
    world.write("data/woven/test/good/001.png", "by hand");
    let said = parsed(&check());
    let warning = "1 of the images and masks are no pictures (first: `woven/test/good/001.png`)";
    assert_eq!(said["warnings"][0], warning);
    let ended = world.run(["dataset", "check", &world.path("nowhere").display().to_string()]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("WORLD/nowhere"), "{}", ended.stderr);
}

#[test]
fn weights_are_pinned_by_digest() {
    let world = World::new();
    let file = world.write("mine.safetensors", b"\x08\0\0\0\0\0\0\0{}      ");
    let file = file.display().to_string();
    let add = world.run(["weights", "add", &file, "--as", "ViT-B-32/mine"]);
    assert_eq!(add.code, Some(0), "{}", add.stderr);
    let ls = world.run(["weights", "ls", "--format", "json"]);
    assert!(parsed(&ls).to_string().contains("ViT-B-32/mine"), "{}", ls.stdout);
    assert_eq!(world.run(["weights", "verify"]).code, Some(0));
    // What is pinned is not the user's file any more once that is written anew.
    let home = loupe_tests::tree(&world.path("home"));
    let (name, _) = home.iter().find(|(_, bytes)| bytes.starts_with(b"\x08\0\0\0")).unwrap();
    let path = world.path("home").join(name);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "other bytes").unwrap();
    let verify = world.run(["weights", "verify"]);
    assert_eq!(verify.code, Some(5), "{verify:?}");
    let wrong = world.run(["weights", "add", &file, "--as", "ViT-B-32/openai"]);
    assert_eq!(wrong.code, Some(1), "a public name wants the public file: {wrong:?}");
}

#[test]
fn doctor() {
    let world = World::new();
    let ended = world.run(["doctor", "--format", "json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let said = parsed(&ended);
    assert_eq!(said["plugin_boundary"], 1);
    assert!(said["components"].as_array().unwrap().contains(&"scorer/nearest".into()), "{said}");
    assert!(said["numerics"].as_str().unwrap().starts_with("f32-"), "{said}");
    assert!(said["cpu_problem"].is_null(), "{said}");
}

#[test]
fn doctor_names_a_cpu_that_there_is_not() {
    let output = World::new().command(["doctor"]).env("LOUPE_CPU", "wrong").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let problem =
        "problem     `LOUPE_CPU` wants `portable`, `avx2`, `avx512` or `amx`, got `wrong`\n";
    assert!(said.contains(problem), "{said}");
}
