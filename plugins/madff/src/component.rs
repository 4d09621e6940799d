//! The components: what they are called, their ports, and what of it their stage does.

use std::sync::OnceLock;

use loupe_plugin::prelude::*;

use crate::bank::{Adapter, Bank, Tile};
use crate::error::MadffError;
use crate::madff::MadffAdapter;
use crate::mvfa::MvfaAdapter;
use crate::projector::ProjectorAdapter;
use crate::weights::Drawn;

mod keys;
mod stage;
mod train;

use keys::{Common, Head, MadffConfig, MvfaConfig, ProjectorConfig};
use stage::{Stage, get_or_try};
use train::StepTape;

/// Channel, spatial and frequency gates around a bottleneck.
pub struct Madff(Stage<MadffAdapter>);

/// The bottleneck alone.
pub struct Mvfa(Stage<MvfaAdapter>);

/// A projection without feedback; beside the taps it projects the image embedding, if it gets one, by a
/// layer that is not trained.
pub struct Projector {
    stage: Stage<ProjectorAdapter>,
    of_image: OnceLock<ProjectorAdapter>,
}

impl Fusion for Madff {
    type Config = MadffConfig;
    const REVISION: u32 = 3;
    const ABOUT: &'static str = "gated bottleneck adapters on an encoder's taps (ClipMPCAD)";

    fn ports() -> Vec<Port> {
        ports(true)
    }

    fn new(config: MadffConfig, host: &Host) -> Result<Self> {
        let (common, keys) = config.split()?;
        Ok(Madff(Stage::new(common, keys, host)?))
    }

    fn check(config: &MadffConfig, host: &Host) -> Result<Facts> {
        facts::<MadffAdapter>(&config.clone().split()?.0, host)
    }

    fn fuse_ports(&self, inputs: &Inputs, wanted: &Wanted) -> Result<Outputs> {
        self.0.fuse(inputs, wanted)
    }
}

impl Fusion for Mvfa {
    type Config = MvfaConfig;
    const REVISION: u32 = 2;
    const ABOUT: &'static str = "bottleneck adapters on an encoder's taps (MVFA-AD)";

    fn ports() -> Vec<Port> {
        ports(true)
    }

    fn new(config: MvfaConfig, host: &Host) -> Result<Self> {
        Ok(Mvfa(Stage::new(config.common()?, (), host)?))
    }

    fn check(config: &MvfaConfig, host: &Host) -> Result<Facts> {
        facts::<MvfaAdapter>(&config.clone().common()?, host)
    }

    fn fuse_ports(&self, inputs: &Inputs, wanted: &Wanted) -> Result<Outputs> {
        self.0.fuse(inputs, wanted)
    }
}

impl Fusion for Projector {
    type Config = ProjectorConfig;
    const REVISION: u32 = 2;
    const ABOUT: &'static str = "projections of an encoder's taps that feed nothing back";

    fn ports() -> Vec<Port> {
        let of_image = [
            Port::input("image_embedding").tensor("b e").optional(),
            Port::output("image_embedding").tensor("b d").optional(),
        ];
        ports(false).into_iter().chain(of_image).collect()
    }

    fn new(config: ProjectorConfig, host: &Host) -> Result<Self> {
        let stage = Stage::new(config.common()?, (), host)?;
        Ok(Projector { stage, of_image: OnceLock::new() })
    }

    fn check(config: &ProjectorConfig, host: &Host) -> Result<Facts> {
        facts::<ProjectorAdapter>(&config.clone().common()?, host)
    }

    fn fuse_ports(&self, inputs: &Inputs, wanted: &Wanted) -> Result<Outputs> {
        let outputs = self.stage.fuse(inputs, wanted)?;
        let embedding = inputs.tensor_opt("image_embedding")?;
        match embedding.filter(|_| wanted.has("image_embedding")) {
            Some(embedding) => Ok(outputs.put("image_embedding", self.of_image(embedding)?)),
            None => Ok(outputs),
        }
    }
}

impl Train for Madff {
    type Tape = StepTape<MadffAdapter>;

    fn parameters(&self, inputs: &Inputs) -> Result<State> {
        self.0.parameters(inputs)
    }

