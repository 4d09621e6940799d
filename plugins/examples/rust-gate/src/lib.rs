//! A fusion between an encoder's taps that `loupe train` trains: at each tap a gate on every channel,
//! `y = x * sigmoid(g)`, flows on, and `P y` are the tokens. It knows nothing of the encoder.

use loupe_plugin::prelude::*;

/// A learned gate on each channel of the stream, and the gated channels projected.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Taps that it stands on.
    at: Vec<u32>,
    /// Channels of the tokens: those of the text.
    width: usize,
    /// Tokens before the patches.
    #[serde(default)]
    n_prefix: usize,
    /// What was trained.
    #[schema(file)]
    state: Option<String>,
}

struct Gate {
    config: Config,
    trained: Option<State>,
}

/// Shape of the stream, its numbers, the tap's gate and projection, and what flows on.
struct Tape {
    names: [String; 2],
    shape: [usize; 3],
    x: Vec<f32>,
    gate: Vec<f32>,
    project: Vec<f32>,
    y: Vec<f32>,
}

impl Tape {
    /// Numbers of `rows [n, columns]`, row after row, with their places.
    fn pairs(columns: usize, n: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..n).flat_map(move |row| (0..columns).map(move |column| (row, column)))
    }
}

impl Fusion for Gate {
    type Config = Config;
    const REVISION: u32 = 1;

    fn new(config: Config, host: &Host) -> Result<Self> {
        let bytes = config.state.as_deref().map(|file| host.open(file)).transpose()?;
        let trained = bytes.map(|bytes| State::new("gate", 1, bytes.to_vec()));
        Ok(Gate { config, trained })
    }

    fn check(config: &Config, _host: &Host) -> Result<Facts> {
        Ok(Facts::new().dim("d", config.width))
    }

    fn ports() -> Vec<Port> {
        vec![
            Port::input("stream").tensors("b t c").verb(Verb::Tap),
            Port::output("seg_tokens").tensor("b gh gw d").optional(),
            Port::output("stream").tensor("b t c").verb(Verb::Tap),
        ]
    }

    fn fuse_ports(&self, inputs: &Inputs, wanted: &Wanted) -> Result<Outputs> {
        let fresh = || self.parameters(inputs);
        let parameters = self.trained.clone().map_or_else(fresh, Ok)?;
        Ok(self.forward(&parameters, inputs, wanted)?.0)
    }
}

impl Train for Gate {
    type Tape = Tape;

    fn parameters(&self, inputs: &Inputs) -> Result<State> {
        let [_, _, c] = inputs.tensors("stream")?[0].dims_n("stream")?;
        let small: Vec<f32> = (0..self.config.width * c).map(|i| (i as f32).sin() / 4.0).collect();
        let mut made = StateWriter::new("gate", 1);
        for tap in &self.config.at {
            made = made.f32s(&format!("seg_gate.{tap}"), [c], &vec![0.0; c])?;
            made = made.f32s(&format!("seg_project.{tap}"), [self.config.width, c], &small)?;
        }
        made.finish()
    }

    fn forward(&self, parameters: &State, inputs: &Inputs, _: &Wanted) -> Result<(Outputs, Tape)> {
        let stream = &inputs.tensors("stream")?[0];
        let shape @ [b, t, c] = stream.dims_n("stream")?;
        let tap = stream.label().tap.unwrap_or_default();
        let names = [format!("seg_gate.{tap}"), format!("seg_project.{tap}")];
        let state = StateReader::new(parameters, "gate", 1)?;
        let [gate, project] = [state.tensor(&names[0])?, state.tensor(&names[1])?];
        let gate: Vec<f32> = gate.f32s()?.iter().map(|g| 1.0 / (1.0 + (-g).exp())).collect();
        let (x, project, d) = (stream.f32s()?.to_vec(), project.into_f32s()?, self.config.width);
        if gate.len() != c || project.len() != d * c {
            return Err(Error::shape("parameters", format!("{c} channels"), gate.len()));
        }
        let y: Vec<f32> = x.iter().enumerate().map(|(i, x)| x * gate[i % c]).collect();
        let mut tokens = Vec::new();
        for (row, token) in y.chunks_exact(c).enumerate() {
            if row % t >= self.config.n_prefix {
                let dot = |p: &[f32]| p.iter().zip(token).map(|(p, y)| p * y).sum::<f32>();
                tokens.extend(project.chunks_exact(c).map(dot));
            }
        }
        let side = (t - self.config.n_prefix).isqrt();
        let outputs = Outputs::one("seg_tokens", Tensor::new([b, side, side, d], tokens)?)
            .put("stream", Tensor::new(shape, y.clone())?);
        Ok((outputs, Tape { names, shape, x, gate, project, y }))
    }

    fn backward(&self, tape: Tape, cotangents: &Inputs) -> Result<(Outputs, State)> {
        let Tape { names, shape: [b, t, c], x, gate, project, y } = tape;
        let (d, n_prefix) = (self.config.width, self.config.n_prefix);
        let mut of_y = vec![0.0; x.len()];
        if cotangents.has("stream") {
            of_y.copy_from_slice(cotangents.tensor("stream")?.f32s()?);
        }
        let (mut of_gate, mut of_project) = (vec![0.0; c], vec![0.0; d * c]);
        if let Some(tokens) = cotangents.tensor_opt("seg_tokens")? {
            let patches = (0..b * t).filter(|row| row % t >= n_prefix);
            for (row, of_token) in patches.zip(tokens.f32s()?.chunks_exact(d)) {
                for (i, channel) in Tape::pairs(c, d) {
                    of_y[row * c + channel] += of_token[i] * project[i * c + channel];
                    of_project[i * c + channel] += of_token[i] * y[row * c + channel];
                }
            }
        }
        for (row, channel) in Tape::pairs(c, b * t) {
            let (at, g) = (row * c + channel, gate[channel]);
            of_gate[channel] += of_y[at] * x[at] * g * (1.0 - g);
            of_y[at] *= g;
        }
        let gradients = StateWriter::new("gate", 1)
            .f32s(&names[0], [c], &of_gate)?
            .f32s(&names[1], [d, c], &of_project)?;
        Ok((Outputs::one("stream", Tensor::new([b, t, c], of_y)?), gradients.finish()?))
    }
}

export!(fusion "gate" = Gate);
