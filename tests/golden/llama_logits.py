"""Logits as llama.cpp computes them, through the Python package llama-cpp-python. SPDX-License-Identifier: MIT

    pip install llama-cpp-python        # LLAMA_CPP_LIB_PATH=FOLDER takes another libllama.so
    python3 tests/golden/llama_logits.py MODEL.gguf --ids 1,2,3 -o LOGITS.f32 [--greedy 16]

One thread, keys and values in F32, no flash attention, all positions in one batch: as exact as llama.cpp gets.
"""

import argparse
import ctypes
import os
import sys

import numpy


def load_library():
    """The package's llama_cpp module; on failure None, with the reason on stderr."""
    try:
        import llama_cpp
    except (ImportError, OSError, RuntimeError) as problem:
        print(f"llama-cpp-python is not there: {problem}", file=sys.stderr)
        return None
    return llama_cpp


class Llama:
    def __init__(self, path, context=4096, kv_type=0):
        self.lib = load_library()
        if not self.lib:
            sys.exit(77)
        self.quiet = self.lib.llama_log_callback(lambda level, text, data: None)
        self.lib.llama_log_set(self.quiet, None)
        self.lib.llama_backend_init()
        model_params = self.lib.llama_model_default_params()
        model_params.n_gpu_layers = 0
        self.model = self.lib.llama_model_load_from_file(os.fsencode(path), model_params)
        if not self.model:
            raise OSError(f"llama.cpp cannot load {path}")
        params = self.lib.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = context
        params.n_threads = params.n_threads_batch = 1
        params.type_k = params.type_v = kv_type  # 0 = F32
        params.flash_attn_type = 0
        self.context = self.lib.llama_init_from_model(self.model, params)
        if not self.context:
            raise OSError(f"llama.cpp makes no context for {path}")
        self.vocab = self.lib.llama_model_get_vocab(self.model)
        self.n_vocab = self.lib.llama_vocab_n_tokens(self.vocab)
        self.ends = [i for i in range(self.n_vocab) if self.lib.llama_vocab_is_eog(self.vocab, i)]
        self.position = 0

    def tokenize(self, text, add_special=True):
        data = text.encode()
        ids = (ctypes.c_int32 * (len(data) + 8))()
        n = self.lib.llama_tokenize(self.vocab, data, len(data), ids, len(ids), add_special, True)
        return list(ids[:n])

    def feed(self, ids):
        """Takes the next ids of the sequence and gives their logits, f32 [len(ids), n_vocab]."""
        batch = self.lib.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i] = token
            batch.pos[i] = self.position + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = True
        status = self.lib.llama_decode(self.context, batch)
        self.lib.llama_batch_free(batch)
        if status:
            raise RuntimeError(f"llama_decode: {status}")
        self.position += len(ids)
        flat = self.lib.llama_get_logits(self.context)
        return numpy.ctypeslib.as_array(flat, (len(ids) * self.n_vocab,)).reshape(len(ids), -1).copy()

    def reset(self):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)
        self.position = 0

    def prompt_logits(self, ids):
        self.reset()
        return self.feed(ids)

    def greedy(self, ids, n):
        """The n most likely tokens in turn, never one that ends the text (--ignore-eos), and the logits each was taken from."""
        out, logits, next_logits = [], [], self.prompt_logits(ids)[-1]
        while True:
            next_logits[self.ends] = -numpy.inf
            logits.append(next_logits)
            out.append(int(next_logits.argmax()))
            if len(out) == n:
                return out, numpy.array(logits)
            next_logits = self.feed(out[-1:])[0]

    def close(self):
        self.lib.llama_free(self.context)
        self.lib.llama_model_free(self.model)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--ids", help="comma-separated")
    what.add_argument("-p", "--prompt")
    what.add_argument("-f", "--file", help="text")
    parser.add_argument("--max", type=int, default=0, help="take only the first MAX ids")
    parser.add_argument("--greedy", type=int, default=0, metavar="N", help="also print N greedy ids")
    parser.add_argument("-o", "--output", help="little-endian f32 [n, n_vocab]")
    options = parser.parse_args()
    llama = Llama(options.model)
    if options.ids:
        ids = [int(x) for x in options.ids.split(",")]
    else:
        text = options.prompt
        if options.file:
            with open(options.file, encoding="utf-8") as f:
                text = f.read(20 * options.max) if options.max else f.read()
        ids = llama.tokenize(text)
    ids = ids[:options.max] if options.max else ids
    logits = llama.prompt_logits(ids)
    if options.output:
        logits.astype("<f4").tofile(options.output)
    print("ids " + ",".join(map(str, ids)))
    if options.greedy:
        print("greedy " + ",".join(map(str, llama.greedy(ids, options.greedy)[0])))
    llama.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
