"""Records the golden files of this folder from the reference libraries.

Needs torch 2.2.0, open_clip_torch 2.24.0, gem-torch 1.0.1, numpy < 2, safetensors. (open_clip 2.26
and later feed gem-torch's trunk the wrong way round; see the crate's README.)

    python record.py
"""

import json
import os
import warnings

warnings.filterwarnings("ignore")
import gem.gem_wrapper
import open_clip
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))


STAGES = ("stem", "tap1", "tap2", "gem_tap2", "tap7", "gem_tap7", "normed", "gem_normed", "embeddings",
          "gem_embeddings")


def pixels(height, width):
    """Values by an integer rule that every language computes alike: [1, 3, h, w] in -2 .. 2."""
    i = torch.arange(3 * height * width, dtype=torch.int64)
    return (((i * i * 31 + i * 37) % 257).float() / 64 - 2).reshape(1, 3, height, width)


def model(seed, patch, image, layers, width, head_width, mlp_ratio, quick, text, outliers=()):
    """A random CLIP whose weights are exact in f16; `outliers` are channels made 30 times larger."""
    torch.manual_seed(seed)
    vision = CLIPVisionCfg(layers=layers, width=width, head_width=head_width, mlp_ratio=mlp_ratio,
                           patch_size=patch, image_size=image)
    clip = CLIP(text.pop("embed_dim"), vision, CLIPTextCfg(**text), quick_gelu=quick).eval()
    with torch.no_grad():
        for parameter in clip.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        for channel in outliers:
            clip.visual.ln_pre.weight[channel] *= 30
            clip.visual.ln_post.weight[channel] *= 30
        for parameter in clip.parameters():
            parameter.copy_(parameter.half().float())
    return clip


def weights(clip, dtype=torch.float16):
    state = clip.state_dict()
    return {k: v.to(dtype).contiguous() for k, v in state.items() if k not in ("logit_scale", "attn_mask")}


def record_towers(name, clip, sizes, gem_settings, text_too):
    """Weights, and per image size every stage of the pass that gem-torch makes."""
    out = {f"w.{k}": v for k, v in weights(clip).items()}
    if not text_too:
        out = {k: v for k, v in out.items() if k.startswith("w.visual.")}
    tokens = torch.tensor([[60, 5, 7, 61, 0, 0, 0, 0], [60, 9, 61, 0, 0, 0, 0, 0],
                           [60, 1, 2, 3, 4, 5, 6, 61], [60, 8, 3, 61, 0, 0, 0, 0]])
    with torch.no_grad():
        if text_too:
            out |= {"text.tokens": tokens.to(torch.int32), "text.embeddings": clip.encode_text(tokens)}
        state = {k: v.clone() for k, v in clip.state_dict().items()}
        for label, (height, width) in sizes.items():
            for setting, (n_iterations, temperature) in gem_settings.items():
                clip.load_state_dict(state)
                wrapped = gem.gem_wrapper.GEMWrapper(
                    clone(clip), None, ss_attn_iter=n_iterations, ss_attn_temp=temperature)
                stages = {}
                visual = wrapped.model.visual
                visual.ln_pre.register_forward_hook(lambda m, i, o: stages.__setitem__("stem", o[0]))
                visual.ln_post.register_forward_hook(
                    lambda m, i, o: stages.__setitem__("gem_normed" if "normed" in stages else "normed", o[0]))
                for index, block in enumerate(visual.transformer.resblocks, 1):
                    def keep(m, i, o, index=index):
                        gem_stream, stream = o if isinstance(o, list) else (None, o)
                        stages[f"tap{index}"] = stream[:, 0]
                        if gem_stream is not None:
                            stages[f"gem_tap{index}"] = gem_stream[:, 0]
                    block.register_forward_hook(keep)
                gem_tokens, clip_tokens = visual(pixels(height, width))
                stages |= {"embeddings": clip_tokens[0], "gem_embeddings": gem_tokens[0]}
                for stage, value in stages.items():
                    kept = STAGES if setting == "plain" else ("gem_embeddings",)
                    if stage in kept:
                        out[f"{label}.{setting}.{stage}"] = value.contiguous()
    save_file({k: v.contiguous().clone() for k, v in out.items()}, f"{HERE}/{name}.safetensors")


def clone(clip):
    import copy
    return copy.deepcopy(clip)


