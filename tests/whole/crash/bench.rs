//! One small pipeline on a few made surfaces, run undisturbed and otherwise, and what is compared
//! afterwards.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use loupe_tests::{Ended, Running, World, tree};

/// Two scales, both branches: features, states, text embeddings and stage outputs all pass through
/// the cache.
const PIPELINE: &str = r#"loupe = 1
[data]
dataset    = "mvtec-ad"
root       = "${LOUPE_DEMO_DATA}"
references = { shots = 2, seed = 0, select = "seeded" }
[stages]
image    = { prepare = "square", sizes = [48, 64], filter = "pillow-bicubic", normalize = "clip" }
clip     = { encoder = "gem", image = "image", model = "tiny.json", weights = "random", seed = 0, blocks = 2 }
words    = { prompts = "ensemble", sets = ["winclip"], subject = "class", wrap = "a photo of a {}.", embed_with = "clip" }
tells    = { scorer = "language", query = "clip.gem_patch_embeddings", text = "words", model = "average", scale = 100.0 }
language = { fusion = "resolution-mean", parts = "tells", interpolation = "opencv-bilinear" }
vision   = { fusion = "resolution-mean", parts = "differs", interpolation = "opencv-bilinear" }
both     = { fusion = "weighted", parts = ["language", "vision"], weights = [0.15, 0.85] }
peak     = { pool = "max", of = "both" }
[stages.differs]
scorer   = "nearest"
query    = "clip.patch_embeddings"
rows     = "clip.patch_embeddings"
fit_on   = "references"
distance = "half-cosine"
k        = 1
[output]
anomaly_map   = "both"
anomaly_score = "peak"
[protocol]
use = ["native"]
[run]
threads = 1
cache   = { features = "FEATURES", stages = "f32" }
"#;

