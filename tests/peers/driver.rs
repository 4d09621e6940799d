//! loupe's side of the comparisons in this folder: plugins as a run loads and calls them, one
//! pass for each line of the input, so that a script can let peers take turns.
//!
//! `peer JOB.json`, with keys `encoder` (`clip` or `gem`), `config` (its keys), `pixels` (a
//! safetensors file of images `[b, 3, h, w]`) or `sentences`, `wanted` (outputs), and perhaps
//! `madff` (the keys of a fusion that stands on the taps). It says `ready`. Lines are `run`
//! (prints seconds), `save PATH` (a pass whose outputs are written as safetensors; prints the
//! path), `ceiling` (FLOP a second of the products' inner loop) and `peak` (bytes in memory at
//! most).

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use loupe_engine::pipeline::model::Label;
use loupe_engine::plugin::info::{Catalog, Kind, Verb};
use loupe_engine::plugin::{
    Instance, Loader, Options, PATH_VARIABLE, Sentence, StageHost, Steps, Tensor, Value, files_of,
};
use loupe_kernels::{Activation, BlockShape, Isa, Precision, Team, blocks};
use rayon::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value as Json;

type Outcome<T> = std::result::Result<T, Box<dyn Error>>;
/// Outputs of a pass: `name.image`, or `name.tap`.
type Made = BTreeMap<String, Tensor>;

fn main() -> Outcome<()> {
    let path = std::env::args().nth(1).ok_or("wants a job: peer JOB.json")?;
    let job: Json = serde_json::from_slice(&std::fs::read(&path)?)?;
    let n_threads = std::thread::available_parallelism()?.get();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build()?;
    let job = Job::read(&job, Arc::new(pool))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready")?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("run", _) => {
                let start = Instant::now();
                job.pass()?;
                writeln!(out, "{}", start.elapsed().as_secs_f64())?;
            }
            ("save", path) => {
                save(&job.pass()?, Path::new(path))?;
                writeln!(out, "{path}")?;
            }
            ("ceiling", _) => writeln!(out, "{}", job.ceiling()?)?,
            ("peak", _) => writeln!(out, "{}", peak_bytes())?,
            _ => return Err(format!("no order is called `{line}`").into()),
        }
        out.flush()?;
    }
    Ok(())
}

/// What is computed again and again.
struct Job {
    pool: Arc<rayon::ThreadPool>,
    encoder: Instance,
    adapters: Option<Adapters>,
    images: Vec<Tensor>,
    sentences: Vec<Sentence>,
    wanted: Vec<String>,
    precision: Precision,
}

/// A fusion that stands on the encoder's taps.
struct Adapters {
    fusion: Instance,
    at: Vec<u32>,
}

impl Job {
    fn read(job: &Json, pool: Arc<rayon::ThreadPool>) -> Outcome<Job> {
        let word = |key: &str| job[key].as_str().ok_or(format!("a job wants the key `{key}`"));
        let words = |key: &str| -> Vec<String> {
            let list = job[key].as_array().into_iter().flatten();
            list.filter_map(Json::as_str).map(str::to_owned).collect()
        };
        let loader = Loader::new(&Options { paths: plugins()?, search: false, prober: None });
        let create = |kind, name: &str, config: &Json| -> Outcome<Instance> {
            let info = loader.component(kind, name).ok_or(format!("no plugin has `{name}`"))?;
            let files = files_of(&info.schema, config);
            let host =
                StageHost::new(name, 0, files, Arc::clone(&pool), Arc::new(AtomicBool::new(false)));
            Ok(loader.create(kind, name, config, Arc::new(host))?)
        };
        let adapters = match &job["madff"] {
            Json::Null => None,
            config => {
                let at = config["at"].as_array().into_iter().flatten();
                let at =
                    at.filter_map(Json::as_u64).map(u32::try_from).collect::<Result<_, _>>()?;
                Some(Adapters { fusion: create(Kind::Fusion, "madff", config)?, at })
            }
        };
        let sentence =
            |text| Sentence { text, anomalous: false, weight: 1.0, source: String::new() };
        let is_f32 = !matches!(job["config"]["precision"].as_str(), Some("bf16" | "int8"));
        Ok(Job {
            encoder: create(Kind::Encoder, word("encoder")?, &job["config"])?,
            adapters,
            images: job["pixels"].as_str().map_or(Ok(Vec::new()), images)?,
            sentences: words("sentences").into_iter().map(sentence).collect(),
            wanted: words("wanted"),
            precision: if is_f32 { Precision::F32 } else { Precision::Bf16 },
            pool,
        })
    }

    /// All images, or all sentences.
    fn pass(&self) -> Outcome<Made> {
        let mut made = Made::new();
        for (i, image) in self.images.iter().enumerate() {
            match &self.adapters {
                Some(adapters) => self.step(adapters, image, &mut made)?,
                None => {
                    let inputs =
                        [(port(&self.encoder, "image", false)?, Value::Tensor(image.clone()))];
                    let outputs = self.encoder.run(&inputs, &self.ports(&self.encoder)?)?;
                    keep(&self.encoder, outputs.values, i, &mut made);
                }
            }
        }
        if !self.sentences.is_empty() {
            made.insert("text_embeddings.0".to_owned(), self.encoder.encode_text(&self.sentences)?);
        }
        Ok(made)
    }

