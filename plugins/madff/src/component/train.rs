//! Training: a step with parameters that the host lends, and its way back.

use std::collections::BTreeMap;

use loupe_kernels::Precision;
use loupe_plugin::prelude::*;

use super::keys::Head;
use super::stage::{Stage, cut};
use crate::bank::{Adapter, Ask, Bank, Made, Tile, TileTape};
use crate::gradient::{Share, summed};
use crate::weights::{Drawn, Weights};

/// Layout of parameters and gradients: f32 arrays by the names of a state file.
const SCHEMA: &str = "loupe-madff.adapters";
const REVISION: u32 = 1;

/// What the way back of one step needs.
pub struct StepTape<A: Adapter> {
    /// The adapters of this tap alone.
    bank: Bank<A>,
    /// Which of `at`.
    tap: usize,
    tiles: Vec<TileTape<A::Tape>>,
    reads: Vec<bool>,
    /// Shares of the stream and of each head, if the next stream was made.
    mix: Option<(f32, Vec<f32>)>,
    /// Images, tokens of each, channels.
    sizes: [usize; 3],
    /// Rows and columns of patches.
    grid: [usize; 2],
    label: Label,
}

impl<A: Adapter> Stage<A> {
    /// All adapters, as a state file has them. Errors: as `Stage::step`.
    pub fn parameters(&self, inputs: &Inputs) -> Result<State> {
        let [stream] = inputs.tensors("stream")? else {
            return Err(Error::shape("stream", "the stream of one tap", "another number"));
        };
        let [_, _, width] = stream.dims_n("stream")?;
        let bank = self.bank(width)?;
        let taps = self.common.at.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let mut state = StateWriter::new(SCHEMA, REVISION).meta("taps", taps);
        for (head, adapters) in self.common.heads.iter().zip(bank.adapters()) {
            for (tap, adapter) in adapters.iter().enumerate() {
                for parameter in adapter.parameters() {
                    let name = full_name::<A>(*head, tap, parameter.name);
                    state = state.f32s(&name, parameter.shape, parameter.values)?;
                }
            }
        }
        state.finish()
    }

    /// As `fuse`, with the lent parameters. Errors: as `fuse`, and parameters that are not those of
    /// `parameters`.
    pub fn forward(
        &self,
        parameters: &State,
        inputs: &Inputs,
        wanted: &Wanted,
    ) -> Result<(Outputs, StepTape<A>)> {
        let step = self.step(inputs, wanted)?;
        let weights = Weights::from_bytes("parameters", parameters.bytes())?;
        let drawn = Drawn { width: step.width(), bottleneck: self.common.drawn_bottleneck() };
        let heads = self.common.head_names();
        let mut bank = Bank::<A>::read_tap(&weights, &heads, step.tap, drawn, &self.keys)?;
        step.check_width(bank.width())?;
        self.pack(&mut bank, Precision::F32)?;
        let mix = self.common.mix().filter(|_| step.flows);
        let ask = Ask { tokens: &step.reads, mix };
        let tiles = step.cut(step.stream.f32s()?, bank.width());
        let stepped = self.host.parallel_map(tiles.len(), |i| bank.step_kept(0, tiles[i], &ask))?;
        let stepped = stepped.into_iter().collect::<Result<Vec<_>, _>>()?;
        let (made, tiles): (Vec<Made>, Vec<_>) = stepped.into_iter().unzip();
        let outputs = step.outputs(&self.common.heads, &made, bank.bottleneck())?;
        let mix = mix.map(|(kept, shares)| (kept, shares.to_vec()));
        let (tap, sizes, grid, label) = (step.tap, step.sizes, step.grid, step.stream.label());
        let reads = step.reads;
        Ok((outputs, StepTape { bank, tap, tiles, reads, mix, sizes, grid, label }))
    }

