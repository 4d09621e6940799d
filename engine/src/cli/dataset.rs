//! `loupe dataset`: layouts, a look at a data set, and surfaces made for trying things out.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use loupe_datasets::surfaces::{Defect, Family, Options, Set, defects, families, make_dataset};
use loupe_datasets::{Check, ClassCheck, Dataset, DatasetError, Fit, KindCheck, Layout};
use serde_json::json;

use super::text::{columns, count};
use super::{Common, Format, Outcome, print, print_json};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the layouts, and the surfaces and defects that `make` knows
    Ls,
    /// Count what a folder holds under a layout, and say what was not understood
    Check(CheckArguments),
    /// Make a data set of procedural surfaces with defects and exact masks
    ///
    /// To train on, few images of many products are best: `--set training --products 60 --train 2
    /// --good 1 --per-defect 1 --defects-per-product 4 --captions`.
    Make(MakeArguments),
}

#[derive(Debug, clap::Args)]
struct CheckArguments {
    /// Folder of the data set
    dir: PathBuf,
    /// Name of a layout, or path of a layout file [default: the one that fits best]
    #[arg(long, value_name = "NAME")]
    layout: Option<String>,
    /// A mask's pixel is anomalous above this grey value, in the place of the layout's
    #[arg(long, value_name = "GREY")]
    mask_above: Option<u8>,
    /// Most files to name that were not understood
    #[arg(long, default_value_t = 10, value_name = "N")]
    unmatched: usize,
}

#[derive(Debug, clap::Args)]
struct MakeArguments {
    /// Folder to make; it must be empty or not there
    dir: PathBuf,
    /// Choose from all surfaces and defects, from those that may be trained on, or from surfaces
    /// that no training sees (with all defects)
    #[arg(long, default_value = "all", value_name = "NAME", value_parser = Set::NAMES)]
    set: String,
    /// Surfaces [default: all of the set]
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    families: Vec<String>,
    /// Defects [default: all of the set]
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    defects: Vec<String>,
    /// Products of each surface, up to 1000, one class each, named SURFACE_NN if there are several
    #[arg(long, default_value_t = 1, value_name = "N")]
    products: usize,
    /// So many of the defects for each product, drawn by the seed [default: all]
    #[arg(long, value_name = "N")]
    defects_per_product: Option<usize>,
    /// Side of the images, in pixels
    #[arg(long, default_value_t = 256)]
    size: u32,
    /// Images without defects to take references from, per class
    #[arg(long, default_value_t = 8, value_name = "N")]
    train: usize,
    /// Test images without defects, per class
    #[arg(long, default_value_t = 6, value_name = "N")]
    good: usize,
    /// Test images of each defect, per class
    #[arg(long, default_value_t = 4, value_name = "N")]
    per_defect: usize,
    /// Another seed makes other surfaces
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How much the light varies from image to image, 0 to 1
    #[arg(long, default_value_t = 0.3, value_name = "AMOUNT")]
    light: f32,
    /// Write captions.csv (sentences for each image) and sentences.json (what they are made of)
    #[arg(long)]
    captions: bool,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    match &arguments.action {
        Action::Ls => ls(common),
        Action::Check(arguments) => check(common, arguments),
        Action::Make(arguments) => make(common, arguments),
    }
}

fn ls(common: &Common) -> Outcome {
    let layouts: Vec<Layout> =
        Layout::names().into_iter().map(Layout::find).collect::<Result<_, _>>()?;
    if common.format == Format::Json {
        let layout = |layout: &Layout| {
            let mask_above = layout.mask_above;
            json!({"name": layout.name, "about": layout.about, "mask_above": mask_above})
        };
        let family = |family: &Family| {
            let Family { name, about, held_out, has_cells, .. } = family;
            json!({"name": name, "about": about, "held_out": held_out, "has_cells": has_cells})
        };
        let defect = |defect: &Defect| {
            let Defect { name, about, held_out, needs_cells, .. } = defect;
            json!({"name": name, "about": about, "held_out": held_out, "needs_cells": needs_cells})
        };
        return print_json(&json!({
            "layouts": layouts.iter().map(layout).collect::<Vec<_>>(),
            "families": families().map(family).collect::<Vec<_>>(),
            "defects": defects().map(defect).collect::<Vec<_>>(),
        }));
    }
    let row = |name: &str, about: &str| vec![name.to_owned(), about.to_owned()];
    let of_set = |name: &str, about: &str, held_out: bool| {
        let set = if held_out { "held-out" } else { "training" };
        vec![name.to_owned(), set.to_owned(), about.to_owned()]
    };
    let layouts: Vec<_> = layouts.iter().map(|found| row(&found.name, &found.about)).collect();
    let surfaces: Vec<_> = families().map(|f| of_set(f.name, f.about, f.held_out)).collect();
    let damages: Vec<_> = defects().map(|d| of_set(d.name, d.about, d.held_out)).collect();
    print(
        &[
            columns(&["layout", "about"], &layouts, &[]),
            columns(&["surface", "set", "about"], &surfaces, &[]),
            columns(&["defect", "set", "about"], &damages, &[]),
        ]
        .join("\n"),
    )
}

