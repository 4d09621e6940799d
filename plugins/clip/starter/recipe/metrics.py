"""Image AUROC, pixel AUROC and AUPRO at a limit of false positives, on arrays."""

import numpy as np
from scipy.ndimage import label
from scipy.stats import rankdata


def auroc(scores, labels):
    """Area under the ROC curve; ties count half."""
    labels = np.asarray(labels, bool).ravel()
    ranks = rankdata(np.asarray(scores).ravel())
    n_pos, n_neg = labels.sum(), (~labels).sum()
    return (ranks[labels].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg)


def pixel_metrics(maps, masks, limit=0.3):
    """Pixel AUROC and AUPRO up to a false positive rate of `limit`. Shapes: [n,h,w] both."""
    masks = masks.astype(bool)
    weight = np.zeros(masks.shape)
    n_regions = 0
    for k, mask in enumerate(masks):
        regions, n = label(mask, np.ones((3, 3)))
        sizes = np.bincount(regions.ravel(), minlength=n + 1)
        weight[k] = np.where(regions > 0, 1.0 / sizes[regions], 0.0)
        n_regions += n
    order = np.argsort(-maps.ravel(), kind="stable")
    hit = masks.ravel()[order]
    false = np.cumsum(~hit) / (~hit).sum()
    true = np.cumsum(hit) / hit.sum()
    overlap = np.cumsum(weight.ravel()[order]) / n_regions
    area = np.trapz(true, false)
    end = np.searchsorted(false, limit, side="right")
    x, y = np.append(false[:end], limit), np.append(overlap[:end], overlap[min(end, len(overlap) - 1)])
    return area, np.trapz(y, x) / limit
