"""The parts of batch.sh that look into JSON. SPDX-License-Identifier: MIT

    python3 tests/pipeline/batch.py requests FILE                       writes 64 requests of mixed length and sampling
    python3 tests/pipeline/batch.py one-by-one RESULTS REQUESTS COMMAND...   each result against a run of its own
    python3 tests/pipeline/batch.py chat COMMAND...                     OpenAI's form against runs of its own
    python3 tests/pipeline/batch.py bad-lines COMMAND...                errors of lines; the others are answered
    python3 tests/pipeline/batch.py interactive COMMAND...              a request is written when the last result is there
    python3 tests/pipeline/batch.py stalled COMMAND...                  nobody reads the results, then a signal
    python3 tests/pipeline/batch.py gone COMMAND...                     the reader of the results has gone
    python3 tests/pipeline/batch.py many N FILE                         writes N small requests
    python3 tests/pipeline/batch.py whole FILE                          prints how many results, all whole lines, a file has

COMMAND is `... llm` with its options, without the name of a command."""

import fcntl
import json
import random
import signal
import subprocess
import sys
import tempfile
import termios
import time

# Field of a request: option of run.
OPTIONS = {"max_tokens": "-n", "temperature": "--temp", "top_k": "--top-k", "top_p": "--top-p", "min_p": "--min-p",
           "typical_p": "--typical", "repeat_penalty": "--repeat-penalty", "repeat_last_n": "--repeat-last-n",
           "presence_penalty": "--presence-penalty", "frequency_penalty": "--frequency-penalty", "logprobs": "--logprobs"}
SAMPLING = [
    {"temperature": 0},
    {"temperature": 1.5, "top_k": 0, "top_p": 1, "min_p": 0},
    {"top_k": 5, "repeat_penalty": 1.3, "repeat_last_n": 20},
    {"top_p": 0.7, "typical_p": 0.9, "presence_penalty": 0.5, "frequency_penalty": 0.25},
    {"temperature": 1, "min_p": 0.2, "logprobs": 3},
    {"temperature": 0, "logprobs": 1, "logit_bias": {"70": 50, "80": 49.5}, "repeat_penalty": 1.5},
    {"temperature": 2, "stop": ["e", " a"]},
    {"ignore_eos": True},
]


def write_requests(path):
    rng = random.Random(7)
    with open(path, "w", encoding="utf-8") as f:
        for i in range(64):
            n = rng.choice([1, 2, 5, 17, 63, 64, 65, 130, 200])
            request = {"id": f"request {i}", "ids": [rng.randrange(3, 300) for _ in range(n)],
                       "max_tokens": rng.choice([1, 2, 9, 20, 33]), **SAMPLING[i % len(SAMPLING)]}
            if i % 3:
                request["seed"] = rng.randrange(1 << 40)
            f.write(json.dumps(request) + "\n")


def write_many(n, path):
    with open(path, "w", encoding="utf-8") as f:
        for i in range(n):
            f.write(json.dumps({"id": i, "ids": [3 + i % 200, 5, 7], "max_tokens": 2, "stop": "zzz", "logprobs": 2}) + "\n")


def expect(found, expected, what):
    if found != expected:
        sys.exit(f"{what}: {found!r}, expected {expected!r}")


