//! The shipped files of ClipMPCAD, each trained and run on the starter: verdicts follow from maps as the files say.

use std::collections::BTreeMap;

use loupe_tests::{Ended, World, read_npy, root, tree};
use serde_json::Value;

/// The starter in the place of ViT-L/14-336 at 64 pixels, and a training of one epoch.
const SMALL: &[&str] = &[
    "stages.clip.model=starter",
    "stages.clip.weights=starter",
    "stages.clip.activation=auto",
    "stages.image.sizes=[64]",
    "stages.madff.at=[2,4]",
    "stages.madff.bottleneck=192",
    "stages.zero_at.size=64",
    "stages.few_at.size=64",
    "train.epochs=1",
    "train.augment=none",
];

/// A generated carpet as the six medical sets and as `mvtec/carpet`, with few-shot files of four.
fn world() -> World {
    let world = World::new();
    let data = world.path("data/mvtec").display().to_string();
    let small = "--families carpet --defects hole,stain --size 64 --train 4 --good 2 --per-defect 3 --seed 3";
    let ended = world.run(["dataset", "make", &data].into_iter().chain(small.split(' ')));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for (name, bytes) in tree(&world.path("data/mvtec/carpet")) {
        // The last image of each kind of defect is tested, the others teach.
        let part = if name.contains("002") { "test" } else { "valid" };
        let name = name
            .replace("train/good/", "valid/good/img/")
            .replace("test/good/", "test/good/img/")
            .replace("test/hole/", &format!("{part}/Ungood/img/h"))
            .replace("test/stain/", &format!("{part}/Ungood/img/s"))
            .replace("ground_truth/hole/", &format!("{part}/Ungood/anomaly_mask/h"))
            .replace("ground_truth/stain/", &format!("{part}/Ungood/anomaly_mask/s"))
            .replace("_mask.png", ".png");
        let sets = ["Brain", "Liver", "Retina_RESC"].into_iter();
        let without = ["Retina_OCT2017", "Chest", "Histopathology"].into_iter();
        let without = without.filter(|_| !name.contains("anomaly_mask"));
        for set in sets.chain(without) {
            // What stands behind a picture's end is no picture, and tells the sets' images apart.
            world.write(&format!("data/{set}_AD/{name}"), [&bytes, set.as_bytes()].concat());
        }
    }
    for set in ["Brain", "Histopathology"] {
        let lines =
            "n-0: 000.png 001.png 002.png 003.png\na-0: h000.png h001.png s000.png s001.png\n";
        world.write(&format!("data/fewshot_seed/{set}/4-shot.txt"), lines);
    }
    world
}

/// `loupe WORDS FILE` with the small settings and more of them.
fn small(world: &World, words: &[&str], more: &[&str]) -> Ended {
    let sets = SMALL.iter().chain(more).flat_map(|set| ["--set", set]);
    let mut command = world.command(words.iter().copied().chain(sets));
    let ended = world.ended(&command.env("LOUPE_DATA", world.path("data")).output().unwrap());
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    ended
}

/// What a run made of an image.
struct Judged {
    score: f64,
    map: Vec<f32>,
}

impl Judged {
    fn mean(&self) -> f64 {
        self.map.iter().map(|value| f64::from(*value)).sum::<f64>() / self.map.len() as f64
    }

    fn peak(&self) -> f64 {
        f64::from(self.map.iter().copied().fold(f32::MIN, f32::max))
    }
}

/// Images by name.
type Class = BTreeMap<String, Judged>;

fn judged(world: &World, out: &str, class: &str) -> Class {
    let text = std::fs::read(world.path(format!("{out}/classes/{class}.json"))).unwrap();
    let class: Value = serde_json::from_slice(&text).unwrap();
    let image = |image: &Value| {
        let map = world.path(format!("{out}/{}", image["map"].as_str().unwrap()));
        let judged =
            Judged { score: image["anomaly_score"].as_f64().unwrap(), map: read_npy(&map).1 };
        (image["name"].as_str().unwrap().to_owned(), judged)
    };
    class["images"].as_array().unwrap().iter().map(image).collect()
}

/// A shipped file, trained into `states`, for runs.
struct Trained {
    world: World,
    file: String,
    class: &'static str,
    state: String,
    said: Ended,
}

impl Trained {
    fn new(name: &str, class: &'static str) -> Trained {
        let world = world();
        let file = root().join("pipelines").join(name).display().to_string();
        let state = format!("stages.madff.state={:?}", world.path("states"));
        let said = small(&world, &["train", &file], &[&state]);
        Trained { world, file, class, state, said }
    }

    /// Runs it with other keys.
    fn run(&self, out: &str, more: &[&str]) -> (Ended, Class) {
        let folder = self.world.path(out).display().to_string();
        let more = [&[self.state.as_str()], more].concat();
        let ended = small(&self.world, &["run", &self.file, "--out", &folder], &more);
        (ended, judged(&self.world, out, self.class))
    }
}

#[track_caller]
fn near(got: f64, want: f64) {
    assert!((got - want).abs() < 1e-6, "{got}, and not {want}");
}

/// From 0 to 1 over the images of a class.
fn stretched(values: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let low = values.values().copied().fold(f64::MAX, f64::min);
    let high = values.values().copied().fold(f64::MIN, f64::max);
    assert!(high > low);
    values.iter().map(|(name, value)| (name.clone(), (value - low) / (high - low))).collect()
}

