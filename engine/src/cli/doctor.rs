//! `loupe doctor`: what this machine offers, where things are looked for, and what was found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use loupe_kernels::Isa;
use serde::Serialize;

use super::text::{count, size};
use super::{Common, Format, Outcome, print, print_json, setup};
use crate::plugin::PATH_VARIABLE;
use crate::plugin::info::Catalog;
use crate::run::numerics;
use crate::weights::Registry;

/// Vector units that matter to the products, as Linux names them.
const FEATURES: [&str; 15] = [
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "sve",
];

#[derive(Debug, Serialize)]
struct Health {
    loupe: String,
    plugin_boundary: u32,
    cpu: String,
    cpu_features: Vec<String>,
    numerics: String,
    cpu_problem: Option<String>,
    threads: usize,
    memory_bytes: Option<u64>,
    memory_free_bytes: Option<u64>,
    hdf5: String,
    cache_dir: Option<PathBuf>,
    cache_free_bytes: Option<u64>,
    plugin_places: Vec<Place>,
    components: Vec<String>,
    refused: Vec<Refused>,
    weights_dir: Option<PathBuf>,
    weights: Vec<String>,
    weights_problem: Option<String>,
    variables: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Place {
    path: PathBuf,
    named_by: &'static str,
    exists: bool,
}

#[derive(Debug, Serialize)]
struct Refused {
    path: PathBuf,
    why: String,
}

pub(super) fn run(common: &Common) -> Outcome {
    let health = examine(common);
    match common.format {
        Format::Json => print_json(&health),
        Format::Table => print(&health.to_text()),
    }
}

fn examine(common: &Common) -> Health {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let flags = field(&cpu, "flags").or_else(|| field(&cpu, "Features")).unwrap_or_default();
    let loader = setup::loader(common);
    let mut components: Vec<_> = loader.components().collect();
    components.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    let cache_dir = setup::cache_dir(common).ok();
    let registry = Registry::of_user().ok();
    let weights = registry.as_ref().map_or(Ok(Vec::new()), Registry::list);
    let refused = |(path, why)| Refused { path, why };
    Health {
        loupe: env!("CARGO_PKG_VERSION").to_owned(),
        plugin_boundary: loupe_plugin::abi::LOUPE_ABI,
        cpu: field(&cpu, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        cpu_features: features(&flags),
        numerics: numerics().to_owned(),
        cpu_problem: Isa::best().err().map(|problem| problem.to_string()),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: kibibytes(&memory, "MemTotal"),
        memory_free_bytes: kibibytes(&memory, "MemAvailable"),
        hdf5: crate::cache::hdf5_version(),
        cache_free_bytes: cache_dir.as_deref().and_then(setup::free_bytes),
        cache_dir,
        plugin_places: plugin_places(common),
        components: components.iter().map(|info| format!("{}/{}", info.kind, info.name)).collect(),
        refused: loader.rejected().into_iter().map(refused).collect(),
        weights_dir: registry.map(|registry| registry.dir().to_owned()),
        weights_problem: weights.as_ref().err().map(ToString::to_string),
        weights: weights.unwrap_or_default().into_iter().map(|pin| pin.name).collect(),
        variables: std::env::vars_os()
            .filter_map(|(name, value)| {
                let name = name.into_string().ok().filter(|name| name.starts_with("LOUPE_"))?;
                let value = value.to_string_lossy().into_owned();
                let secret = ["KEY", "TOKEN", "SECRET"].iter().any(|word| name.contains(word));
                Some((name, if secret { "(set)".to_owned() } else { value }))
            })
            .collect(),
    }
}

/// The first `name : value` of a file of the kernel.
fn field(text: &str, name: &str) -> Option<String> {
    let value = |line: &str| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    };
    text.lines().find_map(value)
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = field(text, name)?;
    Some(value.strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

fn features(flags: &str) -> Vec<String> {
    let there: Vec<&str> = flags.split_whitespace().collect();
    FEATURES.iter().filter(|name| there.contains(name)).map(|name| (*name).to_owned()).collect()
}

fn plugin_places(common: &Common) -> Vec<Place> {
    let place = |named_by| move |path: PathBuf| Place { exists: path.exists(), path, named_by };
    let variable = std::env::var_os(PATH_VARIABLE).unwrap_or_default();
    let listed = std::env::split_paths(&variable).filter(|path| !path.as_os_str().is_empty());
    let program = std::env::current_exe().ok();
    let beside = program.as_deref().and_then(Path::parent).into_iter().flat_map(|folder| {
        let tidy = |path: PathBuf| std::fs::canonicalize(&path).unwrap_or(path);
        let built = folder.join(".cargo-lock").exists().then(|| folder.to_owned());
        let above = folder.parent().unwrap_or(folder).join("lib/loupe");
        [tidy(above), tidy(folder.join("lib/loupe"))].into_iter().chain(built)
    });
    let named = common.plugin_path.iter().cloned().map(place("--plugin-path"));
    named.chain(listed.map(place(PATH_VARIABLE))).chain(beside.map(place("program"))).collect()
}

impl Health {
    fn to_text(&self) -> String {
        let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), size);
        let path = |path: &Option<PathBuf>| {
            path.as_ref()
                .map_or_else(|| "none: set HOME".to_owned(), |path| path.display().to_string())
        };
        let mut lines = vec![
            ("loupe", format!("{}, plugin boundary {}", self.loupe, self.plugin_boundary)),
            ("cpu", format!("{}, {}", self.cpu, count(self.threads, "thread"))),
            ("features", self.cpu_features.join(" ")),
            ("numerics", self.numerics.clone()),
        ];
        lines.extend(self.cpu_problem.iter().map(|problem| ("problem", problem.clone())));
        lines.extend([
            (
                "memory",
                format!("{}, {} free", bytes(self.memory_bytes), bytes(self.memory_free_bytes)),
            ),
            ("hdf5", self.hdf5.clone()),
            ("cache", format!("{}, {} free", path(&self.cache_dir), bytes(self.cache_free_bytes))),
        ]);
        for place in &self.plugin_places {
            let state = if place.exists { "" } else { ", not there" };
            let text = format!("{} ({}{state})", place.path.display(), place.named_by);
            lines.push(("plugins in", text));
        }
        lines.push((
            "components",
            match self.components.len() {
                0 => "none: build or install the plugins, or name their folder with --plugin-path"
                    .into(),
                n => format!("{n}: {}", self.components.join(", ")),
            },
        ));
        let refused =
            |file: &Refused| ("refused", format!("{}: {}", file.path.display(), file.why));
        lines.extend(self.refused.iter().map(refused));
        lines.push((
            "weights",
            format!(
                "{}, {} pinned{}",
                path(&self.weights_dir),
                self.weights.len(),
                match self.weights.is_empty() {
                    true => String::new(),
                    false => format!(": {}", self.weights.join(", ")),
                }
            ),
        ));
        lines.extend(self.weights_problem.iter().map(|problem| ("problem", problem.clone())));
        lines.extend(
            self.variables.iter().map(|(name, value)| ("variable", format!("{name}={value}"))),
        );
        lines.into_iter().map(|(name, value)| format!("{name:<11} {value}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let cpu = "processor\t: 0\nmodel name\t: Fast One\nflags\t\t: fpu avx2 fma\n";
        assert_eq!(field(cpu, "model name").as_deref(), Some("Fast One"));
        assert_eq!(features(&field(cpu, "flags").unwrap()), ["avx2", "fma"]);
        assert_eq!(kibibytes("MemTotal:       2048 kB\n", "MemTotal"), Some(2 << 20));
        assert_eq!(kibibytes("MemTotal: x\n", "MemTotal"), None);
    }
}
