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
    width: usize,
    stand: Stand,
}

/// The stream, the gates after their sigmoid, what flows on, and the projection.
struct Tape {
    x: Vec<f32>,
    gate: Vec<f32>,
    y: Vec<f32>,
    project: Vec<f32>,
}

impl Adapter for Gate {
    type Config = Config;
    type Tape = Tape;
    const REVISION: u32 = 1;

    fn new(config: Config, host: &Host) -> Result<Self> {
        let stand = Stand::new(&config.at, config.n_prefix, config.state.as_deref(), host)?;
        Ok(Gate { width: config.width, stand })
    }

    fn check(config: &Config, _host: &Host) -> Result<Facts> {
        Ok(Facts::new().dim("d", config.width))
    }

    fn stand(&self) -> &Stand {
        &self.stand
    }

    fn initial(&self, _tap: u32, c: usize) -> Result<Parameters> {
        let small = (0..self.width * c).map(|i| (i as f32).sin() / 4.0);
        Parameters::new().with("gate", [c], vec![0.0; c])?.with("project", [self.width, c], small)
    }

    fn step(&self, parameters: &Parameters, stream: &Stream) -> Result<(Flow, Tape)> {
        let (c, x) = (stream.channels, stream.rows.to_vec());
        let sigmoid = |g: &f32| 1.0 / (1.0 + (-g).exp());
        let gate: Vec<f32> = parameters.get("gate", [c])?.iter().map(sigmoid).collect();
        let project = parameters.get("project", [self.width, c])?.to_vec();
        let y = dense::scale_rows(&x, &gate)?;
        let flow = Flow { tokens: dense::matmul_t(&y, &project, c)?, stream: y.clone() };
        Ok((flow, Tape { x, gate, y, project }))
    }

    fn step_back(&self, tape: Tape, of: Flow) -> Result<(Vec<f32>, Parameters)> {
        let Tape { x, gate, y, project } = tape;
        let (c, d, mut of_y) = (gate.len(), self.width, of.stream);
        dense::add(&mut of_y, &dense::matmul(&of.tokens, &project, d)?)?;
        let of_project = dense::t_matmul(&of.tokens, &y, y.len() / c)?;
        let of_x = dense::scale_rows(&of_y, &gate)?;
        // The slope of a sigmoid g is g (1 - g), and `of_x` has the first factor already.
        let sums = dense::sum_rows(&dense::scale_rows(&of_x, &x)?, c)?;
        let of_gate = sums.iter().zip(&gate).map(|(sum, g)| sum * (1.0 - g));
        let gradients = Parameters::new().with("gate", [c], of_gate)?;
        Ok((of_x, gradients.with("project", [d, c], of_project)?))
    }
}

export!(fusion "gate" = Gate);

#[cfg(test)]
mod tests {
    use super::*;
    use loupe_plugin::testing;

    const CONFIG: &str = "at = [2, 4]\nwidth = 5\nn_prefix = 1";

    #[test]
    fn conforms() {
        let stream = Tensor::new([2, 10, 7], (0..140).map(|i| (i as f32).cos())).unwrap();
        let stream = stream.with_label(Label::tap(2));
        testing::fusion::<Gate>(CONFIG).inputs("stream", vec![stream]).check();
    }

    #[test]
    fn gradients_are_slopes() {
        testing::training::<Gate>(CONFIG, 7);
    }
}