    /// As a run walks an encoder whose taps carry a fusion.
    fn step(
        &self,
        Adapters { fusion, at }: &Adapters,
        image: &Tensor,
        made: &mut Made,
    ) -> Outcome<()> {
        let image = (port(&self.encoder, "image", false)?, Value::Tensor(image.clone()));
        let steps = Steps { taps: at, train: false, wanted: &[] };
        let (mut session, mut stream) =
            self.encoder.taps_open(steps, std::slice::from_ref(&image))?;
        let [flows_in, flows_on] = [port(fusion, "stream", false)?, port(fusion, "stream", true)?];
        for (i, tap) in at.iter().enumerate() {
            if i > 0 {
                stream = session.resume(stream)?;
            }
            let label = Label { size: None, tap: Some(*tap) };
            let inputs = [
                (port(fusion, "image", false)?, image.1.clone()),
                (flows_in, Value::Tensors(vec![(label, stream.clone())])),
            ];
            let mut wanted = self.ports(fusion)?;
            // Behind the last tap nobody reads the stream.
            wanted.extend((i + 1 < at.len()).then_some(flows_on));
            let mut outputs = fusion.run(&inputs, &wanted)?;
            if let Some(Value::Tensor(next)) = outputs.take(flows_on) {
                stream = next;
            }
            keep(fusion, outputs.values, i, made);
        }
        Ok(())
    }

    fn ports(&self, of: &Instance) -> Outcome<Vec<u32>> {
        self.wanted.iter().map(|name| port(of, name, true)).collect()
    }

    /// Of the instructions and the precision that the encoder computes with.
    fn ceiling(&self) -> Outcome<f64> {
        let (width, mlp_width, activation) = (64, 256, Activation::Gelu);
        let shape = BlockShape { width, n_heads: 1, mlp_width, activation, causal: false };
        let blocks = blocks(shape, Isa::best()?, self.precision);
        let n_threads = self.pool.current_num_threads();
        let par = |n: usize, f: &(dyn Fn(usize) + Sync)| {
            self.pool.install(|| (0..n).into_par_iter().with_max_len(1).for_each(f));
        };
        Ok(blocks.ceiling(Team { par: &par, n_threads }))
    }
}

/// Where cargo put them, unless a variable says otherwise.
fn plugins() -> Outcome<Vec<PathBuf>> {
    if let Some(paths) = std::env::var_os(PATH_VARIABLE) {
        return Ok(std::env::split_paths(&paths).collect());
    }
    let program = std::env::current_exe()?;
    Ok(program.ancestors().nth(2).map(Path::to_owned).into_iter().collect())
}

fn port(of: &Instance, name: &str, output: bool) -> Outcome<u32> {
    let is_it = |verb| matches!(verb, Verb::Run | Verb::Tap);
    let mut ports = of.info().ports.iter();
    let port = ports.find(|port| is_it(port.verb) && port.output == output && port.name == name);
    Ok(port.ok_or(format!("`{}` has no port `{name}`", of.info().name))?.index)
}

fn keep(of: &Instance, values: Vec<(u32, Value)>, index: usize, made: &mut Made) {
    for (port, value) in values {
        let name = of.info().ports.iter().find(|described| described.index == port);
        let name = name.map_or("", |described| described.name.as_str());
        for (_, tensor) in value.tensors() {
            made.insert(format!("{name}.{index}"), tensor.clone());
        }
    }
}

/// The tensors of a file, by name.
fn images(path: &str) -> Outcome<Vec<Tensor>> {
    let bytes = std::fs::read(path)?;
    let mut tensors = SafeTensors::deserialize(&bytes)?.tensors();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let read = |(name, tensor): (String, TensorView<'_>)| -> Outcome<Tensor> {
        if tensor.dtype() != Dtype::F32 {
            return Err(format!("`{name}` wants f32, got {:?}", tensor.dtype()).into());
        }
        let (numbers, _) = tensor.data().as_chunks::<4>();
        let numbers = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Ok(Tensor::new(tensor.shape().to_vec(), numbers)?)
    };
    tensors.into_iter().map(read).collect()
}

fn save(made: &Made, path: &Path) -> Outcome<()> {
    let bytes = |tensor: &Tensor| tensor.data().iter().flat_map(|x| x.to_le_bytes()).collect();
    let all: Vec<Vec<u8>> = made.values().map(bytes).collect();
    let views = made.iter().zip(&all).map(|((name, tensor), bytes)| {
        Ok((name, TensorView::new(Dtype::F32, tensor.shape().to_vec(), bytes)?))
    });
    let views = views.collect::<Outcome<Vec<_>>>()?;
    Ok(safetensors::serialize_to_file(views, None, path)?)
}

/// Largest resident memory so far; 0 where the system does not tell.
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kb.unwrap_or_default() * 1024
}
