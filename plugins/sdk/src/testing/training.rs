//! The check of training: what a component's way back says, against finite differences.

use std::collections::BTreeMap;
use std::ffi::c_void;

use serde_json::Value;

use crate::abi::{self, LoupeTrain};
use crate::export::Exported;
use crate::port::{Port, Verb};
use crate::state::StateReader;
use crate::tensor::Tensor;
use crate::testing::checks::told;
use crate::testing::drive::{self, Given, Live, Made, absent, with_call};
use crate::testing::host::TestHost;
use crate::testing::samples::noise;
use crate::testing::{Subject, fusion, place};
use crate::traits::{Fusion, Train};
use crate::values::{Label, State};

/// Images of a call, the grid of their patches, and the side of a patch in pixels.
const IMAGES: usize = 2;
const GRID: [usize; 2] = [3, 3];
const PATCH: usize = 4;
/// Elements of an array that are moved at most.
const N_MOVED: usize = 24;
/// How far an element is moved, up and down. A kink within the one may lie outside of another.
const STEPS: [f32; 3] = [1e-2, 3e-3, 1e-3];
/// Difference of gradient and slope, over the larger of the slope and the root mean square of the
/// array's. A wrong factor or a term that was forgotten is far beyond.
const TOLERANCE: f64 = 1e-2;
/// What the rounding of the outputs in f32 leaves of a slope, times the step over the outputs' size.
const ROUNDING: f64 = 3e-7;

/// Runs a component forth and back at each tap of its key `at`, on images of 12 x 12 pixels with 3 x 3
/// patches behind the `n_prefix` tokens of its config, and compares the gradients of parameters and of
/// the stream with finite differences of the outputs. Panics with each array that is wrong, its worst
/// element and by how much. Also: with its first parameters a step makes what the plain verb makes, and
/// a gradient has the name and the shape of a parameter.
pub fn training<T: Fusion + Train + Exported>(config: &str, channels: usize) {
    let mut subject = fusion::<T>(config);
    subject.read_facts();
    let Some(table) = T::TRAIN else {
        panic!("the component does not train; implement `Train` or `Adapter` for it");
    };
    let taps = subject.config.get("at").and_then(Value::as_array).into_iter().flatten();
    let taps: Vec<u32> = taps.filter_map(Value::as_u64).filter_map(|t| t.try_into().ok()).collect();
    assert!(!taps.is_empty(), "the config under test names no taps; write `at = [2, 4]`");
    let mut failures = Vec::new();
    for tap in taps {
        match Bench::new(&subject, table, tap, channels).and_then(|bench| bench.compare()) {
            Ok(wrong) => failures.extend(wrong),
            Err(why) => failures.push(format!("tap {tap}: {why}")),
        }
    }
    assert!(failures.is_empty(), "the way back is wrong\n  {}", failures.join("\n  "));
}

/// A sum and the root of the sum of its terms' squares, of which each has its own rounding.
#[derive(Default)]
struct Loss {
    sum: f64,
    size: f64,
}

/// A component at a tap, with the parameters and inputs that are moved.
struct Bench<'a> {
    subject: &'a Subject,
    table: &'static LoupeTrain,
    tap: u32,
    // Ended before the host it points to.
    live: Live,
    _host: TestHost,
    parameters: State,
    inputs: Vec<(u32, Given)>,
    stream: u32,
    /// Cotangents of the outputs, by port.
    cotangents: Vec<(u32, Tensor)>,
    /// Where nothing is moved.
    loss: Loss,
}

