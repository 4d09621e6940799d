//! Hooks: small rhai scripts at named seams of a run.
//!
//! Pure hooks change what passes through (`on_config`, `on_class`, `after_STAGE`, `score_image`);
//! their script's digest joins the cache key. Observing hooks (`observe_STAGE`, `observe_image`)
//! get copies, and what they return is dropped. A script has no file, clock, network, module or
//! `eval`, keeps nothing from call to call, and runs under limits of operations, depth, size, time
//! and memory.

mod convert;
mod methods;
mod names;
mod place;
mod script;
mod tensor;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rhai::packages::{self, Package};
use rhai::{
    AST, CallFnOptions, Dynamic, Engine, EvalAltResult, Map, OptimizationLevel, Position, Scope,
};
use serde_json::Value;

pub use place::Place;
pub use script::{Asked, Ran, ScriptError, Studies, run_script};
pub use tensor::Tensor;

use convert::{to_dynamic, to_json};
use names::{check_names, hook_name};
use place::{Excerpt, definition, innermost};

/// Takes what scripts `print` and `debug`.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

const MAX_SCRIPT_BYTES: u64 = 1 << 20;

/// What one call of a hook may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub n_operations: u64,
    pub n_call_levels: usize,
    pub string_bytes: usize,
    pub n_array_items: usize,
    pub n_map_fields: usize,
    pub time: Duration,
    /// Of all tensors that one call makes, dropped ones too.
    pub tensor_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            n_operations: 1_000_000,
            n_call_levels: 32,
            string_bytes: 1 << 20,
            n_array_items: 10_000,
            n_map_fields: 10_000,
            time: Duration::from_secs(2),
            tensor_bytes: 1 << 30,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum HookError {
    #[error("cannot read the script `{}`: {cause}", path.display())]
    Read { path: PathBuf, cause: String },
    #[error("{place}: {message}\n{}", Excerpt(place))]
    Compile { place: Box<Place>, message: String },
    #[error("{place}: `{function}` is no hook: {hint}\n{}", Excerpt(place))]
    Name { place: Box<Place>, function: String, hint: String },
    #[error("{place}: `{function}` wants {want} parameters, got {got}\n{}", Excerpt(place))]
    Parameters { place: Box<Place>, function: String, want: usize, got: usize },
    #[error("{place}: in `{function}`: {message}\n{}", Excerpt(place))]
    Run { place: Box<Place>, function: String, message: String },
    #[error("{place}: `{function}` must return {want}, got {got}\n{}", Excerpt(place))]
    Result { place: Box<Place>, function: String, want: String, got: String },
}

/// What an observing hook is shown: a copy.
#[derive(Clone, Debug)]
pub enum Shown {
    Value(Value),
    Tensor(Tensor),
}

/// A compiled script. May be called from several threads.
#[derive(Debug)]
pub struct Hooks {
    path: PathBuf,
    script: String,
    ast: AST,
    engine: Engine,
    limits: Limits,
    names: Vec<String>,
    digest: [u8; 32],
}

impl Hooks {
    /// Compiles the script at `path`; runs nothing. `stages` are the names of the pipeline's
    /// stages.
    /// Errors: `Read`, `Compile`, `Name` for a function that looks like a hook and is none,
    /// `Parameters`.
    pub fn load(path: &Path, stages: &[&str], limits: Limits, log: Log) -> Result<Self, HookError> {
        let read = |cause: String| HookError::Read { path: path.to_owned(), cause };
        let n_bytes = fs::metadata(path).map_err(|error| read(error.to_string()))?.len();
        if n_bytes > MAX_SCRIPT_BYTES {
            return Err(read(format!(
                "it has {n_bytes} bytes, at most {MAX_SCRIPT_BYTES} are taken"
            )));
        }
        let script = fs::read_to_string(path).map_err(|error| read(error.to_string()))?;
        let engine = engine(&limits, log);
        let ast = engine.compile(&script).map_err(|error| HookError::Compile {
            place: Box::new(Place::new(path, &script, error.position())),
            message: error.err_type().to_string(),
        })?;
        let names = check_names(path, &script, &ast, stages)?;
        let digest = *blake3::hash(script.as_bytes()).as_bytes();
        Ok(Self { path: path.to_owned(), script, ast, engine, limits, names, digest })
    }

    /// Whether the script defines this hook, named as in the script: `after_both`, `score_image`.
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// BLAKE3 of the script's text.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// `on_config(config) -> config`; `None` without such a hook.
    pub fn on_config(&self, config: &Value) -> Result<Option<Value>, HookError> {
        let name = "on_config";
        let Some(result) = self.call(name, vec![to_dynamic(config)])? else {
            return Ok(None);
        };
        if !result.is_map() {
            return Err(self.result(name, "the config, a map", kind(&result)));
        }
        to_json(result).map(Some).map_err(|got| self.result(name, "a config", got))
    }

    /// `on_class(class)`; what it returns, if it returns something.
    pub fn on_class(&self, class: &Value) -> Result<Option<Value>, HookError> {
        let name = "on_class";
        let Some(result) = self.call(name, vec![to_dynamic(class)])? else {
            return Ok(None);
        };
        if result.is_unit() {
            return Ok(None);
        }
        to_json(result).map(Some).map_err(|got| self.result(name, "a plain value", got))
    }

