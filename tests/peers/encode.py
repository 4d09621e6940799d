#!/usr/bin/env python3
"""Seconds of images through a CLIP image tower: loupe, PyTorch, OpenVINO and candle in turn, on the same random weights.

    tests/peers/encode.py DRIVER MODEL [--size PX] [--batch N] [--precision bf16|f32|int8] [--cpu avx512|avx2] [--pairs N]
    tests/peers/encode.py DRIVER --width 384 --heads 6 --tokens 1370 --batch 3

DRIVER is the built example `peer` of `tests`. With `--cpu`, no side may use more than these instructions, but for
OpenVINO in f32: its products are not oneDNN's there and heed no variable. It computes no bf16 under AVX2.
"""
import argparse
import os
import tempfile
from pathlib import Path

import rounds

# What each library calls the most that it may use: oneDNN, PyTorch's own kernels, MKL under PyTorch's f32 products.
CAPS = {
    "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16", "MKL_ENABLE_INSTRUCTIONS": "AVX512", "ATEN_CPU_CAPABILITY": "avx512"},
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
}
PEERS = ["openvino", "torch", "candle"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("driver")
    parser.add_argument("model", nargs="?")
    parser.add_argument("--size", type=int)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--precision", choices=["bf16", "f32", "int8"], default="bf16", help="loupe's; peers have bf16 for int8")
    parser.add_argument("--cpu", choices=CAPS)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS[:2])
    for key, default in (("width", None), ("heads", 6), ("tokens", 1370), ("blocks", 12), ("patch", 14)):
        parser.add_argument(f"--{key}", type=int, default=default)
    asked = parser.parse_args()
    if (asked.model is None) == (asked.width is None):
        parser.error("wants a model or --width")
    return asked


def openvino(tower, images, bf16):
    import openvino as ov

    config = {
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        "INFERENCE_NUM_THREADS": os.cpu_count(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    model = ov.convert_model(tower, example_input=images, input=list(images.shape))
    compiled, pixels = ov.Core().compile_model(model, "CPU", config), images.numpy()
    return lambda: rounds.timed(lambda: compiled(pixels))


def main():
    asked = arguments()
    os.environ.update(CAPS.get(asked.cpu, {}))
    import torch
    import towers

    torch.set_num_threads(os.cpu_count())
    torch.manual_seed(0)
    shape = towers.MODELS.get(asked.model)
    if asked.width:
        side = round((asked.tokens - 1) ** 0.5) * asked.patch
        shape = towers.Shape(asked.width, asked.blocks, asked.heads, asked.patch, side, asked.width)
    size = asked.size or shape.size
    bf16 = asked.precision != "f32"
    theirs = "bf16" if bf16 else "f32"
    tower, images = towers.ImageTower(shape).eval(), torch.randn(asked.batch, 3, size, size)

    with tempfile.TemporaryDirectory() as folder:
        files = {
            "model": shape.describe(Path(folder, "model.json")),
            "weights": towers.save(Path(folder, "weights.safetensors"), tower),
        }
        job = {
            "encoder": "clip",
            "config": {**files, "precision": asked.precision},
            "pixels": towers.save_images(Path(folder, "images.safetensors"), [images]),
            "wanted": ["image_embedding", "patch_embeddings"],
        }
        loupe = rounds.Encoder(asked.driver, job, {"LOUPE_CPU": asked.cpu} if asked.cpu else None)
        candle = None
        if "candle" in asked.peers:
            candle = rounds.Encoder(asked.driver, {**job, "config": {**files, "backend": "candle"}})

    with torch.inference_mode():
        want = towers.outputs_of(tower(images))
    peers = {}
    if "openvino" in asked.peers and not (bf16 and asked.cpu == "avx2"):
        free = ", not capped" if asked.cpu == "avx2" else ""
        peers[f"OpenVINO {theirs}{free}"] = openvino(tower, images, bf16)
    if candle:
        peers["candle f32"] = candle.run
    if "torch" in asked.peers:
        tower.positions.clear()
        tower, cast = (x.to(torch.bfloat16 if bf16 else torch.float32) for x in (tower, images))

        @torch.inference_mode()
        def run():
            tower(cast)

        peers[f"PyTorch {torch.__version__} {theirs}"] = lambda: rounds.timed(run)

    flop = asked.batch * shape.flop(size)
    what = asked.model or f"width {shape.width}, {shape.heads} heads, {shape.blocks} blocks"
    cap = f", {asked.cpu} at most" if asked.cpu else ""
    rounds.head(f"{what}, {size} px, {shape.tokens(size)} tokens x {asked.batch}, {flop / 1e9:.1f} GFLOP{cap}")
    ours = {name.removesuffix(".0"): value for name, value in loupe.outputs().items()}
    rounds.agree(ours, want, 0.999 if bf16 else 0.999999)
    for name, peer in peers.items():
        rounds.compare(name, loupe.run, peer, asked.pairs, flop, loupe.ceiling)
    rounds.head(f"loupe's peak {loupe.peak_gb():.2f} GB")
    for process in filter(None, (loupe, candle)):
        process.close()


if __name__ == "__main__":
    main()
