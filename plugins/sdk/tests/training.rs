//! Adapters as a host sees them, and the check of training on one that is right and on ones that are not.

use loupe_plugin::prelude::*;
use loupe_plugin::testing::{self, Subject};

/// Adds a number to each channel; its tokens are what flows on, halved.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Taps that it stands on.
    at: Vec<u32>,
    /// Tokens before the patches.
    #[serde(default)]
    n_prefix: usize,
    /// What was trained.
    #[schema(file)]
    state: Option<String>,
    /// What is wrong with its way back.
    #[serde(default)]
    mistake: String,
}

struct Shifted {
    stand: Stand,
    mistake: String,
}

impl Adapter for Shifted {
    type Config = Config;
    type Tape = usize;
    const REVISION: u32 = 1;
    const HEAD: &'static str = "det";

    fn new(config: Config, host: &Host) -> Result<Self> {
        let stand = Stand::new(&config.at, config.n_prefix, config.state.as_deref(), host)?;
        Ok(Shifted { stand, mistake: config.mistake })
    }

    fn stand(&self) -> &Stand {
        &self.stand
    }

    fn initial(&self, tap: u32, channels: usize) -> Result<Parameters> {
        Parameters::new().with("shift", [channels], vec![tap as f32; channels])
    }

    fn step(&self, parameters: &Parameters, stream: &Stream) -> Result<(Flow, usize)> {
        let shift = parameters.get("shift", [stream.channels])?;
        let flow: Vec<f32> = stream
            .rows
            .chunks_exact(stream.channels)
            .flat_map(|row| row.iter().zip(shift).map(|(x, shift)| x + shift))
            .collect();
        let n_tokens = if self.mistake == "rows" { flow.len() - 1 } else { flow.len() };
        let tokens = flow.iter().take(n_tokens).map(|x| x / 2.0).collect();
        Ok((Flow { stream: flow, tokens }, stream.channels))
    }

    fn step_back(&self, channels: usize, of: Flow) -> Result<(Vec<f32>, Parameters)> {
        let mut of_stream = of.stream;
        dense::add(&mut of_stream, &dense::scale_rows(&of.tokens, &[0.5])?)?;
        let mut of_shift = dense::sum_rows(&of_stream, channels)?;
        let none = Parameters::new();
        match self.mistake.as_str() {
            "forgets" => return Ok((of_stream, none)),
            "name" => return Ok((of_stream, none.with("sift", [channels], of_shift)?)),
            "shape" => return Ok((of_stream, none.with("shift", [1, channels], of_shift)?)),
            "factor" => of_shift[2] *= 1.1,
            "stream" => of_stream[4] += 1.0,
            _ => {}
        }
        Ok((of_stream, none.with("shift", [channels], of_shift)?))
    }
}

export!(fusion "shifted" = Shifted);

fn config(mistake: &str) -> String {
    format!("at = [6, 12]\nn_prefix = 1\nmistake = {mistake:?}")
}

/// What the check of training says of a mistake.
fn said(mistake: &str) -> String {
    let config = config(mistake);
    let ended = std::panic::catch_unwind(|| testing::training::<Shifted>(&config, 4));
    *ended.unwrap_err().downcast::<String>().unwrap()
}

#[test]
fn a_way_back_that_is_right_passes() {
    testing::training::<Shifted>(&config(""), 4);
}

