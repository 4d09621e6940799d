//! The training loop.

use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

use loupe_clip::ModelConfig;

use crate::arguments::Arguments;
use crate::batch::Source;
use crate::checkpoint::{self, Progress};
use crate::data::Data;
use crate::error::{Result, TrainError};
use crate::export::export;
use crate::model::{Model, STARTER, TAPS};
use crate::rng::Rng;
use crate::sentences::{Lists, Vocabulary, spoken};

const RATE: f32 = 1e-3;
/// The learning rate's last part of its highest value.
const LAST_RATE: f32 = 0.005;
const WARM_UP_STEPS: usize = 150;
const REPORT_EVERY: usize = 50;
/// How slowly the printed losses follow.
const SMOOTH: f64 = 0.97;

/// Trains as the command line says.
pub fn train(arguments: &Arguments) -> Result<()> {
    train_until(arguments, STARTER, arguments.n_steps)
}

/// Trains the model that open_clip's JSON `description` tells of up to step `last`.
fn train_until(arguments: &Arguments, description: &str, last: usize) -> Result<()> {
    fs::create_dir_all(&arguments.out).map_err(TrainError::file(&arguments.out))?;
    let start = Instant::now();
    let data = Data::read(&arguments.data, arguments.n_threads)?;
    let lists = Lists::read(&arguments.data)?;
    let config = ModelConfig::from_json("starter", description)?;
    let vocabulary = Vocabulary::new(&lists, &own_words(&data), config.text.context_length);
    let mut rng = Rng::new(arguments.seed);
    let mut model = Model::new(&config, vocabulary.n_rows(), &TAPS, &mut rng)?;
    println!(
        "{} products, {} pictures, {} tokens, {:.2} M parameters, read in {:.0} s",
        data.products.len(),
        data.pictures().count(),
        vocabulary.ids.len(),
        model.n_parameters() as f64 / 1e6,
        start.elapsed().as_secs_f64()
    );
    let settings = settings(arguments, &data, &vocabulary);
    let mut progress = Progress { step: 0, rng, settings };
    let path = arguments.out.join("checkpoint.safetensors");
    if arguments.resume {
        progress = checkpoint::load(&path, &mut model, &progress.settings)?;
        println!("going on from step {}", progress.step);
    }
    let source = Source {
        data: &data,
        lists: &lists,
        vocabulary: &vocabulary,
        patch: config.vision.patch_size,
        native_grid: config.vision.native_grid(),
        grids: &arguments.grids,
        n_triples: arguments.n_triples,
        n_threads: arguments.n_threads,
    };
    let mut report = Report::new(progress.step, arguments);
    while progress.step < last {
        let rate = rate(progress.step, arguments.n_steps);
        let drawn = Instant::now();
        let batch = source.batch(&mut progress.rng)?;
        report.data_seconds += drawn.elapsed().as_secs_f64();
        let losses = model.losses(&batch, arguments.n_threads)?;
        let total = Model::value(&losses.total)?;
        if !total.is_finite() {
            return Err(TrainError::Diverged { step: progress.step, loss: total });
        }
        let gradients = model.gradients(&losses.total)?;
        progress.step += 1;
        model.step(&gradients, progress.step, rate)?;
        for (name, value) in &losses.parts {
            report.add(name, Model::value(value)?);
        }
        report.line(progress.step);
        if progress.step.is_multiple_of(arguments.save_every) || progress.step == last {
            checkpoint::save(&path, &model, &progress)?;
            export(&arguments.out, &model, &vocabulary.ids, description)?;
        }
    }
    println!("wrote {}", arguments.out.join("starter.safetensors").display());
    Ok(())
}

/// Sentences and names of the data, whose tokens the vocabulary must have.
fn own_words(data: &Data) -> BTreeSet<String> {
    let families = data.products.iter().map(|product| spoken(&product.family));
    let of_pictures = data
        .pictures()
        .flat_map(|picture| picture.sentences.iter().cloned().chain([spoken(&picture.defect)]));
    families.chain(of_pictures).collect()
}

/// What must be the same for a checkpoint to go on.
fn settings(arguments: &Arguments, data: &Data, vocabulary: &Vocabulary) -> String {
    let Arguments { n_steps, seed, n_triples, grids, .. } = arguments;
    let (pictures, tokens) = (data.pictures().count(), vocabulary.ids.len());
    format!(
        "--steps {n_steps} --seed {seed} --batch {n_triples}, crops of {grids:?} tokens, {pictures} \
         pictures, {tokens} tokens"
    )
}

/// Rises, stays, and falls straight to 0 over the last third.
fn rate(step: usize, n_steps: usize) -> f32 {
    let warm = ((step + 1) as f32 / WARM_UP_STEPS as f32).min(1.0);
    let done = step as f32 / n_steps as f32;
    RATE * (warm * (3.0 * (1.0 - done)).min(1.0)).max(LAST_RATE)
}

