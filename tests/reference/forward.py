"""A plain forward pass in NumPy, written from the papers, to check programs against. SPDX-License-Identifier: MIT

RMS norm: Zhang, Sennrich 2019. Rotary positions: RoFormer, arXiv 2104.09864. Gated activation: Shazeer 2020.
Grouped heads: Ainslie et al. 2023.

    python3 tests/reference/forward.py MODEL.gguf --ids 1,2,3 [-o LOGITS.f32]
"""

import argparse
import sys
from dataclasses import dataclass

import numpy

import blocks
import gguf

NEOX = {"qwen2"}  # families that rotate dimension i with i + n/2; the others rotate 2i with 2i + 1


@dataclass
class Options:
    """How to compute; the last ones make it wrong on purpose, to see that a check notices."""
    dtype: type = numpy.float64
    int8: bool = False           # activations before quantised matrices as int8 in groups of 32, as kernels/README.md says
    swap_rope: bool = False
    no_factors: bool = False
    attention_scale: float = 1.0
    no_bias: bool = False
    interleave_heads: bool = False
    norm_eps: float = 0.0
    shift_position: int = 0


MUTATIONS = {
    "swap_rope": dict(swap_rope=True), "no_factors": dict(no_factors=True), "attention_scale": dict(attention_scale=1.02),
    "no_bias": dict(no_bias=True), "interleave_heads": dict(interleave_heads=True), "norm_eps": dict(norm_eps=1e-3),
    "shift_position": dict(shift_position=1),
}


