/* Logits with their ids as 64-bit keys whose order is the sampler's order. SPDX-License-Identifier: MIT
 *
 * The logit in an order-preserving form above the complement of the id: larger logits first, ties to the lower id, no two keys
 * equal. */
#ifndef SRC_ENGINE_LOGIT_KEY_H
#define SRC_ENGINE_LOGIT_KEY_H

#include <stdint.h>

/* NaN counts as -infinity, +infinity as the largest number, -0 as 0. */
float logit_usable(float logit);

uint64_t logit_key(float logit, int32_t id);
float logit_key_logit(uint64_t key);
int32_t logit_key_id(uint64_t key);

/* The k best of n logits as keys, best first; 1 <= k <= n. logits[i] belongs to id first_id + i. Made for k far below n. */
void logit_key_best(uint64_t *best, int32_t k, const float *logits, int32_t n, int32_t first_id);
/* The k best of n keys, best first; 1 <= k <= n. */
void logit_key_best_of(uint64_t *best, int32_t k, const uint64_t *keys, int32_t n);

#endif
