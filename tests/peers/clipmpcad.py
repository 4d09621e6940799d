#!/usr/bin/env python3
"""Seconds of ClipMPCAD's image pass: ViT-L/14 at 240 px with MADFF adapters of two heads on the taps 6, 12, 18 and 24.

    tests/peers/clipmpcad.py DRIVER [--precision bf16|f32] [--pairs N]

The peer is the same in PyTorch, adapters in the encoder's precision too but for the Fourier transform, which PyTorch's
CPU has in f32 only. What one image makes plain is used on both sides: a spatial gate is one number a token, which the
way down commutes with. Random weights.
"""
import argparse
import os
import tempfile
from pathlib import Path

import rounds
import torch
import torch.nn.functional as F
import towers
from safetensors.torch import save_file
from torch import nn

SIZE, TAPS, HEADS = 240, [6, 12, 18, 24], ["seg", "det"]
BOTTLENECK, HIDDEN = 768, 64


def squeeze(width):
    layers = nn.Linear(width, HIDDEN, bias=False), nn.ReLU(), nn.Linear(HIDDEN, width, bias=False)
    return nn.ModuleDict({"fc": nn.Sequential(*layers)})


class Madff(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1 = nn.Sequential(nn.Linear(width, BOTTLENECK, bias=False))
        self.fc2 = nn.Sequential(nn.Linear(BOTTLENECK, width, bias=False))
        self.channel_attention, self.frequency_attention = squeeze(width), squeeze(width)
        self.spatial_attention = nn.ModuleDict({"conv": nn.Conv1d(2, 1, 7, padding=3)})

    def forward(self, x, flows):
        """`x [b, n, c]` -> tokens `[b, n, bottleneck]`, and what flows back if that is read."""
        channel = torch.sigmoid(2 * self.channel_attention["fc"](x)) * x
        conv = self.spatial_attention["conv"]
        of_mean, of_max = conv.weight[0, :, 3]
        spatial = torch.sigmoid(of_mean * channel.mean(-1, True) + of_max * channel.amax(-1, True) + conv.bias)
        half = torch.fft.rfft(x.float()).abs()
        magnitudes = torch.cat([half, half[..., 1:-1].flip(-1)], -1).to(x.dtype)
        frequency = torch.sigmoid(self.frequency_attention["fc"](magnitudes)) * x
        of_x, of_channel, of_frequency = F.leaky_relu(self.fc1(torch.stack([x, channel, frequency])))
        tokens = 0.4 * of_x + 0.2 * (1 + spatial) * of_channel + 0.2 * of_frequency
        if not flows:
            return tokens, None
        return tokens, 0.3 * F.leaky_relu(self.fc2(tokens)) + 0.2 * (1 + spatial) * channel + 0.3 * frequency


class Adapted(nn.Module):
    def __init__(self, tower):
        super().__init__()
        self.tower = tower
        banks = {f"{head}_adapters": nn.ModuleList(Madff(tower.shape.width) for _ in TAPS) for head in HEADS}
        self.banks = nn.ModuleDict(banks)

    def forward(self, image):
        """Tokens by head, then by tap."""
        x, made = self.tower.stem(image), []
        for i, block in enumerate(self.tower.transformer["resblocks"], 1):
            x = block(x)
            if i in TAPS:
                flows = i != TAPS[-1]
                steps = [bank[TAPS.index(i)](x, flows) for bank in self.banks.values()]
                made.append([tokens for tokens, _ in steps])
                if flows:
                    x = 0.8 * x + sum(0.1 * back for _, back in steps)
        return list(zip(*made))


def flop(shape):
    """Blocks up to the last tap; three ways down, one up, and two gates, of each adapter."""
    n, c = shape.tokens(SIZE), shape.width
    blocks = shape.blocks * (24 * n * c**2 + 4 * n**2 * c) + 2 * (n - 1) * c * 3 * shape.patch**2
    steps = len(TAPS) * (3 * BOTTLENECK + 4 * HIDDEN) + (len(TAPS) - 1) * BOTTLENECK
    return blocks + len(HEADS) * steps * 2 * n * c


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("driver")
    parser.add_argument("--precision", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("--pairs", type=int, default=40)
    asked = parser.parse_args()
    torch.set_num_threads(os.cpu_count())
    torch.manual_seed(0)
    shape = towers.MODELS["ViT-L-14-336"]
    model, image = Adapted(towers.ImageTower(shape)).eval(), torch.randn(1, 3, SIZE, SIZE)
    with tempfile.TemporaryDirectory() as folder:
        config = {
            "model": shape.describe(Path(folder, "model.json")),
            "weights": towers.save(Path(folder, "weights.safetensors"), model.tower),
            "precision": asked.precision,
        }
        state = Path(folder, "adapters.safetensors")
        save_file({name: tensor.contiguous() for name, tensor in model.banks.state_dict().items()}, state)
        job = {
            "encoder": "clip",
            "config": config,
            "madff": {"at": TAPS, "heads": HEADS, "state": str(state), "precision": asked.precision},
            "pixels": towers.save_images(Path(folder, "image.safetensors"), [image]),
            "wanted": [f"{head}_tokens" for head in HEADS],
        }
        loupe = rounds.Encoder(asked.driver, job)
    want = {}
    with torch.inference_mode():
        for head, taps in zip(HEADS, model(image)):
            for i, tokens in enumerate(taps):
                want[f"{head}_tokens.{i}"] = towers.outputs_of(tokens)["patch_embeddings"]
    model.tower.positions.clear()
    dtype = torch.bfloat16 if asked.precision == "bf16" else torch.float32
    model, image = model.to(dtype), image.to(dtype)

    @torch.inference_mode()
    def peer():
        model(image)

    total = flop(shape)
    rounds.head(f"ViT-L/14 at {SIZE} px, taps {TAPS}, MADFF, {total / 1e9:.1f} GFLOP")
    rounds.agree(loupe.outputs(), want, 0.99 if asked.precision == "bf16" else 0.9999)
    name = f"PyTorch {torch.__version__} {asked.precision}"
    rounds.compare(name, loupe.run, lambda: rounds.timed(peer), asked.pairs, total, loupe.ceiling)
    rounds.head(f"loupe's peak {loupe.peak_gb():.2f} GB")
    loupe.close()


if __name__ == "__main__":
    main()
