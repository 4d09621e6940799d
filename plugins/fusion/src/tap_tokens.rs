//! Reads an encoder's intermediate layers: at each tap the patches of the stream, as tokens on
//! their grid. A memory bank of a middle layer often knows more of texture than one of the last.

use loupe_plugin::prelude::*;
use serde::Deserialize;

/// The patches at each tap of an encoder, which runs on unchanged.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub struct TapTokens {
    /// Tokens before the patches (CLS, registers), which are dropped: 1 for `clip` and `gem`.
    #[schema(max = 64)]
    #[serde(default = "one")]
    n_prefix: usize,
}

fn one() -> usize {
    1
}

impl Fusion for TapTokens {
    type Config = Self;
    const REVISION: u32 = 1;

    fn ports() -> Vec<Port> {
        vec![
            Port::input("stream").tensor("b t c").verb(Verb::Tap),
            Port::input("image").tensor("b 3 h w").about("what the encoder sees, for the grid"),
            Port::output("patch_tokens").tensor("b gh gw c").about("the trunk's stream at the tap"),
        ]
    }

    fn new(config: Self, _host: &Host) -> Result<Self> {
        Ok(config)
    }

    fn fuse_ports(&self, inputs: &Inputs, _wanted: &Wanted) -> Result<Outputs> {
        let [_, _, height, width] = inputs.tensor("image")?.dims_n("image")?;
        let tokens = patches(inputs.tensor("stream")?, self.n_prefix, [height, width])?;
        Ok(Outputs::one("patch_tokens", tokens))
    }
}

/// Shapes: `stream [b, n_prefix + gh*gw, c]` of an image `[h, w]` -> `[b, gh, gw, c]`.
/// Errors: `Shape` if square patches of no size give the image that many.
fn patches(stream: &Tensor, n_prefix: usize, image: [usize; 2]) -> Result<Tensor> {
    let [batch, n_tokens, channels] = stream.dims_n("stream")?;
    let n_patches = n_tokens.saturating_sub(n_prefix);
    let [rows, cols] = patch_grid(n_patches, image).ok_or_else(|| {
        let want =
            format!("{n_prefix} tokens and then a grid of square patches of {image:?} pixels");
        Error::shape("stream", want, format!("{n_tokens} tokens"))
    })?;
    let mut values = Vec::with_capacity(batch * n_patches * channels);
    for one in stream.f32s()?.chunks_exact((n_tokens * channels).max(1)) {
        values.extend(one.iter().skip(n_prefix * channels));
    }
    Tensor::new([batch, rows, cols, channels], values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(batch: usize, n_tokens: usize) -> Tensor {
        let n_values = batch * n_tokens * 2;
        Tensor::new([batch, n_tokens, 2], (0..n_values).map(|i| i as f32)).unwrap()
    }

    #[test]
    fn the_patches_of_each_image_stand_on_their_grid() {
        let tokens = patches(&stream(2, 7), 1, [17, 24]).unwrap();
        assert_eq!(tokens.dims(), [2, 2, 3, 2]);
        let values = tokens.f32s().unwrap();
        assert_eq!(values[..4], [2.0, 3.0, 4.0, 5.0], "behind the first token of the first image");
        assert_eq!(values[12..14], [16.0, 17.0], "and of the second");
        assert_eq!(patches(&stream(1, 8), 4, [32, 32]).unwrap().dims(), [1, 2, 2, 2]);
        assert_eq!(patches(&stream(1, 4), 0, [32, 32]).unwrap().dims(), [1, 2, 2, 2]);
    }

    #[test]
    fn a_stream_that_is_no_grid_is_refused() {
        let message = patches(&stream(1, 6), 1, [32, 32]).unwrap_err().to_string();
        assert!(message.contains("1 tokens and then a grid of square patches"), "{message}");
        assert!(message.contains("6 tokens"), "{message}");
        assert!(patches(&stream(1, 1), 4, [32, 32]).is_err());
    }
}
