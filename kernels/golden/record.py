"""Records kernels.json: outputs of Pillow, OpenCV, torch, torchvision and scipy on inputs made by a rule.

Versions: Pillow 13.0, opencv-python 4.11, torch 2.2.0, torchvision 0.17.0, scipy 1.17 (written into the file).
Inputs are u8 (i * 37 + (i // 7) * 11) mod 256 and f32 of that / 256, so that no input has to be stored.
Large outputs are stored as CRC-32 of their bytes. Run: python record.py
"""
import json, pathlib, zlib
import cv2, numpy as np, PIL, scipy, torch, torchvision
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch.nn.functional import interpolate
from torchvision.transforms.functional import resize

def u8(*shape):
    i = np.arange(np.prod(shape), dtype=np.int64)
    return ((i * 37 + i // 7 * 11) % 256).astype(np.uint8).reshape(shape)

def f32(*shape):
    return u8(*shape).astype(np.float32) / np.float32(256)

def crc(a):
    return zlib.crc32(np.ascontiguousarray(a).tobytes())

def short(a):
    return [float(np.float32(v)) for v in np.asarray(a, np.float32).ravel()]

SIZES = [((6, 7), (4, 5)), ((6, 7), (8, 9)), ((1, 1), (3, 2)), ((1, 9), (4, 1)), ((13, 1), (5, 3)), ((5, 5), (5, 8)), ((31, 17), (1, 1)), ((67, 101), (48, 80)), ((20, 30), (20, 30)), ((17, 23), (64, 97)), ((200, 150), (24, 16))]
FILTERS = {"nearest": Image.NEAREST, "box": Image.BOX, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}
out = {"versions": dict(pillow=PIL.__version__, opencv=cv2.__version__, torch=torch.__version__, torchvision=torchvision.__version__, scipy=scipy.__version__)}

rows = []
for (h, w), (oh, ow) in SIZES:
    for c in (1, 3, 4):
        a = u8(h, w, c)
        image = Image.fromarray(a[..., 0] if c == 1 else a, {1: "L", 3: "RGB", 4: "RGBX"}[c])
        for name, f in FILTERS.items():
            rows.append(dict(in_hw=[h, w], out_hw=[oh, ow], channels=c, filter=name, crc=crc(np.asarray(image.resize((ow, oh), f)))))
out["pillow"] = rows

MAPS = [((3, 4), (5, 7)), ((1, 1), (3, 2)), ((9, 11), (4, 5)), ((15, 15), (20, 20)), ((4, 1), (2, 3)), ((8, 6), (4, 3)), ((7, 5), (7, 9))]
U8 = MAPS + [((56, 56), (448, 448)), ((37, 53), (448, 320)), ((56, 56), (240, 240)), ((100, 70), (33, 64)), ((1, 30), (50, 100))]
out["opencv_u8"] = [dict(in_hw=i, out_hw=o, crc=crc(cv2.resize(u8(*i), o[::-1], interpolation=cv2.INTER_LINEAR))) for i, o in U8]
maps = []
for i, o in MAPS:
    x = torch.from_numpy(f32(*i))[None, None]
    maps.append(dict(in_hw=i, out_hw=o,
        opencv=short(cv2.resize(f32(*i), o[::-1], interpolation=cv2.INTER_LINEAR)),
        bilinear=short(interpolate(x, o, mode="bilinear", align_corners=False)),
        align_corners=short(interpolate(x, o, mode="bilinear", align_corners=True)),
        antialias_bilinear=short(resize(x[0], list(o), antialias=True)),
        antialias_bicubic=short(interpolate(x, o, mode="bicubic", align_corners=False, antialias=True))))
out["maps"] = maps

masks = []
for (h, w), (oh, ow) in [((700, 700), (448, 448)), ((1024, 1024), (448, 448)), ((97, 211), (240, 240)), ((900, 600), (448, 448)), ((64, 64), (240, 320)), ((896, 896), (448, 448))]:
    m = (u8(h // 5 + 1, w // 5 + 1) > 127).repeat(5, 0).repeat(5, 1)[:h, :w]
    small = resize(torch.from_numpy(m.astype(np.float32))[None], [oh, ow], antialias=True)[0].numpy() > 0.5
    masks.append(dict(in_hw=[h, w], out_hw=[oh, ow], n_true=int(small.sum()), crc=crc(small.astype(np.uint8))))
out["masks"] = masks

out["gaussian"] = [dict(hw=s, sigma_px=g, values=short(gaussian_filter(f32(*s), g))) for s, g in [((5, 7), 1.0), ((3, 2), 4.0), ((1, 6), 0.7), ((9, 4), 0.3), ((4, 4), 0.1)]]
pathlib.Path(__file__).with_name("kernels.json").write_text(json.dumps(out, separators=(",", ":")))
