//! The components: keys, ports, and a stepped pass cut into tiles for the host's threads.

use std::sync::OnceLock;

use loupe_plugin::prelude::*;

use crate::bank::{Adapter, Ask, Bank, Made, Tile};
use crate::error::MadffError;
use crate::madff::MadffAdapter;
use crate::mvfa::MvfaAdapter;
use crate::projector::ProjectorAdapter;
use crate::weights::{Drawn, Weights};

mod keys;

use keys::{Common, Head, MadffConfig, MvfaConfig, ProjectorConfig};

/// Rows of a tile at most: one unit of parallel work. Tiles are cut by the image alone, so that bytes
/// depend neither on threads nor on what else is in the batch.
const TILE: usize = 96;

/// Channel, spatial and frequency gates around a bottleneck.
pub struct Madff(Stage<MadffAdapter>);

/// The bottleneck alone.
pub struct Mvfa(Stage<MvfaAdapter>);

/// A projection without feedback; beside the taps it projects the image embedding, if it gets one.
pub struct Projector {
    stage: Stage<ProjectorAdapter>,
    of_image: OnceLock<ProjectorAdapter>,
}

impl Fusion for Madff {
    type Config = MadffConfig;
    const REVISION: u32 = 1;
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
    const REVISION: u32 = 1;
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
    const REVISION: u32 = 1;
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

impl Projector {
    /// `embedding [b, e]` -> `[b, bottleneck]`, by the tensors `final_projector.*`.
    fn of_image(&self, embedding: &Tensor) -> Result<Tensor> {
        let [batch, width] = embedding.dims_n("image_embedding")?;
        let bottleneck = self.stage.bottleneck()?;
        let read = || {
            let name = "final_projector";
            let first = format!("{name}.{}", ProjectorAdapter::FIRST);
            let [_, width] = self.stage.weights.sizes(&first, [bottleneck, width])?;
            let sizes = Drawn { width, bottleneck };
            let projector = ProjectorAdapter::read(&self.stage.weights, name, sizes, &())?;
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

/// What the three components share: the adapters on their taps.
struct Stage<A: Adapter> {
    common: Common,
    keys: A::Keys,
    weights: Weights,
    /// A seed's adapters are drawn when the first stream tells its width.
    bank: OnceLock<Bank<A>>,
    host: Host,
}

impl<A: Adapter> Stage<A> {
    /// Errors: `Config`: keys that contradict each other, a file that is not of these adapters.
    fn new(common: Common, keys: A::Keys, host: &Host) -> Result<Self> {
        if common.at.is_empty() {
            return Err(Error::config("`at` names no tap; write the taps, such as `[6, 12]`"));
        }
        let weights = common.weights(host)?;
        let stage = Stage { common, keys, weights, bank: OnceLock::new(), host: *host };
        if let Weights::File { .. } = stage.weights {
            stage.bank(0)?;
        }
        Ok(stage)
    }

    /// The adapters; `width` is what a seed makes them for.
    fn bank(&self, width: usize) -> Result<&Bank<A>> {
        let Common { at, .. } = &self.common;
        let read = || {
            let drawn = Drawn { width, bottleneck: self.common.drawn_bottleneck() };
            Bank::read(&self.weights, &self.common.head_names(), at, drawn, &self.keys)
        };
        let bank = get_or_try(&self.bank, read)?;
        self.common.agrees(bank.bottleneck())?;
        Ok(bank)
    }

    fn bottleneck(&self) -> Result<usize> {
        let of_bank = self.bank.get().map(Bank::bottleneck);
        Ok(of_bank.unwrap_or(self.common.drawn_bottleneck()))
    }

    /// One step: the stream at a tap and the image -> tokens of each head, and the stream that flows on.
    fn fuse(&self, inputs: &Inputs, wanted: &Wanted) -> Result<Outputs> {
        let [stream] = inputs.tensors("stream")? else {
            return Err(Error::shape("stream", "the stream of one tap", "another number"));
        };
        let [batch, n_tokens, width] = stream.dims_n("stream")?;
        let [of_images, _, height, columns] = inputs.tensor("image")?.dims_n("image")?;
        if of_images != batch || width == 0 {
            let want = format!("one image of {of_images} each, with channels");
            return Err(Error::shape("stream", want, stream.shape()));
        }
        let n_prefix = self.common.n_prefix;
        let n_patches = n_tokens.saturating_sub(n_prefix);
        let [rows, cols] = patch_grid(n_patches, [height, columns]).ok_or_else(|| {
            let want = format!(
                "{n_prefix} tokens (`n_prefix`), then a grid of square patches of {height} x \
                 {columns} pixels"
            );
            Error::shape("stream", want, format!("{n_tokens} tokens"))
        })?;
        let tap = self.common.tap_idx(stream.label())?;
        let bank = self.bank(width)?;
        if bank.width() != width {
            let want = format!("{} channels, as the adapters have", bank.width());
            let got = format!("{width}; take a state that was trained on this encoder");
            return Err(Error::shape("stream", want, got));
        }
        let flows = wanted.has("stream");
        let mix = self.common.mix().filter(|_| flows && !self.common.passes());
        let is_read = |head: &Head| head.outputs().iter().any(|name| wanted.has(name));
        let tokens: Vec<bool> = self.common.heads.iter().map(is_read).collect();
        let ask = Ask { tokens: &tokens, mix };
        let made = self.steps(bank, tap, stream.f32s()?, n_tokens, &ask)?;
        let shape = [batch, rows, cols, bank.bottleneck()];
        let mut outputs = self.outputs(&made, shape, n_tokens)?;
        if flows {
            let next = match mix {
                Some(_) => {
                    let rows = made.iter().filter_map(|tile| tile.stream.as_ref()).flatten();
                    Tensor::new(stream.shape(), rows.copied())?
                }
                None => stream.clone(),
            };
            outputs = outputs.put("stream", next);
        }
        Ok(outputs)
    }

    /// One step over all tiles, in order.
    fn steps(
        &self,
        bank: &Bank<A>,
        tap: usize,
        stream: &[f32],
        n_tokens: usize,
        ask: &Ask<'_>,
    ) -> Result<Vec<Made>> {
        if ask.mix.is_none() && !ask.tokens.contains(&true) {
            return Ok(Vec::new());
        }
        let n_tiles = n_tokens.div_ceil(TILE).max(1);
        let (image, tile) = (n_tokens * bank.width(), n_tokens.div_ceil(n_tiles) * bank.width());
        let images = stream.chunks_exact(image.max(1));
        let tiles: Vec<&[f32]> = images.flat_map(|image| image.chunks(tile.max(1))).collect();
        let made = self.host.parallel_map(tiles.len(), |i| bank.step(tap, tiles[i], ask))?;
        Ok(made.into_iter().collect::<Result<_, _>>()?)
    }

    /// Tokens of the heads that are read: patches on their grid, and what stands before them.
    fn outputs(
        &self,
        made: &[Made],
        [batch, rows, cols, bottleneck]: [usize; 4],
        n_tokens: usize,
    ) -> Result<Outputs> {
        let mut outputs = Outputs::new();
        for (head_idx, head) in self.common.heads.iter().enumerate() {
            let of_head = |tile: &Made| tile.tokens.get(head_idx).cloned().flatten();
            let all: Vec<f32> = made.iter().filter_map(of_head).flatten().collect();
            if made.iter().all(|tile| of_head(tile).is_none()) {
                continue;
            }
            let n_prefix = n_tokens - rows * cols;
            let (mut before, mut patches) = (Vec::new(), Vec::new());
            for image in all.chunks_exact((n_tokens * bottleneck).max(1)) {
                let (first, rest) = image.split_at(n_prefix * bottleneck);
                before.extend_from_slice(first);
                patches.extend_from_slice(rest);
            }
            let [of_patches, of_prefix] = head.outputs();
            outputs = outputs
                .put(of_patches, Tensor::new([batch, rows, cols, bottleneck], patches)?)
                .put(of_prefix, Tensor::new([batch, n_prefix, bottleneck], before)?);
        }
        Ok(outputs)
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
    Ok(Facts::new().dim("d", sizes.bottleneck))
}

/// Fills the cell unless it is full. Two threads may both make the value, which is the same.
fn get_or_try<T>(
    cell: &OnceLock<T>,
    make: impl FnOnce() -> Result<T, MadffError>,
) -> Result<&T, MadffError> {
    if let Some(known) = cell.get() {
        return Ok(known);
    }
    let made = make()?;
    Ok(cell.get_or_init(|| made))
}
