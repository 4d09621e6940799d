//! `loupe check`: the whole of a pipeline, all mistakes at once.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::build::{built, moved, setting, tests};
use super::diagnostics::{Diagnostic, Report, listed};
use super::files::{NamedFile, absolute};
use super::fill;
use super::model::{Output, Pipeline, Run, ValueRef};
use super::order;
use super::ports::{Typer, output};
use super::reference::{RefText, parse_ref};
use super::schema::Walk;
use super::sections;
use super::show::origins;
use super::source::{Change, Env, Loaded, load};
use super::stages::{Draft, Reader};
use super::tree::{At, Entry, Table, Value};
use crate::metrics::Protocol;
use crate::plugin::info::Catalog;

/// What a check is told of the world beside the catalog.
pub struct CheckOptions<'a> {
    /// In order.
    pub sets: Vec<Change>,
    pub env: Env<'a>,
    /// Names that `[protocol] use` may hold.
    pub protocols: &'a [&'a str],
    /// Names that `[data] dataset` may hold.
    pub layouts: &'a [&'a str],
    /// Files that have a name, such as pinned weights.
    pub files: &'a dyn Fn(&str) -> Option<NamedFile>,
    /// Prompt caches may be absent, because they are about to be filled.
    pub fills: bool,
    /// Stages that no output needs are warned of.
    pub names_unused: bool,
}

/// The outcome. `pipeline` is there if there is no error; warnings may be.
#[derive(Debug)]
pub struct Checked {
    pub pipeline: Option<Pipeline>,
    pub report: Report,
}

/// Keys that may stand at the top of a file.
pub const TOP_KEYS: [&str; 11] = [
    "loupe", "extends", "data", "stages", "output", "protocol", "run", "hooks", "test", "train",
    "compat",
];

/// Checks the pipeline in a file.
pub fn check(path: &Path, options: &CheckOptions<'_>, catalog: &dyn Catalog) -> Checked {
    checked(path, None, options, catalog)
}

/// Checks a text as if it stood in the file `name`.
pub fn check_text(
    name: &str,
    text: &str,
    options: &CheckOptions<'_>,
    catalog: &dyn Catalog,
) -> Checked {
    checked(Path::new(name), Some(text), options, catalog)
}

fn checked(
    path: &Path,
    text: Option<&str>,
    options: &CheckOptions<'_>,
    catalog: &dyn Catalog,
) -> Checked {
    let mut report = Report::default();
    let loaded = load(path, text, &options.sets, options.env, &mut report);
    let mut pipeline = None;
    if let Some(loaded) = loaded {
        let n_before = report.list.len();
        let mut checker = Checker { options, catalog, loaded: &loaded, report: &mut report };
        let found = checker.pipeline();
        pipeline = found.filter(|_| !report.has_errors());
        report.drop_echoes(n_before);
    }
    report.settle();
    if let Some(pipeline) = &mut pipeline {
        pipeline.warnings = report.list.iter().map(|found| found.message.clone()).collect();
    }
    Checked { pipeline, report }
}

pub(super) struct Checker<'a> {
    pub(super) options: &'a CheckOptions<'a>,
    catalog: &'a dyn Catalog,
    loaded: &'a Loaded,
    pub(super) report: &'a mut Report,
}

