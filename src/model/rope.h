/* Rotation frequencies of position embeddings, the same bits on every machine. SPDX-License-Identifier: MIT */
#ifndef SRC_MODEL_ROPE_H
#define SRC_MODEL_ROPE_H

#include <stdint.h>

/* freqs[i] = base^(-2 i / n_rot) / (factor * factors[i]) for i in [0, n_rot / 2), in f64; base > 0, factor != 0; factors: NULL =
 * all 1 (else Llama 3's rope_freqs.weight). Own power function, so that libraries' differences do not show. Source: RoFormer,
 * arXiv 2104.09864, section 3.2.2. */
void rope_frequencies(int32_t n_rot, double base, double factor, const float *factors, double *freqs);

#endif