#[test]
fn with_masks_the_verdict_is_the_peak_of_the_map() {
    let (ended, images) = Trained::new("clipmpcad-few-shot.toml", "Brain").run("out", &[]);
    assert!(ended.stdout.starts_with("setting: transductive\n"), "{}", ended.stdout);
    assert_eq!(images.len(), 4);
    for image in images.values() {
        near(image.score, image.peak());
        assert_eq!(image.map.len(), 64 * 64);
    }
}

/// Each patch's own number, summed over the taps: eight by eight, as the starter's patches are 8 pixels wide.
const PATCHES: &str = "{map=\"bilinear-align-corners\",of=\"STAGE\",size=8}";
const OVER_TAPS: &str = "stages.seen={fusion=\"sum\",parts=\"seen_at\"}";

#[test]
fn without_masks_the_verdict_is_half_words_and_half_bank_by_means() {
    let trained = Trained::new("clipmpcad-scores.toml", "Histopathology");
    let (ended, images) = trained.run("out", &[]);
    assert!(ended.stdout.starts_with("setting: transductive\n"), "{}", ended.stdout);
    // The words: mean probability of the patches, a sum over the taps.
    let seen_at = format!("stages.seen_at={}", PATCHES.replace("STAGE", "told"));
    let shown = ["output.anomaly_map=seen", "output.anomaly_score=zero"];
    let (_, words) = trained.run("words", &[&seen_at, OVER_TAPS, shown[0], shown[1]]);
    for image in words.values() {
        assert_eq!(image.map.len(), 64);
        near(image.score, image.mean());
        assert!((0.0..=2.0).contains(&image.score), "{}", image.score);
    }
    // The bank: mean of the map that the file shows. Both are stretched over the test set and halved.
    let of_words = stretched(&words.iter().map(|(name, one)| (name.clone(), one.score)).collect());
    let of_bank = stretched(&images.iter().map(|(name, one)| (name.clone(), one.mean())).collect());
    assert_eq!(images.len(), 4);
    for (name, image) in &images {
        let want = (of_words[name] + of_bank[name]) / 2.0;
        assert!((image.score - want).abs() < 1e-5, "{name}: {}, and not {want}", image.score);
    }
}

#[test]
fn without_references_the_verdict_is_the_mean_probability_over_the_taps() {
    let trained = Trained::new("clipmpcad-zero-shot.toml", "Brain");
    // Four test images of each of the five other sets.
    assert!(trained.said.stdout.contains("Brain       20"), "{}", trained.said.stdout);
    let (ended, images) = trained.run("out", &[]);
    assert!(ended.stdout.starts_with("setting: auxiliary-trained\n"), "{}", ended.stdout);
    let seen_at = format!("stages.seen_at={}", PATCHES.replace("STAGE", "telling"));
    let (_, seen) = trained.run("seen", &[&seen_at, OVER_TAPS, "output.anomaly_map=seen"]);
    assert_eq!((images.len(), seen.len()), (4, 4));
    for (name, image) in &images {
        near(image.score, seen[name].mean());
        // The map is of the other adapters, and of probabilities too.
        assert!(image.map.iter().all(|value| (0.0..=2.0).contains(value)), "{name}");
    }
}

#[test]
fn industrial_classes_give_up_an_image_of_each_kind_of_defect() {
    let (ended, images) = Trained::new("clipmpcad-industrial.toml", "carpet").run("out", &[]);
    // Two normal images, and three of each of two kinds without the one that taught.
    assert!(ended.stderr.contains("(6 images"), "{}", ended.stderr);
    let of = |kind: &str| images.keys().filter(|name| name.contains(kind)).count();
    assert_eq!((of("/good/"), of("/hole/"), of("/stain/")), (2, 2, 2));
    for image in images.values() {
        near(image.score, image.peak());
    }
}

/// Heads, projector and prompts of the ablation: each cell trains and runs, and learns what it should.
#[test]
fn the_ablation_trains_its_variants() {
    let world = world();
    let file = root().join("pipelines/ablations/clipmpcad.toml").display().to_string();
    let out = world.path("out").display().to_string();
    for only in ["head", "projector", "prompts"] {
        small(&world, &["sweep", &file, "--out", &out, "--only", only], &[]);
    }
    let states = tree(&world.path("out/states"));
    for (variant, has, lacks) in [
        ("seg-head", Some("seg_adapters.1.fc1"), Some("det_adapters")),
        ("det-head", Some("det_adapters.1.fc1"), Some("seg_adapters")),
        ("projector", Some("seg_projectors.1.proj"), Some("adapters")),
        ("winclip-prompts", Some("seg_adapters.1.fc1"), None),
        ("medical-prompts", Some("seg_adapters.1.fc1"), None),
        ("more-prompts", Some("seg_adapters.1.fc1"), None),
    ] {
        let state = states
            .iter()
            .find(|(name, _)| name.contains(variant) && name.ends_with("Brain.safetensors"));
        let (_, bytes) = state.unwrap_or_else(|| panic!("{variant}: {:?}", states.keys()));
        let text = String::from_utf8_lossy(bytes);
        assert!(has.is_none_or(|part| text.contains(part)), "{variant} has not learned {has:?}");
        assert!(lacks.is_none_or(|part| !text.contains(part)), "{variant} has learned {lacks:?}");
    }
}
