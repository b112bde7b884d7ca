/* One request of a command: its sequence, what became of it as text, and what it was asked with. SPDX-License-Identifier: MIT */
#ifndef SRC_COMMANDS_REQUEST_H
#define SRC_COMMANDS_REQUEST_H

#include "io/tokenizer.h"
#include "src/commands/common_options.h"
#include "src/engine/sequence.h"
#include "src/engine/stop.h"

/* What all requests share; does not change once it is opened. */
struct request_model {
    struct tokenizer *tokenizer; /* owned */
    int32_t n_vocab, n_ctx;
    int32_t *ends; /* [n_ends] owned: tokens that end a text */
    int32_t n_ends;
};
/* n_ctx: positions of a sequence. */
int request_model_open(struct request_model *m, const struct gguf *file, int32_t n_vocab, int32_t n_ctx, struct error *err);
void request_model_close(struct request_model *m);
/* At least one token, all known to the model, and no more than fit the context. */
int request_check_prompt(const struct request_model *m, const struct tokenizer_ids *prompt, struct error *err);

/* How the answer is to be written. */
struct request_params {
    struct sampler_params sampling; /* its bias is `biases` */
    struct sampler_bias *biases;    /* [n_biases] owned */
    int32_t n_biases;
    char **stops; /* [n_stops] owned, as its texts */
    int n_stops;
    int32_t n_predict; /* -1 = until end of text or context */
    int ignore_eos;
};
/* What the command line says. seed: of sampling. *p must be freed whatever the result, as after all three. */
int request_params_from_options(struct request_params *p, const struct common_options *o, const struct request_model *m,
                                struct error *err);
int request_params_copy(struct request_params *p, const struct request_params *from, struct error *err);
void request_params_free(struct request_params *p);
int request_params_add_stop(struct request_params *p, const char *text, struct error *err);
int request_params_add_bias(struct request_params *p, int32_t id, float bias, struct error *err);

struct request {
    const struct request_model *model; /* borrowed */
    struct request_params params;      /* owned */
    struct sequence sequence;          /* its owner is this request */
    struct tokenizer_stream stream;
    struct stop_matcher stop;
    char *piece; /* [tokenizer_max_piece + 16] owned */
    char *text;  /* [n_text] owned: what may be shown, any bytes */
    size_t n_text, text_capacity;
    struct sampler_result *logprobs; /* [n_ids - n_prompt] owned; NULL when params do not ask for them */
    int32_t logprobs_capacity;
};
/* Takes *params over (it is empty afterwards, whatever the result). The prompt has passed request_check_prompt. */
int request_init(struct request *r, const struct request_model *m, struct request_params *params,
                 const struct tokenizer_ids *prompt, struct error *err);
void request_free(struct request *r);
/* A token was sampled and appended to the sequence: more text, and the sequence's stop where it ends here. Running out of memory
 * is fatal. */
void request_take(struct request *r, const struct sampler_result *result);
/* The sequence has ended: the text that was held back. */
void request_finish(struct request *r);

#endif
