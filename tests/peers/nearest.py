#!/usr/bin/env python3
"""Seconds of 1-NN between patches and memory banks, loupe's and its peers' in turn; unit rows, seeded.

    tests/peers/nearest.py NEAREST_TIME [--precision bf16|f32] [--shots N] [--pairs N]

NEAREST_TIME is the built example of kernels. Four banks, as of four layers of ViT-L/14 at 336 px: 576 patches of width 1024 against
576 a shot. Peers: PyTorch (product, then the largest of each row) and, in f32, FAISS (IndexFlatIP, k = 1).
"""
import argparse
import os

import torch

from rounds import Served, compare, timed

PATCHES, WIDTH, LAYERS = 576, 1024, 4


def unit(n):
    return torch.nn.functional.normalize(torch.rand(n, WIDTH) * 2 - 1, dim=-1)


def torch_peer(queries, banks, dtype):
    queries, banks = ([rows.to(dtype) for rows in many] for many in (queries, banks))

    def run():
        with torch.inference_mode():
            for query, bank in zip(queries, banks):
                (query @ bank.T).amax(1)

    return run


def faiss_peer(queries, banks, threads):
    import faiss

    faiss.omp_set_num_threads(threads)
    indices = []
    for bank in banks:
        index = faiss.IndexFlatIP(WIDTH)
        index.add(bank.numpy())
        indices.append(index)
    queries = [query.numpy() for query in queries]

    def run():
        for query, index in zip(queries, indices):
            index.search(query, 1)

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nearest_time")
    parser.add_argument("--precision", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=40)
    asked = parser.parse_args()
    threads = os.cpu_count()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    n = asked.shots * PATCHES
    queries, banks = [unit(PATCHES) for _ in range(LAYERS)], [unit(n) for _ in range(LAYERS)]
    flop = 2 * LAYERS * PATCHES * n * WIDTH
    dtype = torch.bfloat16 if asked.precision == "bf16" else torch.float32
    peers = {f"PyTorch {torch.__version__} {asked.precision}": torch_peer(queries, banks, dtype)}
    if asked.precision == "f32":
        peers["FAISS IndexFlatIP"] = faiss_peer(queries, banks, threads)
    loupe = Served([asked.nearest_time, asked.precision, *map(str, (PATCHES, n, WIDTH, LAYERS))])
    print(f"{LAYERS} banks of {n} x {WIDTH}, {PATCHES} patches each: {flop / 1e9:.1f} GFLOP, {threads} threads")
    for name, run in peers.items():
        compare(name, loupe.ask, lambda: timed(run), asked.pairs, flop)
    loupe.close()


if __name__ == "__main__":
    main()
