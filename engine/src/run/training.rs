//! One step of training, up to the losses: an image walks forward through the encoder's taps and the
//! fusion that learns, and the cotangents of its tokens walk back.

use std::collections::HashMap;
use std::sync::Arc;

use super::RunError;
use super::class::ClassRun;
use super::compute::{stream_port, stream_value};
use super::source::Image;
use crate::cache::{Key, KeyBuilder};
use crate::pipeline::TOKENS;
use crate::pipeline::model::Label;
use crate::plugin::info::ComponentInfo;
use crate::plugin::{Instance, Session, State, Steps, Tape, Tensor, Value};

/// The tokens of one head at one tap, or their cotangent.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// Name of the output port: `seg_tokens`.
    pub output: String,
    pub tensor: Tensor,
}

/// An encoder and the fusion that learns between its taps.
pub struct Walk {
    encoder: Arc<Instance>,
    fusion: Arc<Instance>,
    taps: Vec<u32>,
    size: Option<u32>,
    /// Ports of the tokens that losses read.
    wanted: Vec<u32>,
    /// Where the fusion reads the stream, and where it puts the next.
    stream: (u32, Option<u32>),
}

/// Where a walk begins: the encoder's session, the stream at the first tap, and what the fusion reads
/// beside the stream.
pub struct Start {
    pub session: Session,
    pub stream: Tensor,
    pub rest: Vec<(u32, Value)>,
}

/// A forward pass that can go back.
pub struct Pass<'w> {
    walk: &'w Walk,
    session: Session,
    tapes: Vec<Tape>,
    /// By tap.
    pub tokens: Vec<Vec<Tokens>>,
}

impl Walk {
    /// `heads` name the tokens that losses read: `seg` is `seg_tokens`. `size` is the side of the images.
    /// Errors: `Wiring` for a fusion without a stream.
    pub fn new(
        encoder: Arc<Instance>,
        fusion: Arc<Instance>,
        taps: &[u32],
        size: Option<u32>,
        heads: &[&str],
    ) -> Result<Walk, RunError> {
        let info = fusion.info();
        let is_read = |name: &str| heads.contains(&name.strip_suffix(TOKENS).unwrap_or_default());
        let ports = info.ports.iter().filter(|port| port.output && is_read(&port.name));
        let wanted = ports.map(|port| port.index).collect();
        let stream_in = stream_port(info, false).ok_or_else(|| RunError::Wiring {
            stage: info.name.clone(),
            message: "it has no port `stream` to read".to_owned(),
        })?;
        let stream = (stream_in, stream_port(info, true));
        let taps = taps.to_vec();
        Ok(Walk { encoder, fusion, taps, size, wanted, stream })
    }

    /// Heads of the fusion: what stands before `_tokens` in its outputs.
    pub fn heads(&self) -> Vec<&str> {
        let outputs = self.fusion.info().ports.iter().filter(|port| port.output);
        outputs.filter_map(|port| port.name.strip_suffix(TOKENS)).collect()
    }

    /// The session and the stream at the first tap. What lies before it does not learn: `known` is its
    /// stream from an earlier pass. Errors: the encoder's.
    pub fn open(
        &self,
        images: &[(u32, Value)],
        known: Option<Tensor>,
    ) -> Result<(Session, Tensor), RunError> {
        let steps = Steps { taps: &self.taps, train: true, wanted: &[] };
        Ok(match known {
            Some(stream) => (self.encoder.taps_open_at(steps, images, stream.clone())?, stream),
            None => self.encoder.taps_open(steps, images)?,
        })
    }

    /// What training begins with. Errors: the fusion's.
    pub fn parameters(&self, start: &Start) -> Result<State, RunError> {
        Ok(self.fusion.parameters(&self.inputs(0, start.rest.clone(), &start.stream))?)
    }