const MODEL: &str = r#"{"embed_dim": EMBED_DIM,
"vision_cfg": {"image_size": 64, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
"text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}}"#;

/// Surfaces of the small data set: a class each.
pub const FEW: [&str; 3] = ["granite", "wood_grain", "woven"];

/// A world with the pipeline and its data. A run has a name: of its cache and of its run folder.
pub struct Bench {
    pub world: World,
    /// Test images of all classes.
    pub n_images: usize,
}

/// All that a run is judged by.
#[derive(PartialEq, Eq)]
pub struct Outcome {
    /// The run folder's files but for the timings.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Cached values by key, each with where it came from.
    pub values: BTreeMap<String, (String, Vec<u8>)>,
}

impl Bench {
    pub fn new(families: &[&str]) -> Bench {
        let world = World::new();
        let data = world.path("data").display().to_string();
        let families = families.join(",");
        let made = world.run([
            "dataset",
            "make",
            &data,
            "--families",
            &families,
            "--defects",
            "scratch,stain",
            "--size",
            "64",
            "--train",
            "2",
            "--good",
            "2",
            "--per-defect",
            "1",
            "--seed",
            "3",
        ]);
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        let bench = Bench { world, n_images: 4 * families.split(',').count() };
        bench.pipeline("f32", 16);
        bench
    }

    /// Writes the pipeline with another type of cached features or another width of embeddings.
    pub fn pipeline(&self, features: &str, embed_dim: usize) {
        self.world.write("pipeline.toml", PIPELINE.replace("FEATURES", features));
        self.world.write("tiny.json", MODEL.replace("EMBED_DIM", &embed_dim.to_string()));
    }

    /// The same with images large enough that one class fills files of tens of megabytes.
    pub fn finer_grid(&self) {
        let text = std::fs::read_to_string(self.world.path("pipeline.toml")).unwrap();
        self.world.write("pipeline.toml", text.replace("sizes = [48, 64]", "sizes = [48, 640]"));
    }

    /// `loupe run` with the cache and the run folder of `name`.
    pub fn run(&self, name: &str) -> Command {
        let path = |file: &str| self.world.path(file).into_os_string();
        let out = self.world.path(format!("out-{name}")).into_os_string();
        let mut command =
            self.world.command(["run".into(), path("pipeline.toml"), "--out".into(), out]);
        command.env("LOUPE_CACHE", self.cache(name));
        command
    }

    pub fn cache(&self, name: &str) -> std::path::PathBuf {
        self.world.path(format!("cache-{name}"))
    }

    pub fn out(&self, name: &str) -> std::path::PathBuf {
        self.world.path(format!("out-{name}"))
    }

    pub fn ended(&self, command: &mut Command) -> Ended {
        self.world.ended(&Running::start(command).end())
    }

    /// `loupe cache ACTION` on the cache of `name`.
    pub fn cache_command(&self, name: &str, action: &[&str]) -> Ended {
        let mut command = self.world.command([&["cache"], action].concat());
        self.ended(command.env("LOUPE_CACHE", self.cache(name)))
    }

    /// Runs to the end without anything in the way, and says nothing but where the results are. How
    /// many images came from the cache.
    pub fn completes(&self, name: &str) -> usize {
        let ended = self.ended(&mut self.run(name));
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
        let lines: Vec<&str> = ended.stderr.lines().collect();
        let head = format!("wrote WORLD/out-{name} ({} images, ", self.n_images);
        let count = lines[0].strip_prefix(&head).and_then(|rest| rest.strip_suffix(" from cache)"));
        assert_eq!(
            lines[1..],
            [format!("report WORLD/out-{name}/report.html")],
            "{}",
            ended.stderr
        );
        count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{}", ended.stderr))
    }

    pub fn outcome(&self, name: &str) -> Outcome {
        Outcome { files: files(&self.out(name)), values: super::same::values(&self.cache(name)) }
    }

    /// What an undisturbed run gives, with a cache of its own.
    pub fn undisturbed(&self) -> Outcome {
        assert_eq!(self.completes("undisturbed"), 0);
        self.outcome("undisturbed")
    }

    pub fn verifies(&self, name: &str) {
        let ended = self.cache_command(name, &["verify"]);
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{name}: {}", ended.stdout);
        assert!(ended.stdout.ends_with("all good\n"), "{name}: {}", ended.stdout);
    }

    /// After whatever happened to the run of `name`: nothing half-written is there to be read, the
    /// next run gives what an undisturbed one gives, the one after it finds everything in the
    /// cache, and `gc` leaves no litter.
    pub fn recovers(&self, name: &str, want: &Outcome) {
        if self.cache(name).is_dir() {
            self.verifies(name);
        }
        self.completes(name);
        want.check(&self.outcome(name), name);
        self.verifies(name);
        assert_eq!(self.completes(name), self.n_images, "{name}: not all from the cache");
        want.check(&self.outcome(name), name);
        let collected = self.cache_command(name, &["gc"]);
        assert_eq!((collected.code, &*collected.stderr), (Some(0), ""), "{name}");
        let litter: Vec<String> = tree(&self.cache(name))
            .into_keys()
            .filter(|file| file.contains(".tmp-") || file.ends_with(".rejected"))
            .collect();
        assert!(litter.is_empty(), "{name}: {litter:?}");
    }
}

/// The run folder's files; times are no results.
pub fn files(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = tree(out);
    files.remove("timings.csv");
    files
}

impl Outcome {
    /// Panics with the first difference.
    pub fn check(&self, got: &Outcome, name: &str) {
        same_files(&self.files, &got.files, name);
        let keys = |outcome: &Outcome| outcome.values.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(self), keys(got), "{name}: keys of cached values");
        for (key, want) in &self.values {
            assert!(got.values[key] == *want, "{name}: cached value {key} of {}", want.0);
        }
    }
}

pub fn same_files(want: &BTreeMap<String, Vec<u8>>, got: &BTreeMap<String, Vec<u8>>, name: &str) {
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(want), names(got), "{name}: files of the run folder");
    for (file, bytes) in want {
        assert!(got[file] == *bytes, "{name}: `{file}` differs");
    }
}
