//! The programs of ClipMPCAD and of MVFA-AD, its base: few-shot and zero-shot training and testing of
//! medical sets, and ClipMPCAD's loop over MVTec AD. Source: the command lines of both repositories
//! (arXiv:2403.12570).

mod write;

use super::options::{Known, Options, value, wrong};
use super::{ImportError, Imported};

const KNOWN: &[Known] = &[
    value("model_name", "ViT-L-14-336"),
    value("pretrain", "openai"),
    value("obj", ""),
    value("data_path", ""),
    value("batch_size", "1"),
    value("save_model", "1"),
    value("save_path", ""),
    value("img_size", "240"),
    value("epoch", ""),
    value("learning_rate", ""),
    value("features_list", ""),
    value("seed", "111"),
    value("shot", ""),
    value("iterate", "0"),
];

/// What they call a set, its layout here, and whether it has masks.
const SETS: [(&str, &str, bool); 6] = [
    ("Brain", "brain", true),
    ("Liver", "liver", true),
    ("Retina_RESC", "retina-resc", true),
    ("Retina_OCT2017", "retina-oct", false),
    ("Chest", "chest", false),
    ("Histopathology", "histopathology", false),
];

/// What they call their classes, as a hook.
const NAMES_FILE: &str = "clipmpcad-names.rhai";
const NAMES: &str = include_str!("../../../pipelines/clipmpcad-names.rhai");

/// Which of the two programs is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    ClipMpcad,
    Mvfa,
}

/// Which of a program's scripts; the default is `train_few.py`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    TrainFew,
    TestFew,
    TrainVisual,
    MvtecTrain,
    TrainZero,
    TestZero,
}

impl Script {
    fn of(system: System, words: &[String]) -> Result<Script, ImportError> {
        let before = words.iter().take_while(|word| !word.starts_with('-'));
        let Some(named) = before.filter(|word| word.ends_with(".py")).last() else {
            return Ok(Script::TrainFew);
        };
        let name = named.rsplit('/').next().unwrap_or_default();
        let common = [("train_few.py", Script::TrainFew), ("test_few.py", Script::TestFew)];
        let own = match system {
            System::ClipMpcad => {
                [("train_visual.py", Script::TrainVisual), ("mvtec_train.py", Script::MvtecTrain)]
            }
            System::Mvfa => {
                [("train_zero.py", Script::TrainZero), ("test_zero.py", Script::TestZero)]
            }
        };
        let all: Vec<_> = common.into_iter().chain(own).collect();
        all.iter().find(|known| known.0 == name).map(|known| known.1).ok_or_else(|| {
            let names = all.iter().map(|known| known.0).collect::<Vec<_>>().join(", ");
            ImportError::Unsupported {
                message: format!("there is no script `{name}`; the program's are {names}"),
            }
        })
    }

    fn is_zero(self) -> bool {
        matches!(self, Script::TrainZero | Script::TestZero)
    }

    fn tests(self) -> bool {
        matches!(self, Script::TestFew | Script::TestZero | Script::TrainVisual)
    }

    /// What an option is where the scripts differ.
    fn default(self, system: System, name: &str) -> &'static str {
        match (name, self, system) {
            ("obj", Script::TestFew, System::ClipMpcad) => "Liver",
            ("obj", Script::TrainFew | Script::TestFew, System::Mvfa) => "Liver",
            ("obj", ..) => "Retina_RESC",
            ("epoch", Script::MvtecTrain, _) => "1",
            ("epoch", ..) => "50",
            ("learning_rate", Script::MvtecTrain | Script::TrainZero | Script::TestZero, _) => {
                "0.0001"
            }
            ("learning_rate", ..) => "0.001",
            ("features_list", Script::TestFew, System::ClipMpcad) => "12",
            ("features_list", ..) => "6,12,18,24",
            ("shot", Script::MvtecTrain, _) => "1",
            ("shot", ..) => "4",
            _ => "",
        }
    }
}

/// What was asked for, read.
struct Asked {
    system: System,
    script: Script,
    /// Layout, and whether it has masks.
    set: (&'static str, bool),
    root: String,
    size: u32,
    epochs: u32,
    lr: f64,
    taps: Vec<u32>,
    seed: u64,
    shots: u32,
    /// The line of the few-shot file; below 0, references are drawn.
    iterate: i64,
    state: String,
}

impl Asked {
    fn is_industrial(&self) -> bool {
        self.script == Script::MvtecTrain
    }

