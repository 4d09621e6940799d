"""Scores exported weights on an `mvtec-ad` tree: words alone, references alone, both, and raw patch statistics.

    python evaluate.py WEIGHTS TREE.. [--sizes 64,96,128,192]

Every tree is one seed: it also seeds the draw of its references. Prints the mean and the spread over the trees.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from data import normalised
from metrics import auroc, pixel_metrics
from model import Starter, load
from words import Encoder

# The ensemble of WinCLIP (arXiv:2303.14814).
NORMAL = [
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
]
ANOMALOUS = ["damaged {}", "{} with flaw", "{} with defect", "{} with damage"]
PLACES = """a cropped photo of the {}|a cropped photo of a {}|a close-up photo of a {}|a close-up photo of the {}
a bright photo of a {}|a bright photo of the {}|a dark photo of the {}|a dark photo of a {}
a jpeg corrupted photo of a {}|a jpeg corrupted photo of the {}|a blurry photo of the {}|a blurry photo of a {}
a photo of a {}|a photo of the {}|a photo of a small {}|a photo of the small {}|a photo of a large {}|a photo of the large {}
a photo of the {} for visual inspection|a photo of a {} for visual inspection|a photo of the {} for anomaly detection
a photo of a {} for anomaly detection""".replace("\n", "|").split("|")
IDLE = [
    ("a photo of a dog", "a photo of a cat"),
    ("a photo of a cat", "a photo of a dog"),
    ("monday", "tuesday"),
    ("the river of the city", "a cup and a spoon"),
    ("a cup and a spoon", "the river of the city"),
    ("a drawing of a horse", "a photo of a guitar"),
    ("quantum zebra", "velvet algebra"),
    ("happy", "yellow"),
    ("yellow", "happy"),
    ("seven boats", "nine letters"),
]


def clean_name(name):
    return name.rstrip("0123456789").rstrip("_").replace("_", " ")


class Class:
    """One class of a tree: references, test pictures, labels and masks at the size of the pictures."""

    def __init__(self, folder, shots, seed, side=256):
        train = sorted((folder / "train/good").glob("*"))
        self.references = [train[i] for i in np.random.default_rng(seed).permutation(len(train))[:shots]]
        self.tests = sorted(folder.glob("test/*/*"))
        self.labels = np.array([p.parent.name != "good" for p in self.tests])
        self.kinds = [p.parent.name for p in self.tests]
        self.masks = np.zeros((len(self.tests), side, side), bool)
        for k, path in enumerate(self.tests):
            if self.labels[k]:
                mask = next((folder / "ground_truth" / path.parent.name).glob(f"{path.stem}[._]*"))
                grey = Image.open(mask).convert("L").resize((side, side), Image.NEAREST)
                self.masks[k] = np.asarray(grey) > 127
        self.name = clean_name(folder.name)


def tensors(paths, size):
    """CLIP's preprocessing, square."""
    seen = [np.asarray(Image.open(p).convert("RGB").resize((size, size), Image.BICUBIC)) for p in paths]
    return torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def features(model, paths, size, taps=(4, 5)):
    """Unit rows by layer: `embed`, `patch`, `4`, `5` [n,t,c] and `class` [n,c]."""
    out = {}
    for part in tensors(paths, size).split(32):
        cls, patch, embed, taps_out = model.visual(normalised(part), taps)
        layers = {"class": cls, "patch": patch, "embed": embed, **{str(t): v for t, v in zip(taps, taps_out)}}
        for name, value in layers.items():
            out.setdefault(name, []).append(F.normalize(value, dim=-1))
    return {name: torch.cat(parts) for name, parts in out.items()}


def nearest(query, rows):
    """Half the cosine distance to the nearest row. [n,t,c] and [m,c] -> [n,t]."""
    return torch.stack([(1 - (q @ rows.t()).amax(1)) / 2 for q in query])


def square(scores, grid):
    """[n,t] -> [n,grid,grid], bilinear."""
    side = int(scores.shape[1] ** 0.5)
    return F.interpolate(scores.view(-1, 1, side, side), (grid, grid), mode="bilinear", align_corners=False)[
        :, 0
    ]