impl<'a> Bench<'a> {
    fn new(
        subject: &'a Subject,
        table: &'static LoupeTrain,
        tap: u32,
        channels: usize,
    ) -> Result<Self, String> {
        let host = TestHost::new();
        let live = subject.make(&host).map_err(told)?;
        let stream = subject.index(Verb::Tap, false, "stream").ok_or("no input `stream`")?;
        let inputs = inputs(subject, stream, tap, channels);
        let make = table.parameters.ok_or_else(|| told(absent("parameters")))?;
        // SAFETY: the instance lives, and so do all arguments through the call.
        let made = with_call(&inputs, 0, |call, error| unsafe { make(live.raw, call, error) });
        let parameters = made.map_err(told)?.states.pop().ok_or("no parameters were put")?;
        let (cotangents, loss) = (Vec::new(), Loss::default());
        let mut bench = Bench {
            subject,
            table,
            tap,
            live,
            _host: host,
            parameters,
            inputs,
            stream,
            cotangents,
            loss,
        };
        let (made, tape) = bench.forward(&bench.parameters, &bench.inputs)?;
        drop(tape);
        let plain = bench.live.verb(false, &bench.inputs, u64::MAX).map_err(told)?;
        if !made.same(&plain) {
            return Err("with its first parameters, a step differs from the plain verb".to_owned());
        }
        let cotangent = |(nth, (port, tensor)): (usize, &(u32, Tensor))| {
            (*port, noise(tensor.shape().clone(), 3 + nth).with_label(tensor.label()))
        };
        bench.cotangents = made.tensors.iter().enumerate().map(cotangent).collect();
        bench.loss = bench.weighed(&bench.parameters, &bench.inputs)?;
        Ok(bench)
    }

    /// What is wrong, array by array. A parameter without a gradient must change nothing.
    fn compare(&self) -> Result<Vec<String>, String> {
        let (_, tape) = self.forward(&self.parameters, &self.inputs)?;
        let (of_stream, gradients) = self.backward(&tape)?;
        let (parameters, mut gradients) = (arrays(&self.parameters)?, arrays(&gradients)?);
        let mut wrong = Vec::new();
        for (name, parameter) in &parameters {
            let gradient = match gradients.remove(name) {
                Some(gradient) if gradient.shape() == parameter.shape() => gradient.into_f32s(),
                Some(other) => {
                    let (want, got) = (parameter.shape(), other.shape());
                    return Err(format!("`{name}` is {want}, but its gradient {got}"));
                }
                None => Ok(vec![0.0; parameter.shape().len()]),
            };
            let moved = |element: usize, by: f32| {
                let moved = move_array(&self.parameters, name, element, by);
                let (state, by) = moved.ok_or("the state of parameters is damaged")?;
                Ok((self.weighed(&state, &self.inputs)?, by))
            };
            let what = format!("parameter `{name}`");
            wrong.extend(self.judge(&what, &gradient.map_err(words)?, moved)?);
        }
        if let Some(name) = gradients.keys().next() {
            return Err(format!("`{name}` has a gradient, but is no parameter"));
        }
        let mut inputs = self.inputs.clone();
        let stream = stream_of(&mut inputs, self.stream).ok_or("no stream was given")?;
        if of_stream.shape() != stream.shape() {
            let (want, got) = (stream.shape(), of_stream.shape());
            return Err(format!("`stream` is {want}, but its cotangent {got}"));
        }
        let moved = |element: usize, by: f32| {
            let mut inputs = self.inputs.clone();
            let by = move_stream(&mut inputs, self.stream, element, by);
            let by = by.ok_or("the stream cannot be moved")?;
            Ok((self.weighed(&self.parameters, &inputs)?, by))
        };
        wrong.extend(self.judge("input `stream`", of_stream.f32s().map_err(words)?, moved)?);
        Ok(wrong)
    }

