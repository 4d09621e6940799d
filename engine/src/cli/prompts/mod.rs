//! `loupe prompts`: sentences about classes, asked for, shown, checked and imported.

mod classes;
mod files;
mod generate;
mod show;

use std::path::PathBuf;

pub(super) use show::lacking;

use clap::Subcommand;

use super::{Common, Exit, Outcome, parse_set, setup};
use crate::pipeline::Change;
use crate::pipeline::model::Pipeline;
use crate::plugin::Loader;
use crate::prompts::Names;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Ask a language model for the sentences that a pipeline's prompt caches lack
    Generate(generate::Arguments),
    /// List the entries of prompt caches
    Ls(files::LsArguments),
    /// Print the sentences of a pipeline about its classes, as a run would use them
    Show(show::Arguments),
    /// Check the sentences of prompt caches and prompt files; exit code 3 if one does harm
    Lint(files::LintArguments),
    /// Write the sentences of other files into a prompt cache
    Import(files::ImportArguments),
}

/// A pipeline, and those of its classes that are meant.
#[derive(Debug, clap::Args)]
struct Asked {
    /// The pipeline, a TOML file
    pipeline: PathBuf,
    /// Only these classes; without it all of the pipeline's data set
    #[arg(long = "class", value_name = "NAME")]
    classes: Vec<String>,
    /// Change a key of the pipeline, such as stages.words.count=32
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_set)]
    sets: Vec<Change>,
}

impl Asked {
    /// `fills`: the pipeline's prompt caches need not be here.
    fn read(&self, loader: &Loader, fills: bool) -> Result<(Pipeline, Vec<Names>), Exit> {
        let pipeline = setup::checked_for_prompts(&self.pipeline, &self.sets, loader, fills)?;
        let classes = classes::classes(&pipeline, &self.classes)?;
        Ok((pipeline, classes))
    }
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    match &arguments.action {
        Action::Generate(arguments) => generate::run(common, arguments),
        Action::Ls(arguments) => files::ls(common, arguments),
        Action::Show(arguments) => show::run(common, arguments),
        Action::Lint(arguments) => files::lint(common, arguments),
        Action::Import(arguments) => files::import(common, arguments),
    }
}
