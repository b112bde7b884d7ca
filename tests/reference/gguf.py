"""Reads and writes GGUF v3 files. Source of the layout: ggml, docs/gguf.md. SPDX-License-Identifier: MIT"""

import struct

import numpy

ALIGNMENT = 32
KINDS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9

# name: (number in the file, elements a block, bytes a block)
TYPES = {
    "F32": (0, 1, 4), "F16": (1, 1, 2), "BF16": (30, 1, 2),
    "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34),
    "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210),
}
TYPE_NAMES = {number: name for name, (number, _, _) in TYPES.items()}


def row_bytes(type_name, n):
    _, block, block_bytes = TYPES[type_name]
    if n % block:
        raise ValueError(f"a row of {n} is no multiple of {type_name}'s block of {block}")
    return n // block * block_bytes


class Tensor:
    """rows x cols as they stand in the file: `data` holds rows * row_bytes bytes."""

    def __init__(self, name, type_name, shape, data):
        self.name, self.type_name, self.shape, self.data = name, type_name, shape, data  # shape: [rows, cols] or [n]


class Reader:
    def __init__(self, path):
        with open(path, "rb") as f:
            self.bytes = f.read()
        self.at = 0
        magic, version, n_tensors, n_values = self.take("<4sIQQ")
        if magic != b"GGUF" or version not in (2, 3):
            raise ValueError(f"{path}: magic {magic!r}, version {version}")
        self.values = {}
        for _ in range(n_values):
            key = self.string()
            self.values[key] = self.value(self.take("<I")[0])
        infos = []
        for _ in range(n_tensors):
            name = self.string()
            n_dims = self.take("<I")[0]
            infos.append((name, self.take(f"<{n_dims}Q"), *self.take("<IQ")))
        alignment = self.values.get("general.alignment", ALIGNMENT)
        start = (self.at + alignment - 1) // alignment * alignment
        self.tensors = {}
        for name, dims, number, offset in infos:
            type_name = TYPE_NAMES[number]
            shape = list(reversed(dims))
            n_rows = int(numpy.prod(shape[:-1], dtype=numpy.int64))
            n = n_rows * row_bytes(type_name, shape[-1])
            self.tensors[name] = Tensor(name, type_name, shape, self.bytes[start + offset:start + offset + n])

    def take(self, layout):
        values = struct.unpack_from(layout, self.bytes, self.at)
        self.at += struct.calcsize(layout)
        return values

    def string(self):
        n = self.take("<Q")[0]
        self.at += n
        return self.bytes[self.at - n:self.at].decode("utf-8", "replace")

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            element, n = self.take("<IQ")
            if element == STRING:
                return [self.string() for _ in range(n)]
            return list(self.take(f"<{n}{KINDS[element]}"))
        return self.take("<" + KINDS[kind])[0]


def pack_string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(data)) + data


def pack_value(value):
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", STRING) + pack_string(value)
    head = struct.pack("<I", ARRAY)
    if isinstance(value[0], (str, bytes)):
        return head + struct.pack("<IQ", STRING, len(value)) + b"".join(pack_string(x) for x in value)
    if isinstance(value[0], float):
        return head + struct.pack(f"<IQ{len(value)}f", 6, len(value), *value)
    return head + struct.pack(f"<IQ{len(value)}i", 5, len(value), *value)


def write(path, values, tensors):
    """values: {key: bool, int, float, str or list}; tensors: list of Tensor."""
    out = [struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(values))]
    for key, value in values.items():
        out.append(pack_string(key) + pack_value(value))
    offset = 0
    for t in tensors:
        dims = list(reversed(t.shape))
        out.append(pack_string(t.name) + struct.pack(f"<I{len(dims)}Q", len(dims), *dims))
        out.append(struct.pack("<IQ", TYPES[t.type_name][0], offset))
        offset += (len(t.data) + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
    header = b"".join(out)
    with open(path, "wb") as f:
        f.write(header + bytes(-len(header) % ALIGNMENT))
        for t in tensors:
            f.write(t.data + bytes(-len(t.data) % ALIGNMENT))
