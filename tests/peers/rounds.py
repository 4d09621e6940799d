"""What the comparisons share: turns in alternating order, ratios with their spread, programs that take a turn a line, and
whether both sides compute the same.
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


def interval(ratios):
    """Bootstrap 95 % interval of the median."""
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(2000))
    return medians[50], medians[1949]


def timed(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


class Served:
    """A program that does its work once for each line of its input and answers with seconds, then what else it tells."""

    def __init__(self, command, environment=None):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, **pipes)

    def ask(self, line=""):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        seconds, *self.told = self.process.stdout.readline().split()
        return float(seconds)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Encoder(Served):
    """`driver.rs` at a job: loupe's plugins, loaded once."""

    def __init__(self, driver, job, environment=None):
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name, "job.json")
        path.write_text(json.dumps(job))
        super().__init__([driver, path], environment)
        self.wait_for("ready")

    def wait_for(self, said):
        if self.process.stdout.readline().strip() != said:
            sys.exit(f"{self.process.args[0]} did not say `{said}`")

    def run(self):
        return self.ask("run")

    def ceiling(self):
        return self.ask("ceiling")

    def peak_gb(self):
        return self.ask("peak") / 1e9

    def outputs(self):
        """Arrays by name and number of the image or tap."""
        from safetensors.numpy import load_file

        path = f"{self.folder.name}/outputs.safetensors"
        self.process.stdin.write(f"save {path}\n")
        self.process.stdin.flush()
        self.wait_for(path)
        return load_file(path)

    def close(self):
        super().close()
        self.folder.cleanup()


def head(what):
    """The line above or below a table: the machine's load belongs to the figures."""
    print(f"{what}, {os.cpu_count()} threads, load {os.getloadavg()[0]:.1f}", flush=True)


def agree(ours, theirs, least):
    """Ends the script unless all outputs, arrays by name, are the same but for rounding: no row's cosine is below `least`.
    Prints the lowest cosine, and the largest error over the root mean square.
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


def compare(name, ours, theirs, pairs, flop=None, ceiling=None):
    """Turns of ours, theirs, theirs, ours; both give their seconds. Prints medians and the ratio theirs / ours; with `flop`
    of a turn their rate, and with `ceiling`, which measures FLOP a second between turns, the share of it. One pair is for
    what takes many minutes: a turn each, and none before to warm up.
    """
    own, peer, ceilings = [], [], []
    if pairs == 1:
        own, peer = [ours()], [theirs()]
    else:
        ours(), theirs()
        for _ in range((pairs + 1) // 2):
            own.append(ours())
            peer += [theirs(), theirs()]
            own.append(ours())
            ceilings += [ceiling()] if ceiling else []
    ratios = [b / a for a, b in zip(own, peer)]
    low, high = interval(ratios)
    rate = f", {flop / statistics.median(own) / 1e9:.0f} GFLOP/s" if flop else ""
    if flop and ceilings:
        most = statistics.median(ceilings)
        rate += f", {100 * flop / statistics.median(own) / most:.0f} % of {most / 1e9:.0f}"
    print(
        f"{name:34} {statistics.median(peer) * 1e3:9.2f} ms (best {min(peer) * 1e3:.2f})   loupe "
        f"{statistics.median(own) * 1e3:9.2f} ms (best {min(own) * 1e3:.2f}{rate})   "
        f"ratio {statistics.median(ratios):.2f} [{low:.2f}, {high:.2f}], {len(ratios)} pairs, load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def against(loupe, peers, pairs, flop):
    """`compare` with each of the peers, functions by name; then loupe's peak, and its end."""
    for name, peer in peers.items():
        compare(name, loupe.run, lambda: timed(peer), pairs, flop, loupe.ceiling)
    head(f"loupe's peak {loupe.peak_gb():.2f} GB")
    loupe.close()
