"""Records FADE, stage by stage, from the reference libraries: `small.safetensors`, `wide.safetensors` and `data/`.

    python record.py

Needs torch 2.2.0, torchvision 0.17.0, open_clip_torch 2.24.0, gem-torch 1.0.1, Pillow 10.2, opencv-python,
scikit-learn, scipy, numpy < 2, safetensors. Two of them give other numbers in later versions, without an error:
open_clip 2.26 and later feed gem-torch's trunk the wrong way round, and Pillow 13 resizes columns before rows where the
height shrinks much more than the width (its pull request 9549).
The features come from open_clip's model inside gem-torch's wrapper, the resizes from Pillow, OpenCV and torchvision,
the metrics from scikit-learn and SciPy. What stands here is the mathematics between them, after arXiv:2409.00556 and the
behaviour of its released code. The weights follow the rule of `weights.py`; `data/` is made by `images.py`.
"""

import json
import pathlib
import shutil
import warnings

warnings.filterwarnings("ignore")
import cv2
import gem.gem_wrapper
import numpy as np
import open_clip
import PIL
import scipy.ndimage
import torch
import torch.nn.functional as F
import torchvision.transforms.functional as TF
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from PIL import Image
from safetensors.numpy import save_file
from sklearn import metrics

import images
import weights

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE / "data"
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
EVAL = 448

STATES = ["{}", "flawless {}", "perfect {}", "unblemished {}", "{} without flaw", "{} without defect",
          "{} without damage"]
ANOMALOUS_STATES = ["damaged {}", "{} with flaw", "{} with defect", "{} with damage"]
# The order of a label's sentences changes no result; this is the order of the recorded embeddings.
TEMPLATES = [
    "a cropped photo of the {}", "a cropped photo of a {}", "a close-up photo of a {}", "a close-up photo of the {}",
    "a bright photo of a {}", "a bright photo of the {}", "a dark photo of the {}", "a dark photo of a {}",
    "a jpeg corrupted photo of a {}", "a jpeg corrupted photo of the {}", "a blurry photo of the {}",
    "a blurry photo of a {}", "a photo of a {}", "a photo of the {}", "a photo of a small {}",
    "a photo of the small {}", "a photo of a large {}", "a photo of the large {}",
    "a photo of the {} for visual inspection", "a photo of a {} for visual inspection",
    "a photo of the {} for anomaly detection", "a photo of a {} for anomaly detection"]

# A variant of the pipeline: shots and their seed; the feature behind the image score, the language map and the bank;
# the text model; gain of the vision map; its weight in `both`; whether a query's own patches join the bank.
SMALL = {
    "few": dict(shots=1, seed=0, says="clip", tells="gem", bank="clip", model="average", gain=3.5, weight=0.85),
    "more": dict(shots=2, seed=3, says="gem", tells="clip", bank="gem", model="softmax", gain=2.0, weight=0.5),
    "zero": dict(shots=0, seed=0, says="clip", tells="gem", bank="gem", model="max", gain=8.0, weight=0.5, own=True),
    "mixed": dict(shots=1, seed=1, says="gem", tells="gem", bank="clip", model="average", gain=5.0, weight=0.7,
                  own=True),
}
WIDE = {"few": SMALL["few"]}


def load_model(name):
    config = json.loads((HERE / f"{name}.json").read_text())
    clip = CLIP(config["embed_dim"], CLIPVisionCfg(**config["vision_cfg"]), CLIPTextCfg(**config["text_cfg"]),
                quick_gelu=config.get("quick_gelu", False)).eval()
    with torch.no_grad():
        for key, parameter in clip.named_parameters():
            if key != "logit_scale":
                parameter.copy_(torch.from_numpy(weights.weight(key, tuple(parameter.shape))))
    return gem.gem_wrapper.GEMWrapper(clip, open_clip.get_tokenizer("ViT-B-32")).eval()


def sentences(subject):
    """Normal, then anomalous sentences of each source."""
    grid = [[t.format(s.format(subject)) for t in TEMPLATES for s in states] for states in (STATES, ANOMALOUS_STATES)]
    sources = [grid]
    if subject == "object":
        own = json.loads((HERE / "prompts.json").read_text())
        sources.append([[p.replace("{classname}", subject) for p in own[label]["prompts"]]
                        for label in ("normal", "abnormal")])
    return ([text for source in sources for label in source for text in label],
            np.array([i for source in sources for i, label in enumerate(source) for _ in label]))