class Model:
    def __init__(self, path, options=Options()):
        self.file = gguf.Reader(path)
        self.options = options
        self.arch = self.file.values["general.architecture"]
        self.dim = self.get("embedding_length")
        self.n_layers = self.get("block_count")
        self.n_heads = self.get("attention.head_count")
        self.n_kv_heads = self.get("attention.head_count_kv", self.n_heads)
        self.head_size = self.get("attention.key_length", self.dim // self.n_heads)
        self.n_rot = self.get("rope.dimension_count", self.head_size)
        self.eps = options.norm_eps or self.get("attention.layer_norm_rms_epsilon")
        self.weights = {}

    def get(self, key, default=None):
        value = self.file.values.get(f"{self.arch}.{key}", default)
        if value is None:
            raise KeyError(f"{self.arch}.{key}")
        return value[0] if isinstance(value, list) else value

    def weight(self, name):
        if name not in self.weights:
            self.weights[name] = blocks.decode(self.file.tensors[name]).astype(self.options.dtype)
        return self.weights[name]

    def matmul(self, x, name):
        """x [n, cols] times the matrix [rows, cols], times the scale and plus the bias of the same name if the file has them.

        llama.cpp scales before the bias in the attention and after it in the feed-forward part, and leaves qwen2's feed-forward
        scales out; only files made for tests have both.
        """
        if self.options.int8 and self.file.tensors[name].type_name in blocks.DECODERS:
            x = int8_round(x)
        y = x @ self.weight(name).T
        in_ffn = ".ffn_" in name
        scale = 1.0
        if name.replace(".weight", ".scale") in self.file.tensors and not (in_ffn and self.arch == "qwen2"):
            scale = self.weight(name.replace(".weight", ".scale"))[0]
        bias = 0.0
        if name.replace(".weight", ".bias") in self.file.tensors and not self.options.no_bias:
            bias = self.weight(name.replace(".weight", ".bias"))
        return (y + bias) * scale if in_ffn else y * scale + bias

    def norm(self, x, name):
        scale = 1 / numpy.sqrt(numpy.mean(x * x, axis=-1, keepdims=True) + self.options.dtype(self.eps))
        return x * scale * self.weight(name)

    def angles(self, n):
        """[n, n_rot / 2] angles: position * base^(-2i / n_rot) / (factor * factors[i])."""
        half = self.n_rot // 2
        freqs = self.get("rope.freq_base", 10000.0) ** (-2.0 * numpy.arange(half) / self.n_rot)
        kind = self.get("rope.scaling.type", "none")
        if kind == "linear":
            freqs = freqs / (self.get("rope.scaling.factor") or 1.0)  # files with 0 mean "none"
        elif kind != "none":
            raise ValueError(f"rope scaling {kind} is not covered")
        if "rope_freqs.weight" in self.file.tensors and not self.options.no_factors:
            freqs = freqs / blocks.decode(self.file.tensors["rope_freqs.weight"])
        return (numpy.arange(n) + self.options.shift_position * (numpy.arange(n) > 0))[:, None] * freqs

    def rotate(self, x):
        """x [n, heads, head_size]"""
        angle = self.angles(len(x))[:, None, :]
        c, s = numpy.cos(angle).astype(x.dtype), numpy.sin(angle).astype(x.dtype)
        half = self.n_rot // 2
        neox = (self.arch in NEOX) != self.options.swap_rope
        first = slice(0, half) if neox else slice(0, self.n_rot, 2)
        second = slice(half, self.n_rot) if neox else slice(1, self.n_rot, 2)
        y = x.copy()
        y[..., first] = x[..., first] * c - x[..., second] * s
        y[..., second] = x[..., first] * s + x[..., second] * c
        return y

    def attention(self, x, prefix):
        n = len(x)
        q = self.rotate(self.matmul(x, prefix + "attn_q.weight").reshape(n, self.n_heads, self.head_size))
        k = self.rotate(self.matmul(x, prefix + "attn_k.weight").reshape(n, self.n_kv_heads, self.head_size))
        v = self.matmul(x, prefix + "attn_v.weight").reshape(n, self.n_kv_heads, self.head_size)
        group = self.n_heads // self.n_kv_heads
        kv_of = [h % self.n_kv_heads if self.options.interleave_heads else h // group for h in range(self.n_heads)]
        scores = numpy.einsum("qhd,khd->hqk", q, k[:, kv_of]) * x.dtype.type(self.options.attention_scale / self.head_size ** 0.5)
        scores = numpy.where(numpy.tri(n, dtype=bool)[None], scores, -numpy.inf)
        p = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
        p /= p.sum(axis=-1, keepdims=True)
        out = numpy.einsum("hqk,khd->qhd", p, v[:, kv_of]).reshape(n, -1)
        return self.matmul(out, prefix + "attn_output.weight")

    def feed_forward(self, x, prefix):
        gate = self.matmul(x, prefix + "ffn_gate.weight")
        up = self.matmul(x, prefix + "ffn_up.weight")
        return self.matmul(gate / (1 + numpy.exp(-gate)) * up, prefix + "ffn_down.weight")

    def logits(self, ids):
        """[len(ids), n_vocab] of one sequence."""
        x = self.weight("token_embd.weight")[numpy.asarray(ids)]
        for i in range(self.n_layers):
            x = x + self.attention(self.norm(x, f"blk.{i}.attn_norm.weight"), f"blk.{i}.")
            x = x + self.feed_forward(self.norm(x, f"blk.{i}.ffn_norm.weight"), f"blk.{i}.")
        head = "output.weight" if "output.weight" in self.file.tensors else "token_embd.weight"
        return self.matmul(self.norm(x, "output_norm.weight"), head)


def int8_round(x):
    """Every 32 values as d * q with d = max |x| / 127 and q rounded to nearest even."""
    groups = x.reshape(len(x), -1, 32)
    d = numpy.abs(groups).max(axis=-1, keepdims=True) / x.dtype.type(127)
    q = numpy.rint(groups * numpy.divide(1, d, out=numpy.zeros_like(d), where=d != 0))
    return (q * d).reshape(x.shape)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--ids", required=True, help="comma-separated")
    parser.add_argument("-o", "--output", help="little-endian f32 [n, n_vocab]")
    parser.add_argument("--int8", action="store_true")
    options = parser.parse_args()
    logits = Model(options.model, Options(int8=options.int8)).logits([int(x) for x in options.ids.split(",")])
    if options.output:
        logits.astype("<f4").tofile(options.output)
    for position, row in enumerate(logits):
        best = int(row.argmax())
        print(f"{position}\t{best}\t{row[best]:.7g}\t" + "\t".join(f"{x:.7g}" for x in row[:4]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
