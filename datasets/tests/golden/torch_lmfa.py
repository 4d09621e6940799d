"""Writes torch_lmfa.txt: the shots of CLIP-LMFA's loader, drawn after its throw-away training.

A line is `n seed epochs: first four indices`. Between seeding and loading, the original builds a
network (2,047,649 numbers of the CPU generator) and trains it on a GPU (no more of them), with one
shuffled loader an epoch. Recorded with torch 2.2.0. Needs nothing else.
"""

import torch
from torch.utils.data import DataLoader

MVTEC = [209, 224, 219, 280, 264, 391, 245, 220, 267, 320, 230, 60, 213, 247, 240]
VISA = [900, 542, 450, 453]
N_WEIGHTS = 2_047_649


def shuffled(n):
    return [int(batch[0]) for batch in DataLoader(range(n), batch_size=1, shuffle=True)]


rows = [(n, seed, 8) for n in MVTEC + VISA for seed in (0, 111)]
rows += [(209, 111, 1), (209, 111, 2), (5, 7, 8)]
with open("torch_lmfa.txt", "w") as out:
    for n, seed, epochs in rows:
        torch.manual_seed(seed)
        torch.empty(N_WEIGHTS).uniform_()
        for _ in range(epochs):
            shuffled(4)
        out.write(f"{n} {seed} {epochs}: {','.join(map(str, shuffled(n)[:4]))}\n")
