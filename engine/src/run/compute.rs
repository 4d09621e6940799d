//! One call of one stage: the engine's own kinds, a plugin's verb, or a fusion stepped along an encoder's taps.

use loupe_kernels::antialias_bilinear;

use super::RunError;
use super::class::ClassRun;
use super::source::Image;
use super::wiring::{Call, Form};
use crate::image::{self, Normalize, PrepareConfig};
use crate::map;
use crate::pipeline::model::{
    Component, Label, Normalize as Normal, PAINTED_MASK, Prepare, Stage, Taps,
};
use crate::plugin::info::{ComponentInfo, Kind, ValueKind, Verb};
use crate::plugin::{Instance, Steps, Tensor, Value};

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
        Component::Prepare(config) => {
            prepared(run, image, config, output_name(described), call.label)
        }
        Component::Map(config) => {
            let of = one_tensor(run, image, stage, call)?;
            let resized = map::resize(config, &of, &|n, body| run.engine.parallel(n, body))?;
            Ok(vec![(output_name(described), call.label, resized)])
        }
        Component::Pool(config) => {
            let of = one_tensor(run, image, stage, call)?;
            Ok(vec![(output_name(described), call.label, map::pool(config, &of)?)])
        }
        Component::Plugin { kind, .. } => {
            let instance = run.instance(stage, call.label)?;
            if *kind == Kind::Encoder || described.taps.is_some() {
                run.note_encoding(image);
            }
            match &described.taps {
                Some(taps) => stepped(run, image, stage, call, wanted, &instance, taps),
                None => {
                    let inputs = run.inputs(image, call)?;
                    plain(run, stage, call.label, wanted, &instance, &inputs)
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
    prepare: &Prepare,
    output: String,
    label: Label,
) -> Result<Made, RunError> {
    let size = label.size.unwrap_or(0) as usize;
    if prepare.geometry == PAINTED_MASK {
        let ([height, width], mask) = image.painted_mask()?;
        let par = |n: usize, body: &(dyn Fn(usize) + Sync)| run.engine.parallel(n, body);
        let mask = antialias_bilinear(&mask, [1, height, width], [size, size], &par)
            .map_err(|error| error.to_string())?;
        return Ok(vec![(output, label, Tensor::new(vec![1, 1, size, size], mask)?)]);
    }
    let rgb = run.decode(image)?;
    let Normal { mean, std } = &prepare.normalize;
    let normalize = Normalize::Custom { mean: *mean, std: *std };
    let config =
        PrepareConfig::from_names(&prepare.geometry, &prepare.filter, normalize, [size, size])?;
    let mut pixels = image::prepare(&rgb, &config, &|n, body| run.engine.parallel(n, body))?;
    if let Some(index) = image.warp() {
        pixels = image::warped(&pixels, [3, size, size], index);
    }
    let tensor = Tensor::new(vec![1, 3, size, size], pixels)?;
    Ok(vec![(output, label, tensor)])
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

fn plain(
    run: &ClassRun<'_>,
    stage: usize,
    label: Label,
    wanted: &[String],
    instance: &Instance,
    inputs: &[(u32, Value)],
) -> Result<Made, RunError> {
    let info = run.engine.info(stage)?;
    let ports = output_ports(info, Verb::Run, wanted);
    let outputs = instance.run(inputs, &ports)?;
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
    let (mut session, mut stream) = encoder.taps_open(steps, &images)?;
    let (mut made, n_taps) = (Made::new(), taps.at.len());
    for (tap_idx, tap) in taps.at.iter().enumerate() {
        if tap_idx > 0 {
            stream = session.resume(stream)?;
        }
        let label = Label { size: call.label.size, tap: Some(*tap) };
        let mut inputs = rest.clone();
        inputs.push((stream_in, stream_value(info, stream_in, label, &stream)));
        // A rewritten stream is never optional, but behind the last tap it flows nowhere.
        let flows_on = stream_out.filter(|port| tap_idx + 1 < n_taps && !ports.contains(port));
        let ports: Vec<u32> = ports.iter().copied().chain(flows_on).collect();
        for (port, value) in &fusion.run(&inputs, &ports)?.values {
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
