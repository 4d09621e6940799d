"""What the scripts of this folder share: rounds in which loupe and a peer take turns, ratios with their spread, whether
both compute the same, and loupe's own process.
"""
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DRAWS = 2000


def timed(side):
    """Seconds of one call; a side that returns a float has measured them itself."""
    start = time.perf_counter()
    said = side()
    return said if isinstance(said, float) else time.perf_counter() - start


def interval(ratios):
    """The middle 95 % of the medians of samples drawn anew."""
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(DRAWS))
    return medians[DRAWS // 40], medians[-1 - DRAWS // 40]


def compare(ours, peers, pairs, flop=None, ceiling=None):
    """Rounds of ours, peer, peer, ours for each peer, and a line of what came of them.

    `ours` and the `peers` (by name) are functions; a pair is a peer's seconds over those of ours beside it. With `flop`
    of one call, its rate is printed; with `ceiling`, a function that measures FLOP a second, its share.
    """
    for name, peer in peers.items():
        timed(ours), timed(peer)
        own, theirs, ceilings = [], [], []
        while len(own) < pairs:
            own.append(timed(ours))
            theirs += [timed(peer), timed(peer)]
            own.append(timed(ours))
            if ceiling:
                ceilings.append(ceiling())
        ratios = [peer / own for peer, own in zip(theirs, own)]
        low, high = interval(ratios)
        line = f"{name:34} {milliseconds(theirs)}   loupe {milliseconds(own)}"
        if flop:
            rate = flop / statistics.median(own)
            line += f", {rate / 1e9:.0f} GFLOP/s"
            if ceiling:
                line += f", {100 * rate / statistics.median(ceilings):.1f} % of {statistics.median(ceilings) / 1e9:.0f}"
        print(f"{line}   ratio {statistics.median(ratios):.2f} [{low:.2f}, {high:.2f}], {len(ratios)} pairs", flush=True)


def milliseconds(seconds):
    return f"{statistics.median(seconds) * 1e3:8.1f} ms (best {min(seconds) * 1e3:.1f})"


def head(what):
    """The line above a table: the machine's load belongs to the figures."""
    print(f"{what}, {os.cpu_count()} threads, load {os.getloadavg()[0]:.1f}", flush=True)


def agree(ours, theirs, least):
    """Whether both sides' outputs, arrays by name, are the same but for rounding: prints the lowest cosine of a row and
    the largest error over the root mean square, and ends the script below the cosine `least`.
    """
    import numpy as np

    for name, want in sorted(theirs.items()):
        got = np.asarray(ours[name], np.float64)
        want = np.asarray(want, np.float64).reshape(got.shape)
        rows = [x.reshape(-1, x.shape[-1]) for x in (got, want)]
        cosine = (rows[0] * rows[1]).sum(1) / np.linalg.norm(rows[0], axis=1) / np.linalg.norm(rows[1], axis=1)
        error = np.abs(got - want).max() / np.sqrt((want**2).mean())
        print(f"  {name} {list(got.shape)}: cosine {cosine.min():.6f} or more, error {error:.2g} of the root mean square")
        if not cosine.min() >= least:
            sys.exit(f"{name}: this is not the same computation")


class Served:
    """A program that does its work once for each line of its input and answers with seconds, then what else it tells."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line=""):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        seconds, *self.told = self.process.stdout.readline().split()
        return float(seconds)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Loupe:
    """The process of `driver.rs` at a job; it waits between two passes."""

    def __init__(self, driver, job, environment=()):
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name, "job.json")
        path.write_text(json.dumps(job))
        self.process = subprocess.Popen(
            [driver, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **dict(environment)}
        )
        self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args[0]} ended")
        return line.strip()

    def ask(self, order):
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return self.answer()

    def run(self):
        return float(self.ask("run"))

    def ceiling(self):
        return float(self.ask("ceiling"))

    def peak_gb(self):
        return int(self.ask("peak")) / 1e9

    def outputs(self):
        from safetensors.numpy import load_file

        return load_file(self.ask(f"save {self.folder.name}/outputs.safetensors"))

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.folder.cleanup()
