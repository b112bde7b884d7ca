/* SPDX-License-Identifier: MIT */
#include "src/commands/option_hints.h"

#include <string.h>

/* clang-format off */
static const struct {
    const char *names; /* of llama-cli, llama-bench, llama-server and llama-batched */
    const char *hint;
} hints[] = {
    /* machines */
    {"-ts --tensor-split", "layers are divided by measured speed, or by hand with --split 5,9,9 (layers, not shares)"},
    {"--rpc -rpc", "nothing has to run on the nodes: mpirun --hostfile FILE starts all ranks"},
    {"-sm --split-mode", "every rank owns whole layers (--split); --split-head divides the output matrix"},
    {"-mg --main-gpu", "--gpu N names the GPU of a rank"},
    {"-dev --list-devices", "--device says what the ranks compute with"},
    {"--n-gpu-layers", "it is -ngl or --gpu-layers here"},
    {"-ot --override-tensor -cmoe --cpu-moe -ncmoe --n-cpu-moe -nkvo --no-kv-offload", "weights and cache stay where their rank computes"},
    {"-fit --fit", "--memory-limit says what a rank may take; llm plan shows what fits"},
    {"--numa -C --cpu-mask -Cr --cpu-range --cpu-strict --prio --poll", "the program binds its threads itself; -t says how many"},
    {"-tb --threads-batch", "-t is for prompts and answers"},
    /* memory */
    {"--mlock", "weights are read before the first token; memory is not locked"},
    {"--no-mmap --mmap -mmp", "not needed: a rank reads its layers only, before the first token"},
    {"-kvu --kv-unified -dt --defrag-thold", "the cache is one pool of pages for all requests (--kv-memory)"},
    {"--keep --context-shift --no-context-shift", "the context does not shift: an answer ends when it is full (-c)"},
    {"--prompt-cache --cache-ram --cache-reuse", "llm batch computes equal beginnings of prompts once; nothing is kept in files"},
    /* computing */
    {"-fa --flash-attn", "not needed: there is one kind of attention, which keeps no matrix of scores"},
    {"--warmup --no-warmup", "only llm bench warms up"},
    {"-cb --cont-batching -nocb --no-cont-batching", "llm batch always works so"},
    {"-np --parallel -ns --sequences", "llm batch answers many requests at a time (-np N)"},
    {"-md --model-draft --draft --draft-max --draft-n --spec-type", "there is no speculation"},
    {"--rope-scaling --rope-scale --rope-freq-base --rope-freq-scale", "rope is as the model file says"},
    {"--lora --lora-scaled --control-vector --mmproj", "only the model file itself is read"},
    /* prompt and answer */
    {"-cnv --conversation -i --interactive -if --interactive-first", "the prompt is continued as it is; llm batch takes \"messages\" of a chat"},
    {"-no-cnv --no-conversation -st --single-turn", "not needed: the prompt is continued as it is"},
    {"-sys --system-prompt --chat-template --chat-template-file --jinja --no-jinja", "llm batch applies the template of the model to \"messages\""},
    {"-r --reverse-prompt", "--stop TEXT ends an answer; -r N is an option of llm bench"},
    {"-p --prompt -f --file -bf --binary-file", "llm run takes a prompt (-p, -f), llm batch requests (-i FILE.jsonl)"},
    {"-e --escape --no-escape", "a prompt is taken as it is; one with line breaks can come from a file (llm run -f FILE)"},
    {"--no-display-prompt --display-prompt", "not needed: stdout has the answer only"},
    {"--verbose-prompt", "llm tokenize shows the ids of a text"},
    {"-hf -hfr --hf-repo -mu --model-url", "-m FILE names a GGUF file that is there; nothing is downloaded"},
    {"--host --port --api-key", "there is no server; llm batch works on what comes through a pipe"},
    {"--log-disable --no-perf --perf", "-q leaves out what is not an error or a warning"},
    /* sampling */
    {"--temperature", "it is --temp here"},
    {"--typical-p", "it is --typical here"},
    {"--samplers --sampler-seq --sampling-seq", "the order is fixed; llm run --help shows it"},
    {"--mirostat --dynatemp-range --xtc-probability --dry-multiplier --top-nsigma --adaptive-target", "there is no such sampler; llm run --help lists those that are"},
    {"--grammar --grammar-file -j --json-schema", "answers cannot be held to a grammar"},
};
/* clang-format on */

const char *option_hint(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++) {
        for (const char *at = hints[i].names; *at;) {
            size_t length = strcspn(at, " ");
            if (length == n && memcmp(at, name, n) == 0) {
                return hints[i].hint;
            }
            at += length + (at[length] == ' ');
        }
    }
    return NULL;
}
