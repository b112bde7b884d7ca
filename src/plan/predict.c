/* SPDX-License-Identifier: MIT */
#include "src/plan/predict.h"

#include "src/core/error.h"
#include "src/engine/batch.h"
#include "src/model/head.h"

enum { MAX_CHUNKS = 4096, MAX_RANKS = 1024 };

static double layers_s(const struct predict_input *in, int32_t rank, const struct speed_step *step)
{
    const struct slice_range *r = &in->plan[rank].range;
    uint64_t bytes = 0;
    for (int32_t i = r->layer_first; i < r->layer_end; i++) {
        bytes += in->sizes->layer_bytes[i];
    }
    return speed_layers_s(&in->ranks[rank].speed, bytes, r->layer_end - r->layer_first, step);
}

static double head_s(const struct predict_input *in, int32_t rank, int32_t n_tokens)
{
    const struct slice_range *r = &in->plan[rank].range;
    return speed_head_s(&in->ranks[rank].speed, r->vocab_end - r->vocab_first, n_tokens);
}

static double sample_s(const struct predict_input *in, int32_t rank, int32_t n_tokens)
{
    return rank == 0 ? n_tokens * in->ranks[0].speed.sample_s : 0;
}

double predict_rank_s(const struct predict_input *in, int32_t rank, const struct speed_step *step, int32_t n_tokens)
{
    return layers_s(in, rank, step) + head_s(in, rank, n_tokens) + sample_s(in, rank, n_tokens);
}

struct batch_way predict_way(size_t row_bytes, double latency_s, double bytes_per_s)
{
    /* From a step's end to the next one's begin the message passes two threads on each side, besides its way. */
    static const double HANDOVER_S = 5e-5;
    return (struct batch_way){.fixed_s = HANDOVER_S + latency_s,
                              .row_s = (double)(sizeof(struct batch_row) + row_bytes) / bytes_per_s};
}

/* A message with n_hidden rows from this rank to the next; what the last one sends is for the head. */
static double hop_s(const struct predict_input *in, int32_t rank, int32_t n_hidden)
{
    int last = rank == in->n_ranks - 1;
    size_t row_bytes = last ? head_row_bytes(in->sizes->head_type, in->dim) : (size_t)in->dim * sizeof(float);
    struct batch_way way = predict_way(row_bytes, in->ranks[rank].hop_s, in->ranks[rank].bytes_per_s);
    return in->n_ranks == 1 ? 0 : way.fixed_s + way.row_s * n_hidden;
}

/* From the last rank's message home to the token: the slowest part of the head; a divided one also sends candidates home. */
static double end_s(const struct predict_input *in, int32_t n_tokens)
{
    double head = 0, most = 0;
    int32_t last = 0;
    for (int32_t rank = 0; rank < in->n_ranks; rank++) {
        double part = head_s(in, rank, n_tokens);
        head = part > head ? part : head;
        last = part > 0 ? rank : last;
        most = hop_s(in, rank, 0) > most ? hop_s(in, rank, 0) : most;
    }
    return head + sample_s(in, 0, n_tokens) + (last > 0 ? most : 0);
}

static struct prediction decode_in_groups(const struct predict_input *in, int32_t n_streams, double past, int32_t n_groups)
{
    int32_t share = (n_streams + n_groups - 1) / n_groups;
    struct speed_step step = {.n_rows = share, .past = past};
    struct prediction p = {0};
    double way = end_s(in, share), most = 0;
    for (int32_t rank = 0; rank < in->n_ranks; rank++) {
        double busy = predict_rank_s(in, rank, &step, share);
        way += layers_s(in, rank, &step) + hop_s(in, rank, share);
        p.limits = busy > most ? rank : p.limits;
        most = busy > most ? busy : most;
    }
    double round = n_groups * most > way ? n_groups * most : way;
    p.tokens_per_s = round > 0 ? n_streams / round : 0;
    return p;
}

struct prediction predict_decode(const struct predict_input *in, int32_t n_streams, double past)
{
    int32_t least = n_streams < in->n_ranks ? n_streams : in->n_ranks;
    struct prediction best = decode_in_groups(in, n_streams, past, least);
    for (int32_t n = least + 1; n <= in->depth && n <= n_streams; n++) {
        struct prediction p = decode_in_groups(in, n_streams, past, n);
        best = p.tokens_per_s > best.tokens_per_s ? p : best;
    }
    return best;
}

static struct prediction prefill_in_chunks(const struct predict_input *in, int32_t n, int32_t chunk)
{
    double free_at[MAX_RANKS] = {0}, busy[MAX_RANKS] = {0}, home[MAX_CHUNKS];
    struct prediction p = {0};
    double end = 0;
    int32_t n_chunks = 0;
    for (int32_t at = 0; at < n && in->n_ranks <= MAX_RANKS; at += chunk, n_chunks++) {
        struct speed_step step = {.n_rows = n - at < chunk ? n - at : chunk, .past = at, .chunk = 1};
        double now = n_chunks >= in->depth ? home[n_chunks - in->depth] : 0;
        for (int32_t rank = 0; rank < in->n_ranks; rank++) {
            double s = layers_s(in, rank, &step);
            now = (now > free_at[rank] ? now : free_at[rank]) + s;
            free_at[rank] = now;
            busy[rank] += s;
            now += hop_s(in, rank, rank == in->n_ranks - 1 ? 0 : step.n_rows);
        }
        home[n_chunks] = end = now;
    }
    for (int32_t rank = 1; rank < in->n_ranks && rank < MAX_RANKS; rank++) {
        p.limits = busy[rank] > busy[p.limits] ? rank : p.limits;
    }
    end += end_s(in, 1);
    p.tokens_per_s = end > 0 ? n / end : 0;
    return p;
}

/* Small chunks fill the ring sooner, large ones read the weights less often: the scheduler looks for the best, so does this. */
struct prediction predict_prefill(const struct predict_input *in, int32_t n)
{
    enum { LEAST = 32 };
    int32_t least = (n + MAX_CHUNKS - 1) / MAX_CHUNKS;
    struct prediction best = prefill_in_chunks(in, n, in->chunk > least ? in->chunk : least);
    for (int32_t chunk = LEAST > least ? LEAST : least; chunk < in->chunk; chunk += chunk / 4) {
        struct prediction p = prefill_in_chunks(in, n, chunk);
        best = p.tokens_per_s > best.tokens_per_s ? p : best;
    }
    return best;
}
