"""Writes the small pictures of this folder and golden.json: what Pillow and torchvision make of them.

Pillow 13.0, torch 2.2.0, torchvision 0.17.0. Large values are stored as CRC-32 of their bytes. Run: python record.py
"""
import json, pathlib, zlib
import numpy as np, torch
from PIL import Image
from torchvision import transforms as T
from torchvision.transforms.functional import resize

HERE = pathlib.Path(__file__).parent
W, H = 53, 37
y, x = np.mgrid[:H, :W]
rgb = np.stack([x * 4 % 256, y * 6 % 256, (x * y) // 3 % 256], -1).astype(np.uint8)
rgb[10:20, 30:40] = [250, 20, 60]
grey = rgb[..., 1] // 2 + rgb[..., 0] // 2
mask = ((x - 30) ** 2 + (y - 15) ** 2 < 64)
crc = lambda a: zlib.crc32(np.ascontiguousarray(a).tobytes())

save = lambda name, a, **k: (a if isinstance(a, Image.Image) else Image.fromarray(a)).save(HERE / name, **k)
save("rgb.png", rgb)
save("grey.png", grey)
save("grey16.png", (grey.astype(np.uint16) * 256 + 77))
save("bits.png", Image.fromarray(mask))
save("grey4.png", Image.fromarray((grey // 16 * 17)).quantize(16), bits=4)
save("palette.png", Image.fromarray(rgb).quantize(32))
save("palette_alpha.png", Image.fromarray(rgb).quantize(8), transparency=3)
save("rgba.png", np.dstack([rgb, (x * 3 % 256).astype(np.uint8)]))
save("grey_alpha.png", Image.fromarray(np.dstack([grey, 255 - grey]), "LA"))
save("rgb.bmp", rgb)
save("rgb.tif", rgb, compression="tiff_lzw")
save("grey16.tif", (grey.astype(np.uint16) * 256 + 77))
save("cmyk.tif", Image.fromarray(rgb).convert("CMYK").resize((9, 7)))
save("float.tif", np.float32(grey[:7, :9]))
exif = Image.Exif(); exif[0x0112] = 6
save("rotated.jpg", rgb, quality=90, exif=exif)
save("progressive.jpg", grey, quality=90, progressive=True)
save("cmyk.jpg", Image.fromarray(rgb).convert("CMYK"), quality=50)
save("rgb.gif", Image.fromarray(rgb[:5, :5]))
save("mask.png", (mask * 255).astype(np.uint8))
save("mask_grey.png", (mask * 100 + (x % 7 == 0) * 3).astype(np.uint8))
ones = mask.astype(np.uint16)
save("mask16.png", ones)
labels = Image.fromarray(mask.astype(np.uint8) * 2, "P"); labels.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
save("mask_palette.png", labels)

# A 16-bit colour PNG: Pillow reads but does not write it.
def png16(a):
    chunk = lambda kind, data: len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in a)
    head = a.shape[1].to_bytes(4, "big") + a.shape[0].to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
(HERE / "rgb16.png").write_bytes(png16(rgb.astype(np.uint16) * 256 + rgb[..., ::-1]))

EXACT = ["rgb.png", "grey.png", "bits.png", "grey4.png", "palette.png", "palette_alpha.png", "rgba.png", "grey_alpha.png", "rgb.bmp", "rgb.tif", "rgb16.png"]
out = {"decode": {n: crc(np.asarray(Image.open(HERE / n).convert("RGB"))) for n in EXACT}}
out["jpeg"] = {n: [int(v) for v in np.asarray(Image.open(HERE / n).convert("RGB"))[::9, ::7].ravel()] for n in ("rotated.jpg", "progressive.jpg")}

CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
rows = []
for name in ("rgb.png", "grey.png"):
    image = Image.open(HERE / name).convert("RGB")
    for size in ((240, 240), (448, 448), (240, 320), (37, 53), (16, 9)):
        for mode, f in dict(bicubic=T.InterpolationMode.BICUBIC, bilinear=T.InterpolationMode.BILINEAR, nearest=T.InterpolationMode.NEAREST).items():
            t = T.Compose([T.Resize(size, interpolation=f), T.ToTensor(), T.Normalize(*CLIP)])(image)
            rows.append(dict(name=name, hw=size, filter=mode, geometry="square", crc=crc(t.numpy())))
    for size in (240, 30, 31, 448):
        t = T.Compose([T.Resize(size, interpolation=T.InterpolationMode.BICUBIC), T.CenterCrop(size), T.ToTensor(), T.Normalize(*CLIP)])(image)
        rows.append(dict(name=name, hw=(size, size), filter="bicubic", geometry="shorter-side", crc=crc(t.numpy())))
out["prepare"] = rows
out["to_tensor"] = crc(T.ToTensor()(Image.open(HERE / "rgb.png")).numpy())
half = T.Normalize((0.5, 0.4, 0.3), (0.5, 0.25, 0.2))(T.ToTensor()(Image.open(HERE / "rgb.png")))
out["custom"] = crc(half.numpy())

small = lambda hw: (resize(torch.from_numpy(mask.astype(np.float32))[None], list(hw), antialias=True)[0].numpy() > 0.5).astype(np.uint8)
out["mask"] = dict(crc=crc(mask.astype(np.uint8)), resized=[dict(hw=hw, crc=crc(small(hw))) for hw in ((448, 448), (24, 24), (240, 320), (10, 17))])
(HERE / "golden.json").write_text(json.dumps(out, separators=(",", ":")))