def read_lines(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def run(command, request, seed):
    """What `llm run --json` gives for a request."""
    arguments = ["--ids", ",".join(map(str, request["ids"]))] if "ids" in request else ["-p", request["prompt"]]
    for field, option in OPTIONS.items():
        arguments += [option, str(request[field])] if field in request else []
    for token, bias in request.get("logit_bias", {}).items():
        arguments += ["--logit-bias", f"{token}{bias:+}"]
    for stop in request.get("stop", []):
        arguments += ["--stop", stop]
    arguments += ["--ignore-eos"] if request.get("ignore_eos") else []
    out = subprocess.run([*command, "--json", "-q", "-s", str(seed), *arguments], check=True, stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, timeout=60).stdout
    return json.loads(out)


def batch(command, lines):
    """Results of `llm batch` for lines (texts, or objects) and what it says on stderr."""
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    done = subprocess.run([*with_batch(command), "-q"], check=True, input=text.encode(), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60)
    return [json.loads(line) for line in done.stdout.decode().splitlines()], done.stderr.decode()


def with_batch(command):
    """`... llm OPTIONS` as `... llm batch OPTIONS`: behind the program, the last word before the first option of ours, -m."""
    at = command.index("-m")
    return [*command[:at], "batch", *command[at:]]


def one_by_one(results_path, requests_path, *command):
    requests, results = read_lines(requests_path), read_lines(results_path)
    expect(len(results), len(requests), "number of results")
    reasons, seeds = set(), set()
    for number, (request, result) in enumerate(zip(requests, results), 1):
        name = f"line {number}"
        expect((result["id"], result["line"]), (request["id"], number), f"{name}: id and line")
        expect(result["seed"], request.get("seed", result["seed"]), f"{name}: seed")
        alone = run(command, request, result["seed"])
        for key in "ids", "text", "logprobs", "stop_reason", "seed":
            expect(result[key], alone[key], f"{name}: {key}")
        expect(result["usage"]["prompt_tokens"], len(request["ids"]), f"{name}: tokens of the prompt")
        expect(result["usage"]["completion_tokens"], len(result["ids"]), f"{name}: tokens of the answer")
        reasons.add(result["stop_reason"])
        seeds.add(result["seed"])
    if not {"length", "stop"} <= reasons or len(seeds) != len(requests):
        sys.exit(f"the requests try too little: ends {reasons}, {len(seeds)} seeds")


def chat(*command):
    sampling = {"max_tokens": 12, "temperature": 1.5, "seed": 11}
    lines = [
        {"custom_id": "chat", "method": "POST", "url": "/v1/chat/completions",
         "body": {"model": "any", "messages": [{"role": "user", "content": "tea or tin?"}], "logprobs": True, **sampling}},
        {"custom_id": "text", "method": "POST", "url": "/v1/completions",
         "body": {"model": "any", "prompt": "to the sea", "logprobs": 2, **sampling}},
        {"prompt": "to the sea", **sampling},
    ]
    (first, second, third), _ = batch(command, lines)
    rendered = "<|im_start|>user\ntea or tin?<|im_end|>\n<|im_start|>assistant\n"
    alone = [run(command, {"prompt": text, "logprobs": 2, **sampling}, 11) for text in (rendered, "to the sea")]
    for result, request, reference in zip((first, second), lines, alone):
        name = request["custom_id"]
        expect((result["custom_id"], result["error"], result["response"]["status_code"]), (name, None, 200), name)
        expect(result["id"][:10], "batch_req_", f"{name}: id")
        body = result["response"]["body"]
        expect(body["usage"], {"prompt_tokens": len(reference["prompt_ids"]), "completion_tokens": len(reference["ids"]),
                               "total_tokens": len(reference["prompt_ids"]) + len(reference["ids"])}, f"{name}: usage")
        expect(body["choices"][0]["finish_reason"], "length" if reference["stop_reason"] == "length" else "stop", f"{name}: end")
    expect(first["response"]["body"]["choices"][0]["message"],
           {"role": "assistant", "content": alone[0]["text"], "refusal": None}, "chat: message")
    expect(second["response"]["body"]["choices"][0]["text"], alone[1]["text"], "text: text")
    expect(third["ids"], alone[1]["ids"], "short form: ids")
    content = first["response"]["body"]["choices"][0]["logprobs"]["content"]
    expect(b"".join(bytes(t["bytes"]) for t in content).decode(errors="replace"), alone[0]["text"], "chat: bytes of the tokens")
    for index, reference, found in ((0, alone[0], [t["logprob"] for t in content]),
                                    (1, alone[1], second["response"]["body"]["choices"][0]["logprobs"]["token_logprobs"])):
        expect(found, [t["logprob"] for t in reference["logprobs"]][:len(found)], f"log-probabilities of {index}")


def bad_lines(*command):
    good = {"ids": [3, 4, 5], "max_tokens": 3, "temperature": 0}
    lines = [good, "this is no JSON", "", {"ids": [3, 999999]}, {"ids": []}, {"ids": [5] * 100}, {**good, "temperature": []},
             {"custom_id": "c", "method": "POST", "url": "/v1/completions", "body": {"prompt": [3], "n": 2}}, good]
    results, stderr = batch(command, lines)
    codes = [r.get("error") and r["error"]["code"] for r in results]
    expect(codes, [None, "invalid_json_line", "invalid_request", "invalid_request", "context_length_exceeded", "invalid_request",
                   "invalid_request", None], "codes of the errors")
    numbers = [2, 4, 5, 6, 7, 8]
    for number, result in zip(numbers, results[1:-1]):
        expect(result["error"]["message"].split(":")[0], f"line {number}", "line of the error")
    expect(results[0]["ids"], results[-1]["ids"], "answers around bad lines")
    expect(results[6]["custom_id"], "c", "custom_id of a refused line")
    expect([line for line in stderr.splitlines() if "failed" in line],
           ["llm: 6 of 8 requests failed; their lines say why"], "what is said at the end")


def interactive(*command):
    """Fails by its time limit if a result is held back."""
    process = subprocess.Popen([*with_batch(command), "-q"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ids = [3, 4, 5]
    for i in range(8):
        line = "no JSON" if i == 3 else json.dumps({"id": i, "ids": ids, "max_tokens": 4, "temperature": 0, "ignore_eos": True})
        process.stdin.write(line + "\n")
        process.stdin.flush()
        result = json.loads(process.stdout.readline())
        if i != 3:
            expect((result["id"], len(result["ids"])), (i, 4), "result of a request that waited for the last")
            ids += result["ids"]  # the next request needs this one's answer
    process.stdin.close()
    expect((process.stdout.read(), process.wait(30)), ("", 0), "the end")


def many_lines(n, **fields):
    return "".join(json.dumps({"id": i, "ids": [3, 4, 5 + i % 200], "max_tokens": 8, "ignore_eos": True, **fields}) + "\n"
                   for i in range(n)).encode()


def stalled(*command):
    """The requests go on being worked on until the last begins, which has no end; the signal then ends all, with whole lines."""
    with tempfile.TemporaryFile() as requests:
        requests.write(many_lines(2000, logprobs=5) + many_lines(1, max_tokens=1 << 20))
        requests.seek(0)
        process = subprocess.Popen([*with_batch(command), "-q", "--unordered"], stdin=requests, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        while process.poll() is None and fcntl.ioctl(process.stdout, termios.FIONREAD, bytes(4)) == bytes(4):
            time.sleep(0.05)
        time.sleep(1)  # a signal that came sooner would be right too
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(20)
        finally:
            process.kill()
        results, stderr = process.communicate()
    expect((status, results[-1:]), (130, b"\n"), "exit status and end of the last line")
    n = len([json.loads(line) for line in results.splitlines()])
    if n == 0 or n == 2000 or b"nobody reads them" not in stderr:
        sys.exit(f"{n} results, stderr: {stderr.decode()}")


def gone(*command):
    process = subprocess.Popen([*with_batch(command), "-q"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    process.stdin.write(many_lines(1) + many_lines(1, max_tokens=1 << 20))
    process.stdin.flush()
    stderr = process.stderr.read().decode()
    expect((process.wait(30), stderr), (2, "llm: the results cannot be written: Broken pipe\n"), "exit status and stderr")


def whole(path):
    with open(path, "rb") as f:
        data = f.read()
    if data and not data.endswith(b"\n"):
        sys.exit(f"{path} ends in the middle of a line")
    print(len([json.loads(line) for line in data.splitlines()]))


def main():
    commands = {"requests": write_requests, "one-by-one": one_by_one, "chat": chat, "bad-lines": bad_lines,
                "interactive": interactive, "stalled": stalled, "gone": gone, "many": lambda n, path: write_many(int(n), path), "whole": whole}
    if len(sys.argv) < 3 or sys.argv[1] not in commands:
        print(__doc__)
        return 2
    commands[sys.argv[1]](*sys.argv[2:])
    return 0


if __name__ == "__main__":
    sys.exit(main())
