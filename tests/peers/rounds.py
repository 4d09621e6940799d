"""What the comparisons share: turns in alternating order, ratios with their spread, and programs that take a turn a line."""
import os
import random
import statistics
import subprocess
import time


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


def compare(name, ours, theirs, pairs, flop=None):
    """Turns of ours, theirs, theirs, ours; both give their seconds. Prints medians and the ratio theirs / ours."""
    ours(), theirs()
    own, peer = [], []
    for _ in range((pairs + 1) // 2):
        own.append(ours())
        peer += [theirs(), theirs()]
        own.append(ours())
    ratios = [b / a for a, b in zip(own, peer)]
    low, high = interval(ratios)
    rate = f", {flop / statistics.median(own) / 1e9:.0f} GFLOP/s" if flop else ""
    print(
        f"{name:34} {statistics.median(peer) * 1e3:9.2f} ms (best {min(peer) * 1e3:.2f})   loupe "
        f"{statistics.median(own) * 1e3:9.2f} ms (best {min(own) * 1e3:.2f}{rate})   "
        f"ratio {statistics.median(ratios):.2f} [{low:.2f}, {high:.2f}], {len(ratios)} pairs, load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
