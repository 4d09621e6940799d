//! `loupe prompts`: sentences about classes, asked for, shown, checked and imported.

mod classes;
mod files;
mod generate;
mod show;

use clap::Subcommand;

use super::{Common, Outcome};

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

pub(super) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    match &arguments.action {
        Action::Generate(arguments) => generate::run(common, arguments),
        Action::Ls(arguments) => files::ls(common, arguments),
        Action::Show(arguments) => show::run(common, arguments),
        Action::Lint(arguments) => files::lint(common, arguments),
        Action::Import(arguments) => files::import(common, arguments),
    }
}
