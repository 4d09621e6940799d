"""Times in PyTorch what `step_time.rs` times: one tap's step with two heads, forth and back.

    python step_time.py [N_THREADS]
"""

import sys
import time

import torch
import torch.nn.functional as F

N_TOKENS, WIDTH, BOTTLENECK, HIDDEN, N_RUNS = 290, 1024, 768, 64, 15


def weight(*shape):
    return ((torch.rand(shape) * 2 - 1) / shape[-1] ** 0.5).requires_grad_()


def squeeze(a, b, t):
    return F.relu(t @ a.T) @ b.T


def frequency_gate(w, x):
    return torch.sigmoid(squeeze(w[4], w[5], torch.fft.fft(x).abs())) * x


def madff(w, x):
    ca = torch.sigmoid(2 * squeeze(w[2], w[3], x)) * x
    sa = torch.sigmoid(w[6][0] * ca.mean(-1, True) + w[6][1] * ca.max(-1, True).values + w[6][2]) * ca
    fa = frequency_gate(w, x)
    down = lambda t: F.leaky_relu(t @ w[0].T)
    med = 0.4 * down(x) + 0.2 * down(ca) + 0.2 * down(sa) + 0.2 * down(fa)
    return med, 0.3 * F.leaky_relu(med @ w[1].T) + 0.2 * ca + 0.2 * sa + 0.3 * fa


def mvfa(w, x):
    med = F.leaky_relu(x @ w[0].T)
    return med, F.leaky_relu(med @ w[1].T)


def weights():
    shapes = [(BOTTLENECK, WIDTH), (WIDTH, BOTTLENECK), (HIDDEN, WIDTH), (WIDTH, HIDDEN), (HIDDEN, WIDTH),
              (WIDTH, HIDDEN), (3,)]
    return [weight(*shape) for shape in shapes]


def report(what, run):
    # On one thread, the time that this process has had of a processor: other programs hardly touch it.
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    run()
    seconds = []
    for _ in range(N_RUNS):
        start = clock()
        run()
        seconds.append(clock() - start)
    seconds.sort()
    print(f"{what}: {1e3 * seconds[N_RUNS // 2]:.1f} ms ({1e3 * seconds[0]:.1f} at best)")


def main(n_threads):
    torch.set_num_threads(n_threads)
    print(f"torch {torch.__version__}, {n_threads} threads")
    x = (1.2 * torch.randn(1, N_TOKENS, WIDTH)).requires_grad_()
    of_tokens, of_next = torch.randn(1, N_TOKENS, BOTTLENECK), torch.randn(1, N_TOKENS, WIDTH)
    for name, adapter in (("madff", madff), ("mvfa", mvfa)):
        heads = [weights(), weights()]

        def forward():
            made = [adapter(w, x) for w in heads]
            return [med for med, _ in made], 0.8 * x + 0.1 * made[0][1] + 0.1 * made[1][1]

        def both():
            tokens, following = forward()
            torch.autograd.backward([*tokens, following], [of_tokens, of_tokens, of_next])

        def plain():
            with torch.no_grad():
                forward()

        report(f"{name} forward", plain)
        report(f"{name} forward and backward", both)

    w = weights()
    with torch.no_grad():
        report("one madff adapter forward", lambda: madff(w, x))
        report("its frequency gate forward", lambda: frequency_gate(w, x))


main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