    /// `after_STAGE(tensor) -> tensor` of the same shape, finite; `None` without such a hook.
    pub fn after(&self, stage: &str, tensor: Tensor) -> Result<Option<Tensor>, HookError> {
        let name = hook_name("after", stage);
        let want = tensor.shape().to_vec();
        let Some(result) = self.call(&name, vec![Dynamic::from(tensor)])? else {
            return Ok(None);
        };
        let wanted = || format!("a finite tensor of shape {want:?}");
        let got = kind(&result);
        let result =
            result.try_cast::<Tensor>().ok_or_else(|| self.result(&name, &wanted(), got))?;
        if result.shape() != want {
            return Err(self.result(&name, &wanted(), format!("shape {:?}", result.shape())));
        }
        match result.data().iter().position(|x| !x.is_finite()) {
            Some(at) => {
                let got = format!("{} at element {at}", result.data()[at]);
                Err(self.result(&name, &wanted(), got))
            }
            None => Ok(Some(result)),
        }
    }

    /// `score_image(map, scores) -> number`; `None` without such a hook.
    pub fn score_image(
        &self,
        map: Tensor,
        scores: &BTreeMap<String, f64>,
    ) -> Result<Option<f64>, HookError> {
        let name = "score_image";
        let scores =
            scores.iter().map(|(name, score)| (name.as_str().into(), Dynamic::from(*score)));
        let arguments = vec![Dynamic::from(map), scores.collect::<Map>().into()];
        let Some(result) = self.call(name, arguments)? else {
            return Ok(None);
        };
        let number = result.as_float().or_else(|_| result.as_int().map(|whole| whole as f64));
        match number {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            Ok(number) => Err(self.result(name, "a finite number", number.to_string())),
            Err(_) => Err(self.result(name, "a finite number", kind(&result))),
        }
    }

    /// `observe_STAGE` or `observe_image`, with a copy; whatever it returns is dropped.
    pub fn observe(&self, stage: &str, shown: Shown) -> Result<(), HookError> {
        let argument = match shown {
            Shown::Value(value) => to_dynamic(&value),
            Shown::Tensor(tensor) => Dynamic::from(tensor),
        };
        self.call(&hook_name("observe", stage), vec![argument]).map(drop)
    }

    fn call(&self, name: &str, arguments: Vec<Dynamic>) -> Result<Option<Dynamic>, HookError> {
        if !self.has(name) {
            return Ok(None);
        }
        let Limits { time, tensor_bytes, .. } = self.limits;
        let result: Result<Dynamic, _> = methods::with_budget(time, tensor_bytes, || {
            let options = CallFnOptions::default();
            self.engine.call_fn_with_options(options, &mut Scope::new(), &self.ast, name, arguments)
        });
        result.map(Some).map_err(|error| {
            let (function, position, message) = innermost(*error, name);
            let position =
                if position.is_none() { definition(&self.script, &function) } else { position };
            let place = Box::new(Place::new(&self.path, &self.script, position));
            HookError::Run { place, function, message }
        })
    }

    fn result(&self, function: &str, want: &str, got: String) -> HookError {
        let position = definition(&self.script, function);
        HookError::Result {
            place: Box::new(Place::new(&self.path, &self.script, position)),
            function: function.to_owned(),
            want: want.to_owned(),
            got,
        }
    }
}

fn kind(value: &Dynamic) -> String {
    if value.is_unit() { "nothing".to_owned() } else { format!("`{}`", value.type_name()) }
}

/// Everything that rhai brings but time, blobs and modules.
fn engine(limits: &Limits, log: Log) -> Engine {
    let mut engine = Engine::new_raw();
    packages::CorePackage::new().register_into_engine(&mut engine);
    packages::BitFieldPackage::new().register_into_engine(&mut engine);
    packages::LogicPackage::new().register_into_engine(&mut engine);
    packages::BasicMathPackage::new().register_into_engine(&mut engine);
    packages::BasicArrayPackage::new().register_into_engine(&mut engine);
    packages::BasicMapPackage::new().register_into_engine(&mut engine);
    packages::MoreStringPackage::new().register_into_engine(&mut engine);
    methods::register(&mut engine);
    // A sleeping hook would outlast its time limit, which is checked between operations.
    let awake = || -> Result<(), Box<EvalAltResult>> { Err("a hook cannot `sleep`".into()) };
    engine.register_fn("sleep", move |_: i64| awake()).register_fn("sleep", move |_: f64| awake());
    engine
        .set_optimization_level(OptimizationLevel::None)
        .set_max_operations(limits.n_operations)
        .set_max_call_levels(limits.n_call_levels)
        .set_max_string_size(limits.string_bytes)
        .set_max_array_size(limits.n_array_items)
        .set_max_map_size(limits.n_map_fields)
        .set_max_expr_depths(64, 32)
        .set_max_modules(0)
        .set_strict_variables(true)
        .disable_symbol("eval")
        .disable_symbol("import")
        .disable_symbol("export")
        .on_progress(|_| methods::out_of_time().map(Dynamic::from));
    let debug = log.clone();
    engine.on_print(move |text| log(text));
    engine.on_debug(move |text, _, position: Position| debug(&format!("{position:?}: {text}")));
    engine
}
