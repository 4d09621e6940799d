//! `loupe eval`: metrics of maps that any tool wrote, with no pipeline.

use std::path::PathBuf;

use serde_json::json;

use super::{Common, Format, Outcome, print, print_json};
use crate::eval::{self, EvalOptions};
use crate::metrics::Protocol;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Folder of anomaly maps: [class/][test/]kind/name.{tiff,tif,npy,png}
    #[arg(long, value_name = "DIR", required_unless_present = "list_protocols")]
    maps: Option<PathBuf>,
    /// Folder of masks: [class/][ground_truth/]kind/name[_mask].png
    #[arg(long, value_name = "DIR", required_unless_present = "list_protocols")]
    masks: Option<PathBuf>,
    /// Definitions to compute, or `all`; --list-protocols explains them
    #[arg(
        long = "protocol", value_name = "NAME", num_args = 1.., value_delimiter = ',',
        default_value = "native"
    )]
    protocols: Vec<String>,
    /// A mask's pixel is anomalous above this grey value
    #[arg(long, value_name = "GREY", default_value_t = 0)]
    mask_above: u8,
    /// File of `path,score` lines; without it an image's score is the maximum of its map
    #[arg(long, value_name = "FILE")]
    scores: Option<PathBuf>,
    /// Limits of AUPRO
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "0.3,0.05")]
    limits: Vec<f64>,
    /// Say what each protocol computes, and stop
    #[arg(long)]
    list_protocols: bool,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    let (Some(maps), Some(masks), false) =
        (&arguments.maps, &arguments.masks, arguments.list_protocols)
    else {
        return list_protocols(common);
    };
    let all = arguments.protocols.iter().any(|name| name == "all");
    let table = eval::run(&EvalOptions {
        protocols: match all {
            true => Protocol::names().map(str::to_owned).collect(),
            false => arguments.protocols.clone(),
        },
        mask_above: arguments.mask_above,
        limits: arguments.limits.clone(),
        scores: arguments.scores.clone(),
        ..EvalOptions::new(maps, masks)
    })?;
    if common.format == Format::Json {
        return print_json(&table);
    }
    print(&table.to_text())?;
    eprintln!("{} images", table.n_images);
    for note in &table.notes {
        eprintln!("note: {note}");
    }
    Ok(())
}

fn list_protocols(common: &Common) -> Outcome {
    if common.format == Format::Json {
        let entry = |protocol: &Protocol| {
            json!({
                "name": protocol.name, "about": protocol.about, "explain": protocol.explain,
            })
        };
        return print_json(&Protocol::all().iter().map(entry).collect::<Vec<_>>());
    }
    let mut text = String::new();
    for protocol in Protocol::all() {
        let explain = super::text::wrapped(protocol.explain, 88, "    ");
        text.push_str(&format!("{}\n  {}\n{explain}\n", protocol.name, protocol.about));
    }
    print(&text)
}
