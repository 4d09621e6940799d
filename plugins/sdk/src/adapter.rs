//! Adapters: fusions between an encoder's taps that learn, told by what they do to the tokens of one tap.
//! Ports, grids, the tokens before the patches, names of parameters and the trained file are seen to here.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::grid::patch_grid;
use crate::host::Host;
use crate::inputs::Inputs;
use crate::outputs::{Outputs, Wanted};
use crate::port::{Port, Verb};
use crate::schema::Schema;
use crate::shape::Shape;
use crate::state::{StateReader, StateWriter};
use crate::tensor::Tensor;
use crate::traits::{Fusion, Train};
use crate::values::{Facts, Label, State};

const SCHEMA: &str = "loupe-plugin.adapter";
const REVISION: u32 = 1;

/// At each tap, makes tokens of the stream's, to be compared with text, and what flows on. Who
/// implements this has a `Fusion` that `Train`s: it reads `stream`, and `image` for the grid unless that
/// is square, and puts `seg_tokens` (`HEAD` and `_tokens`) and `stream`. For several heads, or inputs of
/// its own, a component implements those two itself.
pub trait Adapter: Sized + Send + Sync + 'static {
    type Config: DeserializeOwned + Schema;
    /// What `step_back` needs of a step.
    type Tape: Send + 'static;
    /// Raise it whenever outputs for the same inputs change; 0 while under development.
    const REVISION: u32 = 0;
    /// One sentence for listings; if empty, the description of the config.
    const ABOUT: &'static str = "";
    /// The head that the tokens are of: losses and parameters are named after it.
    const HEAD: &'static str = "seg";

    fn new(config: Self::Config, host: &Host) -> Result<Self>;

    /// Judges what a schema cannot, and tells the tokens' width: `Facts::new().dim("d", width)`.
    fn check(_config: &Self::Config, _host: &Host) -> Result<Facts> {
        Ok(Facts::new())
    }

    fn stand(&self) -> &Stand;

    /// The parameters that a tap begins with where nothing was trained, for a stream of so many channels.
    fn initial(&self, tap: u32, channels: usize) -> Result<Parameters>;

    /// A tap's parameters and stream -> tokens, what flows on, and the tape. Rows of one image may be
    /// mixed, those of different images may not.
    fn step(&self, parameters: &Parameters, stream: &Stream) -> Result<(Flow, Self::Tape)>;

    /// Cotangents of what a step made, zeros where nobody read it -> the stream's cotangent
    /// `[n, channels]`, and the gradients of the parameters under the parameters' names.
    fn step_back(&self, tape: Self::Tape, cotangents: Flow) -> Result<(Vec<f32>, Parameters)>;
}

/// Where an adapter stands, and what it has learned.
#[derive(Debug)]
pub struct Stand {
    taps: Vec<u32>,
    n_prefix: usize,
    trained: Option<State>,
}

impl Stand {
    /// `n_prefix` tokens stand before the patches; `state` is the file that training wrote, if there is
    /// one. Errors: a file that cannot be read, or is none of an adapter's.
    pub fn new(taps: &[u32], n_prefix: usize, state: Option<&str>, host: &Host) -> Result<Self> {
        let read = |file: &str| -> Result<State> {
            let state = State::new(SCHEMA, REVISION, host.open(file)?.to_vec());
            StateReader::new(&state, SCHEMA, REVISION)?;
            Ok(state)
        };
        Ok(Stand { taps: taps.to_vec(), n_prefix, trained: state.map(read).transpose()? })
    }
}

/// The stream at one tap.
#[derive(Clone, Copy, Debug)]
pub struct Stream<'a> {
    /// `[n, channels]`, n being all tokens of all images: of each the prefix, then the patches.
    pub rows: &'a [f32],
    pub channels: usize,
    pub tap: u32,
    pub n_images: usize,
    pub n_prefix: usize,
    /// Rows and columns of patches.
    pub grid: [usize; 2],
}

/// What a step makes, or its cotangents: a row for each of the stream's.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// What flows on, `[n, channels]`.
    pub stream: Vec<f32>,
    /// `[n, d]`; those of the prefix are not put.
    pub tokens: Vec<f32>,
}

/// Arrays of one tap by name: parameters, or their gradients.
#[derive(Debug, Default)]
pub struct Parameters {
    arrays: BTreeMap<String, Tensor>,
}

impl Parameters {
    pub fn new() -> Self {
        Parameters::default()
    }

    /// Errors: `Shape` if the number of values is not that of the shape.
    pub fn with(
        mut self,
        name: &str,
        shape: impl Into<Shape>,
        values: impl IntoIterator<Item = f32>,
    ) -> Result<Self> {
        self.arrays.insert(name.to_owned(), Tensor::new(shape, values)?);
        Ok(self)
    }

