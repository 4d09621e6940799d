//! Scripts that drive whole studies: load a pipeline, change keys, run, compare, print a table.
//!
//! A script sees pipelines and results, and no file, clock, network or randomness of its own; what
//! runs is done by the `Studies` that the caller hands in. Errors point into the script.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rhai::{Array, Dynamic, Engine, EvalAltResult, FLOAT, INT, Map, Position, Scope};
use serde_json::Value as Json;

use super::convert::{to_dynamic, to_json};
use super::place::{Excerpt, Place, innermost};
use super::{Limits, Log, MAX_SCRIPT_BYTES};
use crate::metrics::{ClassMetrics, mean_over_classes};
use crate::pipeline::check::TOP_KEYS;
use crate::pipeline::diagnostics::listed;
use crate::report::spread::aligned;

/// What a script asks to be run. Paths are as the script has them, from where it lies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    pub pipeline: PathBuf,
    /// Keys with TOML values, as `--set` takes them.
    pub sets: Vec<(String, String)>,
    pub shots: Option<usize>,
    pub seed: Option<u64>,
    pub classes: Vec<String>,
}

/// What a run came to: rows of its first protocol, class by class, and its folder.
#[derive(Clone, Debug)]
pub struct Ran {
    pub name: String,
    pub rows: Vec<ClassMetrics>,
}

/// Runs what scripts ask for. Errors are sentences for the user.
pub trait Studies: Send + Sync {
    fn run(&self, asked: &Asked) -> Result<Ran, String>;
    /// A sweep file's table, as its JSON.
    fn sweep(&self, path: &Path) -> Result<Json, String>;
    /// Raised by the user's interrupt.
    fn is_cancelled(&self) -> bool;
}

#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    #[error("cannot read the script `{}`: {cause}", path.display())]
    Read { path: PathBuf, cause: String },
    #[error("{place}: {message}\n{}", Excerpt(place))]
    Script { place: Box<Place>, message: String },
    #[error("interrupted")]
    Interrupted,
}

/// Runs are long and few, so that only runaway loops meet these.
const LIMITS: Limits = Limits {
    n_operations: 100_000_000,
    n_call_levels: 32,
    string_bytes: 1 << 22,
    // The whole of one is counted at each change of it.
    n_array_items: 10_000,
    n_map_fields: 10_000,
    time: std::time::Duration::MAX,
    tensor_bytes: 0,
};

/// Runs the script at `path`. `print` takes what it prints. Errors: `Read`; `Script` with its place.
pub fn run_script(
    path: &Path,
    arguments: &[String],
    studies: Arc<dyn Studies>,
    print: Log,
) -> Result<(), ScriptError> {
    let read = |cause: String| ScriptError::Read { path: path.to_owned(), cause };
    let n_bytes = fs::metadata(path).map_err(|error| read(error.to_string()))?.len();
    if n_bytes > MAX_SCRIPT_BYTES {
        return Err(read(format!("it has {n_bytes} bytes, at most {MAX_SCRIPT_BYTES} are taken")));
    }
    let script = fs::read_to_string(path).map_err(|error| read(error.to_string()))?;
    let mut engine = super::engine(&LIMITS, print.clone());
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    register(&mut engine, &folder, &studies, print);
    let watched = studies.clone();
    engine.on_progress(move |_| watched.is_cancelled().then(|| "interrupted".into()));
    let failed = |position: Position, message: String| ScriptError::Script {
        place: Box::new(Place::new(path, &script, position)),
        message,
    };
    let mut scope = Scope::new();
    let words = arguments.iter().map(|word| Dynamic::from(word.clone())).collect::<Array>();
    scope.push_constant("ARGUMENTS", words);
    let ast = engine
        .compile_with_scope(&scope, &script)
        .map_err(|error| failed(error.position(), error.err_type().to_string()))?;
    engine.run_ast_with_scope(&mut scope, &ast).map_err(|error| {
        if studies.is_cancelled() {
            return ScriptError::Interrupted;
        }
        let (_, position, message) = innermost(*error, "");
        failed(position, message)
    })
}

