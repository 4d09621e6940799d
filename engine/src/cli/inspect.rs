//! `loupe inspect`: the components there are, or one of them with everything its plugin says.

use anyhow::anyhow;
use serde_json::{Value as Json, json};

use super::text::{columns, wrapped};
use super::{Common, Exit, Format, Outcome, print, print_json, setup};
use crate::pipeline::diagnostics::{listed, nearest};
use crate::plugin::Loader;
use crate::plugin::info::{Catalog, ComponentInfo, Port};
use crate::run::hex;

mod example;
mod keys;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A component, as `nearest` or `scorer/nearest`; without it all are listed
    component: Option<String>,
    /// List the plugin files that were refused, with the reasons
    #[arg(long)]
    why_not: bool,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    let loader = setup::loader(common);
    match (&arguments.component, arguments.why_not) {
        (_, true) => why_not(common, &loader),
        (None, false) => list(common, &loader),
        (Some(name), false) => show(common, &loader, name),
    }
}

/// All components, by kind and name.
fn sorted(loader: &Loader) -> Vec<&ComponentInfo> {
    let mut infos: Vec<&ComponentInfo> = loader.components().collect();
    infos.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    infos
}

fn as_json(info: &ComponentInfo) -> Json {
    let mut value = serde_json::to_value(info).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        map.insert("digest".to_owned(), json!(hex(&info.binary)));
    }
    value
}

fn list(common: &Common, loader: &Loader) -> Outcome {
    let infos = sorted(loader);
    if common.format == Format::Json {
        return print_json(&infos.iter().map(|info| as_json(info)).collect::<Vec<_>>());
    }
    let row = |info: &&ComponentInfo| {
        vec![
            info.kind.to_string(),
            info.name.clone(),
            info.revision.to_string(),
            format!("{} {}", info.plugin, info.plugin_version),
            first_sentence(&info.about),
        ]
    };
    let rows: Vec<_> = infos.iter().map(row).collect();
    if rows.is_empty() {
        eprintln!("no plugins were found; `loupe doctor` shows where they are looked for");
    } else {
        let head = ["kind", "name", "revision", "plugin", "about"];
        print(&columns(&head, &rows, &[2]))?;
    }
    let n_refused = loader.rejected().len();
    if n_refused > 0 {
        eprintln!("{n_refused} plugin files or components were refused: `loupe inspect --why-not`");
    }
    Ok(())
}

fn first_sentence(text: &str) -> String {
    let end = text.find(". ").map_or(text.len(), |end| end + 1);
    text.get(..end).unwrap_or(text).trim_end_matches('.').to_owned()
}

fn why_not(common: &Common, loader: &Loader) -> Outcome {
    let rejected = loader.rejected();
    if common.format == Format::Json {
        let entry = |(path, why): &(std::path::PathBuf, String)| json!({"path": path, "why": why});
        return print_json(&rejected.iter().map(entry).collect::<Vec<_>>());
    }
    if rejected.is_empty() {
        eprintln!("no plugin file was refused");
    }
    let line = |(path, why): &(std::path::PathBuf, String)| format!("{}: {why}\n", path.display());
    print(&rejected.iter().map(line).collect::<String>())
}

fn show(common: &Common, loader: &Loader, name: &str) -> Outcome {
    let infos = sorted(loader);
    let full = |info: &ComponentInfo| format!("{}/{}", info.kind, info.name);
    let found: Vec<&ComponentInfo> =
        infos.iter().copied().filter(|info| info.name == name || full(info) == name).collect();
    if found.is_empty() {
        return Err(missing(loader, &infos, name));
    }
    if common.format == Format::Json {
        return print_json(&found.iter().map(|info| as_json(info)).collect::<Vec<_>>());
    }
    let page = |info: &&ComponentInfo| page(info, &infos);
    print(&found.iter().map(page).collect::<Vec<_>>().join("\n"))
}

