//! Packed towers that the engine keeps, so that the next start copies them and packs nothing.

use loupe_kernels::{BlockShape, Blocks, PACKED_LAYOUT};
use loupe_plugin::prelude::*;
use serde_json::{Value, json};

use crate::error::Result;
use crate::trunk::{Layout, Packing};

/// A tower whose packed bytes are fewer is packed as quickly as it is read.
const LEAST_BYTES: usize = 32 << 20;

/// Who keeps towers, and what tells their weights from others.
#[derive(Clone, Debug)]
pub struct Keeper {
    pub host: Host,
    /// A file, which the host replaces by its content, or a name and a seed.
    pub weights: Value,
}

impl Keeper {
    /// Fills `to` with the tower's blocks. `false` if they are not there, or cannot be read: then they are
    /// packed as ever.
    pub fn take_up(&self, to: &mut dyn Blocks, layout: Layout, packing: &Packing) -> Result<bool> {
        let (label, config) = (label(layout, packing), self.config(layout, packing));
        let Some(kept) = self.host.find_kept(&label, &config) else { return Ok(false) };
        let read = |at: u64, to: &mut [u8]| kept.read(at, to).map_err(|error| error.to_string());
        let taken =
            packing.threads.lend(|team| to.take_up(layout.n_blocks, kept.len(), &read, team))?;
        let mb = kept.len() >> 20;
        let (level, said) = match &taken {
            Ok(()) => (Level::Info, format!("{mb} MB of packed weights taken up")),
            Err(error) => (Level::Warn, format!("kept weights are not taken: {error}")),
        };
        self.host.log(level, &format!("{}: {said}", layout.name()));
        Ok(taken.is_ok())
    }

    /// Keeps the tower's blocks where they are large. A host that cannot costs time and nothing else.
    pub fn keep(&self, blocks: &dyn Blocks, layout: Layout, packing: &Packing) {
        let parts = blocks.bytes();
        let n_bytes: usize = parts.iter().map(|part| part.len()).sum();
        if n_bytes < LEAST_BYTES || !self.host.keeps() {
            return;
        }
        let (label, config) = (label(layout, packing), self.config(layout, packing));
        let (level, said) = match self.host.keep(&label, &config, &parts) {
            Ok(()) => (Level::Info, format!("{} MB of packed weights kept", n_bytes >> 20)),
            Err(error) => (Level::Warn, format!("packed weights are not kept: {error}")),
        };
        self.host.log(level, &format!("{}: {said}", layout.name()));
    }

    /// All that decides the bytes, but for the CPU's arithmetic, which the host adds. Activation and GEM are
    /// no part of it: they act on what is packed.
    fn config(&self, layout: Layout, Packing { isa, precision, .. }: &Packing) -> Value {
        let BlockShape { width, n_heads, mlp_width, .. } = layout.shape;
        json!({
            "weights": self.weights,
            "tower": layout.name(),
            "n_blocks": layout.n_blocks,
            "width": width,
            "n_heads": n_heads,
            "mlp_width": mlp_width,
            "isa": isa.name(),
            "precision": format!("{precision:?}"),
            "architecture": std::env::consts::ARCH,
            "layout": PACKED_LAYOUT,
        })
    }
}

/// Tells towers apart for who lists the cache; all of it is in `Keeper::config` too.
fn label(layout: Layout, Packing { isa, precision, .. }: &Packing) -> String {
    let Layout { n_blocks, shape, .. } = layout;
    let (precision, isa) = (precision.name(), isa.name());
    format!("{} {n_blocks} x {} {precision} {isa}", layout.name(), shape.width)
}
