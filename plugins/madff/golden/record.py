"""Cuts the golden files of this folder from the recorded ClipMPCAD model (synthetic weights, PyTorch, CPU, f32).

    python record.py TINY_DIR      # holds tiny_weights.safetensors and tiny_tensors.safetensors

The recorded tokens (`fwd*`, `adapter*`) come from the original's modules and are copied as they are. What was not
recorded, the stream in front of each tap and behind it, is computed here by the formulas of CLIP's blocks and of the
adapters; the script refuses to write unless that walk arrives at every recorded token and at the pooled output.
Gradients are those of torch's autograd through the same formulas, for cotangents that a seed draws.
Needs torch 2.2.0 and safetensors.
"""

import os
import sys
from collections import OrderedDict

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
TAPS, N_HEADS, N_BLOCKS = [2, 4, 6, 8], 4, 8


def block(w, i, x, quick):
    p = f"clip.visual.transformer.resblocks.{i}."
    n, c = x.shape[1], x.shape[2]
    h = F.layer_norm(x, (c,), w[p + "ln_1.weight"], w[p + "ln_1.bias"])
    q, k, v = (h @ w[p + "attn.in_proj_weight"].T + w[p + "attn.in_proj_bias"]).chunk(3, -1)
    q, k, v = (t.reshape(1, n, N_HEADS, c // N_HEADS).transpose(1, 2) for t in (q, k, v))
    a = F.softmax(q @ k.transpose(-1, -2) / (c // N_HEADS) ** 0.5, -1) @ v
    x = x + a.transpose(1, 2).reshape(1, n, c) @ w[p + "attn.out_proj.weight"].T + w[p + "attn.out_proj.bias"]
    h = F.layer_norm(x, (c,), w[p + "ln_2.weight"], w[p + "ln_2.bias"])
    h = h @ w[p + "mlp.c_fc.weight"].T + w[p + "mlp.c_fc.bias"]
    h = h * torch.sigmoid(1.702 * h) if quick else F.gelu(h)
    return x + h @ w[p + "mlp.c_proj.weight"].T + w[p + "mlp.c_proj.bias"]


def madff(w, p, x, gates=(True, True, True), tokens=(0.4, 0.2, 0.2, 0.2), stream=(0.3, 0.2, 0.2, 0.3)):
    squeeze = lambda name, t: F.relu(t @ w[f"{p}{name}.fc.0.weight"].T) @ w[f"{p}{name}.fc.2.weight"].T
    channel, spatial, frequency = gates
    ca = torch.sigmoid(2 * squeeze("channel_attention", x)) * x if channel else x
    kernel, bias = w[p + "spatial_attention.conv.weight"], w[p + "spatial_attention.conv.bias"]
    pooled = kernel[0, 0, 3] * ca.mean(-1, True) + kernel[0, 1, 3] * ca.max(-1, True).values + bias
    sa = torch.sigmoid(pooled) * ca if spatial else ca
    fa = torch.sigmoid(squeeze("frequency_attention", torch.fft.fft(x).abs())) * x if frequency else x
    down = lambda t: F.leaky_relu(t @ w[p + "fc1.0.weight"].T)
    med = sum(weight * down(t) for weight, t in zip(tokens, (x, ca, sa, fa)))
    up = F.leaky_relu(med @ w[p + "fc2.0.weight"].T)
    return med, sum(weight * t for weight, t in zip(stream, (up, ca, sa, fa)))


def mvfa(w, p, x):
    med = F.leaky_relu(x @ w[p + "fc1.0.weight"].T)
    return med, F.leaky_relu(med @ w[p + "fc2.0.weight"].T)


def projector(w, p, x):
    y = x @ w[p + "proj.0.weight"].T
    return F.layer_norm(y, y.shape[-1:], w[p + "proj.1.weight"], w[p + "proj.1.bias"]), None


def walk(w, stem, adapter, group, quick=False):
    """Every stream in front of a tap and behind it, every head's tokens, and the pooled output."""
    out, x = {}, stem
    for i in range(N_BLOCKS):
        x = block(w, i, x, quick)
        if i + 1 in TAPS:
            j = TAPS.index(i + 1)
            out[f"stream.{j}"] = x
            made = {head: adapter(w, group.format(head=head, j=j), x) for head in ("seg", "det")}
            for head, (med, _) in made.items():
                out[f"{head}.{j}"] = med
            if made["seg"][1] is not None:
                x = 0.8 * x + 0.1 * made["seg"][1] + 0.1 * made["det"][1]
                out[f"next.{j}"] = x
    v = "clip.visual."
    c = x.shape[-1]
    out["embedding"] = F.layer_norm(x[:, 0], (c,), w[v + "ln_post.weight"], w[v + "ln_post.bias"]) @ w[v + "proj"]
    return out


def gradients(w, x, adapter, group, tap, flows, seed, **keys):
    """Cotangents of a step's tokens and of the stream that flows on, and what torch's autograd makes of them."""
    draw = torch.Generator().manual_seed(seed)
    x = x.clone().requires_grad_()
    mine = {k: v.clone().requires_grad_() for k, v in w.items() if any(
        k.startswith(group.format(head=head, j=tap)) for head in ("seg", "det"))}
    made = {head: adapter(mine, group.format(head=head, j=tap), x, **keys) for head in ("seg", "det")}
    out, outputs = {}, {head: med for head, (med, _) in made.items()}
    if flows:
        outputs["next"] = 0.8 * x + 0.1 * made["seg"][1] + 0.1 * made["det"][1]
    for name, output in outputs.items():
        out[f"cotangent.{name}"] = torch.randn(output.shape, generator=draw)
    torch.autograd.backward(list(outputs.values()), [out[f"cotangent.{name}"] for name in outputs])
    out |= {"rows": x.detach(), "gradient.rows": x.grad}
    prefix = group.split("{")[0]
    return out | {f"gradient.{k.removeprefix(prefix)}": v.grad for k, v in mine.items() if v.grad is not None}


def record_gradients(w, walks):
    adapters, projectors = "init.{head}_adapters.{j}.", "proj.{head}_projectors.{j}."
    row = lambda variant, tap: walks[variant][f"stream.{tap}"]
    x = row("fwd", 1)
    cases = {
        "madff": (x, madff, adapters, 1, True, {}),
        "madff_last": (row("fwd", 3), madff, adapters, 3, False, {}),
        "madff_channel_off": (x, madff, adapters, 1, True, {"gates": (False, True, True)}),
        "madff_spatial_off": (x, madff, adapters, 1, True, {"gates": (True, False, True)}),
        "madff_frequency_off": (x, madff, adapters, 1, True, {"gates": (True, True, False)}),
        "madff_weights": (x, madff, adapters, 1, True, {"tokens": (0.0, 0.7, -0.4, 0.3),
                                                        "stream": (0.5, 0.0, 0.6, -0.2)}),
        "mvfa": (row("fwd_mvfa", 1), mvfa, adapters, 1, True, {}),
        "mvfa_last": (row("fwd_mvfa", 3), mvfa, adapters, 3, False, {}),
        "projector": (row("fwd_projector", 1), projector, projectors, 1, False, {}),
    }
    made = {name: gradients(w, *case, seed=seed, **keys) for seed, (name, (*case, keys)) in enumerate(cases.items())}
    return {f"{name}.{k}": v for name, case in made.items() for k, v in case.items()}


def record_checkpoint(w):
    """The first tap's adapters as the original saves them: a state dictionary of modules for each head."""
    def state(head):
        prefix = f"init.{head}_adapters."
        out = OrderedDict((k.removeprefix(prefix), v.clone()) for k, v in w.items() if k.startswith(f"{prefix}0."))
        out._metadata = OrderedDict({"": {"version": 1}, "0": {"version": 1}})
        return out
    torch.save({"seg_adapters": state("seg"), "det_adapters": state("det")}, f"{HERE}/adapters.pth")


def agree(name, got, want):
    error = ((got - want).abs().max() / want.square().mean().sqrt()).item()
    print(f"{name}: {error:.1e}")
    assert error < 5e-6, name


def main(folder):
    w, t = load_file(f"{folder}/tiny_weights.safetensors"), load_file(f"{folder}/tiny_tensors.safetensors")
    adapters, projectors = "init.{head}_adapters.{j}.", "proj.{head}_projectors.{j}."
    walks = {"fwd": walk(w, t["fwd.stem"], madff, adapters), "fwd_mvfa": walk(w, t["fwd.stem"], mvfa, adapters),
             "fwd_quickgelu": walk(w, t["fwd.stem"], madff, adapters, quick=True),
             "fwd_projector": walk(w, t["fwd.stem"], projector, projectors)}
    pooled, _ = projector(w, "proj.final_projector.", walks["fwd_projector"]["embedding"])
    out = {}
    for variant, walked in walks.items():
        got = pooled if variant == "fwd_projector" else walked["embedding"]
        agree(f"{variant}.pooled", got, t[f"{variant}.pooled"])
        for j in range(len(TAPS)):
            recorded = [head for head in ("seg", "det") if f"{variant}.{head}.{j}" in t]
            for head in recorded:
                agree(f"{variant}.{head}.{j}", walked[f"{head}.{j}"], t[f"{variant}.{head}.{j}"])
                out[f"{variant}.{head}.{j}"] = t[f"{variant}.{head}.{j}"]
            if recorded:
                out[f"{variant}.stream.{j}"] = walked[f"stream.{j}"]
                if f"next.{j}" in walked:
                    out[f"{variant}.next.{j}"] = walked[f"next.{j}"]
    out |= {"fwd_projector.embedding": walks["fwd_projector"]["embedding"],
            "fwd_projector.pooled": t["fwd_projector.pooled"]}
    out |= {k: v for k, v in t.items() if k.startswith("adapter.")}
    state = lambda prefix: {k.removeprefix(prefix): v for k, v in w.items() if k.startswith(prefix)}
    save = lambda name, tensors, **meta: save_file(
        {k: v.contiguous().clone() for k, v in tensors.items()}, f"{HERE}/{name}.safetensors", **meta)
    save("tokens", out)
    save("madff", state("init."), metadata={"taps": "2,4,6,8"})
    save("projector", state("proj."))
    save("gradients", record_gradients(w, walks))
    record_checkpoint(w)


main(sys.argv[1])
