"""Reads the shards of a cache with h5py alone, as any other tool would.

    read_with_h5py.py ls DIR                every group: stage, value, dtype, shapes, number of rows
    read_with_h5py.py check DIR             every checksum (BLAKE3 where the module is installed)
    read_with_h5py.py check DIR EXPECTED    and every array against EXPECTED/KEY.PART.npy, bit for bit
"""

import pathlib
import sys

import h5py
import numpy

try:
    from blake3 import blake3
except ImportError:
    blake3 = None


def text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def rows(group, part):
    """Yields the rows of one part as arrays."""
    names = sorted(name for name in group if name.startswith("data"))
    names.sort(key=lambda name: int(name[5:] or 0))
    data = group[names[part]]
    if group.attrs["kind"] == "arrays":
        yield from data
        return
    start = 0
    for end in group["ends"]:
        yield data[start : int(end)]
        start = int(end)


def main(command, folder, expected=None):
    n_rows = n_sums = n_equal = n_different = 0
    for path in sorted(pathlib.Path(folder).glob("shards/*/*.h5")):
        with h5py.File(path, "r") as shard:
            assert shard.attrs["schema"] == 1 and shard.attrs["complete"] == 1, path
            for name, group in sorted(shard.items()):
                keys = [bytes(key).hex() for key in group["keys"][()]]
                n_parts = group["sums"].shape[1]
                n_rows += len(keys)
                if command == "ls":
                    shapes = [group[d].shape[1:] for d in sorted(group) if d.startswith("data")]
                    classes = sorted({text(c) for c in group["class"][()]})
                    print(path.name, name, text(group.attrs["dtype"]), shapes, len(keys), classes)
                    continue
                for part in range(n_parts):
                    for i, row in enumerate(rows(group, part)):
                        row = numpy.asarray(row)
                        if blake3 is not None:
                            digest = blake3(row.tobytes()).digest()[:16]
                            assert digest == group["sums"][i, part].tobytes(), (path, name, i)
                            n_sums += 1
                        wanted = expected and pathlib.Path(expected, f"{keys[i]}.{part}.npy")
                        if wanted and wanted.exists():
                            want = numpy.load(wanted)
                            same = row.dtype == want.dtype and row.shape == want.shape
                            if same and row.tobytes() == want.tobytes():
                                n_equal += 1
                            else:
                                n_different += 1
                                print("differs:", path, name, i, part)
    print(f"{n_rows} rows, {n_sums} checksums right, {n_equal} equal, {n_different} different")
    return 1 if n_different else 0


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in ("ls", "check"):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
