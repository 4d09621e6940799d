"""CLIP's towers in PyTorch as one would write them for speed there, with open_clip's names: attention by
scaled_dot_product_attention, nothing computed twice. Weights are random, at the scales of CLIP's beginning.
"""
import json
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

N_TOKENS, N_WORDS = 77, 49408


@dataclass
class Shape:
    """Sizes of a CLIP; `size` is the side, in pixels, that its positions were made for."""

    width: int
    blocks: int
    heads: int
    patch: int
    size: int
    embed: int
    text_width: int = 64
    text_heads: int = 1
    text_blocks: int = 1

    def tokens(self, size):
        return (size // self.patch) ** 2 + 1

    def flop(self, size):
        """Of one image: patches, blocks, projection."""
        n, c = self.tokens(size), self.width
        blocks = self.blocks * (24 * n * c**2 + 4 * n**2 * c)
        return blocks + 2 * (n - 1) * c * 3 * self.patch**2 + 2 * n * c * self.embed

    def describe(self, path):
        """Writes open_clip's description."""
        vision = {"image_size": self.size, "layers": self.blocks, "width": self.width, "patch_size": self.patch}
        vision["head_width"] = self.width // self.heads
        text = {"context_length": N_TOKENS, "vocab_size": N_WORDS, "width": self.text_width, "heads": self.text_heads}
        text["layers"] = self.text_blocks
        Path(path).write_text(json.dumps({"embed_dim": self.embed, "vision_cfg": vision, "text_cfg": text}))
        return str(path)


MODELS = {
    "ViT-B-32": Shape(768, 12, 12, 32, 224, 512),
    "ViT-B-16": Shape(768, 12, 12, 16, 224, 512),
    "ViT-B-16-plus-240": Shape(896, 12, 14, 16, 240, 640),
    "ViT-L-14": Shape(1024, 24, 16, 14, 224, 768),
    "ViT-L-14-336": Shape(1024, 24, 16, 14, 336, 768),
}


class Attention(nn.Module):
    def __init__(self, width, heads, causal):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def vectors(self, x):
        """Queries, keys and values `[b, heads, n, d]`."""
        b, n, c = x.shape
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        return qkv.view(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)

    def join(self, x):
        return self.out_proj(x.transpose(1, 2).flatten(2))

    def forward(self, x):
        return self.join(F.scaled_dot_product_attention(*self.vectors(x), is_causal=self.causal))


class Block(nn.Module):
    def __init__(self, width, heads, blocks, causal=False):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads, causal)
        fc, proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.mlp = nn.Sequential(OrderedDict(c_fc=fc, gelu=nn.GELU(), c_proj=proj))
        for linear in (self.attn.out_proj, fc, proj):
            nn.init.zeros_(linear.bias)
        nn.init.normal_(self.attn.out_proj.weight, std=(width * 2 * blocks) ** -0.5)
        nn.init.normal_(fc.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(proj.weight, std=(width * 2 * blocks) ** -0.5)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


def resblocks(*blocks):
    return nn.ModuleDict({"resblocks": nn.ModuleList(blocks)})


class ImageTower(nn.Module):
    def __init__(self, shape):
        super().__init__()
        width = shape.width
        self.shape, scale = shape, width**-0.5
        self.conv1 = nn.Conv2d(3, width, shape.patch, shape.patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width) * scale)
        self.positional_embedding = nn.Parameter(torch.randn(shape.tokens(shape.size), width) * scale)
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = resblocks(*(Block(width, shape.heads, shape.blocks) for _ in range(shape.blocks)))
        self.proj = nn.Parameter(torch.randn(width, shape.embed) * scale)
        self.positions = {}

    def positions_at(self, rows):
        """The position table on another grid; made once for each."""
        if rows not in self.positions:
            table = self.positional_embedding.detach().float()
            grid = self.shape.size // self.shape.patch
            patches = table[1:].T.reshape(1, -1, grid, grid)
            if rows != grid:
                patches = F.interpolate(patches, (rows, rows), mode="bicubic", antialias=True)
            table = torch.cat([table[:1], patches.flatten(2)[0].T])
            self.positions[rows] = table.to(self.positional_embedding.dtype)
        return self.positions[rows]

    def stem(self, image):
        x = self.conv1(image)
        positions = self.positions_at(x.shape[-1])
        x = x.flatten(2).transpose(1, 2)
        return self.ln_pre(torch.cat([self.class_embedding.expand(x.shape[0], 1, -1), x], 1) + positions)

    def forward(self, image):
        x = self.stem(image)
        for block in self.transformer["resblocks"]:
            x = block(x)
        return self.ln_post(x) @ self.proj


class TextTower(nn.Module):
    def __init__(self, shape):
        super().__init__()
        width, blocks = shape.text_width, shape.text_blocks
        self.token_embedding = nn.Embedding(N_WORDS, width)
        self.positional_embedding = nn.Parameter(torch.randn(N_TOKENS, width) * 0.01)
        self.transformer = resblocks(*(Block(width, shape.text_heads, blocks, causal=True) for _ in range(blocks)))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, shape.embed) * width**-0.5)
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def forward(self, ids):
        """`ids [b, n]`; a sentence is read at its largest id, its end."""
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        for block in self.transformer["resblocks"]:
            x = block(x)
        ends = x[torch.arange(ids.shape[0]), ids.argmax(-1)]
        return self.ln_final(ends) @ self.text_projection


def save(path, image, text=None):
    """The file from which loupe gets the same weights."""
    tensors = {f"visual.{name}": tensor for name, tensor in image.state_dict().items()}
    tensors.update(text.state_dict() if text else {})
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return str(path)


def save_images(path, images):
    save_file({f"image.{i}": image.contiguous() for i, image in enumerate(images)}, path)
    return str(path)


def outputs_of(x):
    """Names of loupe's outputs for projected tokens `[b, 1 + rows * rows, d]` -> arrays."""
    x = x.float()
    rows = round((x.shape[1] - 1) ** 0.5)
    return {"image_embedding": x[:, 0].numpy(), "patch_embeddings": x[:, 1:].unflatten(1, (rows, rows)).numpy()}
