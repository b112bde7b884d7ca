/* SPDX-License-Identifier: MIT */
#include "src/engine/logit_key.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { SCAN_BLOCK = 16 /* logits compared with the threshold at once */ };

float logit_usable(float logit)
{
    return isnan(logit) ? -INFINITY : logit > FLT_MAX ? FLT_MAX : logit + 0.0f;
}

uint64_t logit_key(float logit, int32_t id)
{
    logit = logit_usable(logit);
    uint32_t bits;
    memcpy(&bits, &logit, sizeof bits);
    bits = bits >> 31 ? ~bits : bits | 0x80000000u;
    return (uint64_t)bits << 32 | ~(uint32_t)id;
}

float logit_key_logit(uint64_t key)
{
    uint32_t bits = (uint32_t)(key >> 32);
    bits = bits >> 31 ? bits & 0x7fffffffu : ~bits;
    float logit;
    memcpy(&logit, &bits, sizeof logit);
    return logit;
}

int32_t logit_key_id(uint64_t key)
{
    return (int32_t) ~(uint32_t)key;
}

/* Restores the heap (smallest key on top) below element i. */
static void sift_down(uint64_t *heap, int32_t n, int32_t i)
{
    uint64_t key = heap[i];
    for (int32_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && heap[child + 1] < heap[child]) {
            child++;
        }
        if (key <= heap[child]) {
            break;
        }
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = key;
}

static void make_heap(uint64_t *heap, int32_t n)
{
    for (int32_t i = n / 2 - 1; i >= 0; i--) {
        sift_down(heap, n, i);
    }
}

static void heap_offer(uint64_t *heap, int32_t k, uint64_t key)
{
    if (key > heap[0]) {
        heap[0] = key;
        sift_down(heap, k, 0);
    }
}

/* A heap to descending order. */
static void unheap(uint64_t *heap, int32_t n)
{
    for (int32_t end = n - 1; end > 0; end--) {
        uint64_t smallest = heap[0];
        heap[0] = heap[end];
        heap[end] = smallest;
        sift_down(heap, end, 0);
    }
}

/* The scan skips whole blocks without a logit above the k-th best so far. */
void logit_key_best(uint64_t *best, int32_t k, const float *logits, int32_t n, int32_t first_id)
{
    for (int32_t i = 0; i < k; i++) {
        best[i] = logit_key(logits[i], first_id + i);
    }
    make_heap(best, k);
    float threshold = logit_key_logit(best[0]);
    int32_t i = k;
    for (; i + SCAN_BLOCK <= n; i += SCAN_BLOCK) {
        int any = 0;
        for (int32_t j = 0; j < SCAN_BLOCK; j++) {
            any |= logits[i + j] > threshold;
        }
        if (any) {
            for (int32_t j = i; j < i + SCAN_BLOCK; j++) {
                heap_offer(best, k, logit_key(logits[j], first_id + j));
            }
            threshold = logit_key_logit(best[0]);
        }
    }
    for (; i < n; i++) {
        heap_offer(best, k, logit_key(logits[i], first_id + i));
    }
    unheap(best, k);
}

void logit_key_best_of(uint64_t *best, int32_t k, const uint64_t *keys, int32_t n)
{
    memcpy(best, keys, (size_t)k * sizeof *best);
    make_heap(best, k);
    for (int32_t i = k; i < n; i++) {
        heap_offer(best, k, keys[i]);
    }
    unheap(best, k);
}
