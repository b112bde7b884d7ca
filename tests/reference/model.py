"""Makes tiny GGUF models with random weights, the same for the same seed. SPDX-License-Identifier: MIT

    python3 tests/reference/model.py --list
    python3 tests/reference/model.py NAME FILE.gguf
"""

import argparse
import sys
import zlib

import numpy

import blocks
import gguf

# Odd sizes on purpose. K types need rows of a multiple of 256, the other quantised types of 32.
DEFAULTS = dict(arch="llama", type="F32", dim=64, heads=4, kv_heads=2, head_size=16, ffn=96, layers=2, vocab=320, tied=False,
                rope_factors=False, rope_linear=0.0, base=10000.0, tokenizer="spm")
PLAIN = dict(dim=160, heads=5, kv_heads=1, head_size=64, ffn=224)          # wider attention than dim
SMALL_HEAD = dict(dim=96, heads=12, kv_heads=3, head_size=8, ffn=160)
SUPER = dict(dim=256, heads=4, kv_heads=2, head_size=64, ffn=512)
FORTY = dict(dim=320, heads=8, kv_heads=2, head_size=40, ffn=288)

MODELS = {
    "f32": dict(FORTY, type="F32"),
    "f32-odd": dict(dim=120, heads=3, kv_heads=3, head_size=40, ffn=52, vocab=301, tied=True),
    "f32-factors": dict(PLAIN, type="F32", rope_factors=True, base=500000.0, tokenizer="bpe"),
    "f32-linear": dict(SMALL_HEAD, type="F32", rope_linear=4.0),
    "f16": dict(SMALL_HEAD, type="F16", tied=True),
    "bf16": dict(FORTY, type="BF16"),
    "q4_0": dict(FORTY, type="Q4_0"),
    "q4_1": dict(PLAIN, type="Q4_1", tied=True),
    "q5_0": dict(SMALL_HEAD, type="Q5_0"),
    "q5_1": dict(PLAIN, type="Q5_1"),
    "q8_0": dict(FORTY, type="Q8_0", tied=True, rope_linear=2.0),
    "q4_k": dict(SUPER, type="Q4_K", rope_factors=True),
    "q5_k": dict(SUPER, type="Q5_K", tied=True),
    "q6_k": dict(SUPER, type="Q6_K"),
    "qwen2-f32": dict(FORTY, arch="qwen2", tokenizer="bpe", base=1000000.0),
    "qwen2-f16": dict(SMALL_HEAD, arch="qwen2", type="F16", tied=True, tokenizer="bpe"),
    "qwen2-q8_0": dict(FORTY, arch="qwen2", type="Q8_0", tokenizer="bpe"),
    "qwen2-q4_k": dict(SUPER, arch="qwen2", type="Q4_K", tied=True, tokenizer="bpe"),
}


def spm_tokens(n):
    """Control tokens, 256 bytes, then letters and pairs; scores fall with the number."""
    letters = ["\u2581"] + [chr(c) for c in range(ord("a"), ord("z") + 1)]
    pairs = [a + b for a in letters for b in letters[1:]]
    texts = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + letters + pairs
    kinds = [2, 3, 3] + [6] * 256 + [1] * (len(letters) + len(pairs))
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": texts[:n],
        "tokenizer.ggml.scores": [float(-i) for i in range(n)],
        "tokenizer.ggml.token_type": kinds[:n],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_bos_token": True,
    }


