#!/usr/bin/env python3
"""Seconds of 1,000 sentences through ViT-L/14's text tower: loupe and PyTorch in turn, on the same random weights.

    tests/peers/text.py DRIVER [--sentences N] [--precision bf16|f32] [--pairs N]

The sentences are those of `pipelines/prompts`, half of them as `a photo of a ..`. PyTorch computes all 77 tokens of
each in batches of 64, as the originals do; a second row is PyTorch with what loupe does, sentences sorted by length
and only what is used of them. The original's tokenizer makes the peer's ids.
"""
import argparse
import os
import tempfile
import tomllib
from pathlib import Path

import rounds
import torch
import towers
from open_clip import tokenize

BATCH = 64
PROMPTS = Path(__file__).parents[2] / "pipelines/prompts"


def sentences(n):
    """The first n that differ."""
    found = {}
    for path in sorted(PROMPTS.glob("*.toml")):
        for entry in tomllib.loads(path.read_text())["entry"]:
            found.update(dict.fromkeys(entry["normal"] + entry["anomalous"]))
    plain = list(found)
    both = [text for pair in zip(plain, (f"a photo of a {text}." for text in plain)) for text in pair]
    if len(both) < n:
        raise SystemExit(f"{PROMPTS} gives {len(both)} sentences, not {n}")
    return both[:n]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("driver")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--precision", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("--pairs", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(os.cpu_count())
    torch.manual_seed(0)
    # An image tower of one thin block stands beside the text's, as a model has both.
    shape = towers.Shape(64, 1, 1, 14, 28, 768, text_width=768, text_heads=12, text_blocks=12)
    tower, texts = towers.TextTower(shape).eval(), sentences(asked.sentences)
    ids = tokenize(texts)
    lengths = ids.argmax(-1) + 1
    with tempfile.TemporaryDirectory() as folder:
        config = {
            "model": shape.describe(Path(folder, "model.json")),
            "weights": towers.save(Path(folder, "weights.safetensors"), towers.ImageTower(shape), tower),
            "precision": asked.precision,
        }
        loupe = rounds.Encoder(asked.driver, {"encoder": "clip", "config": config, "sentences": texts})
    with torch.inference_mode():
        want = {"text_embeddings.0": tower(ids[:BATCH]).numpy()}
    ours = {name: value[:BATCH] for name, value in loupe.outputs().items()}
    tower = tower.to(torch.bfloat16 if asked.precision == "bf16" else torch.float32)
    sorted_ids = ids[lengths.argsort()]

    @torch.inference_mode()
    def whole():
        for batch in ids.split(BATCH):
            tower(batch)

    @torch.inference_mode()
    def trimmed():
        for batch in sorted_ids.split(BATCH):
            tower(batch[:, : batch.argmax(-1).max() + 1])

    n, c = lengths.double(), shape.text_width
    flop = shape.text_blocks * (24 * n.sum() * c**2 + 2 * (n**2).sum() * c).item()
    spread = f"{lengths.min()} to {lengths.max()} tokens, mean {n.mean():.1f}"
    rounds.head(f"ViT-L/14's text tower, {len(texts)} sentences of {spread}, {flop / 1e12:.2f} TFLOP used")
    rounds.agree(ours, want, 0.999 if asked.precision == "bf16" else 0.999999)
    peers = {f"PyTorch {asked.precision}, 77 tokens": whole, f"PyTorch {asked.precision}, trimmed": trimmed}
    rounds.against(loupe, peers, asked.pairs, flop)


if __name__ == "__main__":
    main()
