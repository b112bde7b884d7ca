/* SPDX-License-Identifier: MIT */
#include "src/plan/speed_board.h"

#include <math.h>
#include <string.h>

#include "src/model/head.h"

/* Source of the figures below: kernels/sim/backend_sim.c. 16-bit floats take two int8 operations' time. */
static const double FLOAT_OPS = 2;
static const double FLOAT_BITS = 12; /* weights of more bits than this are floats */

/* A matrix of `weights` elements in `bytes`, n_in to n_out wide, for n rows. */
static double matmul_s(const struct board *b, double weights, double bytes, double n_in, double n_out, double n)
{
    double ops = 2 * n * weights * (8 * bytes / weights > FLOAT_BITS ? FLOAT_OPS : 1);
    return board_operation_s(b, bytes + n * (n_in + n_out * sizeof(float)), ops);
}

/* Everything of a layer but the positions that attention reads. bytes: the layer's weights. */
static double layer_s(const struct board *b, const struct model_config *c, double bytes, double position_bytes, double n)
{
    const struct layer_shape *s = &c->layers[c->n_layers / 2];
    double dim = c->dim, heads = (double)s->n_heads * c->k_dim, values = (double)s->n_heads * c->v_dim, ffn = s->ffn_dim;
    double qkv = heads + (double)s->n_kv_heads * (c->k_dim + c->v_dim);
    double weights = dim * (qkv + values + 3 * ffn), share = bytes / weights;
    double sum = 2 * board_operation_s(b, n * dim * (sizeof(float) + 1), 0); /* norms */
    sum += matmul_s(b, dim * qkv, dim * qkv * share, dim, qkv, n) +
           matmul_s(b, values * dim, values * dim * share, values, dim, n);
    sum += matmul_s(b, dim * 2 * ffn, dim * 2 * ffn * share, dim, 2 * ffn, n) +
           matmul_s(b, ffn * dim, ffn * dim * share, ffn, dim, n);
    sum += board_operation_s(b, n * ffn * (2 * sizeof(float) + 1), 0);                         /* gate */
    sum += board_operation_s(b, n * (2 * heads * sizeof(float) + 3 * position_bytes), 0);      /* rope and store */
    return sum + board_operation_s(b, n * values * 2 * sizeof(float) + n * position_bytes, 0); /* attention, its own position */
}

void speed_from_board(struct speed *out, const struct board *board, const struct slice_sizes *sizes,
                      const struct model_config *config, enum kv_type k_type, enum kv_type v_type)
{
    static const int32_t rows[] = {1, 2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 256, 512};
    const struct layer_shape *s = &config->layers[config->n_layers / 2];
    double dim = config->dim, bytes = 0, tile_bytes = (double)sizes->row_bytes * VOCAB_TILE;
    double position_bytes = (double)s->n_kv_heads *
                            (double)(backend_kv_row_bytes(config->k_dim, k_type) + backend_kv_row_bytes(config->v_dim, v_type));
    double pair_ops = 2.0 * s->n_heads * (config->k_dim + config->v_dim) * FLOAT_OPS;
    for (int32_t i = 0; i < sizes->n_layers; i++) {
        bytes += (double)sizes->layer_bytes[i] / sizes->n_layers;
    }
    memset(out, 0, sizeof *out);
    out->n_points = (int32_t)(sizeof rows / sizeof *rows);
    out->layer_bytes = bytes;
    for (int32_t i = 0; i < out->n_points; i++) {
        double n = rows[i];
        out->rows[i] = rows[i];
        out->layer_s[i] = layer_s(board, config, bytes, position_bytes, n);
        out->tile_s[i] = matmul_s(board, dim * VOCAB_TILE, tile_bytes, 0, 2 * VOCAB_TILE, n) - board_operation_s(board, 0, 0);
    }
    /* Hidden goes in and out once a step; embedding, norm and logits weigh little. */
    out->step_s = board->step_s + 2 * dim * sizeof(float) / board->bytes_per_s;
    out->head_step_s = board->step_s + 2 * board_operation_s(board, dim * (2 * sizeof(float) + 1), 0);
    out->pair_s = fmax(position_bytes / board->bytes_per_s, pair_ops / board->ops_per_s);
    out->chunk_pair_s = pair_ops / board->ops_per_s;
}
