"""One step of ClipMPCAD's training in PyTorch: ViT-L/14 at 240 px with random weights, MADFF behind blocks 6, 12, 18
and 24, both heads, batch 1, f32. Prints the seconds of each step: `image` steps start at the pixels, `stream` steps
at the stored stream of the first tap. Only for `train-step-against-torch`."""

import sys
import time

import open_clip
import torch
from torch import nn
from torch.nn import functional as F

SIDE, GRID, WIDTH, INNER, HIDDEN = 240, 17, 1024, 768, 64
TAPS = (6, 12, 18, 24)


class Madff(nn.Module):
    """The gates for one image: each token is gated alone."""

    def __init__(self):
        super().__init__()
        def linear(n, m):
            return nn.Linear(n, m, bias=False)
        self.down, self.up = linear(WIDTH, INNER), linear(INNER, WIDTH)
        self.channel = nn.Sequential(linear(WIDTH, HIDDEN), nn.ReLU(), linear(HIDDEN, WIDTH))
        self.frequency = nn.Sequential(linear(WIDTH, HIDDEN), nn.ReLU(), linear(HIDDEN, WIDTH))
        self.spatial = nn.Linear(2, 1)

    def forward(self, x):
        by_channel = torch.sigmoid(2 * self.channel(x)) * x
        pooled = torch.stack([by_channel.mean(-1), by_channel.amax(-1)], -1)
        by_place = torch.sigmoid(self.spatial(pooled)) * by_channel
        by_frequency = torch.sigmoid(self.frequency(torch.fft.fft(x).abs())) * x
        parts = zip((0.4, 0.2, 0.2, 0.2), (x, by_channel, by_place, by_frequency))
        token = sum(weight * F.leaky_relu(self.down(part)) for weight, part in parts)
        up = F.leaky_relu(self.up(token))
        return token, 0.3 * up + 0.2 * by_channel + 0.2 * by_place + 0.3 * by_frequency


class Step:
    def __init__(self):
        torch.manual_seed(0)
        model = open_clip.create_model("ViT-L-14", force_image_size=SIDE)
        self.model = model.eval().requires_grad_(False)
        self.blocks = self.model.visual.transformer.resblocks
        self.banks = {head: nn.ModuleList(Madff() for _ in TAPS) for head in ("seg", "det")}
        self.adams = [torch.optim.Adam(bank.parameters(), 1e-3, (0.5, 0.999)) for bank in self.banks.values()]
        self.text = F.normalize(torch.randn(INNER, 2), dim=0)

    def run_blocks(self, x, first, last):
        for block in self.blocks[first:last]:
            x = block(x)
        return x

    @torch.no_grad()
    def stream(self, image):
        """The tokens behind the first tap's block, which nothing that learns comes before."""
        visual = self.model.visual
        x = visual.conv1(image).flatten(2).transpose(1, 2)
        x = torch.cat([visual.class_embedding.expand(1, 1, -1), x], 1) + visual.positional_embedding
        # Blocks want [tokens, images, width].
        return self.run_blocks(visual.ln_pre(x).transpose(0, 1), 0, TAPS[0])

    def loss(self, head, tokens, anomalous, mask):
        logits = 100 * F.normalize(tokens[1:].transpose(0, 1), dim=-1) @ self.text
        if head == "det":
            share = logits.softmax(-1)[..., 1].mean()
            return F.binary_cross_entropy_with_logits(share, torch.tensor(anomalous))
        maps = logits.transpose(1, 2).reshape(1, 2, GRID, GRID)
        maps = F.interpolate(maps, (SIDE, SIDE), mode="bilinear", align_corners=True).softmax(1)
        right = torch.where(mask, maps[:, 1], maps[:, 0])
        right = (1 - 1e-5) * right + 1e-5 * (1 - right) + 1e-5
        focal = (-((1 - right) ** 2) * right.log()).mean()
        dice = 1 - (2 * (maps[:, 1] * mask).sum() + 1) / (maps[:, 1].sum() + mask.sum() + 1)
        return focal + dice

    def learn(self, x, anomalous, mask):
        total = 0.0
        for at, tap in enumerate(TAPS):
            if at > 0:
                x = self.run_blocks(x, TAPS[at - 1], tap)
            mixed = 0.8 * x
            for head, bank in self.banks.items():
                token, out = bank[at](x)
                mixed = mixed + 0.1 * out
                total = total + self.loss(head, token, anomalous, mask)
            x = mixed
        for adam in self.adams:
            adam.zero_grad()
        total.backward()
        for adam in self.adams:
            adam.step()


def matmul_rate():
    """Products a second of a large multiplication, which no step can beat. Best of 5."""
    a, best = torch.randn(2048, 2048), float("inf")
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - start)
    return 2 * 2048**3 / best


def main(n):
    print("rate", f"{matmul_rate():.4g}", flush=True)
    step = Step()
    mask = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    mask[:, 80:120, 60:150] = True
    images = [torch.rand(1, 3, SIDE, SIDE) for _ in range(n)]
    streams = [step.stream(image) for image in images]
    for kind in ("image", "stream"):
        for image, stream in zip(images, streams):
            start = time.perf_counter()
            step.learn(step.stream(image) if kind == "image" else stream, 1.0, mask)
            print(kind, f"{time.perf_counter() - start:.3f}", flush=True)


main(int(sys.argv[1]))
