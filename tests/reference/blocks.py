"""Weight blocks of GGUF files: what they mean, and random valid ones. SPDX-License-Identifier: MIT

Source of the layouts: the description of the formats in ggml, docs/gguf.md and ggml-common.h.
"""

import numpy

from gguf import TYPES


def halves(raw):
    """[n, 2k] bytes to [n, k] floats."""
    return numpy.ascontiguousarray(raw).view("<f2").astype(numpy.float64)


def nibbles(qs):
    """[n, 16] bytes to [n, 32]: low nibbles are the first sixteen."""
    return numpy.concatenate([qs & 15, qs >> 4], axis=1).astype(numpy.float64)


def fifth_bits(qh):
    bits = numpy.ascontiguousarray(qh).view("<u4")
    return ((bits >> numpy.arange(32, dtype=numpy.uint32)) & 1).astype(numpy.float64)


def scales_k(packed):
    """The twelve bytes of Q4_K and Q5_K: eight 6-bit scales and eight 6-bit minima."""
    b = packed.astype(numpy.int64)
    low, mid, high = b[:, 0:4], b[:, 4:8], b[:, 8:12]
    scale = numpy.concatenate([low & 63, (high & 15) | (low >> 6) << 4], axis=1)
    minimum = numpy.concatenate([mid & 63, (high >> 4) | (mid >> 6) << 4], axis=1)
    return scale.astype(numpy.float64), minimum.astype(numpy.float64)


def nibbles_k(qs):
    """[n, 128] bytes to [n, 8, 32]: of each 32 bytes the low nibbles are one group, the high ones the next."""
    q = qs.reshape(-1, 4, 1, 32)
    return numpy.concatenate([q & 15, q >> 4], axis=2).reshape(-1, 8, 32).astype(numpy.float64)


def decode_q4_k(raw):
    scale, minimum = scales_k(raw[:, 4:16])
    d = halves(raw[:, 0:4])
    return (d[:, :1] * scale)[:, :, None] * nibbles_k(raw[:, 16:144]) - (d[:, 1:] * minimum)[:, :, None]


def decode_q5_k(raw):
    scale, minimum = scales_k(raw[:, 4:16])
    d = halves(raw[:, 0:4])
    high = (raw[:, None, 16:48] >> numpy.arange(8, dtype=numpy.uint8)[None, :, None]) & 1
    q = nibbles_k(raw[:, 48:176]) + 16.0 * high
    return (d[:, :1] * scale)[:, :, None] * q - (d[:, 1:] * minimum)[:, :, None]


def decode_q6_k(raw):
    ql, qh = raw[:, 0:128].reshape(-1, 2, 64), raw[:, 128:192].reshape(-1, 2, 32)
    low = numpy.stack([ql[:, :, :32] & 15, ql[:, :, 32:] & 15, ql[:, :, :32] >> 4, ql[:, :, 32:] >> 4], axis=2)
    high = numpy.stack([qh >> shift & 3 for shift in (0, 2, 4, 6)], axis=2)
    q = (low | high << 4).astype(numpy.float64) - 32
    scale = numpy.ascontiguousarray(raw[:, 192:208]).view(numpy.int8).astype(numpy.float64)
    return halves(raw[:, 208:210])[:, :, None] * scale[:, :, None] * q.reshape(-1, 16, 16)


DECODERS = {
    "Q4_0": lambda r: halves(r[:, 0:2]) * (nibbles(r[:, 2:18]) - 8),
    "Q4_1": lambda r: halves(r[:, 0:2]) * nibbles(r[:, 4:20]) + halves(r[:, 2:4]),
    "Q5_0": lambda r: halves(r[:, 0:2]) * (nibbles(r[:, 6:22]) + 16 * fifth_bits(r[:, 2:6]) - 16),
    "Q5_1": lambda r: halves(r[:, 0:2]) * (nibbles(r[:, 8:24]) + 16 * fifth_bits(r[:, 4:8])) + halves(r[:, 2:4]),
    "Q8_0": lambda r: halves(r[:, 0:2]) * numpy.ascontiguousarray(r[:, 2:34]).view(numpy.int8).astype(numpy.float64),
    "Q4_K": decode_q4_k, "Q5_K": decode_q5_k, "Q6_K": decode_q6_k,
}


def decode(tensor):
    """The values of a gguf.Tensor as float64."""
    if tensor.type_name == "F32":
        flat = numpy.frombuffer(tensor.data, "<f4").astype(numpy.float64)
    elif tensor.type_name == "F16":
        flat = numpy.frombuffer(tensor.data, "<f2").astype(numpy.float64)
    elif tensor.type_name == "BF16":
        flat = (numpy.frombuffer(tensor.data, "<u2").astype("<u4") << 16).view("<f4").astype(numpy.float64)
    else:
        raw = numpy.frombuffer(tensor.data, numpy.uint8).reshape(-1, TYPES[tensor.type_name][2])
        flat = DECODERS[tensor.type_name](raw).reshape(-1)
    return flat.reshape(tensor.shape)


# Standard deviation of the integers that random bits give, and where their mean lies, per type without a minimum.
SPREAD = {"Q4_0": 4.61, "Q4_1": 4.61, "Q5_0": 9.23, "Q5_1": 9.23, "Q8_0": 73.9, "Q4_K": 4.61, "Q5_K": 9.23, "Q6_K": 18.5}
MIDDLE = {"Q4_1": 7.5, "Q5_1": 15.5, "Q4_K": 7.5, "Q5_K": 15.5}


def put_halves(raw, at, values):
    raw[:, at:at + 2] = values.astype("<f2").reshape(-1, 1).view(numpy.uint8)


def random_blocks(rng, type_name, n_blocks, sigma):
    """Random integers under scales that give weights of about the standard deviation sigma and a mean near 0."""
    raw = rng.integers(0, 256, (n_blocks, TYPES[type_name][2]), dtype=numpy.uint8)
    d = sigma / SPREAD[type_name] * rng.uniform(0.5, 1.5, n_blocks)
    if type_name in ("Q4_K", "Q5_K"):
        put_halves(raw, 0, d / 32)  # six-bit scales and minima with mean 31.5
        put_halves(raw, 2, d * MIDDLE[type_name] / 32)
    elif type_name == "Q6_K":
        put_halves(raw, 208, d / 74)  # signed eight-bit scales
    else:
        put_halves(raw, 0, d)
        if type_name in MIDDLE:
            put_halves(raw, 2, -d * MIDDLE[type_name])
    return raw.tobytes()


def random_tensor_data(rng, type_name, n_rows, n_cols, sigma):
    if type_name in SPREAD:
        return random_blocks(rng, type_name, n_rows * n_cols // TYPES[type_name][1], sigma)
    values = rng.normal(0, sigma, (n_rows, n_cols)).astype("<f4")
    if type_name == "F16":
        return values.astype("<f2").tobytes()
    if type_name == "BF16":
        return (values.view("<u4") >> 16).astype("<u2").tobytes()
    return values.tobytes()
