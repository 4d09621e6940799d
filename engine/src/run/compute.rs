//! One call of one stage: the engine's own kinds, a plugin's verb, or a fusion stepped along an encoder's taps.

use loupe_kernels::{ParallelFor, antialias_bilinear};

use serde_json::Value as Json;

use super::RunError;
use super::class::ClassRun;
use super::meter::{Cost, Work};
use super::source::Image;
use super::wiring::{Call, Form};
use crate::image::{self, Normalize, PrepareConfig, Rgb};
use crate::map;
use crate::pipeline::model::{
    Component, Label, Normalize as Normal, PAINTED_MASK, Prepare, Stage, Taps,
};
use crate::plugin::info::{ComponentInfo, Kind, ValueKind, Verb};
use crate::plugin::{Instance, Outputs, PluginError, Steps, Tensor, Value};

/// What a call made: output, label, tensor.
pub(super) type Made = Vec<(String, Label, Tensor)>;

/// Runs one call for the `wanted` outputs.
pub(super) fn call(
    run: &mut ClassRun<'_>,
    image: &Image,
    stage: usize,
    call: &Call,
    wanted: &[String],
) -> Result<Made, RunError> {
    let described: &Stage = &run.engine.pipeline.stages[stage];
    match &described.component {
        Component::Prepare(config) => prepared(run, image, stage, config, call.label),
        Component::Map(config) => {
            let of = one_tensor(run, image, stage, call)?;
            let engine = run.engine;
            let resized = engine.meter.time(Work::Stage(stage), || {
                map::resize(config, &of, &|n, body| engine.parallel(n, body))
            });
            Ok(vec![(output_name(described), call.label, resized?)])
        }
        Component::Pool(config) => {
            let of = one_tensor(run, image, stage, call)?;
            let pooled = run.engine.meter.time(Work::Stage(stage), || map::pool(config, &of));
            Ok(vec![(output_name(described), call.label, pooled?)])
        }
        Component::Plugin { kind, .. } => {
            let instance = run.instance(stage, call.label)?;
            if *kind == Kind::Encoder || described.taps.is_some() {
                run.note_encoding(image, 0.0);
            }
            match &described.taps {
                Some(taps) => stepped(run, image, stage, call, wanted, &instance, taps),
                None => {
                    let inputs = run.inputs(image, call)?;
                    plain(run, stage, call.label, wanted, &instance, &inputs, 1)
                }
            }
        }
    }
}

fn output_name(stage: &Stage) -> String {
    stage.outputs.first().map_or(String::new(), |output| output.name.clone())
}

fn prepared(
    run: &mut ClassRun<'_>,
    image: &Image,
    stage: usize,
    config: &Prepare,
    label: Label,
) -> Result<Made, RunError> {
    let output = output_name(&run.engine.pipeline.stages[stage]);
    if config.geometry == PAINTED_MASK {
        let size = label.size.unwrap_or(0) as usize;
        let ([height, width], mask) = image.painted_mask()?;
        let par = |n: usize, body: &(dyn Fn(usize) + Sync)| run.engine.parallel(n, body);
        let mask = antialias_bilinear(&mask, [1, height, width], [size, size], &par)
            .map_err(|error| error.to_string())?;
        return Ok(vec![(output, label, Tensor::new(vec![1, 1, size, size], mask)?)]);
    }
    let rgb = run.engine.meter.time(Work::Decode, || run.decode(image))?;
    let engine = run.engine;
    let par = |n: usize, body: &(dyn Fn(usize) + Sync)| engine.parallel(n, body);
    let made = engine.meter.time(Work::Stage(stage), || prepare(image, config, label, &rgb, &par));
    Ok(vec![(output, label, made?)])
}

/// A decoded image as an encoder wants it. Shapes: -> `[1, 3, size, size]`.
pub(super) fn prepare(
    image: &Image,
    config: &Prepare,
    label: Label,
    rgb: &Rgb,
    par: ParallelFor,
) -> Result<Tensor, RunError> {
    let size = label.size.unwrap_or(0) as usize;
    let Normal { mean, std } = &config.normalize;
    let normalize = Normalize::Custom { mean: *mean, std: *std };
    let wanted =
        PrepareConfig::from_names(&config.geometry, &config.filter, normalize, [size, size])?;
    let mut pixels = image::prepare(rgb, &wanted, par)?;
    if let Some(index) = image.warp() {
        pixels = image::warped(&pixels, [3, size, size], index);
    }
    Ok(Tensor::new(vec![1, 3, size, size], pixels)?)
}