    /// Cotangents of a step's outputs -> the stream's, and the gradients of this tap's adapters that have
    /// one. The bytes do not depend on threads: tiles are summed in their order.
    /// Errors: `Shape` for cotangents that are not of the outputs' shapes.
    pub fn backward(&self, tape: StepTape<A>, cotangents: &Inputs) -> Result<(Outputs, State)> {
        let StepTape { bank, tiles: kept, sizes: [_, n_tokens, width], .. } = &tape;
        let heads = self.common.heads.iter();
        let tokens =
            heads.map(|head| tape.tokens(*head, cotangents)).collect::<Result<Vec<_>>>()?;
        let next = match cotangents.has("stream") {
            true => Some(tape.next(cotangents)?),
            false => None,
        };
        let tokens: Vec<_> = tokens
            .iter()
            .map(|all| all.as_deref().map(|all| cut(all, *n_tokens, bank.bottleneck())))
            .collect();
        let next = next.map(|next| cut(next, *n_tokens, *width));
        let tiles: Vec<Tile<'_>> = kept.iter().map(|tile| tile.tile(*width)).collect();
        let mix = tape.mix.as_ref().map(|(kept, shares)| (*kept, shares.as_slice()));
        let ask = Ask { tokens: &tape.reads, mix };
        let pull_back = |i: usize| {
            let tokens = tokens.iter().map(|tiles| tiles.as_ref()?.get(i).copied());
            let tokens: Vec<_> = tokens.collect();
            let next = next.as_ref().and_then(|next| next.get(i).copied());
            bank.pull_back(0, &tiles[i], &kept[i].heads, (&tokens, next), &ask)
        };
        let pulled = self.host.parallel_map(tiles.len(), pull_back)?;
        let (mut rows, mut shares) = (Vec::new(), Vec::new());
        for tile in pulled {
            let (of_tile, of_heads) = tile?;
            rows.extend(of_tile);
            shares.push(of_heads);
        }
        let stream = Tensor::new(tape.sizes, rows)?.with_label(tape.label);
        Ok((Outputs::one("stream", stream), self.gradients(tape.tap, &shares)?))
    }

    /// `shares` by tile, then by head.
    fn gradients(&self, tap: usize, shares: &[Vec<Vec<Share<'_>>>]) -> Result<State> {
        let mut by_name = BTreeMap::<String, Vec<&Share<'_>>>::new();
        for tile in shares {
            for (head, shares) in self.common.heads.iter().zip(tile) {
                for share in shares {
                    let name = full_name::<A>(*head, tap, share.name);
                    by_name.entry(name).or_default().push(share);
                }
            }
        }
        let by_name: Vec<_> = by_name.into_iter().collect();
        let sums = self.host.parallel_map(by_name.len(), |i| summed(&by_name[i].1))?;
        let mut state = StateWriter::new(SCHEMA, REVISION);
        for ((name, shares), sum) in by_name.iter().zip(sums) {
            let shape = shares.first().map_or_else(Vec::new, |share| share.shape.clone());
            state = state.f32s(name, shape, &sum?)?;
        }
        state.finish()
    }
}

impl<A: Adapter> StepTape<A> {
    /// The cotangents `[b, t, bottleneck]` of a head's tokens, prefix and patches; `None` if there are
    /// none.
    fn tokens(&self, head: Head, cotangents: &Inputs) -> Result<Option<Vec<f32>>> {
        let [of_patches, of_prefix] = head.outputs();
        if !cotangents.has(of_patches) && !cotangents.has(of_prefix) {
            return Ok(None);
        }
        let ([batch, n_tokens, _], [rows, cols]) = (self.sizes, self.grid);
        let (bottleneck, n_prefix) = (self.bank.bottleneck(), n_tokens - rows * cols);
        let mut all = vec![0.0; batch * n_tokens * bottleneck];
        let parts = [
            (of_prefix, vec![batch, n_prefix, bottleneck], 0..n_prefix),
            (of_patches, vec![batch, rows, cols, bottleneck], n_prefix..n_tokens),
        ];
        for (name, shape, place) in parts {
            if !cotangents.has(name) {
                continue;
            }
            let [given] = cotangents.tensors(name)? else {
                return Err(Error::shape(name, "the cotangent of one tap", "another number"));
            };
            if given.dims() != shape.as_slice() {
                return Err(Error::shape(name, format!("{shape:?}"), given.shape()));
            }
            let (place, size) =
                (place.start * bottleneck..place.end * bottleneck, n_tokens * bottleneck);
            let images = all.chunks_exact_mut(size.max(1));
            for (image, given) in images.zip(given.f32s()?.chunks_exact(place.len().max(1))) {
                if let Some(image) = image.get_mut(place.clone()) {
                    image.copy_from_slice(given);
                }
            }
        }
        Ok(Some(all))
    }

    /// The cotangents of the stream that flowed on.
    fn next<'a>(&self, cotangents: &'a Inputs) -> Result<&'a [f32]> {
        match cotangents.tensors("stream")? {
            [given] if given.dims() == self.sizes && self.mix.is_some() => given.f32s(),
            [given] if self.mix.is_some() => {
                Err(Error::shape("stream", format!("{:?}", self.sizes), given.shape()))
            }
            _ => Err(Error::input("`stream` has a cotangent, but this step made no stream")),
        }
    }
}

fn full_name<A: Adapter>(head: Head, tap: usize, name: &str) -> String {
    format!("{}_{}.{tap}.{name}", head.name(), A::GROUP)
}
