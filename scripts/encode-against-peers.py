#!/usr/bin/env python3
"""Seconds an image takes through a CLIP image tower, loupe's and its peers' in turn, random weights.

    scripts/encode-against-peers.py ENCODE_TIME MODEL SIZE [--pairs N] [--precision bf16|f32]

ENCODE_TIME is the built example of plugins/clip. Peers are PyTorch with scaled_dot_product_attention and, where it
can be imported, OpenVINO; both on as many threads as there are cores. Rounds alternate (loupe, peer, peer, loupe); a
ratio is the median over rounds of peer / loupe with its bootstrap 95 % interval. Prints the floor's FLOP beside it.
"""
import argparse
import os
import random
import statistics
import subprocess
import time

import torch
import torch.nn.functional as F
from torch import nn

# Width, blocks, heads, patch: those of open_clip's descriptions.
MODELS = {
    "ViT-B-32": (768, 12, 12, 32, 512),
    "ViT-B-16": (768, 12, 12, 16, 512),
    "ViT-B-16-plus-240": (896, 12, 14, 16, 640),
    "ViT-L-14": (1024, 24, 16, 14, 768),
    "ViT-L-14-336": (1024, 24, 16, 14, 768),
}


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc, self.proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, n, c = x.shape
        qkv = self.qkv(self.ln_1(x)).view(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(*qkv).transpose(1, 2).reshape(b, n, c))
        return x + self.proj(F.gelu(self.fc(self.ln_2(x))))


class Tower(nn.Module):
    def __init__(self, width, blocks, heads, patch, embed, size):
        super().__init__()
        n = (size // patch) ** 2 + 1
        self.conv = nn.Conv2d(3, width, patch, patch, bias=False)
        self.cls, self.positions = nn.Parameter(torch.randn(width)), nn.Parameter(torch.randn(n, width))
        self.pre, self.post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(blocks)))
        self.project = nn.Parameter(torch.randn(width, embed) * width**-0.5)

    def forward(self, image):
        x = self.conv(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], 1, -1), x], 1) + self.positions
        return self.post(self.blocks(self.pre(x))) @ self.project


def torch_peer(tower, image, dtype):
    tower, image = tower.to(dtype), image.to(dtype)

    def run():
        with torch.inference_mode():
            tower(image)

    return run


def openvino_peer(tower, image, dtype, threads):
    import openvino

    core = openvino.Core()
    model = openvino.convert_model(tower, example_input=image)
    config = {
        "INFERENCE_PRECISION_HINT": "bf16" if dtype is torch.bfloat16 else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(model, "CPU", config)
    pixels = image.numpy()
    return lambda: compiled(pixels)


def timed(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def interval(ratios):
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(2000))
    return medians[50], medians[1949]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("encode_time")
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("size", type=int)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--precision", choices=["bf16", "f32"], default="bf16")
    asked = parser.parse_args()
    threads = os.cpu_count()
    torch.set_num_threads(threads)
    dtype = torch.bfloat16 if asked.precision == "bf16" else torch.float32
    width, blocks, heads, patch, embed = MODELS[asked.model]
    n = (asked.size // patch) ** 2 + 1
    flop = blocks * (24 * n * width**2 + 4 * n * n * width)
    tower = Tower(width, blocks, heads, patch, embed, asked.size).eval()
    image = torch.randn(1, 3, asked.size, asked.size)

    peers = {}
    try:
        peers[f"OpenVINO {asked.precision}"] = openvino_peer(tower, image, dtype, threads)
    except ImportError:
        print("OpenVINO is not installed")
    peers[f"PyTorch {torch.__version__} {asked.precision}"] = torch_peer(tower, image, dtype)
    command = [asked.encode_time, asked.model, f"fused-{asked.precision}", str(asked.size), "serve"]
    loupe = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask():
        loupe.stdin.write("\n")
        loupe.stdin.flush()
        return float(loupe.stdout.readline())

    print(f"{asked.model}, {asked.size} px, {n} tokens, {flop / 1e9:.1f} GFLOP, {threads} threads, load {os.getloadavg()[0]:.1f}")
    for name, run in peers.items():
        ask(), timed(run)
        ours, theirs = [], []
        for _ in range((asked.pairs + 1) // 2):
            ours.append(ask())
            theirs += [timed(run), timed(run)]
            ours.append(ask())
        ratios = [peer / own for peer, own in zip(theirs, ours)]
        low, high = interval(ratios)
        print(
            f"{name:24} {statistics.median(theirs) * 1e3:8.1f} ms (best {min(theirs) * 1e3:.1f})   loupe "
            f"{statistics.median(ours) * 1e3:8.1f} ms (best {min(ours) * 1e3:.1f}, {flop / statistics.median(ours) / 1e9:.0f} "
            f"GFLOP/s)   ratio {statistics.median(ratios):.2f} [{low:.2f}, {high:.2f}], {len(ratios)} pairs"
        )
    loupe.stdin.close()
    loupe.wait()
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