impl Checker<'_> {
    fn pipeline(&mut self) -> Option<Pipeline> {
        let root = &self.loaded.root;
        self.top_keys(root);
        let data = self.section("data", &sections::data());
        let wanted = self.section("output", &sections::output());
        let protocol = self.section("protocol", &sections::protocol());
        let run = self.section("run", &sections::run());
        let compat = self.section("compat", &sections::compat());
        self.data_names(data.as_ref());
        self.manifest(data.as_ref());
        let protocols = self.protocols(protocol.as_ref());
        let typed_run = run.as_ref().and_then(|run| self.run(run));
        let hooks = self.hooks(run.as_ref());
        let mut drafts = self.stages(typed_run.as_ref().map_or(0, |run| run.seed));
        let edges = order::edges(&mut drafts, &mut self.report.list);
        let order = order::sort(&mut drafts, &edges, &mut self.report.list);
        let mut typer = Typer::new(&drafts);
        order.iter().for_each(|idx| typer.stage(*idx));
        self.report.list.append(&mut typer.found);
        let outputs = self.outputs(&typer, wanted.as_ref());
        let train = self.train(&drafts);
        if self.report.has_errors() {
            return None;
        }
        let roots: Vec<usize> = [&outputs.anomaly_map, &outputs.anomaly_score]
            .into_iter()
            .flatten()
            .map(|value| value.stage)
            .chain(train.as_ref().map(|(_, found)| found.text))
            .collect();
        let needed = order::needed(drafts.len(), &edges, &roots);
        if self.options.names_unused {
            self.unused(&drafts, &needed);
        }
        let kept: Vec<usize> = order.into_iter().filter(|idx| needed[*idx]).collect();
        let typed = std::mem::take(&mut typer.typed);
        let stages = built(&drafts, typed, &kept);
        let (train_section, found) = train.unzip();
        let train = found.and_then(|found| self.needed_train(&found, &kept));
        let quirks = compat.as_ref().map(sections::typed_compat).unwrap_or_default();
        let resolved = self.resolved(
            &drafts,
            [
                ("data", &data),
                ("output", &wanted),
                ("protocol", &protocol),
                ("run", &run),
                ("train", &train_section),
                ("compat", &compat),
            ],
        );
        Some(Pipeline {
            files: self.loaded.files.clone(),
            fill: fill::command(&self.loaded.files, &self.options.sets),
            data: data.map(|data| sections::typed_data(&data, &|key, text| self.path(key, text))),
            setting: setting(&stages, &drafts, train.as_ref(), quirks),
            train,
            compat: quirks,
            stages,
            output: Output {
                anomaly_map: outputs.anomaly_map.and_then(|value| moved(value, &kept)),
                anomaly_score: outputs.anomaly_score.and_then(|value| moved(value, &kept)),
            },
            protocols,
            hooks,
            run: typed_run?,
            tests: tests(root),
            origins: origins(root, &resolved, self.report),
            resolved,
            warnings: Vec::new(),
        })
    }

    fn top_keys(&mut self, root: &Table) {
        for entry in &root.entries {
            let key = entry.key.as_str();
            if !TOP_KEYS.contains(&key) {
                let message = format!("a pipeline has no key `{key}`");
                let found = Diagnostic::error(entry.key_at, message).near(key, TOP_KEYS);
                self.report.push(found.note(format!("its keys are {}", listed(TOP_KEYS))));
            }
        }
    }

    /// Walks a section; an absent one gets its defaults, but for those that may be absent.
    pub(super) fn section(&mut self, name: &str, schema: &Json) -> Option<Map<String, Json>> {
        let entry = self.loaded.root.get(name);
        let (entries, at): (Vec<&Entry>, At) = match entry.map(|entry| (entry, &entry.node.value)) {
            Some((entry, Value::Table(table))) => (table.entries.iter().collect(), entry.key_at),
            Some((entry, _)) => {
                let message = format!("`{name}` wants a table");
                let found = Diagnostic::error(entry.node.at, message).label(entry.node.describe());
                self.report.push(found);
                return None;
            }
            None if matches!(name, "data" | "compat") => return None,
            None => (Vec::new(), At { source: 0, start: 0, end: 0 }),
        };
        let owner = format!("`[{name}]`");
        let mut walk = Walk::new(owner, &self.loaded.folders, self.options.files);
        let section = walk.table(&entries, schema, at, "", &[]);
        let whole = walk.found.is_empty();
        self.report.list.append(&mut walk.found);
        whole.then_some(section)
    }

    /// The node at a path of keys.
    pub(super) fn node(&self, path: &str) -> Option<&super::tree::Node> {
        let mut parts = path.split('.');
        let mut node = &self.loaded.root.get(parts.next()?)?.node;
        for part in parts {
            node = &node.as_table()?.get(part)?.node;
        }
        Some(node)
    }

    /// A path in the file is relative to the file that says it.
    pub(super) fn path(&self, key: &str, text: &str) -> PathBuf {
        let source = self.node(key).map(|node| node.at.source);
        let folder = source.and_then(|source| self.loaded.folders.get(source));
        PathBuf::from(absolute(&folder.map_or_else(|| PathBuf::from(text), |f| f.join(text))))
    }

    fn protocols(&mut self, protocol: Option<&Map<String, Json>>) -> Vec<String> {
        let known = self.options.protocols;
        let is_new = |name: &&str| !known.contains(name) && Protocol::find(name).is_none();
        let mut found = Vec::new();
        if let Some(Value::Array(items)) = self.node("protocol.use").map(|node| &node.value) {
            for item in items {
                let Some(name) = item.as_str().filter(is_new) else { continue };
                let message = format!("there is no protocol `{name}`");
                let wrong = Diagnostic::error(item.at, message).near(name, known.iter().copied());
                found.push(wrong.note(format!("there are {}", listed(known.iter().copied()))));
            }
        }
        self.report.list.append(&mut found);
        let names = protocol.and_then(|protocol| protocol.get("use")).and_then(Json::as_array);
        names.into_iter().flatten().filter_map(Json::as_str).map(str::to_string).collect()
    }

    fn run(&mut self, run: &Map<String, Json>) -> Option<Run> {
        match sections::typed_run(run) {
            Ok(run) => Some(run),
            Err(why) => {
                let message = format!("`memory` of `[run]` {why}");
                let at = self.node("run.memory").map(|node| node.at);
                self.report.push(match at {
                    Some(at) => Diagnostic::error(at, message),
                    None => Diagnostic::placeless(message),
                });
                None
            }
        }
    }

    fn hooks(&mut self, run: Option<&Map<String, Json>>) -> Option<PathBuf> {
        let inner = run.and_then(|run| run.get("hooks")).map(|_| "run.hooks");
        let key = inner.or(self.node("hooks").map(|_| "hooks"))?;
        let node = self.node(key)?;
        let at = node.at;
        let Some(text) = node.as_str() else {
            let found = Diagnostic::error(at, "`hooks` wants the path of a rhai file");
            let found = found.label(node.describe());
            self.report.push(found);
            return None;
        };
        let path = self.path(key, text);
        if !path.is_file() {
            let message = format!("there is no hook file `{}`", path.display());
            self.report.push(Diagnostic::error(at, message));
        }
        Some(path)
    }

    fn stages(&mut self, seed: u64) -> Vec<Draft> {
        let start = At { source: 0, start: 0, end: 0 };
        let entry = self.loaded.root.get("stages");
        let Some(table) = entry.and_then(|entry| entry.node.as_table()) else {
            let at = entry.map_or(start, |entry| entry.node.at);
            let found = Diagnostic::error(at, "a pipeline wants a table `[stages]`");
            self.report.push(found);
            return Vec::new();
        };
        let mut reader = Reader {
            catalog: self.catalog,
            folders: &self.loaded.folders,
            n_files: self.loaded.files.len(),
            names: self.options.files,
            fill: fill::command(&self.loaded.files, &self.options.sets),
            fills: self.options.fills,
            seed,
            found: Vec::new(),
        };
        let drafts = table.entries.iter().map(|entry| reader.stage(entry)).collect();
        self.report.list.append(&mut reader.found);
        drafts
    }

    fn outputs(&mut self, typer: &Typer<'_>, wanted: Option<&Map<String, Json>>) -> Output {
        let mut outputs = Output::default();
        let Some(wanted) = wanted else { return outputs };
        if wanted.is_empty() {
            let at = self.loaded.root.get("output").map(|entry| entry.key_at);
            let found = Diagnostic::error(
                at.unwrap_or(At { source: 0, start: 0, end: 0 }),
                "the pipeline has no output",
            );
            let hint =
                "add `[output]` with `anomaly_map = \"STAGE\"` or `anomaly_score = \"STAGE\"`";
            self.report.push(found.hint(hint));
        }
        for key in ["anomaly_map", "anomaly_score"] {
            let node = self.node(&format!("output.{key}"));
            let Some((text, at)) = node.and_then(|node| Some((node.as_str()?, node.at))) else {
                continue;
            };
            match self.output(typer, key, text, at) {
                Ok(value) if key == "anomaly_map" => outputs.anomaly_map = Some(value),
                Ok(value) => outputs.anomaly_score = Some(value),
                Err(found) => self.report.list.extend(found),
            }
        }
        outputs
    }

    fn output(
        &self,
        typer: &Typer<'_>,
        key: &str,
        text: &str,
        at: At,
    ) -> Result<ValueRef, Option<Diagnostic>> {
        let reference: RefText =
            parse_ref(text, at).map_err(|why| Some(Diagnostic::error(at, why)))?;
        if !typer.drafts.iter().any(|draft| draft.name == reference.stage) {
            let names: Vec<String> = typer.drafts.iter().map(|draft| draft.name.clone()).collect();
            let reader = format!("`{key}` of `[output]`");
            return Err(Some(order::no_stage(&reader, &reference.stage, at, &names)));
        }
        output(typer, key, &reference)
    }

    fn unused(&mut self, drafts: &[Draft], needed: &[bool]) {
        for (draft, _) in drafts.iter().zip(needed).filter(|(_, needed)| !**needed) {
            let message = format!("{} is not run: no output needs it", draft.called());
            self.report.push(Diagnostic::warning(draft.at, message));
        }
    }

    /// The whole file with defaults filled in and files found.
    fn resolved(
        &self,
        drafts: &[Draft],
        sections: [(&str, &Option<Map<String, Json>>); 6],
    ) -> Json {
        let mut root = Map::new();
        for entry in &self.loaded.root.entries {
            root.insert(entry.key.clone(), entry.node.to_json());
        }
        for (name, section) in sections {
            if let Some(section) = section {
                root.insert(name.to_string(), Json::Object(section.clone()));
            }
        }
        let mut root = Json::Object(root);
        for pointer in ["/data/root", "/data/references/manifest", "/run/hooks", "/hooks"] {
            if let Some(Json::String(text)) = root.pointer_mut(pointer) {
                let key = pointer.trim_start_matches('/').replace('/', ".");
                *text = self.path(&key, text).display().to_string();
            }
        }
        for draft in drafts {
            let stage = root.get_mut("stages").and_then(|stages| stages.get_mut(&draft.name));
            if let Some(Json::Object(stage)) = stage {
                stage.extend(draft.config.clone());
            }
        }
        root
    }
}
