"""Weights by rule: every language that has 64-bit integers and f64 makes the same model, so none is stored.

Element `i` of the tensor `name` is a draw u(name, i) in [-1, 1), a multiple of 2^-23:

    z = fnv1a64(name) + (i + 1) * 0x9E3779B97F4A7C15        (all modulo 2^64)
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;  z = (z ^ z >> 27) * 0x94D049BB133111EB;  z = z ^ z >> 31
    u = (z >> 40) / 2^23 - 1

made a weight in f64 and then rounded to f32:

    biases                   u / 8
    normalisations' weights  1 + u / 4; channels 5 and 17 of `visual.ln_pre` are 8 times larger and those of
                             `visual.ln_post` 8 times smaller: outlier channels, as trained models have them
    embeddings               u
    matrices                 u * sqrt(3 / n), n their inputs; twice that for the patches' own, `visual.conv1`

The outliers are as large as f32 allows here: with factors of 16 the reference's own rounding (f32 against f64) reaches
the tolerances of the comparison.
"""

import math

import numpy as np

OUTLIERS = (5, 17)


def fnv1a64(data):
    digest = 0xCBF29CE484222325
    for byte in data:
        digest = (digest ^ byte) * 0x100000001B3 % 2**64
    return digest


def draws(name, n):
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a64(name.encode())) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        z = z ^ z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1


def weight(name, shape):
    u = draws(name, math.prod(shape))
    if name.endswith("bias"):
        u = u / 8
    elif name.split(".")[-2:-1] and name.split(".")[-2].startswith("ln_"):
        u = 1 + u / 4
        factor = {"visual.ln_pre.weight": 8, "visual.ln_post.weight": 1 / 8}.get(name)
        if factor:
            u[list(OUTLIERS)] *= factor
    elif name.endswith("embedding") or name == "token_embedding.weight":
        pass
    else:
        right = name in ("visual.proj", "text_projection")
        gain = 2 if name == "visual.conv1.weight" else 1
        u = u * gain * math.sqrt(3 / (shape[0] if right else math.prod(shape[1:])))
    return u.astype(np.float32).reshape(shape)