@torch.no_grad()
def text_model(wrapper, subject):
    """Unit embeddings [n, d] and labels [n]. `encode_text` of the wrapper wraps every sentence once more."""
    texts, labels = sentences(subject)
    return wrapper.encode_text(texts)[0].numpy(), labels


def probability(tokens, embeddings, labels, model):
    """P(anomalous) of unit tokens [..., d] in f64."""
    scaled = (100 * tokens).double().numpy()
    embeddings = embeddings.astype(np.float64)
    if model == "average":
        embeddings = np.stack([embeddings[labels == i].mean(0) for i in (0, 1)])
        labels = np.array([0, 1])
    logits = scaled @ embeddings.T
    if model == "max":
        logits = np.stack([logits[..., labels == i].max(-1) for i in (0, 1)], -1)
        labels = np.array([0, 1])
    logits = np.exp(logits - logits.max(-1, keepdims=True))
    return (logits / logits.sum(-1, keepdims=True))[..., labels == 1].sum(-1)


def prepared(path, size):
    """u8 [h, w, 3] and the normalised tensor [3, h, w]."""
    image = Image.open(path).convert("RGB").resize((size, size), Image.BICUBIC)
    return np.array(image), TF.normalize(TF.to_tensor(image), MEAN, STD)


@torch.no_grad()
def features(wrapper, path, sizes):
    """Raw CLS [d] and patches [g, g, d] per kind and size."""
    out = {}
    for size in sizes:
        grid = size // wrapper.patch_size
        gem_tokens, clip_tokens = wrapper.model.visual(prepared(path, size)[1][None])
        for kind, tokens in [("clip", clip_tokens[0]), ("gem", gem_tokens[0])]:
            out[f"{kind}.image@{size}"] = tokens[0]
            out[f"{kind}.patches@{size}"] = tokens[1:].reshape(grid, grid, -1)
    return out


def shots(paths, n, seed):
    torch.manual_seed(seed)
    order = [int(i) for i in torch.utils.data.DataLoader(range(len(paths)), batch_size=1, shuffle=True)]
    return [paths[i] for i in order[:n]]


def distance(query, bank, own):
    """Half the cosine distance of unit patches [g, g, d] to the nearest row, or to the second where its own are in."""
    patches = query.reshape(-1, query.shape[-1])
    rows = torch.cat(bank + ([patches] if own else []))
    return (0.5 * (1 - patches @ rows.T)).kthvalue(2 if own else 1, 1).values.reshape(query.shape[:2]).numpy()


def finest(maps):
    side = max(len(part) for part in maps)
    return np.mean([cv2.resize(part, (side, side), interpolation=cv2.INTER_LINEAR) for part in maps], axis=0)


def eight_bit(grid):
    return (np.clip(grid, 0, 1) * 255).astype(np.uint8)


def best_f1(labels, scores):
    precision, recall, _ = metrics.precision_recall_curve(labels, scores)
    both = precision + recall
    return np.max(np.where(both > 0, 2 * precision * recall / np.where(both > 0, both, 1), 0))


def aupro(maps, masks, limit):
    """Area under the mean overlap of 8-connected regions over the false positive rate, to `limit`, over `limit`."""
    scores = np.concatenate([m.ravel() for m in maps])
    thresholds = np.unique(scores)[::-1]
    normal = np.sort(np.concatenate([m[~k] for m, k in zip(maps, masks)]))
    overlaps = []
    for m, mask in zip(maps, masks):
        regions, n_regions = scipy.ndimage.label(mask, np.ones((3, 3)))
        for i in range(1, n_regions + 1):
            region = np.sort(m[regions == i])
            overlaps.append(1 - np.searchsorted(region, thresholds) / len(region))
    rates = np.concatenate([[0], 1 - np.searchsorted(normal, thresholds) / len(normal)])
    overlap = np.concatenate([[0], np.mean(overlaps, 0)])
    inside = rates <= limit
    end = np.interp(limit, rates[np.sum(inside) - 1 :], overlap[np.sum(inside) - 1 :])
    x, y = np.append(rates[inside], limit), np.append(overlap[inside], end)
    return np.trapz(y, x) / limit