    /// The worst of an array's elements, if it is too far from its slope. `moved` moves one element and
    /// gives the loss and how far the element went.
    fn judge(
        &self,
        what: &str,
        gradient: &[f32],
        moved: impl Fn(usize, f32) -> Result<(Loss, f64), String>,
    ) -> Result<Option<String>, String> {
        let stride = gradient.len().div_ceil(N_MOVED).max(1);
        let mut found = Vec::new();
        for (element, said) in gradient.iter().enumerate().step_by(stride) {
            let said = f64::from(*said);
            let mut nearest = (f64::INFINITY, f64::INFINITY);
            for step in STEPS {
                let ((above, up), (below, down)) = (moved(element, step)?, moved(element, -step)?);
                // Where a kink is near on one side, the other side has the slope.
                let slopes = [
                    (above.sum - below.sum) / (up - down),
                    (above.sum - self.loss.sum) / up,
                    (self.loss.sum - below.sum) / -down,
                ];
                if !slopes.iter().all(|slope| slope.is_finite()) {
                    return Err(format!("{what}, element {element}: the outputs are not finite"));
                }
                let noise = ROUNDING * self.loss.size / f64::from(step);
                for slope in slopes {
                    let far = ((slope - said).abs() - noise).max(0.0);
                    if far < nearest.0 {
                        nearest = (far, slope);
                    }
                }
            }
            found.push((element, said, nearest));
        }
        let squares: f64 = found.iter().map(|(_, _, (_, slope))| slope * slope).sum();
        let scale = (squares / found.len().max(1) as f64).sqrt();
        let share = |(far, slope): (f64, f64)| far / slope.abs().max(scale).max(f64::MIN_POSITIVE);
        let worst = found.iter().max_by(|a, b| share(a.2).total_cmp(&share(b.2)));
        let is_far = |share: f64| share.is_nan() || share > TOLERANCE;
        let worst = worst.filter(|(_, _, nearest)| is_far(share(*nearest)));
        Ok(worst.map(|(element, said, (_, slope))| {
            let tap = self.tap;
            format!("{what}, tap {tap}, element {element}: gradient {said:.6}, slope {slope:.6}")
        }))
    }

    /// All outputs, each element times its cotangent.
    fn weighed(&self, parameters: &State, inputs: &[(u32, Given)]) -> Result<Loss, String> {
        let (made, _) = self.forward(parameters, inputs)?;
        let (mut sum, mut squares) = (0.0, 0.0);
        for ((_, tensor), (_, cotangent)) in made.tensors.iter().zip(&self.cotangents) {
            let (values, of) = (tensor.f32s().map_err(words)?, cotangent.f32s().map_err(words)?);
            for (y, c) in values.iter().zip(of) {
                let term = f64::from(*y) * f64::from(*c);
                sum += term;
                squares += term * term;
            }
        }
        Ok(Loss { sum, size: squares.sqrt() })
    }

    fn forward(
        &self,
        parameters: &State,
        inputs: &[(u32, Given)],
    ) -> Result<(Made, OpenTape), String> {
        let forward = self.table.forward.ok_or_else(|| told(absent("forward")))?;
        let lent = drive::lend(parameters);
        let mut tape = OpenTape { table: self.table, raw: place() };
        // SAFETY: the instance lives, and so do all arguments through the call.
        let made = with_call(inputs, u64::MAX, |call, error| unsafe {
            forward(self.live.raw, &lent, call, &mut tape.raw, error)
        });
        Ok((made.map_err(told)?, tape))
    }

    /// The cotangent of the stream, and the gradients of the parameters.
    fn backward(&self, tape: &OpenTape) -> Result<(Tensor, State), String> {
        let backward = self.table.backward.ok_or_else(|| told(absent("backward")))?;
        let given = |(port, tensor): &(u32, Tensor)| {
            let at = self.subject.ports.get(*port as usize);
            (*port, as_port(at, tensor.clone()))
        };
        let cotangents: Vec<(u32, Given)> = self.cotangents.iter().map(given).collect();
        // SAFETY: the tape is open, and goes back once.
        let made = with_call(&cotangents, 1 << self.stream, |call, error| unsafe {
            backward(tape.raw, call, error)
        });
        let mut made = made.map_err(told)?;
        let stream = made.tensors.iter().find(|(port, _)| *port == self.stream);
        let stream = stream.ok_or("backward put no cotangent of `stream`")?.1.clone();
        Ok((stream, made.states.pop().ok_or("backward put no gradients")?))
    }
}

