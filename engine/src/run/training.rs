//! One step of training, up to the losses: a reference walks forward through the encoder's taps and the
//! fusion that learns, and the cotangents of its tokens walk back.

use super::RunError;
use super::class::ClassRun;
use super::compute::{stream_port, stream_value};
use super::source::Image;
use crate::cache::{Key, KeyBuilder};
use crate::pipeline::model::{Label, Taps};
use crate::plugin::info::ComponentInfo;
use crate::plugin::{Session, State, Steps, Tape, Tensor, Value};

/// The tokens of one head at one tap, or their cotangent.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// Name of the output port: `seg_tokens`.
    pub output: String,
    pub tensor: Tensor,
}

/// A forward pass that can go back.
pub struct Pass<'e> {
    info: &'e ComponentInfo,
    session: Session,
    tapes: Vec<Tape>,
    taps: Vec<u32>,
    size: Option<u32>,
    /// By tap.
    pub tokens: Vec<Vec<Tokens>>,
}

/// What all passes of a class share.
pub struct Trainee<'r, 'e> {
    run: &'r mut ClassRun<'e>,
    stage: usize,
    taps: Taps,
    label: Label,
    info: &'e ComponentInfo,
    /// Ports of the tokens that losses read.
    wanted: Vec<u32>,
    kept: Vec<(Key, Tensor)>,
    kept_bytes: usize,
}

impl<'r, 'e> Trainee<'r, 'e> {
    /// `outputs` name the tokens that losses read. Errors: `Wiring`.
    pub fn new(
        run: &'r mut ClassRun<'e>,
        stage: usize,
        outputs: &[String],
    ) -> Result<Self, RunError> {
        let engine = run.engine;
        let described = &engine.pipeline.stages[stage];
        let broken = |message: &str| run.broken(stage, message.to_owned());
        let taps = described.taps.clone().ok_or_else(|| broken("it stands on no taps"))?;
        let label = match engine.wiring[stage].runs.as_slice() {
            [one] => one.label,
            runs => {
                let n = runs.len();
                return Err(broken(&format!("training wants images of one size, got {n} sizes")));
            }
        };
        let info = engine.info(stage)?;
        let ports = info.ports.iter().filter(|port| port.output && outputs.contains(&port.name));
        let wanted = ports.map(|port| port.index).collect();
        Ok(Trainee { run, stage, taps, label, info, wanted, kept: Vec::new(), kept_bytes: 0 })
    }

    /// Side of the images in pixels.
    pub fn size(&self) -> usize {
        self.label.size.unwrap_or_default() as usize
    }

