//! `loupe weights`: pin weight files by digest, list, verify and fetch them.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::text::{columns, size};
use super::{Common, Exit, Format, Outcome, print, print_json};
use crate::weights::{KNOWN, Known, Pinned, Registry, Verdict, find};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Pin a file under a name that pipelines can use: a hard link, or a copy from another disk
    Add {
        /// The weights file: safetensors, PyTorch or TorchScript
        file: PathBuf,
        /// MODEL/WEIGHTS as the pipeline says them, such as ViT-L-14-336/openai
        #[arg(long = "as", value_name = "NAME")]
        name: String,
        /// Take the name from the file that has it
        #[arg(long)]
        replace: bool,
    },
    /// List what is pinned, and the public weights there are
    Ls,
    /// Read every pinned file again; exit code 5 if one is not what was pinned
    Verify,
    /// Download public weights, compare their digest and pin them; the only one of these that uses
    /// the network
    Fetch {
        /// Name of public weights, as `ls` lists them
        name: String,
        /// Address to fetch the file from, by its own name, in the place of the publisher's
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
    },
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    let registry = Registry::of_user()?;
    match &arguments.action {
        Action::Add { file, name, replace } => {
            let (pinned, before) = registry.add(file, name, *replace)?;
            say(common, &registry, &pinned, before)
        }
        Action::Ls => ls(common, &registry),
        Action::Verify => verify(common, &registry),
        Action::Fetch { name, mirror } => fetch(common, &registry, name, mirror.as_deref()),
    }
}

fn say(common: &Common, registry: &Registry, pinned: &Pinned, before: bool) -> Outcome {
    if common.format == Format::Json {
        return print_json(&entry(registry, pinned));
    }
    let did = if before { "was pinned before" } else { "pinned" };
    print(&format!(
        "{} {did}: {} ({})\nblake3 {}\nsha256 {}\n",
        pinned.name,
        registry.path(pinned).display(),
        size(pinned.bytes),
        pinned.blake3,
        pinned.sha256,
    ))?;
    match find(&pinned.name) {
        Some(known) if known.is_certain() => {
            eprintln!("this is the public file: its SHA-256 is the published one");
        }
        Some(known) if !known.sha256.is_empty() => {
            eprintln!("its SHA-256 begins as published ({}); no more of it is known", known.sha256);
        }
        Some(_) => eprintln!("warning: its publisher gives no digest to compare it with"),
        None => {}
    }
    match pinned.name.rsplit_once('/') {
        Some((model, weights)) => {
            eprintln!("a pipeline says: model = \"{model}\", weights = \"{weights}\"");
        }
        None => eprintln!("a pipeline says: weights = \"{}\"", pinned.name),
    }
    Ok(())
}

fn entry(registry: &Registry, pinned: &Pinned) -> serde_json::Value {
    json!({
        "name": pinned.name, "path": registry.path(pinned), "bytes": pinned.bytes,
        "blake3": pinned.blake3, "sha256": pinned.sha256, "from": pinned.from,
        "licence": find(&pinned.name).map(|known| known.licence),
    })
}

fn ls(common: &Common, registry: &Registry) -> Outcome {
    let pins = registry.list()?;
    if common.format == Format::Json {
        let public = |known: &Known| {
            json!({
                "name": known.name(), "model": known.model, "weights": known.tag,
                "sha256": known.sha256, "sha256_is_whole": known.is_certain(),
                "about_mib": (known.about_mib > 0).then_some(known.about_mib),
                "licence": known.licence, "url": known.url(), "note": known.note,
            })
        };
        return print_json(&json!({
            "dir": registry.dir(),
            "pinned": pins.iter().map(|pin| entry(registry, pin)).collect::<Vec<_>>(),
            "public": KNOWN.iter().map(public).collect::<Vec<_>>(),
        }));
    }
    let short = |digest: &str| digest.get(..16).unwrap_or(digest).to_owned();
    let row = |pin: &Pinned| {
        let there = if registry.path(pin).is_file() { "" } else { "the file is gone" };
        vec![pin.name.clone(), size(pin.bytes), short(&pin.blake3), there.to_owned()]
    };
    let rows: Vec<_> = pins.iter().map(row).collect();
    let mut text = match rows.is_empty() {
        true => format!("nothing is pinned in {}\n", registry.dir().display()),
        false => columns(&["pinned", "size", "blake3", ""], &rows, &[1]),
    };
    text.push('\n');
    let row = |known: &Known| {
        let pinned = pins.iter().any(|pin| pin.name == known.name());
        let mib = if known.about_mib > 0 { format!("{} MiB", known.about_mib) } else { "?".into() };
        let sha256 = match known.sha256 {
            "" => "unknown".to_owned(),
            sha256 => format!("{}...", sha256.get(..8).unwrap_or(sha256)),
        };
        let here = if pinned { "pinned" } else { "" };
        vec![known.name(), mib, known.licence.into(), sha256, here.into(), known.note.into()]
    };
    let rows: Vec<_> = KNOWN.iter().map(row).collect();
    text.push_str(&columns(&["public weights", "size", "licence", "sha256", "", ""], &rows, &[1]));
    print(&text)?;
    eprintln!("`--format json` has whole digests and addresses");
    Ok(())
}

fn verify(common: &Common, registry: &Registry) -> Outcome {
    let mut found = Vec::new();
    for pin in registry.list()? {
        let verdict = registry.verify(&pin)?;
        if common.format == Format::Table {
            let path = registry.path(&pin);
            print(&match &verdict {
                Verdict::Good => format!("{}: good\n", pin.name),
                Verdict::Missing => format!("{}: `{}` is gone\n", pin.name, path.display()),
                Verdict::Changed { got } => format!(
                    "{}: `{}` changed: BLAKE3 was {}, is {got}\n",
                    pin.name,
                    path.display(),
                    pin.blake3
                ),
            })?;
        }
        found.push((pin, verdict));
    }
    if common.format == Format::Json {
        let entry =
            |(pin, verdict): &(Pinned, Verdict)| json!({"name": pin.name, "verdict": verdict});
        print_json(&found.iter().map(entry).collect::<Vec<_>>())?;
    } else if found.is_empty() {
        eprintln!("nothing is pinned in {}", registry.dir().display());
    }
    match found.iter().all(|(_, verdict)| *verdict == Verdict::Good) {
        true => Ok(()),
        false => Err(Exit::Mismatch),
    }
}

fn fetch(common: &Common, registry: &Registry, name: &str, mirror: Option<&str>) -> Outcome {
    if let Some(known) = find(name) {
        let from = mirror.map_or_else(|| known.url(), str::to_owned);
        eprintln!("{} is under {}; fetching it from {from}", known.name(), known.licence);
        if !known.note.is_empty() {
            eprintln!("note: {}", known.note);
        }
    }
    let bar = ProgressBar::new(0);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("[{bar:30}] {bytes}/{total_bytes} {eta}") {
        bar.set_style(style);
    }
    let mut progress = |bytes: u64, whole: Option<u64>| {
        bar.set_length(whole.unwrap_or(bytes));
        bar.set_position(bytes);
    };
    let fetched = registry.fetch(name, mirror, &mut progress);
    bar.finish_and_clear();
    let (pinned, before) = fetched?;
    say(common, registry, &pinned, before)
}