def fade_metrics(grids, scores, masks, labels):
    """FADE's own protocol: 8-bit maps and masks at 448 x 448."""
    maps = [cv2.resize(eight_bit(g), (EVAL, EVAL), interpolation=cv2.INTER_LINEAR) for g in grids]
    resized = [TF.resize(torch.from_numpy(k[None].astype(np.float32)), [EVAL, EVAL], antialias=True)[0].numpy() > 0.5
               for k in masks]
    scores = np.clip(scores, 0, 1)
    precision, recall, _ = metrics.precision_recall_curve(labels, scores)
    defects = [i for i, k in enumerate(resized) if k.any()]
    flat = lambda parts, chosen: np.concatenate([parts[i].ravel() for i in chosen])
    every = range(len(maps))
    return {
        "image.auroc": metrics.roc_auc_score(labels, scores),
        "image.aupr_trapz": metrics.auc(recall, precision),
        "image.f1max": best_f1(labels, scores),
        "pixel.auroc": metrics.roc_auc_score(flat(resized, every), flat(maps, every)),
        "pixel.f1max": best_f1(flat(resized, every), flat(maps, every)),
        "pixel.auroc_anomalous_only": metrics.roc_auc_score(flat(resized, defects), flat(maps, defects)),
        "pixel.f1max_anomalous_only": best_f1(flat(resized, defects), flat(maps, defects)),
        "pixel.aupro@0.3": aupro(maps, resized, 0.3),
        "pixel.aupro@0.05": aupro(maps, resized, 0.05),
    }


def native_metrics(maps, scores, masks, labels):
    """The exact definitions on float maps at the masks' own size."""
    values, marked = np.concatenate([m.ravel() for m in maps]), np.concatenate([k.ravel() for k in masks])
    return {
        "image.auroc": metrics.roc_auc_score(labels, scores),
        "image.ap": metrics.average_precision_score(labels, scores),
        "image.f1max": best_f1(labels, scores),
        "pixel.auroc": metrics.roc_auc_score(marked, values),
        "pixel.ap": metrics.average_precision_score(marked, values),
        "pixel.f1max": best_f1(marked, values),
        "pixel.aupro@0.3": aupro(maps, masks, 0.3),
        "pixel.aupro@0.05": aupro(maps, masks, 0.05),
    }


def upsampled(grid, size):
    """Bilinear with half-pixel centres, in f64."""
    return F.interpolate(torch.from_numpy(grid.astype(np.float64))[None, None], size, mode="bilinear")[0, 0].numpy()


