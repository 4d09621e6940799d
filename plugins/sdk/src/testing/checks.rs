//! The checks, each a sentence and a function. A failure says what the component did instead.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::abi;
use crate::port::{Port, Verb};
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::testing::drive::{Answer, Given, Live, Made};
use crate::testing::host::TestHost;
use crate::testing::{Subject, learned, samples};

type Check = fn(&Subject) -> Result<(), String>;

pub(crate) const ALL: &[(&str, Check)] = &[
    ("the name is kebab-case, and ports are named once and shaped", descriptor),
    ("the schema describes an object of known keys", schema),
    ("the config is taken, and an unknown key is refused", config),
    ("facts are a JSON object", facts),
    ("an instance can be made and ended a hundred times", lives),
    ("a fit gives the same state twice, and it can be loaded", learned::fits),
    ("two runs give the same bytes", deterministic),
    ("outputs are declared, of the declared rank, and finite", outputs),
    ("what is not wanted is not put, and what is wanted does not change", wanted),
    ("an image's outputs do not depend on its neighbours", batches),
    ("odd inputs are answered without a panic", odd_inputs),
    ("sentences give one finite row each", text),
    ("stepping from tap to tap gives what one pass gives", learned::taps),
];

fn descriptor(subject: &Subject) -> Result<(), String> {
    // SAFETY: a described component's texts end in NUL and live for ever.
    let name = unsafe { CStr::from_ptr(subject.component.name) }.to_string_lossy();
    let kebab =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if name.is_empty() || !name.chars().all(kebab) {
        return Err(format!("`{name}`"));
    }
    if subject.ports.len() > 64 {
        return Err(format!("{} ports, but 64 fit a mask", subject.ports.len()));
    }
    let mut seen = BTreeSet::new();
    for port in &subject.ports {
        if !seen.insert((port.verb as u32, port.output, &port.name)) {
            return Err(format!("port `{}` is declared twice", port.name));
        }
        if port.kind == 0 {
            return Err(format!("port `{}` takes no kind of value; add `.tensor(..)`", port.name));
        }
    }
    let runs = |port: &Port| port.output && port.verb == Verb::Run;
    match subject.ports.iter().any(runs) {
        true => Ok(()),
        false => Err("no output is declared".to_owned()),
    }
}

fn schema(subject: &Subject) -> Result<(), String> {
    let schema = &subject.schema;
    if schema["type"] != "object" || schema["additionalProperties"] != Value::Bool(false) {
        return Err(format!("{schema}"));
    }
    let properties = schema["properties"].as_object().ok_or("no `properties`")?;
    let required = schema["required"].as_array().ok_or("no `required`")?;
    match required.iter().find(|key| !key.as_str().is_some_and(|key| properties.contains_key(key)))
    {
        Some(key) => Err(format!("{key} is required, but no property")),
        None => Ok(()),
    }
}

fn config(subject: &Subject) -> Result<(), String> {
    let host = TestHost::new();
    Live::create(subject.component, &subject.config, &host).map_err(told)?;
    let mut unknown = subject.config.clone();
    unknown["no such key"] = json!(1);
    // Only an engine's walk of the schema guards a component that reads no config.
    if subject.schema["properties"].as_object().is_some_and(serde_json::Map::is_empty) {
        return Ok(());
    }
    match Live::create(subject.component, &unknown, &host) {
        Ok(_) => Err("an unknown key was taken".to_owned()),
        Err(answer) if answer.status == abi::LOUPE_BAD_CONFIG => Ok(()),
        Err(answer) => Err(told(answer)),
    }
}

fn facts(subject: &Subject) -> Result<(), String> {
    match subject.facts().map_err(told)? {
        Some(facts) if !facts.is_object() => Err(facts.to_string()),
        _ => Ok(()),
    }
}

fn lives(subject: &Subject) -> Result<(), String> {
    let host = TestHost::new();
    let start = Instant::now();
    for _ in 0..100 {
        Live::create(subject.component, &subject.config, &host).map_err(told)?;
        // A component with weights proves enough in the time that fits a test.
        if start.elapsed() > Duration::from_secs(2) {
            break;
        }
    }
    Ok(())
}

fn deterministic(subject: &Subject) -> Result<(), String> {
    if subject.component.flags & abi::LOUPE_DETERMINISTIC == 0 {
        return Ok(());
    }
    let (first, second) = (run(subject, u64::MAX)?, run(subject, u64::MAX)?);
    let same = first.same(&second);
    if same { Ok(()) } else { Err("the second differs".to_owned()) }
}

