"""CLIP's two towers under open_clip's parameter names, with the short vocabulary and taps on inner blocks."""

import json
import math

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = {
    "embed_dim": 192,
    "vision_cfg": {"image_size": 128, "layers": 6, "width": 192, "head_width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 3},
}


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x, causal):
        n, length, width = x.shape
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = qkv.view(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        # The fused backward is four times slower in bf16 than in f32 on a CPU.
        with torch.autocast("cpu", enabled=False):
            y = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), is_causal=causal)
        return self.out_proj(y.to(x.dtype).transpose(1, 2).reshape(n, length, width))


class Block(nn.Module):
    def __init__(self, width, heads, depth):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", nn.GELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))
        for linear in (self.attn.out_proj, self.mlp.c_proj):
            nn.init.normal_(linear.weight, std=width**-0.5 * (2 * depth) ** -0.5)
            nn.init.zeros_(linear.bias)
        nn.init.normal_(self.mlp.c_fc.weight, std=(2 * width) ** -0.5)
        nn.init.zeros_(self.mlp.c_fc.bias)

    def forward(self, x, causal=False):
        x = x + self.attn(self.ln_1(x), causal)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width, heads, layers):
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, heads, layers) for _ in range(layers))


class Visual(nn.Module):
    def __init__(self, cfg, embed_dim):
        super().__init__()
        width, self.patch = cfg["width"], cfg["patch_size"]
        self.grid = cfg["image_size"] // self.patch
        self.conv1 = nn.Conv2d(3, width, self.patch, self.patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width) * width**-0.5)
        self.positional_embedding = nn.Parameter(torch.randn(self.grid**2 + 1, width) * 0.02)
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Transformer(width, width // cfg["head_width"], cfg["layers"])
        self.proj = nn.Parameter(torch.randn(width, embed_dim) * width**-0.5)

    def position(self, h, w, corner):
        """A window of the table in training (`corner`), the whole table resized otherwise."""
        table = self.positional_embedding[1:].view(self.grid, self.grid, -1)
        if corner is not None and max(h, w) <= self.grid:
            y, x = corner[0] % (self.grid - h + 1), corner[1] % (self.grid - w + 1)
            table = table[y : y + h, x : x + w]
        elif (h, w) != (self.grid, self.grid):
            table = F.interpolate(
                table.permute(2, 0, 1)[None], (h, w), mode="bicubic", align_corners=False, antialias=True
            )
            table = table[0].permute(1, 2, 0)
        return table.reshape(h * w, -1)

    def forward(self, images, taps=(), corner=None):
        """[n,3,H,W] -> class embedding [n,e], patch tokens after ln_post [n,t,w], their embeddings [n,t,e], taps."""
        n, _, height, width = images.shape
        h, w, p = height // self.patch, width // self.patch, self.patch
        patches = images.view(n, 3, h, p, w, p).permute(0, 2, 4, 1, 3, 5).reshape(n, h * w, 3 * p * p)
        x = F.linear(patches, self.conv1.weight.flatten(1)) + self.position(h, w, corner)
        cls = (self.class_embedding + self.positional_embedding[0]).to(x.dtype).expand(n, 1, -1)
        x = self.ln_pre(torch.cat([cls, x], 1))
        seen = []
        for k, block in enumerate(self.transformer.resblocks, 1):
            x = block(x)
            if k in taps:
                seen.append(x[:, 1:])
        x = self.ln_post(x)
        y = x @ self.proj
        return y[:, 0], x[:, 1:], y[:, 1:], seen


class Starter(nn.Module):
    def __init__(self, cfg, n_words):
        super().__init__()
        text, embed_dim = cfg["text_cfg"], cfg["embed_dim"]
        self.cfg = cfg
        self.visual = Visual(cfg["vision_cfg"], embed_dim)
        self.token_embedding = nn.Embedding(n_words + 1, text["width"])
        self.positional_embedding = nn.Parameter(torch.randn(text["context_length"], text["width"]) * 0.01)
        self.transformer = Transformer(text["width"], text["heads"], text["layers"])
        self.ln_final = nn.LayerNorm(text["width"])
        self.text_projection = nn.Parameter(torch.randn(text["width"], embed_dim) * text["width"] ** -0.5)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(14.0)))
        nn.init.normal_(self.token_embedding.weight, std=0.05)

    def encode_text(self, rows, ends):
        x = self.token_embedding(rows) + self.positional_embedding[: rows.shape[1]]
        for block in self.transformer.resblocks:
            x = block(x, causal=True)
        x = self.ln_final(x[torch.arange(len(x)), ends])
        return F.normalize(x @ self.text_projection, dim=-1)


def export(model, vocabulary, folder):
    """`starter.json` and `starter.safetensors`: f16, open_clip's names, the ids of the short table beside it."""
    from safetensors.torch import save_file

    tensors = {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}
    tensors["token_embedding.ids"] = torch.tensor(vocabulary.ids, dtype=torch.int32)
    save_file(tensors, str(folder / "starter.safetensors"))
    (folder / "starter.json").write_text(json.dumps(model.cfg, indent=4) + "\n")


def load(folder):
    """The exported model and its vocabulary."""
    from safetensors.torch import load_file

    from words import Vocabulary

    tensors = load_file(str(folder / "starter.safetensors"))
    vocabulary = Vocabulary(tensors.pop("token_embedding.ids").tolist())
    model = Starter(json.loads((folder / "starter.json").read_text()), len(vocabulary.ids))
    model.load_state_dict({name: value.float() for name, value in tensors.items()})
    return model.eval(), vocabulary
