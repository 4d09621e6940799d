"""Records `multi_scale_adaptive.safetensors`: each part of the network of CLIP-LMFA's fusion, as PyTorch
computes it. The module is written from a description of the original; its weights are those that the
plugin draws from a seed, drawn here by the same rule. Run with torch 2.2 and safetensors:
    python record.py
"""

import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from torch import nn

SEED, EXPERTS, CATEGORIES, WIDTH = 7, 2, 3, 8
HEIGHT, WIDE = 9, 6
M64 = (1 << 64) - 1


def mix(x):
    x = np.uint64(x) if np.isscalar(x) else x
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def uniform(seed, name, bound, n):
    apart = 0xCBF29CE484222325
    for byte in name.encode():
        apart = ((apart ^ byte) * 0x100000001B3) & M64
    with np.errstate(over="ignore"):
        start = mix(seed) ^ np.uint64(apart)
        steps = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        units = (mix(start + steps) >> np.uint64(40)).astype(np.float64) / 16777216.0
    return ((2.0 * units - 1.0) * bound).astype(np.float32)


class Normed(nn.Module):
    """A layer with a batch norm behind it."""

    def __init__(self, layer, channels):
        super().__init__()
        self.layer, self.norm = layer, nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.norm(self.layer(x))


class Two(nn.Module):
    def __init__(self, layer, inner, act, channels=64):
        super().__init__()
        self.first, self.second, self.act = layer(channels, inner), layer(inner, channels), act

    def forward(self, x):
        return self.second(self.act(self.first(x)))


def conv1(a, b):
    return nn.Conv2d(a, b, 1)


class Expert(nn.Module):
    def __init__(self):
        super().__init__()
        self.point = Normed(conv1(64, 256), 256)
        self.near_depth = nn.Conv2d(64, 64, 3, padding=1, groups=64)
        self.near = Normed(conv1(64, 256), 256)
        self.far_depth = nn.Conv2d(64, 64, 5, padding=2, groups=64)
        self.far = Normed(conv1(64, 256), 256)
        self.out = Normed(conv1(768, 64), 64)
        self.squeeze = Two(conv1, 4, F.silu)

    def forward(self, x):
        parts = [self.point(x), self.near(self.near_depth(x)), self.far(self.far_depth(x))]
        o = F.silu(self.out(torch.cat([F.silu(part) for part in parts], 1)))
        return o * torch.sigmoid(self.squeeze(o.mean((2, 3), keepdim=True))) + x


