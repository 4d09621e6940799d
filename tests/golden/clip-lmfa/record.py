"""Records CLIP-LMFA with its fusion off, from the reference libraries: `small.safetensors` (every stage), `tables.json`
(the final tables), `data/` and `prompts/`.

    python record.py

Needs what `../fade/record.py` needs, whose parts this uses: without its random vector CLIP-LMFA is FADE with other
sentences, other shots, and a score without references that is still the mean of both. `data/` is in MPDD's layout; the
sentences of `prompts/` are made here, in the schema and under the names of its repository, whose own are not copied.
"""

import json
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "fade"))
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.numpy import save_file

import images as surfaces
import record as fade

ROOT = HERE / "data"
CLASSES = ["bracket_black", "tubes"]
SIZES, AT = [32, 48, 80], 48
MODES = ["language", "vision", "both"]
# Numbers that its throw-away network takes from the generator, and the epochs of its training.
N_WEIGHTS, N_EPOCHS = 2_047_649, 8

OWN = {
    "chatgpt3.5_prompt1": (["a clean part", "an even surface"], ["a crack in the part", "a crack in the part", "rust"]),
    "chatgpt3.5_prompt2": (["straight edges"], ["a bent edge", "paint that is gone", "a hole", "a dent"]),
    "chatgpt3.5_prompt3": (["a sound part, as new"], ["a part that lasts", "a scratch across it"]),
    "chatgpt3.5_prompt4": (["nothing to see"], ["a stain", "a burr", "a missing end", "dirt", "a mark", "a gap"]),
    "chatgpt3.5_prompt5": (["a regular weave"], ["a chip off the rim"]),
}


def loader(n):
    return [int(i) for i in torch.utils.data.DataLoader(range(n), batch_size=1, shuffle=True)]


def shots(paths, n, seed):
    """What its loader gives after the network and its training have used the same generator."""
    torch.manual_seed(seed)
    torch.empty(N_WEIGHTS).uniform_()
    for _ in range(N_EPOCHS):
        loader(4)
    return [paths[i] for i in loader(len(paths))[:n]]


FEW = dict(shots=2, seed=111, says="clip", tells="gem", bank="clip", gain=3.5, weight=0.85, draw=shots)
ZERO = dict(shots=0, seed=111, says="clip", tells="gem", bank="gem", gain=8.0, weight=0.5, own=True, draw=shots,
            always_both=True)
VARIANTS = {f"{setting}-{model}": dict(variant, model=model)
            for setting, variant in [("few", FEW), ("zero", ZERO)] for model in ("average", "softmax", "max")}
FEATURES = {f"features-{says}-{tells}-{bank}": dict(FEW, model="average", says=says, tells=tells, bank=bank)
            for says in ("clip", "gem") for tells in ("clip", "gem") for bank in ("clip", "gem")}