def stretched(grid, size):
    """Each pixel takes a cell as it is: the numbers of the grid themselves at the size of a mask."""
    rows, columns = [np.arange(n) * g // n for n, g in zip(size, grid.shape)]
    return grid[np.ix_(rows, columns)]


def record_variant(out, name, variant, sizes, at, text, unit, tests, trains, masks, labels):
    """`unit`: unit features by path; `at`: the size of the image score."""
    own = variant.get("own", False)
    references = variant.get("draw", shots)(trains, variant["shots"], variant["seed"])
    # FADE: with no shots the score is the words' alone.
    judged_by_both = bool(references) or variant.get("always_both", False)
    bank = {s: [unit[p][f"{variant['bank']}.patches@{s}"].flatten(0, 1) for p in references] for s in sizes}
    maps, scores = {"language": [], "vision": [], "both": []}, {"says": [], "peak": [], "verdict": []}
    for index, path in enumerate(tests):
        says = probability(unit[path][f"{variant['says']}.image@{at}"], *text["named"], variant["model"])
        tells = [probability(unit[path][f"{variant['tells']}.patches@{s}"], *text["generic"], variant["model"])
                 for s in sizes]
        differs = [distance(unit[path][f"{variant['bank']}.patches@{s}"], bank[s], own) for s in sizes]
        language, vision = finest(tells), finest(differs) * np.float32(variant["gain"])
        w = variant["weight"]
        for key, value in [("language", language), ("vision", vision), ("both", (1 - w) * language + w * vision)]:
            maps[key].append(value)
        peak = float(vision.max())
        for key, value in [("says", float(says)), ("peak", peak), ("verdict", (float(says) + peak) / 2)]:
            scores[key].append(value)
        for s, a, b in zip(sizes, tells, differs):
            out[f"{name}.tells@{s}.{index}"], out[f"{name}.differs@{s}.{index}"] = a.astype(np.float32), b
    for key in maps:
        out[f"{name}.{key}"] = np.stack(maps[key]).astype(np.float32)
        out[f"{name}.{key}.u8"] = np.stack([eight_bit(m) for m in maps[key]])
        if name == "few":
            for index, (m, mask) in enumerate(zip(maps[key], masks)):
                out[f"{name}.{key}.full.{index}"] = upsampled(m.astype(np.float32), mask.shape)[::7, ::7]
        assert all((eight_bit(m) == eight_bit(m.astype(np.float32))).all() for m in maps[key])
    for key in ("says", "peak") + (("verdict",) if judged_by_both else ()):
        out[f"{name}.{key}"] = np.array(scores[key])
    if references:
        out[f"{name}.bank@{min(sizes)}"] = torch.cat(bank[min(sizes)]).numpy()
    for mode, map_key, score_key in [("both", "both", "verdict" if judged_by_both else "says"),
                                     ("language", "language", "says"), ("vision", "vision", "peak")]:
        score = np.array(scores[score_key])
        grids = [m.astype(np.float32) for m in maps[map_key]]
        sets = {"fade-448-u8": fade_metrics(maps[map_key], score, masks, labels),
                "native": native_metrics([upsampled(g, k.shape) for g, k in zip(grids, masks)],
                                         np.float32(score) if mode == "vision" else score, masks, labels)}
        if mode == "both":
            stretch = [stretched(g, k.shape) for g, k in zip(grids, masks)]
            sets["stretched"] = native_metrics(stretch, [m.max() for m in stretch], masks, labels)
        for protocol, values in sets.items():
            for metric, value in values.items():
                out[f"{name}.{mode}.{protocol}.{metric}"] = np.array([value], np.float64)


def record(model, sizes, at, variants, kept):
    """`kept`: indices of the test images whose patches are recorded."""
    wrapper = load_model(model)
    trains = sorted((ROOT / images.CLASS / "train/good").iterdir())
    tests = sorted((ROOT / images.CLASS / "test").glob("*/*"))
    labels = np.array([path.parent.name != "good" for path in tests])
    masks = []
    for path, label in zip(tests, labels):
        mask = ROOT / images.CLASS / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"
        masks.append(np.array(Image.open(mask)) != 0 if label else np.zeros(Image.open(path).size[::-1], bool))
    out, unit = {}, {}
    text = {name: text_model(wrapper, subject)
            for name, subject in [("named", images.CLASS.replace("_", " ")), ("generic", "object")]}
    for name, (embeddings, of) in text.items():
        out[f"text.{name}"] = embeddings[:: 1 if name == "named" else 9].copy()
        out[f"text.{name}.means"] = np.stack([embeddings[of == i].astype(np.float64).mean(0) for i in (0, 1)])
    for path in trains + tests:
        raw = features(wrapper, path, sizes)
        unit[path] = {key: F.normalize(value, dim=-1) for key, value in raw.items()}
        if path in tests:
            index = tests.index(path)
            for size in sizes:
                eight, pixels = prepared(path, size)
                digest = weights.fnv1a64(np.ascontiguousarray(pixels.numpy()).tobytes())
                out[f"pixels@{size}.{index}.digest"] = np.frombuffer(digest.to_bytes(8, "little"), np.uint8)
                if size == min(sizes) and model == "small":
                    out[f"pixels@{size}.{index}.u8"] = eight
            for key, value in raw.items():
                scored = key in {f"{variant['says']}.image@{at}" for variant in variants.values()}
                if scored or ".patches@" in key and index in kept:
                    step = 1 if model == "small" or ".image@" in key else 3
                    value = value[::step, ::step] if value.ndim == 3 else value
                    out[f"{key}.{index}"] = value.numpy().copy()
    for name, variant in variants.items():
        record_variant(out, name, variant, sizes, at, text, unit, tests, trains, masks, labels)
    file = HERE / f"{model}.safetensors"
    save_file({key: np.ascontiguousarray(value) for key, value in out.items()}, file)
    file.chmod(0o644)
    for name in variants:
        spread = {key: [float(out[f"{name}.{key}"].min()), float(out[f"{name}.{key}"].max())]
                  for key in ("says", "peak", "language", "vision", "both")}
        print(model, name, {key: np.round(value, 3).tolist() for key, value in spread.items()})


if __name__ == "__main__":
    assert int(PIL.__version__.split(".")[0]) < 13, "Pillow 13 resizes in another order than FADE's Pillow did"
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    shutil.rmtree(ROOT, ignore_errors=True)
    images.make(ROOT)
    record("small", [32, 48, 80], 48, SMALL, kept=(0, 4))
    record("wide", [240, 448], 240, WIDE, kept=(3,))