fn check(common: &Common, arguments: &CheckArguments) -> Outcome {
    let layout = layout_of(&arguments.dir, arguments.layout.as_deref())?;
    let dataset = Dataset::open(&arguments.dir, &layout, None, arguments.mask_above)?;
    let check = dataset.check(arguments.unmatched)?;
    for warning in &check.warnings {
        eprintln!("warning: {warning}");
    }
    if common.format == Format::Json {
        return print_json(&check);
    }
    print(&table(&check))?;
    if check.n_unmatched > 0 {
        eprintln!(
            "{} matched no pattern of layout `{}`:",
            count(check.n_unmatched, "file"),
            check.layout
        );
        check.unmatched.iter().for_each(|path| eprintln!("  {path}"));
        if check.n_unmatched > check.unmatched.len() {
            eprintln!("  ... and {} more", check.n_unmatched - check.unmatched.len());
        }
    }
    Ok(())
}

/// The layout asked for, or the one that fits the folder best, which is said with the others that fit.
fn layout_of(dir: &Path, given: Option<&str>) -> Result<Layout, DatasetError> {
    if let Some(name) = given {
        return Layout::find(name);
    }
    let fits = Layout::detect(dir)?;
    let Some((best, others)) = fits.split_first() else {
        // Its error says what it looked for.
        return Layout::find("mvtec-ad");
    };
    let found = |fit: &Fit| {
        let (images, masks) = (count(fit.n_images, "image"), count(fit.n_masks, "mask"));
        format!("`{}`: {images}, {masks}", fit.layout)
    };
    eprintln!("layout {}", found(best));
    for fit in others {
        eprintln!("  fits too: {}", found(fit));
    }
    Layout::find(&best.layout)
}

/// Counts by class, split and kind, then what identifies the whole.
fn table(check: &Check) -> String {
    let mut rows = Vec::new();
    for class in &check.classes {
        let ClassCheck { train, train_anomalous, test, .. } = class;
        for (split, kinds) in [("train", train), ("train", train_anomalous), ("test", test)] {
            rows.extend(kinds.iter().map(|kind| row(class, split, kind)));
        }
    }
    let head = ["class", "split", "kind", "images", "masks"];
    format!(
        "{}\n{} in {}, masks above {}\nfingerprint {}\n",
        columns(&head, &rows, &[3, 4]),
        count(check.n_images, "image"),
        match check.classes.len() {
            1 => "1 class".to_owned(),
            n => format!("{n} classes"),
        },
        check.mask_above,
        check.fingerprint
    )
}

fn row(class: &ClassCheck, split: &str, kind: &KindCheck) -> Vec<String> {
    let masks = match (kind.anomalous, kind.n_masks) {
        (false, 0) => "-".to_owned(),
        (_, n) => n.to_string(),
    };
    vec![class.name.clone(), split.to_owned(), kind.kind.clone(), kind.n_images.to_string(), masks]
}

fn make(common: &Common, arguments: &MakeArguments) -> Outcome {
    let summary = make_dataset(
        &arguments.dir,
        &Options {
            set: Set::find(&arguments.set)?,
            families: arguments.families.clone(),
            defects: arguments.defects.clone(),
            n_products: arguments.products,
            n_defects: arguments.defects_per_product,
            n_train: arguments.train,
            n_test_good: arguments.good,
            n_test_per_defect: arguments.per_defect,
            size: arguments.size,
            seed: arguments.seed,
            light: arguments.light,
            captions: arguments.captions,
        },
    )?;
    if common.format == Format::Json {
        return print_json(&json!({
            "root": summary.root, "layout": "mvtec-ad", "classes": summary.classes,
            "n_images": summary.n_images, "n_masks": summary.n_masks,
            "left_out": summary.left_out,
        }));
    }
    let root = summary.root.display();
    print(&format!(
        "{root}: {}, {}, layout mvtec-ad\nclasses: {}\n",
        count(summary.n_images, "image"),
        count(summary.n_masks, "mask"),
        some(&summary.classes)
    ))?;
    if !summary.left_out.is_empty() {
        let pair = |(class, defect): &(String, String)| format!("{class}/{defect}");
        let pairs: Vec<String> = summary.left_out.iter().map(pair).collect();
        eprintln!("left out, as these surfaces have no cells: {}", some(&pairs));
    }
    eprintln!("run on it: {}", how_to_run(&summary.root));
    Ok(())
}

/// All names of a short list, the first of a long one.
fn some(names: &[String]) -> String {
    const N_SHOWN: usize = 48;
    let shown = names.iter().take(N_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(N_SHOWN) {
        Some(n_more @ 1..) => format!("{shown} and {n_more} more"),
        _ => shown,
    }
}

fn how_to_run(root: &Path) -> String {
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    format!(
        "loupe run PIPELINE.toml --set data.dataset=mvtec-ad --set 'data.root={}'",
        root.display()
    )
}
