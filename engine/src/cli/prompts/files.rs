//! `loupe prompts ls`, `lint` and `import`: prompt caches and prompt files by their paths.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde_json::{Value as Json, json};

use crate::cli::text::{columns, count, printable};
use crate::cli::{Common, Exit, Format, Outcome, print, print_json, setup};
use crate::prompts::{PromptsError, Tool, read_text, update};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loupe prompts ls pipelines/prompts/*.toml
  loupe prompts ls pipelines/prompts/visa.toml --class cashew")]
pub(crate) struct LsArguments {
    /// Prompt caches, TOML files
    #[arg(required = true, value_name = "CACHE")]
    files: Vec<PathBuf>,
    /// Print the sentences about this class, by its name or an alias
    #[arg(long, value_name = "NAME", value_parser = class_name)]
    class: Option<String>,
}

fn class_name(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("wants the name of a class; `object` is any".to_owned()),
        name => Ok(name.to_owned()),
    }
}

pub(super) fn ls(common: &Common, arguments: &LsArguments) -> Outcome {
    let loader = setup::loader(common);
    let tool = Tool::any(&loader)?;
    let (mut all, mut n_entries) = (Vec::new(), 0);
    for file in &arguments.files {
        let (name, text) = (file.display().to_string(), read_text(file)?);
        let class = &arguments.class;
        let question = json!({"do": "list", "file": name, "text": text, "class": class});
        let mut answer = tool.ask(&question)?;
        let entries = answer["entries"].take();
        n_entries += entries.as_array().map_or(0, Vec::len);
        match (common.format, class) {
            (Format::Json, _) => all.push(json!({"file": file, "entries": entries})),
            (Format::Table, None) => print(&overview(&name, &entries))?,
            (Format::Table, Some(_)) => print(&in_full(&name, &entries))?,
        }
    }
    if common.format == Format::Json {
        print_json(&all)?;
    }
    match &arguments.class {
        Some(class) if n_entries == 0 => Err(Exit::Failed(anyhow!(
            "no entry is about `{}`, by its name or an alias; without `--class` all are listed",
            printable(class)
        ))),
        _ => Ok(()),
    }
}

fn said(entry: &Json, key: &str) -> String {
    match &entry[key] {
        Json::String(text) => printable(text),
        Json::Null => String::new(),
        other => other.to_string(),
    }
}

fn overview(file: &str, entries: &Json) -> String {
    let row = |entry: &Json| {
        let aliases = entry["aliases"].as_array().into_iter().flatten();
        let aliases: Vec<String> = aliases.filter_map(Json::as_str).map(printable).collect();
        let keys = ["class", "model", "template", "n_normal", "n_anomalous"];
        let mut row: Vec<String> = keys.iter().map(|key| said(entry, key)).collect();
        row.push(aliases.join(", "));
        row
    };
    let rows: Vec<Vec<String>> = entries.as_array().into_iter().flatten().map(row).collect();
    let head = ["class", "model", "template", "normal", "anomalous", "also called"];
    let n_entries = match rows.len() {
        1 => "1 entry".to_owned(),
        n => format!("{n} entries"),
    };
    format!("{file}: {n_entries}\n{}\n", columns(&head, &rows, &[3, 4]))
}

fn in_full(file: &str, entries: &Json) -> String {
    let mut text = String::new();
    for entry in entries.as_array().into_iter().flatten() {
        let (class, model) = (said(entry, "class"), said(entry, "model"));
        text.push_str(&format!("{file}: {class}, {model}, {}\n", said(entry, "template")));
        for label in ["normal", "anomalous"] {
            for one in entry[label].as_array().into_iter().flatten().filter_map(Json::as_str) {
                text.push_str(&format!("  {label:<9}  {}\n", printable(one)));
            }
        }
    }
    text
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loupe prompts lint pipelines/prompts/*.toml
  loupe prompts lint chatgpt.json --wrap \"a photo of a {}.\"")]
pub(crate) struct LintArguments {
    /// Prompt caches (TOML) and prompt files in FADE's schema (JSON)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Tokens that the text encoder reads
    #[arg(long, value_name = "N", default_value_t = 77)]
    context: usize,
    /// A sentence with a `{}` into which every sentence will be put
    #[arg(long, value_name = "TEXT")]
    wrap: Option<String>,
    /// Let warnings count as errors
    #[arg(long)]
    deny_warnings: bool,
}

pub(super) fn lint(common: &Common, arguments: &LintArguments) -> Outcome {
    let loader = setup::loader(common);
    let tool = Tool::any(&loader)?;
    let (mut all, mut n_errors, mut n_warnings, mut n_unread) = (Vec::new(), 0, 0, 0);
    for file in &arguments.files {
        let name = file.display().to_string();
        let (context, wrap) = (arguments.context, &arguments.wrap);
        let asked = read_text(file).and_then(|text| {
            tool.ask(&json!({
                "do": "lint", "file": name, "text": text, "context": context, "wrap": wrap,
            }))
        });
        let mut answer = match asked {
            Ok(answer) => answer,
            // One file that cannot be read does not hide what is in the others.
            Err(error @ (PromptsError::NoTool | PromptsError::Plugin(_))) => {
                return Err(error.into());
            }
            Err(error) => {
                eprintln!("error: {error}");
                all.push(json!({"file": file, "error": error.to_string()}));
                n_unread += 1;
                continue;
            }
        };
        let findings = answer["findings"].take();
        for finding in findings.as_array().into_iter().flatten() {
            let is_error = finding["error"] == true;
            *(if is_error { &mut n_errors } else { &mut n_warnings }) += 1;
            if common.format == Format::Table {
                print(&line(&name, finding))?;
            }
        }
        all.push(json!({"file": file, "findings": findings}));
    }
    if common.format == Format::Json {
        print_json(&all)?;
    }
    let mistakes = format!(
        "{}: {}, {}",
        count(arguments.files.len(), "file"),
        count(n_errors + n_unread, "error"),
        count(n_warnings, "warning")
    );
    eprintln!("{mistakes}");
    let is_bad = n_errors + n_unread > 0 || (arguments.deny_warnings && n_warnings > 0);
    if is_bad { Err(Exit::Check { mistakes }) } else { Ok(()) }
}

/// `visa.toml:12: error: cashew: "..." says ..  [praise-among-faults]`
fn line(file: &str, finding: &Json) -> String {
    let place = match finding["line"].as_u64() {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    };
    let severity = if finding["error"] == true { "error" } else { "warning" };
    let class = match finding["entry"]["class"].as_str() {
        Some(class) => format!("{}, ", printable(class)),
        None => String::new(),
    };
    let [label, text, why, kind] = ["label", "text", "why", "kind"].map(|key| said(finding, key));
    format!("{place}: {severity}: {class}{label} \"{text}\" {why} [{kind}]\n")
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loupe prompts import prompt1.json prompt2.json --into own.toml --class object --model chatgpt-3.5
  loupe prompts import --normal sound.txt --anomalous faulty.txt --into own.toml --class bottle

JSON files are those of FADE, CLIP-LMFA and ClipMPCAD; lists are plain text, one sentence a line,
lines that begin with # left out. `{classname}` stands for the class's name. A stage finds the entry
by the cache's path, the model and the template: model = \"NAME\" beside cache = \"own.toml\".")]
pub(crate) struct ImportArguments {
    /// Prompt files in FADE's schema (JSON)
    #[arg(value_name = "FILE", required_unless_present_any = ["normal", "anomalous"])]
    files: Vec<PathBuf>,
    /// Plain lists of normal sentences
    #[arg(long, value_name = "FILE")]
    normal: Vec<PathBuf>,
    /// Plain lists of anomalous sentences
    #[arg(long, value_name = "FILE")]
    anomalous: Vec<PathBuf>,
    /// The prompt cache to write into; it is made if it is not there
    #[arg(long, value_name = "CACHE")]
    into: PathBuf,
    /// The class that the sentences are about; `object` for any
    #[arg(long, value_name = "NAME", value_parser = class_name)]
    class: String,
    /// Who wrote them
    #[arg(long, value_name = "NAME", default_value = "hand-written")]
    model: String,
    /// What they answer: faults@1 or findings@1
    #[arg(long, value_name = "NAME", default_value = "faults@1")]
    template: String,
    /// Take the place of an entry of this class, model and template
    #[arg(long)]
    replace: bool,
}

pub(super) fn import(common: &Common, arguments: &ImportArguments) -> Outcome {
    let loader = setup::loader(common);
    let tool = Tool::any(&loader)?;
    let list = |path: &PathBuf, label: Option<&str>| -> Result<Json, PromptsError> {
        Ok(json!({"from": path.display().to_string(), "text": read_text(path)?, "label": label}))
    };
    let mut lists = Vec::new();
    for (files, label) in [
        (&arguments.files, None),
        (&arguments.normal, Some("normal")),
        (&arguments.anomalous, Some("anomalous")),
    ] {
        for file in files {
            lists.push(list(file, label)?);
        }
    }
    let ImportArguments { into, class, model, template, replace, .. } = arguments;
    let name = into.display().to_string();
    let answer = update(into, |text| {
        let answer = tool.ask(&json!({
            "do": "import", "file": name, "text": text, "lists": lists, "class": class,
            "model": model, "template": template,
        }))?;
        match answer["replaced"] == true && !replace {
            true => Err(PromptsError::Refused { message: taken(into, arguments) }),
            false => Ok(answer),
        }
    })?;
    let kept = |label: &str| answer["kept"][label].as_u64().unwrap_or(0);
    let (n_normal, n_anomalous) = (kept("normal"), kept("anomalous"));
    if common.format == Format::Json {
        let kept = &answer["kept"];
        return print_json(&json!({"file": into, "kept": kept, "replaced": answer["replaced"]}));
    }
    print(&format!("{name}: {n_normal} normal, {n_anomalous} anomalous about {class}\n"))?;
    eprintln!("check them: loupe prompts lint {name}");
    Ok(())
}

fn taken(into: &Path, arguments: &ImportArguments) -> String {
    let ImportArguments { class, model, template, .. } = arguments;
    format!(
        "`{}` has an entry about `{class}` by model `{model}`, template `{template}`; `--replace` \
         takes its place, another `--model` stands beside it",
        into.display()
    )
}