def make_data():
    rng = np.random.default_rng(11)
    kinds = {"bracket_black": {"good": 2, "hole": 1, "scratches": 1}, "tubes": {"anomalous": 2, "good": 1}}
    for name, tests in kinds.items():
        surfaces.CLASS = name
        for i in range(4):
            surfaces.save(ROOT, f"train/good/{i:03}.png", surfaces.plate(64, 72, rng))
        for kind, n in tests.items():
            for i in range(n):
                size = (72, 64) if i else (80, 80)
                pixels, mask = surfaces.plate(*size, rng), np.zeros(size, bool)
                if kind == "good":
                    surfaces.save(ROOT, f"test/good/{i:03}.png", pixels)
                    continue
                if kind == "scratches":
                    along = np.arange(50)
                    mask[8 + along // 2, 10 + along] = mask[9 + along // 2, 10 + along] = True
                else:
                    surfaces.disc(mask, 40, 30 + 9 * i, 8)
                pixels[mask] = pixels[mask] * 0.4 + [60, 20, 0]
                surfaces.save(ROOT, f"test/{kind}/{i:03}.png", pixels)
                surfaces.save(ROOT, f"ground_truth/{kind}/{i:03}_mask.png", mask.astype(np.uint8) * 255)


def grid():
    return [[t.format(s.format("{classname}")) for t in fade.TEMPLATES for s in states]
            for states in (fade.STATES, fade.ANOMALOUS_STATES)]


def make_prompts():
    folder = HERE / "prompts"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, (normal, abnormal) in {"winclip_prompt": grid(), **OWN}.items():
        content = {key: {"instruction": "", "prompts": texts}
                   for key, texts in [("abnormal", abnormal), ("normal", normal)]}
        (folder / f"{name}.json").write_text(json.dumps(content, indent=0) + "\n")


def text_model(wrapper, subject, files):
    texts, labels = [], []
    for file in files:
        content = json.loads((HERE / "prompts" / f"{file}.json").read_text())
        for label, key in enumerate(["normal", "abnormal"]):
            texts += [text.replace("{classname}", subject) for text in content[key]["prompts"]]
            labels += [label] * len(content[key]["prompts"])
    with torch.no_grad():
        return wrapper.encode_text(texts)[0].numpy(), np.array(labels)


class Class:
    """One class: its images and what the model makes of them."""

    def __init__(self, wrapper, name):
        base = ROOT / name
        self.name = name
        self.trains = sorted((base / "train/good").iterdir())
        self.tests = sorted((base / "test").glob("*/*"))
        self.labels = np.array([path.parent.name != "good" for path in self.tests])
        self.masks = []
        for path, label in zip(self.tests, self.labels):
            mask = base / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"
            self.masks.append(np.array(Image.open(mask)) != 0 if label else np.zeros(Image.open(path).size[::-1], bool))
        self.raw = {path: fade.features(wrapper, path, SIZES) for path in self.trains + self.tests}
        self.unit = {path: {key: F.normalize(value, dim=-1) for key, value in raw.items()}
                     for path, raw in self.raw.items()}
        self.text = {"named": text_model(wrapper, name.replace("_", " "), ["winclip_prompt"]),
                     "generic": text_model(wrapper, "object", ["winclip_prompt", *OWN])}

    def stages(self, variants):
        out = {}
        for name, variant in variants.items():
            fade.record_variant(out, name, variant, SIZES, AT, self.text, self.unit, self.tests, self.trains,
                                self.masks, self.labels)
        return out


def row(values, names):
    return [float(values[f"{name}"]) for name in names]


IMAGE = ["image.auroc", "image.aupr_trapz", "image.f1max"]
PIXEL = ["pixel.auroc", "pixel.f1max", "pixel.aupro@0.3", "pixel.auroc_anomalous_only", "pixel.f1max_anomalous_only"]


def once(measure):
    """Pixel metrics of the same 8-bit maps are computed once: most runs share most of them."""
    seen = {}

    def wrapped(grids, scores, masks, labels):
        key = (b"".join(fade.eight_bit(grid).tobytes() for grid in grids), fade.EVAL, id(masks))
        if key not in seen:
            seen[key] = measure(grids, scores, masks, labels)
        scores = np.clip(scores, 0, 1)
        precision, recall, _ = fade.metrics.precision_recall_curve(labels, scores)
        return {**seen[key], "image.auroc": fade.metrics.roc_auc_score(labels, scores),
                "image.aupr_trapz": fade.metrics.auc(recall, precision), "image.f1max": fade.best_f1(labels, scores)}

    return wrapped


fade.fade_metrics = once(fade.fade_metrics)


def measured(of, maps, scores):
    values = fade.fade_metrics(maps, scores, of.masks, of.labels)
    return {"image": row(values, IMAGE), "pixel": row(values, PIXEL)}


def tables(classes):
    """By name of the run and class: image columns by classification mode, pixel columns by segmentation mode."""
    out = {}
    score_of = {"language": "says", "vision": "peak", "both": "verdict"}
    own = dict(FEW, model="average", own=True)
    for name, variant in {**VARIANTS, **FEATURES, "references-and-query": own}.items():
        for of in classes:
            made = of.stages({"x": variant})
            modes = {mode: measured(of, made[f"x.{mode}"], made[f"x.{score_of[mode]}"]) for mode in MODES}
            out.setdefault(name, {})[of.name] = {
                part: {mode: modes[mode][part] for mode in MODES} for part in ("image", "pixel")}
            out[name][of.name]["scores"] = {
                mode: np.clip(made[f"x.{score_of[mode]}"], 0, 1).tolist() for mode in MODES}
    for of in classes:
        made = of.stages({"x": VARIANTS["few-average"]})
        maps, scores = made["x.both"], made["x.verdict"]
        normalized = [(m - m.min()) / (m.max() - m.min()) for m in maps]
        fade.EVAL = 240
        out.setdefault("evaluated-at-240", {})[of.name] = measured(of, maps, scores)
        fade.EVAL = 448
        out.setdefault("normalized", {})[of.name] = measured(of, normalized, scores)
    return out


if __name__ == "__main__":
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    shutil.rmtree(ROOT, ignore_errors=True)
    make_data()
    make_prompts()
    wrapper = fade.load_model("small")
    classes = [Class(wrapper, name) for name in CLASSES]
    first = classes[0]
    out = first.stages(VARIANTS)
    for name, (embeddings, of) in first.text.items():
        out[f"text.{name}"] = embeddings[:: 1 if name == "named" else 9].copy()
        out[f"text.{name}.means"] = np.stack([embeddings[of == i].astype(np.float64).mean(0) for i in (0, 1)])
    for index, path in enumerate(first.tests):
        for key, value in first.raw[path].items():
            if key == f"clip.image@{AT}" or ".patches@" in key and index == 3:
                out[f"{key}.{index}"] = value.numpy().copy()
    file = HERE / "small.safetensors"
    save_file({key: np.ascontiguousarray(value) for key, value in out.items()}, file)
    file.chmod(0o644)
    (HERE / "tables.json").write_text(json.dumps(tables(classes), separators=(",", ":")).replace("},", "},\n") + "\n")
