//! `loupe predict`: scores images as they come, one JSON line each, with references from files and
//! no data set.

use std::collections::HashSet;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::anyhow;

use super::text::count;
use super::{Common, Exit, Outcome, parse_set, print, setup};
use crate::data;
use crate::files::{npy_f32, write_whole};
use crate::image::{Colours, Overlay, encode_png, overlay};
use crate::pipeline::Change;
use crate::predict::{
    FEW_REFERENCES, Line, is_of_image, leave_one_out, open_references, suits, threshold_of,
};
use crate::run::{ClassImages, ClassRun, Engine, Image, Options, RunError, Scored, hex};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The pipeline, a TOML file; its [data] is not used
    pipeline: PathBuf,
    /// Images and folders of images; `-` reads paths from standard input, one a line
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// A normal image, or a folder of them; may be given several times
    #[arg(long = "reference", value_name = "PATH")]
    references: Vec<PathBuf>,
    /// What the images show, for prompts
    #[arg(long, default_value = "object", value_name = "NAME")]
    class_name: String,
    /// Other words for it
    #[arg(long = "synonym", value_name = "WORD")]
    synonyms: Vec<String>,
    /// Change a key of the pipeline
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_set)]
    sets: Vec<Change>,
    /// Scores above it are anomalous: auto fits it on the references, none leaves it out, or a
    /// number
    #[arg(long, default_value = "auto", value_name = "X", value_parser = parse_threshold)]
    threshold: Wanted,
    /// Share of the left-out references that `auto` lets pass; with fewer than 20 all pass at 0.95
    #[arg(long, default_value_t = 0.95, value_name = "SHARE", value_parser = parse_share)]
    quantile: f64,
    /// Write each map as NumPy file, f32
    #[arg(long, value_name = "DIR")]
    save_maps: Option<PathBuf>,
    /// Write each image with its map over it
    #[arg(long, value_name = "DIR")]
    save_overlays: Option<PathBuf>,
    /// Scores that overlays show as the coldest and the hottest colour
    #[arg(long, default_value = "0,1", value_name = "LOW,HIGH", value_parser = parse_scale)]
    scale: Scale,
    /// Keep nothing and reuse nothing
    #[arg(long)]
    no_cache: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Wanted {
    Auto,
    None,
    At(f64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Scale([f32; 2]);

fn parse_threshold(text: &str) -> Result<Wanted, String> {
    match (text, text.parse::<f64>()) {
        ("auto", _) => Ok(Wanted::Auto),
        ("none", _) => Ok(Wanted::None),
        (_, Ok(number)) if number.is_finite() => Ok(Wanted::At(number)),
        _ => Err(format!("wants auto, none or a number, got `{text}`")),
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err(format!("wants a share above 0 and at most 1, got `{text}`")),
    }
}

fn parse_scale(text: &str) -> Result<Scale, String> {
    let ends = text.split_once(',').and_then(|(low, high)| {
        Some([low.trim().parse::<f32>().ok()?, high.trim().parse::<f32>().ok()?])
    });
    match ends {
        Some([low, high]) if low < high && (high - low).is_finite() => Ok(Scale([low, high])),
        _ => Err(format!("wants two numbers such as 0,1, the lower first, got `{text}`")),
    }
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    let loader = setup::loader(common);
    let pipeline = setup::checked_without_data(&arguments.pipeline, &arguments.sets, &loader)?;
    let references = open_references(&arguments.references)?;
    suits(&pipeline, references.len())?;
    let cache_dir = (!arguments.no_cache).then(|| setup::cache_dir(common)).transpose()?;
    let cancel = setup::interrupt_flag()?;
    let options = Options {
        cache_dir,
        cancel: cancel.clone(),
        verbose: common.verbose,
        ..Options::default()
    };
    let engine = Engine::new(&pipeline, &loader, options)?;
    let class = ClassImages {
        name: arguments.class_name.clone(),
        display: arguments.class_name.clone(),
        synonyms: arguments.synonyms.clone(),
        references,
        anomalous_references: Vec::new(),
        tests: Vec::new(),
    };
    let outcome = threshold(&engine, &class, arguments).and_then(|threshold| {
        let saver = Saver { arguments, engine: &engine, taken: HashSet::new() };
        let run = ClassRun::new(&engine, class)?;
        Predictor { run, saver, threshold, n_failed: 0, n_images: 0 }.all(arguments, &cancel)
    });
    engine.flush();
    for warning in engine.warnings() {
        eprintln!("warning: {warning}");
    }
    outcome
}

/// The threshold, with a word on how far it can be trusted.
fn threshold(
    engine: &Engine<'_>,
    class: &ClassImages,
    arguments: &Arguments,
) -> Result<Option<f64>, Exit> {
    let n = class.references.len();
    match arguments.threshold {
        Wanted::At(threshold) => return Ok(Some(threshold)),
        Wanted::None => return Ok(None),
        Wanted::Auto if n < 2 => {
            eprintln!(
                "note: no threshold with {}, so that `anomalous` is null; two or more fit one, \
                 and `--threshold X` sets one",
                count(n, "reference")
            );
            return Ok(None);
        }
        Wanted::Auto => {}
    }
    let scores = leave_one_out(engine, class).map_err(stopped)?;
    let threshold = threshold_of(&scores, arguments.quantile);
    if let Some(threshold) = threshold {
        let share = arguments.quantile;
        eprintln!(
            "threshold {threshold:.6}: quantile {share} of {} left-out references",
            scores.len()
        );
    }
    if n < FEW_REFERENCES {
        eprintln!("warning: this threshold is unreliable with {}", count(n, "reference"));
    }
    Ok(threshold)
}

fn stopped(error: RunError) -> Exit {
    match error {
        RunError::Cancelled => Exit::Interrupted,
        error => Exit::Failed(error.into()),
    }
}

struct Predictor<'e, 'a> {
    run: ClassRun<'e>,
    saver: Saver<'a>,
    threshold: Option<f64>,
    n_images: usize,
    n_failed: usize,
}

impl Predictor<'_, '_> {
    fn all(mut self, arguments: &Arguments, cancel: &AtomicBool) -> Outcome {
        for path in &arguments.images {
            if path.as_os_str() == "-" {
                let lines = lines_of_stdin();
                while let Some(line) = next_line(&lines, cancel)? {
                    self.one(Path::new(&line), cancel)?;
                }
                continue;
            }
            match data::list_images(path) {
                Ok(files) if files.is_empty() => {
                    self.fail(path, format!("the folder `{}` has no images", path.display()))?;
                }
                Ok(files) => files.iter().try_for_each(|file| self.one(file, cancel))?,
                Err(error) => self.fail(path, error.to_string())?,
            }
        }
        match self.n_failed {
            0 => Ok(()),
            n => Err(Exit::Failed(anyhow!(
                "{n} of {} could not be scored; their lines say why",
                count(self.n_images, "image")
            ))),
        }
    }

    fn one(&mut self, path: &Path, cancel: &AtomicBool) -> Outcome {
        if cancel.load(Ordering::Relaxed) {
            return Err(Exit::Interrupted);
        }
        let name = path.display().to_string();
        let scored = Image::open(&name, path)
            .and_then(|image| self.run.score(&image).map(|scored| (image, scored)));
        match scored {
            Ok((image, scored)) => {
                self.n_images += 1;
                let mut line = Line::scored(&name, &scored, self.threshold);
                self.saver.save(&image, &scored, &mut line)?;
                say(&line)
            }
            Err(RunError::Cancelled) => Err(Exit::Interrupted),
            Err(error) if is_of_image(&error) => self.fail(path, error.to_string()),
            Err(error) => Err(Exit::Failed(anyhow!("image `{name}`: {error}"))),
        }
    }

    fn fail(&mut self, path: &Path, error: String) -> Outcome {
        self.n_images += 1;
        self.n_failed += 1;
        say(&Line::Failed { image: path.display().to_string(), error })
    }
}

fn say(line: &Line) -> Outcome {
    print(&format!("{}\n", serde_json::to_string(line)?))
}

/// Lines of standard input, read beside so that Ctrl-C is heard while nothing comes.
fn lines_of_stdin() -> Receiver<std::io::Result<String>> {
    let (sender, lines) = sync_channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// The next path; empty lines are passed over.
fn next_line(
    lines: &Receiver<std::io::Result<String>>,
    cancel: &AtomicBool,
) -> Result<Option<String>, Exit> {
    loop {
        match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                let line = line?;
                let path = line.trim_end_matches('\r');
                if !path.is_empty() {
                    return Ok(Some(path.to_owned()));
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) if cancel.load(Ordering::Relaxed) => {
                return Err(Exit::Interrupted);
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Writes maps and overlays, each image under a name of its own.
struct Saver<'a> {
    arguments: &'a Arguments,
    engine: &'a Engine<'a>,
    taken: HashSet<String>,
}

impl Saver<'_> {
    fn save(&mut self, image: &Image, scored: &Scored, line: &mut Line) -> Outcome {
        let Line::Scored { map: map_path, overlay: overlay_path, .. } = line else { return Ok(()) };
        let (maps, overlays) = (&self.arguments.save_maps, &self.arguments.save_overlays);
        if maps.is_none() && overlays.is_none() {
            return Ok(());
        }
        let Some(map) = &scored.anomaly_map else {
            return Err(Exit::Failed(anyhow!(
                "`{}` has no `anomaly_map` in [output], so that there is no map to save",
                self.arguments.pipeline.display()
            )));
        };
        let &[_, height, width] = map.shape() else {
            return Err(Exit::Failed(anyhow!(
                "`anomaly_map` wants one map `[1, h, w]` an image, got {:?}",
                map.shape()
            )));
        };
        let name = free_name(image, &mut self.taken);
        if let Some(dir) = maps {
            let path = dir.join(format!("{name}.npy"));
            write_whole(&path, &npy_f32(&[height, width], map.data()))?;
            *map_path = Some(path);
        }
        if let Some(dir) = overlays {
            let Scale(range) = self.arguments.scale;
            let style = Overlay { colours: Colours::Ember, range, alpha: 0.5 };
            let parallel = |n: usize, body: &(dyn Fn(usize) + Sync)| self.engine.parallel(n, body);
            let picture =
                overlay(&image.decode()?, map.data(), [height, width], &style, &parallel)?;
            let path = dir.join(format!("{name}.png"));
            write_whole(&path, &encode_png(&picture)?)?;
            *overlay_path = Some(path);
        }
        Ok(())
    }
}

/// The file's stem; with a part of its digest where another image has that name.
fn free_name(image: &Image, taken: &mut HashSet<String>) -> String {
    let stem = image.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if taken.insert(stem.clone()) {
        return stem;
    }
    let name = format!("{stem}-{}", &hex(&image.digest)[..12]);
    taken.insert(name.clone());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_scales_and_shares_are_read() {
        assert_eq!(parse_threshold("auto"), Ok(Wanted::Auto));
        assert_eq!(parse_threshold("0.5"), Ok(Wanted::At(0.5)));
        assert!(parse_threshold("nan").unwrap_err().contains("`nan`"));
        assert_eq!(parse_scale("0, 2.5"), Ok(Scale([0.0, 2.5])));
        assert!(parse_scale("1,0").is_err() && parse_scale("1").is_err());
        assert!(parse_share("0").is_err() && parse_share("1.0").is_ok());
    }

    #[test]
    fn images_of_one_name_are_kept_apart() {
        let mut taken = HashSet::new();
        let image = |path: &str, digest: u8| Image {
            name: path.to_owned(),
            path: PathBuf::from(path),
            digest: [digest; 32],
            change: None,
        };
        assert_eq!(free_name(&image("a/000.png", 1), &mut taken), "000");
        assert_eq!(free_name(&image("b/000.png", 2), &mut taken), "000-020202020202");
    }

    #[test]
    fn a_line_that_was_read_comes_out_and_the_end_ends() {
        let (sender, lines) = sync_channel(4);
        for line in ["", "a.png\r", "b.png"] {
            sender.send(Ok(line.to_owned())).unwrap();
        }
        drop(sender);
        let cancel = AtomicBool::new(false);
        let next = || next_line(&lines, &cancel).unwrap();
        assert_eq!((next(), next(), next()), (Some("a.png".into()), Some("b.png".into()), None));
    }
}
