//! Text of a class: sentences from a prompt generator and, where a stage says `embed_with`, their embeddings.

use std::sync::Arc;

use super::RunError;
use super::class::ClassRun;
use crate::cache::{Array, Key, KeyBuilder, Stored};
use crate::plugin::info::Verb;
use crate::plugin::{Sentence, Tensor, Value};

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
    let info = run.engine.info(stage)?;
    let port = |output: bool| {
        let found = info.ports.iter().find(|port| port.output == output && port.verb == Verb::Run);
        found.map(|port| port.index)
    };
    let (Some(class), Some(text)) = (port(false), port(true)) else {
        return Err(run.broken(stage, "a prompt generator has one input and one output".to_owned()));
    };
    let names = std::iter::once(&run.class.display).chain(&run.class.synonyms);
    let name = |text: &String| Sentence {
        text: text.clone(),
        anomalous: false,
        weight: 1.0,
        source: "class".to_owned(),
    };
    let names = Value::Text(Arc::new(names.map(name).collect()));
    match run.engine.instance(stage)?.run(&[(class, names)], &[text])?.take(text) {
        Some(Value::Text(sentences)) => Ok(Arc::unwrap_or_clone(sentences)),
        _ => Err(run.broken(stage, "made no sentences".to_owned())),
    }
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
    let made = run.engine.instance(encoder)?.encode_text(sentences)?;
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