def bpe_tokens(n):
    """GPT-2's letters for the 256 bytes, then merges of two letters, then one control token."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in kept] + [chr(256 + i) for i in range(256 - len(kept))]
    merges = [f"{a} {b}" for a in "\u0120etaoin" for b in "etaoinshrdlu"][:n - 257]
    texts = letters + [m.replace(" ", "") for m in merges]
    texts += [f"<|unused_{i}|>" for i in range(n - 1 - len(texts))] + ["<|end|>"]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.token_type": [1] * (256 + len(merges)) + [3] * (n - 256 - len(merges)),
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.eos_token_id": n - 1,
        "tokenizer.ggml.add_bos_token": False,
    }


def metadata(name, c):
    a = c["arch"]
    values = {
        "general.architecture": a, "general.name": name, "general.file_type": 0, "general.quantization_version": 2,
        f"{a}.context_length": 1024, f"{a}.embedding_length": c["dim"], f"{a}.block_count": c["layers"],
        f"{a}.feed_forward_length": c["ffn"], f"{a}.attention.head_count": c["heads"],
        f"{a}.attention.head_count_kv": c["kv_heads"], f"{a}.attention.key_length": c["head_size"],
        f"{a}.attention.value_length": c["head_size"], f"{a}.attention.layer_norm_rms_epsilon": 1e-5,
        f"{a}.rope.freq_base": c["base"], f"{a}.vocab_size": c["vocab"],
    }
    if a == "llama":
        values["llama.rope.dimension_count"] = c["head_size"]
    if c["rope_linear"]:
        values[f"{a}.rope.scaling.type"] = "linear"
        values[f"{a}.rope.scaling.factor"] = c["rope_linear"]
    values.update(bpe_tokens(c["vocab"]) if c["tokenizer"] == "bpe" else spm_tokens(c["vocab"]))
    return values


def make(name, path):
    """Writes model `name` of MODELS to path."""
    c = dict(DEFAULTS, **MODELS[name])
    rng = numpy.random.default_rng(zlib.crc32(name.encode()))
    tensors = []

    def matrix(tensor_name, rows, cols, gain=1.0):
        data = blocks.random_tensor_data(rng, c["type"], rows, cols, gain / cols ** 0.5)
        tensors.append(gguf.Tensor(tensor_name, c["type"], [rows, cols], data))

    def vector(tensor_name, n, mean, sigma):
        values = rng.normal(mean, sigma, n).astype("<f4")
        tensors.append(gguf.Tensor(tensor_name, "F32", [n], values.tobytes()))

    q_rows, kv_rows = c["heads"] * c["head_size"], c["kv_heads"] * c["head_size"]
    matrix("token_embd.weight", c["vocab"], c["dim"], gain=2 if c["tied"] else c["dim"] ** 0.5)
    vector("output_norm.weight", c["dim"], 1, 0.2)
    if not c["tied"]:
        matrix("output.weight", c["vocab"], c["dim"], gain=2)
    if c["rope_factors"]:
        factors = numpy.linspace(1, 8, c["head_size"] // 2).astype("<f4")
        tensors.append(gguf.Tensor("rope_freqs.weight", "F32", [c["head_size"] // 2], factors.tobytes()))
    for i in range(c["layers"]):
        vector(f"blk.{i}.attn_norm.weight", c["dim"], 1, 0.2)
        matrix(f"blk.{i}.attn_q.weight", q_rows, c["dim"], gain=1.5)
        matrix(f"blk.{i}.attn_k.weight", kv_rows, c["dim"], gain=1.5)
        matrix(f"blk.{i}.attn_v.weight", kv_rows, c["dim"])
        if c["arch"] == "qwen2":
            vector(f"blk.{i}.attn_q.bias", q_rows, 0, 0.5)
            vector(f"blk.{i}.attn_k.bias", kv_rows, 0, 0.5)
            vector(f"blk.{i}.attn_v.bias", kv_rows, 0, 0.5)
        matrix(f"blk.{i}.attn_output.weight", c["dim"], q_rows)
        vector(f"blk.{i}.ffn_norm.weight", c["dim"], 1, 0.2)
        matrix(f"blk.{i}.ffn_gate.weight", c["ffn"], c["dim"])
        matrix(f"blk.{i}.ffn_up.weight", c["ffn"], c["dim"])
        matrix(f"blk.{i}.ffn_down.weight", c["dim"], c["ffn"], gain=2)
    gguf.write(path, metadata(name, c), tensors)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", choices=MODELS)
    parser.add_argument("file", nargs="?")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list or not options.file:
        print("\n".join(MODELS))
        return 0 if options.list else 2
    make(options.name, options.file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
