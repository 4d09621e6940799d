"""Trains the starter model from folders of `loupe dataset make --set training --captions`.

    python train.py OUT FOLDER.. --bf16 [--steps N]

Resumable: run the same line again. OUT gets `last.pt` and, at the end, starter.json and starter.safetensors.
"""

import argparse
import json
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.tokenizer import SimpleTokenizer

from data import Products, draw, normalised, relit
from model import CONFIG, Starter, export
from words import Encoder, Vocabulary, ensemble, neutral


def options():
    p = argparse.ArgumentParser()
    p.add_argument("out", type=Path)
    p.add_argument("folders", nargs="+")
    p.add_argument("--steps", type=int, default=2000)
    p.add_argument("--until", type=int, default=10**9, help="stop at this step of the schedule")
    p.add_argument("--pairs", type=int, default=16)
    p.add_argument("--rate", type=float, default=1e-3)
    p.add_argument("--cosine", action="store_true", help="let the rate fall along a cosine from the start")
    p.add_argument("--decay", type=float, default=0.05)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--bf16", action="store_true")
    p.add_argument("--skip-families", nargs="*", default=[])
    p.add_argument("--skip-defects", nargs="*", default=[])
    p.add_argument("--config", default="{}", help="changes to the image tower, as JSON")
    p.add_argument("--grids", default="8,8,12,16", help="sides of the crops in tokens, one is drawn for each step")
    p.add_argument(
        "--scales", nargs=2, type=float, default=[0.36, 1.0], help="side of a picture's copy, in 256ths"
    )
    p.add_argument("--taps", type=int, nargs="*", default=[4])
    p.add_argument("--light", type=float, default=1.0)
    p.add_argument("--spots", type=float, default=0.0, help="share of the pictures with a soft spot of light")
    p.add_argument("--w-dense", type=float, default=1.0)
    p.add_argument("--w-class", type=float, default=0.5)
    p.add_argument("--w-caption", type=float, default=0.5)
    p.add_argument("--w-memory", type=float, default=1.0)
    p.add_argument("--w-neutral", type=float, default=0.3)
    p.add_argument("--ema", type=float, default=0.995)
    p.add_argument("--balance", type=float, default=2.0, help="weight of a damaged patch")
    return p.parse_args()


class Losses(torch.nn.Module):
    """The training losses and their own two numbers for each memory layer."""

    def __init__(self, n_memories, o):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.full((n_memories,), math.log(8.0)))
        self.bias = torch.nn.Parameter(torch.full((n_memories,), 2.5))
        self.o, self.ranks = o, {}

    def ranked(self):
        """AUROC of the patches since the last call, by loss."""
        out = {}
        for name, parts in self.ranks.items():
            logits, target = (torch.cat(p) for p in zip(*parts))
            order = logits.argsort()
            rank = torch.empty(len(order), dtype=torch.float64)
            rank[order] = torch.arange(1, len(order) + 1, dtype=torch.float64)
            n = target.sum().item()
            out[name] = round(((rank * target).sum().item() - n * (n + 1) / 2) / (n * (len(order) - n)), 3)
        self.ranks = {}
        return out

    def patches(self, name, logits, coverage):
        """BCE on patches; those the mask barely touches are left out, damaged ones weigh more."""
        target = (coverage >= 0.1).float()
        self.ranks.setdefault(name, []).append((logits.detach().flatten(), target.flatten()))
        weight = torch.where(coverage >= 0.1, self.o.balance, (coverage == 0).float())
        loss = F.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum")
        return loss / weight.sum()

    def memory(self, k, tokens, coverage):
        """Query patches against the nearest patch of the reference crop of the same product."""
        tokens = F.normalize(tokens.float(), dim=-1)
        reference, good, bad = tokens.chunk(3)
        query = torch.cat([good, bad], 1)
        nearest = (query @ reference.transpose(1, 2)).amax(-1)
        logits = self.gain[k].exp() * 4 * (1 - nearest) - self.bias[k]
        return self.patches(f"memory{k}", logits, torch.cat([torch.zeros_like(coverage), coverage], 1))

    def forward(self, model, out, text, batch):
        """`text`: normal [p,e], anomalous [p,e], neutral [2*p,e], captions [m,e]; unit rows."""
        o, (cls, tokens, embeddings, taps), coverage = self.o, out, batch["coverage"]
        scale = model.logit_scale.exp().clamp(max=100)
        cls, dense = F.normalize(cls.float(), dim=-1), F.normalize(embeddings.float(), dim=-1)
        axis = text["anomalous"] - text["normal"]
        pairs = len(coverage)
        cover = torch.cat([torch.zeros_like(coverage).repeat(2, 1), coverage])
        parts = {
            "dense": self.patches(
                "dense", scale * torch.einsum("nte,ne->nt", dense, axis.repeat(3, 1)), cover
            )
        }
        damaged = (cover.sum(1) >= 0.5).float()
        clear = (damaged + (cover.sum(1) == 0)).clamp(max=1)
        logits = scale * (cls * axis.repeat(3, 1)).sum(1)
        weight = clear * torch.where(damaged > 0, 1.5, 0.75)
        parts["class"] = F.binary_cross_entropy_with_logits(logits, damaged, weight)
        parts["memory"] = sum(self.memory(k, t, coverage) for k, t in enumerate([tokens, *taps])) / (
            1 + len(taps)
        )
        # Two sentences about nothing say nothing about damage: their difference is flat and unrelated to the mask.
        idle = text["neutral"][:pairs] - text["neutral"][pairs:]
        seen = torch.cat([dense[pairs : 2 * pairs], dense[2 * pairs :]], 1)
        margin = scale * torch.einsum("nte,ne->nt", seen, idle)
        mask = torch.cat([torch.zeros_like(coverage), coverage], 1)
        centred, mask = margin - margin.mean(1, keepdim=True), mask - mask.mean(1, keepdim=True)
        linked = (centred * mask).sum(1) / (centred.norm(dim=1) * mask.norm(dim=1) + 1e-3)
        parts["neutral"] = 0.1 * margin.square().mean() + linked.square().mean()
        logits = scale * cls @ text["captions"].t()
        match = batch["match"]
        share = match / match.sum(1, keepdim=True).clamp(min=1)
        forth = -(share * logits.log_softmax(1)).sum(1).mean()
        share = match / match.sum(0, keepdim=True).clamp(min=1)
        parts["caption"] = 0.5 * (forth - (share * logits.log_softmax(0)).sum(0).mean())
        total = sum(getattr(o, f"w_{name}") * value for name, value in parts.items())
        return total, parts


