"""The training folder in memory, and crops of it under light that varies from picture to picture."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

SIDE = 256
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)


def picture(path):
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)


class Products:
    """Every product of the folders: its undamaged pictures and its damaged ones with masks, as uint8 arrays."""

    def __init__(self, roots, skip_families=(), skip_defects=(), only_families=None):
        good, bad = defaultdict(list), defaultdict(list)
        sentences = {}
        for root in map(Path, roots):
            if (root / "captions.csv").exists():
                for row in csv.DictReader(open(root / "captions.csv", newline="")):
                    sentences.setdefault(str(root / row["image"]), []).append(row["caption"])
            for product in sorted(p for p in root.iterdir() if p.is_dir()):
                family = product.name.rstrip("0123456789").rstrip("_")
                if family in skip_families or (only_families and family not in only_families):
                    continue
                for path in sorted(product.glob("train/good/*.png")) + sorted(
                    product.glob("test/good/*.png")
                ):
                    good[str(product)].append((path, family))
                for path in sorted(product.glob("test/*/*.png")):
                    if path.parent.name not in (*skip_defects, "good"):
                        bad[str(product)].append((path, family))
        self.names = [name for name in good if len(good[name]) > 1 and bad[name]]
        self.family = [good[name][0][1] for name in self.names]
        n_good, n_bad = (sum(len(of[name]) for name in self.names) for of in (good, bad))
        self.images = torch.empty((n_good + n_bad, 3, SIDE, SIDE), dtype=torch.uint8)
        self.masks = torch.zeros((n_bad, SIDE, SIDE), dtype=torch.uint8)
        self.first_bad, self.defect, self.captions = n_good, [], []
        self.good, self.bad, k = [], [], 0
        for of, lists in ((good, self.good), (bad, self.bad)):
            for name in self.names:
                lists.append(list(range(k, k + len(of[name]))))
                for path, _ in of[name]:
                    self.images[k] = picture(path)
                    self.captions.append(sentences.get(str(path), []))
                    self.defect.append(path.parent.name)
                    if of is bad:
                        mask = Path(name) / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"
                        self.masks[k - n_good] = torch.from_numpy(
                            (np.asarray(Image.open(mask).convert("L")) > 127).astype(np.uint8)
                        )
                    k += 1
        lists = (self.good, self.bad)
        self.owner = {image: p for of in lists for p, images in enumerate(of) for image in images}
        # Places of the damage, so that a crop can be put there without looking for it.
        self.places = [torch.nonzero(mask)[:: max(1, int(mask.sum()) // 64)].short() for mask in self.masks]

    def __len__(self):
        return len(self.names)


def resized(crops, side):
    """uint8 [n,3,s,s] -> [n,3,side,side] in 0..1, bicubic with antialiasing as CLIP's preprocessing."""
    return (
        F.interpolate(crops.float(), (side, side), mode="bicubic", antialias=True, align_corners=False).clamp(
            0, 255
        )
        / 255
    )


def draw(products, rng, pairs, grid, patch, scale):
    """`pairs` triples of one product each: reference, undamaged, damaged [3*pairs,3,S,S] in 0..1 and coverage [pairs,t].

    All three are turned and mirrored alike (a product has an orientation), and cut at places of their own.
    """
    side = grid * patch
    source = min(SIDE, max(side // 2, round(side / scale)))
    chosen = rng.integers(len(products), size=pairs)
    crops = torch.empty((3, pairs, 3, source, source), dtype=torch.uint8)
    masks = torch.empty((pairs, source, source), dtype=torch.uint8)
    picked = np.empty((3, pairs), dtype=np.int64)
    for i, p in enumerate(chosen):
        ref, query = rng.choice(products.good[p], 2, replace=False)
        bad = int(rng.choice(products.bad[p]))
        turn, flip = int(rng.integers(4)), bool(rng.integers(2))
        picked[:, i] = ref, query, bad
        for j, image in enumerate((int(ref), int(query), bad)):
            y, x = rng.integers(SIDE - source + 1, size=2)
            places = products.places[bad - products.first_bad]
            if j == 2 and len(places) and rng.random() < 0.85:
                at = places[int(rng.integers(len(places)))]
                y, x = (int(np.clip(int(a) - rng.integers(source), 0, SIDE - source)) for a in at)
            moved = [products.images[image][:, y : y + source, x : x + source]]
            if j == 2:
                moved.append(products.masks[bad - products.first_bad][None, y : y + source, x : x + source])
            moved = [torch.rot90(m, turn, (1, 2)) for m in moved]
            moved = [m.flip(2) for m in moved] if flip else moved
            crops[j, i] = moved[0]
            if j == 2:
                masks[i] = moved[1][0]
    images = resized(crops.flatten(0, 1), side)
    coverage = F.adaptive_avg_pool2d(masks.float()[:, None], (grid, grid)).flatten(1)
    return images, coverage, chosen, picked


def relit(images, generator, strength=1.0, spots=0.0):
    """Each picture in a light of its own: gain, contrast curve, gradient, spot, cast, grey, blur, noise.

    A soft spot of light is what a large stain looks like, and a model that sees many learns to look past both:
    `spots` is their share.
    """
    n, _, h, w = images.shape

    def uniform(low, high, *shape):
        return torch.rand(n, *shape, generator=generator) * (high - low) + low

    def chance(p):
        return (torch.rand(n, 1, 1, 1, generator=generator) < p).float()

    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    angle = uniform(0, 2 * torch.pi, 1, 1, 1)
    slope = uniform(0, 0.4 * strength, 1, 1, 1) * chance(0.7)
    light = 1 + slope * (torch.cos(angle) * x + torch.sin(angle) * y)
    if spots > 0:
        cy, cx, radius = uniform(-1.3, 1.3, 1, 1, 1), uniform(-1.3, 1.3, 1, 1, 1), uniform(0.5, 1.6, 1, 1, 1)
        spot = torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * radius**2))
        light = light * (1 + chance(spots) * uniform(-0.4, 0.5, 1, 1, 1) * strength * spot)
    gain = torch.exp(uniform(-0.4, 0.35, 1, 1, 1) * strength)
    cast = 1 + chance(0.5) * uniform(-0.12, 0.12, 3, 1, 1) * strength
    images = images * light * gain * cast
    gamma = torch.exp(chance(0.5) * uniform(-0.3, 0.3, 1, 1, 1) * strength)
    images = images.clamp(1e-4, 1) ** gamma
    grey = images.mean(1, keepdim=True)
    images = torch.lerp(images, grey.expand_as(images), chance(0.2) * uniform(0.5, 1, 1, 1, 1))
    soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="reflect"), 3, 1)
    images = torch.lerp(images, soft, chance(0.25) * uniform(0.2, 0.8, 1, 1, 1))
    noise = torch.randn(images.shape, generator=generator) * uniform(0, 0.025, 1, 1, 1) * chance(0.5)
    return (images + noise).clamp(0, 1)


def normalised(images):
    return (images - MEAN) / STD
