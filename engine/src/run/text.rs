//! Text of a class: sentences from a prompt generator and, where a stage says `embed_with`, their embeddings.

use std::sync::Arc;

use super::class::ClassRun;
use super::meter::{Cost, Work};
use super::{ClassImages, RunError};
use crate::cache::{Array, Key, KeyBuilder, Stored};
use crate::pipeline::fill;
use crate::pipeline::model::Pipeline;
use crate::plugin::info::Verb;
use crate::plugin::{Instance, Loader, PluginError, Sentence, Tensor, Value};
use crate::prompts::{self, Names};

/// Makes the value of a prompts stage. Generating is cheap and done every time; embeddings are stored under a key of the
/// sentences themselves, so that classes and pipelines with the same sentences share them.
pub(super) fn class_value(run: &ClassRun<'_>, stage: usize) -> Result<(Key, Value), RunError> {
    let sentences = Arc::new(generate(run, stage)?);
    let Some(encoder) = run.engine.pipeline.stages[stage].embed_with else {
        let key = sentences_key(KeyBuilder::new("text"), &sentences);
        return Ok((key, Value::Text(sentences)));
    };
    let only_text = KeyBuilder::new("embeddings").key("encoder", &run.engine.keys[encoder]);
    let texts = sentences.iter().map(|sentence| sentence.text.as_str());
    let embeddings_key = texts.fold(only_text, |key, text| key.str("text", text)).finish();
    let embeddings = embeddings(run, stage, encoder, &sentences, embeddings_key)?;
    let key =
        sentences_key(KeyBuilder::new("embedded-text").key("by", &embeddings_key), &sentences);
    Ok((key, Value::EmbeddedText { sentences, embeddings }))
}

fn sentences_key(key: KeyBuilder, sentences: &[Sentence]) -> Key {
    let add = |key: KeyBuilder, sentence: &Sentence| {
        key.str("text", &sentence.text)
            .u64("anomalous", u64::from(sentence.anomalous))
            .u64("weight", u64::from(sentence.weight.to_bits()))
    };
    sentences.iter().fold(key, add).finish()
}

fn generate(run: &ClassRun<'_>, stage: usize) -> Result<Vec<Sentence>, RunError> {
    let instance = run.engine.instance(stage)?;
    let made = sentences(&instance, &run.class.display, &run.class.synonyms);
    let run_of = |error| {
        let ClassImages { name, display, synonyms, .. } = &run.class;
        let (class, display, synonyms) = (name.clone(), display.clone(), synonyms.clone());
        let names = Names { class, display, synonyms };
        gap(run.engine.loader, run.engine.pipeline, stage, &names, error)
    };
    match made.map_err(run_of)? {
        Some(sentences) => Ok(sentences),
        None => {
            Err(run.broken(stage, "a prompt generator takes a class and makes text".to_owned()))
        }
    }
}

/// A refusal because of sentences that were never asked for says how to ask for them.
pub fn gap(
    loader: &Loader,
    pipeline: &Pipeline,
    stage: usize,
    names: &Names,
    error: PluginError,
) -> RunError {
    let PluginError::Config { message, .. } = &error else { return error.into() };
    let Some(described) = pipeline.stages.get(stage) else { return error.into() };
    if !prompts::gaps(loader, described, names) {
        return error.into();
    }
    let command = format!("{} --class {}", pipeline.fill, fill::word(&names.class));
    RunError::Prompts { stage: described.name.clone(), message: message.clone(), command }
}

/// What a prompt generator says about a class; `None` if it has no such ports.
/// Errors: its own.
pub fn sentences(
    instance: &Instance,
    display: &String,
    synonyms: &[String],
) -> Result<Option<Vec<Sentence>>, PluginError> {
    let port = |output: bool| {
        let mut ports = instance.info().ports.iter();
        let found = ports.find(|port| port.output == output && port.verb == Verb::Run);
        found.map(|port| port.index)
    };
    let (Some(class), Some(text)) = (port(false), port(true)) else { return Ok(None) };
    let names = std::iter::once(display).chain(synonyms);
    let name = |text: &String| Sentence {
        text: text.clone(),
        anomalous: false,
        weight: 1.0,
        source: "class".to_owned(),
    };
    let names = Value::Text(Arc::new(names.map(name).collect()));
    Ok(match instance.run(&[(class, names)], &[text])?.take(text) {
        Some(Value::Text(sentences)) => Some(Arc::unwrap_or_clone(sentences)),
        _ => None,
    })
}

fn embeddings(
    run: &ClassRun<'_>,
    stage: usize,
    encoder: usize,
    sentences: &[Sentence],
    key: Key,
) -> Result<Tensor, RunError> {
    let dtype = run.engine.dtype(encoder);
    if dtype.is_some()
        && let Some(Stored::Arrays(arrays)) = run.engine.cache.get(&key)?
        && let Some(array) = arrays.into_iter().next()
    {
        return Ok(Tensor::new(array.shape, array.data)?);
    }
    let instance = run.engine.instance(encoder)?;
    let made = run.engine.meter.time_of(Work::Text(encoder), || {
        let made = instance.encode_text(sentences);
        let bytes_in = sentences.iter().map(|sentence| sentence.text.len() as u64).sum();
        let bytes_out = made.as_ref().map_or(0, |made| size_of_val(made.data()) as u64);
        (made, Cost { bytes_in, bytes_out, flop: 0.0 })
    })?;
    let mut stored = Stored::Arrays(vec![Array {
        name: "text_embeddings".to_owned(),
        size: None,
        tap: None,
        shape: made.shape().to_vec(),
        data: made.data().to_vec(),
    }]);
    let Some(dtype) = dtype else { return Ok(made) };
    crate::cache::quantise(&mut stored, dtype);
    let Stored::Arrays(arrays) = &stored else { return Ok(made) };
    let embeddings = Tensor::new(arrays[0].shape.clone(), arrays[0].data.clone())?;
    run.engine.put(&run.meta(stage, "text_embeddings", ""), key, stored, dtype);
    Ok(embeddings)
}
