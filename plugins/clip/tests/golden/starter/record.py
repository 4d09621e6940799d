"""Records what open_clip computes with the starter model, on the expanded form of its weights.

Needs torch 2.2.0, open_clip_torch 2.24.0, safetensors. Run it again whenever the weights change:

    python plugins/clip/tests/golden/starter/record.py
"""

import copy
import hashlib
import json
import pathlib
import warnings

warnings.filterwarnings("ignore")
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg, resize_pos_embed
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).resolve().parent
STARTER = HERE.parents[2] / "starter"

# Native, smaller and not square, larger.
SIZES = [(128, 128), (80, 56), (192, 192)]
# Every so many patches are kept: a step without a common divisor with any grid's width.
PATCH_STEP = 11
SENTENCES = [
    "a photo of a flawless woven surface.",
    "a photo of a damaged metal plate with a long scratch",
    "an iridescent zebra, galvanometer; QUASAR 42",
    "scratched",
    "",
    "a close-up photo of a rough wooden board with a dark stain, " * 3,
    "une fraise des bois, s'il vous plaît",
]


def noise(height, width):
    """Values by integer rules that every language computes alike: `[1, 3, h, w]` in -2 .. 2."""
    i = torch.arange(3 * height * width, dtype=torch.int64)
    return (((i * i * 31 + i * 37) % 257).float() / 64 - 2).reshape(1, 3, height, width)


def waves(height, width):
    c, y, x = torch.meshgrid(*map(torch.arange, (3, height, width)), indexing="ij")
    return (((3 * x + 5 * y + 40 * c) % 128 - 64).abs().float() / 32 - 1)[None]


def expanded(state, vocab_size):
    """The whole token table: every token that is not listed has the last row."""
    short, ids = state["token_embedding.weight"], state.pop("token_embedding.ids").long()
    assert len(short) == len(ids) + 1 and (ids.diff() > 0).all()
    whole = short[-1:].repeat(vocab_size, 1)
    whole[ids] = short[:-1]
    return state | {"token_embedding.weight": whole}


def model(description, state, image_size):
    vision = CLIPVisionCfg(**(description["vision_cfg"] | {"image_size": image_size}))
    quick = description.get("quick_gelu", False)
    clip = CLIP(description["embed_dim"], vision, CLIPTextCfg(**description["text_cfg"]), quick_gelu=quick)
    state = copy.deepcopy(state)
    resize_pos_embed(state, clip)
    missing, unexpected = clip.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) <= {"logit_scale", "attn_mask"}, (missing, unexpected)
    clip.visual.output_tokens = True
    return clip.eval()


def main():
    text = (STARTER / "starter.json").read_text()
    description = json.loads(text)
    weights = (STARTER / "starter.safetensors").read_bytes()
    state = {k: v if v.dtype == torch.int32 else v.float()
             for k, v in load_file(STARTER / "starter.safetensors").items()}
    config = description["text_cfg"]
    state = expanded(state, config["vocab_size"])
    tokens = SimpleTokenizer(context_length=config["context_length"])(SENTENCES)
    out = {"text.tokens": tokens.to(torch.int32)}
    with torch.no_grad():
        clip = model(description, state, description["vision_cfg"]["image_size"])
        out["text.embeddings"] = clip.encode_text(tokens)
        for height, width in SIZES:
            clip = model(description, state, (height, width))
            for picture in (noise, waves):
                pooled, patches = clip.visual(picture(height, width))
                patches = patches[0, ::PATCH_STEP]
                name = f"{picture.__name__}.{height}x{width}"
                out[f"{name}.image_embedding"] = pooled
                out[f"{name}.patch_tokens"] = patches
                out[f"{name}.patch_embeddings"] = patches @ clip.visual.proj
    digest = lambda data: hashlib.sha256(data).hexdigest()
    metadata = {"weights": digest(weights), "description": digest(text.encode()),
                "sentences": json.dumps(SENTENCES)}
    out = {k: v.contiguous().clone() for k, v in out.items()}
    save_file(out, HERE / "recorded.safetensors", metadata)
    (HERE / "recorded.safetensors").chmod(0o644)
    print(f"recorded {len(out)} tensors for the weights {metadata['weights']}")


if __name__ == "__main__":
    main()