/// A pipeline in a script: a file and what is changed in it.
#[derive(Clone, Debug)]
struct Script {
    path: PathBuf,
    sets: Vec<(String, String)>,
}

/// A table in a script.
#[derive(Clone, Debug)]
struct Table {
    rows: Vec<Vec<String>>,
}

type Fallible<T> = Result<T, Box<EvalAltResult>>;

fn register(engine: &mut Engine, folder: &Path, studies: &Arc<dyn Studies>, print: Log) {
    let folder = folder.to_owned();
    let below = folder.clone();
    engine
        .register_type_with_name::<Script>("Pipeline")
        .register_fn("pipeline", move |path: &str| -> Fallible<Script> {
            let path = below.join(path);
            match path.is_file() {
                true => Ok(Script { path, sets: Vec::new() }),
                false => Err(format!("there is no file `{}`", path.display()).into()),
            }
        })
        .register_fn("set", |it: &mut Script, key: &str, value: Dynamic| -> Fallible<()> {
            it.sets.push(set(key, value)?);
            Ok(())
        })
        .register_fn("changed", |it: &mut Script, key: &str, value: Dynamic| -> Fallible<Script> {
            let mut changed = it.clone();
            changed.sets.push(set(key, value)?);
            Ok(changed)
        });
    let runner = studies.clone();
    engine.register_fn("run", move |it: &mut Script| -> Fallible<Ran> {
        ran(&*runner, it, &Map::new())
    });
    let runner = studies.clone();
    engine.register_fn("run", move |it: &mut Script, how: Map| ran(&*runner, it, &how));
    let runner = studies.clone();
    engine.register_fn("sweep", move |path: &str| -> Fallible<Dynamic> {
        let table = runner.sweep(&folder.join(path))?;
        Ok(to_dynamic(table.get("rows").unwrap_or(&Json::Null)))
    });
    results(engine);
    tables(engine, print);
}

fn results(engine: &mut Engine) {
    engine
        .register_type_with_name::<Ran>("Run")
        .register_get("name", |it: &mut Ran| it.name.clone())
        .register_get("classes", |it: &mut Ran| {
            it.rows.iter().map(|row| Dynamic::from(row.class.clone())).collect::<Array>()
        })
        .register_get("metrics", |it: &mut Ran| {
            let names = it.rows.first().map(|row| row.values.iter().map(|value| value.0.clone()));
            names.into_iter().flatten().map(Dynamic::from).collect::<Array>()
        })
        .register_fn("get", |it: &mut Ran, metric: &str| metric_of(it, metric, None))
        .register_fn("get", |it: &mut Ran, metric: &str, class: &str| {
            metric_of(it, metric, Some(class))
        })
        .register_fn("compare", |it: &mut Ran, other: Ran| -> Fallible<Map> {
            let mut differences = Map::new();
            for (name, _) in it.rows.first().map(|row| row.values.clone()).unwrap_or_default() {
                if let (Ok(a), Ok(b)) = (metric_of(it, &name, None), metric_of(&other, &name, None))
                {
                    differences.insert(name.as_str().into(), Dynamic::from(b - a));
                }
            }
            Ok(differences)
        })
        .register_fn("mean", |numbers: Array| mean(&numbers_of(numbers)?))
        .register_fn("std", |numbers: Array| std_of(&numbers_of(numbers)?));
}

fn tables(engine: &mut Engine, print: Log) {
    engine
        .register_type_with_name::<Table>("Table")
        .register_fn("table", |heading: Array| Table { rows: vec![words(heading)] })
        .register_fn("row", |it: &mut Table, cells: Array| -> Fallible<()> {
            let (want, got) = (it.rows.first().map_or(0, Vec::len), cells.len());
            if want != got {
                return Err(format!("the table has {want} columns, and this row {got}").into());
            }
            it.rows.push(words(cells));
            Ok(())
        })
        .register_fn("percent", |value: FLOAT| format!("{:.1}", value * 100.0))
        .register_fn("show", move |it: &mut Table| print(&aligned(&it.rows, 0).join("\n")));
}