fn missing(loader: &Loader, infos: &[&ComponentInfo], name: &str) -> Exit {
    let names: Vec<String> = infos
        .iter()
        .flat_map(|info| [info.name.clone(), format!("{}/{}", info.kind, info.name)])
        .collect();
    let plain = infos.iter().map(|info| info.name.as_str());
    let hint = match (word_of(infos, name), nearest(name, names.iter().map(String::as_str))) {
        (Some(word), _) => word,
        (None, Some(near)) => format!("; did you mean `{near}`?"),
        (None, None) if infos.is_empty() => "; no plugins were found".to_owned(),
        (None, None) => format!("; there are {}", listed(plain)),
    };
    let why = match loader.rejected().len() {
        0 => "",
        _ => " (some plugin files were refused: `loupe inspect --why-not`)",
    };
    Exit::Failed(anyhow!("there is no component `{name}`{hint}{why}"))
}

/// Who takes a name that is no component's, as `starter`.
fn word_of(infos: &[&ComponentInfo], name: &str) -> Option<String> {
    infos.iter().find_map(|info| {
        let says = |schema: &Json| {
            let lists = ["x-names", "enum"].map(|key| schema[key].as_array());
            lists.into_iter().flatten().flatten().any(|known| known == name)
        };
        let properties = info.schema["properties"].as_object()?;
        let (key, _) = properties.iter().find(|(_, schema)| says(schema))?;
        let ComponentInfo { kind, name: component, .. } = info;
        let takes = format!("key `{key}` of {kind} `{component}` takes it");
        Some(format!(", but {takes}: `loupe inspect {component}`"))
    })
}

/// Everything about one component.
fn page(info: &ComponentInfo, all: &[&ComponentInfo]) -> String {
    let mut text = format!("{} `{}`, revision {}\n", info.kind, info.name, info.revision);
    text.push_str(&wrapped(&info.about, 92, "  "));
    let says = [
        (info.deterministic, "deterministic"),
        (info.batch_invariant, "batch-invariant"),
        (info.thread_safe, "thread-safe"),
        (info.fits, "fits"),
        (info.taps, "offers taps"),
        (info.encodes_text, "encodes text"),
    ];
    let says: Vec<&str> = says.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
    let facts = [
        ("plugin", format!("{} {}", info.plugin, info.plugin_version)),
        ("file", info.path.display().to_string()),
        ("blake3", hex(&info.binary)),
        ("devices", info.devices.join(", ")),
        ("promises", says.join(", ")),
    ];
    text.push('\n');
    for (name, value) in facts {
        text.push_str(&format!("  {name:<9} {value}\n"));
    }
    text.push_str(&ports(info));
    text.push_str(&keys::table(&info.schema));
    text.push_str(&format!("\nIn a pipeline:\n  {}\n", example::line(info, all)));
    text
}

fn ports(info: &ComponentInfo) -> String {
    if info.ports.is_empty() {
        return String::new();
    }
    let word = |value: Json| value.as_str().unwrap_or_default().to_owned();
    let name = |value: &dyn Fn() -> Json| word(value());
    let row = |port: &Port| {
        let mut kinds: Vec<String> = port.kinds.iter().map(|kind| name(&|| json!(kind))).collect();
        if port.many {
            kinds.push("many".to_owned());
        }
        if port.optional {
            kinds.push("optional".to_owned());
        }
        vec![
            port.name.clone(),
            if port.output { "out" } else { "in" }.to_owned(),
            name(&|| json!(port.verb)),
            kinds.join(", "),
            port.shape.as_ref().map_or_else(String::new, |shape| format!("[{shape}]")),
            port.dtypes.join(", "),
            name(&|| json!(port.scope)),
            port.about.clone(),
        ]
    };
    let rows: Vec<_> = info.ports.iter().map(row).collect();
    let head = ["port", "", "verb", "kinds", "shape", "dtype", "scope", "about"];
    format!("\n{}", columns(&head, &rows, &[]))
}