def raw(paths, grid, size=240):
    """Mean and standard deviation of every channel in every cell [n,t,6]."""
    cells = (
        tensors(paths, grid * (size // grid))
        .unfold(2, size // grid, size // grid)
        .unfold(3, size // grid, size // grid)
    )
    cells = cells.flatten(4)
    return torch.cat([cells.mean(-1), cells.std(-1)], 1).flatten(2).transpose(1, 2)


def peak(maps, share=0.01):
    flat = maps.reshape(len(maps), -1)
    count = max(1, int(np.ceil(flat.shape[1] * share)))
    return flat.topk(count, 1).values.mean(1).numpy()


def words(model, encoder, texts):
    with torch.no_grad():
        return F.normalize(model.encode_text(*encoder(texts)).mean(0), dim=0)


def axis(model, encoder, name):
    """Normal and anomalous rows [2,e] of the `winclip` ensemble."""
    both = []
    for states in (NORMAL, ANOMALOUS):
        both.append(
            words(model, encoder, [p.replace("{}", s.replace("{}", name)) for p in PLACES for s in states])
        )
    return torch.stack(both)


def zero_shot(feats, sizes, rows, scale, grid):
    """Share of the anomalous row in a softmax over both, averaged over the sizes [n,grid,grid]."""
    maps = [square((scale * feats[s]["embed"] @ rows.t()).softmax(-1)[..., 1], grid) for s in sizes]
    return sum(maps) / len(sizes)


def memory(feats, refs, sizes, shots, layer, grid):
    """Distance to the nearest reference patch, averaged over the sizes [n,grid,grid]."""
    maps = [square(nearest(feats[s][layer], refs[s][layer][:shots].flatten(0, 1)), grid) for s in sizes]
    return sum(maps) / len(sizes)


def rate(c, maps, scores=None):
    full = F.interpolate(maps[:, None], c.masks.shape[1:], mode="bilinear", align_corners=False)[:, 0].numpy()
    return (auroc(peak(maps) if scores is None else scores, c.labels), *pixel_metrics(full, c.masks))


def scored(model, encoder, c, sizes, layer, scale, name=None, shots=(1, 4)):
    """{row: (image AUROC, pixel AUROC, AUPRO)} of one class."""
    grid = max(sizes) // 8
    feats = {s: features(model, c.tests, s) for s in sizes}
    rows = axis(model, encoder, name or c.name)
    says = zero_shot(feats, sizes, rows, scale, grid)
    out = {"zero-shot": rate(c, says)}
    for k in shots:
        if len(c.references) < k:
            continue
        refs = {s: features(model, c.references[:k], s) for s in sizes}
        seen = memory(feats, refs, sizes, k, layer, grid)
        out[f"{k}-shot memory"] = rate(c, seen)
        out[f"{k}-shot both"] = rate(c, seen * (0.5 + says))
        for side in (16, 24):
            test, ref = raw(c.tests, side), raw(c.references[:k], side).flatten(0, 1)
            far = torch.stack([torch.cdist(query, ref).amin(1) for query in test])
            out[f"{k}-shot raw {side}x{side}"] = rate(c, square(far, side))
    idle = []
    for pair in IDLE:
        said = torch.stack([words(model, encoder, [text]) for text in pair])
        idle.append(auroc(peak(zero_shot(feats, sizes, said, scale, grid)), c.labels))
    out["idle words"] = (np.mean(idle), 0.0, 0.0)
    out["idle words, |x - .5|"] = (np.mean(np.abs(np.array(idle) - 0.5)), 0.0, 0.0)
    out["sentences exchanged"] = rate(c, 1 - says)
    return out


def table(results):
    """{row: [per tree {class: triple}]} -> lines with mean and spread over trees."""
    for row in results[0][next(iter(results[0]))]:
        per_tree = np.array([np.mean([of[row] for of in tree.values() if row in of], 0) for tree in results])
        mean, spread = per_tree.mean(0), per_tree.std(0)
        print(f"{row:24s}" + "  ".join(f"{m:.3f} ± {s:.3f}" for m, s in zip(mean, spread)))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("weights", type=Path)
    p.add_argument("trees", nargs="+", type=Path)
    p.add_argument("--sizes", default="64,96,128,192")
    p.add_argument("--layer", default="patch")
    p.add_argument("--scale", type=float)
    p.add_argument("--name", help="say this instead of the class")
    p.add_argument("--random", action="store_true")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--by-class", action="store_true")
    o = p.parse_args()
    torch.set_num_threads(o.threads)
    from open_clip.tokenizer import SimpleTokenizer

    model, vocabulary = load(o.weights)
    scale = o.scale or float(model.logit_scale.exp())
    encoder = Encoder(SimpleTokenizer(), vocabulary, model.cfg["text_cfg"]["context_length"])
    if o.random:
        torch.manual_seed(0)
        model = Starter(model.cfg, len(vocabulary.ids)).eval()
    sizes = [int(s) for s in o.sizes.split(",")]
    results = []
    for seed, tree in enumerate(o.trees):
        folders = sorted(f for f in tree.iterdir() if f.is_dir())
        results.append(
            {
                f.name: scored(model, encoder, Class(f, 4, seed), sizes, o.layer, scale, o.name)
                for f in folders
            }
        )
    table(results)
    if o.by_class:
        for family in sorted({clean_name(n) for tree in results for n in tree}):
            print(f"\n{family}")
            table([{n: v for n, v in tree.items() if clean_name(n) == family} for tree in results])


if __name__ == "__main__":
    main()
