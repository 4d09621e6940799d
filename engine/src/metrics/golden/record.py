"""Records the metric values that engine/src/metrics/tests.rs holds.

Needs numpy < 2, scipy, scikit-learn, and `pip install --no-deps imgad==0.6.0 pyimgano==0.9.1`.
scikit-learn gives the ranking metrics, imgad and pyimgano their own AUPRO. The MVTec script,
cflow-200, spade-filled-200 and anomalib-old are written here from their definitions, brute force
in f64 (the last from the algorithm in anomalib 2.2's documentation and source, with no torch).

    python record.py > golden.json
"""
import json

import numpy as np
from scipy import ndimage
from sklearn import metrics as sk

H, W, N = 24, 20, 5
LIMITS = (0.3, 0.05, 0.7)
EIGHT = np.ones((3, 3))


def masks():
    out = np.zeros((N, H, W), np.uint8)
    out[0, 2:8, 3:11] = 1
    out[0, 4:6, 5:9] = 0          # a hole
    out[0, 4, 6] = 1              # a region inside it
    out[0, 15:17, 2:4] = 1
    out[0, 17, 4] = 1             # touches by a corner
    for k in range(10):
        out[1, 3 + k, 5 + k] = 1  # a diagonal scratch
    out[1, 20, 0] = 1
    out[2, 10:14, 12:20] = 1
    return out


def scores(levels, exponential):
    state, gt = 7, masks()
    out = np.zeros((N, H, W), np.float32)
    for n in range(N):
        for y in range(H):
            for x in range(W):
                state = (state * 1103515245 + 12345) % 2**31
                level = (state >> 12) % levels + (levels * 2 // 5) * int(gt[n, y, x])
                out[n, y, x] = np.float32(level / 1024)
    return np.exp(out.astype(np.float64) * 8).astype(np.float32) if exponential else out


def ranking(y, s):
    p, r, _ = sk.precision_recall_curve(y, s)
    f1 = 2 * p * r / np.maximum(p + r, 1e-300)
    fpr, tpr, _ = sk.roc_curve(y, s, drop_intermediate=False)
    return {
        "auroc": sk.roc_auc_score(y, s),
        "ap": sk.average_precision_score(y, s),
        "f1max": f1.max(),
        "aupr_trapz": sk.auc(r, p),
        "fpr_at_95tpr": fpr[tpr >= 0.95].min(),
    }


def regions(gt, structure):
    for n, mask in enumerate(gt):
        lab, count = ndimage.label(mask, structure)
        for k in range(1, count + 1):
            yield n, lab == k


def exact(gt, maps, limit, structure=EIGHT):
    """Every distinct threshold, no sorting tricks."""
    parts = list(regions(gt, structure))
    xs, ys = [0.0], [0.0]
    for t in np.unique(maps)[::-1]:
        flagged = maps >= t
        xs.append(flagged[gt == 0].sum() / (gt == 0).sum())
        ys.append(np.mean([flagged[n][part].mean() for n, part in parts]))
    xs, ys = np.array(xs), np.array(ys)
    kept = xs <= limit
    x, y = list(xs[kept]), list(ys[kept])
    if x[-1] < limit:
        after = len(x)
        slope = (ys[after] - ys[after - 1]) / (xs[after] - xs[after - 1])
        x.append(limit)
        y.append(ys[after - 1] + slope * (limit - xs[after - 1]))
    return np.trapz(y, x) / limit


def linear(gt, maps, limit, filled):
    maps = maps.astype(np.float64)
    low, high = maps.min(), maps.max()
    delta = (high - low) / 200
    parts = list(regions(gt, EIGHT))
    areas = [part.sum() for _, part in parts]
    if filled:
        parts = [(n, ndimage.binary_fill_holes(part, EIGHT)) for n, part in parts]
    points = []
    for k in range(200):
        flagged = maps > (high - k * delta if filled else low + k * delta)
        pro = np.mean([flagged[n][part].sum() / a for (n, part), a in zip(parts, areas)])
        points.append((flagged[gt == 0].sum() / (gt == 0).sum(), pro))
    points = np.array(sorted(points))
    points = points[points[:, 0] <= limit] if filled else points[points[:, 0] < limit]
    if len(points) < 2 or points[-1, 0] == points[0, 0]:
        return None  # NaN in the originals
    x = (points[:, 0] - points[0, 0]) / (points[-1, 0] - points[0, 0])
    return np.trapz(points[:, 1], x)


def roc(s, y):
    levels = np.unique(s)[::-1]
    fpr = [0.0] + [(s[~y] >= t).mean() for t in levels]
    tpr = [0.0] + [(s[y] >= t).mean() for t in levels]
    return np.array(fpr), np.array(tpr)


def anomalib_old(gt, maps, limit):
    background = maps[gt == 0]
    levels = np.unique(maps)[::-1]
    size = 1 + sum((background >= t).mean() <= limit for t in levels)
    rates, overlaps = np.zeros(size), np.zeros(size)
    parts = list(regions(gt, EIGHT))
    for n, part in parts:
        own = maps[n][part]
        s = np.concatenate([background, own])
        fpr, tpr = roc(s, np.arange(len(s)) >= len(background))
        last = np.flatnonzero(fpr <= limit)[-1]
        new = np.arange(size, dtype=np.float64)
        if np.isclose(fpr[last], limit, rtol=1e-5, atol=1e-8):
            old = np.arange(last + 1) / last * (size - 1)
        else:
            last += 1
            part_way = 1 - (fpr[last] - limit) / (fpr[last] - fpr[last - 1])
            old = np.arange(last + 1) / last * (size - 1)
            new[-1] = old[-2] + (old[-1] - old[-2]) * part_way
        rates += np.interp(new, old, fpr[: last + 1])
        overlaps += np.interp(new, old, tpr[: last + 1])
    rates /= len(parts)
    overlaps /= len(parts)
    order = np.argsort(rates, kind="stable")
    return np.trapz(overlaps[order], rates[order]) / rates[-1]


def main():
    from imgad.evaluation import aupro as imgad_aupro
    from pyimgano.evaluation import compute_aupro as pyimgano_aupro

    gt, out = masks(), []
    for name, levels, exponential in [("fine", 1000, False), ("ties", 16, False), ("exp", 1000, True)]:
        maps = scores(levels, exponential)
        odd = maps[:3]
        pixel = ranking(gt.ravel(), maps.ravel())
        pixel["auroc_anomalous_only"] = sk.roc_auc_score(gt[:3].ravel(), odd.ravel())
        pixel["f1max_anomalous_only"] = ranking(gt[:3].ravel(), odd.ravel())["f1max"]
        image = ranking(gt.any((1, 2)), maps[:, 0, 0])
        table = {}
        for limit in LIMITS:
            table[str(limit)] = {
                "exact": exact(gt, maps, limit),
                "four": exact(gt, maps, limit, None),
                "cflow-200": linear(gt, maps, limit, False),
                "spade-filled-200": linear(gt, maps, limit, True),
                "quantile-500-4conn": imgad_aupro(list(gt > 0), list(maps), limit),
                "quantile-200": pyimgano_aupro(gt, maps, integration_limit=limit),
                "anomalib-old": anomalib_old(gt, maps, limit),
            }
        out.append({"name": name, "levels": levels, "exponential": exponential,
                    "sum": float(maps.astype(np.float64).sum()),
                    "pixel": pixel, "image": image, "aupro": table})
    print(json.dumps(out, indent=1, default=float))


main()
