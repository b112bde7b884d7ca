#!/usr/bin/env python3
"""Writes GGUF files that hold a well-known model's shape and no weights: for simulation (--device sim:BOARD) and planning.
SPDX-License-Identifier: MIT

    make_shape.py SHAPE TYPE FILE.gguf           one file, some kilobytes
    make_shape.py --zeros SHAPE TYPE FILE.gguf   with a weight of zero everywhere: real steps at real speed, the text means nothing
    make_shape.py --list                         the shapes and types there are

The tensor directory is that of a real file of this type, with llama.cpp's choice of types: q4_k_m keeps the output matrix,
attn_v and ffn_down of some layers in Q6_K. Source: llama.cpp, src/llama-quant.cpp. The shapes are those of the models' own
config.json. There is no vocabulary: `llm run --ids 1,2,3`.
"""

import struct
import sys

LLAMA = dict(arch="llama", bias=False, eps=1e-5, theta=500000.0, context=131072, vocab=128256)
QWEN = dict(arch="qwen2", bias=True, eps=1e-6, theta=1000000.0, context=32768, vocab=152064)

# layers, width, width of the feed-forward part, heads, heads of keys and values; every head is dim / heads or `head` wide
SHAPES = {
    "llama-3.2-1b": dict(LLAMA, layers=16, dim=2048, ffn=8192, heads=32, kv_heads=8, tied=True),
    "llama-3.2-3b": dict(LLAMA, layers=28, dim=3072, ffn=8192, heads=24, kv_heads=8, tied=True),
    "llama-3.1-8b": dict(LLAMA, layers=32, dim=4096, ffn=14336, heads=32, kv_heads=8, tied=False),
    "llama-3.3-70b": dict(LLAMA, layers=80, dim=8192, ffn=28672, heads=64, kv_heads=8, tied=False),
    "qwen2.5-7b": dict(QWEN, layers=28, dim=3584, ffn=18944, heads=28, kv_heads=4, tied=False),
    "qwen2.5-14b": dict(QWEN, layers=48, dim=5120, ffn=13824, heads=40, kv_heads=8, tied=False),
    "qwen2.5-32b": dict(QWEN, layers=64, dim=5120, ffn=27648, heads=40, kv_heads=8, tied=False),
}

# number in the file, elements and bytes of a block
F32, F16, Q4_0, Q8_0, Q4_K, Q5_K, Q6_K = (0, 1, 4), (1, 1, 2), (2, 32, 18), (8, 32, 34), (12, 256, 144), (13, 256, 176), (14, 256, 210)
# of a type: its number in general.file_type, what most matrices are, what the output matrix is
TYPES = {"f16": (1, F16, F16), "q4_0": (2, Q4_0, Q6_K), "q8_0": (7, Q8_0, Q8_0), "q4_k_m": (15, Q4_K, Q6_K)}

ALIGNMENT = 32
U32, FLOAT, STRING = 4, 6, 8


def has_more_bits(layer, n):
    """Layers whose attn_v and ffn_down q4_k_m keeps in Q6_K."""
    return layer < n // 8 or layer >= 7 * n // 8 or (layer - n // 8) % 3 == 2


def matrix_type(name, layer, shape, kind):
    _, common, output = TYPES[kind]
    if name == "output" or (name == "token_embd" and shape["tied"]):
        return output
    if kind == "q4_k_m" and name in ("attn_v", "ffn_down") and has_more_bits(layer, shape["layers"]):
        return Q6_K
    if kind == "q4_k_m" and name == "attn_v" and shape["layers"] == 80:
        return Q5_K  # the 70B class: eight heads share each value
    return common


def tensors(shape, kind):
    """(name, dims, type) in file order; dims[0] is the length of a row."""
    dim, kv = shape["dim"], shape["dim"] // shape["heads"] * shape["kv_heads"]
    matrices = [("attn_q", dim, dim), ("attn_k", dim, kv), ("attn_v", dim, kv), ("attn_output", dim, dim),
                ("ffn_gate", dim, shape["ffn"]), ("ffn_up", dim, shape["ffn"]), ("ffn_down", shape["ffn"], dim)]
    yield "token_embd.weight", (dim, shape["vocab"]), matrix_type("token_embd", 0, shape, kind)
    yield "output_norm.weight", (dim,), F32
    if not shape["tied"]:
        yield "output.weight", (dim, shape["vocab"]), matrix_type("output", 0, shape, kind)
    for layer in range(shape["layers"]):
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{name}.weight", (dim,), F32
        for name, columns, rows in matrices:
            yield f"blk.{layer}.{name}.weight", (columns, rows), matrix_type(name, layer, shape, kind)
            if shape["bias"] and name in ("attn_q", "attn_k", "attn_v"):
                yield f"blk.{layer}.{name}.bias", (rows,), F32


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def metadata(name, shape, kind):
    a = shape["arch"]
    values = [
        ("general.architecture", STRING, a),
        ("general.name", STRING, f"{name} (shape only)"),
        ("general.file_type", U32, TYPES[kind][0]),
        ("general.alignment", U32, ALIGNMENT),
        (f"{a}.block_count", U32, shape["layers"]),
        (f"{a}.embedding_length", U32, shape["dim"]),
        (f"{a}.feed_forward_length", U32, shape["ffn"]),
        (f"{a}.attention.head_count", U32, shape["heads"]),
        (f"{a}.attention.head_count_kv", U32, shape["kv_heads"]),
        (f"{a}.attention.layer_norm_rms_epsilon", FLOAT, shape["eps"]),
        (f"{a}.rope.freq_base", FLOAT, shape["theta"]),
        (f"{a}.context_length", U32, shape["context"]),
        (f"{a}.vocab_size", U32, shape["vocab"]),
        ("tokenizer.ggml.model", STRING, "none"),
    ]
    out = b""
    for key, value_kind, value in values:
        out += string(key) + struct.pack("<I", value_kind)
        out += string(value) if value_kind == STRING else struct.pack("<f" if value_kind == FLOAT else "<I", value)
    return len(values), out


def write(name, kind, path, zeros=False):
    shape = SHAPES[name]
    directory, offset, n = b"", 0, 0
    for tensor, dims, (number, block, block_bytes) in tensors(shape, kind):
        elements = 1
        for d in dims:
            elements *= d
        directory += string(tensor) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims)
        directory += struct.pack("<IQ", number, offset)
        bytes_ = elements // block * block_bytes
        offset += (bytes_ + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        n += 1
    n_values, values = metadata(name, shape, kind)
    with open(path, "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, n, n_values) + values + directory)
        if zeros:  # a hole: no disk is needed for it
            f.truncate((f.tell() + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT + offset)
    return offset


def main():
    args = sys.argv[1:]
    zeros = "--zeros" in args
    args = [a for a in args if a != "--zeros"]
    if args == ["--list"]:
        print("shapes:", " ".join(SHAPES))
        print("types: ", " ".join(TYPES))
        return 0
    if len(args) != 3 or args[0] not in SHAPES or args[1] not in TYPES:
        print(__doc__, file=sys.stderr)
        return 2
    size = write(*args, zeros=zeros)
    print(f"{args[2]}: {args[0]} in {args[1]}, {size / 1e9:.2f} GB {'of zeros' if zeros else 'without their data'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