#[test]
fn a_way_back_that_is_wrong_is_named() {
    let text = said("factor");
    let (first, second) = text.split_once("tap 6, element 2: gradient").unwrap();
    assert_eq!(first, "the way back is wrong\n  parameter `det_shift.6`, ");
    assert!(second.contains("\n  parameter `det_shift.12`, tap 12, element 2: gradient"), "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(said("forgets").contains("parameter `det_shift.6`, tap 6, element"));
    assert!(said("forgets").contains("gradient 0.000000, slope"));
    assert!(said("stream").contains("input `stream`, tap 6, element 4: gradient"));
    assert!(said("name").contains("tap 6: `det_sift.6` has a gradient, but is no parameter"));
    assert!(said("shape").contains("tap 6: `det_shift.6` is [4], but its gradient [1, 4]"));
    assert!(said("rows").contains("`det_tokens` wants a row for each of 20 of the stream's"));
}

fn stream(sizes: [usize; 3], tap: Option<u32>) -> Tensor {
    let n: usize = sizes.iter().product();
    let label = tap.map_or(Label::NONE, Label::tap);
    Tensor::new(sizes, (0..n).map(|i| i as f32)).unwrap().with_label(label)
}

fn subject(sizes: [usize; 3], tap: Option<u32>) -> Subject {
    testing::fusion::<Shifted>(&config("")).inputs("stream", vec![stream(sizes, tap)])
}

#[test]
fn adapters_conform() {
    subject([2, 5, 3], Some(6)).check();
}

#[test]
fn tokens_stand_on_the_grid_without_the_prefix() {
    let ran = subject([2, 5, 1], Some(6)).run().unwrap();
    assert_eq!(
        ran.tensor("stream").f32s().unwrap(),
        [6., 7., 8., 9., 10., 11., 12., 13., 14., 15.]
    );
    let tokens = ran.tensor("det_tokens");
    assert_eq!(tokens.dims(), [2, 2, 2, 1]);
    assert_eq!(tokens.f32s().unwrap(), [3.5, 4., 4.5, 5., 6., 6.5, 7., 7.5]);
    let image = Tensor::new([1, 3, 4, 6], vec![0.0; 72]).unwrap();
    let ran = subject([1, 7, 1], Some(12)).input("image", image).run().unwrap();
    assert_eq!(ran.tensor("det_tokens").dims(), [1, 2, 3, 1]);
}

#[test]
fn a_stream_that_does_not_fit_is_refused() {
    let said = |sizes, tap| subject(sizes, tap).run().err().unwrap();
    let grid = "`stream` wants 1 tokens (`n_prefix`), then a grid of patches; connect `image` if it \
                is not square, but got";
    assert_eq!(said([1, 7, 2], Some(6)), format!("{grid} [1, 7, 2]"));
    assert_eq!(said([1, 1, 2], Some(6)), format!("{grid} [1, 1, 2]"));
    assert_eq!(said([0, 5, 2], Some(6)), format!("{grid} [0, 5, 2]"));
    let taps = "`stream` wants the stream of one of the taps [6, 12], but got that of";
    assert_eq!(said([1, 5, 2], Some(8)), format!("{taps} `@8`"));
    assert_eq!(said([1, 5, 2], None), format!("{taps} ``"));
}

#[test]
fn what_was_trained_is_read_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let ran = |state: State, width: usize| {
        let file = folder.path().join("carpet.safetensors");
        std::fs::write(&file, state.bytes()).unwrap();
        let config = format!("{}\nstate = {file:?}", config(""));
        let subject = testing::fusion::<Shifted>(&config);
        subject.inputs("stream", vec![stream([1, 5, width], Some(12))]).run()
    };
    let state = |tap: u32| {
        let shift = StateWriter::new("any", 1).f32s(&format!("det_shift.{tap}"), [2], &[8.0, -8.0]);
        shift.unwrap().finish().unwrap()
    };
    let tokens = ran(state(12), 2).unwrap();
    assert_eq!(tokens.tensor("stream").f32s().unwrap()[..4], [8.0, -7.0, 10.0, -5.0]);
    let want = "`shift` wants [3], but got [2]; train it again for this encoder";
    assert_eq!(ran(state(12), 3).err().unwrap(), want);
    assert_eq!(ran(state(6), 2).err().unwrap(), "there is no parameter `shift`");
    let damaged = ran(State::new("any", 1, b"not a state".to_vec()), 2).err().unwrap();
    assert!(damaged.contains("is damaged"), "{damaged}");
}