    /// Heads of the fusion: what stands before `_tokens` in its outputs.
    pub fn heads(&self) -> Vec<&'e str> {
        let outputs = self.info.ports.iter().filter(|port| port.output);
        outputs.filter_map(|port| port.name.strip_suffix(crate::pipeline::TOKENS)).collect()
    }

    /// What training begins with. Errors: those of the fusion and of the encoder.
    pub fn parameters(&mut self, image: &Image) -> Result<State, RunError> {
        let fusion = self.run.engine.instance(self.stage)?;
        let (_, stream) = self.open(image)?;
        let inputs =
            self.inputs(image, self.taps.at.first().copied().unwrap_or_default(), &stream)?;
        Ok(fusion.parameters(&inputs)?)
    }

    /// Walks an image to the last tap. Errors: those of the fusion and of the encoder.
    pub fn forward(&mut self, image: &Image, parameters: &State) -> Result<Pass<'e>, RunError> {
        let fusion = self.run.engine.instance(self.stage)?;
        let (mut session, mut stream) = self.open(image)?;
        let stream_out = stream_port(self.info, true);
        let (mut tapes, mut tokens) = (Vec::new(), Vec::new());
        let n_taps = self.taps.at.len();
        for (idx, tap) in self.taps.at.clone().into_iter().enumerate() {
            if idx > 0 {
                stream = session.resume(stream)?;
            }
            let inputs = self.inputs(image, tap, &stream)?;
            // Behind the last tap the stream flows nowhere.
            let flows_on = stream_out.filter(|_| idx + 1 < n_taps);
            let wanted: Vec<u32> = self.wanted.iter().copied().chain(flows_on).collect();
            let (outputs, tape) = fusion.forward(parameters, &inputs, &wanted)?;
            let mut of_tap = Vec::new();
            for (port, value) in &outputs.values {
                for (_, tensor) in value.tensors() {
                    match Some(*port) == stream_out {
                        true => stream = tensor.clone(),
                        false => of_tap.push(Tokens {
                            output: self.info.ports[*port as usize].name.clone(),
                            tensor: tensor.clone(),
                        }),
                    }
                }
            }
            tapes.push(tape);
            tokens.push(of_tap);
        }
        let (info, taps, size) = (self.info, self.taps.at.clone(), self.label.size);
        Ok(Pass { info, session, tapes, taps, size, tokens })
    }

    /// The stream at the first tap: what lies before it does not learn and is computed once.
    fn open(&mut self, image: &Image) -> Result<(Session, Tensor), RunError> {
        let encoder_call = self.run.call(self.taps.encoder, self.label)?;
        let images = self.run.apart(|run| run.inputs(image, encoder_call))?;
        let encoder = self.run.engine.instance(self.taps.encoder)?;
        let steps = Steps { taps: &self.taps.at, train: true, wanted: &[] };
        let first = self.taps.at.first().copied().unwrap_or_default();
        let key = KeyBuilder::new("stream")
            .key("encoder", &self.run.call_key(image, self.taps.encoder, self.label)?)
            .u64("tap", u64::from(first))
            .finish();
        if let Some(stream) = self.known(&key)? {
            return Ok((encoder.taps_open_at(steps, &images, stream.clone())?, stream));
        }
        let (session, stream) = encoder.taps_open(steps, &images)?;
        let stream = self.keep(image, key, stream)?;
        Ok((session, stream))
    }

    fn known(&self, key: &Key) -> Result<Option<Tensor>, RunError> {
        if let Some((_, stream)) = self.kept.iter().find(|kept| kept.0 == *key) {
            return Ok(Some(stream.clone()));
        }
        self.run.stored(self.taps.encoder, key)
    }

    /// Keeps a stream in memory, within half of the run's budget, and in the cache.
    fn keep(&mut self, image: &Image, key: Key, stream: Tensor) -> Result<Tensor, RunError> {
        let label = Label { tap: self.taps.at.first().copied(), ..self.label };
        let stream = self.run.store(image, self.taps.encoder, "stream", label, key, stream)?;
        let bytes = size_of_val(stream.data());
        if self.kept_bytes + bytes <= (self.run.engine.pipeline.run.memory / 2) as usize {
            self.kept_bytes += bytes;
            self.kept.push((key, stream.clone()));
        }
        Ok(stream)
    }

    fn inputs(
        &mut self,
        image: &Image,
        tap: u32,
        stream: &Tensor,
    ) -> Result<Vec<(u32, Value)>, RunError> {
        let call = self.run.call(self.stage, self.label)?;
        let mut inputs = self.run.apart(|run| run.inputs(image, call))?;
        let Some(port) = stream_port(self.info, false) else {
            return Err(self.run.broken(self.stage, "it has no port `stream` to read".to_owned()));
        };
        let label = Label { tap: Some(tap), ..self.label };
        inputs.push((port, stream_value(self.info, port, label, stream)));
        Ok(inputs)
    }
}

impl Pass<'_> {
    /// Cotangents of the tokens, by tap -> the gradients of the parameters, a state a tap.
    /// Errors: those of the fusion and of the encoder.
    pub fn backward(mut self, cotangents: Vec<Vec<Tokens>>) -> Result<Vec<State>, RunError> {
        let (stream_in, stream_out) = (stream_port(self.info, false), stream_port(self.info, true));
        let mut gradients = Vec::new();
        let mut of_stream: Option<Tensor> = None;
        let steps = self.tapes.into_iter().zip(cotangents).enumerate();
        for (idx, (tape, tokens)) in Vec::from_iter(steps).into_iter().rev() {
            let label = Label { size: self.size, tap: self.taps.get(idx).copied() };
            let mut inputs = Vec::new();
            for Tokens { output, tensor } in tokens {
                let port = self.info.ports.iter().find(|port| port.output && port.name == output);
                inputs.extend(
                    port.map(|port| {
                        (port.index, stream_value(self.info, port.index, label, &tensor))
                    }),
                );
            }
            if let (Some(cotangent), Some(port)) = (of_stream.take(), stream_out) {
                inputs.push((port, stream_value(self.info, port, label, &cotangent)));
            }
            let wanted: Vec<u32> = stream_in.into_iter().filter(|_| idx > 0).collect();
            let (outputs, state) = tape.backward(&inputs, &wanted)?;
            gradients.push(state);
            for (_, found) in &outputs.values {
                if let Some((_, cotangent)) = found.tensors().first() {
                    of_stream = Some(self.session.backward(idx - 1, (*cotangent).clone())?);
                }
            }
        }
        Ok(gradients)
    }
}
