#!/usr/bin/env python3
"""Seconds of resizing and smoothing, loupe's and its peers' in turn.

    tests/peers/resample.py BENCH [--pairs N]

BENCH is the program that `cargo bench -p loupe-kernels --no-run` builds. Peers: PyTorch's interpolate, Pillow's resize and SciPy's
Gaussian filter, whose results loupe's are equal to or within 2e-7 of.
"""
import argparse
import os

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.ndimage import gaussian_filter

from rounds import Served, compare, timed


def interpolate(size_in, size_out, **how):
    maps = torch.rand(1, 1, size_in, size_in)
    return lambda: F.interpolate(maps, (size_out, size_out), mode="bilinear", **how)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bench")
    parser.add_argument("--pairs", type=int, default=100)
    asked = parser.parse_args()
    torch.set_num_threads(os.cpu_count())
    draw = np.random.default_rng(0)
    picture = Image.fromarray(draw.integers(0, 256, (1024, 1024, 3), np.uint8))
    scores = draw.random((448, 448), np.float32)
    peers = {
        "bilinear-64-448": ("PyTorch", interpolate(64, 448)),
        "bilinear-448-1024": ("PyTorch", interpolate(448, 1024)),
        "antialias-1024-448": ("PyTorch", interpolate(1024, 448, antialias=True)),
        "bicubic-u8-1024-448": ("Pillow", lambda: picture.resize((448, 448), Image.BICUBIC)),
        "gaussian-448": ("SciPy", lambda: gaussian_filter(scores, 4.0)),
    }
    loupe = Served([asked.bench, "serve"])
    for name, (peer, run) in peers.items():
        compare(f"{name}, {peer}", lambda: loupe.ask(name), lambda: timed(run), asked.pairs)
    loupe.close()


if __name__ == "__main__":
    main()
