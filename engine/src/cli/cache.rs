//! `loupe cache`: what is in the feature cache, whether it is whole, and making room.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Subcommand;
use serde_json::json;

use super::text::{columns, count, parse_size, size};
use super::{Common, Exit, Format, Outcome, print, print_json, setup};
use crate::cache::{BadShard, Cache, Mode};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the values by stage, component and output, and what components keep
    Ls,
    /// Count values and bytes
    Stat,
    /// Read values again and compare their checksums; exit code 5 if any is damaged
    Verify {
        /// Share of the values to read, 0 to 1
        #[arg(long, default_value_t = 1.0, value_parser = share)]
        sample: f64,
    },
    /// Remove what crashed runs left, kept weights that are damaged and, with --keep, files that were of no use for longest
    Gc {
        /// Most bytes to keep, such as 20GB
        #[arg(long, value_name = "SIZE", value_parser = parse_size)]
        keep: Option<u64>,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("wants a share from 0 to 1, got `{text}`")),
    }
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Outcome {
    let dir = setup::cache_dir(common)?;
    if !dir.is_dir() {
        return Err(Exit::Failed(anyhow!(
            "there is no cache at `{}` yet; the first `loupe run` makes it, and --cache-dir names \
             another folder",
            dir.display()
        )));
    }
    let cache = Cache::open(&dir, Mode::ReadWrite)?;
    let outcome = match &arguments.action {
        Action::Ls => ls(common, &cache),
        Action::Stat => stat(common, &cache, &dir),
        Action::Verify { sample } => verify(common, &cache, *sample),
        Action::Gc { keep, dry_run } => gc(common, &cache, *keep, *dry_run),
    };
    for warning in cache.take_warnings() {
        eprintln!("warning: {warning}");
    }
    outcome
}

fn ls(common: &Common, cache: &Cache) -> Outcome {
    let rows = cache.ls();
    if common.format == Format::Json {
        let row = |row: &crate::cache::Row| {
            json!({
                "stage": row.stage, "component": row.component, "value": row.value,
                "n_values": row.n_values, "n_bytes": row.n_bytes,
            })
        };
        return print_json(&rows.iter().map(row).collect::<Vec<_>>());
    }
    let row = |row: &crate::cache::Row| {
        let n_values = row.n_values.to_string();
        vec![
            row.stage.clone(),
            row.component.clone(),
            row.value.clone(),
            n_values,
            size(row.n_bytes),
        ]
    };
    let lines: Vec<Vec<String>> = rows.iter().map(row).collect();
    print(&columns(&["stage", "component", "value", "values", "size"], &lines, &[3, 4]))
}

fn stat(common: &Common, cache: &Cache, dir: &PathBuf) -> Outcome {
    let stat = cache.stat();
    let free = setup::free_bytes(dir);
    if common.format == Format::Json {
        return print_json(&json!({
            "dir": dir, "n_shards": stat.n_shards, "n_values": stat.n_values,
            "value_bytes": stat.value_bytes, "n_kept": stat.n_kept, "kept_bytes": stat.kept_bytes,
            "disk_bytes": stat.disk_bytes, "free_bytes": free,
        }));
    }
    let free = free.map_or_else(|| "unknown".to_owned(), size);
    print(&format!(
        "folder   {}\nfiles    {}\nvalues   {} ({})\nkept     {} ({})\non disk  {}\nfree     {free}\n",
        dir.display(),
        stat.n_shards,
        stat.n_values,
        size(stat.value_bytes),
        stat.n_kept,
        size(stat.kept_bytes),
        size(stat.disk_bytes),
    ))
}

fn verify(common: &Common, cache: &Cache, sample: f64) -> Outcome {
    let report = cache.verify(sample);
    if common.format == Format::Json {
        print_json(&json!({
            "n_shards": report.n_shards, "n_values": report.n_values, "n_bytes": report.n_bytes,
            "bad": bad_json(&report.bad),
        }))?;
    } else {
        print_bad(&report.bad)?;
        print(&format!(
            "read {} in {} ({}): {}\n",
            count(report.n_values as usize, "value"),
            count(report.n_shards as usize, "file"),
            size(report.n_bytes),
            match report.bad.len() {
                0 => "all good".to_owned(),
                n =>
                    format!("{} bad; a run that wants a bad value makes it anew", count(n, "file")),
            }
        ))?;
    }
    if report.bad.is_empty() { Ok(()) } else { Err(Exit::Mismatch) }
}

fn gc(common: &Common, cache: &Cache, keep: Option<u64>, dry_run: bool) -> Outcome {
    let report = cache.gc(keep, dry_run)?;
    if common.format == Format::Json {
        return print_json(&json!({
            "dry_run": dry_run, "removed": report.removed, "freed_bytes": report.freed_bytes,
            "kept_bytes": report.kept_bytes, "bad": bad_json(&report.bad),
        }));
    }
    print_bad(&report.bad)?;
    for path in &report.removed {
        print(&format!("{}\n", path.display()))?;
    }
    let did = if dry_run { "would remove" } else { "removed" };
    let (freed, kept) = (size(report.freed_bytes), size(report.kept_bytes));
    print(&format!("{did} {} ({freed}), kept {kept}\n", count(report.removed.len(), "file")))
}

fn print_bad(bad: &[BadShard]) -> Outcome {
    bad.iter().try_for_each(|bad| print(&format!("bad: {}: {}\n", bad.path.display(), bad.why)))
}

fn bad_json(bad: &[BadShard]) -> Vec<serde_json::Value> {
    bad.iter().map(|bad| json!({ "path": bad.path, "why": bad.why })).collect()
}
