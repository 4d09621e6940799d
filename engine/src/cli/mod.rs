//! The command line: data on stdout, talk on stderr, and an exit code with a meaning.

mod bench;
mod cache;
mod check;
mod dataset;
mod doctor;
mod eval;
mod import;
mod inspect;
mod predict;
mod prompts;
mod run;
mod script;
mod setup;
mod study;
mod sweep;
mod text;
mod train;
mod weights;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::pipeline::Change;

/// What a command ended with, if not with 0.
#[derive(Debug)]
pub(crate) enum Exit {
    /// 1: something failed while it ran.
    Failed(anyhow::Error),
    /// 3: there are mistakes, which are printed already; in short, for a record.
    Check { mistakes: String },
    /// 4: some cells failed, which is said already.
    SomeFailed,
    /// 5: a comparison found a difference, which is printed already.
    Mismatch,
    /// 6: a plugin that is needed could not be loaded.
    Plugin(anyhow::Error),
    /// 130: the user stopped it.
    Interrupted,
}

impl<E: Into<anyhow::Error>> From<E> for Exit {
    fn from(error: E) -> Exit {
        Exit::Failed(error.into())
    }
}

type Outcome = Result<(), Exit>;

/// How tables and lists are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// What `--format` may say: pictures for `graph`, the rest for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AnyFormat {
    Table,
    Json,
    Mermaid,
    Dot,
}

/// Few-shot and zero-shot visual anomaly detection from pipelines of plugins.
#[derive(Debug, Parser)]
#[command(name = "loupe", version, max_term_width = 100, subcommand_required = true)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    /// How tables and lists are printed: table or json; `graph` draws mermaid or dot
    #[arg(long, global = true, value_enum, hide_possible_values = true)]
    format: Option<AnyFormat>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Common {
    /// Folders and files with plugins, searched before LOUPE_PLUGIN_PATH and lib/loupe
    #[arg(long, global = true, value_name = "PATH")]
    plugin_path: Vec<PathBuf>,
    /// Folder of the feature cache [default: LOUPE_CACHE, or loupe/cache in the user's cache
    /// folder]
    #[arg(long, global = true, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Set from `Arguments::format`.
    #[arg(skip)]
    format: Format,
    /// Also show what plugins say
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Evaluate a pipeline on its data set: table, run folder, report
    Run(run::Arguments),
    /// Train the adapters of a pipeline, class by class; goes on where it was stopped
    Train(train::Arguments),
    /// Run variants and axes of a pipeline from one file; goes on where it was stopped
    Sweep(sweep::Arguments),
    /// Drive runs from a rhai script
    Script(script::Arguments),
    /// Score images as they come, one JSON line each; no data set needed
    Predict(predict::Arguments),
    /// Evaluate maps that any tool wrote, with no pipeline
    Eval(eval::Arguments),
    /// Show every mistake in a pipeline; loads no weights
    Check(check::Arguments),
    /// Draw a pipeline's stages
    Graph(check::GraphArguments),
    /// Print the JSON Schema of pipeline files, for editors
    Schema,
    /// List the components there are, or show one with its ports and keys
    Inspect(inspect::Arguments),
    /// Print the pipeline of an original system's command line
    Import(import::Arguments),
    /// Look at the feature cache and tidy it
    Cache(cache::Arguments),
    /// Check a data set, or make one of procedural surfaces
    Dataset(dataset::Arguments),
    /// Sentences about classes: ask a language model for them, show, check and import them
    Prompts(prompts::Arguments),
    /// Pin weight files by digest; list, verify and fetch them
    Weights(weights::Arguments),
    /// Measure a pipeline on this machine, stage by stage, on images made for it
    Bench(bench::Arguments),
    /// Show what this machine offers and what was found
    Doctor,
    /// Print completions for a shell
    Completions { shell: clap_complete::Shell },
    /// Describe one plugin file; run by the engine in a process of its own
    #[command(name = "__probe", hide = true)]
    Probe { path: PathBuf },
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    setup::prepare_process();
    let arguments = Arguments::parse();
    if let Command::Probe { path } = &arguments.command {
        return crate::plugin::probe_main(path);
    }
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => report(&exit),
    }
}

