#!/usr/bin/env python3
"""Seconds of FADE's image pass: CLIP and GEM of one image at several sizes, ViT-B/16-plus-240, random weights.

    tests/peers/fade.py DRIVER [--sizes 240 448 896] [--precision bf16 f32] [--peers sdpa gem] [--pairs N]

Peers are gem-torch in f32, as FADE calls it, and the same mathematics written for speed in PyTorch bf16: its
self-self attention is scaled_dot_product_attention of vectors of unit length. gem-torch wants open_clip 2.24: later
versions hand its blocks the tokens in another order, which is another computation.
"""
import argparse
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

import rounds
import torch
import torch.nn.functional as F
import towers

GEM_BLOCKS = 6
OUTPUTS = ["image_embedding", "patch_embeddings", "gem_patch_embeddings"]


def alike(x, v, scale):
    """Values weighed by how alike the tokens' vectors `x` are, once these were replaced by their own weighted means."""
    x = F.normalize(x, dim=-1)
    x = F.normalize(F.scaled_dot_product_attention(x, x, x, scale=scale), dim=-1)
    return F.scaled_dot_product_attention(x, x, v, scale=scale)


class Gem(towers.ImageTower):
    def forward(self, image):
        """Projected tokens of GEM's stream and of CLIP's."""
        x, gem = self.stem(image), None
        for i, block in enumerate(self.transformer["resblocks"]):
            if i + GEM_BLOCKS < self.shape.blocks:
                x = block(x)
                continue
            y = block.ln_1(x)
            q, k, v = block.attn.vectors(y)
            scale = y.norm(dim=-1).mean().item() * q.shape[-1] ** -0.5
            means = (alike(v, v, scale) + alike(k, v, scale) + alike(q, v, scale)) / 3
            gem = (x if gem is None else gem) + block.attn.join(means)
            x = x + block.attn.join(F.scaled_dot_product_attention(q, k, v))
            x = x + block.mlp(block.ln_2(x))
        return self.ln_post(gem) @ self.proj, self.ln_post(x) @ self.proj


def gem_torch(model, tower):
    """gem-torch's own model with the weights of `tower`."""
    import open_clip
    from gem.gem_wrapper import GEMWrapper

    installed = version("open_clip_torch")
    if not installed.startswith("2.24."):
        raise SystemExit(f"gem-torch wants open_clip_torch 2.24, not {installed}")
    clip = open_clip.create_model(model)
    clip.visual.load_state_dict(tower.state_dict())
    return GEMWrapper(clip, tokenizer=None).eval().model.visual


def flop(shape, size):
    """CLIP's, and for each block of GEM's twelve products of tokens with tokens and a projection."""
    n, c = shape.tokens(size), shape.width
    return shape.flop(size) + GEM_BLOCKS * (24 * n**2 * c + 2 * n * c**2) + 2 * n * c * shape.embed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("driver")
    parser.add_argument("--model", choices=towers.MODELS, default="ViT-B-16-plus-240")
    parser.add_argument("--sizes", type=int, nargs="+", default=[240, 448, 896])
    parser.add_argument("--precision", nargs="+", choices=["bf16", "f32"], default=["bf16", "f32"])
    parser.add_argument("--peers", nargs="+", choices=["sdpa", "gem"], default=["sdpa", "gem"])
    parser.add_argument("--pairs", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(os.cpu_count())
    torch.manual_seed(0)
    shape = towers.MODELS[asked.model]
    tower = Gem(shape).eval()
    images = [torch.randn(1, 3, size, size) for size in asked.sizes]
    total = sum(flop(shape, size) for size in asked.sizes)
    sizes = " + ".join(map(str, asked.sizes))
    rounds.head(f"{asked.model}, CLIP and GEM at {sizes} px, {total / 1e12:.2f} TFLOP")

    peers, want = {}, {}
    plain = tower
    if "gem" in asked.peers:
        plain = gem_torch(asked.model, tower)

        @torch.inference_mode()
        def original():
            for image in images:
                plain(image)

        peers["gem-torch f32"] = original
    with torch.inference_mode():
        # The largest image takes the original a minute and shows nothing that the others do not.
        for i, image in enumerate(images[: max(1, len(images) - 1)]):
            gem, clip = map(towers.outputs_of, plain(image))
            want.update({f"{name}.{i}": value for name, value in clip.items()})
            want[f"gem_patch_embeddings.{i}"] = gem["patch_embeddings"]
    with tempfile.TemporaryDirectory() as folder:
        config = {
            "model": shape.describe(Path(folder, "model.json")),
            "weights": towers.save(Path(folder, "weights.safetensors"), tower),
        }
        pixels = towers.save_images(Path(folder, "images.safetensors"), images)
        job = {"encoder": "gem", "pixels": pixels, "wanted": OUTPUTS}
        ours = {
            precision: rounds.Encoder(asked.driver, {**job, "config": {**config, "precision": precision}})
            for precision in asked.precision
        }
    if "sdpa" in asked.peers:
        quick, cast = Gem(shape).eval().to(torch.bfloat16), [image.to(torch.bfloat16) for image in images]
        quick.load_state_dict(tower.state_dict())

        @torch.inference_mode()
        def same():
            for image in cast:
                quick(image)

        peers["PyTorch bf16, SDPA"] = same

    for precision, loupe in ours.items():
        print(f"loupe {precision}")
        rounds.agree(loupe.outputs(), want, 0.99 if precision == "bf16" else 0.9999)
        rounds.against(loupe, peers, asked.pairs, total)


if __name__ == "__main__":
    main()