    fn forward(
        &self,
        parameters: &State,
        inputs: &Inputs,
        wanted: &Wanted,
    ) -> Result<(Outputs, Self::Tape)> {
        self.0.forward(parameters, inputs, wanted)
    }

    fn backward(&self, tape: Self::Tape, cotangents: &Inputs) -> Result<(Outputs, State)> {
        self.0.backward(tape, cotangents)
    }
}

impl Train for Mvfa {
    type Tape = StepTape<MvfaAdapter>;

    fn parameters(&self, inputs: &Inputs) -> Result<State> {
        self.0.parameters(inputs)
    }

    fn forward(
        &self,
        parameters: &State,
        inputs: &Inputs,
        wanted: &Wanted,
    ) -> Result<(Outputs, Self::Tape)> {
        self.0.forward(parameters, inputs, wanted)
    }

    fn backward(&self, tape: Self::Tape, cotangents: &Inputs) -> Result<(Outputs, State)> {
        self.0.backward(tape, cotangents)
    }
}

impl Train for Projector {
    type Tape = StepTape<ProjectorAdapter>;

    fn parameters(&self, inputs: &Inputs) -> Result<State> {
        self.stage.parameters(inputs)
    }

    fn forward(
        &self,
        parameters: &State,
        inputs: &Inputs,
        wanted: &Wanted,
    ) -> Result<(Outputs, Self::Tape)> {
        self.stage.forward(parameters, inputs, wanted)
    }

    fn backward(&self, tape: Self::Tape, cotangents: &Inputs) -> Result<(Outputs, State)> {
        self.stage.backward(tape, cotangents)
    }
}

impl Projector {
    /// `embedding [b, e]` -> `[b, bottleneck]`, by the tensors `final_projector.*`.
    fn of_image(&self, embedding: &Tensor) -> Result<Tensor> {
        let [batch, width] = embedding.dims_n("image_embedding")?;
        let bottleneck = self.stage.bottleneck()?;
        let read = || {
            let name = "final_projector";
            let first = format!("{name}.{}", ProjectorAdapter::FIRST);
            let [_, width] = self.stage.weights().sizes(&first, [bottleneck, width])?;
            let sizes = Drawn { width, bottleneck };
            let projector = ProjectorAdapter::read(self.stage.weights(), name, sizes, &())?;
            Ok::<_, MadffError>(projector)
        };
        let projector = get_or_try(&self.of_image, read)?;
        if width != projector.width() {
            let want = format!("{} numbers an image", projector.width());
            return Err(Error::shape("image_embedding", want, width));
        }
        let adapted = projector.forward(&Tile::new(embedding.f32s()?, width, None), false)?;
        Tensor::new([batch, bottleneck], adapted.tokens)
    }
}

fn ports(feeds_back: bool) -> Vec<Port> {
    let mut ports = vec![
        Port::input("stream").tensors("b t c").verb(Verb::Tap),
        Port::input("image").tensor("b 3 h w").about("what the encoder sees, for the grid"),
    ];
    for head in [Head::Seg, Head::Det] {
        let [patches, prefix] = head.outputs();
        let about = "the head's tokens at the tap, not normalised";
        ports.push(Port::output(patches).tensor("b gh gw d").optional().about(about));
        let about = "the same of what stands before the patches: CLS";
        ports.push(Port::output(prefix).tensor("b p d").optional().about(about));
    }
    if feeds_back {
        let about = "the trunk's stream, with the adapters' share in it";
        ports.push(Port::output("stream").tensor("b t c").verb(Verb::Tap).about(about));
    }
    ports
}

/// The tokens' width, from the file's header if there is one. Errors: as `Stage::new`.
fn facts<A: Adapter>(common: &Common, host: &Host) -> Result<Facts> {
    let weights = common.weights(host)?;
    let heads = common.head_names();
    let drawn = Drawn { width: 0, bottleneck: common.drawn_bottleneck() };
    let sizes = Bank::<A>::sizes(&weights, &heads, drawn)?;
    common.agrees(sizes.bottleneck)?;
    for head in heads.iter().filter(|_| !common.at.is_empty()) {
        weights.check_taps(&format!("{head}_{}", A::GROUP), &common.at)?;
    }
    Ok(Facts::new().dim("d", sizes.bottleneck).precision(common.precision()?.name()))
}