def spoken(name):
    return name.replace("_", " ")


def captions_of(products, rng, image):
    lines = products.captions[image]
    if lines and rng.random() < 0.7:
        return rng.choice(lines)
    family = spoken(products.family[products.owner[image]])
    defect = products.defect[image]
    if defect == "good":
        return rng.choice(["a photo of {}", "{} without defect", "intact {}", "the {} is undamaged"]).replace(
            "{}", family
        )
    return (
        rng.choice(["a photo of {} with {d}", "{d} on {}", "{} that has {d}", "{d}"])
        .replace("{}", family)
        .replace("{d}", spoken(defect))
    )


def batch_of(products, encoder, o, np_rng, rng, generator):
    """One step's pictures and sentences."""
    grid = int(rng.choice(o.grids.split(",")))
    pairs = max(2, round(o.pairs * 64 / grid**2))
    low, high = o.scales
    scale = math.exp(rng.uniform(math.log(low), math.log(high)))
    images, coverage, chosen, picked = draw(products, np_rng, pairs, grid, 8, scale)
    images = normalised(relit(images, generator, o.light, o.spots))
    normal, anomalous, counts = [], [], []
    for p, bad in zip(chosen, picked[2]):
        n, name = rng.randint(1, 4), spoken(products.family[p])
        normal += ensemble(rng, name, False, n, products.captions[picked[0][len(counts)]])
        anomalous += ensemble(rng, name, True, n, products.captions[bad])
        counts.append(n)
    idle = [neutral(rng) for _ in range(2 * pairs)]
    index = picked.reshape(-1)
    said = [captions_of(products, rng, i) for i in index]
    rows, ends = encoder(normal + anomalous + idle + said, 0.03, rng)
    # A caption fits every picture of its family and state whose crop shows that state.
    state = [
        (products.family[chosen[k % pairs]], products.defect[i] if k >= 2 * pairs else "good")
        for k, i in enumerate(index)
    ]
    shows = [k < 2 * pairs or bool(coverage[k - 2 * pairs].sum() >= 0.3) for k in range(3 * pairs)]
    match = torch.tensor([[float(a == b and shows[i]) for b in state] for i, a in enumerate(state)])
    corner = (rng.randrange(99), rng.randrange(99))
    return dict(
        images=images, coverage=coverage, rows=rows, ends=ends, counts=counts, match=match, corner=corner
    )


def texts_of(model, batch):
    """Prompt ensembles as normalised means, and the rest as it is."""
    vectors = model.encode_text(batch["rows"], batch["ends"]).float()
    counts, n = batch["counts"], sum(batch["counts"])
    owner = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))

    def mean(part):
        return F.normalize(torch.zeros(len(counts), part.shape[1]).index_add(0, owner, part), dim=-1)

    pairs = len(counts)
    return dict(
        normal=mean(vectors[:n]),
        anomalous=mean(vectors[n : 2 * n]),
        neutral=vectors[2 * n : 2 * n + 2 * pairs],
        captions=vectors[2 * n + 2 * pairs :],
    )