    /// Whether a class's sentences would lack the name that the original has in them. Case is the same to
    /// the tokenizer; without references, other sets' classes are learned from, each by its name.
    fn has_names(&self) -> bool {
        self.is_industrial() || self.script.is_zero() || self.set.0 == "retina-resc"
    }
}

/// The pipeline of a command line. Errors: what argparse or the scripts refuse, and what has no
/// counterpart here.
pub fn import(system: System, words: &[String]) -> Result<Imported, ImportError> {
    let name = match system {
        System::ClipMpcad => "ClipMPCAD",
        System::Mvfa => "MVFA-AD",
    };
    let script = Script::of(system, words)?;
    let options = Options::parse(name, KNOWN, &joined(words))?;
    let asked = read(system, script, &options)?;
    let save = matches!(script, Script::TestFew | Script::TrainVisual);
    let run = if save { vec!["--save".to_owned(), "panels".to_owned()] } else { Vec::new() };
    let hooks = asked.has_names().then(|| {
        let industrial = format!("let industrial = {};", asked.is_industrial());
        (NAMES_FILE, NAMES.replace("let industrial = false;", &industrial))
    });
    let notes = notes(&asked).into_iter().map(str::to_owned).collect();
    Ok(Imported { pipeline: write::written(&asked), hooks, trains: !script.tests(), run, notes })
}

/// Where the pipeline does not do what the original does.
fn notes(asked: &Asked) -> Vec<&'static str> {
    let mut notes = Vec::new();
    if asked.script.tests() {
        notes.push(
            "the original reads a checkpoint; `state` may name its `.pth` file, or train with `loupe train`",
        );
    }
    match asked.script {
        Script::MvtecTrain => notes.extend([
            "the original goes on testing the images that it learned from, and so does `[compat]`, as an \
             oracle; without it they leave the test set",
            "the original says \"with defects\" of normal images too: `hooks`",
        ]),
        Script::TrainZero => notes.push(
            "the original looks at the test set five times an epoch, this one once, after each epoch",
        ),
        Script::TestZero => {}
        _ if asked.iterate < 0 => notes.push(
            "references are drawn by loupe's generator, so that they are others than the original's",
        ),
        _ if asked.iterate > 0 => notes.push(
            "where the few-shot file has one line of each kind, it is taken, whatever its number; the \
             original fails there",
        ),
        _ => {}
    }
    notes
}

/// argparse lets `--features_list` take several words.
fn joined(words: &[String]) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    let mut in_list = false;
    for word in words {
        let is_number = word.parse::<u32>().is_ok();
        match joined.last_mut() {
            Some(last) if in_list && is_number && !last.starts_with('-') => {
                *last += &format!(",{word}");
            }
            _ => joined.push(word.clone()),
        }
        if word.starts_with("--") {
            in_list = word == "--features_list" || word.starts_with("--features_list=");
        }
    }
    joined
}

fn read(system: System, script: Script, options: &Options) -> Result<Asked, ImportError> {
    let text = |name: &str| {
        let own = script.default(system, name);
        let text = if options.is_given(name) || own.is_empty() { options.text(name) } else { own };
        text.to_owned()
    };
    let number = |name: &str, wanted: &str| -> Result<u32, ImportError> {
        let text = text(name);
        text.parse().ok().filter(|n| *n > 0).ok_or_else(|| wrong(name, wanted, &text))
    };
    if options.text("model_name").replace('/', "-") != "ViT-L-14-336"
        || !options.text("pretrain").eq_ignore_ascii_case("openai")
    {
        let message = "the original knows the model ViT-L-14-336 with OpenAI's weights alone; change \
                       `stages.clip` of the pipeline for another";
        return Err(ImportError::Unsupported { message: message.to_owned() });
    }
    if options.text("batch_size") != "1" {
        return Err(ImportError::Refused { message: "`--batch_size` other than 1 breaks it" });
    }
    let obj = text("obj");
    let set = match SETS.iter().find(|set| set.0 == obj) {
        _ if script == Script::MvtecTrain => ("mvtec-ad", true),
        Some((_, layout, masks)) => (*layout, *masks),
        None => {
            let names = SETS.map(|set| set.0).join(", ");
            return Err(wrong("obj", &format!("one of {names}"), &obj));
        }
    };
    let taps = text("features_list");
    let list: Option<Vec<u32>> = taps.split(',').map(|tap| tap.trim().parse().ok()).collect();
    let ascends = |list: &Vec<u32>| {
        list.is_sorted_by(|a, b| a < b) && list.iter().all(|tap| (1..=24).contains(tap))
    };
    let lr = text("learning_rate");
    let lr = lr.parse().ok().filter(|lr: &f64| *lr > 0.0 && lr.is_finite());
    let given = options.text("data_path");
    let state = options.text("save_path").trim_end_matches('/').to_owned();
    Ok(Asked {
        system,
        script,
        set,
        root: match given {
            "" => "${LOUPE_DATA}".to_owned(),
            given => given.to_owned(),
        },
        size: number("img_size", "a side in pixels")?,
        // The industrial script sets it to 1 after reading it.
        epochs: if script == Script::MvtecTrain {
            1
        } else {
            number("epoch", "a number of epochs")?
        },
        lr: lr
            .ok_or_else(|| wrong("learning_rate", "a positive number", &text("learning_rate")))?,
        taps: list
            .filter(ascends)
            .ok_or_else(|| wrong("features_list", "blocks from 1 to 24 that ascend", &taps))?,
        seed: options.parsed("seed", "a whole number")?,
        iterate: options.parsed("iterate", "a whole number")?,
        shots: if script.is_zero() { 0 } else { number("shot", "a number of references")? },
        state: if state.is_empty() { "states".to_owned() } else { state },
    })
}