    /// Walks to the last tap. Errors: those of the fusion and of the encoder.
    pub fn forward(&self, start: Start, parameters: &State) -> Result<Pass<'_>, RunError> {
        let Start { mut session, mut stream, rest } = start;
        let (mut tapes, mut tokens) = (Vec::new(), Vec::new());
        for idx in 0..self.taps.len() {
            if idx > 0 {
                stream = session.resume(stream)?;
            }
            let inputs = self.inputs(idx, rest.clone(), &stream);
            // Behind the last tap the stream flows nowhere.
            let flows_on = self.stream.1.filter(|_| idx + 1 < self.taps.len());
            let wanted: Vec<u32> = self.wanted.iter().copied().chain(flows_on).collect();
            let (outputs, tape) = self.fusion.forward(parameters, &inputs, &wanted)?;
            let mut of_tap = Vec::new();
            for (port, value) in &outputs.values {
                for (_, tensor) in value.tensors() {
                    match flows_on == Some(*port) {
                        true => stream = tensor.clone(),
                        false => of_tap.push(Tokens {
                            output: self.info().ports[*port as usize].name.clone(),
                            tensor: tensor.clone(),
                        }),
                    }
                }
            }
            tapes.push(tape);
            tokens.push(of_tap);
        }
        Ok(Pass { walk: self, session, tapes, tokens })
    }

    fn info(&self) -> &ComponentInfo {
        self.fusion.info()
    }

    fn inputs(
        &self,
        tap_idx: usize,
        mut rest: Vec<(u32, Value)>,
        stream: &Tensor,
    ) -> Vec<(u32, Value)> {
        rest.push((self.stream.0, self.at_tap(self.stream.0, tap_idx, stream)));
        rest
    }

    fn at_tap(&self, port: u32, tap_idx: usize, tensor: &Tensor) -> Value {
        let label = Label { size: self.size, tap: self.taps.get(tap_idx).copied() };
        stream_value(self.info(), port, label, tensor)
    }
}

impl Pass<'_> {
    /// Cotangents of the tokens, by tap -> the gradients of the parameters, a state a tap.
    /// Errors: those of the fusion and of the encoder.
    pub fn backward(self, cotangents: Vec<Vec<Tokens>>) -> Result<Vec<State>, RunError> {
        let Pass { walk, mut session, tapes, .. } = self;
        let mut gradients = Vec::new();
        let mut of_stream: Option<Tensor> = None;
        let steps: Vec<_> = tapes.into_iter().zip(cotangents).enumerate().collect();
        for (idx, (tape, tokens)) in steps.into_iter().rev() {
            let mut inputs = Vec::new();
            for Tokens { output, tensor } in tokens {
                let mut ports = walk.info().ports.iter();
                let port = ports.find(|port| port.output && port.name == output);
                inputs.extend(port.map(|port| (port.index, walk.at_tap(port.index, idx, &tensor))));
            }
            if let (Some(cotangent), Some(port)) = (of_stream.take(), walk.stream.1) {
                inputs.push((port, walk.at_tap(port, idx, &cotangent)));
            }
            // Before the first tap nothing learns.
            let wanted: Vec<u32> = Vec::from_iter((idx > 0).then_some(walk.stream.0));
            let (outputs, state) = tape.backward(&inputs, &wanted)?;
            gradients.push(state);
            let cotangent = outputs.values.first().map(|value| value.1.tensors());
            if let Some((_, cotangent)) = cotangent.as_ref().and_then(|found| found.first()) {
                of_stream = Some(session.backward(idx - 1, (*cotangent).clone())?);
            }
        }
        Ok(gradients)
    }
}

/// What a walk over one image begins with, but for its session.
#[derive(Clone)]
struct Opening {
    images: Vec<(u32, Value)>,
    stream: Tensor,
    rest: Vec<(u32, Value)>,
}

impl Opening {
    fn n_bytes(&self) -> usize {
        let values = self.images.iter().chain(&self.rest).flat_map(|(_, value)| value.tensors());
        let tensors = values.map(|(_, tensor)| tensor).chain([&self.stream]);
        tensors.map(|tensor| size_of_val(tensor.data())).sum()
    }
}

/// Openings kept in memory, up to a bound.
struct Openings {
    kept: HashMap<Key, Opening>,
    n_bytes: usize,
    most_bytes: usize,
}

impl Openings {
    fn new(most_bytes: usize) -> Openings {
        Openings { kept: HashMap::new(), n_bytes: 0, most_bytes }
    }

    /// Keeps one that is not kept, if there is room for it.
    fn keep(&mut self, key: Key, opening: &Opening) {
        let n_bytes = opening.n_bytes();
        if self.n_bytes + n_bytes <= self.most_bytes {
            self.n_bytes += n_bytes;
            self.kept.insert(key, opening.clone());
        }
    }
}

