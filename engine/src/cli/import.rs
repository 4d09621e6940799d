//! `loupe import`: a command line of an original system as a pipeline.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::ValueEnum;
use serde_json::json;

use super::{Common, Exit, Format, Outcome, print, print_json};
use crate::files::write_whole;
use crate::import::{fade, mvfa};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Whose command line it is
    system: System,
    /// Write the pipeline to this file, and its hooks beside it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Take the place of files that are there
    #[arg(long, requires = "out")]
    replace: bool,
    /// The command line, after `--`
    #[arg(last = true, value_name = "ARGS")]
    words: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum System {
    /// run_fade.py of FADE
    Fade,
    /// run_fade.py of CLIP-LMFA
    ClipLmfa,
    /// train_few.py, test_few.py, train_visual.py or mvtec_train.py of ClipMPCAD
    Clipmpcad,
    /// train_few.py, test_few.py, train_zero.py or test_zero.py of MVFA-AD
    Mvfa,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    let words = &arguments.words;
    let made = match arguments.system {
        System::Fade => fade::import(fade::System::Fade, words),
        System::ClipLmfa => fade::import(fade::System::ClipLmfa, words),
        System::Clipmpcad => mvfa::import(mvfa::System::ClipMpcad, words),
        System::Mvfa => mvfa::import(mvfa::System::Mvfa, words),
    }?;
    for note in &made.notes {
        eprintln!("note: {note}");
    }
    let file = arguments.out.clone();
    match (&file, common.format) {
        (Some(file), _) => {
            let hooks = made.hooks.as_ref();
            let hooks = hooks.map(|(name, text)| (file.with_file_name(name), text.as_str()));
            let files: Vec<_> =
                [(file.clone(), made.pipeline.as_str())].into_iter().chain(hooks).collect();
            if let Some((there, _)) =
                files.iter().find(|(file, _)| file.exists() && !arguments.replace)
            {
                return Err(Exit::Failed(anyhow!(
                    "`{}` is there already; `--replace` takes its place",
                    there.display()
                )));
            }
            for (file, text) in files {
                write_whole(&file, text.as_bytes())?;
            }
            eprintln!("wrote {}", file.display());
        }
        (None, Format::Table) => {
            print(&made.pipeline)?;
            if let Some((name, text)) = &made.hooks {
                eprintln!("note: beside it, `{name}`:\n{}", text.trim_end());
            }
        }
        (None, Format::Json) => print_json(&json!({
            "pipeline": made.pipeline, "trains": made.trains, "run": made.run, "notes": made.notes,
            "hooks": made.hooks.as_ref().map(|(name, text)| json!({"file": name, "text": text})),
        }))?,
    }
    let name = file.map_or_else(|| "PIPELINE.toml".to_owned(), |file| file.display().to_string());
    if made.trains {
        eprintln!("train it: loupe train {name}");
    }
    let words = made.run.iter().map(|word| format!(" {word}"));
    eprintln!("run it: loupe run {name}{}", words.collect::<String>());
    Ok(())
}