/// The lines that say how training goes.
struct Report {
    start: Instant,
    first_step: usize,
    n_steps: usize,
    n_crops: usize,
    data_seconds: f64,
    /// Running mean of each loss and the sum of its weights.
    means: Vec<(&'static str, f64, f64)>,
}

impl Report {
    fn new(first_step: usize, arguments: &Arguments) -> Self {
        Self {
            start: Instant::now(),
            first_step,
            n_steps: arguments.n_steps,
            n_crops: 3 * arguments.n_triples,
            data_seconds: 0.0,
            means: Vec::new(),
        }
    }

    fn add(&mut self, name: &'static str, value: f32) {
        if !self.means.iter().any(|(known, ..)| *known == name) {
            self.means.push((name, 0.0, 0.0));
        }
        for (_, mean, weight) in self.means.iter_mut().filter(|(known, ..)| *known == name) {
            *mean = SMOOTH * *mean + (1.0 - SMOOTH) * f64::from(value);
            *weight = SMOOTH * *weight + (1.0 - SMOOTH);
        }
    }

    fn line(&self, step: usize) {
        if !step.is_multiple_of(REPORT_EVERY) && step != self.n_steps {
            return;
        }
        let seconds = self.start.elapsed().as_secs_f64();
        let per_step = seconds / (step - self.first_step).max(1) as f64;
        let losses: Vec<String> = self
            .means
            .iter()
            .map(|(name, mean, weight)| format!("{name} {:.4}", mean / weight))
            .collect();
        println!(
            "step {step}: {}; {:.1} images/s, {:.0} s gone (drawing crops {:.0} s), {:.0} s left",
            losses.join(", "),
            self.n_crops as f64 / per_step,
            seconds,
            self.data_seconds,
            per_step * (self.n_steps - step) as f64
        );
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    const SMALL: &str = r#"{"embed_dim": 16,
        "vision_cfg": {"image_size": 72, "layers": 4, "width": 16, "head_width": 8, "patch_size": 8},
        "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1}}"#;

    /// Two products of noise with a damaged square.
    fn folder(root: &Path) {
        let mut rng = Rng::new(5);
        let mut save = |name: &str, pixel: &dyn Fn(u32, u32, u8) -> u8| {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let image = image::GrayImage::from_fn(72, 72, |x, y| {
                image::Luma([pixel(x, y, rng.below(256) as u8)])
            });
            image.save(path).unwrap();
        };
        let damaged = |x: u32, y: u32| (20..50).contains(&x) && (20..50).contains(&y);
        for class in ["woven_00", "wire_mesh_01"] {
            save(&format!("{class}/train/good/000.png"), &|_, _, noise| noise);
            save(&format!("{class}/test/good/000.png"), &|_, _, noise| noise);
            save(&format!("{class}/test/deep_hole/000.png"), &|x, y, noise| {
                if damaged(x, y) { 0 } else { noise }
            });
            save(&format!("{class}/ground_truth/deep_hole/000_mask.png"), &|x, y, _| {
                if damaged(x, y) { 255 } else { 0 }
            });
        }
        let lines = "image,caption\nwoven_00/test/deep_hole/000.png,a weave with a gap\n";
        fs::write(root.join("captions.csv"), lines).unwrap();
    }

    fn arguments(data: &Path, out: PathBuf) -> Arguments {
        Arguments {
            data: vec![data.to_owned()],
            out,
            n_steps: 3,
            seed: 1,
            n_threads: 1,
            n_triples: 2,
            grids: vec![8, 9],
            save_every: 3,
            resume: false,
        }
    }

    #[test]
    fn training_goes_on_to_the_same_end() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        folder(&data);
        let whole = arguments(&data, dir.path().join("whole"));
        train_until(&whole, SMALL, 3).unwrap();
        let mut stopped = arguments(&data, dir.path().join("stopped"));
        stopped.save_every = 2;
        // Another number of threads must change nothing, either.
        stopped.n_threads = 2;
        train_until(&stopped, SMALL, 2).unwrap();
        stopped.resume = true;
        train_until(&stopped, SMALL, 3).unwrap();
        for name in ["starter.safetensors", "checkpoint.safetensors"] {
            let same = fs::read(whole.out.join(name)).unwrap()
                == fs::read(stopped.out.join(name)).unwrap();
            assert!(same, "{name}");
        }
        let mut other = stopped.clone();
        other.seed = 9;
        let message = train_until(&other, SMALL, 3).unwrap_err().to_string();
        assert!(message.contains("--seed 1") && message.contains("--seed 9"), "{message}");
        fs::write(stopped.out.join("checkpoint.safetensors"), [1; 100]).unwrap();
        let message = train_until(&stopped, SMALL, 3).unwrap_err().to_string();
        assert!(message.contains("is no checkpoint"), "{message}");
    }
}