fn one_tensor(
    run: &mut ClassRun<'_>,
    image: &Image,
    stage: usize,
    call: &Call,
) -> Result<Tensor, RunError> {
    let feed = call.feeds.first().ok_or_else(|| run.broken(stage, "has no input".to_owned()))?;
    match feed.form {
        Form::Tensor(label) => run.tensor(image, feed.stage, &feed.output, label),
        _ => Err(run.broken(stage, "wants one tensor".to_owned())),
    }
}

/// Runs an encoder on images `[b, 3, h, w]`: outputs have a row for each.
pub(super) fn stacked(
    run: &ClassRun<'_>,
    stage: usize,
    label: Label,
    wanted: &[String],
    instance: &Instance,
    (port, images): (u32, Tensor),
) -> Result<Made, RunError> {
    let n_images = images.shape().first().copied().unwrap_or(1);
    plain(run, stage, label, wanted, instance, &[(port, Value::Tensor(images))], n_images)
}

fn plain(
    run: &ClassRun<'_>,
    stage: usize,
    label: Label,
    wanted: &[String],
    instance: &Instance,
    inputs: &[(u32, Value)],
    n_images: usize,
) -> Result<Made, RunError> {
    let info = run.engine.info(stage)?;
    let ports = output_ports(info, Verb::Run, wanted);
    let outputs = measured(run, stage, instance, inputs, &ports, n_images)?;
    let mut made = Made::new();
    for (port, value) in &outputs.values {
        let name = port_name(info, *port);
        for (own, tensor) in value.tensors() {
            // The engine mapped the call, so its label stands; a component that labels its own tensors adds to it.
            let label = Label { size: label.size.or(own.size), tap: label.tap.or(own.tap) };
            made.push((name.clone(), label, tensor.clone()));
        }
    }
    Ok(made)
}

/// One call of a component, measured as so many.
fn measured(
    run: &ClassRun<'_>,
    stage: usize,
    instance: &Instance,
    inputs: &[(u32, Value)],
    ports: &[u32],
    n_images: usize,
) -> Result<Outputs, PluginError> {
    let n_bytes = |values: &[(u32, Value)]| values.iter().map(|value| value.1.n_bytes()).sum();
    run.engine.meter.time_each(Work::Stage(stage), n_images, || {
        let outputs = instance.run(inputs, ports);
        let bytes_out = outputs.as_ref().map_or(0, |outputs| n_bytes(&outputs.values));
        let flop = flop(&run.engine.pipeline.stages[stage].facts.all, inputs);
        (outputs, Cost { bytes_in: n_bytes(inputs), bytes_out, flop })
    })
}

/// What an encoder says of its images: `flop` has `token` and `pair`, FLOP for each token and for each pair of them.
fn flop(facts: &Json, inputs: &[(u32, Value)]) -> f64 {
    let fact = |place: &str| facts.pointer(place).and_then(Json::as_f64).unwrap_or_default();
    let (token, pair) = (fact("/flop/token"), fact("/flop/pair"));
    let (patch, prefix) = (fact("/patch_size").max(1.0), fact("/n_prefix"));
    let images = inputs.iter().flat_map(|(_, value)| value.tensors());
    let of = |(_, tensor): (_, &Tensor)| match tensor.shape() {
        &[batch, 3, height, width] => {
            let n = (height as f64 / patch).floor() * (width as f64 / patch).floor() + prefix;
            batch as f64 * n * (token + n * pair)
        }
        _ => 0.0,
    };
    images.map(of).sum()
}

fn output_ports(info: &ComponentInfo, verb: Verb, wanted: &[String]) -> Vec<u32> {
    info.ports
        .iter()
        .filter(|port| port.output && port.verb == verb && wanted.contains(&port.name))
        .map(|port| port.index)
        .collect()
}

