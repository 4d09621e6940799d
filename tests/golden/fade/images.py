"""The data set of this folder: a ring on a striped plate, with spots and scratches, in MVTec AD's layout."""

import numpy as np
from PIL import Image

CLASS = "ring_plate"


def plate(height, width, rng):
    """Stripes, a ring, a gradient; grey levels in steps of 8, so that the files stay small."""
    y, x = np.mgrid[:height, :width] / min(height, width)
    shift, turn = rng.uniform(-0.05, 0.05, 2)
    stripes = 20 * (np.floor((x + turn * y) * 9 + 10 * shift) % 2)
    radius = np.hypot(x - x.mean() + shift, y - y.mean())
    ring = 60 * ((radius > 0.25) & (radius < 0.36))
    base = np.stack([90 + stripes + ring, 110 + 30 * y + stripes, 150 - 40 * x - ring / 2], -1)
    blocks = rng.integers(-1, 2, (height // 2 + 1, width // 2 + 1)).repeat(2, 0).repeat(2, 1)
    return (np.clip(base + 16 * blocks[:height, :width, None], 0, 255) // 8 * 8).astype(np.uint8)


def disc(mask, row, column, radius):
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    mask |= np.hypot(y - row, x - column) <= radius


def save(root, path, pixels, mode=None):
    file = root / CLASS / path
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file, optimize=True)


def make(root):
    rng = np.random.default_rng(7)
    for name, size in [("000", (97, 83)), ("001", (83, 97)), ("002", (120, 120))]:
        save(root, f"train/good/{name}.png", plate(*size, rng))
    save(root, "test/good/000.png", plate(97, 83, rng))
    save(root, "test/good/001.png", plate(120, 120, rng), "L")
    for name, size in [("spot/000", (97, 83)), ("spot/001", (120, 120)), ("scratch/000", (83, 97))]:
        pixels, mask = plate(*size, rng), np.zeros(size, bool)
        if name == "spot/001":
            disc(mask, 40, 30, 9)
            disc(mask, 70, 88, 5)
            # Meets the second disc by one corner: one region with 8 neighbours, two with 4.
            mask[76:80, 89:93] = True
        elif name == "spot/000":
            disc(mask, 60, 42, 12)
        else:
            along = np.arange(70)
            mask[10 + along // 2, 12 + along] = mask[11 + along // 2, 12 + along] = True
        pixels[mask] = pixels[mask] * 0.3 + [40, 0, 0] if "spot" in name else [240, 240, 200]
        if name == "scratch/000":
            pixels = np.dstack([pixels, np.full(size, 128, np.uint8)])
        save(root, f"test/{name}.png", pixels)
        # What counts is that a mask's pixel is not 0, not how bright it is.
        save(root, f"ground_truth/{name}_mask.png", mask.astype(np.uint8) * (1 if name == "spot/000" else 255))