fn ran(studies: &dyn Studies, it: &Script, how: &Map) -> Fallible<Ran> {
    let mut asked = Asked { pipeline: it.path.clone(), sets: it.sets.clone(), ..Asked::default() };
    for (name, value) in how {
        let wrong = |wanted: &str| -> Box<EvalAltResult> {
            format!("`{name}` of `run` wants {wanted}, got `{value}`").into()
        };
        let whole = || value.as_int().ok().filter(|number| *number >= 0);
        match name.as_str() {
            "shots" => {
                asked.shots = Some(whole().ok_or_else(|| wrong("a number from 0"))? as usize)
            }
            "seed" => asked.seed = Some(whole().ok_or_else(|| wrong("a number from 0"))? as u64),
            "classes" => {
                let list = value.clone().try_cast::<Array>();
                asked.classes = words(list.ok_or_else(|| wrong("a list of names"))?);
            }
            other => {
                let known = "`run` knows `shots`, `seed` and `classes`";
                return Err(format!("`run` has no `{other}`; {known}").into());
            }
        }
    }
    Ok(studies.run(&asked)?)
}

/// A metric's mean over classes, or of one class; as a fraction.
fn metric_of(it: &Ran, metric: &str, class: Option<&str>) -> Fallible<FLOAT> {
    let row = match class {
        Some(class) => it.rows.iter().find(|row| row.class == class).cloned(),
        None => mean_over_classes(&it.rows),
    };
    let row = row.ok_or_else(|| format!("the run has no class `{}`", class.unwrap_or("")))?;
    match row.get(metric) {
        Some(value) => value.get().ok_or_else(|| {
            format!("`{metric}` is undefined: {}", value.reason().unwrap_or("no value")).into()
        }),
        None => {
            let names: Vec<&str> = row.values.iter().map(|value| value.0.as_str()).collect();
            Err(format!("no metric is called `{metric}`; there are {}", names.join(", ")).into())
        }
    }
}

/// A key and its value as `--set` takes them. Whether the rest of the key is one is seen when the
/// pipeline is run, since the next line may put right what this one breaks.
fn set(key: &str, value: Dynamic) -> Fallible<(String, String)> {
    let first = key.split('.').next().unwrap_or_default();
    if !TOP_KEYS.contains(&first) {
        let known = listed(TOP_KEYS);
        return Err(format!("a pipeline has no key `{first}`; its keys are {known}").into());
    }
    let toml = toml::Value::try_from(to_json(value)?);
    let toml = toml.map_err(|error| format!("`{key}` cannot take this value: {error}"))?;
    Ok((key.to_owned(), toml.to_string()))
}

fn numbers_of(list: Array) -> Fallible<Vec<FLOAT>> {
    let number = |value: Dynamic| {
        let number = value.as_float().or_else(|_| value.as_int().map(|whole: INT| whole as FLOAT));
        number.map_err(|kind| format!("wants numbers, got `{kind}`").into())
    };
    let numbers: Vec<FLOAT> = list.into_iter().map(number).collect::<Fallible<_>>()?;
    if numbers.is_empty() { Err("wants at least one number".into()) } else { Ok(numbers) }
}

fn mean(numbers: &[FLOAT]) -> Fallible<FLOAT> {
    Ok(numbers.iter().sum::<FLOAT>() / numbers.len() as FLOAT)
}

/// Sample standard deviation (n - 1).
fn std_of(numbers: &[FLOAT]) -> Fallible<FLOAT> {
    if numbers.len() < 2 {
        return Err("a deviation wants at least two numbers".into());
    }
    let mean = mean(numbers)?;
    let squares: FLOAT = numbers.iter().map(|number| (number - mean) * (number - mean)).sum();
    Ok((squares / (numbers.len() - 1) as FLOAT).sqrt())
}

fn words(list: Array) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}