fn port_name(info: &ComponentInfo, index: u32) -> String {
    let port = info.ports.iter().find(|port| port.index == index);
    port.map_or(String::new(), |port| port.name.clone())
}

/// Steps the encoder from tap to tap; at each the fusion reads the stream, may rewrite it and emits outputs of its own,
/// labelled with the tap.
fn stepped(
    run: &mut ClassRun<'_>,
    image: &Image,
    stage: usize,
    call: &Call,
    wanted: &[String],
    fusion: &Instance,
    taps: &Taps,
) -> Result<Made, RunError> {
    let encoder_call = run.call(taps.encoder, call.label)?;
    let images = run.inputs(image, encoder_call)?;
    let rest = run.inputs(image, call)?;
    let encoder = run.instance(taps.encoder, call.label)?;
    let info = run.engine.info(stage)?;
    let (Some(stream_in), stream_out) = (stream_port(info, false), stream_port(info, true)) else {
        return Err(run.broken(stage, "the fusion has no port `stream` to read".to_owned()));
    };
    // What it emits at a tap may be declared with either verb.
    let mut ports = output_ports(info, Verb::Run, wanted);
    ports.extend(output_ports(info, Verb::Tap, wanted));
    let steps = Steps { taps: &taps.at, train: false, wanted: &[] };
    let (meter, encodes) = (&run.engine.meter, Work::Stage(taps.encoder));
    let (mut session, mut stream) = meter.time_of(encodes, || {
        let facts = &run.engine.pipeline.stages[taps.encoder].facts;
        // Behind the last tap nothing is computed.
        let share = taps
            .at
            .last()
            .zip(facts.taps.last())
            .map_or(1.0, |(last, of)| f64::from(*last) / f64::from(*of));
        let flop = flop(&facts.all, &images) * share;
        (encoder.taps_open(steps, &images), Cost { flop, ..Cost::default() })
    })?;
    let (mut made, n_taps) = (Made::new(), taps.at.len());
    for (tap_idx, tap) in taps.at.iter().enumerate() {
        if tap_idx > 0 {
            stream = meter.time(encodes, || session.resume(stream))?;
        }
        let label = Label { size: call.label.size, tap: Some(*tap) };
        let mut inputs = rest.clone();
        inputs.push((stream_in, stream_value(info, stream_in, label, &stream)));
        // A rewritten stream is never optional, but behind the last tap it flows nowhere.
        let flows_on = stream_out.filter(|port| tap_idx + 1 < n_taps && !ports.contains(port));
        let ports: Vec<u32> = ports.iter().copied().chain(flows_on).collect();
        for (port, value) in &measured(run, stage, fusion, &inputs, &ports, 1)?.values {
            let name = port_name(info, *port);
            for (_, tensor) in value.tensors() {
                if Some(*port) == stream_out {
                    stream = tensor.clone();
                }
                if wanted.contains(&name) {
                    made.push((name.clone(), label, tensor.clone()));
                }
            }
        }
    }
    Ok(made)
}

pub(super) fn stream_port(info: &ComponentInfo, output: bool) -> Option<u32> {
    let found = info.ports.iter().find(|port| port.name == "stream" && port.output == output);
    found.map(|port| port.index)
}

/// The stream with its tap, so that a fusion knows where it stands; a port of one tensor gets the tensor alone.
pub(super) fn stream_value(
    info: &ComponentInfo,
    port: u32,
    label: Label,
    stream: &Tensor,
) -> Value {
    let lists = info
        .ports
        .iter()
        .any(|described| described.index == port && described.kinds.contains(&ValueKind::Tensors));
    match lists {
        true => Value::Tensors(vec![(label, stream.clone())]),
        false => Value::Tensor(stream.clone()),
    }
}

/// The one number of a score `[1]`.
pub(super) fn scalar(score: &Tensor) -> Result<f64, RunError> {
    match score.data() {
        [score] => Ok(f64::from(*score)),
        data => Err(RunError::Wiring {
            stage: "output.anomaly_score".to_owned(),
            message: format!(
                "wants one number an image, got {} (shape {:?})",
                data.len(),
                score.shape()
            ),
        }),
    }
}
