#!/usr/bin/env python3
"""Image and pixel metrics with AUPRO at 0.3, loupe's and scikit-learn's with NumPy, in turn.

    tests/peers/metrics.py METRICS_TIME FOLDER [--images N] [--pairs N] [--form loop|sorted]

METRICS_TIME is the built example of the engine. FOLDER gets synthetic maps of 448 x 448 (smooth noise and blobs, seeded),
unless it has them. `loop` is what papers' repositories do: scikit-learn's functions, and 200 thresholds with every region's overlap
at each. `sorted` is as quick as NumPy gets: one sort, all else by running sums, and all thresholds. Values are compared.
"""
import argparse
import pathlib
import sys

import numpy as np
from scipy import ndimage
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from rounds import Served, compare, timed

SIDE = 448
EIGHT = np.ones((3, 3))


def picture(seed):
    draw = np.random.default_rng(seed)
    coarse = draw.normal(size=(37, 37))
    place = (np.arange(SIDE) + 0.5) * 37 / SIDE - 0.5
    low = np.clip(np.floor(place).astype(int), 0, 35)
    part = np.clip(place - low, 0, 1)
    rows = coarse[low] * (1 - part)[:, None] + coarse[low + 1] * part[:, None]
    scores = 0.3 + 0.06 * (rows[:, low] * (1 - part) + rows[:, low + 1] * part)
    mask = np.zeros((SIDE, SIDE), bool)
    y, x = np.mgrid[:SIDE, :SIDE]
    for _ in range(draw.integers(1, 4) if seed % 4 else 0):
        (cy, cx), (a, b) = draw.uniform(30, SIDE - 30, 2), draw.uniform(8, 45, 2)
        distance = ((y - cy) / a) ** 2 + ((x - cx) / b) ** 2
        mask |= distance < 1
        scores += 0.2 * np.exp(-distance)
    return scores.astype(np.float32), mask.astype(np.uint8)


def make(folder, n):
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "maps.f32", folder / "masks.u8"]
    if all(path.exists() and path.stat().st_size >= n * SIDE * SIDE * size for path, size in zip(paths, (4, 1))):
        return paths
    with open(paths[0], "wb") as maps, open(paths[1], "wb") as masks:
        for seed in range(n):
            scores, mask = picture(seed)
            maps.write(scores.tobytes())
            masks.write(mask.tobytes())
    return paths


def best_f1(labels, scores):
    precision, recall, _ = precision_recall_curve(labels, scores)
    return np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))


def up_to(rates, overlaps, limit):
    rates, overlaps = np.concatenate([[0], rates]), np.concatenate([[0], overlaps])
    end = np.searchsorted(rates, limit, side="right")
    last = np.interp(limit, rates, overlaps)
    return np.trapezoid(np.append(overlaps[:end], last), np.append(rates[:end], limit)) / limit


def loop(maps, masks):
    peaks, damaged = maps.max((1, 2)), masks.any((1, 2))
    flat, labels = maps.ravel(), masks.ravel()
    values = [roc_auc_score(damaged, peaks), average_precision_score(damaged, peaks), best_f1(damaged, peaks)]
    values += [roc_auc_score(labels, flat), average_precision_score(labels, flat), best_f1(labels, flat)]
    regions = [ndimage.label(mask, EIGHT) for mask in masks]
    normal = masks == 0
    rates, overlaps = [], []
    for threshold in np.linspace(flat.max(), flat.min(), 200):
        flagged = maps >= threshold
        found = []
        for image, (names, n) in enumerate(regions):
            found += [flagged[image][names == name].mean() for name in range(1, n + 1)]
        rates.append((flagged & normal).sum() / normal.sum())
        overlaps.append(np.mean(found))
    return values + [up_to(np.array(rates), np.array(overlaps), 0.3)]


def ranked(labels, scores, weights=None):
    order = np.argsort(scores)[::-1]
    labels, scores = labels[order].astype(np.int64), scores[order]
    last = np.append(np.flatnonzero(np.diff(scores)), scores.size - 1)
    true = np.cumsum(labels)[last]
    false = last + 1 - true
    recall, precision = true / true[-1], true / (last + 1)
    auroc = np.trapezoid(np.append(0, recall), np.append(0, false / false[-1]))
    ap = np.sum(np.diff(np.append(0, recall)) * precision)
    f1 = np.max(2 * true / (last + 1 + true[-1]))
    covered = None if weights is None else np.cumsum(weights[order])[last]
    return [auroc, ap, f1], false / false[-1], covered


def sort_based(maps, masks):
    values, _, _ = ranked(masks.any((1, 2)), maps.max((1, 2)))
    weights, n_regions = np.zeros(maps.shape), 0
    for weight, mask in zip(weights, masks):
        names, n = ndimage.label(mask, EIGHT)
        sizes = np.bincount(names.ravel())
        weight[mask > 0] = 1 / sizes[names[mask > 0]]
        n_regions += n
    pixels, rates, covered = ranked(masks.ravel(), maps.ravel(), weights.ravel())
    return values + pixels + [up_to(rates, covered / n_regions, 0.3)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("metrics_time")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=170)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--form", choices=["loop", "sorted"], default="loop")
    asked = parser.parse_args()
    paths = make(asked.folder, asked.images)
    n = asked.images * SIDE * SIDE
    maps, masks = (
        np.fromfile(path, kind, n).reshape(-1, SIDE, SIDE) for path, kind in zip(paths, (np.float32, np.uint8))
    )
    run = loop if asked.form == "loop" else sort_based
    loupe = Served([asked.metrics_time, *map(str, paths), str(asked.images), str(SIDE)])
    got = []
    print(f"{asked.images} maps of {SIDE} x {SIDE}")
    compare(f"scikit-learn and NumPy, {asked.form}", loupe.ask, lambda: timed(lambda: got.append(run(maps, masks))), asked.pairs)
    peak, *own = loupe.told
    print(f"peak {peak} MB; image AUROC, AP, F1, pixel AUROC, AP, F1, AUPRO: loupe, then the peer")
    print(" ".join(f"{float(value):.9f}" for value in own))
    print(" ".join(f"{value:.9f}" for value in got[-1]))
    loupe.close()
    # 200 thresholds are not all of them.
    exact = 7 if asked.form == "sorted" else 6
    if not np.allclose([float(value) for value in own[:exact]], got[-1][:exact], rtol=0, atol=1e-9):
        sys.exit("the values differ")


if __name__ == "__main__":
    main()
