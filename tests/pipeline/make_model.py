"""Makes the models of the tests of whole jobs: deep enough for several ranks, a context long enough to be killed in.
SPDX-License-Identifier: MIT

    python3 tests/pipeline/make_model.py NAME FILE.gguf     (names: llama, qwen2)
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "reference"))
sys.dont_write_bytecode = True

import model

MODELS = {
    "llama": dict(model.SUPER, type="Q4_K", layers=6),
    "qwen2": dict(model.FORTY, arch="qwen2", type="Q8_0", tokenizer="bpe", layers=5, vocab=2500),
}

CHATML = """{% for m in messages %}{{'<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"""


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in MODELS:
        print(__doc__)
        return 2
    name, path = sys.argv[1:]
    metadata = model.metadata

    def with_long_context(model_name, c):
        more = {f"{c['arch']}.context_length": 32768}
        if c["arch"] == "qwen2":
            more["tokenizer.chat_template"] = CHATML
        return dict(metadata(model_name, c), **more)

    model.metadata = with_long_context
    model.MODELS[name] = MODELS[name]
    model.make(name, path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