fn outputs(subject: &Subject) -> Result<(), String> {
    let made = run(subject, u64::MAX)?;
    for (index, tensor) in &made.tensors {
        let port = subject.ports.get(*index as usize).ok_or(format!("output {index}"))?;
        let shape = port.shape.as_deref().unwrap_or_default();
        if !fits(shape, tensor.shape(), &subject.dims) {
            return Err(format!("`{}` is {}, declared `{shape}`", port.name, tensor.shape()));
        }
        finite(tensor, &port.name)?;
    }
    for (index, port) in subject.ports.iter().enumerate() {
        let put = made.only(index as u32);
        let run_output = port.output && port.verb == Verb::Run;
        let optional = port.flags & abi::LOUPE_PORT_OPTIONAL != 0;
        if run_output && !optional && put.tensors.is_empty() && put.texts.is_empty() {
            return Err(format!("nothing was put into `{}`", port.name));
        }
    }
    Ok(())
}

/// Whether a shape is as declared: `...` for any leading dimensions, numbers and known names exact.
fn fits(declared: &str, shape: &Shape, dims: &samples::Dims) -> bool {
    let words: Vec<&str> = declared.split_whitespace().collect();
    let (words, any) = match words.split_first() {
        Some((&"...", rest)) => (rest, true),
        _ => (words.as_slice(), false),
    };
    let Some(extra) = shape.rank().checked_sub(words.len()) else {
        return false;
    };
    let sizes = shape.dims().iter().skip(extra);
    (any || extra == 0)
        && words.iter().zip(sizes).all(|(word, size)| match word.parse::<usize>() {
            Ok(fixed) => fixed == *size,
            // Only sizes of vectors are facts of a config; a grid or a batch is the input's.
            Err(_) if matches!(*word, "d" | "c") => dims.get(*word).is_none_or(|dim| dim == size),
            Err(_) => true,
        })
}

fn wanted(subject: &Subject) -> Result<(), String> {
    let all = run(subject, u64::MAX)?;
    let none = run(subject, 0)?;
    if !none.tensors.is_empty() || !none.texts.is_empty() {
        return Err("something was put though nothing was wanted".to_owned());
    }
    let deterministic = subject.component.flags & abi::LOUPE_DETERMINISTIC != 0;
    for (index, port) in subject.ports.iter().enumerate() {
        if !port.output || port.verb != Verb::Run {
            continue;
        }
        let alone = run(subject, 1 << index)?;
        if deterministic && !alone.same(&all.only(index as u32)) {
            return Err(format!("`{}` alone differs from `{}` among all", port.name, port.name));
        }
    }
    Ok(())
}

fn batches(subject: &Subject) -> Result<(), String> {
    let inputs = subject.of(Verb::Run);
    let batched = |index: u32| {
        let port = subject.ports.get(index as usize);
        port.and_then(|port| port.shape.as_deref())
            .is_some_and(|shape| matches!(shape.split_whitespace().next(), Some("b" | "...")))
    };
    let sizes: BTreeSet<usize> = inputs
        .iter()
        .filter(|(index, _)| batched(*index))
        .filter_map(|(_, given)| match given {
            Given::Tensor(tensor) => tensor.dims().first().copied(),
            Given::Tensors(tensors) => tensors.first()?.dims().first().copied(),
            _ => None,
        })
        .collect();
    let declared = subject.component.flags & abi::LOUPE_BATCH_INVARIANT != 0;
    let [n] = sizes.into_iter().collect::<Vec<_>>()[..] else {
        return Ok(());
    };
    if !declared || n < 2 {
        return Ok(());
    }
    let host = TestHost::new();
    let live = subject.make(&host).map_err(told)?;
    let whole = live.verb(false, &inputs, u64::MAX).map_err(told)?;
    for image in 0..n {
        let one = inputs.iter().map(|(index, given)| match given {
            Given::Tensor(tensor) if batched(*index) => {
                Ok((*index, Given::Tensor(row(tensor, image)?)))
            }
            Given::Tensors(tensors) if batched(*index) => {
                let rows = tensors.iter().map(|tensor| row(tensor, image));
                Ok((*index, Given::Tensors(rows.collect::<Result<_, String>>()?)))
            }
            other => Ok((*index, other.clone())),
        });
        let one: Vec<(u32, Given)> = one.collect::<Result<_, String>>()?;
        let alone = live.verb(false, &one, u64::MAX).map_err(told)?;
        let mut part = Made::default();
        for (index, tensor) in &whole.tensors {
            let kept = if batched(*index) { row(tensor, image)? } else { tensor.clone() };
            part.tensors.push((*index, kept));
        }
        part.texts.clone_from(&whole.texts);
        if !part.same(&alone) {
            return Err(format!("image {image} of {n} differs from the image alone"));
        }
    }
    Ok(())
}