class Node(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def tree(state):
    """Modules nested as the dots in the names, so that TorchScript stores them under those names."""
    root = Node()
    for name, value in state.items():
        node = root
        *path, leaf = name.split(".")
        for part in path:
            if part not in dict(node.named_children()):
                node.add_module(part, Node())
            node = getattr(node, part)
        node.register_buffer(leaf, value.clone())
    return root


def hugging_face(state, dtype):
    """The names and orientations of transformers' CLIPModel (from its published checkpoints)."""
    out = {}
    for name, value in state.items():
        tower = "vision_model" if name.startswith("visual.") else "text_model"
        short = name.removeprefix("visual.")
        fixed = {
            "visual.class_embedding": "vision_model.embeddings.class_embedding",
            "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
            "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
            "positional_embedding": "text_model.embeddings.position_embedding.weight",
            "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        }
        if name in fixed:
            out[fixed[name]] = value
        elif name == "visual.proj":
            out["visual_projection.weight"] = value.t().contiguous()
        elif name == "text_projection":
            out["text_projection.weight"] = value.t().contiguous()
        elif "in_proj" in name:
            layer = short.split(".")[2]
            kind = name.rsplit("_", 1)[1]
            for part, rows in zip("qkv", value.chunk(3)):
                out[f"{tower}.encoder.layers.{layer}.self_attn.{part}_proj.{kind}"] = rows.clone()
        else:
            for a, b in {"transformer.resblocks": "encoder.layers", "attn.": "self_attn.", "ln_1": "layer_norm1",
                         "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
                         "ln_pre": "pre_layrnorm", "ln_post": "post_layernorm",
                         "ln_final": "final_layer_norm"}.items():
                short = short.replace(a, b)
            out[f"{tower}.{short}"] = value
    out = {k: v.to(dtype) for k, v in out.items()}
    out["vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    return out


def record_files():
    """One tiny model in every container and dialect."""
    clip = model(3, 4, 8, 1, 8, 4, 2.0, False,
                 dict(embed_dim=4, context_length=5, vocab_size=12, width=8, heads=2, layers=1))
    with torch.no_grad():
        for parameter in clip.parameters():
            parameter.copy_(parameter.bfloat16().float())
    state = weights(clip, torch.float32)
    save_file(state, f"{HERE}/files.safetensors")
    save_file({k: v.bfloat16() for k, v in state.items()}, f"{HERE}/files-bf16.safetensors")
    save_file(hugging_face(state, torch.float32), f"{HERE}/files-hf.safetensors")
    torch.save({k: v.half() if k.endswith("weight") else v for k, v in state.items()}, f"{HERE}/files.pt")
    viewed = {f"module.{k}": v.t().contiguous().t() if v.ndim == 2 else v for k, v in state.items()}
    torch.save({"epoch": 3, "state_dict": viewed, "flags": torch.tensor([True])}, f"{HERE}/files-nested.pt")
    torch.save({k: torch.nn.Parameter(v) for k, v in state.items() if k.startswith("visual.")},
               f"{HERE}/files-image-only.pt")
    scripted = tree({k: v.half() for k, v in state.items()} |
                    {"input_resolution": torch.tensor(8), "context_length": torch.tensor(5),
                     "vocab_size": torch.tensor(12)})
    torch.jit.save(torch.jit.script(scripted), f"{HERE}/files-torchscript.pt")
    torch.save({"visual.proj": state["visual.proj"]}, f"{HERE}/files-legacy.pt",
               _use_new_zipfile_serialization=False)


SENTENCES = [
    "a photo of a a cropped photo of the damaged object.", "a photo of a Brain.", "", " ", "hello world!!!",
    "on the ground..", "it's  déjà&amp;vu  42 100% 日本", "I'VE SEEN IT; they'd, we'll, you're, I'm, isn't",
    "metal_nut", "x-ray 3.14 1,000 2024", "a &lt;b&gt; tag &amp;amp; more", "caf&eacute; na&iuml;ve", "&#233;t&#xE9;",
    "&#150; dash &#x2019; quote", "&copy 2020 &reg; &trade;", "&unknown; &amp &ampx &notit; &", "tab\tnew\nline\u00a0nbsp",
    "“curly” ‘quotes’ it’s", "ﬁne ﬂat ﬀ", "ｆｕｌｌ　ｗｉｄｔｈ １２", "emoji 😀🎉 👩‍🔬", "日本語のテキスト", "Привет, мир", "ΑΣ ΟΔΟΣ",
    "İstanbul", "naïve façade Ångström", "a/b\\c|d", "<start_of_text>hi<end_of_text>", "#hashtag @user http://a.b/c?d=e&f=g",
    "½ ² ³ Ⅳ ٣", "donaudampfschifffahrtsgesellschaftskapitänsmütze", "a" * 200, "word " * 100,
    "don''t ''s 's", "100%!?...", "—–-−", "zero\u200bwidth\ufeffbom", "bell\x07\x1bcontrol", "ñ ß ø Æ œ",
    "a jpeg corrupted photo of the histopathological image without damage.", "&hellip;&euro;5 &mu;m &plusmn;1&deg;",
    "🇩🇪 flags 1️⃣", "ـعربي مرحبا", "한국어 텍스트", "&nbsp;&nbsp;x&nbsp;", "A\u2028B\u0085C",
]


def record_tokens():
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    out = []
    for sentence in SENTENCES:
        ids = tokenizer([sentence])[0].tolist()
        out.append({"text": sentence, "ids": ids[: ids.index(49407) + 1] if sentence[:1] != "<" else
                    [i for i in ids if i]})
    with open(f"{HERE}/tokens.json", "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(row) for row in out) + "\n]\n")


if __name__ == "__main__":
    text = dict(embed_dim=24, context_length=8, vocab_size=62, width=16, heads=2, layers=2)
    record_towers("gelu", model(1, 16, 48, 7, 32, 16, 2.0, False, dict(text)),
                  {"48x48": (48, 48), "80x80": (80, 80)},
                  {"plain": (1, None), "iterated": (2, None), "heated": (1, 10.0)}, text_too=True)
    record_towers("quick-outliers", model(2, 8, 24, 7, 24, 12, 2.0, True, dict(text), outliers=(5, 17)),
                  {"32x32": (32, 32), "40x26": (40, 26)}, {"plain": (1, None)}, text_too=False)
    record_files()
    record_tokens()
