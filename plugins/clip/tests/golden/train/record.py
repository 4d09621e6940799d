"""Records a training step of a tiny model: losses and gradients, from open_clip's blocks and torch's autograd.

    python record.py    # torch 2.2.0, open_clip_torch 2.24.0; writes step.safetensors beside this file
"""

from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
N, GRID, NATIVE, PATCH = 2, 2, 4, 4
WINDOW = (1, 2)
TAP = 1
CFG = dict(
    embed_dim=12,
    vision_cfg=dict(image_size=16, layers=2, width=16, head_width=8, patch_size=PATCH),
    text_cfg=dict(context_length=7, vocab_size=9, width=8, heads=2, layers=2),
)
PROMPTS = [1, 2]

model = open_clip.CLIP(**CFG).double()
for name, value in model.named_parameters():
    # Start values of 0 and 1 would hide mistakes.
    value.data += 0.3 * torch.randn_like(value) * (0.2 if value.ndim > 1 else 1)
model.logit_scale.data.fill_(1.7)
memory = torch.tensor([0.9, 1.1, 0.4, 0.2], requires_grad=True)  # gain and bias, of the tap then of the last tokens

pixels = torch.randn(3 * N, 3, GRID * PATCH, GRID * PATCH)
patches = F.unfold(pixels, PATCH, stride=PATCH).transpose(1, 2)
coverage = torch.tensor([[0.0, 0.05, 0.6, 1.0], [0.0, 0.0, 0.2, 0.0]])
n_sentences = 2 * sum(PROMPTS) + 2 * N + 3 * N
sentences = [[7] + torch.randint(0, 7, (int(torch.randint(0, 6, ())),)).tolist() + [8] for _ in range(n_sentences)]
matches = torch.randint(0, 2, (3 * N, 3 * N)).double()
matches[4] = 0

# Image tower on crops: positions from a window of the table.
v = model.visual
table = v.positional_embedding[1:].view(NATIVE, NATIVE, -1)
table = table[WINDOW[0] : WINDOW[0] + GRID, WINDOW[1] : WINDOW[1] + GRID].flatten(0, 1)
x = v.conv1(pixels).flatten(2).transpose(1, 2) + table
cls = (v.class_embedding + v.positional_embedding[0]).expand(3 * N, 1, -1)
x = v.ln_pre(torch.cat([cls, x], 1)).permute(1, 0, 2)
streams = []
for k, block in enumerate(v.transformer.resblocks, 1):
    x = block(x)
    if k == TAP:
        streams.append(x.permute(1, 0, 2))
x = v.ln_post(x.permute(1, 0, 2))
streams.append(x)
projected = x @ v.proj

# Text tower, padded with 0; the end marker has the highest id.
rows = torch.zeros(n_sentences, CFG["text_cfg"]["context_length"], dtype=torch.long)
for k, sentence in enumerate(sentences):
    rows[k, : len(sentence)] = torch.tensor(sentence)
text = F.normalize(model.encode_text(rows), dim=-1)

# Losses, as the recipe beside the model's card states them.
scale = model.logit_scale.exp()
n = sum(PROMPTS)
owner = torch.repeat_interleave(torch.arange(N), torch.tensor(PROMPTS))


def ensemble(part):
    return F.normalize(torch.zeros(N, part.shape[1]).index_add(0, owner, part), dim=-1)


def patch_loss(logits, cover):
    target = (cover >= 0.1).double()
    weight = torch.where(cover >= 0.1, 2.0, (cover == 0).double())
    return F.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum") / weight.sum()


axis = ensemble(text[n : 2 * n]) - ensemble(text[:n])
cover = torch.cat([torch.zeros(2 * N, GRID**2), coverage])
unit = F.normalize(projected, dim=-1)
dense = patch_loss(scale * torch.einsum("nte,ne->nt", unit[:, 1:], axis.repeat(3, 1)), cover)
damaged = (cover.sum(1) >= 0.5).double()
clear = (damaged + (cover.sum(1) == 0)).clamp(max=1)
logits = scale * (unit[:, 0] * axis.repeat(3, 1)).sum(1)
of_class = F.binary_cross_entropy_with_logits(logits, damaged, clear * torch.where(damaged > 0, 1.5, 0.75))
both = torch.cat([torch.zeros_like(coverage), coverage], 1)
remembered = []
for k, stream in enumerate(streams):
    reference, good, bad = F.normalize(stream[:, 1:], dim=-1).chunk(3)
    nearest = (torch.cat([good, bad], 1) @ reference.transpose(1, 2)).amax(-1)
    remembered.append(patch_loss(memory[2 * k].exp() * 4 * (1 - nearest) - memory[2 * k + 1], both))
idle = text[2 * n : 2 * n + N] - text[2 * n + N : 2 * n + 2 * N]
queries = torch.cat([unit[N : 2 * N, 1:], unit[2 * N :, 1:]], 1)
margin = scale * torch.einsum("nte,ne->nt", queries, idle)
centred, mask = margin - margin.mean(1, keepdim=True), both - both.mean(1, keepdim=True)
linked = (centred * mask).sum(1) / (centred.norm(dim=1) * mask.norm(dim=1) + 1e-3)
neutral = 0.1 * margin.square().mean() + linked.square().mean()
logits = scale * unit[:, 0] @ text[2 * n + 2 * N :].t()
forth = matches / matches.sum(1, keepdim=True).clamp(min=1)
back = matches / matches.sum(0, keepdim=True).clamp(min=1)
caption = -0.5 * ((forth * logits.log_softmax(1)).sum(1).mean() + (back * logits.log_softmax(0)).sum(0).mean())
parts = torch.stack([dense, of_class, sum(remembered) / 2, neutral, caption])
total = (parts * torch.tensor([1.0, 0.5, 1.0, 0.3, 0.5])).sum()
total.backward()

out = {"patches": patches, "coverage": coverage, "matches": matches, "parts": parts, "total": total.view(1)}
out |= {"memory": memory, "g.memory": memory.grad}
for name, value in model.named_parameters():
    out["w." + name] = value
    out["g." + name] = value.grad
out = {name: value.detach().float().contiguous().clone() for name, value in out.items()}
out["sentences"] = torch.tensor([token for s in sentences for token in s], dtype=torch.int32)
out["lengths"] = torch.tensor([len(s) for s in sentences], dtype=torch.int32)
save_file(out, str(Path(__file__).with_name("step.safetensors")))
print(parts, total)