class Category(nn.Module):
    def __init__(self):
        super().__init__()
        self.value, self.mix = Two(nn.Linear, 32, F.relu), nn.Linear(64, 64)

    def forward(self, y):
        c = y.mean((2, 3))
        w = torch.sigmoid(self.value(c))[..., None, None]
        g = torch.sigmoid(self.mix(c))[..., None, None]
        return g * y + (1 - g) * w


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_in = Normed(nn.Conv2d(3, 64, 3, padding=1), 64)
        self.local0 = nn.Conv2d(64, 32, 3, padding=1)
        self.local1 = nn.Conv2d(32, 64, 3, padding=1)
        self.spatial0 = Normed(nn.Conv2d(2, 16, 3, padding=1, bias=False), 16)
        self.spatial1 = Normed(nn.Conv2d(16, 1, 3, padding=1, bias=False), 1)
        self.channel_mean, self.channel_max = Two(conv1, 4, F.relu), Two(conv1, 4, F.relu)
        self.mixture_gate = nn.Linear(64, EXPERTS)
        self.mixture = nn.ModuleList(Expert() for _ in range(EXPERTS))
        self.category_gate = nn.Linear(64, CATEGORIES)
        self.category = nn.ModuleList(Category() for _ in range(CATEGORIES))
        self.project = nn.Linear(1024, WIDTH)
        self.project_norm = nn.LayerNorm(WIDTH)

    def forward(self, x):
        seen = {}
        x1 = F.silu(self.conv_in(x))
        u = F.relu(self.local1(F.max_pool2d(F.relu(self.local0(x1)), 2)))
        xl = F.interpolate(u, size=x.shape[2:], mode="bilinear", align_corners=False)
        both = torch.cat([xl.mean(1, keepdim=True), xl.max(1, keepdim=True).values], 1)
        a = torch.sigmoid(self.spatial1(F.relu(self.spatial0(both))))
        x2 = xl * a + x1 + xl
        mean, most = x2.mean((2, 3), keepdim=True), x2.amax((2, 3), keepdim=True)
        gate = torch.sigmoid(self.channel_mean(mean) + self.channel_max(most))
        x3 = x2 * gate + x2 + x1 + xl
        p = F.softmax(self.mixture_gate(x3.mean((2, 3))), 1)[0]
        made = [expert(x3) for expert in self.mixture]
        x4 = sum(share * one for share, one in zip(p, made))
        y = x4 + x3 + x2 + x1 + xl
        q = F.softmax(self.category_gate(y.mean((2, 3))), 1)[0]
        adapted = sum(share * one(y) for share, one in zip(q, self.category)) + x3 + x4
        features = F.adaptive_avg_pool2d(adapted, 4).flatten(1)
        e = F.silu(self.project_norm(self.project(features)))
        seen.update(x1=x1, xl=xl, attention=a, gate=gate, x3=x3, expert0=made[0], expert1=made[1])
        seen.update(x4=F.adaptive_avg_pool2d(x4, 4), features=features, vector=e)
        return seen


def plugin_name(name):
    """`mixture.0.near_depth.weight` here is `mixture.0.near.depth.weight` there."""
    for old, new in [("local0", "local.0"), ("local1", "local.1"), ("spatial0", "spatial.0"),
                     ("spatial1", "spatial.1"), ("_depth", ".depth"), (".layer", ""),
                     ("channel_", "channel."), ("_gate", ".gate"), (".first", ".0"),
                     (".second", ".1"), ("project_norm", "project.norm")]:
        name = name.replace(old, new)
    return name


def fill(network):
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            fan_in = module.weight[0].numel()
            for part in ["weight", "bias"]:
                array = getattr(module, part)
                if array is not None:
                    values = uniform(SEED, f"{plugin_name(name)}.{part}", fan_in**-0.5, array.numel())
                    array.data = torch.from_numpy(values).reshape(array.shape)


def learned_norms(network):
    """Batch norms that a training left behind, by a rule that the test follows."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            i = torch.arange(module.num_features, dtype=torch.float32)
            module.weight.data, module.bias.data = 1 + 0.3 * torch.sin(i), 0.1 * torch.cos(i)
            module.running_mean = 0.2 * torch.sin(i + 1)
            module.running_var = 1 + 0.5 * torch.sin(i) ** 2


def main():
    network = Network().train()
    fill(network)
    i = torch.arange(3 * HEIGHT * WIDE, dtype=torch.float32)
    image = (torch.sin(0.37 * i) + 0.5 * torch.cos(1.7 * i)).reshape(1, 3, HEIGHT, WIDE)
    kept = {"image": image.numpy()}
    with torch.no_grad():
        for name, value in network(image).items():
            kept[f"image.{name}"] = value
        learned_norms(network)
        for name, value in network.eval()(image).items():
            kept[f"running.{name}"] = value
    # A seventh of the large maps is enough to tell, and keeps the file small.
    kept = {n: np.ascontiguousarray(v.flatten()[::7] if np.prod(v.shape) > 1100 else v, dtype=np.float32)
            for n, v in ((n, np.asarray(v)) for n, v in kept.items())}
    n = sum(p.numel() for p in network.parameters())
    kept["n_parameters"] = np.array([n], dtype=np.float32)
    save_file(kept, pathlib.Path(__file__).with_name("multi_scale_adaptive.safetensors"))
    print(n, {name: value.shape for name, value in kept.items()})


main()