fn dispatch(arguments: &Arguments) -> Outcome {
    let common = &Common { format: format(arguments), ..arguments.common.clone() };
    match &arguments.command {
        Command::Run(arguments) => run::run(common, arguments),
        Command::Train(arguments) => train::run(common, arguments),
        Command::Sweep(arguments) => sweep::run(common, arguments),
        Command::Script(arguments) => script::run(common, arguments),
        Command::Predict(arguments) => predict::run(common, arguments),
        Command::Eval(arguments) => eval::run(common, arguments),
        Command::Check(arguments) => check::run(common, arguments),
        Command::Graph(graph) => check::graph(common, graph, arguments.format),
        Command::Schema => check::schema(common),
        Command::Inspect(arguments) => inspect::run(common, arguments),
        Command::Import(arguments) => import::run(common, arguments),
        Command::Cache(arguments) => cache::run(common, arguments),
        Command::Dataset(arguments) => dataset::run(common, arguments),
        Command::Prompts(arguments) => prompts::run(common, arguments),
        Command::Weights(arguments) => weights::run(common, arguments),
        Command::Bench(arguments) => bench::run(common, arguments),
        Command::Doctor => doctor::run(common),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), "loupe", &mut text);
            print_bytes(&text)
        }
        Command::Probe { .. } => Ok(()),
    }
}

/// The format of tables. A word that the command has no use for ends the program as any wrong usage
/// does.
fn format(arguments: &Arguments) -> Format {
    let graph = matches!(arguments.command, Command::Graph(_));
    let wanted = match (arguments.format, graph) {
        (None, _) | (Some(AnyFormat::Table), false) => return Format::Table,
        (Some(AnyFormat::Json), false) => return Format::Json,
        (Some(AnyFormat::Mermaid | AnyFormat::Dot), true) => return Format::Table,
        (Some(_), true) => "`--format` of `graph` wants mermaid or dot",
        (Some(_), false) => "`--format` wants table or json; mermaid and dot are of `loupe graph`",
    };
    Arguments::command().error(ErrorKind::InvalidValue, wanted).exit()
}

fn report(exit: &Exit) -> ExitCode {
    match exit {
        Exit::Failed(error) | Exit::Plugin(error) => eprintln!("error: {}", chain(error)),
        Exit::Interrupted => eprintln!("interrupted"),
        Exit::Check { .. } | Exit::SomeFailed | Exit::Mismatch => {}
    }
    ExitCode::from(match exit {
        Exit::Failed(_) => 1,
        Exit::Check { .. } => 3,
        Exit::SomeFailed => 4,
        Exit::Mismatch => 5,
        Exit::Plugin(_) => 6,
        Exit::Interrupted => 130,
    })
}

/// An error with its causes, where the cause's text does not stand in it already.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Prints data. A reader that went away (`| head`) is no failure.
pub(crate) fn print(text: &str) -> Outcome {
    print_bytes(text.as_bytes())
}

fn print_bytes(bytes: &[u8]) -> Outcome {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Exit::Failed(anyhow::anyhow!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a value as JSON with a line end.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Outcome {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// Most numbers that one list may name.
const MOST: u64 = 1000;

/// Parses `0..4` (both ends), `1,2,4` or a mixture of them.
pub(crate) fn parse_list(text: &str) -> Result<Vec<u64>, String> {
    let number = |text: &str| {
        let wrong = |_| format!("wants numbers such as 1,2,4 or 0..4, got `{text}`");
        text.trim().parse::<u64>().map_err(wrong)
    };
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once("..").unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if last.saturating_sub(first) >= MOST {
            return Err(format!("`{part}` names more than {MOST} numbers"));
        }
        numbers.extend((first..=last).filter(|next| !numbers.contains(next)).collect::<Vec<_>>());
    }
    if numbers.is_empty() || numbers.len() as u64 > MOST {
        return Err(format!("`{text}` names {} numbers; 1 to {MOST} are allowed", numbers.len()));
    }
    Ok(numbers)
}

/// Splits `a.b=value`.
pub(crate) fn parse_set(text: &str) -> Result<Change, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            let [key, value] = [key, value].map(|text| text.trim().to_owned());
            Ok(Change { key, value, by: "--set".to_owned() })
        }
        _ => Err(format!("wants KEY=VALUE, got `{text}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_numbers_and_ranges() {
        assert_eq!(parse_list("1,2,4").unwrap(), [1, 2, 4]);
        assert_eq!(parse_list("0..3,9").unwrap(), [0, 1, 2, 3, 9]);
        assert!(parse_list("1,x").unwrap_err().contains("got `x`"));
        assert!(parse_list("5..2").is_err());
        assert_eq!(parse_list("4,4,3..5").unwrap(), [4, 3, 5], "a number counts once");
        for endless in ["0..18446744073709551615", "0..99999999999"] {
            assert!(parse_list(endless).unwrap_err().contains("more than 1000"));
        }
    }

    #[test]
    fn sets_are_a_key_and_a_value() {
        let [key, value, by] = ["a.b", "1", "--set"].map(str::to_owned);
        assert_eq!(parse_set("a.b = 1").unwrap(), Change { key, value, by });
        assert!(parse_set("=1").is_err());
    }

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
