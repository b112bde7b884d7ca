/* One stage's weights: a range of layers, and of vocabulary rows. SPDX-License-Identifier: MIT */
#ifndef SRC_MODEL_SLICE_H
#define SRC_MODEL_SLICE_H

#include "io/gguf.h"
#include "src/model/config.h"

/* A matrix with what some files put around it: y = (W x) * scale + bias. */
struct linear {
    struct tensor weight; /* [out, in] */
    struct tensor bias;   /* [1, out] F32, or absent */
    float scale;
};

struct layer_weights {
    struct tensor attn_norm, ffn_norm; /* [1, dim] F32 */
    struct linear q, k, v, output;
    struct linear gate, up, down;
};

/* What a stage owns; half-open ranges, either may be empty. */
struct slice_range {
    int32_t layer_first, layer_end;
    int32_t vocab_first, vocab_end;
    int embeds; /* 1: the stage turns tokens into hidden (rank 0) */
    int ends;   /* 1: the stage's hidden is the model's, and gets the final norm (the last rank) */
};

/* Where the parts of a slice go: the last layers of a model may be on another device than those before them. */
struct slice_places {
    struct backend *first;  /* the embedding and the layers below `cut`; the last norm where there are no others */
    struct backend *behind; /* layers from `cut` on, and the last norm; may be `first` */
    int32_t cut;
    struct backend *head; /* the vocabulary rows */
};

/* Tensors borrow the mapped file, or memory of the backend that imported them. */
struct slice {
    struct slice_range range;
    struct layer_weights *layers; /* [layer_end - layer_first] owned */
    struct tensor embed;          /* [n_vocab, dim], when the stage embeds */
    struct tensor output_norm;    /* [1, dim] F32, behind the last layer, when the stage ends the model */
    struct tensor head_norm;      /* the same for the head, when the stage owns vocabulary rows */
    enum dtype head_type;         /* of the output matrix, whoever has it */
    float **owned;                /* [n_owned] owned: biases that are not as in the file */
    int32_t n_owned;
    struct linear head; /* rows [vocab_first, vocab_end) of the output matrix (or of the tied embedding) */
};

/* Called while weights are read: bytes so far of bytes in all. NULL = nobody looks. Not 0 = stop: slice_load fails. */
typedef int (*slice_progress_fn)(void *context, uint64_t done, uint64_t total);

/* Finds and checks every tensor of the range (name, shape, type), reads it and hands it to its backend. The file must stay open
 * as long as the slice lives. For a backend that does not compute nothing is read: tensors have shapes but no data. */
int slice_load(struct slice *slice, const struct gguf *file, const struct model_config *config, const struct slice_range *range,
               const struct slice_places *places, slice_progress_fn progress, void *progress_context, struct error *err);
void slice_free(struct slice *slice);

/* What the parts of a model take, in bytes: all that a division over ranks needs to know of the weights. */
struct slice_sizes {
    int32_t n_layers, n_vocab;
    uint64_t *layer_bytes; /* [n_layers] owned */
    uint64_t norm_bytes;   /* the norm before the head */
    uint64_t row_bytes;    /* one row of the output matrix */
    uint64_t embed_bytes;  /* the embedding, all rows */
    int tied;              /* 1: the output matrix is the embedding */
    enum dtype head_type;  /* of the output matrix */
};
int slice_sizes_init(struct slice_sizes *sizes, const struct gguf *file, const struct model_config *config, struct error *err);
void slice_sizes_free(struct slice_sizes *sizes);

/* Bytes of weights that a range holds (a tied matrix that is both embedding and head counts once). */
uint64_t slice_bytes(const struct slice_sizes *sizes, const struct slice_range *range);
/* Bytes that the whole model reads for each token: all layers and the head. */
uint64_t slice_token_bytes(const struct slice_sizes *sizes);

#endif