/// A walk over the images of a class. Where each begins is computed once and kept, in memory as far as half of
/// the run's budget goes, and in the cache.
pub struct Trainee<'r, 'e> {
    run: &'r mut ClassRun<'e>,
    pub walk: Walk,
    stage: usize,
    encoder: usize,
    label: Label,
    first_tap: u32,
    openings: Openings,
}

impl<'r, 'e> Trainee<'r, 'e> {
    /// Errors: `Wiring`, and those of the components.
    pub fn new(run: &'r mut ClassRun<'e>, stage: usize, heads: &[&str]) -> Result<Self, RunError> {
        let engine = run.engine;
        let broken = |message: String| run.broken(stage, message);
        let Some(taps) = &engine.pipeline.stages[stage].taps else {
            return Err(broken("it stands on no taps".to_owned()));
        };
        let label = match engine.wiring[stage].runs.as_slice() {
            [one] => one.label,
            runs => {
                let n = runs.len();
                return Err(broken(format!("training wants images of one size, got {n} sizes")));
            }
        };
        let (encoder, fusion) = (engine.instance(taps.encoder)?, engine.instance(stage)?);
        let walk = Walk::new(encoder, fusion, &taps.at, label.size, heads)?;
        let first_tap = taps.at.first().copied().unwrap_or_default();
        let openings = Openings::new((engine.pipeline.run.memory / 2) as usize);
        Ok(Trainee { run, walk, stage, encoder: taps.encoder, label, first_tap, openings })
    }

    /// Side of the images in pixels.
    pub fn size(&self) -> usize {
        self.label.size.unwrap_or_default() as usize
    }

    /// Prepares an image and walks it to the first tap. Errors: as the stages before the fusion.
    pub fn start(&mut self, image: &Image) -> Result<Start, RunError> {
        let key = KeyBuilder::new("stream")
            .key("encoder", &self.run.call_key(image, self.encoder, self.label)?)
            .u64("tap", u64::from(self.first_tap))
            .finish();
        if let Some(Opening { images, stream, rest }) = self.openings.kept.get(&key).cloned() {
            let (session, stream) = self.walk.open(&images, Some(stream))?;
            return Ok(Start { session, stream, rest });
        }
        let (encoder_call, call) =
            (self.run.call(self.encoder, self.label)?, self.run.call(self.stage, self.label)?);
        let (images, rest) = self
            .run
            .apart(|run| Ok((run.inputs(image, encoder_call)?, run.inputs(image, call)?)))?;
        let known = self.run.engine.stored(self.encoder, &key)?;
        let is_new = known.is_none();
        let (session, mut stream) = self.walk.open(&images, known)?;
        if is_new {
            let label = Label { tap: Some(self.first_tap), ..self.label };
            stream = self.run.store(image, self.encoder, "stream", label, key, stream)?;
        }
        let opening = Opening { images, stream, rest };
        self.openings.keep(key, &opening);
        let Opening { stream, rest, .. } = opening;
        Ok(Start { session, stream, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings_stay_within_their_bytes() {
        let tensor = |n: usize| Tensor::new(vec![n], vec![0.5; n]).unwrap();
        let opening = |n: usize| Opening {
            images: vec![(0, Value::Tensor(tensor(n)))],
            stream: tensor(n),
            rest: vec![(1, Value::Tensors(vec![(Label::default(), tensor(2 * n))]))],
        };
        assert_eq!(opening(10).n_bytes(), 4 * 40);
        let mut openings = Openings::new(500);
        let keys: Vec<Key> = (0..5).map(|i| KeyBuilder::new("test").u64("i", i).finish()).collect();
        for (key, n) in keys.iter().zip([10, 20, 30, 1, 0]) {
            openings.keep(*key, &opening(n));
        }
        // The third does not fit, the fourth does, and nothing is dropped.
        let kept: Vec<bool> = keys.iter().map(|key| openings.kept.contains_key(key)).collect();
        assert_eq!(kept, [true, true, false, true, true]);
        assert_eq!(openings.n_bytes, 160 + 320 + 16);
        let mut none = Openings::new(0);
        none.keep(keys[0], &opening(1));
        assert!(none.kept.is_empty());
    }
}
