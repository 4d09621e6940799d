#!/usr/bin/env python3
"""What a whole run takes: the encoder's share of a first run, images a second of a run from the cache, a cold start.

    tests/peers/run.py LOUPE FOLDER [--rounds N] [--only first|second|cold]

LOUPE is the built program with its plugins beside it or on LOUPE_PLUGIN_PATH; FOLDER gets images, caches and runs, about
8 GB of them. Weights are random or the built-in model's: what is measured does not depend on what they have learned.
"""
import argparse
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parents[2]
# Five sizes of about 1,000 patches with 192 numbers each: 3.9 MB an image.
FEATURES = ["stages.image.sizes=[240, 248, 256, 264, 272]", "stages.clip.precision=bf16", 'run.cache={features="f32", stages="off"}']
FADE = ["stages.clip.weights=random", "stages.clip.precision=bf16", "stages.image.sizes=[240]"]


def loupe(asked, arguments, **more):
    started = time.perf_counter()
    ended = subprocess.run([asked.loupe, *map(str, arguments)], capture_output=True, text=True, **more)
    if ended.returncode:
        raise SystemExit(ended.stderr)
    return time.perf_counter() - started, ended.stderr


def images(asked, name, size, good, per_defect, families):
    folder = asked.folder / name
    if not folder.exists():
        kinds = ["--families", families, "--defects-per-product", 8, "--train", 4]
        loupe(asked, ["dataset", "make", folder, *kinds, "--size", size, "--good", good, "--per-defect", per_defect])
    return folder


def run(asked, pipeline, data, cache, changes):
    """Seconds in all, and the table of `-v`: seconds by kind of work."""
    sets = [*changes, "data.dataset=mvtec-ad", f"data.root={data}"]
    command = ["run", HERE / "pipelines" / pipeline, "-v", "--out", asked.folder / "out", "--cache-dir", cache]
    seconds, said = loupe(asked, command + [word for change in sets for word in ("--set", change)])
    table = {}
    for line in said.splitlines():
        cells = [cell for cell in line.split("  ") if cell.strip()]
        if len(cells) >= 6 and cells[2].strip().isdigit():
            table[cells[0].strip(), cells[1].strip()] = float(cells[5])
    return seconds, table


def first_run(asked):
    data = images(asked, "large", 1024, 18, 4, "carpet,cork")
    for _ in range(asked.rounds):
        cache = asked.folder / "cache-first"
        shutil.rmtree(cache, ignore_errors=True)
        seconds, table = run(asked, "fade.toml", data, cache, FADE)
        # The model is warm: what making it and its text take is no part of it.
        once = sum(spent for (work, _), spent in table.items() if work in ("clip, made", "clip, text"))
        share = table["clip", "gem"] / (seconds - once)
        print(f"first run, 100 images of 1024 px: {seconds:.1f} s, {once:.1f} s of it weights and text; the encoder takes {share:.0%} of the rest")


def second_run(asked):
    data = images(asked, "many", 448, 185, 30, "carpet,cork,hex_tiles,knit")
    cache = asked.folder / "cache-second"
    # Fills the cache, or brings its files back into the system's memory. Each later run is a process of its own.
    run(asked, "demo-zero-shot.toml", data, cache, FEATURES)
    seconds, used = [], []
    for _ in range(asked.rounds):
        before = processor_seconds()
        seconds.append(run(asked, "demo-zero-shot.toml", data, cache, FEATURES)[0])
        used.append(processor_seconds() - before)
    rate = 1700 / statistics.median(seconds)
    print(
        f"second run, 1,700 images of 448 px, 3.9 MB of features each: {rate:.0f} images/s (best {1700 / min(seconds):.0f}), "
        f"{statistics.median(seconds):.1f} s of which the processors worked {statistics.median(used):.1f} s in all"
    )


def processor_seconds():
    """Of all runs so far, on all threads: what other programs on the same cores take is not in it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cold_start(asked):
    data = images(asked, "large", 1024, 18, 4, "carpet,cork") / "carpet"
    home = asked.folder / "home"
    times = []
    for _ in range(10 * asked.rounds):
        shutil.rmtree(home, ignore_errors=True)
        given = ["--reference", data / "train/good/000.png", "--threshold", "none", "--cache-dir", home / "cache"]
        command = ["predict", HERE / "pipelines/demo.toml", data / "test/good/000.png", *given]
        times.append(loupe(asked, command, env={**os.environ, "XDG_CACHE_HOME": str(home)})[0])
    print(f"cold start to the first prediction: {statistics.median(times):.2f} s (best {min(times):.2f}), {len(times)} times")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("loupe", type=lambda path: str(pathlib.Path(path).resolve()))
    parser.add_argument("folder", type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["first", "second", "cold"])
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    parts = {"first": first_run, "second": second_run, "cold": cold_start}
    print(f"{os.cpu_count()} threads, load {os.getloadavg()[0]:.1f}")
    for name, part in parts.items():
        if asked.only in (None, name):
            part(asked)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