class Run:
    """All that a checkpoint holds: weights, their running mean, the optimiser and the three random generators."""

    def __init__(self, o, products, vocabulary):
        self.o, self.products, self.vocabulary, self.step = o, products, vocabulary, 0
        self.config = json.loads(json.dumps(CONFIG))
        self.config["vision_cfg"].update(json.loads(o.config))
        self.model, self.losses = Starter(self.config, len(vocabulary.ids)), Losses(2 + len(o.taps), o)
        named = [*self.model.named_parameters(), *self.losses.named_parameters()]
        decayed = {name for name, p in named if p.ndim >= 2 and "positional" not in name}
        groups = [
            {"params": [p for name, p in named if name in decayed], "weight_decay": o.decay},
            {"params": [p for name, p in named if name not in decayed], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=o.rate, betas=(0.9, 0.98), foreach=True)
        self.average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.rng, self.np_rng = random.Random(o.seed), np.random.default_rng(o.seed)
        self.generator = torch.Generator().manual_seed(o.seed)

    def save(self):
        """Writes the checkpoint in one move, and the running mean as a model."""
        kept = {
            "model": self.model.state_dict(),
            "losses": self.losses.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average,
            "step": self.step,
            "rng": self.rng.getstate(),
            "np_rng": self.np_rng.bit_generator.state,
            "generator": self.generator.get_state(),
        }
        torch.save(kept, self.o.out / "last.tmp")
        (self.o.out / "last.tmp").rename(self.o.out / "last.pt")
        mean = Starter(self.config, len(self.vocabulary.ids))
        mean.load_state_dict(self.average)
        export(mean, self.vocabulary, self.o.out)

    def restore(self):
        """Goes on from the checkpoint, if there is one."""
        if not (self.o.out / "last.pt").exists():
            return
        kept = torch.load(self.o.out / "last.pt", weights_only=False)
        for name in ("model", "losses", "optimiser"):
            getattr(self, name).load_state_dict(kept[name])
        self.average, self.step = kept["average"], kept["step"]
        self.rng.setstate(kept["rng"])
        self.np_rng.bit_generator.state = kept["np_rng"]
        self.generator.set_state(kept["generator"])

    def advance(self, encoder):
        """One step; gives the losses by name."""
        o = self.o
        warm = min(1, (self.step + 1) / 150)
        # Constant, then straight to 0 over the last third: a run can be made longer before that third begins.
        left = 1 - self.step / o.steps
        rate = o.rate * warm * (0.5 - 0.5 * math.cos(math.pi * left) if o.cosine else min(1, 3 * left))
        for group in self.optimiser.param_groups:
            group["lr"] = max(rate, o.rate * 0.005)
        batch = batch_of(self.products, encoder, o, self.np_rng, self.rng, self.generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=o.bf16):
            out = self.model.visual(batch["images"], tuple(o.taps), batch["corner"])
            text = texts_of(self.model, batch)
        total, parts = self.losses(self.model, out, text, batch)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        keep = min(o.ema, (1 + self.step) / (10 + self.step))
        values = [value.detach() for value in self.model.state_dict().values()]
        torch._foreach_mul_(list(self.average.values()), keep)
        torch._foreach_add_(list(self.average.values()), values, alpha=1 - keep)
        return {name: float(value.detach()) for name, value in parts.items()}


def vocabulary_of(tokenizer, products):
    """Every word of the recipe's sentences, of the captions and of the names."""
    extra = {line for lines in products.captions for line in lines}
    extra |= {spoken(word) for word in products.family + products.defect}
    extra |= {"without on that has with is the", "undamaged photo"}
    return Vocabulary.of(tokenizer, extra)


def main():
    o = options()
    o.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(o.threads)
    torch.manual_seed(o.seed)
    products = Products(o.folders, o.skip_families, o.skip_defects)
    tokenizer = SimpleTokenizer()
    vocabulary = vocabulary_of(tokenizer, products)
    run = Run(o, products, vocabulary)
    encoder = Encoder(tokenizer, vocabulary, run.config["text_cfg"]["context_length"])
    size = sum(p.numel() for p in run.model.parameters()) / 1e6
    print(
        f"{len(products)} products, {len(products.images)} pictures, {len(vocabulary.ids)} words, {size:.2f} M parameters"
    )
    run.restore()
    log, began, first = {}, time.time(), run.step
    last = min(o.steps, o.until)
    while run.step < last:
        for name, value in run.advance(encoder).items():
            log[name] = log.get(name, 0) * 0.97 + value * 0.03
        if run.step % 50 == 0:
            fix = 1 - 0.97 ** (run.step - first)
            parts = " ".join(f"{name} {value / fix:.4f}" for name, value in log.items())
            print(f"{run.step} {time.time() - began:.0f} s {parts} {run.losses.ranked()}", flush=True)
        if run.step % 250 == 0 or run.step == last:
            run.save()


if __name__ == "__main__":
    main()