    /// Errors: a name that is not there, or an array of another shape.
    pub fn get(&self, name: &str, shape: impl Into<Shape>) -> Result<&[f32]> {
        let array = self.arrays.get(name);
        let array = array.ok_or_else(|| Error::input(format!("there is no parameter `{name}`")))?;
        let shape = shape.into();
        if *array.shape() != shape {
            let got = format!("{}; train it again for this encoder", array.shape());
            return Err(Error::shape(name, shape, got));
        }
        array.f32s()
    }

    /// Those of one tap among a state's arrays, which are called `seg_gate.6`.
    fn read(state: &State, head: &str, tap: u32) -> Result<Self> {
        let (reader, end) = (StateReader::new(state, SCHEMA, REVISION)?, format!(".{tap}"));
        let mut found = Parameters::new();
        for full in reader.names() {
            let name = full.strip_prefix(head).and_then(|rest| rest.strip_prefix('_'));
            if let Some(name) = name.and_then(|rest| rest.strip_suffix(&end)) {
                found.arrays.insert(name.to_owned(), reader.tensor(full)?);
            }
        }
        Ok(found)
    }

    fn write(&self, mut state: StateWriter, head: &str, tap: u32) -> Result<StateWriter> {
        for (name, array) in &self.arrays {
            state = state.f32s(&format!("{head}_{name}.{tap}"), array.shape(), array.f32s()?)?;
        }
        Ok(state)
    }
}

impl<A: Adapter> Fusion for A {
    type Config = A::Config;
    const REVISION: u32 = A::REVISION;
    const ABOUT: &'static str = A::ABOUT;

    fn new(config: Self::Config, host: &Host) -> Result<Self> {
        <A as Adapter>::new(config, host)
    }

    fn check(config: &Self::Config, host: &Host) -> Result<Facts> {
        <A as Adapter>::check(config, host)
    }

    fn ports() -> Vec<Port> {
        let [_, next] = Port::stream();
        vec![
            // A list, since its tensor alone says at which tap it was taken.
            Port::input("stream").tensors("b t c").verb(Verb::Tap),
            Port::image().optional().about("what the encoder sees, for a grid that is not square"),
            Port::output(&tokens_port::<A>()).tensor("b gh gw d").optional(),
            next,
        ]
    }

    fn fuse_ports(&self, inputs: &Inputs, wanted: &Wanted) -> Result<Outputs> {
        Ok(match &self.stand().trained {
            Some(trained) => self.forward(trained, inputs, wanted)?.0,
            None => self.forward(&self.parameters(inputs)?, inputs, wanted)?.0,
        })
    }
}

impl<A: Adapter> Train for A {
    type Tape = StepTape<A::Tape>;

    fn parameters(&self, inputs: &Inputs) -> Result<State> {
        if let Some(trained) = &self.stand().trained {
            return Ok(trained.clone());
        }
        let place = Place::of(self.stand(), inputs)?;
        let mut state = StateWriter::new(SCHEMA, REVISION);
        for tap in &self.stand().taps {
            state = self.initial(*tap, place.channels)?.write(state, A::HEAD, *tap)?;
        }
        state.finish()
    }

    fn forward(
        &self,
        parameters: &State,
        inputs: &Inputs,
        _wanted: &Wanted,
    ) -> Result<(Outputs, Self::Tape)> {
        let place = Place::of(self.stand(), inputs)?;
        let parameters = Parameters::read(parameters, A::HEAD, place.tap)?;
        let rows = inputs.tensor("stream")?.f32s()?;
        let (flow, tape) = self.step(&parameters, &place.stream(rows))?;
        let width = flow.tokens.len() / place.n_rows();
        if flow.tokens.len() != width * place.n_rows() {
            let want = format!("a row for each of {} of the stream's", place.n_rows());
            return Err(Error::shape(tokens_port::<A>(), want, flow.tokens.len()));
        }
        let outputs = Outputs::one(&tokens_port::<A>(), place.patches(&flow.tokens, width)?)
            .put("stream", Tensor::new(place.shape(), flow.stream)?);
        Ok((outputs, StepTape { tape, place, width }))
    }