/// One image of a batch, as a batch of one.
fn row(tensor: &Tensor, image: usize) -> Result<Tensor, String> {
    let values = tensor.f32s().map_err(|error| error.to_string())?;
    let mut dims = tensor.dims().to_vec();
    let len = values.len() / dims.first().copied().unwrap_or(1).max(1);
    if let Some(batch) = dims.first_mut() {
        *batch = 1;
    }
    let part = values.get(image * len..(image + 1) * len).ok_or("fewer images than given")?;
    let made = Tensor::new(dims, part.to_vec()).map_err(|error| error.to_string())?;
    Ok(made.with_label(tensor.label()))
}

/// Another shape for a tensor, and the value to fill it with.
type Spoil = fn(&Tensor) -> (Vec<usize>, f32);

fn odd_inputs(subject: &Subject) -> Result<(), String> {
    let host = TestHost::new();
    let live = subject.make(&host).map_err(told)?;
    let inputs = subject.of(Verb::Run);
    let answer = |what: &str, inputs: &[(u32, Given)]| match live.verb(false, inputs, u64::MAX) {
        Err(answer) if answer.status == abi::LOUPE_PANIC => {
            Err(format!("{what}: {}", told(answer)))
        }
        Err(answer) if answer.message.is_empty() => Err(format!("{what}: no message")),
        _ => Ok(()),
    };
    answer("no inputs", &[])?;
    answer("every input twice", &[inputs.clone(), inputs.clone()].concat())?;
    let odd: &[(&str, Spoil)] = &[
        ("a scalar", |_| (Vec::new(), 0.5)),
        ("no elements", |tensor| (vec![0; tensor.dims().len()], 0.0)),
        ("one element a dimension", |tensor| (vec![1; tensor.dims().len()], 0.5)),
        ("a dimension too many", |tensor| ([&[1], tensor.dims()].concat(), 0.5)),
        ("NaN", |tensor| (tensor.dims().to_vec(), f32::NAN)),
        ("infinity", |tensor| (tensor.dims().to_vec(), f32::INFINITY)),
    ];
    for nth in 0..inputs.len() {
        for (what, make) in odd {
            let mut inputs = inputs.clone();
            if let Some((_, Given::Tensor(tensor) | Given::Embedded(_, tensor))) =
                inputs.get_mut(nth)
            {
                let (dims, value) = make(tensor);
                let shape = Shape::from(dims);
                let values = vec![value; shape.len()];
                *tensor = Tensor::new(shape, values).map_err(|error| error.to_string())?;
                answer(what, &inputs)?;
            }
        }
        let mut inputs = inputs.clone();
        if let Some((_, Given::Text(sentences) | Given::Embedded(sentences, _))) =
            inputs.get_mut(nth)
        {
            sentences.clear();
            answer("no sentences", &inputs)?;
        }
    }
    Ok(())
}

fn text(subject: &Subject) -> Result<(), String> {
    let Some(port) = subject.index(Verb::EncodeText, false, "text") else {
        return Ok(());
    };
    let host = TestHost::new();
    let live = subject.make(&host).map_err(told)?;
    for n in [5, 1] {
        let given = Given::Text(samples::sentences(n));
        let made = live.verb(true, &[(port, given)], u64::MAX).map_err(told)?;
        let [(_, rows)] = made.tensors.as_slice() else {
            return Err(format!("{} tensors for {n} sentences", made.tensors.len()));
        };
        if rows.dims().len() != 2 || rows.dims().first() != Some(&n) {
            return Err(format!("shape {} for {n} sentences", rows.shape()));
        }
        finite(rows, "text_embeddings")?;
    }
    match live.verb(true, &[(port, Given::Text(Vec::new()))], u64::MAX) {
        Err(answer) if answer.status == abi::LOUPE_PANIC => Err(told(answer)),
        _ => Ok(()),
    }
}

fn finite(tensor: &Tensor, name: &str) -> Result<(), String> {
    let values = tensor.f32s().map_err(|error| error.to_string())?;
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(format!("`{name}` has {} at element {at}", values[at])),
        None => Ok(()),
    }
}

pub(crate) fn run(subject: &Subject, wanted: u64) -> Result<Made, String> {
    let host = TestHost::new();
    let live = subject.make(&host).map_err(told)?;
    live.verb(false, &subject.of(Verb::Run), wanted).map_err(told)
}

pub(crate) fn told(answer: Answer) -> String {
    format!("status {} with `{}`", answer.status, answer.message)
}