/// A tape, dropped as the host drops one.
struct OpenTape {
    table: &'static LoupeTrain,
    raw: *mut c_void,
}

impl Drop for OpenTape {
    fn drop(&mut self) {
        if let Some(end) = self.table.tape_drop.filter(|_| !self.raw.is_null()) {
            // SAFETY: made by `forward`, and dropped once.
            unsafe { end(self.raw) };
        }
    }
}

/// The stream of a tap, the image, if there is a port for one, and samples for the rest.
fn inputs(subject: &Subject, stream: u32, tap: u32, channels: usize) -> Vec<(u32, Given)> {
    let default = &subject.schema["properties"]["n_prefix"]["default"];
    let n_prefix = subject.config.get("n_prefix").unwrap_or(default).as_u64().unwrap_or(0) as usize;
    let shape = [IMAGES, n_prefix + GRID[0] * GRID[1], channels];
    let tokens = noise(shape, 0).with_label(Label::tap(tap));
    let rest = subject.of(Verb::Run).into_iter().filter(|(port, _)| *port != stream);
    let mut inputs: Vec<(u32, Given)> = rest.collect();
    inputs.push((stream, as_port(subject.ports.get(stream as usize), tokens)));
    if let Some(image) = subject.index(Verb::Run, false, "image") {
        inputs.retain(|(port, _)| *port != image);
        let pixels = noise([IMAGES, 3, GRID[0] * PATCH, GRID[1] * PATCH], 1);
        inputs.push((image, Given::Tensor(pixels)));
    }
    inputs
}

/// A tensor as a port takes it: alone, without its label, or as a list of one.
fn as_port(port: Option<&Port>, tensor: Tensor) -> Given {
    match port.is_some_and(|port| port.kind & abi::LOUPE_TENSORS != 0) {
        true => Given::Tensors(vec![tensor]),
        false => Given::Tensor(tensor.with_label(Label::NONE)),
    }
}

fn stream_of(inputs: &mut [(u32, Given)], port: u32) -> Option<&mut Tensor> {
    match inputs.iter_mut().find(|(at, _)| *at == port) {
        Some((_, Given::Tensor(tensor))) => Some(tensor),
        Some((_, Given::Tensors(tensors))) => tensors.first_mut(),
        _ => None,
    }
}

/// Moves an element of the stream; how far it went.
fn move_stream(inputs: &mut [(u32, Given)], port: u32, element: usize, by: f32) -> Option<f64> {
    let tensor = stream_of(inputs, port)?;
    let (shape, label) = (tensor.shape().clone(), tensor.label());
    let mut values = tensor.f32s().ok()?.to_vec();
    let value = values.get_mut(element)?;
    let before = *value;
    *value += by;
    let went = f64::from(*value) - f64::from(before);
    *tensor = Tensor::new(shape, values).ok()?.with_label(label);
    Some(went)
}

/// Moves an element of an array; how far it went.
fn move_array(state: &State, name: &str, element: usize, by: f32) -> Option<(State, f64)> {
    let reader = StateReader::new(state, &state.schema, state.revision).ok()?;
    let mut bytes = state.bytes().to_vec();
    let at = reader.offset(state, name)? + 4 * element;
    let place = bytes.get_mut(at..)?.first_chunk_mut::<4>()?;
    let before = f32::from_le_bytes(*place);
    *place = (before + by).to_le_bytes();
    let went = f64::from(before + by) - f64::from(before);
    Some((State::new(state.schema.clone(), state.revision, bytes), went))
}

/// Arrays by name.
fn arrays(state: &State) -> Result<BTreeMap<String, Tensor>, String> {
    let reader = StateReader::new(state, &state.schema, state.revision).map_err(words)?;
    let array = |name: &str| Ok((name.to_owned(), reader.tensor(name).map_err(words)?));
    reader.names().map(array).collect()
}

fn words(error: crate::error::Error) -> String {
    error.to_string()
}