    fn backward(&self, tape: Self::Tape, cotangents: &Inputs) -> Result<(Outputs, State)> {
        let StepTape { tape, place, width } = tape;
        let stream = match cotangents.tensor_opt("stream")? {
            Some(given) => exactly("stream", given, place.shape())?.to_vec(),
            None => vec![0.0; place.n_rows() * place.channels],
        };
        let given = cotangents.tensor_opt(&tokens_port::<A>())?;
        let tokens = place.rows_of(&tokens_port::<A>(), given, width)?;
        let (of_stream, gradients) = self.step_back(tape, Flow { stream, tokens })?;
        let state = gradients.write(StateWriter::new(SCHEMA, REVISION), A::HEAD, place.tap)?;
        let of_stream = Tensor::new(place.shape(), of_stream)?.with_label(place.label);
        Ok((Outputs::one("stream", of_stream), state.finish()?))
    }
}

fn tokens_port<A: Adapter>() -> String {
    format!("{}_tokens", A::HEAD)
}

/// A step that can go back.
#[doc(hidden)]
pub struct StepTape<T> {
    tape: T,
    place: Place,
    /// Channels of the tokens.
    width: usize,
}

/// Which tap a call is about, and its sizes.
#[derive(Clone, Copy, Debug)]
struct Place {
    label: Label,
    tap: u32,
    n_images: usize,
    n_prefix: usize,
    grid: [usize; 2],
    channels: usize,
}

impl Place {
    fn of(stand: &Stand, inputs: &Inputs) -> Result<Self> {
        let stream = inputs.tensor("stream")?;
        let [n_images, n_tokens, channels] = stream.dims_n("stream")?;
        let (label, n_prefix) = (stream.label(), stand.n_prefix);
        let tap = label.tap.filter(|tap| stand.taps.contains(tap)).ok_or_else(|| {
            let want = format!("the stream of one of the taps {:?}", stand.taps);
            Error::shape("stream", want, format!("that of `{label}`"))
        })?;
        let n_patches = n_tokens.saturating_sub(n_prefix);
        let grid = match inputs.tensor_opt("image")? {
            Some(image) => {
                let [_, _, height, width] = image.dims_n("image")?;
                patch_grid(n_patches, [height, width])
            }
            None => Some([n_patches.isqrt(); 2]).filter(|[side, _]| side * side == n_patches),
        };
        let is_empty = [n_images, n_patches, channels].contains(&0);
        let grid = grid.filter(|_| !is_empty).ok_or_else(|| {
            let want = format!(
                "{n_prefix} tokens (`n_prefix`), then a grid of patches; connect `image` if it is \
                 not square"
            );
            Error::shape("stream", want, stream.shape())
        })?;
        Ok(Place { label, tap, n_images, n_prefix, grid, channels })
    }

    /// Tokens of one image.
    fn n_tokens(&self) -> usize {
        self.n_prefix + self.grid[0] * self.grid[1]
    }

    fn n_rows(&self) -> usize {
        self.n_images * self.n_tokens()
    }

    fn shape(&self) -> [usize; 3] {
        [self.n_images, self.n_tokens(), self.channels]
    }

    fn stream<'a>(&self, rows: &'a [f32]) -> Stream<'a> {
        let Place { channels, tap, n_images, n_prefix, grid, .. } = *self;
        Stream { rows, channels, tap, n_images, n_prefix, grid }
    }

    /// `rows [n, width]` -> the patches' on their grid. Errors: `Shape` for another number of rows.
    fn patches(&self, rows: &[f32], width: usize) -> Result<Tensor> {
        let images = rows.chunks_exact((self.n_tokens() * width).max(1));
        let patches = images.flat_map(|image| image.iter().skip(self.n_prefix * width).copied());
        Tensor::new([self.n_images, self.grid[0], self.grid[1], width], patches)
    }

    /// The other way: `[n, width]` with zeros for the prefix, and zeros alone if nothing is given.
    fn rows_of(&self, what: &str, given: Option<&Tensor>, width: usize) -> Result<Vec<f32>> {
        let mut rows = vec![0.0; self.n_rows() * width];
        let Some(given) = given else {
            return Ok(rows);
        };
        let values = exactly(what, given, [self.n_images, self.grid[0], self.grid[1], width])?;
        let n_patches = self.grid[0] * self.grid[1];
        let images = rows.chunks_exact_mut((self.n_tokens() * width).max(1));
        for (image, values) in images.zip(values.chunks_exact((n_patches * width).max(1))) {
            let patches = image.iter_mut().skip(self.n_prefix * width);
            patches.zip(values).for_each(|(place, x)| *place = *x);
        }
        Ok(rows)
    }
}

fn exactly<'a>(what: &str, given: &'a Tensor, shape: impl Into<Shape>) -> Result<&'a [f32]> {
    let shape = shape.into();
    match *given.shape() == shape {
        true => given.f32s(),
        false => Err(Error::shape(what, shape, given.shape())),
    }
}
